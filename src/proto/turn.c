#include "proto/turn.h"

#include "proto/stun.h"

enum { LOOK_BYTES = 8 }; /* type, length, cookie */

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

bool turn_channel_decode(const uint8_t *p, size_t n, uint16_t *number, struct slice *data)
{
	size_t len;

	if (n < TURN_CHANNEL_HEADER_BYTES || !turn_is_channel(p, n))
		return false;
	len = get16(p + 2);
	if (len > n - TURN_CHANNEL_HEADER_BYTES)
		return false;
	*number = get16(p);
	*data = (struct slice){ (const char *)p + TURN_CHANNEL_HEADER_BYTES, len };
	return true;
}

void turn_channel_header(uint8_t out[TURN_CHANNEL_HEADER_BYTES], uint16_t number, size_t n)
{
	out[0] = (uint8_t)(number >> 8);
	out[1] = (uint8_t)number;
	out[2] = (uint8_t)(n >> 8);
	out[3] = (uint8_t)n;
}

/* What is wrong is said as soon as it can be seen: a client that sends something else is not to
 * wait for a frame that never ends. */
static enum turn_frame look_stun(const uint8_t *p, size_t n, size_t *len)
{
	static const uint8_t cookie[4] = { 0x21, 0x12, 0xa4, 0x42 };

	if (p[0] & 0xc0 || (n >= 4 && p[3] & 3))
		return TURN_FRAME_BAD;
	for (size_t i = 4; i < n && i < LOOK_BYTES; i++) {
		if (p[i] != cookie[i - 4])
			return TURN_FRAME_BAD;
	}
	if (n < LOOK_BYTES)
		return TURN_FRAME_MORE;
	*len = STUN_HEADER_BYTES + (size_t)get16(p + 2);
	return TURN_FRAME_STUN;
}

enum turn_frame turn_frame_look(const uint8_t *p, size_t n, uint16_t last, size_t *len)
{
	size_t n_data;

	if (n == 0)
		return TURN_FRAME_MORE;
	if (!turn_is_channel(p, n))
		return look_stun(p, n, len);
	if (p[0] > last >> 8)
		return TURN_FRAME_BAD;
	if (n < TURN_CHANNEL_HEADER_BYTES)
		return TURN_FRAME_MORE;
	n_data = get16(p + 2);
	*len = TURN_CHANNEL_HEADER_BYTES + n_data + turn_padding(n_data);
	return TURN_FRAME_CHANNEL;
}
