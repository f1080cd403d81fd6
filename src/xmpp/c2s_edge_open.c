/*
 * A client's stream up to SASL: headers, STARTTLS, the connection of the link; and what both legs
 * report.
 *
 * Which domain: the header's `to` counts. TLS is the client's to judge: it compares the certificate
 * with the domain that it wants (RFC 6120 section 13.7.2.1), and may know the service by a host
 * name of its own, so that another SNI is no error by itself. One thing is: an SNI that names one
 * domain of ours and a `to` that names another one for which the certificate does not speak. No
 * client that checks would go on like that, and whoever filters by SNI on the way would be passed
 * by.
 */
#include <stdlib.h>

#include "core/stream_socket.h"
#include "core/tls.h"
#include "core/tls_xmpp_name.h"
#include "core/net.h"
#include "xmpp/c2s_edge_impl.h"

static char *dup_text(const char *text)
{
	return text ? slice_dup(slice_of(text)) : NULL;
}

static void set_text(char **at, const char *text)
{
	free(*at);
	*at = dup_text(text);
}

/* --- headers of the client --- */

/* RFC 6120 section 4.7.5: at least 1.0. */
static bool is_version_good(const char *version)
{
	struct slice rest = slice_of(version), major;
	uint64_t n;

	if (!version)
		return false;
	major = slice_next(&rest, '.');
	return rest.p && slice_u64(major, 1000, &n) && n >= 1;
}

static bool names_wrong_domain(struct c2s *c, const char *domain)
{
	struct stream *s = xmpp_socket(c->client);
	SSL *ssl = s ? stream_ssl(s) : NULL;
	const char *sni = ssl ? tls_server_name(ssl) : NULL;
	char name[XMPP_DOMAIN_BYTES];
	struct c2s_edge_domain other;
	const X509 *shown;

	if (!sni || !xmpp_domain(slice_of(sni), name) || strcmp(name, domain) == 0 ||
	    !c->edge->ops->domain(c->edge->arg, name, &other) || !other.chat)
		return false;
	shown = SSL_get_certificate(ssl);
	return !shown || !tls_cert_has_xmpp_domain(shown, domain);
}

/* False: refused. */
static bool check_header(struct c2s *c, const struct xmpp_header *h, struct c2s_edge_domain *found)
{
	char domain[XMPP_DOMAIN_BYTES];

	if (!is_version_good(h->version)) {
		c2s_refuse(c, XMPP_UNSUPPORTED_VERSION, "xmpp.c2s.unsupported-version",
			   "RFC 6120 4.7.5", "no version, or one below 1.0");
		return false;
	}
	if (!h->to || !xmpp_domain(slice_of(h->to), domain)) {
		c2s_refuse(c, XMPP_IMPROPER_ADDRESSING, "xmpp.c2s.improper-addressing",
			   "RFC 6120 4.7.2", "the stream has no `to`, or one that is no domain");
		return false;
	}
	*found = (struct c2s_edge_domain){ 0 };
	/* Behind SASL the domain is settled. */
	if ((c->state == C2S_RESTART && strcmp(c->domain, domain) != 0) ||
	    !c->edge->ops->domain(c->edge->arg, domain, found) || !found->chat) {
		set_text(&c->domain, NULL);
		c2s_refuse(c, XMPP_HOST_UNKNOWN, "xmpp.c2s.host-unknown", "[domain]",
			   "%s is not served here", domain);
		return false;
	}
	set_text(&c->domain, domain);
	if (!c->domain) {
		c2s_refuse(c, XMPP_RESOURCE_CONSTRAINT, "xmpp.c2s.no-room", NULL, "out of memory");
		return false;
	}
	return true;
}

