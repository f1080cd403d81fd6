#ifndef XMPP_PREFACE_H
#define XMPP_PREFACE_H
/*
 * The frames in front of the XML on a connection of the link (port 7400): a length of four bytes in
 * network order and one JSON object. docs/protocol/xmpp-link.md. Pure.
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/slice.h"
#include "proto/xmpp.h"

#define PREFACE_MAX_BYTES 4096
#define PREFACE_VERSION	  1
#define PREFACE_MAX_ADDRS 4

enum preface_kind { PREFACE_IDLE, PREFACE_C2S, PREFACE_S2S };

struct preface {
	enum preface_kind kind;
	/* C2S */
	char domain[XMPP_DOMAIN_BYTES];
	char client[64];  /* address:port of the client, as addr prints it */
	char session[33]; /* 32 hex digits */
	bool direct_tls;
	size_t n_addrs; /* xmppAddrs of a client certificate that E has verified */
	char addrs[PREFACE_MAX_ADDRS][256];
	/* S2S: local is the inside domain, remote the partner's, on both boxes */
	char local[XMPP_DOMAIN_BYTES];
	char remote[XMPP_DOMAIN_BYTES];
};

int preface_print(const struct preface *p, struct buf *out); /* 0, -EINVAL, -ENOMEM */
/* Bytes used when a whole frame is there; 0: more is needed; -EBADMSG with *why (static). */
int preface_parse(struct slice bytes, struct preface *out, const char **why);

#endif
