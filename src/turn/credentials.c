#include "turn/credentials.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "base/htab.h"
#include "base/list.h"
#include "proto/hmac.h"

enum { WHY_BYTES = 96, PASSWORD_BYTES = 29 };
#define MAX_AHEAD_S  (10 * 365 * 86400LL + 2 * 86400) /* ten years: leap days at least two */
#define MAX_EXPIRY_S 1000000000000		      /* what is more is no time at all */

/* One block, so that wiping it is one call. */
struct user {
	struct htab_node node;
	size_t n, n_password;
	char text[]; /* name, password */
};

struct secret {
	uint32_t owner;
	size_t n_id;
	char id[TURN_SECRET_ID_BYTES];
	int64_t skew_ms;
	struct hmac_sha1 key; /* the secret itself is not kept */
};

struct turn_credentials {
	uint8_t seed[16];
	struct slice realm;
	struct htab users;
	struct htab next; /* between begin and end */
	int next_error;	  /* then the old users stay */
	size_t n_secrets;
	struct secret secrets[TURN_MAX_SECRETS]; /* as they came, the newest last */
	char *why;				 /* WHY_BYTES */
};

static struct slice user_key(const struct htab_node *node)
{
	const struct user *u = CONTAINER_OF(node, const struct user, node);

	return (struct slice){ u->text, u->n };
}

static void user_free(struct user *u)
{
	OPENSSL_cleanse(u, sizeof(*u) + u->n + u->n_password);
	free(u);
}

static void users_fini(struct htab *users)
{
	HTAB_FOREACH_SAFE (it, users) {
		htab_del(users, it);
		user_free(CONTAINER_OF(it, struct user, node));
	}
	htab_fini(users);
	*users = (struct htab){ 0 };
}

struct turn_credentials *turn_credentials_new(const uint8_t seed[16])
{
	struct turn_credentials *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	memcpy(c->seed, seed, sizeof(c->seed));
	c->next_error = -EINVAL;
	c->why = malloc(WHY_BYTES);
	if (c->why && htab_init(&c->users, seed, user_key) == 0)
		return c;
	free(c->why);
	free(c);
	return NULL;
}

static void drop_next(struct turn_credentials *c)
{
	if (c->next.slots)
		users_fini(&c->next);
}

void turn_credentials_free(struct turn_credentials *c)
{
	if (!c)
		return;
	drop_next(c);
	users_fini(&c->users);
	free((char *)(uintptr_t)c->realm.p);
	free(c->why);
	OPENSSL_cleanse(c, sizeof(*c));
	free(c);
}

int turn_credentials_set_realm(struct turn_credentials *c, struct slice realm)
{
	char *copy = slice_dup(realm);

	if (!copy)
		return -ENOMEM;
	free((char *)(uintptr_t)c->realm.p);
	c->realm = (struct slice){ copy, realm.n };
	return 0;
}

/* --- users --- */

void turn_credentials_begin(struct turn_credentials *c)
{
	drop_next(c);
	c->next_error = htab_init(&c->next, c->seed, user_key);
}

int turn_credentials_add(struct turn_credentials *c, struct slice user, struct slice password)
{
	struct htab_node *old;
	struct user *u;

	if (c->next_error < 0)
		return c->next_error;
	if (user.n == 0 || user.n >= TURN_USER_BYTES)
		return -EINVAL;
	u = malloc(sizeof(*u) + user.n + password.n);
	if (!u)
		return c->next_error = -ENOMEM;
	*u = (struct user){ .n = user.n, .n_password = password.n };
	memcpy(u->text, user.p, user.n);
	if (password.n)
		memcpy(u->text + user.n, password.p, password.n);
	old = htab_get(&c->next, user);
	if (old) {
		htab_del(&c->next, old);
		user_free(CONTAINER_OF(old, struct user, node));
	}
	htab_add(&c->next, &u->node);
	return 0;
}

void turn_credentials_end(struct turn_credentials *c)
{
	if (c->next_error == 0) {
		users_fini(&c->users);
		c->users = c->next;
		c->next = (struct htab){ 0 };
	}
	drop_next(c);
	c->next_error = -EINVAL;
}

size_t turn_credentials_n_users(const struct turn_credentials *c)
{
	return c->users.n;
}

/* --- secrets --- */

static struct secret *find_secret(struct turn_credentials *c, uint32_t owner, struct slice id)
{
	for (size_t i = 0; i < c->n_secrets; i++) {
		struct secret *s = &c->secrets[i];

		if (s->owner == owner && slice_eq((struct slice){ s->id, s->n_id }, id))
			return s;
	}
	return NULL;
}

static void drop_secret(struct turn_credentials *c, struct secret *s)
{
	struct secret *end = &c->secrets[c->n_secrets--];

	memmove(s, s + 1, (size_t)((char *)end - (char *)(s + 1)));
	OPENSSL_cleanse(end - 1, sizeof(*end));
}

int turn_credentials_put_secret(struct turn_credentials *c, uint32_t owner, struct slice id,
				struct slice secret, int64_t skew_ms)
{
	struct secret *s;

	if (secret.n == 0 || secret.n > TURN_SECRET_BYTES || id.n > TURN_SECRET_ID_BYTES)
		return -EINVAL;
	s = find_secret(c, owner, id);
	if (!s && c->n_secrets == TURN_MAX_SECRETS)
		return -ENOSPC;
	if (!s) {
		s = &c->secrets[c->n_secrets++];
		s->owner = owner;
		s->n_id = id.n;
		if (id.n)
			memcpy(s->id, id.p, id.n);
	}
	s->skew_ms = skew_ms;
	hmac_sha1_init(&s->key, secret.p, secret.n);
	return 0;
}

