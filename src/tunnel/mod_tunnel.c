/* The module: connects the folder to the loop, the settings and the other modules. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "core/ctl.h"
#include "core/log.h"
#include "core/system_conf.h"
#include "tunnel/channel.h"
#include "turnpike/modules.h"

/* --- tunnel_ops --- */

static struct ssh_conn *pick(const struct peer *p)
{
	struct ssh_conn *best = NULL;

	for (int i = 0; i < TUNNEL_MAX_SLOTS; i++) {
		struct ssh_conn *c = p->slots[i].conn;

		if (c && ssh_conn_usable(c) && (!best || c->n_chans < best->n_chans))
			best = c;
	}
	return best;
}

static struct stream *ops_open(void *self, tunnel_peer to, const char *purpose,
			       const struct stream_handler *h, void *arg, int *error)
{
	struct peer *p = peer_by_id(self, to);
	struct ssh_conn *c = p ? pick(p) : NULL;

	*error = -EPIPE;
	return c && c->is_server ? chan_open(c, purpose, h, arg, error) : NULL;
}

static int ops_accept(void *self, const char *purpose,
		      void (*accepted)(void *arg, tunnel_peer from, struct stream *s), void *arg)
{
	struct tunnel *t = self;
	struct purpose *p = &t->purposes[t->n_purposes];

	if (strlen(purpose) >= sizeof(p->name))
		return -EINVAL;
	for (size_t i = 0; i < t->n_purposes; i++) {
		if (strcmp(t->purposes[i].name, purpose) == 0)
			return -EEXIST;
	}
	if (t->n_purposes == TUNNEL_MAX_PURPOSES)
		return -ENOSPC;
	t->n_purposes++;
	strcpy(p->name, purpose);
	p->accepted = accepted;
	p->arg = arg;
	return 0;
}

static int ops_publish(void *self, const char *table, const struct tunnel_source *s, void *arg)
{
	return control_publish(((struct tunnel *)self)->hub, table, s, arg);
}

static int ops_subscribe(void *self, const char *table, const struct tunnel_sink *s, void *arg)
{
	return control_subscribe(((struct tunnel *)self)->hub, table, s, arg);
}

static int ops_serve(void *self, const char *method, tunnel_serve fn, void *arg)
{
	return control_serve(((struct tunnel *)self)->hub, method, fn, arg);
}

static void ops_put(void *self, tunnel_peer to, const char *table, const char *key,
		    const json_t *item)
{
	struct tunnel *t = self;

	for (size_t i = 0; i < t->n_peers; i++) {
		if (to == 0 || t->peers[i]->id == to)
			control_put(t->peers[i]->control, table, key, item);
	}
}

static void ops_del(void *self, tunnel_peer to, const char *table, const char *key)
{
	struct tunnel *t = self;

	for (size_t i = 0; i < t->n_peers; i++) {
		if (to == 0 || t->peers[i]->id == to)
			control_del(t->peers[i]->control, table, key);
	}
}

static void ops_reply(void *self, struct tunnel_call *call, int status, const json_t *value)
{
	control_reply(((struct tunnel *)self)->hub, call, status, value);
}

static uint64_t ops_call(void *self, tunnel_peer to, const char *method, const json_t *params,
			 uint32_t timeout_ms, tunnel_done done, void *arg, int *error)
{
	struct peer *p = peer_by_id(self, to);

	*error = -EPIPE;
	return p ? control_call(p->control, method, params, timeout_ms, done, arg, error) : 0;
}

static void ops_call_cancel(void *self, uint64_t id)
{
	control_call_cancel(((struct tunnel *)self)->hub, id);
}

static size_t ops_n_peers(void *self)
{
	return ((struct tunnel *)self)->n_peers;
}

