/*
 * The allow list between the boxes (control table "allow"): C makes it from [allow] sections and
 * from what discovery found; E keeps a copy of every C's. A request that E's copy refuses never
 * reaches C; one that C refuses all the same says that the edge is not what it should be.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alarm.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/net.h"
#include "core/trace.h"
#include "http/web.h"

#define UC_POLL_MS	 200
#define SETTLED_MS	 10000 /* a change takes its time to the edge */
#define HOSTILE_CLEAR_MS 3600000
#define ALARM_HOSTILE	 "edge-hostile"
#define TABLE		 "allow"

const char *web_peer_name(const struct web *w, tunnel_peer peer, char *buf, size_t size)
{
	struct tunnel_peer_info p;

	for (size_t i = 0; w->tunnel->peer(w->tunnel_self, i, &p); i++)
		if (p.id == peer) {
			snprintf(buf, size, "%s", p.name);
			return buf;
		}
	snprintf(buf, size, "peer %u", peer);
	return buf;
}

/* --- C: making it --- */

struct automatic {
	unsigned role;
	const char *what;
	bool https;
	uint16_t port;	  /* 0: the node's UDS port */
	unsigned written; /* a port written with a server of this role counts instead */
	const char *path;
	unsigned methods;
};

#define READ  (1u << HTTP_GET | 1u << HTTP_HEAD | 1u << HTTP_OPTIONS)
#define WRITE (READ | 1u << HTTP_POST | 1u << HTTP_PUT | 1u << HTTP_DELETE)

/* What apps ask of the servers that discovery finds. */
static const struct automatic automatics[] = {
	{ UC_CALL_MANAGER, "uds", true, 0, 0, "/cucm-uds/", WRITE },
	{ UC_CALL_MANAGER | UC_TFTP, "config", false, 6970, UC_TFTP, "/", READ },
	{ UC_CALL_MANAGER | UC_TFTP, "config-tls", true, 6972, 0, "/", READ },
	{ UC_PRESENCE, "soap", true, 8443, 0, "/EPASSoap/", WRITE },
	{ UC_PRESENCE, "presence", true, 8443, 0, "/presence-service/", WRITE },
	{ UC_VOICEMAIL, "voicemail", true, 443, UC_VOICEMAIL, "/vmrest/", WRITE },
	{ UC_VOICEMAIL, "voicemail-tls", true, 7443, 0, "/", WRITE },
	{ UC_VOICEMAIL, "voicemail-notify", false, 7080, 0, "/", WRITE },
};

static int add_automatic(struct allow_list *l, const struct uc_node *node,
			 const struct automatic *a)
{
	struct allow_rule rule = { .automatic = true,
				   .https = a->https,
				   .port = a->port ? a->port : node->uds_port,
				   .methods = a->methods,
				   .verify = node->verify };
	struct addr ip;
	const char *why;

	if (node->port && node->roles & a->written)
		rule.port = node->port;
	if (!http_host_parse(slice_of(node->name), rule.host, &ip, &why))
		return 0;
	slice_copy(rule.path, sizeof(rule.path), slice_of(a->path));
	slice_copy(rule.tls, sizeof(rule.tls), slice_of(node->tls));
	snprintf(rule.name, sizeof(rule.name), "%.63s %.160s %s", node->cluster, node->name,
		 a->what);
	return allow_add(l, &rule);
}

static int add_nodes(struct web *w, struct allow_list *l)
{
	struct uc_node node;
	int error = 0;

	for (size_t i = 0; w->uc && w->uc->node(w->uc_self, i, &node); i++)
		for (size_t k = 0; k < sizeof(automatics) / sizeof(automatics[0]); k++)
			if (error == 0 && node.roles & automatics[k].role)
				error = add_automatic(l, &node, &automatics[k]);
	return error;
}

static bool same_rule(const struct allow_rule *a, const struct allow_rule *b)
{
	return a->https == b->https && a->port == b->port && a->exact == b->exact &&
	       a->methods == b->methods && a->open == b->open && a->automatic == b->automatic &&
	       strcmp(a->host, b->host) == 0 && strcmp(a->path, b->path) == 0;
}

/* Tells the edges what is different. */
static void publish_changes(struct web *w, const struct allow_list *old,
			    const struct allow_list *new)
{
	HTAB_FOREACH (it, &old->rules) {
		const struct allow_rule *r = CONTAINER_OF(it, struct allow_rule, by_host);

		if (!allow_get(new, slice_of(r->name)))
			w->tunnel->del(w->tunnel_self, 0, TABLE, r->name);
	}
	HTAB_FOREACH (it, &new->rules) {
		const struct allow_rule *r = CONTAINER_OF(it, struct allow_rule, by_host);
		const struct allow_rule *was = allow_get(old, slice_of(r->name));
		json_t *item = was && same_rule(was, r) ? NULL : allow_to_json(r);

		if (item)
			w->tunnel->put(w->tunnel_self, 0, TABLE, r->name, item);
		json_decref(item);
	}
}

int allow_table_build(struct web *w)
{
	struct allow_list next;
	uint8_t seed[16];
	int error;

	net_random(seed, sizeof(seed));
	error = allow_init(&next, seed);
	if (error)
		return error;
	w->uc_generation = w->uc ? w->uc->generation(w->uc_self) : 0;
	error = allow_add_conf(&next, w->snap);
	if (error == 0)
		error = add_nodes(w, &next);
	if (error) {
		log_error(w->env->log, "http.allow", "error=%s kept=old", strerror(-error));
		allow_fini(&next);
		return error;
	}
	publish_changes(w, &w->allow, &next);
	allow_fini(&w->allow);
	w->allow = next;
	w->allow_changed_ms = loop_now_ms(w->env->loop);
	return 0;
}

