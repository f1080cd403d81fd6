/*
 * The module's commands (docs/protocol/ctl.md):
 *
 *   GET  xmpp        streams, links, pairs with partners, IM servers, domains and numbers
 *   POST xmpp-probe  opens a stream for a pair with a partner, or shows that there is one
 */
#include <errno.h>
#include <string.h>

#include "core/iso_time.h"
#include "xmpp/side.h"

#define DEFAULT_STREAMS 200
#define MAX_STREAMS	100000

struct filter {
	const char *domain, *user, *remote, *id; /* NULL: any */
	uint64_t limit;
};

struct listing {
	struct env *env;
	struct filter filter;
	json_t *array;
	json_int_t n_matching;
};

/* What comes from the wire need not be UTF-8, which jansson asks for. */
static json_t *text(const char *s)
{
	json_t *out = json_string(s ? s : "");
	struct buf b;

	if (out)
		return out;
	buf_init(&b, 4096);
	buf_add_escaped(&b, slice_of(s));
	out = json_string(b.p ? b.p : "");
	buf_fini(&b);
	return out;
}

static void put_text(json_t *o, const char *key, const char *s)
{
	json_object_set_new(o, key, text(s));
}

static void put(json_t *o, const char *key, uint64_t v)
{
	json_object_set_new(o, key, json_integer((json_int_t)v));
}

static void put_addr(json_t *o, const char *key, const struct addr *a)
{
	char s[ADDR_STR_BYTES];

	put_text(o, key, a->family == ADDR_NONE ? "" : addr_str(a, s));
}

/* Nothing is put for "never". */
static void put_time(json_t *o, const char *key, int64_t wall_s)
{
	char s[ISO_TIME_BYTES];

	if (wall_s > 0)
		put_text(o, key, iso_time_s(wall_s, s));
}

/* --- streams --- */

/* "alice@example.com", or "alice" in any domain. */
static bool is_user(const char *have, const char *wanted)
{
	size_t n = strlen(wanted);

	return strncmp(have, wanted, n) == 0 &&
	       (!have[n] || (have[n] == '@' && !strchr(wanted, '@')));
}

static bool matches(const struct filter *f, const struct xmpp_listing *l)
{
	char id[CONN_ID_BYTES];

	return (!f->domain || strcmp(f->domain, l->domain) == 0) &&
	       (!f->remote || strcmp(f->remote, l->remote) == 0) &&
	       (!f->user || is_user(l->conn->user, f->user)) &&
	       (!f->id || strcmp(f->id, conn_id_str(l->conn, id)) == 0);
}

static void put_stats(json_t *o, const struct xmpp_stream_stats *s, int64_t now_ms)
{
	put(o, "in", s->n_in);
	put(o, "out", s->n_out);
	put(o, "in_bytes", s->in_bytes);
	put(o, "out_bytes", s->out_bytes);
	put(o, "slowed", s->n_shaped);
	if (s->last_in_ms > 0)
		put(o, "quiet_s", (uint64_t)(now_ms - s->last_in_ms) / 1000);
}

static json_t *stream_json(const struct env *env, const struct xmpp_listing *l)
{
	int64_t now_ms = loop_now_ms(env->loop);
	json_t *o = json_object();
	char id[CONN_ID_BYTES];

	put_text(o, "id", conn_id_str(l->conn, id));
	put_text(o, "kind", conn_kind_str(l->conn->kind));
	put_text(o, "state", l->conn->state);
	put_text(o, "user", l->conn->user);
	put_text(o, "session", l->conn->session);
	put_text(o, "zone", l->conn->zone);
	put_text(o, "domain", l->domain);
	put_text(o, "remote", l->remote);
	put_addr(o, "address", &l->conn->remote);
	put_text(o, "direction", l->direction);
	put_text(o, "tls", l->tls);
	put_text(o, "auth", l->auth);
	json_object_set_new(o, "resumable", json_boolean(l->resumable));
	put_time(o, "certificate_expires", l->cert_expires_s);
	put_text(o, "last_error", l->last_error);
	put(o, "age_s", (uint64_t)(now_ms - l->conn->since_ms) / 1000);
	if (l->stats)
		put_stats(o, l->stats, now_ms);
	return o;
}

static void add_stream(const struct xmpp_listing *l, void *arg)
{
	struct listing *all = arg;

	if (!matches(&all->filter, l))
		return;
	all->n_matching++;
	if (json_array_size(all->array) < all->filter.limit)
		json_array_append_new(all->array, stream_json(all->env, l));
}

/* --- pairs with partners --- */

