/* The latch: what proves a source, what does not, and how often it may move. */
#include "support/media_net.h"

struct keys {
	bool good; /* what the tag check says */
	unsigned n_checks;
	uint32_t roc, index;
};

static bool verify(void *arg, const struct latch_packet *pkt, uint32_t roc, uint32_t *index)
{
	struct keys *k = arg;

	k->n_checks++;
	k->roc = roc;
	*index = k->index;
	return k->good;
}

static const struct latch_ops ops = { .verify = verify };

static enum latch_verdict rtp(struct latch *l, struct keys *k, const struct addr *from,
			      uint32_t ssrc, uint16_t seq, int64_t now)
{
	struct latch_packet p = {
		.kind = LATCH_PACKET_RTP, .ssrc = ssrc, .seq = seq, .from = *from
	};

	return latch_input(l, &p, &ops, k, now);
}

static enum latch_verdict other(struct latch *l, enum latch_kind kind, const struct addr *from,
				struct keys *k, int64_t now)
{
	struct latch_packet p = { .kind = kind, .ssrc = 7, .from = *from };

	return latch_input(l, &p, &ops, k, now);
}

static struct addr a, b, signalled, near;

static int setup(void **state)
{
	a = ip("203.0.113.1", 1000);
	b = ip("203.0.113.2", 2000);
	signalled = ip("10.0.0.1", 4000);
	near = ip("203.0.113.1", 0);
	return 0;
}

static void start(struct latch *l, enum latch_rule rule)
{
	latch_init(l, false, NULL);
	latch_signal(l, rule, &signalled, &near);
}

static void a_tag_proves(void **state)
{
	struct keys k = { 0 };
	struct latch l;

	start(&l, LATCH_TAG);
	assert_int_equal(rtp(&l, &k, &a, 1, 10, 0), LATCH_DROP);
	assert_false(latch_proved(&l));
	k.good = true;
	assert_int_equal(rtp(&l, &k, &a, 1, 11, 0), LATCH_LATCHED);
	k.n_checks = 0;
	/* Not looked at any more, good or bad. */
	k.good = false;
	for (uint16_t i = 12; i < 40; i++)
		assert_int_equal(rtp(&l, &k, &a, 1, i, 20), LATCH_PASS);
	assert_int_equal(k.n_checks, 0);
	/* Even the signalled address needs a tag. */
	assert_int_equal(rtp(&l, &k, &signalled, 1, 100, 20), LATCH_DROP);
	assert_true(addr_eq(&l.remote, &a));
}

static void a_recorded_packet_proves_nothing(void **state)
{
	struct keys k = { .good = true };
	struct latch l;

	start(&l, LATCH_TAG);
	assert_int_equal(rtp(&l, &k, &a, 1, 65530, 0), LATCH_LATCHED);
	for (uint32_t i = 65531; i < 65536 + 10; i++)
		assert_int_equal(rtp(&l, &k, &a, 1, (uint16_t)i, 0), LATCH_PASS);
	k.n_checks = 0;
	for (uint32_t i = 65530; i < 65536 + 10; i++)
		assert_int_equal(rtp(&l, &k, &b, 1, (uint16_t)i, 0), LATCH_DROP);
	assert_int_equal(k.n_checks, 0);
	/* The next one does, under the right roll-over counter. */
	assert_int_equal(rtp(&l, &k, &b, 1, 10, 0), LATCH_MOVED);
	assert_int_equal(k.roc, 1);
}

static void moves_are_limited(void **state)
{
	struct keys k = { .good = true };
	struct latch l;
	uint16_t seq = 0;

	start(&l, LATCH_TAG);
	assert_int_equal(rtp(&l, &k, &a, 1, seq++, 0), LATCH_LATCHED);
	for (unsigned i = 0; i < LATCH_MAX_MOVES; i++)
		assert_int_equal(rtp(&l, &k, i % 2 ? &a : &b, 1, seq++, LATCH_MOVES_MS),
				 LATCH_MOVED);
	assert_int_equal(rtp(&l, &k, &b, 1, seq++, LATCH_MOVES_MS), LATCH_DROP);
	assert_int_equal(rtp(&l, &k, &b, 1, seq++, 2 * LATCH_MOVES_MS - 1), LATCH_DROP);
	assert_int_equal(rtp(&l, &k, &b, 1, seq++, 2 * LATCH_MOVES_MS), LATCH_MOVED);
}

