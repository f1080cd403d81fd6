#ifndef TURN_MINT_H
#define TURN_MINT_H
/*
 * Short-lived TURN credentials as C makes them: which secret, which E, which of its ports. Pure:
 * times and random bytes are arguments. Secrets are in memory only.
 *
 *   secret: NEWEST (new credentials) --ttl--> OLD (answers those it made) --ttl--> gone
 *
 * The longest credential of a secret is made at the end of its time as the newest, so that it runs
 * out one ttl later. There are at most TURN_MINT_SECRETS of them, whatever becomes of the ttl: when
 * all places are taken, the newest one stays the newest for longer.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "turnpike/turn.h"

enum {
	TURN_MINT_SECRETS = 3,
	TURN_MINT_SECRET_BYTES = 32,
	TURN_MINT_ID_BYTES = 17, /* 16 hex digits and NUL */
	TURN_MINT_SERVERS = 64,	 /* E peers */
	TURN_MINT_LABEL_MAX = 128,
	TURN_MINT_URI_BYTES = 320,
	TURN_MINT_N_URIS = 3,
};

struct turn_mint_secret {
	char id[TURN_MINT_ID_BYTES]; /* no secret: key of the table */
	uint8_t secret[TURN_MINT_SECRET_BYTES];
	int64_t newest_until_ms, until_ms; /* monotonic */
};

/* What one E said. */
struct turn_mint_server {
	uint32_t peer; /* 0: a free place */
	bool up;
	bool has_facts;
	struct turn_facts facts;
	unsigned next_udp, next_tcp, next_tls;
};

struct turn_mint {
	void (*random)(void *p, size_t n);
	int64_t ttl_ms;
	size_t n_secrets; /* the oldest first */
	struct turn_mint_secret secrets[TURN_MINT_SECRETS];
	struct turn_mint_server servers[TURN_MINT_SERVERS];
	size_t next_server;
};

/* random fills bytes: net_random in the daemon. */
void turn_mint_init(struct turn_mint *m, void (*random)(void *p, size_t n));
/* Wipes the secrets. */
void turn_mint_fini(struct turn_mint *m);
/* ttl of credentials, over 0. Another one than before makes a new secret at the next turn, or lets
 * the newest live longer. */
void turn_mint_configure(struct turn_mint *m, int64_t ttl_ms, int64_t now_ms);

/* What turn_mint_turn() did. */
struct turn_mint_change {
	bool put; /* the newest secret is new, or lives longer: tell every E */
	size_t n_gone;
	char gone[TURN_MINT_SECRETS][TURN_MINT_ID_BYTES];
};
/* Makes and drops what is due. Returns when to come again (monotonic). */
int64_t turn_mint_turn(struct turn_mint *m, int64_t now_ms, struct turn_mint_change *out);

/* The place of that E, taken when there is none: an empty one, else that of an E that is down,
 * which says everything again when it is back. NULL: all are up. */
struct turn_mint_server *turn_mint_server(struct turn_mint *m, uint32_t peer);
/* Is there an E that is up / one that is up and has TURN? */
bool turn_mint_any_up(const struct turn_mint *m);
bool turn_mint_is_ready(const struct turn_mint *m);

struct turn_mint_credential {
	char username[512]; /* "expiry:label@domain" */
	char password[29];
	int64_t ttl_s;
	const struct turn_facts *server;
	size_t n_uris;
	char uris[TURN_MINT_N_URIS][TURN_MINT_URI_BYTES]; /* RFC 7065 */
};
/* A label is 1 to TURN_MINT_LABEL_MAX visible ASCII characters without ':', '"' and '\'. */
bool turn_mint_label_valid(struct slice label);
/* One credential for one E that is up and has TURN, the next one each time. ttl_s 0, or more than
 * the configured one: that one. label empty: 8 random hex digits. False: there is no such E, or no
 * secret (turn_mint_turn() was never called), or the domain or label is too long. */
bool turn_mint_make(struct turn_mint *m, struct slice domain, struct slice label, int64_t ttl_s,
		    int64_t wall_s, struct turn_mint_credential *out);

#endif
