#ifndef HTTP_WEB_CONF_H
#define HTTP_WEB_CONF_H
/* The sections of the http module, and what they become. */
#include "core/conf_schema.h"
#include "core/conf_store.h"
#include "http/allow.h"
#include "http/exchange.h"

#define WEB_MAX_SERVERS 8  /* of one [backends] */
#define WEB_SITE_BYTES	64 /* of a [site]'s name, with the 0 */

/* [web] */
struct web_conf {
	struct conf_common common;
	/* E: the edge service */
	uint32_t port;
	struct addr address;
	char *tls;
	char *realm;
	char *cookie_name;
	char *cookie_domain;
	uint32_t max_connections, max_per_source, new_per_second;
	uint32_t handshake_ms;
	/* both */
	uint32_t head_ms, idle_ms, server_idle_ms;
	uint32_t min_rate, min_rate_ms;
	uint32_t connect_ms, response_ms, answer_idle_ms, upgrade_idle_ms;
	uint32_t max_head, max_body, max_requests;
	char *server;
	char *via;
};

/* [allow NAME] (C) */
struct allow_conf {
	struct conf_common common;
	char *url;
	int match; /* enum allow_match */
	struct conf_names methods;
	int authentication; /* 0 required, 1 none */
	bool verify;
	char *tls;
	uint32_t response_ms;
};
enum allow_match { ALLOW_MATCH_PREFIX, ALLOW_MATCH_EXACT };

/* [backends HOST] (C): several servers behind one host name of URLs. */
struct backends_conf {
	struct conf_common common;
	struct conf_names servers; /* host[:port], the best first */
	int mode;		   /* enum backends_mode */
	char *health_path;
	uint32_t health_interval_ms, health_timeout_ms;
	uint32_t health_fails;
};
enum backends_mode { BACKENDS_FAILOVER, BACKENDS_ROUND_ROBIN };

/* [site NAME] (E): a web service published as it is, without sign-in. */
struct site_conf {
	struct conf_common common;
	uint32_t port;
	uint32_t redirect_port; /* plain HTTP, sent to HTTPS; 0: none */
	uint32_t public_port;	/* of the URLs that it sends to */
	char *public_host;
	struct addr address;
	char *tls;
	struct conf_names paths; /* prefixes; none: all */
	char *target;		 /* http://host[:port] or https://... */
	int via;		 /* enum site_via */
	bool verify;		 /* direct https */
	char *target_tls;
};
enum site_via { SITE_VIA_TUNNEL, SITE_VIA_DIRECT };

extern const struct conf_section web_section;
extern const struct conf_section allow_section;
extern const struct conf_section backends_section;
extern const struct conf_section site_section;

struct http_engine_conf web_engine_conf(const struct web_conf *c);
/* ".example.com" for edge1.example.com when nothing is written. */
void web_cookie_domain(const struct web_conf *c, const char *system_name, char *out, size_t size);
/* The rule of an [allow] section, which its check has found good. */
void allow_rule_from_conf(const struct allow_conf *c, struct allow_rule *out);
/* Adds the section's rule to l; used at start and reload. */
int allow_add_conf(struct allow_list *l, const struct conf_snapshot *snap);

#endif