static bool ops_peer(void *self, size_t i, struct tunnel_peer_info *out)
{
	struct tunnel *t = self;
	const struct peer *p = i < t->n_peers ? t->peers[i] : NULL;

	if (!p)
		return false;
	*out = (struct tunnel_peer_info){
		.id = p->id,
		.name = p->name,
		.host = t->env->role == CONF_ROLE_C && p->wanted ? p->host : NULL,
		.up = control_is_up(p->control),
		.n_connections = peer_n_up(p),
		.system_name = p->system_name,
		.skew_ms = p->skew_ms,
	};
	return true;
}

static const struct tunnel_ops ops = {
	.open = ops_open,
	.accept = ops_accept,
	.publish = ops_publish,
	.put = ops_put,
	.del = ops_del,
	.subscribe = ops_subscribe,
	.serve = ops_serve,
	.reply = ops_reply,
	.call = ops_call,
	.call_cancel = ops_call_cancel,
	.n_peers = ops_n_peers,
	.peer = ops_peer,
};

/* --- settings --- */

static void use_snapshot(struct tunnel *t, const struct conf_snapshot *snap)
{
	const struct conf_snapshot *old = t->snap;
	const struct system_conf *sys;

	t->snap = conf_ref(snap);
	t->conf = conf_get(snap, "tunnel", NULL);
	sys = conf_get(snap, "system", NULL);
	t->control_conf.name = sys && sys->name ? sys->name : "turnpike";
	t->control_conf.keepalive_ms = t->conf->keepalive_ms;
	t->control_conf.dead_after_ms = t->conf->dead_after_ms;
	if (old)
		conf_unref(old);
}

/* The key as it is in the file now; the old one stays when that cannot be read. */
static int load_key(struct tunnel *t, struct buf *errors)
{
	char why[256];
	ssh_key key;
	int error;

	if (!t->conf->key) {
		ssh_key_free(t->key);
		t->key = NULL;
		return 0;
	}
	error = keys_load(t->conf->key, &key, why, sizeof(why));
	if (error < 0) {
		buf_printf(errors, "[tunnel] key: %s: %s\n", t->conf->key, why);
		return error;
	}
	ssh_key_free(t->key);
	t->key = key;
	return 0;
}

static int configure(struct tunnel *t)
{
	struct buf errors;
	int error;

	buf_init(&errors, 8192);
	error = load_key(t, &errors);
	if (error == 0 && t->env->role == CONF_ROLE_E)
		error = ssh_server_configure(t, &errors);
	if (error == 0)
		error = peers_configure(t);
	if (errors.n > 0)
		log_error(t->env->log, "tunnel.configure", "reason=%s",
			  log_esc(buf_slice(&errors)));
	buf_fini(&errors);
	return error;
}

/* --- commands --- */

static int ctl_tunnels(void *self, const struct ctl_request *r, json_t **out)
{
	struct tunnel *t = self;
	json_t *peers = json_array();
	uint8_t hash[KEYS_HASH_BYTES];
	char text[KEYS_TEXT_BYTES] = "";

	for (size_t i = 0; i < t->n_peers; i++) {
		if (t->peers[i]->wanted || t->peers[i]->slots[0].conn)
			json_array_append_new(peers, peer_json(t->peers[i]));
	}
	if (t->key && keys_hash(t->key, hash) == 0)
		keys_fingerprint(hash, text);
	*out = json_pack("{s:s, s:o}", "fingerprint", text, "tunnels", peers);
	return 200;
}

static const struct ctl_command commands[] = {
	{ "tunnels", false, ctl_tunnels },
	{ NULL, false, NULL },
};

/* --- life --- */

static void tunnel_fini(void *self)
{
	struct tunnel *t = self;

	t->stopping = true;
	ssh_server_stop(t);
	ssh_conns_free(t);
	peers_free(t);
	control_hub_free(t->hub);
	net_limits_free(t->limits);
	ssh_bind_free(t->bind);
	ssh_key_free(t->key);
	if (t->snap)
		conf_unref(t->snap);
	free(t);
}

static void make_boot(struct tunnel *t)
{
	uint8_t random[8];
	struct buf b;

	net_random(random, sizeof(random));
	buf_init(&b, 32);
	hex_encode(&b, random, sizeof(random));
	slice_copy(t->control_conf.boot, sizeof(t->control_conf.boot), buf_slice(&b));
	buf_fini(&b);
}

