/* E: the port where C dials in. A key names the peer, the user name the slot; then one control
 * channel, and nothing else that a client could ask. */
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/acceptor.h"
#include "core/alarm.h"
#include "core/log.h"
#include "core/trace.h"
#include "tunnel/channel.h"
#include "tunnel/ssh_algorithms.h"

#define BACKLOG	     128
#define MAX_AUTHS    6
#define MAX_ADVANCES 16

/* --- login --- */

/* "turnpike-3": the slot, or -1. */
static int slot_of(const char *user)
{
	size_t n = sizeof(TUNNEL_USER_PREFIX) - 1;

	if (strncmp(user, TUNNEL_USER_PREFIX, n) != 0 || user[n] < '0' ||
	    user[n] >= '0' + TUNNEL_MAX_SLOTS || user[n + 1])
		return -1;
	return user[n] - '0';
}

static void unknown_key(struct ssh_conn *c, const uint8_t hash[KEYS_HASH_BYTES])
{
	struct tunnel *t = c->t;
	char text[KEYS_TEXT_BYTES];

	t->n_refused_keys++;
	memcpy(t->last_unknown, hash, KEYS_HASH_BYTES);
	keys_fingerprint(hash, text);
	/* No alarm: anybody who can reach the port can cause it. */
	trace_add(t->env->trace, "tunnel.key.unknown", "[tunnel-peer]", &c->conn.remote, NULL,
		  "no [tunnel-peer] has the key %s", text);
	log_info(t->env->log, "tunnel.key.unknown", "fingerprint=%s", text);
}

static bool too_many_tries(struct ssh_conn *c)
{
	if (++c->n_auth <= MAX_AUTHS)
		return false;
	ssh_conn_close(c, "too many tries to log in");
	return true;
}

static int on_pubkey(ssh_session session, const char *user, ssh_key key, char state, void *arg)
{
	struct ssh_conn *c = arg;
	uint8_t hash[KEYS_HASH_BYTES];
	struct peer *p;
	int slot = slot_of(user ? user : "");

	if (c->state != SSH_CONN_AUTH || too_many_tries(c) || keys_hash(key, hash) < 0)
		return SSH_AUTH_DENIED;
	p = peer_by_hash(c->t, hash);
	if (!p) {
		unknown_key(c, hash);
		return SSH_AUTH_DENIED;
	}
	if (slot < 0) {
		trace_add(c->t->env->trace, "tunnel.user.unknown", "[tunnel]", &c->conn.remote,
			  NULL, "%s logs in as '%s'", p->name, user ? user : "");
		return SSH_AUTH_DENIED;
	}
	/* Only asks whether the key would do; the signature comes next. */
	if (state == SSH_PUBLICKEY_STATE_NONE)
		return SSH_AUTH_SUCCESS;
	if (state != SSH_PUBLICKEY_STATE_VALID)
		return SSH_AUTH_DENIED;
	c->peer = p;
	memcpy(c->peer_hash, hash, sizeof(c->peer_hash));
	c->peer_proved = true;
	c->slot = (unsigned)slot;
	return SSH_AUTH_SUCCESS;
}

/* Without it libssh would look for Kerberos keys, and for names, by itself. */
static ssh_string on_gssapi(ssh_session session, const char *user, int n_oid, ssh_string *oids,
			    void *arg)
{
	too_many_tries(arg);
	return NULL;
}

/* --- what a client may ask --- */

static int take_control_channel(struct ssh_conn *c, ssh_message m)
{
	ssh_channel channel;
	struct chan *ch;

	if (c->control_chan || c->pending) {
		ssh_conn_refused(c, "tunnel.refused", "a second session channel");
		return 1;
	}
	channel = ssh_message_channel_request_open_reply_accept(m);
	if (!channel)
		return 0;
	ch = chan_peer_is_sane(channel) ? chan_new(c, channel, CHAN_OPEN, TUNNEL_SUBSYSTEM) : NULL;
	if (!ch) {
		ssh_conn_close(c, "cannot work with its control channel");
		return 0;
	}
	/* Not a control channel before the subsystem was asked for. */
	c->pending = channel;
	c->pending_chan = ch;
	return 0;
}

