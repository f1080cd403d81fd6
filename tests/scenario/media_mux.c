/* The shared ports: who belongs to whom, who is answered, when an address is given up. */
#include "support/media_net.h"

#include <errno.h>

struct box {
	struct mux mux;
	struct mux_end ends[8];
	struct {
		uint32_t socket;
		struct addr to;
		size_t n;
	} sent[16];
	unsigned n_sent;
	struct mux_end *last;
	unsigned last_component, n_input;
	uint32_t n_checks; /* each has a transaction id of its own ... */
	bool repeat_check; /* ... but for one that was recorded */
};

static void box_send(void *arg, uint32_t socket, const struct addr *to, const void *p, size_t n)
{
	struct box *b = arg;

	assert_true(b->n_sent < 16);
	b->sent[b->n_sent].socket = socket;
	b->sent[b->n_sent].to = *to;
	b->sent[b->n_sent++].n = n;
}

static void box_input(void *arg, struct mux_end *end, unsigned component, struct mux_packet *pkt)
{
	struct box *b = arg;

	b->last = end;
	b->last_component = component;
	b->n_input++;
}

static const struct mux_ops ops = { .send = box_send, .input = box_input };

static void end_set(struct mux_end *e, unsigned i, uint32_t pair)
{
	uint8_t random[ICE_CREDS_RANDOM];

	memset(random, (int)(i * 7 + 1), sizeof(random));
	ice_creds_make(&e->local, random);
	strcpy(e->remote_ufrag, "them");
	e->pair = pair;
}

static void box_init(struct box *b, uint32_t max)
{
	static const uint8_t seed[16] = "seed of a test";

	memset(b, 0, sizeof(*b));
	assert_int_equal(mux_init(&b->mux, seed, max, &ops, b), 0);
	for (unsigned i = 0; i < 8; i++)
		end_set(&b->ends[i], i, i / 4);
}

static void packet(struct box *b, uint32_t socket, const struct addr *from, const void *p, size_t n,
		   int64_t now)
{
	uint8_t room[RELAY_BUFFER_BYTES];
	struct mux_packet pkt = { .p = room,
				  .n = n,
				  .cap = sizeof(room),
				  .from = *from,
				  .now_ms = now,
				  .now_us = now * 1000 };

	memcpy(room, p, n);
	mux_input(&b->mux, socket, &pkt);
}

static void check(struct box *b, uint32_t socket, const struct addr *from,
		  const struct mux_end *end, const char *pwd, int64_t now)
{
	uint8_t tid[STUN_TID_BYTES] = "0123456789a";
	char username[2 * ICE_UFRAG_BYTES];
	struct stun_build build;
	uint8_t p[512];

	memcpy(tid, &b->n_checks, sizeof(b->n_checks));
	if (!b->repeat_check)
		b->n_checks++;
	snprintf(username, sizeof(username), "%s:them", end->local.ufrag);
	stun_build_start(&build, p, sizeof(p), STUN_CLASS_REQUEST, STUN_METHOD_BINDING, tid);
	stun_build_username(&build, slice_of(username));
	stun_build_priority(&build, 1);
	stun_build_ice_role(&build, true, 1);
	stun_build_use_candidate(&build);
	stun_build_integrity(&build, slice_of(pwd ? pwd : end->local.pwd));
	stun_build_fingerprint(&build);
	packet(b, socket, from, p, stun_build_end(&build), now);
}

static void media(struct box *b, uint32_t socket, const struct addr *from, int64_t now)
{
	uint8_t p[64];

	packet(b, socket, from, p, rtp_make(p, 1, 1, 20), now);
}

