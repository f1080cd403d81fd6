#include "core/conn.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/iso_time.h"

struct ended {
	struct conn conn;
	int64_t ended_wall_s;
	uint64_t order;
};

/* The last n_max that ended; v[(next - 1) % n_max] is the newest. */
struct ended_ring {
	struct ended *v;
	size_t n_max;
	size_t n;
	size_t next;
};

struct conn_table {
	struct idtab ids;
	struct list kinds[CONN_N_KINDS];
	uint32_t n_kinds[CONN_N_KINDS];
	/* Refused ones have a ring of their own: a flood of them must not wash out what lived. So
	 * have the short-lived ones, which come by the thousand. */
	struct ended_ring ended;
	struct ended_ring short_lived;
	struct ended_ring refused;
	uint64_t next_order;
	int64_t (*now_ms)(void *arg);
	void *arg;
};

static int ring_init(struct ended_ring *r, size_t n_max)
{
	r->n_max = n_max;
	r->v = n_max ? calloc(n_max, sizeof(*r->v)) : NULL;
	return n_max && !r->v ? -ENOMEM : 0;
}

void conn_table_set_max(struct conn_table *t, uint32_t max)
{
	t->ids.max = max;
}

struct conn_table *conn_table_new(uint32_t max, size_t n_ended, int64_t (*now_ms)(void *),
				  void *arg)
{
	struct conn_table *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	idtab_init(&t->ids, max);
	for (int i = 0; i < CONN_N_KINDS; i++)
		list_init(&t->kinds[i]);
	t->now_ms = now_ms;
	t->arg = arg;
	if (ring_init(&t->ended, n_ended) < 0 || ring_init(&t->short_lived, n_ended) < 0 ||
	    ring_init(&t->refused, (n_ended + 3) / 4) < 0) {
		conn_table_free(t);
		return NULL;
	}
	return t;
}

void conn_table_free(struct conn_table *t)
{
	if (!t)
		return;
	idtab_fini(&t->ids);
	free(t->ended.v);
	free(t->short_lived.v);
	free(t->refused.v);
	free(t);
}

static void stamp(const struct conn_table *t, struct conn *c)
{
	c->since_ms = t->now_ms(t->arg);
	c->since_wall_s = iso_time_now_s();
}

int conn_add(struct conn_table *t, struct conn *c)
{
	uint64_t id = idtab_add(&t->ids, c);

	if (id == 0)
		return -ENOSPC;
	c->id = id;
	stamp(t, c);
	list_add_tail(&t->kinds[c->kind], &c->node);
	t->n_kinds[c->kind]++;
	return 0;
}

static void remember(struct conn_table *t, struct ended_ring *r, const struct conn *c)
{
	struct ended *e;

	if (r->n_max == 0)
		return;
	e = &r->v[r->next];
	e->conn = *c;
	list_init(&e->conn.node);
	e->conn.close = NULL;
	e->ended_wall_s = iso_time_now_s();
	e->order = t->next_order++;
	r->next = (r->next + 1) % r->n_max;
	if (r->n < r->n_max)
		r->n++;
}

static struct ended_ring *ring_of(struct conn_table *t, enum conn_kind kind)
{
	return kind == CONN_REQUEST || kind == CONN_CHANNEL || kind == CONN_XMPP_LINK
		       ? &t->short_lived
		       : &t->ended;
}

void conn_end(struct conn_table *t, struct conn *c, const char *reason_fmt, ...)
{
	char reason[CONN_REASON_BYTES];
	va_list ap;

	va_start(ap, reason_fmt);
	vsnprintf(reason, sizeof(reason), reason_fmt, ap);
	va_end(ap);
	conn_end_as(t, c, slice_of(reason));
}

void conn_end_as(struct conn_table *t, struct conn *c, struct slice reason)
{
	if (idtab_get(&t->ids, c->id) != c)
		return;
	slice_copy(c->reason, sizeof(c->reason), reason);
	idtab_del(&t->ids, c->id);
	list_del(&c->node);
	t->n_kinds[c->kind]--;
	if (c->kind != CONN_CONTROL)
		remember(t, ring_of(t, c->kind), c);
}

void conn_refused(struct conn_table *t, struct conn *c, const char *reason_fmt, ...)
{
	struct conn copy = *c;
	va_list ap;

	va_start(ap, reason_fmt);
	vsnprintf(copy.reason, sizeof(copy.reason), reason_fmt, ap);
	va_end(ap);
	/* It has no id of its own; one that c brings by chance would look like a stranger's. */
	copy.id = 0;
	if (!copy.state)
		copy.state = "refused";
	stamp(t, &copy);
	remember(t, &t->refused, &copy);
}

