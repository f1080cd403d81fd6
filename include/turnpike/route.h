#ifndef TURNPIKE_ROUTE_H
#define TURNPIKE_ROUTE_H
/*
 * Service "route": where does a request go? The walk through pre-search transforms and search rules
 * is pure logic (src/route) over the configuration snapshot; this header is what other modules see.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/slice.h"

struct conf_snapshot;

#define ROUTE_MAX_TARGETS 32
#define ROUTE_ZONE_BYTES  64
#define ROUTE_ALIAS_BYTES 512

/* One [zone NAME] section. The route module owns the rows; the sip module reads the rest of it. */
enum zone_type {
	ZONE_NEIGHBOUR,
	ZONE_UC_TRAVERSAL,
	ZONE_TRAVERSAL_CLIENT,
	ZONE_TRAVERSAL_SERVER,
	ZONE_DNS,
	ZONE_ENUM,
};
enum zone_transport { ZONE_UDP, ZONE_TCP, ZONE_TLS };
enum zone_media {
	ZONE_MEDIA_AUTO,
	ZONE_MEDIA_ENCRYPTED,
	ZONE_MEDIA_BEST_EFFORT,
	ZONE_MEDIA_UNENCRYPTED
};
enum zone_contact { ZONE_CONTACT_PATH, ZONE_CONTACT_REWRITE };

#include "core/conf_schema.h"

struct zone_conf {
	struct conf_common common;
	int type;		 /* enum zone_type */
	struct conf_names peers; /* host[:port] */
	uint32_t port;
	int transport;	/* enum zone_transport */
	char *username; /* uc-traversal: the pair's digest user */
	char *password;
	char *tls;	      /* [tls NAME] */
	char *verify_name;    /* on E: the SAN that C's certificate must carry */
	int media_encryption; /* enum zone_media */
	int contact;	      /* enum zone_contact: how REGISTER goes to peers of this zone */
	uint32_t hop_count;   /* 1-255, default 15 */
	bool monitor;	      /* OPTIONS to the peers */
	uint32_t keepalive_ms;
	uint32_t retry_min_ms, retry_max_ms; /* full jitter between */
	bool enabled;
};

/* What knows the passwords of a domain's users. */
enum domain_auth {
	DOMAIN_AUTH_NONE,  /* nobody can sign in */
	DOMAIN_AUTH_UDS,   /* the call managers of the domain's [uc-cluster] sections */
	DOMAIN_AUTH_BASIC, /* an HTTP server that answers 2xx or 401 to Basic credentials */
	DOMAIN_AUTH_USERS, /* [web-user USER@DOMAIN] sections */
};

/* One [domain NAME] section; the name is in lower case. The route module owns the rows; sip, signin
 * and http read them. */
struct domain_conf {
	struct conf_common common;
	char *sip; /* "zone:NAME", "uc" (C: the call managers of the domain's clusters) or "none" */
	bool im;
	bool federation;	  /* C: its users and those of partners chat with each other */
	bool guest;		  /* C: TURN credentials may be asked for in its name */
	bool web;		  /* the edge service (8443) serves its users */
	int authentication;	  /* enum domain_auth; C */
	char *authentication_url; /* DOMAIN_AUTH_BASIC */
	char *authentication_tls; /* [tls NAME] whose ca that server's certificate chains to */
	bool sip_signin;	  /* C: phones of the domain register only after a sign-in */
};

struct route_query {
	struct slice alias;	  /* user@domain, an IP address literal, or a number */
	struct slice source_zone; /* "" local, "default" for the unknown, else a zone's name */
	bool authenticated;
	int hop_count; /* what the request brought (Max-Forwards); 0 or less: refused */
	/* Session id of the call for loop detection; empty: none. Only for the first search of a
	 * request: the same tag, alias and source again is a loop until forget(). */
	struct slice loop_tag;
	bool is_method_call; /* INVITE and friends, as opposed to MESSAGE/SUBSCRIBE */
	struct addr remote;  /* who asks, for the trace; ADDR_NONE: unknown */
};

struct route_target {
	char zone[ROUTE_ZONE_BYTES];
	char alias[ROUTE_ALIAS_BYTES]; /* what the alias becomes for this target */
	char rule[ROUTE_ZONE_BYTES];
	uint32_t priority; /* targets of one priority may be tried in parallel */
	int hop_count;	   /* to send to this one: min(query, its zone) - 1 */
};

enum route_status {
	ROUTE_FOUND,
	ROUTE_NOT_FOUND,      /* 404 */
	ROUTE_HOPS_EXHAUSTED, /* 483 */
	ROUTE_LOOP,	      /* 482 */
	ROUTE_FORBIDDEN,      /* 403: rules matched only for authenticated senders */
	ROUTE_BAD_ALIAS,      /* 484 */
};

struct route_step {
	char what[16]; /* "alias", "transform", "rule", "end", "hops", "loop" */
	char name[ROUTE_ZONE_BYTES];
	bool matched; /* took part in the decision, as opposed to being passed over */
	char why[192];
};
#define ROUTE_MAX_STEPS 256

struct route_result {
	enum route_status status;
	int hop_count; /* to send on: min(query, target zone) - 1, of the first target */
	size_t n_targets;
	struct route_target targets[ROUTE_MAX_TARGETS]; /* in the order to try */
	char alias[ROUTE_ALIAS_BYTES]; /* after the transforms: what the rules saw */
	char cut_by[ROUTE_ZONE_BYTES]; /* rule or transform whose regex ran into the match limit */
	size_t n_steps_left_out;       /* steps that did not match and found no room */
	size_t n_steps;
	struct route_step steps[ROUTE_MAX_STEPS];
};

struct route_ops {
	/* Walks the rules of the current configuration; records the walk in the decision trace
	 * (codes route.found, route.not-found, ...). *out is large: allocate it. session is for the
	 * trace and may be NULL. */
	void (*search)(void *self, const struct route_query *q, const char *session,
		       struct route_result *out);
	/* Call when a call tagged loop_tag ends: forgets what loop detection kept. */
	void (*forget)(void *self, struct slice loop_tag);
};
#define ROUTE_SERVICE "route"

#endif
