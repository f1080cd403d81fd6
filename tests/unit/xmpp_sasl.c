/* SASL elements, names in initial responses, and what of features may be shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/base64.h"
#include "proto/xml_stream.h"
#include "support/alloc_fail.h"
#include "xmpp/sasl.h"

#define MAX_BYTES (64 * 1024)

struct box {
	struct xml_pool *pool;
	struct xml_stream *x;
	struct xml_arena arena;
	struct xml_node *e; /* copy of the last element */
};

static void on_header(void *arg, const struct xmpp_header *h)
{
}

static void on_element(void *arg, struct xml_node *e, struct xml_arena *arena)
{
	struct box *b = arg;

	b->e = xml_node_copy(&b->arena, e);
}

static void on_space(void *arg)
{
}

static const struct xml_stream_events events = { on_header, on_element, on_space, on_space, NULL };

static void box_init(struct box *b)
{
	struct buf h;

	*b = (struct box){ .pool = xml_pool_new() };
	assert_non_null(b->pool);
	b->arena = (struct xml_arena){ .pool = b->pool, .max_bytes = MAX_BYTES };
	b->x = xml_stream_new(b->pool, &xml_stream_default_limits, &events, b);
	assert_non_null(b->x);
	buf_init(&h, 4096);
	xmpp_print_header(&h, &(struct xmpp_header){ .content = XMPP_CLIENT, .version = "1.0" });
	assert_int_equal(xml_stream_feed(b->x, buf_slice(&h)), 0);
	buf_fini(&h);
}

static void box_fini(struct box *b)
{
	xml_arena_reset(&b->arena);
	xml_stream_free(b->x);
	xml_pool_free(b->pool);
}

static struct xml_node *parse(struct box *b, const char *text)
{
	b->e = NULL;
	assert_int_equal(xml_stream_feed(b->x, slice_of(text)), 0);
	assert_non_null(b->e);
	return b->e;
}

static void assert_prints(const struct xml_node *e, const char *text)
{
	struct buf out;

	buf_init(&out, MAX_BYTES);
	xml_node_print(e, XMPP_CLIENT, false, &out);
	assert_false(out.failed);
	assert_string_equal(out.p, text);
	buf_fini(&out);
}

#define NS1 "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"
#define NS2 "xmlns='urn:xmpp:sasl:2'"

static void test_elements(void **state)
{
	static const struct {
		const char *xml;
		enum sasl_element is;
	} rows[] = {
		{ "<auth " NS1 " mechanism='PLAIN'/>", SASL_START },
		{ "<response " NS1 "/>", SASL_RESPONSE },
		{ "<abort " NS1 "/>", SASL_ABORT },
		{ "<challenge " NS1 "/>", SASL_CHALLENGE },
		{ "<success " NS1 "/>", SASL_SUCCESS },
		{ "<failure " NS1 "/>", SASL_FAILURE },
		{ "<next " NS1 "/>", SASL_NONE },
		{ "<authenticate " NS2 " mechanism='PLAIN'/>", SASL_START },
		{ "<response " NS2 "/>", SASL_RESPONSE },
		{ "<abort " NS2 "/>", SASL_ABORT },
		{ "<next " NS2 "/>", SASL_NEXT },
		{ "<task-data " NS2 "/>", SASL_DATA },
		{ "<challenge " NS2 "/>", SASL_CHALLENGE },
		{ "<continue " NS2 "/>", SASL_CONTINUE },
		{ "<success " NS2 "/>", SASL_SUCCESS_2 },
		{ "<failure " NS2 "/>", SASL_FAILURE },
		{ "<auth " NS2 "/>", SASL_NONE },
		{ "<auth/>", SASL_NONE },
		{ "<message/>", SASL_NONE },
	};
	struct box b;

	box_init(&b);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(sasl_element_of(parse(&b, rows[i].xml)), rows[i].is);
	assert_int_equal(sasl_element_of(NULL), SASL_NONE);
	assert_string_equal(sasl_mechanism(parse(&b, rows[0].xml)), "PLAIN");
	assert_null(sasl_mechanism(parse(&b, "<auth " NS1 "/>")));
	assert_null(sasl_mechanism(parse(&b, "<auth " NS1 " mechanism=''/>")));
	assert_null(sasl_mechanism(parse(&b, "<response " NS1 " mechanism='PLAIN'/>")));
	box_fini(&b);
}

