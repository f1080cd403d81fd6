/* Stands in for libFuzzer in the ordinary presets: runs every file of the corpus folders named on
 * the command line through the target, once. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data;
	size_t n;

	if (!f)
		return -1;
	data = malloc(1 << 20);
	n = data ? fread(data, 1, 1 << 20, f) : 0;
	fclose(f);
	/* An exact-size block lets ASan see one byte past the end. */
	uint8_t *exact = malloc(n ? n : 1);
	if (exact) {
		for (size_t i = 0; i < n; i++)
			exact[i] = data[i];
		LLVMFuzzerTestOneInput(exact, n);
	}
	free(exact);
	free(data);
	return 0;
}

int main(int argc, char **argv)
{
	int n = 0;

	for (int i = 1; i < argc; i++) {
		DIR *d = opendir(argv[i]);
		struct dirent *e;

		while (d && (e = readdir(d))) {
			char path[4096];

			if (e->d_name[0] == '.')
				continue;
			snprintf(path, sizeof(path), "%s/%s", argv[i], e->d_name);
			if (replay_file(path) == 0)
				n++;
		}
		if (d)
			closedir(d);
	}
	printf("replayed %d files\n", n);
	return n > 0 ? 0 : 1;
}
