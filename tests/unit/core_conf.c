#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "core/conf_store.h"
#include "support/alloc_fail.h"

/* A schema with every type, both kinds of sections and both roles. */
struct test_system {
	struct conf_common common;
	int role;
	char *name;
};

struct test_all {
	struct conf_common common;
	bool flag;
	uint32_t number;
	uint32_t free_number;
	uint32_t time_ms;
	uint32_t size;
	int transport;
	char *text;
	char *secret;
	char *path;
	struct conf_names names;
	struct addr listen;
	struct conf_ports ports;
	struct conf_prefixes deny;
	char *pattern;
};

struct test_zone {
	struct conf_common common;
	struct conf_names peers;
	uint32_t port;
};

struct test_rule {
	struct conf_common common;
	char *target;
};

struct test_edge {
	struct conf_common common;
	uint32_t limit;
	char *must;
};

static const char *const role_names[] = { "E", "C", NULL };
static const char *const transport_names[] = { "udp", "tcp", "tls", NULL };

static const struct conf_row system_rows[] = {
	{ .key = "role",
	  .type = CONF_ENUM,
	  .offset = offsetof(struct test_system, role),
	  .names = role_names,
	  .flags = CONF_REQUIRED | CONF_RESTART,
	  .help = "Role of this box." },
	{ .key = "name",
	  .type = CONF_STRING,
	  .offset = offsetof(struct test_system, name),
	  .def = "box",
	  .flags = CONF_RESTART,
	  .help = "Name | of this box." },
};

#define ALL(field) .offset = offsetof(struct test_all, field)
static const struct conf_row all_rows[] = {
	{ .key = "flag", .type = CONF_BOOL, ALL(flag), .def = "yes" },
	{ .key = "number", .type = CONF_U32, ALL(number), .def = "10", .min = 2, .max = 65535 },
	{ .key = "free-number", .type = CONF_U32, ALL(free_number) },
	{ .key = "time", .type = CONF_MS, ALL(time_ms), .def = "5s", .min = 500, .max = 30000 },
	{ .key = "size", .type = CONF_BYTES, ALL(size), .def = "32k", .min = 1024, .max = 1 << 20 },
	{ .key = "transport",
	  .type = CONF_ENUM,
	  ALL(transport),
	  .def = "tls",
	  .names = transport_names },
	{ .key = "text", .type = CONF_STRING, ALL(text), .def = "some text" },
	{ .key = "secret", .type = CONF_SECRET, ALL(secret) },
	{ .key = "path", .type = CONF_PATH, ALL(path) },
	{ .key = "names", .type = CONF_NAMES, ALL(names), .def = "a b" },
	{ .key = "listen", .type = CONF_ADDR, ALL(listen), .def = "any" },
	{ .key = "ports", .type = CONF_PORTS, ALL(ports), .def = "36000-59999", .min = 1024 },
	{ .key = "deny", .type = CONF_PREFIXES, ALL(deny) },
	{ .key = "pattern", .type = CONF_REGEX, ALL(pattern) },
};

static const struct conf_row zone_rows[] = {
	{ .key = "peers",
	  .type = CONF_NAMES,
	  .offset = offsetof(struct test_zone, peers),
	  .flags = CONF_REQUIRED },
	{ .key = "port",
	  .type = CONF_U32,
	  .offset = offsetof(struct test_zone, port),
	  .def = "5060" },
};

static const struct conf_row rule_rows[] = {
	{ .key = "target",
	  .type = CONF_REF,
	  .offset = offsetof(struct test_rule, target),
	  .ref = "zone policy",
	  .flags = CONF_REQUIRED },
};

static const struct conf_row edge_rows[] = {
	{ .key = "limit",
	  .type = CONF_U32,
	  .offset = offsetof(struct test_edge, limit),
	  .def = "7" },
	{ .key = "must",
	  .type = CONF_STRING,
	  .offset = offsetof(struct test_edge, must),
	  .flags = CONF_REQUIRED },
};

/* The port of each zone must not be that of [all] number. */
static void check_zone(const struct conf_snapshot *snap, const void *section,
		       struct conf_errors *errors)
{
	const struct test_zone *zone = section;
	const struct test_all *all = conf_get(snap, "all", NULL);

	assert_non_null(all);
	assert_true(zone->peers.n > 0);
	if (zone->port == all->number)
		conf_error(errors, zone, "port", "%u is [all] number", zone->port);
	if (zone->peers.n > 2)
		conf_error(errors, zone, NULL, "%zu peers", zone->peers.n);
}

#define ROWS(r) .rows = (r), .n_rows = sizeof(r) / sizeof((r)[0])
static const struct conf_section system_section = { .type = "system",
						    .roles = CONF_ROLE_BOTH,
						    .size = sizeof(struct test_system),
						    ROWS(system_rows),
						    .help = "The box." };
static const struct conf_section all_section = {
	.type = "all", .roles = CONF_ROLE_BOTH, .size = sizeof(struct test_all), ROWS(all_rows)
};
static const struct conf_section zone_section = { .type = "zone",
						  .repeatable = true,
						  .roles = CONF_ROLE_BOTH,
						  .size = sizeof(struct test_zone),
						  ROWS(zone_rows),
						  .check = check_zone };
static const struct conf_section policy_section = { .type = "policy",
						    .repeatable = true,
						    .roles = CONF_ROLE_BOTH,
						    .size = sizeof(struct conf_common) };
static const struct conf_section rule_section = { .type = "rule",
						  .repeatable = true,
						  .roles = CONF_ROLE_C,
						  .size = sizeof(struct test_rule),
						  ROWS(rule_rows) };
static const struct conf_section edge_section = {
	.type = "edge", .roles = CONF_ROLE_E, .size = sizeof(struct test_edge), ROWS(edge_rows)
};
static const struct conf_section *const schema[] = {
	&system_section, &all_section, &zone_section, &policy_section, &rule_section, &edge_section
};

