#include "signin/core_side.h"

#include <errno.h>
#include <stdlib.h>

#include <openssl/crypto.h>

#include "core/log.h"
#include "core/trace.h"
#include "signin/admins.h"
#include "signin/item.h"
#include "signin/name.h"

struct core_side {
	struct signin_side base;
	struct authenticator *auth;
	struct signin_domain *domains;
	size_t n_domains;
	uint32_t session_life_s;
	struct list requests;
};

/* A sign-in or digest that waits for its result. */
struct request {
	struct list node;
	signin_done done; /* NULL: an edge asked */
	void *arg;
	struct tunnel_call *call;
	tunnel_peer peer; /* who asked, 0: this box */
	struct addr from;
	char domain[SIGNIN_DOMAIN_BYTES];
	char user[SIGNIN_USER_BYTES];
	char found[SIGNIN_ID_BYTES]; /* digest: the session that is meant */
	bool is_digest;
};

/* --- what edges are told --- */

static void put_session(struct core_side *s, const struct signin_entry *e)
{
	json_t *item;

	if (!s->base.tunnel)
		return;
	item = signin_item_session(&e->s, signin_session_age_s(e));
	if (item)
		s->base.tunnel->put(s->base.tunnel_self, 0, SIGNIN_TABLE_SESSIONS, e->s.token,
				    item);
	json_decref(item);
}

static void each_session(void *arg, tunnel_peer to,
			 void (*put)(void *ctx, const char *key, const json_t *item), void *ctx)
{
	struct core_side *s = arg;

	LIST_FOREACH (it, signin_sessions_list(s->base.sessions)) {
		struct signin_entry *e = CONTAINER_OF(it, struct signin_entry, node);
		json_t *item = signin_item_session(&e->s, signin_session_age_s(e));

		if (item)
			put(ctx, e->s.token, item);
		json_decref(item);
	}
}

static void put_domain(struct core_side *s, const struct signin_domain *d)
{
	json_t *item = s->base.tunnel ? signin_item_domain(d) : NULL;

	if (item)
		s->base.tunnel->put(s->base.tunnel_self, 0, SIGNIN_TABLE_DOMAINS, d->name, item);
	json_decref(item);
}

static void each_domain(void *arg, tunnel_peer to,
			void (*put)(void *ctx, const char *key, const json_t *item), void *ctx)
{
	struct core_side *s = arg;

	for (size_t i = 0; i < s->n_domains; i++) {
		json_t *item = signin_item_domain(&s->domains[i]);

		if (item)
			put(ctx, s->domains[i].name, item);
		json_decref(item);
	}
}

/* --- sessions --- */

static void on_ended(void *arg, const struct signin_session *session, const char *why)
{
	struct core_side *s = arg;

	log_info(s->base.w.log, "signin.ended", "session=%s user=%s domain=%s reason=%s",
		 session->id, log_esc(slice_of(session->user)), session->domain,
		 log_esc(slice_of(why)));
	if (s->base.tunnel)
		s->base.tunnel->del(s->base.tunnel_self, 0, SIGNIN_TABLE_SESSIONS, session->token);
}

static void on_close(void *arg, struct signin_entry *e, const char *why)
{
	signin_session_end(e, why);
}

static const struct signin_sessions_ops sessions_ops = { .close = on_close, .ended = on_ended };

void core_side_end(struct core_side *s, struct signin_entry *e, const char *why)
{
	signin_session_end(e, why);
}

/* The realms that an edge may ask digests for: the one that asked first, it is sure to. */
static void find_realms(const struct core_side *s, tunnel_peer asked, struct signin_realms *out)
{
	const struct signin_side *b = &s->base;
	size_t n = b->tunnel ? b->tunnel->n_peers(b->tunnel_self) : 0;
	struct tunnel_peer_info info;

	*out = (struct signin_realms){ 0 };
	signin_realms_add(out, slice_of(signin_side_peer(b, asked).system_name));
	for (size_t i = 0; i < n; i++) {
		if (b->tunnel->peer(b->tunnel_self, i, &info))
			signin_realms_add(out, slice_of(info.system_name));
	}
}

static struct signin_entry *session_make(struct core_side *s, const struct request *q,
					 const struct signin_credentials *cred, int *error)
{
	struct signin_session session = { .from = q->from,
					  .life_s = s->session_life_s,
					  .peer = q->peer };
	uint8_t random[32];

	s->base.w.random(random, sizeof(random));
	signin_token_print(random, session.token);
	signin_id_print(random + 16, session.id);
	slice_copy(session.domain, sizeof(session.domain), slice_of(cred->domain));
	slice_copy(session.user, sizeof(session.user), slice_of(cred->user));
	session.from.port = 0;
	return signin_sessions_add(s->base.sessions, &session, 0, error);
}

