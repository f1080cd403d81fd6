/* First byte: suite and what to do with the rest. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/srtp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct srtp_master make_master(uint8_t byte)
{
	struct srtp_master m = { .suite = (enum srtp_suite)(1 + (byte & 7) % (SRTP_N_SUITES - 1)) };

	m.n_mki = byte & 8 ? 4 : 0;
	m.mki[3] = 1;
	for (size_t i = 0; i < srtp_suite_bytes(m.suite); i++)
		m.key[i] = (uint8_t)i;
	return m;
}

/* What one side protects the other must take, once, and get the same bytes. */
static void round_trip(struct srtp_ctx *tx, struct srtp_ctx *rx, bool rtcp, const uint8_t *data,
		       size_t size)
{
	size_t cap = size + SRTP_TRAILER_BYTES, n = size;
	uint8_t *p = malloc(cap), *copy = malloc(cap);

	memcpy(p, data, size);
	if ((rtcp ? srtcp_protect(tx, p, &n, cap) : srtp_protect(tx, p, &n, cap)) == 0) {
		size_t again = n;

		memcpy(copy, p, n);
		if ((rtcp ? srtcp_verify(rx, p, n) : srtp_verify(rx, p, n)) != 0 ||
		    (rtcp ? srtcp_unprotect(rx, p, &n) : srtp_unprotect(rx, p, &n)) != 0 ||
		    n != size || memcmp(p, data, size) != 0)
			abort();
		if ((rtcp ? srtcp_unprotect(rx, copy, &again) : srtp_unprotect(rx, copy, &again)) ==
		    0)
			abort();
	}
	free(p);
	free(copy);
}

static void receive(struct srtp_ctx *rx, const uint8_t *data, size_t size)
{
	uint8_t *p = malloc(size ? size : 1);
	size_t n = size;

	memcpy(p, data, size);
	srtp_verify(rx, p, n);
	srtcp_verify(rx, p, n);
	srtp_unprotect(rx, p, &n);
	n = size;
	srtcp_unprotect(rx, p, &n);
	free(p);
}

static bool same_master(const struct srtp_master *a, const struct srtp_master *b)
{
	return a->suite == b->suite && a->n_mki == b->n_mki &&
	       memcmp(a->key, b->key, sizeof(a->key)) == 0 &&
	       memcmp(a->mki, b->mki, sizeof(a->mki)) == 0;
}

/* What was parsed prints to text that parses to the same. */
static void sdes(const uint8_t *data, size_t size)
{
	struct srtp_sdes a, b;
	const char *why;
	struct buf text;

	if (srtp_sdes_parse((struct slice){ (const char *)data, size }, &a, &why) < 0) {
		if (!why)
			abort();
		return;
	}
	buf_init(&text, 2000);
	srtp_sdes_print(&text, &a);
	if (text.failed || srtp_sdes_parse(buf_slice(&text), &b, &why) < 0 || a.tag != b.tag ||
	    a.lifetime != b.lifetime || !same_master(&a.master, &b.master))
		abort();
	buf_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct srtp_master m;
	struct srtp_ctx *tx, *rx;

	if (size < 1)
		return 0;
	if (data[0] >> 6 == 3) {
		sdes(data + 1, size - 1);
		return 0;
	}
	m = make_master(data[0]);
	tx = srtp_ctx_new(&m, 2);
	rx = srtp_ctx_new(&m, 2);
	receive(rx, data + 1, size - 1);
	round_trip(tx, rx, data[0] & 16, data + 1, size - 1);
	srtp_ctx_free(tx);
	srtp_ctx_free(rx);
	return 0;
}
