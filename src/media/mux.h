#ifndef MEDIA_MUX_H
#define MEDIA_MUX_H
/*
 * Many streams on a few shared ports (E toward C, docs/protocol/media-mux.md). An end is found by
 * the receiver's ufrag in a STUN check, and from a valid check on by the address the check came
 * from, for each component apart. Nothing is sent but answers to valid checks and media to
 * addresses that such a check came from within the last 30 s (RFC 7675: consent). What fits nothing
 * is counted and dropped; memory is taken by ends only, never by packets.
 *
 * A socket is a number: 2 * pair + component, pairs being numbered over all local addresses.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/htab.h"
#include "media/ice_lite.h"

enum {
	MUX_CONSENT_MS = 30000,
	MUX_N_COMPONENTS = 2,
	MUX_N_TIDS = 32, /* checks remembered by transaction id */
};

struct mux_end;

struct mux_key {
	struct addr from;
	uint32_t socket;
	uint32_t zero; /* no padding: it is hashed */
};

/* Where one component of an end is. */
struct mux_source {
	struct htab_node node;
	struct mux_key key;
	struct mux_end *end;
	unsigned component;
	bool bound;
	int64_t heard_ms; /* last valid check */
};

struct mux_end {
	struct htab_node node; /* by local ufrag */
	struct ice_creds local;
	char remote_ufrag[ICE_UFRAG_BYTES]; /* "": not known yet, any will do */
	uint32_t pair;
	struct mux_source sources[MUX_N_COMPONENTS];
	/* Transaction ids of the last checks: one that comes again from elsewhere was recorded. */
	uint64_t tids[MUX_N_TIDS];
	unsigned next_tid;
	bool entered;
};

struct mux_packet {
	uint8_t *p;
	size_t n;
	size_t cap; /* room for growth */
	struct addr from;
	int64_t now_ms;
	int64_t now_us;
};

struct mux_ops {
	void (*send)(void *arg, uint32_t socket, const struct addr *to, const void *p, size_t n);
	/* A packet from a proved source. */
	void (*input)(void *arg, struct mux_end *end, unsigned component, struct mux_packet *pkt);
	/* The source of a component was proved or moved. May be NULL. */
	void (*bound)(void *arg, struct mux_end *end, unsigned component, const struct addr *from);
};

struct mux {
	struct htab by_ufrag;
	struct htab by_source;
	const struct mux_ops *ops;
	void *arg;
	uint32_t max_ends;
	uint64_t n_unknown;   /* packets of no known source */
	uint64_t n_bad_check; /* STUN that fitted nothing, or with a wrong password */
	uint64_t n_moved;
};

/* 0 or -ENOMEM. seed: random, keys the hash tables. */
int mux_init(struct mux *m, const uint8_t seed[16], uint32_t max_ends, const struct mux_ops *ops,
	     void *arg);
void mux_fini(struct mux *m);
/* Enters an end whose local credentials and pair are set. 0, -ENOSPC (table full) or -EEXIST (the
 * ufrag is in use: make another). */
int mux_add(struct mux *m, struct mux_end *end);
void mux_del(struct mux *m, struct mux_end *end);
void mux_input(struct mux *m, uint32_t socket, struct mux_packet *pkt);
/* Where media of a component goes now, or NULL. */
const struct addr *mux_remote(const struct mux_end *end, unsigned component, int64_t now_ms);

#endif
