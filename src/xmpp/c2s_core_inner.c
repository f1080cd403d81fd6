/*
 * The leg to the IM server: finding, dialling, and agreeing up to the features under TLS.
 *
 *   HEADER --header--> FEATURES --starttls--> PROCEED --proceed--> TLS --handshake--> HEADER
 *   FEATURES --(no STARTTLS wanted, or under it)--> READY
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "xmpp/c2s_core_impl.h"

static void dial(struct core_stream *s);

static struct im_node node_of(const struct core_stream *s)
{
	const struct core_node *n = &s->login->nodes[s->login->at];

	return (struct im_node){
		.server = n->server, .host = n->host, .port = n->port, .domain = s->domain
	};
}

void core_drop_inner(struct core_stream *s)
{
	timer_stop(loop_timers(s->core->env->loop), &s->agree_timer);
	xmpp_free(s->inner);
	s->inner = NULL;
	s->inner_state = INNER_NONE;
	s->inner_tls = false;
}

void core_node_failed(struct core_stream *s, const char *fmt, ...)
{
	struct im_node node = node_of(s);
	char why[200], by[100];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	core_drop_inner(s);
	snprintf(by, sizeof(by), "[im-server %s]", node.server);
	core_trace(s, "xmpp.core.node-failed", by, "%s:%u: %s", node.host, node.port, why);
	s->core->ops->report(s->core->arg, &node, false, why);
	s->login->at++;
	dial(s);
}

void core_send_inner_header(struct core_stream *s, const char *from, const char *lang)
{
	const struct xmpp_header h = {
		.to = s->domain, .from = from, .lang = lang, .version = "1.0"
	};

	xmpp_send_header(s->inner, &h);
}

static void begin(struct core_stream *s)
{
	const struct core_login *l = s->login;
	bool clear = l->nodes[l->at].tls == XMPP_INNER_STARTTLS && !s->inner_tls;

	s->inner_state = INNER_HEADER;
	/* Who it is, is said under TLS only (RFC 6120 section 4.7.1). */
	core_send_inner_header(s, clear ? NULL : l->from, l->lang);
}

/* --- what the server says --- */

static void inner_header(void *arg, const struct xmpp_header *h)
{
	struct core_stream *s = arg;

	if (s->state == CORE_RELAY && s->header_due) {
		const struct xmpp_header out = {
			.from = s->domain, .id = h->id, .lang = h->lang, .version = "1.0"
		};

		s->header_due = false;
		timer_stop(loop_timers(s->core->env->loop), &s->timer);
		xmpp_send_header(s->outer, &out);
		return;
	}
	if (s->inner_state != INNER_HEADER)
		return;
	if (!h->version || !slice_starts(slice_of(h->version), SLICE("1."))) {
		core_node_failed(s, "speaks no XMPP 1.0");
		return;
	}
	free(s->login->id);
	s->login->id = h->id ? slice_dup(slice_of(h->id)) : NULL;
	s->inner_state = INNER_FEATURES;
}

static void start_tls(struct core_stream *s)
{
	struct im_node node = node_of(s);
	struct stream *socket;

	if (xmpp_tls_begin(s->inner) > 0) {
		core_node_failed(s, "sends something behind <proceed/> in the clear");
		return;
	}
	s->inner_state = INNER_TLS;
	socket = xmpp_socket(s->inner);
	if (!socket || s->core->ops->start_tls(s->core->arg, &node, s->domain, socket) < 0)
		core_node_failed(s, "TLS cannot be started: see `ca` of the section");
}

static void ask_for_tls(struct core_stream *s, struct xml_arena *a)
{
	struct xml_node *e = xml_node_new(a, NULL, XMPP_TLS, "starttls");

	if (!e) {
		core_node_failed(s, "out of memory");
		return;
	}
	s->inner_state = INNER_PROCEED;
	xmpp_send(s->inner, e);
}

static void take_features(struct core_stream *s, struct xml_node *e, struct xml_arena *a)
{
	struct core_login *l = s->login;
	const struct core_node *n = &l->nodes[l->at];
	const struct features_policy p = { .external = n->external && l->preface.n_addrs > 0,
					   .keep_binding = s->core->keep_binding };
	struct im_node node = node_of(s);
	struct features_found found;

	features_filter(e, NULL, &found);
	if (n->tls == XMPP_INNER_STARTTLS && !s->inner_tls) {
		if (found.starttls)
			ask_for_tls(s, a);
		else
			core_node_failed(s, "offers no STARTTLS, which `tls` of the section wants");
		return;
	}
	s->core->ops->binding(s->core->arg, &node, found.had_binding && !p.keep_binding);
	features_filter(e, &p, &found);
	if (found.n_mechanisms == 0) {
		core_node_failed(s, "offers no SASL mechanism that can be used from outside");
		return;
	}
	timer_stop(loop_timers(s->core->env->loop), &s->agree_timer);
	s->inner_state = INNER_READY;
	s->core->ops->report(s->core->arg, &node, true, "");
	core_agreed(s, e);
}

