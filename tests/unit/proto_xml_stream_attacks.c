/* What a hostile peer may send over an XMPP stream, and that nothing of it comes out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>

#include "proto/xml_stream.h"
#include "support/xml_recorder.h"

#define HEADER	XML_RECORDER_HEADER
#define STREAMS "http://etherx.jabber.org/streams"

static const struct xml_stream_limits long_limits = { 64, 64, 10000, 1024, 256 * 1024, 0 };

enum cut { WHOLE, DRIP, SLEEPY };

static void check_condition(struct xml_recorder *r, const char *text, enum xmpp_condition expected)
{
	const char *why = NULL;
	enum xmpp_condition condition = xml_stream_error(r->x, &why);

	if (condition != expected)
		fail_msg("%.60s: %s (%s), not %s", text, xmpp_condition_str(condition), why,
			 xmpp_condition_str(expected));
	assert_non_null(why);
	assert_int_equal(xml_recorder_feed(r, "<a/>"), -EBADMSG);
	assert_int_equal(xml_stream_restart(r->x, true), 0);
	assert_int_equal(xml_recorder_feed(r, HEADER "<a/>"), -EBADMSG);
	assert_int_equal(xml_stream_pending(r->x), 0);
	assert_true(xml_stream_sleep(r->x));
}

static void refused_so(struct slice header, struct slice bytes, enum xmpp_condition condition,
		       enum cut cut)
{
	struct xml_recorder r;
	int status;

	assert_true(xml_recorder_init(&r, &long_limits));
	if (header.n)
		assert_int_equal(xml_stream_feed(r.x, header), 0);
	assert_string_equal(xml_recorder_log(&r), header.n ? "H\n" : "");
	if (cut == SLEEPY)
		xml_stream_sleep(r.x);
	status = cut == DRIP ? xml_recorder_drip(&r, bytes) : xml_stream_feed(r.x, bytes);
	if (status != -EBADMSG)
		fail_msg("%.*s: %d", (int)(bytes.n < 60 ? bytes.n : 60), bytes.p, status);
	check_condition(&r, bytes.p, condition);
	assert_string_equal(xml_recorder_log(&r), "");
	xml_recorder_fini(&r);
}

/* Behind a header: at once, byte after byte, after a sleep. */
static void refused_bytes(struct slice bytes, enum xmpp_condition condition)
{
	refused_so(SLICE(HEADER), bytes, condition, WHOLE);
	refused_so(SLICE(HEADER), bytes, condition, DRIP);
	refused_so(SLICE(HEADER), bytes, condition, SLEEPY);
}

static void refused(const char *text, enum xmpp_condition condition)
{
	refused_bytes(slice_of(text), condition);
}

static void header_refused(const char *text, enum xmpp_condition condition)
{
	refused_so(SLICE_NONE, slice_of(text), condition, WHOLE);
	refused_so(SLICE_NONE, slice_of(text), condition, DRIP);
}

static void passes(const char *text, const char *expected)
{
	struct xml_recorder r;

	assert_true(xml_recorder_init(&r, &long_limits));
	assert_int_equal(xml_recorder_feed(&r, HEADER), 0);
	xml_recorder_log(&r);
	assert_int_equal(xml_recorder_feed(&r, text), 0);
	assert_string_equal(xml_recorder_log(&r), expected);
	xml_recorder_fini(&r);
}

