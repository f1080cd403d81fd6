#include "http/origin.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alarm.h"
#include "core/dns.h"
#include "core/fetch.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/module.h"
#include "core/net.h"
#include "core/stream_socket.h"
#include "core/trace.h"

#define MAX_ORIGINS	2000
#define MAX_ADDRS	8
#define FRESH_MS	5000   /* addresses are asked for again after it (the DNS cache answers) */
#define UNUSED_MS	600000 /* then an origin is forgotten */
#define KEY_BYTES	(HTTP_URL_HOST_BYTES + ALLOW_NAME_BYTES + 16)
#define ALARM_BACKEND	"backend-down"
#define HEALTH_MAX_BODY (64 * 1024)

struct server {
	struct origin * or ;
	char host[HTTP_URL_HOST_BYTES];
	uint16_t port;
	struct dns_query *query;
	bool asking;
	int64_t fresh_until_ms;
	int error; /* of the last look-up */
	char why[160];
	size_t n_addrs;
	struct addr addrs[MAX_ADDRS];
	/* health, of [backends] only */
	struct fetch *probe;
	uint32_t n_bad;	 /* in a row */
	uint32_t n_sick; /* of them answers to health questions, which good answers to requests do
			    not outweigh: it may want to be left out */
	bool down;
	bool suspect; /* a request could not use it; the next good answer clears it */
};

struct origin {
	struct htab_node by_key;
	struct list node;
	struct env *env;
	struct origins *all; /* NULL: no longer in the table */
	unsigned n_refs;
	char key[KEY_BYTES];
	char host[HTTP_URL_HOST_BYTES];
	char named[HTTP_URL_HOST_BYTES]; /* the rule's host */
	bool https, verify;
	char tls[64];
	struct list waits;
	struct timer health;
	int64_t used_ms;
	/* [backends], copied; health_path "" without */
	bool is_group;
	int mode;
	char health_path[512];
	uint32_t health_interval_ms, health_timeout_ms, health_fails;
	unsigned turn;	 /* round robin */
	unsigned epoch;	 /* counts changes of the order of servers */
	unsigned serial; /* no two of one table are alike */
	struct list watches;
	struct timer doubt;
	size_t n_servers;
	struct server servers[]; /* best first */
};

struct origins {
	struct env *env;
	const struct conf_snapshot *snap;
	struct htab table;
	unsigned serial;
	struct list list; /* the least recently used first */
	size_t n;
};

bool origin_address_allowed(const struct addr *a, const char *named, bool is_own, const char **why)
{
	enum addr_class class = addr_class(a);
	struct addr literal;

	if (addr_parse_ip(slice_of(named), 0, &literal) && addr_ip_eq(&literal, a) &&
	    class != ADDR_UNSPECIFIED && class != ADDR_MULTICAST && class != ADDR_BROADCAST)
		return true;
	if (class != ADDR_GLOBAL && class != ADDR_PRIVATE) {
		*why = addr_class_str(class);
		return false;
	}
	*why = "an address of this host";
	return !is_own;
}

static struct slice origin_key(const struct htab_node *node)
{
	return slice_of(
		CONTAINER_OF((struct htab_node *)(uintptr_t)node, struct origin, by_key)->key);
}

struct origins *origins_new(struct env *env)
{
	struct origins *o = calloc(1, sizeof(*o));
	uint8_t seed[16];

	if (!o)
		return NULL;
	o->env = env;
	list_init(&o->list);
	net_random(seed, sizeof(seed));
	if (htab_init(&o->table, seed, origin_key) < 0) {
		free(o);
		return NULL;
	}
	return o;
}

static struct loop *loop_of(struct origin * or)
{
	return or->env->loop;
}

/* --- life --- */

static void alarm_subject(const struct origin * or, const struct server *s, char out[96])
{
	snprintf(out, 96, "%.40s %.40s:%u", or->host, s->host, s->port);
}