/* The session of this user from this source, made when there is none; NULL: *error. */
static struct signin_entry *session_obtain(struct core_side *s, const struct request *q,
					   const struct auth_result *r, int *error)
{
	struct slice domain = slice_of(r->cred->domain), user = slice_of(r->cred->user);
	struct signin_entry *e = signin_sessions_best(s->base.sessions, domain, user, &q->from);
	struct signin_realms realms;

	*error = 0;
	if (!e || !addr_ip_eq(&e->s.from, &q->from)) {
		e = session_make(s, q, r->cred, error);
		if (e)
			put_session(s, e);
	} else if (signin_session_age_s(e) >= e->s.life_s / 2) {
		signin_session_renew(e, s->session_life_s, 0);
		put_session(s, e);
	}
	if (!e)
		return NULL;
	e->used_ms = s->base.w.timers->now_ms;
	memcpy(e->tag, r->tag, CRED_TAG_BYTES);
	find_realms(s, q->peer, &realms);
	/* Without memory digests say "sign in again". */
	signin_session_set_digests(e, signin_digests_new(r->cred, &realms));
	return e;
}

/* --- results --- */

static void request_free(struct request *q)
{
	list_del(&q->node);
	free(q);
}

static void answer_call(struct core_side *s, struct tunnel_call *call, bool is_digest,
			const struct signin_result *r, uint32_t age_s)
{
	json_t *value = signin_item_answer(r->status, r->retry_after_s, r->why, r->session, age_s,
					   !is_digest);

	s->base.tunnel->reply(s->base.tunnel_self, call, value ? 0 : -ENOMEM, value);
	json_decref(value);
}

static void deliver(struct core_side *s, struct request *q, const struct signin_result *result,
		    uint32_t age_s)
{
	if (q->call)
		answer_call(s, q->call, q->is_digest, result, age_s);
	else if (q->done)
		q->done(q->arg, result);
	request_free(q);
}

/* What the edge and the user are told says no more than the status: the trace has the rest. */
static const char *told(enum signin_status status, const char *why)
{
	return status == SIGNIN_DENIED ? "wrong user or password" : why;
}

static void on_result(void *arg, void *request, const struct auth_result *r)
{
	struct core_side *s = arg;
	struct request *q = request;
	struct signin_result result = { .status = r->status,
					.why = r->why,
					.retry_after_s = r->retry_after_s };
	const char *decided_by = r->decided_by;
	struct signin_entry *e = NULL;
	struct signin_session copy;
	uint32_t age_s = 0;
	int error;

	if (r->status == SIGNIN_OK && q->is_digest)
		e = signin_sessions_by_id(s->base.sessions, slice_of(q->found));
	else if (r->status == SIGNIN_OK)
		e = session_obtain(s, q, r, &error);
	if (r->status == SIGNIN_OK && !e) {
		result.status = SIGNIN_UNAVAILABLE;
		result.why = q->is_digest ? "the session has just ended" : "too many sessions";
		decided_by = q->is_digest ? NULL : "[signin] max-sessions";
	}
	if (e) {
		copy = e->s;
		age_s = signin_session_age_s(e);
		result.session = &copy;
	}
	signin_side_report(&s->base,
			   &(struct signin_event){ .status = result.status,
						   .what = q->is_digest ? "digest" : "sign-in",
						   .why = result.why,
						   .decided_by = decided_by,
						   .from = q->is_digest ? NULL : &q->from,
						   .domain = slice_of(q->domain),
						   .user = slice_of(q->user),
						   .session = e ? copy.id : NULL });
	result.why = told(result.status, result.why);
	deliver(s, q, &result, age_s);
}

static void on_refused(void *arg, const struct signin_credentials *cred,
		       const uint8_t tag[CRED_TAG_BYTES])
{
	struct core_side *s = arg;
	struct signin_entry *e, *next;

	e = signin_sessions_of_user(s->base.sessions, slice_of(cred->domain), slice_of(cred->user),
				    NULL);
	for (; e; e = next) {
		next = signin_sessions_of_user(s->base.sessions, slice_of(cred->domain),
					       slice_of(cred->user), e);
		if (memcmp(e->tag, tag, CRED_TAG_BYTES) == 0)
			signin_session_end(e, "its password is not good any more");
	}
}

