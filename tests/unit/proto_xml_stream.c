#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>

#include "proto/xml_pool.h"
#include "proto/xml_stream.h"
#include "support/alloc_fail.h"
#include "support/xml_recorder.h"

#define HEADER XML_RECORDER_HEADER

static void start(struct xml_recorder *r)
{
	assert_true(xml_recorder_init(r, NULL));
}

static void start_open(struct xml_recorder *r)
{
	start(r);
	assert_int_equal(xml_recorder_feed(r, HEADER), 0);
	assert_string_equal(xml_recorder_log(r), "H\n");
}

static void feed(struct xml_recorder *r, const char *text, const char *expected)
{
	assert_int_equal(xml_recorder_feed(r, text), 0);
	assert_string_equal(xml_recorder_log(r), expected);
}

/* --- headers --- */

static void keep_header(void *arg, const struct xmpp_header *h)
{
	struct buf *out = arg;

	buf_printf(out, "%s|%s|%s|%s|%s|%s|%d", h->content ? h->content : "-", h->to ? h->to : "-",
		   h->from ? h->from : "-", h->id ? h->id : "-", h->version ? h->version : "-",
		   h->lang ? h->lang : "-", h->dialback);
}

static void no_element(void *arg, struct xml_node *e, struct xml_arena *arena)
{
	fail();
}

static void nothing(void *arg)
{
}

static void header_is(const char *text, const char *expected)
{
	static const struct xml_stream_events events = {
		.header = keep_header, .element = no_element, .space = nothing, .end = nothing
	};
	struct xml_pool *pool = xml_pool_new();
	struct xml_stream *x;
	struct buf out;

	buf_init(&out, 1000);
	x = xml_stream_new(pool, &xml_stream_default_limits, &events, &out);
	assert_int_equal(xml_stream_feed(x, slice_of(text)), 0);
	assert_string_equal(out.p, expected);
	xml_stream_free(x);
	xml_pool_free(pool);
	buf_fini(&out);
}

static void test_header(void **state)
{
	header_is(HEADER, "jabber:client|example.com|user@example.com|-|1.0|en|0");
	header_is(" \r\n\t<stream:stream xmlns:stream='http://etherx.jabber.org/streams' "
		  "xmlns='jabber:server' xmlns:db=\"jabber:server:dialback\" id='a&lt;&#65;' >",
		  "jabber:server|-|-|a<A|-|-|1");
	/* Other prefixes, and none (RFC 6120 section 4.8.3). */
	header_is("<s:stream xmlns:s='http://etherx.jabber.org/streams' "
		  "xmlns='jabber:component:accept' x:to='b' xmlns:x='urn:x' to='a'>",
		  "jabber:component:accept|a|-|-|-|-|0");
	header_is("<stream xmlns='http://etherx.jabber.org/streams' xmlns:c='jabber:client'>",
		  "jabber:client|-|-|-|-|-|0");
	header_is("<stream xmlns='http://etherx.jabber.org/streams' xmlns:c='urn:c'>",
		  "-|-|-|-|-|-|0");
	header_is(
		"<?xml version='1.0' encoding='utf-8' standalone='yes' ?>\n"
		"<stream:stream xmlns='urn:other' xmlns:stream='http://etherx.jabber.org/streams'>",
		"urn:other|-|-|-|-|-|0");
}

/* --- elements --- */

#define CHAT                                                                       \
	"<message to='a@b' type=\"chat\"><body>one &amp; <![CDATA[<two>]]></body>" \
	"<x:a xmlns:x='urn:x' x:b='1' c='2'><x:d/></x:a></message>"
#define CHAT_PRINTED                                                        \
	"E<message to='a@b' type='chat'><body>one &amp; &lt;two&gt;</body>" \
	"<a xmlns='urn:x' xmlns:a0='urn:x' a0:b='1' c='2'><d/></a></message>\n"

