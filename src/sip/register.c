/* REGISTER on its way in (RFC 3261 10, RFC 3327, RFC 5626): forwarded to the registrar of its
 * domain with a Path that leads back, remembered when the registrar says yes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "core/log.h"
#include "core/net.h"
#include "core/system_conf.h"
#include "sip/sip.h"

/* As long as a transaction may take. */
enum { UNCONFIRMED_S = 40 };

struct pending {
	struct sip *s;
	struct side from;
	char zone[CONN_ZONE_BYTES]; /* of the registrar */
	char session[CONN_SESSION_BYTES];
	char *aor;
	char *contact; /* "*" or a URI; NULL: a query */
	char *path;    /* Path of the request as it came: the way on from us to the phone */
	char *ours;    /* the Contact that the registrar sees in its place, or NULL */
	uint64_t id;   /* of the entry that was made for it */
};

static void pending_free(struct pending *p)
{
	free(p->aor);
	free(p->contact);
	free(p->path);
	free(p->ours);
	free(p);
}

void sip_link_session(const struct sip_msg *m, const struct side *from,
		      char out[CONN_SESSION_BYTES])
{
	struct slice v = sip_msg_hdr(m, SIP_HDR_TURNPIKE_SESSION);
	uint8_t raw[16];

	out[0] = '\0';
	if (from->role != FLOW_TRAVERSAL_CLIENT && from->role != FLOW_TRAVERSAL_SERVER)
		return;
	if (v.n == 32 && hex_decode(v, raw, sizeof(raw)) == 16)
		slice_copy(out, CONN_SESSION_BYTES, v);
}

static void new_session(char out[CONN_SESSION_BYTES])
{
	uint8_t raw[16];
	struct buf b;

	net_random(raw, sizeof(raw));
	buf_init(&b, 64);
	hex_encode(&b, raw, sizeof(raw));
	slice_copy(out, CONN_SESSION_BYTES, buf_slice(&b));
	buf_fini(&b);
}

static char *path_list(const struct sip_msg *m)
{
	const struct sip_hdr *h = NULL;
	struct buf b;

	buf_init(&b, TARGET_ROUTES_BYTES - 1);
	while ((h = sip_msg_next(m, SIP_HDR_PATH, h)))
		buf_printf(&b, "%s%.*s", b.n ? ", " : "", SLICE_ARG(h->value));
	return buf_take(&b);
}

/* What the registrar granted, back in the words of the phone. */
static void keep_binding(struct pending *p, uint32_t granted, struct buf *contact)
{
	struct sip *s = p->s;
	struct registration *r = registration_put(s->regs, slice_of(p->aor), slice_of(p->contact),
						  p->path, &p->from, p->zone, p->session, granted);

	if (!r) {
		log_warn(s->env->log, "registration.lost", "aor=%s reason=\"no room\"",
			 log_esc(slice_of(p->aor)));
		return;
	}
	r->confirmed = true;
	log_info(s->env->log, "registration.up", "session=%s aor=%s expires=%u zone=%s", p->session,
		 log_esc(slice_of(p->aor)), granted, p->zone);
	if (p->ours)
		buf_printf(contact, "Contact: <%s>;expires=%u\r\n", p->contact, granted);
}

static void on_done(void *arg, const struct sip_msg *req, const struct sip_msg *m, int status,
		    struct buf *contact)
{
	struct pending *p = arg;
	struct sip *s = p->s;
	struct slice aor = slice_of(p->aor), mine = slice_of(p->contact);
	uint32_t granted = 0;

	if (status == 0) /* the daemon ends: the table is gone */
		goto out;
	if (!m || status < 200 || status > 299 || !p->contact) {
		registration_refused(s->regs, p->id);
		goto out;
	}
	if (!slice_eq(mine, SLICE("*")))
		granted = registration_granted(req, m, p->ours ? slice_of(p->ours) : mine);
	if (granted > s->conf->max_expires_s)
		granted = s->conf->max_expires_s;
	if (granted)
		keep_binding(p, granted, contact);
	else
		registration_remove(s->regs, aor, mine, "unregistered");
	/* A registrar with rewritten contacts lists ours: none of them means anything to a phone.
	 */
	if (p->ours && contact->n == 0)
		buf_add_str(contact, "Expires: 0\r\n");
out:
	pending_free(p);
}

/* The zone of a call manager: of the user's home cluster when it is known, a living one first. */
static const struct zone_conf *home_zone(struct sip *s, const struct sip_msg *m, const char *domain,
					 const struct side *from, struct target_refusal *no)
{
	const struct zone_conf *any = NULL;
	const char *home = NULL;
	struct uc_node node;
	struct sip_uri to;

	if (s->uc && sip_uri_parse(m->to.uri, &to))
		home = s->uc->home(s->uc_self, slice_of(domain), to.user);
	for (size_t i = 0; s->uc && s->uc->node(s->uc_self, i, &node); i++) {
		const struct zone_conf *z;

		if (!(node.roles & UC_CALL_MANAGER) || (home && strcmp(home, node.cluster) != 0))
			continue;
		z = conf_get(s->snap, "zone", node.tcp_zone);
		if (z && node.alive)
			return z;
		any = any ? any : z;
	}
	if (!any)
		sip_refuse(s, no, 503, NULL, "sip.register.no-call-manager", "[uc-cluster]", from,
			   NULL, "no call manager of the domain has been found yet");
	return any;
}