/* bytes: of the initial response, base64 is put on here. */
static struct xml_node *start_of(struct box *b, bool two, const char *mechanism, const char *bytes,
				 size_t n)
{
	struct buf out;
	struct xml_node *e;

	buf_init(&out, MAX_BYTES);
	buf_printf(&out,
		   two ? "<authenticate " NS2 " mechanism='%s'><initial-response>"
		       : "<auth " NS1 " mechanism='%s'>",
		   mechanism);
	base64_encode(&out, bytes, n);
	buf_add_str(&out, two ? "</initial-response></authenticate>" : "</auth>");
	e = parse(b, out.p);
	buf_fini(&out);
	return e;
}

#define ROW(m, bytes, user)                       \
	{                                         \
		m, bytes, sizeof(bytes) - 1, user \
	}

/* B06 */
static void test_users(void **state)
{
	static const struct {
		const char *mechanism, *bytes;
		size_t n;
		const char *user; /* NULL: none */
	} rows[] = {
		ROW("PLAIN", "\0alice\0secret", "alice"),
		ROW("PLAIN", "bob@example.com\0alice\0secret", "alice"),
		ROW("PLAIN", "\0alice@example.com\0secret", "alice@example.com"),
		ROW("PLAIN", "\0j\xc3\xb6rg\0secret", "j\xc3\xb6rg"),
		ROW("PLAIN", "\0j\xc0\xb6rg\0secret", NULL),
		ROW("PLAIN", "\0ali\nce\0secret", NULL),
		ROW("PLAIN", "\0\0secret", NULL),
		ROW("PLAIN", "\0alice", NULL),
		ROW("PLAIN", "\0alice\0sec\0ret", NULL),
		ROW("PLAIN", "alice", NULL),
		ROW("X-OAUTH2", "\0alice\0token", "alice"),
		ROW("SCRAM-SHA-1", "n,,n=alice,r=abc", "alice"),
		ROW("SCRAM-SHA-256", "y,,n=alice,r=abc", "alice"),
		ROW("SCRAM-SHA-256-PLUS", "p=tls-exporter,,n=alice,r=abc", "alice"),
		ROW("SCRAM-SHA-1", "n,a=bob,n=alice,r=abc", "alice"),
		ROW("SCRAM-SHA-1", "n,,n=a=2Cb=3Dc,r=abc", "a,b=c"),
		ROW("SCRAM-SHA-1", "n,,n=a=2cb,r=abc", NULL),
		ROW("SCRAM-SHA-1", "n,,n=a=,r=abc", NULL),
		ROW("SCRAM-SHA-1", "n,,n=a=2,r=abc", NULL),
		ROW("SCRAM-SHA-1", "n,,n=,r=abc", NULL),
		ROW("SCRAM-SHA-1", "n,,m=x,n=alice,r=abc", NULL),
		ROW("SCRAM-SHA-1", "x,,n=alice,r=abc", NULL),
		ROW("SCRAM-SHA-1", "n,n=alice,r=abc", NULL),
		ROW("SCRAM-SHA-1", "n,,n=alice", NULL),
		ROW("SCRAM-SHA-1", "p=,,n=alice,r=abc", NULL),
		ROW("OAUTHBEARER", "n,a=alice@example.com,\1auth=Bearer x\1\1",
		    "alice@example.com"),
		ROW("OAUTHBEARER", "n,,\1auth=Bearer x\1\1", NULL),
		ROW("HT-SHA-256-NONE", "alice\0token", "alice"),
		ROW("HT-SHA-256-NONE", "alice", NULL),
		ROW("EXTERNAL", "alice@example.com", NULL),
		ROW("ANONYMOUS", "x", NULL),
		ROW("PLAIN", "", NULL),
	};
	struct box b;
	char user[64];

	box_init(&b);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (int two = 0; two < 2; two++) {
			const struct xml_node *e =
				start_of(&b, two, rows[i].mechanism, rows[i].bytes, rows[i].n);
			bool found = sasl_user(&b.arena, e, user, sizeof(user));

			if (found != (rows[i].user != NULL))
				fail_msg("row %zu: %d", i, found);
			if (found)
				assert_string_equal(user, rows[i].user);
		}
		xml_arena_reset(&b.arena);
	}
	/* at the bound of what the caller has room for */
	assert_true(sasl_user(&b.arena, start_of(&b, false, "PLAIN", "\0abc\0x", 6), user, 4));
	assert_false(sasl_user(&b.arena, start_of(&b, false, "PLAIN", "\0abcd\0x", 7), user, 4));
	assert_true(sasl_user(&b.arena, start_of(&b, false, "SCRAM-SHA-1", "n,,n=abc,r=x", 12),
			      user, 4));
	assert_false(sasl_user(&b.arena, start_of(&b, false, "SCRAM-SHA-1", "n,,n=abcd,r=x", 13),
			       user, 4));
	box_fini(&b);
}

