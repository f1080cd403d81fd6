#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "proto/ini.h"

/* Writes each item as a line of text, so that a test compares one string. */
static int record(const struct ini_item *item, void *arg)
{
	struct buf *b = arg;

	buf_printf(b, "%u:", item->line);
	switch (item->kind) {
	case INI_BLANK:
		buf_add_str(b, "blank");
		break;
	case INI_COMMENT:
		buf_printf(b, "#%.*s", SLICE_ARG(item->value));
		break;
	case INI_SECTION:
		buf_printf(b, "[%.*s|%.*s]", SLICE_ARG(item->type), SLICE_ARG(item->name));
		break;
	case INI_SETTING:
		buf_printf(b, "%.*s=%.*s", SLICE_ARG(item->key), SLICE_ARG(item->value));
		break;
	case INI_ERROR:
		buf_printf(b, "!%s", item->error);
		break;
	}
	buf_add_char(b, '\n');
	return 0;
}

static void check_n(const char *text, size_t n, const char *expected)
{
	struct buf b;

	buf_init(&b, 1 << 16);
	buf_add(&b, "", 0);
	assert_int_equal(ini_parse((struct slice){ text, n }, record, &b), 0);
	assert_string_equal(b.p, expected);
	buf_fini(&b);
}

static void check(const char *text, const char *expected)
{
	check_n(text, strlen(text), expected);
}

static void items_and_lines(void **state)
{
	check("", "");
	check("[system]\n# note\n\n  role = C  \r\n\t; other\n[zone pbx]\npeers=a b\nempty =",
	      "1:[system|]\n2:# note\n3:blank\n4:role=C\n5:# other\n6:[zone|pbx]\n7:peers=a "
	      "b\n8:empty=\n");
	check("\n\n", "1:blank\n2:blank\n");
	check("[ search-rule \t to.pbx ]", "1:[search-rule|to.pbx]\n");
	check("[domain b\xc3\xbc.example]", "1:[domain|b\xc3\xbc.example]\n");
}

static void marks_inside_values(void **state)
{
	check("pattern = a#b;c=d \\\nnext = 1", "1:pattern=a#b;c=d \\\n2:next=1\n");
	check("password = [x] # not a comment", "1:password=[x] # not a comment\n");
	check(" key\t=\tv1  v2 ", "1:key=v1  v2\n");
}

static void bad_lines(void **state)
{
	check("role C", "1:!neither \"[section]\" nor \"key = value\" nor a comment\n");
	check("= C", "1:!no key before \"=\"\n");
	check("a b = C",
	      "1:!key with characters other than letters, digits, \"-\", \"_\" and \".\"\n");
	check("[system", "1:!section header without \"]\"\n");
	check("[system] # x", "1:!text after the \"]\" of a section header; comments stand on a "
			      "line of their own\n");
	check("[]", "1:!empty section header; write [type] or [type name]\n");
	check("[", "1:!section header without \"]\"\n");
	check("[ ]", "1:!empty section header; write [type] or [type name]\n");
	check("[zone a b]", "1:!section name of more than one word; write [type name]\n");
	check("[zone a,b]", "1:!section name of more than one word; write [type name]\n");
	check("[zone [a]]", "1:!\"[\" or \"]\" inside a section header\n");
	check("[z\xc3\xb6ne a]",
	      "1:!section type with characters other than letters, digits, \"-\", "
	      "\"_\" and \".\"\n");
	/* The walk goes on after an error. */
	check("x\n[a]\ny\nz = 1",
	      "1:!neither \"[section]\" nor \"key = value\" nor a comment\n2:[a|]\n"
	      "3:!neither \"[section]\" nor \"key = value\" nor a comment\n4:z=1\n");
}

static void bad_bytes(void **state)
{
	static const char *const not_utf8[] = {
		"a = \x80",
		"a = \xc0\xaf",
		"a = \xc3",
		"a = \xe0\x80\x80",
		"a = \xed\xa0\x80",
		"a = \xf0\x80\x80\x80",
		"a = \xf4\x90\x80\x80",
		"a = \xf8\x88",
		"a = \xe2\x82",
		"a = \xc3(",
	};

	check("a = b\x01", "1:!a control character\n");
	check("a = b\x7f", "1:!a control character\n");
	check("# c\x1b[31m", "1:!a control character\n");
	check("a = b\rc = d\n", "1:!a control character\n");
	check("a = \xe2\x82\xac \xf0\x9f\x98\x80 \xed\x9f\xbf \xf4\x8f\xbf\xbf",
	      "1:a=\xe2\x82\xac \xf0\x9f\x98\x80 \xed\x9f\xbf \xf4\x8f\xbf\xbf\n");
	for (size_t i = 0; i < sizeof(not_utf8) / sizeof(not_utf8[0]); i++)
		check(not_utf8[i], "1:!bytes that are not UTF-8\n");
}

