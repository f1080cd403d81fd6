#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "core/log.h"
#include "support/alloc_fail.h"

struct capture {
	FILE *f;
	struct log *log;
	char text[16384];
};

static void capture_start(struct capture *c, enum log_level level)
{
	c->f = tmpfile();
	assert_non_null(c->f);
	c->log = log_new(c->f, level);
	assert_non_null(c->log);
}

static const char *capture_end(struct capture *c)
{
	size_t n;

	rewind(c->f);
	n = fread(c->text, 1, sizeof(c->text) - 1, c->f);
	c->text[n] = '\0';
	fclose(c->f);
	log_free(c->log);
	return c->text;
}

/* "2026-01-31T23:59:59.123Z " in front. */
static const char *after_time(const char *line)
{
	assert_int_equal(line[4], '-');
	assert_int_equal(line[10], 'T');
	assert_int_equal(line[23], 'Z');
	return line + 25;
}

static void line_and_level(void **state)
{
	struct capture c;

	capture_start(&c, LOG_LEVEL_WARN);
	assert_true(log_enabled(c.log, LOG_LEVEL_ERROR));
	assert_true(log_enabled(c.log, LOG_LEVEL_WARN));
	assert_false(log_enabled(c.log, LOG_LEVEL_INFO));
	log_info(c.log, "not.shown", "a=%d", 1);
	log_warn(c.log, "sip.flow.closed", "peer=%s n=%d", "192.0.2.1:5061", 3);
	assert_string_equal(after_time(capture_end(&c)),
			    "warn  sip.flow.closed peer=192.0.2.1:5061 n=3\n");
	capture_start(&c, LOG_LEVEL_WARN);
	log_set_level(c.log, LOG_LEVEL_DEBUG);
	log_debug(c.log, "x", "%s", "");
	assert_string_equal(after_time(capture_end(&c)), "debug x\n");
}

static void null_log_drops(void **state)
{
	log_error(NULL, "x", "a=%d", 1);
	log_set_level(NULL, LOG_LEVEL_DEBUG);
	assert_false(log_enabled(NULL, LOG_LEVEL_ERROR));
	log_free(NULL);
}

static void one_event_one_line(void **state)
{
	struct capture c;

	capture_start(&c, LOG_LEVEL_INFO);
	log_info(c.log, "x", "v=%s", "a\nb\x1b[31m\r\x7f");
	assert_string_equal(after_time(capture_end(&c)), "info  x v=a b [31m \n");
}

static void long_line_is_cut(void **state)
{
	struct capture c;
	char big[10000];
	const char *text;

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	capture_start(&c, LOG_LEVEL_INFO);
	log_info(c.log, "x", "v=%s", big);
	log_info(c.log, big, "v=%s", big);
	text = capture_end(&c);
	assert_true(strlen(text) < 2 * 8192 + 2);
	assert_memory_equal(strchr(text, '\n') - 3, "...\n", 4);
	assert_memory_equal(text + strlen(text) - 4, "...\n", 4);
}

static void journal_priority(void **state)
{
	struct capture c;
	struct stat st;
	char stream[64];

	c.f = tmpfile();
	assert_non_null(c.f);
	assert_int_equal(fstat(fileno(c.f), &st), 0);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	c.log = log_new(c.f, LOG_LEVEL_DEBUG);
	log_error(c.log, "a", "n=%d", 1);
	log_warn(c.log, "b", "n=%d", 2);
	log_info(c.log, "c", "n=%d", 3);
	log_debug(c.log, "d", "n=%d", 4);
	assert_string_equal(capture_end(&c), "<3>a n=1\n<4>b n=2\n<6>c n=3\n<7>d n=4\n");
	/* Another stream than the journal's. */
	setenv("JOURNAL_STREAM", "1:1", 1);
	capture_start(&c, LOG_LEVEL_INFO);
	log_info(c.log, "c", "n=%d", 3);
	assert_string_equal(after_time(capture_end(&c)), "info  c n=3\n");
	unsetenv("JOURNAL_STREAM");
}

static void escapes(void **state)
{
	assert_string_equal(log_esc(SLICE("alice@example.com")), "alice@example.com");
	assert_string_equal(log_esc(SLICE("")), "\"\"");
	assert_string_equal(log_esc(SLICE_NONE), "\"\"");
	assert_string_equal(log_esc(SLICE("a b")), "\"a b\"");
	assert_string_equal(log_esc(SLICE("a=b")), "\"a=b\"");
	assert_string_equal(log_esc(SLICE("a\"b")), "\"a\\x22b\"");
	assert_string_equal(log_esc(SLICE("a\\b")), "\"a\\x5cb\"");
	assert_string_equal(log_esc(SLICE("a\r\n")), "\"a\\x0d\\x0a\"");
	assert_string_equal(log_esc(SLICE("\0\x1b")), "\"\\x00\\x1b\"");
	assert_string_equal(log_esc(SLICE("\xc3\xbc")), "\"\\xc3\\xbc\"");
}

static void escape_at_the_bound(void **state)
{
	char big[1024];
	const char *text;

	memset(big, 'x', sizeof(big));
	text = log_esc((struct slice){ big, 506 });
	assert_int_equal(strlen(text), 506);
	text = log_esc((struct slice){ big, 507 });
	assert_int_equal(strlen(text), 509);
	assert_string_equal(text + 506, "...");
	memset(big, '\n', sizeof(big));
	text = log_esc((struct slice){ big, sizeof(big) });
	assert_true(strlen(text) < 512);
	assert_string_equal(text + strlen(text) - 8, "\\x0a...\"");
}

static void eight_at_a_time(void **state)
{
	const char *v[8];
	char word[2] = "a";

	for (int i = 0; i < 8; i++) {
		word[0] = (char)('a' + i);
		v[i] = log_esc(slice_of(word));
	}
	for (int i = 0; i < 8; i++)
		assert_int_equal(v[i][0], 'a' + i);
}

static void run_without_memory(void *arg)
{
	log_free(log_new(stderr, LOG_LEVEL_INFO));
}

static void without_memory(void **state)
{
	assert_int_equal(alloc_fail_sweep(run_without_memory, NULL), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(line_and_level),      cmocka_unit_test(null_log_drops),
		cmocka_unit_test(one_event_one_line),  cmocka_unit_test(long_line_is_cut),
		cmocka_unit_test(journal_priority),    cmocka_unit_test(escapes),
		cmocka_unit_test(escape_at_the_bound), cmocka_unit_test(eight_at_a_time),
		cmocka_unit_test(without_memory),
	};

	unsetenv("JOURNAL_STREAM");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