static void test_elements(void **state)
{
	struct xml_recorder r;

	start_open(&r);
	feed(&r, CHAT, CHAT_PRINTED);
	feed(&r, CHAT "<presence/>" CHAT, CHAT_PRINTED "E<presence/>\n" CHAT_PRINTED);
	feed(&r, "<iq", "");
	assert_int_equal(xml_stream_pending(r.x), 3);
	feed(&r, " type='get'><q", "");
	assert_int_equal(xml_stream_pending(r.x), 17);
	feed(&r, "/></iq", "");
	feed(&r, ">", "E<iq type='get'><q/></iq>\n");
	assert_int_equal(xml_stream_pending(r.x), 0);
	feed(&r, "<stream:features><a xmlns='urn:a'/></stream:features>",
	     "E<stream:features><a xmlns='urn:a'/></stream:features>\n");
	feed(&r, "</stream:stream>", ".\n");
	feed(&r, "<late/> what ever <", "");
	assert_int_equal(xml_stream_pending(r.x), 0);
	xml_recorder_fini(&r);
}

static void test_byte_by_byte(void **state)
{
	struct xml_recorder r;

	start(&r);
	assert_int_equal(
		xml_recorder_drip(&r, SLICE(HEADER CHAT "<a b='>'/> " CHAT "</stream:stream>")), 0);
	assert_string_equal(xml_recorder_log(&r),
			    "H\n" CHAT_PRINTED "E<a b='&gt;'/>\nS\n" CHAT_PRINTED ".\n");
	xml_recorder_fini(&r);
}

/* B11: keepalives are told once for each feed, however many there are. */
static void test_space(void **state)
{
	struct xml_recorder r;

	start_open(&r);
	feed(&r, " ", "S\n");
	feed(&r, "\r\n\t  ", "S\n");
	feed(&r, " <a/> <b/>\n", "S\nE<a/>\nE<b/>\n");
	feed(&r, "<a> </a>", "E<a> </a>\n");
	assert_int_equal(xml_stream_feed(r.x, SLICE_NONE), 0);
	assert_string_equal(xml_recorder_log(&r), "");
	xml_recorder_fini(&r);
}

static void test_pause(void **state)
{
	struct xml_recorder r;

	start(&r);
	r.pause_at_header = true;
	feed(&r, HEADER "<a/>", "H\n");
	assert_true(xml_stream_is_paused(r.x));
	assert_int_equal(xml_stream_pending(r.x), 4);
	assert_false(xml_stream_sleep(r.x));
	assert_int_equal(xml_stream_resume(r.x), 0);
	assert_false(xml_stream_is_paused(r.x));
	assert_string_equal(xml_recorder_log(&r), "E<a/>\n");
	r.pause_at = "p";
	feed(&r, "<p/><p/><a", "E<p/>\n");
	feed(&r, "/> <p/>", "");
	assert_int_equal(xml_stream_resume(r.x), 0);
	assert_string_equal(xml_recorder_log(&r), "E<p/>\n");
	r.pause_at_space = true;
	assert_int_equal(xml_stream_resume(r.x), 0);
	assert_string_equal(xml_recorder_log(&r), "E<a/>\nS\n");
	xml_stream_pause(r.x);
	assert_int_equal(xml_stream_resume(r.x), 0);
	assert_string_equal(xml_recorder_log(&r), "E<p/>\n");
	/* What is wrong behind a pause is found behind it. */
	feed(&r, "<!--", "");
	assert_int_equal(xml_stream_resume(r.x), -EBADMSG);
	assert_int_equal(xml_stream_resume(r.x), -EBADMSG);
	xml_recorder_fini(&r);
}

/* B07: what came behind <auth/> belongs to the new stream. */
static void test_restart_keeps(void **state)
{
	struct xml_recorder r;

	start_open(&r);
	r.pause_at = r.restart_at = "auth";
	r.keep = true;
	feed(&r, "<auth/>\n" HEADER "<a/>", "E<auth/>\n");
	assert_int_equal(r.n_thrown, 0);
	assert_int_equal(xml_stream_resume(r.x), 0);
	assert_string_equal(xml_recorder_log(&r), "H\nE<a/>\n");
	/* Outside an event, behind a pause. */
	r.restart_at = NULL;
	feed(&r, "<auth/><?xml versi", "E<auth/>\n");
	feed(&r, "on='1.0'?><stream:stream xmlns='jabber:client' to='b' xmlns:stream='", "");
	assert_int_equal(xml_stream_restart(r.x, true), 0);
	feed(&r, "http://etherx.jabber.org/streams'>", "");
	assert_int_equal(xml_stream_resume(r.x), 0);
	assert_string_equal(xml_recorder_log(&r), "H\n");
	assert_string_equal(r.to, "b");
	/* Without a restart a second header is refused. */
	assert_int_equal(xml_recorder_feed(&r, HEADER), -EBADMSG);
	xml_recorder_fini(&r);
}

