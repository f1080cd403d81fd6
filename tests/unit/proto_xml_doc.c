#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proto/xml_doc.h"
#include "support/alloc_fail.h"

#define MAX_BYTES (1024 * 1024)

static const char soap[] =
	"<?xml version='1.0' encoding='UTF-8'?>"
	"<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>"
	"<ns:listProcessNodeResponse xmlns:ns=\"http://www.cisco.com/AXL/API/12.5\"><return>"
	"<processNode uuid=\"{1}\"><name> cucm1.example.com\n</name></processNode><!-- one more -->"
	"<processNode uuid=\"{2}\" s:x=\"7\"><name>a&amp;<![CDATA[<b>]]></name></processNode>"
	"</return></ns:listProcessNodeResponse></s:Body></s:Envelope>";

static struct xml_doc *parse(const char *text)
{
	const char *why = NULL;
	struct xml_doc *d = xml_doc_parse(slice_of(text), MAX_BYTES, &why);

	if (!d)
		print_error("%s\n", why);
	assert_non_null(d);
	return d;
}

static void test_tree(void **state)
{
	struct xml_doc *d = parse(soap);
	const struct xml_element *root = xml_doc_root(d), *node;

	assert_string_equal(root->name, "Envelope");
	assert_string_equal(root->ns, "http://schemas.xmlsoap.org/soap/envelope/");
	assert_null(root->parent);
	assert_null(xml_at(root, "Body/nothing/return"));
	assert_null(xml_child(NULL, "x"));
	node = xml_at(root, "Body/listProcessNodeResponse/return/processNode");
	assert_non_null(node);
	assert_string_equal(node->ns, "");
	assert_string_equal(node->parent->parent->ns, "http://www.cisco.com/AXL/API/12.5");
	assert_string_equal(xml_attr(node, "uuid"), "{1}");
	assert_null(xml_attr(node, "other"));
	assert_string_equal(xml_text(node, "name"), "cucm1.example.com");
	assert_string_equal(xml_text(node, "no/such"), "");
	node = xml_again(node);
	assert_string_equal(xml_text(node, "name"), "a&<b>");
	assert_string_equal(xml_attr(node, "x"), "7");
	assert_null(xml_again(node));
	assert_null(xml_again(NULL));
	xml_doc_free(d);
	xml_doc_free(NULL);
}

static void test_text_around_children(void **state)
{
	struct xml_doc *d = parse("<a> one <b>inner</b> two </a>");

	assert_string_equal(xml_doc_root(d)->text, "one  two");
	assert_string_equal(xml_text(xml_doc_root(d), "b"), "inner");
	xml_doc_free(d);
	d = parse("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a>\xe9</a>");
	assert_string_equal(xml_doc_root(d)->text, "\xc3\xa9");
	xml_doc_free(d);
}

static void refused(const char *text, const char *expected)
{
	const char *why = NULL;

	assert_null(xml_doc_parse(slice_of(text), MAX_BYTES, &why));
	assert_non_null(why);
	if (!strstr(why, expected))
		fail_msg("\"%s\" does not hold \"%s\"", why, expected);
}

static void test_refused(void **state)
{
	refused("", "no element");
	refused("plain text", "");
	refused("<a><b></a>", "mismatched");
	refused("<a/><b/>", "junk");
	refused("<a>&unknown;</a>", "undefined");
	refused("<x:a/>", "unbound");
	refused("<a b='1' b='2'/>", "duplicate");
	refused("<!DOCTYPE a><a/>", "document type");
	refused("<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", "document type");
	refused("<?php x?><a/>", "processing instruction");
	refused("<a><?x y?></a>", "processing instruction");
	refused("<a>\xff\xfe</a>", "not well-formed");
	refused("<a>\x01</a>", "not well-formed");
}

static void nest(struct buf *b, unsigned depth)
{
	unsigned i;

	buf_reset(b);
	for (i = 0; i < depth; i++)
		buf_add_str(b, "<a>");
	for (i = 0; i < depth; i++)
		buf_add_str(b, "</a>");
}

static void test_bounds(void **state)
{
	const char *why = NULL;
	struct xml_doc *d;
	struct buf b;
	unsigned i;

	buf_init(&b, MAX_BYTES);
	nest(&b, XML_DOC_MAX_DEPTH);
	d = xml_doc_parse(buf_slice(&b), b.n, &why);
	assert_non_null(d);
	xml_doc_free(d);
	assert_null(xml_doc_parse(buf_slice(&b), b.n - 1, &why));
	assert_string_equal(why, "the document is too long");
	nest(&b, XML_DOC_MAX_DEPTH + 1);
	assert_null(xml_doc_parse(buf_slice(&b), MAX_BYTES, &why));
	assert_string_equal(why, "elements are nested too deep");
	buf_reset(&b);
	buf_add_str(&b, "<r>");
	for (i = 1; i < XML_DOC_MAX_ELEMENTS; i++)
		buf_add_str(&b, "<a/>");
	buf_add_str(&b, "</r>");
	d = xml_doc_parse(buf_slice(&b), MAX_BYTES, &why);
	assert_non_null(d);
	xml_doc_free(d);
	b.n -= 4;
	buf_add_str(&b, "<a/></r>");
	assert_null(xml_doc_parse(buf_slice(&b), MAX_BYTES, &why));
	assert_string_equal(why, "too many elements");
	buf_fini(&b);
}