static void test_headers(void **state)
{
	header_refused("x", XMPP_NOT_WELL_FORMED);
	header_refused("GET / HTTP/1.1\r\n", XMPP_NOT_WELL_FORMED);
	header_refused("</stream:stream>", XMPP_NOT_WELL_FORMED);
	header_refused("<foo>", XMPP_BAD_FORMAT);
	header_refused("<stream:streams xmlns:stream='" STREAMS "'>", XMPP_BAD_FORMAT);
	header_refused("<stream xmlns='jabber:client'>", XMPP_INVALID_NAMESPACE);
	header_refused("<stream:stream xmlns='jabber:client' xmlns:stream='" STREAMS "2'>",
		       XMPP_INVALID_NAMESPACE);
	header_refused("<stream:stream xmlns='jabber:client'>", XMPP_BAD_NAMESPACE_PREFIX);
	header_refused("<stream:stream xmlns:stream='" STREAMS "'/>", XMPP_BAD_FORMAT);
	header_refused("<stream:stream to='a' to='b' xmlns:stream='" STREAMS "'>",
		       XMPP_NOT_WELL_FORMED);
	header_refused("<stream:stream to='&b;' xmlns:stream='" STREAMS "'>", XMPP_RESTRICTED_XML);
	header_refused("<?xml version='1.0'?> x <stream:stream xmlns:stream='" STREAMS "'>",
		       XMPP_NOT_WELL_FORMED);
	header_refused("<?xml version='1.0'?><?xml version='1.0'?>", XMPP_RESTRICTED_XML);
	header_refused("<?xml version='1.1'?>", XMPP_NOT_WELL_FORMED);
	header_refused("<?php?>", XMPP_RESTRICTED_XML);
	header_refused("<!-- x -->", XMPP_RESTRICTED_XML);
	header_refused("<?xml version='1.0'?><![CDATA[ ]]>", XMPP_NOT_WELL_FORMED);
}

/* CVE-2013-0340 and what grew out of it: refused at the first "<!", before one entity is known. */
static void test_document_types(void **state)
{
	header_refused("<!D", XMPP_RESTRICTED_XML);
	header_refused("<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'c'>", XMPP_RESTRICTED_XML);
	refused("<!DOCTYPE a>", XMPP_RESTRICTED_XML);
	refused("<a><!ENTITY", XMPP_RESTRICTED_XML);
	refused("<a>&b;</a>", XMPP_RESTRICTED_XML);
	refused("<a b='&c;'/>", XMPP_RESTRICTED_XML);
	refused("<a>%b;&c</a>", XMPP_NOT_WELL_FORMED);
	refused("<!-- -->", XMPP_RESTRICTED_XML);
	refused("<a><!-- ", XMPP_RESTRICTED_XML);
	refused("<a><?b?></a>", XMPP_RESTRICTED_XML);
	refused("<?xml version='1.0'?>", XMPP_RESTRICTED_XML);
}

static void test_encodings(void **state)
{
	header_refused("<?xml version='1.0' encoding='ISO-8859-1'?>", XMPP_UNSUPPORTED_ENCODING);
	header_refused("<?xml version='1.0' encoding='utf-16'?>", XMPP_UNSUPPORTED_ENCODING);
	header_refused("<?xml version='1.0' encoding='US-ASCII'?>", XMPP_UNSUPPORTED_ENCODING);
	refused_so(SLICE_NONE, SLICE("\xff\xfe<\0s\0"), XMPP_UNSUPPORTED_ENCODING, WHOLE);
	refused_so(SLICE_NONE, SLICE("\xfe\xff\0<\0s"), XMPP_UNSUPPORTED_ENCODING, WHOLE);
	refused_so(SLICE_NONE, SLICE("<\0s\0>\0"), XMPP_UNSUPPORTED_ENCODING, WHOLE);
	/* Its second byte is what expat decides by, also against what it was told. */
	refused_so(SLICE_NONE, SLICE("<\0?\0x\0m\0l\0 \0?\0>\0"), XMPP_UNSUPPORTED_ENCODING, DRIP);
	refused_so(SLICE_NONE, SLICE("\0<\0s\0>"), XMPP_UNSUPPORTED_ENCODING, WHOLE);
	/* RFC 6120 section 11.6: no byte order mark, also not in the middle. */
	header_refused("\xef\xbb\xbf" HEADER, XMPP_NOT_WELL_FORMED);
	refused("\xef\xbb\xbf<a/>", XMPP_INVALID_XML);
	passes("<a>\xef\xbb\xbf</a>", "E<a>\xef\xbb\xbf</a>\n");
}