/* B01: what came behind <starttls/> in the clear is thrown away, and counted. */
static void test_restart_throws_away(void **state)
{
	struct xml_recorder r;

	start_open(&r);
	r.restart_at = "starttls";
	feed(&r, "<starttls/><auth>x</auth> \n", "E<starttls/>\n");
	assert_int_equal(r.n_thrown, 14);
	assert_int_equal(xml_stream_pending(r.x), 0);
	feed(&r, HEADER, "H\n");
	feed(&r, "<starttls/> \r\n", "E<starttls/>\n");
	assert_int_equal(r.n_thrown, 0);
	feed(&r, HEADER "<a/>", "H\nE<a/>\n");
	/* The new stream knows no prefix of the old one. */
	xml_stream_restart(r.x, false);
	feed(&r,
	     "<stream:stream xmlns='jabber:client' xmlns:x='urn:x' "
	     "xmlns:stream='http://etherx.jabber.org/streams'><x:a/>",
	     "H\nE<a xmlns='urn:x'/>\n");
	xml_stream_restart(r.x, false);
	feed(&r, HEADER, "H\n");
	assert_int_equal(xml_recorder_feed(&r, "<x:a/>"), -EBADMSG);
	xml_recorder_fini(&r);
}

/* In the middle of an element nothing that was half read comes out any more. */
static void test_restart_in_the_middle(void **state)
{
	struct xml_recorder r;

	start_open(&r);
	feed(&r, "<a><b/><c", "");
	assert_int_equal(xml_stream_restart(r.x, false), 9);
	feed(&r, HEADER "<d/>", "H\nE<d/>\n");
	xml_recorder_fini(&r);
}

/* Every declaration of the header is there again, also one that needs escaping. */
static void test_sleep_remembers(void **state)
{
	struct xml_recorder r;

	start(&r);
	feed(&r,
	     "<s:stream xmlns='jabber:client' xmlns:s='http://etherx.jabber.org/streams' "
	     "xmlns:x='urn:&apos;&lt;&#10;x' xmlns:xml='http://www.w3.org/XML/1998/namespace'>",
	     "H\n");
	assert_int_equal(r.pool->n_readers, 0);
	assert_true(xml_stream_sleep(r.x));
	assert_int_equal(r.pool->n_readers, 1);
	assert_true(xml_stream_sleep(r.x));
	feed(&r, "<x:a x:b='1'/>",
	     "E<a xmlns='urn:&apos;&lt;&#10;x' xmlns:a0='urn:&apos;&lt;&#10;x' a0:b='1'/>\n");
	assert_int_equal(r.pool->n_readers, 0);
	feed(&r, "<m", "");
	assert_false(xml_stream_sleep(r.x));
	feed(&r, "/>", "E<m/>\n");
	r.sleep_at = "z";
	feed(&r, "<z/>", "E<z/>\n");
	assert_true(r.slept);
	feed(&r, " ", "S\n");
	assert_int_equal(r.pool->n_readers, 1); /* a keepalive wakes nothing */
	feed(&r, "<z/><a/>", "E<z/>\nE<a/>\n");
	assert_false(r.slept);
	assert_true(xml_stream_sleep(r.x));
	feed(&r, "</s:stream>", ".\n");
	assert_true(xml_stream_sleep(r.x));
	xml_recorder_fini(&r);
}

/* The end tag must be the header's, also after a sleep. */
static void test_sleep_end(void **state)
{
	struct xml_recorder r;

	start_open(&r);
	assert_true(xml_stream_sleep(r.x));
	assert_int_equal(xml_recorder_feed(&r, "</stream>"), -EBADMSG);
	assert_string_equal(xml_recorder_log(&r), "");
	xml_recorder_fini(&r);
}

