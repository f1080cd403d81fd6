#include "signin/cred_cache.h"

#include <stdlib.h>

#include <openssl/crypto.h>

#include "base/htab.h"
#include "base/list.h"
#include "proto/hmac.h"

struct cred {
	struct htab_node node;
	struct list lru; /* least recently used first */
	uint8_t tag[CRED_TAG_BYTES];
	int64_t checked_ms;
};

struct cred_cache {
	struct hmac_sha256 key;
	struct htab tags;
	struct list lru;
	size_t max;
	int64_t life_ms;
};

static struct slice tag_slice(const uint8_t tag[CRED_TAG_BYTES])
{
	return (struct slice){ (const char *)tag, CRED_TAG_BYTES };
}

static struct slice node_key(const struct htab_node *n)
{
	return tag_slice(CONTAINER_OF(n, const struct cred, node)->tag);
}

struct cred_cache *cred_cache_new(const uint8_t random[48])
{
	struct cred_cache *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	hmac_sha256_init(&c->key, random, 32);
	list_init(&c->lru);
	if (htab_init(&c->tags, random + 32, node_key) == 0)
		return c;
	cred_cache_free(c);
	return NULL;
}

static void cred_free(struct cred_cache *c, struct cred *e)
{
	htab_del(&c->tags, &e->node);
	list_del(&e->lru);
	OPENSSL_cleanse(e, sizeof(*e));
	free(e);
}

void cred_cache_clear(struct cred_cache *c)
{
	LIST_FOREACH_SAFE (it, &c->lru)
		cred_free(c, CONTAINER_OF(it, struct cred, lru));
}

void cred_cache_free(struct cred_cache *c)
{
	if (!c)
		return;
	cred_cache_clear(c);
	htab_fini(&c->tags);
	OPENSSL_cleanse(c, sizeof(*c));
	free(c);
}

static void shrink(struct cred_cache *c, size_t to)
{
	while (c->tags.n > to)
		cred_free(c, CONTAINER_OF(list_first(&c->lru), struct cred, lru));
}

void cred_cache_configure(struct cred_cache *c, size_t max_entries, int64_t life_ms)
{
	c->max = max_entries;
	c->life_ms = life_ms;
	shrink(c, max_entries);
}

/* Each part behind its length: no two different triples give the same bytes. */
static size_t add_part(char *at, const char *text)
{
	size_t n = strlen(text);

	at[0] = (char)(n >> 8);
	at[1] = (char)n;
	memcpy(at + 2, text, n);
	return n + 2;
}

void cred_cache_tag(const struct cred_cache *c, const struct signin_credentials *cred,
		    uint8_t tag[CRED_TAG_BYTES])
{
	char text[sizeof(*cred) + 6];
	size_t n;

	n = add_part(text, cred->domain);
	n += add_part(text + n, cred->user);
	n += add_part(text + n, cred->password);
	hmac_sha256(&c->key, (struct slice){ text, n }, SLICE_NONE, tag);
	OPENSSL_cleanse(text, sizeof(text));
}

/* The table is keyed and compares whole hashes before bytes, so nothing can be learnt digit by
 * digit; the last word is a comparison in constant time all the same. */
static struct cred *find(const struct cred_cache *c, const uint8_t tag[CRED_TAG_BYTES])
{
	struct htab_node *n = htab_get(&c->tags, tag_slice(tag));
	struct cred *e = n ? CONTAINER_OF(n, struct cred, node) : NULL;

	return e && CRYPTO_memcmp(e->tag, tag, CRED_TAG_BYTES) == 0 ? e : NULL;
}

static void use(struct cred_cache *c, struct cred *e)
{
	list_del(&e->lru);
	list_add_tail(&c->lru, &e->lru);
}

void cred_cache_put(struct cred_cache *c, const uint8_t tag[CRED_TAG_BYTES], int64_t now_ms)
{
	struct cred *e = find(c, tag);

	if (e) {
		e->checked_ms = now_ms;
		use(c, e);
		return;
	}
	if (c->max == 0 || c->life_ms == 0 || !(e = calloc(1, sizeof(*e))))
		return;
	shrink(c, c->max - 1);
	memcpy(e->tag, tag, CRED_TAG_BYTES);
	e->checked_ms = now_ms;
	htab_add(&c->tags, &e->node);
	list_add_tail(&c->lru, &e->lru);
}

static bool is_over(const struct cred_cache *c, const struct cred *e, int64_t now_ms)
{
	return now_ms - e->checked_ms >= c->life_ms;
}

bool cred_cache_has(struct cred_cache *c, const uint8_t tag[CRED_TAG_BYTES], int64_t now_ms)
{
	struct cred *e = find(c, tag);

	if (!e)
		return false;
	if (is_over(c, e, now_ms)) {
		cred_free(c, e);
		return false;
	}
	use(c, e);
	return true;
}

void cred_cache_drop(struct cred_cache *c, const uint8_t tag[CRED_TAG_BYTES])
{
	struct cred *e = find(c, tag);

	if (e)
		cred_free(c, e);
}

size_t cred_cache_sweep(struct cred_cache *c, int64_t now_ms)
{
	size_t n = 0;

	LIST_FOREACH_SAFE (it, &c->lru) {
		struct cred *e = CONTAINER_OF(it, struct cred, lru);

		if (is_over(c, e, now_ms)) {
			cred_free(c, e);
			n++;
		}
	}
	return n;
}

size_t cred_cache_count(const struct cred_cache *c)
{
	return c->tags.n;
}
