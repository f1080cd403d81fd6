/*
 * SDP against sessions of every kind. The first two bytes choose legs and modes; the rest is an
 * offer and, behind a NUL, an answer. Whatever comes, an accepted SDP must turn into one that
 * parses, and nothing may stay open behind a freed session.
 */
#include <stdlib.h>
#include <string.h>

#include "media/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int io_open(void *arg, struct media_end *end)
{
	return 0;
}

static void io_close(void *arg, struct media_end *end)
{
}

static int io_open_mux(void *arg, const struct addr *local, uint16_t rtp_port, uint32_t *pair)
{
	*pair = 0;
	return 0;
}

static void io_mux_send(void *arg, uint32_t socket, const struct addr *to, const void *p, size_t n)
{
}

static void io_send(void *arg, struct media_end *end, unsigned component, const struct addr *to,
		    const void *p, size_t n)
{
}

static void io_random(void *arg, void *p, size_t n)
{
	static uint32_t state = 1;
	uint8_t *b = p;

	while (n-- > 0) {
		state = state * 1664525u + 1013904223u;
		*b++ = (uint8_t)(state >> 24);
	}
}

static bool io_own_ip(void *arg, const struct addr *a)
{
	return a->ip[0] == 198;
}

static bool io_is_listener(void *arg, const struct addr *a)
{
	return a->port == 5060;
}

static const struct media_io io = {
	.open = io_open,
	.close = io_close,
	.open_mux = io_open_mux,
	.mux_send = io_mux_send,
	.relay = { .send = io_send },
	.random = io_random,
	.own_ip = io_own_ip,
	.is_listener = io_is_listener,
};

static void must_parse(const struct buf *out)
{
	struct sdp sdp;

	/* Ours can be longer than what may come in, by the lines added. */
	if (out->n > SDP_MAX_BYTES)
		return;
	if (sdp_parse(&sdp, buf_slice(out), NULL) < 0)
		abort();
	sdp_fini(&sdp);
}

static void exchange(struct media_session *s, struct slice offer, struct slice answer)
{
	char why[DESC_WHY_BYTES];
	struct media_refusal r = { 0, why };
	struct buf out, back;

	buf_init(&out, 4 * SDP_MAX_BYTES);
	buf_init(&back, 4 * SDP_MAX_BYTES);
	if (media_session_offer(s, 0, offer, &out, &r) == 0) {
		must_parse(&out);
		if (media_session_answer(s, 1, answer, &back, &r) == 0)
			must_parse(&back);
		else
			media_session_rollback(s);
	}
	buf_fini(&out);
	buf_fini(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct media_settings settings = { .ports = { 40000, 40999 },
					   .mux_ports = { 36000, 36001 },
					   .max_sessions = 4 };
	struct media_leg_params legs[2];
	struct media_engine e;
	struct timerq timers;
	struct slice offer, answer;
	uint64_t id;

	if (size < 2)
		return 0;
	timerq_init(&timers, 1000000);
	if (media_engine_init(&e, &settings, &io, NULL, &timers, NULL) < 0)
		return 0;
	memset(legs, 0, sizeof(legs));
	for (unsigned i = 0; i < 2; i++) {
		legs[i].kind = (enum media_leg_kind)(data[i] & 3);
		legs[i].crypto = (enum media_crypto)((data[i] >> 2) % 5);
		(void)addr_parse_ip(SLICE("198.51.100.1"), 0, &legs[i].local);
		(void)addr_parse_ip(SLICE("192.0.2.9"), 0, &legs[i].signalling_peer);
	}
	answer = (struct slice){ (const char *)data + 2, size - 2 };
	offer = slice_next(&answer, '\0');
	id = media_session_new(&e, 0, "fuzz", legs);
	exchange(media_session_get(&e, id), offer, answer);
	exchange(media_session_get(&e, id), offer, answer);
	timerq_run(&timers, 1000000 + 1000);
	media_session_free(media_session_get(&e, id), "done");
	if (e.ports.n_taken != 0 || e.mux.by_ufrag.n != 0)
		abort();
	media_engine_fini(&e);
	timerq_fini(&timers);
	return 0;
}
