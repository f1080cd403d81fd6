/* C: dials E, trusts only the host keys of [tunnel-peer], opens the control channel, and takes the
 * streams that E opens for purposes that a module here serves. */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/alarm.h"
#include "core/log.h"
#include "core/trace.h"
#include "tunnel/channel.h"
#include "tunnel/ssh_algorithms.h"

#define MAX_ADVANCES 16
#define MAX_FD	     65535 /* libssh keeps sixteen bits of it */

/* --- what E may ask --- */

static void hostile(struct ssh_conn *c, const char *code, const char *what)
{
	struct env *env = c->t->env;

	alarm_raise(env->alarms, "tunnel-hostile", c->peer->name, ALARM_CRITICAL,
		    "Find out what runs on that box: turnpike does not ask for this.",
		    "%s asked for %s; refused", c->peer->name, what);
	ssh_conn_refused(c, code, "%s", what);
}

static bool known_purpose(const struct tunnel *t, const char *name)
{
	for (size_t i = 0; i < t->n_purposes; i++) {
		if (strcmp(t->purposes[i].name, name) == 0)
			return true;
	}
	return false;
}

static int take_stream(struct ssh_conn *c, ssh_message m, const char *purpose)
{
	ssh_channel channel;
	struct chan *ch = NULL;

	if (c->n_chans >= c->t->conf->max_streams) {
		trace_add(c->t->env->trace, "tunnel.limit", "[tunnel] max-streams", &c->conn.remote,
			  NULL, "%s opens more streams", c->peer->name);
		return 1;
	}
	channel = ssh_message_channel_request_open_reply_accept(m);
	if (!channel)
		return 0;
	if (chan_peer_is_sane(channel))
		ch = chan_new(c, channel, CHAN_OPEN, purpose);
	if (!ch) {
		ssh_conn_close(c, "cannot work with its channels");
		return 0;
	}
	chan_list(ch);
	/* The module sees it after libssh. */
	chan_mark(ch);
	return 0;
}

static int on_channel_open(struct ssh_conn *c, ssh_message m)
{
	const char *to = NULL;
	char what[128];

	if (ssh_message_subtype(m) == SSH_CHANNEL_FORWARDED_TCPIP ||
	    ssh_message_subtype(m) == SSH_CHANNEL_DIRECT_TCPIP)
		to = ssh_message_channel_request_open_destination(m);
	if (to && ssh_message_subtype(m) == SSH_CHANNEL_FORWARDED_TCPIP && c->entered &&
	    ssh_message_channel_request_open_destination_port(m) == 0 && known_purpose(c->t, to))
		return take_stream(c, m, to);
	if (to)
		snprintf(what, sizeof(what), "a connection to %.80s:%d", to,
			 ssh_message_channel_request_open_destination_port(m));
	else
		snprintf(what, sizeof(what), "a channel that is no stream");
	hostile(c, "tunnel.hostile.channel", what);
	return 1;
}

static int on_message(ssh_session session, ssh_message m, void *arg)
{
	struct ssh_conn *c = arg;

	switch (ssh_message_type(m)) {
	case SSH_REQUEST_CHANNEL_OPEN:
		return on_channel_open(c, m);
	case SSH_REQUEST_CHANNEL:
		hostile(c, "tunnel.hostile.request", "something on a channel");
		return 1;
	default:
		return 1;
	}
}

/* --- states --- */

static void set_nonblocking(struct ssh_conn *c)
{
	/* libssh makes its descriptor, and so ours, a blocking one. */
	fcntl(c->fd, F_SETFL, fcntl(c->fd, F_GETFL) | O_NONBLOCK);
}