static struct conf_store *store_new(void)
{
	struct conf_store *s = conf_store_new(schema, sizeof(schema) / sizeof(schema[0]));

	assert_non_null(s);
	return s;
}

/* Parses for role C what must be right. */
static struct conf_snapshot *good(const struct conf_store *s, const char *text)
{
	struct buf errors;
	struct conf_snapshot *snap;

	buf_init(&errors, 1 << 16);
	snap = conf_parse(s, "t.ini", slice_of(text), CONF_ROLE_C, &errors);
	if (!snap)
		fail_msg("%s", errors.p);
	assert_int_equal(errors.n, 0);
	buf_fini(&errors);
	return snap;
}

/* ... and what must not, with exactly these errors. */
static void bad_role(unsigned role, const char *text, const char *expected)
{
	struct conf_store *s = store_new();
	struct buf errors;

	buf_init(&errors, 1 << 18);
	buf_add(&errors, "", 0);
	assert_null(conf_parse(s, "t.ini", slice_of(text), role, &errors));
	assert_string_equal(errors.p, expected);
	buf_fini(&errors);
	conf_store_free(s);
}

static void bad(const char *text, const char *expected)
{
	bad_role(CONF_ROLE_C, text, expected);
}

#define SYS "[system]\nrole = C\n"

static void defaults(void **state)
{
	struct conf_store *s = store_new();
	struct conf_snapshot *snap = good(s, SYS);
	const struct test_all *all = conf_get(snap, "all", NULL);
	const struct test_edge *edge = conf_get(snap, "edge", NULL);

	assert_non_null(all);
	assert_int_equal(all->common.line, 0);
	assert_string_equal(all->common.name, "");
	assert_string_equal(all->common.file, "t.ini");
	assert_true(all->flag);
	assert_int_equal(all->number, 10);
	assert_int_equal(all->free_number, 0);
	assert_int_equal(all->time_ms, 5000);
	assert_int_equal(all->size, 32768);
	assert_int_equal(all->transport, 2);
	assert_string_equal(all->text, "some text");
	assert_null(all->secret);
	assert_int_equal(all->names.n, 2);
	assert_int_equal(all->listen.family, ADDR_NONE);
	assert_int_equal(all->ports.first, 36000);
	assert_int_equal(all->ports.last, 59999);
	assert_int_equal(all->deny.n, 0);
	assert_null(all->pattern);
	assert_false(conf_is_set(all, "number"));
	assert_false(conf_is_set(all, "no-such-key"));
	/* Of the other role: there, with defaults, and nothing is required of it. */
	assert_non_null(edge);
	assert_int_equal(edge->limit, 7);
	assert_null(conf_get(snap, "zone", NULL));
	assert_null(conf_get(snap, "zone", "pbx"));
	assert_null(conf_get(snap, "nothing", NULL));
	assert_null(conf_next(snap, "zone", NULL));
	assert_int_equal(conf_role(snap), CONF_ROLE_C);
	conf_unref(snap);
	conf_store_free(s);
}

static void every_type(void **state)
{
	static const char text[] =
		SYS "name = c1\n[all]\nflag = off\nnumber = 65535\nfree-number=4294967295\n"
		    "time = 500ms\nsize = 1m\ntransport = udp\ntext = a = b # c\nsecret = s3cret\n"
		    "path = /dev/../proc/self/status\nnames = a,b  c\nlisten = 2001:db8::1\n"
		    "ports = 1024 - 1024\ndeny = 10.0.0.0/8, 192.0.2.1 2001:db8::/32\n"
		    "pattern = (.+)@example\\.com\n";
	struct conf_store *s = store_new();
	struct conf_snapshot *snap = good(s, text);
	const struct test_all *all = conf_get(snap, "all", NULL);
	char ip[ADDR_STR_BYTES];

	assert_false(all->flag);
	assert_int_equal(all->number, 65535);
	assert_int_equal(all->free_number, UINT32_MAX);
	assert_int_equal(all->time_ms, 500);
	assert_int_equal(all->size, 1 << 20);
	assert_int_equal(all->transport, 0);
	assert_string_equal(all->text, "a = b # c");
	assert_string_equal(all->secret, "s3cret");
	assert_string_equal(all->path, "/dev/../proc/self/status");
	assert_int_equal(all->names.n, 3);
	assert_string_equal(all->names.v[2], "c");
	assert_string_equal(addr_ip_str(&all->listen, ip), "2001:db8::1");
	assert_int_equal(all->ports.first, 1024);
	assert_int_equal(all->ports.last, 1024);
	assert_int_equal(all->deny.n, 3);
	assert_int_equal(all->deny.v[0].bits, 8);
	assert_int_equal(all->deny.v[1].bits, 32);
	assert_string_equal(all->pattern, "(.+)@example\\.com");
	assert_true(conf_is_set(all, "number"));
	assert_int_equal(all->common.line, 4);
	conf_unref(snap);
	conf_store_free(s);
}

static uint32_t time_of(const char *value)
{
	struct conf_store *s = store_new();
	struct conf_snapshot *snap;
	char text[100];
	uint32_t ms;

	snprintf(text, sizeof(text), SYS "[all]\ntime = %s\n", value);
	snap = good(s, text);
	ms = ((const struct test_all *)conf_get(snap, "all", NULL))->time_ms;
	conf_unref(snap);
	conf_store_free(s);
	return ms;
}

static void times(void **state)
{
	assert_int_equal(time_of("5"), 5000);
	assert_int_equal(time_of("30000ms"), 30000);
	assert_int_equal(time_of("30 s"), 30000);
	assert_int_equal(time_of("1s"), 1000);
	bad(SYS "[all]\ntime = 1m\n",
	    "t.ini:4: [all] time: \"1m\" is too large; legal values: a time from 500ms to 30s "
	    "(500ms, 5s, 2m, 1h; a bare number is seconds)\n");
	bad(SYS "[all]\ntime = 499ms\n",
	    "t.ini:4: [all] time: \"499ms\" is too small; legal values: a time from 500ms to 30s "
	    "(500ms, 5s, 2m, 1h; a bare number is seconds)\n");
	bad(SYS "[all]\ntime = 1d\n",
	    "t.ini:4: [all] time: \"1d\" is not a time; legal values: a time from 500ms to 30s "
	    "(500ms, 5s, 2m, 1h; a bare number is seconds)\n");
	bad(SYS "[all]\ntime = 4294967295h\n",
	    "t.ini:4: [all] time: \"4294967295h\" is too large; legal values: a time from 500ms to "
	    "30s (500ms, 5s, 2m, 1h; a bare number is seconds)\n");
}

