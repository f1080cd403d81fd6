#ifndef PROTO_SIP_SCAN_H
#define PROTO_SIP_SCAN_H
/*
 * Inner header of the SIP codec. First pass over a message: where its start line, headers and body
 * are. Strict about bytes (CRLF only, no NUL, no other control characters), so that nothing behind
 * it can be fooled about where a header ends.
 */
#include "proto/sip_msg.h"

struct sip_scan {
	struct slice start_line;
	struct slice body; /* all bytes behind the blank line */
	bool ended;	   /* there was a blank line */
	size_t n_headers;
	/* Names are canonical; values are trimmed but may still be folded. Lists are split. */
	struct sip_hdr headers[SIP_MAX_HEADERS];
};

/* Notes a fault; the first one wins. */
void sip_fault(struct sip_reject *why, int status, const char *phrase, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
static inline bool sip_faulty(const struct sip_reject *why)
{
	return why->why[0] != '\0';
}

/* Slices point into bytes or to static names. Lines with a fault are left out, the rest is read. */
void sip_scan(struct slice bytes, struct sip_scan *s, struct sip_reject *why);
/* Writes a value to dst without its folds (RFC 3261 7.3.1: a fold is one space); returns its
 * length, never more than value.n. */
size_t sip_unfold(char *dst, struct slice value);

#endif
