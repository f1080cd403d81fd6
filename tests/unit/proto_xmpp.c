#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proto/xml_node.h"
#include "proto/xmpp.h"

static void test_conditions(void **state)
{
	unsigned i;

	assert_string_equal(xmpp_condition_str(XMPP_HOST_UNKNOWN), "host-unknown");
	assert_string_equal(xmpp_condition_str(XMPP_UNSUPPORTED_VERSION), "unsupported-version");
	assert_string_equal(xmpp_condition_str((enum xmpp_condition)99), "undefined-condition");
	for (i = 0; i < XMPP_N_CONDITIONS; i++)
		assert_int_equal(xmpp_condition_of(xmpp_condition_str((enum xmpp_condition)i)), i);
	assert_int_equal(xmpp_condition_of("nothing"), XMPP_UNDEFINED_CONDITION);
}

static void test_header(void **state)
{
	struct buf out;

	buf_init(&out, 1000);
	xmpp_print_header(&out, &(struct xmpp_header){ .content = XMPP_SERVER,
						       .to = "a.b",
						       .from = "c'd",
						       .id = "<1>",
						       .version = "1.0",
						       .lang = "en",
						       .dialback = true });
	assert_string_equal(out.p, "<?xml version='1.0'?><stream:stream xmlns='jabber:server' "
				   "xmlns:stream='http://etherx.jabber.org/streams' "
				   "xmlns:db='jabber:server:dialback' from='c&apos;d' to='a.b' "
				   "id='&lt;1&gt;' version='1.0' xml:lang='en'>");
	buf_reset(&out);
	xmpp_print_header(&out, &(struct xmpp_header){ .content = XMPP_CLIENT });
	assert_string_equal(out.p, "<?xml version='1.0'?><stream:stream xmlns='jabber:client' "
				   "xmlns:stream='http://etherx.jabber.org/streams'>");
	buf_fini(&out);
}

static void test_stream_error(void **state)
{
	struct buf out;

	buf_init(&out, 1000);
	xmpp_print_stream_error(&out, XMPP_CONFLICT, NULL);
	assert_string_equal(out.p, "<stream:error><conflict "
				   "xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
				   "</stream:stream>");
	buf_reset(&out);
	xmpp_print_stream_error(&out, XMPP_POLICY_VIOLATION, "a < b");
	assert_string_equal(out.p,
			    "<stream:error><policy-violation "
			    "xmlns='urn:ietf:params:xml:ns:xmpp-streams'/><text "
			    "xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='en'>a &lt; "
			    "b</text></stream:error></stream:stream>");
	buf_fini(&out);
}

struct stanza {
	struct xml_arena a;
	struct xml_node *e;
};

static struct stanza make(const char *name, const char *type)
{
	struct stanza s = { .a = { .pool = xml_pool_new() } };

	s.e = xml_node_new(&s.a, NULL, XMPP_SERVER, name);
	xml_node_set(&s.a, s.e, "from", SLICE("a@b/c"));
	xml_node_set(&s.a, s.e, "to", SLICE("d@e"));
	xml_node_set(&s.a, s.e, "id", SLICE("i1"));
	if (type)
		xml_node_set(&s.a, s.e, "type", slice_of(type));
	xml_node_new(&s.a, s.e, XMPP_SERVER, "body");
	return s;
}

static void fini(struct stanza *s)
{
	struct xml_pool *pool = s->a.pool;

	xml_arena_reset(&s->a);
	xml_pool_free(pool);
}

static void answered(const char *name, const char *type, bool expected)
{
	struct stanza s = make(name, type);
	struct xml_node *e =
		xmpp_stanza_error(&s.a, s.e, "cancel", "remote-server-not-found", "no \"e\"");
	char text[500];
	struct buf out;

	buf_init(&out, 1000);
	if (expected) {
		xml_node_print(e, XMPP_SERVER, false, &out);
		snprintf(text, sizeof(text),
			 "<%s type='error' from='d@e' to='a@b/c' id='i1'><error type='cancel'>"
			 "<remote-server-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
			 "<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>no \"e\"</text>"
			 "</error></%s>",
			 name, name);
		assert_string_equal(out.p, text);
	} else {
		assert_null(e);
	}
	buf_fini(&out);
	fini(&s);
}

/* RFC 6120 section 8.3.1: an error is never answered with an error. */
static void test_stanza_errors(void **state)
{
	answered("iq", "get", true);
	answered("iq", "set", true);
	answered("iq", "result", false);
	answered("iq", "error", false);
	answered("iq", NULL, false);
	answered("message", NULL, true);
	answered("message", "chat", true);
	answered("message", "error", false);
	answered("presence", NULL, true);
	answered("presence", "subscribe", true);
	answered("presence", "error", false);
	answered("other", NULL, false);
}

static void test_stanza_error_without_addresses(void **state)
{
	struct stanza s = { .a = { .pool = xml_pool_new() } };
	struct xml_node *e;
	struct buf out;

	buf_init(&out, 1000);
	s.e = xml_node_new(&s.a, NULL, XMPP_CLIENT, "message");
	e = xmpp_stanza_error(&s.a, s.e, "wait", "resource-constraint", NULL);
	xml_node_print(e, XMPP_CLIENT, false, &out);
	assert_string_equal(out.p, "<message type='error'><error type='wait'><resource-constraint "
				   "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
				   "</message>");
	buf_fini(&out);
	fini(&s);
}

/* Each bound of the arena in between: nothing, never half an answer. */
static void test_stanza_error_without_memory(void **state)
{
	struct stanza s = make("message", NULL);
	size_t taken = s.a.n_bytes, room;
	struct xml_node *e = NULL;

	for (room = 0; !e; room++) {
		struct xml_arena a = { .pool = s.a.pool, .max_bytes = room + 1 };

		assert_true(room < 2000);
		e = xmpp_stanza_error(&a, s.e, "auth", "forbidden", "text");
		if (!e)
			assert_true(a.over);
		xml_arena_reset(&a);
	}
	assert_true(room > 200);
	assert_int_equal(s.a.n_bytes, taken);
	fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_conditions),
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_stream_error),
		cmocka_unit_test(test_stanza_errors),
		cmocka_unit_test(test_stanza_error_without_addresses),
		cmocka_unit_test(test_stanza_error_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
