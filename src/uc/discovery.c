#include "uc/discovery.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define AXL_PORT      8443
#define SERVICE_BYTES 320
#define STATUS_SCHEMA 599 /* "AXL version not supported" */
#define MAX_REQUEST   4096
#define MAX_URL	      512

#define TODO_REACH \
	"see that the server runs and can be reached from here, and what its name is in DNS"
#define TODO_ACCESS                                                               \
	"correct [uc-cluster NAME] username and password; the account needs the " \
	"role Standard AXL API Access"
#define TODO_CERT                                                                             \
	"write the publisher as its certificate names it, and its CA into the [tls] section " \
	"that [uc-cluster NAME] tls names; or set verify = no"
#define TODO_AXL "see that the publisher's service Cisco AXL Web Service runs"
#define TODO_SRV "add the SRV record, or write the servers into [uc-cluster NAME]"

/* Schema versions to begin with, as the server's own is not known yet: a server takes those of a
 * few releases before its own. */
static const char *const schema_guesses[] = { "12.5", "10.0", "14.0", "8.5" };
#define N_GUESSES (sizeof(schema_guesses) / sizeof(schema_guesses[0]))

static void ask(struct uc_discovery *d);
static void ask_srv(struct uc_discovery *d);

static void end(struct uc_discovery *d, const struct uc_fault *fault)
{
	struct uc_found found = d->found;

	d->found = (struct uc_found){ 0 };
	d->state = UC_DISCOVERY_IDLE;
	d->done(d->arg, fault ? NULL : &found, fault);
	uc_found_fini(&found);
}

