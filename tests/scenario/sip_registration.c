/* The table of registrations that pass through, on a fake clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "sip/registration.h"
#include "support/alloc_fail.h"

struct world {
	struct timerq timers;
	struct conn_table *conns;
	struct registrations *rs;
	int holds[10];
};

static void hold(void *arg, uint64_t flow, bool on)
{
	((struct world *)arg)->holds[flow] += on ? 1 : -1;
}

static const struct registrations_ops ops = { hold };

static int64_t clock_ms(void *arg)
{
	return ((struct world *)arg)->timers.now_ms;
}

static void setup(struct world *w)
{
	static const uint8_t seed[16] = { 9 };

	*w = (struct world){ 0 };
	timerq_init(&w->timers, 0);
	w->conns = conn_table_new(10, 10, clock_ms, w);
	w->rs = w->conns ? registrations_new(&w->timers, w->conns, seed, &ops, w) : NULL;
}

static void teardown(struct world *w)
{
	registrations_free(w->rs);
	conn_table_free(w->conns);
	timerq_fini(&w->timers);
}

static struct registration *put(struct world *w, const char *aor, const char *contact,
				uint64_t flow, bool by_link, uint32_t expires_s)
{
	struct side from = { .flow = flow,
			     .role = by_link ? FLOW_TRAVERSAL_CLIENT : FLOW_OUTSIDE,
			     .link = by_link ? 0 : -1 };

	snprintf(from.zone, sizeof(from.zone), "%s", by_link ? "to-edge" : "");
	return registration_put(w->rs, slice_of(aor), slice_of(contact), "<sip:p;lr>", &from, "pbx",
				"0123", expires_s);
}

static void expires_on_time_and_refresh_moves_it(void **state)
{
	struct world w;

	setup(&w);
	put(&w, "a@x", "sip:a@1", 1, false, 60);
	timerq_run(&w.timers, 59999);
	assert_int_equal(registrations_count(w.rs), 1);
	put(&w, "a@x", "sip:a@1", 2, false, 60); /* from a new connection */
	assert_int_equal(registrations_count(w.rs), 1);
	assert_int_equal(w.holds[1], 0);
	assert_int_equal(w.holds[2], 1);
	timerq_run(&w.timers, 119998);
	assert_int_equal(registrations_count(w.rs), 1);
	timerq_run(&w.timers, 119999);
	assert_int_equal(registrations_count(w.rs), 0);
	assert_int_equal(w.holds[2], 0);
	teardown(&w);
}

/* What the registrar has not said yes to opens no door. */
static void unconfirmed_counts_for_nothing(void **state)
{
	struct world w;
	struct registration *r;
	uint64_t id;

	setup(&w);
	r = put(&w, "a@x", "sip:a@1", 1, false, 40);
	assert_null(registration_on_flow(w.rs, 1, SLICE("a@x")));
	r->confirmed = true;
	assert_ptr_equal(registration_on_flow(w.rs, 1, SLICE("a@x")), r);
	/* Somebody else on the same connection does not hide him. */
	put(&w, "b@x", "sip:b@1", 1, false, 40)->confirmed = true;
	assert_string_equal(registration_on_flow(w.rs, 1, SLICE("a@x"))->conn.user, "a@x");
	registration_refused(w.rs, r->conn.id); /* a refused refresh takes nothing away */
	assert_int_equal(registrations_count(w.rs), 2);
	id = put(&w, "c@x", "sip:c@1", 1, false, 40)->conn.id;
	registration_refused(w.rs, id);
	assert_null(registration_get(w.rs, id));
	teardown(&w);
}

static void phone_goes_with_its_flow_and_not_with_a_link(void **state)
{
	struct world w;

	setup(&w);
	put(&w, "a@x", "sip:a@1", 1, false, 60);
	put(&w, "b@x", "sip:b@1", 2, true, 60);
	registrations_flow_closed(w.rs, 1, "reset");
	registrations_flow_closed(w.rs, 2, "link lost");
	assert_int_equal(registrations_count(w.rs), 1);
	assert_non_null(registration_find(w.rs, SLICE("b@x"), SLICE("sip:b@1")));
	put(&w, "b@x", "sip:b@1", 3, true, 60);
	assert_int_equal(w.holds[3], 1);
	registration_remove(w.rs, SLICE("b@x"), SLICE("*"), "unregistered");
	assert_int_equal(registrations_count(w.rs), 0);
	assert_int_equal(w.holds[3], 0);
	teardown(&w);
}

