#ifndef HTTP_API_IMPL_H
#define HTTP_API_IMPL_H
/* Private to api.c (requests) and api_listen.c (connections, settings). */
#include "http/api.h"
#include "http/exchange.h"
#include "http/listen.h"
#include "turnpike/signin.h"

#define API_MAX_HANDLERS 64

struct stream_listener;

struct api_route {
	const char *method, *path;
	api_handler fn;
	void *arg;
};

struct api {
	struct env *env;
	const struct api_conf *conf;
	struct http_engine *engine;
	const struct signin_ops *signin; /* NULL: nobody knows the administrators */
	void *signin_self;
	struct api_route routes[API_MAX_HANDLERS];
	size_t n_routes;
	struct {
		struct addr local;
		struct stream_listener *listener;
	} listeners[LISTEN_MAX_ADDRESSES];
	size_t n_listeners;
	uint64_t n_denied, n_foreign;
};

/* api_listen.c: why nobody, or not this address, may ask by the settings of now; NULL: it may. */
const char *api_why_not(const struct api *a, const struct addr *from);

/* api.c */
extern const struct http_engine_ops api_engine_ops;
extern const struct api_ops api_service_ops;

#endif
