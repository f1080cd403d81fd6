#ifndef PROTO_SIP_MSG_H
#define PROTO_SIP_MSG_H
/*
 * Our view of a SIP message (RFC 3261): a flat, immutable, reference-counted list of headers under
 * canonical names plus the values that everybody needs. Every message is read twice, by our scanner
 * and by sofia-sip's parser, and is refused when the two do not agree on what it says. Messages to
 * send are printed with proto/sip_build.h.
 *
 * All slices point into the message and live as long as a reference.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/slice.h"

#define SIP_MAX_MESSAGE_BYTES 32768
#define SIP_MAX_HEADERS	      256

enum sip_method {
	SIP_OTHER_METHOD,
	SIP_INVITE,
	SIP_ACK,
	SIP_CANCEL,
	SIP_BYE,
	SIP_OPTIONS,
	SIP_REGISTER,
	SIP_INFO,
	SIP_PRACK,
	SIP_UPDATE,
	SIP_MESSAGE,
	SIP_SUBSCRIBE,
	SIP_NOTIFY,
	SIP_REFER,
	SIP_PUBLISH,
};

/* Headers that some code looks at. Everything else is SIP_HDR_OTHER and passes by name. */
enum sip_hdr_id {
	SIP_HDR_OTHER,
	SIP_HDR_VIA,
	SIP_HDR_ROUTE,
	SIP_HDR_RECORD_ROUTE,
	SIP_HDR_PATH,
	SIP_HDR_SERVICE_ROUTE,
	SIP_HDR_FROM,
	SIP_HDR_TO,
	SIP_HDR_CALL_ID,
	SIP_HDR_CSEQ,
	SIP_HDR_MAX_FORWARDS,
	SIP_HDR_CONTACT,
	SIP_HDR_EXPIRES,
	SIP_HDR_MIN_EXPIRES,
	SIP_HDR_CONTENT_TYPE,
	SIP_HDR_CONTENT_LENGTH,
	SIP_HDR_CONTENT_ENCODING,
	SIP_HDR_CONTENT_DISPOSITION,
	SIP_HDR_AUTHORIZATION,
	SIP_HDR_WWW_AUTHENTICATE,
	SIP_HDR_PROXY_AUTHORIZATION,
	SIP_HDR_PROXY_AUTHENTICATE,
	SIP_HDR_SUPPORTED,
	SIP_HDR_REQUIRE,
	SIP_HDR_PROXY_REQUIRE,
	SIP_HDR_UNSUPPORTED,
	SIP_HDR_ALLOW,
	SIP_HDR_RSEQ,
	SIP_HDR_RACK,
	SIP_HDR_SESSION_EXPIRES,
	SIP_HDR_MIN_SE,
	SIP_HDR_REFER_TO,
	SIP_HDR_REFERRED_BY,
	SIP_HDR_REPLACES,
	SIP_HDR_EVENT,
	SIP_HDR_SUBSCRIPTION_STATE,
	SIP_HDR_RETRY_AFTER,
	SIP_HDR_REASON,
	SIP_HDR_USER_AGENT,
	SIP_HDR_SERVER,
	SIP_HDR_WARNING,
	SIP_HDR_P_ASSERTED_IDENTITY,
	SIP_HDR_P_PREFERRED_IDENTITY,
	SIP_HDR_PRIVACY,
	SIP_HDR_DIVERSION,
	SIP_HDR_REMOTE_PARTY_ID,
	SIP_HDR_SESSION_ID,
	SIP_HDR_TIMESTAMP,
	SIP_HDR_TURNPIKE_SESSION,
	SIP_HDR_N
};

/* List headers (Via, Route, Record-Route, Path, Service-Route, Contact) have one entry a list
 * element, in order. Other headers one entry a line. */
struct sip_hdr {
	enum sip_hdr_id id;
	struct slice name;  /* full form, usual spelling; unknown ones as written, always a token */
	struct slice value; /* as written but unfolded and trimmed: no CR, LF or NUL */
};

/* name-addr or addr-spec with its header parameters. */
struct sip_addr {
	struct slice display; /* without quotes removed: as written, may be empty */
	struct slice uri;     /* "sip:alice@example.com;transport=tcp" */
	struct slice params;  /* ";tag=x;expires=30" with the leading ';', or empty */
};

struct sip_uri {
	struct slice scheme;  /* sip, sips, tel, ... */
	struct slice user;    /* without password; still escaped; empty when there is none */
	struct slice host;    /* IPv6 in brackets */
	uint16_t port;	      /* 0: none */
	struct slice params;  /* ";transport=tcp;lr", or empty */
	struct slice headers; /* "?a=b", or empty */
};

struct sip_via {
	struct slice transport; /* UDP, TCP, TLS */
	struct slice host;
	uint16_t port; /* 0: none */
	struct slice branch;
	struct slice received;
	bool rport;	     /* parameter present */
	uint16_t rport_port; /* its value, 0 when empty */
};

struct sip_msg {
	bool is_request;
	enum sip_method method; /* of a response: the CSeq method */
	struct slice method_name;
	struct slice uri; /* Request-URI */
	int status;
	struct slice phrase;

