#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "proto/xml_quick.h"
#include "support/alloc_fail.h"

#define TREE_BYTES 4096

struct reading {
	struct xml_pool *pool;
	struct xml_arena arena;
	struct xml_stream_limits limits;
	struct buf out;
};

static void init(struct reading *r)
{
	*r = (struct reading){ .pool = xml_pool_new(), .limits = xml_stream_default_limits };
	r->arena.pool = r->pool;
	r->arena.max_bytes = TREE_BYTES;
	buf_init(&r->out, 1 << 20);
}

static void fini(struct reading *r)
{
	xml_arena_reset(&r->arena);
	xml_pool_free(r->pool);
	buf_fini(&r->out);
}

static size_t read_one(struct reading *r, const char *text)
{
	struct xml_node *e;
	size_t n;

	xml_arena_reset(&r->arena);
	buf_reset(&r->out);
	n = xml_quick_read(slice_of(text), XMPP_CLIENT, &r->limits, &r->arena, &e);
	if (n)
		xml_node_print(e, XMPP_CLIENT, false, &r->out);
	return n;
}

/* All of text is one element, printed as expected. */
static void is_read(struct reading *r, const char *text, const char *expected)
{
	assert_int_equal(read_one(r, text), strlen(text));
	assert_string_equal(r->out.p, expected);
}

static void is_left(struct reading *r, const char *text)
{
	if (read_one(r, text) != 0)
		fail_msg("it took %s", text);
}

static void test_reads_what_everybody_writes(void **state)
{
	struct reading r;

	init(&r);
	is_read(&r, "<presence/>", "<presence/>");
	is_read(&r,
		"<message to='a@b' type=\"chat\" xml:lang='en'><body>a &lt;b&gt; &amp;c</body>"
		"<active xmlns='http://jabber.org/protocol/chatstates'/></message>",
		"<message to='a@b' type='chat' xml:lang='en'><body>a &lt;b&gt; &amp;c</body>"
		"<active xmlns='http://jabber.org/protocol/chatstates'/></message>");
	is_read(&r,
		"<iq  id=\"'\"  to='\"' ><q xmlns='urn:q'><q2 /><q3 "
		"xmlns='jabber:client'/></q></iq>",
		"<iq id='&apos;' to='&quot;'><q xmlns='urn:q'><q2/>"
		"<q3 xmlns='jabber:client'/></q></iq>");
	is_read(&r, "<a> <b></b>\n\t</a>", "<a> <b/>\n\t</a>");
	is_read(&r, "<a b='&apos;&quot;'>\xc3\xa9\xe2\x82\xac\xf0\x90\x8d\x88</a>",
		"<a b='&apos;&quot;'>\xc3\xa9\xe2\x82\xac\xf0\x90\x8d\x88</a>");
	is_read(&r, "<a b='' c='>'/>", "<a b='' c='&gt;'/>");
	is_read(&r, "<a xmlns='jabber:client'/>", "<a/>");
	is_read(&r, "<stream:features><bind xmlns='urn:b'/><x/></stream:features>",
		"<stream:features><bind xmlns='urn:b'/><x/></stream:features>");
	is_read(&r, "<stream:error/>", "<stream:error/>");
	fini(&r);
}

static void test_takes_one_element_and_no_more(void **state)
{
	struct reading r;

	init(&r);
	assert_int_equal(read_one(&r, "<a/><b/>"), 4);
	assert_int_equal(read_one(&r, "<a><a/></a></a>"), 11);
	assert_int_equal(read_one(&r, "<a></a>  "), 7);
	assert_int_equal(read_one(&r, "<a/>\xff"), 4);
	fini(&r);
}

static void test_leaves_what_is_not_whole(void **state)
{
	static const char text[] =
		"<m a='&lt;' xml:lang='e'><b xmlns='urn:b'>\xc3\xa9&amp;</b></m>";
	struct reading r;
	char part[sizeof(text)] = "";

	init(&r);
	is_read(&r, text, "<m a='&lt;' xml:lang='e'><b xmlns='urn:b'>\xc3\xa9&amp;</b></m>");
	for (size_t n = 1; n < sizeof(text) - 1; n++) {
		memcpy(part, text, n);
		is_left(&r, part);
	}
	fini(&r);
}

/* Wrong, or rare: expat decides. */
static void test_leaves_what_is_unusual(void **state)
{
	static const char *const texts[] = {
		"<!-- -->",
		"<?a?>",
		"<![CDATA[x]]>",
		"</a>",
		"</stream:stream>",
		"< a/>",
		"<1/>",
		"<>",
		"<a",
		"<a/",
		"<a>",
		"<a></b>",
		"<a></ab>",
		"<ab></a>",
		"<a></a >",
		"<a/ >",
		"<a\t/>",
		"<a\n/>",
		"<a b='1'c='2'/>",
		"<a b = '1'/>",
		"<a b/>",
		"<a b=1/>",
		"<a b='1/>",
		"<a b='<'/>",
		"<a b='\n'/>",
		"<a b='\t'/>",
		"<a b='\x01'/>",
		"<a b='&#65;'/>",
		"<a b='&x;'/>",
		"<a b='&'/>",
		"<a b='1' b='2'/>",
		"<a xml:lang='1' xml:lang='2'/>",
		"<a x:b='1'/>",
		"<a xml:='1'/>",
		"<a xml:1='1'/>",
		"<a :b='1'/>",
		"<x:a/>",
		"<x:a xmlns:x='urn:x'/>",
		"<:a/>",
		"<a:/>",
		"<stream:stream>",
		"<stream:stream/>",
		"<a><stream:b/></a>",
		"<stream:a xmlns='urn:a'/>",
		"<a xmlns=''/>",
		"<a xmlns='urn:a' xmlns='urn:b'/>",
		"<a xmlns='&lt;'/>",
		"<a xmlns='\"'/>",
		"<a xmlns=\"'\"/>",
		"<a xmlns='>'/>",
		"<a xmlns='http://etherx.jabber.org/streams'/>",
		"<a xmlns='http://www.w3.org/XML/1998/namespace'/>",
		"<a xmlns='http://www.w3.org/2000/xmlns/'/>",
		"<a>&#65;</a>",
		"<a>&b;</a>",
		"<a>&amp</a>",
		"<a>]]></a>",
		"<a>></a>",
		"<a>\r</a>",
		"<a>\x01</a>",
		"<a>\x7f\x80</a>",
		"<a>\xc0\x80</a>",
		"<a>\xed\xa0\x80</a>",
		"<a>\xef\xbf\xbe</a>",
		"<a>\xef\xbf\xbf</a>",
		"<a>\xf4\x90\x80\x80</a>",
		"<a><!-- --></a>",
		"<a><![CDATA[x]]></a>",
		"<a><?b?></a>",
		"<\xc3\xa9/>",
		"<a \xc3\xa9='1'/>",
	};
	struct reading r;

	init(&r);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		is_left(&r, texts[i]);
	fini(&r);
}

