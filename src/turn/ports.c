#include "turn/ports.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { ALL_PORTS = 65536, MAX_RESERVATIONS = 1024 };

/* Numbers in any order, with the place of each, so that drawing, adding and removing one takes the
 * same time however full it is. */
struct set {
	uint16_t *items;
	uint16_t *places; /* of item i, when items[places[i]] == i */
	uint32_t n;
};

/* What may be drawn for each kind of request. Items count from the first port. */
enum { FREE, EVEN, PAIR, N_SETS };

struct reservation {
	uint64_t token;
	int64_t until_ms;
	uint16_t port;
};

struct turn_ports {
	void (*fill)(void *p, size_t n);
	uint16_t first;
	uint32_t n; /* ports of the range */
	struct set sets[N_SETS];
	uint8_t taken[ALL_PORTS / 8];	 /* bits; those of an earlier range too */
	uint8_t reserved[ALL_PORTS / 8]; /* bits */
	uint32_t n_reservations;
	int64_t expires_ms; /* not later than the first reservation that does */
	struct reservation reservations[MAX_RESERVATIONS];
};

static bool bit_get(const uint8_t *bits, uint16_t port)
{
	return bits[port / 8] >> port % 8 & 1;
}

static void bit_put(uint8_t *bits, uint16_t port, bool on)
{
	uint8_t mask = (uint8_t)(1u << port % 8);

	bits[port / 8] = (uint8_t)(on ? bits[port / 8] | mask : bits[port / 8] & ~mask);
}

/* --- sets --- */

static bool set_has(const struct set *s, uint32_t item)
{
	return s->places[item] < s->n && s->items[s->places[item]] == item;
}

static void set_update(struct set *s, uint32_t item, bool in)
{
	if (set_has(s, item) == in)
		return;
	if (in) {
		s->places[item] = (uint16_t)s->n;
		s->items[s->n++] = (uint16_t)item;
		return;
	}
	s->n--;
	s->items[s->places[item]] = s->items[s->n];
	s->places[s->items[s->n]] = s->places[item];
}

static int sets_init(struct set sets[N_SETS], uint32_t n)
{
	uint16_t *room = calloc((size_t)n * 2 * N_SETS, sizeof(*room));

	if (!room)
		return -1;
	for (int i = 0; i < N_SETS; i++)
		sets[i] = (struct set){ .items = room + 2 * i * (size_t)n,
					.places = room + (2 * i + 1) * (size_t)n };
	return 0;
}

/* --- which port is what --- */

static bool in_range(const struct turn_ports *p, uint32_t port)
{
	return port >= p->first && port - p->first < p->n;
}

static bool is_free(const struct turn_ports *p, uint32_t port)
{
	return in_range(p, port) && !bit_get(p->taken, (uint16_t)port) &&
	       !bit_get(p->reserved, (uint16_t)port);
}

/* Brings the sets up to date after the state of a port changed; its pair depends on it too. */
static void refresh(struct turn_ports *p, uint16_t port)
{
	uint32_t even = port & ~1u;

	if (in_range(p, port))
		set_update(&p->sets[FREE], port - p->first, is_free(p, port));
	if (!in_range(p, even))
		return;
	set_update(&p->sets[EVEN], even - p->first, is_free(p, even));
	set_update(&p->sets[PAIR], even - p->first, is_free(p, even) && is_free(p, even + 1));
}

static void refresh_all(struct turn_ports *p)
{
	for (uint32_t i = 0; i < p->n; i++)
		refresh(p, (uint16_t)(p->first + i));
}

static bool is_range(uint16_t first, uint16_t last)
{
	return first > 0 && first <= last;
}

struct turn_ports *turn_ports_new(uint16_t first, uint16_t last, void (*fill)(void *p, size_t n))
{
	struct turn_ports *p = is_range(first, last) ? calloc(1, sizeof(*p)) : NULL;

	if (!p)
		return NULL;
	p->fill = fill;
	p->first = first;
	p->n = (uint32_t)last - first + 1;
	p->expires_ms = INT64_MAX;
	if (sets_init(p->sets, p->n) < 0) {
		free(p);
		return NULL;
	}
	refresh_all(p);
	return p;
}

void turn_ports_free(struct turn_ports *p)
{
	if (!p)
		return;
	free(p->sets[0].items); /* all of them lie there */
	free(p);
}

