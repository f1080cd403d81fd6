#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/alarm.h"
#include "core/log.h"
#include "support/alloc_fail.h"

struct seen {
	char text[1024];
};

static void see(const struct alarm_entry *e, void *arg)
{
	struct seen *s = arg;
	size_t n = strlen(s->text);

	assert_true(e->since_wall_s > 1600000000);
	snprintf(s->text + n, sizeof(s->text) - n, "%s/%s/%s/%s/%s;", e->id, e->subject,
		 alarm_severity_str(e->severity), e->text, e->what_to_do);
}

static void check(const struct alarms *a, const char *expected)
{
	struct seen s = { { 0 } };

	alarms_each(a, see, &s);
	assert_string_equal(s.text, expected);
}

static void raise_and_clear(void **state)
{
	struct alarms *a = alarms_new(NULL);

	assert_non_null(a);
	check(a, "");
	alarm_raise(a, "link-down", "edge1", ALARM_ERROR, "check it", "down %d", 1);
	alarm_raise(a, "link-down", "edge2", ALARM_WARNING, "check it", "down");
	alarm_raise(a, "other", "", ALARM_CRITICAL, "", "x");
	check(a, "link-down/edge1/error/down 1/check it;link-down/edge2/warning/down/check it;"
		 "other//critical/x/;");
	/* Again: text and severity change, place and count stay. */
	alarm_raise(a, "link-down", "edge1", ALARM_CRITICAL, "now", "down %d", 2);
	assert_int_equal(alarm_count(a), 3);
	alarm_clear(a, "link-down", "edge2");
	alarm_clear(a, "link-down", "edge3");
	alarm_clear(a, "other", NULL);
	assert_int_equal(alarm_count(a), 1);
	check(a, "link-down/edge1/critical/down 2/now;");
	alarms_free(a);
}

static void without_a_table(void **state)
{
	struct seen s = { { 0 } };

	alarm_raise(NULL, "a", "b", ALARM_ERROR, "c", "d");
	alarm_clear(NULL, "a", "b");
	assert_int_equal(alarm_count(NULL), 0);
	alarms_each(NULL, see, &s);
	alarms_free(NULL);
}

static void long_names_match_themselves(void **state)
{
	struct alarms *a = alarms_new(NULL);
	char big[400];

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	alarm_raise(a, big, big, ALARM_ERROR, big, "%s", big);
	alarm_raise(a, big, big, ALARM_ERROR, big, "%s", big);
	assert_int_equal(alarm_count(a), 1);
	alarm_clear(a, big, big);
	assert_int_equal(alarm_count(a), 0);
	alarms_free(a);
}

static void at_the_bound(void **state)
{
	struct alarms *a = alarms_new(NULL);
	char subject[32];

	for (int i = 0; i < 257; i++) {
		snprintf(subject, sizeof(subject), "s%d", i);
		alarm_raise(a, "x", subject, ALARM_ERROR, "", "t");
	}
	assert_int_equal(alarm_count(a), 256);
	alarm_clear(a, "x", "s0");
	alarm_raise(a, "x", "s256", ALARM_ERROR, "", "t");
	assert_int_equal(alarm_count(a), 256);
	alarms_free(a);
}

static size_t count_lines(FILE *f)
{
	size_t n = 0;
	int c;

	rewind(f);
	while ((c = getc(f)) != EOF)
		n += c == '\n';
	return n;
}

static void only_news_are_logged(void **state)
{
	FILE *f = tmpfile();
	struct log *log = log_new(f, LOG_LEVEL_INFO);
	struct alarms *a = alarms_new(log);

	for (int i = 0; i < 10; i++)
		alarm_raise(a, "x", "s", ALARM_ERROR, "", "same");
	assert_int_equal(count_lines(f), 1);
	alarm_raise(a, "x", "s", ALARM_ERROR, "", "other\ntext");
	assert_int_equal(count_lines(f), 2);
	alarm_clear(a, "x", "s");
	alarm_clear(a, "x", "s");
	assert_int_equal(count_lines(f), 3);
	alarms_free(a);
	log_free(log);
	fclose(f);
}

static void run_without_memory(void *arg)
{
	struct alarms *a = alarms_new(NULL);

	alarm_raise(a, "x", "s", ALARM_ERROR, "", "t");
	alarms_free(a);
}

static void without_memory(void **state)
{
	assert_int_equal(alloc_fail_sweep(run_without_memory, NULL), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(raise_and_clear),
		cmocka_unit_test(without_a_table),
		cmocka_unit_test(long_names_match_themselves),
		cmocka_unit_test(at_the_bound),
		cmocka_unit_test(only_news_are_logged),
		cmocka_unit_test(without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
