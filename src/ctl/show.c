#include "ctl/show.h"

#include <stdlib.h>
#include <string.h>

#include "ctl/show_list.h"

#define MAX_LINE_BYTES 16384
#define MAX_DEPTH      8

static bool is_nested(const json_t *v)
{
	const json_t *element;
	size_t i;

	if (json_is_object(v))
		return true;
	json_array_foreach(v, i, element)
	{
		if (json_is_object(element) || json_is_array(element))
			return true;
	}
	return false;
}

static void add_tree(const json_t *o, unsigned depth, struct buf *out);

static void add_nested(const json_t *v, unsigned depth, struct buf *out)
{
	const json_t *element;
	size_t i;

	if (json_is_object(v)) {
		add_tree(v, depth, out);
		return;
	}
	json_array_foreach(v, i, element)
	{
		buf_printf(out, "%*s-\n", (int)depth * 2, "");
		add_tree(element, depth + 1, out);
	}
}

static void add_tree(const json_t *o, unsigned depth, struct buf *out)
{
	const char *key;
	json_t *value;

	if (depth > MAX_DEPTH)
		return;
	json_object_foreach((json_t *)(uintptr_t)o, key, value)
	{
		buf_printf(out, "%*s", (int)depth * 2, "");
		text_add_safe(out, key);
		buf_add_char(out, ':');
		if (is_nested(value)) {
			buf_add_char(out, '\n');
			add_nested(value, depth + 1, out);
			continue;
		}
		buf_add_char(out, ' ');
		text_add_value(out, value, TEXT_PLAIN);
		buf_add_char(out, '\n');
	}
}

void show_object(const json_t *reply, struct buf *out)
{
	add_tree(reply, 0, out);
}

void show_status(const json_t *reply, struct buf *out)
{
	const char *key;
	json_t *value;

	/* What fits in one line each first, the parts of the daemon below. */
	json_object_foreach((json_t *)(uintptr_t)reply, key, value)
	{
		if (is_nested(value))
			continue;
		buf_printf(out, "%s: ", key);
		text_add_value(out, value, strcmp(key, "uptime_s") == 0 ? TEXT_AGE : TEXT_PLAIN);
		buf_add_char(out, '\n');
	}
	json_object_foreach((json_t *)(uintptr_t)reply, key, value)
	{
		if (!is_nested(value))
			continue;
		buf_printf(out, "\n%s:\n", key);
		add_nested(value, 1, out);
	}
}

static bool is_empty(const json_t *v)
{
	return json_is_null(v) || (json_is_string(v) && json_string_length(v) == 0) ||
	       ((json_is_array(v) || json_is_object(v)) && !is_nested(v) &&
		json_array_size(v) == 0);
}

/* The name of one element of `legs`: "leg". */
static void add_singular(struct buf *line, const char *key)
{
	size_t n = strlen(key);

	buf_add(line, key, n > 1 && key[n - 1] == 's' ? n - 1 : n);
}

static void add_pairs_under(struct table *t, const json_t *o, unsigned indent);

/* `id key=value key=value`, then what is nested one line an element, deeper. */
static void add_pairs(struct table *t, const char *name, const json_t *o, unsigned indent)
{
	const char *id = json_string_value(json_object_get(o, "id"));
	const char *key;
	json_t *value;
	struct buf line;

	if (indent > 2 * MAX_DEPTH)
		return;
	buf_init(&line, MAX_LINE_BYTES);
	buf_printf(&line, "%*s", (int)indent, "");
	if (id)
		text_add_safe(&line, id);
	else
		add_singular(&line, name);
	json_object_foreach((json_t *)(uintptr_t)o, key, value)
	{
		if (is_nested(value) || is_empty(value) || strcmp(key, "id") == 0)
			continue;
		buf_add_char(&line, ' ');
		text_add_safe(&line, key);
		buf_add_char(&line, '=');
		text_add_value(&line, value, TEXT_PLAIN);
	}
	table_add_line(t, line.failed ? "..." : line.p);
	buf_fini(&line);
	add_pairs_under(t, o, indent + 2);
}

static void add_pairs_under(struct table *t, const json_t *o, unsigned indent)
{
	const char *key;
	json_t *value, *element;
	size_t i;

	json_object_foreach((json_t *)(uintptr_t)o, key, value)
	{
		if (json_is_object(value))
			add_pairs(t, key, value, indent);
		json_array_foreach(value, i, element)
		{
			if (json_is_object(element))
				add_pairs(t, key, element, indent);
		}
	}
}

