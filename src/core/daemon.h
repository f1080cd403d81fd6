#ifndef CORE_DAEMON_H
#define CORE_DAEMON_H
/*
 * The daemon put together: configuration, the core's parts, the modules, signals, the service
 * manager.
 *
 *   daemon_new --> daemon_start --> daemon_run --> daemon_free
 *
 * SIGHUP reloads, SIGTERM and SIGINT drain and stop, a second one stops at once.
 */
#include "base/buf.h"
#include "core/module.h"

struct daemon;

struct daemon_options {
	const char *conf_path;
	unsigned role;			     /* 0: what the file says */
	const struct module *const *modules; /* in the order to start */
	size_t n_modules;
};

/* o and what it points to live as long as the daemon. */
struct daemon *daemon_new(const struct daemon_options *o);
void daemon_free(struct daemon *d);
/* Every section of the core and of the modules of both roles, for checks and documents. */
const struct conf_store *daemon_conf(const struct daemon *d);
/* Reads and checks the file without starting anything, the certificates included. The snapshot with
 * one reference, or NULL with the errors as text. */
struct conf_snapshot *daemon_check(struct daemon *d, struct buf *errors);
/* 0; -EINVAL: bad configuration; another negative errno: cannot run. Errors as text, one a line. */
int daemon_start(struct daemon *d, struct buf *errors);
/* Until stopped. 0 or negative errno. */
int daemon_run(struct daemon *d);
/* Reads the file again. 0, or -EINVAL with errors filled, the old configuration in force, and the
 * alarm "config-rejected" standing. */
int daemon_reload(struct daemon *d, struct buf *errors);
/* No new work; goes on running. */
void daemon_drain(struct daemon *d);
/* Drains, then ends daemon_run() when all is done or after [system] drain-timeout. Called a second
 * time: at once. */
void daemon_stop(struct daemon *d);
struct env *daemon_env(struct daemon *d);
/* What `turnpikectl status` shows (new reference). */
json_t *daemon_status(const struct daemon *d);

#endif
