#include "core/acceptor.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/alarm.h"
#include "core/loop.h"
#include "core/module.h"
#include "core/net.h"

#define MAX_ACCEPTS_A_TURN 32
#define PAUSE_MS	   100
#define ALARM_FDS	   "no-descriptors"

struct acceptor {
	struct env *env;
	struct event acceptable;
	struct timer pause;
	struct addr local;
	void (*accepted)(void *arg, int fd, const struct addr *from);
	void *arg;
	int fd;
	bool paused;
	/* The taker may free it inside its callback. */
	bool in_callback, freed;
};

static bool is_shortage(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

/* Out of descriptors: the pending connection stays pending, and asking again at once would spin. */
static void pause_accepting(struct acceptor *a, int error)
{
	char where[ADDR_STR_BYTES];

	timer_start(loop_timers(a->env->loop), &a->pause, PAUSE_MS);
	event_del(&a->acceptable);
	a->paused = true;
	alarm_raise(a->env->alarms, ALARM_FDS, addr_str(&a->local, where), ALARM_ERROR,
		    "raise LimitNOFILE of the service, or lower the limits of connections",
		    "no new connection can be accepted on %s: %s", where, strerror(error));
}

static void clear_pause(struct acceptor *a)
{
	char where[ADDR_STR_BYTES];

	if (a->paused)
		alarm_clear(a->env->alarms, ALARM_FDS, addr_str(&a->local, where));
	a->paused = false;
}

static void on_pause_over(void *arg)
{
	struct acceptor *a = arg;

	if (event_add(&a->acceptable, NULL) < 0)
		timer_start(loop_timers(a->env->loop), &a->pause, PAUSE_MS);
}

static void on_acceptable(evutil_socket_t fd, short what, void *arg)
{
	struct acceptor *a = arg;

	a->in_callback = true;
	for (int i = 0; i < MAX_ACCEPTS_A_TURN && !a->freed; i++) {
		struct sockaddr_storage ss = { 0 };
		socklen_t n = sizeof(ss);
		struct addr from;
		int got = accept4(fd, (struct sockaddr *)&ss, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (got < 0) {
			if (is_shortage(errno))
				pause_accepting(a, errno);
			break;
		}
		clear_pause(a);
		from = addr_from_sockaddr((struct sockaddr *)&ss);
		a->accepted(a->arg, got, &from);
	}
	a->in_callback = false;
	if (a->freed)
		free(a);
}

struct acceptor *acceptor_new(struct env *env, int fd,
			      void (*accepted)(void *arg, int fd, const struct addr *from),
			      void *arg, int *error)
{
	struct acceptor *a = calloc(1, sizeof(*a));

	*error = -ENOMEM;
	if (!a) {
		close(fd);
		return NULL;
	}
	a->env = env;
	a->fd = fd;
	a->local = net_local_addr(fd);
	a->accepted = accepted;
	a->arg = arg;
	timer_init(&a->pause, on_pause_over, a);
	event_assign(&a->acceptable, loop_base(env->loop), fd, EV_READ | EV_PERSIST, on_acceptable,
		     a);
	if (event_add(&a->acceptable, NULL) == 0) {
		*error = 0;
		return a;
	}
	close(fd);
	free(a);
	return NULL;
}

void acceptor_free(struct acceptor *a)
{
	if (!a)
		return;
	timer_stop(loop_timers(a->env->loop), &a->pause);
	clear_pause(a);
	event_del(&a->acceptable);
	close(a->fd);
	a->freed = true;
	if (!a->in_callback)
		free(a);
}
