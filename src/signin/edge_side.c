/*
 * Requests on E. Limits of the source come before C is asked: the failures of one address are
 * counted, and over the limit only users who are signed in from there get through to C, which has
 * its own limits by user and source.
 */
#include "signin/edge_side.h"

#include <errno.h>
#include <stdlib.h>

#include "core/log.h"
#include "core/trace.h"
#include "signin/admins.h"
#include "signin/basic.h"
#include "signin/edge_impl.h"
#include "signin/name.h"

#define MAX_SOURCES	  65536
#define DIGEST_TIMEOUT_MS 5000
#define NO_C_RETRY_S	  5

struct request {
	struct list node;
	struct edge_side *s;
	uint64_t id;	  /* 0: cancelled */
	uint64_t call_id; /* 0: the answer is known and waits for the timer */
	signin_done done;
	void *arg;
	bool is_digest;
	tunnel_peer peer; /* who is asked */
	struct addr from;
	char domain[SIGNIN_DOMAIN_BYTES];
	char user[SIGNIN_USER_BYTES];
	struct rate_key source;
	bool entered; /* counted in at the source's limit */
	struct timer timer;
	/* Without a call. */
	enum signin_status status;
	uint32_t retry_after_s;
	const char *why, *decided_by;
};

static int64_t now_of(const struct edge_side *s)
{
	return s->base.w.timers->now_ms;
}

/* --- results --- */

static void request_free(struct request *q)
{
	struct edge_side *s = q->s;

	list_del(&q->node);
	timer_stop(s->base.w.timers, &q->timer);
	if (q->id)
		idtab_del(&s->ids, q->id);
	s->n_requests--;
	free(q);
}

/* The last thing that happens to q. */
static void conclude(struct request *q, const struct signin_result *r, const char *decided_by)
{
	struct edge_side *s = q->s;
	signin_done done = q->id ? q->done : NULL;
	void *arg = q->arg;

	if (q->entered)
		rate_window_leave(s->sources, &q->source, &s->settings.source, now_of(s),
				  r->status == SIGNIN_DENIED);
	signin_side_report(&s->base,
			   &(struct signin_event){ .status = r->status,
						   .what = q->is_digest ? "digest" : "sign-in",
						   .why = r->why,
						   .decided_by = decided_by,
						   .from = &q->from,
						   .domain = slice_of(q->domain),
						   .user = slice_of(q->user),
						   .session = r->session ? r->session->id : NULL });
	request_free(q);
	if (done)
		done(arg, r);
}

static void on_timer(void *arg)
{
	struct request *q = arg;
	struct signin_result r = { .status = q->status,
				   .retry_after_s = q->retry_after_s,
				   .why = q->why };

	conclude(q, &r, q->decided_by);
}

static uint64_t answer(struct request *q, enum signin_status status, uint32_t retry_after_s,
		       const char *why, const char *decided_by)
{
	q->status = status;
	q->retry_after_s = retry_after_s;
	q->why = why;
	q->decided_by = decided_by;
	timer_start(q->s->base.w.timers, &q->timer, 0);
	return q->id;
}

static const char *call_failure(int status)
{
	switch (status) {
	case -ETIMEDOUT:
		return "C did not answer in time";
	case -EPIPE:
		return "the tunnel to C went down";
	case -EAGAIN:
		return "too many calls of C at once";
	default:
		return "C could not answer";
	}
}

/* The session that C means: the one it sent, or the copy that is here already. */
static struct signin_entry *session_of(struct request *q, const struct signin_answer *a,
				       const char **why)
{
	struct signin_entry *e;

	*why = "C's answer has no session";
	if (!q->is_digest)
		return a->has_session ? edge_copy_take(q->s, q->peer, &a->session, a->age_s, why)
				      : NULL;
	e = signin_sessions_by_id(q->s->base.sessions, slice_of(a->id));
	*why = "the session is not known here yet";
	return e && e->s.peer == q->peer ? e : NULL;
}

static void on_called(void *arg, int status, const json_t *value)
{
	struct request *q = arg;
	struct edge_side *s = q->s;
	struct signin_result r = { .status = SIGNIN_UNAVAILABLE, .why = call_failure(status) };
	struct signin_session copy;
	struct signin_entry *e = NULL;
	struct signin_answer a;

	q->call_id = 0;
	if (status == 0 && !signin_item_answer_read(value, &a)) {
		r.why = "C's answer is malformed";
	} else if (status == 0) {
		r = (struct signin_result){ .status = a.status,
					    .retry_after_s = a.retry_after_s,
					    .why = a.why };
		if (a.status == SIGNIN_OK)
			e = session_of(q, &a, &r.why);
		if (a.status == SIGNIN_OK && !e)
			r.status = SIGNIN_UNAVAILABLE;
	}
	if (e) {
		e->used_ms = now_of(s);
		copy = e->s;
		r.session = &copy;
		r.why = a.why;
	}
	conclude(q, &r, signin_side_peer(&s->base, q->peer).name);
}

/* --- requests --- */

