#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <errno.h>
#include <cmocka.h>

#include "core/conn.h"
#include "support/alloc_fail.h"

static int64_t clock_ms;

static int64_t now_ms(void *arg)
{
	return *(int64_t *)arg;
}

static struct conn_table *table_new(uint32_t max, size_t n_ended)
{
	struct conn_table *t = conn_table_new(max, n_ended, now_ms, &clock_ms);

	assert_non_null(t);
	return t;
}

static void enters_lists_and_ends(void **state)
{
	struct conn_table *t = table_new(10, 4);
	struct conn call = { .kind = CONN_CALL }, leg = { .kind = CONN_LEG };

	clock_ms = 5000;
	assert_int_equal(conn_add(t, &call), 0);
	leg.parent = call.id;
	assert_int_equal(conn_add(t, &leg), 0);
	assert_int_not_equal(call.id, 0);
	assert_int_equal(call.since_ms, 5000);
	assert_true(call.since_wall_s > 1600000000);
	assert_ptr_equal(conn_get(t, call.id), &call);
	assert_int_equal(conn_count(t, CONN_CALL), 1);
	assert_int_equal(conn_count(t, CONN_LEG), 1);
	assert_ptr_equal(conn_list(t, CONN_CALL)->next, &call.node);
	conn_end(t, &call, "hung up by %s", "a");
	assert_string_equal(call.reason, "hung up by a");
	assert_null(conn_get(t, call.id));
	assert_int_equal(conn_count(t, CONN_CALL), 0);
	assert_true(list_empty(conn_list(t, CONN_CALL)));
	/* Ended twice, and one that was never entered: no effect. */
	conn_end(t, &call, "again");
	assert_string_equal(call.reason, "hung up by a");
	call = (struct conn){ .kind = CONN_CALL };
	conn_end(t, &call, "never entered");
	assert_int_equal(conn_count(t, CONN_CALL), 0);
	conn_end(t, &leg, "x");
	conn_table_free(t);
}

static void full_at_the_bound(void **state)
{
	struct conn_table *t = table_new(3, 0);
	struct conn c[4] = { { .kind = CONN_LISTENER } };

	for (int i = 0; i < 3; i++)
		assert_int_equal(conn_add(t, &c[i]), 0);
	assert_int_equal(conn_add(t, &c[3]), -ENOSPC);
	assert_int_equal(c[3].id, 0);
	assert_int_equal(conn_count(t, CONN_LISTENER), 3);
	conn_end(t, &c[1], "room");
	assert_int_equal(conn_add(t, &c[3]), 0);
	/* Same slot, other generation: the old id finds nothing. */
	assert_null(conn_get(t, c[1].id));
	assert_ptr_equal(conn_get(t, c[3].id), &c[3]);
	conn_table_free(t);
}

struct seen {
	char text[512];
	size_t n, stop_after;
};

static bool see(const struct conn *c, int64_t ended_wall_s, void *arg)
{
	struct seen *s = arg;
	size_t n = strlen(s->text);

	assert_true(ended_wall_s > 1600000000);
	assert_null(c->close);
	snprintf(s->text + n, sizeof(s->text) - n, "%s;", c->reason);
	return ++s->n != s->stop_after;
}

static void end_one(struct conn_table *t, enum conn_kind kind, const char *reason)
{
	struct conn c = { .kind = kind };

	assert_int_equal(conn_add(t, &c), 0);
	conn_end(t, &c, "%s", reason);
}

static void check_ended(const struct conn_table *t, size_t stop_after, const char *expected)
{
	struct seen s = { .stop_after = stop_after };

	conn_ended_each(t, see, &s);
	assert_string_equal(s.text, expected);
}

static void ring_wraps(void **state)
{
	struct conn_table *t = table_new(10, 3);

	check_ended(t, 0, "");
	end_one(t, CONN_FLOW, "1");
	end_one(t, CONN_FLOW, "2");
	check_ended(t, 0, "2;1;");
	end_one(t, CONN_FLOW, "3");
	check_ended(t, 0, "3;2;1;");
	end_one(t, CONN_FLOW, "4");
	check_ended(t, 0, "4;3;2;");
	check_ended(t, 2, "4;3;");
	/* Control clients are not kept. */
	end_one(t, CONN_CONTROL, "5");
	check_ended(t, 0, "4;3;2;");
	conn_table_free(t);
}

static void requests_do_not_wash_out_calls(void **state)
{
	struct conn_table *t = table_new(10, 3);

	end_one(t, CONN_CALL, "call");
	end_one(t, CONN_REQUEST, "1");
	end_one(t, CONN_CHANNEL, "2");
	end_one(t, CONN_REQUEST, "3");
	end_one(t, CONN_SIGNIN, "signin");
	end_one(t, CONN_CHANNEL, "4");
	check_ended(t, 0, "4;signin;3;2;call;");
	end_one(t, CONN_REQUEST, "5");
	check_ended(t, 0, "5;4;signin;3;call;");
	check_ended(t, 3, "5;4;signin;");
	conn_table_free(t);
}