static void checks_of_strangers_are_limited(void **state)
{
	struct keys k = { .good = false };
	struct latch l;

	start(&l, LATCH_TAG);
	for (unsigned i = 0; i < 5 * LATCH_MAX_CHECKS; i++)
		(void)rtp(&l, &k, &b, 1, (uint16_t)i, 5000);
	assert_int_equal(k.n_checks, LATCH_MAX_CHECKS);
	k.good = true;
	assert_int_equal(rtp(&l, &k, &a, 1, 1, 5000 + LATCH_CHECKS_MS), LATCH_LATCHED);
}

static void srtcp_index_counts_apart_from_rtp(void **state)
{
	struct keys k = { .good = true, .index = 5 };
	struct latch l, rtp_latch;

	start(&rtp_latch, LATCH_TAG);
	start(&l, LATCH_TAG);
	l.ally = &rtp_latch;
	assert_int_equal(rtp(&rtp_latch, &k, &a, 7, 60000, 0), LATCH_LATCHED); /* same SSRC */
	assert_int_equal(other(&l, LATCH_PACKET_RTCP, &a, &k, 0), LATCH_LATCHED);
	k.index = 6;
	/* RTCP never leads: the tag is good, and RTP is still at the old address. */
	assert_int_equal(other(&l, LATCH_PACKET_RTCP, &b, &k, 0), LATCH_DROP);
	assert_int_equal(rtp(&rtp_latch, &k, &b, 7, 60001, 0), LATCH_MOVED);
	assert_int_equal(other(&l, LATCH_PACKET_RTCP, &b, &k, 0), LATCH_MOVED);
	assert_int_equal(rtp(&rtp_latch, &k, &a, 7, 60002, 0), LATCH_MOVED);
	assert_int_equal(other(&l, LATCH_PACKET_RTCP, &a, &k, 0), LATCH_DROP); /* the same again */
}

/* Packets in the name of the latched source under made-up SSRCs do not push out what is known of
 * it. */
static void made_up_ssrcs_change_nothing(void **state)
{
	struct keys k = { .good = true };
	struct latch l;

	start(&l, LATCH_TAG);
	assert_int_equal(rtp(&l, &k, &a, 1, 100, 0), LATCH_LATCHED);
	k.good = false;
	for (uint32_t ssrc = 50; ssrc < 70; ssrc++)
		assert_int_equal(rtp(&l, &k, &a, ssrc, 1, 0), LATCH_PASS);
	k.good = true;
	assert_int_equal(rtp(&l, &k, &b, 1, 100, 0), LATCH_DROP); /* recorded */
	assert_int_equal(rtp(&l, &k, &b, 1, 101, 0), LATCH_MOVED);
}

static void a_new_key_starts_numbering_anew(void **state)
{
	struct keys k = { .good = true };
	struct latch l;

	start(&l, LATCH_TAG);
	assert_int_equal(rtp(&l, &k, &a, 1, 1000, 0), LATCH_LATCHED);
	assert_int_equal(rtp(&l, &k, &b, 1, 5, 0), LATCH_DROP);
	latch_new_key(&l);
	assert_int_equal(rtp(&l, &k, &b, 1, 5, 0), LATCH_MOVED);
}

static void the_signalled_address_proves_plain_rtp(void **state)
{
	struct keys k = { 0 };
	struct latch l;

	start(&l, LATCH_RUN);
	assert_int_equal(rtp(&l, &k, &signalled, 1, 1, 5000), LATCH_LATCHED);
	assert_int_equal(k.n_checks, 0);
}

static void a_run_in_order_proves_plain_rtp(void **state)
{
	struct keys k = { 0 };
	struct latch l;
	uint16_t seq = 65533;

	start(&l, LATCH_RUN);
	for (unsigned i = 1; i < LATCH_N_RUN; i++)
		assert_int_equal(rtp(&l, &k, &a, 1, seq++, 5000), LATCH_DROP);
	assert_int_equal(rtp(&l, &k, &a, 1, seq++, 5000), LATCH_LATCHED);
}

static void what_breaks_a_run(void **state)
{
	struct addr a2 = ip("203.0.113.1", 1001);
	struct keys k = { 0 };
	struct latch l;

	start(&l, LATCH_RUN);
	for (uint16_t i = 0; i < 100; i++) { /* wrong address */
		assert_int_equal(rtp(&l, &k, &b, 1, i, 5000), LATCH_DROP);
	}
	for (uint16_t i = 0; i < 100; i++) /* gaps */
		assert_int_equal(rtp(&l, &k, &a, 1, (uint16_t)(i * 2), 5000), LATCH_DROP);
	for (uint16_t i = 0; i < 100; i++) /* two SSRCs */
		assert_int_equal(rtp(&l, &k, &a, i % 2, i, 5000), LATCH_DROP);
	for (uint16_t i = 0; i < 100; i++) /* two ports */
		assert_int_equal(rtp(&l, &k, i % 2 ? &a : &a2, 1, i, 5000), LATCH_DROP);
	assert_int_equal(other(&l, LATCH_PACKET_OTHER, &a, &k, 5000), LATCH_DROP);
}