/* The connection table is the bound: ten entries. */
static void full_table_refuses(void **state)
{
	struct world w;
	char contact[32];

	setup(&w);
	for (int i = 0; i < 10; i++) {
		snprintf(contact, sizeof(contact), "sip:a@%d", i);
		assert_non_null(put(&w, "a@x", contact, 1, false, 60));
	}
	assert_null(put(&w, "a@x", "sip:a@10", 1, false, 60));
	assert_non_null(put(&w, "a@x", "sip:a@9", 1, false, 60));
	assert_int_equal(w.holds[1], 10);
	teardown(&w);
}

static struct sip_msg *parse(const char *first, const char *headers)
{
	struct sip_msg *m = NULL;
	struct sip_reject why;
	char text[2048];

	snprintf(text, sizeof(text),
		 "%s\r\nVia: SIP/2.0/TLS p;branch=z9hG4bK1\r\nFrom: <sip:a@x>;tag=1\r\nTo: "
		 "<sip:a@x>\r\n"
		 "Call-ID: c\r\nCSeq: 1 REGISTER\r\n%sContent-Length: 0\r\n\r\n",
		 first, headers);
	assert_int_equal(sip_msg_parse(slice_of(text), true, &m, &why), 0);
	return m;
}

/* RFC 3261 10.3: whose word counts for how long it is bound. */
static void granted_time(void **state)
{
	static const struct {
		const char *asked, *answer;
		uint32_t granted;
	} rows[] = {
		{ "Contact: <sip:a@1>\r\n", "Contact: <sip:a@1>;expires=90\r\n", 90 },
		{ "Contact: <sip:a@1>\r\n",
		  "Contact: <sip:b@1>;expires=9\r\nContact: <sip:a@1>;expires=80\r\n", 80 },
		{ "Contact: <sip:a@1>\r\n", "Contact: <sip:a@1>\r\nExpires: 70\r\n", 70 },
		{ "Contact: <sip:a@1>\r\n", "Contact: <sip:b@1>;expires=9\r\n", 0 },
		{ "Contact: <sip:a@1>;expires=0\r\n", "", 0 },
		{ "Contact: <sip:a@1>\r\nExpires: 0\r\n", "", 0 },
		{ "Contact: <sip:a@1>;expires=50\r\n", "", 50 },
		{ "Contact: <sip:a@1>\r\n", "Expires: 60\r\n", 60 },
		{ "Contact: <sip:a@1>\r\n", "", 3600 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sip_msg *req = parse("REGISTER sip:x SIP/2.0", rows[i].asked);
		struct sip_msg *ok = parse("SIP/2.0 200 OK", rows[i].answer);

		if (registration_granted(req, ok, SLICE("sip:a@1")) != rows[i].granted)
			fail_msg("row %zu: %u", i, registration_granted(req, ok, SLICE("sip:a@1")));
		sip_msg_unref(req);
		sip_msg_unref(ok);
	}
}

static void one_run(void *arg)
{
	struct world w;

	setup(&w);
	if (w.rs) {
		put(&w, "a@x", "sip:a@1", 1, false, 60);
		put(&w, "a@x", "sip:a@1", 2, false, 60);
		timerq_run(&w.timers, 100000);
		assert_int_equal(registrations_count(w.rs), 0);
	}
	teardown(&w);
	assert_int_equal(w.holds[1] + w.holds[2], 0);
}

static void survives_failing_allocations(void **state)
{
	assert_true(alloc_fail_sweep(one_run, NULL) > 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(expires_on_time_and_refresh_moves_it),
		cmocka_unit_test(unconfirmed_counts_for_nothing),
		cmocka_unit_test(phone_goes_with_its_flow_and_not_with_a_link),
		cmocka_unit_test(full_table_refuses),
		cmocka_unit_test(granted_time),
		cmocka_unit_test(survives_failing_allocations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