static int on_channel_open(struct ssh_conn *c, ssh_message m)
{
	static const struct {
		int subtype;
		const char *name;
	} names[] = {
		{ SSH_CHANNEL_DIRECT_TCPIP, "direct-tcpip" },
		{ SSH_CHANNEL_FORWARDED_TCPIP, "forwarded-tcpip" },
		{ SSH_CHANNEL_X11, "x11" },
		{ SSH_CHANNEL_AUTH_AGENT, "auth-agent" },
	};
	const char *name = "an unknown channel", *to = NULL;
	int subtype = ssh_message_subtype(m);

	if (subtype == SSH_CHANNEL_SESSION)
		return take_control_channel(c, m);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (names[i].subtype == subtype)
			name = names[i].name;
	}
	if (subtype == SSH_CHANNEL_DIRECT_TCPIP || subtype == SSH_CHANNEL_FORWARDED_TCPIP)
		to = ssh_message_channel_request_open_destination(m);
	ssh_conn_refused(c, "tunnel.refused", "%s%s%.80s", name, to ? " to " : "", to ? to : "");
	return 1;
}

static const char *request_name(int subtype)
{
	switch (subtype) {
	case SSH_CHANNEL_REQUEST_PTY:
		return "a terminal";
	case SSH_CHANNEL_REQUEST_EXEC:
		return "a command";
	case SSH_CHANNEL_REQUEST_SHELL:
		return "a shell";
	case SSH_CHANNEL_REQUEST_ENV:
		return "an environment variable";
	case SSH_CHANNEL_REQUEST_SUBSYSTEM:
		return "a subsystem";
	case SSH_CHANNEL_REQUEST_X11:
		return "x11";
	default:
		return "an unknown channel request";
	}
}

static int on_channel_request(struct ssh_conn *c, ssh_message m)
{
	const char *name = NULL;

	if (ssh_message_subtype(m) == SSH_CHANNEL_REQUEST_SUBSYSTEM)
		name = ssh_message_channel_request_subsystem(m);
	if (name && strcmp(name, TUNNEL_SUBSYSTEM) == 0 && c->pending_chan &&
	    ssh_message_channel_request_channel(m) == c->pending) {
		ssh_message_channel_request_reply_success(m);
		c->control_asked = true;
		return 0;
	}
	ssh_conn_refused(c, "tunnel.refused", "%s%s%.80s", request_name(ssh_message_subtype(m)),
			 name ? " " : "", name ? name : "");
	return 1;
}

/* 0: done; 1: libssh refuses it. */
static int on_message(ssh_session session, ssh_message m, void *arg)
{
	struct ssh_conn *c = arg;

	switch (ssh_message_type(m)) {
	case SSH_REQUEST_AUTH:
		too_many_tries(c);
		return 1;
	case SSH_REQUEST_SERVICE:
		return 1; /* which libssh takes as yes */
	case SSH_REQUEST_CHANNEL_OPEN:
		return on_channel_open(c, m);
	case SSH_REQUEST_CHANNEL:
		return on_channel_request(c, m);
	case SSH_REQUEST_GLOBAL:
		ssh_conn_refused(c, "tunnel.refused", "a port forwarding of %.80s:%d",
				 ssh_message_global_request_address(m),
				 ssh_message_global_request_port(m));
		return 1;
	default:
		return 1;
	}
}

/* --- its states --- */

static void key_exchange(struct ssh_conn *c)
{
	for (int i = 0; i < MAX_ADVANCES; i++) {
		uint64_t before = c->socket_count.in_bytes;
		int rc = ssh_handle_key_exchange(c->session);

		if (rc == SSH_ERROR) {
			ssh_conn_close(c, "key exchange: %s", ssh_get_error(c->session));
			return;
		}
		if (rc == SSH_OK) {
			if (ssh_conn_authenticated(c) < 0)
				ssh_conn_close(c, "out of memory");
			else
				ssh_conn_set_state(c, SSH_CONN_AUTH);
			return;
		}
		if (c->socket_count.in_bytes == before &&
		    !(ssh_get_status(c->session) & SSH_WRITE_PENDING))
			return;
	}
}

void ssh_server_advance(struct ssh_conn *c)
{
	if (c->state == SSH_CONN_KEX)
		key_exchange(c);
	if (c->state == SSH_CONN_AUTH && c->peer) {
		if (c->limited) {
			net_limits_leave(c->t->limits, &c->conn.remote);
			c->limited = false;
		}
		ssh_conn_set_state(c, SSH_CONN_OPENING);
		peer_conn_enter(c->peer, c->slot, c);
	}
	if (c->state == SSH_CONN_OPENING && c->control_asked) {
		struct chan *ch = c->pending_chan;

		c->control_asked = false;
		c->pending_chan = NULL;
		ssh_conn_control(c, ch);
	}
}

