/*
 * Whose REGISTER is it? Domains with sip-signin let a phone register only when its user has signed
 * in on the web side, and proves it with the same password: E challenges (407, RFC 3261 22.3) and
 * has C check the digest; C admits only what carries the session of that very user, whatever the
 * edge says. A pass holds for ten minutes on the flow of the registration.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/loop.h"
#include "core/net.h"
#include "core/system_conf.h"
#include "sip/sip.h"

#define NONCE_LIFE_S 300
#define PASS_MS	     600000

struct pass {
	struct htab_node by_key;
	struct list node;
	int64_t until_ms;
	char session[CONN_SESSION_BYTES];
	char key[SIGNIN_USER_BYTES + SIGNIN_DOMAIN_BYTES + 24]; /* flow, user, domain */
};

struct who {
	char user[SIGNIN_USER_BYTES];
	char domain[SIGNIN_DOMAIN_BYTES];
};

/* A REGISTER that waits for C's word. */
struct gate_wait {
	struct list node;
	struct sip *s;
	struct txn_server *t; /* NULL: it ended meanwhile */
	struct sip_msg *m;
	struct side from;
	uint64_t check;
	struct who who;
};

static void wait_free(struct gate_wait *w)
{
	list_del(&w->node);
	if (w->t)
		txn_server_set_user(w->t, NULL, NULL);
	sip_msg_unref(w->m);
	free(w);
}

static struct slice pass_key(const struct htab_node *node)
{
	return slice_of(
		CONTAINER_OF((struct htab_node *)(uintptr_t)node, struct pass, by_key)->key);
}

int sip_gate_init(struct sip *s)
{
	list_init(&s->gate_waits);
	list_init(&s->gate_pass_order);
	return htab_init(&s->gate_passes, s->seed, pass_key);
}

static void pass_free(struct sip *s, struct pass *p)
{
	htab_del(&s->gate_passes, &p->by_key);
	list_del(&p->node);
	free(p);
}

void sip_gate_free(struct sip *s)
{
	LIST_FOREACH_SAFE (it, &s->gate_waits) {
		struct gate_wait *w = CONTAINER_OF(it, struct gate_wait, node);

		s->signin->cancel(s->signin_self, w->check);
		wait_free(w);
	}
	LIST_FOREACH_SAFE (it, &s->gate_pass_order) {
		pass_free(s, CONTAINER_OF(it, struct pass, node));
	}
	htab_fini(&s->gate_passes);
}

static void on_txn_end(void *user, struct txn_server *t)
{
	struct gate_wait *w = user;

	w->t = NULL;
	w->s->signin->cancel(w->s->signin_self, w->check);
	wait_free(w);
}

/* --- the challenge --- */

static const char *realm(const struct sip *s)
{
	const struct system_conf *sys = conf_get(s->snap, "system", NULL);

	return sys->name;
}

static bool is_asked(const struct sip *s, enum digest_algorithm a)
{
	switch (a) {
	case DIGEST_MD5:
		return s->conf->signin_digest != SIP_DIGEST_SHA256;
	case DIGEST_SHA256:
		return s->conf->signin_digest != SIP_DIGEST_MD5;
	case DIGEST_UNKNOWN:
		break;
	}
	return false;
}

static void challenge(struct sip *s, struct txn_server *t, const struct side *from, bool stale)
{
	struct slice bound = { (const char *)&from->flow, sizeof(from->flow) };
	struct buf nonce, headers;
	uint8_t random[8];

	net_random(random, sizeof(random));
	buf_init(&nonce, 256);
	buf_init(&headers, 2048);
	digest_nonce_make(&nonce, s->token_key, (int64_t)time(NULL), random, bound);
	/* RFC 8760 2.3: the preferred one first. */
	for (int a = 1; a >= 0; a--) {
		if (!is_asked(s, a ? DIGEST_SHA256 : DIGEST_MD5))
			continue;
		buf_add_str(&headers, "Proxy-Authenticate: ");
		digest_challenge_print(&headers, a ? DIGEST_SHA256 : DIGEST_MD5, slice_of(realm(s)),
				       buf_slice(&nonce), stale);
		buf_add_str(&headers, "\r\n");
	}
	if (nonce.failed || headers.failed) /* half a field would spoil the whole answer */
		txn_server_reply(t, 500, NULL, NULL);
	else
		txn_server_reply(t, 407, NULL, headers.p);
	buf_fini(&nonce);
	buf_fini(&headers);
}

