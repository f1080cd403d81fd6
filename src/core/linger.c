#include "core/linger.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/loop.h"

struct lingering {
	struct loop *loop;
	struct loop_guest guest;
	struct event readable;
	struct timer timer;
	size_t n_read;
	int fd;
};

static void linger_end(void *arg)
{
	struct lingering *g = arg;

	loop_guest_leave(g->loop, &g->guest);
	timer_stop(loop_timers(g->loop), &g->timer);
	event_del(&g->readable);
	close(g->fd);
	free(g);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct lingering *g = arg;
	char waste[16384];
	ssize_t n = read(fd, waste, sizeof(waste));

	if (n > 0)
		g->n_read += (size_t)n;
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) || g->n_read > LINGER_READ_MAX)
		linger_end(g);
}

void linger_close(struct loop *loop, int fd)
{
	struct lingering *g = calloc(1, sizeof(*g));

	if (!g || !loop_guest_enter(loop, &g->guest, LINGER_MAX, linger_end, g)) {
		free(g);
		close(fd);
		return;
	}
	g->loop = loop;
	g->fd = fd;
	timer_init(&g->timer, linger_end, g);
	event_assign(&g->readable, loop_base(loop), fd, EV_READ | EV_PERSIST, on_readable, g);
	if (event_add(&g->readable, NULL) < 0) {
		linger_end(g);
		return;
	}
	timer_start(loop_timers(loop), &g->timer, LINGER_MS);
	shutdown(fd, SHUT_WR);
}
