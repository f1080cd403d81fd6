#include "route/loops.h"

#include <stdlib.h>

#include "base/htab.h"
#include "base/list.h"

#define MAX_PART 511

struct entry {
	struct htab_node node; /* by tag */
	struct list by_age;
	int64_t since_ms;
	struct slice tag, alias, source; /* views into bytes */
	char bytes[];
};

struct route_loops {
	struct htab by_tag;
	struct list by_age; /* oldest first */
	size_t max;
	int64_t life_ms;
};

static struct slice entry_key(const struct htab_node *node)
{
	return CONTAINER_OF(node, const struct entry, node)->tag;
}

struct route_loops *route_loops_new(const uint8_t seed[16], size_t max, int64_t life_ms)
{
	struct route_loops *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	if (htab_init(&l->by_tag, seed, entry_key) < 0) {
		free(l);
		return NULL;
	}
	list_init(&l->by_age);
	l->max = max;
	l->life_ms = life_ms;
	return l;
}

static void entry_free(struct route_loops *l, struct entry *e)
{
	htab_del(&l->by_tag, &e->node);
	list_del(&e->by_age);
	free(e);
}

void route_loops_free(struct route_loops *l)
{
	if (!l)
		return;
	LIST_FOREACH_SAFE (it, &l->by_age)
		entry_free(l, CONTAINER_OF(it, struct entry, by_age));
	htab_fini(&l->by_tag);
	free(l);
}

static struct slice part(struct slice s)
{
	return (struct slice){ s.p, s.n < MAX_PART ? s.n : MAX_PART };
}

static struct slice keep(struct entry *e, size_t *at, struct slice s)
{
	struct slice copy = { e->bytes + *at, s.n };

	if (s.n)
		memcpy(e->bytes + *at, s.p, s.n);
	*at += s.n;
	return copy;
}

static void add(struct route_loops *l, struct slice tag, struct slice alias, struct slice source,
		int64_t now_ms)
{
	struct entry *e = malloc(sizeof(*e) + tag.n + alias.n + source.n);
	size_t at = 0;

	if (!e)
		return;
	e->since_ms = now_ms;
	e->tag = keep(e, &at, tag);
	e->alias = keep(e, &at, alias);
	e->source = keep(e, &at, source);
	htab_add(&l->by_tag, &e->node);
	list_add_tail(&l->by_age, &e->by_age);
}

static void expire(struct route_loops *l, int64_t now_ms)
{
	LIST_FOREACH_SAFE (it, &l->by_age) {
		struct entry *e = CONTAINER_OF(it, struct entry, by_age);

		if (now_ms - e->since_ms < l->life_ms)
			return;
		entry_free(l, e);
	}
}

/* The entry, and in *n_of_tag how many entries of the tag were passed. */
static struct entry *find(const struct route_loops *l, struct slice tag, struct slice alias,
			  struct slice source, size_t *n_of_tag)
{
	struct htab_node *node = htab_get(&l->by_tag, tag);

	for (; node; node = htab_get_next(&l->by_tag, node)) {
		struct entry *e = CONTAINER_OF(node, struct entry, node);

		++*n_of_tag;
		if (slice_caseeq(e->alias, alias) && slice_eq(e->source, source))
			return e;
	}
	return NULL;
}

enum route_loops_verdict route_loops_enter(struct route_loops *l, struct slice tag,
					   struct slice alias, struct slice source, int64_t now_ms)
{
	size_t n_of_tag = 0;

	tag = part(tag);
	alias = part(alias);
	source = part(source);
	expire(l, now_ms);
	if (find(l, tag, alias, source, &n_of_tag))
		return ROUTE_LOOPS_SEEN;
	if (n_of_tag >= ROUTE_LOOPS_MAX_PER_TAG)
		return ROUTE_LOOPS_TOO_MANY;
	if (l->by_tag.n >= l->max)
		entry_free(l, CONTAINER_OF(list_first(&l->by_age), struct entry, by_age));
	add(l, tag, alias, source, now_ms);
	return ROUTE_LOOPS_NEW;
}

void route_loops_leave(struct route_loops *l, struct slice tag, struct slice alias,
		       struct slice source)
{
	size_t n_of_tag = 0;
	struct entry *e = find(l, part(tag), part(alias), part(source), &n_of_tag);

	if (e)
		entry_free(l, e);
}

void route_loops_forget(struct route_loops *l, struct slice tag)
{
	struct htab_node *node;

	tag = part(tag);
	while ((node = htab_get(&l->by_tag, tag)))
		entry_free(l, CONTAINER_OF(node, struct entry, node));
}

size_t route_loops_count(const struct route_loops *l)
{
	return l->by_tag.n;
}
