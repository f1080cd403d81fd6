#include "signin/session.h"

#include <errno.h>
#include <stdlib.h>

#include <openssl/crypto.h>

#include "signin/name.h"

struct signin_sessions {
	struct signin_sessions_params p;
	struct htab by_token, by_id, by_user;
	struct list all;
};

static struct slice token_key(const struct htab_node *n)
{
	return slice_of(CONTAINER_OF(n, const struct signin_entry, by_token)->s.token);
}

static struct slice id_key(const struct htab_node *n)
{
	return slice_of(CONTAINER_OF(n, const struct signin_entry, by_id)->s.id);
}

static struct slice user_key(const struct htab_node *n)
{
	return slice_of(CONTAINER_OF(n, const struct signin_entry, by_user)->account);
}

struct signin_sessions *signin_sessions_new(const struct signin_sessions_params *p)
{
	struct signin_sessions *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->p = *p;
	list_init(&t->all);
	if (htab_init(&t->by_token, p->seed, token_key) == 0 &&
	    htab_init(&t->by_id, p->seed, id_key) == 0 &&
	    htab_init(&t->by_user, p->seed, user_key) == 0)
		return t;
	signin_sessions_free(t, "");
	return NULL;
}

void signin_sessions_free(struct signin_sessions *t, const char *why)
{
	if (!t)
		return;
	while (!list_empty(&t->all))
		signin_session_end(CONTAINER_OF(list_first(&t->all), struct signin_entry, node),
				   why);
	htab_fini(&t->by_token);
	htab_fini(&t->by_id);
	htab_fini(&t->by_user);
	OPENSSL_cleanse(t, sizeof(*t));
	free(t);
}

void signin_sessions_set_max(struct signin_sessions *t, size_t max)
{
	t->p.max = max;
}

size_t signin_sessions_count(const struct signin_sessions *t)
{
	return t->by_token.n;
}

const struct list *signin_sessions_list(const struct signin_sessions *t)
{
	return &t->all;
}

static int64_t now_of(const struct signin_sessions *t)
{
	return t->p.timers->now_ms;
}

/* Takes it out of what others find. */
static void hide(struct signin_entry *e, const char *why)
{
	struct signin_sessions *t = e->table;

	htab_del(&t->by_id, &e->by_id);
	htab_del(&t->by_user, &e->by_user);
	conn_end(t->p.conns, &e->conn, "%s", why);
	signin_session_set_digests(e, NULL);
}

static void entry_free(struct signin_entry *e)
{
	struct signin_sessions *t = e->table;

	htab_del(&t->by_token, &e->by_token);
	list_del(&e->node);
	list_del(&e->mark_node);
	timer_stop(t->p.timers, &e->expiry);
	OPENSSL_cleanse(e, sizeof(*e));
	free(e);
}

void signin_session_end(struct signin_entry *e, const char *why)
{
	struct signin_sessions *t = e->table;

	if (!e->buried) {
		e->buried = true; /* what the callback does to it finds nothing to do */
		if (t->p.ops->ended)
			t->p.ops->ended(t->p.arg, &e->s, why);
		hide(e, why);
	}
	entry_free(e);
}

void signin_session_bury(struct signin_entry *e, const char *why)
{
	if (e->buried)
		return;
	e->buried = true;
	hide(e, why);
}

static void on_expiry(void *arg)
{
	signin_session_end(arg, "its life is over");
}

static void on_close(struct conn *c, const char *reason)
{
	struct signin_entry *e = CONTAINER_OF(c, struct signin_entry, conn);

	e->table->p.ops->close(e->table->p.arg, e, reason);
}

static void fill_conn(struct signin_entry *e)
{
	struct conn *c = &e->conn;

	c->kind = CONN_SIGNIN;
	c->transport = CONN_TLS;
	c->remote = e->s.from;
	c->state = "signed in";
	c->close = on_close;
	slice_copy(c->session, sizeof(c->session), slice_of(e->s.id));
	slice_copy(c->user, sizeof(c->user), slice_of(e->account));
}

static void fill(struct signin_entry *e, struct signin_sessions *t, const struct signin_session *s)
{
	e->s = *s;
	e->table = t;
	list_init(&e->node);
	list_init(&e->mark_node);
	timer_init(&e->expiry, on_expiry, e);
	signin_domain_lower(slice_of(s->domain), e->s.domain);
	signin_account_print(slice_of(s->user), slice_of(s->domain), e->account);
	fill_conn(e);
}

static void keep_under_limit(struct signin_sessions *t, const struct signin_session *s)
{
	struct signin_entry *e = NULL, *oldest = NULL;
	size_t n = 0;

	while ((e = signin_sessions_of_user(t, slice_of(s->domain), slice_of(s->user), e))) {
		oldest = e;
		n++;
	}
	if (oldest && t->p.max_per_user && n >= t->p.max_per_user)
		signin_session_end(oldest, "the user has too many sessions, this was the oldest");
}

