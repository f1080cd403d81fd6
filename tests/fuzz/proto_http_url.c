/*
 * URLs and paths. The canonical form is a fixed point; and an accepted path holds no dot segment
 * and no encoded slash after any number of decodings.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/http_url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Decodes each "%xx" once; false when there was none. */
static bool decode(char *p)
{
	char *to = p;
	bool found = false;

	while (*p) {
		if (*p == '%' && hex(p[1]) >= 0 && hex(p[2]) >= 0) {
			*to++ = (char)(hex(p[1]) << 4 | hex(p[2]));
			must(to[-1] != '\0');
			p += 3;
			found = true;
		} else {
			*to++ = *p++;
		}
	}
	*to = '\0';
	return found;
}

static size_t n_slashes(const char *p)
{
	size_t n = 0;

	for (; *p; p++)
		n += *p == '/';
	return n;
}

static void no_dot_segment(const char *p)
{
	for (; (p = strchr(p, '/')) != NULL; p++) {
		size_t dots = strspn(p + 1, ".");

		if (dots == 1 || dots == 2)
			must(p[1 + dots] != '/' && p[1 + dots] != '\0' && p[1 + dots] != ';');
	}
}

static void check_path(const char *path)
{
	char again[HTTP_URL_PATH_BYTES], text[HTTP_URL_PATH_BYTES];
	const char *why = NULL;

	must(path[0] == '/');
	must(http_path_canonical(slice_of(path), again, sizeof(again), &why));
	must(strcmp(path, again) == 0);
	strcpy(text, path);
	do {
		no_dot_segment(text);
		must(n_slashes(text) == n_slashes(path) && !strchr(text, '\\'));
		must(strcspn(text, "\r\n\t\x7f") == strlen(text));
	} while (decode(text));
}

static void check_url(const struct http_url *u)
{
	static struct http_url again;
	char text[HTTP_URL_HOST_BYTES + HTTP_URL_PATH_BYTES + 32];
	const char *why = NULL;

	http_url_print(u, text, sizeof(text));
	must(http_url_parse(slice_of(text), &again, &why));
	must(strcmp(u->host, again.host) == 0 && strcmp(u->path, again.path) == 0);
	must(u->port == again.port && u->https == again.https && u->port > 0);
	must(addr_eq(&u->ip, &again.ip) && !again.query.p);
	/* Nothing that is not the address says so. */
	must((u->ip.family != ADDR_NONE) ==
	     (strspn(u->host, "0123456789.") == strlen(u->host) || strchr(u->host, ':')));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct http_url u;
	struct slice text = { (const char *)data, size };
	char path[HTTP_URL_PATH_BYTES];
	const char *why = NULL;

	if (http_path_canonical(text, path, sizeof(path), &why))
		check_path(path);
	else
		must(why != NULL);
	why = NULL;
	if (http_url_parse(text, &u, &why)) {
		check_url(&u);
		check_path(u.path);
	} else {
		must(why != NULL);
	}
	why = NULL;
	if (http_authority_parse(text, 80, &u, &why))
		check_url(&u);
	else
		must(why != NULL);
	return 0;
}