/* Our answer while nobody inside is asked. */
static void offer_tls(struct c2s *c, const struct xmpp_header *h)
{
	struct xml_arena arena = { .pool = c->edge->pool };
	struct xml_node *features, *starttls;
	uint8_t random[16];
	char id[33];

	net_random(random, sizeof(random));
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(id + 2 * i, 3, "%02x", random[i]);
	xmpp_send_header(c->client,
			 &(struct xmpp_header){
				 .from = c->domain, .id = id, .version = "1.0", .lang = "en" });
	features = xml_node_new(&arena, NULL, XMPP_STREAMS, "features");
	starttls = features ? xml_node_new(&arena, features, XMPP_TLS, "starttls") : NULL;
	if (starttls && xml_node_new(&arena, starttls, XMPP_TLS, "required"))
		xmpp_send(c->client, features);
	else
		c2s_refuse(c, XMPP_RESOURCE_CONSTRAINT, "xmpp.c2s.no-room", NULL, "out of memory");
	xml_arena_reset(&arena);
}

static void send_header_inside(struct c2s *c, const char *from, const char *lang)
{
	struct xmpp_jid jid;

	/* Another server would end the stream for an address that is none. */
	if (from && !xmpp_jid_parse(slice_of(from), &jid))
		from = NULL;
	xmpp_send_header(c->link,
			 &(struct xmpp_header){
				 .to = c->domain, .from = from, .version = "1.0", .lang = lang });
}

static void taken(void *ctx, struct stream *s, const char *why)
{
	struct c2s *c = ctx;
	struct xmpp_stream_conf conf;

	c->take_id = 0;
	if (!s) {
		c2s_refuse(c, XMPP_REMOTE_CONNECTION_FAILED, "xmpp.c2s.no-link", "[xmpp] pool-idle",
			   "no connection to the inside: %s", why ? why : "none");
		return;
	}
	c2s_stream_conf(c->edge, false, true, &conf);
	c->link = xmpp_stream_new(&conf, s, &c2s_link_handler, c);
	if (!c->link) {
		c2s_refuse(c, XMPP_RESOURCE_CONSTRAINT, "xmpp.c2s.no-room", NULL, "out of memory");
		return;
	}
	c->state = C2S_SASL;
	c2s_count(c);
	send_header_inside(c, c->from, c->lang);
	set_text(&c->from, NULL);
	set_text(&c->lang, NULL);
}

/* xmppAddrs (RFC 6120 section 13.7.1.4) of a certificate that chains to [xmpp] client-ca. */
static void add_certificate(struct c2s *c, struct preface *p)
{
	struct stream *s = xmpp_socket(c->client);
	SSL *ssl = s ? stream_ssl(s) : NULL;
	struct xmpp_jid jid;
	char *at;
	const char *why;

	if (!ssl || !tls_peer_verified(ssl, &why))
		return;
	for (size_t i = 0; p->n_addrs < PREFACE_MAX_ADDRS; i++) {
		at = p->addrs[p->n_addrs];
		if (!tls_peer_xmpp_addr(ssl, i, at, sizeof(p->addrs[0])))
			break;
		/* That of a server, or what is none, signs nobody in. */
		p->n_addrs += xmpp_jid_parse(slice_of(at), &jid) && jid.local.n > 0;
	}
	c->external = p->n_addrs > 0;
}

static void take_link(struct c2s *c, const struct xmpp_header *h)
{
	struct c2s_edge *edge = c->edge;
	struct preface p = { .kind = PREFACE_C2S, .direct_tls = c->is_direct };
	char text[ADDR_STR_BYTES];

	slice_copy(p.domain, sizeof(p.domain), slice_of(c->domain));
	slice_copy(p.client, sizeof(p.client), slice_of(addr_str(&c->conn.remote, text)));
	slice_copy(p.session, sizeof(p.session), slice_of(c->conn.session));
	add_certificate(c, &p);
	set_text(&c->from, h->from);
	set_text(&c->lang, h->lang);
	c->state = C2S_TAKING;
	c2s_count(c);
	c2s_lock(c);
	c->take_id = edge->ops->take(edge->arg, c->peer, &p, C2S_TAKE_MS, taken, c);
	if (!c->take_id)
		c2s_refuse(c, XMPP_RESOURCE_CONSTRAINT, "xmpp.c2s.no-link", "[xmpp] pool-idle",
			   "too many wait for a connection to the inside");
}

