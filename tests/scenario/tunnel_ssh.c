/* E and C over real SSH on loopback: streams, keys, dead peers, take-over. */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <malloc.h>
#include <sys/wait.h>

#include "support/tunnel_box.h"
#include "tunnel/channel.h"

#define N(x) (sizeof(x) / sizeof((x)[0]))

/* --- an application on both sides: sends a pattern, checks the other's --- */

struct app {
	struct fixture *fx;
	struct stream *s;
	uint64_t to_send, sent, got, bad;
	uint32_t seed_out, seed_in;
	bool opened, closed, reads;
	enum stream_end end;
	char why[128];
};

static uint8_t pattern(uint64_t i, uint32_t seed)
{
	return (uint8_t)((i * 2654435761u + seed) >> 11);
}

static void app_send(struct app *a)
{
	uint8_t block[16384];

	while (a->s && a->sent < a->to_send && !stream_is_full(a->s)) {
		size_t n = sizeof(block);

		if (n > a->to_send - a->sent)
			n = (size_t)(a->to_send - a->sent);
		for (size_t i = 0; i < n; i++)
			block[i] = pattern(a->sent + i, a->seed_out);
		evbuffer_add(stream_out(a->s), block, n);
		a->sent += n;
	}
	if (a->s)
		stream_flush(a->s);
}

static void app_opened(void *arg)
{
	struct app *a = arg;

	a->opened = true;
	app_send(a);
}

static void app_readable(void *arg)
{
	struct app *a = arg;
	struct evbuffer *in = stream_in(a->s);

	if (!a->reads)
		return;
	while (evbuffer_get_length(in) > 0) {
		size_t n = evbuffer_get_contiguous_space(in);
		const uint8_t *p = evbuffer_pullup(in, (ev_ssize_t)n);

		for (size_t i = 0; i < n; i++)
			a->bad += p[i] != pattern(a->got + i, a->seed_in);
		a->got += n;
		evbuffer_drain(in, n);
	}
	stream_consumed(a->s);
}

static void app_writable(void *arg)
{
	app_send(arg);
}

static void app_closed(void *arg, enum stream_end end, const char *why)
{
	struct app *a = arg;

	if (a->reads)
		app_readable(a);
	a->closed = true;
	a->end = end;
	a->s = NULL;
	snprintf(a->why, sizeof(a->why), "%s", why);
}

static const struct stream_handler app_handler = { app_opened, app_readable, app_writable,
						   app_closed };

/* The C side: takes streams in order. */
struct taker {
	struct app apps[64];
	unsigned n;
};

static void take(struct box *b, struct stream *s)
{
	struct taker *t = b->app;
	struct app *a = &t->apps[t->n++ % N(t->apps)];

	a->s = s;
	a->opened = true;
	stream_set_handler(s, &app_handler, a);
	app_send(a);
}

static void app_open(struct fixture *fx, struct app *a)
{
	int error;

	a->fx = fx;
	a->s = fx->e.ops->open(fx->e.self, 1, TUNNEL_HTTP, &app_handler, a, &error);
	if (!a->s)
		fail_msg("open: %s", strerror(-error));
}

static void start_both(struct fixture *fx, const char *e_more, const char *c_more, struct taker *t)
{
	unsigned n = strstr(c_more, "connections = 1") ? 1 : 2;

	fx->e.n_items = 3;
	fx->c.n_items = 5;
	fx->c.on_stream = take;
	fx->c.app = t;
	start_e(fx, e_more);
	start_c(fx, c_more);
	UNTIL(box_peer(&fx->e).n_connections == n && box_peer(&fx->c).n_connections == n);
	UNTIL(fx->e.n_got == 5 && fx->c.n_got == 3 && fx->e.n_synced >= 1 && fx->c.n_synced >= 1);
}

static void connects_and_syncs(void **state)
{
	struct fixture *fx = *state;
	struct taker t = { 0 };
	struct tunnel_peer_info info;
	json_t *item = json_pack("{s:i}", "n", 99);

	start_both(fx, "", "", &t);
	info = box_peer(&fx->e);
	assert_true(info.up);
	assert_string_equal(info.name, "core1");
	assert_string_equal(info.system_name, "core1.test");
	assert_string_equal(box_peer(&fx->c).system_name, "edge1.test");
	assert_int_equal(conn_count(fx->e.env.conns, CONN_TUNNEL), 2);
	assert_int_equal(conn_count(fx->c.env.conns, CONN_TUNNEL), 2);
	assert_false(box_alarm(&fx->e, "tunnel-down").found);
	fx->c.ops->put(fx->c.self, 0, "state", "new", item);
	UNTIL(fx->e.n_got == 6);
	assert_string_equal(fx->e.last_key, "new");
	fx->e.ops->del(fx->e.self, 1, "state", "k0");
	UNTIL(fx->c.n_got == 2);
	json_decref(item);
}

/* The member that only libssh's own struct has is where we look for it: a channel that nobody has
 * opened has a packet size of zero. */
