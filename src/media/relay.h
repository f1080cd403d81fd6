#ifndef MEDIA_RELAY_H
#define MEDIA_RELAY_H
/*
 * The way of a packet: in at one end of a stream, judged, decrypted, counted, encrypted, out at the
 *other end. A stream is one m= line of a session; its two ends look toward the two legs.
 *
 *	socket -> relay_input(end) -> demux -> latch or mux or ICE: is the source proved?
 *	       -> crypto rx -> stats -> [other end] where to? -> crypto tx -> relay_ops.send ->
 *socket
 *
 * No allocation, log line or timer on this way; time comes with the packet.
 */
#include <stdbool.h>
#include <stdint.h>

#include "core/conn.h"
#include "media/crypto.h"
#include "media/ice_check.h"
#include "media/latch.h"
#include "media/mux.h"
#include "media/stats.h"
#include "turnpike/media.h"

enum { RELAY_RTP, RELAY_RTCP, RELAY_N_COMPONENTS };
enum { RELAY_PACKET_BYTES = 2048, RELAY_BUFFER_BYTES = RELAY_PACKET_BYTES + SRTP_TRAILER_BYTES };

enum relay_kind {
	RELAY_KIND_RTP,
	RELAY_KIND_DTLS,   /* DTLS-SRTP passed end to end, never opened */
	RELAY_KIND_OPAQUE, /* BFCP, T.38, ...: bytes */
};

struct media_session;
struct media_stream;

struct media_end {
	struct conn conn; /* CONN_MEDIA */
	struct media_stream *stream;
	uint8_t leg;
	enum media_leg_kind kind;
	bool open;     /* has its ports, or is entered in the mux */
	bool rtcp_mux; /* agreed on this leg */
	bool muted;    /* peer is on hold by c=0: nothing is sent to it */
	struct addr bound[RELAY_N_COMPONENTS];
	struct latch latches[RELAY_N_COMPONENTS];
	struct mux_end mux;   /* MEDIA_LEG_MUX */
	struct ice_check ice; /* MEDIA_LEG_ICE */
	struct media_keys crypto;
	struct media_stats stats;
	/* Packets dropped, by reason. */
	uint64_t n_unproved, n_malformed, n_nowhere, n_moved;
	int64_t heard_ms;	      /* last packet passed on */
	void *io[RELAY_N_COMPONENTS]; /* sockets, the wiring's */
};

struct relay_ops {
	/* Sends from a component's socket (the shared one on a MUX end). */
	void (*send)(void *arg, struct media_end *from, unsigned component, const struct addr *to,
		     const void *p, size_t n);
};

struct media_stream {
	struct media_session *session;
	unsigned index; /* of the m= line */
	enum relay_kind kind;
	bool active;	/* agreed by both sides: packets pass */
	bool terminate; /* keys end here; else packets pass as they are */
	bool sealed;	/* passing, and encrypted: RTCP cannot be read */
	bool video;	/* for the DSCP of its sockets */
	bool quiet_ok;	/* on hold in some way: silence is no fault */
	struct media_end ends[2];
	const struct relay_ops *ops;
	void *arg;
};

/* A packet from a private port of an end (all kinds but MUX). p may be changed, cap is its room. */
void relay_input(struct media_end *end, unsigned component, struct mux_packet *pkt);
/* A packet that the mux has found proved. */
void relay_input_proved(struct media_end *end, unsigned component, struct mux_packet *pkt);
/* Where packets toward this end would go now; NULL: nowhere. */
const struct addr *relay_remote(const struct media_end *end, unsigned component, int64_t now_ms);

#endif