static int start_session(struct ssh_conn *c)
{
	struct tunnel *t = c->t;
	uint64_t rekey_bytes = t->conf->rekey_bytes;
	uint32_t rekey_s = t->conf->rekey_after_ms / 1000;
	int fd;

	c->session = ssh_new();
	/* libssh closes its descriptor when it likes: it gets one of its own. */
	fd = c->session ? dup(c->fd) : -1;
	if (fd < 0)
		return -ENOMEM;
	if (ssh_bind_accept_fd(t->bind, c->session, fd) != SSH_OK)
		return -EIO;
	ssh_options_set(c->session, SSH_OPTIONS_REKEY_DATA, &rekey_bytes);
	ssh_options_set(c->session, SSH_OPTIONS_REKEY_TIME, &rekey_s);
	ssh_options_set(c->session, SSH_OPTIONS_COMPRESSION, "no");
	ssh_set_blocking(c->session, 0);
	ssh_set_counters(c->session, &c->socket_count, &c->raw_count);
	ssh_set_auth_methods(c->session, SSH_AUTH_METHOD_PUBLICKEY);
	c->server_callbacks.userdata = c;
	c->server_callbacks.auth_pubkey_function = on_pubkey;
	c->server_callbacks.gssapi_select_oid_function = on_gssapi;
	ssh_callbacks_init(&c->server_callbacks);
	ssh_set_server_callbacks(c->session, &c->server_callbacks);
	ssh_set_message_callback(c->session, on_message, c);
	return 0;
}

/* --- the listener --- */

static void refuse(struct tunnel *t, int fd, const struct addr *from, const char *why)
{
	struct conn gone = { .kind = CONN_TUNNEL, .transport = CONN_TCP, .remote = *from };

	trace_add(t->env->trace, "tunnel.limit", "[tunnel]", from, NULL, "%s", why);
	conn_refused(t->env->conns, &gone, "%s", why);
	close(fd);
}

static void on_accept(void *arg, int fd, const struct addr *from)
{
	struct tunnel *t = arg;
	enum net_verdict v = net_limits_enter(t->limits, from, loop_now_ms(t->env->loop));
	struct ssh_conn *c;
	int error;

	if (v != NET_OK) {
		refuse(t, fd, from, net_verdict_str(v));
		return;
	}
	error = net_accepted(fd);
	if (error < 0) {
		net_limits_leave(t->limits, from);
		refuse(t, fd, from, strerror(-error));
		return;
	}
	c = ssh_conn_new(t, fd, true);
	if (!c) {
		net_limits_leave(t->limits, from);
		return;
	}
	c->conn.remote = *from;
	c->limited = true;
	error = start_session(c);
	if (error == 0)
		error = ssh_conn_start(c);
	if (error < 0)
		ssh_conn_close(c, "cannot be served: %s", strerror(-error));
}

static int make_bind(struct tunnel *t)
{
	ssh_bind b = ssh_bind_new();
	ssh_key key = ssh_key_dup(t->key);
	bool no = false;
	int bad = 0;

	if (!b || !key) {
		ssh_bind_free(b);
		ssh_key_free(key);
		return -ENOMEM;
	}
	bad |= ssh_bind_options_set(b, SSH_BIND_OPTIONS_PROCESS_CONFIG, &no);
	bad |= ssh_bind_options_set(b, SSH_BIND_OPTIONS_KEY_EXCHANGE, SSH_KEX_LIST);
	bad |= ssh_bind_options_set(b, SSH_BIND_OPTIONS_CIPHERS_C_S, SSH_CIPHER_LIST);
	bad |= ssh_bind_options_set(b, SSH_BIND_OPTIONS_CIPHERS_S_C, SSH_CIPHER_LIST);
	bad |= ssh_bind_options_set(b, SSH_BIND_OPTIONS_HMAC_C_S, SSH_MAC_LIST);
	bad |= ssh_bind_options_set(b, SSH_BIND_OPTIONS_HMAC_S_C, SSH_MAC_LIST);
	bad |= ssh_bind_options_set(b, SSH_BIND_OPTIONS_PUBKEY_ACCEPTED_KEY_TYPES, SSH_KEY_LIST);
	bad |= ssh_bind_options_set(b, SSH_BIND_OPTIONS_HOSTKEY_ALGORITHMS, SSH_KEY_LIST);
	if (bad == 0)
		bad = ssh_bind_options_set(b, SSH_BIND_OPTIONS_IMPORT_KEY, key);
	if (bad) {
		log_error(t->env->log, "tunnel.ssh", "reason=%s",
			  log_esc(slice_of(ssh_get_error(b))));
		ssh_bind_free(b);
		ssh_key_free(key);
		return -EINVAL;
	}
	ssh_bind_free(t->bind);
	t->bind = b;
	return 0;
}

