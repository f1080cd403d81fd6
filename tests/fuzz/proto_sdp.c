/* Parses, reads everything, prints; what was printed must parse and print to the same bytes. */
#include <stdlib.h>
#include <string.h>

#include "proto/sdp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(const struct sdp *sdp)
{
	struct sdp_candidate cand;
	struct sdp_crypto crypto;
	struct sdp_origin origin;
	struct sdp_media media;
	struct slice value;
	struct addr a;
	uint16_t port;

	if (!sdp_origin(sdp, &origin))
		abort();
	for (size_t m = 0; m < sdp->n_media; m++) {
		const struct sdp_section *s = &sdp->media[m];

		if (!sdp_media(sdp, m, &media))
			abort();
		(void)sdp_connection(sdp, m, &a);
		(void)sdp_rtcp(sdp, m, &port, &a);
		(void)sdp_direction(sdp, m);
		(void)sdp_ptime(sdp, m);
		if (sdp_clock_rate(sdp, m) == 0)
			abort();
		for (size_t i = sdp_attr_find(s, "candidate", 0, &value); i < s->n;
		     i = sdp_attr_find(s, "candidate", i + 1, &value))
			(void)sdp_candidate_parse(value, &cand);
		for (size_t i = sdp_attr_find(s, "crypto", 0, &value); i < s->n;
		     i = sdp_attr_find(s, "crypto", i + 1, &value))
			(void)sdp_crypto_parse(value, &crypto);
	}
}

static void change(struct sdp *sdp)
{
	(void)sdp_set(sdp, &sdp->session, 'c', "IN IP4 192.0.2.1");
	for (size_t m = 0; m < sdp->n_media; m++) {
		sdp_attr_del(&sdp->media[m], "crypto");
		sdp_del(&sdp->media[m], 'c');
		(void)sdp_attr_add(sdp, &sdp->media[m], "rtcp-mux");
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = { (const char *)data, size };
	struct buf first, second;
	struct sdp sdp, again;

	if (sdp_parse(&sdp, text, NULL) < 0)
		return 0;
	read_all(&sdp);
	buf_init(&first, 2 * SDP_MAX_BYTES);
	buf_init(&second, 2 * SDP_MAX_BYTES);
	sdp_print(&sdp, &first);
	if (first.n <= SDP_MAX_BYTES) {
		if (sdp_parse(&again, buf_slice(&first), NULL) < 0)
			abort();
		sdp_print(&again, &second);
		if (first.n != second.n || memcmp(first.p, second.p, first.n) != 0)
			abort();
		sdp_fini(&again);
	}
	change(&sdp);
	buf_fini(&first);
	buf_fini(&second);
	sdp_fini(&sdp);
	return 0;
}