/* B08: UTF-8 in its shortest form (CVE-2022-25235: in names, where expat once did not look). */
static void test_utf8(void **state)
{
	static const char *const bad[] = {
		"\xff",
		"\xfe",
		"\x80",
		"\xc0\x80",
		"\xc1\xbf",
		"\xc0\xbc",
		"\xe0\x80\xbc",
		"\xe0\x9f\xbf",
		"\xf0\x8f\xbf\xbf",
		"\xed\xa0\x80",
		"\xed\xbf\xbf",
		"\xf4\x90\x80\x80",
		"\xf5\x80\x80\x80",
		"\xf8\x88\x80\x80",
		"\xe2\x82",
		"\xc3",
		"\xf0\x9f\x98",
		"\xe2",
		"\xf0\x9f",
		"\xf0",
	};
	char text[100];
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text), "<a>x%sx</a>", bad[i]);
		refused(text, XMPP_UNSUPPORTED_ENCODING);
		snprintf(text, sizeof(text), "<a>%s</a><b/>", bad[i]);
		refused(text, XMPP_UNSUPPORTED_ENCODING);
		snprintf(text, sizeof(text), "<a b='%s'/><b/>", bad[i]);
		refused(text, XMPP_UNSUPPORTED_ENCODING);
		snprintf(text, sizeof(text), "<a%s/><b/>", bad[i]);
		refused(text, XMPP_UNSUPPORTED_ENCODING);
		snprintf(text, sizeof(text), "<a b%s='x'/><b/>", bad[i]);
		refused(text, XMPP_UNSUPPORTED_ENCODING);
		snprintf(text, sizeof(text), "<p%s:a xmlns:p='x'/><b/>", bad[i]);
		refused(text, XMPP_UNSUPPORTED_ENCODING);
		snprintf(text, sizeof(text), "<a xmlns='%s'/><b/>", bad[i]);
		refused(text, XMPP_UNSUPPORTED_ENCODING);
		snprintf(text, sizeof(text), "<a></a%s><b/>", bad[i]);
		refused(text, XMPP_UNSUPPORTED_ENCODING);
	}
	passes("<a>\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbd\xf0\x90\x80\x80"
	       "\xf4\x8f\xbf\xbf</a>",
	       "E<a>\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbd"
	       "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf</a>\n");
}

static void test_characters(void **state)
{
	refused_bytes(SLICE("<a>\0</a>"), XMPP_NOT_WELL_FORMED);
	refused_bytes(SLICE("<a b='\0'/>"), XMPP_NOT_WELL_FORMED);
	refused_bytes(SLICE("<a\0b/>"), XMPP_NOT_WELL_FORMED);
	refused_bytes(SLICE("\0<a/>"), XMPP_NOT_WELL_FORMED);
	refused_bytes(SLICE("<a xmlns='u\0v'/>"), XMPP_NOT_WELL_FORMED);
	refused("<a>\x01</a>", XMPP_NOT_WELL_FORMED);
	refused("<a>\x1f</a>", XMPP_NOT_WELL_FORMED);
	refused("\x01", XMPP_NOT_WELL_FORMED);
	/* U+FFFE and U+FFFF are UTF-8, and no characters. */
	refused("<a>\xef\xbf\xbe</a>", XMPP_NOT_WELL_FORMED);
	refused("<a>\xef\xbf\xbf</a>", XMPP_NOT_WELL_FORMED);
	refused("<a>&#0;</a>", XMPP_NOT_WELL_FORMED);
	refused("<a>&#x0;</a>", XMPP_NOT_WELL_FORMED);
	refused("<a>&#8;</a>", XMPP_NOT_WELL_FORMED);
	refused("<a>&#12;</a>", XMPP_NOT_WELL_FORMED);
	refused("<a b='&#12;'/>", XMPP_NOT_WELL_FORMED);
	refused("<a>&#xD800;</a>", XMPP_NOT_WELL_FORMED);
	refused("<a>&#xDFFF;</a>", XMPP_NOT_WELL_FORMED);
	refused("<a>&#xFFFE;</a>", XMPP_NOT_WELL_FORMED);
	refused("<a>&#x110000;</a>", XMPP_NOT_WELL_FORMED);
	refused("<a>&#99999999999999999999;</a>", XMPP_NOT_WELL_FORMED);
	refused("<a>]]></a>", XMPP_NOT_WELL_FORMED);
	passes("<a>&#x10FFFF;&#xE000;&#9;&#10;&#13;</a>",
	       "E<a>\xf4\x8f\xbf\xbf\xee\x80\x80\t\n&#13;</a>\n");
}

