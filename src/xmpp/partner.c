#include "xmpp/partner.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/htab.h"
#include "base/list.h"
#include "core/net.h"

#define S2S_PORT 5269

struct entry {
	struct htab_node node;
	struct partner_rule rule;
};

struct partners {
	struct htab rules; /* by domain */
};

static const char *const tls_words[] = {
	[S2S_TLS_REQUIRED] = "required",
	[S2S_TLS_OPTIONAL] = "optional",
	[S2S_TLS_OFF] = "off",
};
static const char *const auth_words[] = {
	[S2S_AUTH_ANY] = "any",
	[S2S_AUTH_CERTIFICATE] = "certificate",
	[S2S_AUTH_DIALBACK] = "dialback",
};

enum { N_WORDS = 3 };

static struct slice domain_key(const struct htab_node *n)
{
	return slice_of(CONTAINER_OF(n, const struct entry, node)->rule.domain);
}

struct partners *partners_new(void)
{
	struct partners *p = calloc(1, sizeof(*p));
	uint8_t seed[16];

	if (!p)
		return NULL;
	net_random(seed, sizeof(seed));
	if (htab_init(&p->rules, seed, domain_key) == 0)
		return p;
	free(p);
	return NULL;
}

static void entry_free(struct partners *p, struct entry *e)
{
	htab_del(&p->rules, &e->node);
	free(e);
}

void partners_reset(struct partners *p)
{
	HTAB_FOREACH_SAFE (n, &p->rules)
		entry_free(p, CONTAINER_OF(n, struct entry, node));
}

void partners_free(struct partners *p)
{
	if (!p)
		return;
	partners_reset(p);
	htab_fini(&p->rules);
	free(p);
}

static struct entry *find(const struct partners *p, const char *domain)
{
	struct htab_node *n = htab_get(&p->rules, slice_of(domain));

	return n ? CONTAINER_OF(n, struct entry, node) : NULL;
}

