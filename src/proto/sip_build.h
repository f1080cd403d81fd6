#ifndef PROTO_SIP_BUILD_H
#define PROTO_SIP_BUILD_H
/*
 * Printing SIP messages: one builder for every message that leaves the program. Values come from
 * our own view (already free of CR and LF) or are checked here: a value with CR, LF or NUL sets
 * buf.failed.
 */
#include "proto/sip_msg.h"

struct sip_build {
	struct buf b;
	bool ended; /* the body is in: nothing more may be added */
};

void sip_build_init(struct sip_build *s); /* max SIP_MAX_MESSAGE_BYTES */
void sip_build_fini(struct sip_build *s);
void sip_build_request(struct sip_build *s, struct slice method, struct slice uri);
/* phrase NULL: the standard one. */
void sip_build_status(struct sip_build *s, int status, const char *phrase);
void sip_build_hdr(struct sip_build *s, enum sip_hdr_id id, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void sip_build_hdr_slice(struct sip_build *s, enum sip_hdr_id id, struct slice value);
/* By name, for headers we do not know. */
void sip_build_named(struct sip_build *s, struct slice name, struct slice value);
/* Copies every header of m for which keep() says so, in order. */
void sip_build_copy(struct sip_build *s, const struct sip_msg *m,
		    bool (*keep)(const struct sip_hdr *h, void *arg), void *arg);
/* All headers of m with that id. */
void sip_build_copy_id(struct sip_build *s, const struct sip_msg *m, enum sip_hdr_id id);
/* Ends the headers: Content-Type (unless type is empty), Content-Length, blank line, body. */
void sip_build_body(struct sip_build *s, struct slice type, struct slice body);
/* Starts a response to req as RFC 3261 8.2.6 says: status line, Via (all, with received/rport of
 * `from` on the top one, RFC 3581), From, To (with to_tag when it has none and to_tag is not
 * empty), Call-ID, CSeq. Further headers and sip_build_body follow. from may be NULL (no received).
 */
void sip_build_response(struct sip_build *s, const struct sip_msg *req, int status,
			const char *phrase, struct slice to_tag, const struct addr *from);
/* The finished message; NULL slice when anything failed or sip_build_body was not called. */
struct slice sip_build_done(struct sip_build *s);

#endif
