#include "signin/side.h"

#include <errno.h>
#include <stdio.h>

#include "core/log.h"
#include "core/trace.h"
#include "signin/admins.h"
#include "signin/item.h"

int signin_side_init(struct signin_side *s, const struct signin_world *w, size_t max_sessions,
		     size_t max_per_user, const struct signin_sessions_ops *ops)
{
	struct signin_sessions_params p = {
		.timers = w->timers,
		.conns = w->conns,
		.max = max_sessions,
		.max_per_user = max_per_user,
		.ops = ops,
		.arg = s,
	};

	s->w = *w;
	w->random(p.seed, sizeof(p.seed));
	s->sessions = signin_sessions_new(&p);
	return s->sessions ? 0 : -ENOMEM;
}

void signin_side_fini(struct signin_side *s, const char *why)
{
	signin_sessions_free(s->sessions, why);
	s->sessions = NULL;
}

static const struct signin_session *public(struct signin_entry *e)
{
	return e ? &e->s : NULL;
}

const struct signin_session *signin_side_by_token(void *self, struct slice token)
{
	struct signin_side *s = self;

	return public(signin_sessions_by_token(s->sessions, token));
}

const struct signin_session *signin_side_by_id(void *self, struct slice id)
{
	struct signin_side *s = self;

	return public(signin_sessions_by_id(s->sessions, id));
}

const struct signin_session *signin_side_of_user(void *self, struct slice domain, struct slice user,
						 const struct addr *from)
{
	struct signin_side *s = self;

	return public(signin_sessions_best(s->sessions, domain, user, from));
}

void signin_side_touch(void *self, struct slice id)
{
	struct signin_side *s = self;
	struct signin_entry *e = signin_sessions_by_id(s->sessions, id);

	if (e)
		e->used_ms = s->w.timers->now_ms;
}

uint64_t signin_side_admin(void *self, struct slice authorization, const struct addr *from,
			   void (*done)(void *arg, enum signin_status status, const char *name,
					uint32_t retry_after_s, const char *why),
			   void *arg)
{
	struct signin_side *s = self;

	return s->admins ? signin_admins_check(s->admins, authorization, from, done, arg) : 0;
}

struct tunnel_peer_info signin_side_peer(const struct signin_side *s, tunnel_peer id)
{
	size_t n = s->tunnel && id ? s->tunnel->n_peers(s->tunnel_self) : 0;
	struct tunnel_peer_info info;

	for (size_t i = 0; i < n; i++) {
		if (s->tunnel->peer(s->tunnel_self, i, &info) && info.id == id)
			return info;
	}
	return (struct tunnel_peer_info){ .name = id ? "?" : "this box", .system_name = "" };
}

bool signin_side_peer_up(const struct signin_side *s, tunnel_peer id)
{
	return signin_side_peer(s, id).up;
}

void signin_side_report(struct signin_side *s, const struct signin_event *e)
{
	char code[48], user[SIGNIN_USER_BYTES + SIGNIN_DOMAIN_BYTES], from[ADDR_STR_BYTES] = "-";

	s->n_results[e->status]++;
	snprintf(user, sizeof(user), "%.*s@%.*s", SLICE_ARG(e->user), SLICE_ARG(e->domain));
	if (e->from)
		addr_ip_str(e->from, from);
	if (log_enabled(s->w.log, LOG_LEVEL_INFO))
		log_info(s->w.log, "signin.result",
			 "what=%s status=%s user=%s from=%s session=%s why=%s", e->what,
			 signin_status_str(e->status), log_esc(slice_of(user)), from,
			 e->session ? e->session : "-", log_esc(slice_of(e->why)));
	if (e->status == SIGNIN_OK)
		return;
	snprintf(code, sizeof(code), "signin.%s.%s", e->what, signin_status_str(e->status));
	trace_add(s->w.trace, code, e->decided_by, e->from, e->session, "%s: %s", user,
		  e->why ? e->why : "");
}

void signin_side_status(const struct signin_side *s, json_t *out)
{
	json_t *results = json_object();

	for (int i = 0; i < SIGNIN_N_STATUSES; i++)
		json_object_set_new(results, signin_status_str((enum signin_status)i),
				    json_integer((json_int_t)s->n_results[i]));
	json_object_set_new(out, "sign_ins", results);
	json_object_set_new(out, "sessions",
			    json_integer((json_int_t)signin_sessions_count(s->sessions)));
}