static void empty_values_take_defaults_away(void **state)
{
	struct conf_store *s = store_new();
	struct conf_snapshot *snap =
		good(s, SYS "[all]\ntext =\nnames =\nsecret=\npath=\ndeny =\npattern =\n");
	const struct test_all *all = conf_get(snap, "all", NULL);

	assert_null(all->text);
	assert_int_equal(all->names.n, 0);
	assert_true(conf_is_set(all, "text"));
	conf_unref(snap);
	conf_store_free(s);
	bad(SYS "[all]\nnumber =\nports =\n[zone a]\npeers =\n",
	    "t.ini:4: [all] number: no value; legal values: a number from 2 to 65535\n"
	    "t.ini:5: [all] ports: no value; legal values: FIRST-LAST, ports from 1024 to 65535\n"
	    "t.ini:7: [zone a] peers: no value; legal values: names, separated by spaces or "
	    "commas\n");
}

static void bad_values(void **state)
{
	bad(SYS "[all]\nflag = maybe\nnumber = 1\n",
	    "t.ini:4: [all] flag: \"maybe\" is neither yes nor no; legal values: yes, no (also on, "
	    "off, true, false)\n"
	    "t.ini:5: [all] number: \"1\" is too small; legal values: a number from 2 to 65535\n");
	bad(SYS "[all]\nnumber = 65536\n",
	    "t.ini:4: [all] number: \"65536\" is too large; legal values: a number from 2 to "
	    "65535\n");
	bad(SYS "[all]\nnumber = -3\nfree-number = 4294967296\n",
	    "t.ini:4: [all] number: \"-3\" is not a number; legal values: a number from 2 to "
	    "65535\n"
	    "t.ini:5: [all] free-number: \"4294967296\" is too large; legal values: a number from "
	    "0 to 4294967295\n");
	bad(SYS "[all]\nnumber = 5k\nfree-number = 99999999999999999999999999\n",
	    "t.ini:4: [all] number: \"5k\" is not a number; legal values: a number from 2 to "
	    "65535\n"
	    "t.ini:5: [all] free-number: \"99999999999999999999999999\" is too large; legal "
	    "values: a number from 0 to 4294967295\n");
	bad(SYS "[all]\nsize = 1023\n",
	    "t.ini:4: [all] size: \"1023\" is too small; legal values: a size in bytes from 1k to "
	    "1m (32768, 32k, 1m)\n");
	bad(SYS "[all]\nsize = 1048577\n",
	    "t.ini:4: [all] size: \"1048577\" is too large; legal values: a size in bytes from 1k "
	    "to 1m (32768, 32k, 1m)\n");
	bad(SYS "[all]\ntransport = tpc\n",
	    "t.ini:4: [all] transport: \"tpc\" is unknown; legal values: udp, tcp, tls\n");
	bad(SYS "[all]\ntransport = TLS\n",
	    "t.ini:4: [all] transport: \"TLS\" is unknown; legal values: udp, tcp, tls; did you "
	    "mean \"tls\"?\n");
	bad(SYS "[all]\nlisten = example.com\n",
	    "t.ini:4: [all] listen: \"example.com\" is not an IP address; legal values: an IP "
	    "address, any\n");
	bad(SYS "[all]\ndeny = 10.0.0.0/8 10.0.0.0/33\n",
	    "t.ini:4: [all] deny: \"10.0.0.0/33\" is neither an IP address nor a prefix; legal "
	    "values: IP addresses or prefixes (192.0.2.0/24), separated by spaces or commas\n");
	bad(SYS "[all]\npattern = (a\n",
	    "t.ini:4: [all] pattern: not a regular expression: missing closing parenthesis at "
	    "offset 2; legal values: a regular expression (PCRE2)\n");
	bad(SYS "[all]\ntransport = a\"b\\c\xc3\xbc\n",
	    "t.ini:4: [all] transport: \"a\\x22b\\x5cc\\xc3\\xbc\" is unknown; legal values: udp, "
	    "tcp, tls\n");
}

static void port_ranges(void **state)
{
#define LEGAL "; legal values: FIRST-LAST, ports from 1024 to 65535\n"
	bad(SYS "[all]\nports = 1023-2000\n",
	    "t.ini:4: [all] ports: \"1023-2000\" goes over the limits" LEGAL);
	bad(SYS "[all]\nports = 2000-65536\n",
	    "t.ini:4: [all] ports: \"2000-65536\" goes over the limits" LEGAL);
	bad(SYS "[all]\nports = 3000-2000\n",
	    "t.ini:4: [all] ports: \"3000-2000\" ends before it starts" LEGAL);
	bad(SYS "[all]\nports = 3000\n",
	    "t.ini:4: [all] ports: \"3000\" is not a port range" LEGAL);
	bad(SYS "[all]\nports = a-b\n", "t.ini:4: [all] ports: \"a-b\" is not a port range" LEGAL);
}

static void unknown_keys_and_sections(void **state)
{
	bad(SYS "nmae = x\n",
	    "t.ini:3: [system] nmae: unknown key; legal values: role, name; did you mean "
	    "\"name\"?\n");
	bad(SYS "target = x\n",
	    "t.ini:3: [system] target: unknown key; legal values: role, name; it is a key of "
	    "[rule NAME]\n");
	bad(SYS "qqq = x\n", "t.ini:3: [system] qqq: unknown key; legal values: role, name\n");
	bad(SYS "[zoen pbx]\npeers = x\nanything = y\n",
	    "t.ini:3: [zoen]: unknown section; legal values: system, all, zone, policy, rule; did "
	    "you mean \"zone\"?\n");
	bad("name = x\n" SYS, "t.ini:1: name: stands before the first [section]\n");
}