static const struct auth_ops auth_ops = { .result = on_result, .refused = on_refused };

/* --- requests --- */

static const struct signin_domain *find_domain(const struct core_side *s, struct slice name)
{
	for (size_t i = 0; i < s->n_domains; i++) {
		if (slice_caseeq(slice_of(s->domains[i].name), name))
			return &s->domains[i];
	}
	return NULL;
}

static struct request *request_new(struct core_side *s, struct slice domain)
{
	struct request *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	list_add_tail(&s->requests, &q->node);
	if (!slice_copy(q->domain, sizeof(q->domain), domain))
		q->domain[0] = '\0'; /* a part of it may be served, it is not */
	return q;
}

static uint64_t refuse(struct core_side *s, struct request *q, enum signin_status status,
		       const char *why, const char *decided_by)
{
	struct auth_result r = { .status = status, .why = why, .decided_by = decided_by };

	return authenticator_answer(s->auth, &r, q);
}

static uint64_t begin(struct core_side *s, struct request *q, struct slice authorization)
{
	const struct signin_domain *d = find_domain(s, slice_of(q->domain));
	struct signin_credentials cred;
	const char *why;
	uint64_t id = 0;

	if (!d)
		return refuse(s, q, SIGNIN_NO_DOMAIN, "the domain is not served", "[domain]");
	if (!d->web)
		return refuse(s, q, SIGNIN_NO_DOMAIN, "the domain is not served for the web",
			      "[domain] web");
	switch (signin_basic_parse(authorization, slice_of(d->name), &cred, &why)) {
	case BASIC_OK:
		slice_copy(q->user, sizeof(q->user), slice_of(cred.user));
		id = authenticator_start(s->auth, &cred, &q->from, q);
		break;
	case BASIC_DENIED:
		id = refuse(s, q, SIGNIN_DENIED, why, NULL);
		break;
	default:
		id = refuse(s, q, SIGNIN_BAD_REQUEST, why, NULL);
	}
	signin_credentials_wipe(&cred);
	return id;
}

static uint64_t sign_in(void *self, struct slice domain, struct slice authorization,
			const struct addr *from, signin_done done, void *arg)
{
	struct core_side *s = self;
	struct request *q = request_new(s, domain);
	uint64_t id;

	if (!q)
		return 0;
	q->done = done;
	q->arg = arg;
	q->from = *from;
	id = begin(s, q, authorization);
	if (!id)
		request_free(q);
	return id;
}

static void cancel(void *self, uint64_t id)
{
	struct core_side *s = self;
	struct request *q;

	if (signin_admins_is_id(id) && s->base.admins) {
		signin_admins_cancel(s->base.admins, id);
		return;
	}
	q = authenticator_cancel(s->auth, id);
	if (q)
		request_free(q);
}

static void sign_out(void *self, struct slice token, const char *why)
{
	struct core_side *s = self;
	struct signin_entry *e = signin_sessions_by_token(s->base.sessions, token);

	if (e)
		signin_session_end(e, why);
}

static void distrust(void *self, struct slice session_id, struct slice authorization)
{
	struct core_side *s = self;
	struct signin_entry *e = signin_sessions_by_id(s->base.sessions, session_id);
	struct signin_credentials cred;
	const char *why;

	if (!e || signin_basic_parse(authorization, slice_of(e->s.domain), &cred, &why) != BASIC_OK)
		return;
	authenticator_distrust(s->auth, &cred);
	signin_credentials_wipe(&cred);
	log_info(s->base.w.log, "signin.distrust", "session=%s reason=\"a server answered 401\"",
		 e->s.id);
}

/* Which session has made this digest? The user may have several, with different passwords even. */
static enum signin_status judge(struct core_side *s, struct slice domain,
				const struct digest_response *r, struct slice method,
				struct request *q, const char **why)
{
	struct slice user = r->username;
	struct signin_entry *e = NULL;
	bool other_realm = false;

	*why = "not signed in";
	if (!signin_digest_user(&user, domain))
		return SIGNIN_DENIED;
	slice_copy(q->user, sizeof(q->user), user);
	while ((e = signin_sessions_of_user(s->base.sessions, domain, user, e))) {
		switch (signin_digests_check(e->digests, r, method)) {
		case SIGNIN_DIGEST_GOOD:
			slice_copy(q->found, sizeof(q->found), slice_of(e->s.id));
			e->used_ms = s->base.w.timers->now_ms;
			*why = "the digest is right";
			return SIGNIN_OK;
		case SIGNIN_DIGEST_OTHER_REALM:
			other_realm = true;
			break;
		case SIGNIN_DIGEST_BAD:
			*why = "the digest is wrong";
			break;
		}
	}
	if (!other_realm)
		return SIGNIN_DENIED;
	*why = "sign in again: nothing is kept for this realm";
	return SIGNIN_UNAVAILABLE;
}

