#include "uc/generate.h"

#include <stdio.h>
#include <strings.h>

#include "base/siphash.h"
#include "turnpike/route.h"

#define HASH_CHARS 8

static bool fits(struct slice name)
{
	return name.n < UC_ZONE_BYTES && uc_host_is_plain(name);
}

void uc_zone_name(char out[UC_ZONE_BYTES], const char *prefix, const char *node)
{
	/* Not to hide anything: the same name must come out everywhere and always. */
	static const uint8_t key[16] = "zone names";
	char whole[2 * UC_HOST_BYTES + UC_ZONE_BYTES];
	int n = snprintf(whole, sizeof(whole), "%s%s", prefix, node);
	struct slice s = { whole, n < 0 ? 0 : (size_t)n };
	size_t i;

	if (fits(s)) {
		slice_copy(out, UC_ZONE_BYTES, s);
		return;
	}
	snprintf(out, UC_ZONE_BYTES, "%.*s-%08x", UC_ZONE_BYTES - 2 - HASH_CHARS, whole,
		 (unsigned)siphash(key, s.p, s.n));
	for (i = 0; out[i]; i++)
		if (out[i] == ':')
			out[i] = '-';
}

/* Only dots, dashes and colons come in names that may be printed (uc_host_is_legal()). */
static void add_pattern(struct buf *out, const char *host, const char *tail)
{
	const bool bracket = slice_find(slice_of(host), ':') < slice_of(host).n;
	const char *p;

	buf_add_str(out, "pattern = (.+)@");
	buf_add_str(out, bracket ? "\\[" : "");
	for (p = host; *p; p++) {
		if (*p == '.' || *p == '-')
			buf_add_char(out, '\\');
		buf_add_char(out, *p);
	}
	buf_printf(out, "%s%s\n", bracket ? "\\]" : "", tail);
}

static void add_rule(struct buf *out, const char *name, const char *host, const char *tail,
		     const char *zone)
{
	buf_printf(out,
		   "[search-rule %s]\npriority = 45\nsource = any\nmode = alias-pattern\n"
		   "pattern-type = regex\n",
		   name);
	add_pattern(out, host, tail);
	buf_printf(out, "target = %s\n", zone);
}

static void add_zone(struct buf *out, const char *name, const char *node)
{
	buf_printf(out, "[zone %s]\ntype = neighbour\npeers = %s\nmonitor = no\n", name, node);
}

static bool has_tls(const struct uc_cluster_conf *conf)
{
	return conf->tls && conf->tls[0];
}

static void add_node(struct buf *out, const struct uc_cluster_conf *conf, struct uc_server *s,
		     bool mixed)
{
	uc_zone_name(s->tcp_zone, "CEtcp-", s->name);
	add_zone(out, s->tcp_zone, s->name);
	buf_printf(out, "transport = tcp\nport = %u\nmedia-encryption = unencrypted\n",
		   conf->sip_port);
	add_rule(out, s->tcp_zone, s->name, "([:;].*)?", s->tcp_zone);
	if (!mixed || !has_tls(conf))
		return;
	uc_zone_name(s->tls_zone, "CEtls-", s->name);
	add_zone(out, s->tls_zone, s->name);
	buf_printf(out, "transport = tls\nport = %u\ntls = %s\nmedia-encryption = auto\n",
		   conf->sip_tls_port, conf->tls);
	add_rule(out, s->tls_zone, s->name, "([:;].*)?", s->tls_zone);
}

static bool is_domain_of(const struct uc_cluster_conf *conf, const char *domain)
{
	size_t i;

	for (i = 0; i < conf->domains.n; i++)
		if (strcasecmp(conf->domains.v[i], domain) == 0)
			return true;
	return false;
}

static void add_domain(struct buf *out, const char *domain, const struct uc_servers *servers)
{
	char name[UC_ZONE_BYTES], node[2 * UC_HOST_BYTES];
	unsigned n = 0;
	size_t i;

	for (i = 0; i < servers->n && n < UC_GENERATE_DOMAIN_NODES; i++) {
		const struct uc_server *s = &servers->v[i];

		if (!s->tcp_zone[0])
			continue;
		snprintf(node, sizeof(node), "%s-%s", s->name, domain);
		uc_zone_name(name, "CEtcp-", node);
		add_rule(out, name, domain, "", s->tcp_zone);
		n++;
	}
}

bool uc_generate(const struct conf_snapshot *snap, const struct uc_cluster_conf *conf,
		 struct uc_servers *servers, bool mixed, struct buf *out)
{
	const struct domain_conf *d;
	size_t i;

	for (i = 0; i < servers->n; i++) {
		struct uc_server *s = &servers->v[i];

		s->tcp_zone[0] = '\0';
		s->tls_zone[0] = '\0';
		if (conf->sip && (s->roles & UC_CALL_MANAGER) &&
		    uc_host_is_legal(slice_of(s->name)))
			add_node(out, conf, s, mixed);
	}
	for (d = conf_next(snap, "domain", NULL); d; d = conf_next(snap, "domain", d))
		if (d->sip && strcasecmp(d->sip, "uc") == 0 && is_domain_of(conf, d->common.name))
			add_domain(out, d->common.name, servers);
	return !out->failed;
}