static void inner_error(struct core_stream *s, struct xml_node *e)
{
	const struct xml_node *c = xml_node_child(e, XMPP_STREAM_ERROR, NULL);

	if (s->state == CORE_RELAY || s->state == CORE_RESTART || s->state == CORE_ENDING)
		core_relay_error(s, e);
	else if (s->inner_state == INNER_READY)
		core_fail(s, XMPP_REMOTE_CONNECTION_FAILED, "xmpp.core.server-error", s->conn.zone,
			  "the server ends the stream: %s", c ? c->name : "");
	else
		core_node_failed(s, "ends the stream: %s", c ? c->name : "without a reason");
}

static void inner_element(void *arg, struct xml_node *e, struct xml_arena *a)
{
	struct core_stream *s = arg;

	if (xml_node_is(e, XMPP_STREAMS, "error")) {
		inner_error(s, e);
		return;
	}
	switch (s->inner_state) {
	case INNER_FEATURES:
		if (xml_node_is(e, XMPP_STREAMS, "features"))
			take_features(s, e, a);
		else
			core_node_failed(s, "sends <%.40s/> for its features", e->name);
		break;
	case INNER_PROCEED:
		if (xml_node_is(e, XMPP_TLS, "proceed"))
			start_tls(s);
		else
			core_node_failed(s, "refuses STARTTLS");
		break;
	case INNER_READY:
		if (s->state == CORE_RELAY || s->state == CORE_ENDING)
			core_relay_inner(s, e, a);
		else
			core_auth_inner(s, e, a);
		break;
	default:
		break;
	}
}

static void inner_tls(void *arg)
{
	struct core_stream *s = arg;

	if (s->inner_state != INNER_TLS)
		return;
	s->inner_tls = true;
	s->conn.transport = CONN_TLS;
	begin(s);
}

static void inner_writable(void *arg)
{
	core_relay_inner_room(arg);
}

static void inner_space(void *arg)
{
	struct core_stream *s = arg;

	if (s->state == CORE_RELAY)
		xmpp_send_space(s->outer);
}

static void inner_end(void *arg)
{
	struct core_stream *s = arg;

	if (s->state == CORE_RELAY) {
		core_set_state(s, CORE_ENDING);
		xmpp_end(s->outer);
		xmpp_end(s->inner);
	} else if (s->state == CORE_ENDING) {
		xmpp_end(s->inner);
	} else if (s->inner_state == INNER_READY) {
		core_fail(s, XMPP_REMOTE_CONNECTION_FAILED, "xmpp.core.server-ended", s->conn.zone,
			  "the server ended the stream while the user signed in");
	} else {
		core_node_failed(s, "ended the stream");
	}
}

static void inner_closed(void *arg, enum xmpp_end how, enum xmpp_condition condition,
			 const char *why)
{
	struct core_stream *s = arg;

	if (s->state == CORE_ENDING) {
		core_drop_inner(s);
		xmpp_end(s->outer);
		/* E has taken its leave already, without a connection. */
		if (!xmpp_socket(s->outer) && !xmpp_is_parked(s->outer))
			core_over(s, why);
	} else if (s->inner_state != INNER_READY) {
		core_node_failed(s, "%s", why);
	} else if (how == XMPP_END_ERROR) {
		core_fail(s, XMPP_INTERNAL_SERVER_ERROR, "xmpp.core.server-refused", s->conn.zone,
			  "what the server sent was refused, %s: %s", xmpp_condition_str(condition),
			  why);
	} else if (s->login) {
		core_fail(s, XMPP_REMOTE_CONNECTION_FAILED, "xmpp.core.server-lost", s->conn.zone,
			  "the server is gone while the user signed in: %s", why);
	} else {
		core_trace(s, "xmpp.core.server-lost", s->conn.zone, "%s", why);
		core_cut(s, why);
	}
}

static const struct xmpp_stream_handler inner_handler = {
	.header = inner_header,
	.element = inner_element,
	.space = inner_space,
	.end = inner_end,
	.writable = inner_writable,
	.tls = inner_tls,
	.closed = inner_closed,
};

/* --- dialling --- */

/* xmpp_stream_new() puts its own in place before anything can be called. */
static const struct stream_handler no_handler;

static struct xmpp_stream *connect_node(struct core_stream *s, int *error)
{
	struct im_node node = node_of(s);
	const struct addr *client = s->client.family == ADDR_NONE ? NULL : &s->client;
	struct xmpp_stream_conf conf;
	struct stream *socket;

