#include "media/describe.h"

static json_t *number(uint64_t n)
{
	return json_integer((json_int_t)n);
}

static void set_addr(json_t *o, const char *key, const struct addr *a)
{
	char text[ADDR_STR_BYTES];

	json_object_set_new(o, key, a ? json_string(addr_str(a, text)) : json_null());
}

static const char *kind_str(enum media_leg_kind kind)
{
	static const char *const names[] = { "outside", "mux", "ice", "inside" };

	return names[kind];
}

static const char *crypto_str(const struct media_end *end)
{
	bool keys = end->crypto.rx.ctx || end->crypto.tx.ctx;

	if (!end->stream->terminate)
		return keys ? "srtp, passed" : "passed";
	return keys ? "srtp" : "rtp";
}

static json_t *end_describe(const struct media_end *end, int64_t now_ms)
{
	const struct conn *c = &end->conn;
	json_t *o = json_object();

	json_object_set_new(o, "leg", json_integer(end->leg));
	json_object_set_new(o, "kind", json_string(kind_str(end->kind)));
	json_object_set_new(o, "state", json_string(c->state ? c->state : "off"));
	json_object_set_new(o, "crypto", json_string(crypto_str(end)));
	set_addr(o, "local", &end->bound[RELAY_RTP]);
	set_addr(o, "remote", relay_remote(end, RELAY_RTP, now_ms));
	json_object_set_new(o, "rtcp_mux", json_boolean(end->rtcp_mux));
	if (end->kind == MEDIA_LEG_ICE)
		json_object_set_new(o, "ice",
				    json_string(ice_state_str(end->ice.components[0].state)));
	json_object_set_new(o, "rx_packets", number(c->rx_packets));
	json_object_set_new(o, "rx_bytes", number(c->rx_bytes));
	json_object_set_new(o, "tx_packets", number(c->tx_packets));
	json_object_set_new(o, "tx_bytes", number(c->tx_bytes));
	json_object_set_new(o, "dropped", number(c->n_dropped));
	json_object_set_new(o, "unproved", number(end->n_unproved));
	json_object_set_new(o, "malformed", number(end->n_malformed));
	json_object_set_new(o, "nowhere", number(end->n_nowhere));
	json_object_set_new(o, "latch_moves", number(end->n_moved));
	json_object_set_new(o, "bad_tag", number(end->crypto.n_bad_tag));
	json_object_set_new(o, "replayed", number(end->crypto.n_replayed));
	json_object_set_new(o, "loss_percent", json_real(media_stats_loss_percent(&end->stats)));
	json_object_set_new(o, "jitter_ms", json_real(media_stats_jitter_ms(&end->stats)));
	json_object_set_new(o, "mos", json_real(media_stats_mos(&end->stats)));
	if (end->stats.reported)
		json_object_set_new(o, "reported_loss_percent",
				    json_real(end->stats.remote_fraction * 100.0 / 256));
	return o;
}

json_t *media_describe(const struct media_session *s)
{
	int64_t now_ms = s->engine->timers->now_ms;
	json_t *list = json_array();

	for (size_t i = 0; i < s->n_streams; i++) {
		const struct media_stream *st = s->streams[i];
		json_t *o, *ends;

		if (!st || (!st->ends[0].open && !st->ends[1].open))
			continue;
		o = json_object();
		ends = json_array();
		json_object_set_new(o, "line", json_integer(st->index));
		json_object_set_new(o, "media", json_string(st->video ? "video" : "audio"));
		json_object_set_new(o, "active", json_boolean(st->active));
		for (unsigned leg = 0; leg < 2; leg++)
			json_array_append_new(ends, end_describe(&st->ends[leg], now_ms));
		json_object_set_new(o, "ends", ends);
		json_array_append_new(list, o);
	}
	return list;
}

void media_describe_engine(const struct media_engine *e, json_t *out)
{
	json_object_set_new(out, "sessions", number(e->n_sessions));
	json_object_set_new(out, "ports_taken", number(e->ports.n_taken));
	json_object_set_new(out, "ports_total", number(e->ports.n_pairs));
	json_object_set_new(out, "refused_sessions", number(e->n_refused_sessions));
	json_object_set_new(out, "refused_ports", number(e->n_refused_ports));
	json_object_set_new(out, "mux_streams", number(e->mux.by_ufrag.n));
	json_object_set_new(out, "mux_unknown_packets", number(e->mux.n_unknown));
	json_object_set_new(out, "mux_bad_checks", number(e->mux.n_bad_check));
	json_object_set_new(out, "mux_moves", number(e->mux.n_moved));
}
