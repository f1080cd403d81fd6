#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/conf_value.h"

/* Opens a regular file for reading; without O_NONBLOCK a FIFO would hang the whole check. */
static int open_file(const char *path, struct stat *st, struct buf *why)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0) {
		buf_printf(why, "cannot read file %s: %s", path, strerror(errno));
		return -EINVAL;
	}
	if (fstat(fd, st) < 0 || !S_ISREG(st->st_mode)) {
		buf_printf(why, "%s is not a regular file", path);
		close(fd);
		return -EINVAL;
	}
	return fd;
}

static bool is_absolute(struct slice path)
{
	return path.n > 0 && path.p[0] == '/';
}

int conf_value_path(struct slice text, char **out, struct buf *why)
{
	struct stat st;
	char *path;
	int fd;

	if (!is_absolute(text)) {
		buf_add_char(why, '"');
		buf_add_escaped(why, text);
		buf_add_str(why, "\" is not an absolute path");
		return -EINVAL;
	}
	path = slice_dup(text);
	if (!path)
		return -ENOMEM;
	fd = open_file(path, &st, why);
	if (fd < 0) {
		free(path);
		return fd;
	}
	close(fd);
	*out = path;
	return 0;
}

/* The first line of an open secret file, in raw. */
static int first_line(int fd, const char *path, char *raw, size_t size, struct slice *line,
		      struct buf *why)
{
	struct slice rest;
	ssize_t n = read(fd, raw, size);

	if (n < 0) {
		buf_printf(why, "cannot read file %s: %s", path, strerror(errno));
		return -EINVAL;
	}
	rest = (struct slice){ raw, (size_t)n };
	*line = slice_trim(slice_next(&rest, '\n'));
	if (line->n == 0)
		buf_printf(why, "the first line of %s is empty", path);
	else if (line->n > CONF_MAX_SECRET_BYTES)
		buf_printf(why, "the first line of %s is longer than %d bytes", path,
			   CONF_MAX_SECRET_BYTES);
	else if (memchr(line->p, '\0', line->n))
		buf_printf(why, "the first line of %s holds NUL bytes", path);
	else
		return 0;
	return -EINVAL;
}

static int read_secret(const char *path, char **out, struct buf *why)
{
	char raw[CONF_MAX_SECRET_BYTES + 64];
	struct slice line;
	struct stat st;
	int fd = open_file(path, &st, why);
	int r;

	if (fd < 0)
		return fd;
	if (st.st_mode & S_IROTH) {
		buf_printf(why, "secret file %s can be read by everybody (mode %04o): chmod o-r %s",
			   path, (unsigned)st.st_mode & 07777, path);
		r = -EINVAL;
	} else {
		r = first_line(fd, path, raw, sizeof(raw), &line, why);
	}
	if (r == 0 && !(*out = slice_dup(line)))
		r = -ENOMEM;
	explicit_bzero(raw, sizeof(raw));
	close(fd);
	return r;
}

int conf_value_secret(struct slice text, char **out, struct buf *why)
{
	char *path;
	int r;

	if (text.p[0] != '@') {
		if (text.n > CONF_MAX_SECRET_BYTES) {
			buf_printf(why, "longer than %d bytes", CONF_MAX_SECRET_BYTES);
			return -EINVAL;
		}
		*out = slice_dup(text);
		return *out ? 0 : -ENOMEM;
	}
	text.p++;
	text.n--;
	if (!is_absolute(text)) {
		/* What follows may be a secret that starts with "@" by chance: not repeated. */
		buf_add_str(why, "\"@\" must be followed by the absolute path of a file");
		return -EINVAL;
	}
	path = slice_dup(text);
	if (!path)
		return -ENOMEM;
	r = read_secret(path, out, why);
	free(path);
	return r;
}