static void fail(struct uc_discovery *d, const char *code, const char *todo, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static void fail(struct uc_discovery *d, const char *code, const char *todo, const char *fmt, ...)
{
	struct uc_fault fault = { .code = code, .todo = todo };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(fault.text, sizeof(fault.text), fmt, ap);
	va_end(ap);
	end(d, &fault);
}

static void no_memory(struct uc_discovery *d)
{
	fail(d, "uc.discovery.memory", "give the machine more memory", "out of memory");
}

/* --- what the file says, with any way of discovery --- */

static bool add_named(struct uc_discovery *d, const struct conf_names *names, unsigned role)
{
	const uint16_t uds_port = (uint16_t)d->conf->uds_port;
	char host[UC_HOST_BYTES];
	struct uc_server *s;
	uint16_t port;
	size_t i;

	for (i = 0; i < names->n; i++) {
		if (!uc_host_parse(slice_of(names->v[i]), 0, host, &port))
			continue; /* uc_conf.c lets none through */
		s = uc_servers_add(&d->found.servers, slice_of(host), role, uds_port);
		if (!s && d->found.servers.n < UC_MAX_SERVERS)
			return false;
		if (!s)
			d->found.n_skipped++;
		else if (port && (role & (UC_CALL_MANAGER | UC_PRESENCE)))
			s->uds_port = port;
		else if (port)
			s->port = port;
	}
	return true;
}

static void add_tftp_role(struct uc_discovery *d)
{
	size_t i;

	for (i = 0; i < d->found.servers.n; i++)
		if (d->found.servers.v[i].roles & UC_CALL_MANAGER)
			d->found.servers.v[i].roles |= UC_TFTP;
}

/* The last step of each way. */
static void finish(struct uc_discovery *d)
{
	const struct uc_cluster_conf *c = d->conf;

	if (c->discovery != UC_WAY_AXL && c->tftp.n == 0)
		add_tftp_role(d);
	if (c->discovery != UC_WAY_AXL)
		d->found.mixed = c->security == 1;
	if (!add_named(d, &c->tftp, UC_TFTP) || !add_named(d, &c->presence, UC_PRESENCE) ||
	    !add_named(d, &c->voicemail, UC_VOICEMAIL))
		no_memory(d);
	else
		end(d, NULL);
}

static void run_static(struct uc_discovery *d)
{
	if (add_named(d, &d->conf->call_managers, UC_CALL_MANAGER))
		finish(d);
	else
		no_memory(d);
}

/* --- SRV --- */

/* Addresses of one target come one by one. */
static bool add_targets(struct uc_discovery *d, const struct dns_result *r, unsigned role)
{
	struct uc_server *s;
	size_t i;

	for (i = 0; i < r->n; i++) {
		struct slice target = slice_of(r->addrs[i].target);

		if (target.n && target.p[target.n - 1] == '.')
			target.n--;
		if (!uc_host_is_legal(target) || d->found.servers.n == UC_MAX_SERVERS) {
			d->found.n_skipped++;
			continue;
		}
		s = uc_servers_add(&d->found.servers, target, role,
				   r->addrs[i].addr.port ? r->addrs[i].addr.port
							 : (uint16_t)d->conf->uds_port);
		if (!s)
			return false;
	}
	return true;
}

static void srv_answered(const struct dns_result *r, void *arg)
{
	struct uc_discovery *d = arg;
	const bool is_uds = d->state == UC_DISCOVERY_SRV_UDS;

	d->query = NULL;
	if (r->status == 0 && !add_targets(d, r, is_uds ? UC_CALL_MANAGER : UC_PRESENCE)) {
		no_memory(d);
		return;
	}
	if (r->status && is_uds)
		snprintf(d->note, sizeof(d->note), "_cisco-uds._tcp.%s: %s",
			 d->conf->domains.v[d->domain], strerror(-r->status));
	if (r->status && r->status != -ENOENT && is_uds) {
		fail(d, "uc.discovery.dns", TODO_SRV, "%s", d->note);
		return;
	}
	d->domain++;
	/* Not from inside the resolver: it answers known names at once. */
	timer_start(d->world->timers, &d->next, 0);
}

static void srv_next(struct uc_discovery *d)
{
	if (d->domain < d->conf->domains.n) {
		ask_srv(d);
	} else if (d->state == UC_DISCOVERY_SRV_LOGIN) {
		finish(d);
	} else if (d->found.servers.n == 0) {
		fail(d, "uc.discovery.no-srv", TODO_SRV, "no call managers: %s",
		     d->note[0] ? d->note : "the answer names none");
	} else {
		d->note[0] = '\0';
		d->state = UC_DISCOVERY_SRV_LOGIN;
		d->domain = 0;
		ask_srv(d);
	}
}

static void ask_srv(struct uc_discovery *d)
{
	char service[SERVICE_BYTES];
	struct dns_query *query;

	snprintf(service, sizeof(service), "%s._tcp.%s",
		 d->state == UC_DISCOVERY_SRV_UDS ? "_cisco-uds" : "_cuplogin",
		 d->conf->domains.v[d->domain]);
	d->query = NULL;
	query = d->world->srv(d->world->arg, service, srv_answered, d);
	/* NULL: it has answered already, and perhaps there is a later query by now. */
	if (query)
		d->query = query;
}

/* --- AXL --- */

static enum uc_axl_call call_of(enum uc_discovery_state state)
{
	return (enum uc_axl_call)(state - UC_DISCOVERY_VERSION);
}

static void next_call(struct uc_discovery *d)
{
	if (d->state == UC_DISCOVERY_SECURITY) {
		finish(d);
		return;
	}
	d->state = (enum uc_discovery_state)(d->state + 1);
	ask(d);
}

/* Not every account may query the database: names and roles are enough to go on with. */
static void do_without(struct uc_discovery *d, const char *why)
{
	snprintf(d->note, sizeof(d->note), "%s: %.200s",
		 d->state == UC_DISCOVERY_SERVICES ? "who runs which service is not known"
						   : "the security mode is not known",
		 why);
	if (d->state == UC_DISCOVERY_SERVICES)
		add_tftp_role(d);
	next_call(d);
}

static bool is_other_schema(const struct fetch_result *r, const char *why)
{
	return r->status == STATUS_SCHEMA || strcasestr(why, "version") != NULL;
}

static void refused(struct uc_discovery *d, const struct fetch_result *r, const char *why)
{
	const char *call = uc_axl_call_str(call_of(d->state));

	if (r->status == 401 || r->status == 403)
		fail(d, "uc.discovery.denied", TODO_ACCESS, "%s refuses the user %s (%d)",
		     d->conf->publisher, d->conf->username, r->status);
	else if (d->state == UC_DISCOVERY_VERSION && is_other_schema(r, why) &&
		 d->schema_guess + 1 < N_GUESSES) {
		slice_copy(d->schema, sizeof(d->schema),
			   slice_of(schema_guesses[++d->schema_guess]));
		ask(d);
	} else if (d->state >= UC_DISCOVERY_SERVICES)
		do_without(d, why);
	else
		fail(d, "uc.discovery.axl", TODO_AXL, "%s answers %d to %s: %s", d->conf->publisher,
		     r->status, call, why);
}

static void answered(const struct fetch_result *r, void *arg)
{
	struct uc_discovery *d = arg;
	char why[200] = "";
	bool ok;

	d->fetch = NULL;
	if (r->error) {
		snprintf(why, sizeof(why), "%.150s: %s", d->conf->publisher, strerror(-r->error));
		fail(d, "uc.discovery.unreachable", r->error == -EPERM ? TODO_CERT : TODO_REACH,
		     "%s", r->why[0] ? r->why : why);
		return;
	}
	ok = uc_axl_answer(call_of(d->state), r->body, (uint16_t)d->conf->uds_port, &d->found, why,
			   sizeof(why));
	if (r->status != 200 || !ok) {
		refused(d, r, why);
		return;
	}
	if (d->state == UC_DISCOVERY_VERSION)
		uc_axl_schema_version(d->found.version, d->schema);
	next_call(d);
}

static bool axl_url(const struct uc_discovery *d, struct buf *out)
{
	char host[UC_HOST_BYTES];
	uint16_t port;

	if (!uc_host_parse(slice_of(d->conf->publisher), AXL_PORT, host, &port))
		return false;
	uc_host_url(out, d->conf->url_scheme == 0, host, port);
	buf_add_str(out, "/axl/");
	return !out->failed;
}

static void ask(struct uc_discovery *d)
{
	const struct uc_cluster_conf *c = d->conf;
	struct fetch_request r = { .method = "POST",
				   .user = c->username,
				   .password = c->password,
				   .content_type = "text/xml; charset=utf-8",
				   .tls = c->tls,
				   .verify = c->verify,
				   .timeout_ms = c->timeout_ms,
				   .max_body = UC_AXL_MAX_BYTES };
	struct buf body, url;
	char action[64];
	int error = -ENOMEM;

	buf_init(&body, MAX_REQUEST);
	buf_init(&url, MAX_URL);
	if (uc_axl_request(call_of(d->state), d->schema, &body, action, sizeof(action)) &&
	    axl_url(d, &url)) {
		r.url = url.p;
		r.soap_action = action;
		r.body = buf_slice(&body);
		d->fetch = d->world->fetch(d->world->arg, &r, answered, d, &error);
	}
	buf_fini(&body);
	buf_fini(&url);
	if (!d->fetch)
		fail(d, "uc.discovery.unreachable", TODO_REACH, "%s: %s", c->publisher,
		     strerror(-error));
}

/* --- life --- */

static void step(void *arg)
{
	struct uc_discovery *d = arg;

	switch (d->state) {
	case UC_DISCOVERY_IDLE:
		break;
	case UC_DISCOVERY_STATIC:
		run_static(d);
		break;
	case UC_DISCOVERY_SRV_UDS:
	case UC_DISCOVERY_SRV_LOGIN:
		srv_next(d);
		break;
	default:
		ask(d);
		break;
	}
}

void uc_discovery_init(struct uc_discovery *d, const struct uc_world *world,
		       void (*done)(void *arg, struct uc_found *found,
				    const struct uc_fault *fault),
		       void *arg)
{
	*d = (struct uc_discovery){ .world = world, .done = done, .arg = arg };
	timer_init(&d->next, step, d);
}

void uc_discovery_start(struct uc_discovery *d, const struct uc_cluster_conf *conf)
{
	static const enum uc_discovery_state first[] = {
		[UC_WAY_STATIC] = UC_DISCOVERY_STATIC,
		[UC_WAY_SRV] = UC_DISCOVERY_SRV_UDS,
		[UC_WAY_AXL] = UC_DISCOVERY_VERSION,
	};

	if (uc_discovery_runs(d))
		return;
	d->conf = conf;
	d->domain = 0;
	d->note[0] = '\0';
	d->schema_guess = 0;
	slice_copy(d->schema, sizeof(d->schema), slice_of(schema_guesses[0]));
	d->state = first[conf->discovery];
	timer_start(d->world->timers, &d->next, 0);
}

void uc_discovery_stop(struct uc_discovery *d)
{
	if (d->fetch)
		d->world->fetch_cancel(d->world->arg, d->fetch);
	if (d->query)
		d->world->srv_cancel(d->world->arg, d->query);
	d->fetch = NULL;
	d->query = NULL;
	timer_stop(d->world->timers, &d->next);
	uc_found_fini(&d->found);
	d->state = UC_DISCOVERY_IDLE;
}