static struct request *request_new(struct edge_side *s, struct slice domain, signin_done done,
				   void *arg)
{
	struct request *q = s->n_requests < EDGE_MAX_REQUESTS ? calloc(1, sizeof(*q)) : NULL;

	if (!q)
		return NULL;
	q->s = s;
	q->done = done;
	q->arg = arg;
	timer_init(&q->timer, on_timer, q);
	if (!slice_copy(q->domain, sizeof(q->domain), domain))
		q->domain[0] = '\0'; /* a part of it may be served, it is not */
	list_add_tail(&s->requests, &q->node);
	s->n_requests++;
	q->id = idtab_add(&s->ids, q);
	if (q->id)
		return q;
	request_free(q);
	return NULL;
}

static bool call(struct request *q, const char *method, const json_t *params, uint32_t timeout_ms)
{
	struct edge_side *s = q->s;
	int error = 0;

	if (!s->base.tunnel)
		return false;
	q->call_id = s->base.tunnel->call(s->base.tunnel_self, q->peer, method, params, timeout_ms,
					  on_called, q, &error);
	return q->call_id;
}

/* Asks the peers that serve the domain for the web, one after the other until one is up and takes
 * the call. */
static bool call_any(struct request *q, const char *method, const json_t *params)
{
	struct signin_domain *d;

	for (size_t i = 0; (d = edge_domains_get(q->s->domains, slice_of(q->domain), i)); i++) {
		q->peer = d->peer;
		if (d->web && signin_side_peer_up(&q->s->base, d->peer) &&
		    call(q, method, params, q->s->settings.timeout_ms))
			return true;
	}
	return false;
}

static bool serves_web(struct edge_side *s, struct slice name)
{
	const struct signin_domain *d;

	for (size_t i = 0; (d = edge_domains_get(s->domains, name, i)); i++) {
		if (d->web)
			return true;
	}
	return false;
}

/* May this source ask C? Those who are signed in from it may in any case: whoever else is behind
 * the same NAT does not lock them out. */
static bool within_source_limit(struct request *q, uint32_t *retry_s)
{
	struct edge_side *s = q->s;
	const struct signin_entry *e = signin_sessions_best(s->base.sessions, slice_of(q->domain),
							    slice_of(q->user), &q->from);

	if (e && addr_ip_eq(&e->s.from, &q->from))
		return true;
	q->source = rate_key_of(s->sources, SLICE_NONE, SLICE_NONE, &q->from);
	q->entered =
		rate_window_enter(s->sources, &q->source, &s->settings.source, now_of(s), retry_s);
	return q->entered;
}

static uint64_t ask(struct request *q, struct slice authorization)
{
	struct signin_asked asked = { slice_of(q->domain), authorization, q->from };
	json_t *params = signin_item_asked(&asked);
	bool called = params && call_any(q, SIGNIN_CALL_SIGN_IN, params);

	if (params)
		signin_item_asked_wipe(params);
	json_decref(params);
	if (called)
		return q->id;
	return answer(q, SIGNIN_UNAVAILABLE, NO_C_RETRY_S, "no C that serves the domain is up",
		      "[tunnel-peer]");
}

static uint64_t begin(struct request *q, struct slice authorization)
{
	struct signin_credentials cred;
	uint32_t retry_s = 0;
	const char *why;
	enum basic basic;

	if (!serves_web(q->s, slice_of(q->domain)))
		return answer(q, SIGNIN_NO_DOMAIN, 0, "no C serves the domain for the web",
			      "[domain] web on C");
	basic = signin_basic_parse(authorization, slice_of(q->domain), &cred, &why);
	slice_copy(q->user, sizeof(q->user), slice_of(cred.user));
	signin_credentials_wipe(&cred);
	if (basic != BASIC_OK)
		return answer(q, basic == BASIC_BAD ? SIGNIN_BAD_REQUEST : SIGNIN_DENIED, 0, why,
			      NULL);
	if (!within_source_limit(q, &retry_s))
		return answer(q, SIGNIN_TOO_MANY, retry_s, "too many failures from this source",
			      "[signin] source-failures");
	return ask(q, authorization);
}

static uint64_t sign_in(void *self, struct slice domain, struct slice authorization,
			const struct addr *from, signin_done done, void *arg)
{
	struct request *q = request_new(self, domain, done, arg);

	if (!q)
		return 0;
	q->from = *from;
	q->from.port = 0;
	return begin(q, authorization);
}

/* The call goes on and counts: hanging up is no way around a limit. */
static void cancel(void *self, uint64_t id)
{
	struct edge_side *s = self;
	struct request *q;

	if (signin_admins_is_id(id) && s->base.admins) {
		signin_admins_cancel(s->base.admins, id);
		return;
	}
	q = idtab_get(&s->ids, id);
	if (!q)
		return;
	idtab_del(&s->ids, id);
	q->id = 0;
}

/* The C that has the user's sign-in; without one there is nothing to compare with. */
static uint64_t begin_digest(struct request *q, const struct digest_response *r,
			     struct slice method)
{
	struct slice user = r->username, domain = slice_of(q->domain);
	struct signin_entry *e = NULL;
	uint32_t retry_s = 0;
	json_t *params;
	bool called;