/* A stream that rests must not cost more than a note of what its header declared. */
static void test_sleep_costs_little(void **state)
{
	struct xml_recorder r;

	start_open(&r);
	feed(&r, CHAT, CHAT_PRINTED);
	assert_true(xml_stream_sleep(r.x));
	assert_int_equal(r.pool->n_readers, 1);
	assert_int_equal(r.pool->n_blocks, 1);
	xml_recorder_fini(&r);
}

static void drop(void *arg, struct xml_node *e, struct xml_arena *arena)
{
	*(unsigned *)arg += 1;
}

static void no_header(void *arg, const struct xmpp_header *h)
{
}

/* The pool keeps a bounded number of parsers and blocks, whatever was in use at once. */
static void test_pool_is_bounded(void **state)
{
	static const struct xml_stream_events events = {
		.header = no_header, .element = drop, .space = nothing, .end = nothing
	};
	struct xml_stream *x[XML_POOL_MAX_READERS + 10];
	struct xml_pool *pool = xml_pool_new();
	unsigned n = 0, i;

	for (i = 0; i < sizeof(x) / sizeof(x[0]); i++) {
		x[i] = xml_stream_new(pool, &xml_stream_default_limits, &events, &n);
		assert_int_equal(xml_stream_feed(x[i], SLICE(HEADER "<a>")), 0);
	}
	for (i = 0; i < sizeof(x) / sizeof(x[0]); i++)
		assert_int_equal(xml_stream_feed(x[i], SLICE("<b/></a>")), 0);
	assert_int_equal(n, sizeof(x) / sizeof(x[0]));
	for (i = 0; i < sizeof(x) / sizeof(x[0]); i++)
		assert_true(xml_stream_sleep(x[i]));
	assert_int_equal(pool->n_readers, XML_POOL_MAX_READERS);
	for (i = 0; i < sizeof(x) / sizeof(x[0]); i++)
		xml_stream_free(x[i]);
	assert_true(pool->n_blocks <= XML_POOL_MAX_BLOCKS);
	xml_pool_free(pool);
	xml_pool_free(NULL);
	xml_stream_free(NULL);
}

/* expat keeps every name it has met; a parser is not used for ever. */
static void test_names_do_not_pile_up(void **state)
{
	struct xml_recorder r;
	char text[64];
	int i;

	start_open(&r);
	for (i = 0; i < 20000; i++) {
		snprintf(text, sizeof(text), "<n%d a%d='x'/>", i, i);
		assert_int_equal(xml_recorder_feed(&r, text), 0);
		xml_recorder_log(&r);
	}
	xml_recorder_fini(&r);
}

/* One that has read much does not go to the pool either, with all that it remembers. */
static void test_worn_parsers_go(void **state)
{
	struct xml_stream_limits limits = xml_stream_default_limits;
	struct xml_recorder r;
	struct buf b;

	limits.max_stanza_bytes = 256 * 1024;
	assert_true(xml_recorder_init(&r, &limits));
	assert_int_equal(xml_recorder_feed(&r, HEADER), 0);
	buf_init(&b, 1 << 20);
	buf_printf(&b, "<x:a xmlns:x='urn:x'>%*s</x:a>", 70000, "");
	/* The one that has read the header is in the pool, as everybody's headers are. */
	assert_int_equal(r.pool->n_readers, 1);
	assert_int_equal(xml_stream_feed(r.x, buf_slice(&b)), 0);
	assert_true(xml_stream_sleep(r.x));
	assert_int_equal(r.pool->n_readers, 0);
	assert_int_equal(xml_recorder_feed(&r, "<b ></b >"), 0);
	assert_true(xml_stream_sleep(r.x));
	assert_int_equal(r.pool->n_readers, 1);
	buf_fini(&b);
	xml_recorder_fini(&r);
}

static void test_set_limits(void **state)
{
	struct xml_stream_limits limits = xml_stream_default_limits;
	struct xml_recorder r;

	start_open(&r);
	limits.max_stanza_bytes = 10;
	feed(&r, "<a>1234567", "");
	xml_stream_set_limits(r.x, &limits);
	feed(&r, "890</a><a>890</a>", "E<a>1234567890</a>\nE<a>890</a>\n");
	assert_int_equal(xml_recorder_feed(&r, "<a>8901</a>"), -EBADMSG);
	xml_recorder_fini(&r);
}