static void leave_table(struct origin * or)
{
	struct origins *o = or->all;

	htab_del(&o->table, & or->by_key);
	list_del(& or->node);
	o->n--;
	timer_stop(loop_timers(o->env->loop), & or->health);
	timer_stop(loop_timers(o->env->loop), & or->doubt);
	for (size_t i = 0; i < or->n_servers; i++) {
		char subject[96];

		dns_cancel(or->servers[i].query);
		fetch_cancel(or->servers[i].probe);
		or->servers[i].query = NULL;
		or->servers[i].probe = NULL;
		or->servers[i].asking = false;
		alarm_subject(or, & or->servers[i], subject);
		alarm_clear(o->env->alarms, ALARM_BACKEND, subject);
	}
	or->all = NULL;
	while (!list_empty(& or->waits)) {
		struct origin_wait *w =
			CONTAINER_OF(list_first(& or->waits), struct origin_wait, node);

		origin_wait_cancel(w);
		w->done(w->arg, -ECANCELED, "the configuration changed");
	}
	origin_unref(or);
}

struct origin *origin_ref(struct origin * or)
{
	or->n_refs++;
	return or ;
}

void origin_unref(struct origin * or)
{
	if (or &&-- or->n_refs == 0)
		free(or);
}

void origins_free(struct origins *o)
{
	if (!o)
		return;
	LIST_FOREACH_SAFE (it, &o->list) {
		leave_table(CONTAINER_OF(it, struct origin, node));
	}
	htab_fini(&o->table);
	if (o->snap)
		conf_unref(o->snap);
	free(o);
}

void origins_configure(struct origins *o, const struct conf_snapshot *snap)
{
	const struct conf_snapshot *old = o->snap;

	o->snap = conf_ref(snap);
	if (old)
		conf_unref(old);
	/* Streams that stand have no need of them; requests that wait are told to try again. */
	LIST_FOREACH_SAFE (it, &o->list) {
		leave_table(CONTAINER_OF(it, struct origin, node));
	}
}

/* --- health of a [backends] server --- */

static void probe(struct origin * or, struct server *s);

/* Which servers are to be preferred has changed. */
static void set_standing(struct server *s, bool down, bool suspect)
{
	if (s->down != down || s->suspect != suspect)
		s->or->epoch++;
	s->down = down;
	s->suspect = suspect;
}

static void take_report(struct origin * or, unsigned server, bool good, bool asked)
{
	struct server *s = & or->servers[server];
	char subject[96];

	alarm_subject(or, s, subject);
	if (asked)
		s->n_sick = good ? 0 : s->n_sick + 1;
	s->n_bad = good ? s->n_sick : s->n_bad + 1;
	if (good && s->n_sick > 0)
		return;
	if (good && s->down) {
		alarm_clear(or->all->env->alarms, ALARM_BACKEND, subject);
		log_warn(or->all->env->log, "http.backend.up", "host=%s server=%s:%u", or->host,
			 s->host, s->port);
	} else if (!good && !s->down && s->n_bad >= or->health_fails) {
		set_standing(s, true, s->suspect);
		alarm_raise(or->all->env->alarms, ALARM_BACKEND, subject, ALARM_WARNING,
			    "look at that server; requests go to the others meanwhile",
			    "[backends %s]: %s:%u gave %u bad answers in a row", or->host, s->host,
			    s->port, s->n_bad);
		log_warn(or->all->env->log, "http.backend.down", "host=%s server=%s:%u bad=%u",
			 or->host, s->host, s->port, s->n_bad);
	}
	if (good)
		set_standing(s, false, false);
}

void origin_report(struct origin * or, unsigned server, bool good)
{
	if (or->all && or->is_group && server < or->n_servers)
		take_report(or, server, good, false);
}

void origin_unusable(struct origin * or, unsigned server)
{
	struct server *s = & or->servers[server];

	if (! or->all || ! or->is_group || server >= or->n_servers)
		return;
	if (!s->suspect)
		log_info(or->all->env->log, "http.backend.suspect", "host=%s server=%s:%u",
			 or->host, s->host, s->port);
	set_standing(s, s->down, true);
	take_report(or, server, false, false);
	/* Was it the request, or the server? */
	probe(or, s);
}

