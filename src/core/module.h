#ifndef CORE_MODULE_H
#define CORE_MODULE_H
/*
 * A module is a static descriptor; main.c lists them. Life of a module:
 *
 *   OFF --init--> READY --start--> RUNNING --drain--> DRAINING --stop--> OFF
 *                                  RUNNING --reload--> RUNNING
 *
 * init offers services and looks at nothing else; start finds the services of others. Modules
 * start in list order and stop in the reverse one.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/conf_store.h"

struct alarms;
struct conn_table;
struct ctl;
struct dns;
struct log;
struct loop;
struct net_limits;
struct tls_store;
struct trace;
struct worker_pool;
struct modules;

/* The one struct passed down. */
struct env {
	unsigned role; /* CONF_ROLE_E or CONF_ROLE_C */
	struct loop *loop;
	struct conf_store *conf;
	struct conn_table *conns;
	struct log *log;
	struct trace *trace;
	struct alarms *alarms;
	struct tls_store *tls;
	struct dns *dns;
	struct worker_pool *workers;
	struct ctl *ctl;
	struct modules *modules;
	/* A snapshot of the same file with the generated sections of now (core/conf_store.h) takes
	 * over at the end of this turn. Asking twice is one. NULL in tests without a daemon. */
	void (*request_reload)(struct env *env);
};

struct module {
	const char *name;
	unsigned roles;
	const struct conf_section *const *sections; /* NULL-terminated; may be NULL */
	/* Creates the module's state. 0, or negative errno with nothing left behind; *self is
	 * passed to the rest. */
	int (*init)(struct env *env, void **self);
	int (*start)(void *self);
	/* Can this snapshot be applied (ports free, ...)? Optional; errors as text. Changes
	 * nothing; reload may not follow (another module refused), and then next is freed. */
	int (*prepare)(void *self, const struct conf_snapshot *next, struct buf *errors);
	/* Applies it; cannot fail any more. old may be freed afterwards. */
	void (*reload)(void *self, const struct conf_snapshot *old,
		       const struct conf_snapshot *next);
	/* No new work; existing goes on. */
	void (*drain)(void *self);
	/* Nothing left that drain waits for? */
	bool (*drained)(void *self);
	void (*stop)(void *self);
	/* Frees self. */
	void (*fini)(void *self);
	/* Adds its part to `turnpikectl status` (a JSON object). May be NULL. */
	void (*status)(void *self, json_t *out);
};

struct modules *modules_new(struct env *env, const struct module *const *list, size_t n);
/* Stops what runs, then frees every module, both in reverse order. */
void modules_free(struct modules *m);
int modules_init(struct modules *m);
int modules_start(struct modules *m);
/* All prepare, then all reload. 0, or -EINVAL with errors filled and nothing changed. */
int modules_reload(struct modules *m, struct conf_snapshot *next, struct buf *errors);
/* The two halves of it, for a caller who has more to check between them. */
int modules_prepare(struct modules *m, const struct conf_snapshot *next, struct buf *errors);
void modules_apply(struct modules *m, const struct conf_snapshot *next);
void modules_drain(struct modules *m);
bool modules_drained(const struct modules *m);
void modules_stop(struct modules *m);
json_t *modules_status(const struct modules *m);

/* Services: structs of functions declared in include/turnpike/, offered under a name at init, found
 * at start. name and ops are static, self goes with them. 0, -EEXIST, -ENOSPC (over 32). */
int service_offer(struct modules *m, const char *name, const void *ops, void *self);
/* NULL ops when nobody offers it. */
struct service {
	const void *ops;
	void *self;
};
struct service service_find(const struct modules *m, const char *name);

#endif