struct conn *conn_get(const struct conn_table *t, uint64_t id)
{
	return idtab_get(&t->ids, id);
}

uint32_t conn_count(const struct conn_table *t, enum conn_kind kind)
{
	return t->n_kinds[kind];
}

const struct list *conn_list(const struct conn_table *t, enum conn_kind kind)
{
	return &t->kinds[kind];
}

/* The i-th newest of a ring, NULL past the oldest. */
static const struct ended *ring_at(const struct ended_ring *r, size_t i)
{
	return i < r->n ? &r->v[(r->next + r->n_max - 1 - i) % r->n_max] : NULL;
}

void conn_ended_each(const struct conn_table *t,
		     bool (*fn)(const struct conn *c, int64_t ended_wall_s, void *arg), void *arg)
{
	const struct ended_ring *rings[] = { &t->ended, &t->short_lived, &t->refused };
	size_t at[] = { 0, 0, 0 };

	for (;;) {
		const struct ended *newest = NULL;
		size_t from = 0;

		for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
			const struct ended *e = ring_at(rings[i], at[i]);

			if (e && (!newest || e->order > newest->order)) {
				newest = e;
				from = i;
			}
		}
		if (!newest || !fn(&newest->conn, newest->ended_wall_s, arg))
			return;
		at[from]++;
	}
}

const char *conn_kind_str(enum conn_kind kind)
{
	static const char *const names[CONN_N_KINDS] = {
		[CONN_LISTENER] = "listener",
		[CONN_FLOW] = "flow",
		[CONN_LINK] = "link",
		[CONN_REGISTRATION] = "registration",
		[CONN_CALL] = "call",
		[CONN_LEG] = "leg",
		[CONN_MEDIA] = "media",
		[CONN_CONTROL] = "control",
		[CONN_TUNNEL] = "tunnel",
		[CONN_CHANNEL] = "channel",
		[CONN_HTTP] = "http",
		[CONN_REQUEST] = "request",
		[CONN_SIGNIN] = "signin",
		[CONN_TURN] = "turn",
		[CONN_ALLOCATION] = "allocation",
		[CONN_RELAYED] = "relayed",
		[CONN_XMPP] = "xmpp",
		[CONN_XMPP_LINK] = "xmpp-link",
		[CONN_XMPP_S2S] = "xmpp-s2s",
	};

	return (unsigned)kind < CONN_N_KINDS ? names[kind] : "unknown";
}

const char *conn_transport_str(enum conn_transport t)
{
	static const char *const names[] = {
		[CONN_UNIX] = "unix",
		[CONN_UDP] = "udp",
		[CONN_TCP] = "tcp",
		[CONN_TLS] = "tls",
	};

	return (unsigned)t < sizeof(names) / sizeof(names[0]) ? names[t] : "unknown";
}

const char *conn_id_str(const struct conn *c, char buf[CONN_ID_BYTES])
{
	snprintf(buf, CONN_ID_BYTES, "%s-%" PRIx64, conn_kind_str(c->kind), c->id);
	return buf;
}

static bool parse_hex(struct slice s, uint64_t *out)
{
	uint64_t v = 0;

	if (s.n == 0 || s.n > 16)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		static const char digits[] = "0123456789abcdef";
		const char *d = s.p[i] ? strchr(digits, s.p[i] | 0x20) : NULL;

		if (!d)
			return false;
		v = v << 4 | (uint64_t)(d - digits);
	}
	*out = v;
	return true;
}

/* Kinds have dashes too. */
static size_t last_dash(struct slice text)
{
	size_t at = text.n;

	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] == '-')
			at = i;
	return at;
}

struct conn *conn_find(const struct conn_table *t, struct slice text)
{
	struct slice hex = text, kind = SLICE_NONE;
	size_t dash = last_dash(text);
	struct conn *c;
	uint64_t id;

	if (dash < text.n) {
		kind = (struct slice){ text.p, dash };
		hex = (struct slice){ text.p + dash + 1, text.n - dash - 1 };
	}
	if (!parse_hex(hex, &id))
		return NULL;
	c = conn_get(t, id);
	if (c && dash < text.n && !slice_eq(kind, slice_of(conn_kind_str(c->kind))))
		return NULL;
	return c;
}