/* At the bound it reads, behind it it leaves the refusal to the reader. */
static void test_bounds(void **state)
{
	struct reading r;

	init(&r);
	r.limits.max_depth = 2;
	is_read(&r, "<a><b/><c></c></a>", "<a><b/><c/></a>");
	is_left(&r, "<a><b><c/></b></a>");
	r.limits.max_children = 2;
	is_read(&r, "<a><b/><b/></a>", "<a><b/><b/></a>");
	is_left(&r, "<a><b/><b/><b/></a>");
	r.limits.max_attrs = 2;
	is_read(&r, "<a b='1' xmlns='urn:a'/>", "<a xmlns='urn:a' b='1'/>");
	is_left(&r, "<a b='1' c='2' xmlns='urn:a'/>");
	r.limits.max_name_bytes = 4;
	is_read(&r, "<abcd efgh='1' xmlns='urn:'/>", "<abcd xmlns='urn:' efgh='1'/>");
	is_left(&r, "<abcde/>");
	is_left(&r, "<a bcdef='1'/>");
	is_left(&r, "<a xmlns='urn:a'/>");
	r.limits.max_stanza_bytes = 8;
	is_read(&r, "<a>b</a>", "<a>b</a>");
	is_left(&r, "<a>bc</a>");
	fini(&r);
}

static void test_many_attributes_are_left(void **state)
{
	struct reading r;

	init(&r);
	is_read(&r,
		"<a a='' b='' c='' d='' e='' f='' g='' h='' i='' j='' k='' l='' m='' n='' o='' "
		"p=''/>",
		"<a a='' b='' c='' d='' e='' f='' g='' h='' i='' j='' k='' l='' m='' n='' o='' "
		"p=''/>");
	is_left(&r, "<a a='' b='' c='' d='' e='' f='' g='' h='' i='' j='' k='' l='' m='' n='' o='' "
		    "p='' q=''/>");
	fini(&r);
}

/* What printing says again and again is bounded in all, also where a tree is small. */
static void test_namespaces_are_counted(void **state)
{
	struct reading r;

	init(&r);
	r.limits.max_stanza_bytes = 90;
	/* jabber:client and twice XML_NS are 13 + 2 * 36 bytes, as the reader counts. */
	is_read(&r, "<a xml:a='' xml:b=''/>", "<a xml:a='' xml:b=''/>");
	is_read(&r, "<a xml:a='' xml:b='' xml:c='' xml:d=''/>",
		"<a xml:a='' xml:b='' xml:c='' xml:d=''/>");
	is_left(&r, "<a xml:a='' xml:b='' xml:c='' xml:d='' xml:e=''/>");
	fini(&r);
}

static void test_memory_is_counted(void **state)
{
	static const char text[] = "<a b='&lt;x'><c xmlns='urn:c'>d&amp;</c></a>";
	struct reading r;
	size_t n;

	init(&r);
	assert_int_equal(read_one(&r, text), strlen(text));
	n = r.arena.n_bytes;
	/* What unescape() takes for a moment is a little more than what it leaves. */
	r.arena.max_bytes = n + 4;
	assert_int_equal(read_one(&r, text), strlen(text));
	r.arena.max_bytes = n - 1;
	assert_int_equal(read_one(&r, text), 0);
	fini(&r);
}

static void read_with_failures(void *arg)
{
	struct reading r;

	*(unsigned *)arg += 1;
	r = (struct reading){ .pool = xml_pool_new(), .limits = xml_stream_default_limits };
	if (!r.pool)
		return;
	r.arena.pool = r.pool;
	r.arena.max_bytes = 100 * 1024;
	buf_init(&r.out, 1 << 20);
	for (int i = 0; i < 3; i++)
		read_one(&r, "<message to='&amp;'><body>one</body><x xmlns='urn:x'/></message>");
	fini(&r);
}

static void test_failing_memory(void **state)
{
	unsigned n = 0;

	alloc_fail_sweep(read_with_failures, &n);
	assert_true(n > 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads_what_everybody_writes),
		cmocka_unit_test(test_takes_one_element_and_no_more),
		cmocka_unit_test(test_leaves_what_is_not_whole),
		cmocka_unit_test(test_leaves_what_is_unusual),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_many_attributes_are_left),
		cmocka_unit_test(test_namespaces_are_counted),
		cmocka_unit_test(test_memory_is_counted),
		cmocka_unit_test(test_failing_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
