#ifndef XMPP_PREFACE_H
#define XMPP_PREFACE_H
/*
 * The frames on a connection of the link (port 7400), in front of the XML and, of streams that
 * park, between two elements: a length of four bytes in network order and one JSON object.
 * docs/protocol/xmpp-link.md. Pure.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "proto/xmpp.h"

#define PREFACE_MAX_BYTES 4096
#define PREFACE_VERSION	  1
#define PREFACE_MAX_ADDRS 4
#define PREFACE_ID_BYTES  17 /* 16 hex digits and NUL */

enum preface_kind {
	PREFACE_IDLE,
	PREFACE_C2S,
	PREFACE_S2S,
	PREFACE_PARK,
	PREFACE_PARKED,
	PREFACE_RESUME,
};

struct preface {
	enum preface_kind kind;
	/* C2S */
	char domain[XMPP_DOMAIN_BYTES];
	char client[64];  /* address:port of the client, as addr prints it */
	char session[33]; /* 32 hex digits; RESUME: for the own listing, not sent */
	bool direct_tls;
	size_t n_addrs; /* xmppAddrs of a client certificate that E has verified */
	char addrs[PREFACE_MAX_ADDRS][256];
	/* S2S: local is the inside domain, remote the partner's, on both boxes */
	char local[XMPP_DOMAIN_BYTES];
	char remote[XMPP_DOMAIN_BYTES];
	/* PARK, PARKED: the sender's name of the stream; RESUME: the other side's */
	uint64_t stream;
	bool keep; /* PARKED: the connection is wanted idle; else it is closed */
};

int preface_print(const struct preface *p, struct buf *out); /* 0, -EINVAL, -ENOMEM */
/* Bytes used when a whole frame is there; 0: more is needed; -EBADMSG with *why (static). */
int preface_parse(struct slice bytes, struct preface *out, const char **why);

/* The text of `stream`, in calls of the control channel too: 1 to 16 hex digits, lower case, the
 * first one not 0. */
const char *preface_id_str(uint64_t id, char buf[PREFACE_ID_BYTES]);
bool preface_id_parse(struct slice text, uint64_t *id);

#endif
