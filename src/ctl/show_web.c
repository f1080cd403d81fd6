/* Replies about the tunnel, sign-ins, servers inside and the allow list. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/show_list.h"

/* Whom C dials, "host:port" in one cell; E dials nobody. */
static void join_ports(json_t *tunnels)
{
	json_t *t;
	size_t i;

	json_array_foreach(tunnels, i, t)
	{
		const char *host = json_string_value(json_object_get(t, "address"));
		json_int_t port = json_integer_value(json_object_get(t, "port"));
		char text[300];

		if (!host || port <= 0)
			continue;
		snprintf(text, sizeof(text),
			 strchr(host, ':') ? "[%s]:%" JSON_INTEGER_FORMAT
					   : "%s:%" JSON_INTEGER_FORMAT,
			 host, port);
		json_object_set_new(t, "address", json_string(text));
	}
}

void show_tunnels(const json_t *reply, struct buf *out)
{
	static const struct column columns[] = {
		{ .title = "NAME", .key = "name" },
		{ .title = "STATE", .key = "state" },
		{ .title = "SYSTEM", .key = "system" },
		{ .title = "ADDRESS", .key = "address" },
		{ .title = "SINCE", .key = "since" },
		{ .title = "STREAMS", .key = "streams", .right = true },
		{ .title = "SKEW-MS", .key = "skew-ms", .right = true },
		{ .title = "LAST ERROR", .key = "last-error" },
		{ 0 }
	};
	const char *fingerprint = json_string_value(json_object_get(reply, "fingerprint"));
	json_t *copy = json_deep_copy(reply);

	join_ports(json_object_get(copy, "tunnels"));
	show_list(copy ? copy : reply, "tunnels", columns, show_under_pairs, "no tunnels", out);
	json_decref(copy);
	if (!fingerprint || !fingerprint[0])
		return;
	buf_add_str(out, "\nkey of this box: ");
	text_add_safe(out, fingerprint);
	buf_add_char(out, '\n');
}

void show_sessions(const json_t *reply, struct buf *out)
{
	static const struct column columns[] = {
		{ .title = "SESSION", .key = "session" },
		{ .title = "USER", .key = "user" },
		{ .title = "DOMAIN", .key = "domain" },
		{ .title = "FROM", .key = "from" },
		{ .title = "PEER", .key = "peer" },
		{ .title = "SINCE", .key = "since" },
		{ .title = "IDLE", .key = "idle_s", .form = TEXT_AGE, .right = true },
		{ .title = "EXPIRES", .key = "expires_s", .form = TEXT_AGE, .right = true },
		{ 0 }
	};
	static const struct column ended[] = { { .title = "SESSION", .key = "session" },
					       { .title = "USER", .key = "user" },
					       { .title = "FROM", .key = "from" },
					       { .title = "SINCE", .key = "since" },
					       { .title = "ENDED", .key = "ended" },
					       { .title = "REASON", .key = "reason" },
					       { 0 } };

	show_list(reply, "sessions", columns, NULL, "nobody is signed in", out);
	if (json_array_size(json_object_get(reply, "ended")) == 0)
		return;
	buf_add_str(out, "\nended lately:\n");
	show_list(reply, "ended", ended, NULL, "", out);
}

/* What is known of the cluster besides its nodes, one line each. */
static void add_cluster(const json_t *cluster, struct buf *out)
{
	static const char *const keys[] = { "domains", "discovery",  "security", "version",
					    "running", "discovered", "error",	 "note" };
	const char *name = json_string_value(json_object_get(cluster, "name"));

	text_add_safe(out, name ? name : "?");
	buf_add_str(out, ":\n");
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const json_t *value = json_object_get(cluster, keys[i]);

		if (!value || json_is_null(value))
			continue;
		buf_printf(out, "  %s: ", keys[i]);
		text_add_value(out, value, TEXT_PLAIN);
		buf_add_char(out, '\n');
	}
}