static void streams_are_told_apart(void **state)
{
	struct addr c[4];
	struct box b;

	box_init(&b, 8);
	for (unsigned i = 0; i < 4; i++) {
		c[i] = ip("192.0.2.2", (uint16_t)(50000 + i));
		assert_int_equal(mux_add(&b.mux, &b.ends[i]), 0);
	}
	media(&b, 0, &c[0], 1000);
	assert_int_equal(b.n_input, 0);
	assert_int_equal(b.mux.n_unknown, 1);
	check(&b, 0, &c[0], &b.ends[0], NULL, 1000);
	check(&b, 1, &c[1], &b.ends[0], NULL, 1000); /* its RTCP */
	check(&b, 0, &c[2], &b.ends[1], NULL, 1000);
	assert_int_equal(b.n_sent, 3);
	assert_true(addr_eq(&b.sent[2].to, &c[2]));
	media(&b, 0, &c[2], 1000);
	assert_ptr_equal(b.last, &b.ends[1]);
	media(&b, 1, &c[1], 1000);
	assert_ptr_equal(b.last, &b.ends[0]);
	assert_int_equal(b.last_component, 1);
	/* The address alone is not enough: the port it comes to counts, too. */
	b.n_input = 0;
	media(&b, 1, &c[0], 1000);
	assert_int_equal(b.n_input, 0);
	assert_true(addr_eq(mux_remote(&b.ends[0], 1, 1000), &c[1]));
	assert_null(mux_remote(&b.ends[1], 1, 1000));
	mux_del(&b.mux, &b.ends[0]);
	media(&b, 0, &c[0], 1000);
	assert_int_equal(b.n_input, 0);
	for (unsigned i = 1; i < 4; i++)
		mux_del(&b.mux, &b.ends[i]);
	mux_fini(&b.mux);
}

static void nothing_is_sent_but_answers_to_valid_checks(void **state)
{
	struct addr c = ip("192.0.2.2", 50000);
	uint8_t junk[64];
	struct box b;

	box_init(&b, 8);
	assert_int_equal(mux_add(&b.mux, &b.ends[0]), 0);
	check(&b, 0, &c, &b.ends[0], "0123456789012345678901", 0); /* wrong password */
	check(&b, 0, &c, &b.ends[1], NULL, 0);			   /* no such end */
	check(&b, 2, &c, &b.ends[0], NULL, 0);			   /* another pair */
	memset(junk, 0, sizeof(junk));
	memcpy(junk, "\x00\x01\x00\x2c\x21\x12\xa4\x42", 8);
	packet(&b, 0, &c, junk, sizeof(junk), 0); /* STUN by its head only */
	for (size_t n = 0; n < sizeof(junk); n++)
		packet(&b, 0, &c, junk, n, 0);
	strcpy(b.ends[0].remote_ufrag, "else"); /* the peer is known by another name */
	check(&b, 0, &c, &b.ends[0], NULL, 0);
	assert_int_equal(b.n_sent, 0);
	assert_int_equal(b.n_input, 0);
	assert_true(b.mux.n_bad_check >= 5);
	assert_null(mux_remote(&b.ends[0], 0, 0));
	mux_del(&b.mux, &b.ends[0]);
	mux_fini(&b.mux);
}

/* A valid check that somebody recorded and sends from elsewhere takes no stream away, nor does a
 * new one while the source that is there still talks. */
static void a_recorded_check_moves_nothing(void **state)
{
	struct addr core = ip("192.0.2.2", 50000), thief = ip("198.51.100.9", 7000);
	struct box b;

	box_init(&b, 8);
	assert_int_equal(mux_add(&b.mux, &b.ends[0]), 0);
	b.repeat_check = true;
	check(&b, 0, &core, &b.ends[0], NULL, 0);
	check(&b, 0, &core, &b.ends[0], NULL, 100); /* a retransmission */
	assert_int_equal(b.n_sent, 2);
	check(&b, 0, &thief, &b.ends[0], NULL, 20000); /* long after all was quiet */
	assert_int_equal(b.n_sent, 2);
	assert_true(addr_eq(mux_remote(&b.ends[0], 0, 20000), &core));
	b.repeat_check = false;
	b.n_checks++;
	/* A check never seen, from another host while consent is fresh; and after it is lost. */
	check(&b, 0, &core, &b.ends[0], NULL, 25000);
	check(&b, 0, &thief, &b.ends[0], NULL, 25000 + MUX_CONSENT_MS - 1);
	assert_true(addr_eq(mux_remote(&b.ends[0], 0, 26000), &core));
	check(&b, 0, &thief, &b.ends[0], NULL, 25000 + MUX_CONSENT_MS);
	assert_true(addr_eq(mux_remote(&b.ends[0], 0, 25000 + MUX_CONSENT_MS), &thief));
	mux_del(&b.mux, &b.ends[0]);
	mux_fini(&b.mux);
}