static int tunnel_init(struct env *env, void **self)
{
	struct tunnel *t = calloc(1, sizeof(*t));
	int error;

	if (!t)
		return -ENOMEM;
	t->env = env;
	list_init(&t->conns);
	net_random(t->seed, sizeof(t->seed));
	use_snapshot(t, conf_current(env->conf));
	t->control_conf.software = "turnpike " TURNPIKE_VERSION;
	make_boot(t);
	t->limits = net_limits_new(t->seed);
	t->hub = control_hub_new(loop_timers(env->loop), &t->control_conf, &peer_control_ops, t,
				 t->seed);
	error = t->limits && t->hub ? service_offer(env->modules, TUNNEL_SERVICE, &ops, t)
				    : -ENOMEM;
	if (error < 0) {
		tunnel_fini(t);
		return error;
	}
	*self = t;
	return 0;
}

static int tunnel_start(void *self)
{
	struct tunnel *t = self;
	int error = configure(t);

	return error < 0 ? error : ctl_add(t->env->ctl, commands, t);
}

static int tunnel_prepare(void *self, const struct conf_snapshot *next, struct buf *errors)
{
	struct tunnel *t = self;

	return t->env->role == CONF_ROLE_E ? ssh_server_prepare(t, next, errors) : 0;
}

static void tunnel_reload(void *self, const struct conf_snapshot *old,
			  const struct conf_snapshot *next)
{
	struct tunnel *t = self;

	use_snapshot(t, next);
	configure(t);
	peers_retry_now(t);
}

static void tunnel_drain(void *self)
{
	struct tunnel *t = self;

	t->draining = true;
	LIST_FOREACH (it, &t->conns) {
		struct ssh_conn *c = CONTAINER_OF(it, struct ssh_conn, node);

		if (c->link)
			control_link_bye(c->link);
	}
}

static bool tunnel_drained(void *self)
{
	struct tunnel *t = self;

	LIST_FOREACH (it, &t->conns) {
		struct ssh_conn *c = CONTAINER_OF(it, struct ssh_conn, node);

		if (c->n_chans > (c->control_chan ? 1u : 0u))
			return false;
	}
	return true;
}

static void tunnel_stop(void *self)
{
	struct tunnel *t = self;

	t->stopping = true;
	ssh_server_stop(t);
	ssh_conns_free(t);
}

static void tunnel_status(void *self, json_t *out)
{
	struct tunnel *t = self;
	unsigned up = 0, conns = 0, streams = 0, peers = 0;

	for (size_t i = 0; i < t->n_peers; i++) {
		peers += t->peers[i]->wanted;
		up += control_is_up(t->peers[i]->control);
		conns += peer_n_up(t->peers[i]);
	}
	LIST_FOREACH (it, &t->conns) {
		struct ssh_conn *c = CONTAINER_OF(it, struct ssh_conn, node);

		streams += c->n_chans - (c->control_chan ? 1 : 0);
	}
	json_object_set_new(out, "peers", json_integer(peers));
	json_object_set_new(out, "peers-up", json_integer(up));
	json_object_set_new(out, "connections", json_integer(conns));
	json_object_set_new(out, "streams", json_integer(streams));
	json_object_set_new(out, "unknown-keys", json_integer((json_int_t)t->n_refused_keys));
}

static const struct conf_section *const sections[] = { &tunnel_conf_section,
						       &tunnel_peer_conf_section, NULL };

const struct module tunnel_module = {
	.name = "tunnel",
	.roles = CONF_ROLE_BOTH,
	.sections = sections,
	.init = tunnel_init,
	.start = tunnel_start,
	.prepare = tunnel_prepare,
	.reload = tunnel_reload,
	.drain = tunnel_drain,
	.drained = tunnel_drained,
	.stop = tunnel_stop,
	.fini = tunnel_fini,
	.status = tunnel_status,
};