/* The registrar's zone for the domain of the Request-URI; refuses what this box does not serve. */
static const struct zone_conf *registrar_zone(struct sip *s, const struct sip_msg *m,
					      const struct side *from, struct target_refusal *no)
{
	const struct domain_conf *d;
	struct sip_uri u;
	char host[256], why[320];

	if (!sip_uri_parse(m->uri, &u) || !slice_copy(host, sizeof(host), u.host)) {
		sip_refuse(s, no, 416, NULL, "sip.register.bad-uri", "Request-URI", from, NULL,
			   "not a SIP URI");
		return NULL;
	}
	for (char *c = host; *c; c++)
		*c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
	d = conf_get(s->snap, "domain", host);
	if (d && d->sip && strcmp(d->sip, "uc") == 0)
		return home_zone(s, m, host, from, no);
	if (!d || !d->sip || strncmp(d->sip, "zone:", 5) != 0) {
		snprintf(why, sizeof(why), "no [domain %s] with sip = zone:...", host);
		sip_refuse(s, no, 403, NULL, "sip.register.unknown-domain", "[domain]", from, NULL,
			   why);
		return NULL;
	}
	return conf_get(s->snap, "zone", d->sip + 5);
}

static void print_path(struct sip *s, const struct side *from, const struct side *to,
		       struct buf *out)
{
	struct token t = { .boot = s->boot };

	if (from->role == FLOW_OUTSIDE) {
		t.kind = TOKEN_FLOW;
		t.id = from->flow;
	} else {
		int index = zone_peers_link_index(s->zones, from->zone, from->flow);

		t.kind = TOKEN_PEER;
		t.boot = 0; /* a link of that place, whoever dials it next: survives restarts */
		t.id = index < 0 ? 0 : (uint64_t)index;
		slice_copy(t.zone, sizeof(t.zone), slice_of(from->zone));
	}
	buf_add_str(out, "<sip:");
	token_print(out, s->token_key, &t);
	buf_printf(out, "@%s;transport=%s;lr%s>", to->sent_by, side_uri_transport(to),
		   from->role == FLOW_OUTSIDE ? ";ob" : "");
}

/* Contact mode `rewrite`: the registrar sees a Contact at our address that names the registration.
 * The registration must exist before its id can be named: it starts unconfirmed, good for nothing,
 * and goes when the registrar says no. */
static bool rewrite_contact(struct sip *s, struct pending *p, const struct side *to,
			    const struct sip_msg *m, struct buf *contact)
{
	struct registration *r;
	struct token t = { .kind = TOKEN_REGISTRATION, .boot = s->boot };
	struct buf ours;

	if (!p->contact || slice_eq(slice_of(p->contact), SLICE("*")))
		return true;
	r = registration_find(s->regs, slice_of(p->aor), slice_of(p->contact));
	if (!r)
		r = registration_put(s->regs, slice_of(p->aor), slice_of(p->contact), p->path,
				     &p->from, p->zone, p->session, UNCONFIRMED_S);
	if (!r)
		return false;
	p->id = t.id = r->conn.id;
	buf_init(&ours, 1024);
	buf_add_str(&ours, "sip:");
	token_print(&ours, s->token_key, &t);
	buf_printf(&ours, "@%s;transport=%s", to->sent_by, side_uri_transport(to));
	p->ours = buf_take(&ours);
	if (p->ours)
		buf_printf(contact, "<%s>;expires=%u", p->ours, registration_asked(m));
	return p->ours && !contact->failed;
}

static bool too_brief(struct sip *s, const struct sip_msg *m)
{
	uint32_t asked = registration_asked(m);

	return m->contact.p && asked > 0 && asked < s->conf->min_expires_s;
}

/* A refresh is welcome when the table is full. */
static bool is_known(struct sip *s, const struct sip_msg *m)
{
	struct buf aor;
	bool known;

	buf_init(&aor, CONN_USER_BYTES - 1);
	known = m->contact.p && sip_uri_aor(m->to.uri, &aor) &&
		registration_find(s->regs, buf_slice(&aor), m->contact);
	buf_fini(&aor);
	return known;
}