static void open_stream(struct c2s *c, const struct xmpp_header *h, const struct c2s_edge_domain *d)
{
	const struct c2s_edge *edge = c->edge;

	if (names_wrong_domain(c, c->domain))
		c2s_refuse(c, XMPP_POLICY_VIOLATION, "xmpp.c2s.certificate-mismatch", "[xmpp] tls",
			   "TLS was asked for another domain than %s", c->domain);
	else if (!edge->ops->may_try(edge->arg, &c->conn.remote))
		c2s_refuse(c, XMPP_POLICY_VIOLATION, "xmpp.c2s.throttled",
			   "[xmpp] failures-per-minute",
			   "too many failed sign-ins from this address");
	else if (d->peer == 0)
		c2s_refuse(c, XMPP_REMOTE_CONNECTION_FAILED, "xmpp.c2s.no-link", "[tunnel-peer]",
			   "no C that serves %s is reachable", c->domain);
	else {
		c->peer = d->peer;
		take_link(c, h);
	}
}

static void client_header(void *arg, const struct xmpp_header *h)
{
	struct c2s *c = arg;
	struct c2s_edge_domain d;

	if (c->state == C2S_OVER || !check_header(c, h, &d))
		return;
	if (c->state == C2S_PLAIN) {
		offer_tls(c, h);
	} else if (c->state == C2S_OPENING) {
		open_stream(c, h, &d);
	} else if (c->state == C2S_RESTART) {
		send_header_inside(c, h->from, h->lang);
		c2s_set_state(c, C2S_RELAY);
		c->edge->stats.n_relayed++;
		c2s_park_arm(c);
	}
}

/* --- TLS --- */

static void begin_tls(struct c2s *c)
{
	struct xml_arena arena = { .pool = c->edge->pool };
	struct xml_node *proceed = xml_node_new(&arena, NULL, XMPP_TLS, "proceed");
	size_t n_bytes;

	if (!proceed) {
		c2s_refuse(c, XMPP_RESOURCE_CONSTRAINT, "xmpp.c2s.no-room", NULL, "out of memory");
		return;
	}
	xmpp_send(c->client, proceed);
	xml_arena_reset(&arena);
	n_bytes = xmpp_tls_begin(c->client);
	if (n_bytes > 0) {
		c->edge->stats.n_injected++;
		c2s_trace(c, "xmpp.c2s.plaintext-injected", "RFC 6120 5.4.3.3",
			  "%zu bytes behind <starttls/> thrown away", n_bytes);
	}
	c->state = C2S_TLS;
	c2s_count(c);
	if (c->edge->ops->start_tls(c->edge->arg, xmpp_socket(c->client)) == 0)
		return;
	c2s_trace(c, "xmpp.c2s.no-tls", "[xmpp] tls", "TLS cannot be started");
	c2s_over(c, false, "TLS cannot be started");
}

static void client_tls(void *arg)
{
	struct c2s *c = arg;

	if (c->state != C2S_TLS)
		return;
	c->state = C2S_OPENING;
	c->conn.transport = CONN_TLS;
	c2s_count(c);
}

/* --- what the client's leg reports --- */

static void element_in_clear(struct c2s *c, const struct xml_node *e)
{
	if (xml_node_is(e, XMPP_TLS, "starttls"))
		begin_tls(c);
	else if (sasl_element_of(e) != SASL_NONE)
		c2s_refuse(c, XMPP_POLICY_VIOLATION, "xmpp.c2s.tls-required", "RFC 7590 3.1",
			   "TLS is required: STARTTLS comes first");
	else
		c2s_refuse(c, XMPP_NOT_AUTHORIZED, "xmpp.c2s.not-authorized", "RFC 6120 4.9.3.12",
			   "something else than STARTTLS before TLS");
}

static void client_element(void *arg, struct xml_node *e, struct xml_arena *arena)
{
	struct c2s *c = arg;

	if (c->state == C2S_PLAIN)
		element_in_clear(c, e);
	else if (c->state == C2S_SASL)
		c2s_sasl_from_client(c, e, arena);
	else if (c->state >= C2S_RELAY && c->state < C2S_OVER)
		c2s_relay_from_client(c, e);
}

static void client_space(void *arg)
{
	struct c2s *c = arg;

	/* Several that wait for one way out are one. */
	if (c->state == C2S_RELAY && !c->client_ended)
		xmpp_send_space(c->link);
}

/* The server's last words are still passed on: the client hears the end when the server has said
 * it. */
