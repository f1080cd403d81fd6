#include "uc/home.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "uc/uds.h"

#define MIN_TRY_MS	   1500
#define MAX_URL		   1024
#define MAX_USER_BODY	   (256 * 1024)
#define MAX_PASSWORD_BYTES 1024
#define NO_NODE		   SIZE_MAX

enum state { FIND, ASK };

struct check {
	struct uc_home *home;
	struct list node;
	uint64_t id;
	enum state state;
	char *domain, *user, *password;
	uc_done done;
	void *arg;
	struct uc_plan plan;
	size_t at;	 /* the node that is asked now */
	bool is_sure;	 /* ASK: the home is known, one cluster is wanted */
	bool from_cache; /* ... from earlier */
	/* The home of earlier has said no: the same home again needs no second question. */
	char refused[UC_CLUSTER_BYTES];
	struct fetch *fetch;
	struct timer start, deadline;
	char last_why[UC_WHY_BYTES];
};

static void go_on(struct check *c);

static void check_free(struct check *c)
{
	struct uc_home *h = c->home;

	if (c->fetch)
		h->world->fetch_cancel(h->world->arg, c->fetch);
	timer_stop(h->world->timers, &c->start);
	timer_stop(h->world->timers, &c->deadline);
	list_del(&c->node);
	if (c->id)
		idtab_del(&h->checks, c->id);
	uc_plan_fini(&c->plan);
	if (c->password)
		explicit_bzero(c->password, strlen(c->password));
	free(c->password);
	free(c->domain);
	free(c->user);
	free(c);
}

static void count(struct uc_home *h, enum uc_answer answer)
{
	uint64_t *const counters[] = { [UC_YES] = &h->n_yes,
				       [UC_NO] = &h->n_no,
				       [UC_UNKNOWN_USER] = &h->n_unknown,
				       [UC_FAILED] = &h->n_failed };

	++*counters[answer];
}

static void end(struct check *c, enum uc_answer answer, const char *cluster, const char *node,
		const char *why)
{
	const struct uc_result r = {
		.answer = answer, .cluster = cluster, .node = node, .why = why
	};

	/* The callback may cancel what it knows the id of. */
	idtab_del(&c->home->checks, c->id);
	c->id = 0;
	count(c->home, answer);
	c->done(c->arg, &r);
	check_free(c);
}

static void end_failed(struct check *c)
{
	char why[UC_WHY_BYTES + 64];

	snprintf(why, sizeof(why), "no call manager could answer%s%s",
		 c->last_why[0] ? ", the last one: " : "", c->last_why);
	end(c, UC_FAILED, NULL, NULL, why);
}

/* --- whom to ask next --- */

static bool is_open(const struct check *c, const struct uc_plan_node *n)
{
	const struct uc_plan_cluster *cluster = &c->plan.clusters[n->cluster];

	if (n->tried)
		return false;
	if (c->state == FIND)
		return cluster->said == UC_SAID_NOTHING;
	return cluster->wanted && cluster->said != UC_SAID_NO && cluster->said != UC_SAID_ABSENT;
}

static size_t pick_of(const struct check *c, bool alive)
{
	const struct uc_world *w = c->home->world;
	size_t n = 0, i;
	uint32_t chosen;

	for (i = 0; i < c->plan.n_nodes; i++)
		n += c->plan.nodes[i].alive == alive && is_open(c, &c->plan.nodes[i]);
	if (n == 0)
		return NO_NODE;
	chosen = w->random(w->arg, (uint32_t)n);
	for (i = 0; i < c->plan.n_nodes; i++)
		if (c->plan.nodes[i].alive == alive && is_open(c, &c->plan.nodes[i]) &&
		    chosen-- == 0)
			return i;
	return NO_NODE;
}

/* Any that lives; those that did not answer a while ago come last. */
static size_t pick(const struct check *c)
{
	const size_t i = pick_of(c, true);

	return i != NO_NODE ? i : pick_of(c, false);
}

static void retry_all(struct check *c)
{
	size_t i;

	for (i = 0; i < c->plan.n_nodes; i++)
		c->plan.nodes[i].tried = false;
}