uint64_t origin_epoch(const struct origin * or)
{
	if (! or->is_group)
		return 0;
	return (uint64_t) or->serial << 32 | (or->mode == BACKENDS_FAILOVER ? or->epoch : 0);
}

/* --- requests that wait for an answer --- */

/* Whoever waits long makes us ask. */
static void doubt(void *arg)
{
	struct origin * or = arg;
	int64_t now_ms = loop_now_ms(loop_of(or));

	LIST_FOREACH (it, & or->watches) {
		const struct origin_watch *w = CONTAINER_OF(it, struct origin_watch, node);

		if (now_ms - w->since_ms >= (int64_t) or->health_timeout_ms)
			probe(or, & or->servers[w->server]);
	}
	if (!list_empty(& or->watches))
		timer_start(loop_timers(loop_of(or)), & or->doubt, or->health_timeout_ms);
}

void origin_watch_start(struct origin * or, struct origin_watch *w, unsigned server)
{
	origin_watch_stop(w);
	if (! or->all || ! or->is_group || server >= or->n_servers)
		return;
	w->on = true;
	w->server = server;
	w->since_ms = loop_now_ms(loop_of(or));
	if (list_empty(& or->watches))
		timer_start(loop_timers(loop_of(or)), & or->doubt, or->health_timeout_ms);
	list_add_tail(& or->watches, &w->node);
}

void origin_watch_stop(struct origin_watch *w)
{
	if (!w->on)
		return;
	w->on = false;
	list_del(&w->node);
}

static struct origin_watch *first_of(struct origin * or, unsigned server)
{
	LIST_FOREACH (it, & or->watches) {
		struct origin_watch *w = CONTAINER_OF(it, struct origin_watch, node);

		if (w->server == server)
			return w;
	}
	return NULL;
}

/* Whoever is told may end others, and begin anew with another server. */
static void tell_watching(struct origin * or, unsigned server)
{
	struct origin_watch *w;

	origin_ref(or);
	while (or->servers[server].down && (w = first_of(or, server))) {
		origin_watch_stop(w);
		w->gone(w->arg);
	}
	origin_unref(or);
}

static bool other_is_up(const struct origin * or)
{
	for (size_t i = 0; i < or->n_servers; i++)
		if (! or->servers[i].down)
			return true;
	return false;
}

static void probed(const struct fetch_result *r, void *arg)
{
	struct server *s = arg;
	unsigned server = (unsigned)(s - s->or->servers);

	s->probe = NULL;
	take_report(s->or, server, r->error == 0 && r->status < 500, true);
	if (s->down && other_is_up(s->or))
		tell_watching(s->or, server);
}

static void probe(struct origin * or, struct server *s)
{
	char url[1024];
	struct fetch_request r = { .url = url,
				   .tls = or->tls[0] ? or->tls : NULL,
				   .verify = or->verify,
				   .timeout_ms = or->health_timeout_ms,
				   .max_body = HEALTH_MAX_BODY,
				   .to = &s->addrs[0] };
	int error;

	if (s->probe || s->n_addrs == 0)
		return;
	snprintf(url, sizeof(url), strchr(s->host, ':') ? "%s://[%s]:%u%s" : "%s://%s:%u%s",
		 or->https ? "https" : "http", s->host, s->port, or->health_path);
	s->probe = fetch_start(or->all->env, &r, probed, s, &error);
}

static void look_up(struct server *s);

static void health_turn(void *arg)
{
	struct origin * or = arg;

	for (size_t i = 0; i < or->n_servers; i++) {
		if (loop_now_ms(loop_of(or)) >= or->servers[i].fresh_until_ms)
			look_up(& or->servers[i]);
		probe(or, & or->servers[i]);
	}
	timer_start(loop_timers(loop_of(or)), & or->health, or->health_interval_ms);
}

/* --- making one --- */