static void sections_out_of_place(void **state)
{
	bad(SYS "[edge]\nlimit = nonsense\n",
	    "t.ini:3: [edge]: belongs to role E, and this is role C\n");
	bad_role(CONF_ROLE_E, "[system]\nrole=E\n[rule a]\ntarget = b\n[edge]\nmust = x\n",
		 "t.ini:3: [rule]: belongs to role C, and this is role E\n");
	bad(SYS "[zone]\npeers = a\n[all x]\n", "t.ini:3: [zone]: needs a name; write [zone NAME]\n"
						"t.ini:5: [all x]: takes no name; write [all]\n");
	bad(SYS "[zone a]\npeers = a\n[all]\n[zone a]\npeers = b\nport = x\n[all]\n",
	    "t.ini:6: [zone a]: this section is there already, at line 3\n"
	    "t.ini:8: [zone a] port: \"x\" is not a number; legal values: a number from 0 to "
	    "4294967295\n"
	    "t.ini:9: [all]: this section is there already, at line 5\n");
	bad(SYS "[all]\nnumber = 5\nflag = yes\nnumber = 6\n",
	    "t.ini:6: [all] number: written twice, first at line 4\n");
}

static void required_keys(void **state)
{
	bad("[all]\n", "t.ini: [system] role: required; legal values: E, C\n");
	bad("[system]\n[zone a]\nport = 1\n",
	    "t.ini:1: [system] role: required; legal values: E, C\n"
	    "t.ini:2: [zone a] peers: required; legal values: names, separated by spaces or "
	    "commas\n");
	bad_role(CONF_ROLE_E, "[system]\nrole = E\n",
		 "t.ini: [edge] must: required; legal values: text\n");
}

static void roles(void **state)
{
	struct conf_store *s = store_new();
	struct conf_snapshot *snap;
	struct buf errors;

	buf_init(&errors, 4096);
	/* Found by reading ahead, wherever it stands. */
	snap = conf_parse(s, "t", SLICE("[edge]\nmust = x\n[system]\nrole = E\n"), 0, &errors);
	assert_non_null(snap);
	assert_int_equal(conf_role(snap), CONF_ROLE_E);
	conf_unref(snap);
	buf_fini(&errors);
	conf_store_free(s);
	/* Without one, the rest is still checked. */
	bad_role(0, "[all]\nnumber = 1\n[edge]\nmust = x\n[rule a]\ntarget = b\n",
		 "t.ini: [system] role: required; legal values: E, C\n"
		 "t.ini:2: [all] number: \"1\" is too small; legal values: a number from 2 to "
		 "65535\n"
		 "t.ini:6: [rule a] target: there is no [zone b] and no [policy b]; there are no "
		 "such sections in this file\n");
	bad_role(0, "[edge]\nmust = x\n[system]\nrole = e\n",
		 "t.ini:4: [system] role: \"e\" is unknown; legal values: E, C; did you mean "
		 "\"E\"?\n");
	bad_role(CONF_ROLE_C, "[system]\nrole = E\n",
		 "t.ini:2: [system] role: is E, but role C was asked for\n");
}

static void role_without_a_row(void **state)
{
	static const struct conf_section *const no_system[] = { &policy_section };
	struct conf_store *s = conf_store_new(no_system, 1);
	struct buf errors;

	buf_init(&errors, 1024);
	assert_null(conf_parse(s, "t", SLICE("[policy a]\n"), 0, &errors));
	assert_string_equal(errors.p, "t: [system] role: required; legal values: E, C\n");
	buf_fini(&errors);
	conf_store_free(s);
}

static void references(void **state)
{
	struct conf_store *s = store_new();
	struct conf_snapshot *snap = good(s, SYS "[rule a]\ntarget = pbx\n[rule b]\ntarget = p\n"
						 "[policy p]\n[zone pbx]\npeers = x\n");
	const struct test_rule *rule = conf_get(snap, "rule", "a");

	assert_string_equal(rule->target, "pbx");
	conf_unref(snap);
	conf_store_free(s);
	bad(SYS
	    "[rule a]\ntarget = pbxx\n[zone pbx]\npeers = x\n[zone edge]\npeers = y\n[policy q]\n",
	    "t.ini:4: [rule a] target: there is no [zone pbxx] and no [policy pbxx]; legal values: "
	    "pbx, edge, q; did you mean \"pbx\"?\n");
	bad(SYS "[rule a]\ntarget = a b\n",
	    "t.ini:4: [rule a] target: \"a b\" is more than one name; legal values: the name of a "
	    "[zone] or a [policy] section\n");
}

static void checks_of_sections(void **state)
{
	bad(SYS "[all]\nnumber = 5060\n[zone a]\npeers = x\n[zone b]\npeers = x y z\nport = 5060\n"
		"[zone c]\nport = x\npeers = x y z\n",
	    "t.ini:5: [zone a] port: 5060 is [all] number\n"
	    "t.ini:7: [zone b]: 3 peers\n"
	    "t.ini:9: [zone b] port: 5060 is [all] number\n"
	    "t.ini:11: [zone c] port: \"x\" is not a number; legal values: a number from 0 to "
	    "4294967295\n");
}

static void syntax_errors_come_with_the_rest(void **state)
{
	bad(SYS "oops\n[all\nnumber = 1\n[zone a]\npeers = x\nport = y\n",
	    "t.ini:3: neither \"[section]\" nor \"key = value\" nor a comment\n"
	    "t.ini:4: section header without \"]\"\n"
	    "t.ini:8: [zone a] port: \"y\" is not a number; legal values: a number from 0 to "
	    "4294967295\n");
	bad("\xef\xbb\xbf" SYS,
	    "t.ini:1: file starts with a UTF-8 byte order mark; save it without one\n");
}