/* CVE-2022-25236: a byte that separates namespace and name inside the parser, inside a namespace.
 */
static void test_namespace_separator(void **state)
{
	refused("<a xmlns='jabber:client\fmessage'/>", XMPP_NOT_WELL_FORMED);
	refused("<a xmlns='jabber:client&#12;message'/>", XMPP_NOT_WELL_FORMED);
	refused("<a xmlns='jabber:client&#xC;message'/>", XMPP_NOT_WELL_FORMED);
	refused("<p:a xmlns:p='jabber:client\fx'/>", XMPP_NOT_WELL_FORMED);
	refused("<a\fb/>", XMPP_NOT_WELL_FORMED);
	/* Others are part of the name, and stay that. */
	passes("<a xmlns='u&#10;v'/>", "E<a xmlns='u&#10;v'/>\n");
	passes("<a xmlns='u}v|w x'/>", "E<a xmlns='u}v|w x'/>\n");
}

static void test_namespaces(void **state)
{
	refused("<p:a/>", XMPP_BAD_NAMESPACE_PREFIX);
	refused("<a><p:b/></a>", XMPP_BAD_NAMESPACE_PREFIX);
	refused("<a p:b='1'/>", XMPP_BAD_NAMESPACE_PREFIX);
	/* A prefix ends with its element. */
	refused("<a><b xmlns:p='urn:p'/><p:c/></a>", XMPP_BAD_NAMESPACE_PREFIX);
	refused("<a xmlns:p=''/>", XMPP_NOT_WELL_FORMED);
	refused("<a xmlns:xml='urn:x'/>", XMPP_NOT_WELL_FORMED);
	refused("<a xmlns:x='" XML_NS "'/>", XMPP_NOT_WELL_FORMED);
	refused("<a xmlns='" XML_NS "'/>", XMPP_NOT_WELL_FORMED);
	refused("<a xmlns:xmlns='urn:x'/>", XMPP_NOT_WELL_FORMED);
	refused("<a xmlns:x='http://www.w3.org/2000/xmlns/'/>", XMPP_NOT_WELL_FORMED);
	refused("<a xmlns='http://www.w3.org/2000/xmlns/'/>", XMPP_NOT_WELL_FORMED);
	refused("<xmlns:a/>", XMPP_BAD_NAMESPACE_PREFIX);
	refused("<a:b:c xmlns:a='urn:x'/>", XMPP_NOT_WELL_FORMED);
	refused("<:a/>", XMPP_NOT_WELL_FORMED);
	refused("<a b='1' b='2'/>", XMPP_NOT_WELL_FORMED);
	refused("<a xmlns:p='u' xmlns:q='u' p:b='1' q:b='2'/>", XMPP_NOT_WELL_FORMED);
	refused("<a xmlns='u' xmlns='v'/>", XMPP_NOT_WELL_FORMED);
	passes("<a xmlns:p='u' xmlns:q='v' p:b='1' q:b='2' b='3'/>",
	       "E<a xmlns:a0='u' a0:b='1' xmlns:a1='v' a1:b='2' b='3'/>\n");
	passes("<xml:a xml:lang='de'/>", "E<xml:a xml:lang='de'/>\n");
	/* The stream's own prefix may mean something else in there, and is printed as what it is.
	 */
	passes("<a xmlns:stream='urn:x'><stream:stream/></a>", "E<a><stream xmlns='urn:x'/></a>\n");
}