static void stop_listening(struct tunnel *t)
{
	for (int i = 0; i < 2; i++) {
		if (t->listeners[i]) {
			acceptor_free(t->listeners[i]);
			conn_end(t->env->conns, &t->listen_conns[i], "closed");
		}
		t->listeners[i] = NULL;
	}
	memset(&t->listening, 0, sizeof(t->listening));
}

static int listen_on(struct tunnel *t, int i, const struct addr *a)
{
	int fd = net_listen_tcp(a, BACKLOG), error;
	struct addr local;

	if (fd < 0)
		return fd;
	local = net_local_addr(fd);
	t->listeners[i] = acceptor_new(t->env, fd, on_accept, t, &error);
	if (!t->listeners[i])
		return error;
	t->listen_conns[i] = (struct conn){ .kind = CONN_LISTENER, .transport = CONN_TCP };
	t->listen_conns[i].local = local;
	t->listen_conns[i].state = "listening";
	slice_copy(t->listen_conns[i].zone, CONN_ZONE_BYTES, SLICE("tunnel"));
	return conn_add(t->env->conns, &t->listen_conns[i]);
}

/* The addresses to listen on; returns how many. */
static int wanted_addresses(const struct tunnel_conf *conf, struct addr out[2])
{
	if (conf->address.family != ADDR_NONE) {
		out[0] = conf->address;
		out[0].port = (uint16_t)conf->port;
		return 1;
	}
	addr_parse_ip(SLICE("0.0.0.0"), (uint16_t)conf->port, &out[0]);
	addr_parse_ip(SLICE("::"), (uint16_t)conf->port, &out[1]);
	return 2;
}

static int start_listening(struct tunnel *t, struct buf *errors)
{
	struct addr a[2];
	int n = wanted_addresses(t->conf, a), error = 0;
	char text[ADDR_STR_BYTES];

	for (int i = 0; i < n && error == 0; i++) {
		error = listen_on(t, i, &a[i]);
		/* A host without IPv6 still has the other one. */
		if (i == 1 && error == -EAFNOSUPPORT)
			error = 0;
		if (error)
			buf_printf(errors, "[tunnel] port: cannot listen on %s: %s\n",
				   addr_str(&a[i], text), strerror(-error));
	}
	if (error)
		stop_listening(t);
	else
		t->listening = a[0];
	return error;
}

static bool any_peer(const struct conf_snapshot *snap)
{
	const struct tunnel_peer_conf *p = NULL;

	while ((p = conf_next(snap, "tunnel-peer", p))) {
		if (p->enabled)
			return true;
	}
	return false;
}

int ssh_server_prepare(struct tunnel *t, const struct conf_snapshot *next, struct buf *errors)
{
	const struct tunnel_conf *conf = conf_get(next, "tunnel", NULL);
	struct addr a[2];
	int n = wanted_addresses(conf, a);
	char text[ADDR_STR_BYTES];

	if (!any_peer(next) || addr_eq(&a[0], &t->listening))
		return 0;
	for (int i = 0; i < n; i++) {
		int fd = net_listen_tcp(&a[i], 1);

		if (fd >= 0) {
			close(fd);
		} else if (i == 0 || fd != -EAFNOSUPPORT) {
			buf_printf(errors, "[tunnel] port: cannot listen on %s: %s\n",
				   addr_str(&a[i], text), strerror(-fd));
			return -EINVAL;
		}
	}
	return 0;
}

int ssh_server_configure(struct tunnel *t, struct buf *errors)
{
	struct net_limits_conf limits = {
		.max_total = t->conf->max_unauthenticated,
		.new_per_second = t->conf->new_per_second,
	};
	struct addr a[2];
	int error;

	net_limits_configure(t->limits, &limits);
	if (!any_peer(t->snap) || !t->key) {
		stop_listening(t);
		return 0;
	}
	error = make_bind(t);
	if (error < 0) {
		buf_printf(errors, "[tunnel] key: cannot be used\n");
		return error;
	}
	wanted_addresses(t->conf, a);
	if (addr_eq(&a[0], &t->listening))
		return 0;
	stop_listening(t);
	return start_listening(t, errors);
}

void ssh_server_stop(struct tunnel *t)
{
	stop_listening(t);
}
