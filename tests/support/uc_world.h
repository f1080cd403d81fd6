#ifndef TESTS_SUPPORT_UC_WORLD_H
#define TESTS_SUPPORT_UC_WORLD_H
/* A world for the machines of src/uc: requests are answered from a table by the beginning of their
 * URL, time goes by when the test says so. */
#include <errno.h>
#include <fnmatch.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "uc/world.h"

#define FAKE_MAX 64

struct fake_rule {
	const char *url; /* beginning; '*' stands for anything */
	int error;	 /* 1: never answers */
	int status;
	const char *body;
	/* Instead of status: 200 for this user:password, 401 for others. */
	const char *login;
};

struct fetch {
	char url[512], user[64], password[64], action[80], tls[32], body[2048];
	bool verify, silent;
	uint32_t timeout_ms;
	void (*done)(const struct fetch_result *r, void *arg);
	void *arg;
	struct fake_world *world;
	struct timer timer;
};

struct fake_world {
	struct uc_world world;
	struct timerq timers;
	const struct fake_rule *rules; /* ends with url NULL; the first that fits */
	struct fetch *live[FAKE_MAX];
	char log[8192]; /* URLs asked, one a line */
	char last_action[80], last_body[2048], last_user[64], last_tls[32];
	bool last_verify;
	uint32_t last_timeout_ms;
	unsigned n_fetches;
	const char *srv_names[FAKE_MAX]; /* "service", "target:port", ..., "" ends one; NULL all */
	int srv_error;
	uint32_t random;
	bool keep_log_empty;
};

static inline void fake_forget(struct fetch *f)
{
	size_t i;

	for (i = 0; i < FAKE_MAX; i++)
		if (f->world->live[i] == f)
			f->world->live[i] = NULL;
	timer_stop(&f->world->timers, &f->timer);
}

static inline void fake_end(struct fetch *f, const struct fetch_result *r)
{
	void (*done)(const struct fetch_result *r, void *arg) = f->done;
	void *arg = f->arg;

	fake_forget(f);
	free(f);
	done(r, arg);
}

static inline bool fake_fits(const char *beginning, const char *url)
{
	char pattern[600];

	snprintf(pattern, sizeof(pattern), "%s*", beginning);
	return fnmatch(pattern, url, 0) == 0;
}

static inline void fake_answer(struct fetch *f)
{
	const struct fake_rule *rule = f->world->rules;
	struct fetch_result r = { .error = -ECONNREFUSED };
	char login[130];

	while (rule && rule->url && !fake_fits(rule->url, f->url))
		rule++;
	if (f->silent) { /* its time is over */
		r.error = -ETIMEDOUT;
		snprintf(r.why, sizeof(r.why), "no answer");
	} else if (rule && rule->url && rule->error == 1) {
		f->silent = true;
		timer_start(&f->world->timers, &f->timer, f->timeout_ms);
		return;
	} else if (rule && rule->url) {
		snprintf(login, sizeof(login), "%s:%s", f->user, f->password);
		r.error = rule->error;
		r.status = !rule->login ? rule->status : strcmp(rule->login, login) ? 401 : 200;
		r.body = slice_of(rule->body);
	}
	fake_end(f, &r);
}

static inline void fake_timer(void *arg)
{
	fake_answer(arg);
}

static inline struct fetch *fake_fetch(void *arg, const struct fetch_request *r,
				       void (*done)(const struct fetch_result *r, void *arg),
				       void *done_arg, int *error)
{
	struct fake_world *w = arg;
	struct fetch *f = calloc(1, sizeof(*f));
	size_t i = 0, n = strlen(w->log);

	*error = -ENOMEM;
	if (!f)
		return NULL;
	while (i < FAKE_MAX && w->live[i])
		i++;
	assert_true(i < FAKE_MAX);
	w->live[i] = f;
	f->world = w;
	f->done = done;
	f->arg = done_arg;
	f->timeout_ms = r->timeout_ms;
	snprintf(f->url, sizeof(f->url), "%s", r->url);
	snprintf(f->user, sizeof(f->user), "%s", r->user ? r->user : "");
	snprintf(f->password, sizeof(f->password), "%s", r->password ? r->password : "");
	snprintf(w->last_user, sizeof(w->last_user), "%s", f->user);
	snprintf(w->last_action, sizeof(w->last_action), "%s",
		 r->soap_action ? r->soap_action : "");
	snprintf(w->last_body, sizeof(w->last_body), "%.*s", SLICE_ARG(r->body));
	snprintf(w->last_tls, sizeof(w->last_tls), "%s", r->tls ? r->tls : "");
	w->last_verify = r->verify;
	w->last_timeout_ms = r->timeout_ms;
	w->n_fetches++;
	if (!w->keep_log_empty)
		snprintf(w->log + n, sizeof(w->log) - n, "%s\n", r->url);
	timer_init(&f->timer, fake_timer, f);
	timer_start(&w->timers, &f->timer, 0);
	return f;
}

static inline void fake_cancel(void *arg, struct fetch *f)
{
	fake_forget(f);
	free(f);
}

/* Answers at once, as the resolver does for what it knows. */
static inline struct dns_query *fake_srv(void *arg, const char *service,
					 void (*done)(const struct dns_result *r, void *arg),
					 void *done_arg)
{
	struct fake_world *w = arg;
	struct dns_result r = { .status = w->srv_error ? w->srv_error : -ENOENT };
	const char *const *at = w->srv_names;
	char text[300];

	while (*at && strcmp(*at, service) != 0) {
		while (*at && (*at)[0])
			at++;
		at += *at != NULL;
	}
	for (at += *at != NULL; *at && (*at)[0]; at++) {
		struct dns_addr *a = &r.addrs[r.n++];
		char *colon;

		snprintf(text, sizeof(text), "%s", *at);
		colon = strchr(text, ':');
		a->addr.port = (uint16_t)atoi(colon + 1);
		*colon = '\0';
		snprintf(a->target, sizeof(a->target), "%.250s", text);
		r.status = 0;
	}
	done(&r, done_arg);
	return NULL;
}

static inline void fake_srv_cancel(void *arg, struct dns_query *q)
{
}

static inline uint32_t fake_random(void *arg, uint32_t below)
{
	const struct fake_world *w = arg;

	return w->random % below;
}

static inline void fake_world_init(struct fake_world *w, const struct fake_rule *rules)
{
	memset(w, 0, sizeof(*w));
	timerq_init(&w->timers, 1000);
	w->rules = rules;
	w->world = (struct uc_world){ .arg = w,
				      .timers = &w->timers,
				      .fetch = fake_fetch,
				      .fetch_cancel = fake_cancel,
				      .srv = fake_srv,
				      .srv_cancel = fake_srv_cancel,
				      .random = fake_random };
}

/* Lets ms go by, and all that is due happen. */
static inline void fake_pass(struct fake_world *w, int64_t ms)
{
	const int64_t until = w->timers.now_ms + ms;
	int64_t next;

	for (;;) {
		next = timerq_next(&w->timers);
		if (next < 0 || w->timers.now_ms + next > until)
			break;
		timerq_run(&w->timers, w->timers.now_ms + next);
	}
	timerq_run(&w->timers, until);
}

static inline unsigned fake_n_live(const struct fake_world *w)
{
	unsigned n = 0;
	size_t i;

	for (i = 0; i < FAKE_MAX; i++)
		n += w->live[i] != NULL;
	return n;
}

/* Every request must have ended by now. */
static inline void fake_world_fini(struct fake_world *w)
{
	assert_int_equal(fake_n_live(w), 0);
	timerq_fini(&w->timers);
}

#endif
