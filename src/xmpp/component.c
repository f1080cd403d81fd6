#include "xmpp/component.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/base64.h"
#include "base/list.h"
#include "core/net.h"

#define MAX_ERROR_BYTES 160

struct waiting { /* a stanza */
	struct list node;
	struct xml_arena arena;
	struct xml_node *stanza;
	size_t bytes;
	int64_t until_ms;
};

struct component {
	struct component_conf conf;
	const struct component_ops *ops;
	void *arg;
	char *server;
	char partner[XMPP_DOMAIN_BYTES];
	enum component_state state;
	struct xmpp_stream *x;
	uint64_t finding;
	struct im_node node; /* strings are ours */
	char host[256];
	unsigned n_failed;  /* one after the other */
	unsigned n_skipped; /* of them without a pause, because there was another node */
	struct timer timer; /* of the state */
	struct timer expiry;
	struct list queue;
	size_t n_queued, queued_bytes;
	bool paused;
	char last_error[MAX_ERROR_BYTES];
	uint64_t n_in, n_out, n_undeliverable;
	int64_t last_used_ms;
};

static const char *const state_names[] = {
	[COMPONENT_OFF] = "off",       [COMPONENT_FINDING] = "finding",
	[COMPONENT_HEADER] = "header", [COMPONENT_HANDSHAKE] = "handshake",
	[COMPONENT_OPEN] = "open",     [COMPONENT_WAITING] = "waiting",
};

const char *component_state_str(enum component_state s)
{
	return state_names[s];
}

static int64_t now_ms(const struct component *c)
{
	return c->conf.timers->now_ms;
}

void component_handshake(struct slice id, struct slice secret, char out[41])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t hash[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	struct buf hex;

	out[0] = '\0';
	if (ctx && EVP_DigestInit_ex(ctx, EVP_sha1(), NULL) == 1 &&
	    EVP_DigestUpdate(ctx, id.p, id.n) == 1 &&
	    EVP_DigestUpdate(ctx, secret.p, secret.n) == 1 &&
	    EVP_DigestFinal_ex(ctx, hash, &n) == 1) {
		buf_init(&hex, 40);
		hex_encode(&hex, hash, n);
		slice_copy(out, 41, buf_slice(&hex));
		buf_fini(&hex);
	}
	EVP_MD_CTX_free(ctx);
}

/* --- what waits --- */

static void waiting_free(struct component *c, struct waiting *w)
{
	list_del(&w->node);
	c->n_queued--;
	c->queued_bytes -= w->bytes;
	xml_arena_reset(&w->arena);
	free(w);
}

static void watch_expiry(struct component *c)
{
	struct list *first = list_first(&c->queue);

	timer_stop(c->conf.timers, &c->expiry);
	if (first)
		timer_start(c->conf.timers, &c->expiry,
			    CONTAINER_OF(first, struct waiting, node)->until_ms - now_ms(c));
}

static void give_back(struct component *c, struct waiting *w, const char *condition)
{
	c->n_undeliverable++;
	/* Out of the queue first: the owner may send its answer through here. */
	list_del(&w->node);
	c->ops->undeliverable(c->arg, c->server, c->partner, w->stanza, &w->arena, condition);
	waiting_free(c, w);
}

static void on_expiry(void *arg)
{
	struct component *c = arg;
	struct list *first;

	while ((first = list_first(&c->queue))) {
		struct waiting *w = CONTAINER_OF(first, struct waiting, node);

		if (w->until_ms > now_ms(c))
			break;
		give_back(c, w, "remote-server-timeout");
	}
	watch_expiry(c);
}

static void give_all_back(struct component *c, const char *condition)
{
	struct list *first;

	while ((first = list_first(&c->queue)))
		give_back(c, CONTAINER_OF(first, struct waiting, node), condition);
	watch_expiry(c);
}

/* What it takes in memory counts, which is more than what goes over the wire; a single stanza is
 * never too much. */
