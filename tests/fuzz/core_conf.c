/* Whole configuration files: what is accepted must be dumped as a file that is accepted again and
 * dumps to the same settings. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/conf_store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz_system {
	struct conf_common common;
	int role;
};

struct fuzz_all {
	struct conf_common common;
	bool flag;
	uint32_t number;
	uint32_t time_ms;
	uint32_t size;
	char *text;
	struct conf_names names;
	struct addr listen;
	struct conf_ports ports;
	struct conf_prefixes deny;
	char *pattern;
	char *target;
};

static const char *const role_names[] = { "E", "C", NULL };

static const struct conf_row system_rows[] = {
	{ .key = "role",
	  .type = CONF_ENUM,
	  .offset = offsetof(struct fuzz_system, role),
	  .names = role_names,
	  .flags = CONF_REQUIRED },
};

#define ALL(field) .offset = offsetof(struct fuzz_all, field)
static const struct conf_row all_rows[] = {
	{ .key = "flag", .type = CONF_BOOL, ALL(flag), .def = "yes" },
	{ .key = "number", .type = CONF_U32, ALL(number), .def = "10", .min = 2, .max = 65535 },
	{ .key = "time", .type = CONF_MS, ALL(time_ms), .def = "5s" },
	{ .key = "size", .type = CONF_BYTES, ALL(size), .def = "32k" },
	{ .key = "text", .type = CONF_STRING, ALL(text), .def = "some text" },
	{ .key = "names", .type = CONF_NAMES, ALL(names), .def = "a b" },
	{ .key = "listen", .type = CONF_ADDR, ALL(listen), .def = "any" },
	{ .key = "ports", .type = CONF_PORTS, ALL(ports) },
	{ .key = "deny", .type = CONF_PREFIXES, ALL(deny) },
	{ .key = "pattern", .type = CONF_REGEX, ALL(pattern) },
	{ .key = "target", .type = CONF_REF, ALL(target), .ref = "all" },
};

#define ROWS(r) .rows = (r), .n_rows = sizeof(r) / sizeof((r)[0])
static const struct conf_section system_section = { .type = "system",
						    .roles = CONF_ROLE_BOTH,
						    .size = sizeof(struct fuzz_system),
						    ROWS(system_rows) };
static const struct conf_section all_section = { .type = "all",
						 .repeatable = true,
						 .roles = CONF_ROLE_BOTH,
						 .size = sizeof(struct fuzz_all),
						 ROWS(all_rows) };
static const struct conf_section edge_section = { .type = "edge",
						  .roles = CONF_ROLE_E,
						  .size = sizeof(struct conf_common) };
static const struct conf_section *const schema[] = { &system_section, &all_section, &edge_section };

static void check_same(const struct conf_snapshot *a, const struct conf_snapshot *b)
{
	const void *x = NULL, *y = NULL;

	do {
		x = conf_next(a, "all", x);
		y = conf_next(b, "all", y);
		if (!conf_section_same(x, y))
			abort();
	} while (x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf_store *s = conf_store_new(schema, sizeof(schema) / sizeof(schema[0]));
	struct conf_snapshot *snap, *again = NULL;
	struct buf errors, dump;

	if (!s)
		return 0;
	buf_init(&errors, 1 << 18);
	buf_init(&dump, 1 << 20);
	snap = conf_parse(s, "f", (struct slice){ (const char *)data, size }, 0, &errors);
	if (!snap && errors.n == 0 && !errors.failed)
		abort();
	if (snap)
		conf_dump(snap, &dump);
	if (snap && !dump.failed) {
		again = conf_parse(s, "f", buf_slice(&dump), 0, &errors);
		if (!again)
			abort();
		check_same(snap, again);
	}
	conf_unref(again);
	conf_unref(snap);
	buf_fini(&dump);
	buf_fini(&errors);
	conf_store_free(s);
	return 0;
}
