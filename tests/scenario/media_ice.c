/* The checking side (C) and the lite answering side (E), against each other and against trouble. */
#include "support/media_net.h"

struct side {
	struct timerq timers;
	struct ice_check ice;
	struct ice_creds remote;
	struct addr peers[ICE_N_COMPONENTS];
	uint32_t seed;
	struct {
		unsigned component;
		struct addr to;
		uint8_t p[512];
		size_t n;
		int64_t at;
	} sent[64];
	unsigned n_sent;
	unsigned n_ready, n_lost;
};

static void side_send(void *arg, unsigned component, const struct addr *to, const void *p, size_t n)
{
	struct side *s = arg;

	assert_true(s->n_sent < 64 && n <= 512);
	s->sent[s->n_sent].component = component;
	s->sent[s->n_sent].to = *to;
	s->sent[s->n_sent].n = n;
	s->sent[s->n_sent].at = s->timers.now_ms;
	memcpy(s->sent[s->n_sent++].p, p, n);
}

static void side_changed(void *arg, unsigned component, enum ice_state state)
{
	struct side *s = arg;

	if (state == ICE_READY)
		s->n_ready++;
	else if (state == ICE_CHECKING)
		s->n_lost++;
}

static void side_random(void *arg, void *p, size_t n)
{
	struct side *s = arg;
	uint8_t *b = p;

	while (n-- > 0) {
		s->seed = s->seed * 1664525u + 1013904223u;
		*b++ = (uint8_t)(s->seed >> 24);
	}
}

static const struct ice_check_ops ops = { side_send, side_changed, side_random };

static void creds(struct ice_creds *c, uint8_t fill)
{
	uint8_t random[ICE_CREDS_RANDOM];

	memset(random, fill, sizeof(random));
	ice_creds_make(c, random);
}

static void side_init(struct side *s)
{
	memset(s, 0, sizeof(*s));
	timerq_init(&s->timers, 1000);
	ice_check_init(&s->ice, &s->timers, &ops, s);
	creds(&s->ice.local, 0x5a);
	creds(&s->remote, 0xc3);
	s->peers[0] = ip("192.0.2.1", 36000);
	s->peers[1] = ip("192.0.2.1", 36001);
}

static void pass(struct side *s, int64_t ms)
{
	timerq_run(&s->timers, s->timers.now_ms);
	for (int64_t end = s->timers.now_ms + ms; s->timers.now_ms < end;)
		timerq_run(&s->timers, s->timers.now_ms + 10);
}

static const struct addr *me(void)
{
	static struct addr a;

	a = ip("198.51.100.9", 5000);
	return &a;
}

/* What a lite agent answers to sent packet i. */
static enum ice_verdict lite(struct side *s, unsigned i, uint8_t out[ICE_REPLY_BYTES], size_t *n)
{
	struct ice_request r = { .local = &s->remote,
				 .remote_ufrag = slice_of(s->ice.local.ufrag),
				 .from = *me() };
	struct stun_msg m;
	bool nominated;
	enum ice_verdict v;

	assert_int_equal(stun_decode(s->sent[i].p, s->sent[i].n, &m), 0);
	v = ice_request_answer(&r, &m, out, n, &nominated);
	assert_true(v != ICE_PROVED || nominated);
	return v;
}

static void answer(struct side *s, unsigned i)
{
	uint8_t out[ICE_REPLY_BYTES];
	size_t n;

	assert_int_equal(lite(s, i, out, &n), ICE_PROVED);
	ice_check_input(&s->ice, s->sent[i].component, out, n, &s->sent[i].to);
}