static int keep(struct component *c, const struct xml_node *stanza)
{
	struct waiting *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->arena.pool = c->conf.pool;
	w->stanza = xml_node_copy(&w->arena, stanza);
	w->bytes = w->arena.n_bytes + sizeof(*w);
	if (!w->stanza || (c->n_queued > 0 && c->queued_bytes + w->bytes > c->conf.queue_bytes)) {
		xml_arena_reset(&w->arena);
		free(w);
		return -ENOBUFS;
	}
	xml_node_rename(w->stanza, XMPP_SERVER, XMPP_COMPONENT);
	w->until_ms = now_ms(c) + COMPONENT_WAIT_MS;
	list_add_tail(&c->queue, &w->node);
	c->n_queued++;
	c->queued_bytes += w->bytes;
	if (!timer_armed(&c->expiry))
		watch_expiry(c);
	return 0;
}

/* In order, as far as the server takes them. */
static void send_waiting(struct component *c)
{
	struct list *first;

	while (c->state == COMPONENT_OPEN && !xmpp_is_full(c->x) &&
	       (first = list_first(&c->queue))) {
		struct waiting *w = CONTAINER_OF(first, struct waiting, node);

		xmpp_send(c->x, w->stanza);
		c->n_out++;
		waiting_free(c, w);
	}
	watch_expiry(c);
}

/* --- the connection --- */

static void find(struct component *c);

static void leave(struct component *c)
{
	struct xmpp_stream *x = c->x;

	if (c->finding)
		c->ops->cancel(c->arg, c->finding);
	c->finding = 0;
	c->x = NULL;
	xmpp_free(x);
	timer_stop(c->conf.timers, &c->timer);
}

static int64_t backoff_ms(const struct component *c, bool refused)
{
	int64_t ms = COMPONENT_RETRY_MIN_MS;
	uint32_t r;

	for (unsigned i = 1; i < c->n_failed && ms < COMPONENT_RETRY_MAX_MS; i++)
		ms *= 2;
	if (refused || ms > COMPONENT_RETRY_MAX_MS)
		ms = COMPONENT_RETRY_MAX_MS;
	net_random(&r, sizeof(r));
	return ms / 2 + (int64_t)(r % (uint32_t)(ms / 2 + 1));
}

static void wait(struct component *c, bool refused)
{
	c->state = COMPONENT_WAITING;
	timer_start(c->conf.timers, &c->timer, backoff_ms(c, refused));
}

/* refused: the server understood us and said no. */
static void lost(struct component *c, bool refused, const char *why)
{
	const bool was_open = c->state == COMPONENT_OPEN, had_node = c->x != NULL;

	slice_copy(c->last_error, sizeof(c->last_error), slice_of(why));
	if (had_node && !refused)
		c->ops->report(c->arg, &c->node, false, why);
	leave(c);
	c->n_failed++;
	wait(c, refused);
	if (refused)
		give_all_back(c, "service-unavailable");
	if (c->ops->changed && (was_open || c->n_failed == 1 || refused))
		c->ops->changed(c->arg, c, false, refused, c->last_error);
}

static void on_timer(void *arg)
{
	struct component *c = arg;

	switch (c->state) {
	case COMPONENT_WAITING:
		find(c);
		break;
	case COMPONENT_OPEN:
		xmpp_send_space(c->x);
		timer_start(c->conf.timers, &c->timer, COMPONENT_SPACE_MS);
		break;
	default:
		lost(c, false, "the server did not answer in time");
	}
}

