#include <errno.h>
#include <ifaddrs.h>
#include <stdlib.h>

#include "core/system_conf.h"
#include "route/sections.h"

/* Every section of a type in file order, as an array of pointers (one at least). */
static const void **collect(const struct conf_snapshot *snap, const char *type, size_t *n)
{
	const void *section;
	const void **v;
	size_t count = 0;

	*n = 0;
	for (section = conf_next(snap, type, NULL); section;
	     section = conf_next(snap, type, section))
		count++;
	v = calloc(count + 1, sizeof(*v));
	if (!v)
		return NULL;
	for (section = conf_next(snap, type, NULL); section;
	     section = conf_next(snap, type, section))
		v[(*n)++] = section;
	return v;
}

/* Addresses by which others may reach this host: no loopback, no link-local ones. */
static size_t own_ips(struct addr *out, size_t max)
{
	struct ifaddrs *all, *it;
	size_t n = 0;

	if (getifaddrs(&all) < 0)
		return 0;
	for (it = all; it && n < max; it = it->ifa_next) {
		struct addr a =
			it->ifa_addr ? addr_from_sockaddr(it->ifa_addr) : (struct addr){ 0 };
		enum addr_class class;

		if (a.family == ADDR_NONE)
			continue;
		a.port = 0;
		class = addr_class(&a);
		if (class != ADDR_LOOPBACK && class != ADDR_LINK_LOCAL)
			out[n++] = a;
	}
	freeifaddrs(all);
	return n;
}

/* %localdomains%: those whose SIP we carry. */
static void name_domains(struct route_gather *g)
{
	size_t i;

	for (i = 0; i < g->plan.n_domains; i++)
		if (route_domain_sip_zone(g->domains[i]).n)
			g->domain_names[g->plan.vars.n_domains++] = g->domains[i]->common.name;
}

int route_gather_init(struct route_gather *g, const struct conf_snapshot *snap)
{
	const struct system_conf *system = conf_get(snap, "system", NULL);
	struct route_plan *p = &g->plan;

	*g = (struct route_gather){ .plan.role = conf_role(snap) };
	g->zones = (const struct zone_conf **)collect(snap, "zone", &p->n_zones);
	g->domains = (const struct domain_conf **)collect(snap, "domain", &p->n_domains);
	g->transforms =
		(const struct transform_conf **)collect(snap, "transform", &p->n_transforms);
	g->rules = (const struct rule_conf **)collect(snap, "search-rule", &p->n_rules);
	g->domain_names = calloc(p->n_domains + 1, sizeof(*g->domain_names));
	if (!g->zones || !g->domains || !g->transforms || !g->rules || !g->domain_names) {
		route_gather_fini(g);
		return -ENOMEM;
	}
	name_domains(g);
	p->zones = g->zones;
	p->domains = g->domains;
	p->transforms = g->transforms;
	p->rules = g->rules;
	p->vars.system_name = system && system->name ? system->name : "";
	p->vars.domains = g->domain_names;
	p->vars.n_ips = own_ips(g->ips, ROUTE_MAX_OWN_IPS);
	p->vars.ips = g->ips;
	return 0;
}

void route_gather_fini(struct route_gather *g)
{
	free(g->zones);
	free(g->domains);
	free(g->transforms);
	free(g->rules);
	free(g->domain_names);
	g->zones = NULL;
	g->domains = NULL;
	g->transforms = NULL;
	g->rules = NULL;
	g->domain_names = NULL;
}

void route_section_count(const struct conf_snapshot *snap, const void *section, const char *type,
			 size_t max, struct conf_errors *errors)
{
	const void *it;
	size_t n = 0;

	if (conf_next(snap, type, NULL) != section)
		return;
	for (it = section; it; it = conf_next(snap, type, it))
		n++;
	if (n > max)
		conf_error(errors, section, NULL, "%zu [%s] sections; at most %zu are legal", n,
			   type, max);
}
