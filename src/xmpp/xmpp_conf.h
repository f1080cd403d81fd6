#ifndef XMPP_XMPP_CONF_H
#define XMPP_XMPP_CONF_H
/* The sections [xmpp], [im-server NAME], [federation] and [partner NAME]. */
#include "core/conf_schema.h"
#include "core/conf_store.h"

enum xmpp_inner_tls { XMPP_INNER_STARTTLS, XMPP_INNER_DIRECT, XMPP_INNER_PLAIN };
enum xmpp_inner_federation { XMPP_INNER_S2S, XMPP_INNER_COMPONENT, XMPP_INNER_NONE };
enum federation_mode { FEDERATION_OFF, FEDERATION_ALLOW_LIST, FEDERATION_DENY_LIST };

/* Both boxes; rows say for which role. */
struct xmpp_conf {
	struct conf_common common;
	/* E */
	uint32_t port;	      /* clients, 5222; 0: off */
	struct addr address;  /* to listen at for clients and partners; any: every one */
	char *tls;	      /* [tls] names shown to clients, several by SNI */
	char *client_ca;      /* [tls NAME], the first of tls: clients are asked for a
			       * certificate that chains to its ca; NULL: none asked */
	uint32_t s2s_port;    /* 5269; 0: off */
	char *s2s_tls;	      /* [tls NAME] shown to partners; NULL: tls */
	uint32_t max_streams; /* clients, 20000 */
	uint32_t max_per_source;
	uint32_t new_per_second;
	uint32_t max_unauthenticated, max_unauthenticated_source;
	uint32_t auth_timeout_ms;
	uint32_t idle_ms;
	uint32_t stanza_bytes, stanza_bytes_unauthenticated;
	uint32_t rate_bytes, burst_bytes;
	uint32_t send_timeout_ms;
	uint32_t park_ms;	      /* of quiet; 0: never */
	uint32_t max_failures;	      /* of SASL on one stream, 5 */
	uint32_t failures_per_minute; /* of one source, 30; 0: any */
	/* both */
	bool keep_binding;	  /* pass-channel-binding */
	uint32_t pool_port;	  /* 7400 */
	struct addr pool_address; /* E: the inside NIC; unset: any */
	char *pool_tls;		  /* [tls NAME] of the pair */
	/* C */
	uint32_t pool_idle;		     /* idle connections at each E, 8 */
	uint32_t pool_max;		     /* connections in all, 6000 */
	struct conf_ports pool_source_ports; /* 30000-35999 */
};
struct im_server_conf {
	struct conf_common common;
	struct conf_names domains; /* also chat-node aliases */
	struct conf_names hosts;   /* none: SRV of the domain */
	uint32_t port;		   /* 0: SRV's, or 5222 (5223 direct) */
	int tls;		   /* enum xmpp_inner_tls */
	char *ca;		   /* [tls NAME]; NULL: the system's CAs */
	bool verify;
	bool proxy_protocol;
	bool sasl_external;
	int federation;		 /* enum xmpp_inner_federation */
	uint32_t s2s_port;	 /* 5269 */
	uint32_t component_port; /* 5347 */
	char *component_secret;
	bool enabled;
};
struct federation_conf { /* E: bidi, idle_ms, auth_timeout_ms and queue_bytes alone */
	struct conf_common common;
	int mode;		       /* enum federation_mode */
	struct conf_names allow, deny; /* domains beside the [partner] sections */
	int tls, auth; /* enum s2s_tls, s2s_auth: for partners without a word of their own */
	bool bidi;
	uint32_t idle_ms, auth_timeout_ms, queue_bytes;
	char *dialback_secret; /* NULL: made by C at start */
	uint32_t inside_port;  /* C: where IM servers reach us for partners (s2s), 5269; 0: off */
	struct addr inside_address;
	char *inside_tls; /* [tls NAME] shown there */
};
struct partner_conf { /* [partner DOMAIN] */
	struct conf_common common;
	bool enabled;
	int tls, auth; /* enum s2s_tls, s2s_auth when conf_is_set(), else as [federation] */
	struct conf_names routes; /* see xmpp_conf_route() */
	bool direct_tls;
};

extern const struct conf_section xmpp_conf_section, im_server_conf_section, federation_conf_section,
	partner_conf_section;

/* Does this box take part: is [xmpp] written? */
bool xmpp_conf_on(const struct xmpp_conf *c);
/* "host", "host:port", "ip:port", "[ip6]:port" of a route; default port 5269. false: none of them.
 */
bool xmpp_conf_route(struct slice text, char *host, size_t size, uint16_t *port);
/* Is there a [domain NAME] with im = yes? */
bool xmpp_conf_domain(const struct conf_snapshot *snap, const char *name);

#endif