static void on_header(void *arg, const struct xmpp_header *h)
{
	struct component *c = arg;
	struct slice secret = c->ops->secret(c->arg, c->server);
	struct xml_arena a = { .pool = c->conf.pool };
	struct xml_node *e;
	char digest[41];

	if (c->state != COMPONENT_HEADER)
		return;
	if (!h->id || !h->id[0]) {
		lost(c, false, "the server's header has no id");
		return;
	}
	component_handshake(slice_of(h->id), secret, digest);
	e = xml_node_new(&a, NULL, XMPP_COMPONENT, "handshake");
	if (e && digest[0] && xml_node_add_text(&a, e, slice_of(digest)) == 0) {
		c->state = COMPONENT_HANDSHAKE;
		xmpp_send(c->x, e);
	} else {
		lost(c, false, "out of memory");
	}
	xml_arena_reset(&a);
}

static void is_open(struct component *c)
{
	c->state = COMPONENT_OPEN;
	c->n_failed = 0;
	c->n_skipped = 0;
	c->last_error[0] = '\0';
	timer_start(c->conf.timers, &c->timer, COMPONENT_SPACE_MS);
	c->ops->report(c->arg, &c->node, true, NULL);
	if (c->paused)
		xmpp_pause(c->x);
	if (c->ops->changed)
		c->ops->changed(c->arg, c, true, false, "");
	send_waiting(c);
}

/* "not-authorized", the server's own word, or what is readable of it. */
static void on_error(struct component *c, const struct xml_node *e)
{
	const struct xml_node *condition = xml_node_child(e, XMPP_STREAM_ERROR, NULL);
	char why[MAX_ERROR_BYTES];

	snprintf(why, sizeof(why), "the server says %.100s",
		 condition ? xmpp_condition_str(xmpp_condition_of(condition->name)) : "error");
	lost(c, c->state == COMPONENT_HANDSHAKE || c->state == COMPONENT_HEADER, why);
}

static bool is_stanza(const struct xml_node *e)
{
	return xml_node_is(e, XMPP_COMPONENT, "message") ||
	       xml_node_is(e, XMPP_COMPONENT, "presence") || xml_node_is(e, XMPP_COMPONENT, "iq");
}

static void on_element(void *arg, struct xml_node *e, struct xml_arena *arena)
{
	struct component *c = arg;

	if (xml_node_is(e, XMPP_STREAMS, "error")) {
		on_error(c, e);
	} else if (c->state == COMPONENT_HANDSHAKE && xml_node_is(e, XMPP_COMPONENT, "handshake")) {
		is_open(c);
	} else if (c->state == COMPONENT_OPEN && is_stanza(e)) {
		c->n_in++;
		c->last_used_ms = now_ms(c);
		xml_node_rename(e, XMPP_COMPONENT, XMPP_SERVER);
		c->ops->deliver(c->arg, c->server, c->partner, e, arena);
	}
}

static void on_writable(void *arg)
{
	send_waiting(arg);
}

static void on_closed(void *arg, enum xmpp_end how, enum xmpp_condition condition, const char *why)
{
	struct component *c = arg;
	char text[MAX_ERROR_BYTES];

	/* A server that knows no such component may just hang up after the header. */
	if (how == XMPP_END_ERROR)
		snprintf(text, sizeof(text), "%s: %.100s", xmpp_condition_str(condition),
			 why ? why : "");
	else
		snprintf(text, sizeof(text), "%.150s", why && why[0] ? why : "connection ended");
	lost(c, false, text);
}

static const struct xmpp_stream_handler handler = {
	.header = on_header, .element = on_element, .writable = on_writable, .closed = on_closed
};

/* Until xmpp_stream_new() has set its own, which is at once. */
static void no_bytes(void *arg)
{
}

static void no_end(void *arg, enum stream_end end, const char *why)
{
}

static const struct stream_handler no_handler = { .readable = no_bytes, .closed = no_end };

static void keep_node(struct component *c, const struct im_node *node)
{
	slice_copy(c->host, sizeof(c->host), slice_of(node->host));
	c->node = *node;
	c->node.server = c->server;
	c->node.host = c->host;
	c->node.why = "";
}