static int make_session(struct ssh_conn *c)
{
	struct tunnel *t = c->t;
	/* Twice E's limits: one side asks for new keys, the other would only if that one did not.
	 */
	uint64_t rekey_bytes = 2ULL * t->conf->rekey_bytes;
	uint32_t rekey_s = 2 * (t->conf->rekey_after_ms / 1000);
	ssh_session s = ssh_new();
	char user[32];
	bool no = false;
	int bad = 0, fd;

	if (!s)
		return -ENOMEM;
	c->session = s;
	fd = fcntl(c->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0 || fd > MAX_FD) {
		if (fd >= 0)
			close(fd);
		return -EMFILE;
	}
	snprintf(user, sizeof(user), TUNNEL_USER_PREFIX "%u", c->slot);
	bad |= ssh_options_set(s, SSH_OPTIONS_PROCESS_CONFIG, &no);
	bad |= ssh_options_set(s, SSH_OPTIONS_SSH_DIR, "/dev/null");
	bad |= ssh_options_set(s, SSH_OPTIONS_KNOWNHOSTS, "/dev/null");
	bad |= ssh_options_set(s, SSH_OPTIONS_GLOBAL_KNOWNHOSTS, "/dev/null");
	bad |= ssh_options_set(s, SSH_OPTIONS_USER, user);
	bad |= ssh_options_set(s, SSH_OPTIONS_HOST, "edge");
	bad |= ssh_options_set(s, SSH_OPTIONS_KEY_EXCHANGE, SSH_KEX_LIST);
	bad |= ssh_options_set(s, SSH_OPTIONS_CIPHERS_C_S, SSH_CIPHER_LIST);
	bad |= ssh_options_set(s, SSH_OPTIONS_CIPHERS_S_C, SSH_CIPHER_LIST);
	bad |= ssh_options_set(s, SSH_OPTIONS_HMAC_C_S, SSH_MAC_LIST);
	bad |= ssh_options_set(s, SSH_OPTIONS_HMAC_S_C, SSH_MAC_LIST);
	bad |= ssh_options_set(s, SSH_OPTIONS_HOSTKEYS, SSH_KEY_LIST);
	bad |= ssh_options_set(s, SSH_OPTIONS_PUBLICKEY_ACCEPTED_TYPES, SSH_KEY_LIST);
	bad |= ssh_options_set(s, SSH_OPTIONS_COMPRESSION, "no");
	bad |= ssh_options_set(s, SSH_OPTIONS_REKEY_DATA, &rekey_bytes);
	bad |= ssh_options_set(s, SSH_OPTIONS_REKEY_TIME, &rekey_s);
	bad |= ssh_options_set(s, SSH_OPTIONS_FD, &fd);
	if (bad) {
		close(fd);
		return -EINVAL;
	}
	ssh_set_blocking(s, 0);
	ssh_set_counters(s, &c->socket_count, &c->raw_count);
	ssh_set_message_callback(s, on_message, c);
	return 0;
}

static void connected(struct ssh_conn *c)
{
	socklen_t n = sizeof(int);
	int error = 0;

	getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &n);
	if (error) {
		ssh_conn_close(c, "cannot connect: %s", strerror(error));
		return;
	}
	error = make_session(c);
	if (error < 0 || event_add(c->readable, NULL) < 0) {
		ssh_conn_close(c, "cannot start: %s", strerror(error ? -error : ENOMEM));
		return;
	}
	c->conn.local = net_local_addr(c->fd);
	ssh_conn_set_state(c, SSH_CONN_KEX);
}

/* The host key is the whole identity of E. */
static bool check_host_key(struct ssh_conn *c)
{
	char have[KEYS_TEXT_BYTES] = "none", want[KEYS_TEXT_BYTES];
	uint8_t hash[KEYS_HASH_BYTES];
	struct env *env = c->t->env;
	ssh_key key = NULL;
	bool good =
		ssh_get_server_publickey(c->session, &key) == SSH_OK && keys_hash(key, hash) == 0;

	ssh_key_free(key);
	if (good) {
		keys_fingerprint(hash, have);
		good = peer_has_hash(c->peer, hash);
	}
	if (good) {
		memcpy(c->peer_hash, hash, sizeof(c->peer_hash));
		c->peer_proved = true;
		alarm_clear(env->alarms, "tunnel-key", c->peer->name);
		return true;
	}
	keys_fingerprint(c->peer->hashes[0], want);
	alarm_raise(env->alarms, "tunnel-key", c->peer->name, ALARM_CRITICAL,
		    "If its key was changed on purpose, add the new fingerprint to [tunnel-peer]; "
		    "otherwise somebody stands between the boxes.",
		    "%s shows the host key %s, [tunnel-peer] has %s", c->peer->name, have, want);
	trace_add(env->trace, "tunnel.key.changed", "[tunnel-peer] fingerprints", &c->conn.remote,
		  NULL, "%s shows the host key %s, wanted %s", c->peer->name, have, want);
	ssh_conn_close(c, "host key %s is not the pinned %s", have, want);
	return false;
}