/* A new rule takes the place of one of that domain. */
static int enter(struct partners *p, const struct partner_rule *rule)
{
	struct entry *e = find(p, rule->domain);

	if (e) {
		e->rule = *rule;
		return 0;
	}
	if (p->rules.n >= PARTNER_MAX)
		return -ENOSPC;
	e = malloc(sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->rule = *rule;
	htab_add(&p->rules, &e->node);
	return 0;
}

/* --- static routes --- */

static bool is_host(struct slice s)
{
	if (s.n == 0 || s.n >= PARTNER_HOST_BYTES || s.p[0] == '.' || s.p[0] == '-')
		return false;
	for (size_t i = 0; i < s.n; i++) {
		const char c = s.p[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
		    c != '-' && c != '.' && c != '_')
			return false;
	}
	return true;
}

bool partner_route_parse(struct slice text, uint16_t default_port, char host[PARTNER_HOST_BYTES],
			 uint16_t *port)
{
	const size_t colon = slice_find(text, ':');
	uint64_t n = default_port;
	char literal[ADDR_STR_BYTES];
	struct addr a;

	if (addr_parse(text, default_port, &a) || addr_parse_ip(text, default_port, &a)) {
		*port = a.port;
		return slice_copy(host, PARTNER_HOST_BYTES, slice_of(addr_ip_str(&a, literal))) &&
		       a.port > 0;
	}
	if (colon < text.n &&
	    !slice_u64((struct slice){ text.p + colon + 1, text.n - colon - 1 }, UINT16_MAX, &n))
		return false;
	*port = (uint16_t)n;
	return n > 0 && is_host((struct slice){ text.p, colon }) &&
	       slice_copy(host, PARTNER_HOST_BYTES, (struct slice){ text.p, colon });
}

/* As it is kept and sent: always with the port. */
static bool add_route(struct partner_rule *rule, struct slice text)
{
	char *out = rule->routes[rule->n_routes];
	char host[PARTNER_HOST_BYTES];
	const char *form;
	uint16_t port;

	if (rule->n_routes >= PARTNER_MAX_ROUTES ||
	    !partner_route_parse(text, S2S_PORT, host, &port))
		return false;
	form = strchr(host, ':') ? "[%s]:%u" : "%s:%u";
	snprintf(out, PARTNER_ROUTE_BYTES, form, host, port);
	rule->n_routes++;
	return true;
}

/* --- from the configuration --- */

struct loading {
	struct partners *p;
	const struct federation_conf *conf;
	int error;
};

static void load_rule(struct loading *l, const struct partner_rule *rule)
{
	int error = enter(l->p, rule);

	if (error == -ENOMEM)
		l->error = error;
}

static struct partner_rule rule_of(const struct loading *l, bool allowed)
{
	return (struct partner_rule){ .allowed = allowed,
				      .tls = (enum s2s_tls)l->conf->tls,
				      .auth = (enum s2s_auth)l->conf->auth };
}

static void load_names(struct loading *l, const struct conf_names *names, bool allowed)
{
	for (size_t i = 0; i < names->n; i++) {
		struct partner_rule rule = rule_of(l, allowed);

		if (!xmpp_domain(slice_of(names->v[i]), rule.domain))
			continue; /* the check of the section said so */
		slice_copy(rule.section, sizeof(rule.section),
			   allowed ? SLICE("[federation] allow") : SLICE("[federation] deny"));
		load_rule(l, &rule);
	}
}

static void load_section(struct loading *l, const struct partner_conf *c)
{
	struct partner_rule rule = rule_of(l, c->enabled);

	if (!xmpp_domain(slice_of(c->common.name), rule.domain))
		return;
	snprintf(rule.section, sizeof(rule.section), "[partner %s]", rule.domain);
	if (conf_is_set(c, "tls"))
		rule.tls = (enum s2s_tls)c->tls;
	if (conf_is_set(c, "auth"))
		rule.auth = (enum s2s_auth)c->auth;
	rule.direct_tls = c->direct_tls;
	for (size_t i = 0; i < c->routes.n; i++)
		add_route(&rule, slice_of(c->routes.v[i]));
	load_rule(l, &rule);
}

static void load_all(struct loading *l, const struct conf_snapshot *snap)
{
	const bool denies = l->conf->mode == FEDERATION_DENY_LIST;
	const struct partner_conf *c = NULL;
	struct partner_rule any = rule_of(l, true);

	if (denies) {
		slice_copy(any.domain, sizeof(any.domain), SLICE(PARTNER_ANY));
		slice_copy(any.section, sizeof(any.section), SLICE("[federation] mode"));
		load_rule(l, &any);
		load_names(l, &l->conf->deny, false);
	} else {
		load_names(l, &l->conf->allow, true);
	}
	while ((c = conf_next(snap, "partner", c)))
		load_section(l, c);
}

int partners_load(struct partners *p, const struct conf_snapshot *snap)
{
	struct loading l = { .p = partners_new(), .conf = conf_get(snap, "federation", NULL) };

	if (!l.p)
		return -ENOMEM;
	if (l.conf && l.conf->mode != FEDERATION_OFF)
		load_all(&l, snap);
	if (l.error == 0) {
		struct htab old = p->rules;

		p->rules = l.p->rules;
		l.p->rules = old;
	}
	partners_free(l.p);
	return l.error;
}

/* --- the table --- */

static json_t *rule_item(const struct partner_rule *r)
{
	json_t *routes = json_array();

	for (size_t i = 0; i < r->n_routes; i++)
		json_array_append_new(routes, json_string(r->routes[i]));
	return json_pack("{s:b,s:s,s:s,s:b,s:o,s:s}", "allowed", r->allowed, "tls",
			 tls_words[r->tls], "auth", auth_words[r->auth], "direct_tls",
			 r->direct_tls, "route", routes, "section", r->section);
}

void partners_each(const struct partners *p,
		   void (*fn)(void *arg, const char *key, const json_t *item), void *arg)
{
	HTAB_FOREACH (n, &p->rules) {
		const struct partner_rule *r = &CONTAINER_OF(n, struct entry, node)->rule;
		json_t *item = rule_item(r);

		if (item)
			fn(arg, r->domain, item);
		json_decref(item);
	}
}

void partners_each_rule(const struct partners *p,
			void (*fn)(void *arg, const struct partner_rule *rule), void *arg)
{
	HTAB_FOREACH (n, &p->rules)
		fn(arg, &CONTAINER_OF(n, struct entry, node)->rule);
}

size_t partners_count(const struct partners *p)
{
	return p->rules.n;
}

/* A member may be absent, then *out stays. */
static bool flag_of(const json_t *item, const char *key, bool *out)
{
	const json_t *v = json_object_get(item, key);

	if (v)
		*out = json_is_true(v);
	return !v || json_is_boolean(v);
}

static struct slice text_of(const json_t *v)
{
	return json_is_string(v) ? (struct slice){ json_string_value(v), json_string_length(v) }
				 : SLICE_NONE;
}

static bool word_of(const json_t *item, const char *key, const char *const *words, int *out)
{
	const json_t *v = json_object_get(item, key);
	const struct slice text = text_of(v);

	if (!v)
		return true;
	for (int i = 0; i < N_WORDS; i++)
		if (slice_eq(text, slice_of(words[i]))) {
			*out = i;
			return true;
		}
	return false;
}

static bool routes_of(const json_t *item, struct partner_rule *out)
{
	const json_t *routes = json_object_get(item, "route");

	if (routes && !json_is_array(routes))
		return false;
	for (size_t i = 0; i < json_array_size(routes); i++)
		if (!add_route(out, text_of(json_array_get(routes, i))))
			return false;
	return true;
}

/* Only shown: but it is shown as a setting of ours. */
static bool section_of(const json_t *item, struct partner_rule *out)
{
	const struct slice text = text_of(json_object_get(item, "section"));

	for (size_t i = 0; i < text.n; i++)
		if ((unsigned char)text.p[i] < ' ' || (unsigned char)text.p[i] == 0x7f)
			return false;
	return slice_copy(out->section, sizeof(out->section),
			  text.n ? text : SLICE("xmpp-partners"));
}

static bool domain_of(const char *key, char out[XMPP_DOMAIN_BYTES])
{
	/* Names are compared as they stand: one that is written otherwise would be another. */
	if (strcmp(key, PARTNER_ANY) == 0)
		return slice_copy(out, XMPP_DOMAIN_BYTES, slice_of(key));
	return xmpp_domain(slice_of(key), out) && strcmp(key, out) == 0;
}

static bool item_read(const char *key, const json_t *item, struct partner_rule *out)
{
	int tls = S2S_TLS_REQUIRED, auth = S2S_AUTH_ANY;

	*out = (struct partner_rule){ 0 };
	if (!json_is_object(item) || !json_is_boolean(json_object_get(item, "allowed")) ||
	    !domain_of(key, out->domain) || !flag_of(item, "allowed", &out->allowed) ||
	    !flag_of(item, "direct_tls", &out->direct_tls) ||
	    !word_of(item, "tls", tls_words, &tls) || !word_of(item, "auth", auth_words, &auth) ||
	    !section_of(item, out))
		return false;
	out->tls = (enum s2s_tls)tls;
	out->auth = (enum s2s_auth)auth;
	return routes_of(item, out);
}

int partners_put(struct partners *p, const char *key, const json_t *item)
{
	struct partner_rule rule;

	if (item_read(key, item, &rule))
		return enter(p, &rule);
	partners_del(p, key);
	return -EINVAL;
}

void partners_del(struct partners *p, const char *key)
{
	struct entry *e = find(p, key);

	if (e)
		entry_free(p, e);
}

/* --- decisions --- */

const struct partner_rule *partners_rule(const struct partners *p, const char *domain)
{
	char name[XMPP_DOMAIN_BYTES];
	struct entry *e;

	/* What is no domain has no rule, not even the one for all others. */
	if (!xmpp_domain(slice_of(domain), name))
		return NULL;
	e = find(p, name);
	if (!e)
		e = find(p, PARTNER_ANY);
	return e ? &e->rule : NULL;
}

struct s2s_policy partners_decide(const struct partners *p, bool local_federates,
				  bool remote_is_ours, const char *remote)
{
	const struct partner_rule *r = partners_rule(p, remote);
	struct s2s_policy out = { .decided_by = r ? r->section : "[federation]" };

	if (!local_federates) {
		out.decided_by = "[domain] federation";
		out.why = "the domain does not federate";
	} else if (remote_is_ours) {
		out.decided_by = "[domain]";
		out.why = "a domain of our own is no partner";
	} else if (!r) {
		out.why = "no rule allows this partner";
	} else if (!r->allowed) {
		out.why = "this partner is not allowed";
	} else {
		out.allowed = true;
	}
	if (r) {
		out.tls = r->tls;
		out.auth = r->auth;
	}
	return out;
}