struct signin_entry *signin_sessions_add(struct signin_sessions *t, const struct signin_session *s,
					 uint32_t age_s, int *error)
{
	struct signin_entry *e;

	*error = 0;
	if (age_s >= s->life_s)
		*error = -ESTALE;
	else if (htab_get(&t->by_token, slice_of(s->token)) || htab_get(&t->by_id, slice_of(s->id)))
		*error = -EEXIST;
	if (*error == 0)
		keep_under_limit(t, s);
	if (*error == 0 && t->by_token.n >= t->p.max)
		*error = -ENOSPC;
	if (*error)
		return NULL;
	e = calloc(1, sizeof(*e));
	if (!e) {
		*error = -ENOMEM;
		return NULL;
	}
	fill(e, t, s);
	*error = conn_add(t->p.conns, &e->conn);
	if (*error) {
		OPENSSL_cleanse(e, sizeof(*e));
		free(e);
		return NULL;
	}
	e->s.conn_id = e->conn.id;
	htab_add(&t->by_token, &e->by_token);
	htab_add(&t->by_id, &e->by_id);
	htab_add(&t->by_user, &e->by_user);
	list_add_tail(&t->all, &e->node);
	signin_session_renew(e, s->life_s, age_s);
	e->used_ms = now_of(t);
	return e;
}

void signin_session_renew(struct signin_entry *e, uint32_t life_s, uint32_t age_s)
{
	struct signin_sessions *t = e->table;
	int64_t left_ms = ((int64_t)life_s - age_s) * 1000;

	e->s.life_s = life_s;
	e->since_ms = now_of(t) - (int64_t)age_s * 1000;
	e->s.expires_ms = now_of(t) + (left_ms > 0 ? left_ms : 0);
	timer_start(t->p.timers, &e->expiry, left_ms);
}

void signin_session_set_digests(struct signin_entry *e, struct signin_digests *d)
{
	signin_digests_free(e->digests);
	e->digests = d;
}

uint32_t signin_session_age_s(const struct signin_entry *e)
{
	int64_t age_ms = now_of(e->table) - e->since_ms;

	return age_ms > 0 ? (uint32_t)(age_ms / 1000) : 0;
}

/* The table's hash is keyed and compared whole before any byte is, so that time tells nothing about
 * tokens that are nearly right; the byte comparison behind it is in constant time. */
struct signin_entry *signin_sessions_get(const struct signin_sessions *t, struct slice token)
{
	struct htab_node *n = signin_token_valid(token) ? htab_get(&t->by_token, token) : NULL;
	struct signin_entry *e = n ? CONTAINER_OF(n, struct signin_entry, by_token) : NULL;

	return e && CRYPTO_memcmp(e->s.token, token.p, token.n) == 0 ? e : NULL;
}

struct signin_entry *signin_sessions_by_token(const struct signin_sessions *t, struct slice token)
{
	struct signin_entry *e = signin_sessions_get(t, token);

	return e && !e->buried ? e : NULL;
}

struct signin_entry *signin_sessions_by_id(const struct signin_sessions *t, struct slice id)
{
	struct htab_node *n = htab_get(&t->by_id, id);

	return n ? CONTAINER_OF(n, struct signin_entry, by_id) : NULL;
}

/* Elements of one key come newest first as long as the table does not grow, in any order after; so
 * look for the next older one. */
static bool is_newer(const struct signin_entry *a, const struct signin_entry *b)
{
	return a->conn.id != b->conn.id &&
	       (a->since_ms > b->since_ms ||
		(a->since_ms == b->since_ms && a->conn.id > b->conn.id));
}

/* First element of the user's chain. */
static struct htab_node *user_chain(const struct signin_sessions *t, struct slice domain,
				    struct slice user)
{
	char key[SIGNIN_ACCOUNT_BYTES];

	return signin_account_print(user, domain, key) ? htab_get(&t->by_user, slice_of(key))
						       : NULL;
}

struct signin_entry *signin_sessions_of_user(const struct signin_sessions *t, struct slice domain,
					     struct slice user, struct signin_entry *prev)
{
	struct signin_entry *best = NULL;

	for (struct htab_node *n = user_chain(t, domain, user); n;
	     n = htab_get_next(&t->by_user, n)) {
		struct signin_entry *e = CONTAINER_OF(n, struct signin_entry, by_user);

		if ((!prev || is_newer(prev, e)) && (!best || is_newer(e, best)))
			best = e;
	}
	return best;
}

struct signin_entry *signin_sessions_best(const struct signin_sessions *t, struct slice domain,
					  struct slice user, const struct addr *from)
{
	struct signin_entry *newest = NULL, *near = NULL;

	for (struct htab_node *n = user_chain(t, domain, user); n;
	     n = htab_get_next(&t->by_user, n)) {
		struct signin_entry *e = CONTAINER_OF(n, struct signin_entry, by_user);

		if (!newest || is_newer(e, newest))
			newest = e;
		if (from && addr_ip_eq(&e->s.from, from) && (!near || is_newer(e, near)))
			near = e;
	}
	return near ? near : newest;
}
