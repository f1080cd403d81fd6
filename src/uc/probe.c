#include "uc/probe.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "uc/uds.h"

#define TFTP_PORT      6970
#define SOAP_PORT      8443
#define VOICEMAIL_PORT 443
#define MAX_URL	       512
#define MAX_PROBE_BODY (64 * 1024)

static void ask_more(struct uc_prober *p);

/* What the server is asked for, by the most telling of its roles. */
static void probe_url(const struct uc_prober *p, const struct uc_server *s, struct buf *out)
{
	const bool https = p->conf->url_scheme == 0;

	if (s->roles & UC_CALL_MANAGER) {
		uc_host_url(out, https, s->name, s->uds_port);
		buf_add_str(out, UC_UDS_VERSION_PATH);
		return;
	}
	if (s->roles & UC_PRESENCE)
		uc_host_url(out, https, s->name, s->uds_port ? s->uds_port : SOAP_PORT);
	else if (s->roles & UC_VOICEMAIL)
		uc_host_url(out, https, s->name, s->port ? s->port : VOICEMAIL_PORT);
	else
		uc_host_url(out, false, s->name, s->port ? s->port : TFTP_PORT);
	buf_add_str(out, "/");
}

/* UDS must be usable; of the others it is enough that somebody is there and speaks. */
static bool lives(const struct uc_probe *probe, const struct fetch_result *r)
{
	if (r->error == 0)
		return r->status < 500;
	return r->error == -EMSGSIZE || (r->error == -EPROTO && !probe->is_uds);
}

static void answered(const struct fetch_result *r, void *arg)
{
	struct uc_probe *probe = arg;
	struct uc_prober *p = probe->prober;
	struct uc_server *s = uc_servers_find(p->servers, slice_of(probe->name));
	char why[UC_WHY_BYTES];

	probe->fetch = NULL;
	if (r->error)
		snprintf(why, sizeof(why), "%s", r->why[0] ? r->why : strerror(-r->error));
	else
		snprintf(why, sizeof(why), "answers %d", r->status);
	if (s)
		p->heard(p->arg, s, lives(probe, r) ? NULL : why);
	ask_more(p);
}

static void ask(struct uc_prober *p, struct uc_probe *probe, struct uc_server *s)
{
	struct fetch_request r = { .tls = p->conf->tls,
				   .timeout_ms = UC_PROBE_TIMEOUT_MS,
				   .max_body = MAX_PROBE_BODY };
	struct buf url;
	int error = -ENOMEM;

	buf_init(&url, MAX_URL);
	probe_url(p, s, &url);
	r.url = url.p;
	probe->is_uds = s->roles & UC_CALL_MANAGER;
	r.verify = probe->is_uds && p->conf->verify;
	memcpy(probe->name, s->name, sizeof(probe->name));
	if (!url.failed)
		probe->fetch = p->world->fetch(p->world->arg, &r, answered, probe, &error);
	buf_fini(&url);
	if (!probe->fetch && error != -ENOMEM)
		p->heard(p->arg, s, strerror(-error));
}

static void ask_more(struct uc_prober *p)
{
	size_t i;

	for (i = 0; i < UC_PROBE_AT_ONCE; i++) {
		while (!p->probes[i].fetch && p->next < p->servers->n) {
			struct uc_server *s = &p->servers->v[p->next++];

			if (s->roles)
				ask(p, &p->probes[i], s);
		}
	}
}

static void on_round(void *arg)
{
	struct uc_prober *p = arg;

	timer_start(p->world->timers, &p->round, p->conf->probe_ms);
	/* The last round may not be over: what is left of it is not asked twice. */
	if (p->next >= p->servers->n)
		p->next = 0;
	ask_more(p);
}

void uc_prober_init(struct uc_prober *p, const struct uc_world *world, struct uc_servers *servers,
		    void (*heard)(void *arg, struct uc_server *server, const char *why), void *arg)
{
	size_t i;

	*p = (struct uc_prober){ .world = world, .servers = servers, .heard = heard, .arg = arg };
	timer_init(&p->round, on_round, p);
	for (i = 0; i < UC_PROBE_AT_ONCE; i++)
		p->probes[i].prober = p;
}

void uc_prober_start(struct uc_prober *p, const struct uc_cluster_conf *conf)
{
	uc_prober_stop(p);
	p->conf = conf;
	p->next = 0;
	timer_start(p->world->timers, &p->round, 0);
}

void uc_prober_stop(struct uc_prober *p)
{
	size_t i;

	timer_stop(p->world->timers, &p->round);
	for (i = 0; i < UC_PROBE_AT_ONCE; i++) {
		if (p->probes[i].fetch)
			p->world->fetch_cancel(p->world->arg, p->probes[i].fetch);
		p->probes[i].fetch = NULL;
	}
}