void show_list(const json_t *reply, const char *key, const struct column *columns,
	       show_under_fn under, const char *nothing, struct buf *out)
{
	const json_t *list = json_object_get(reply, key), *row;
	struct table t;
	size_t i;

	if (json_array_size(list) == 0) {
		buf_printf(out, "%s\n", nothing);
		return;
	}
	table_init(&t, columns);
	json_array_foreach(list, i, row)
	{
		table_add_object(&t, row, 0);
		if (under)
			under(&t, row);
	}
	table_print(&t, out);
	table_fini(&t);
}

static void under_zone(struct table *t, const json_t *zone)
{
	const json_t *peer;
	size_t i;

	json_array_foreach(json_object_get(zone, "peers"), i, peer) table_add_object(t, peer, 2);
}

void show_zones(const json_t *reply, struct buf *out)
{
	static const struct column columns[] = {
		{ .title = "NAME", .key = "name" },	  { .title = "TYPE", .key = "type" },
		{ .title = "ADDRESS", .key = "address" }, { .title = "STATE", .key = "state" },
		{ .title = "REASON", .key = "reason" },	  { 0 }
	};

	show_list(reply, "zones", columns, under_zone, "no zones", out);
}

void show_registrations(const json_t *reply, struct buf *out)
{
	static const struct column columns[] = {
		{ .title = "ID", .key = "id" },
		{ .title = "AOR", .key = "aor" },
		{ .title = "CONTACT", .key = "contact" },
		{ .title = "ZONE", .key = "zone" },
		{ .title = "STATE", .key = "state" },
		{ .title = "EXPIRES", .key = "expires_s", .form = TEXT_AGE, .right = true },
		{ .title = "REMOTE", .key = "remote" },
		{ .title = "FLOW", .key = "flow" },
		{ .title = "PATH", .key = "path" },
		{ .title = "SESSION", .key = "session" },
		{ 0 }
	};

	show_list(reply, "registrations", columns, NULL, "no registrations", out);
}

void show_under_pairs(struct table *t, const json_t *row)
{
	add_pairs_under(t, row, 2);
}

void show_calls(const json_t *reply, struct buf *out)
{
	static const struct column columns[] = {
		{ .title = "ID", .key = "id" },
		{ .title = "FROM", .key = "from" },
		{ .title = "TO", .key = "to" },
		{ .title = "STATE", .key = "state" },
		{ .title = "DIRECTION", .key = "direction" },
		{ .title = "SINCE", .key = "since", .form = TEXT_TIME },
		{ .title = "SESSION", .key = "session" },
		{ 0 }
	};

	show_list(reply, "calls", columns, show_under_pairs, "no calls", out);
}

void show_connections(const json_t *reply, struct buf *out)
{
	static const struct column columns[] = {
		{ .title = "ID", .key = "id" },
		{ .title = "PARENT", .key = "parent" },
		{ .title = "USER", .key = "user" },
		{ .title = "ZONE", .key = "zone" },
		{ .title = "SESSION", .key = "session" },
		{ .title = "VIA", .key = "transport" },
		{ .title = "LOCAL", .key = "local" },
		{ .title = "REMOTE", .key = "remote" },
		{ .title = "STATE", .key = "state" },
		{ .title = "AGE", .key = "age_s", .form = TEXT_AGE, .right = true },
		{ .title = "RX", .key = "rx_bytes", .form = TEXT_BYTES, .right = true },
		{ .title = "TX", .key = "tx_bytes", .form = TEXT_BYTES, .right = true },
		{ .title = "DROPPED", .key = "dropped", .right = true },
		{ .title = "ENDED", .key = "ended" },
		{ .title = "REASON", .key = "reason" },
		{ 0 }
	};
	size_t n = json_array_size(json_object_get(reply, "connections"));
	json_int_t total = json_integer_value(json_object_get(reply, "total"));

	show_list(reply, "connections", columns, NULL, "no connections", out);
	if (total > (json_int_t)n)
		buf_printf(out,
			   "%zu of %" JSON_INTEGER_FORMAT
			   " shown; narrow it with --kind, --zone, --session or --user, or "
			   "page with --limit and --offset\n",
			   n, total);
}

