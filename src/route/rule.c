#include "route/rule.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* How much of a pattern or name a sentence shows. */
#define SHOWN 80

static int refuse(struct route_fault *fault, const char *key, const char *text)
{
	fault->key = key;
	snprintf(fault->text, sizeof(fault->text), "%s", text);
	return -EINVAL;
}

static unsigned source_flag(struct slice word)
{
	if (slice_eq(word, SLICE("any")))
		return ROUTE_SRC_ANY;
	if (slice_eq(word, SLICE("all-zones")))
		return ROUTE_SRC_ALL_ZONES;
	if (slice_eq(word, SLICE("local")))
		return ROUTE_SRC_LOCAL;
	return slice_eq(word, SLICE("default")) ? ROUTE_SRC_DEFAULT : 0;
}

static int compile_source(struct route_rule *r, const struct conf_names *source,
			  const struct route_zone *zones, size_t n_zones, struct route_fault *fault)
{
	size_t i;

	if (source->n == 0) {
		r->source_flags = ROUTE_SRC_ANY;
		return 0;
	}
	r->source_zones = calloc(source->n, sizeof(*r->source_zones));
	if (!r->source_zones)
		return -ENOMEM;
	for (i = 0; i < source->n; i++) {
		const struct slice word = slice_of(source->v[i]);
		const unsigned flag = source_flag(word);
		const size_t zone = route_zone_find(zones, n_zones, word);

		if (flag) {
			r->source_flags |= flag;
		} else if (zone < n_zones) {
			r->source_zones[r->n_source_zones++] = zone;
		} else {
			fault->key = "source";
			snprintf(fault->text, sizeof(fault->text),
				 "%.*s is no zone; legal are any, all-zones, local, default and "
				 "names of [zone] sections",
				 (int)(word.n < SHOWN ? word.n : SHOWN), word.p);
			return -EINVAL;
		}
	}
	return 0;
}

static int compile_edit(struct route_rule *r, const struct rule_conf *conf,
			const struct route_vars *vars, struct route_fault *fault)
{
	const struct route_edit_spec spec = {
		.type = (enum route_pattern_type)conf->pattern_type,
		.pattern = conf->pattern,
		.behaviour = (enum route_behaviour)conf->behaviour,
		.replace = conf->replace,
	};

	if (r->mode == RULE_ALIAS_PATTERN)
		return route_edit_compile(&r->edit, &spec, vars, fault);
	/* A pattern that is written but not looked at would let everything through. */
	if (conf->pattern && conf->pattern[0])
		return refuse(fault, "pattern", "a pattern needs mode = alias-pattern");
	if (conf->behaviour != ROUTE_LEAVE)
		return refuse(fault, "behaviour", "strip and replace need mode = alias-pattern");
	if (conf->replace && conf->replace[0])
		return refuse(fault, "replace", "`replace` needs mode = alias-pattern");
	return 0;
}

int route_rule_compile(struct route_rule *r, const struct rule_conf *conf,
		       const struct route_zone *zones, size_t n_zones,
		       const struct route_vars *vars, struct route_fault *fault)
{
	int err;

	*r = (struct route_rule){
		.priority = conf->priority,
		.enabled = conf->enabled,
		.authenticated = conf->authenticated,
		.mode = (enum rule_mode)conf->mode,
		.on_match = (enum rule_on_match)conf->on_match,
		.target = route_zone_find(zones, n_zones, slice_of(conf->target)),
	};
	*fault = (struct route_fault){ .text = "out of memory" };
	slice_copy(r->name, sizeof(r->name), slice_of(conf->common.name));
	if (r->target == n_zones)
		return refuse(fault, "target", "the target must be the name of a [zone] section");
	err = compile_source(r, &conf->source, zones, n_zones, fault);
	if (err == 0)
		err = compile_edit(r, conf, vars, fault);
	if (err)
		route_rule_fini(r);
	return err;
}

int route_rule_for_domain(struct route_rule *r, unsigned role, const char *domain, size_t target,
			  const struct route_vars *vars, struct route_fault *fault)
{
	struct route_edit_spec spec = { .type = ROUTE_REGEX, .behaviour = ROUTE_LEAVE };
	struct buf pattern;
	int err = -ENOMEM;

	*r = (struct route_rule){
		.priority = ROUTE_DOMAIN_PRIORITY,
		.enabled = true,
		.source_flags = role == CONF_ROLE_C ? ROUTE_SRC_TRAVERSAL : ROUTE_SRC_ANY,
		.mode = RULE_ALIAS_PATTERN,
		.target = target,
	};
	*fault = (struct route_fault){ .text = "out of memory" };
	r->source_flags |= ROUTE_SRC_NOT_TARGET;
	snprintf(r->name, sizeof(r->name), "domain:%.*s", (int)sizeof(r->name) - 8, domain);
	buf_init(&pattern, ROUTE_PATTERN_BYTES);
	buf_add_str(&pattern, ".+@");
	route_vars_quote(&pattern, slice_of(domain));
	if (!pattern.failed) {
		spec.pattern = pattern.p;
		err = route_edit_compile(&r->edit, &spec, vars, fault);
	}
	buf_fini(&pattern);
	return err;
}

