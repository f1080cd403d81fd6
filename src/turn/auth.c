/*
 * Long-term credentials (RFC 8489 section 9.2.4). Until a nonce of ours comes back nothing is known
 * about who asks: answers are short, limited in number, and cost no memory.
 */
#include <openssl/crypto.h>
#include <stdio.h>

#include "core/trace.h"
#include "turn/server_impl.h"

enum { TRACE_EVERY_MS = 1000 };

/* The phrases are short: they go to addresses that nobody has proved. */
#define PHRASE_UNAUTHENTICATED "Unauth"
#define PHRASE_STALE	       "Stale"

static const uint16_t algorithms[] = { STUN_ALGORITHM_SHA256, STUN_ALGORITHM_MD5 };
enum { N_ALGORITHMS = sizeof(algorithms) / sizeof(algorithms[0]) };

/* Many sources, mostly not their own: one entry a second, named after the first. */
static void trace_unanswered(struct turn_server *s, const struct turn_client *c, const char *code,
			     const char *what)
{
	char text[ADDR_STR_BYTES];

	s->counters.n_unanswered++;
	if (turn_now(s) < s->drop_traced_ms + TRACE_EVERY_MS)
		return;
	s->drop_traced_ms = turn_now(s);
	trace_add(s->trace, code, "[turn] unauthenticated-rate", NULL, NULL,
		  "no answer to %s, the last from %s", what, addr_str(&c->remote, text));
}

void turn_answer_unproved(const struct turn_request *q, struct stun_build *b)
{
	struct turn_server *s = q->s;
	size_t n;

	if (q->msg.fingerprint_at)
		stun_build_fingerprint(b);
	n = stun_build_end(b);
	if (q->c->transport == TURN_UDP && n > q->msg.n &&
	    !turn_unauth_limit_take(s->limit, &q->c->remote, s->conf.unauthenticated_rate,
				    turn_now(s))) {
		trace_unanswered(s, q->c, "turn.unauthenticated.limit",
				 "questions without a valid credential");
		return;
	}
	s->counters.n_unauthenticated++;
	if (n > 0)
		s->ops->to_client(s->arg, q->c, b->p, n, false);
}

/* 401 and 438: with what the client needs for its next try. */
static void challenge(const struct turn_request *q, enum stun_code code, const char *phrase)
{
	uint8_t out[TURN_ANSWER_BYTES];
	char nonce[TURN_NONCE_BYTES];
	struct stun_build b;

	turn_nonce_make(&q->s->nonces, &q->c->remote, (uint8_t)q->c->transport, turn_now(q->s),
			nonce);
	turn_answer_start(q, &b, out, STUN_CLASS_ERROR);
	stun_build_error(&b, code, phrase);
	stun_build_slice(&b, STUN_ATTR_REALM, slice_of(q->s->conf.realm));
	stun_build_attr(&b, STUN_ATTR_NONCE, nonce, sizeof(nonce));
	stun_build_algorithms(&b, algorithms, N_ALGORITHMS);
	turn_answer_unproved(q, &b);
}

/* Neither attribute means MD5. Otherwise both, the list being ours (somebody in between who cut the
 * strong one off is found out) and the choice one of it. False: 400. */
static bool algorithm_of(struct turn_request *q)
{
	struct stun_attr list, one;
	bool has_list = stun_attr_find(&q->msg, STUN_ATTR_PASSWORD_ALGORITHMS, &list);
	bool has_one = stun_attr_find(&q->msg, STUN_ATTR_PASSWORD_ALGORITHM, &one);
	uint16_t sent[N_ALGORITHMS], chosen;
	size_t n;

	q->key_sha256 = false;
	if (!has_list && !has_one)
		return true;
	if (!has_list || !has_one || !stun_attr_algorithms(&list, sent, N_ALGORITHMS, &n) ||
	    list.n != 4 * (size_t)N_ALGORITHMS || n != N_ALGORITHMS ||
	    memcmp(sent, algorithms, sizeof(algorithms)) != 0 ||
	    !stun_attr_algorithm(&one, &chosen))
		return false;
	q->key_sha256 = chosen == STUN_ALGORITHM_SHA256;
	return q->key_sha256 || chosen == STUN_ALGORITHM_MD5;
}

static bool proves(const struct turn_request *q, const uint8_t *key, size_t n)
{
	struct slice k = { (const char *)key, n };

	return (q->sha256 ? stun_integrity256_check(&q->msg, k)
			  : stun_integrity_check(&q->msg, k)) == 0;
}

/* The key of a living allocation stays good as long as it, whatever became of the credential. */
static bool proves_alloc(struct turn_request *q, const struct turn_alloc *a)
{
	if (!a || a->key_sha256 != q->key_sha256 || !slice_eq(q->user, slice_of(a->user)) ||
	    !proves(q, a->key, a->key_n))
		return false;
	memcpy(q->key.key, a->key, a->key_n);
	q->key.n = a->key_n;
	q->key.is_static = a->is_static;
	return true;
}