static void set_server(struct origin * or, size_t i, const char *text, uint16_t port)
{
	struct server *s = & or->servers[i];
	struct http_url url;
	const char *why;

	s->or = or ;
	if (!http_authority_parse(slice_of(text), port, &url, &why))
		return; /* checked with the configuration */
	slice_copy(s->host, sizeof(s->host), slice_of(url.host));
	s->port = url.port;
}

static void make_key(char out[KEY_BYTES], const struct http_url *url, const struct allow_rule *rule)
{
	char port[SLICE_U64_DIGITS];
	size_t n = slice_append(out, KEY_BYTES, 0, url->https ? SLICE("s") : SLICE("p"));

	n = slice_append(out, KEY_BYTES, n,
			 (struct slice){ port, slice_u64_print(port, url->port) });
	n = slice_append(out, KEY_BYTES, n, SLICE(" "));
	n = slice_append(out, KEY_BYTES, n, slice_of(url->host));
	n = slice_append(out, KEY_BYTES, n, SLICE(" "));
	slice_append(out, KEY_BYTES, n, slice_of(rule->name));
}

static void become_group(struct origin * or, const struct backends_conf *group)
{
	or->is_group = true;
	or->mode = group->mode;
	slice_copy(or->health_path, sizeof(or->health_path),
		   slice_of(group->health_path ? group->health_path : "/"));
	or->health_interval_ms = group->health_interval_ms;
	or->health_timeout_ms = group->health_timeout_ms;
	or->health_fails = group->health_fails;
	timer_start(loop_timers(loop_of(or)), & or->health, 0);
}

static struct origin *make(struct origins *o, const char *key, const struct http_url *url,
			   const struct allow_rule *rule)
{
	const struct backends_conf *group = conf_get(o->snap, "backends", url->host);
	size_t n = group ? group->servers.n : 1;
	struct origin * or = calloc(1, sizeof(* or) + n * sizeof(or->servers[0]));
	char literal[HTTP_URL_HOST_BYTES + 2];

	if (! or)
		return NULL;
	or->n_refs = 1;
	or->env = o->env;
	or->all = o;
	or->n_servers = n;
	or->https = url->https;
	or->verify = rule->verify;
	slice_copy(or->key, sizeof(or->key), slice_of(key));
	slice_copy(or->host, sizeof(or->host), slice_of(url->host));
	slice_copy(or->named, sizeof(or->named), slice_of(rule->host));
	slice_copy(or->tls, sizeof(or->tls), slice_of(rule->tls));
	or->serial = ++o->serial;
	list_init(& or->waits);
	list_init(& or->watches);
	timer_init(& or->health, health_turn, or);
	timer_init(& or->doubt, doubt, or);
	snprintf(literal, sizeof(literal), strchr(url->host, ':') ? "[%s]" : "%s", url->host);
	for (size_t i = 0; i < n; i++)
		set_server(or, i, group ? group->servers.v[i] : literal, url->port);
	if (group)
		become_group(or, group);
	htab_add(&o->table, & or->by_key);
	list_add_tail(&o->list, & or->node);
	o->n++;
	return or ;
}

static void forget_unused(struct origins *o)
{
	int64_t now_ms = loop_now_ms(o->env->loop);

	LIST_FOREACH_SAFE (it, &o->list) {
		struct origin * or = CONTAINER_OF(it, struct origin, node);

		if (now_ms - or->used_ms < UNUSED_MS && o->n < MAX_ORIGINS)
			return;
		leave_table(or);
	}
}

struct origin *origins_get(struct origins *o, const struct http_url *url,
			   const struct allow_rule *rule)
{
	char key[KEY_BYTES];
	struct htab_node *found;
	struct origin * or ;

	make_key(key, url, rule);
	found = htab_get(&o->table, slice_of(key));
	if (found) {
		or = CONTAINER_OF(found, struct origin, by_key);
		list_del(& or->node);
		list_add_tail(&o->list, & or->node);
	} else {
		forget_unused(o);
		or = make(o, key, url, rule);
	}
	if (or)
		or->used_ms = loop_now_ms(o->env->loop);
	return or ;
}

/* --- addresses --- */

