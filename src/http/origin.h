#ifndef HTTP_ORIGIN_H
#define HTTP_ORIGIN_H
/*
 * Servers inside, as C reaches them: names are resolved, every address is checked, and the
 * connection goes to the address that was checked (no second look-up in between, so no rebinding).
 * Several servers may stand behind one name ([backends HOST]), with priorities and health checks.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "core/stream.h"
#include "http/allow.h"
#include "http/web_conf.h"

struct env;
struct origin;
struct origins;

struct origins *origins_new(struct env *env);
void origins_free(struct origins *o);
/* Another snapshot: everything is looked up anew; who waits is told -ECANCELED and asks again later
 * (not inside the call); who has addresses may still connect to them. */
void origins_configure(struct origins *o, const struct conf_snapshot *snap);

/* One who waits for the addresses of an origin; embedded. */
struct origin_wait {
	struct list node;
	void (*done)(void *arg, int error, const char *why);
	void *arg;
	bool waiting;
};

/* The origin of url under a rule; NULL without memory. Borrowed until the end of the turn: keep it
 * with origin_ref(). */
struct origin *origins_get(struct origins *o, const struct http_url *url,
			   const struct allow_rule *rule);
struct origin *origin_ref(struct origin * or);
void origin_unref(struct origin * or);
/* Are there addresses to connect to? 0: yes, now. -EINPROGRESS: w->done will be called, with 0, or
 * -ENOENT (no such name), -ETIMEDOUT and others (resolver), -EACCES (the addresses may not be
 * reached), or -EHOSTDOWN. Other negative errno: the same at once, with *why. */
int origin_ready(struct origin * or, struct origin_wait *w, const char **why);
void origin_wait_cancel(struct origin_wait *w);
/* How many addresses there are to try. */
unsigned origin_n_attempts(const struct origin * or);
/* Connects to the best address that is not in *tried (0 at first, the caller keeps it), and adds
 * it; the order may change between two calls. *server names its server for origin_report(). */
struct stream *origin_connect(struct origin * or, uint64_t *tried, uint32_t timeout_ms,
			      const struct stream_handler *h, void *arg, unsigned *server,
			      int *error, const char **why);
/* How it went: for the health of a [backends] server. */
void origin_report(struct origin * or, unsigned server, bool good);
/* A request could not be given to it: a bad answer, and the others of its [backends] are preferred
 * from now on, until it answers (it is asked at once). */
void origin_unusable(struct origin * or, unsigned server);

/* A request that waits for the answer of a server of [backends]; embedded. While one waits longer
 * than health-timeout the server is asked how it is, and gone is called (once, from the loop) when
 * it is found to be down. Over before the origin is let go. */
struct origin_watch {
	struct list node;
	unsigned server;
	int64_t since_ms;
	void (*gone)(void *arg);
	void *arg;
	bool on;
};
void origin_watch_start(struct origin * or, struct origin_watch *w, unsigned server);
void origin_watch_stop(struct origin_watch *w);

/* Changes when a request might go to another server of [backends] than the one before: connections
 * of another number are not used again. 0 for a single server. */
uint64_t origin_epoch(const struct origin * or);
/* For listings: [backends] with their servers. */
json_t *origins_json(const struct origins *o);

/* May a connection go to this address? named: the host of the rule, which may be this very address.
 * Loopback, unspecified, link-local (metadata services with it), multicast, broadcast, reserved and
 * this host's own addresses only when they are named as literals. Pure but for is_own. */
bool origin_address_allowed(const struct addr *a, const char *named, bool is_own, const char **why);

#endif