void show_uc(const json_t *reply, struct buf *out)
{
	static const struct column columns[] = {
		{ .title = "NODE", .key = "name" },
		{ .title = "ALIVE", .key = "alive" },
		{ .title = "ROLES", .key = "roles" },
		{ .title = "UDS", .key = "uds_port", .right = true },
		{ .title = "TCP ZONE", .key = "tcp_zone" },
		{ .title = "TLS ZONE", .key = "tls_zone" },
		{ .title = "WHY", .key = "why" },
		{ 0 }
	};
	const json_t *clusters = json_object_get(reply, "clusters"), *cluster;
	size_t i;

	if (json_array_size(clusters) == 0)
		buf_add_str(out, "no clusters\n");
	json_array_foreach(clusters, i, cluster)
	{
		if (i)
			buf_add_char(out, '\n');
		add_cluster(cluster, out);
		show_list(cluster, "nodes", columns, NULL, "no nodes known", out);
	}
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

/* By the box it came from, then URL and name: the daemon's order means nothing. */
static int compare_rules(const void *a, const void *b)
{
	static const char *const keys[] = { "from", "url", "name" };
	int order = 0;

	for (size_t i = 0; order == 0 && i < sizeof(keys) / sizeof(keys[0]); i++)
		order = strcmp(text_of(*(json_t *const *)a, keys[i]),
			       text_of(*(json_t *const *)b, keys[i]));
	return order;
}

static size_t pick_rules(const json_t *list, bool automatic, const json_t **out)
{
	const json_t *rule;
	size_t i, n = 0;

	json_array_foreach(list, i, rule)
	{
		if (json_is_true(json_object_get(rule, "automatic")) == automatic)
			out[n++] = rule;
	}
	qsort(out, n, sizeof(*out), compare_rules);
	return n;
}

static void add_rules(const json_t *list, bool automatic, const json_t **room, struct buf *out)
{
	static const struct column columns[] = { { .title = "RULE", .key = "name" },
						 { .title = "FROM", .key = "from" },
						 { .title = "URL", .key = "url" },
						 { .title = "MATCH", .key = "match" },
						 { .title = "METHODS", .key = "methods" },
						 { .title = "SIGN-IN", .key = "authentication" },
						 { 0 } };
	size_t n = pick_rules(list, automatic, room);
	struct table t;

	buf_add_str(out, automatic ? "\nautomatic, from discovery:\n" : "rules of [allow]:\n");
	if (n == 0) {
		buf_add_str(out, "none\n");
		return;
	}
	table_init(&t, columns);
	for (size_t i = 0; i < n; i++)
		table_add_object(&t, room[i], 0);
	table_print(&t, out);
	table_fini(&t);
}

void show_allow(const json_t *reply, struct buf *out)
{
	const json_t *list = json_object_get(reply, "allow");
	const json_t **room = calloc(json_array_size(list) + 1, sizeof(json_t *));

	if (!room) {
		out->failed = true;
		return;
	}
	add_rules(list, false, room, out);
	add_rules(list, true, room, out);
	free(room);
}

void show_allow_check(const json_t *reply, struct buf *out)
{
	buf_add_str(out,
		    json_is_true(json_object_get(reply, "allowed")) ? "allowed: " : "refused: ");
	text_add_safe(out, text_of(reply, "method"));
	buf_add_char(out, ' ');
	text_add_safe(out, text_of(reply, "url"));
	buf_add_str(out, "\n  ");
	text_add_safe(out, text_of(reply, "why"));
	buf_add_char(out, '\n');
}

void show_backends(const json_t *reply, struct buf *out)
{
	static const struct column columns[] = { { .title = "HOST", .key = "host" },
						 { .title = "SERVER", .key = "server" },
						 { .title = "PORT", .key = "port", .right = true },
						 { .title = "STATE", .key = "state" },
						 { .title = "BAD", .key = "bad", .right = true },
						 { .title = "ADDRESSES", .key = "addresses" },
						 { 0 } };

	show_list(reply, "backends", columns, NULL, "no backends in use", out);
}