/* The group's servers are named by the administrator as well as the rule. */
static const char *named_host(const struct server *s)
{
	return s->or->is_group ? s->host : s->or->named;
}

/* Also as an IPv6 address that carries it. */
static bool is_own(const struct addr *a)
{
	struct addr inner;

	return net_is_own_ip(a) || (addr_embedded_ip4(a, &inner) && net_is_own_ip(&inner));
}

static void take_addresses(struct server *s, const struct dns_result *r)
{
	struct origin * or = s->or ;
	const char *denied = NULL;
	char text[ADDR_STR_BYTES];

	s->n_addrs = 0;
	s->error = r->status;
	for (size_t i = 0; i < r->n && s->n_addrs < MAX_ADDRS; i++) {
		struct addr a = r->addrs[i].addr;
		const char *why;

		if (origin_address_allowed(&a, named_host(s), is_own(&a), &why)) {
			a.port = s->port;
			s->addrs[s->n_addrs++] = a;
			continue;
		}
		denied = why;
		trace_add(or->all->env->trace, "http.address.denied", or->named, &a, NULL,
			  "%s resolves to %s, %s: not connected (name the address itself in an "
			  "[allow] rule if it is meant)",
			  s->host, addr_ip_str(&a, text), why);
	}
	if (s->n_addrs > 0) {
		s->error = 0;
	} else if (denied) {
		s->error = -EACCES;
		snprintf(s->why, sizeof(s->why), "%.100s resolves to %.40s", s->host, denied);
	} else {
		s->error = r->status ? r->status : -ENOENT;
		snprintf(s->why, sizeof(s->why), "%.100s: %s", s->host,
			 s->error == -ENOENT ? "no such name" : "the name servers do not answer");
	}
	s->fresh_until_ms = loop_now_ms(loop_of(or)) + FRESH_MS;
}

static void tell_waiting(struct origin * or)
{
	int error = 0;
	const char *why = "";
	bool any = false, asking = false;

	for (size_t i = 0; i < or->n_servers; i++) {
		any = any || or->servers[i].n_addrs > 0;
		asking = asking || or->servers[i].asking;
		if (or->servers[i].error) {
			error = or->servers[i].error;
			why = or->servers[i].why;
		}
	}
	if (!any && asking)
		return;
	origin_ref(or);
	/* Whoever is told may end others that wait. */
	while (!list_empty(& or->waits)) {
		struct origin_wait *w =
			CONTAINER_OF(list_first(& or->waits), struct origin_wait, node);

		origin_wait_cancel(w);
		w->done(w->arg, any ? 0 : error, any ? "" : why);
	}
	origin_unref(or);
}

static void looked_up(const struct dns_result *r, void *arg)
{
	struct server *s = arg;

	s->query = NULL;
	s->asking = false;
	take_addresses(s, r);
	tell_waiting(s->or);
}

static void look_up(struct server *s)
{
	struct origin * or = s->or ;
	struct dns_query *q;

	if (s->asking)
		return;
	s->asking = true;
	q = dns_lookup_host(or->all->env->dns, s->host, s->port, DNS_ANY_FAMILY, looked_up, s);
	if (s->asking)
		s->query = q;
}

int origin_ready(struct origin * or, struct origin_wait *w, const char **why)
{
	int64_t now_ms;
	bool any = false, asking = false;
	int error = -EHOSTDOWN;

	*why = "the configuration changed";
	if (! or->all)
		return -ECANCELED;
	now_ms = loop_now_ms(loop_of(or));
	*why = "no server";
	for (size_t i = 0; i < or->n_servers; i++) {
		struct server *s = & or->servers[i];

		if (now_ms >= s->fresh_until_ms)
			look_up(s);
		any = any || s->n_addrs > 0;
		asking = asking || s->asking;
		if (s->error) {
			error = s->error;
			*why = s->why;
		}
	}
	if (any)
		return 0;
	if (!asking)
		return error;
	list_add_tail(& or->waits, &w->node);
	w->waiting = true;
	return -EINPROGRESS;
}

