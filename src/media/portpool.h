#ifndef MEDIA_PORTPOOL_H
#define MEDIA_PORTPOOL_H
/*
 * Port numbers for media: pairs of an even RTP port and the odd RTCP port above it (RFC 3550
 * section 11). Handed out in turn and wrapping, so that a number rests as long as possible; one
 * given back is in quarantine for a while, so that late packets of the old call do not meet a new
 * one. Numbers only: whether the kernel lets us bind is for the caller to find out.
 */
#include <stdbool.h>
#include <stdint.h>

#include "core/conf_schema.h"

#define PORTPOOL_QUARANTINE_MS 5000

struct portpool_pair {
	int64_t free_at_ms; /* not before; meaningless while taken */
	bool taken;
};

struct portpool {
	struct portpool_pair *pairs;
	uint16_t first; /* even */
	uint32_t n_pairs;
	uint32_t n_taken;
	uint32_t next; /* where the search goes on */
};

/* ports: an odd first port and an even last one are left out. 0, -EINVAL (no pair fits) or -ENOMEM.
 */
int portpool_init(struct portpool *p, struct conf_ports ports);
void portpool_fini(struct portpool *p);
/* The RTP port of a free pair, or 0 when there is none. */
uint16_t portpool_take(struct portpool *p, int64_t now_ms);
/* Gives it back. A port outside the pool (from before a reload) is ignored. */
void portpool_put(struct portpool *p, uint16_t rtp_port, int64_t now_ms);
/* Goes over to another range; pairs of both ranges stay taken. 0 or as portpool_init(), then
 * nothing changed. */
int portpool_resize(struct portpool *p, struct conf_ports ports);
bool portpool_holds(const struct portpool *p, uint16_t port);

#endif
