/* The first bytes say where the stream is cut, the rest is a datagram and a stream. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/stun.h"
#include "proto/turn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N_CUTS = 4, MAX_FRAMES = 64, ENOUGH_BYTES = 20 };

struct frames {
	size_t n;
	struct {
		enum turn_frame kind;
		size_t at, len;
	} v[MAX_FRAMES];
};

/* What a reader sees that has n bytes of the stream; goes on where the last call ended. True: go on
 * when there is more. */
static bool read_frames(const uint8_t *p, size_t n, size_t *at, struct frames *out)
{
	while (*at < n && out->n < MAX_FRAMES) {
		size_t len = 0, left = n - *at;
		uint8_t *exact = malloc(left);
		enum turn_frame kind;

		memcpy(exact, p + *at, left);
		kind = turn_frame_look(exact, left, TURN_CHANNEL_LAST_5766, &len);
		free(exact);
		if (kind == TURN_FRAME_MORE) {
			if (left >= ENOUGH_BYTES)
				abort();
			return true;
		}
		if (kind != TURN_FRAME_BAD && (len < 4 || len % 4 != 0))
			abort();
		if (kind != TURN_FRAME_BAD && len > left)
			return true;
		out->v[out->n].kind = kind;
		out->v[out->n].at = *at;
		out->v[out->n++].len = kind == TURN_FRAME_BAD ? 0 : len;
		if (kind == TURN_FRAME_BAD)
			return false;
		*at += len;
	}
	return out->n < MAX_FRAMES;
}

static void same(const struct frames *a, const struct frames *b)
{
	if (a->n != b->n)
		abort();
	for (size_t i = 0; i < a->n; i++) {
		if (a->v[i].kind != b->v[i].kind || a->v[i].at != b->v[i].at ||
		    a->v[i].len != b->v[i].len)
			abort();
	}
}

static void check_stream(const uint8_t cuts[N_CUTS], const uint8_t *p, size_t n)
{
	struct frames whole = { .n = 0 }, parts = { .n = 0 };
	size_t at = 0, have = 0;

	read_frames(p, n, &at, &whole);
	at = 0;
	for (size_t i = 0; have < n; i++) {
		have += 1 + cuts[i % N_CUTS] % 40;
		if (have > n)
			have = n;
		if (!read_frames(p, have, &at, &parts))
			break;
	}
	same(&whole, &parts);
}

static void check_datagram(const uint8_t *p, size_t n)
{
	uint8_t head[TURN_CHANNEL_HEADER_BYTES];
	struct slice body;
	struct stun_msg m;
	uint16_t number;
	size_t len;

	if (turn_channel_decode(p, n, &number, &body)) {
		turn_channel_header(head, number, body.n);
		if (!turn_is_channel(p, n) || stun_is(p, n) || memcmp(head, p, sizeof(head)) != 0 ||
		    (const uint8_t *)body.p + body.n > p + n ||
		    turn_frame_look(p, n, TURN_CHANNEL_LAST_5766, &len) != TURN_FRAME_CHANNEL ||
		    len != sizeof(head) + body.n + turn_padding(body.n))
			abort();
	}
	/* A whole message is one frame. */
	if (stun_decode(p, n, &m) == 0 &&
	    (turn_is_channel(p, n) ||
	     turn_frame_look(p, n, TURN_CHANNEL_LAST_5766, &len) != TURN_FRAME_STUN || len != n))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < N_CUTS)
		return 0;
	check_datagram(data + N_CUTS, size - N_CUTS);
	check_stream(data, data + N_CUTS, size - N_CUTS);
	return 0;
}
