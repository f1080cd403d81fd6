#ifndef PROTO_SDP_H
#define PROTO_SDP_H
/*
 * SDP (RFC 8866) as lines: the session section and one section for each m= line. Every line is kept
 * in its order, also those nobody here understands, and printed again as it came; typed accessors
 * read what the media module decides on. Changing an SDP means replacing, adding or deleting lines.
 *
 * sofia's SDP parser is not used although sofia parses our SIP: it rebuilds the text from structs
 * (order and odd spellings are lost on the way through), has a history of memory faults on this
 * very input (CVE-2022-31001 to 31003, CVE-2023-22741), and ties each description to an su_home.
 *
 * Bounds: SDP_MAX_BYTES of text, SDP_MAX_LINES a section, SDP_MAX_MEDIA sections.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/slice.h"

#define SDP_MAX_BYTES 32768
#define SDP_MAX_LINES 256
#define SDP_MAX_MEDIA 32

struct sdp_line {
	char type;	    /* 'v', 'a', ... */
	struct slice value; /* after the '=' */
};

struct sdp_section {
	struct sdp_line *lines; /* a media section begins with its m= line */
	size_t n;
	size_t cap;
};

struct sdp_text; /* memory of values, freed with the sdp */

struct sdp {
	struct sdp_section session;
	struct sdp_section media[SDP_MAX_MEDIA];
	size_t n_media;
	struct sdp_text *texts;
};

struct sdp_error {
	unsigned line;	  /* 1-based; 0: the text as a whole */
	const char *what; /* static */
};

/* Parses text, which may be freed afterwards. Lines end with CRLF or LF; the last may lack its end.
 * Demands v=0, o= and s= in this order, "x=" lines, at most one c= a section, a well-formed m=; no
 * NUL, no lone CR, no empty line but trailing ones. 0, -EINVAL (see *err), -E2BIG (a bound, see
 * *err) or -ENOMEM. On error nothing needs freeing; else sdp_fini(). */
int sdp_parse(struct sdp *sdp, struct slice text, struct sdp_error *err);
void sdp_fini(struct sdp *sdp);
/* Prints every line with CRLF. The only printer. */
void sdp_print(const struct sdp *sdp, struct buf *out);

/* -- reading -- */

/* Index of the first line of that type at or after `from`, or s->n. */
size_t sdp_find(const struct sdp_section *s, char type, size_t from);
/* Index of the first a=name or a=name:value line at or after `from` (names are case-sensitive, RFC
 * 8866 section 5.13), or s->n. value (may be NULL): after the colon, empty for a flag. */
size_t sdp_attr_find(const struct sdp_section *s, const char *name, size_t from,
		     struct slice *value);
/* First such attribute of the section. */
bool sdp_attr(const struct sdp_section *s, const char *name, struct slice *value);
/* Of media section m, else of the session (ice-ufrag, fingerprint, setup and directions inherit).
 */
bool sdp_attr_inherited(const struct sdp *sdp, size_t m, const char *name, struct slice *value);
/* Name of an a= line's attribute: up to the colon. */
struct slice sdp_attr_name(const struct sdp_line *line);

struct sdp_origin {
	struct slice username, sess_id, sess_version, net_type, addr_type, address;
};
bool sdp_origin(const struct sdp *sdp, struct sdp_origin *out);

/* The c= line in force for media section m. False: there is none, it is not IN IP4/IP6, or it names
 * a host instead of an address (nothing in a packet path may wait for a resolver). A multicast TTL
 * is cut off. */
bool sdp_connection(const struct sdp *sdp, size_t m, struct addr *ip);

enum sdp_profile {
	SDP_RTP_AVP,
	SDP_RTP_AVPF,
	SDP_RTP_SAVP,
	SDP_RTP_SAVPF,
	SDP_DTLS_SAVP,	/* UDP/TLS/RTP/SAVP */
	SDP_DTLS_SAVPF, /* UDP/TLS/RTP/SAVPF */
	SDP_UDP_OTHER,	/* udp, udptl, UDP/BFCP, UDP/TLS/..., UDP/DTLS/SCTP */
	SDP_OTHER,	/* TCP/... and what we never heard of */
};
struct sdp_media {
	struct slice media, proto, formats;
	uint16_t port;
	uint16_t n_ports; /* 1 when not written */
	enum sdp_profile profile;
};
/* The m= line of section m (checked by sdp_parse, so it cannot fail there). */
bool sdp_media(const struct sdp *sdp, size_t m, struct sdp_media *out);
const char *sdp_profile_str(enum sdp_profile p); /* NULL for the last two */

/* a=rtcp of section m (RFC 3605). ip is ADDR_NONE when only the port is written. */
bool sdp_rtcp(const struct sdp *sdp, size_t m, uint16_t *port, struct addr *ip);

enum sdp_direction { SDP_SENDRECV, SDP_SENDONLY, SDP_RECVONLY, SDP_INACTIVE };
enum sdp_direction sdp_direction(const struct sdp *sdp, size_t m);
const char *sdp_direction_str(enum sdp_direction d);

/* a=ptime in milliseconds, 0 when absent. */
unsigned sdp_ptime(const struct sdp *sdp, size_t m);
/* Clock rate of the first format of section m by a=rtpmap or the static table (RFC 3551); 8000 when
 * unknown. */
uint32_t sdp_clock_rate(const struct sdp *sdp, size_t m);

/* One a=candidate value (RFC 8839 section 5.1). */
struct sdp_candidate {
	struct slice foundation, transport, type;
	unsigned component; /* 1-256 */
	uint32_t priority;
	struct addr addr; /* ADDR_NONE for a host name (mDNS) */
};
bool sdp_candidate_parse(struct slice value, struct sdp_candidate *out);

/* One a=crypto value (RFC 4568 section 9.1), keys not looked into. */
struct sdp_crypto {
	uint32_t tag;
	struct slice suite;
	struct slice key_params;     /* "inline:..." */
	struct slice session_params; /* may be empty */
};
bool sdp_crypto_parse(struct slice value, struct sdp_crypto *out);

/* -- changing: 0 or -ENOMEM / -E2BIG (section full); on error nothing changed -- */

/* Replaces the value of line i. */
int sdp_line_set(struct sdp *sdp, struct sdp_section *s, size_t i, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Replaces the first line of that type, or inserts it where RFC 8866 section 5 wants it. */
int sdp_set(struct sdp *sdp, struct sdp_section *s, char type, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Appends an a= line. */
int sdp_attr_add(struct sdp *sdp, struct sdp_section *s, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void sdp_line_del(struct sdp_section *s, size_t i);
/* Deletes every line of that type, every attribute of that name. */
void sdp_del(struct sdp_section *s, char type);
void sdp_attr_del(struct sdp_section *s, const char *name);

#endif
