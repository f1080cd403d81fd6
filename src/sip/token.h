#ifndef SIP_TOKEN_H
#define SIP_TOKEN_H
/*
 * Tokens: how a flow, a peer or a registration is named inside a SIP URI that comes back from
 * others (RFC 5626 5.2 asks for an HMAC, so that nobody makes up the name of somebody else's flow).
 * Pure.
 *
 *   "tp" base64url( kind:1 boot:4 id:8 zone:0-63 mac:16 )     mac: HMAC-SHA256, first 16 bytes
 */
#include <stdint.h>

#include "base/buf.h"

#define TOKEN_KEY_BYTES	 32
#define TOKEN_ZONE_BYTES 64
/* Longest text: 2 + base64 of 1 + 4 + 8 + 63 + 16 bytes. */
#define TOKEN_MAX_CHARS 125

enum token_kind { TOKEN_FLOW, TOKEN_PEER, TOKEN_REGISTRATION };

struct token {
	enum token_kind kind;
	uint32_t boot; /* number of this run: ids of an earlier one mean nothing */
	uint64_t id;
	char zone[TOKEN_ZONE_BYTES]; /* "" for none */
};

enum token_result {
	TOKEN_OK,
	TOKEN_FORGED, /* looks like a token and is none of ours: another key, or changed */
	TOKEN_NONE,   /* something else: an ordinary user name */
};

/* Appends the text: "tp", then letters, digits, '-' and '_' (fit for a user part, RFC 3261 25.1).
 */
void token_print(struct buf *out, const uint8_t key[TOKEN_KEY_BYTES], const struct token *t);
/* *t is filled only with TOKEN_OK. The mac is compared in constant time. */
enum token_result token_parse(struct slice text, const uint8_t key[TOKEN_KEY_BYTES],
			      struct token *t);

#endif
