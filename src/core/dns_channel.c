#include "core/dns_channel.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/time.h>

#include "base/buf.h"
#include "base/list.h"
#include "core/loop.h"

struct sock {
	struct list node;
	int fd;
	struct event *event;
	struct dns_channel *channel;
};

struct dns_channel {
	struct loop *loop;
	ares_channel ares;
	struct list socks;
	struct timer timer;
	unsigned depth; /* calls into c-ares on the stack: it must not be destroyed under them */
	bool closing;
};

struct question {
	void (*done)(int status, struct slice message, void *arg);
	void *arg;
};

static void really_free(struct dns_channel *ch)
{
	if (ch->ares)
		ares_destroy(ch->ares);
	timer_stop(loop_timers(ch->loop), &ch->timer);
	LIST_FOREACH_SAFE (it, &ch->socks) {
		struct sock *s = CONTAINER_OF(it, struct sock, node);

		event_free(s->event);
		free(s);
	}
	ares_library_cleanup();
	free(ch);
}

/* c-ares knows when it wants to be called next; one timer follows it. */
static int arm(struct dns_channel *ch)
{
	struct timeval tv, *next = ares_timeout(ch->ares, NULL, &tv);

	/* It cuts off what is below a millisecond: asked again at 0 it would be so a thousand
	 * times. */
	if (next)
		timer_start(loop_timers(ch->loop), &ch->timer,
			    (int64_t)tv.tv_sec * 1000 + tv.tv_usec / 1000 + 1);
	else
		timer_stop(loop_timers(ch->loop), &ch->timer);
	return 0;
}

static void enter(struct dns_channel *ch)
{
	ch->depth++;
}

static void leave(struct dns_channel *ch)
{
	if (ch->depth == 1 && !ch->closing && arm(ch) < 0) {
		/* No memory for the timer: better an error now than a question without an end. */
		ares_cancel(ch->ares);
	}
	if (--ch->depth == 0 && ch->closing)
		really_free(ch);
}

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
	struct dns_channel *ch = ((struct sock *)arg)->channel;

	enter(ch);
	ares_process_fd(ch->ares, what & EV_READ ? fd : ARES_SOCKET_BAD,
			what & EV_WRITE ? fd : ARES_SOCKET_BAD);
	leave(ch);
}

static void on_timer(void *arg)
{
	struct dns_channel *ch = arg;

	enter(ch);
	ares_process_fd(ch->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	leave(ch);
}

static struct sock *find_sock(struct dns_channel *ch, int fd)
{
	LIST_FOREACH (it, &ch->socks) {
		struct sock *s = CONTAINER_OF(it, struct sock, node);

		if (s->fd == fd)
			return s;
	}
	return NULL;
}

/* c-ares says what it waits for. Without memory the socket stays deaf and the question times out.
 */
static void on_sock_state(void *arg, ares_socket_t fd, int readable, int writable)
{
	struct dns_channel *ch = arg;
	struct sock *s = find_sock(ch, fd);
	short what = (short)(EV_PERSIST | (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0));

	if (s) {
		list_del(&s->node);
		event_free(s->event);
		free(s);
	}
	if (!readable && !writable)
		return;
	s = calloc(1, sizeof(*s));
	if (!s)
		return;
	s->fd = fd;
	s->channel = ch;
	s->event = event_new(loop_base(ch->loop), fd, what, on_socket, s);
	if (!s->event) {
		free(s);
		return;
	}
	event_add(s->event, NULL);
	list_add_tail(&ch->socks, &s->node);
}

static int set_servers(struct dns_channel *ch, const struct conf_names *servers)
{
	struct buf csv;
	int result = -ENOMEM;

	if (servers->n == 0)
		return 0;
	buf_init(&csv, 4096);
	for (size_t i = 0; i < servers->n; i++) {
		char text[ADDR_STR_BYTES];
		struct addr a;

		if (!addr_parse(slice_of(servers->v[i]), NAMESERVER_PORT, &a)) {
			buf_fini(&csv);
			return -EINVAL;
		}
		buf_printf(&csv, "%s%s", i ? "," : "", addr_str(&a, text));
	}
	if (!csv.failed)
		result = ares_set_servers_ports_csv(ch->ares, csv.p) == ARES_SUCCESS ? 0 : -EINVAL;
	buf_fini(&csv);
	return result;
}

struct dns_channel *dns_channel_new(struct loop *loop, const struct dns_conf *conf, int *error)
{
	struct dns_channel *ch = calloc(1, sizeof(*ch));
	struct ares_options options = {
		.flags = ARES_FLAG_NOALIASES, /* $HOSTALIASES is none of a daemon's business */
		.timeout = (int)conf->timeout_ms,
		.tries = (int)conf->tries,
		.sock_state_cb = on_sock_state,
		.sock_state_cb_data = ch,
	};
	int status;

	*error = -ENOMEM;
	if (!ch)
		return NULL;
	ch->loop = loop;
	list_init(&ch->socks);
	timer_init(&ch->timer, on_timer, ch);
	if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS) {
		free(ch);
		return NULL;
	}
	status = ares_init_options(&ch->ares, &options,
				   ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
					   ARES_OPT_SOCK_STATE_CB);
	*error = status == ARES_ENOMEM ? -ENOMEM : status == ARES_SUCCESS ? 0 : -EINVAL;
	if (*error)
		ch->ares = NULL;
	else
		*error = set_servers(ch, &conf->servers);
	if (*error == 0)
		return ch;
	really_free(ch);
	return NULL;
}

void dns_channel_free(struct dns_channel *ch)
{
	if (!ch)
		return;
	ch->closing = true;
	if (ch->depth == 0)
		really_free(ch);
}

static int status_of(int ares_status)
{
	switch (ares_status) {
	case ARES_SUCCESS:
		return 0;
	case ARES_ENOTFOUND:
	case ARES_ENODATA:
	case ARES_EBADNAME:
		return -ENOENT;
	case ARES_ETIMEOUT:
		return -ETIMEDOUT;
	case ARES_ENOMEM:
	case ARES_ECANCELLED: /* by leave() */
		return -ENOMEM;
	case ARES_EDESTRUCTION:
		return -ECANCELED;
	default:
		return -EAGAIN;
	}
}

static void on_answer(void *arg, int ares_status, int timeouts, unsigned char *message, int n)
{
	struct question *q = arg;
	int status = status_of(ares_status);
	struct slice s = SLICE_NONE;

	if ((status == 0 || status == -ENOENT) && message && n > 0)
		s = (struct slice){ (const char *)message, (size_t)n };
	q->done(status, s, q->arg);
	free(q);
}

void dns_channel_ask(struct dns_channel *ch, const char *name, enum dns_type type,
		     void (*done)(int status, struct slice message, void *arg), void *arg)
{
	struct question *q = malloc(sizeof(*q));

	if (!q) {
		done(-ENOMEM, SLICE_NONE, arg);
		return;
	}
	*q = (struct question){ done, arg };
	enter(ch);
	ares_search(ch->ares, name, ns_c_in, type, on_answer, q);
	leave(ch);
}
