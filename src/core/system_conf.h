#ifndef CORE_SYSTEM_CONF_H
#define CORE_SYSTEM_CONF_H
/* The [system] section: what the daemon as a whole is. */
#include "core/conf_schema.h"
#include "core/conf_store.h"

struct system_conf {
	struct conf_common common;
	int role; /* index into "E", "C" */
	char *name;
	int log_level; /* enum log_level */
	char *control_socket;
	char *control_group;
	uint32_t drain_timeout_ms;
	char *user;
	uint32_t max_connections;
};

extern const struct conf_section system_conf_section;

/* The keys that differ between both and take effect at the next start only, "a, b"; "" for none. */
void system_conf_restart_keys(const struct conf_snapshot *a, const struct conf_snapshot *b,
			      char *buf, size_t size);

#endif