	socket = s->core->ops->connect(s->core->arg, &node, client, &no_handler, s, error);
	if (!socket)
		return NULL;
	s->conn.local = socket->local;
	s->conn.remote = socket->remote;
	s->conn.transport = socket->is_tls ? CONN_TLS : CONN_TCP;
	slice_copy(s->conn.zone, sizeof(s->conn.zone), slice_of(node.server));
	core_stream_conf(s, &conf);
	conf.limits = core_inner_limits(s);
	*error = -ENOMEM;
	return xmpp_stream_new(&conf, socket, &inner_handler, s);
}

/* The next node of those that were found. */
static void dial(struct core_stream *s)
{
	struct core_login *l = s->login;
	int error = 0;

	while (l->at < l->n_nodes && l->n_tries < CORE_MAX_TRIES) {
		struct im_node node = node_of(s);

		l->n_tries++;
		s->inner = connect_node(s, &error);
		if (s->inner)
			break;
		s->core->ops->report(s->core->arg, &node, false, strerror(-error));
		l->at++;
	}
	if (!s->inner) {
		core_fail(s, XMPP_REMOTE_CONNECTION_FAILED, "xmpp.core.no-server", "[im-server]",
			  "none of the %zu servers of %s can be used", l->n_nodes, s->domain);
		return;
	}
	timer_start(loop_timers(s->core->env->loop), &s->agree_timer, CORE_AGREE_MS);
	begin(s);
}

/* --- finding --- */
static bool add_node(struct core_login *l, const struct im_node *n)
{
	struct core_node *c = &l->nodes[l->n_nodes];

	c->server = slice_dup(slice_of(n->server));
	c->host = slice_dup(slice_of(n->host));
	c->port = n->port;
	c->external = n->conf && n->conf->sasl_external;
	c->tls = n->conf ? n->conf->tls : XMPP_INNER_STARTTLS;
	l->n_nodes++;
	return c->server && c->host;
}

static bool take_nodes(struct core_stream *s, const struct im_node *nodes, size_t n)
{
	struct core_login *l = s->login;
	bool good = true;

	core_forget_nodes(l);
	l->n_tries = 0;
	for (size_t i = 0; good && i < n && i < CORE_MAX_NODES; i++)
		good = add_node(l, &nodes[i]);
	return good && n > 0;
}

static void none(struct core_stream *s, const char *why)
{
	core_fail(s, XMPP_REMOTE_CONNECTION_FAILED, "xmpp.core.no-server", "[im-server]",
		  "no server for %s: %s", s->domain, why);
}

static void found(void *arg, const struct im_node *nodes, size_t n, const char *why)
{
	struct core_stream *s = arg;

	s->find_id = 0;
	if (!take_nodes(s, nodes, n)) {
		none(s, n ? "out of memory" : why);
		return;
	}
	core_set_state(s, CORE_DIALLING);
	dial(s);
}

void core_find(struct core_stream *s, char *key)
{
	struct c2s_core *c = s->core;

	free(s->login->key);
	s->login->key = key;
	core_set_state(s, CORE_FINDING);
	s->find_id = c->ops->find(c->arg, s->domain, key, found, s);
	if (!s->find_id)
		none(s, "too many searches, or no [im-server]");
}

/* The user's node is the first living one; what is not known to live is no reason to leave. */
static bool is_elsewhere(const struct core_stream *s, const struct im_node *nodes, size_t n)
{
	const struct core_node *now = &s->login->nodes[s->login->at];

	return n > 0 && nodes[0].alive &&
	       !(nodes[0].port == now->port && strcmp(nodes[0].host, now->host) == 0 &&
		 strcmp(nodes[0].server, now->server) == 0);
}

static void found_home(void *arg, const struct im_node *nodes, size_t n, const char *why)
{
	struct core_stream *s = arg;
	struct core_login *l = s->login;

	s->find_id = 0;
	free(l->key);
	l->key = l->new_key;
	l->new_key = NULL;
	if (!is_elsewhere(s, nodes, n)) {
		core_home_is_here(s);
		return;
	}
	core_drop_inner(s);
	if (!take_nodes(s, nodes, n)) {
		none(s, "out of memory");
		return;
	}
	core_set_state(s, CORE_REHOMING);
	dial(s);
}

void core_find_home(struct core_stream *s, char *key)
{
	struct c2s_core *c = s->core;

	free(s->login->new_key);
	s->login->new_key = key;
	core_set_state(s, CORE_FINDING_HOME);
	s->find_id = c->ops->find(c->arg, s->domain, key, found_home, s);
	if (!s->find_id)
		core_home_is_here(s);
}