static uint64_t check_digest(void *self, struct slice domain, const struct digest_response *r,
			     struct slice method, const struct addr *from, signin_done done,
			     void *arg)
{
	struct core_side *s = self;
	struct request *q = request_new(s, domain);
	enum signin_status status;
	const char *why;
	uint64_t id;

	if (!q)
		return 0;
	q->done = done;
	q->arg = arg;
	q->is_digest = true;
	status = judge(s, domain, r, method, q, &why);
	id = refuse(s, q, status, why, NULL);
	if (!id)
		request_free(q);
	return id;
}

static const struct signin_domain *domain(void *self, struct slice name)
{
	return find_domain(self, name);
}

const struct signin_ops core_side_ops = {
	.domain = domain,
	.by_token = signin_side_by_token,
	.by_id = signin_side_by_id,
	.of_user = signin_side_of_user,
	.sign_in = sign_in,
	.cancel = cancel,
	.sign_out = sign_out,
	.touch = signin_side_touch,
	.admin = signin_side_admin,
	.distrust = distrust,
	.check_digest = check_digest,
};

/* --- calls of edges: everything in them is hostile --- */

static void refuse_call(struct core_side *s, struct tunnel_call *call, tunnel_peer from,
			enum signin_status status, const char *why)
{
	struct signin_result r = { .status = status, .why = why };

	trace_add(s->base.w.trace, "signin.call.refused", signin_side_peer(&s->base, from).name,
		  NULL, NULL, "%s", why);
	answer_call(s, call, true, &r, 0);
}

static void serve_sign_in(void *arg, struct tunnel_call *call, tunnel_peer from,
			  const json_t *params)
{
	struct core_side *s = arg;
	struct signin_asked asked;
	struct request *q;
	const char *why;

	if (!signin_item_asked_read(params, &asked, &why)) {
		refuse_call(s, call, from, SIGNIN_BAD_REQUEST, why);
		return;
	}
	q = request_new(s, asked.domain);
	if (q) {
		q->call = call;
		q->peer = from;
		q->from = asked.from;
		if (begin(s, q, asked.authorization))
			return;
		request_free(q);
	}
	refuse_call(s, call, from, SIGNIN_UNAVAILABLE, "too many requests at once");
}

static void serve_sign_out(void *arg, struct tunnel_call *call, tunnel_peer from,
			   const json_t *params)
{
	struct core_side *s = arg;
	const char *token = json_string_value(json_object_get(params, "token"));

	sign_out(s, slice_of(token), "signed out");
	s->base.tunnel->reply(s->base.tunnel_self, call, 0, NULL);
}

static void serve_digest(void *arg, struct tunnel_call *call, tunnel_peer from,
			 const json_t *params)
{
	struct core_side *s = arg;
	struct digest_response r;
	struct slice domain_name, method;
	struct request *q;
	const char *why;

	if (!signin_item_digest_read(params, &domain_name, &r, &method, &why)) {
		refuse_call(s, call, from, SIGNIN_BAD_REQUEST, why);
		return;
	}
	q = request_new(s, domain_name);
	if (!q) {
		refuse_call(s, call, from, SIGNIN_UNAVAILABLE, "out of memory");
		return;
	}
	q->call = call;
	q->peer = from;
	q->is_digest = true;
	on_result(s, q,
		  &(struct auth_result){ .status = judge(s, domain_name, &r, method, q, &why),
					 .why = why });
}

/* --- life --- */

struct core_side *core_side_new(const struct signin_world *w, const struct auth_backend *backend,
				void *backend_self)
{
	struct core_side *s = calloc(1, sizeof(*s));
	uint8_t random[112];

	if (!s)
		return NULL;
	list_init(&s->requests);
	w->random(random, sizeof(random));
	if (signin_side_init(&s->base, w, 0, SIGNIN_MAX_PER_USER, &sessions_ops) == 0)
		s->auth = authenticator_new(w->timers, random, backend, backend_self, &auth_ops, s);
	OPENSSL_cleanse(random, sizeof(random));
	if (s->auth)
		return s;
	core_side_free(s);
	return NULL;
}