/* SSH_OK: the state is over. */
static int key_exchange(struct ssh_conn *c)
{
	int rc = ssh_connect(c->session);

	set_nonblocking(c);
	if (rc == SSH_ERROR)
		ssh_conn_close(c, "key exchange: %s", ssh_get_error(c->session));
	if (rc == SSH_OK && check_host_key(c))
		ssh_conn_set_state(c, SSH_CONN_AUTH);
	return rc;
}

static int login(struct ssh_conn *c)
{
	int rc = ssh_userauth_publickey(c->session, NULL, c->t->key);

	if (rc == SSH_AUTH_AGAIN)
		return SSH_AGAIN;
	if (rc != SSH_AUTH_SUCCESS) {
		ssh_conn_close(c, "%s",
			       rc == SSH_AUTH_ERROR
				       ? ssh_get_error(c->session)
				       : "E does not know our key: add its fingerprint to "
					 "[tunnel-peer] there");
		return SSH_ERROR;
	}
	if (ssh_conn_authenticated(c) < 0) {
		ssh_conn_close(c, "out of memory");
		return SSH_ERROR;
	}
	ssh_conn_set_state(c, SSH_CONN_OPENING);
	peer_conn_enter(c->peer, c->slot, c);
	return SSH_OK;
}

/* The control channel, then its subsystem. */
static int open_control(struct ssh_conn *c)
{
	struct chan *ch;
	int rc;

	if (!c->pending)
		c->pending = ssh_channel_new(c->session);
	if (!c->pending)
		return SSH_ERROR;
	rc = c->step == 0 ? ssh_channel_open_session(c->pending)
			  : ssh_channel_request_subsystem(c->pending, TUNNEL_SUBSYSTEM);
	if (rc == SSH_ERROR)
		ssh_conn_close(c, "control channel refused: %s", ssh_get_error(c->session));
	if (rc != SSH_OK)
		return rc;
	if (c->step++ == 0) {
		/* Its bytes may come right behind the answer. */
		ch = chan_peer_is_sane(c->pending)
			     ? chan_new(c, c->pending, CHAN_OPEN, TUNNEL_SUBSYSTEM)
			     : NULL;
		if (!ch)
			ssh_conn_close(c, "cannot work with its control channel");
		c->pending_chan = ch;
		return ch ? SSH_OK : SSH_ERROR;
	}
	ch = c->pending_chan;
	c->pending_chan = NULL;
	ssh_conn_control(c, ch);
	return SSH_AGAIN;
}

void ssh_client_advance(struct ssh_conn *c)
{
	if (c->state == SSH_CONN_CONNECTING)
		connected(c);
	for (int i = 0; i < MAX_ADVANCES; i++) {
		uint64_t before = c->socket_count.in_bytes;
		int rc = SSH_AGAIN;

		if (c->state == SSH_CONN_KEX)
			rc = key_exchange(c);
		else if (c->state == SSH_CONN_AUTH)
			rc = login(c);
		else if (c->state == SSH_CONN_OPENING && !c->link)
			rc = open_control(c);
		if (c->state == SSH_CONN_CLOSED || c->link)
			return;
		if (rc == SSH_AGAIN && c->socket_count.in_bytes == before &&
		    !(ssh_get_status(c->session) & SSH_WRITE_PENDING))
			return;
	}
}

struct ssh_conn *ssh_client_dial(struct slot *s, const struct addr *to, int *error)
{
	struct tunnel *t = s->peer->t;
	struct ssh_conn *c;
	int fd = net_connect_tcp(to, NULL, t->conf->source_ports.first, t->conf->source_ports.last);

	*error = fd < 0 ? fd : -ENOMEM;
	c = fd < 0 ? NULL : ssh_conn_new(t, fd, false);
	if (!c)
		return NULL;
	*error = 0;
	c->peer = s->peer;
	c->slot = s->index;
	c->conn.remote = *to;
	slice_copy(c->conn.zone, sizeof(c->conn.zone), slice_of(s->peer->name));
	if (ssh_conn_start(c) < 0)
		ssh_conn_close(c, "out of memory or too many connections");
	return c;
}