static void checks_carry_what_they_must(void **state)
{
	struct stun_attr a;
	struct stun_msg m;
	struct side s;

	side_init(&s);
	ice_check_start(&s.ice, &s.remote, s.peers, 0);
	pass(&s, 100);
	assert_int_equal(s.n_sent, 2);
	assert_int_equal(s.sent[1].at - s.sent[0].at, ICE_TA_MS);
	assert_true(addr_eq(&s.sent[1].to, &s.peers[1]));
	assert_int_equal(stun_decode(s.sent[0].p, s.sent[0].n, &m), 0);
	assert_true(stun_attr_find(&m, STUN_ATTR_USERNAME, &a));
	assert_true(stun_attr_find(&m, STUN_ATTR_PRIORITY, &a));
	assert_true(stun_attr_find(&m, STUN_ATTR_ICE_CONTROLLING, &a));
	assert_true(stun_attr_find(&m, STUN_ATTR_USE_CANDIDATE, &a));
	assert_true(m.fingerprint_at != 0);
	assert_int_equal(stun_integrity_check(&m, slice_of(s.remote.pwd)), 0);
	ice_check_stop(&s.ice);
	timerq_fini(&s.timers);
}

static void an_answer_opens_the_way(void **state)
{
	struct side s;

	side_init(&s);
	ice_check_start(&s.ice, &s.remote, s.peers, 0);
	pass(&s, 100);
	assert_null(ice_check_remote(&s.ice, 0));
	answer(&s, 0);
	assert_true(addr_eq(ice_check_remote(&s.ice, 0), &s.peers[0]));
	assert_null(ice_check_remote(&s.ice, 1));
	answer(&s, 0); /* again: fits nothing */
	assert_int_equal(s.ice.n_bad, 1);
	/* The same description again disturbs nothing; another one starts over. */
	ice_check_start(&s.ice, &s.remote, s.peers, 0);
	assert_non_null(ice_check_remote(&s.ice, 0));
	s.remote.ufrag[0]++;
	ice_check_start(&s.ice, &s.remote, s.peers, 0);
	assert_null(ice_check_remote(&s.ice, 0));
	ice_check_stop(&s.ice);
	timerq_fini(&s.timers);
}

static void lost_checks_are_sent_again(void **state)
{
	struct side s;
	struct addr one[ICE_N_COMPONENTS] = { { .port = 0 }, { .port = 0 } };

	side_init(&s);
	one[0] = s.peers[0];
	ice_check_start(&s.ice, &s.remote, one, 0);
	pass(&s, 8000);
	assert_int_equal(s.sent[1].at - s.sent[0].at, 500);
	assert_int_equal(s.sent[2].at - s.sent[1].at, 1000);
	assert_int_equal(s.sent[3].at - s.sent[2].at, 2000);
	assert_memory_equal(s.sent[3].p, s.sent[0].p, s.sent[0].n); /* one transaction */
	answer(&s, 0);						    /* late, but in time */
	assert_int_equal(s.n_ready, 1);
	ice_check_stop(&s.ice);
	timerq_fini(&s.timers);
}

static void checks_never_give_up(void **state)
{
	struct side s;
	struct addr one[ICE_N_COMPONENTS] = { { .port = 0 }, { .port = 0 } };

	side_init(&s);
	one[0] = s.peers[0];
	ice_check_start(&s.ice, &s.remote, one, 0);
	pass(&s, 60000);
	assert_true(s.n_sent > 14 && s.n_sent <= 24); /* every 4 s in the end */
	answer(&s, s.n_sent - 1);
	assert_int_equal(s.n_ready, 1);
	ice_check_stop(&s.ice);
	timerq_fini(&s.timers);
}

