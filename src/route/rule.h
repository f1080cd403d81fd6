#ifndef ROUTE_RULE_H
#define ROUTE_RULE_H
/* Search rules: [search-rule NAME], and the automatic ones that [domain] sections bring. */
#include "core/conf_schema.h"
#include "route/edit.h"
#include "route/zone.h"

#define ROUTE_MAX_RULES 2000
/* Of the automatic rules "domain:NAME". */
#define ROUTE_DOMAIN_PRIORITY 45

enum rule_mode { RULE_ANY_ALIAS, RULE_ANY_IP, RULE_ALIAS_PATTERN };
enum rule_on_match { RULE_CONTINUE, RULE_STOP };

struct rule_conf {
	struct conf_common common;
	uint32_t priority;	  /* 1-65534 */
	struct conf_names source; /* any, all-zones, local, default, zone names */
	bool authenticated;
	int mode;	  /* enum rule_mode */
	int pattern_type; /* enum route_pattern_type */
	char *pattern;
	int behaviour; /* enum route_behaviour up to ROUTE_REPLACE */
	char *replace;
	int on_match; /* enum rule_on_match */
	char *target;
	bool enabled;
};

enum route_source_flag {
	ROUTE_SRC_ANY = 1 << 0,
	ROUTE_SRC_ALL_ZONES = 1 << 1, /* all but the unknown outside */
	ROUTE_SRC_LOCAL = 1 << 2,
	ROUTE_SRC_DEFAULT = 1 << 3,
	ROUTE_SRC_TRAVERSAL = 1 << 4,  /* traversal zones; automatic rules only */
	ROUTE_SRC_NOT_TARGET = 1 << 5, /* never back to where it came from; automatic rules only */
};

struct route_rule {
	char name[ROUTE_ZONE_BYTES];
	uint32_t priority;
	size_t order; /* equal priorities keep it: place in the file, automatic rules behind */
	bool enabled;
	unsigned source_flags;
	size_t *source_zones; /* indexes */
	size_t n_source_zones;
	bool authenticated;
	enum rule_mode mode;
	struct route_edit edit; /* RULE_ALIAS_PATTERN */
	enum rule_on_match on_match;
	size_t target; /* index */
};

/* 0; -EINVAL or -ENOMEM with *fault filled and nothing to free. zones are those of the same
 * configuration; the rule keeps indexes into them. */
int route_rule_compile(struct route_rule *r, const struct rule_conf *conf,
		       const struct route_zone *zones, size_t n_zones,
		       const struct route_vars *vars, struct route_fault *fault);
/* The automatic rule of a [domain]: any user of that domain goes to zone `target`. On C for
 * requests that come over a traversal zone, on E for all that do not come from the target itself.
 */
int route_rule_for_domain(struct route_rule *r, unsigned role, const char *domain, size_t target,
			  const struct route_vars *vars, struct route_fault *fault);
void route_rule_fini(struct route_rule *r);

enum route_verdict {
	ROUTE_RULE_NO,
	ROUTE_RULE_YES,
	ROUTE_RULE_NEEDS_AUTH, /* would match an authenticated sender */
	ROUTE_RULE_CUT,	       /* its regex ran into a limit */
};

struct route_rule_query {
	struct slice alias;
	bool is_ip; /* route_alias_is_ip(alias) */
	bool authenticated;
	struct route_source source;
	const struct route_zone *zones;
};

/* Does the rule take this? why (of why_bytes) says it to humans. After ROUTE_RULE_YES, and before
 * anything else uses m, route_rule_apply() gives the alias for the target. */
enum route_verdict route_rule_match(const struct route_rule *r, const struct route_rule_query *q,
				    struct route_matcher *m, char *why, size_t why_bytes);
/* False when nothing is left of the alias or it gets too long. */
bool route_rule_apply(const struct route_rule *r, const struct route_matcher *m, struct slice alias,
		      char out[ROUTE_ALIAS_BYTES]);
/* Is the alias, or the host of user@host, an IP address literal (with or without a port)? */
bool route_alias_is_ip(struct slice alias);

#endif