static void tiny_packets_are_seen(void **state)
{
	struct fixture *fx = *state;
	struct taker t = { 0 };
	const struct list *first;
	ssh_channel ch;

	start_both(fx, "", "", &t);
	first = conn_list(fx->e.env.conns, CONN_TUNNEL)->next;
	ch = ssh_channel_new(
		CONTAINER_OF(CONTAINER_OF(first, struct conn, node), struct ssh_conn, conn)
			->session);
	assert_non_null(ch);
	assert_false(chan_peer_is_sane(ch));
	ssh_channel_free(ch);
}

static void streams_carry_bytes_both_ways(void **state)
{
	struct fixture *fx = *state;
	struct taker t = { 0 };
	struct app a = { .seed_out = 1, .seed_in = 2, .to_send = 50000000, .reads = true };

	t.apps[0] = (struct app){ .seed_out = 2, .seed_in = 1, .to_send = 50000000, .reads = true };
	start_both(fx, "", "", &t);
	app_open(fx, &a);
	UNTIL(a.opened && t.n == 1);
	assert_int_equal(conn_count(fx->e.env.conns, CONN_CHANNEL), 1);
	assert_int_equal(conn_count(fx->c.env.conns, CONN_CHANNEL), 1);
	UNTIL_MS(a.got == 50000000 && t.apps[0].got == 50000000, 60000);
	assert_int_equal(a.bad, 0);
	assert_int_equal(t.apps[0].bad, 0);
	stream_close(a.s);
	a.s = NULL;
	UNTIL(t.apps[0].closed);
	assert_int_equal(t.apps[0].end, STREAM_END_EOF);
	UNTIL(conn_count(fx->e.env.conns, CONN_CHANNEL) == 0 &&
	      conn_count(fx->c.env.conns, CONN_CHANNEL) == 0);
}

static void a_stalled_stream_stops_no_other(void **state)
{
	struct fixture *fx = *state;
	struct taker t = { 0 };
	struct app slow = { .seed_out = 1, .to_send = 20000000 },
		   fast = { .seed_out = 3, .to_send = 20000000 };
	struct app *slow_end = &t.apps[0], *fast_end = &t.apps[1];
	const struct conn *c;
	uint64_t had;

	t.apps[0] = (struct app){ .seed_in = 1 };
	t.apps[1] = (struct app){ .seed_in = 3, .reads = true };
	start_both(fx, "", "connections = 1\n", &t);
	app_open(fx, &slow);
	UNTIL(t.n == 1 && slow.opened);
	app_open(fx, &fast);
	UNTIL(fast_end->got == 20000000);
	/* What the slow one may hold: the buffer here, libssh's window there, ours on this side. */
	c = CONTAINER_OF(conn_list(fx->e.env.conns, CONN_CHANNEL)->next, struct conn, node);
	assert_true(slow.sent < 3000000);
	assert_true(c->tx_bytes < 2000000);
	had = evbuffer_get_length(stream_in(slow_end->s));
	assert_true(had <= STREAM_HIGH_BYTES);
	/* And when it goes on, nothing is missing. */
	slow_end->reads = true;
	app_readable(slow_end);
	UNTIL(slow_end->got == 20000000);
	assert_int_equal(slow_end->bad + fast_end->bad, 0);
	stream_close(slow.s);
	stream_close(fast.s);
	UNTIL(slow_end->closed && fast_end->closed);
}

/* Takes n bytes and looks at them. */
static void app_take(struct app *a, size_t n)
{
	struct evbuffer *in = stream_in(a->s);
	uint8_t *p = malloc(n);
	int got = evbuffer_remove(in, p, n);

	for (int i = 0; i < got; i++)
		a->bad += p[i] != pattern(a->got + (size_t)i, a->seed_in);
	a->got += got > 0 ? (size_t)got : 0;
	free(p);
	stream_consumed(a->s);
}

/* libssh opens its window anew with each read of a piece, whatever it still holds. */
static void a_trickling_stream_stays_bounded(void **state)
{
	struct fixture *fx = *state;
	struct taker t = { 0 };
	struct app slow = { .seed_out = 1, .to_send = 20000000 };
	struct app *slow_end = &t.apps[0];

	t.apps[0] = (struct app){ .seed_in = 1 };
	start_both(fx, "", "connections = 1\n", &t);
	app_open(fx, &slow);
	UNTIL(t.n == 1 && slow.opened);
	while (slow_end->got < 3000000) {
		size_t before = slow_end->got;
		unsigned n_turns = 0;

		/* Until nothing more comes. */
		UNTIL(slow_end->closed || ++n_turns == 50);
		assert_false(slow_end->closed);
		app_take(slow_end, 50000);
		assert_int_equal(slow_end->got, before + 50000);
		/* Two windows there, a buffer on each side, and what is under way. */
		assert_true(slow.sent - slow_end->got < 4000000);
	}
	assert_int_equal(slow_end->bad, 0);
	slow_end->reads = true;
	app_readable(slow_end);
	UNTIL(slow_end->got == 20000000);
	assert_int_equal(slow_end->bad, 0);
	stream_close(slow.s);
	UNTIL(slow_end->closed);
}