/* Credentials by an algorithm that was not asked are none: MD5 must not do where SHA-256 alone is
 * demanded. */
static bool find_response(const struct sip *s, const struct sip_msg *m, struct digest_response *r)
{
	const struct sip_hdr *h = NULL;

	while ((h = sip_msg_next(m, SIP_HDR_PROXY_AUTHORIZATION, h)))
		if (digest_response_parse(h->value, r) && slice_eq(r->realm, slice_of(realm(s))) &&
		    is_asked(s, r->algorithm))
			return true;
	return false;
}

/* --- who --- */

static bool who_registers(const struct sip_msg *m, struct who *out)
{
	struct buf aor;
	struct slice rest, user;
	bool ok;

	buf_init(&aor, CONN_USER_BYTES - 1);
	ok = sip_uri_aor(m->to.uri, &aor) && !aor.failed;
	rest = buf_slice(&aor);
	user = slice_next(&rest, '@');
	ok = ok && rest.p && user.n && slice_copy(out->user, sizeof(out->user), user) &&
	     slice_copy(out->domain, sizeof(out->domain), rest);
	buf_fini(&aor);
	return ok;
}

/* "alice" or "alice@example.com" */
static bool is_user(struct slice name, const struct who *w)
{
	struct slice user = slice_of(w->user);

	if (slice_eq(name, user))
		return true;
	return name.n > user.n && slice_starts(name, user) && name.p[user.n] == '@' &&
	       slice_caseeq((struct slice){ name.p + user.n + 1, name.n - user.n - 1 },
			    slice_of(w->domain));
}

static void refuse(struct sip *s, struct txn_server *t, const struct side *from, int status,
		   const char *code, const char *why)
{
	struct target_refusal no = { .status = 0 };

	sip_refuse(s, &no, status, NULL, code, "[domain] sip-signin", from, NULL, why);
	txn_server_reply(t, no.status, NULL, status == 503 ? "Retry-After: 5\r\n" : NULL);
}

/* --- passes --- */

static void print_key(char *out, size_t size, uint64_t flow, const struct who *w)
{
	snprintf(out, size, "%llx %s@%s", (unsigned long long)flow, w->user, w->domain);
}

static void give_pass(struct sip *s, uint64_t flow, const struct who *w, const char *session)
{
	struct pass *p = calloc(1, sizeof(*p));
	struct htab_node *old;
	struct list *oldest;

	if (!p)
		return;
	print_key(p->key, sizeof(p->key), flow, w);
	old = htab_get(&s->gate_passes, slice_of(p->key));
	if (old)
		pass_free(s, CONTAINER_OF(old, struct pass, by_key));
	slice_copy(p->session, sizeof(p->session), slice_of(session));
	p->until_ms = loop_now_ms(s->env->loop) + PASS_MS;
	/* All live equally long: those that are over, or too many, stand in front. */
	while ((oldest = list_first(&s->gate_pass_order))) {
		struct pass *o = CONTAINER_OF(oldest, struct pass, node);

		if (o->until_ms > loop_now_ms(s->env->loop) &&
		    s->gate_passes.n < s->conf->max_registrations)
			break;
		pass_free(s, o);
	}
	htab_add(&s->gate_passes, &p->by_key);
	list_add_tail(&s->gate_pass_order, &p->node);
}

/* Was it let through on this flow a short while ago, and does the session still stand? */
static const char *find_pass(struct sip *s, uint64_t flow, const struct who *w)
{
	char key[sizeof(((struct pass *)0)->key)];
	struct htab_node *found;
	const struct pass *p;

	print_key(key, sizeof(key), flow, w);
	found = htab_get(&s->gate_passes, slice_of(key));
	p = found ? CONTAINER_OF(found, struct pass, by_key) : NULL;
	if (!p || p->until_ms <= loop_now_ms(s->env->loop) ||
	    !s->signin->by_id(s->signin_self, slice_of(p->session)))
		return NULL;
	return p->session;
}

/* --- C's word on E --- */