static void dial(struct component *c, const struct im_node *node)
{
	struct xmpp_header h = { .content = XMPP_COMPONENT, .to = c->partner };
	struct stream *s;
	char why[MAX_ERROR_BYTES];
	int error = -EIO;

	keep_node(c, node);
	s = c->ops->connect(c->arg, node, &no_handler, NULL, &error);
	c->x = s ? xmpp_stream_new(&c->conf.stream, s, &handler, c) : NULL;
	if (!c->x) {
		snprintf(why, sizeof(why), "cannot connect: %s", strerror(s ? ENOMEM : -error));
		lost(c, false, why);
		return;
	}
	c->state = COMPONENT_HEADER;
	timer_start(c->conf.timers, &c->timer, COMPONENT_OPEN_MS);
	xmpp_send_header(c->x, &h);
}

static void on_found(void *arg, const struct im_node *nodes, size_t n, const char *why)
{
	struct component *c = arg;

	c->finding = 0;
	if (n == 0) {
		lost(c, false, why ? why : "no server");
		return;
	}
	dial(c, &nodes[0]);
}

static void find(struct component *c)
{
	c->state = COMPONENT_FINDING;
	timer_start(c->conf.timers, &c->timer, COMPONENT_OPEN_MS);
	c->finding = c->ops->find(c->arg, c->server, c->partner, on_found, c);
	if (!c->finding)
		lost(c, false, "too many look-ups");
}

/* --- life --- */

struct component *component_new(const struct component_conf *conf, const struct component_ops *ops,
				void *arg, const char *server, const char *partner)
{
	struct component *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->conf = *conf;
	c->conf.stream.content = XMPP_COMPONENT;
	c->ops = ops;
	c->arg = arg;
	slice_copy(c->partner, sizeof(c->partner), slice_of(partner));
	list_init(&c->queue);
	timer_init(&c->timer, on_timer, c);
	timer_init(&c->expiry, on_expiry, c);
	c->last_used_ms = now_ms(c);
	c->server = strdup(server);
	if (c->server)
		return c;
	free(c);
	return NULL;
}

void component_free(struct component *c)
{
	if (!c)
		return;
	if (c->x && c->state == COMPONENT_OPEN)
		xmpp_end(c->x); /* nobody waits for the answer */
	leave(c);
	timer_stop(c->conf.timers, &c->expiry);
	LIST_FOREACH_SAFE (it, &c->queue)
		waiting_free(c, CONTAINER_OF(it, struct waiting, node));
	free(c->server);
	free(c);
}

void component_start(struct component *c)
{
	if (c->state == COMPONENT_OFF)
		find(c);
}

void component_set_paused(struct component *c, bool paused)
{
	if (c->paused == paused)
		return;
	c->paused = paused;
	if (c->x && c->state == COMPONENT_OPEN && paused)
		xmpp_pause(c->x);
	else if (c->x && c->state == COMPONENT_OPEN)
		xmpp_resume(c->x);
}

void component_restart(struct component *c)
{
	if (c->state == COMPONENT_OFF)
		return;
	leave(c);
	c->n_failed = 0;
	find(c);
}

int component_send(struct component *c, const struct xml_node *stanza)
{
	int error = keep(c, stanza);

	if (error < 0)
		return error;
	c->last_used_ms = now_ms(c);
	component_start(c);
	send_waiting(c);
	return 0;
}

struct component_info component_info(const struct component *c)
{
	struct stream *s = c->x ? xmpp_socket(c->x) : NULL;
	struct component_info out = { .server = c->server,
				      .partner = c->partner,
				      .state = c->state,
				      .last_error = c->last_error,
				      .n_in = c->n_in,
				      .n_out = c->n_out,
				      .n_undeliverable = c->n_undeliverable,
				      .n_queued = c->n_queued,
				      .stats = c->x ? xmpp_stream_stats(c->x) : NULL,
				      .last_used_ms = c->last_used_ms };

	if (s)
		out.remote = s->remote;
	return out;
}