static void consent_is_asked_and_runs_out(void **state)
{
	struct side s;
	struct addr one[ICE_N_COMPONENTS] = { { .port = 0 }, { .port = 0 } };
	unsigned before;

	side_init(&s);
	one[0] = s.peers[0];
	ice_check_start(&s.ice, &s.remote, one, 0);
	pass(&s, 20);
	answer(&s, 0);
	for (unsigned i = 0; i < 10; i++) { /* answered: 12 to 18 s apart */
		before = s.n_sent;
		while (s.n_sent == before)
			pass(&s, 10);
		assert_in_range(s.sent[before].at - s.sent[before - 1].at, 11990, 18020);
		assert_memory_not_equal(s.sent[before].p + 8, s.sent[before - 1].p + 8, 12);
		answer(&s, before);
	}
	before = s.n_sent;
	pass(&s, ICE_CONSENT_EXPIRY_MS - 20);
	assert_non_null(ice_check_remote(&s.ice, 0));
	assert_true(s.n_sent - before >= 3); /* three may be lost */
	pass(&s, 40);
	assert_null(ice_check_remote(&s.ice, 0)); /* nothing is sent any more but checks */
	before = s.n_sent;
	pass(&s, 600);
	assert_true(s.n_sent > before);
	answer(&s, s.n_sent - 1);
	assert_non_null(ice_check_remote(&s.ice, 0));
	ice_check_stop(&s.ice);
	timerq_fini(&s.timers);
}

static void false_answers_do_not_count(void **state)
{
	struct addr elsewhere = ip("192.0.2.66", 36000);
	uint8_t out[ICE_REPLY_BYTES];
	struct side s;
	size_t n;

	side_init(&s);
	ice_check_start(&s.ice, &s.remote, s.peers, 0);
	pass(&s, 20);
	assert_int_equal(lite(&s, 0, out, &n), ICE_PROVED);
	ice_check_input(&s.ice, 0, out, n, &elsewhere); /* from elsewhere */
	out[n - 9] ^= 1;				/* in the integrity */
	ice_check_input(&s.ice, 0, out, n, &s.peers[0]);
	out[n - 9] ^= 1;
	out[10] ^= 1; /* transaction */
	ice_check_input(&s.ice, 0, out, n, &s.peers[0]);
	out[10] ^= 1;
	assert_int_equal(s.n_ready, 0);
	assert_int_equal(s.ice.n_bad, 3);
	ice_check_input(&s.ice, 0, out, n, &s.peers[0]);
	assert_int_equal(s.n_ready, 1);
	ice_check_stop(&s.ice);
	timerq_fini(&s.timers);
}

/* RFC 8445 section 7.2.5.1: 487 makes us change role, in a new transaction. */
static void role_conflict_changes_the_role(void **state)
{
	struct stun_build b;
	struct stun_attr a;
	struct stun_msg m;
	uint8_t out[256];
	struct side s;

	side_init(&s);
	ice_check_start(&s.ice, &s.remote, s.peers, 0);
	pass(&s, 20);
	assert_int_equal(stun_decode(s.sent[0].p, s.sent[0].n, &m), 0);
	stun_build_start(&b, out, sizeof(out), STUN_CLASS_ERROR, STUN_METHOD_BINDING, m.tid);
	stun_build_error(&b, STUN_CODE_ROLE_CONFLICT, NULL);
	stun_build_integrity(&b, slice_of(s.remote.pwd));
	stun_build_fingerprint(&b);
	ice_check_input(&s.ice, 0, out, stun_build_end(&b), &s.peers[0]);
	pass(&s, 600);
	assert_int_equal(stun_decode(s.sent[s.n_sent - 1].p, s.sent[s.n_sent - 1].n, &m), 0);
	assert_true(stun_attr_find(&m, STUN_ATTR_ICE_CONTROLLED, &a));
	assert_false(stun_attr_find(&m, STUN_ATTR_USE_CANDIDATE, &a));
	ice_check_stop(&s.ice);
	timerq_fini(&s.timers);
}

struct request {
	struct slice username;
	struct slice pwd;
	bool controlled, odd_attr, no_fingerprint;
};

static enum ice_verdict ask(const struct request *q, unsigned *code)
{
	static const uint8_t tid[STUN_TID_BYTES] = "abcdefghijk";
	struct ice_creds local;
	struct ice_request r = { .local = &local, .remote_ufrag = SLICE("them"), .from = *me() };
	uint8_t in[512], out[ICE_REPLY_BYTES];
	enum ice_verdict v;
	struct stun_build b;
	struct stun_attr a;
	struct stun_msg m;
	struct slice reason;
	bool nominated;
	size_t n;