static void test_base64_is_strict(void **state)
{
	static const char *const bad[] = {
		"AGFsaWNlAHg",	    /* no padding */
		"AGFsaWNlAHg=\nAA", /* lines */
		"AGFsaWNlAHg= ",
		"AG-saWNlAHg=",
		"AGFsaWNlAHh=", /* bits left over */
		"=",
		"====",
		"AGFs<x/>aWNlAHg=",
	};
	struct box b;
	char user[64], xml[200];

	box_init(&b);
	assert_true(sasl_user(&b.arena,
			      parse(&b, "<auth " NS1 " mechanism='PLAIN'>AGFsaWNlAHg=</auth>"),
			      user, sizeof(user)));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(xml, sizeof(xml), "<auth " NS1 " mechanism='PLAIN'>%s</auth>", bad[i]);
		assert_false(sasl_user(&b.arena, parse(&b, xml), user, sizeof(user)));
	}
	box_fini(&b);
}

static void test_external(void **state)
{
	struct box b;
	char id[32];
	struct xml_node *e;

	box_init(&b);
	e = start_of(&b, false, "EXTERNAL", "alice@example.com", 17);
	assert_true(sasl_external_identity(e, id, sizeof(id)));
	assert_string_equal(id, "alice@example.com");
	assert_true(sasl_external_identity(parse(&b, "<auth " NS1 " mechanism='EXTERNAL'>=</auth>"),
					   id, sizeof(id)));
	assert_string_equal(id, "");
	assert_true(sasl_external_identity(parse(&b, "<response " NS1 "/>"), id, sizeof(id)));
	assert_string_equal(id, "");
	assert_true(sasl_external_identity(
		parse(&b, "<authenticate " NS2 " mechanism='EXTERNAL'/>"), id, sizeof(id)));
	assert_string_equal(id, "");
	assert_false(sasl_external_identity(parse(&b, "<response " NS1 ">x</response>"), id,
					    sizeof(id)));
	assert_false(
		sasl_external_identity(start_of(&b, false, "EXTERNAL", "a\0b", 3), id, sizeof(id)));
	assert_false(sasl_external_identity(start_of(&b, true, "EXTERNAL", "alice@example.com", 17),
					    id, 17));
	/* put in where it was left out */
	e = parse(&b, "<auth " NS1 " mechanism='EXTERNAL'>=</auth>");
	assert_int_equal(sasl_set_external_identity(&b.arena, e, "alice@example.com"), 0);
	assert_prints(e, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>"
			 "YWxpY2VAZXhhbXBsZS5jb20=</auth>");
	e = parse(&b, "<authenticate " NS2 " mechanism='EXTERNAL'/>");
	assert_int_equal(sasl_set_external_identity(&b.arena, e, "alice@example.com"), 0);
	assert_true(sasl_external_identity(e, id, sizeof(id)));
	assert_string_equal(id, "alice@example.com");
	box_fini(&b);
}