/* CVE-2022-20917 and Project Zero 2254: what ends or opens a stream inside a stanza. */
static void test_streams_inside(void **state)
{
	refused("<stream:stream>", XMPP_INVALID_XML);
	refused("<stream:stream to='x' xmlns='jabber:server'>", XMPP_INVALID_XML);
	refused("<stream xmlns='" STREAMS "'/>", XMPP_INVALID_XML);
}

static void test_streams_namespace_inside(void **state)
{
	refused("<message><stream:stream/></message>", XMPP_INVALID_XML);
	refused("<message><stream:stream>", XMPP_INVALID_XML);
	refused("<message><body><s:stream xmlns:s='" STREAMS "'/></body></message>",
		XMPP_INVALID_XML);
	refused("<message><stream:error/></message>", XMPP_INVALID_XML);
	refused("<message><features xmlns='" STREAMS "'/></message>", XMPP_INVALID_XML);
	refused("<stream:features><stream:features/></stream:features>", XMPP_INVALID_XML);
	refused("<message><stream:stream to='x'>", XMPP_INVALID_XML);
	refused("<message></stream:stream>", XMPP_NOT_WELL_FORMED);
	refused("<message><body></message></body>", XMPP_NOT_WELL_FORMED);
	refused("<message></message2>", XMPP_NOT_WELL_FORMED);
	refused("</message>", XMPP_NOT_WELL_FORMED);
	refused("</stream>", XMPP_NOT_WELL_FORMED);
	passes("<message><body>&lt;/stream:stream></body></message>",
	       "E<message><body>&lt;/stream:stream&gt;</body></message>\n");
	passes("<message><body><![CDATA[</body></message></stream:stream>]]></body></message>",
	       "E<message><body>&lt;/body&gt;&lt;/message&gt;&lt;/stream:stream&gt;</body>"
	       "</message>\n");
}

static void test_text_between(void **state)
{
	refused("x", XMPP_INVALID_XML);
	refused("&#32;", XMPP_INVALID_XML);
	refused("\xc2\xa0", XMPP_INVALID_XML);
	refused("<![CDATA[ ]]>", XMPP_INVALID_XML);
}

static void test_broken_tags(void **state)
{
	refused("<>", XMPP_NOT_WELL_FORMED);
	refused("</>", XMPP_NOT_WELL_FORMED);
	refused("< a/>", XMPP_NOT_WELL_FORMED);
	refused("<a <b/>", XMPP_NOT_WELL_FORMED);
	refused("<<a/>", XMPP_NOT_WELL_FORMED);
	refused("</stream:stream <", XMPP_NOT_WELL_FORMED);
	refused("<a b='<'/>", XMPP_NOT_WELL_FORMED);
	refused("<a b=c/>", XMPP_NOT_WELL_FORMED);
	refused("<a b/>", XMPP_NOT_WELL_FORMED);
	refused("<a b='1'c='2'/>", XMPP_NOT_WELL_FORMED);
	refused("<a / >", XMPP_NOT_WELL_FORMED);
	refused("<a>< /a>", XMPP_NOT_WELL_FORMED);
	refused("<a></a b='1'>", XMPP_NOT_WELL_FORMED);
	/* What is wrong first counts, also when all comes at once. */
	refused("<a></b><!-- ", XMPP_NOT_WELL_FORMED);
	refused("<a><p:b/><!-- ", XMPP_BAD_NAMESPACE_PREFIX);
	refused("<a><!-- </b>", XMPP_RESTRICTED_XML);
	refused("<1a/>", XMPP_NOT_WELL_FORMED);
	refused("<![CDATB[", XMPP_NOT_WELL_FORMED);
	refused("<a><![IGNORE[x]]></a>", XMPP_NOT_WELL_FORMED);
	passes("<a b='/>' c=\"'>\" ></a >", "E<a b='/&gt;' c='&apos;&gt;'/>\n");
	passes("<a><![CDATA[]]]]><![CDATA[>]]></a>", "E<a>]]&gt;</a>\n");
}

/* --- bounds --- */

