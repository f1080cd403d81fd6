/*
 * The tables that the Cs publish, as E has them. After a reconnect:
 *
 *   reset --> everything of that peer is doubtful (and still good for lookups)
 *   put   --> no longer
 *   synced, or EDGE_SYNC_MS later --> what still is goes
 */
#include "signin/edge_impl.h"

#include <errno.h>
#include <string.h>

#include "core/log.h"
#include "core/trace.h"

static void on_late(void *arg);

/* NULL: more peers than there can be. */
static struct edge_peer *peer_of(struct edge_side *s, tunnel_peer id)
{
	struct edge_peer *p;

	for (size_t i = 0; i < s->n_peers; i++) {
		if (s->peers[i].id == id)
			return &s->peers[i];
	}
	if (s->n_peers == EDGE_MAX_PEERS)
		return NULL;
	p = &s->peers[s->n_peers++];
	p->s = s;
	p->id = id;
	list_init(&p->doubtful);
	timer_init(&p->late, on_late, p);
	return p;
}

static void refuse_item(struct edge_side *s, tunnel_peer from, const char *table, const char *key,
			const char *why)
{
	s->n_refused_items++;
	trace_add(s->base.w.trace, "signin.item.refused", signin_side_peer(&s->base, from).name,
		  NULL, NULL, "table %s: %s", table, why);
}

/* --- domains --- */

static void domains_reset(void *arg, tunnel_peer from)
{
	struct edge_side *s = arg;
	struct edge_peer *p = peer_of(s, from);

	edge_domains_doubt(s->domains, from);
	if (p)
		timer_start(s->base.w.timers, &p->late, EDGE_SYNC_MS);
}

static void domains_put(void *arg, tunnel_peer from, const char *key, const json_t *item)
{
	struct edge_side *s = arg;
	struct signin_domain d;
	const char *why;
	int err;

	if (!signin_item_domain_read(key, item, &d, &why)) {
		refuse_item(s, from, SIGNIN_TABLE_DOMAINS, key, why);
		return;
	}
	d.peer = from;
	err = edge_domains_put(s->domains, &d);
	if (err)
		refuse_item(s, from, SIGNIN_TABLE_DOMAINS, key,
			    err == -ENOSPC ? "too many domains" : "out of memory");
}

static void domains_del(void *arg, tunnel_peer from, const char *key)
{
	struct edge_side *s = arg;

	edge_domains_del(s->domains, from, slice_of(key));
}

static void domains_synced(void *arg, tunnel_peer from)
{
	struct edge_side *s = arg;

	edge_domains_sweep(s->domains, from);
}

/* --- sessions --- */

static void call_sign_out(struct edge_side *s, const struct signin_entry *e);

static void sessions_reset(void *arg, tunnel_peer from)
{
	struct edge_side *s = arg;
	struct edge_peer *p = peer_of(s, from);

	if (!p)
		return;
	LIST_FOREACH (it, signin_sessions_list(s->base.sessions)) {
		struct signin_entry *e = CONTAINER_OF(it, struct signin_entry, node);

		if (e->s.peer != from)
			continue;
		list_del(&e->mark_node);
		list_add_tail(&p->doubtful, &e->mark_node);
	}
	timer_start(s->base.w.timers, &p->late, EDGE_SYNC_MS);
}

static void sweep_sessions(struct edge_peer *p)
{
	while (!list_empty(&p->doubtful))
		signin_session_end(
			CONTAINER_OF(list_first(&p->doubtful), struct signin_entry, mark_node),
			"C does not know it any more");
}

static void on_late(void *arg)
{
	struct edge_peer *p = arg;

	sweep_sessions(p);
	edge_domains_sweep(p->s->domains, p->id);
}

static bool is_same(const struct signin_session *a, const struct signin_session *b)
{
	return strcmp(a->id, b->id) == 0 && strcmp(a->domain, b->domain) == 0 &&
	       strcmp(a->user, b->user) == 0;
}