static void put_way(json_t *o, const char *key, bool open, const char *auth, const char *tls)
{
	json_t *way = json_object();

	json_object_set_new(way, "open", json_boolean(open));
	put_text(way, "auth", auth);
	put_text(way, "tls", tls);
	json_object_set_new(o, key, way);
}

static const char *direction_of(const struct s2s_pair_info *p)
{
	return p->in && p->out ? "both" : p->in ? "in" : p->out ? "out" : "";
}

static void add_pair(const struct s2s_pair_info *p, void *arg)
{
	struct listing *all = arg;
	const struct filter *f = &all->filter;
	json_t *o;

	if ((f->domain && strcmp(f->domain, p->local) != 0) ||
	    (f->remote && strcmp(f->remote, p->remote) != 0))
		return;
	o = json_object();
	put_text(o, "local", p->local);
	put_text(o, "remote", p->remote);
	put_text(o, "direction", direction_of(p));
	put_way(o, "in", p->in, p->in_auth, p->in_tls);
	put_way(o, "out", p->out, p->out_auth, p->out_tls);
	put_time(o, "certificate_expires", p->cert_expires_s);
	put_text(o, "last_error", p->last_error);
	put_time(o, "last_error_at", p->last_error_wall_s);
	put(o, "received", p->n_in);
	put(o, "sent", p->n_out);
	put(o, "bounced", p->n_bounced);
	put(o, "queued", p->n_queued);
	json_array_append_new(all->array, o);
}

static json_t *pairs_json(const struct listing *of, const struct s2s *engine)
{
	struct listing all = { .env = of->env, .filter = of->filter, .array = json_array() };

	s2s_pairs_each(engine, add_pair, &all);
	return all.array;
}

/* --- IM servers, domains --- */

static void add_node(const struct im_node *n, void *arg)
{
	json_t *o = json_object();

	put_text(o, "server", n->server);
	put_text(o, "host", n->host);
	put(o, "port", n->port);
	json_object_set_new(o, "alive", json_boolean(n->alive));
	put_text(o, "last_error", n->why);
	json_array_append_new(arg, o);
}

struct domains_listing {
	const struct xmpp_edge *edge;
	const struct filter *filter;
	json_t *array;
};

static const char *peer_name(const struct xmpp_edge *e, tunnel_peer id)
{
	struct tunnel_peer_info info;

	for (size_t i = 0; e->tunnel && e->tunnel->peer(e->tunnel_self, i, &info); i++)
		if (info.id == id)
			return info.name;
	return "";
}

static void add_domain(void *arg, const char *domain, tunnel_peer from, bool chat, bool federation)
{
	const struct domains_listing *l = arg;
	json_t *o;

	if (l->filter->domain && strcmp(l->filter->domain, domain) != 0)
		return;
	o = json_object();
	put_text(o, "domain", domain);
	json_object_set_new(o, "chat", json_boolean(chat));
	json_object_set_new(o, "federation", json_boolean(federation));
	put_text(o, "peer", peer_name(l->edge, from));
	json_object_set_new(o, "up", json_boolean(xmpp_domains_is_up(l->edge->domains, from)));
	json_array_append_new(l->array, o);
}

static json_t *own_domains(const struct xmpp_core *c, const struct filter *f)
{
	const struct im_server_conf *s = NULL;
	json_t *out = json_array();

	while ((s = conf_next(c->snap, "im-server", s))) {
		for (size_t i = 0; s->enabled && i < s->domains.n; i++) {
			const char *name = s->domains.v[i];
			json_t *o;

			if (f->domain && strcmp(f->domain, name) != 0)
				continue;
			o = json_object();
			put_text(o, "domain", name);
			json_object_set_new(o, "chat",
					    json_boolean(xmpp_conf_domain(c->snap, name)));
			put_text(o, "server", s->common.name);
			json_array_append_new(out, o);
		}
	}
	return out;
}

/* --- commands --- */

/* 0, or the HTTP status of the reply in *out. */
static int begin(struct listing *l, struct env *env, const struct ctl_request *r, json_t **out)
{
	const char *limit = r->param(r, "limit");

	*l = (struct listing){
		.env = env,
		.filter = { .domain = r->param(r, "domain"),
			    .user = r->param(r, "user"),
			    .remote = r->param(r, "remote"),
			    .id = r->param(r, "id"),
			    .limit = DEFAULT_STREAMS },
	};
	if (limit && !slice_u64(slice_of(limit), MAX_STREAMS, &l->filter.limit))
		return ctl_fail(out, 400, "limit: a number from 0 to %d", MAX_STREAMS);
	l->array = json_array();
	return l->array ? 0 : ctl_fail(out, 500, "out of memory");
}