int turn_ports_resize(struct turn_ports *p, uint16_t first, uint16_t last)
{
	struct set sets[N_SETS];

	if (!is_range(first, last))
		return -EINVAL;
	if (sets_init(sets, (uint32_t)last - first + 1) < 0)
		return -ENOMEM;
	free(p->sets[0].items);
	memcpy(p->sets, sets, sizeof(sets));
	p->first = first;
	p->n = (uint32_t)last - first + 1;
	refresh_all(p);
	return 0;
}

/* --- reservations --- */

static void drop(struct turn_ports *p, struct reservation *r)
{
	uint16_t port = r->port;

	*r = p->reservations[--p->n_reservations];
	bit_put(p->reserved, port, false);
	refresh(p, port);
}

static void expire(struct turn_ports *p, int64_t now_ms)
{
	if (now_ms < p->expires_ms)
		return;
	p->expires_ms = INT64_MAX;
	for (uint32_t i = p->n_reservations; i-- > 0;) {
		struct reservation *r = &p->reservations[i];

		if (r->until_ms <= now_ms)
			drop(p, r);
	}
	for (uint32_t i = 0; i < p->n_reservations; i++) {
		if (p->reservations[i].until_ms < p->expires_ms)
			p->expires_ms = p->reservations[i].until_ms;
	}
}

static struct reservation *find(struct turn_ports *p, uint64_t token)
{
	for (uint32_t i = 0; i < p->n_reservations; i++) {
		if (p->reservations[i].token == token)
			return &p->reservations[i];
	}
	return NULL;
}

/* A reservation costs its owner nothing that a quota counts: a quarter of the range at most. */
static uint32_t max_reservations(const struct turn_ports *p)
{
	uint32_t n = p->n / 4 ? p->n / 4 : 1;

	return n < MAX_RESERVATIONS ? n : MAX_RESERVATIONS;
}

uint64_t turn_ports_reserve(struct turn_ports *p, uint16_t port, int64_t now_ms, int64_t until_ms)
{
	uint64_t token = 0;

	expire(p, now_ms);
	if (!is_free(p, port) || until_ms <= now_ms || p->n_reservations >= max_reservations(p))
		return 0;
	while (token == 0 || find(p, token))
		p->fill(&token, sizeof(token));
	p->reservations[p->n_reservations++] =
		(struct reservation){ .token = token, .until_ms = until_ms, .port = port };
	if (until_ms < p->expires_ms)
		p->expires_ms = until_ms;
	bit_put(p->reserved, port, true);
	refresh(p, port);
	return token;
}

uint16_t turn_ports_claim(struct turn_ports *p, uint64_t token, int64_t now_ms)
{
	struct reservation *r;
	uint16_t port;

	expire(p, now_ms);
	r = find(p, token);
	if (!r)
		return 0;
	port = r->port;
	drop(p, r);
	if (!in_range(p, port))
		return 0;
	bit_put(p->taken, port, true);
	refresh(p, port);
	return port;
}

void turn_ports_release(struct turn_ports *p, uint64_t token)
{
	struct reservation *r = find(p, token);

	if (r)
		drop(p, r);
}

/* --- taking --- */

/* Uniform below n: what is over the last whole multiple is thrown again. */
static uint32_t draw(struct turn_ports *p, uint32_t n)
{
	uint32_t v, limit = UINT32_MAX - UINT32_MAX % n;

	do {
		p->fill(&v, sizeof(v));
	} while (v >= limit);
	return v % n;
}

uint16_t turn_ports_take(struct turn_ports *p, bool even, bool pair, int64_t now_ms)
{
	struct set *s = &p->sets[pair ? PAIR : even ? EVEN : FREE];
	uint16_t port;

	expire(p, now_ms);
	if (s->n == 0)
		return 0;
	port = (uint16_t)(p->first + s->items[draw(p, s->n)]);
	bit_put(p->taken, port, true);
	refresh(p, port);
	return port;
}

void turn_ports_put(struct turn_ports *p, uint16_t port)
{
	if (!bit_get(p->taken, port))
		return;
	bit_put(p->taken, port, false);
	refresh(p, port);
}

uint32_t turn_ports_n(const struct turn_ports *p)
{
	return p->n;
}

uint32_t turn_ports_n_used(const struct turn_ports *p, int64_t now_ms)
{
	uint32_t n = p->n - p->sets[FREE].n;

	/* Those that have expired and not been swept yet are free. */
	for (uint32_t i = 0; now_ms >= p->expires_ms && i < p->n_reservations; i++) {
		const struct reservation *r = &p->reservations[i];

		if (r->until_ms <= now_ms && in_range(p, r->port))
			n--;
	}
	return n;
}
