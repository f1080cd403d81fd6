#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>

#include "proto/xml_node.h"
#include "proto/xml_pool.h"
#include "proto/xmpp.h"
#include "support/alloc_fail.h"

static void printed(const struct xml_node *e, const char *content, bool db, const char *expected)
{
	struct buf out;

	buf_init(&out, 100000);
	xml_node_print(e, content, db, &out);
	assert_false(out.failed);
	assert_string_equal(out.p, expected);
	buf_fini(&out);
}

static void not_printed(const struct xml_node *e)
{
	struct buf out;

	buf_init(&out, 100000);
	xml_node_print(e, XMPP_CLIENT, false, &out);
	assert_true(out.failed);
	buf_fini(&out);
}

static struct xml_arena new_arena(void)
{
	struct xml_arena a = { .pool = xml_pool_new() };

	assert_non_null(a.pool);
	return a;
}

static void fini(struct xml_arena *a)
{
	xml_arena_reset(a);
	xml_pool_free(a->pool);
}

static struct xml_node *message(struct xml_arena *a)
{
	struct xml_node *e = xml_node_new(a, NULL, XMPP_CLIENT, "message"), *body;

	assert_int_equal(xml_node_set(a, e, "to", SLICE("a@b")), 0);
	assert_int_equal(xml_node_set(a, e, "id", SLICE("1")), 0);
	body = xml_node_new(a, e, XMPP_CLIENT, "body");
	assert_int_equal(xml_node_add_text(a, body, SLICE("one ")), 0);
	assert_non_null(xml_node_new(a, body, "urn:x", "b"));
	assert_int_equal(xml_node_add_text(a, body, SLICE("two")), 0);
	assert_non_null(xml_node_new(a, e, "urn:x", "x"));
	assert_non_null(xml_node_new(a, e, "urn:y", "x"));
	return e;
}

static void test_looking(void **state)
{
	struct xml_arena a = new_arena();
	struct xml_node *e = message(&a), *x;

	assert_true(xml_node_is(e, XMPP_CLIENT, "message"));
	assert_false(xml_node_is(e, XMPP_SERVER, "message"));
	assert_false(xml_node_is(NULL, XMPP_SERVER, "message"));
	assert_string_equal(xml_node_attr(e, "to"), "a@b");
	assert_null(xml_node_attr(e, "from"));
	assert_null(xml_node_attr_ns(e, XML_NS, "to"));
	assert_null(xml_node_attr(NULL, "to"));
	x = xml_node_child(e, NULL, "x");
	assert_string_equal(x->ns, "urn:x");
	x = xml_node_again(x, NULL, "x");
	assert_string_equal(x->ns, "urn:y");
	assert_null(xml_node_again(x, NULL, NULL));
	assert_ptr_equal(xml_node_child(e, "urn:y", NULL), x);
	assert_null(xml_node_child(e, "urn:z", NULL));
	assert_null(xml_node_child(NULL, NULL, NULL));
	assert_null(xml_node_again(NULL, NULL, NULL));
	assert_string_equal(xml_node_text(&a, xml_node_child(e, NULL, "body")), "one two");
	assert_string_equal(xml_node_text(&a, e), "");
	assert_string_equal(xml_node_text(&a, NULL), "");
	/* Character data is no element. */
	assert_string_equal(xml_node_child(xml_node_child(e, NULL, "body"), NULL, NULL)->name, "b");
	fini(&a);
}

