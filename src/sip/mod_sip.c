/* The module: connects the folder to the loop, the settings and the other modules. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "core/ctl.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/net.h"
#include "core/system_conf.h"
#include "sip/sip.h"
#include "turnpike/modules.h"

static struct txn_timers txn_conf(const struct sip_conf *c)
{
	return (struct txn_timers){ c->t1_ms, c->t2_ms, c->t4_ms, c->max_transactions,
				    c->timer_c_ms + 2 * 64 * c->t1_ms };
}

static struct calls_conf calls_conf(const struct sip_conf *c)
{
	return (struct calls_conf){ c->t1_ms, c->t2_ms, c->timer_c_ms, c->max_calls };
}

/* Tokens must stay good over a restart, or registrars would answer "forged" for phones that only
 * have to come back: their key comes from the pair's secret. Without a pair it is a key of this
 * run. */
static void make_token_key(struct sip *s)
{
	static const char purpose[] = "turnpike route token";
	const struct zone_conf *z = NULL;

	net_random(s->token_key, sizeof(s->token_key));
	while ((z = conf_next(s->snap, "zone", z))) {
		if (z->type != ZONE_UC_TRAVERSAL || !z->password)
			continue;
		/* Slow on purpose: every phone sees a MAC made with the key, and must not be able
		 * to try passwords on it. */
		PKCS5_PBKDF2_HMAC(z->password, (int)strlen(z->password),
				  (const unsigned char *)purpose, sizeof(purpose) - 1, 200000,
				  EVP_sha256(), sizeof(s->token_key), s->token_key);
		return;
	}
}

static void use_snapshot(struct sip *s, const struct conf_snapshot *snap)
{
	const struct conf_snapshot *old = s->snap;

	s->snap = conf_ref(snap);
	s->conf = conf_get(snap, "sip", NULL);
	if (old)
		conf_unref(old);
}

static void set_name(struct sip *s)
{
	const struct system_conf *sys = conf_get(s->snap, "system", NULL);

	if (transport_set_name(s->transport, sys->name) < 0)
		log_error(s->env->log, "sip.name", "reason=\"out of memory\"");
}

static void sip_fini(void *self)
{
	struct sip *s = self;

	sip_gate_free(s);
	calls_free(s->calls);
	relays_free(s->relays);
	zone_peers_free(s->zones);
	registrations_free(s->regs);
	txn_layer_free(s->txns);
	transport_free(s->transport);
	if (s->snap)
		conf_unref(s->snap);
	OPENSSL_cleanse(s->token_key, sizeof(s->token_key));
	free(s);
}

static uint16_t tls_port(void *self)
{
	const struct sip *s = self;

	return s->conf->tls && s->conf->tls[0] ? (uint16_t)s->conf->tls_port : 0;
}

static const struct sip_ops sip_service = { tls_port };

static int sip_init(struct env *env, void **self)
{
	struct sip *s = calloc(1, sizeof(*s));
	struct timerq *timers = loop_timers(env->loop);
	struct txn_timers tc;
	struct calls_conf cc;
	int error;

	if (!s)
		return -ENOMEM;
	s->env = env;
	use_snapshot(s, conf_current(env->conf));
	net_random(s->seed, sizeof(s->seed));
	if (sip_gate_init(s) < 0) {
		conf_unref(s->snap);
		free(s);
		return -ENOMEM;
	}
	net_random(&s->boot, sizeof(s->boot));
	make_token_key(s);
	tc = txn_conf(s->conf);
	cc = calls_conf(s->conf);
	s->transport = transport_new(env, &sip_transport_events, s);
	s->txns = txn_layer_new(timers, &tc, s->seed, &sip_txn_ops, s);
	s->relays = s->txns ? relays_new(s->txns) : NULL;
	s->regs = registrations_new(timers, env->conns, s->seed, &sip_registrations_ops, s);
	s->calls = s->txns ? calls_new(timers, s->txns, env->conns, env->log, env->trace, &cc,
				       s->seed, &sip_calls_ops, s)
			   : NULL;
	s->zones = s->transport && s->txns
			   ? zone_peers_new(env, s->transport, s->txns, s->token_key)
			   : NULL;
	if (s->transport)
		set_name(s);
	if (!s->transport || !s->txns || !s->relays || !s->regs || !s->calls || !s->zones) {
		sip_fini(s);
		return -ENOMEM;
	}
	error = service_offer(env->modules, SIP_SERVICE, &sip_service, s);
	if (error) {
		sip_fini(s);
		return error;
	}
	*self = s;
	return 0;
}

/* --- commands --- */

