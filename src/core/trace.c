#include "core/trace.h"

#include "base/list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/htab.h"
#include "base/list.h"
#include "base/siphash.h"
#include "core/iso_time.h"
#include "core/net.h"

#define REPEAT_MS 1000
/* An entry that is repeated on and on is opened anew once in a while, so that the newest entries
 * show that it still happens. */
#define MAX_MERGE_MS (60 * 1000)
#define N_RECENT     1024
/* Codes are written in the sources; more than that is a bug of ours. */
#define MAX_CODES 1024

struct slot {
	struct trace_entry entry;
	int64_t first_ms;
	int64_t last_ms; /* of the last repeat */
};

struct code {
	struct htab_node node;
	char name[sizeof(((struct trace_entry *)0)->code)];
	uint64_t n;
};

struct trace {
	struct slot *slots; /* entry seq is in slots[seq % n_slots] */
	size_t n_slots;
	uint64_t next_seq; /* from 1 */
	/* Where the last entry of a code and source may be, by hash; a collision only means that a
	 * repeat gets an entry of its own. */
	uint64_t recent[N_RECENT];
	uint8_t seed[16];
	struct htab codes;
	int64_t (*now_ms)(void *arg);
	void *arg;
};

static struct slice code_key(const struct htab_node *node)
{
	return slice_of(CONTAINER_OF(node, struct code, node)->name);
}

struct trace *trace_new(size_t n_entries, int64_t (*now_ms)(void *), void *arg)
{
	struct trace *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->n_slots = n_entries ? n_entries : 1;
	t->next_seq = 1;
	t->now_ms = now_ms;
	t->arg = arg;
	net_random(t->seed, sizeof(t->seed));
	t->slots = calloc(t->n_slots, sizeof(*t->slots));
	if (!t->slots || htab_init(&t->codes, t->seed, code_key) < 0) {
		free(t->slots);
		free(t);
		return NULL;
	}
	return t;
}

void trace_free(struct trace *t)
{
	if (!t)
		return;
	if (t->codes.slots) {
		HTAB_FOREACH_SAFE (it, &t->codes)
			free(CONTAINER_OF(it, struct code, node));
	}
	htab_fini(&t->codes);
	free(t->slots);
	free(t);
}

static struct code *find_code(const struct trace *t, const char *name)
{
	struct htab_node *node = htab_get(&t->codes, slice_of(name));

	return node ? CONTAINER_OF(node, struct code, node) : NULL;
}

static void count(struct trace *t, const char *name)
{
	struct code *c = find_code(t, name);

	if (!c && t->codes.n < MAX_CODES && (c = calloc(1, sizeof(*c)))) {
		slice_copy(c->name, sizeof(c->name), slice_of(name));
		htab_add(&t->codes, &c->node);
	}
	if (c)
		c->n++;
}

/* Who a repeat comes from: an IPv4 address, or the /64 that one IPv6 host owns. */
static struct addr source_of(const struct addr *remote)
{
	struct addr a = *remote;

	a.port = 0;
	if (a.family == ADDR_IP6)
		memset(a.ip + 8, 0, 8);
	return a;
}

static bool is_repeat(const struct trace *t, const struct slot *s, const struct trace_entry *e,
		      int64_t now)
{
	const struct trace_entry *old = &s->entry;
	struct addr a = source_of(&old->remote), b = source_of(&e->remote);

	if (strcmp(old->code, e->code) != 0 || strcmp(old->decided_by, e->decided_by) != 0 ||
	    !addr_eq(&a, &b) || now - s->last_ms > REPEAT_MS || now - s->first_ms > MAX_MERGE_MS)
		return false;
	/* Nobody to blame: only the very same thing is a repeat. */
	return e->remote.family != ADDR_NONE ||
	       (strcmp(old->text, e->text) == 0 && strcmp(old->session, e->session) == 0);
}

static uint64_t *recent_of(struct trace *t, const struct trace_entry *e)
{
	struct addr source = source_of(&e->remote);
	uint64_t hash = siphash(t->seed, e->code, strlen(e->code)) ^
			siphash(t->seed, &source, sizeof(source)) ^
			(siphash(t->seed, e->decided_by, strlen(e->decided_by)) << 1);

	if (source.family == ADDR_NONE)
		hash ^= siphash(t->seed, e->text, strlen(e->text));
	return &t->recent[hash % N_RECENT];
}

/* Control bytes and what is not ASCII become \xNN; line feeds stay. */
static void escape(char *dst, size_t size, const char *src)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = 0;

	for (; *src; src++) {
		unsigned char c = (unsigned char)*src;
		bool plain = (c >= 0x20 && c < 0x7f) || c == '\n';

		if (n + (plain ? 1 : 4) >= size)
			break;
		if (plain) {
			dst[n++] = (char)c;
			continue;
		}
		dst[n++] = '\\';
		dst[n++] = 'x';
		dst[n++] = hex[c >> 4];
		dst[n++] = hex[c & 15];
	}
	dst[n] = '\0';
}

static void store(struct trace *t, const struct trace_entry *e)
{
	uint64_t *recent = recent_of(t, e);
	int64_t now = t->now_ms(t->arg);
	struct slot *s = &t->slots[*recent % t->n_slots];

	if (*recent && s->entry.seq == *recent && is_repeat(t, s, e, now)) {
		s->last_ms = now;
		s->entry.n_repeats++;
		return;
	}
	s = &t->slots[t->next_seq % t->n_slots];
	s->entry = *e;
	s->entry.seq = t->next_seq++;
	s->entry.wall_ms = iso_time_now_ms();
	s->first_ms = s->last_ms = now;
	*recent = s->entry.seq;
}

void trace_add(struct trace *t, const char *code, const char *decided_by, const struct addr *remote,
	       const char *session, const char *fmt, ...)
{
	struct trace_entry e = { 0 };
	char text[sizeof(e.text)];
	va_list ap;

	if (!t)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	escape(e.text, sizeof(e.text), text);
	escape(e.code, sizeof(e.code), code);
	escape(e.decided_by, sizeof(e.decided_by), decided_by ? decided_by : "");
	escape(e.session, sizeof(e.session), session ? session : "");
	if (remote)
		e.remote = *remote;
	count(t, e.code);
	store(t, &e);
}

void trace_each(const struct trace *t, const char *prefix,
		bool (*fn)(const struct trace_entry *e, void *arg), void *arg)
{
	size_t n = prefix ? strlen(prefix) : 0;

	for (uint64_t seq = t->next_seq - 1; seq > 0 && seq + t->n_slots >= t->next_seq; seq--) {
		const struct trace_entry *e = &t->slots[seq % t->n_slots].entry;

		if (n && strncmp(e->code, prefix, n) != 0)
			continue;
		if (!fn(e, arg))
			return;
	}
}

uint64_t trace_count(const struct trace *t, const char *code)
{
	const struct code *c = find_code(t, code);

	return c ? c->n : 0;
}

void trace_counts_each(const struct trace *t, void (*fn)(const char *code, uint64_t n, void *arg),
		       void *arg)
{
	HTAB_FOREACH (it, &t->codes) {
		const struct code *c = CONTAINER_OF(it, struct code, node);

		fn(c->name, c->n, arg);
	}
}
