/* Port pairs: even and odd, in turn, wrapping, quarantined. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "media/portpool.h"
#include "media/stats.h"
#include "support/alloc_fail.h"

static void pairs_are_even_and_in_turn(void **state)
{
	struct portpool p;

	assert_int_equal(portpool_init(&p, (struct conf_ports){ 36001, 36008 }), 0);
	assert_int_equal(p.n_pairs, 3); /* 36002..36007: odd start and even end left out */
	assert_int_equal(portpool_take(&p, 0), 36002);
	assert_int_equal(portpool_take(&p, 0), 36004);
	assert_int_equal(portpool_take(&p, 0), 36006);
	assert_int_equal(portpool_take(&p, 0), 0);
	assert_false(portpool_holds(&p, 36001));
	assert_true(portpool_holds(&p, 36007));
	assert_false(portpool_holds(&p, 36008));
	portpool_fini(&p);
}

static void a_port_rests_before_reuse(void **state)
{
	struct portpool p;

	assert_int_equal(portpool_init(&p, (struct conf_ports){ 100, 103 }), 0);
	assert_int_equal(portpool_take(&p, 0), 100);
	portpool_put(&p, 100, 1000);
	assert_int_equal(portpool_take(&p, 1000), 102); /* goes on, does not go back */
	assert_int_equal(portpool_take(&p, 1000 + PORTPOOL_QUARANTINE_MS - 1), 0);
	assert_int_equal(portpool_take(&p, 1000 + PORTPOOL_QUARANTINE_MS), 100);
	assert_int_equal(p.n_taken, 2);
	portpool_put(&p, 100, 0);
	portpool_put(&p, 100, 0); /* twice: once */
	portpool_put(&p, 5, 0);	  /* a stranger: ignored */
	assert_int_equal(p.n_taken, 1);
	portpool_fini(&p);
}

static void a_range_without_pair_is_refused(void **state)
{
	struct portpool p;

	assert_int_equal(portpool_init(&p, (struct conf_ports){ 101, 102 }), -EINVAL);
	assert_int_equal(portpool_init(&p, (struct conf_ports){ 100, 100 }), -EINVAL);
	assert_int_equal(portpool_init(&p, (struct conf_ports){ 65534, 65535 }), 0);
	assert_int_equal(portpool_take(&p, 0), 65534);
	portpool_fini(&p);
}

static void a_new_range_keeps_what_is_taken(void **state)
{
	struct portpool p;

	assert_int_equal(portpool_init(&p, (struct conf_ports){ 100, 107 }), 0);
	assert_int_equal(portpool_take(&p, 0), 100);
	assert_int_equal(portpool_take(&p, 0), 102);
	assert_int_equal(portpool_resize(&p, (struct conf_ports){ 9, 9 }), -EINVAL);
	assert_int_equal(p.n_pairs, 4);
	assert_int_equal(portpool_resize(&p, (struct conf_ports){ 102, 105 }), 0);
	assert_int_equal(p.n_taken, 1);
	assert_int_equal(portpool_take(&p, 0), 104);
	assert_int_equal(portpool_take(&p, 0), 0);
	portpool_put(&p, 100, 0); /* from before: ignored */
	assert_int_equal(p.n_taken, 2);
	portpool_fini(&p);
}

static void pool_life(void *arg)
{
	struct portpool p;

	if (portpool_init(&p, (struct conf_ports){ 100, 199 }) < 0)
		return;
	(void)portpool_resize(&p, (struct conf_ports){ 100, 299 });
	assert_int_equal(portpool_take(&p, 0), 100);
	portpool_fini(&p);
}

static void want_of_memory_is_survived(void **state)
{
	assert_true(alloc_fail_sweep(pool_life, NULL) >= 2);
}

/* G.107 at its defaults gives 4.41 without delay or loss; more of either lowers it. */
static void opinion_score_follows_loss_and_delay(void **state)
{
	assert_true(media_stats_mos_of(0, 0) > 4.40 && media_stats_mos_of(0, 0) < 4.42);
	assert_true(media_stats_mos_of(1, 0) < media_stats_mos_of(0, 0));
	assert_true(media_stats_mos_of(0, 400) < media_stats_mos_of(0, 170));
	assert_true(media_stats_mos_of(5, 50) > 3.3 && media_stats_mos_of(5, 50) < 4.0);
	assert_true(media_stats_mos_of(100, 1000) == 1.0);
}

static void stats_count_loss_and_jitter(void **state)
{
	struct media_stats s;

	media_stats_init(&s, 8000);
	assert_true(media_stats_mos(&s) == 0);
	for (uint16_t seq = 0; seq < 100; seq++) {
		struct rtp_header h = { .seq = seq, .ssrc = 1, .timestamp = seq * 160u };

		if (seq % 10 != 5)
			media_stats_rtp(&s, &h, 172, seq * 20000);
	}
	assert_true(media_stats_loss_percent(&s) > 9 && media_stats_loss_percent(&s) < 11);
	assert_true(media_stats_jitter_ms(&s) < 0.5);
	assert_true(media_stats_mos(&s) < 4.0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pairs_are_even_and_in_turn),
		cmocka_unit_test(a_port_rests_before_reuse),
		cmocka_unit_test(a_range_without_pair_is_refused),
		cmocka_unit_test(a_new_range_keeps_what_is_taken),
		cmocka_unit_test(want_of_memory_is_survived),
		cmocka_unit_test(opinion_score_follows_loss_and_delay),
		cmocka_unit_test(stats_count_loss_and_jitter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
