#ifndef XMPP_SASL_H
#define XMPP_SASL_H
/*
 * What a relay must know about stream negotiation: which elements are SASL, what follows, who wants
 * to sign in, and what of <stream:features/> may be shown outside. Credentials pass through here
 * and are never kept or logged. Pure.
 */
#include <stdbool.h>
#include <stddef.h>

#include "proto/xml_node.h"
#include "proto/xmpp.h"

enum sasl_element {
	SASL_NONE,	/* something else */
	SASL_START,	/* client: <auth/>, SASL2 <authenticate/> */
	SASL_RESPONSE,	/* client: <response/> */
	SASL_ABORT,	/* client */
	SASL_NEXT,	/* client: SASL2 <next/> (tasks) */
	SASL_CHALLENGE, /* server */
	SASL_CONTINUE,	/* server: SASL2 <continue/> */
	SASL_SUCCESS,	/* server: the stream restarts */
	SASL_SUCCESS_2, /* server: SASL2, no restart */
	SASL_FAILURE,	/* server */
	SASL_DATA, /* both: SASL2 <task-data/>; from a client as SASL_RESPONSE, else as a challenge
		    */
};
enum sasl_element sasl_element_of(const struct xml_node *e);

/* The user name in an initial response (<auth/>, <authenticate/><initial-response/>): PLAIN
 * (authcid), SCRAM-* (n=, with =2C =3D undone), OAUTHBEARER (a=), X-OAUTH2 (as PLAIN), HT-*
 * (XEP-0484). Bare local part or address as the client gave it. false: no name in it. Strict
 * base64. */
bool sasl_user(struct xml_arena *a, const struct xml_node *start, char *out, size_t size);
const char *sasl_mechanism(const struct xml_node *start); /* NULL: none named */
/* Authorization identity of EXTERNAL, in <auth/>, <authenticate/> or <response/>: "" when empty
 * ("=" or nothing). false: not readable, or there are several. */
bool sasl_external_identity(const struct xml_node *start, char *out, size_t size);
/* Makes the identity of a start of EXTERNAL this address: what a client means that leaves it empty
 * (XEP-0178 section 2), for a server that has not seen the client's certificate. 0 or -ENOMEM. */
int sasl_set_external_identity(struct xml_arena *a, struct xml_node *start, const char *address);

struct features_policy {
	bool external;	   /* EXTERNAL may be offered */
	bool keep_binding; /* -PLUS, XEP-0440 and FAST mechanisms with binding pass */
};
struct features_found {
	bool starttls, starttls_required;
	bool had_binding; /* a -PLUS mechanism or XEP-0440 was there */
	bool had_compression, had_register;
	bool external, dialback, dialback_errors, bidi; /* s2s */
	size_t n_mechanisms;				/* left after filtering */
};
/* Looks at <stream:features/>, and removes what must not leave: starttls, compression, in-band
 * registration before authentication, channel binding, EXTERNAL, and lists of mechanisms that this
 * leaves empty. SASL2 (XEP-0388) and FAST (XEP-0484) likewise. p NULL: only looks. */
void features_filter(struct xml_node *features, const struct features_policy *p,
		     struct features_found *out);
/* In any of the lists. */
bool features_has_mechanism(const struct xml_node *features, const char *mechanism);

#endif