/* What is accepted and printed is accepted by who reads that with the limits for it; and a prefix
 * that stands for much does not make it much longer. */
static void test_printed_limits(void **state)
{
	struct xml_stream_limits limits = xml_stream_limits_printed(&xml_stream_default_limits);
	struct xml_recorder r, next;
	struct buf b;
	char *text;

	assert_int_equal(limits.max_stanza_bytes, 40 * 1024);
	assert_int_equal(limits.max_attrs, 130);
	buf_init(&b, 1 << 20);
	buf_add_str(&b, "<stream:stream xmlns='jabber:client' xmlns:stream='" XMPP_STREAMS "'");
	for (int i = 0; i < 60; i++)
		buf_printf(&b, " xmlns:p%d='urn:a%d'", i, i);
	buf_add_str(&b, ">");
	start(&r);
	assert_int_equal(xml_stream_feed(r.x, buf_slice(&b)), 0);
	xml_recorder_log(&r);
	buf_reset(&b);
	buf_add_str(&b, "<a");
	for (int i = 0; i < 60; i++)
		buf_printf(&b, " p%d:x='1'", i);
	buf_add_str(&b, "><![CDATA[");
	while (b.n < 9900)
		buf_add_str(&b, "<>");
	buf_add_str(&b, "]]></a>");
	assert_int_equal(xml_stream_feed(r.x, buf_slice(&b)), 0);
	text = strstr(r.log.p, "E<a ");
	assert_non_null(text);
	assert_true(strlen(text) > 36000);
	for (int printed = 0; printed < 2; printed++) {
		assert_true(
			xml_recorder_init(&next, printed ? &limits : &xml_stream_default_limits));
		assert_int_equal(xml_recorder_feed(&next, HEADER), 0);
		assert_int_equal(
			xml_stream_feed(next.x, (struct slice){ text + 1, strlen(text) - 2 }),
			printed ? 0 : -EBADMSG);
		xml_recorder_fini(&next);
	}
	xml_recorder_fini(&r);
	buf_fini(&b);
}

static void test_tree_bound(void **state)
{
	struct xml_stream_limits limits = xml_stream_default_limits;
	struct xml_recorder r;
	struct buf b;

	buf_init(&b, 1 << 20);
	buf_add_str(&b, "<a>");
	while (b.n < 9000)
		buf_add_str(&b, "<b/>");
	buf_add_str(&b, "</a>");
	for (int bound = 0; bound < 2; bound++) {
		limits.max_tree_bytes = bound ? 52 * 1024 : 0;
		assert_true(xml_recorder_init(&r, &limits));
		assert_int_equal(xml_recorder_feed(&r, HEADER), 0);
		assert_int_equal(xml_stream_feed(r.x, buf_slice(&b)), bound ? -EBADMSG : 0);
		xml_recorder_fini(&r);
	}
	/* Text is what it is. */
	buf_reset(&b);
	buf_printf(&b, "<a>%*s</a>", 10000, "");
	assert_true(xml_recorder_init(&r, &limits));
	assert_int_equal(xml_recorder_feed(&r, HEADER), 0);
	assert_int_equal(xml_stream_feed(r.x, buf_slice(&b)), 0);
	xml_recorder_fini(&r);
	buf_fini(&b);
}

static void test_namespaces_do_not_multiply(void **state)
{
	struct xml_recorder r;
	struct buf b;
	int result = 0;

	buf_init(&b, 1 << 20);
	for (int many = 0; many < 2; many++) {
		start_open(&r);
		buf_reset(&b);
		buf_printf(&b, "<a xmlns:p='%01000d'>", 1);
		for (int i = 0; i < (many ? 21 : 20); i++)
			buf_add_str(&b, "<p:b/>");
		buf_add_str(&b, "</a>");
		result = xml_stream_feed(r.x, buf_slice(&b));
		assert_int_equal(result, many ? -EBADMSG : 0);
		/* Each one anew. */
		if (!many)
			assert_int_equal(xml_stream_feed(r.x, buf_slice(&b)), 0);
		xml_recorder_fini(&r);
	}
	buf_fini(&b);
}

