#ifndef HTTP_WEB_H
#define HTTP_WEB_H
/* The wiring of the module: what its two sides share. Private to mod_http.c, core_side.c,
 * edge_side.c, edge_listen.c, allow_table.c and web_ctl.c. */
#include "core/ctl.h"
#include "core/module.h"
#include "http/allow.h"
#include "http/edge_config.h"
#include "http/exchange.h"
#include "http/origin.h"
#include "http/web_conf.h"
#include "turnpike/signin.h"
#include "turnpike/sip.h"
#include "turnpike/turn.h"
#include "turnpike/tunnel.h"
#include "turnpike/uc.h"

#define WEB_MAX_PEERS	  32
#define WEB_MAX_LISTENERS 64

struct stream_listener;

/* A listening address of E: the edge service or a [site]. */
struct web_listener {
	struct web *web;
	char site[WEB_SITE_BYTES]; /* "": the edge service */
	bool redirect;		   /* plain HTTP, sent to HTTPS */
	struct addr local;
	struct stream_listener *listener;
	size_t n_fronts; /* connections that point to this place */
	bool wanted;	 /* while a configuration is applied */
};

struct web {
	struct env *env;
	const struct conf_snapshot *snap;
	const struct web_conf *conf;
	const char *name; /* [system] name */
	struct http_engine *engine;
	struct origins *origins;
	struct api *api; /* C */
	const struct tunnel_ops *tunnel;
	void *tunnel_self;
	const struct signin_ops *signin;
	void *signin_self;
	const struct uc_ops *uc; /* C; may be NULL */
	void *uc_self;
	const struct sip_ops *sip; /* E; may be NULL */
	void *sip_self;
	const struct turn_ops *turn; /* E; may be NULL */
	void *turn_self;
	struct timer facts_timer; /* E: tells C anew when every module has the new settings */
	bool draining;

	/* C: the allow list that decides. */
	struct allow_list allow;
	int64_t allow_changed_ms;
	uint64_t uc_generation;
	struct timer uc_timer;	    /* C: looks whether discovery found something else */
	struct timer hostile_timer; /* C: takes the alarms back */
	char accused[WEB_MAX_PEERS][96];
	size_t n_accused;

	/* C: what each edge says of itself (control table "edge") */
	struct edge_facts edges[WEB_MAX_PEERS];
	tunnel_peer edge_peers[WEB_MAX_PEERS];
	size_t n_edges;

	/* E: the copies of what each C published, by which requests are refused early */
	struct allow_copy {
		tunnel_peer peer;
		bool synced;
		struct allow_list list;
	} copies[WEB_MAX_PEERS];
	size_t n_copies;
	char cookie_domain[256];
	struct web_listener listeners[WEB_MAX_LISTENERS];
	size_t n_listeners;
	uint64_t n_denied;
};

/* allow_table.c */
/* C: the list from the snapshot and from discovery, told to the edges. */
int allow_table_build(struct web *w);
int allow_table_start(struct web *w); /* publish on C, subscribe on E */
void allow_table_stop(struct web *w);
/* E: the copy of that peer's list; NULL: not whole yet. */
const struct allow_list *allow_table_copy(const struct web *w, tunnel_peer peer);
/* C: the edge asked for something that it must have known to be refused. */
void allow_table_accuse(struct web *w, tunnel_peer peer, const char *what);
/* Name of a peer for messages. */
const char *web_peer_name(const struct web *w, tunnel_peer peer, char *buf, size_t size);

/* core_side.c */
extern const struct http_engine_ops web_core_ops;
int web_core_start(struct web *w);
/* What the edge of that peer said, or a fallback made of its name. */
void web_core_facts(const struct web *w, tunnel_peer peer, struct edge_facts *out);

/* edge_side.c */
extern const struct http_engine_ops web_edge_ops;
/* Publishes the facts; again after a reload. */
int web_edge_start(struct web *w);
/* At the next turn: after a reload modules behind this one still have the old settings. */
void web_edge_facts_changed(struct web *w);
void web_edge_tell_facts(void *arg); /* now */

/* edge_listen.c */
int edge_listen_prepare(struct web *w, const struct conf_snapshot *next, struct buf *errors);
int edge_listen_configure(struct web *w, struct buf *errors);
void edge_listen_free(struct web *w);

/* site.c: an exchange of a [site] listener. */
void site_request(struct web *w, const struct web_listener *l, struct http_exchange *ex);
void site_finished(struct http_exchange *ex);

/* redirect.c: an exchange of a site's redirect-port. */
void redirect_request(struct web *w, const struct web_listener *l, struct http_exchange *ex);

/* web_ctl.c */
extern const struct ctl_command web_ctl_commands[];
void web_status(struct web *w, json_t *out);

/* Adds a trace entry for an exchange: code, who decided, and the line. */
void web_trace(struct web *w, struct http_exchange *ex, const char *code, const char *decided_by,
	       const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* Enters the session's user and id at the exchange and at its connection. */
void web_bind(struct http_exchange *ex, const struct signin_session *s);
/* The engine's `refused`. */
void web_refused(void *arg, struct http_front *f, const char *code, int status, const char *why);
/* "Host" and key of a target: "cucm1.example.com:8443", brackets around IPv6. */
void web_authority(const struct http_url *url, char *out, size_t size);

#endif