static void test_changing(void **state)
{
	struct xml_arena a = new_arena();
	struct xml_node *e = message(&a), *x = xml_node_child(e, NULL, "x"), *body;

	xml_node_set(&a, e, "to", SLICE("c"));
	xml_node_set(&a, e, "id", SLICE_NONE);
	xml_node_set(&a, e, "nothing", SLICE_NONE);
	xml_node_set(&a, e, "empty", SLICE(""));
	xml_node_remove(x);
	assert_null(x->parent);
	xml_node_remove(x);
	body = xml_node_child(e, NULL, "body");
	printed(e, XMPP_CLIENT, false,
		"<message to='c' empty=''><body>one <b xmlns='urn:x'/>two</body>"
		"<x xmlns='urn:y'/></message>");
	xml_node_remove(body);
	xml_node_append(e, body);
	xml_node_append(x, xml_node_new(&a, NULL, "urn:x", "z"));
	xml_node_append(e, x);
	xml_node_remove(e->first);
	printed(e, XMPP_CLIENT, false,
		"<message to='c' empty=''><body>one <b xmlns='urn:x'/>two</body>"
		"<x xmlns='urn:x'><z/></x></message>");
	xml_node_remove(e->last);
	xml_node_remove(e->last);
	printed(e, XMPP_CLIENT, false, "<message to='c' empty=''/>");
	assert_null(e->first);
	fini(&a);
}

static void test_copy_and_rename(void **state)
{
	struct xml_arena a = new_arena(), b = { .pool = a.pool };
	struct xml_node *e = message(&a), *copy, *part;
	struct xml_node_attr attr = { .ns = XML_NS, .name = "lang", .value = "en" };

	e->attrs->next->next = &attr;
	copy = xml_node_copy(&b, e);
	part = xml_node_copy(&b, e->first);
	assert_null(part->parent);
	assert_null(part->next);
	xml_arena_reset(&a);
	printed(copy, XMPP_CLIENT, false,
		"<message to='a@b' id='1' xml:lang='en'><body>one <b xmlns='urn:x'/>two</body>"
		"<x xmlns='urn:x'/><x xmlns='urn:y'/></message>");
	printed(part, XMPP_CLIENT, false, "<body>one <b xmlns='urn:x'/>two</body>");
	xml_node_rename(copy, XMPP_CLIENT, XMPP_SERVER);
	printed(copy, XMPP_SERVER, false,
		"<message to='a@b' id='1' xml:lang='en'><body>one <b xmlns='urn:x'/>two</body>"
		"<x xmlns='urn:x'/><x xmlns='urn:y'/></message>");
	xml_node_rename(copy->first, XMPP_SERVER, "urn:y");
	xml_node_rename(copy->first, "urn:x", "");
	printed(copy, XMPP_CLIENT, false,
		"<message xmlns='jabber:server' to='a@b' id='1' xml:lang='en'>"
		"<body xmlns='urn:y'>one <b xmlns=''/>two</body>"
		"<x xmlns='urn:x'/><x xmlns='urn:y'/></message>");
	xml_arena_reset(&b);
	fini(&a);
}

static void test_prefixes(void **state)
{
	struct xml_arena a = new_arena();
	struct xml_node *e = xml_node_new(&a, NULL, XMPP_STREAMS, "features"), *r;
	struct xml_node_attr q2 = { .ns = "urn:q", .name = "two", .value = "2" };
	struct xml_node_attr p = { .next = &q2, .ns = "urn:p", .name = "one", .value = "1" };
	struct xml_node_attr l = { .next = &p, .ns = XML_NS, .name = "lang", .value = "d" };
	struct xml_node_attr q1 = { .next = &l, .ns = "urn:q", .name = "one", .value = "1" };

	/* The default namespace inside is the stream's, not that of the element in between. */
	xml_node_new(&a, e, XMPP_CLIENT, "a");
	xml_node_new(&a, e, "urn:b", "b");
	printed(e, XMPP_CLIENT, false, "<stream:features><a/><b xmlns='urn:b'/></stream:features>");
	printed(e, XMPP_SERVER, false,
		"<stream:features><a xmlns='jabber:client'/><b xmlns='urn:b'/></stream:features>");
	printed(e->first, XMPP_SERVER, false, "<a xmlns='jabber:client'/>");
	printed(e->first, NULL, false, "<a xmlns='jabber:client'/>");
	r = xml_node_new(&a, NULL, XMPP_DIALBACK, "result");
	xml_node_new(&a, r, XMPP_DIALBACK, "x");
	printed(r, XMPP_SERVER, true, "<db:result><db:x/></db:result>");
	printed(r, XMPP_SERVER, false, "<result xmlns='jabber:server:dialback'><x/></result>");
	/* A prefixed element between two of one default namespace. */
	e = xml_node_new(&a, NULL, "urn:b", "b");
	r = xml_node_new(&a, e, XMPP_DIALBACK, "v");
	xml_node_new(&a, r, "urn:b", "c");
	printed(e, XMPP_SERVER, true, "<b xmlns='urn:b'><db:v><c/></db:v></b>");
	e = xml_node_new(&a, NULL, XMPP_CLIENT, "m");
	e->attrs = &q1;
	printed(e, XMPP_CLIENT, false,
		"<m xmlns:a0='urn:q' a0:one='1' xml:lang='d' xmlns:a2='urn:p' a2:one='1' "
		"a0:two='2'/>");
	fini(&a);
}