/* Feeding from inside an event: behind everything that is already there. */
static void feed_more(void *arg, struct xml_node *e, struct xml_arena *arena)
{
	struct xml_recorder *r = arg;

	if (strcmp(e->name, "one") == 0)
		assert_int_equal(xml_recorder_feed(r, "<three/>"), 0);
	buf_add_str(&r->log, e->name);
}

static void test_feed_in_event(void **state)
{
	static const struct xml_stream_events events = {
		.header = no_header, .element = feed_more, .space = nothing, .end = nothing
	};
	struct xml_recorder r;

	start(&r);
	xml_stream_free(r.x);
	r.x = xml_stream_new(r.pool, &xml_stream_default_limits, &events, &r);
	feed(&r, HEADER "<one/><two/>", "onetwothree");
	xml_recorder_fini(&r);
}

static void change(void *arg, struct xml_node *e, struct xml_arena *arena)
{
	struct xml_recorder *r = arg;
	char from[3001];

	memset(from, 'x', sizeof(from));
	assert_int_equal(xml_node_set(arena, e, "from", SLICE("me")), 0);
	assert_non_null(xml_node_new(arena, e, "urn:x", "x"));
	buf_reset(&r->log);
	xml_node_print(e, XMPP_CLIENT, false, &r->log);
	assert_int_equal(xml_node_set(arena, e, "from", (struct slice){ from, sizeof(from) }), 0);
}

static void start_changing(struct xml_recorder *r)
{
	static const struct xml_stream_events events = {
		.header = no_header, .element = change, .space = nothing, .end = nothing
	};

	start(r);
	xml_stream_free(r->x);
	r->x = xml_stream_new(r->pool, &xml_stream_default_limits, &events, r);
	assert_int_equal(xml_recorder_feed(r, HEADER), 0);
}

/* The owner may change what it got, also when the element has filled the arena: one by one until a
 * tree is refused. */
static void test_change_in_event(void **state)
{
	struct xml_recorder r;
	struct buf b;
	unsigned n, i;
	int status = 0;

	start_changing(&r);
	assert_int_equal(xml_recorder_feed(&r, "<a/>"), 0);
	assert_string_equal(r.log.p, "<a from='me'><x xmlns='urn:x'/></a>");
	buf_init(&b, 1 << 20);
	for (n = 100; status == 0; n++) {
		assert_true(n < 1000);
		buf_reset(&b);
		buf_printf(&b, "<a xmlns:p='%0800d'>", 1);
		for (i = 0; i < n; i++)
			buf_add_str(&b, "<p:b/>");
		buf_add_str(&b, "</a>");
		status = xml_stream_feed(r.x, buf_slice(&b));
	}
	assert_int_equal(status, -EBADMSG);
	buf_fini(&b);
	xml_recorder_fini(&r);
}

static void read_with_failures(void *arg)
{
	struct xml_recorder r;
	const char *why = NULL;
	int status = 0;

	if (!xml_recorder_init(&r, NULL)) {
		xml_recorder_fini(&r);
		return;
	}
	r.pause_at = "p";
	status = xml_recorder_feed(&r, HEADER CHAT);
	xml_stream_sleep(r.x);
	if (status == 0)
		status = xml_recorder_feed(&r, CHAT "<p/>" CHAT "<q>");
	if (status == 0)
		status = xml_stream_resume(r.x);
	if (status == 0)
		status = xml_recorder_drip(&r, SLICE("<r/></q></stream:stream>"));
	if (status < 0) {
		assert_int_equal(status, -ENOMEM);
		assert_int_equal(xml_stream_error(r.x, &why), XMPP_RESOURCE_CONSTRAINT);
		assert_int_equal(xml_recorder_feed(&r, "<a/>"), -ENOMEM);
		assert_string_equal(why, "out of memory");
	} else if (!r.log.failed) {
		assert_string_equal(xml_recorder_log(&r),
				    "H\n" CHAT_PRINTED CHAT_PRINTED "E<p/>\n" CHAT_PRINTED
				    "E<q><r/></q>\n.\n");
	}
	xml_recorder_fini(&r);
}