/* Nobody reads: the one that holds most ends, and only as many as must. */
static void all_that_waits_is_bounded(void **state)
{
	enum { N = 16 };
	struct fixture *fx = *state;
	/* The streams end with the boxes, after this function. */
	static struct taker t;
	static struct app apps[N];
	unsigned n_ended, n_turns = 0;

	start_both(fx, "", "connections = 1\nmax-held = 16m\n", &t);
	for (unsigned i = 0; i < N; i++) {
		t.apps[i] = (struct app){ .seed_in = 1 };
		apps[i] = (struct app){ .seed_out = 1, .to_send = 20000000 };
		app_open(fx, &apps[i]);
		UNTIL(t.n == i + 1 && apps[i].opened);
	}
	UNTIL(trace_count(fx->c.env.trace, "tunnel.held") > 0);
	UNTIL(++n_turns == 200);
	n_ended = (unsigned)trace_count(fx->c.env.trace, "tunnel.held");
	assert_true(n_ended >= 1 && n_ended < N / 2);
	for (unsigned i = 0; i < N; i++) {
		if (t.apps[i].closed)
			assert_int_equal(t.apps[i].end, STREAM_END_ERROR);
		n_ended -= t.apps[i].closed;
	}
	assert_int_equal(n_ended, 0);
	/* The others go on. */
	for (unsigned i = 0; i < N; i++) {
		struct app *a = &t.apps[i];

		if (a->closed)
			continue;
		a->reads = true;
		app_readable(a);
		UNTIL(a->got == 20000000);
		assert_int_equal(a->bad, 0);
		break;
	}
}

static void half_close_and_refusals(void **state)
{
	struct fixture *fx = *state;
	struct taker t = { 0 };
	struct app a = { .seed_out = 1, .seed_in = 2, .to_send = 1000, .reads = true };
	struct app bad = { 0 };
	struct app *end = &t.apps[0];
	int error;

	t.apps[0] = (struct app){ .seed_in = 1, .seed_out = 2, .reads = true };
	start_both(fx, "", "connections = 1\n", &t);
	app_open(fx, &a);
	stream_shutdown(a.s);
	UNTIL(t.n == 1 && end->s && stream_eof(end->s) && end->got == 1000);
	/* The other way is still open. */
	end->to_send = 300000;
	app_send(end);
	UNTIL(a.got == 300000);
	stream_shutdown(end->s);
	UNTIL(a.closed && end->closed);
	assert_int_equal(a.end, STREAM_END_EOF);
	assert_int_equal(end->end, STREAM_END_EOF);
	assert_int_equal(a.bad + end->bad, 0);
	/* An E that wants something else. */
	bad.s = fx->e.ops->open(fx->e.self, 1, "192.0.2.1", &app_handler, &bad, &error);
	assert_non_null(bad.s);
	UNTIL(bad.closed);
	assert_int_equal(bad.end, STREAM_END_REFUSED);
	assert_int_equal(trace_count(fx->c.env.trace, "tunnel.hostile.channel"), 1);
	assert_true(box_alarm(&fx->c, "tunnel-hostile").found);
	assert_non_null(strstr(box_alarm(&fx->c, "tunnel-hostile").text, "192.0.2.1"));
	assert_int_equal(t.n, 1);
	/* Three times, and the connection ends (and comes back). */
	for (int i = 0; i < 2; i++) {
		bad = (struct app){ 0 };
		bad.s = fx->e.ops->open(fx->e.self, 1, "192.0.2.2", &app_handler, &bad, &error);
		assert_non_null(bad.s);
		UNTIL(bad.closed);
	}
	UNTIL(box_peer(&fx->e).n_connections == 0);
	UNTIL(box_peer(&fx->e).n_connections == 1);
	assert_null(fx->e.ops->open(fx->e.self, 2, TUNNEL_HTTP, &app_handler, &bad, &error));
	assert_int_equal(error, -EPIPE);
	assert_null(fx->c.ops->open(fx->c.self, 1, TUNNEL_HTTP, &app_handler, &bad, &error));
}

static void new_keys_in_the_middle(void **state)
{
	struct fixture *fx = *state;
	struct taker t = { 0 };
	struct app a = { .seed_out = 1, .seed_in = 2, .to_send = 30000000, .reads = true };

	t.apps[0] = (struct app){ .seed_out = 2, .seed_in = 1, .to_send = 30000000, .reads = true };
	start_both(fx, "rekey-bytes = 4m\n", "connections = 1\nrekey-bytes = 4m\n", &t);
	app_open(fx, &a);
	UNTIL_MS(a.got == 30000000 && t.apps[0].got == 30000000, 60000);
	assert_int_equal(a.bad + t.apps[0].bad, 0);
	assert_int_equal(box_peer(&fx->e).n_connections, 1);
	assert_int_equal(fx->e.n_downs, 0);
	stream_close(a.s);
	UNTIL(t.apps[0].closed);
}

