/* Replies about the TURN server. */
#include "ctl/show_list.h"

static void add_pair(struct buf *out, const json_t *one, const char *key, enum text_form form)
{
	const json_t *value = json_object_get(one, key);

	if (!value || json_is_null(value))
		return;
	buf_printf(out, "  %s: ", key);
	text_add_value(out, value, form);
	buf_add_char(out, '\n');
}

static void add_under(struct buf *out, const json_t *one, const char *key,
		      const struct column *columns)
{
	if (json_array_size(json_object_get(one, key)) == 0)
		return;
	buf_printf(out, "\n%s:\n", key);
	show_list(one, key, columns, NULL, "", out);
}

/* One allocation with all that belongs to it. */
static void show_one(const json_t *one, struct buf *out)
{
	static const char *const keys[] = { "client",	"transport",	 "user",
					    "relay",	"relayed",	 "rx_packets",
					    "rx_bytes", "tx_packets",	 "tx_bytes",
					    "dropped",	"no_permission", "over_bandwidth" };
	static const struct column permissions[] = {
		{ .title = "PEER", .key = "peer" },
		{ .title = "LEFT", .key = "left", .form = TEXT_AGE, .right = true },
		{ 0 }
	};
	static const struct column channels[] = {
		{ .title = "CHANNEL", .key = "number", .form = TEXT_HEX, .right = true },
		{ .title = "PEER", .key = "peer" },
		{ .title = "LEFT", .key = "left", .form = TEXT_AGE, .right = true },
		{ 0 }
	};
	static const struct column connections[] = {
		{ .title = "CONNECTION", .key = "id" },
		{ .title = "PEER", .key = "peer" },
		{ .title = "STATE", .key = "state" },
		{ .title = "FROM PEER", .key = "from-peer-bytes", .right = true },
		{ .title = "TO PEER", .key = "to-peer-bytes", .right = true },
		{ 0 }
	};
	const char *id = json_string_value(json_object_get(one, "id"));

	text_add_safe(out, id ? id : "?");
	buf_add_str(out, ":\n");
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		add_pair(out, one, keys[i], TEXT_PLAIN);
	add_pair(out, one, "left", TEXT_AGE);
	add_under(out, one, "permissions", permissions);
	add_under(out, one, "channels", channels);
	add_under(out, one, "connections", connections);
}

/* How many elements, in place of the elements. */
static void count(json_t *one, const char *key)
{
	json_object_set_new(one, key,
			    json_integer((json_int_t)json_array_size(json_object_get(one, key))));
}

void show_turn(const json_t *reply, struct buf *out)
{
	static const struct column columns[] = {
		{ .title = "ALLOCATION", .key = "id" },
		{ .title = "USER", .key = "user" },
		{ .title = "CLIENT", .key = "client" },
		{ .title = "VIA", .key = "transport" },
		{ .title = "RELAYED", .key = "relayed" },
		{ .title = "LEFT", .key = "left", .form = TEXT_AGE, .right = true },
		{ .title = "PERM", .key = "permissions", .right = true },
		{ .title = "CHAN", .key = "channels", .right = true },
		{ .title = "RX", .key = "rx_bytes", .form = TEXT_BYTES, .right = true },
		{ .title = "TX", .key = "tx_bytes", .form = TEXT_BYTES, .right = true },
		{ .title = "DROPPED", .key = "dropped", .right = true },
		{ 0 }
	};
	json_t *copy, *one;
	size_t i;

	if (json_is_true(json_object_get(reply, "one"))) {
		show_one(json_array_get(json_object_get(reply, "allocations"), 0), out);
		return;
	}
	copy = json_deep_copy(reply);
	json_array_foreach(json_object_get(copy, "allocations"), i, one)
	{
		count(one, "permissions");
		count(one, "channels");
	}
	show_list(copy ? copy : reply, "allocations", columns, NULL, "no allocations", out);
	json_decref(copy);
}