static void test_no_memory(void **state)
{
	assert_true(alloc_fail_sweep(read_with_failures, NULL) > 20);
}

/* --- frames of another protocol --- */

static void test_frames_between_elements(void **state)
{
	struct xml_recorder r;

	start_open(&r);
	r.n_frame_bytes = 3;
	assert_int_equal(xml_stream_feed(r.x, SLICE("<a/>\0<>\0\0\0 <b/>\0")), 0);
	assert_string_equal(xml_recorder_log(&r), "E<a/>\nF\nF\nS\nE<b/>\n");
	assert_int_equal(xml_stream_pending(r.x), 1);
	assert_false(xml_stream_sleep(r.x));
	assert_int_equal(xml_stream_feed(r.x, SLICE("x")), 0);
	assert_string_equal(xml_recorder_log(&r), "");
	assert_int_equal(xml_stream_feed(r.x, SLICE("y<c/>")), 0);
	assert_string_equal(xml_recorder_log(&r), "F\nE<c/>\n");
	assert_int_equal(xml_stream_pending(r.x), 0);
	assert_true(xml_stream_sleep(r.x));
	/* Byte by byte. */
	assert_int_equal(xml_recorder_drip(&r, SLICE("\0<><d/>\0\0\0")), 0);
	assert_string_equal(xml_recorder_log(&r), "F\nE<d/>\nF\n");
	xml_recorder_fini(&r);
}

static void test_frame_may_pause(void **state)
{
	struct xml_recorder r;

	start_open(&r);
	r.n_frame_bytes = 3;
	r.pause_at_frame = true;
	assert_int_equal(xml_stream_feed(r.x, SLICE("\0\0\0<a/>")), 0);
	assert_string_equal(xml_recorder_log(&r), "F\n");
	assert_int_equal(xml_stream_pending(r.x), 4);
	assert_int_equal(xml_stream_resume(r.x), 0);
	assert_string_equal(xml_recorder_log(&r), "E<a/>\n");
	xml_recorder_fini(&r);
}

/* Nowhere but there, and not for who takes none. */
static void test_nul_elsewhere_is_refused(void **state)
{
	static const struct slice rows[] = { SLICE("<a>\0bc</a>"), SLICE("<a\0bc/>"),
					     SLICE("<a b='\0cd'/>"), SLICE("<a>\0</a>"),
					     SLICE("x\0bc") };
	struct xml_recorder r;

	for (size_t i = 0; i <= sizeof(rows) / sizeof(rows[0]); i++) {
		bool all = i < sizeof(rows) / sizeof(rows[0]);

		start_open(&r);
		r.n_frame_bytes = all ? 3 : 0;
		assert_int_equal(xml_stream_feed(r.x, all ? rows[i] : SLICE("\0\0\0")), -EBADMSG);
		assert_string_equal(xml_recorder_log(&r), "");
		xml_recorder_fini(&r);
	}
	start(&r);
	r.n_frame_bytes = 3;
	assert_int_equal(xml_stream_feed(r.x, SLICE("\0\0\0" HEADER)), -EBADMSG);
	xml_recorder_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames_between_elements),
		cmocka_unit_test(test_frame_may_pause),
		cmocka_unit_test(test_nul_elsewhere_is_refused),
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_elements),
		cmocka_unit_test(test_byte_by_byte),
		cmocka_unit_test(test_space),
		cmocka_unit_test(test_pause),
		cmocka_unit_test(test_restart_keeps),
		cmocka_unit_test(test_restart_throws_away),
		cmocka_unit_test(test_restart_in_the_middle),
		cmocka_unit_test(test_sleep_remembers),
		cmocka_unit_test(test_sleep_end),
		cmocka_unit_test(test_sleep_costs_little),
		cmocka_unit_test(test_pool_is_bounded),
		cmocka_unit_test(test_names_do_not_pile_up),
		cmocka_unit_test(test_worn_parsers_go),
		cmocka_unit_test(test_set_limits),
		cmocka_unit_test(test_printed_limits),
		cmocka_unit_test(test_tree_bound),
		cmocka_unit_test(test_namespaces_do_not_multiply),
		cmocka_unit_test(test_feed_in_event),
		cmocka_unit_test(test_change_in_event),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