	memset(&local, 0, sizeof(local));
	strcpy(local.ufrag, "usus");
	strcpy(local.pwd, "0123456789012345678901");
	stun_build_start(&b, in, sizeof(in), STUN_CLASS_REQUEST, STUN_METHOD_BINDING, tid);
	stun_build_username(&b, q->username);
	stun_build_priority(&b, 1);
	stun_build_ice_role(&b, !q->controlled, 5);
	if (q->odd_attr)
		stun_build_u32(&b, 0x0777, 1);
	stun_build_integrity(&b, q->pwd);
	if (!q->no_fingerprint)
		stun_build_fingerprint(&b);
	n = stun_build_end(&b);
	assert_true(n > 0);
	assert_int_equal(stun_decode(in, n, &m), 0);
	v = ice_request_answer(&r, &m, out, &n, &nominated);
	*code = 0;
	assert_true((v == ICE_DROP) == (n == 0));
	if (n > 0) {
		assert_int_equal(stun_decode(out, n, &m), 0);
		assert_int_equal(stun_integrity_check(&m, slice_of(local.pwd)), 0);
		if (stun_attr_find(&m, STUN_ATTR_ERROR_CODE, &a))
			assert_true(stun_attr_error(&a, code, &reason));
	}
	return v;
}

static void the_lite_side_answers_the_right_ones_only(void **state)
{
	const struct slice pwd = SLICE("0123456789012345678901");
	struct request q = { .username = SLICE("usus:them"), .pwd = pwd };
	unsigned code;

	assert_int_equal(ask(&q, &code), ICE_PROVED);
	q.controlled = true;
	assert_int_equal(ask(&q, &code), ICE_REFUSED);
	assert_int_equal(code, STUN_CODE_ROLE_CONFLICT);
	q.controlled = false;
	q.odd_attr = true;
	assert_int_equal(ask(&q, &code), ICE_REFUSED);
	assert_int_equal(code, STUN_CODE_UNKNOWN_ATTRIBUTE);
	q.odd_attr = false;
	q.no_fingerprint = true;
	assert_int_equal(ask(&q, &code), ICE_DROP);
	q.no_fingerprint = false;
	q.pwd = SLICE("9999999999999999999999");
	assert_int_equal(ask(&q, &code), ICE_DROP);
	q.odd_attr = true; /* no answer to whoever lacks the password, whatever else is wrong */
	assert_int_equal(ask(&q, &code), ICE_DROP);
	q = (struct request){ .username = SLICE("usus:others"), .pwd = pwd };
	assert_int_equal(ask(&q, &code), ICE_DROP);
	q.username = SLICE("usus");
	assert_int_equal(ask(&q, &code), ICE_DROP);
	q.username = SLICE(":them");
	assert_int_equal(ask(&q, &code), ICE_DROP);
}

static void credentials_differ_and_fit(void **state)
{
	struct ice_creds a, b;

	creds(&a, 0);
	creds(&b, 0xff);
	assert_int_equal(strlen(a.ufrag), 8);
	assert_int_equal(strlen(a.pwd), 24);
	assert_string_not_equal(a.ufrag, b.ufrag);
	assert_string_equal(b.ufrag, "////////");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(checks_carry_what_they_must),
		cmocka_unit_test(an_answer_opens_the_way),
		cmocka_unit_test(lost_checks_are_sent_again),
		cmocka_unit_test(checks_never_give_up),
		cmocka_unit_test(consent_is_asked_and_runs_out),
		cmocka_unit_test(false_answers_do_not_count),
		cmocka_unit_test(role_conflict_changes_the_role),
		cmocka_unit_test(the_lite_side_answers_the_right_ones_only),
		cmocka_unit_test(credentials_differ_and_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