static void add_times(struct buf *b, const char *text, unsigned n)
{
	while (n--)
		buf_add_str(b, text);
}

/* The text, n times another, the end: passes with n_good of them, not with one more. */
static void bound(const char *first, const char *again, const char *last, unsigned n_good)
{
	struct xml_recorder r;
	struct buf b;

	buf_init(&b, 4 << 20);
	buf_add_str(&b, first);
	add_times(&b, again, n_good);
	buf_add_str(&b, last);
	assert_true(xml_recorder_init(&r, &long_limits));
	assert_int_equal(xml_recorder_feed(&r, HEADER), 0);
	if (xml_stream_feed(r.x, buf_slice(&b)) != 0)
		fail_msg("%s ... %s: %u were too many", first, last, n_good);
	xml_recorder_fini(&r);
	buf_reset(&b);
	buf_add_str(&b, first);
	add_times(&b, again, n_good + 1);
	buf_add_str(&b, last);
	refused_bytes(buf_slice(&b), XMPP_POLICY_VIOLATION);
	buf_fini(&b);
}

static void test_name_bounds(void **state)
{
	bound("<", "a", "/>", 1024);
	bound("<a ", "b", "='1'/>", 1024);
	bound("<a xmlns:", "p", "='u'/>", 1024);
	bound("<a xmlns='", "u", "'/>", 1024);
	bound("<a xmlns:p='", "u", "'/>", 1024);
	bound("<x:", "a", " xmlns:x='u'/>", 1024);
	bound("<a xmlns:p='u' p:", "a", "='1'/>", 1024);
}

static void test_tree_bounds(void **state)
{
	char printed[1000];
	struct buf b;
	unsigned i;

	/* Depth: the stanza is the first level. */
	buf_init(&b, 1 << 20);
	add_times(&b, "<a>", 63);
	buf_add_str(&b, "<a/>");
	add_times(&b, "</a>", 63);
	snprintf(printed, sizeof(printed), "E%s\n", b.p);
	passes(b.p, printed);
	buf_reset(&b);
	add_times(&b, "<a>", 64);
	buf_add_str(&b, "<a/>");
	refused(b.p, XMPP_POLICY_VIOLATION);
	buf_reset(&b);
	add_times(&b, "<a>", 10000);
	refused(b.p, XMPP_POLICY_VIOLATION);
	bound("<a>", "<b/>", "</a>", 10000);
	buf_reset(&b);
	buf_add_str(&b, "<a");
	for (i = 0; i < 10000; i++)
		buf_printf(&b, " b%u='1'", i);
	buf_add_str(&b, "/>");
	refused(b.p, XMPP_POLICY_VIOLATION);
	buf_fini(&b);
}

/* The count begins anew with each child of the stream. */
static void test_children_bound_again(void **state)
{
	struct xml_recorder r;
	struct buf b;
	unsigned i;

	buf_init(&b, 1 << 20);
	buf_add_str(&b, "<a>");
	add_times(&b, "<b/>", 10000);
	buf_add_str(&b, "</a>");
	assert_true(xml_recorder_init(&r, &long_limits));
	assert_int_equal(xml_recorder_feed(&r, HEADER), 0);
	for (i = 0; i < 3; i++)
		assert_int_equal(xml_stream_feed(r.x, buf_slice(&b)), 0);
	xml_recorder_fini(&r);
	buf_fini(&b);
}

static void add_attrs(struct buf *b, unsigned n)
{
	unsigned i;

	buf_reset(b);
	buf_add_str(b, "<a");
	for (i = 0; i < n; i++)
		buf_printf(b, i % 2 ? " b%u='1'" : " xmlns:b%u='1'", i);
	buf_add_str(b, "/>");
}

/* Attributes and declarations count together. */
static void test_attr_bound(void **state)
{
	struct xml_recorder r;
	struct buf b;

	buf_init(&b, 1 << 20);
	add_attrs(&b, 64);
	assert_true(xml_recorder_init(&r, &long_limits));
	assert_int_equal(xml_recorder_feed(&r, HEADER), 0);
	assert_int_equal(xml_recorder_feed(&r, b.p), 0);
	xml_recorder_fini(&r);
	add_attrs(&b, 65);
	refused(b.p, XMPP_POLICY_VIOLATION);
	buf_fini(&b);
}