static void on_checked(void *arg, const struct signin_result *r)
{
	struct gate_wait *w = arg;
	struct sip *s = w->s;
	struct txn_server *t = w->t;

	txn_server_set_user(t, NULL, NULL);
	w->t = NULL;
	if (r->status == SIGNIN_OK && strcmp(r->session->user, w->who.user) == 0 &&
	    strcmp(r->session->domain, w->who.domain) == 0) {
		give_pass(s, w->from.flow, &w->who, r->session->id);
		sip_register_admitted(s, t, w->m, &w->from, r->session->id);
	} else if (r->status == SIGNIN_UNAVAILABLE || r->status == SIGNIN_TOO_MANY) {
		refuse(s, t, &w->from, 503, "sip.register.signin-unavailable", r->why);
	} else {
		refuse(s, t, &w->from, 403, "sip.register.signin-denied",
		       r->status == SIGNIN_OK ? "signed in as somebody else" : r->why);
	}
	wait_free(w);
}

static void ask_core(struct sip *s, struct txn_server *t, struct sip_msg *m,
		     const struct side *from, const struct who *who,
		     const struct digest_response *r)
{
	struct gate_wait *w = calloc(1, sizeof(*w));

	if (!w) {
		txn_server_reply(t, 500, NULL, NULL);
		return;
	}
	w->s = s;
	w->t = t;
	w->m = sip_msg_ref(m);
	w->from = *from;
	w->who = *who;
	list_add_tail(&s->gate_waits, &w->node);
	txn_server_set_user(t, w, on_txn_end);
	w->check = s->signin->check_digest(s->signin_self, slice_of(who->domain), r,
					   SLICE("REGISTER"), &from->remote, on_checked, w);
	if (w->check)
		return;
	w->t = NULL;
	txn_server_set_user(t, NULL, NULL);
	wait_free(w);
	txn_server_reply(t, 500, NULL, NULL);
}

static void gate_of_edge(struct sip *s, struct txn_server *t, struct sip_msg *m,
			 const struct side *from, const struct who *who)
{
	struct slice bound = { (const char *)&from->flow, sizeof(from->flow) };
	const char *session = find_pass(s, from->flow, who);
	struct digest_response r;
	enum digest_nonce nonce;

	if (session) {
		sip_register_admitted(s, t, m, from, session);
		return;
	}
	if (!find_response(s, m, &r)) {
		challenge(s, t, from, false);
		return;
	}
	nonce = digest_nonce_check(r.nonce, s->token_key, (int64_t)time(NULL), NONCE_LIFE_S, bound);
	if (nonce != DIGEST_NONCE_OK) {
		challenge(s, t, from, nonce == DIGEST_NONCE_STALE);
		return;
	}
	if (!r.qop_auth || !slice_eq(r.uri, m->uri))
		refuse(s, t, from, 403, "sip.register.signin-denied",
		       "the digest is not for this request");
	else if (!is_user(r.username, who))
		refuse(s, t, from, 403, "sip.register.signin-denied",
		       "the digest is of another user");
	else
		ask_core(s, t, m, from, who, &r);
}

/* --- the two gates --- */

static void gate_of_core(struct sip *s, struct txn_server *t, struct sip_msg *m,
			 const struct side *from, const struct who *who)
{
	char id[CONN_SESSION_BYTES];
	const struct signin_session *session;

	sip_link_session(m, from, id);
	session = id[0] ? s->signin->by_id(s->signin_self, slice_of(id)) : NULL;
	if (session && strcmp(session->user, who->user) == 0 &&
	    strcmp(session->domain, who->domain) == 0)
		sip_register_admitted(s, t, m, from, id);
	else
		refuse(s, t, from, 403, "sip.register.signin-missing",
		       "the edge names no session of this user");
}

void sip_gate(struct sip *s, struct txn_server *t, struct sip_msg *m, const struct side *from)
{
	const struct signin_domain *d = NULL;
	const struct signin_session *session = NULL;
	struct who who;

	if (s->signin && who_registers(m, &who)) {
		d = s->signin->domain(s->signin_self, slice_of(who.domain));
		if (d && d->sip_signin) {
			if (s->env->role == CONF_ROLE_E)
				gate_of_edge(s, t, m, from, &who);
			else
				gate_of_core(s, t, m, from, &who);
			return;
		}
		if (d && s->env->role == CONF_ROLE_E)
			session = s->signin->of_user(s->signin_self, slice_of(who.domain),
						     slice_of(who.user), &from->remote);
	}
	/* Without the demand the session only names what belongs together: a newer sign-in from
	 * the same place. The registrar decides. */
	if (session && !addr_ip_eq(&session->from, &from->remote))
		session = NULL;
	sip_register_admitted(s, t, m, from, session ? session->id : NULL);
}
