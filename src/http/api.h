#ifndef HTTP_API_H
#define HTTP_API_H
/*
 * The HTTPS API of C ([api]): an HTTP engine of its own on its own port; offers service "api"
 * (turnpike/api.h). Of a request nothing is looked at before its credentials are good.
 */
#include <jansson.h>

#include "core/conf_schema.h"
#include "core/module.h"
#include "turnpike/api.h"

#define API_MAX_DEPTH 8

struct api_conf {
	struct conf_common common;
	uint32_t port;
	struct addr address;
	char *tls; /* not written: no API */
	struct conf_prefixes from;
	uint32_t max_connections, max_per_source, new_per_second;
	uint32_t handshake_ms, head_ms, idle_ms;
	uint32_t max_body;
};
extern const struct conf_section api_section;

struct api;

/* At init: offers the service. NULL with *error. */
struct api *api_new(struct env *env, int *error);
void api_free(struct api *a);
/* At start and reload; snap is borrowed until the next call. 0, or the first error, with lines in
 * errors. */
int api_configure(struct api *a, const struct conf_snapshot *snap, struct buf *errors);
/* Could api_configure() listen? Changes nothing. */
int api_prepare(struct api *a, const struct conf_snapshot *next, struct buf *errors);
/* After api_configure(), once: who knows the administrators. */
void api_set_signin(struct api *a, const struct service *signin);
/* No new connections and requests. */
void api_drain(struct api *a);
size_t api_busy(const struct api *a);
void api_status(const struct api *a, json_t *out);

/* For tests: a connection that was let in. */
struct stream;
void api_take(struct api *a, struct stream *s);

#endif