/* From the end of the last one to its own end; white space in front does not count. */
static void test_stanza_bound(void **state)
{
	struct xml_recorder r;
	struct buf b;

	bound("<a>", "x", "</a>", 256 * 1024 - 7);
	bound("<a b='", "x", "'/>", 256 * 1024 - 9);
	buf_init(&b, 1 << 20);
	add_times(&b, " ", 256 * 1024 + 1);
	buf_add_str(&b, "<a/>");
	assert_true(xml_recorder_init(&r, &long_limits));
	assert_int_equal(xml_recorder_feed(&r, HEADER), 0);
	assert_int_equal(xml_stream_feed(r.x, buf_slice(&b)), 0);
	assert_string_equal(xml_recorder_log(&r), "H\nS\nE<a/>\n");
	xml_recorder_fini(&r);
	buf_fini(&b);
}

static void test_header_bound(void **state)
{
	struct buf b;

	buf_init(&b, 1 << 20);
	buf_add_str(&b, "<?xml version='1.0'?><stream:stream to='");
	add_times(&b, "x", 256 * 1024);
	header_refused(b.p, XMPP_POLICY_VIOLATION);
	buf_reset(&b);
	buf_add_str(&b, "<?xml version='1.0' ");
	add_times(&b, " ", 256 * 1024);
	header_refused(b.p, XMPP_POLICY_VIOLATION);
	buf_fini(&b);
}

/* A namespace of 1,000 bytes that every other element needs anew: the tree may take no more than
 * its share, and so what is printed is bounded too. */
static void test_amplification(void **state)
{
	struct buf b;
	unsigned i;

	buf_init(&b, 1 << 20);
	buf_add_str(&b, "<a xmlns:p='");
	add_times(&b, "u", 1000);
	buf_add_str(&b, "'>");
	for (i = 0; i < 9999; i++)
		buf_add_str(&b, "<p:b/>");
	buf_add_str(&b, "</a>");
	refused_bytes(buf_slice(&b), XMPP_POLICY_VIOLATION);
	buf_fini(&b);
}

/* A stanza of 256 KiB whose values are full of '>', byte after byte: nothing waits for its end
 * twice. What would be quadratic takes 68 thousand million steps here, and the test its minutes. */
static void test_drip_is_linear(void **state)
{
	struct xml_recorder r;
	struct buf b;

	buf_init(&b, 1 << 20);
	buf_add_str(&b, "<a b='");
	add_times(&b, ">", 256 * 1024 - 20);
	buf_add_str(&b, "'/>");
	assert_true(xml_recorder_init(&r, &long_limits));
	assert_int_equal(xml_recorder_feed(&r, HEADER), 0);
	assert_int_equal(xml_recorder_drip(&r, buf_slice(&b)), 0);
	assert_int_equal(r.log.p[r.log.n - 1], '\n');
	assert_true(r.log.n > 1000 * 1000); /* &gt; */
	xml_recorder_fini(&r);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_document_types),
		cmocka_unit_test(test_encodings),
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_characters),
		cmocka_unit_test(test_namespace_separator),
		cmocka_unit_test(test_namespaces),
		cmocka_unit_test(test_streams_inside),
		cmocka_unit_test(test_streams_namespace_inside),
		cmocka_unit_test(test_text_between),
		cmocka_unit_test(test_broken_tags),
		cmocka_unit_test(test_name_bounds),
		cmocka_unit_test(test_tree_bounds),
		cmocka_unit_test(test_children_bound_again),
		cmocka_unit_test(test_attr_bound),
		cmocka_unit_test(test_stanza_bound),
		cmocka_unit_test(test_header_bound),
		cmocka_unit_test(test_amplification),
		cmocka_unit_test(test_drip_is_linear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
