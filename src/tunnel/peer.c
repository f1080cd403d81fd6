/* Peers: which connections they have, when C dials the next one, and what the control channel says
 * about them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alarm.h"
#include "core/iso_time.h"
#include "core/log.h"
#include "core/trace.h"
#include "tunnel/channel.h"

#define STEADY_MS     10000
#define SKEW_ALARM_MS 30000
#define SKEW_CLEAR_MS 29000

struct peer *peer_by_id(struct tunnel *t, tunnel_peer id)
{
	return id > 0 && id <= t->n_peers ? t->peers[id - 1] : NULL;
}

bool peer_has_hash(const struct peer *p, const uint8_t hash[KEYS_HASH_BYTES])
{
	bool has = false;

	for (size_t i = 0; i < p->n_hashes; i++)
		has |= keys_hash_eq(p->hashes[i], hash);
	return has;
}

struct peer *peer_by_hash(struct tunnel *t, const uint8_t hash[KEYS_HASH_BYTES])
{
	struct peer *found = NULL;

	/* All of them, so that time does not tell how far the list was read. */
	for (size_t i = 0; i < t->n_peers; i++) {
		if (peer_has_hash(t->peers[i], hash) && t->peers[i]->wanted)
			found = t->peers[i];
	}
	return found;
}

unsigned peer_n_up(const struct peer *p)
{
	unsigned n = 0;

	for (int i = 0; i < TUNNEL_MAX_SLOTS; i++)
		n += p->slots[i].conn && p->slots[i].conn->state == SSH_CONN_UP;
	return n;
}

void peer_failed(struct peer *p, const char *why)
{
	slice_copy(p->last_error, sizeof(p->last_error), slice_of(why));
}

/* --- up and down --- */

static void raise_down(struct peer *p)
{
	struct tunnel *t = p->t;

	alarm_raise(t->env->alarms, "tunnel-down", p->name, ALARM_CRITICAL,
		    t->env->role == CONF_ROLE_C
			    ? "Check that this box reaches port 2222 of E and that both have each "
			      "other's fingerprint."
			    : "Check C and the firewall between: C dials in, E cannot.",
		    "no connection to %s%s%s", p->name, p->last_error[0] ? ": " : "",
		    p->last_error);
}

static void on_grace(void *arg)
{
	struct peer *p = arg;

	if (p->wanted && !control_is_up(p->control))
		raise_down(p);
}

static void went_down(struct peer *p, const char *why)
{
	p->since_wall_s = iso_time_now_ms() / 1000;
	if (!p->wanted || p->t->stopping)
		return;
	log_warn(p->t->env->log, "tunnel.peer.down", "peer=%s reason=%s", p->name,
		 log_esc(slice_of(why)));
	raise_down(p);
}

/* --- C dials --- */

static void dial(struct slot *s);

static void on_retry(void *arg)
{
	dial(arg);
}

/* Full jitter: a thousand boxes that lost the same E do not come back at once. */
static void retry_later(struct slot *s)
{
	struct tunnel *t = s->peer->t;
	uint64_t bound = t->conf->retry_min_ms, at;
	unsigned n = s->n_failures < 20 ? s->n_failures : 20;

	if (!s->peer->wanted || s->index >= t->conf->connections || t->stopping || t->draining)
		return;
	bound <<= n;
	if (bound > t->conf->retry_max_ms)
		bound = t->conf->retry_max_ms;
	s->n_failures++;
	net_random(&at, sizeof(at));
	timer_start(loop_timers(t->env->loop), &s->retry, (int64_t)(at % (bound + 1)));
}

static void dial_failed(struct slot *s, const char *why)
{
	struct peer *p = s->peer;

	peer_failed(p, why);
	log_info(p->t->env->log, "tunnel.dial.failed", "peer=%s slot=%u reason=%s", p->name,
		 s->index, log_esc(slice_of(why)));
	if (p->wanted && !control_is_up(p->control))
		raise_down(p);
	retry_later(s);
}

static void on_resolved(const struct dns_result *r, void *arg)
{
	struct slot *s = arg;
	char why[TUNNEL_WHY_BYTES];
	int error;

	s->query = NULL;
	if (r->status < 0 || r->n == 0) {
		snprintf(why, sizeof(why), "cannot resolve %.100s: %s", s->peer->host,
			 strerror(r->status < 0 ? -r->status : ENOENT));
		dial_failed(s, why);
		return;
	}
	/* Other addresses get their turn when one does not answer. */
	s->conn = ssh_client_dial(s, &r->addrs[s->n_failures % r->n].addr, &error);
	if (!s->conn) {
		snprintf(why, sizeof(why), "cannot connect: %s", strerror(-error));
		dial_failed(s, why);
	}
}