static void wrong_client_key(void **state)
{
	struct fixture *fx = *state;
	char text[2048], *fp = fx->c_key.fingerprint;

	snprintf(text, sizeof(text), E_TEXT, fx->port, fx->e_key.path, "",
		 fx->other_key.fingerprint);
	box_start(fx, &fx->e, "edge", CONF_ROLE_E, text);
	start_c(fx, "connect-timeout = 2s\n");
	UNTIL(trace_count(fx->e.env.trace, "tunnel.key.unknown") >= 2);
	UNTIL(box_alarm(&fx->c, "tunnel-down").found);
	UNTIL(strstr(box_alarm(&fx->c, "tunnel-down").text, "does not know our key"));
	assert_false(box_peer(&fx->e).up);
	/* The admin copies the fingerprint: both stand for a while (rotation). */
	snprintf(text, sizeof(text), E_TEXT "  \n", fx->port, fx->e_key.path, "",
		 fx->other_key.fingerprint);
	sprintf(text + strlen(text) - 4, " %s\n", fp);
	box_reload(fx, &fx->e, text);
	UNTIL(box_peer(&fx->e).n_connections == 2);
	UNTIL(!box_alarm(&fx->c, "tunnel-down").found);
}

static void start_c_again(struct fixture *fx)
{
	box_stop(&fx->c);
	start_c(fx, "");
}

static void wrong_host_key(void **state)
{
	struct fixture *fx = *state;
	struct alarm_search alarm;
	char text[2048];

	start_e(fx, "");
	snprintf(text, sizeof(text), C_TEXT, fx->c_key.path, "", fx->port,
		 fx->other_key.fingerprint);
	box_start(fx, &fx->c, "core", CONF_ROLE_C, text);
	UNTIL(box_alarm(&fx->c, "tunnel-key").found);
	alarm = box_alarm(&fx->c, "tunnel-key");
	assert_non_null(strstr(alarm.text, fx->e_key.fingerprint));
	assert_non_null(strstr(alarm.text, fx->other_key.fingerprint));
	UNTIL(trace_count(fx->c.env.trace, "tunnel.key.changed") >= 3);
	/* Our key was never shown to the stranger. */
	assert_int_equal(trace_count(fx->e.env.trace, "tunnel.key.unknown"), 0);
	assert_int_equal(box_peer(&fx->e).n_connections, 0);
	start_c_again(fx);
	UNTIL(box_peer(&fx->e).n_connections == 2);
	assert_false(box_alarm(&fx->c, "tunnel-key").found);
}

/* --- a proxy that can freeze --- */

struct pipe_end {
	struct bufferevent *a, *b;
};
struct proxy {
	struct fixture *fx;
	struct evconnlistener *l;
	uint16_t port;
	struct pipe_end pipes[32];
	unsigned n;
	bool frozen;
};

static void proxy_read(struct bufferevent *from, void *arg)
{
	struct pipe_end *p = arg;

	bufferevent_write_buffer(from == p->a ? p->b : p->a, bufferevent_get_input(from));
}

static void proxy_event(struct bufferevent *from, short what, void *arg)
{
	struct pipe_end *p = arg;

	if (!(what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) || !p->a)
		return;
	bufferevent_free(p->a);
	bufferevent_free(p->b);
	p->a = p->b = NULL;
}

