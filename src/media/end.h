#ifndef MEDIA_END_H
#define MEDIA_END_H
/*
 * One end of a stream: getting and giving back its ports, and putting into force what the SDP of
 * its leg says.
 */
#include "media/desc.h"
#include "media/engine.h"

struct media_leg;

/* The address to bind and the one to write into SDP for a leg; port 0. False: there is none. */
bool media_leg_bind_ip(const struct media_engine *e, const struct media_leg_params *p,
		       struct addr *out);
bool media_leg_advertise_ip(const struct media_engine *e, const struct media_leg_params *p,
			    struct addr *out);

void media_end_init(struct media_end *end, struct media_stream *stream, uint8_t leg,
		    enum media_leg_kind kind);
/* Takes ports (or a place in the mux) and enters the connection table. Opening an open end does
 * nothing. 0, -ENOSPC (out of ports or places), or negative errno. */
int media_end_open(struct media_engine *e, struct media_end *end);
void media_end_close(struct media_engine *e, struct media_end *end, const char *reason);
/* What the peer's SDP says comes into force; the keys are committed apart. */
void media_end_apply(struct media_engine *e, struct media_end *end, const struct media_desc *d,
		     bool rtcp_mux);
/* ICE end: starts checks as soon as the peer's credentials are known. */
void media_end_check(struct media_engine *e, struct media_end *end, const struct media_desc *d,
		     bool rtcp_mux);

#endif