static void a_check_moves_the_stream(void **state)
{
	struct addr old = ip("192.0.2.2", 50000), new = ip("192.0.2.2", 61000);
	struct box b;

	box_init(&b, 8);
	assert_int_equal(mux_add(&b.mux, &b.ends[0]), 0);
	assert_int_equal(mux_add(&b.mux, &b.ends[1]), 0);
	check(&b, 0, &old, &b.ends[0], NULL, 0);
	check(&b, 0, &new, &b.ends[0], NULL, 15000); /* the NAT changed its mind */
	assert_true(addr_eq(mux_remote(&b.ends[0], 0, 15000), &new));
	media(&b, 0, &old, 15000);
	assert_int_equal(b.n_input, 0);
	media(&b, 0, &new, 15000);
	assert_int_equal(b.n_input, 1);
	assert_int_equal(b.mux.n_moved, 1);
	/* And gave the port to another stream: the newest proof wins. */
	check(&b, 0, &new, &b.ends[1], NULL, 16000);
	media(&b, 0, &new, 16000);
	assert_ptr_equal(b.last, &b.ends[1]);
	assert_null(mux_remote(&b.ends[0], 0, 16000));
	mux_del(&b.mux, &b.ends[0]);
	mux_del(&b.mux, &b.ends[1]);
	mux_fini(&b.mux);
}

static void consent_runs_out(void **state)
{
	struct addr c = ip("192.0.2.2", 50000);
	struct box b;

	box_init(&b, 8);
	assert_int_equal(mux_add(&b.mux, &b.ends[0]), 0);
	check(&b, 0, &c, &b.ends[0], NULL, 1000);
	assert_non_null(mux_remote(&b.ends[0], 0, 1000 + MUX_CONSENT_MS - 1));
	assert_null(mux_remote(&b.ends[0], 0, 1000 + MUX_CONSENT_MS));
	check(&b, 0, &c, &b.ends[0], NULL, 40000);
	assert_non_null(mux_remote(&b.ends[0], 0, 40000));
	mux_del(&b.mux, &b.ends[0]);
	mux_fini(&b.mux);
}

static void the_table_is_bounded(void **state)
{
	struct mux_end twin;
	struct box b;

	box_init(&b, 2);
	assert_int_equal(mux_add(&b.mux, &b.ends[0]), 0);
	memset(&twin, 0, sizeof(twin));
	twin.local = b.ends[0].local;
	assert_int_equal(mux_add(&b.mux, &twin), -EEXIST);
	assert_int_equal(mux_add(&b.mux, &b.ends[1]), 0);
	assert_int_equal(mux_add(&b.mux, &b.ends[2]), -ENOSPC);
	mux_del(&b.mux, &b.ends[0]);
	mux_del(&b.mux, &b.ends[0]); /* twice: once */
	assert_int_equal(mux_add(&b.mux, &b.ends[2]), 0);
	/* Packets of a thousand strangers take no memory. */
	for (uint16_t i = 1; i < 1000; i++) {
		struct addr from = ip("203.0.113.9", i);

		media(&b, 0, &from, 0);
	}
	assert_int_equal(b.mux.n_unknown, 999);
	assert_int_equal(b.mux.by_source.n, 0);
	mux_del(&b.mux, &b.ends[1]);
	mux_del(&b.mux, &b.ends[2]);
	mux_fini(&b.mux);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(streams_are_told_apart),
		cmocka_unit_test(nothing_is_sent_but_answers_to_valid_checks),
		cmocka_unit_test(a_recorded_check_moves_nothing),
		cmocka_unit_test(a_check_moves_the_stream),
		cmocka_unit_test(consent_runs_out),
		cmocka_unit_test(the_table_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
