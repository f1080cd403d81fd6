#include "signin/authenticator.h"

#include <stdlib.h>

#include <openssl/crypto.h>

#include "base/htab.h"
#include "base/idtab.h"
#include "base/list.h"

#define MAX_RATE_ENTRIES 65536

enum { KEY_BYTES = 48, SEED_BYTES = 32 };

/* One answer that is asked of the backend.
 *
 *   RUNNING --answer yes, failed, timeout--> gone
 *   RUNNING --answer no--> HELD --step--> gone
 */
enum check_state { CHECK_RUNNING, CHECK_HELD };

struct check {
	struct htab_node node;
	struct authenticator *a;
	enum check_state state;
	struct signin_credentials cred;
	uint8_t tag[CRED_TAG_BYTES];
	struct list waiters;
	struct timer timer; /* RUNNING: deadline; HELD: time to say no */
	int64_t begun_ms;
	bool outdated; /* the settings changed meanwhile: a yes is not kept */
	void *handle;  /* the backend's */
};

/* One request. */
struct waiter {
	struct list node; /* of its check, or of a->ready */
	struct authenticator *a;
	uint64_t id;   /* 0: cancelled */
	void *request; /* the caller's */
	struct rate_key user, user_source, user_anywhere;
	bool entered;		   /* counted in at the penalties */
	enum rate_outcome outcome; /* in a->ready */
	/* In a->ready: the result waits for the end of the caller's function. */
	struct timer timer;
	struct auth_result result;
	struct signin_credentials cred;
	uint8_t tag[CRED_TAG_BYTES];
};

struct authenticator {
	struct timerq *timers;
	const struct auth_backend *backend;
	void *backend_self;
	const struct auth_ops *ops;
	void *arg;
	struct auth_settings settings;
	struct cred_cache *cache;
	struct cred_cache *known; /* by_source: were good at all lately */
	struct rate *rates;	  /* good sign-ins by user */
	struct rate *penalties;	  /* failures by user and source */
	struct htab checks;	  /* by tag */
	struct list ready;
	struct idtab ids;
	struct timer sweep;
	size_t n_waiters;
	struct auth_stats stats;
};

static struct slice check_key(const struct htab_node *n)
{
	return (struct slice){ (const char *)CONTAINER_OF(n, const struct check, node)->tag,
			       CRED_TAG_BYTES };
}

static int64_t now_of(const struct authenticator *a)
{
	return a->timers->now_ms;
}

static void on_sweep(void *arg)
{
	struct authenticator *a = arg;

	cred_cache_sweep(a->cache, now_of(a));
	cred_cache_sweep(a->known, now_of(a));
	timer_start(a->timers, &a->sweep, a->settings.cache_cleanup_ms);
}

struct authenticator *authenticator_new(struct timerq *timers, const uint8_t random[112],
					const struct auth_backend *backend, void *backend_self,
					const struct auth_ops *ops, void *arg)
{
	struct authenticator *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	*a = (struct authenticator){ .timers = timers,
				     .backend = backend,
				     .backend_self = backend_self,
				     .ops = ops,
				     .arg = arg };
	list_init(&a->ready);
	idtab_init(&a->ids, AUTH_MAX_WAITERS);
	timer_init(&a->sweep, on_sweep, a);
	a->cache = cred_cache_new(random);
	a->known = cred_cache_new(random); /* asked by tags of the other */
	a->rates = rate_new(random + KEY_BYTES, MAX_RATE_ENTRIES);
	a->penalties = rate_new(random + KEY_BYTES + SEED_BYTES, MAX_RATE_ENTRIES);
	if (a->cache && a->known && a->rates && a->penalties &&
	    htab_init(&a->checks, random + KEY_BYTES, check_key) == 0)
		return a;
	authenticator_free(a);
	return NULL;
}

static void waiter_free(struct waiter *w)
{
	struct authenticator *a = w->a;

	list_del(&w->node);
	timer_stop(a->timers, &w->timer);
	if (w->id)
		idtab_del(&a->ids, w->id);
	a->n_waiters--;
	OPENSSL_cleanse(w, sizeof(*w));
	free(w);
}

static void check_free(struct check *c)
{
	struct authenticator *a = c->a;

	if (c->handle)
		a->backend->cancel(a->backend_self, c->handle);
	timer_stop(a->timers, &c->timer);
	htab_del(&a->checks, &c->node);
	OPENSSL_cleanse(c, sizeof(*c));
	free(c);
}