static void not_a_text_file(void **state)
{
	check("\xef\xbb\xbf[system]\n",
	      "1:!file starts with a UTF-8 byte order mark; save it without one\n");
	check_n("\xff\xfe[\0", 4,
		"1:!file is UTF-16; save it as UTF-8 without a byte order mark\n");
	check_n("\xfe\xff\0[", 4,
		"1:!file is UTF-16; save it as UTF-8 without a byte order mark\n");
	check_n("a=1\nb=\0\nc=2\n", 12, "2:!a NUL byte; this is not a text file\n");
}

static void line_at_the_bound(void **state)
{
	char line[INI_MAX_LINE_BYTES + 4];
	struct buf expected;

	memset(line, 'x', sizeof(line));
	memcpy(line, "k=", 2);
	buf_init(&expected, 1 << 16);
	buf_printf(&expected, "1:%.*s\n", INI_MAX_LINE_BYTES, line);
	check_n(line, INI_MAX_LINE_BYTES, expected.p);
	/* The line end does not count. */
	memcpy(line + INI_MAX_LINE_BYTES, "\r\n", 2);
	check_n(line, INI_MAX_LINE_BYTES + 2, expected.p);
	line[INI_MAX_LINE_BYTES] = 'x';
	check_n(line, INI_MAX_LINE_BYTES + 1, "1:!line longer than 4096 bytes\n");
	buf_fini(&expected);
}

static void names_at_the_bound(void **state)
{
	char word[INI_MAX_NAME_BYTES + 2], text[900], expected[900];

	memset(word, 'w', sizeof(word));
	word[INI_MAX_NAME_BYTES] = '\0';
	snprintf(text, sizeof(text), "[%s %s]", word, word);
	snprintf(expected, sizeof(expected), "1:[%s|%s]\n", word, word);
	check(text, expected);
	snprintf(text, sizeof(text), "%s=1", word);
	snprintf(expected, sizeof(expected), "1:%s=1\n", word);
	check(text, expected);
	word[INI_MAX_NAME_BYTES] = 'w';
	word[INI_MAX_NAME_BYTES + 1] = '\0';
	snprintf(text, sizeof(text), "%s=1\n[zone %s]\n[%s]", word, word, word);
	check(text, "1:!key longer than 255 bytes\n"
		    "2:!section header with a word longer than 255 bytes\n"
		    "3:!section header with a word longer than 255 bytes\n");
}

static int count(const struct ini_item *item, void *arg)
{
	unsigned *n = arg;

	if (item->kind == INI_ERROR) {
		assert_int_equal(item->line, 0);
		assert_string_equal(item->error, "file larger than 1 MiB");
		return -1;
	}
	++*n;
	return 0;
}

static void text_at_the_bound(void **state)
{
	char *text = malloc(INI_MAX_TEXT_BYTES + 1);
	unsigned n = 0;

	assert_non_null(text);
	memset(text, '\n', INI_MAX_TEXT_BYTES + 1);
	assert_int_equal(ini_parse((struct slice){ text, INI_MAX_TEXT_BYTES }, count, &n), 0);
	assert_int_equal(n, INI_MAX_TEXT_BYTES);
	n = 0;
	assert_int_equal(ini_parse((struct slice){ text, INI_MAX_TEXT_BYTES + 1 }, count, &n), -1);
	assert_int_equal(n, 0);
	free(text);
}

static int stop_at_two(const struct ini_item *item, void *arg)
{
	assert_true(item->line <= 2);
	return item->line == 2 ? 7 : 0;
}

static void callback_ends_the_walk(void **state)
{
	assert_int_equal(ini_parse(SLICE("a=1\nb=2\nc=3\n"), stop_at_two, NULL), 7);
}

static int join_raw(const struct ini_item *item, void *arg)
{
	buf_printf(arg, "%.*s\n", SLICE_ARG(item->raw));
	return 0;
}

static void raw_lines_give_the_file_back(void **state)
{
	static const char text[] = "# top\n\n[a b ]\n  k =  v\n; end\nbroken\n";
	struct buf b;

	buf_init(&b, 1024);
	ini_parse(slice_of(text), join_raw, &b);
	assert_string_equal(b.p, text);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(items_and_lines),
		cmocka_unit_test(marks_inside_values),
		cmocka_unit_test(bad_lines),
		cmocka_unit_test(bad_bytes),
		cmocka_unit_test(not_a_text_file),
		cmocka_unit_test(line_at_the_bound),
		cmocka_unit_test(names_at_the_bound),
		cmocka_unit_test(text_at_the_bound),
		cmocka_unit_test(callback_ends_the_walk),
		cmocka_unit_test(raw_lines_give_the_file_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