static struct pending *pending_new(struct sip *s, const struct side *from, const struct sip_msg *m,
				   const char *zone, const char *session)
{
	struct pending *p = calloc(1, sizeof(*p));
	struct registration *known;
	struct buf aor;

	if (!p)
		return NULL;
	p->s = s;
	p->from = *from;
	slice_copy(p->zone, sizeof(p->zone), slice_of(zone));
	buf_init(&aor, CONN_USER_BYTES - 1);
	sip_uri_aor(m->to.uri, &aor);
	p->aor = buf_take(&aor);
	p->contact = m->contact.p ? slice_dup(m->contact) : NULL;
	p->path = path_list(m);
	if (!p->aor || !p->path || (m->contact.p && !p->contact)) {
		pending_free(p);
		return NULL;
	}
	if (session)
		slice_copy(p->session, sizeof(p->session), slice_of(session));
	else
		sip_link_session(m, from, p->session);
	known = p->session[0] || !p->contact
			? NULL
			: registration_on_flow(s->regs, from->flow, slice_of(p->aor));
	if (known && strcmp(known->conn.user, p->aor) == 0)
		slice_copy(p->session, sizeof(p->session), slice_of(known->conn.session));
	if (!p->session[0])
		new_session(p->session);
	return p;
}

static void forward(struct sip *s, struct txn_server *t, struct sip_msg *m, const struct side *from,
		    const struct zone_conf *zone, const struct side *to, const char *session)
{
	const struct system_conf *sys = conf_get(s->snap, "system", NULL);
	struct target target = { .side = *to };
	struct relay_rewrite rw = { 0 };
	struct buf path, contact;
	struct pending *p = pending_new(s, from, m, zone->common.name, session);
	bool to_link = to->role == FLOW_TRAVERSAL_CLIENT || to->role == FLOW_TRAVERSAL_SERVER;

	buf_init(&path, 1024);
	buf_init(&contact, 1024);
	if (!p) {
		txn_server_reply(t, 500, NULL, NULL);
		goto out;
	}
	rw.realm = from->role == FLOW_OUTSIDE ? sys->name : NULL;
	target.max_forwards = (m->max_forwards < 0 ? 70 : m->max_forwards) - 1;
	slice_copy(target.uri, sizeof(target.uri), m->uri);
	if (!to_link && from->role != FLOW_OUTSIDE && zone->contact == ZONE_CONTACT_REWRITE) {
		if (!rewrite_contact(s, p, to, m, &contact)) {
			registration_refused(s->regs, p->id);
			pending_free(p);
			txn_server_reply(t, 500, NULL, NULL);
			goto out;
		}
		rw.drop_path = true;
		rw.contact = contact.p;
	} else {
		print_path(s, from, to, &path);
		rw.path = path.p;
	}
	rw.session = to_link ? p->session : NULL;
	relay_start(s->relays, t, m, from, &target, &rw, on_done, p);
out:
	buf_fini(&path);
	buf_fini(&contact);
}

void sip_register(struct sip *s, struct txn_server *t, struct sip_msg *m, const struct side *from)
{
	struct target_refusal no = { .status = 0 };
	const struct zone_conf *zone = NULL;
	char extra[48];

	if (from->role == FLOW_INSIDE)
		sip_refuse(s, &no, 403, NULL, "sip.register.inside", "[zone]", from, NULL,
			   "registrations come from outside, through the edge");
	else if (m->max_forwards == 0)
		sip_refuse(s, &no, 483, NULL, "sip.hops", "Max-Forwards", from, NULL,
			   "no hops left");
	else
		zone = registrar_zone(s, m, from, &no);
	if (zone && too_brief(s, m)) {
		snprintf(extra, sizeof(extra), "Min-Expires: %u\r\n", s->conf->min_expires_s);
		txn_server_reply(t, 423, NULL, extra);
		return;
	}
	if (zone && registrations_count(s->regs) >= s->conf->max_registrations && !is_known(s, m)) {
		sip_refuse(s, &no, 503, NULL, "sip.register.limit", "[sip] max-registrations", from,
			   NULL, "too many registrations");
		zone = NULL;
	}
	if (zone)
		sip_gate(s, t, m, from);
	else
		txn_server_reply(t, no.status ? no.status : 403, no.phrase[0] ? no.phrase : NULL,
				 no.extra[0] ? no.extra : NULL);
}

void sip_register_admitted(struct sip *s, struct txn_server *t, struct sip_msg *m,
			   const struct side *from, const char *session)
{
	struct target_refusal no = { .status = 0 };
	/* Once more: while it waited the configuration may have changed. */
	const struct zone_conf *zone = registrar_zone(s, m, from, &no);
	struct side to;
	char why[160];

	if (zone &&
	    !zone_peers_pick(s->zones, zone->common.name, zone_peers_turn(s->zones), 0, &to, why)) {
		sip_refuse(s, &no, 503, NULL, "sip.register.zone-down", zone->common.name, from,
			   NULL, why);
		slice_copy(no.extra, sizeof(no.extra), SLICE("Retry-After: 5\r\n"));
		zone = NULL;
	}
	if (zone)
		forward(s, t, m, from, zone, &to, session);
	else
		txn_server_reply(t, no.status ? no.status : 403, no.phrase[0] ? no.phrase : NULL,
				 no.extra[0] ? no.extra : NULL);
}