static void a_live_plain_source_is_not_displaced(void **state)
{
	struct addr a2 = ip("203.0.113.1", 1001); /* behind the same NAT */
	struct keys k = { 0 };
	struct latch l;

	start(&l, LATCH_RUN);
	assert_int_equal(rtp(&l, &k, &signalled, 1, 1, 5000), LATCH_LATCHED);
	for (uint16_t i = 0; i < 50; i++) {
		assert_int_equal(rtp(&l, &k, &signalled, 1, i, 5000 + i * 20), LATCH_PASS);
		assert_int_equal(rtp(&l, &k, &a2, 2, i, 5000 + i * 20), LATCH_DROP);
	}
	for (uint16_t i = 1; i < LATCH_N_RUN; i++)
		assert_int_equal(rtp(&l, &k, &a2, 2, (uint16_t)(100 + i), 9000), LATCH_DROP);
	assert_int_equal(rtp(&l, &k, &a2, 2, 100 + LATCH_N_RUN, 9000), LATCH_MOVED);
}

static void plain_rtcp_follows_rtp(void **state)
{
	struct addr a_rtcp = ip("203.0.113.1", 1001);
	struct keys k = { 0 };
	struct latch l, rtcp;

	start(&l, LATCH_RUN);
	latch_init(&rtcp, false, &l);
	latch_signal(&rtcp, LATCH_RUN, &signalled, &near);
	assert_int_equal(other(&rtcp, LATCH_PACKET_RTCP, &a_rtcp, &k, 5000), LATCH_DROP);
	for (uint16_t i = 0; i < LATCH_N_RUN; i++)
		(void)rtp(&l, &k, &a, 1, i, 5000);
	assert_true(latch_proved(&l));
	assert_int_equal(other(&rtcp, LATCH_PACKET_RTCP, &b, &k, 5000), LATCH_DROP);
	assert_int_equal(other(&rtcp, LATCH_PACKET_RTCP, &a_rtcp, &k, 5000), LATCH_LATCHED);
}

static void opaque_takes_the_signalled_address_only(void **state)
{
	struct addr next = ip("10.0.0.1", 4002);
	struct keys k = { 0 };
	struct latch l;

	start(&l, LATCH_SIGNALLED);
	assert_int_equal(other(&l, LATCH_PACKET_OTHER, &a, &k, 5000), LATCH_DROP);
	assert_int_equal(other(&l, LATCH_PACKET_OTHER, &signalled, &k, 5000), LATCH_LATCHED);
	latch_signal(&l, LATCH_SIGNALLED, &next, &near);
	assert_false(latch_proved(&l));
	assert_int_equal(other(&l, LATCH_PACKET_OTHER, &signalled, &k, 5000), LATCH_DROP);
}

static void a_trusted_latch_starts_at_the_signalled_address(void **state)
{
	struct addr next = ip("10.0.0.1", 4002);
	struct latch l;

	latch_init(&l, true, NULL);
	latch_signal(&l, LATCH_RUN, &signalled, &signalled);
	assert_true(addr_eq(&l.remote, &signalled));
	latch_signal(&l, LATCH_RUN, &next, &next);
	assert_true(addr_eq(&l.remote, &next));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tag_proves),
		cmocka_unit_test(a_recorded_packet_proves_nothing),
		cmocka_unit_test(moves_are_limited),
		cmocka_unit_test(checks_of_strangers_are_limited),
		cmocka_unit_test(srtcp_index_counts_apart_from_rtp),
		cmocka_unit_test(made_up_ssrcs_change_nothing),
		cmocka_unit_test(a_new_key_starts_numbering_anew),
		cmocka_unit_test(the_signalled_address_proves_plain_rtp),
		cmocka_unit_test(a_run_in_order_proves_plain_rtp),
		cmocka_unit_test(what_breaks_a_run),
		cmocka_unit_test(a_live_plain_source_is_not_displaced),
		cmocka_unit_test(plain_rtcp_follows_rtp),
		cmocka_unit_test(opaque_takes_the_signalled_address_only),
		cmocka_unit_test(a_trusted_latch_starts_at_the_signalled_address),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