static void test_escaping(void **state)
{
	struct xml_arena a = new_arena();
	struct xml_node *e = xml_node_new(&a, NULL, "u'&<", "e");
	struct buf out;

	xml_node_set(&a, e, "v", SLICE("<>&'\"\t\r\n\xc3\xa9 x"));
	xml_node_add_text(&a, e, SLICE("<>&'\"\t\r\n\xf0\x9f\x98\x80]]>"));
	printed(e, XMPP_CLIENT, false,
		"<e xmlns='u&apos;&amp;&lt;' v='&lt;&gt;&amp;&apos;&quot;&#9;&#13;&#10;\xc3\xa9 x'>"
		"&lt;&gt;&amp;'\"\t&#13;\n\xf0\x9f\x98\x80]]&gt;</e>");
	buf_init(&out, 100);
	xml_print_escaped(&out, SLICE("a'b<"));
	assert_string_equal(out.p, "a&apos;b&lt;");
	buf_fini(&out);
	fini(&a);
}

/* What no XML can carry is not printed; what would be other markup is not either. */
static void test_what_cannot_be_printed(void **state)
{
	static const struct slice bad[] = {
		{ "\0", 1 },	       { "\x01", 1 },	      { "\x1f", 1 },
		{ "\xff", 1 },	       { "\xc3", 1 },	      { "\xc0\x80", 2 },
		{ "\xed\xa0\x80", 3 }, { "\xef\xbf\xbe", 3 }, { "\xf4\x90\x80\x80", 4 },
		{ "ab\x0c", 3 },
	};
	static const char *const names[] = { "",    "a b", "a>",  "a/",	   "a='", "a:b",
					     "a\n", "<",   "a\"", "a\xff", "a&b;" };
	struct xml_arena a = new_arena();
	struct xml_node *e;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		e = xml_node_new(&a, NULL, XMPP_CLIENT, "e");
		xml_node_add_text(&a, e, bad[i]);
		not_printed(e);
		if (bad[i].p[0] == '\0')
			continue; /* values end there */
		e = xml_node_new(&a, NULL, XMPP_CLIENT, "e");
		xml_node_set(&a, e, "v", bad[i]);
		not_printed(e);
		e = xml_node_new(&a, NULL, bad[i].p, "e");
		not_printed(e);
	}
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		not_printed(xml_node_new(&a, NULL, XMPP_CLIENT, names[i]));
		e = xml_node_new(&a, NULL, XMPP_CLIENT, "e");
		xml_node_set(&a, e, names[i], SLICE("x"));
		not_printed(e);
	}
	fini(&a);
}

/* Trees that were made, not read, have no bound of depth; nothing here may need the stack. */
static void test_deep(void **state)
{
	struct xml_arena a = new_arena(), b = { .pool = a.pool };
	struct xml_node *root = xml_node_new(&a, NULL, "u", "a"), *e = root;
	struct buf out;
	unsigned i;

	for (i = 0; i < 100000; i++)
		e = xml_node_new(&a, e, "u", "a");
	root = xml_node_copy(&b, root);
	xml_node_rename(root, "u", "v");
	buf_init(&out, 10 << 20);
	xml_node_print(root, "v", false, &out);
	assert_false(out.failed);
	assert_int_equal(out.n, 100000 * 7 + 4);
	buf_fini(&out);
	xml_arena_reset(&b);
	fini(&a);
}

