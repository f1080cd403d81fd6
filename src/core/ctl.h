#ifndef CORE_CTL_H
#define CORE_CTL_H
/*
 * The control socket: HTTP/1.1 with JSON over a Unix socket (mode 0660), by evhttp. Modules add
 * commands; turnpikectl and later the admin page are clients. Documented in docs/protocol/ctl.md.
 *
 *   GET  /v1/<command>?key=value   reads        POST /v1/<command>?key=value   acts
 *
 * 200 with a JSON object; 400, 404, 405, 409, 500 with {"error": "..."}.
 */
#include <jansson.h>
#include <stdbool.h>

struct ctl;
struct env;

/* Fills *out (new reference) and returns the HTTP status. arg_get finds query parameters. */
struct ctl_request {
	const char *(*param)(const struct ctl_request *r, const char *key); /* NULL when absent */
	void *impl;
};
typedef int (*ctl_handler)(void *self, const struct ctl_request *r, json_t **out);

struct ctl_command {
	const char *name; /* "calls" */
	bool acts;	  /* POST, else GET */
	ctl_handler run;
};

/* Binds path (unlinks a dead socket of that path, refuses a live one). group may be NULL. */
struct ctl *ctl_new(struct env *env, const char *path, const char *group, int *error);
/* Serves path from now on; what was asked on the old one is still answered there for two seconds,
 * then its file goes. The same path: only the group changes. 0, or negative errno and nothing
 * changed. */
int ctl_move(struct ctl *c, const char *path, const char *group);
void ctl_free(struct ctl *c);
/* cmds lives as long as ctl; ends with name NULL. 0, -EEXIST (a name is taken) or -ENOSPC. */
int ctl_add(struct ctl *c, const struct ctl_command *cmds, void *self);
/* {"error": text} */
int ctl_fail(json_t **out, int http_status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