void authenticator_drop(struct authenticator *a)
{
	HTAB_FOREACH_SAFE (n, &a->checks) {
		struct check *c = CONTAINER_OF(n, struct check, node);

		LIST_FOREACH_SAFE (it, &c->waiters)
			waiter_free(CONTAINER_OF(it, struct waiter, node));
		check_free(c);
	}
	LIST_FOREACH_SAFE (it, &a->ready)
		waiter_free(CONTAINER_OF(it, struct waiter, node));
}

void authenticator_free(struct authenticator *a)
{
	if (!a)
		return;
	if (a->checks.slots) /* a half-made one has none */
		authenticator_drop(a);
	timer_stop(a->timers, &a->sweep);
	htab_fini(&a->checks);
	idtab_fini(&a->ids);
	cred_cache_free(a->cache);
	cred_cache_free(a->known);
	rate_free(a->rates);
	rate_free(a->penalties);
	free(a);
}

void authenticator_configure(struct authenticator *a, const struct auth_settings *s)
{
	a->settings = *s;
	cred_cache_configure(a->cache, s->cache_entries, s->cache_life_ms);
	cred_cache_configure(a->known, s->by_source ? s->cache_entries : 0, AUTH_KNOWN_MS);
	timer_start(a->timers, &a->sweep, s->cache_cleanup_ms);
}

/* --- results --- */

/* The last thing that happens to w. cred and tag stay the caller's. */
static void conclude(struct waiter *w, enum rate_outcome outcome, const struct auth_result *r)
{
	struct authenticator *a = w->a;
	struct auth_result result = *r;
	void *request = w->id ? w->request : NULL;
	uint32_t retry_s;

	if (result.status == SIGNIN_OK && !rate_window_take(a->rates, &w->user, &a->settings.rate,
							    now_of(a), &result.retry_after_s)) {
		result.status = SIGNIN_TOO_MANY;
		result.why = "the user signs in too often";
		result.decided_by = "[signin] rate";
	}
	if (w->entered)
		rate_penalty_leave(a->penalties, &w->user_source, now_of(a), outcome);
	if (w->entered && outcome == RATE_BAD)
		rate_window_take(a->penalties, &w->user_anywhere, &a->settings.user_failures,
				 now_of(a), &retry_s);
	waiter_free(w);
	if (request)
		a->ops->result(a->arg, request, &result);
}

static void on_ready(void *arg)
{
	struct waiter *w = arg;
	struct signin_credentials cred = w->cred;
	struct auth_result r = w->result;
	uint8_t tag[CRED_TAG_BYTES];

	memcpy(tag, w->tag, sizeof(tag));
	r.cred = &cred;
	r.tag = tag;
	conclude(w, w->outcome, &r);
	signin_credentials_wipe(&cred);
}

/* Gives r when the caller has returned. */
static void defer(struct waiter *w, const struct auth_result *r, enum rate_outcome outcome)
{
	w->result = *r;
	w->outcome = outcome;
	list_add_tail(&w->a->ready, &w->node);
	timer_start(w->a->timers, &w->timer, 0);
}

/* The check is over: everybody who waits gets r. What a result does may free nothing of ours but
 * add new checks; so c leaves the table first. */
static void finish(struct check *c, enum rate_outcome outcome, struct auth_result *r)
{
	struct signin_credentials cred = c->cred;
	uint8_t tag[CRED_TAG_BYTES];
	struct list waiters;

	memcpy(tag, c->tag, sizeof(tag));
	list_init(&waiters);
	while (!list_empty(&c->waiters)) {
		struct list *node = list_first(&c->waiters);

		list_del(node);
		list_add_tail(&waiters, node);
	}
	check_free(c);
	r->cred = &cred;
	r->tag = tag;
	while (!list_empty(&waiters))
		conclude(CONTAINER_OF(list_first(&waiters), struct waiter, node), outcome, r);
	signin_credentials_wipe(&cred);
}

static void give_no(struct check *c)
{
	struct auth_result r = { .status = SIGNIN_DENIED, .why = "wrong user or password" };

	finish(c, RATE_BAD, &r);
}

static void give_failed(struct check *c, const char *why)
{
	struct auth_result r = { .status = SIGNIN_UNAVAILABLE, .why = why };

	c->a->stats.n_failed++;
	finish(c, RATE_NEITHER, &r);
}