static size_t cluster_named(const struct check *c, const char *name)
{
	size_t i;

	for (i = 0; i < c->plan.n_clusters; i++)
		if (strcmp(c->plan.clusters[i].name, name) == 0)
			return i;
	return NO_NODE;
}

/* The whole name first; a server may call itself by its short one. */
static size_t cluster_of_host(const struct check *c, const char *host)
{
	unsigned loose;
	size_t i;

	for (loose = 0; loose < 2; loose++)
		for (i = 0; host[0] && i < c->plan.n_nodes; i++)
			if (uc_host_same(c->plan.nodes[i].name, host, loose))
				return c->plan.nodes[i].cluster;
	return NO_NODE;
}

/* --- the ends of both states --- */

static bool somebody_said(const struct check *c, enum uc_said said)
{
	size_t i;

	for (i = 0; i < c->plan.n_clusters; i++)
		if (c->plan.clusters[i].said == said)
			return true;
	return false;
}

static void begin_ask(struct check *c, bool is_sure)
{
	c->state = ASK;
	c->is_sure = is_sure;
	retry_all(c);
}

static void nobody_left_to_find(struct check *c)
{
	size_t i;

	for (i = 0; i < c->plan.n_clusters; i++)
		c->plan.clusters[i].wanted = c->plan.clusters[i].said == UC_SAID_DIRECT;
	if (somebody_said(c, UC_SAID_DIRECT)) {
		begin_ask(c, false);
		go_on(c);
	} else if (somebody_said(c, UC_SAID_NOTHING)) {
		end_failed(c);
	} else {
		end(c, UC_UNKNOWN_USER, NULL, NULL, "no cluster of the domain knows the user");
	}
}

/* A cluster that should have said something and did not. */
static bool somebody_is_silent(const struct check *c)
{
	size_t i;

	for (i = 0; i < c->plan.n_clusters; i++)
		if (c->plan.clusters[i].said == UC_SAID_NOTHING ||
		    c->plan.clusters[i].said == UC_SAID_DIRECT)
			return true;
	return false;
}

static void nobody_left_to_ask(struct check *c)
{
	if (c->is_sure || somebody_is_silent(c))
		end_failed(c);
	else if (somebody_said(c, UC_SAID_NO))
		end(c, UC_NO, NULL, NULL, "no cluster of the domain takes the password");
	else
		end(c, UC_UNKNOWN_USER, NULL, NULL, "no cluster of the domain has the user");
}

/* --- one question --- */

static void heard(struct check *c, const char *why)
{
	const struct uc_plan_node *n = &c->plan.nodes[c->at];

	c->home->ops->heard(c->home->arg, c->plan.clusters[n->cluster].name, n->name, why);
	if (why)
		slice_copy(c->last_why, sizeof(c->last_why), slice_of(why));
}

static void want_home(struct check *c, const char *host)
{
	const size_t home = cluster_of_host(c, host);
	size_t i;

	if (home != NO_NODE && strcmp(c->plan.clusters[home].name, c->refused) == 0) {
		end(c, UC_NO, c->refused, c->plan.nodes[c->at].name, "wrong password");
		return;
	}
	/* A home that is not one of ours is never connected to: perhaps one of ours goes by
	 * another name, so all of them are asked. */
	for (i = 0; i < c->plan.n_clusters; i++) {
		c->plan.clusters[i].wanted = home == NO_NODE || home == i;
		c->plan.clusters[i].said = UC_SAID_NOTHING;
	}
	begin_ask(c, home != NO_NODE);
	go_on(c);
}

static void found_answered(struct check *c, const struct fetch_result *r)
{
	struct uc_plan_cluster *cluster = &c->plan.clusters[c->plan.nodes[c->at].cluster];
	enum uc_uds_home verdict = UC_UDS_BAD;
	char host[UC_HOST_BYTES] = "";

	if (r->status == 404)
		cluster->said = UC_SAID_DIRECT;
	if (r->status == 200)
		verdict = uc_uds_home(r->body, host);
	if (verdict == UC_UDS_NOT_FOUND)
		cluster->said = UC_SAID_UNKNOWN;
	if (verdict == UC_UDS_FOUND) {
		want_home(c, host);
		return;
	}
	if (verdict == UC_UDS_BAD && r->status != 404)
		snprintf(c->last_why, sizeof(c->last_why), "%.100s answers %d to clusterUser",
			 c->plan.nodes[c->at].name, r->status);
	go_on(c);
}

