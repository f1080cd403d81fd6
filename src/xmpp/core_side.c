/* C: connections at each E, IM servers behind them, and who hears of what. */
#include "xmpp/side.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/alarm.h"
#include "core/log.h"
#include "core/loop.h"

/* --- what the clients' machine asks for --- */

static bool op_serves(void *arg, const char *domain)
{
	const struct xmpp_core *c = arg;

	return xmpp_conf_domain(c->snap, domain);
}

static uint64_t op_find(void *arg, const char *domain, const char *key,
			void (*done)(void *ctx, const struct im_node *nodes, size_t n,
				     const char *why),
			void *ctx)
{
	const struct xmpp_core *c = arg;

	return im_servers_find(c->servers, domain, IM_CHAT, key, done, ctx);
}

static void op_cancel(void *arg, uint64_t id)
{
	const struct xmpp_core *c = arg;

	im_servers_cancel(c->servers, id);
}

static struct stream *op_connect(void *arg, const struct im_node *node, const struct addr *client,
				 const struct stream_handler *h, void *ctx, int *error)
{
	const struct xmpp_core *c = arg;

	return im_servers_connect(c->servers, node, IM_CHAT, client, h, ctx, error);
}

static int op_start_tls(void *arg, const struct im_node *node, const char *domain, struct stream *s)
{
	const struct xmpp_core *c = arg;

	return im_servers_start_tls(c->servers, node, domain, s);
}

static void op_report(void *arg, const struct im_node *node, bool good, const char *why)
{
	const struct xmpp_core *c = arg;

	im_servers_report(c->servers, node, good, why);
}

static void op_user(void *arg, const char *bare, const struct addr *from, char *session)
{
	const struct xmpp_core *c = arg;

	xmpp_session_of(c->signin, c->signin_self, bare, from, session);
}

static void op_binding(void *arg, const struct im_node *node, bool offered)
{
	const struct xmpp_core *c = arg;

	if (!offered) {
		alarm_clear(c->env->alarms, "xmpp-channel-binding", node->server);
		return;
	}
	alarm_raise(c->env->alarms, "xmpp-channel-binding", node->server, ALARM_WARNING,
		    "Turn channel binding off on that server: clients that see its other "
		    "mechanisms without it may take that for an attack.",
		    "the IM server of [im-server %s] offers channel binding, which cannot work "
		    "through this pair; the offer is taken out",
		    node->server);
}

static bool op_keeps(void *arg, struct stream *s)
{
	const struct xmpp_core *c = arg;

	return link_core_keeps(c->link, s);
}

static void op_give_back(void *arg, struct stream *s)
{
	const struct xmpp_core *c = arg;

	link_core_give_back(c->link, s);
}

static uint64_t op_resume(void *arg, tunnel_peer to, uint64_t stream, tunnel_done done, void *ctx,
			  int *error)
{
	struct xmpp_core *c = arg;

	return park_call_resume(&c->parked, to, stream, done, ctx, error);
}

static void op_cancel_resume(void *arg, uint64_t id)
{
	const struct xmpp_core *c = arg;

	c->tunnel->call_cancel(c->tunnel_self, id);
}

static void op_cut(void *arg, tunnel_peer to, uint64_t stream)
{
	struct xmpp_core *c = arg;

	park_call_end(&c->parked, to, stream, false);
}

static const struct c2s_core_ops client_ops = {
	.serves = op_serves,
	.find = op_find,
	.cancel = op_cancel,
	.connect = op_connect,
	.start_tls = op_start_tls,
	.report = op_report,
	.user = op_user,
	.binding = op_binding,
	.keeps = op_keeps,
	.give_back = op_give_back,
	.resume = op_resume,
	.cancel_resume = op_cancel_resume,
	.cut = op_cut,
};

static void on_client(void *arg, tunnel_peer from, const struct preface *p, struct stream *s)
{
	struct xmpp_core *c = arg;

	c2s_core_take(c->clients, from, p, s);
}

static void on_pair(void *arg, tunnel_peer from, const struct preface *p, struct stream *s)
{
	struct xmpp_core *c = arg;

	federation_core_take(c->federation, from, p, s);
}

