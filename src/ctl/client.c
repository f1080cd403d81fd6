#include "ctl/client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define TIMEOUT_S 30

static void explain(const char *path, int error, char why[CLIENT_WHY_BYTES])
{
	const char *what = strerror(-error);
	const char *check = "Check that turnpiked runs (systemctl status turnpiked) and that "
			    "--socket names control-socket\nof the [system] section of its "
			    "configuration.";

	if (error == -EACCES || error == -EPERM)
		check = "Run it as root or as a member of the group that control-group in the "
			"[system] section names.";
	else if (error == -EAGAIN || error == -ETIMEDOUT)
		what = "no answer within 30 seconds";
	else if (error == -ECONNREFUSED)
		what = "the socket is there, but nobody listens";
	else if (error == -EBADMSG)
		what = "what answers there is not turnpiked, or broke off";
	snprintf(why, CLIENT_WHY_BYTES, "cannot reach turnpiked at %s: %s\n%s", path, what, check);
}

static int dial(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct timeval timeout = { .tv_sec = TIMEOUT_S };
	int fd, r;

	if (!slice_copy(sun.sun_path, sizeof(sun.sun_path), slice_of(path)))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0 ||
	    connect(fd, (const struct sockaddr *)&sun, sizeof(sun)) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

static int send_all(int fd, struct slice s)
{
	while (s.n > 0) {
		ssize_t n = send(fd, s.p, s.n, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		s.p += n;
		s.n -= (size_t)n;
	}
	return 0;
}

static int read_all(int fd, struct buf *raw)
{
	char chunk[16384];

	for (;;) {
		ssize_t n = recv(fd, chunk, sizeof(chunk), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		buf_add(raw, chunk, (size_t)n);
		if (raw->failed)
			return -ENOMEM;
	}
}

static int exchange(int fd, const char *method, const char *target, struct buf *raw)
{
	struct buf request;
	int r;

	buf_init(&request, 64 * 1024);
	buf_printf(&request, "%s %s HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
		   method, target);
	r = request.failed ? -ENOMEM : send_all(fd, buf_slice(&request));
	buf_fini(&request);
	return r < 0 ? r : read_all(fd, raw);
}

int client_call(const char *socket_path, const char *method, const char *target,
		struct client_reply *reply, char why[CLIENT_WHY_BYTES])
{
	int fd = dial(socket_path), r = fd;

	*reply = (struct client_reply){ 0 };
	buf_init(&reply->raw, CLIENT_MAX_REPLY_BYTES);
	if (fd >= 0) {
		r = exchange(fd, method, target, &reply->raw);
		close(fd);
	}
	if (r == 0)
		r = client_reply_parse(reply);
	if (r < 0)
		explain(socket_path, r, why);
	return r;
}

static int parse_status(struct slice line, int *status)
{
	uint64_t v;

	slice_next(&line, ' ');
	if (!slice_u64(slice_next(&line, ' '), 999, &v) || v < 100)
		return -EBADMSG;
	*status = (int)v;
	return 0;
}

int client_reply_parse(struct client_reply *reply)
{
	struct slice rest = buf_slice(&reply->raw);
	struct slice line = slice_trim(slice_next(&rest, '\n'));
	uint64_t length;

	if (!slice_starts(line, SLICE("HTTP/1.")) || parse_status(line, &reply->status) < 0)
		return -EBADMSG;
	length = UINT64_MAX;
	for (;;) {
		struct slice value;

		if (!rest.p)
			return -EBADMSG;
		value = slice_trim(slice_next(&rest, '\n'));
		if (value.n == 0)
			break;
		if (slice_caseeq(slice_next(&value, ':'), SLICE("Content-Length")) &&
		    !slice_u64(slice_trim(value), CLIENT_MAX_REPLY_BYTES, &length))
			return -EBADMSG;
	}
	reply->body = rest;
	if (length != UINT64_MAX) {
		if (rest.n < length)
			return -EBADMSG;
		reply->body.n = (size_t)length;
	}
	return 0;
}

void client_add_query(struct buf *target, const char *key, const char *value)
{
	bool has_query = target->n && slice_find(buf_slice(target), '?') < target->n;

	buf_printf(target, "%c%s=", has_query ? '&' : '?', key);
	for (; *value; value++) {
		unsigned char c = (unsigned char)*value;

		if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		    strchr("-._~", c))
			buf_add_char(target, *value);
		else
			buf_printf(target, "%%%02X", c);
	}
}