static int finish(const struct listing *l, json_t *rest, json_t **out)
{
	if (l->filter.id && l->n_matching == 0) {
		json_decref(l->array);
		json_decref(rest);
		return ctl_fail(out, 404, "there is no stream %.60s", l->filter.id);
	}
	/* Said apart, so that a listing which happens to have one row is not mistaken for it. */
	if (l->filter.id) {
		json_decref(rest);
		*out = json_pack("{s:o, s:b}", "streams", l->array, "one", 1);
	} else {
		*out = rest;
		json_object_set_new(rest, "streams", l->array);
		json_object_set_new(rest, "total", json_integer(l->n_matching));
	}
	return *out ? 200 : ctl_fail(out, 500, "out of memory");
}

static int edge_xmpp(void *self, const struct ctl_request *r, json_t **out)
{
	struct xmpp_edge *e = self;
	struct domains_listing d = { .edge = e };
	json_t *rest = NULL, *stats;
	struct listing l;
	int status;

	if (!e->clients)
		return ctl_fail(out, 409, "the daemon stops");
	status = begin(&l, e->env, r, out);
	if (status)
		return status;
	c2s_edge_each(e->clients, add_stream, &l);
	federation_edge_each(e->federation, add_stream, &l);
	d.filter = &l.filter;
	d.array = json_array();
	xmpp_domains_each(e->domains, add_domain, &d);
	stats = json_object();
	xmpp_edge_status(e, stats);
	rest = json_pack("{s:o, s:o, s:[], s:o, s:o}", "links", link_edge_json(e->link), "partners",
			 pairs_json(&l, federation_edge_engine(e->federation)), "servers",
			 "domains", d.array, "stats", stats);
	return finish(&l, rest, out);
}

static int core_xmpp(void *self, const struct ctl_request *r, json_t **out)
{
	struct xmpp_core *c = self;
	json_t *rest, *nodes, *stats;
	struct listing l;
	int status;

	if (!c->clients)
		return ctl_fail(out, 409, "the daemon stops");
	status = begin(&l, c->env, r, out);
	if (status)
		return status;
	c2s_core_each(c->clients, add_stream, &l);
	federation_core_each(c->federation, add_stream, &l);
	nodes = json_array();
	im_servers_each(c->servers, add_node, nodes);
	stats = json_object();
	xmpp_core_status(c, stats);
	rest = json_pack("{s:o, s:o, s:o, s:o, s:o}", "links", link_core_json(c->link), "partners",
			 pairs_json(&l, federation_core_engine(c->federation)), "servers", nodes,
			 "domains", own_domains(c, &l.filter), "stats", stats);
	return finish(&l, rest, out);
}

static int probe(struct env *env, struct s2s *engine, const struct ctl_request *r, json_t **out)
{
	const char *local = r->param(r, "local"), *remote = r->param(r, "remote");
	struct listing l = { .env = env, .array = NULL };
	char mine[XMPP_DOMAIN_BYTES], theirs[XMPP_DOMAIN_BYTES];
	int error;

	if (!local || !remote)
		return ctl_fail(out, 400,
				"local and remote: a domain of ours and one of a partner");
	if (!xmpp_domain(slice_of(local), mine) || !xmpp_domain(slice_of(remote), theirs))
		return ctl_fail(out, 400, "local and remote must be domains");
	error = s2s_probe(engine, mine, theirs);
	if (error == -EACCES)
		return ctl_fail(out, 409,
				"%s and %s do not federate: see `turnpikectl trace xmpp` and "
				"[federation] on C",
				mine, theirs);
	if (error)
		return ctl_fail(out, 409, "no stream can be opened now: %s", strerror(-error));
	l.filter.domain = mine;
	l.filter.remote = theirs;
	*out = json_pack("{s:o}", "partners", pairs_json(&l, engine));
	return *out ? 200 : ctl_fail(out, 500, "out of memory");
}

static int edge_probe(void *self, const struct ctl_request *r, json_t **out)
{
	struct xmpp_edge *e = self;

	if (!e->federation)
		return ctl_fail(out, 409, "the daemon stops");
	return probe(e->env, federation_edge_engine(e->federation), r, out);
}

static int core_probe(void *self, const struct ctl_request *r, json_t **out)
{
	return ctl_fail(out, 409, "E has the streams with partners: ask there");
}

const struct ctl_command xmpp_edge_commands[] = {
	{ "xmpp", false, edge_xmpp },
	{ "xmpp-probe", true, edge_probe },
	{ NULL, false, NULL },
};

const struct ctl_command xmpp_core_commands[] = {
	{ "xmpp", false, core_xmpp },
	{ "xmpp-probe", true, core_probe },
	{ NULL, false, NULL },
};