static void refused_do_not_wash_out(void **state)
{
	struct conn_table *t = table_new(10, 4);
	struct conn c = { .kind = CONN_FLOW, .id = 77 };

	end_one(t, CONN_CALL, "a");
	end_one(t, CONN_CALL, "b");
	for (int i = 0; i < 100; i++)
		conn_refused(t, &c, "r%d", i);
	end_one(t, CONN_CALL, "c");
	check_ended(t, 0, "c;r99;b;a;");
	assert_string_equal(c.reason, "");
	conn_table_free(t);
	t = table_new(10, 0);
	conn_refused(t, &c, "r");
	end_one(t, CONN_CALL, "a");
	check_ended(t, 0, "");
	conn_table_free(t);
}

static void reason_is_cut(void **state)
{
	struct conn_table *t = table_new(1, 1);
	struct conn c = { 0 };
	char big[400];

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	assert_int_equal(conn_add(t, &c), 0);
	conn_end(t, &c, "%s", big);
	/* the entry's own text is as good */
	conn_end(t, &c, "%s", c.reason);
	assert_int_equal(strlen(c.reason), CONN_REASON_BYTES - 1);
	conn_table_free(t);
}

static void finds_kinds_with_a_dash(void **state)
{
	struct conn_table *t = table_new(10, 1);
	struct conn c = { .kind = CONN_XMPP_LINK };
	char id[CONN_ID_BYTES];

	assert_int_equal(conn_add(t, &c), 0);
	assert_string_equal(conn_id_str(&c, id), "xmpp-link-100000000");
	assert_ptr_equal(conn_find(t, slice_of(id)), &c);
	assert_null(conn_find(t, SLICE("xmpp-100000000")));
	assert_null(conn_find(t, SLICE("link-100000000")));
	conn_end(t, &c, "x");
	conn_table_free(t);
}

static void finds_by_text(void **state)
{
	struct conn_table *t = table_new(10, 1);
	struct conn call = { .kind = CONN_CALL };
	char id[CONN_ID_BYTES], upper[CONN_ID_BYTES];

	assert_int_equal(conn_add(t, &call), 0);
	/* Slot 0, generation 1. */
	assert_string_equal(conn_id_str(&call, id), "call-100000000");
	assert_ptr_equal(conn_find(t, slice_of(id)), &call);
	assert_ptr_equal(conn_find(t, SLICE("100000000")), &call);
	snprintf(upper, sizeof(upper), "call-%s", "0000000100000000");
	assert_ptr_equal(conn_find(t, slice_of(upper)), &call);
	assert_null(conn_find(t, SLICE("leg-100000000")));
	assert_null(conn_find(t, SLICE("call-100000001")));
	assert_null(conn_find(t, SLICE("call-200000000")));
	assert_null(conn_find(t, SLICE("call-")));
	assert_null(conn_find(t, SLICE("-100000000")));
	assert_null(conn_find(t, SLICE("call-10000000g")));
	assert_null(conn_find(t, SLICE("call-00000000100000000")));
	assert_null(conn_find(t, SLICE("")));
	assert_null(conn_find(t, SLICE("0")));
	assert_null(conn_find(t, ((struct slice){ "1\0", 2 })));
	conn_end(t, &call, "x");
	assert_null(conn_find(t, slice_of(id)));
	conn_table_free(t);
}

static void names(void **state)
{
	for (int i = 0; i < CONN_N_KINDS; i++)
		assert_string_not_equal(conn_kind_str((enum conn_kind)i), "unknown");
	assert_string_equal(conn_kind_str(CONN_REGISTRATION), "registration");
	assert_string_equal(conn_kind_str(CONN_TUNNEL), "tunnel");
	assert_string_equal(conn_kind_str(CONN_CHANNEL), "channel");
	assert_string_equal(conn_kind_str(CONN_HTTP), "http");
	assert_string_equal(conn_kind_str(CONN_REQUEST), "request");
	assert_string_equal(conn_kind_str(CONN_SIGNIN), "signin");
	assert_string_equal(conn_transport_str(CONN_UDP), "udp");
	assert_string_equal(conn_transport_str(CONN_TLS), "tls");
}

static void run_without_memory(void *arg)
{
	struct conn_table *t = conn_table_new(100, 8, now_ms, &clock_ms);
	struct conn c = { 0 };

	if (!t)
		return;
	if (conn_add(t, &c) == 0)
		conn_end(t, &c, "x");
	conn_table_free(t);
}

static void without_memory(void **state)
{
	assert_true(alloc_fail_sweep(run_without_memory, NULL) > 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(enters_lists_and_ends),
		cmocka_unit_test(full_at_the_bound),
		cmocka_unit_test(ring_wraps),
		cmocka_unit_test(requests_do_not_wash_out_calls),
		cmocka_unit_test(refused_do_not_wash_out),
		cmocka_unit_test(reason_is_cut),
		cmocka_unit_test(finds_kinds_with_a_dash),
		cmocka_unit_test(finds_by_text),
		cmocka_unit_test(names),
		cmocka_unit_test(without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
