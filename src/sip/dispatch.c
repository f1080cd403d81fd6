/* What comes in: from the transport to the transactions, and from there to the machine it is for.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "core/net.h"
#include "core/trace.h"
#include "proto/sip_build.h"
#include "sip/sip.h"

static const char allow[] =
	"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, INFO, UPDATE, MESSAGE, "
	"SUBSCRIBE, NOTIFY, REFER, PUBLISH\r\n";

void sip_refuse(struct sip *s, struct target_refusal *r, int status, const char *phrase,
		const char *code, const char *decided_by, const struct side *from,
		const char *session, const char *why)
{
	*r = (struct target_refusal){ .status = status };
	slice_copy(r->phrase, sizeof(r->phrase), slice_of(phrase));
	trace_add(s->env->trace, code, decided_by, &from->remote, session, "%d: %s", status, why);
}

/* --- transactions to transport --- */

static int txn_send(void *arg, uint64_t flow, struct slice message)
{
	struct sip *s = arg;
	struct flow *f = transport_flow(s->transport, flow);

	return f ? flow_send(f, message) : -ENOTCONN;
}

static bool txn_is_reliable(void *arg, uint64_t flow)
{
	struct sip *s = arg;
	struct flow *f = transport_flow(s->transport, flow);

	return !f || flow_is_reliable(f);
}

static unsigned txn_share(void *arg, uint64_t flow)
{
	struct sip *s = arg;
	struct flow *f = transport_flow(s->transport, flow);

	if (!f || flow_role(f) == FLOW_OUTSIDE)
		return 80;
	return flow_role(f) == FLOW_INSIDE ? 100 : 120;
}

/* --- requests --- */

static bool is_for_us(struct sip *s, const struct side *from, const struct sip_msg *m)
{
	struct sip_uri u;

	return sip_uri_parse(m->uri, &u) && u.user.n == 0 && !sip_msg_hdr(m, SIP_HDR_ROUTE).p &&
	       sip_is_us(s, from, m->uri);
}

static void relay_request(struct sip *s, struct txn_server *t, struct sip_msg *m,
			  const struct side *from)
{
	struct target *to = calloc(1, sizeof(*to));
	struct target_refusal no;
	char session[CONN_SESSION_BYTES];
	struct relay_rewrite rw = { 0 };

	sip_link_session(m, from, session);
	if (!to) {
		txn_server_reply(t, 500, NULL, NULL);
		return;
	}
	if (!sip_target(s, from, m, session[0] ? session : NULL, 0, to, &no)) {
		txn_server_reply(t, no.status, no.phrase[0] ? no.phrase : NULL,
				 no.extra[0] ? no.extra : NULL);
	} else {
		if (to->side.role == FLOW_TRAVERSAL_CLIENT ||
		    to->side.role == FLOW_TRAVERSAL_SERVER)
			rw.session = session[0] ? session : to->session[0] ? to->session : NULL;
		relay_start(s->relays, t, m, from, to, &rw, NULL, NULL);
	}
	free(to);
}

/* Methods that make no sense without a dialog of ours. */
static bool needs_dialog(enum sip_method m)
{
	return m == SIP_BYE || m == SIP_PRACK || m == SIP_UPDATE || m == SIP_INFO;
}

static void new_request(struct sip *s, struct txn_server *t, struct sip_msg *m, struct flow *f,
			const struct side *from)
{
	switch (m->method) {
	case SIP_REGISTER:
		sip_register(s, t, m, from);
		break;
	case SIP_INVITE:
		if (s->draining)
			txn_server_reply(t, 503, "Going Down", "Retry-After: 30\r\n");
		else
			calls_invite(s->calls, t, m, from);
		break;
	case SIP_OPTIONS:
		if (is_for_us(s, from, m))
			txn_server_reply(t, 200, NULL, allow);
		else
			relay_request(s, t, m, from);
		break;
	case SIP_MESSAGE:
	case SIP_PUBLISH:
	case SIP_NOTIFY: /* unsolicited, as for message waiting */
		relay_request(s, t, m, from);
		break;
	case SIP_SUBSCRIBE:
		/* Its dialog is not carried yet: no phone shall believe that it is. */
		txn_server_reply(t, 489, NULL, NULL);
		break;
	case SIP_OTHER_METHOD:
		txn_server_reply(t, 405, NULL, allow);
		break;
	default:
		txn_server_reply(t, needs_dialog(m->method) ? 481 : 405, NULL, allow);
		break;
	}
}