static void on_answer(void *arg, enum auth_answer answer, const char *why)
{
	struct check *c = arg;
	struct authenticator *a = c->a;
	struct auth_result ok = { .status = SIGNIN_OK, .why = "the password is right" };
	int64_t ran_ms = now_of(a) - c->begun_ms;

	c->handle = NULL;
	if (answer == AUTH_FAILED) {
		give_failed(c, why);
	} else if (answer == AUTH_NO) {
		a->stats.n_no++;
		cred_cache_drop(a->cache, c->tag);
		cred_cache_drop(a->known, c->tag);
		a->ops->refused(a->arg, &c->cred, c->tag);
		c->state = CHECK_HELD;
		timer_start(a->timers, &c->timer,
			    AUTH_DENIAL_STEP_MS - ran_ms % AUTH_DENIAL_STEP_MS);
	} else {
		a->stats.n_yes++;
		if (!c->outdated)
			cred_cache_put(a->cache, c->tag, now_of(a));
		if (!c->outdated && a->settings.by_source)
			cred_cache_put(a->known, c->tag, now_of(a));
		finish(c, RATE_GOOD, &ok);
	}
}

static void on_check_timer(void *arg)
{
	struct check *c = arg;

	if (c->state == CHECK_HELD)
		give_no(c);
	else
		give_failed(c, "what knows the passwords did not answer in time");
}

/* --- requests --- */

static struct waiter *waiter_new(struct authenticator *a, void *request)
{
	struct waiter *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->a = a;
	w->request = request;
	list_init(&w->node);
	timer_init(&w->timer, on_ready, w);
	a->n_waiters++;
	/* Cancelled ones still wait: they count without having an id. */
	if (a->n_waiters <= AUTH_MAX_WAITERS)
		w->id = idtab_add(&a->ids, w);
	if (w->id)
		return w;
	waiter_free(w);
	return NULL;
}

uint64_t authenticator_answer(struct authenticator *a, const struct auth_result *r, void *request)
{
	struct waiter *w = waiter_new(a, request);

	if (!w)
		return 0;
	defer(w, r, RATE_NEITHER);
	return w->id;
}

/* False when r says why not. */
static bool within_rate(struct waiter *w, struct auth_result *r)
{
	struct authenticator *a = w->a;

	if (rate_window_open(a->rates, &w->user, &a->settings.rate, now_of(a), &r->retry_after_s))
		return true;
	r->status = SIGNIN_TOO_MANY;
	r->why = "the user signs in too often";
	r->decided_by = "[signin] rate";
	return false;
}

static bool within_penalty(struct waiter *w, struct auth_result *r)
{
	struct authenticator *a = w->a;

	w->entered =
		rate_penalty_enter(a->penalties, &w->user_source, now_of(a), &r->retry_after_s);
	if (w->entered)
		return true;
	r->status = SIGNIN_TOO_MANY;
	r->why = "too many wrong passwords for this user from this source";
	r->decided_by = "penalty";
	return false;
}

static bool within_failures(struct waiter *w, struct auth_result *r)
{
	struct authenticator *a = w->a;

	if (rate_window_open(a->penalties, &w->user_anywhere, &a->settings.user_failures, now_of(a),
			     &r->retry_after_s))
		return true;
	r->status = SIGNIN_TOO_MANY;
	r->why = "too many wrong passwords for this user";
	r->decided_by = "[signin] user-failures";
	return false;
}

static struct check *running(const struct authenticator *a, const uint8_t tag[CRED_TAG_BYTES])
{
	struct htab_node *n =
		htab_get(&a->checks, (struct slice){ (const char *)tag, CRED_TAG_BYTES });

	return n ? CONTAINER_OF(n, struct check, node) : NULL;
}

/* An app that opens several connections at once asks the same thing several times: that is one try.
 */
static bool is_same_try(const struct check *c, const struct waiter *w)
{
	LIST_FOREACH (it, &c->waiters) {
		const struct waiter *other = CONTAINER_OF(it, struct waiter, node);

		if (memcmp(&other->user_source, &w->user_source, sizeof(w->user_source)) == 0)
			return true;
	}
	return false;
}

static struct check *check_new(struct authenticator *a, const struct signin_credentials *cred,
			       const uint8_t tag[CRED_TAG_BYTES])
{
	struct check *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->a = a;
	c->cred = *cred;
	c->begun_ms = now_of(a);
	memcpy(c->tag, tag, CRED_TAG_BYTES);
	list_init(&c->waiters);
	timer_init(&c->timer, on_check_timer, c);
	htab_add(&a->checks, &c->node);
	return c;
}

