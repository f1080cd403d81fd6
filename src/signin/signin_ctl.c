#include "signin/signin_ctl.h"

#include "core/iso_time.h"

#define DEFAULT_LIMIT 1000
#define MAX_LIMIT     10000

static json_t *text(const char *s)
{
	json_t *v = json_string(s);

	return v ? v : json_string("?");
}

static json_t *describe(const struct signin_side *s, const struct signin_entry *e)
{
	int64_t now_ms = s->w.timers->now_ms;
	char id[CONN_ID_BYTES], from[ADDR_STR_BYTES], since[ISO_TIME_BYTES];

	return json_pack("{ss,ss,so,ss,ss,ss,so,sI,sI,sI}", "id", conn_id_str(&e->conn, id),
			 "session", e->s.id, "user", text(e->s.user), "domain", e->s.domain, "from",
			 addr_ip_str(&e->s.from, from), "since",
			 iso_time_s(e->conn.since_wall_s, since), "peer",
			 text(signin_side_peer(s, e->s.peer).name), "age_s",
			 (json_int_t)signin_session_age_s(e), "expires_s",
			 (json_int_t)((e->s.expires_ms - now_ms) / 1000), "idle_s",
			 (json_int_t)((now_ms - e->used_ms) / 1000));
}

struct list_of {
	json_t *out;
	uint64_t limit;
};

static bool add_ended(const struct conn *c, int64_t ended_wall_s, void *arg)
{
	struct list_of *l = arg;
	char from[ADDR_STR_BYTES], since[ISO_TIME_BYTES], ended[ISO_TIME_BYTES];

	if (json_array_size(l->out) >= l->limit)
		return false;
	if (c->kind != CONN_SIGNIN)
		return true;
	json_array_append_new(
		l->out, json_pack("{ss,so,ss,ss,ss,so}", "session", c->session, "user",
				  text(c->user), "from", addr_ip_str(&c->remote, from), "since",
				  iso_time_s(c->since_wall_s, since), "ended",
				  iso_time_s(ended_wall_s, ended), "reason", text(c->reason)));
	return true;
}

static int sessions(void *self, const struct ctl_request *r, json_t **out)
{
	const struct signin_side *s = self;
	const char *limit_text = r->param(r, "limit"), *user = r->param(r, "user");
	struct list_of live = { json_array(), DEFAULT_LIMIT }, ended = { json_array(), 0 };

	if (limit_text && !slice_u64(slice_of(limit_text), MAX_LIMIT, &live.limit)) {
		json_decref(live.out);
		json_decref(ended.out);
		return ctl_fail(out, 400, "limit is a number from 0 to %d", MAX_LIMIT);
	}
	ended.limit = live.limit;
	LIST_FOREACH (it, signin_sessions_list(s->sessions)) {
		const struct signin_entry *e = CONTAINER_OF(it, const struct signin_entry, node);

		if (json_array_size(live.out) >= live.limit)
			break;
		if (!e->buried && (!user || slice_eq(slice_of(user), slice_of(e->account)) ||
				   slice_eq(slice_of(user), slice_of(e->s.user))))
			json_array_append_new(live.out, describe(s, e));
	}
	if (!user)
		conn_ended_each(s->w.conns, add_ended, &ended);
	*out = json_pack("{so,so}", "sessions", live.out, "ended", ended.out);
	return *out ? 200 : ctl_fail(out, 500, "out of memory");
}

const struct ctl_command signin_ctl_commands[] = {
	{ .name = "sessions", .run = sessions },
	{ .name = NULL },
};
