/* Replies about chat: streams, connections of the link, partners, IM servers, domains. */
#include "ctl/show_list.h"

static void add_title(struct buf *out, const char *title)
{
	if (out->n)
		buf_add_char(out, '\n');
	buf_printf(out, "%s:\n", title);
}

/* Arrays that hold nothing are not shown, but for the first. */
static void add_list(const json_t *reply, const char *key, const char *title,
		     const struct column *columns, struct buf *out)
{
	if (json_array_size(json_object_get(reply, key)) == 0)
		return;
	add_title(out, title);
	show_list(reply, key, columns, NULL, "", out);
}

static void show_streams(const json_t *reply, struct buf *out)
{
	static const struct column columns[] = {
		{ .title = "STREAM", .key = "id" },
		{ .title = "USER", .key = "user" },
		{ .title = "DOMAIN", .key = "domain" },
		{ .title = "PARTNER", .key = "remote" },
		{ .title = "WAY", .key = "direction" },
		{ .title = "ADDRESS", .key = "address" },
		{ .title = "TLS", .key = "tls" },
		{ .title = "AUTH", .key = "auth" },
		{ .title = "STATE", .key = "state" },
		{ .title = "AGE", .key = "age_s", .form = TEXT_AGE, .right = true },
		{ .title = "QUIET", .key = "quiet_s", .form = TEXT_AGE, .right = true },
		{ .title = "IN", .key = "in", .right = true },
		{ .title = "OUT", .key = "out", .right = true },
		{ .title = "CERTIFICATE UNTIL", .key = "certificate_expires" },
		{ .title = "LAST ERROR", .key = "last_error" },
		{ 0 }
	};
	size_t n = json_array_size(json_object_get(reply, "streams"));
	json_int_t total = json_integer_value(json_object_get(reply, "total"));

	show_list(reply, "streams", columns, NULL, "no streams", out);
	if (total > (json_int_t)n)
		buf_printf(out,
			   "%zu of %" JSON_INTEGER_FORMAT
			   " shown; narrow it with --domain, --user or --partner, or ask for more "
			   "with --limit\n",
			   n, total);
}

/* "dialback TLSv1.3 ..." of each way in place of the objects. */
static void flatten_way(json_t *pair, const char *key)
{
	const json_t *way = json_object_get(pair, key);
	const char *auth = json_string_value(json_object_get(way, "auth"));
	const char *tls = json_string_value(json_object_get(way, "tls"));
	struct buf b;

	buf_init(&b, 256);
	if (json_is_true(json_object_get(way, "open")))
		buf_printf(&b, "%s%s%s", auth ? auth : "", tls && tls[0] ? ", " : ", no TLS",
			   tls ? tls : "");
	json_object_set_new(pair, key, json_string(b.p ? b.p : ""));
	buf_fini(&b);
}

static void show_partners(const json_t *reply, struct buf *out)
{
	static const struct column columns[] = {
		{ .title = "LOCAL", .key = "local" },
		{ .title = "PARTNER", .key = "remote" },
		{ .title = "WAY", .key = "direction" },
		{ .title = "IN", .key = "in" },
		{ .title = "OUT", .key = "out" },
		{ .title = "CERTIFICATE UNTIL", .key = "certificate_expires" },
		{ .title = "RECEIVED", .key = "received", .right = true },
		{ .title = "SENT", .key = "sent", .right = true },
		{ .title = "BOUNCED", .key = "bounced", .right = true },
		{ .title = "QUEUED", .key = "queued", .right = true },
		{ .title = "LAST ERROR", .key = "last_error" },
		{ .title = "AT", .key = "last_error_at" },
		{ 0 }
	};
	json_t *copy = json_deep_copy(reply), *pair;
	size_t i;

	json_array_foreach(json_object_get(copy, "partners"), i, pair)
	{
		flatten_way(pair, "in");
		flatten_way(pair, "out");
	}
	add_list(copy ? copy : reply, "partners", "partners", columns, out);
	json_decref(copy);
}

static void show_links(const json_t *reply, struct buf *out)
{
	static const struct column columns[] = {
		{ .title = "PEER", .key = "peer" },
		{ .title = "HOST", .key = "host" },
		{ .title = "UP", .key = "up" },
		{ .title = "IDLE", .key = "idle", .right = true },
		{ .title = "TAKEN", .key = "taken", .right = true },
		{ .title = "DIALLING", .key = "dialling", .right = true },
		{ .title = "WAITING", .key = "waiting", .right = true },
		{ .title = "TOTAL", .key = "total", .right = true },
		{ .title = "UNSERVED", .key = "unserved", .right = true },
		{ .title = "FAILURES", .key = "failures", .right = true },
		{ .title = "LAST ERROR", .key = "last_error" },
		{ 0 }
	};

	json_int_t n_parked =
		json_integer_value(json_object_get(json_object_get(reply, "stats"), "parked"));

	add_list(reply, "links", "connections between C and E", columns, out);
	if (n_parked > 0)
		buf_printf(out,
			   "%" JSON_INTEGER_FORMAT " streams are parked: quiet, and without a "
			   "connection\n",
			   n_parked);
}

static void show_servers(const json_t *reply, struct buf *out)
{
	static const struct column columns[] = { { .title = "IM SERVER", .key = "server" },
						 { .title = "HOST", .key = "host" },
						 { .title = "PORT", .key = "port", .right = true },
						 { .title = "ALIVE", .key = "alive" },
						 { .title = "LAST ERROR", .key = "last_error" },
						 { 0 } };

	add_list(reply, "servers", "IM servers", columns, out);
}

static void show_domains(const json_t *reply, struct buf *out)
{
	static const struct column columns[] = { { .title = "DOMAIN", .key = "domain" },
						 { .title = "CHAT", .key = "chat" },
						 { .title = "FEDERATION", .key = "federation" },
						 { .title = "PEER", .key = "peer" },
						 { .title = "UP", .key = "up" },
						 { .title = "IM SERVER", .key = "server" },
						 { 0 } };

	add_list(reply, "domains", "domains", columns, out);
}

void show_xmpp(const json_t *reply, struct buf *out)
{
	if (json_is_true(json_object_get(reply, "one"))) {
		show_object(json_array_get(json_object_get(reply, "streams"), 0), out);
		return;
	}
	show_streams(reply, out);
	show_partners(reply, out);
	show_links(reply, out);
	show_servers(reply, out);
	show_domains(reply, out);
}

void show_xmpp_partners(const json_t *reply, struct buf *out)
{
	show_partners(reply, out);
	if (out->n == 0)
		buf_add_str(out, "no partners\n");
}