static void accepted(struct check *c)
{
	const struct uc_plan_node *n = &c->plan.nodes[c->at];
	const char *cluster = c->plan.clusters[n->cluster].name;

	uc_home_cache_put(&c->home->cache, slice_of(c->domain), slice_of(c->user), cluster,
			  c->home->world->timers->now_ms);
	end(c, UC_YES, cluster, n->name, "the password is right");
}

/* The home of earlier is none: the user may have moved since. It is not forgotten for that: whoever
 * tries wrong passwords would take the home away from a user whose phone is registered. */
static void find_again(struct check *c)
{
	size_t i;

	c->from_cache = false;
	c->is_sure = false;
	c->state = FIND;
	retry_all(c);
	for (i = 0; i < c->plan.n_clusters; i++)
		c->plan.clusters[i].said = UC_SAID_NOTHING;
	go_on(c);
}

static void refused(struct check *c)
{
	struct uc_plan_cluster *cluster = &c->plan.clusters[c->plan.nodes[c->at].cluster];

	if (c->from_cache) {
		slice_copy(c->refused, sizeof(c->refused), slice_of(cluster->name));
		find_again(c);
		return;
	}
	if (c->is_sure) {
		end(c, UC_NO, cluster->name, c->plan.nodes[c->at].name, "wrong password");
		return;
	}
	cluster->said = UC_SAID_NO;
	go_on(c);
}

static void user_answered(struct check *c, const struct fetch_result *r)
{
	struct uc_plan_cluster *cluster = &c->plan.clusters[c->plan.nodes[c->at].cluster];

	if (r->status == 200) {
		accepted(c);
		return;
	}
	if (r->status == 401 || r->status == 403) {
		refused(c);
		return;
	}
	if (r->status == 404 && c->from_cache) {
		find_again(c);
		return;
	}
	if (r->status == 404 && !c->is_sure)
		cluster->said = UC_SAID_ABSENT;
	snprintf(c->last_why, sizeof(c->last_why), "%.100s answers %d to the user's page",
		 c->plan.nodes[c->at].name, r->status);
	go_on(c);
}

static void answered(const struct fetch_result *r, void *arg)
{
	struct check *c = arg;
	char why[UC_WHY_BYTES];

	c->fetch = NULL;
	if (r->error == 0 && r->status < 500) {
		heard(c, NULL);
		if (c->state == FIND)
			found_answered(c, r);
		else
			user_answered(c, r);
		return;
	}
	if (r->error)
		snprintf(why, sizeof(why), "%s", r->why[0] ? r->why : strerror(-r->error));
	else
		snprintf(why, sizeof(why), "%.100s answers %d", c->plan.nodes[c->at].name,
			 r->status);
	heard(c, why);
	go_on(c);
}

static uint32_t time_for_one(const struct check *c, const struct uc_plan_cluster *cluster)
{
	const int64_t left = timer_left(c->home->world->timers, &c->deadline);
	int64_t ms = left / 2;

	if (ms < MIN_TRY_MS)
		ms = MIN_TRY_MS;
	if (ms > left)
		ms = left;
	if (ms > cluster->timeout_ms)
		ms = cluster->timeout_ms;
	return ms > 0 ? (uint32_t)ms : 1;
}

/* False when it could not even begin. */
static bool ask(struct check *c)
{
	const struct uc_plan_node *n = &c->plan.nodes[c->at];
	const struct uc_plan_cluster *cluster = &c->plan.clusters[n->cluster];
	const struct uc_world *w = c->home->world;
	struct fetch_request r = { .tls = cluster->tls,
				   .verify = cluster->verify,
				   .timeout_ms = time_for_one(c, cluster),
				   .max_body =
					   c->state == FIND ? UC_UDS_MAX_BYTES : MAX_USER_BODY };
	struct buf url;
	int error = -ENOMEM;

	buf_init(&url, MAX_URL);
	uc_host_url(&url, cluster->https, n->name, n->port);
	if (c->state == FIND) {
		uc_uds_cluster_user_path(&url, slice_of(c->user));
	} else {
		uc_uds_user_path(&url, slice_of(c->user));
		r.user = c->user;
		r.password = c->password;
	}
	r.url = url.p;
	if (!url.failed)
		c->fetch = w->fetch(w->arg, &r, answered, c, &error);
	buf_fini(&url);
	if (!c->fetch)
		snprintf(c->last_why, sizeof(c->last_why), "%.100s: %s", n->name, strerror(-error));
	return c->fetch != NULL;
}