static int ctl_zones(void *self, const struct ctl_request *r, json_t **out)
{
	struct sip *s = self;

	*out = json_pack("{s:o}", "zones", zone_peers_json(s->zones));
	return 200;
}

static int ctl_calls(void *self, const struct ctl_request *r, json_t **out)
{
	struct sip *s = self;

	*out = json_pack("{s:o}", "calls", calls_json(s->calls));
	return 200;
}

static int ctl_registrations(void *self, const struct ctl_request *r, json_t **out)
{
	struct sip *s = self;

	*out = json_pack("{s:o}", "registrations", registrations_json(s->regs));
	return 200;
}

static const struct ctl_command commands[] = {
	{ "zones", false, ctl_zones },
	{ "calls", false, ctl_calls },
	{ "registrations", false, ctl_registrations },
	{ NULL, false, NULL },
};

/* The web side may be missing; then nobody can have signed in. */
static void find_signin(struct sip *s)
{
	struct service signin = service_find(s->env->modules, SIGNIN_SERVICE);
	struct service uc = service_find(s->env->modules, UC_SERVICE);

	s->signin = signin.ops;
	s->signin_self = signin.self;
	s->uc = uc.ops;
	s->uc_self = uc.self;
}

static int sip_start(void *self)
{
	struct sip *s = self;
	struct service route = service_find(s->env->modules, ROUTE_SERVICE);
	struct service media = service_find(s->env->modules, MEDIA_SERVICE);
	struct buf errors;
	int err;

	if (!route.ops || !media.ops)
		return -ENOENT;
	find_signin(s);
	s->route = route.ops;
	s->route_self = route.self;
	calls_set_media(s->calls, media.ops, media.self);
	buf_init(&errors, 8192);
	err = transport_configure(s->transport, s->snap, &errors);
	if (err < 0)
		log_error(s->env->log, "sip.listen", "reason=%s", log_esc(buf_slice(&errors)));
	buf_fini(&errors);
	if (err < 0)
		return err;
	zone_peers_configure(s->zones, s->snap);
	return ctl_add(s->env->ctl, commands, s);
}

static int sip_prepare(void *self, const struct conf_snapshot *next, struct buf *errors)
{
	struct sip *s = self;

	return transport_prepare(s->transport, next, errors);
}

static void sip_reload(void *self, const struct conf_snapshot *old,
		       const struct conf_snapshot *next)
{
	struct sip *s = self;
	struct txn_timers tc;
	struct calls_conf cc;
	struct buf errors;

	use_snapshot(s, next);
	set_name(s);
	tc = txn_conf(s->conf);
	cc = calls_conf(s->conf);
	txn_layer_configure(s->txns, &tc);
	calls_configure(s->calls, &cc);
	buf_init(&errors, 8192);
	if (transport_configure(s->transport, next, &errors) < 0)
		log_error(s->env->log, "sip.listen", "reason=%s", log_esc(buf_slice(&errors)));
	buf_fini(&errors);
	zone_peers_configure(s->zones, next);
}

static void sip_drain(void *self)
{
	struct sip *s = self;

	s->draining = true;
}

static bool sip_drained(void *self)
{
	struct sip *s = self;

	return calls_count(s->calls) == 0;
}

static void sip_stop(void *self)
{
	struct sip *s = self;

	calls_end_all(s->calls, "the daemon stops");
	zone_peers_drain(s->zones);
	transport_drain(s->transport);
}

static void sip_status(void *self, json_t *out)
{
	struct sip *s = self;

	json_object_set_new(out, "calls", json_integer((json_int_t)calls_count(s->calls)));
	json_object_set_new(out, "registrations",
			    json_integer((json_int_t)registrations_count(s->regs)));
	json_object_set_new(out, "transactions",
			    json_integer((json_int_t)txn_layer_count(s->txns)));
	json_object_set_new(out, "requests", json_integer((json_int_t)s->n_requests));
	json_object_set_new(out, "responses", json_integer((json_int_t)s->n_responses));
	json_object_set_new(out, "malformed", json_integer((json_int_t)s->n_malformed));
	json_object_set_new(out, "responses-unmatched", json_integer((json_int_t)s->n_unmatched));
}

static const struct conf_section *const sections[] = { &sip_conf_section, NULL };

const struct module sip_module = {
	.name = "sip",
	.roles = CONF_ROLE_BOTH,
	.sections = sections,
	.init = sip_init,
	.start = sip_start,
	.prepare = sip_prepare,
	.reload = sip_reload,
	.drain = sip_drain,
	.drained = sip_drained,
	.stop = sip_stop,
	.fini = sip_fini,
	.status = sip_status,
};