static void under_alarm(struct table *t, const json_t *alarm)
{
	const char *what = json_string_value(json_object_get(alarm, "what_to_do"));
	struct buf line;

	if (!what || !what[0])
		return;
	buf_init(&line, MAX_LINE_BYTES);
	buf_add_str(&line, "  what to do: ");
	text_add_safe(&line, what);
	table_add_line(t, line.p ? line.p : "");
	buf_fini(&line);
}

void show_alarms(const json_t *reply, struct buf *out)
{
	static const struct column columns[] = {
		{ .title = "SEVERITY", .key = "severity" }, { .title = "ALARM", .key = "id" },
		{ .title = "SUBJECT", .key = "subject" },   { .title = "SINCE", .key = "since" },
		{ .title = "TEXT", .key = "text" },	    { 0 }
	};

	show_list(reply, "alarms", columns, under_alarm, "no alarms", out);
}

/* Each line of the text on a line of its own, indented. */
static void add_indented(const char *text, struct buf *out)
{
	struct slice rest = slice_of(text);

	while (rest.p && text[0]) {
		char *line = slice_dup(slice_next(&rest, '\n'));

		if (!line) {
			out->failed = true;
			return;
		}
		buf_add_str(out, "    ");
		text_add_safe(out, line);
		buf_add_char(out, '\n');
		free(line);
	}
}

static void add_entry(const json_t *e, struct buf *out)
{
	static const char *const keys[] = { "time", "code", "decided_by", "remote", "session" };
	json_int_t repeats = json_integer_value(json_object_get(e, "repeats"));
	const char *text = json_string_value(json_object_get(e, "text"));
	const char *between = "";

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const char *s = json_string_value(json_object_get(e, keys[i]));

		if (!s || !s[0])
			continue;
		buf_add_str(out, between);
		if (strcmp(keys[i], "session") == 0)
			buf_add_str(out, "session=");
		text_add_safe(out, s);
		between = "  ";
	}
	if (repeats)
		buf_printf(out, "  (and %" JSON_INTEGER_FORMAT " more like it)", repeats);
	buf_add_char(out, '\n');
	add_indented(text ? text : "", out);
}

void show_trace(const json_t *reply, struct buf *out)
{
	const json_t *list = json_object_get(reply, "trace"), *e;
	size_t i;

	if (json_array_size(list) == 0)
		buf_add_str(out, "no entries\n");
	json_array_foreach(list, i, e) add_entry(e, out);
}

static void show_target(const json_t *target, struct buf *out)
{
	if (!target || json_is_null(target))
		return;
	buf_add_str(out, is_nested(target) ? "target:\n" : "target: ");
	if (is_nested(target)) {
		add_nested(target, 1, out);
		return;
	}
	text_add_value(out, target, TEXT_PLAIN);
	buf_add_char(out, '\n');
}

/* What else the daemon says (status, hop count, ...), before the walk. */
static void show_rest(const json_t *reply, struct buf *out)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)reply, key, value)
	{
		if (strcmp(key, "found") == 0 || strcmp(key, "target") == 0 ||
		    strcmp(key, "targets") == 0 || strcmp(key, "steps") == 0 || is_empty(value))
			continue;
		text_add_safe(out, key);
		buf_add_str(out, is_nested(value) ? ":\n" : ": ");
		if (is_nested(value)) {
			add_nested(value, 1, out);
			continue;
		}
		text_add_value(out, value, TEXT_PLAIN);
		buf_add_char(out, '\n');
	}
}

void show_locate(const json_t *reply, struct buf *out)
{
	static const struct column targets[] = {
		{ .title = "ZONE", .key = "zone" },	 { .title = "ALIAS", .key = "alias" },
		{ .title = "RULE", .key = "rule" },	 { .title = "PRIORITY", .key = "priority" },
		{ .title = "HOPS", .key = "hop_count" }, { 0 }
	};
	static const struct column steps[] = { { .title = "STEP", .key = "step" },
					       { .title = "RULE", .key = "rule" },
					       { .title = "DECISION", .key = "decision" },
					       { .title = "WHY", .key = "why" },
					       { 0 } };

	buf_printf(out, "found: %s\n",
		   json_is_true(json_object_get(reply, "found")) ? "yes" : "no");
	show_target(json_object_get(reply, "target"), out);
	show_rest(reply, out);
	if (json_array_size(json_object_get(reply, "targets")) > 0) {
		buf_add_char(out, '\n');
		show_list(reply, "targets", targets, NULL, "", out);
	}
	buf_add_char(out, '\n');
	show_list(reply, "steps", steps, NULL, "no steps", out);
}
