#include <stdio.h>

#include "base/buf.h"
#include "core/ctl_private.h"
#include "core/iso_time.h"

#define MAX_TEXT_BYTES 4096

json_t *ctl_json_text(const char *text)
{
	json_t *o = json_string(text ? text : "");
	struct buf b;

	if (o || !text)
		return o;
	buf_init(&b, MAX_TEXT_BYTES);
	buf_add_escaped(&b, slice_of(text));
	o = b.p ? json_stringn(b.p, b.n) : NULL;
	buf_fini(&b);
	return o;
}

static json_t *time_text(int64_t wall_s)
{
	char text[ISO_TIME_BYTES];

	return json_string(iso_time_s(wall_s, text));
}

static json_t *addr_text(const struct addr *a)
{
	char text[ADDR_STR_BYTES];

	return json_string(a->family == ADDR_NONE ? "" : addr_str(a, text));
}

/* A failed set leaves the key away; only then the count of keys is short. */
static json_t *complete(json_t *o, size_t n_keys)
{
	if (o && json_object_size(o) == n_keys)
		return o;
	json_decref(o);
	return NULL;
}

/* "call-10000002a" of a parent that may be gone: only its kind would need it alive, so the bare id
 * is given, which conn_find() accepts too. */
static json_t *parent_text(uint64_t id)
{
	char text[CONN_ID_BYTES] = "";

	if (id)
		snprintf(text, sizeof(text), "%llx", (unsigned long long)id);
	return json_string(text);
}

static void set_count(json_t *o, const char *key, uint64_t v)
{
	json_object_set_new(o, key, json_integer((json_int_t)v));
}

json_t *ctl_json_conn(const struct conn *c, int64_t now_ms, int64_t ended_wall_s)
{
	json_t *o = json_object();
	bool alive = ended_wall_s < 0;
	int64_t age_s = alive ? (now_ms - c->since_ms) / 1000 : ended_wall_s - c->since_wall_s;
	char id[CONN_ID_BYTES];

	if (!o)
		return NULL;
	json_object_set_new(o, "id", json_string(c->id ? conn_id_str(c, id) : ""));
	json_object_set_new(o, "kind", json_string(conn_kind_str(c->kind)));
	json_object_set_new(o, "parent", parent_text(c->parent));
	json_object_set_new(o, "session", ctl_json_text(c->session));
	json_object_set_new(o, "user", ctl_json_text(c->user));
	json_object_set_new(o, "zone", ctl_json_text(c->zone));
	json_object_set_new(o, "transport", json_string(conn_transport_str(c->transport)));
	json_object_set_new(o, "local", addr_text(&c->local));
	json_object_set_new(o, "remote", addr_text(&c->remote));
	json_object_set_new(o, "state", ctl_json_text(c->state));
	json_object_set_new(o, "since", time_text(c->since_wall_s));
	set_count(o, "age_s", age_s > 0 ? (uint64_t)age_s : 0);
	set_count(o, "rx_packets", c->rx_packets);
	set_count(o, "rx_bytes", c->rx_bytes);
	set_count(o, "tx_packets", c->tx_packets);
	set_count(o, "tx_bytes", c->tx_bytes);
	set_count(o, "dropped", c->n_dropped);
	if (alive)
		return complete(o, 17);
	json_object_set_new(o, "ended", time_text(ended_wall_s));
	json_object_set_new(o, "reason", ctl_json_text(c->reason));
	return complete(o, 19);
}

json_t *ctl_json_alarm(const struct alarm_entry *e)
{
	json_t *o = json_object();

	if (!o)
		return NULL;
	json_object_set_new(o, "id", ctl_json_text(e->id));
	json_object_set_new(o, "subject", ctl_json_text(e->subject));
	json_object_set_new(o, "severity", json_string(alarm_severity_str(e->severity)));
	json_object_set_new(o, "since", time_text(e->since_wall_s));
	json_object_set_new(o, "text", ctl_json_text(e->text));
	json_object_set_new(o, "what_to_do", ctl_json_text(e->what_to_do));
	return complete(o, 6);
}

json_t *ctl_json_trace(const struct trace_entry *e)
{
	json_t *o = json_object();
	char when[ISO_TIME_BYTES];

	if (!o)
		return NULL;
	set_count(o, "seq", e->seq);
	json_object_set_new(o, "time", json_string(iso_time_ms(e->wall_ms, when)));
	json_object_set_new(o, "code", ctl_json_text(e->code));
	json_object_set_new(o, "decided_by", ctl_json_text(e->decided_by));
	json_object_set_new(o, "remote", addr_text(&e->remote));
	json_object_set_new(o, "session", ctl_json_text(e->session));
	json_object_set_new(o, "text", ctl_json_text(e->text));
	set_count(o, "repeats", e->n_repeats);
	return complete(o, 8);
}