static void proxy_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa, int n,
			 void *arg)
{
	struct proxy *x = arg;
	struct pipe_end *p = &x->pipes[x->n++ % N(x->pipes)];
	struct event_base *base = loop_base(x->fx->loop);
	struct addr to;

	evutil_make_socket_nonblocking(fd);
	assert_true(addr_parse_ip(SLICE("127.0.0.1"), x->fx->port, &to));
	p->a = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
	p->b = bufferevent_socket_new(base, net_connect_tcp(&to, NULL, 0, 0),
				      BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(p->a, proxy_read, NULL, proxy_event, p);
	bufferevent_setcb(p->b, proxy_read, NULL, proxy_event, p);
	if (x->frozen)
		return;
	bufferevent_enable(p->a, EV_READ | EV_WRITE);
	bufferevent_enable(p->b, EV_READ | EV_WRITE);
}

static void proxy_freeze(struct proxy *x, unsigned i)
{
	if (!x->pipes[i].a)
		return;
	bufferevent_disable(x->pipes[i].a, EV_READ | EV_WRITE);
	bufferevent_disable(x->pipes[i].b, EV_READ | EV_WRITE);
}

static void proxy_start(struct fixture *fx, struct proxy *x)
{
	struct addr a;
	int fd;

	*x = (struct proxy){ .fx = fx };
	assert_true(addr_parse_ip(SLICE("127.0.0.1"), 0, &a));
	fd = net_listen_tcp(&a, 16);
	x->port = net_local_addr(fd).port;
	x->l = evconnlistener_new(loop_base(fx->loop), proxy_accept, x, LEV_OPT_CLOSE_ON_FREE, 0,
				  fd);
}

static void proxy_stop(struct proxy *x)
{
	for (unsigned i = 0; i < N(x->pipes); i++) {
		if (x->pipes[i].a)
			proxy_event(NULL, BEV_EVENT_EOF, &x->pipes[i]);
	}
	evconnlistener_free(x->l);
}

#define FAST_DPD "keepalive = 100ms\ndead-after = 400ms\n"

static void start_through_proxy(struct fixture *fx, struct proxy *x, struct taker *t)
{
	char text[2048];

	proxy_start(fx, x);
	fx->e.n_items = 3;
	fx->c.n_items = 5;
	fx->c.on_stream = take;
	fx->c.app = t;
	start_e(fx, FAST_DPD);
	snprintf(text, sizeof(text), C_TEXT, fx->c_key.path, FAST_DPD, x->port,
		 fx->e_key.fingerprint);
	box_start(fx, &fx->c, "core", CONF_ROLE_C, text);
	UNTIL(box_peer(&fx->e).n_connections == 2 && box_peer(&fx->c).n_connections == 2);
	UNTIL(fx->e.n_synced == 1 && fx->c.n_synced == 1);
}

/* E and C see within dead-after that one connection is frozen; streams of the other live on; the
 * tables come again over whichever is left. */
static void a_frozen_connection_is_found(void **state)
{
	struct fixture *fx = *state;
	struct taker t = { 0 };
	struct app a[2] = { { .reads = true }, { .reads = true } };
	struct proxy x;
	int64_t start;
	unsigned alive;

	start_through_proxy(fx, &x, &t);
	app_open(fx, &a[0]);
	UNTIL(a[0].opened);
	app_open(fx, &a[1]);
	UNTIL(a[0].opened && a[1].opened && t.n == 2);
	start = wall_ms();
	proxy_freeze(&x, 0);
	UNTIL(a[0].closed || a[1].closed);
	assert_in_range(wall_ms() - start, 200, 2000);
	alive = a[0].closed ? 1 : 0;
	assert_false(a[alive].closed);
	assert_int_equal(a[!alive].end, STREAM_END_ERROR);
	UNTIL(t.apps[0].closed || t.apps[1].closed);
	assert_true(trace_count(fx->e.env.trace, "tunnel.dead") >= 1);
	assert_int_equal(fx->e.n_downs, 0);
	UNTIL(box_peer(&fx->e).n_connections == 2);
	UNTIL(fx->e.n_got == 5 && fx->c.n_got == 3);
	assert_false(a[alive].closed);
	/* Everything freezes, and then comes back. */
	proxy_freeze(&x, 1);
	proxy_freeze(&x, 2);
	x.frozen = true;
	UNTIL(fx->e.n_downs == 1 && fx->c.n_downs == 1);
	assert_true(a[alive].closed);
	assert_true(box_alarm(&fx->e, "tunnel-down").found);
	assert_true(box_alarm(&fx->c, "tunnel-down").found);
	x.frozen = false;
	UNTIL_MS(fx->e.n_ups == 2 && fx->c.n_ups == 2, 40000);
	UNTIL(fx->e.n_got == 5 && fx->c.n_got == 3);
	assert_false(box_alarm(&fx->e, "tunnel-down").found);
	box_stop(&fx->c);
	box_stop(&fx->e);
	proxy_stop(&x);
}

/* C forgot its connections (kill -9, a firewall that lost its state): the same slots log in again.
 */
static void a_newcomer_takes_over(void **state)
{
	struct fixture *fx = *state;
	struct taker t = { 0 };
	struct app a = { .reads = true };
	char text[2048];

	start_both(fx, "", "", &t);
	app_open(fx, &a);
	UNTIL(a.opened);
	memset(&fx->other, 0, sizeof(fx->other));
	fx->other.n_items = 7;
	snprintf(text, sizeof(text), C_TEXT, fx->c_key.path, "retry-min = 30s\nretry-max = 30s\n",
		 fx->port, fx->e_key.fingerprint);
	/* The first C stays quiet after it was thrown out. */
	snprintf(text, sizeof(text), C_TEXT, fx->c_key.path, "retry-min = 20s\n", fx->port,
		 fx->e_key.fingerprint);
	char *at = strstr(text, "500ms");
	memcpy(at, "  40s", 5);
	box_reload(fx, &fx->c, text);
	box_start(fx, &fx->other, "again", CONF_ROLE_C, text);
	UNTIL(trace_count(fx->e.env.trace, "tunnel.takeover") >= 1);
	UNTIL(a.closed);
	assert_int_equal(a.end, STREAM_END_ERROR);
	UNTIL(fx->e.n_got == 7);
	UNTIL(box_peer(&fx->other).n_connections == 2);
	UNTIL(box_peer(&fx->e).n_connections == 2);
	box_stop(&fx->other);
}

/* --- strangers --- */

static void garbage_and_silence_are_bounded(void **state)
{
	struct fixture *fx = *state;
	int fds[60];
	char junk[4096];
	struct addr to;

	start_e(fx, "connect-timeout = 500ms\nmax-unauthenticated = 8\nnew-per-second = 1000\n");
	assert_true(addr_parse_ip(SLICE("127.0.0.1"), fx->port, &to));
	net_random(junk, sizeof(junk));
	for (unsigned i = 0; i < N(fds); i++) {
		fds[i] = net_connect_tcp(&to, NULL, 0, 0);
		assert_true(fds[i] >= 0);
		loop_once(fx->loop, 1);
		if (i % 3 == 1)
			assert_true(write(fds[i], "SSH-2.0-x\r\n", 11) == 11);
		if (i % 3 != 0 && write(fds[i], junk, sizeof(junk)) < 0)
			assert_true(errno == EPIPE || errno == ECONNRESET);
		loop_once(fx->loop, 1);
		assert_true(conn_count(fx->e.env.conns, CONN_TUNNEL) <= 8);
	}
	UNTIL(conn_count(fx->e.env.conns, CONN_TUNNEL) == 0);
	assert_true(trace_count(fx->e.env.trace, "tunnel.limit") > 0);
	for (unsigned i = 0; i < N(fds); i++)
		close(fds[i]);
	/* And the right one comes in. */
	start_c(fx, "");
	UNTIL(box_peer(&fx->e).n_connections == 2);
}

/* The exit status of a program, the loop turning meanwhile. */
static int run_program(struct fixture *fx, const char *const argv[])
{
	int status = -1, null;
	pid_t pid = fork();

	if (pid == 0) {
		null = open("/dev/null", O_RDWR);
		dup2(null, 0);
		dup2(null, 1);
		if (!getenv("TEST_LOG"))
			dup2(null, 2);
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	assert_true(pid > 0);
	UNTIL(waitpid(pid, &status, WNOHANG) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define SSH_COMMON                                                                                 \
	"ssh", "-F", "/dev/null", "-o", "StrictHostKeyChecking=no", "-o",                          \
		"UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", \
		"-o", "IdentityAgent=none", "-o", "ConnectTimeout=10", "-p", port, "-i", key
#define SSH(...) run_program(fx, (const char *const[]){ SSH_COMMON, __VA_ARGS__, NULL })

static void a_right_key_gets_no_shell(void **state)
{
	struct fixture *fx = *state;
	char port[16], host_port[32], *key = fx->c_key.path;
	uint64_t n = 0;

	if (run_program(fx, (const char *const[]){ "ssh", "-V", NULL }) != 0)
		skip();
	start_e(fx, "connect-timeout = 5s\nnew-per-second = 1000\n");
	snprintf(port, sizeof(port), "%u", fx->port);
	snprintf(host_port, sizeof(host_port), "127.0.0.1:%u", fx->port);
	assert_int_not_equal(SSH("-T", "turnpike-0@127.0.0.1"), 0);
	assert_true(trace_count(fx->e.env.trace, "tunnel.refused") > n);
	n = trace_count(fx->e.env.trace, "tunnel.refused");
	assert_int_not_equal(SSH("turnpike-0@127.0.0.1", "id"), 0);
	assert_true(trace_count(fx->e.env.trace, "tunnel.refused") > n);
	n = trace_count(fx->e.env.trace, "tunnel.refused");
	assert_int_not_equal(SSH("-tt", "turnpike-0@127.0.0.1"), 0);
	assert_true(trace_count(fx->e.env.trace, "tunnel.refused") > n);
	n = trace_count(fx->e.env.trace, "tunnel.refused");
	assert_int_not_equal(SSH("-s", "turnpike-0@127.0.0.1", "sftp"), 0);
	assert_true(trace_count(fx->e.env.trace, "tunnel.refused") > n);
	n = trace_count(fx->e.env.trace, "tunnel.refused");
	assert_int_not_equal(SSH("-W", host_port, "turnpike-0@127.0.0.1"), 0);
	assert_true(trace_count(fx->e.env.trace, "tunnel.refused") > n);
	n = trace_count(fx->e.env.trace, "tunnel.refused");
	assert_int_not_equal(SSH("-o", "ExitOnForwardFailure=yes", "-N", "-R", "0:127.0.0.1:1",
				 "turnpike-0@127.0.0.1"),
			     0);
	assert_true(trace_count(fx->e.env.trace, "tunnel.refused") > n);
	n = trace_count(fx->e.env.trace, "tunnel.refused");
	/* Other names, other keys, no key. */
	assert_int_equal(SSH("-T", "root@127.0.0.1"), 255);
	assert_int_equal(trace_count(fx->e.env.trace, "tunnel.user.unknown"), 1);
	assert_int_equal(SSH("-T", "turnpike-8@127.0.0.1"), 255);
	assert_int_equal(SSH("-o", "PubkeyAuthentication=no", "-o",
			     "PreferredAuthentications=password,keyboard-interactive,"
			     "gssapi-with-mic",
			     "turnpike-0@127.0.0.1"),
			 255);
	key = fx->other_key.path;
	assert_int_equal(SSH("-T", "turnpike-0@127.0.0.1"), 255);
	assert_int_equal(trace_count(fx->e.env.trace, "tunnel.key.unknown"), 1);
	assert_int_equal(trace_count(fx->e.env.trace, "tunnel.refused"), n);
	UNTIL(conn_count(fx->e.env.conns, CONN_TUNNEL) == 0);
}

/* --- life --- */

/* What the address sanitizer counts, where it is there: its free memory comes back late. */
size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static size_t allocated(void)
{
	if (__sanitizer_get_current_allocated_bytes)
		return __sanitizer_get_current_allocated_bytes();
	return mallinfo2().uordblks;
}

static void opening_and_closing_does_not_grow(void **state)
{
	struct fixture *fx = *state;
	struct taker t = { 0 };
	size_t before = 0;

	start_both(fx, "", "connections = 1\n", &t);
	for (int i = 0; i < 2000; i++) {
		struct app a = { .seed_out = 1, .seed_in = 2, .to_send = 100, .reads = true };
		struct app *end = &t.apps[t.n % N(t.apps)];
		unsigned n = t.n;

		*end = (struct app){ .seed_in = 1, .seed_out = 2, .to_send = 100, .reads = true };
		app_open(fx, &a);
		if (i % 7 == 3) {
			/* Given up before it stands. */
			stream_abort(a.s);
			UNTIL(t.n == n + 1 && end->closed);
			continue;
		}
		UNTIL(t.n == n + 1 && a.got == 100 && end->got == 100);
		if (i % 2) {
			stream_close(a.s);
			UNTIL(end->closed);
		} else {
			stream_close(end->s);
			UNTIL(a.closed);
		}
		if (i == 502)
			before = allocated();
	}
	UNTIL(conn_count(fx->e.env.conns, CONN_CHANNEL) == 0 &&
	      conn_count(fx->c.env.conns, CONN_CHANNEL) == 0);
	assert_true(allocated() < before + 200 * 1024);
}

static void streams_are_bounded(void **state)
{
	struct fixture *fx = *state;
	struct taker t = { 0 };
	struct app a[6] = { 0 };
	struct app over = { 0 };
	int error;

	/* The control channel counts. */
	start_both(fx, "max-streams = 5\n", "connections = 1\nmax-streams = 4\n", &t);
	for (int i = 0; i < 4; i++)
		app_open(fx, &a[i]);
	assert_null(fx->e.ops->open(fx->e.self, 1, TUNNEL_HTTP, &app_handler, &over, &error));
	assert_int_equal(error, -EAGAIN);
	/* C has its own bound. */
	UNTIL(a[0].opened && a[1].opened && a[2].opened && a[3].closed);
	assert_int_equal(a[3].end, STREAM_END_REFUSED);
	assert_int_equal(trace_count(fx->c.env.trace, "tunnel.limit"), 1);
	stream_close(a[0].s);
	UNTIL(t.apps[0].closed);
	app_open(fx, &over);
	UNTIL(over.opened);
	box_stop(&fx->c);
	box_stop(&fx->e);
}

struct answer {
	int status;
	bool done;
};

static void on_answer(void *arg, int status, const json_t *value)
{
	struct answer *a = arg;

	a->done = true;
	a->status = status;
}

static void calls_and_a_closed_connection(void **state)
{
	struct fixture *fx = *state;
	struct taker t = { 0 };
	struct answer a = { 0 }, lost = { 0 };
	json_t *params = json_pack("{s:s}", "q", "x");
	const struct conn *c;
	int error;

	start_both(fx, "", "", &t);
	assert_true(fx->e.ops->call(fx->e.self, 1, "echo", params, 1000, on_answer, &a, &error) >
		    0);
	UNTIL(a.done);
	assert_int_equal(a.status, 0);
	a = (struct answer){ 0 };
	assert_true(fx->c.ops->call(fx->c.self, 1, "none", params, 1000, on_answer, &a, &error) >
		    0);
	UNTIL(a.done);
	assert_int_equal(a.status, -ENOSYS);
	/* As `turnpikectl disconnect` does. */
	c = CONTAINER_OF(conn_list(fx->e.env.conns, CONN_TUNNEL)->next, struct conn, node);
	assert_true(fx->e.ops->call(fx->e.self, 1, "echo", params, 1000, on_answer, &lost, &error) >
		    0);
	((struct conn *)c)->close((struct conn *)c, "closed by the admin");
	UNTIL(lost.done);
	UNTIL(box_peer(&fx->e).n_connections == 2);
	assert_int_equal(fx->e.n_downs, 0);
	json_decref(params);
}

static void settings_change_live(void **state)
{
	struct fixture *fx = *state;
	struct taker t = { 0 };
	char text[2048];
	uint16_t other = free_port();

	start_both(fx, "", "", &t);
	/* More connections. */
	snprintf(text, sizeof(text), C_TEXT, fx->c_key.path, "connections = 4\n", fx->port,
		 fx->e_key.fingerprint);
	box_reload(fx, &fx->c, text);
	UNTIL(box_peer(&fx->e).n_connections == 4);
	/* Another port: what stands stays, new ones come to the new one. */
	snprintf(text, sizeof(text), E_TEXT, other, fx->e_key.path, "", fx->c_key.fingerprint);
	box_reload(fx, &fx->e, text);
	assert_int_equal(box_peer(&fx->e).n_connections, 4);
	snprintf(text, sizeof(text), C_TEXT, fx->c_key.path, "connections = 1\n", other,
		 fx->e_key.fingerprint);
	box_reload(fx, &fx->c, text);
	UNTIL(box_peer(&fx->e).n_connections == 1 && fx->e.n_got == 5);
	/* Another host key, pinned beside the old one first. */
	snprintf(text, sizeof(text), C_TEXT, fx->c_key.path, "connections = 2\n", other,
		 fx->e_key.fingerprint);
	snprintf(text + strlen(text) - 1, 80, " %s\n", fx->other_key.fingerprint);
	box_reload(fx, &fx->c, text);
	UNTIL(box_peer(&fx->e).n_connections == 2);
	snprintf(text, sizeof(text), E_TEXT, other, fx->other_key.path, "", fx->c_key.fingerprint);
	box_reload(fx, &fx->e, text);
	assert_int_equal(box_peer(&fx->e).n_connections, 2);
	snprintf(text, sizeof(text), C_TEXT, fx->c_key.path, "connections = 2\n", other,
		 fx->other_key.fingerprint);
	box_reload(fx, &fx->c, text);
	UNTIL(box_peer(&fx->c).n_connections == 2 && !box_alarm(&fx->c, "tunnel-key").found);
	/* The peer goes: nothing listens any more. */
	snprintf(text, sizeof(text), "[system]\nrole = E\nname = edge1.test\n[tunnel]\nkey = %s\n",
		 fx->e_key.path);
	box_reload(fx, &fx->e, text);
	UNTIL(conn_count(fx->e.env.conns, CONN_TUNNEL) == 0);
	assert_int_equal(conn_count(fx->e.env.conns, CONN_LISTENER), 1); /* the control socket */
	assert_false(box_alarm(&fx->e, "tunnel-down").found);
	UNTIL(box_alarm(&fx->c, "tunnel-down").found);
}

/* More than the control channel takes in one turn, and more than a stream holds unread. */
static void a_big_table_comes_whole(void **state)
{
	struct fixture *fx = *state;

	fx->c.n_items = 20000;
	fx->e.n_items = 10000;
	start_e(fx, "");
	start_c(fx, "");
	UNTIL(fx->e.n_synced == 1 && fx->c.n_synced == 1);
	assert_int_equal(fx->e.n_got, 20000);
	assert_int_equal(fx->c.n_got, 10000);
}

static void drain_lets_streams_finish(void **state)
{
	struct fixture *fx = *state;
	struct taker t = { 0 };
	struct app a = { .seed_out = 1, .to_send = 100000 }, b = { 0 };
	int error;

	t.apps[0] = (struct app){ .seed_in = 1, .reads = true };
	start_both(fx, "", "", &t);
	app_open(fx, &a);
	UNTIL(a.opened && t.n == 1);
	modules_drain(fx->c.env.modules);
	UNTIL(!box_peer(&fx->e).up);
	assert_null(fx->e.ops->open(fx->e.self, 1, TUNNEL_HTTP, &app_handler, &b, &error));
	assert_int_equal(error, -EPIPE);
	assert_false(modules_drained(fx->c.env.modules));
	UNTIL(t.apps[0].got == 100000);
	stream_close(a.s);
	UNTIL(t.apps[0].closed);
	UNTIL(modules_drained(fx->c.env.modules));
}

#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(connects_and_syncs),
		T(tiny_packets_are_seen),
		T(streams_carry_bytes_both_ways),
		T(a_stalled_stream_stops_no_other),
		T(a_trickling_stream_stays_bounded),
		T(all_that_waits_is_bounded),
		T(half_close_and_refusals),
		T(new_keys_in_the_middle),
		T(wrong_client_key),
		T(wrong_host_key),
		T(a_frozen_connection_is_found),
		T(a_newcomer_takes_over),
		T(garbage_and_silence_are_bounded),
		T(a_right_key_gets_no_shell),
		T(opening_and_closing_does_not_grow),
		T(streams_are_bounded),
		T(calls_and_a_closed_connection),
		T(settings_change_live),
		T(drain_lets_streams_finish),
		T(a_big_table_comes_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
