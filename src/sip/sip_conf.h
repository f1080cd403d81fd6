#ifndef SIP_SIP_CONF_H
#define SIP_SIP_CONF_H
/* The [sip] section. */
#include "core/conf_schema.h"

enum sip_digest { SIP_DIGEST_MD5, SIP_DIGEST_SHA256, SIP_DIGEST_BOTH };
enum sip_calls_policy { SIP_CALLS_REGISTERED, SIP_CALLS_ANY };

struct sip_conf {
	struct conf_common common;
	struct addr address;	     /* listen address for everything; any: all, both families */
	struct addr outside_address; /* E with two NICs: for the public ports; any: `address` */
	struct addr
		public_address; /* static NAT: what goes into Via and Contact outside; any: none */
	uint32_t tls_port;	/* 0: off; without `tls` off too */
	uint32_t tcp_port;
	uint32_t udp_port;
	char *tls; /* [tls NAME] of the public (E) or inside (C) TLS port */
	struct conf_ports source_ports;
	uint32_t max_message; /* bytes */
	uint32_t connect_timeout_ms;
	uint32_t handshake_timeout_ms;
	uint32_t message_timeout_ms; /* a message that has begun must be whole after this */
	uint32_t idle_timeout_ms;    /* a connection without registration or call */
	uint32_t max_connections;
	uint32_t max_connections_per_source;
	uint32_t accept_rate;	      /* new connections a second */
	uint32_t t1_ms, t2_ms, t4_ms; /* RFC 3261 17.1.1.1 */
	uint32_t timer_c_ms;
	uint32_t max_transactions;
	uint32_t max_calls;
	uint32_t max_registrations;
	uint32_t min_expires_s, max_expires_s;
	int calls_from_outside; /* enum sip_calls_policy */
	int signin_digest;	/* enum sip_digest */
};

extern const struct conf_section sip_conf_section;

#endif