/* A file with this content and mode; path gets its name. */
static void write_file(char path[64], const char *content, size_t n, mode_t mode)
{
	int fd;

	strcpy(path, "/tmp/turnpike-conf-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, content, n), n);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void check_secret(const char *content, size_t n, mode_t mode, const char *expected)
{
	struct conf_store *s = store_new();
	struct conf_snapshot *snap;
	char path[64], text[200];
	const struct test_all *all;

	write_file(path, content, n, mode);
	snprintf(text, sizeof(text), SYS "[all]\nsecret = @%s\n", path);
	snap = good(s, text);
	all = conf_get(snap, "all", NULL);
	assert_string_equal(all->secret, expected);
	unlink(path);
	conf_unref(snap);
	conf_store_free(s);
}

/* fmt and tail are around the file's name in the error. */
static void check_bad_secret(const char *content, size_t n, mode_t mode, const char *before,
			     const char *after)
{
	char path[64], text[200], expected[600];

	write_file(path, content, n, mode);
	snprintf(text, sizeof(text), SYS "[all]\nsecret = @%s\n", path);
	snprintf(expected, sizeof(expected),
		 "t.ini:4: [all] secret: %s%s%s; legal values: the secret, or @/path of a file "
		 "whose first line is the secret\n",
		 before, path, after);
	if (strstr(after, "chmod"))
		snprintf(expected, sizeof(expected),
			 "t.ini:4: [all] secret: %s%s%s %s; legal values: the secret, or @/path of "
			 "a file whose first line is the secret\n",
			 before, path, after, path);
	bad(text, expected);
	unlink(path);
}

static void secrets(void **state)
{
	char big[CONF_MAX_SECRET_BYTES + 1];

	check_secret("hidden\n", 7, 0600, "hidden");
	check_secret(" hidden \r\nsecond\n", 17, 0640, "hidden");
	check_secret("hidden", 6, 0400, "hidden");
	memset(big, 'x', sizeof(big));
	big[CONF_MAX_SECRET_BYTES] = '\0';
	check_secret(big, CONF_MAX_SECRET_BYTES, 0600, big);
	big[CONF_MAX_SECRET_BYTES] = 'x';
	check_bad_secret(big, sizeof(big), 0600, "the first line of ",
			 " is longer than 1024 bytes");
	check_bad_secret("\nx", 2, 0600, "the first line of ", " is empty");
	check_bad_secret("a\0b", 3, 0600, "the first line of ", " holds NUL bytes");
	check_bad_secret("hidden\n", 7, 0604, "secret file ",
			 " can be read by everybody (mode 0604): chmod o-r");
#define LEGAL_SECRET \
	"; legal values: the secret, or @/path of a file whose first line is the secret\n"
	bad(SYS "[all]\nsecret = @/nonexistent/x\n",
	    "t.ini:4: [all] secret: cannot read file /nonexistent/x: No such file or "
	    "directory" LEGAL_SECRET);
	bad(SYS "[all]\nsecret = @/tmp\n",
	    "t.ini:4: [all] secret: /tmp is not a regular file" LEGAL_SECRET);
	bad(SYS "[all]\nsecret = @hidden\n",
	    "t.ini:4: [all] secret: \"@\" must be followed by the absolute path of a "
	    "file" LEGAL_SECRET);
}

static void paths(void **state)
{
#define LEGAL_PATH "; legal values: absolute path of a readable file\n"
	bad(SYS "[all]\npath = x.pem\n",
	    "t.ini:4: [all] path: \"x.pem\" is not an absolute path" LEGAL_PATH);
	bad(SYS "[all]\npath = /nonexistent\n",
	    "t.ini:4: [all] path: cannot read file /nonexistent: No such file or "
	    "directory" LEGAL_PATH);
	bad(SYS "[all]\npath = /dev/null\n",
	    "t.ini:4: [all] path: /dev/null is not a regular file" LEGAL_PATH);
}

static void walks_in_file_order(void **state)
{
	struct conf_store *s = store_new();
	struct conf_snapshot *snap =
		good(s, SYS "[zone c]\npeers=x\n[policy p]\n[zone a]\npeers=x\n"
			    "[zone b]\npeers=x\n");
	const struct test_zone *zone = NULL;
	char order[8] = "";

	while ((zone = conf_next(snap, "zone", zone)))
		strcat(order, zone->common.name);
	assert_string_equal(order, "cab");
	assert_non_null(conf_next(snap, "all", NULL));
	assert_null(conf_next(snap, "all", conf_get(snap, "all", NULL)));
	conf_unref(snap);
	conf_store_free(s);
}

static void swaps_and_references(void **state)
{
	struct conf_store *s = store_new();
	struct conf_snapshot *one = good(s, SYS "[all]\nnumber = 3\n");
	struct conf_snapshot *kept;

	assert_null(conf_current(s));
	conf_swap(s, one);
	assert_ptr_equal(conf_current(s), one);
	kept = conf_ref(conf_current(s));
	conf_swap(s, good(s, SYS));
	assert_int_equal(((const struct test_all *)conf_get(kept, "all", NULL))->number, 3);
	conf_unref(kept);
	conf_unref(NULL);
	conf_store_free(s);
	conf_store_free(NULL);
}

static bool same(const char *a, const char *b)
{
	struct conf_store *s = store_new();
	char text[200];
	struct conf_snapshot *x, *y;
	bool r;

	snprintf(text, sizeof(text), SYS "[all]\n%s\n", a);
	x = good(s, text);
	snprintf(text, sizeof(text), SYS "\n\n[all]\n%s\n", b);
	y = good(s, text);
	r = conf_section_same(conf_get(x, "all", NULL), conf_get(y, "all", NULL));
	assert_true(conf_section_same(conf_get(x, "system", NULL), conf_get(y, "system", NULL)));
	assert_false(conf_section_same(conf_get(x, "all", NULL), conf_get(y, "system", NULL)));
	assert_false(conf_section_same(conf_get(x, "all", NULL), NULL));
	assert_true(conf_section_same(NULL, NULL));
	conf_unref(x);
	conf_unref(y);
	conf_store_free(s);
	return r;
}

static void compares_values(void **state)
{
	static const char *const values[][2] = {
		{ "flag = on", "flag = off" },
		{ "number = 10", "number = 11" },
		{ "time = 5", "time = 6" },
		{ "transport = tls", "transport = udp" },
		{ "text = some text", "text = other" },
		{ "text =", "text = other" },
		{ "secret = a", "secret = b" },
		{ "names = a, b", "names = a c" },
		{ "names = a b", "names = a" },
		{ "listen = any", "listen = 192.0.2.1" },
		{ "ports = 36000-59999", "ports = 36000-59998" },
		{ "deny = 10.0.0.0/8", "deny = 10.0.0.0/9" },
		{ "deny = 10.0.0.0/8", "deny = 11.0.0.0/8" },
		{ "pattern = a", "pattern = b" },
	};

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		assert_true(same(values[i][0], values[i][0]));
		assert_false(same(values[i][0], values[i][1]));
	}
	/* Written or default does not matter. */
	assert_true(same("number = 10", ""));
}

static void dumps(void **state)
{
	static const char text[] = SYS
		"[zone pbx]\npeers = a b\n[all]\nsecret = hunter2\ntime = 1500ms\nsize=2k\ntext =\n"
		"deny = 10.0.0.0/8 192.0.2.1\nlisten=192.0.2.1\npattern = a|b\nnumber=7\n";
	static const char expected[] =
		"[system]\n# t.ini:2, needs a restart\nrole = C\n# default, needs a restart\n"
		"name = box\n\n"
		"[zone pbx]\n# t.ini:4\npeers = a b\n# default\nport = 5060\n\n"
		"[all]\n# default\nflag = yes\n# t.ini:13\nnumber = 7\n"
		"# default: free-number is not set\n# t.ini:7\ntime = 1500ms\n# t.ini:8\nsize = "
		"2k\n"
		"# default\ntransport = tls\n# t.ini:9\ntext =\n# t.ini:6\nsecret = <secret>\n"
		"# default: path is not set\n# default\nnames = a b\n# t.ini:11\nlisten = "
		"192.0.2.1\n"
		"# default\nports = 36000-59999\n# t.ini:10\ndeny = 10.0.0.0/8 192.0.2.1\n"
		"# t.ini:12\npattern = a|b\n";
	struct conf_store *s = store_new();
	struct conf_snapshot *snap = good(s, text), *again;
	struct buf out;

	buf_init(&out, 1 << 16);
	conf_dump(snap, &out);
	assert_string_equal(out.p, expected);
	assert_null(strstr(out.p, "hunter2"));
	/* What was dumped parses to the same, the secret aside. */
	again = good(s, out.p);
	assert_true(
		conf_section_same(conf_get(snap, "zone", "pbx"), conf_get(again, "zone", "pbx")));
	assert_true(
		conf_section_same(conf_get(snap, "system", NULL), conf_get(again, "system", NULL)));
	assert_false(conf_section_same(conf_get(snap, "all", NULL), conf_get(again, "all", NULL)));
	conf_unref(again);
	conf_unref(snap);
	buf_fini(&out);
	conf_store_free(s);
}

static void documents(void **state)
{
	static const struct conf_section *const two[] = { &system_section, &rule_section };
	struct conf_store *s = conf_store_new(two, 2);
	struct buf out;

	buf_init(&out, 1 << 16);
	conf_document(s, false, &out);
	assert_string_equal(
		out.p,
		"## `[system]`\n\nThe box. Role E and C.\n\n"
		"| Key | Legal values | Default | Meaning |\n| --- | --- | --- | --- |\n"
		"| `role` | E, C | required | Role of this box. Needs a restart. |\n"
		"| `name` | text | `box` | Name \\| of this box. Needs a restart. |\n\n"
		"## `[rule NAME]`\n\nRole C.\n\n"
		"| Key | Legal values | Default | Meaning |\n| --- | --- | --- | --- |\n"
		"| `target` | the name of a [zone] or a [policy] section | required |  |\n\n");
	buf_reset(&out);
	conf_document(s, true, &out);
	assert_string_equal(out.p,
			    ".SS \"[system]\"\nThe box.\nRole E and C.\n"
			    ".TP\n.B role\nRole of this box.\n.br\nLegal values: E, C. Required. "
			    "Needs a restart.\n"
			    ".TP\n.B name\nName | of this box.\n.br\nLegal values: text. Default: "
			    "box. Needs a restart.\n"
			    ".SS \"[rule NAME]\"\nRole C.\n"
			    ".TP\n.B target\n\n.br\nLegal values: the name of a [zone] or a "
			    "[policy] section. Required.\n");
	buf_fini(&out);
	conf_store_free(s);
}

static void loads_files(void **state)
{
	struct conf_store *s = store_new();
	struct conf_snapshot *snap;
	struct buf errors;
	char path[64], *big;

	buf_init(&errors, 4096);
	write_file(path, SYS, strlen(SYS), 0600);
	snap = conf_load(s, path, 0, &errors);
	assert_non_null(snap);
	conf_unref(snap);
	unlink(path);
	assert_null(conf_load(s, path, 0, &errors));
	assert_non_null(strstr(errors.p, ": cannot read the configuration: No such file"));
	buf_reset(&errors);
	assert_null(conf_load(s, "/tmp", 0, &errors));
	assert_string_equal(errors.p, "/tmp: not a regular file\n");
	buf_reset(&errors);
	big = malloc((1 << 20) + 1);
	memset(big, '\n', (1 << 20) + 1);
	memcpy(big, SYS, strlen(SYS));
	write_file(path, big, 1 << 20, 0600);
	snap = conf_load(s, path, 0, &errors);
	assert_non_null(snap);
	conf_unref(snap);
	unlink(path);
	write_file(path, big, (1 << 20) + 1, 0600);
	assert_null(conf_load(s, path, 0, &errors));
	assert_non_null(strstr(errors.p, ": file larger than 1 MiB\n"));
	unlink(path);
	free(big);
	buf_fini(&errors);
	conf_store_free(s);
}

static void errors_at_the_bound(void **state)
{
	struct conf_store *s = store_new();
	struct buf text, errors;
	size_t n_lines = 0;

	buf_init(&text, 1 << 16);
	buf_init(&errors, 1 << 20);
	buf_add_str(&text, SYS);
	for (int i = 0; i < CONF_MAX_ERRORS + 5; i++)
		buf_add_str(&text, "x\n");
	assert_null(conf_parse(s, "t", buf_slice(&text), CONF_ROLE_C, &errors));
	for (size_t i = 0; i < errors.n; i++)
		n_lines += errors.p[i] == '\n';
	assert_int_equal(n_lines, CONF_MAX_ERRORS + 1);
	assert_non_null(strstr(errors.p, "t: and 5 more errors\n"));
	buf_fini(&text);
	buf_fini(&errors);
	conf_store_free(s);
}

static void sections_at_the_bound(void **state)
{
	struct conf_store *s = store_new();
	struct conf_snapshot *snap;
	struct buf text, errors;

	buf_init(&text, 1 << 20);
	buf_init(&errors, 1 << 20);
	buf_add_str(&text, SYS);
	for (int i = 0; i < CONF_MAX_SECTIONS - 1; i++)
		buf_printf(&text, "[policy %d]\n", i);
	snap = conf_parse(s, "t", buf_slice(&text), CONF_ROLE_C, &errors);
	assert_non_null(snap);
	assert_non_null(conf_get(snap, "policy", "9998"));
	conf_unref(snap);
	buf_add_str(&text, "[policy x]\n[policy y]\n");
	assert_null(conf_parse(s, "t", buf_slice(&text), CONF_ROLE_C, &errors));
	assert_string_equal(errors.p, "t:10002: more than 10000 sections\n");
	buf_fini(&text);
	buf_fini(&errors);
	conf_store_free(s);
}

static void parse_without_memory(void *arg)
{
	struct conf_store *s = conf_store_new(schema, sizeof(schema) / sizeof(schema[0]));
	struct conf_snapshot *snap;
	struct buf errors;

	if (!s)
		return;
	buf_init(&errors, 1 << 16);
	snap = conf_parse(s, "t.ini", slice_of(arg), 0, &errors);
	/* Either refused, or complete. */
	if (snap) {
		const struct test_all *all = conf_get(snap, "all", NULL);

		assert_non_null(all);
		assert_int_equal(all->names.n, 2);
		assert_int_equal(all->deny.n, 2);
		assert_string_equal(all->pattern, "a+");
		assert_non_null(conf_get(snap, "rule", "r"));
		conf_unref(snap);
	}
	buf_fini(&errors);
	conf_store_free(s);
}

static void refuse_without_memory(void *arg)
{
	struct conf_store *s = conf_store_new(schema, sizeof(schema) / sizeof(schema[0]));
	struct buf errors;

	if (!s)
		return;
	buf_init(&errors, 1 << 16);
	assert_null(conf_parse(s, "t.ini", slice_of(arg), 0, &errors));
	buf_fini(&errors);
	conf_store_free(s);
}

static void without_memory(void **state)
{
	static const char right[] = SYS "[all]\nnames = a b\ndeny = ::1 10.0.0.0/8\npattern = a+\n"
					"secret = x\n[zone z]\npeers = p\n[policy p]\n"
					"[rule r]\ntarget = z\n";
	static const char wrong[] =
		SYS "[all]\nnumber = 0\ntransport = x\nfoo = bar\n[zone]\n"
		    "[zone a]\npeers = b c d\n[zone a]\n[rule r]\ntarget = q\n"
		    "[nothing]\n[edge]\nsecret\n[all]\nsecret = @/nonexistent\n";

	assert_true(alloc_fail_sweep(parse_without_memory, (void *)(uintptr_t)right) > 30);
	assert_true(alloc_fail_sweep(refuse_without_memory, (void *)(uintptr_t)wrong) > 30);
}

#define SYSTEM "[system]\nrole = C\n"
#define GENERATED \
	"[zone found]\npeers = found.example.com\nport = 5062\n[rule found]\ntarget = found\n"

static void generated_sections(void **state)
{
	struct conf_store *s = store_new();
	const struct test_zone *zone;
	struct conf_snapshot *snap, *again;
	struct buf out;

	buf_init(&out, 1 << 16);
	assert_int_equal(conf_store_set_generated(s, "[maker x]", SLICE(GENERATED)), 0);
	snap = good(s, SYSTEM "[zone own]\npeers = a\n");
	assert_true(conf_has_generated(snap));
	assert_null(conf_generated_refused(snap));
	assert_string_equal(conf_generated_left_out(snap), "");
	zone = conf_next(snap, "zone", NULL);
	assert_string_equal(zone->common.name, "own");
	assert_false(conf_is_generated(zone));
	zone = conf_next(snap, "zone", zone);
	assert_string_equal(zone->common.name, "found");
	assert_string_equal(zone->common.file, "[maker x]");
	assert_true(conf_is_generated(zone));
	assert_int_equal(zone->port, 5062);
	conf_dump(snap, &out);
	assert_non_null(strstr(out.p, "[zone found]\n# discovered by [maker x]\npeers = found."));
	assert_non_null(strstr(out.p, "[zone own]\n# t.ini:4\npeers = a\n"));
	/* The same file with what is generated now. */
	assert_int_equal(conf_store_set_generated(s, "[maker x]", SLICE_NONE), 0);
	again = conf_reparse(s, snap, &out);
	assert_non_null(again);
	assert_false(conf_has_generated(again));
	assert_non_null(conf_get(again, "zone", "own"));
	assert_non_null(conf_get(snap, "zone", "found"));
	conf_unref(again);
	conf_unref(snap);
	buf_fini(&out);
	conf_store_free(s);
}

static void generated_sections_give_way(void **state)
{
	struct conf_store *s = store_new();
	const struct test_zone *zone;
	struct conf_snapshot *snap;

	assert_int_equal(conf_store_set_generated(s, "[maker x]", SLICE(GENERATED)), 0);
	assert_int_equal(conf_store_set_generated(s, "[maker y]", SLICE(GENERATED)), 0);
	snap = good(s, SYSTEM "[zone found]\npeers = mine\n");
	assert_null(conf_generated_refused(snap));
	zone = conf_get(snap, "zone", "found");
	assert_string_equal(zone->peers.v[0], "mine");
	assert_int_equal(zone->port, 5060);
	assert_non_null(conf_get(snap, "rule", "found"));
	assert_string_equal(conf_generated_left_out(snap),
			    "[zone found], [zone found], [rule found]");
	conf_unref(snap);
	conf_store_use_generated(s, false);
	snap = good(s, SYSTEM "");
	assert_false(conf_has_generated(snap));
	conf_unref(snap);
	conf_store_free(s);
}

/* Whatever is wrong with them, the file is good. */
static void generated_sections_may_be_bad(void **state)
{
	static const char *const bad_ones[] = {
		"peers = a\n",
		"[zone",
		"[zone a]\npeers = a\n[nothing]\n",
		"[zone a]\npeers = a\nno-such = 1\n",
		"[zone a]\n",
		"[zone a]\npeers = a b c\n",
		"[rule r]\ntarget = nowhere\n",
		"[edge]\nmust = 1\n",
		"[system]\nrole = C\nrole = C\n",
	};

	for (size_t i = 0; i < sizeof(bad_ones) / sizeof(bad_ones[0]); i++) {
		struct conf_store *s = store_new();
		struct conf_snapshot *snap;

		assert_int_equal(conf_store_set_generated(s, "[maker x]", slice_of(bad_ones[i])),
				 0);
		assert_int_equal(conf_store_set_generated(s, "[maker y]", SLICE(GENERATED)), 0);
		snap = good(s, SYSTEM "[zone own]\npeers = a\n");
		if (i + 1 < sizeof(bad_ones) / sizeof(bad_ones[0])) {
			assert_false(conf_has_generated(snap));
			assert_non_null(conf_generated_refused(snap));
		}
		conf_unref(snap);
		conf_store_free(s);
	}
}

static void generated_at_the_bounds(void **state)
{
	struct conf_store *s = store_new();
	char origin[32];
	char *text = calloc(1, (1 << 20) + 1);

	assert_non_null(text);
	memset(text, '#', (1 << 20) + 1);
	assert_int_equal(conf_store_set_generated(s, "x", (struct slice){ text, 1 << 20 }), 0);
	assert_int_equal(conf_store_set_generated(s, "x", (struct slice){ text, (1 << 20) + 1 }),
			 -E2BIG);
	for (int i = 1; i < CONF_MAX_ORIGINS; i++) {
		snprintf(origin, sizeof(origin), "%d", i);
		assert_int_equal(conf_store_set_generated(s, origin, SLICE("# x")), 0);
	}
	assert_int_equal(conf_store_set_generated(s, "over", SLICE("# x")), -ENOSPC);
	assert_int_equal(conf_store_set_generated(s, "1", SLICE("# y")), 0);
	assert_int_equal(conf_store_set_generated(s, "1", SLICE_NONE), 0);
	assert_int_equal(conf_store_set_generated(s, "over", SLICE("# x")), 0);
	assert_int_equal(conf_store_set_generated(s, "never there", SLICE_NONE), 0);
	free(text);
	conf_store_free(s);
}

static void run_generated_without_memory(void *arg)
{
	struct conf_store *s = conf_store_new(schema, sizeof(schema) / sizeof(schema[0]));
	struct conf_snapshot *snap;
	struct buf errors;

	if (!s)
		return;
	buf_init(&errors, 1 << 16);
	conf_store_set_generated(s, "[maker x]", SLICE(GENERATED));
	snap = conf_parse(s, "t.ini", SLICE(SYSTEM "[zone own]\npeers = a\n"), CONF_ROLE_C,
			  &errors);
	conf_unref(snap);
	buf_fini(&errors);
	conf_store_free(s);
}

static void generated_without_memory(void **state)
{
	assert_true(alloc_fail_sweep(run_generated_without_memory, NULL) > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(every_type),
		cmocka_unit_test(times),
		cmocka_unit_test(empty_values_take_defaults_away),
		cmocka_unit_test(bad_values),
		cmocka_unit_test(port_ranges),
		cmocka_unit_test(unknown_keys_and_sections),
		cmocka_unit_test(sections_out_of_place),
		cmocka_unit_test(required_keys),
		cmocka_unit_test(roles),
		cmocka_unit_test(role_without_a_row),
		cmocka_unit_test(references),
		cmocka_unit_test(checks_of_sections),
		cmocka_unit_test(syntax_errors_come_with_the_rest),
		cmocka_unit_test(secrets),
		cmocka_unit_test(paths),
		cmocka_unit_test(walks_in_file_order),
		cmocka_unit_test(swaps_and_references),
		cmocka_unit_test(compares_values),
		cmocka_unit_test(dumps),
		cmocka_unit_test(documents),
		cmocka_unit_test(loads_files),
		cmocka_unit_test(errors_at_the_bound),
		cmocka_unit_test(sections_at_the_bound),
		cmocka_unit_test(without_memory),
		cmocka_unit_test(generated_sections),
		cmocka_unit_test(generated_sections_give_way),
		cmocka_unit_test(generated_sections_may_be_bad),
		cmocka_unit_test(generated_at_the_bounds),
		cmocka_unit_test(generated_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