	if (signin_digest_user(&user, domain)) {
		slice_copy(q->user, sizeof(q->user), user);
		e = signin_sessions_best(q->s->base.sessions, domain, user, NULL);
	}
	if (!e)
		return answer(q, SIGNIN_DENIED, 0, "not signed in", "[domain] sip-signin on C");
	if (!within_source_limit(q, &retry_s))
		return answer(q, SIGNIN_TOO_MANY, retry_s, "too many failures from this source",
			      "[signin] source-failures");
	params = signin_item_digest(domain, r, method);
	if (!params)
		return answer(q, SIGNIN_BAD_REQUEST, 0, "the digest cannot be read", NULL);
	q->peer = e->s.peer;
	called = call(q, SIGNIN_CALL_DIGEST, params, DIGEST_TIMEOUT_MS);
	json_decref(params);
	if (called)
		return q->id;
	return answer(q, SIGNIN_UNAVAILABLE, NO_C_RETRY_S, "the C of the sign-in is not up",
		      "[tunnel-peer]");
}

static uint64_t check_digest(void *self, struct slice domain, const struct digest_response *r,
			     struct slice method, const struct addr *from, signin_done done,
			     void *arg)
{
	struct request *q = request_new(self, domain, done, arg);

	if (!q)
		return 0;
	q->is_digest = true;
	q->from = *from;
	q->from.port = 0;
	return begin_digest(q, r, method);
}

static void sign_out(void *self, struct slice token, const char *why)
{
	struct edge_side *s = self;
	struct signin_entry *e = signin_sessions_by_token(s->base.sessions, token);

	if (e)
		edge_copy_sign_out(s, e, why);
}

/* E has nothing cached of credentials. */
static void distrust(void *self, struct slice session_id, struct slice authorization)
{
}

/* One that is up, else the first. */
static const struct signin_domain *domain(void *self, struct slice name)
{
	struct edge_side *s = self;
	struct signin_domain *d;

	for (size_t i = 0; (d = edge_domains_get(s->domains, name, i)); i++) {
		if (signin_side_peer_up(&s->base, d->peer))
			return d;
	}
	d = edge_domains_get(s->domains, name, 0);
	if (d)
		d->peer = 0;
	return d;
}

const struct signin_ops edge_side_ops = {
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

/* --- life --- */

static void on_close(void *arg, struct signin_entry *e, const char *why)
{
	edge_copy_sign_out(arg, e, why);
}

static void on_ended(void *arg, const struct signin_session *session, const char *why)
{
	struct edge_side *s = arg;

	log_info(s->base.w.log, "signin.ended", "session=%s user=%s domain=%s reason=%s",
		 session->id, log_esc(slice_of(session->user)), session->domain,
		 log_esc(slice_of(why)));
}

static const struct signin_sessions_ops sessions_ops = { .close = on_close, .ended = on_ended };

struct edge_side *edge_side_new(const struct signin_world *w)
{
	struct edge_side *s = calloc(1, sizeof(*s));
	uint8_t random[48];

	if (!s)
		return NULL;
	list_init(&s->requests);
	idtab_init(&s->ids, EDGE_MAX_REQUESTS);
	w->random(random, sizeof(random));
	if (signin_side_init(&s->base, w, 0, 0, &sessions_ops) == 0) {
		s->domains = edge_domains_new(random);
		s->sources = rate_new(random + 16, MAX_SOURCES);
	}
	if (s->domains && s->sources)
		return s;
	edge_side_free(s);
	return NULL;
}

void edge_side_stop(struct edge_side *s)
{
	LIST_FOREACH_SAFE (it, &s->requests) {
		struct request *q = CONTAINER_OF(it, struct request, node);

		if (q->call_id)
			s->base.tunnel->call_cancel(s->base.tunnel_self, q->call_id);
		request_free(q);
	}
	s->base.tunnel = NULL;
	edge_copy_stop(s);
}

void edge_side_free(struct edge_side *s)
{
	if (!s)
		return;
	edge_side_stop(s);
	signin_side_fini(&s->base, "the daemon stops");
	edge_domains_free(s->domains);
	rate_free(s->sources);
	idtab_fini(&s->ids);
	free(s);
}

int edge_side_start(struct edge_side *s, const struct service *tunnel)
{
	if (!tunnel->ops)
		return 0;
	s->base.tunnel = tunnel->ops;
	s->base.tunnel_self = tunnel->self;
	return edge_copy_start(s);
}

void edge_side_configure(struct edge_side *s, const struct edge_settings *settings)
{
	s->settings = *settings;
	signin_sessions_set_max(s->base.sessions, settings->max_sessions);
}

struct signin_side *edge_side_base(struct edge_side *s)
{
	return &s->base;
}

void edge_side_status(const struct edge_side *s, json_t *out)
{
	signin_side_status(&s->base, out);
	json_object_set_new(out, "domains",
			    json_integer((json_int_t)edge_domains_count(s->domains)));
	json_object_set_new(out, "refused_items", json_integer((json_int_t)s->n_refused_items));
}