/* Bad option tags get 420 before anything else is looked at (RFC 3261 8.2.2.3). */
static bool has_bad_require(struct txn_server *t, const struct sip_msg *m)
{
	static const char *const known[] = { "timer",	 "replaces",	"path",	       "outbound",
					     "gruu",	 "norefersub",	"tdialog",     "join",
					     "histinfo", "eventlist",	"from-change", "answermode",
					     "privacy",	 "precondition" };
	const struct sip_hdr *h = NULL;
	struct buf bad;
	bool is_bad;

	buf_init(&bad, 1024);
	while ((h = sip_msg_next(m, SIP_HDR_REQUIRE, h))) {
		struct slice rest = h->value, word;

		while ((word = slice_word(&rest)).n) {
			size_t i = 0, n = sizeof(known) / sizeof(known[0]);

			while (i < n && !slice_caseeq(word, slice_of(known[i])))
				i++;
			if (i == n)
				buf_printf(&bad, "%s%.*s",
					   bad.n ? ", " : "Unsupported: ", SLICE_ARG(word));
		}
	}
	is_bad = bad.n > 0 || bad.failed;
	if (is_bad) {
		buf_add_str(&bad, "\r\n");
		txn_server_reply(t, 420, NULL, bad.failed ? NULL : bad.p);
	}
	buf_fini(&bad);
	return is_bad;
}

static bool is_link_options(const struct sip_msg *m)
{
	struct sip_uri u;

	return m->method == SIP_OPTIONS && !m->to_tag.p && !sip_msg_hdr(m, SIP_HDR_ROUTE).p &&
	       sip_uri_parse(m->uri, &u) && u.user.n == 0;
}

/* E: does the sender belong to a neighbour zone? By address and transport, at the inner interface
 * when there is one. Asked anew with each request: names resolve later than connections come, and
 * settings change. */
static void find_zone(struct sip *s, struct flow *f)
{
	if (flow_may_be_peer(f))
		flow_set_peer_zone(f,
				   zone_peers_of_peer(s->zones, flow_remote(f), flow_transport(f)));
}

static void on_request(void *arg, struct txn_server *t, struct sip_msg *m)
{
	struct sip *s = arg;
	struct flow *f = transport_flow(s->transport, txn_server_flow(t));
	struct target_refusal no;
	struct side from;

	if (!f)
		return;
	find_zone(s, f);
	side_of_flow(f, &from);
	if (from.role == FLOW_TRAVERSAL_SERVER || from.role == FLOW_TRAVERSAL_CLIENT)
		from.link = zone_peers_link_index(s->zones, from.zone, from.flow);
	/* Whatever C calls this box: OPTIONS without a user is the proof, or a keep-alive. */
	if (from.role == FLOW_TRAVERSAL_SERVER && is_link_options(m)) {
		zone_peers_options(s->zones, t, m, f);
		return;
	}
	if ((from.role == FLOW_TRAVERSAL_SERVER || from.role == FLOW_TRAVERSAL_CLIENT) &&
	    from.link < 0) {
		sip_refuse(s, &no, 403, NULL, "sip.link.not-proved", from.zone, &from, NULL,
			   "a request came before the link had proved itself");
		txn_server_reply(t, 403, NULL, NULL);
		return;
	}
	if (has_bad_require(t, m))
		return;
	if (m->to_tag.p) {
		if (!calls_in_dialog(s->calls, t, m))
			txn_server_reply(t, 481, NULL, NULL);
		return;
	}
	new_request(s, t, m, f, &from);
}

static void on_ack(void *arg, uint64_t flow, struct sip_msg *m)
{
	struct sip *s = arg;

	calls_ack(s->calls, m);
}

static void on_cancelled(void *arg, struct txn_server *t, struct sip_msg *m)
{
	struct sip *s = arg;

	calls_cancelled(s->calls, t, m);
}

const struct txn_ops sip_txn_ops = { txn_send,	 txn_is_reliable, txn_share,
				     on_request, on_ack,	  on_cancelled };

/* --- transport to transactions --- */

static void on_opened(void *arg, struct flow *f)
{
	struct sip *s = arg;

	zone_peers_flow_opened(s->zones, f);
}

static void on_message(void *arg, struct flow *f, struct sip_msg *m)
{
	struct sip *s = arg;

	if (m->is_request)
		s->n_requests++;
	else
		s->n_responses++;
	if (txn_layer_input(s->txns, flow_id(f), flow_remote(f), m) == -ENOENT)
		s->n_unmatched++;
}

static void on_malformed(void *arg, struct flow *f, struct sip_msg *m,
			 const struct sip_reject *reject)
{
	struct sip *s = arg;
	struct sip_build b;
	struct slice out;

	s->n_malformed++;
	flow_conn(f)->n_dropped++;
	trace_add(s->env->trace, "sip.malformed", "RFC 3261 syntax", flow_remote(f), NULL, "%d: %s",
		  reject->status, reject->why);
	if (!m || !m->is_request || m->method == SIP_ACK || reject->status == 0)
		return;
	sip_build_init(&b);
	sip_build_response(&b, m, reject->status, reject->phrase[0] ? reject->phrase : NULL,
			   SLICE("malformed"), flow_remote(f));
	sip_build_body(&b, SLICE_NONE, SLICE_NONE);
	out = sip_build_done(&b);
	if (out.p)
		flow_send(f, out);
	sip_build_fini(&b);
}

