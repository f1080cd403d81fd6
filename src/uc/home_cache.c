#include "uc/home_cache.h"

#include <stdlib.h>
#include <string.h>

#include "uc/uds.h"

#define KEY_BYTES (256 + UC_UDS_MAX_USER_BYTES)

struct home {
	struct htab_node node;
	struct list use;
	int64_t until_ms;
	char cluster[UC_CLUSTER_BYTES];
	size_t n_key;
	char key[];
};

static struct slice key_of(const struct htab_node *node)
{
	const struct home *h = CONTAINER_OF((uintptr_t)node, struct home, node);

	return (struct slice){ h->key, h->n_key };
}

/* domain in lower case, NUL, user; n 0: too long to be one. */
static struct slice make_key(char key[KEY_BYTES], struct slice domain, struct slice user)
{
	size_t i;

	if (domain.n + 1 + user.n > KEY_BYTES)
		return SLICE_NONE;
	for (i = 0; i < domain.n; i++)
		key[i] = (char)(domain.p[i] >= 'A' && domain.p[i] <= 'Z' ? domain.p[i] | 0x20
									 : domain.p[i]);
	key[domain.n] = '\0';
	if (user.n)
		memcpy(key + domain.n + 1, user.p, user.n);
	return (struct slice){ key, domain.n + 1 + user.n };
}

int uc_home_cache_init(struct uc_home_cache *c, const uint8_t seed[16], size_t max)
{
	*c = (struct uc_home_cache){ .max = max };
	list_init(&c->by_use);
	return htab_init(&c->by_user, seed, key_of);
}

static void home_free(struct uc_home_cache *c, struct home *h)
{
	htab_del(&c->by_user, &h->node);
	list_del(&h->use);
	c->n--;
	free(h);
}

void uc_home_cache_clear(struct uc_home_cache *c)
{
	LIST_FOREACH_SAFE (it, &c->by_use)
		home_free(c, CONTAINER_OF(it, struct home, use));
}

void uc_home_cache_fini(struct uc_home_cache *c)
{
	uc_home_cache_clear(c);
	htab_fini(&c->by_user);
}

static struct home *find(struct uc_home_cache *c, struct slice domain, struct slice user)
{
	char text[KEY_BYTES];
	const struct slice key = make_key(text, domain, user);
	struct htab_node *node = key.n ? htab_get(&c->by_user, key) : NULL;

	return node ? CONTAINER_OF(node, struct home, node) : NULL;
}

static struct home *use(struct uc_home_cache *c, struct slice domain, struct slice user)
{
	struct home *h = find(c, domain, user);

	if (!h)
		return NULL;
	list_del(&h->use);
	list_add_head(&c->by_use, &h->use);
	return h;
}

const char *uc_home_cache_get(struct uc_home_cache *c, struct slice domain, struct slice user,
			      int64_t now_ms)
{
	const struct home *h = use(c, domain, user);

	return h && now_ms < h->until_ms ? h->cluster : NULL;
}

const char *uc_home_cache_last(struct uc_home_cache *c, struct slice domain, struct slice user)
{
	const struct home *h = use(c, domain, user);

	return h ? h->cluster : NULL;
}

static struct home *home_new(struct uc_home_cache *c, struct slice domain, struct slice user)
{
	char text[KEY_BYTES];
	const struct slice key = make_key(text, domain, user);
	struct home *h = key.n ? calloc(1, sizeof(*h) + key.n) : NULL;

	if (!h)
		return NULL;
	if (c->n >= c->max)
		home_free(c, CONTAINER_OF(c->by_use.prev, struct home, use));
	memcpy(h->key, key.p, key.n);
	h->n_key = key.n;
	htab_add(&c->by_user, &h->node);
	list_add_head(&c->by_use, &h->use);
	c->n++;
	return h;
}

void uc_home_cache_put(struct uc_home_cache *c, struct slice domain, struct slice user,
		       const char *cluster, int64_t now_ms)
{
	struct home *h = find(c, domain, user);

	if (!h)
		h = home_new(c, domain, user);
	if (!h)
		return;
	slice_copy(h->cluster, sizeof(h->cluster), slice_of(cluster));
	h->until_ms = now_ms + UC_HOME_CACHE_LIFE_MS;
}