void origin_wait_cancel(struct origin_wait *w)
{
	if (!w->waiting)
		return;
	w->waiting = false;
	list_del(&w->node);
}

/* --- connecting --- */

_Static_assert(WEB_MAX_SERVERS *MAX_ADDRS <= 64, "one bit for each address in `tried`");

/* 0 is the best. */
static unsigned standing(const struct server *s)
{
	return s->down ? 2 : s->suspect ? 1 : 0;
}

/* The best address that was not tried yet: living servers in their order, then those that a request
 * has failed with just now, then the dead, each with all of its addresses. */
static struct server *pick(struct origin * or, uint64_t *tried, const struct addr **to)
{
	unsigned start = 0, n = (unsigned) or->n_servers;

	if (or->mode == BACKENDS_ROUND_ROBIN && *tried == 0)
		or->turn++;
	if (or->mode == BACKENDS_ROUND_ROBIN)
		start = or->turn;
	for (unsigned i = 0; i < 3 * n; i++) {
		unsigned at = (start + i) % n;
		struct server *s = & or->servers[at];

		if (standing(s) != i / n)
			continue;
		for (size_t k = 0; k < s->n_addrs; k++) {
			uint64_t bit = 1ull << (at * MAX_ADDRS + k);

			if (*tried & bit)
				continue;
			*tried |= bit;
			*to = &s->addrs[k];
			return s;
		}
	}
	return NULL;
}

/* While there are others to turn to, nobody waits for a dead one longer than its health question
 * does. */
static uint32_t patience_ms(const struct origin * or, uint64_t tried, uint32_t timeout_ms)
{
	unsigned n_tried = (unsigned)__builtin_popcountll(tried);

	if (! or->is_group || n_tried >= origin_n_attempts(or) ||
	    or->health_timeout_ms > timeout_ms)
		return timeout_ms;
	return or->health_timeout_ms;
}

unsigned origin_n_attempts(const struct origin * or)
{
	size_t n = 0;

	for (size_t i = 0; i < or->n_servers; i++)
		n += or->servers[i].n_addrs;
	return n ? (unsigned)n : 1;
}

struct stream *origin_connect(struct origin * or, uint64_t *tried, uint32_t timeout_ms,
			      const struct stream_handler *h, void *arg, unsigned *server,
			      int *error, const char **why)
{
	const struct addr *to;
	struct server *s = pick(or, tried, &to);
	struct stream_connect c = { .verify = or->verify };

	if (!s && *tried) { /* all: from the first again */
		*tried = 0;
		s = pick(or, tried, &to);
	}
	*why = "no server with an address is left";
	*error = -EHOSTDOWN;
	if (!s)
		return NULL;
	*server = (unsigned)(s - or->servers);
	c.timeout_ms = patience_ms(or, *tried, timeout_ms);
	c.to = *to;
	if (or->https) {
		c.tls = or->tls[0] ? or->tls : NULL;
		c.tls_public = !c.tls;
		c.server_name = s->host;
	}
	*why = "cannot connect";
	return stream_connect(or->env, &c, h, arg, error);
}

static json_t *server_json(const struct origin * or, const struct server *s)
{
	char text[ADDR_STR_BYTES] = "";
	json_t *addrs = json_array();

	for (size_t i = 0; i < s->n_addrs; i++)
		json_array_append_new(addrs, json_string(addr_str(&s->addrs[i], text)));
	return json_pack("{s:s,s:s,s:i,s:s,s:i,s:o}", "host", or->host, "server", s->host, "port",
			 (int)s->port, "state",
			 s->down      ? "down"
			 : s->suspect ? "suspect"
				      : "up",
			 "bad", (int)s->n_bad, "addresses", addrs);
}

json_t *origins_json(const struct origins *o)
{
	json_t *out = json_array();

	LIST_FOREACH (it, &o->list) {
		const struct origin * or = CONTAINER_OF(it, struct origin, node);

		for (size_t i = 0; or->is_group && i < or->n_servers; i++)
			json_array_append_new(out, server_json(or, & or->servers[i]));
	}
	return out;
}
