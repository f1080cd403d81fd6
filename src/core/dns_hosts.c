#include "core/dns_hosts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"

#define MAX_FILE_BYTES (1024 * 1024)

struct dns_hosts {
	char *path;
	struct buf text;
	struct stat seen;
};

struct dns_hosts *dns_hosts_new(const char *path)
{
	struct dns_hosts *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	buf_init(&h->text, MAX_FILE_BYTES);
	h->path = strdup(path);
	if (!h->path) {
		free(h);
		return NULL;
	}
	return h;
}

void dns_hosts_free(struct dns_hosts *h)
{
	if (!h)
		return;
	buf_fini(&h->text);
	free(h->path);
	free(h);
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static void read_file(struct dns_hosts *h)
{
	int fd = open(h->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char chunk[4096];
	ssize_t n;

	buf_reset(&h->text);
	if (fd < 0)
		return;
	while ((n = read(fd, chunk, sizeof(chunk))) > 0 && !h->text.failed)
		buf_add(&h->text, chunk, (size_t)n);
	close(fd);
	if (h->text.failed)
		buf_reset(&h->text);
}

void dns_hosts_refresh(struct dns_hosts *h)
{
	struct stat now = { 0 };

	if (stat(h->path, &now) < 0 || !S_ISREG(now.st_mode)) {
		buf_reset(&h->text);
		h->seen = (struct stat){ 0 };
		return;
	}
	if (same_file(&now, &h->seen))
		return;
	h->seen = now;
	read_file(h);
}

static void add(struct dns_answer *out, const struct addr *addr)
{
	for (size_t i = 0; i < out->n; i++) {
		if (addr_ip_eq(&out->records[i].addr, addr))
			return;
	}
	if (out->n < DNS_MAX_RECORDS)
		out->records[out->n++] = (struct dns_record){ .addr = *addr };
}

static void parse_line(struct slice line, struct slice name, struct dns_answer *out)
{
	struct slice word;
	struct addr addr;

	line.n = slice_find(line, '#');
	if (!addr_parse_ip(slice_word(&line), 0, &addr))
		return;
	while ((word = slice_word(&line)).n > 0) {
		if (slice_caseeq(word, name)) {
			add(out, &addr);
			return;
		}
	}
}

void dns_hosts_parse(struct slice text, struct slice name, struct dns_answer *out)
{
	while (text.p)
		parse_line(slice_trim(slice_next(&text, '\n')), name, out);
}

void dns_hosts_find(const struct dns_hosts *h, struct slice name, struct dns_answer *out)
{
	out->n = 0;
	out->ttl_s = 0;
	if (name.n > 0 && name.p[name.n - 1] == '.')
		name.n--;
	dns_hosts_parse(buf_slice(&h->text), name, out);
	out->status = out->n ? 0 : -ENOENT;
}
