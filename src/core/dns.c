#include "core/dns.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "core/dns_lookup.h"
#include "core/dns_question.h"
#include "core/log.h"
#include "core/net.h"

#define MAX_NEGATIVE_MS (5 * 60 * 1000)
#define HOUR_MS		(60 * 60 * 1000)
#define HOSTS_FILE	"/etc/hosts"
#define RESOLV_CONF	"/etc/resolv.conf"

static const struct conf_row rows[] = {
	{ .key = "servers",
	  .type = CONF_NAMES,
	  .offset = offsetof(struct dns_conf, servers),
	  .help = "DNS servers as address or address:port; without any, those of "
		  "/etc/resolv.conf." },
	{ .key = "timeout",
	  .type = CONF_MS,
	  .offset = offsetof(struct dns_conf, timeout_ms),
	  .def = "2s",
	  .min = 100,
	  .max = 30000,
	  .help = "How long the first try waits for an answer; later tries wait longer." },
	{ .key = "tries",
	  .type = CONF_U32,
	  .offset = offsetof(struct dns_conf, tries),
	  .def = "2",
	  .min = 1,
	  .max = 10,
	  .help = "How often each server is asked before a lookup fails." },
	{ .key = "cache-max",
	  .type = CONF_MS,
	  .offset = offsetof(struct dns_conf, cache_max_ms),
	  .def = "1h",
	  .max = 24 * HOUR_MS,
	  .help = "An answer is asked for again after this time even when its TTL is longer." },
	{ .key = "cache-entries",
	  .type = CONF_U32,
	  .offset = offsetof(struct dns_conf, cache_entries),
	  .def = "4096",
	  .max = 1000000,
	  .help = "How many answers are kept." },
	{ .key = "stale-max",
	  .type = CONF_MS,
	  .offset = offsetof(struct dns_conf, stale_max_ms),
	  .def = "24h",
	  .max = 24 * HOUR_MS,
	  .help = "How long after its time an answer is still used when the servers are dead." },
};

static void check(const struct conf_snapshot *snap, const void *section, struct conf_errors *errors)
{
	const struct dns_conf *conf = section;
	struct addr a;

	for (size_t i = 0; i < conf->servers.n; i++) {
		if (!addr_parse(slice_of(conf->servers.v[i]), 53, &a))
			conf_error(errors, section, "servers",
				   "'%s' is not an address or address:port", conf->servers.v[i]);
	}
}

const struct conf_section dns_conf_section = {
	.type = "dns",
	.roles = CONF_ROLE_BOTH,
	.size = sizeof(struct dns_conf),
	.rows = rows,
	.n_rows = sizeof(rows) / sizeof(rows[0]),
	.help = "How names are resolved. /etc/hosts is asked first.",
	.check = check,
};

struct dns *dns_new(struct loop *loop, struct log *log, struct alarms *alarms)
{
	struct dns *d = calloc(1, sizeof(*d));
	struct dns_cache_limits none = { 0 };
	uint8_t seed[16];

	if (!d)
		return NULL;
	net_random(seed, sizeof(seed));
	d->loop = loop;
	d->log = log;
	d->alarms = alarms;
	list_init(&d->queries);
	d->cache = dns_cache_new(seed, &none);
	d->hosts = dns_hosts_new(HOSTS_FILE);
	if (dns_questions_init(d) < 0 || !d->cache || !d->hosts) {
		dns_free(d);
		return NULL;
	}
	return d;
}

void dns_free(struct dns *d)
{
	if (!d)
		return;
	d->closing = true;
	dns_lookups_fini(d);
	dns_channel_free(d->channel);
	dns_questions_fini(d);
	dns_hosts_free(d->hosts);
	dns_cache_free(d->cache);
	free(d->servers);
	free(d);
}

int dns_set_hosts_file(struct dns *d, const char *path)
{
	struct dns_hosts *hosts = dns_hosts_new(path);

	if (!hosts)
		return -ENOMEM;
	dns_hosts_free(d->hosts);
	d->hosts = hosts;
	return 0;
}

/* One string of the servers, to compare. NULL without memory. */
static char *servers_of(const struct dns_conf *conf)
{
	struct buf b;

	buf_init(&b, 64 * 1024);
	buf_add_char(&b, ' ');
	for (size_t i = 0; i < conf->servers.n; i++)
		buf_printf(&b, "%s ", conf->servers.v[i]);
	return buf_take(&b);
}

static bool same_resolver(const struct dns *d, const struct dns_conf *conf, const char *servers,
			  const struct stat *resolv_conf)
{
	return d->channel && strcmp(d->servers, servers) == 0 &&
	       d->timeout_ms == conf->timeout_ms && d->tries == conf->tries &&
	       (conf->servers.n > 0 || (d->resolv_conf.st_ino == resolv_conf->st_ino &&
					d->resolv_conf.st_size == resolv_conf->st_size &&
					memcmp(&d->resolv_conf.st_mtim, &resolv_conf->st_mtim,
					       sizeof(resolv_conf->st_mtim)) == 0));
}

static void set_cache_limits(struct dns *d, const struct dns_conf *conf)
{
	struct dns_cache_limits limits = { .max_entries = conf->cache_entries,
					   .max_fresh_ms = conf->cache_max_ms,
					   .max_negative_ms = MAX_NEGATIVE_MS,
					   .max_stale_ms = conf->stale_max_ms };

	if (limits.max_negative_ms > limits.max_fresh_ms)
		limits.max_negative_ms = limits.max_fresh_ms;
	dns_cache_set_limits(d->cache, &limits);
}

int dns_apply(struct dns *d, const struct dns_conf *conf)
{
	struct stat resolv_conf = { 0 };
	struct dns_channel *old = d->channel, *next;
	char *servers = servers_of(conf);
	int error;

	if (!servers)
		return -ENOMEM;
	/* A missing resolv.conf is a state like any other: c-ares then asks this host. */
	if (stat(RESOLV_CONF, &resolv_conf) < 0)
		resolv_conf = (struct stat){ 0 };
	if (same_resolver(d, conf, servers, &resolv_conf)) {
		free(servers);
		set_cache_limits(d, conf);
		return 0;
	}
	next = dns_channel_new(d->loop, conf, &error);
	if (!next) {
		free(servers);
		return error;
	}
	free(d->servers);
	d->servers = servers;
	d->timeout_ms = conf->timeout_ms;
	d->tries = conf->tries;
	d->resolv_conf = resolv_conf;
	d->channel = next;
	set_cache_limits(d, conf);
	dns_cache_forget_failures(d->cache);
	/* What is under way is asked again, of the new servers. */
	dns_channel_free(old);
	return 0;
}

int dns_configure(struct dns *d, const struct conf_snapshot *snap)
{
	return dns_apply(d, conf_get(snap, "dns", NULL));
}

void dns_flush(struct dns *d)
{
	dns_cache_flush(d->cache);
}

struct dns_stats dns_stats(const struct dns *d)
{
	struct dns_stats s = d->stats;

	s.n_cached = dns_cache_count(d->cache);
	s.n_inflight = d->questions.n;
	return s;
}