static void on_closed(void *arg, struct flow *f, const char *why)
{
	struct sip *s = arg;
	uint64_t id = flow_id(f);

	zone_peers_flow_closed(s->zones, f, why);
	txn_layer_flow_closed(s->txns, id, why);
	calls_flow_closed(s->calls, id);
	registrations_flow_closed(s->regs, id, why);
}

const struct transport_events sip_transport_events = { on_opened, on_message, on_malformed,
						       on_closed, NULL };

/* --- what calls ask --- */

static bool calls_side(void *arg, uint64_t flow, struct side *out)
{
	struct sip *s = arg;
	struct flow *f = transport_flow(s->transport, flow);

	if (!f)
		return false;
	side_of_flow(f, out);
	out->link = zone_peers_link_index(s->zones, out->zone, flow);
	return true;
}

static bool calls_target(void *arg, const struct side *from, const struct sip_msg *m,
			 const char *session, unsigned n, struct target *out,
			 struct target_refusal *refusal)
{
	return sip_target(arg, from, m, session, n, out, refusal);
}

static bool calls_reach(void *arg, struct slice next_hop, const struct side *old, struct side *out)
{
	return sip_reach(arg, next_hop, old, out);
}

static enum media_crypto zone_crypto(const struct zone_conf *z, bool is_link)
{
	static const enum media_crypto modes[] = { MEDIA_CRYPTO_AUTO, MEDIA_CRYPTO_ENCRYPTED,
						   MEDIA_CRYPTO_BEST_EFFORT, MEDIA_CRYPTO_NONE };

	if (is_link && (!z || z->media_encryption == ZONE_MEDIA_AUTO))
		return MEDIA_CRYPTO_ENCRYPTED;
	return z ? modes[z->media_encryption] : MEDIA_CRYPTO_AUTO;
}

static void calls_media_leg(void *arg, const struct side *side, struct media_leg_params *out)
{
	struct sip *s = arg;
	static const enum media_leg_kind kinds[] = { MEDIA_LEG_OUTSIDE, MEDIA_LEG_INSIDE,
						     MEDIA_LEG_MUX, MEDIA_LEG_ICE };
	const char *zone = sip_source_zone(s, side);

	*out = (struct media_leg_params){ .kind = kinds[side->role],
					  .crypto = MEDIA_CRYPTO_RELAY,
					  .signalling_peer = side->remote,
					  .local = side->local,
					  .ip6 = side->remote.family == ADDR_IP6 };
	if (side->role == FLOW_INSIDE || side->role == FLOW_TRAVERSAL_CLIENT)
		out->crypto = zone_crypto(conf_get(s->snap, "zone", zone),
					  side->role == FLOW_TRAVERSAL_CLIENT);
	/* A UDP socket on all addresses does not know the local one. */
	if (addr_class(&out->local) == ADDR_UNSPECIFIED)
		net_source_for(&side->remote, &out->local);
	out->local.port = 0;
}

static void calls_identity(void *arg, const struct side *from, const struct sip_msg *m,
			   char user[CONN_USER_BYTES], char session[CONN_SESSION_BYTES])
{
	struct sip *s = arg;
	struct registration *r;
	struct buf aor;

	user[0] = '\0';
	sip_link_session(m, from, session);
	buf_init(&aor, CONN_USER_BYTES - 1);
	if (sip_uri_aor(m->from.uri, &aor))
		slice_copy(user, CONN_USER_BYTES, buf_slice(&aor));
	if (from->role == FLOW_OUTSIDE) {
		r = registration_on_flow(s->regs, from->flow, buf_slice(&aor));
		if (r)
			slice_copy(session, CONN_SESSION_BYTES, slice_of(r->conn.session));
	}
	buf_fini(&aor);
}

static void hold_flow(void *arg, uint64_t flow, bool hold)
{
	struct sip *s = arg;
	struct flow *f = transport_flow(s->transport, flow);

	if (f && hold)
		flow_hold(f);
	else if (f)
		flow_release(f);
}

static void calls_ended(void *arg, const char *session)
{
	struct sip *s = arg;

	s->route->forget(s->route_self, slice_of(session));
}

static void calls_random(void *arg, void *out, size_t n)
{
	net_random(out, n);
}

const struct calls_ops sip_calls_ops = { calls_side,	 calls_target, calls_reach, calls_media_leg,
					 calls_identity, hold_flow,    calls_ended, calls_random };
const struct registrations_ops sip_registrations_ops = { hold_flow };
