#include "core/system_conf.h"

#include <stdio.h>
#include <string.h>

static const char *const role_names[] = { "E", "C", NULL };
static const char *const level_names[] = { "error", "warn", "info", "debug", NULL };

static const struct conf_row rows[] = {
	{ .key = "role",
	  .type = CONF_ENUM,
	  .offset = offsetof(struct system_conf, role),
	  .names = role_names,
	  .flags = CONF_REQUIRED | CONF_RESTART,
	  .help = "E: edge, reachable from outside. C: core, inside." },
	{ .key = "name",
	  .type = CONF_STRING,
	  .offset = offsetof(struct system_conf, name),
	  .flags = CONF_REQUIRED,
	  .help = "Full domain name of this box, as in its certificate." },
	{ .key = "log-level",
	  .type = CONF_ENUM,
	  .offset = offsetof(struct system_conf, log_level),
	  .def = "info",
	  .names = level_names,
	  .help = "How much is logged." },
	{ .key = "control-socket",
	  .type = CONF_STRING,
	  .offset = offsetof(struct system_conf, control_socket),
	  .def = "/run/turnpike/ctl.sock",
	  .help = "Unix socket that turnpikectl talks to." },
	{ .key = "control-group",
	  .type = CONF_STRING,
	  .offset = offsetof(struct system_conf, control_group),
	  .help = "Group whose members may use the control socket." },
	{ .key = "drain-timeout",
	  .type = CONF_MS,
	  .offset = offsetof(struct system_conf, drain_timeout_ms),
	  .def = "30s",
	  .max = 24 * 60 * 60 * 1000,
	  .help = "How long a stop waits for calls to end." },
	{ .key = "user",
	  .type = CONF_STRING,
	  .offset = offsetof(struct system_conf, user),
	  .flags = CONF_RESTART,
	  .help = "User to become after the start, when started as root." },
	{ .key = "max-connections",
	  .type = CONF_U32,
	  .offset = offsetof(struct system_conf, max_connections),
	  .def = "20000",
	  .min = 100,
	  .max = 1000000,
	  .help = "How many connections, calls and other live things there may be at a time." },
};

static void check(const struct conf_snapshot *snap, const void *section, struct conf_errors *errors)
{
	const struct system_conf *conf = section;

	if (conf->control_socket && conf->control_socket[0] != '/')
		conf_error(errors, section, "control-socket", "must be an absolute path");
}

const struct conf_section system_conf_section = {
	.type = "system",
	.roles = CONF_ROLE_BOTH,
	.size = sizeof(struct system_conf),
	.rows = rows,
	.n_rows = sizeof(rows) / sizeof(rows[0]),
	.help = "The daemon as a whole.",
	.check = check,
};

static bool row_same(const struct conf_row *row, const void *a, const void *b)
{
	const char *pa = (const char *)a + row->offset, *pb = (const char *)b + row->offset;

	if (row->type == CONF_STRING) {
		const char *sa = *(char *const *)pa, *sb = *(char *const *)pb;

		return strcmp(sa ? sa : "", sb ? sb : "") == 0;
	}
	return memcmp(pa, pb, row->type == CONF_ENUM ? sizeof(int) : sizeof(uint32_t)) == 0;
}

void system_conf_restart_keys(const struct conf_snapshot *a, const struct conf_snapshot *b,
			      char *buf, size_t size)
{
	const void *sa = conf_get(a, "system", NULL), *sb = conf_get(b, "system", NULL);
	size_t n = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (!(rows[i].flags & CONF_RESTART) || row_same(&rows[i], sa, sb) || n >= size)
			continue;
		n += (size_t)snprintf(buf + n, size - n, "%s%s", n ? ", " : "", rows[i].key);
	}
}