static void dial(struct slot *s)
{
	struct peer *p = s->peer;

	if (s->conn || s->query || !p->wanted || !p->t->key)
		return;
	timer_stop(loop_timers(p->t->env->loop), &s->retry);
	s->query =
		dns_lookup_host(p->t->env->dns, p->host, p->port, DNS_ANY_FAMILY, on_resolved, s);
}

static void retry_now(struct peer *p)
{
	for (unsigned i = 0; i < p->t->conf->connections; i++) {
		if (timer_armed(&p->slots[i].retry))
			dial(&p->slots[i]);
	}
}

void peers_retry_now(struct tunnel *t)
{
	for (size_t i = 0; i < t->n_peers; i++)
		retry_now(t->peers[i]);
}

/* --- connections --- */

void peer_conn_enter(struct peer *p, unsigned slot, struct ssh_conn *c)
{
	struct slot *s = &p->slots[slot];

	if (s->conn && s->conn != c) {
		struct ssh_conn *old = s->conn;

		trace_add(p->t->env->trace, "tunnel.takeover", "[tunnel]", &c->conn.remote, NULL,
			  "%s logs in again for its connection %u: the old one ends", p->name,
			  slot);
		old->entered = false;
		s->conn = NULL;
		ssh_conn_close(old, "taken over by a newer connection");
	}
	s->conn = c;
	c->entered = true;
	slice_copy(c->conn.zone, sizeof(c->conn.zone), slice_of(p->name));
}

void peer_conn_leave(struct peer *p, struct ssh_conn *c, const char *why)
{
	struct slot *s = &p->slots[c->slot];

	/* Only one that held: who is hung up on right after each hello (a flood, a protocol error)
	 * is not dialled again at once for ever. */
	if (c->agreed_ms && loop_now_ms(p->t->env->loop) - c->agreed_ms >= STEADY_MS)
		s->n_failures = 0;
	if (s->conn == c) {
		s->conn = NULL;
		if (p->t->env->role == CONF_ROLE_C && !p->t->stopping)
			dial_failed(s, why);
		else
			peer_failed(p, why);
	}
	if (p->seen_up && !control_is_up(p->control)) {
		p->seen_up = false;
		went_down(p, why);
	}
}

/* --- the control machine's view --- */

static int64_t ops_wall_ms(void *arg)
{
	return iso_time_now_ms();
}

static size_t ops_send(void *conn, struct slice bytes)
{
	struct ssh_conn *c = conn;
	struct stream *s = c->control_chan ? &c->control_chan->s : NULL;

	if (!s || c->state == SSH_CONN_CLOSED)
		return 0;
	if (evbuffer_add(stream_out(s), bytes.p, bytes.n) < 0)
		ssh_conn_close(c, "out of memory");
	stream_flush(s);
	stream_is_full(s);
	return evbuffer_get_length(stream_out(s));
}

static void ops_close(void *conn, const char *code, const char *why)
{
	struct ssh_conn *c = conn;

	trace_add(c->t->env->trace, code, "[tunnel]", &c->conn.remote, NULL, "%s: %s",
		  c->peer->name, why);
	ssh_conn_close(c, "%s", why);
}

static void ops_agreed(void *conn, const struct control_msg *hello)
{
	struct ssh_conn *c = conn;
	struct peer *p = c->peer;
	struct env *env = c->t->env;

	timer_stop(loop_timers(env->loop), &c->deadline);
	ssh_conn_set_state(c, SSH_CONN_UP);
	slice_copy(p->system_name, sizeof(p->system_name), slice_of(hello->name));
	slice_copy(p->software, sizeof(p->software), slice_of(hello->software));
	slice_copy(p->boot, sizeof(p->boot), slice_of(hello->boot));
	slice_copy(c->cipher, sizeof(c->cipher), slice_of(ssh_get_cipher_out(c->session)));
	slice_copy(c->kex, sizeof(c->kex), slice_of(ssh_get_kex_algo(c->session)));
	c->agreed_ms = loop_now_ms(env->loop);
	p->seen_up = true;
	if (!control_is_up(p->control))
		p->since_wall_s = iso_time_now_ms() / 1000;
	timer_stop(loop_timers(env->loop), &p->grace);
	alarm_clear(env->alarms, "tunnel-down", p->name);
	log_info(env->log, "tunnel.conn.up", "peer=%s slot=%u name=%s software=%s cipher=%s",
		 p->name, c->slot, log_esc(slice_of(hello->name)),
		 log_esc(slice_of(hello->software)), c->cipher);
	if (c->t->draining)
		control_link_bye(c->link);
	retry_now(p);
}