#define FEATURES(inside)   "<stream:features>" inside "</stream:features>"
#define MECHANISMS(inside) "<mechanisms " NS1 ">" inside "</mechanisms>"
#define M(name)		   "<mechanism>" name "</mechanism>"

static void assert_filtered(struct box *b, const struct features_policy *p, const char *in,
			    const char *out, struct features_found *found)
{
	struct xml_node *e = parse(b, in);

	features_filter(e, p, found);
	assert_prints(e, out);
	xml_arena_reset(&b->arena);
}

/* B04, B05 */
static void test_features(void **state)
{
	const struct features_policy strict = { 0 };
	const struct features_policy all = { .external = true, .keep_binding = true };
	struct features_found f;
	struct box b;

	box_init(&b);
	assert_filtered(
		&b, &strict,
		FEATURES(
			"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>"
			"<compression xmlns='http://jabber.org/features/compress'>"
			"<method>zlib</method></compression>"
			"<register xmlns='http://jabber.org/features/iq-register'/>"
			"<register xmlns='urn:xmpp:invite'/>"
			"<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'/>" MECHANISMS(
				M("SCRAM-SHA-1-PLUS") M("SCRAM-SHA-1") M("EXTERNAL") M(
					"PLAIN")) "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"
						  "<sm xmlns='urn:xmpp:sm:3'/><csi "
						  "xmlns='urn:xmpp:csi:0'/>"
						  "<ver xmlns='urn:xmpp:features:rosterver'/>"),
		FEATURES(MECHANISMS(M("SCRAM-SHA-1") M(
			"PLAIN")) "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"
				  "<sm xmlns='urn:xmpp:sm:3'/><csi xmlns='urn:xmpp:csi:0'/>"
				  "<ver xmlns='urn:xmpp:features:rosterver'/>"),
		&f);
	assert_true(f.starttls && f.starttls_required && f.had_binding && f.had_compression &&
		    f.had_register && f.external);
	assert_int_equal(f.n_mechanisms, 2);
	assert_filtered(&b, &all, FEATURES(MECHANISMS(M("SCRAM-SHA-1-PLUS") M("EXTERNAL"))),
			FEATURES(MECHANISMS(M("SCRAM-SHA-1-PLUS") M("EXTERNAL"))), &f);
	assert_int_equal(f.n_mechanisms, 2);
	/* only looking */
	assert_filtered(&b, NULL, FEATURES(MECHANISMS(M("SCRAM-SHA-1-PLUS") M("EXTERNAL"))),
			FEATURES(MECHANISMS(M("SCRAM-SHA-1-PLUS") M("EXTERNAL"))), &f);
	assert_true(f.had_binding && f.external);
	/* nothing is left of the list, in any spelling */
	assert_filtered(&b, &strict,
			FEATURES(MECHANISMS(M(" scram-sha-1-plus ") M("external") M(""))),
			"<stream:features/>", &f);
	assert_int_equal(f.n_mechanisms, 0);
	/* an optional starttls */
	assert_filtered(&b, &strict,
			FEATURES("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
			"<stream:features/>", &f);
	assert_true(f.starttls && !f.starttls_required);
	box_fini(&b);
}

static void test_features_of_sasl2(void **state)
{
	const struct features_policy strict = { 0 };
	struct features_found f;
	struct box b;

	box_init(&b);
	assert_filtered(
		&b, &strict,
		FEATURES("<authentication " NS2 ">" M("SCRAM-SHA-256-PLUS") M(
			"SCRAM-SHA-256") "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'/>"
					 "<inline><fast xmlns='urn:xmpp:fast:0'>" M(
						 "HT-SHA-256-ENDP")
						 M("HT-SHA-256-NONE") "</fast></inline></"
								      "authentication>"),
		FEATURES("<authentication " NS2
			 ">" M("SCRAM-SHA-256") "<inline><fast xmlns='urn:xmpp:fast:0'>" M(
				 "HT-SHA-256-NONE") "</fast></inline></authentication>"),
		&f);
	assert_true(f.had_binding);
	assert_int_equal(f.n_mechanisms, 1);
	assert_filtered(
		&b, &strict,
		FEATURES("<authentication " NS2
			 ">" M("PLAIN") "<inline><fast xmlns='urn:xmpp:fast:0'>" M(
				 "HT-SHA-256-UNIQ") "</fast></inline></authentication>"),
		FEATURES("<authentication " NS2 ">" M("PLAIN") "<inline/></authentication>"), &f);
	box_fini(&b);
}

static void test_features_of_servers(void **state)
{
	struct features_found f;
	struct box b;

	box_init(&b);
	features_filter(parse(&b, FEATURES("<dialback xmlns='urn:xmpp:features:dialback'><errors/>"
					   "</dialback><bidi xmlns='urn:xmpp:features:bidi'/>")),
			NULL, &f);
	assert_true(f.dialback && f.dialback_errors && f.bidi && !f.external);
	features_filter(parse(&b, FEATURES("<dialback xmlns='urn:xmpp:features:dialback'/>")), NULL,
			&f);
	assert_true(f.dialback && !f.dialback_errors && !f.bidi);
	box_fini(&b);
}

static void test_has_mechanism(void **state)
{
	struct xml_node *e;
	struct box b;

	box_init(&b);
	e = parse(&b, FEATURES(MECHANISMS(M(" PLAIN ") M(
			      "SCRAM-SHA-1")) "<authentication " NS2
					      ">" M("X") "<inline><fast xmlns='urn:xmpp:fast:0'>" M(
						      "HT-SHA-256-NONE") "</fast></inline></"
									 "authentication>"));
	assert_true(features_has_mechanism(e, "PLAIN"));
	assert_true(features_has_mechanism(e, "SCRAM-SHA-1"));
	assert_true(features_has_mechanism(e, "X"));
	assert_true(features_has_mechanism(e, "HT-SHA-256-NONE"));
	assert_false(features_has_mechanism(e, "SCRAM-SHA-256"));
	assert_false(features_has_mechanism(e, "plain"));
	assert_false(features_has_mechanism(e, ""));
	box_fini(&b);
}

static struct box *swept;

static void sweep_run(void *arg)
{
	struct xml_arena a = { .pool = swept->pool, .max_bytes = MAX_BYTES };
	struct xml_node *e = xml_node_copy(&a, arg);
	char user[64];

	if (e && sasl_set_external_identity(&a, e, "bob@example.com") == 0)
		(void)sasl_user(&a, e, user, sizeof(user));
	xml_arena_reset(&a);
}

static void test_without_memory(void **state)
{
	struct box b;

	box_init(&b);
	swept = &b;
	alloc_fail_sweep(sweep_run, start_of(&b, true, "PLAIN", "\0alice\0x", 8));
	box_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_elements),
		cmocka_unit_test(test_users),
		cmocka_unit_test(test_base64_is_strict),
		cmocka_unit_test(test_external),
		cmocka_unit_test(test_features),
		cmocka_unit_test(test_features_of_sasl2),
		cmocka_unit_test(test_features_of_servers),
		cmocka_unit_test(test_has_mechanism),
		cmocka_unit_test(test_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
