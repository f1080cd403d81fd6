#ifndef PROTO_TURN_H
#define PROTO_TURN_H
/*
 * What TURN (RFC 8656) adds to STUN on the wire: ChannelData messages, and how both kinds follow
 * each other on a stream. Pure; STUN itself is proto/stun.h.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

enum {
	TURN_CHANNEL_FIRST = 0x4000,
	TURN_CHANNEL_LAST = 0x4fff, /* RFC 8656 section 12; the rest up to 0x7fff is reserved */
	TURN_CHANNEL_LAST_5766 = 0x7ffe, /* what clients of RFC 5766 may take */
	TURN_CHANNEL_HEADER_BYTES = 4,
};

/* First two bits 01: a channel number, legal or not (RFC 7983 demultiplexing). */
static inline bool turn_is_channel(const uint8_t *p, size_t n)
{
	return n > 0 && (p[0] & 0xc0) == 0x40;
}
/* last: one of the two above. */
static inline bool turn_channel_is_legal(uint16_t number, uint16_t last)
{
	return number >= TURN_CHANNEL_FIRST && number <= last;
}
/* One ChannelData message of a datagram or a stream frame. Bytes behind the length (padding) are
 * ignored, RFC 8656 12.5. False: shorter than it says, or a number that is not legal. */
bool turn_channel_decode(const uint8_t *p, size_t n, uint16_t *number, struct slice *data);
/* The header of n bytes of data (at most 65535). */
void turn_channel_header(uint8_t out[TURN_CHANNEL_HEADER_BYTES], uint16_t number, size_t n);
/* Zero bytes that follow n bytes of data on a stream, so that the next message is aligned. */
static inline size_t turn_padding(size_t n)
{
	return (4 - n % 4) % 4;
}

/* The frame at the beginning of a stream's unread bytes, of which n are at p: its length with
 * padding in *len. TURN_FRAME_MORE: more bytes are needed to tell (never with n >= 20);
 * TURN_FRAME_BAD: these bytes begin no STUN message and no legal ChannelData. */
enum turn_frame { TURN_FRAME_MORE, TURN_FRAME_STUN, TURN_FRAME_CHANNEL, TURN_FRAME_BAD };
enum turn_frame turn_frame_look(const uint8_t *p, size_t n, uint16_t last, size_t *len);

#endif