static void client_end(void *arg)
{
	struct c2s *c = arg;

	c->client_ended = true;
	/* Parked: C hears it without a connection, and has the last words of nobody to pass on. */
	if (!c->link || c->state == C2S_PARKED) {
		xmpp_end(c->client);
		return;
	}
	xmpp_end(c->link);
}

/* Which setting says so. */
static const char *setting_of(enum xmpp_condition condition)
{
	if (condition == XMPP_CONNECTION_TIMEOUT)
		return "[xmpp] idle-timeout";
	return condition == XMPP_POLICY_VIOLATION ? "[xmpp] stanza-bytes" : "RFC 6120 4.9.3";
}

static void client_closed(void *arg, enum xmpp_end how, enum xmpp_condition condition,
			  const char *why)
{
	struct c2s *c = arg;
	char code[48];

	if (c->state == C2S_OVER)
		return;
	if (how == XMPP_END_ERROR) {
		c->edge->stats.n_refused++;
		snprintf(code, sizeof(code), "xmpp.c2s.%s", xmpp_condition_str(condition));
		c2s_trace(c, code, setting_of(condition), "%s", why);
		c2s_over(c, false, "%s: %s", xmpp_condition_str(condition), why);
	} else if (how == XMPP_END_PROPER || c->server_ended) {
		c2s_over(c, true, "%s",
			 c->client_ended ? "ended by the client" : "ended by the server");
	} else {
		if (c->state == C2S_TLS)
			c2s_trace(c, "xmpp.c2s.tls-failed", "[xmpp] tls", "%s", why);
		else if (condition == XMPP_RESOURCE_CONSTRAINT)
			c2s_trace(c, "xmpp.c2s.slow-reader", "[xmpp] send-timeout", "%s", why);
		c2s_over(c, c->client_ended, "client gone: %s", why);
	}
}

const struct xmpp_stream_handler c2s_client_handler = {
	.header = client_header,
	.element = client_element,
	.space = client_space,
	.end = client_end,
	.writable = c2s_client_writable,
	.tls = client_tls,
	.closed = client_closed,
};

/* --- what the link's leg reports --- */

static void link_header(void *arg, const struct xmpp_header *h)
{
	struct c2s *c = arg;

	if (c->state == C2S_OVER || xmpp_header_sent(c->client))
		return;
	xmpp_send_header(c->client,
			 &(struct xmpp_header){ .from = c->domain,
						.to = h->to,
						.id = h->id,
						.version = h->version ? h->version : "1.0",
						.lang = h->lang });
}

static void link_element(void *arg, struct xml_node *e, struct xml_arena *arena)
{
	struct c2s *c = arg;

	if (c->state == C2S_OVER)
		return;
	if (xml_node_is(e, XMPP_STREAMS, "error")) {
		c2s_unpark(c);
		c2s_server_error(c, e);
	} else if (c->state == C2S_SASL) {
		c2s_sasl_from_link(c, e, arena);
	} else {
		c2s_relay_from_link(c, e, arena);
	}
}

static void link_space(void *arg)
{
	struct c2s *c = arg;

	if (c->state == C2S_RELAY)
		xmpp_send_space(c->client);
}

static void link_end(void *arg)
{
	struct c2s *c = arg;

	if (c->state == C2S_OVER)
		return;
	c2s_unpark(c);
	c->server_ended = true;
	xmpp_end(c->client);
	/* Its end is to be seen. */
	c2s_unlock(c);
}

static void link_closed(void *arg, enum xmpp_end how, enum xmpp_condition condition,
			const char *why)
{
	struct c2s *c = arg;

	if (c->state == C2S_OVER)
		return;
	if (how == XMPP_END_PROPER || c->client_ended || c->server_ended) {
		xmpp_end(c->client);
		c2s_unlock(c);
	} else {
		c2s_link_lost(c, why);
	}
}

const struct xmpp_stream_handler c2s_link_handler = {
	.header = link_header,
	.element = link_element,
	.space = link_space,
	.end = link_end,
	.writable = c2s_link_writable,
	.frame = c2s_link_frame,
	.wanted = c2s_link_wanted,
	.closed = link_closed,
};
