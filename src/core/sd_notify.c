#include "core/sd_notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/slice.h"

int sd_notify_send(const char *fmt, ...)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	struct slice path = slice_of(getenv("NOTIFY_SOCKET"));
	char text[512];
	int fd, n, error = 0;
	va_list ap;

	if (path.n == 0)
		return 0;
	if ((path.p[0] != '/' && path.p[0] != '@') || path.n >= sizeof(to.sun_path))
		return -EINVAL;
	memcpy(to.sun_path, path.p, path.n);
	if (path.p[0] == '@') /* abstract name */
		to.sun_path[0] = '\0';
	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(text))
		return -EMSGSIZE;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (sendto(fd, text, (size_t)n, MSG_NOSIGNAL, (struct sockaddr *)&to,
		   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.n)) < 0)
		error = -errno;
	close(fd);
	return error;
}

uint64_t sd_notify_watchdog_us(void)
{
	uint64_t us, pid;

	if (!slice_u64(slice_of(getenv("WATCHDOG_USEC")), UINT64_MAX, &us))
		return 0;
	/* Meant for another process of the unit? */
	if (getenv("WATCHDOG_PID") &&
	    (!slice_u64(slice_of(getenv("WATCHDOG_PID")), UINT64_MAX, &pid) ||
	     pid != (uint64_t)getpid()))
		return 0;
	return us;
}
