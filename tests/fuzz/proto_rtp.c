#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/rtp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk_rtcp(const uint8_t *data, size_t size)
{
	struct rtcp_packet k;
	struct rtcp_report r;
	size_t at = 0, sum = 0;

	while (rtcp_next(data, size, &at, &k)) {
		sum += k.n;
		for (unsigned i = 0; i <= k.count; i++)
			rtcp_report(&k, i, &r);
	}
	if (sum != size)
		abort();
}

/* The input as a row of sequence number, timestamp and arrival steps. */
static void run_source(const uint8_t *data, size_t size)
{
	struct rtp_source s = { 0 };

	for (size_t at = 0; at + 8 <= size; at += 8) {
		struct rtp_header h = { .ssrc = data[at] & 1 };
		uint32_t arrival;

		memcpy(&h.seq, data + at, 2);
		memcpy(&h.timestamp, data + at + 2, 4);
		arrival = h.timestamp * data[at + 6] + data[at + 7];
		rtp_source_update(&s, &h, size, arrival);
		rtp_source_lost(&s);
		rtp_source_fraction(&s);
		if (rtp_source_jitter(&s) > 1 << 27)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rtp_header h, bare;

	rtp_demux(data, size);
	if (rtp_decode(data, size, &h) == 0) {
		if (rtp_decode_header(data, size, &bare) < 0 ||
		    h.header_bytes + h.payload_bytes + h.padding_bytes != size ||
		    bare.header_bytes + bare.payload_bytes != size)
			abort();
		if (h.ext && (h.ext < data || h.ext + h.ext_bytes > data + size))
			abort();
	}
	if (rtcp_check(data, size, true) == 0)
		walk_rtcp(data, size);
	else if (rtcp_check(data, size, false) == 0)
		abort();
	run_source(data, size);
	return 0;
}