struct signin_entry *edge_copy_take(struct edge_side *s, tunnel_peer from,
				    const struct signin_session *session, uint32_t age_s,
				    const char **why)
{
	struct signin_entry *e = signin_sessions_get(s->base.sessions, slice_of(session->token));
	struct signin_session mine = *session;
	int err;

	*why = "another session has that token or id already";
	if (e && (e->s.peer != from || !is_same(&e->s, session)))
		return NULL;
	if (e) {
		list_del(&e->mark_node);
		signin_session_renew(e, session->life_s, age_s);
		*why = "it is signed out here";
		return e->buried ? NULL : e;
	}
	mine.peer = from;
	e = signin_sessions_add(s->base.sessions, &mine, age_s, &err);
	if (err == -ENOSPC)
		*why = "too many sessions";
	else if (err == -ENOMEM)
		*why = "out of memory";
	else if (err == -ESTALE)
		*why = "its life is over";
	return e;
}

static void sessions_put(void *arg, tunnel_peer from, const char *key, const json_t *item)
{
	struct edge_side *s = arg;
	struct signin_entry *e = signin_sessions_get(s->base.sessions, slice_of(key));
	struct signin_session session;
	uint32_t age_s;
	const char *why;

	if (!signin_item_session_read(key, item, &session, &age_s, &why))
		refuse_item(s, from, SIGNIN_TABLE_SESSIONS, key, why);
	else if (!edge_copy_take(s, from, &session, age_s, &why) && !(e && e->buried))
		refuse_item(s, from, SIGNIN_TABLE_SESSIONS, key, why);
}

static void sessions_del(void *arg, tunnel_peer from, const char *key)
{
	struct edge_side *s = arg;
	struct signin_entry *e = signin_sessions_get(s->base.sessions, slice_of(key));

	if (e && e->s.peer == from)
		signin_session_end(e, "C has ended it");
}

/* What was signed out while that C was away is now signed out there too. */
static void sessions_synced(void *arg, tunnel_peer from)
{
	struct edge_side *s = arg;
	struct edge_peer *p = peer_of(s, from);

	if (!p)
		return;
	sweep_sessions(p);
	LIST_FOREACH (it, signin_sessions_list(s->base.sessions)) {
		struct signin_entry *e = CONTAINER_OF(it, struct signin_entry, node);

		if (e->buried && e->s.peer == from)
			call_sign_out(s, e);
	}
}

static void on_signed_out(void *arg, int status, const json_t *value)
{
	/* C's word in the table ends the copy; when C was not reached, the next sync does. */
}

static void call_sign_out(struct edge_side *s, const struct signin_entry *e)
{
	json_t *params = s->base.tunnel ? json_pack("{ss}", "token", e->s.token) : NULL;
	int error;

	if (params)
		s->base.tunnel->call(s->base.tunnel_self, e->s.peer, SIGNIN_CALL_SIGN_OUT, params,
				     s->settings.timeout_ms, on_signed_out, s, &error);
	json_decref(params);
}

void edge_copy_sign_out(struct edge_side *s, struct signin_entry *e, const char *why)
{
	if (e->buried)
		return;
	log_info(s->base.w.log, "signin.out", "session=%s user=%s reason=%s", e->s.id,
		 log_esc(slice_of(e->account)), log_esc(slice_of(why)));
	signin_session_bury(e, why);
	call_sign_out(s, e);
}

int edge_copy_start(struct edge_side *s)
{
	static const struct tunnel_sink domains = { .reset = domains_reset,
						    .put = domains_put,
						    .del = domains_del,
						    .synced = domains_synced };
	static const struct tunnel_sink sessions = { .reset = sessions_reset,
						     .put = sessions_put,
						     .del = sessions_del,
						     .synced = sessions_synced };
	int err = s->base.tunnel->subscribe(s->base.tunnel_self, SIGNIN_TABLE_DOMAINS, &domains, s);

	if (err == 0)
		err = s->base.tunnel->subscribe(s->base.tunnel_self, SIGNIN_TABLE_SESSIONS,
						&sessions, s);
	return err;
}

void edge_copy_stop(struct edge_side *s)
{
	for (size_t i = 0; i < s->n_peers; i++)
		timer_stop(s->base.w.timers, &s->peers[i].late);
}