void turn_credentials_del_secret(struct turn_credentials *c, uint32_t owner, struct slice id)
{
	struct secret *s = find_secret(c, owner, id);

	if (s)
		drop_secret(c, s);
}

void turn_credentials_reset(struct turn_credentials *c, uint32_t owner)
{
	for (size_t i = c->n_secrets; i-- > 0;) {
		if (c->secrets[i].owner == owner)
			drop_secret(c, &c->secrets[i]);
	}
}

size_t turn_credentials_n_secrets(const struct turn_credentials *c)
{
	return c->n_secrets;
}

/* --- keys --- */

static void password_of(const struct hmac_sha1 *key, struct slice username,
			char out[PASSWORD_BYTES])
{
	uint8_t tag[HMAC_SHA1_BYTES];

	hmac_sha1(key, username, SLICE_NONE, tag);
	EVP_EncodeBlock((unsigned char *)out, tag, sizeof(tag));
	OPENSSL_cleanse(tag, sizeof(tag));
}

void turn_credentials_password(struct slice secret, struct slice username, char out[29])
{
	struct hmac_sha1 key;

	hmac_sha1_init(&key, secret.p, secret.n);
	password_of(&key, username, out);
	OPENSSL_cleanse(&key, sizeof(key));
}

/* "digits" or "digits:anything". */
static bool read_expiry(struct slice user, int64_t *out)
{
	uint64_t v;

	user.n = slice_find(user, ':');
	if (!slice_u64(user, MAX_EXPIRY_S, &v))
		return false;
	*out = (int64_t)v;
	return true;
}

static void add_key(const struct turn_credentials *c, struct slice user, struct slice password,
		    bool sha256, bool is_static, struct turn_key out[TURN_MAX_KEYS], size_t *n)
{
	struct turn_key *k = &out[*n];
	int err = sha256 ? stun_key_sha256(user, c->realm, password, k->key)
			 : stun_key_md5(user, c->realm, password, k->key);

	if (err < 0)
		return;
	k->n = sha256 ? 32 : 16;
	k->is_static = is_static;
	++*n;
}

static const struct user *find_user(const struct turn_credentials *c, struct slice user)
{
	const struct htab_node *node = htab_get(&c->users, user);

	return node ? CONTAINER_OF(node, const struct user, node) : NULL;
}

/* The configured one always; then the newest first: they are the likely ones. */
static const struct secret *secret_by_turn(const struct turn_credentials *c, size_t turn)
{
	size_t own = 0;

	while (own < c->n_secrets && c->secrets[own].owner != 0)
		own++;
	if (own == c->n_secrets)
		return &c->secrets[c->n_secrets - 1 - turn];
	if (turn == 0)
		return &c->secrets[own];
	turn = c->n_secrets - turn;
	return &c->secrets[turn > own ? turn : turn - 1];
}

/* Keys by the secrets of those clocks for which the time is not over. */
static void add_timed(const struct turn_credentials *c, struct slice user, bool sha256,
		      int64_t wall_s, uint32_t tolerance_s, struct turn_key out[TURN_MAX_KEYS],
		      size_t *n)
{
	int64_t expiry_s, late_s = INT64_MAX;
	bool far = false;

	if (!read_expiry(user, &expiry_s)) {
		snprintf(c->why, WHY_BYTES, "unknown user");
		return;
	}
	for (size_t i = 0; i < c->n_secrets && *n < TURN_MAX_KEYS; i++) {
		const struct secret *s = secret_by_turn(c, i);
		int64_t now_s = wall_s + s->skew_ms / 1000;
		char password[PASSWORD_BYTES];

		if (expiry_s + tolerance_s < now_s) {
			late_s = now_s - expiry_s < late_s ? now_s - expiry_s : late_s;
			continue;
		}
		if (expiry_s > now_s + MAX_AHEAD_S) {
			far = true;
			continue;
		}
		password_of(&s->key, user, password);
		add_key(c, user, slice_of(password), sha256, false, out, n);
		OPENSSL_cleanse(password, sizeof(password));
	}
	if (c->n_secrets == 0)
		snprintf(c->why, WHY_BYTES, "no secret is known");
	else if (far)
		snprintf(c->why, WHY_BYTES, "credential expires in more than ten years");
	else
		snprintf(c->why, WHY_BYTES, "credential expired %" PRId64 " s ago", late_s);
}

size_t turn_credentials_keys(const struct turn_credentials *c, struct slice user, bool sha256,
			     int64_t wall_s, uint32_t tolerance_s,
			     struct turn_key out[TURN_MAX_KEYS], const char **why)
{
	const struct user *u = find_user(c, user);
	size_t n = 0;

	if (u)
		add_key(c, user, (struct slice){ u->text + u->n, u->n_password }, sha256, true, out,
			&n);
	add_timed(c, user, sha256, wall_s, tolerance_s, out, &n);
	if (n == 0)
		*why = c->why;
	return n;
}

struct slice turn_credentials_person(const struct turn_credentials *c, struct slice user)
{
	size_t colon = slice_find(user, ':');
	int64_t expiry_s;

	if (colon + 1 >= user.n || !read_expiry(user, &expiry_s) || find_user(c, user))
		return user;
	return (struct slice){ user.p + colon + 1, user.n - colon - 1 };
}