static void test_write(void **state)
{
	struct xml_writer w;
	struct buf b;

	buf_init(&b, 4096);
	xml_write_start(&w, &b);
	xml_write_open(&w, "a");
	xml_write_attr(&w, "x", SLICE("1<\"&>'\n"));
	xml_write_leaf(&w, "b", SLICE("t<&>\"\r\n\xc3\xa9"));
	xml_write_leaf(&w, "empty", SLICE_NONE);
	xml_write_open(&w, "c");
	xml_write_open(&w, "d");
	xml_write_close(&w);
	xml_write_close(&w);
	xml_write_text(&w, SLICE("tail"));
	assert_false(xml_write_end(&w));
	xml_write_close(&w);
	assert_true(xml_write_end(&w));
	assert_string_equal(b.p, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
				 "<a x=\"1&lt;&quot;&amp;&gt;'&#10;\"><b>t&lt;&amp;&gt;\"&#13;\n"
				 "\xc3\xa9</b><empty/><c><d/></c>tail</a>");
	buf_fini(&b);
}

/* What was written is what is read. */
static void test_round_trip(void **state)
{
	static const char text[] = "]]> & <x> \xe2\x82\xac \xf0\x9f\x98\x80 'q' \"";
	struct xml_writer w;
	struct xml_doc *d;
	struct buf b;

	buf_init(&b, 4096);
	xml_write_start(&w, &b);
	xml_write_open(&w, "a");
	xml_write_attr(&w, "v", SLICE("\ta\r\nb "));
	xml_write_text(&w, slice_of(text));
	xml_write_close(&w);
	assert_true(xml_write_end(&w));
	d = parse(b.p);
	assert_string_equal(xml_doc_root(d)->text, text);
	assert_string_equal(xml_attr(xml_doc_root(d), "v"), "\ta\r\nb ");
	xml_doc_free(d);
	buf_fini(&b);
}

static bool writes(struct slice text)
{
	struct xml_writer w;
	struct buf b;
	bool ok;

	buf_init(&b, 4096);
	xml_write_start(&w, &b);
	xml_write_leaf(&w, "a", text);
	ok = xml_write_end(&w);
	buf_fini(&b);
	return ok;
}

static void test_write_refuses(void **state)
{
	assert_true(writes(SLICE("\t\n\r ~")));
	assert_true(writes(SLICE("\xf4\x8f\xbf\xbf")));
	assert_false(writes(SLICE("a\0b")));
	assert_false(writes(SLICE("\x1f")));
	assert_false(writes(SLICE("\x80")));
	assert_false(writes(SLICE("\xc3")));
	assert_false(writes(SLICE("\xc0\x80")));	 /* overlong */
	assert_false(writes(SLICE("\xed\xa0\x80")));	 /* surrogate */
	assert_false(writes(SLICE("\xef\xbf\xbf")));	 /* U+FFFF */
	assert_false(writes(SLICE("\xf4\x90\x80\x80"))); /* over U+10FFFF */
	assert_false(writes(SLICE("\xff\xbf\xbf\xbf")));
}

static void test_write_order(void **state)
{
	struct xml_writer w;
	struct buf b;
	unsigned i;

	buf_init(&b, 4096);
	xml_write_start(&w, &b);
	assert_false(xml_write_end(&w)); /* no root */
	xml_write_text(&w, SLICE("x"));
	assert_true(w.failed);
	xml_write_start(&w, &b);
	xml_write_leaf(&w, "a", SLICE("x"));
	xml_write_leaf(&w, "b", SLICE("x")); /* a second root */
	assert_false(xml_write_end(&w));
	xml_write_start(&w, &b);
	xml_write_open(&w, "a");
	xml_write_text(&w, SLICE("x"));
	xml_write_attr(&w, "late", SLICE("x"));
	assert_true(w.failed);
	xml_write_start(&w, &b);
	xml_write_close(&w);
	assert_true(w.failed);
	xml_write_start(&w, &b);
	for (i = 0; i < XML_DOC_MAX_DEPTH; i++)
		xml_write_open(&w, "a");
	assert_false(w.failed);
	xml_write_open(&w, "a");
	assert_true(w.failed);
	buf_fini(&b);
	buf_init(&b, 50);
	xml_write_start(&w, &b);
	xml_write_leaf(&w, "a", SLICE("0123456789012345678901234567890123456789"));
	assert_false(xml_write_end(&w)); /* the buffer was full */
	buf_fini(&b);
}

static void run_without_memory(void *arg)
{
	const char *why = NULL;
	struct xml_doc *d = xml_doc_parse(slice_of(soap), MAX_BYTES, &why);
	struct xml_writer w;
	struct buf b;

	assert_true(d || (why && strcmp(why, "out of memory") == 0));
	xml_doc_free(d);
	buf_init(&b, 4096);
	xml_write_start(&w, &b);
	xml_write_leaf(&w, "a", SLICE("text"));
	assert_int_equal(xml_write_end(&w), !b.failed);
	buf_fini(&b);
}

static void test_without_memory(void **state)
{
	assert_true(alloc_fail_sweep(run_without_memory, NULL) > 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tree),	       cmocka_unit_test(test_text_around_children),
		cmocka_unit_test(test_refused),	       cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_write),	       cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_write_refuses),  cmocka_unit_test(test_write_order),
		cmocka_unit_test(test_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