	struct slice call_id;
	struct sip_addr from, to;
	struct slice from_tag, to_tag; /* p NULL when absent */
	uint32_t cseq;
	struct sip_via via;	   /* topmost */
	int max_forwards;	   /* -1: none */
	int64_t expires;	   /* Expires header, -1: none */
	struct slice contact;	   /* first Contact's URI, p NULL when none; "*" for star */
	struct slice content_type; /* media type only: application/sdp */
	struct slice body;

	size_t n_headers;
	const struct sip_hdr *headers; /* message order */
};

/* What to answer to something that is not a proper message. status 0: nothing can be answered (not
 * even the headers that a response copies), drop it. */
struct sip_reject {
	int status;
	char phrase[64]; /* "Bad Request" ...: RFC 3261 21.4.1 asks to name the fault: "Bad CSeq" */
	char why[128];	 /* for the trace */
};

/* Parses one whole message (for streams: as cut by sip_frame). Checks what RFC 3261 8.1.1 demands:
 * To, From, CSeq, Call-ID, Max-Forwards tolerated missing, Via; CSeq method = request method; sip
 * version 2.0 (else 505); Content-Length against a datagram's size (18.3: extra bytes dropped,
 * short 400). Refused too: NUL, control characters and line ends other than CRLF in the headers,
 * over SIP_MAX_HEADERS entries, repeated single headers (From, To, Call-ID, CSeq, ...) that
 * disagree; of repeated ones that agree the first stays. A malformed Expires counts as 3600
 * (10.2.1.1). 0 and *out with one reference; -EBADMSG with *why filled (and, when the message was a
 * request whose mandatory headers could be read, *out set as well so that the answer can be built);
 * -ENOMEM. */
int sip_msg_parse(struct slice bytes, bool is_stream, struct sip_msg **out, struct sip_reject *why);
struct sip_msg *sip_msg_ref(const struct sip_msg *m);
void sip_msg_unref(const struct sip_msg *m);

/* First header with that id (value p NULL when none). */
struct slice sip_msg_hdr(const struct sip_msg *m, enum sip_hdr_id id);
/* Next one after prev (NULL: first) or NULL. */
const struct sip_hdr *sip_msg_next(const struct sip_msg *m, enum sip_hdr_id id,
				   const struct sip_hdr *prev);
/* Is `token` in any of the comma lists of that header (Supported, Require, Allow),
 * case-insensitive? */
bool sip_msg_has_token(const struct sip_msg *m, enum sip_hdr_id id, const char *token);

/* name-addr / addr-spec as in From, Contact, Route. */
bool sip_addr_parse(struct slice text, struct sip_addr *out);
bool sip_uri_parse(struct slice text, struct sip_uri *out);
bool sip_via_parse(struct slice text, struct sip_via *out);
/* Value of a ";name=value" parameter (p NULL when absent, n 0 with p set when without a value). A
 * quoted value comes with its quotes. */
struct slice sip_param(struct slice params, const char *name);
bool sip_has_param(struct slice params, const char *name);
/* RFC 3261 19.1.4 comparison as far as scheme, user, host and port go (escapes decoded, host
 * case-insensitive). */
bool sip_uri_same(struct slice a, struct slice b);
/* Canonical AOR "user@host" of a sip or sips URI, host lower-case. Escapes in the user part are
 * decoded as far as they stand for characters that need none; all others ("%40", "%00", UTF-8)
 * stay, with capital digits, so that one user has one spelling and none can look like another.
 * Without a user just the host. */
bool sip_uri_aor(struct slice uri, struct buf *out);

enum sip_method sip_method_parse(struct slice s);
const char *sip_method_str(enum sip_method m);
const char *sip_hdr_name(enum sip_hdr_id id);
/* RFC 3261 21 reason phrase, "Unknown" when there is none. */
const char *sip_status_phrase(int status);

/* --- cutting a stream into messages (RFC 3261 18.3, RFC 5626 3.5.1) --- */
enum sip_frame_kind {
	SIP_FRAME_MORE,	   /* not complete yet */
	SIP_FRAME_MESSAGE, /* bytes [skip, skip+n) are one message */
	SIP_FRAME_PING,	   /* double CRLF: answer with one CRLF; n bytes to drain */
	SIP_FRAME_PONG, /* single CRLF between messages; n bytes to drain. A ping that comes in two
			 * halves shows as two of these */
	SIP_FRAME_TOO_BIG, /* over max: 513, then close */
	SIP_FRAME_GARBAGE, /* cannot be SIP (first line is no start line, bad or absent
			      Content-Length): close */
};
struct sip_frame {
	enum sip_frame_kind kind;
	size_t skip, n;
	const char *why;
};
/* bytes: all that has come and was not drained. scanned: what was found out about them so far,
 * opaque, 0 at first and again after anything was drained; with it a slow sender costs linear time.
 */
struct sip_frame sip_frame_next(struct slice bytes, size_t max, size_t *scanned);

#endif