static void test_arena(void **state)
{
	struct xml_arena a = new_arena();
	char *p, *q;

	a.max_bytes = 10000;
	p = xml_arena_take(&a, 9000);
	assert_non_null(p);
	memset(p, 1, 9000);
	q = xml_arena_take(&a, 1000);
	assert_non_null(q);
	memset(q, 2, 1000);
	assert_int_equal((uintptr_t)q % sizeof(void *), 0);
	assert_int_equal(a.n_bytes, 10000);
	assert_false(a.over);
	assert_null(xml_arena_take(&a, 1));
	assert_true(a.over);
	assert_null(xml_arena_text(&a, SLICE("x")));
	assert_string_equal(xml_arena_text(&a, SLICE_NONE), "");
	xml_arena_reset(&a);
	assert_int_equal(a.n_bytes, 0);
	assert_false(a.over);
	assert_null(a.blocks);
	assert_int_equal(a.pool->n_blocks, 1); /* the large one is gone */
	assert_null(xml_arena_take(&a, SIZE_MAX));
	/* Odd texts leave the next node where it belongs. */
	assert_string_equal(xml_arena_text(&a, SLICE("ab")), "ab");
	assert_int_equal((uintptr_t)xml_arena_take(&a, 8) % sizeof(void *), 0);
	fini(&a);
}

static void test_pool_keeps_some(void **state)
{
	struct xml_arena a = new_arena();
	unsigned i;

	for (i = 0; i < XML_POOL_MAX_BLOCKS + 5; i++)
		assert_non_null(xml_arena_take(&a, 4000));
	xml_arena_reset(&a);
	assert_int_equal(a.pool->n_blocks, XML_POOL_MAX_BLOCKS);
	fini(&a);
}

static void make_with_failures(void *arg)
{
	struct xml_arena a = { .pool = xml_pool_new() }, b = { .pool = a.pool };
	struct xml_node *e, *copy;
	char big[5000] = { 0 };

	if (!a.pool)
		return;
	memset(big, 'x', sizeof(big));
	e = xml_node_new(&a, NULL, XMPP_CLIENT, "message");
	if (e && xml_node_set(&a, e, "to", (struct slice){ big, sizeof(big) }) == 0 &&
	    xml_node_add_text(&a, e, (struct slice){ big, sizeof(big) }) == 0 &&
	    xml_node_text(&a, e)) {
		copy = xml_node_copy(&b, e);
		if (copy)
			assert_int_equal(strlen(xml_node_attr(copy, "to")), 5000);
	}
	xml_arena_reset(&b);
	xml_arena_reset(&a);
	xml_pool_free(a.pool);
}

static void test_no_memory(void **state)
{
	struct xml_arena a = new_arena();
	struct xml_node *e = message(&a);

	assert_true(alloc_fail_sweep(make_with_failures, NULL) > 5);
	a.max_bytes = a.n_bytes;
	assert_int_equal(xml_node_set(&a, e, "from", SLICE("x")), -ENOMEM);
	assert_int_equal(xml_node_add_text(&a, e, SLICE("x")), -ENOMEM);
	assert_int_equal(xml_node_add_text(&a, e, SLICE("")), 0);
	assert_null(xml_node_new(&a, e, "u", "x"));
	assert_null(xml_node_copy(&a, e));
	assert_null(xml_node_text(&a, e->first));
	fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_looking),
		cmocka_unit_test(test_changing),
		cmocka_unit_test(test_copy_and_rename),
		cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_escaping),
		cmocka_unit_test(test_what_cannot_be_printed),
		cmocka_unit_test(test_deep),
		cmocka_unit_test(test_arena),
		cmocka_unit_test(test_pool_keeps_some),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