static void ops_bye(void *conn)
{
	struct ssh_conn *c = conn;

	c->leaving = true;
	c->conn.state = "leaving";
}

static void ops_more(void *conn)
{
	struct ssh_conn *c = conn;

	if (c->control_chan)
		chan_mark(c->control_chan);
}

static void ops_skew(void *peer, int64_t skew_ms)
{
	struct peer *p = peer;
	struct env *env = p->t->env;
	int64_t size = skew_ms < 0 ? -skew_ms : skew_ms;

	p->skew_ms = skew_ms;
	if (size > SKEW_ALARM_MS && !p->skew_alarm) {
		p->skew_alarm = true;
		alarm_raise(env->alarms, "clock-skew", p->name, ALARM_WARNING,
			    "Let both boxes take their time from the same NTP servers.",
			    "the clock of %s is %lld s %s ours", p->name, (long long)(size / 1000),
			    skew_ms > 0 ? "ahead of" : "behind");
	} else if (size < SKEW_CLEAR_MS && p->skew_alarm) {
		p->skew_alarm = false;
		alarm_clear(env->alarms, "clock-skew", p->name);
	}
}

const struct control_ops peer_control_ops = {
	.wall_ms = ops_wall_ms,
	.send = ops_send,
	.close = ops_close,
	.agreed = ops_agreed,
	.bye = ops_bye,
	.more = ops_more,
	.skew = ops_skew,
};

/* --- configuration --- */

static struct peer *peer_new(struct tunnel *t, const char *name)
{
	struct peer *p = t->n_peers < TUNNEL_MAX_PEERS ? calloc(1, sizeof(*p)) : NULL;

	if (!p)
		return NULL;
	p->t = t;
	p->id = (tunnel_peer)(t->n_peers + 1);
	p->control = control_new(t->hub, p->id, p);
	if (!p->control) {
		free(p);
		return NULL;
	}
	slice_copy(p->name, sizeof(p->name), slice_of(name));
	p->since_wall_s = iso_time_now_ms() / 1000;
	timer_init(&p->grace, on_grace, p);
	for (unsigned i = 0; i < TUNNEL_MAX_SLOTS; i++) {
		p->slots[i].peer = p;
		p->slots[i].index = i;
		timer_init(&p->slots[i].retry, on_retry, &p->slots[i]);
	}
	t->peers[t->n_peers++] = p;
	return p;
}

static struct peer *find_peer(struct tunnel *t, const char *name)
{
	for (size_t i = 0; i < t->n_peers; i++) {
		if (strcmp(t->peers[i]->name, name) == 0)
			return t->peers[i];
	}
	return NULL;
}

static void stop_slot(struct slot *s, const char *why)
{
	timer_stop(loop_timers(s->peer->t->env->loop), &s->retry);
	dns_cancel(s->query);
	s->query = NULL;
	if (s->conn)
		ssh_conn_close(s->conn, "%s", why);
}

static void peer_remove(struct peer *p)
{
	struct env *env = p->t->env;

	p->wanted = false;
	timer_stop(loop_timers(env->loop), &p->grace);
	for (int i = 0; i < TUNNEL_MAX_SLOTS; i++)
		stop_slot(&p->slots[i], "removed from the configuration");
	alarm_clear(env->alarms, "tunnel-down", p->name);
	alarm_clear(env->alarms, "tunnel-key", p->name);
	alarm_clear(env->alarms, "clock-skew", p->name);
	p->skew_alarm = false;
}

/* The peer's settings are new: a connection stays when its place is the same and the key that it
 * was made with is still one of the pinned. So a key is rotated without an interruption. */
static void judge_slot(struct slot *s, bool moved)
{
	struct ssh_conn *c = s->conn;

	s->n_failures = 0;
	if (c && !moved && c->peer_proved && peer_has_hash(s->peer, c->peer_hash))
		return;
	stop_slot(s, moved ? "its address changed" : "its key is no longer pinned");
}