static void on_resume(void *arg, tunnel_peer from, const struct preface *p, struct stream *s)
{
	struct xmpp_core *c = arg;

	c2s_core_resume(c->clients, from, p, s);
}

static const struct link_core_handler link_handler = { .c2s = on_client,
						       .s2s = on_pair,
						       .resume = on_resume };

/* --- what E says --- */

static const char *peer_name(const struct xmpp_core *c, tunnel_peer id)
{
	struct tunnel_peer_info info;

	for (size_t i = 0; c->tunnel->peer(c->tunnel_self, i, &info); i++)
		if (info.id == id)
			return info.name;
	return "";
}

static void look_at_peer(struct xmpp_core *c, tunnel_peer id)
{
	link_core_peer_state(c->link, id, c->up[id] && c->has_pool[id]);
}

static bool is_known(tunnel_peer id)
{
	return id > 0 && id <= XMPP_MAX_PEERS;
}

static void set_pool(struct xmpp_core *c, tunnel_peer id, bool has)
{
	if (!is_known(id))
		return;
	c->has_pool[id] = has;
	look_at_peer(c, id);
}

static void on_put(void *arg, tunnel_peer from, const char *key, const json_t *item)
{
	if (strcmp(key, XMPP_EDGE_POOL) == 0)
		set_pool(arg, from, json_is_integer(json_object_get(item, "port")));
}

static void on_del(void *arg, tunnel_peer from, const char *key)
{
	if (strcmp(key, XMPP_EDGE_POOL) == 0)
		set_pool(arg, from, false);
}

static void on_reset(void *arg, tunnel_peer from)
{
	set_pool(arg, from, false);
}

static void alarm_edge_off(struct xmpp_core *c, tunnel_peer id)
{
	const char *name = peer_name(c, id);

	if (is_known(id) && xmpp_conf_on(c->conf) && c->up[id] && !c->has_pool[id])
		alarm_raise(c->env->alarms, "xmpp-edge-off", name, ALARM_WARNING,
			    "Write [xmpp] with pool-tls on that E, or take it away here.",
			    "chat is not configured on %s", name);
	else
		alarm_clear(c->env->alarms, "xmpp-edge-off", name);
}

static void on_synced(void *arg, tunnel_peer from)
{
	alarm_edge_off(arg, from);
}

static void on_state(void *arg, tunnel_peer from, bool up)
{
	struct xmpp_core *c = arg;

	if (!is_known(from))
		return;
	c->up[from] = up;
	look_at_peer(c, from);
	if (!up) {
		c2s_core_peer_lost(c->clients, from);
		link_core_peer_lost(c->link, from);
		alarm_edge_off(c, from);
	}
}

static const struct tunnel_sink sink = {
	.reset = on_reset, .put = on_put, .del = on_del, .synced = on_synced, .state = on_state
};

/* E's client of a parked stream is gone. */
static void serve_end(void *arg, struct tunnel_call *call, tunnel_peer from, const json_t *params)
{
	struct xmpp_core *c = arg;
	int status = -EINVAL;
	uint64_t stream;
	bool proper;

	if (park_call_read(params, &stream) && park_call_read_how(params, &proper))
		status = c->clients ? c2s_core_end(c->clients, from, stream, proper) : -ENOENT;
	c->tunnel->reply(c->tunnel_self, call, status, NULL);
}

/* --- life --- */

struct xmpp_core *xmpp_core_new(struct env *env)
{
	struct xmpp_core *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->env = env;
	park_calls_init(&c->parked, loop_timers(env->loop));
	c->link = link_core_new(env, &link_handler, c);
	c->servers = im_servers_new(env);
	c->clients = c2s_core_new(env, &client_ops, c);
	if (c->link && c->servers)
		c->federation = federation_core_new(env, c->link, c->servers);
	if (c->clients && c->federation)
		return c;
	xmpp_core_free(c);
	return NULL;
}

static int apply(struct xmpp_core *c, const struct conf_snapshot *snap, struct buf *errors)
{
	const struct conf_snapshot *old = c->snap;
	int error;

	c->snap = conf_ref(snap);
	c->conf = conf_get(snap, "xmpp", NULL);
	im_servers_configure(c->servers, snap);
	c2s_core_configure(c->clients, c->conf);
	link_core_configure(c->link, c->conf);
	error = federation_core_configure(c->federation, snap, errors);
	if (old)
		conf_unref(old);
	return error;
}