/* For a user who is not known the same work is done as for one who is. */
static size_t stand_in(const struct turn_request *q, struct turn_key *key)
{
	static const char password[] = "                            ";
	struct slice realm = slice_of(q->s->conf.realm);

	key->n = q->key_sha256 ? 32 : 16;
	if (q->key_sha256)
		stun_key_sha256(q->user, realm, slice_of(password), key->key);
	else
		stun_key_md5(q->user, realm, slice_of(password), key->key);
	return 1;
}

static bool proves_credential(struct turn_request *q, const char **why)
{
	struct turn_key keys[TURN_MAX_KEYS];
	size_t n, i;
	bool known;

	*why = "no credentials are configured";
	n = q->s->credentials ? turn_credentials_keys(q->s->credentials, q->user, q->key_sha256,
						      q->s->ops->wall_s(q->s->arg), 0, keys, why)
			      : 0;
	known = n > 0;
	if (!known)
		n = stand_in(q, &keys[0]);
	else
		*why = "wrong password";
	for (i = 0; i < n && !proves(q, keys[i].key, keys[i].n); i++)
		;
	if (known && i < n)
		q->key = keys[i];
	OPENSSL_cleanse(keys, sizeof(keys));
	return q->key.n > 0;
}

/* A credential costs up to TURN_MAX_KEYS keys to try, and whoever tries many guesses: a source that
 * failed too often in the last seconds is not listened to. Its nonce was good, so nobody else can
 * bring that upon it but who shares its address. */
static bool guesses_too_much(const struct turn_request *q)
{
	struct turn_server *s = q->s;

	if (!turn_unauth_limit_is_over(s->guesses, &q->c->remote, s->conf.unauthenticated_rate,
				       turn_now(s)))
		return false;
	trace_unanswered(s, q->c, "turn.auth.limit", "wrong credentials of one source");
	return true;
}

static bool refuse_unproved(const struct turn_request *q, enum stun_code code)
{
	uint8_t out[TURN_ANSWER_BYTES];
	struct stun_build b;

	turn_answer_start(q, &b, out, STUN_CLASS_ERROR);
	stun_build_error(&b, code, NULL);
	turn_answer_unproved(q, &b);
	return false;
}

static bool nonce_is_of(const struct turn_request *q, const struct stun_attr *nonce,
			const struct turn_client *c)
{
	return turn_nonce_check(&q->s->nonces, (struct slice){ (const char *)nonce->p, nonce->n },
				&c->remote, (uint8_t)c->transport, turn_now(q->s),
				q->s->conf.nonce_ms) == TURN_NONCE_GOOD;
}

/* A ConnectionBind comes on a connection of its own, where clients use the nonce that they got on
 * the one of the allocation. */
static bool is_our_nonce(const struct turn_request *q, const struct turn_alloc *key_of,
			 const struct stun_attr *nonce)
{
	if (nonce_is_of(q, nonce, q->c))
		return true;
	return key_of && q->msg.method == STUN_METHOD_CONNECTION_BIND &&
	       nonce_is_of(q, nonce, key_of->client_of);
}

/* No name has a NUL (RFC 8265 4.2.2), and ours are kept as C strings. */
static bool is_name(const struct stun_attr *user)
{
	return user->n < TURN_USER_BYTES && !memchr(user->p, '\0', user->n);
}

bool turn_authenticate(struct turn_request *q, const struct turn_alloc *key_of)
{
	struct stun_attr user, realm, nonce;
	const char *why = "";

	q->sha256 = q->msg.integrity256_at != 0;
	if (!q->sha256 && !q->msg.integrity_at) {
		challenge(q, STUN_CODE_UNAUTHENTICATED, PHRASE_UNAUTHENTICATED);
		return false;
	}
	if (!stun_attr_find(&q->msg, STUN_ATTR_USERNAME, &user) || !is_name(&user) ||
	    !stun_attr_find(&q->msg, STUN_ATTR_REALM, &realm) ||
	    !stun_attr_find(&q->msg, STUN_ATTR_NONCE, &nonce) || !algorithm_of(q))
		return refuse_unproved(q, STUN_CODE_BAD_REQUEST);
	if (!is_our_nonce(q, key_of, &nonce)) {
		challenge(q, STUN_CODE_STALE_NONCE, PHRASE_STALE);
		return false;
	}
	q->user = (struct slice){ (const char *)user.p, user.n };
	if (proves_alloc(q, key_of))
		return true;
	if (guesses_too_much(q))
		return false;
	if (proves_credential(q, &why))
		return true;
	turn_unauth_limit_take(q->s->guesses, &q->c->remote, q->s->conf.unauthenticated_rate,
			       turn_now(q->s));
	trace_add(q->s->trace, "turn.auth.failed", NULL, &q->c->remote, NULL, "user %.*s: %s",
		  SLICE_ARG(q->user), why);
	challenge(q, STUN_CODE_UNAUTHENTICATED, PHRASE_UNAUTHENTICATED);
	return false;
}