static void look_at_uc(void *arg)
{
	struct web *w = arg;

	if (w->uc && w->uc->generation(w->uc_self) != w->uc_generation)
		allow_table_build(w);
	timer_start(loop_timers(w->env->loop), &w->uc_timer, UC_POLL_MS);
}

static void each_rule(void *arg, tunnel_peer to,
		      void (*put)(void *ctx, const char *key, const json_t *item), void *ctx)
{
	struct web *w = arg;

	HTAB_FOREACH (it, &w->allow.rules) {
		const struct allow_rule *r = CONTAINER_OF(it, struct allow_rule, by_host);
		json_t *item = allow_to_json(r);

		if (item)
			put(ctx, r->name, item);
		json_decref(item);
	}
}

static const struct tunnel_source source = { .each = each_rule };

/* --- C: an edge that should have known --- */

static void take_back(void *arg)
{
	struct web *w = arg;

	for (size_t i = 0; i < w->n_accused; i++)
		alarm_clear(w->env->alarms, ALARM_HOSTILE, w->accused[i]);
	w->n_accused = 0;
}

void allow_table_accuse(struct web *w, tunnel_peer peer, const char *what)
{
	char name[96];
	size_t i;

	if (loop_now_ms(w->env->loop) - w->allow_changed_ms < SETTLED_MS)
		return;
	web_peer_name(w, peer, name, sizeof(name));
	for (i = 0; i < w->n_accused && strcmp(w->accused[i], name) != 0; i++)
		;
	if (i == WEB_MAX_PEERS)
		return;
	if (i == w->n_accused)
		memcpy(w->accused[w->n_accused++], name, sizeof(name));
	alarm_raise(w->env->alarms, ALARM_HOSTILE, name, ALARM_CRITICAL,
		    "look at that edge: it may have been taken over (turnpikectl trace http)",
		    "%s sent a request that a sound edge refuses itself: %s", name, what);
	timer_start(loop_timers(w->env->loop), &w->hostile_timer, HOSTILE_CLEAR_MS);
}

/* --- E: the copies --- */

static struct allow_copy *copy_of(struct web *w, tunnel_peer peer)
{
	struct allow_copy *c;
	uint8_t seed[16];

	for (size_t i = 0; i < w->n_copies; i++)
		if (w->copies[i].peer == peer)
			return &w->copies[i];
	if (w->n_copies == WEB_MAX_PEERS)
		return NULL;
	c = &w->copies[w->n_copies];
	net_random(seed, sizeof(seed));
	if (allow_init(&c->list, seed) < 0)
		return NULL;
	c->peer = peer;
	c->synced = false;
	w->n_copies++;
	return c;
}

static void copy_reset(void *arg, tunnel_peer from)
{
	struct allow_copy *c = copy_of(arg, from);

	if (!c)
		return;
	allow_clear(&c->list);
	c->synced = false;
}

static void copy_del(void *arg, tunnel_peer from, const char *key)
{
	struct allow_copy *c = copy_of(arg, from);

	if (c)
		allow_remove(&c->list, slice_of(key));
}

static void copy_put(void *arg, tunnel_peer from, const char *key, const json_t *item)
{
	struct web *w = arg;
	struct allow_copy *c = copy_of(w, from);
	struct allow_rule rule;

	if (!c)
		return;
	if (allow_from_json(key, item, &rule) && allow_add(&c->list, &rule) == 0)
		return;
	allow_remove(&c->list, slice_of(key)); /* what it said before is no longer so */
	log_warn(w->env->log, "http.allow.copy", "rule=%s reason=malformed-or-too-many",
		 log_esc(slice_of(key)));
}

static void copy_synced(void *arg, tunnel_peer from)
{
	struct allow_copy *c = copy_of(arg, from);

	if (c)
		c->synced = true;
}

static const struct tunnel_sink sink = {
	.reset = copy_reset,
	.put = copy_put,
	.del = copy_del,
	.synced = copy_synced,
};

const struct allow_list *allow_table_copy(const struct web *w, tunnel_peer peer)
{
	for (size_t i = 0; i < w->n_copies; i++)
		if (w->copies[i].peer == peer)
			return w->copies[i].synced ? &w->copies[i].list : NULL;
	return NULL;
}

int allow_table_start(struct web *w)
{
	timer_init(&w->uc_timer, look_at_uc, w);
	timer_init(&w->hostile_timer, take_back, w);
	if (w->env->role == CONF_ROLE_E)
		return w->tunnel->subscribe(w->tunnel_self, TABLE, &sink, w);
	timer_start(loop_timers(w->env->loop), &w->uc_timer, UC_POLL_MS);
	return w->tunnel->publish(w->tunnel_self, TABLE, &source, w);
}

void allow_table_stop(struct web *w)
{
	timer_stop(loop_timers(w->env->loop), &w->uc_timer);
	timer_stop(loop_timers(w->env->loop), &w->hostile_timer);
	timer_stop(loop_timers(w->env->loop), &w->facts_timer);
	for (size_t i = 0; i < w->n_copies; i++)
		allow_fini(&w->copies[i].list);
	w->n_copies = 0;
	allow_fini(&w->allow);
}
