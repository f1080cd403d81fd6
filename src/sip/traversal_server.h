#ifndef SIP_TRAVERSAL_SERVER_H
#define SIP_TRAVERSAL_SERVER_H
/*
 * The edge's end: is this OPTIONS the proof that the zone's user and password ask for? Pure. Nonces
 * are bound to the flow and live for five minutes, so that nothing is kept before a peer has proved
 * itself.
 */
#include <stdbool.h>
#include <stdint.h>

#include "proto/sip_msg.h"

#define TS_NONCE_LIFE_S 300

struct ts_conf {
	const char *realm;
	const char *username, *password;
};

enum ts_verdict { TS_PROVED, TS_CHALLENGE, TS_REFUSED };

/* On TS_CHALLENGE and TS_REFUSED (bad user or password) headers gets WWW-Authenticate lines,
 * SHA-256 first, to answer with 401. why: static text for logs and for the peer. */
enum ts_verdict ts_check(const struct ts_conf *conf, const struct sip_msg *m, uint64_t flow,
			 const uint8_t key[32], int64_t now_s, const uint8_t random[8],
			 struct buf *headers, const char **why);

#endif