/* The check of these credentials, begun now when there is none; NULL: r says why not. */
static struct check *obtain_check(struct authenticator *a, const struct signin_credentials *cred,
				  const uint8_t tag[CRED_TAG_BYTES], struct auth_result *r)
{
	struct check *c = running(a, tag);

	if (c) {
		a->stats.n_joined++;
		return c;
	}
	*r = (struct auth_result){ .status = SIGNIN_UNAVAILABLE, .why = "out of memory" };
	if (a->checks.n >= a->settings.max_checks) {
		r->why = "too many password checks at once";
		r->decided_by = "[signin] max-checks";
		r->retry_after_s = 1;
		return NULL;
	}
	c = check_new(a, cred, tag);
	if (!c)
		return NULL;
	c->handle = a->backend->start(a->backend_self, &c->cred, on_answer, c, &r->why);
	if (!c->handle) {
		a->stats.n_failed++;
		check_free(c);
		return NULL;
	}
	a->stats.n_checks++;
	timer_start(a->timers, &c->timer, a->settings.timeout_ms);
	return c;
}

static void take_cached(struct waiter *w, const struct signin_credentials *cred,
			const uint8_t tag[CRED_TAG_BYTES])
{
	struct auth_result r = { .status = SIGNIN_OK,
				 .cached = true,
				 .why = "the password was right lately" };
	struct authenticator *a = w->a;

	a->stats.n_cached++;
	rate_penalty_leave(a->penalties, &w->user_source, now_of(a), RATE_GOOD);
	w->entered = false;
	w->cred = *cred;
	memcpy(w->tag, tag, CRED_TAG_BYTES);
	defer(w, &r, RATE_GOOD);
}

/* Both are keyed: nobody can choose a source and credentials that collide. */
static void tag_of(const struct waiter *w, const struct signin_credentials *cred,
		   uint8_t tag[CRED_TAG_BYTES])
{
	const uint8_t *source = (const uint8_t *)&w->user_source;

	cred_cache_tag(w->a->cache, cred, tag);
	for (size_t i = 0; w->a->settings.by_source && i < sizeof(w->user_source); i++)
		tag[i] ^= source[i];
}

uint64_t authenticator_start(struct authenticator *a, const struct signin_credentials *cred,
			     const struct addr *from, void *request)
{
	struct slice domain = slice_of(cred->domain), user = slice_of(cred->user);
	struct waiter *w = waiter_new(a, request);
	struct auth_result r = { 0 };
	uint8_t tag[CRED_TAG_BYTES];
	struct check *c;

	if (!w)
		return 0;
	w->user = rate_key_of(a->rates, domain, user, NULL);
	w->user_source = rate_key_of(a->penalties, domain, user, from);
	w->user_anywhere = rate_key_of(a->penalties, domain, user, NULL);
	tag_of(w, cred, tag);
	c = running(a, tag);
	if (!within_rate(w, &r)) {
		defer(w, &r, RATE_NEITHER);
	} else if (c && is_same_try(c, w)) {
		a->stats.n_joined++;
		list_add_tail(&c->waiters, &w->node);
	} else if (!within_penalty(w, &r)) {
		defer(w, &r, RATE_NEITHER);
	} else if (cred_cache_has(a->cache, tag, now_of(a))) {
		take_cached(w, cred, tag);
	} else if (!cred_cache_has(a->known, tag, now_of(a)) && !within_failures(w, &r)) {
		defer(w, &r, a->settings.by_source ? RATE_BAD : RATE_NEITHER);
	} else if ((c = obtain_check(a, cred, tag, &r))) {
		list_add_tail(&c->waiters, &w->node);
	} else {
		defer(w, &r, RATE_NEITHER);
	}
	return w->id;
}

void *authenticator_cancel(struct authenticator *a, uint64_t id)
{
	struct waiter *w = idtab_get(&a->ids, id);

	if (!w)
		return NULL;
	idtab_del(&a->ids, id);
	w->id = 0;
	return w->request;
}

void authenticator_distrust(struct authenticator *a, const struct signin_credentials *cred)
{
	uint8_t tag[CRED_TAG_BYTES];

	cred_cache_tag(a->cache, cred, tag);
	cred_cache_drop(a->cache, tag);
}

void authenticator_forget(struct authenticator *a)
{
	cred_cache_clear(a->cache);
	cred_cache_clear(a->known);
	HTAB_FOREACH_SAFE (n, &a->checks)
		CONTAINER_OF(n, struct check, node)->outdated = true;
}

struct auth_stats authenticator_stats(const struct authenticator *a)
{
	struct auth_stats s = a->stats;

	s.n_running = a->checks.n;
	s.n_cache = cred_cache_count(a->cache);
	return s;
}