static void peer_apply(struct peer *p, const struct tunnel_peer_conf *conf)
{
	struct tunnel *t = p->t;
	uint8_t hashes[KEYS_MAX_PER_PEER][KEYS_HASH_BYTES] = { 0 };
	bool was = p->wanted, same, moved;
	char host[254] = "";
	uint16_t port = 0;
	size_t n = 0;

	for (size_t i = 0; i < conf->fingerprints.n && n < KEYS_MAX_PER_PEER; i++)
		n += keys_fingerprint_parse(slice_of(conf->fingerprints.v[i]), hashes[n]);
	if (t->env->role == CONF_ROLE_C)
		tunnel_peer_address(conf->address ? conf->address : conf->common.name, host,
				    sizeof(host), &port);
	moved = strcmp(host, p->host) != 0 || port != p->port;
	same = n == p->n_hashes && memcmp(hashes, p->hashes, sizeof(hashes)) == 0 && !moved;
	memcpy(p->hashes, hashes, sizeof(hashes));
	p->n_hashes = n;
	strcpy(p->host, host);
	p->port = port;
	p->wanted = true;
	alarm_clear(t->env->alarms, "tunnel-hostile", p->name);
	if (was && !same) {
		for (int i = 0; i < TUNNEL_MAX_SLOTS; i++)
			judge_slot(&p->slots[i], moved);
	}
	if (!was)
		timer_start(loop_timers(t->env->loop), &p->grace, t->conf->connect_timeout_ms);
	if (t->env->role != CONF_ROLE_C)
		return;
	for (unsigned i = 0; i < TUNNEL_MAX_SLOTS; i++) {
		if (i >= t->conf->connections)
			stop_slot(&p->slots[i], "fewer [tunnel] connections");
		else
			dial(&p->slots[i]);
	}
}

int peers_configure(struct tunnel *t)
{
	const struct tunnel_peer_conf *conf = NULL;

	for (size_t i = 0; i < t->n_peers; i++) {
		conf = conf_get(t->snap, "tunnel-peer", t->peers[i]->name);
		if (t->peers[i]->wanted && (!conf || !conf->enabled))
			peer_remove(t->peers[i]);
	}
	conf = NULL;
	while ((conf = conf_next(t->snap, "tunnel-peer", conf))) {
		struct peer *p = find_peer(t, conf->common.name);

		if (!conf->enabled)
			continue;
		if (!p)
			p = peer_new(t, conf->common.name);
		if (!p)
			return -ENOMEM;
		peer_apply(p, conf);
	}
	return 0;
}

void peers_free(struct tunnel *t)
{
	for (size_t i = 0; i < t->n_peers; i++) {
		struct peer *p = t->peers[i];

		for (int k = 0; k < TUNNEL_MAX_SLOTS; k++) {
			timer_stop(loop_timers(t->env->loop), &p->slots[k].retry);
			dns_cancel(p->slots[k].query);
		}
		timer_stop(loop_timers(t->env->loop), &p->grace);
		control_free(p->control);
		free(p);
	}
	t->n_peers = 0;
}

/* --- listing --- */

static json_t *conn_json(const struct ssh_conn *c)
{
	char remote[ADDR_STR_BYTES], since[ISO_TIME_BYTES], id[CONN_ID_BYTES];

	return json_pack("{s:s, s:i, s:s, s:s, s:s, s:s, s:i, s:i, s:s, s:I, s:I}", "id",
			 conn_id_str(&c->conn, id), "slot", (int)c->slot, "state", c->conn.state,
			 "remote", addr_str(&c->conn.remote, remote), "cipher", c->cipher, "kex",
			 c->kex, "rtt-ms", c->link ? (int)control_link_rtt_ms(c->link) : 0,
			 "streams", (int)(c->n_chans - (c->control_chan ? 1 : 0)), "since",
			 iso_time_s(c->conn.since_wall_s, since), "received",
			 (json_int_t)c->conn.rx_bytes, "sent", (json_int_t)c->conn.tx_bytes);
}

json_t *peer_json(const struct peer *p)
{
	json_t *conns = json_array();
	char since[ISO_TIME_BYTES];
	unsigned streams = 0;

	for (int i = 0; i < TUNNEL_MAX_SLOTS; i++) {
		const struct ssh_conn *c = p->slots[i].conn;

		if (!c)
			continue;
		json_array_append_new(conns, conn_json(c));
		streams += c->n_chans - (c->control_chan ? 1 : 0);
	}
	return json_pack("{s:s, s:s, s:s, s:i, s:i, s:s, s:s, s:I, s:s, s:s, s:o}", "name", p->name,
			 "state",
			 !p->wanted		     ? "off"
			 : control_is_up(p->control) ? "up"
						     : "down",
			 "address", p->host, "port", (int)p->port, "streams", (int)streams,
			 "system", p->system_name, "software", p->software, "skew-ms",
			 (json_int_t)p->skew_ms, "last-error", p->last_error, "since",
			 iso_time_s(p->since_wall_s, since), "connections", conns);
}