int xmpp_core_start(struct xmpp_core *c, struct buf *errors)
{
	struct service tunnel = service_find(c->env->modules, TUNNEL_SERVICE);
	struct service signin = service_find(c->env->modules, SIGNIN_SERVICE);
	int error;

	c->tunnel = tunnel.ops;
	c->tunnel_self = tunnel.self;
	c->parked.tunnel = tunnel.ops;
	c->parked.tunnel_self = tunnel.self;
	c->signin = signin.ops;
	c->signin_self = signin.self;
	link_core_set_tunnel(c->link, tunnel.ops, tunnel.self);
	error = apply(c, conf_current(c->env->conf), errors);
	if (error || !c->tunnel)
		return error;
	error = federation_core_start(c->federation, c->tunnel, c->tunnel_self);
	if (error == 0)
		error = c->tunnel->serve(c->tunnel_self, PARK_CALL_END, serve_end, c);
	return error ? error : c->tunnel->subscribe(c->tunnel_self, XMPP_TABLE_EDGE, &sink, c);
}

/* Domains that were served until now. */
static void end_domains(struct xmpp_core *c, const struct conf_snapshot *old)
{
	const struct conf_common *d = NULL;

	while ((d = conf_next(old, "domain", d)))
		if (xmpp_conf_domain(old, d->name) && !xmpp_conf_domain(c->snap, d->name))
			c2s_core_domain_gone(c->clients, d->name);
}

void xmpp_core_reload(struct xmpp_core *c, const struct conf_snapshot *next)
{
	const struct conf_snapshot *old = conf_ref(c->snap);
	struct buf errors;

	buf_init(&errors, 8192);
	if (apply(c, next, &errors) < 0)
		log_error(c->env->log, "xmpp.configure", "reason=%s", log_esc(buf_slice(&errors)));
	buf_fini(&errors);
	end_domains(c, old);
	conf_unref(old);
	for (tunnel_peer id = 1; c->tunnel && id <= XMPP_MAX_PEERS; id++)
		if (c->up[id])
			alarm_edge_off(c, id);
}

void xmpp_core_drain(struct xmpp_core *c)
{
	link_core_drain(c->link);
	federation_core_drain(c->federation);
}

/* Owners of streams before the link, which keeps their entries. */
void xmpp_core_stop(struct xmpp_core *c)
{
	park_calls_fini(&c->parked);
	c2s_core_free(c->clients);
	c->clients = NULL;
	federation_core_free(c->federation);
	c->federation = NULL;
	link_core_free(c->link);
	c->link = NULL;
	im_servers_free(c->servers);
	c->servers = NULL;
}

void xmpp_core_free(struct xmpp_core *c)
{
	if (!c)
		return;
	xmpp_core_stop(c);
	if (c->snap)
		conf_unref(c->snap);
	free(c);
}

struct node_count {
	json_int_t n, n_alive;
};

static void count_node(const struct im_node *n, void *arg)
{
	struct node_count *count = arg;

	count->n++;
	count->n_alive += n->alive;
}

void xmpp_core_status(const struct xmpp_core *c, json_t *out)
{
	struct node_count nodes = { 0 };

	if (!c->clients)
		return;
	im_servers_each(c->servers, count_node, &nodes);
	json_object_set_new(out, "enabled", json_boolean(xmpp_conf_on(c->conf)));
	json_object_set_new(out, "streams", json_integer((json_int_t)c2s_core_count(c->clients)));
	json_object_set_new(out, "parked", json_integer((json_int_t)c2s_core_parked(c->clients)));
	json_object_set_new(out, "links", json_integer(conn_count(c->env->conns, CONN_XMPP_LINK)));
	json_object_set_new(out, "im-nodes", json_integer(nodes.n));
	json_object_set_new(out, "im-nodes-alive", json_integer(nodes.n_alive));
	json_object_set_new(
		out, "server-streams",
		json_integer((json_int_t)s2s_count(federation_core_engine(c->federation))));
}
