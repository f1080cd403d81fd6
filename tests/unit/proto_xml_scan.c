#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "proto/xml_scan.h"

/* What is found, a letter each; piece bytes at a time. Every byte is looked at once. */
static void scan(struct slice text, size_t piece, struct buf *found)
{
	static const char letters[] = {
		[XML_SCAN_OPEN] = 'o',	[XML_SCAN_EMPTY] = 'e',	    [XML_SCAN_CLOSED] = 'c',
		[XML_SCAN_PI] = 'p',	[XML_SCAN_CDATA_END] = 'd', [XML_SCAN_MARKUP] = 'm',
		[XML_SCAN_BROKEN] = 'b'
	};
	enum xml_scan_found what = XML_SCAN_MORE;
	struct xml_scan s = { 0 };
	size_t at = 0, used, n;

	while (at < text.n && what != XML_SCAN_MARKUP && what != XML_SCAN_BROKEN) {
		n = piece < text.n - at ? piece : text.n - at;
		what = xml_scan(&s, (struct slice){ text.p + at, n }, &used);
		assert_in_range(used, 1, n);
		if (what == XML_SCAN_MORE)
			assert_int_equal(used, n);
		else
			buf_add_char(found, letters[what]);
		at += used;
	}
	buf_printf(found, " %zu", at);
}

static void scans(const char *text, const char *expected)
{
	size_t piece;

	for (piece = 1; piece <= strlen(text); piece++) {
		struct buf found;

		buf_init(&found, 1000);
		scan(slice_of(text), piece, &found);
		assert_string_equal(found.p, expected);
		buf_fini(&found);
	}
}

static void test_tags(void **state)
{
	scans("<a>", "o 3");
	scans("<a/>x</a >", "ec 10");
	scans("<a b='/'>", "o 9");
	scans("<a b='>' c=\">'/>\"/></a>", "ec 23");
	scans("<?xml version='1.0'?> <a>", "po 25");
	scans("<?a ?\?>?\?>", "p 10");
	scans("<?a ?b><c>?\?>", "p 13");
	scans("text > ]]> text", " 15");
}

static void test_cdata(void **state)
{
	scans("<a><![CDATA[<b>]]></a>", "odc 22");
	scans("<![CDATA[]]]]>]]]>", "d 18");
	scans("<![CDATA[] ]>]>]]>", "d 18");
	scans("<![CDATA[", " 9");
}

static void test_refused(void **state)
{
	scans("<!--", "m 3");
	scans("<!DOCTYPE", "m 3");
	scans("<![CDATB[", "b 8");
	scans("<a <", "b 4");
	scans("</a <", "b 5");
	scans("<<", "b 2");
	scans("<>", "b 2");
}

/* Nothing that has been looked at is looked at again: the sum is the length, however it comes. */
static void test_work(void **state)
{
	size_t n = 256 * 1024, i, used, sum = 0;
	char *text = malloc(n);
	struct xml_scan s = { 0 };

	assert_non_null(text);
	memset(text, '>', n);
	memcpy(text, "<a b='", 6);
	for (i = 0; i < n; i++) {
		assert_int_equal(xml_scan(&s, (struct slice){ text + i, 1 }, &used), XML_SCAN_MORE);
		sum += used;
	}
	assert_int_equal(sum, n);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tags),
		cmocka_unit_test(test_cdata),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_work),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