void core_side_stop(struct core_side *s)
{
	if (s->auth)
		authenticator_drop(s->auth);
	LIST_FOREACH_SAFE (it, &s->requests) {
		struct request *q = CONTAINER_OF(it, struct request, node);

		if (q->call)
			s->base.tunnel->reply(s->base.tunnel_self, q->call, -ECANCELED, NULL);
		request_free(q);
	}
	s->base.tunnel = NULL; /* edges learn the rest from the tunnel */
}

void core_side_free(struct core_side *s)
{
	if (!s)
		return;
	core_side_stop(s);
	authenticator_free(s->auth);
	signin_side_fini(&s->base, "the daemon stops");
	free(s->domains);
	free(s);
}

int core_side_start(struct core_side *s, const struct service *tunnel)
{
	static const struct tunnel_source domains = { each_domain }, sessions = { each_session };
	const struct tunnel_ops *t = tunnel->ops;
	int err;

	if (!t)
		return 0;
	s->base.tunnel = t;
	s->base.tunnel_self = tunnel->self;
	err = t->publish(tunnel->self, SIGNIN_TABLE_DOMAINS, &domains, s);
	if (err == 0)
		err = t->publish(tunnel->self, SIGNIN_TABLE_SESSIONS, &sessions, s);
	if (err == 0)
		err = t->serve(tunnel->self, SIGNIN_CALL_SIGN_IN, serve_sign_in, s);
	if (err == 0)
		err = t->serve(tunnel->self, SIGNIN_CALL_SIGN_OUT, serve_sign_out, s);
	if (err == 0)
		err = t->serve(tunnel->self, SIGNIN_CALL_DIGEST, serve_digest, s);
	return err;
}

static bool same_domain(const struct signin_domain *a, const struct signin_domain *b)
{
	return a->web == b->web && a->sip == b->sip && a->sip_signin == b->sip_signin &&
	       a->im == b->im;
}

static void tell_changes(struct core_side *s, const struct signin_domain *old, size_t n_old)
{
	for (size_t i = 0; i < s->n_domains; i++) {
		const struct signin_domain *d = &s->domains[i];
		size_t k;

		for (k = 0; k < n_old && strcmp(old[k].name, d->name) != 0; k++)
			;
		if (k == n_old || !same_domain(&old[k], d))
			put_domain(s, d);
	}
	for (size_t k = 0; k < n_old; k++) {
		if (!find_domain(s, slice_of(old[k].name)) && s->base.tunnel)
			s->base.tunnel->del(s->base.tunnel_self, 0, SIGNIN_TABLE_DOMAINS,
					    old[k].name);
	}
}

static void end_unserved(struct core_side *s)
{
	LIST_FOREACH_SAFE (it, signin_sessions_list(s->base.sessions)) {
		struct signin_entry *e = CONTAINER_OF(it, struct signin_entry, node);
		const struct signin_domain *d = find_domain(s, slice_of(e->s.domain));

		if (!d || !d->web)
			signin_session_end(e, "its domain is not served any more");
	}
}

int core_side_configure(struct core_side *s, const struct core_settings *settings)
{
	struct signin_domain *old = s->domains, *domains = NULL;
	size_t n_old = s->n_domains;

	if (settings->n_domains) {
		domains = calloc(settings->n_domains, sizeof(*domains));
		if (!domains)
			return -ENOMEM;
		memcpy(domains, settings->domains, settings->n_domains * sizeof(*domains));
	}
	s->domains = domains;
	s->n_domains = settings->n_domains;
	s->session_life_s = settings->session_life_s;
	authenticator_configure(s->auth, &settings->auth);
	signin_sessions_set_max(s->base.sessions, settings->max_sessions);
	tell_changes(s, old, n_old);
	end_unserved(s);
	free(old);
	return 0;
}

void core_side_forget(struct core_side *s)
{
	authenticator_forget(s->auth);
}

struct signin_side *core_side_base(struct core_side *s)
{
	return &s->base;
}

static void set(json_t *out, const char *key, uint64_t n)
{
	json_object_set_new(out, key, json_integer((json_int_t)n));
}

void core_side_status(const struct core_side *s, json_t *out)
{
	struct auth_stats stats = authenticator_stats(s->auth);

	signin_side_status(&s->base, out);
	set(out, "cache_hits", stats.n_cached);
	set(out, "cache_entries", stats.n_cache);
	set(out, "upstream_checks", stats.n_checks);
	set(out, "upstream_running", stats.n_running);
	set(out, "upstream_yes", stats.n_yes);
	set(out, "upstream_no", stats.n_no);
	set(out, "upstream_failed", stats.n_failed);
	set(out, "joined", stats.n_joined);
}
