#include "core/dns_cache.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/htab.h"
#include "base/list.h"

#define KEY_BYTES (DNS_NAME_BYTES + 2)

struct entry {
	struct htab_node node;
	struct list recent; /* head of the list: used last */
	char *key;	    /* lower-case name, '/', type byte */
	size_t key_n;
	int64_t fresh_until_ms;
	int64_t stale_until_ms;
	int64_t retry_ms;	   /* do not ask before */
	struct dns_answer *answer; /* only as long as its records need */
};

struct dns_cache {
	struct dns_cache_limits limits;
	struct htab entries;
	struct list recent;
};

static struct slice entry_key(const struct htab_node *node)
{
	const struct entry *e = CONTAINER_OF(node, struct entry, node);

	return (struct slice){ e->key, e->key_n };
}

struct dns_cache *dns_cache_new(const uint8_t seed[16], const struct dns_cache_limits *limits)
{
	struct dns_cache *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	list_init(&c->recent);
	c->limits = *limits;
	if (htab_init(&c->entries, seed, entry_key) < 0) {
		free(c);
		return NULL;
	}
	return c;
}

static void entry_free(struct entry *e)
{
	free(e->key);
	free(e->answer);
	free(e);
}

static void drop(struct dns_cache *c, struct entry *e)
{
	htab_del(&c->entries, &e->node);
	list_del(&e->recent);
	entry_free(e);
}

void dns_cache_flush(struct dns_cache *c)
{
	while (!list_empty(&c->recent))
		drop(c, CONTAINER_OF(list_first(&c->recent), struct entry, recent));
}

void dns_cache_free(struct dns_cache *c)
{
	if (!c)
		return;
	dns_cache_flush(c);
	htab_fini(&c->entries);
	free(c);
}

static void shrink_to(struct dns_cache *c, size_t n)
{
	while (c->entries.n > n)
		drop(c, CONTAINER_OF(c->recent.prev, struct entry, recent));
}

void dns_cache_set_limits(struct dns_cache *c, const struct dns_cache_limits *limits)
{
	c->limits = *limits;
	shrink_to(c, limits->max_entries);
}

/* n 0 when the name is too long. */
static struct slice make_key(char buf[KEY_BYTES], struct slice name, enum dns_type type)
{
	if (name.n >= DNS_NAME_BYTES)
		return SLICE_NONE;
	for (size_t i = 0; i < name.n; i++)
		buf[i] = (char)tolower((unsigned char)name.p[i]);
	buf[name.n] = '/';
	buf[name.n + 1] = (char)type;
	return (struct slice){ buf, name.n + 2 };
}

static struct entry *find(const struct dns_cache *c, struct slice name, enum dns_type type)
{
	char buf[KEY_BYTES];
	struct slice key = make_key(buf, name, type);
	struct htab_node *node = key.n ? htab_get(&c->entries, key) : NULL;

	return node ? CONTAINER_OF(node, struct entry, node) : NULL;
}

enum dns_cache_state dns_cache_get(struct dns_cache *c, struct slice name, enum dns_type type,
				   int64_t now_ms, const struct dns_answer **out)
{
	struct entry *e = find(c, name, type);

	*out = NULL;
	if (!e || now_ms >= e->stale_until_ms)
		return DNS_CACHE_MISS;
	list_del(&e->recent);
	list_add_head(&c->recent, &e->recent);
	*out = e->answer;
	if (now_ms < e->fresh_until_ms)
		return DNS_CACHE_FRESH;
	return now_ms < e->retry_ms ? DNS_CACHE_STALE_NOW : DNS_CACHE_STALE;
}

static struct dns_answer *copy_answer(const struct dns_answer *a)
{
	size_t n = offsetof(struct dns_answer, records) + a->n * sizeof(a->records[0]);
	struct dns_answer *copy = malloc(n);

	if (copy)
		memcpy(copy, a, n);
	return copy;
}

static struct entry *entry_new(struct dns_cache *c, struct slice name, enum dns_type type)
{
	char buf[KEY_BYTES];
	struct slice key = make_key(buf, name, type);
	struct entry *e;

	if (key.n == 0 || c->limits.max_entries == 0)
		return NULL;
	e = calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	e->key = malloc(key.n);
	if (!e->key) {
		free(e);
		return NULL;
	}
	memcpy(e->key, key.p, key.n);
	e->key_n = key.n;
	shrink_to(c, c->limits.max_entries - 1);
	htab_add(&c->entries, &e->node);
	list_add_head(&c->recent, &e->recent);
	return e;
}

/* The entry for that key with a copy of the answer in it, or NULL. */
static struct entry *store(struct dns_cache *c, struct slice name, enum dns_type type,
			   const struct dns_answer *answer)
{
	struct dns_answer *copy = copy_answer(answer);
	struct entry *e = copy ? find(c, name, type) : NULL;

	if (copy && !e)
		e = entry_new(c, name, type);
	if (!e) {
		free(copy);
		return NULL;
	}
	free(e->answer);
	e->answer = copy;
	e->retry_ms = 0;
	return e;
}

void dns_cache_put(struct dns_cache *c, struct slice name, enum dns_type type,
		   const struct dns_answer *answer, int64_t now_ms)
{
	int64_t max = answer->status == 0 ? c->limits.max_fresh_ms : c->limits.max_negative_ms;
	int64_t ttl_ms = (int64_t)answer->ttl_s * 1000;
	struct entry *e = store(c, name, type, answer);

	if (!e)
		return;
	e->fresh_until_ms = now_ms + (ttl_ms < max ? ttl_ms : max);
	/* "No such name" is not worth keeping past its time. */
	e->stale_until_ms = e->fresh_until_ms;
	if (answer->status == 0)
		e->stale_until_ms += c->limits.max_stale_ms;
}

void dns_cache_failed(struct dns_cache *c, struct slice name, enum dns_type type, int status,
		      int64_t now_ms, int64_t retry_ms)
{
	struct dns_answer failure = { .status = status };
	struct entry *e = find(c, name, type);

	if (e && now_ms < e->stale_until_ms) {
		e->retry_ms = now_ms + retry_ms;
		return;
	}
	e = store(c, name, type, &failure);
	if (e)
		e->fresh_until_ms = e->stale_until_ms = now_ms + retry_ms;
}

void dns_cache_forget_failures(struct dns_cache *c)
{
	LIST_FOREACH_SAFE (it, &c->recent) {
		struct entry *e = CONTAINER_OF(it, struct entry, recent);

		e->retry_ms = 0;
		if (e->answer->status != 0 && e->answer->status != -ENOENT)
			drop(c, e);
	}
}

size_t dns_cache_count(const struct dns_cache *c)
{
	return c->entries.n;
}
