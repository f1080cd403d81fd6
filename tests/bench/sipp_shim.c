/* Preloaded into Debian's sipp 3.6.1 (tests/bench/sipp) for the media bench.
 *
 * It writes its message log through a full buffer, and the bench reads media addresses from that
 * log while the calls are up: files that it opens for writing are written line by line.
 *
 * It binds the media port of -mp and the one two above, though it plays no media, and the bench's
 * own generator needs them: $SIPP_MEDIA_PORT, the number given to -mp, is bound to a port of no
 * meaning. */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

FILE *fopen(const char *path, const char *mode)
{
	FILE *(*real)(const char *, const char *) =
		(FILE * (*)(const char *, const char *)) dlsym(RTLD_NEXT, "fopen");
	FILE *f = real ? real(path, mode) : NULL;

	if (f && mode[0] != 'r')
		setvbuf(f, NULL, _IOLBF, BUFSIZ);
	return f;
}

int bind(int fd, const struct sockaddr *address, socklen_t size)
{
	int (*real)(int, const struct sockaddr *, socklen_t) =
		(int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "bind");
	const char *text = getenv("SIPP_MEDIA_PORT");
	unsigned long media = text ? strtoul(text, NULL, 10) : 0;
	struct sockaddr_in in;

	if (!real || address->sa_family != AF_INET || size < sizeof(in) || media == 0)
		return real ? real(fd, address, size) : -1;
	memcpy(&in, address, sizeof(in));
	if (ntohs(in.sin_port) == media || ntohs(in.sin_port) == media + 2)
		in.sin_port = 0;
	return real(fd, (const struct sockaddr *)&in, sizeof(in));
}
