#ifndef PROTO_XMPP_H
#define PROTO_XMPP_H
/*
 * Words of XMPP: namespaces, stream headers, errors of streams and stanzas, domain parts and
 * addresses. The one place that prints them.
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/slice.h"

#define XMPP_STREAMS	      "http://etherx.jabber.org/streams"
#define XMPP_CLIENT	      "jabber:client"
#define XMPP_SERVER	      "jabber:server"
#define XMPP_COMPONENT	      "jabber:component:accept"
#define XMPP_DIALBACK	      "jabber:server:dialback"
#define XMPP_TLS	      "urn:ietf:params:xml:ns:xmpp-tls"
#define XMPP_SASL	      "urn:ietf:params:xml:ns:xmpp-sasl"
#define XMPP_SASL2	      "urn:xmpp:sasl:2"
#define XMPP_BIND	      "urn:ietf:params:xml:ns:xmpp-bind"
#define XMPP_STREAM_ERROR     "urn:ietf:params:xml:ns:xmpp-streams"
#define XMPP_STANZA_ERROR     "urn:ietf:params:xml:ns:xmpp-stanzas"
#define XMPP_SASL_CB	      "urn:xmpp:sasl-cb:0" /* XEP-0440 */
#define XMPP_COMPRESS	      "http://jabber.org/protocol/compress"
#define XMPP_COMPRESS_FEATURE "http://jabber.org/features/compress"
#define XMPP_REGISTER_FEATURE "http://jabber.org/features/iq-register"
#define XMPP_DIALBACK_FEATURE "urn:xmpp:features:dialback"
#define XMPP_BIDI	      "urn:xmpp:bidi" /* XEP-0288 */
#define XMPP_BIDI_FEATURE     "urn:xmpp:features:bidi"
#define XMPP_SM		      "urn:xmpp:sm:3" /* XEP-0198 */

/* Stream errors, RFC 6120 section 4.9.3. */
enum xmpp_condition {
	XMPP_BAD_FORMAT,
	XMPP_BAD_NAMESPACE_PREFIX,
	XMPP_CONFLICT,
	XMPP_CONNECTION_TIMEOUT,
	XMPP_HOST_GONE,
	XMPP_HOST_UNKNOWN,
	XMPP_IMPROPER_ADDRESSING,
	XMPP_INTERNAL_SERVER_ERROR,
	XMPP_INVALID_FROM,
	XMPP_INVALID_NAMESPACE,
	XMPP_INVALID_XML,
	XMPP_NOT_AUTHORIZED,
	XMPP_NOT_WELL_FORMED,
	XMPP_POLICY_VIOLATION,
	XMPP_REMOTE_CONNECTION_FAILED,
	XMPP_RESET,
	XMPP_RESOURCE_CONSTRAINT,
	XMPP_RESTRICTED_XML,
	XMPP_SEE_OTHER_HOST,
	XMPP_SYSTEM_SHUTDOWN,
	XMPP_UNDEFINED_CONDITION,
	XMPP_UNSUPPORTED_ENCODING,
	XMPP_UNSUPPORTED_FEATURE,
	XMPP_UNSUPPORTED_STANZA_TYPE,
	XMPP_UNSUPPORTED_VERSION,
	XMPP_N_CONDITIONS
};
const char *xmpp_condition_str(enum xmpp_condition c); /* "host-unknown" */
/* XMPP_UNDEFINED_CONDITION for what it does not know. */
enum xmpp_condition xmpp_condition_of(const char *name);

/* A stream header. Unset texts are NULL. */
struct xmpp_header {
	const char *content; /* default namespace, XMPP_CLIENT ... */
	const char *to, *from, *id;
	const char *version; /* "1.0"; absent with old servers and dialback-only streams */
	const char *lang;    /* xml:lang */
	bool dialback;	     /* xmlns:db is declared */
};
/* With XML declaration. */
void xmpp_print_header(struct buf *out, const struct xmpp_header *h);
/* <stream:error>...</stream:error></stream:stream>; text may be NULL. */
void xmpp_print_stream_error(struct buf *out, enum xmpp_condition c, const char *text);

struct xml_arena;
struct xml_node;
/* Answer to a stanza that cannot be delivered (RFC 6120 section 8.3): iq get/set, message and
 * presence that are no errors and no answers themselves; NULL for others (nothing is to be sent) or
 * without memory. type: "cancel", "wait", "auth"; condition: "remote-server-not-found" ...; text
 * may be NULL. to and from are swapped; the content of the stanza is not repeated. */
struct xml_node *xmpp_stanza_error(struct xml_arena *a, const struct xml_node *stanza,
				   const char *type, const char *condition, const char *text);

/* --- addresses (RFC 7622), enough for a relay: no PRECIS tables, see xmpp_domain --- */
#define XMPP_DOMAIN_BYTES 256
#define XMPP_JID_BYTES	  3072
struct xmpp_jid {
	struct slice local, domain, resource; /* unset: n 0 */
};
/* Parts point into text. false: empty domain, parts over 1023 bytes, characters that the part
 * cannot have. A final dot of the domain is taken off. */
bool xmpp_jid_parse(struct slice text, struct xmpp_jid *out);
/* The domain as it is compared: ASCII lower case, no final dot, checked (labels, or an address
 * literal); what is not ASCII is NFC-compared nowhere, but passed as it is with ASCII lowered.
 * false: no domain or over 253 bytes. */
bool xmpp_domain(struct slice text, char out[XMPP_DOMAIN_BYTES]);
/* "user@domain" of a full or bare address, local part lower-cased in ASCII; false when it has no
 * local part. */
bool xmpp_bare(struct slice jid, char *out, size_t size);

#endif