static void go_on(struct check *c)
{
	do {
		c->at = pick(c);
		if (c->at == NO_NODE)
			break;
		c->plan.nodes[c->at].tried = true;
	} while (!ask(c));
	if (c->at != NO_NODE)
		return;
	if (c->state == FIND)
		nobody_left_to_find(c);
	else
		nobody_left_to_ask(c);
}

/* --- life --- */

static void on_start(void *arg)
{
	struct check *c = arg;
	struct uc_home *h = c->home;
	const char *known;
	size_t i;

	if (h->ops->plan(h->arg, slice_of(c->domain), &c->plan) < 0) {
		end(c, UC_FAILED, NULL, NULL, "out of memory");
		return;
	}
	if (!uc_uds_user_is_legal(slice_of(c->user))) {
		end(c, UC_UNKNOWN_USER, NULL, NULL, "no user can have such a name");
		return;
	}
	known = uc_home_cache_get(&h->cache, slice_of(c->domain), slice_of(c->user),
				  h->world->timers->now_ms);
	i = known ? cluster_named(c, known) : NO_NODE;
	if (i != NO_NODE) {
		c->plan.clusters[i].wanted = true;
		c->from_cache = true;
		begin_ask(c, true);
	}
	go_on(c);
}

static void on_deadline(void *arg)
{
	struct check *c = arg;

	if (c->fetch)
		heard(c, "no answer in time");
	end_failed(c);
}

static bool has_nul(struct slice s)
{
	return s.n && memchr(s.p, '\0', s.n);
}

uint64_t uc_home_check(struct uc_home *h, struct slice domain, struct slice user,
		       struct slice password, uc_done done, void *arg)
{
	struct check *c = calloc(1, sizeof(*c));

	if (!c)
		return 0;
	c->home = h;
	c->done = done;
	c->arg = arg;
	list_add_tail(&h->live, &c->node);
	timer_init(&c->start, on_start, c);
	timer_init(&c->deadline, on_deadline, c);
	c->domain = slice_dup(domain);
	/* What C strings cannot hold is nobody's name or password: an illegal one stands in. */
	c->user = slice_dup(has_nul(user) || has_nul(password) || password.n > MAX_PASSWORD_BYTES
				    ? SLICE_NONE
				    : user);
	c->password = slice_dup(has_nul(password) ? SLICE_NONE : password);
	if (c->domain && c->user && c->password)
		c->id = idtab_add(&h->checks, c);
	if (!c->id) {
		check_free(c);
		return 0;
	}
	timer_start(h->world->timers, &c->start, 0);
	timer_start(h->world->timers, &c->deadline, UC_HOME_DEADLINE_MS);
	return c->id;
}

void uc_home_cancel(struct uc_home *h, uint64_t id)
{
	struct check *c = idtab_get(&h->checks, id);

	if (c)
		check_free(c);
}

int uc_home_init(struct uc_home *h, const struct uc_world *world, const struct uc_home_ops *ops,
		 void *arg, const uint8_t seed[16])
{
	*h = (struct uc_home){ .world = world, .ops = ops, .arg = arg };
	list_init(&h->live);
	idtab_init(&h->checks, UC_HOME_MAX_CHECKS);
	return uc_home_cache_init(&h->cache, seed, UC_HOME_CACHE_MAX);
}

void uc_home_fini(struct uc_home *h)
{
	LIST_FOREACH_SAFE (it, &h->live)
		check_free(CONTAINER_OF(it, struct check, node));
	idtab_fini(&h->checks);
	uc_home_cache_fini(&h->cache);
}