void route_rule_fini(struct route_rule *r)
{
	route_edit_fini(&r->edit);
	free(r->source_zones);
	r->source_zones = NULL;
}

bool route_alias_is_ip(struct slice alias)
{
	struct slice host = alias;
	struct addr addr;
	size_t i;

	for (i = alias.n; i > 0; i--) {
		if (alias.p[i - 1] != '@')
			continue;
		host = (struct slice){ alias.p + i, alias.n - i };
		break;
	}
	/* "10.0.0.1." names the same host. */
	if (host.n > 0 && host.p[host.n - 1] == '.')
		host.n--;
	return addr_parse_ip(host, 0, &addr) || addr_parse(host, 0, &addr);
}

static const char *source_name(const struct route_rule_query *q)
{
	switch (q->source.kind) {
	case ROUTE_FROM_LOCAL:
		return "local";
	case ROUTE_FROM_DEFAULT:
		return "default";
	case ROUTE_FROM_ZONE:
		return q->zones[q->source.zone].name;
	}
	return "";
}

static bool takes_source(const struct route_rule *r, const struct route_rule_query *q)
{
	const struct route_source *s = &q->source;
	size_t i;

	if (r->source_flags & ROUTE_SRC_NOT_TARGET && s->kind == ROUTE_FROM_ZONE &&
	    s->zone == r->target)
		return false;
	if (r->source_flags & ROUTE_SRC_ANY)
		return true;
	switch (s->kind) {
	case ROUTE_FROM_LOCAL:
		return r->source_flags & (ROUTE_SRC_ALL_ZONES | ROUTE_SRC_LOCAL);
	case ROUTE_FROM_DEFAULT:
		return r->source_flags & ROUTE_SRC_DEFAULT;
	case ROUTE_FROM_ZONE:
		break;
	}
	if (r->source_flags & ROUTE_SRC_ALL_ZONES)
		return true;
	if (r->source_flags & ROUTE_SRC_TRAVERSAL &&
	    route_zone_is_traversal(q->zones[s->zone].type))
		return true;
	for (i = 0; i < r->n_source_zones; i++)
		if (r->source_zones[i] == s->zone)
			return true;
	return false;
}

static enum route_verdict match_mode(const struct route_rule *r, const struct route_rule_query *q,
				     char *why, size_t why_bytes)
{
	const bool wants_ip = r->mode == RULE_ANY_IP;

	if (q->is_ip != wants_ip) {
		snprintf(why, why_bytes,
			 wants_ip ? "any-ip: the alias is no IP address"
				  : "any-alias does not take IP addresses");
		return ROUTE_RULE_NO;
	}
	snprintf(why, why_bytes, wants_ip ? "any-ip" : "any-alias");
	return ROUTE_RULE_YES;
}

static enum route_verdict match_pattern(const struct route_rule *r,
					const struct route_rule_query *q, struct route_matcher *m,
					char *why, size_t why_bytes)
{
	const struct route_pattern *p = &r->edit.pattern;
	const char *type = route_pattern_type_str(p->type);

	switch (route_pattern_match(p, m, q->alias)) {
	case ROUTE_MATCH_YES:
		snprintf(why, why_bytes, "%s %.*s matches", type, SHOWN, p->text);
		return ROUTE_RULE_YES;
	case ROUTE_MATCH_NO:
		snprintf(why, why_bytes, "%s %.*s does not match", type, SHOWN, p->text);
		return ROUTE_RULE_NO;
	case ROUTE_MATCH_CUT:
		break;
	}
	snprintf(why, why_bytes, "%s %.*s ran into the match limit; simplify it", type, SHOWN,
		 p->text);
	return ROUTE_RULE_CUT;
}

enum route_verdict route_rule_match(const struct route_rule *r, const struct route_rule_query *q,
				    struct route_matcher *m, char *why, size_t why_bytes)
{
	enum route_verdict verdict;

	if (!r->enabled) {
		snprintf(why, why_bytes, "the rule is not enabled");
		return ROUTE_RULE_NO;
	}
	if (!takes_source(r, q)) {
		snprintf(why, why_bytes, "not for requests from %s", source_name(q));
		return ROUTE_RULE_NO;
	}
	if (r->mode == RULE_ALIAS_PATTERN)
		verdict = match_pattern(r, q, m, why, why_bytes);
	else
		verdict = match_mode(r, q, why, why_bytes);
	if (verdict == ROUTE_RULE_YES && r->authenticated && !q->authenticated) {
		snprintf(why, why_bytes, "matches, but only for authenticated senders");
		return ROUTE_RULE_NEEDS_AUTH;
	}
	return verdict;
}

bool route_rule_apply(const struct route_rule *r, const struct route_matcher *m, struct slice alias,
		      char out[ROUTE_ALIAS_BYTES])
{
	if (r->mode == RULE_ALIAS_PATTERN)
		return route_edit_apply(&r->edit, m, alias, out);
	return slice_copy(out, ROUTE_ALIAS_BYTES, alias);
}
