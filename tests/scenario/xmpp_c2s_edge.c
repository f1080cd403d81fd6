/* Chat clients at E: whole sign-ins, and what bad input gets. The link's far end plays C and the
 * server; what must not leave is looked for there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/xmpp_c2s_edge_rig.h"

#include "support/alloc_fail.h"

#define HEADER_TO(to, more)                                                                     \
	"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='" XMPP_STREAMS \
	"'" to " version='1.0'" more ">"
#define HEADER	 HEADER_TO(" to='example.com'", "")
#define STARTTLS "<starttls xmlns='" XMPP_TLS "'/>"
#define SERVER_HEADER                                                                           \
	"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='" XMPP_STREAMS \
	"' from='example.com' id='s1' version='1.0'>"
#define MECHANISMS(list) "<mechanisms xmlns='" XMPP_SASL "'>" list "</mechanisms>"
#define SASL_FEATURES                                                                        \
	"<stream:features>" MECHANISMS(                                                      \
		"<mechanism>PLAIN</mechanism><mechanism>SCRAM-SHA-1</"                       \
		"mechanism>"                                                                 \
		"<mechanism>SCRAM-SHA-1-PLUS</"                                              \
		"mechanism><mechanism>EXTERNAL</mechanism>") "<starttls "                    \
							     "xmlns="                        \
							     "'" XMPP_TLS "'/>"              \
							     "<compression"                  \
							     " xmlns="                       \
							     "'" XMPP_COMPRESS_FEATURE       \
							     "'><method>"                    \
							     "zlib</"                        \
							     "method></"                     \
							     "compression>"                  \
							     "<register "                    \
							     "xmlns="                        \
							     "'" XMPP_REGISTER_FEATURE "'/>" \
							     "<sasl-"                        \
							     "channel-"                      \
							     "binding "                      \
							     "xmlns="                        \
							     "'" XMPP_SASL_CB "'><channel-"  \
							     "binding "                      \
							     "type='tls-"                    \
							     "exporter'/>"                   \
							     "</"                            \
							     "sasl-"                         \
							     "channel-"                      \
							     "binding></"                    \
							     "stream:"                       \
							     "features>"
/* NUL alice NUL secret */
#define PLAIN_AUTH "<auth xmlns='" XMPP_SASL "' mechanism='PLAIN'>AGFsaWNlAHNlY3JldA==</auth>"
#define SUCCESS	   "<success xmlns='" XMPP_SASL "'/>"
#define BIND	   "<iq type='set' id='b'><bind xmlns='" XMPP_BIND "'/></iq>"
#define BOUND                                                                               \
	"<iq type='result' id='b'><bind xmlns='" XMPP_BIND "'><jid>alice@example.com/phone" \
	"</jid></bind></iq>"

static const char *last_reason;

static bool keep_reason(const struct conn *c, int64_t ended_wall_s, void *arg)
{
	static char reason[CONN_REASON_BYTES];

	snprintf(reason, sizeof(reason), "%s", c->reason);
	last_reason = reason;
	return false;
}

static const char *reason(struct c2s_rig *r)
{
	last_reason = "";
	conn_ended_each(r->rig.env.conns, keep_reason, NULL);
	return last_reason;
}

static void client_says(struct c2s_rig *r, const char *text)
{
	xmpp_far_say(&r->client, &r->rig, text);
}

static void server_says(struct c2s_rig *r, const char *text)
{
	xmpp_far_say(&r->link, &r->rig, text);
}

static uint64_t traced(struct c2s_rig *r, const char *code)
{
	return trace_count(r->rig.env.trace, code);
}

/* To the features of the server, over STARTTLS or not. */
static void to_sasl(struct c2s_rig *r, bool starttls)
{
	c2s_rig_connect(r, !starttls);
	if (starttls) {
		client_says(r, HEADER);
		EXPECT_HEARD(&r->client, "<starttls xmlns='" XMPP_TLS "'><required/></starttls>");
		client_says(r, STARTTLS);
		EXPECT_HEARD(&r->client, "<proceed xmlns='" XMPP_TLS "'/>");
	}
	client_says(r, HEADER_TO(" to='example.com'", " from='alice@example.com' xml:lang='de'"));
	EXPECT_HEARD(&r->link, "to='example.com'");
	server_says(r, SERVER_HEADER SASL_FEATURES);
}

static void to_relay(struct c2s_rig *r)
{
	to_sasl(r, false);
	client_says(r, PLAIN_AUTH);
	server_says(r, SUCCESS);
	client_says(r, HEADER);
	server_says(r, SERVER_HEADER "<stream:features><bind xmlns='" XMPP_BIND
				     "'/></stream:features>");
	client_says(r, BIND);
	server_says(r, BOUND);
	buf_reset(&r->client.in);
	buf_reset(&r->link.in);
}

/* B01, B04, B06, B07 */
static void a_client_signs_in_with_plain(void **state)
{
	struct c2s_rig r;
	struct c2s_edge_stats stats;

	c2s_rig_init(&r);
	to_sasl(&r, true);
	assert_int_equal(r.n_tls, 1);
	assert_string_equal(r.preface.domain, "example.com");
	assert_string_equal(r.preface.client, "198.51.100.7:4711");
	assert_int_equal(strlen(r.preface.session), 32);
	assert_false(r.preface.direct_tls);
	assert_true(xmpp_far_heard(&r.client, "id='s1'"));
	assert_true(xmpp_far_heard(&r.client, "<mechanism>PLAIN</mechanism>"));
	assert_false(xmpp_far_heard(&r.client, "PLUS"));
	assert_false(xmpp_far_heard(&r.client, "EXTERNAL"));
	assert_false(xmpp_far_heard(&r.client, "starttls"));
	assert_false(xmpp_far_heard(&r.client, "compress"));
	assert_false(xmpp_far_heard(&r.client, "register"));
	assert_false(xmpp_far_heard(&r.client, XMPP_SASL_CB));
	buf_reset(&r.client.in);
	client_says(&r, PLAIN_AUTH);
	EXPECT_HEARD(&r.link, PLAIN_AUTH);
	server_says(&r, SUCCESS);
	EXPECT_HEARD(&r.client, SUCCESS);
	client_says(&r, HEADER);
	assert_true(xmpp_far_heard(&r.link, "<?xml version='1.0'?>"));
	EXPECT_HEARD(&r.link, "to='example.com'");
	server_says(&r, SERVER_HEADER
		    "<stream:features><bind xmlns='" XMPP_BIND "'/><sm xmlns='" XMPP_SM
		    "'/><csi xmlns='urn:xmpp:csi:0'/><compression xmlns='" XMPP_COMPRESS_FEATURE
		    "'/></stream:features>");
	assert_false(xmpp_far_heard(&r.client, "compress"));
	assert_true(xmpp_far_heard(&r.client, "<sm xmlns='" XMPP_SM "'/>"));
	EXPECT_HEARD(&r.client, "urn:xmpp:csi:0");
	client_says(&r, BIND);
	EXPECT_HEARD(&r.link, BIND);
	server_says(&r, BOUND);
	EXPECT_HEARD(&r.client, BOUND);
	assert_string_equal(r.user, "alice@example.com");
	stats = c2s_edge_stats(r.edge);
	assert_int_equal(stats.n_auth_good, 1);
	assert_int_equal(stats.n_unauthenticated, 0);
	assert_int_equal(stats.n_open, 1);
	assert_int_equal(r.n_good, 1);
	c2s_rig_fini(&r);
}

static void check_listing(const struct xmpp_listing *l, void *arg)
{
	assert_string_equal(l->conn->user, "alice@example.com");
	assert_string_equal(l->conn->session, "0123456789abcdef0123456789abcdef");
	assert_string_equal(l->conn->state, "relay");
	assert_string_equal(l->auth, "PLAIN");
	assert_string_equal(l->domain, "example.com");
	assert_true(l->resumable);
	assert_true(l->conn->rx_packets >= 1);
	(*(int *)arg)++;
}

/* B10: seen, not touched. */
static void stream_management_passes_and_is_listed(void **state)
{
	struct c2s_rig r;
	int n = 0;

	c2s_rig_init(&r);
	to_relay(&r);
	client_says(&r, "<enable xmlns='" XMPP_SM "' resume='true'/>");
	EXPECT_HEARD(&r.link, "<enable xmlns='" XMPP_SM "' resume='true'/>");
	server_says(&r, "<enabled xmlns='" XMPP_SM "' id='x' resume='true' location='h:1'/>");
	EXPECT_HEARD(&r.client,
		     "<enabled xmlns='" XMPP_SM "' id='x' resume='true' location='h:1'/>");
	server_says(&r, "<r xmlns='" XMPP_SM "'/>");
	EXPECT_HEARD(&r.client, "<r xmlns='" XMPP_SM "'/>");
	EXPECT_SILENCE(&r.link);
	c2s_edge_each(r.edge, check_listing, &n);
	assert_int_equal(n, 1);
	c2s_rig_fini(&r);
}

/* B06: bytes of the exchange are as they were. */
static void scram_passes_untouched(void **state)
{
	static const char *const lines[] = {
		"<auth xmlns='" XMPP_SASL "' mechanism='SCRAM-SHA-1'>"
		"biwsbj11c2VyLHI9ZnlrbytkMmxiYkZnT05Sdjlxa3hkYXdM</auth>",
		"<challenge xmlns='" XMPP_SASL
		"'>cj1meWtvK2QybGJiRmdPTlJ2OXFreGRhd0wzcmZj</challenge>",
		"<response xmlns='" XMPP_SASL
		"'>Yz1iaXdzLHI9ZnlrbytkMmxiYkZnT05Sdjlxa3hkYXdM</response>",
		"<success xmlns='" XMPP_SASL "'>dj1ybUY5cHFWOFM3c3VBb1pXamE0ZEpSa0ZzS1E9</success>",
	};
	struct c2s_rig r;

	c2s_rig_init(&r);
	to_sasl(&r, false);
	assert_true(r.preface.direct_tls);
	for (int i = 0; i < 4; i++) {
		if (i % 2) {
			server_says(&r, lines[i]);
			EXPECT_HEARD(&r.client, lines[i]);
		} else {
			client_says(&r, lines[i]);
			EXPECT_HEARD(&r.link, lines[i]);
		}
	}
	c2s_rig_fini(&r);
}

/* XEP-0388: the stream goes on without a restart. */
static void a_client_signs_in_with_sasl2(void **state)
{
	struct c2s_rig r;
	int n = 0;

	c2s_rig_init(&r);
	to_sasl(&r, false);
	client_says(&r, "<authenticate xmlns='" XMPP_SASL2 "' mechanism='PLAIN'><initial-response>"
			"AGFsaWNlAHNlY3JldA==</initial-response></authenticate>");
	EXPECT_HEARD(&r.link, "AGFsaWNlAHNlY3JldA==");
	server_says(
		&r,
		"<success xmlns='" XMPP_SASL2 "'><authorization-identifier>Alice@example.com/x"
		"</authorization-identifier><bound xmlns='urn:xmpp:bind:0'><enabled xmlns='" XMPP_SM
		"' resume='1' id='q'/></bound></success>"
		"<stream:features><compression xmlns='" XMPP_COMPRESS_FEATURE
		"'/><bind xmlns='" XMPP_BIND "'/></stream:features>");
	assert_false(xmpp_far_heard(&r.client, "compress"));
	EXPECT_HEARD(&r.client, "<bind xmlns='" XMPP_BIND "'/>");
	assert_string_equal(r.user, "alice@example.com");
	c2s_edge_each(r.edge, check_listing, &n);
	client_says(&r, "<presence/>");
	EXPECT_HEARD(&r.link, "<presence/>");
	c2s_rig_fini(&r);
}

static void a_failure_then_a_success(void **state)
{
	struct c2s_rig r;

	c2s_rig_init(&r);
	to_sasl(&r, false);
	buf_reset(&r.client.in);
	client_says(&r, PLAIN_AUTH);
	server_says(&r, "<failure xmlns='" XMPP_SASL "'><not-authorized/></failure>");
	EXPECT_HEARD(&r.client, "<not-authorized/>");
	assert_int_equal(r.n_bad, 1);
	/* An abort is no guess. */
	client_says(&r, "<auth xmlns='" XMPP_SASL "' mechanism='SCRAM-SHA-1'>biws</auth>");
	server_says(&r, "<challenge xmlns='" XMPP_SASL "'>cj0x</challenge>");
	buf_reset(&r.link.in);
	client_says(&r, "<abort xmlns='" XMPP_SASL "'/>");
	EXPECT_HEARD(&r.link, "<abort xmlns='" XMPP_SASL "'/>");
	server_says(&r, "<failure xmlns='" XMPP_SASL "'><aborted/></failure>");
	assert_int_equal(r.n_bad, 1);
	client_says(&r, PLAIN_AUTH);
	server_says(&r, SUCCESS);
	EXPECT_HEARD(&r.client, SUCCESS);
	assert_int_equal(r.n_good, 1);
	assert_int_equal(c2s_edge_stats(r.edge).n_auth_bad, 2);
	c2s_rig_fini(&r);
}

/* Attack 31: the bound, and not one more. */
static void too_many_failures_end_the_stream(void **state)
{
	struct c2s_rig r;

	c2s_rig_init(&r);
	to_sasl(&r, false);
	for (unsigned i = 0; i < r.conf.max_failures; i++) {
		assert_int_equal(c2s_edge_count(r.edge), 1);
		client_says(&r, PLAIN_AUTH);
		server_says(&r, "<failure xmlns='" XMPP_SASL "'><not-authorized/></failure>");
	}
	EXPECT_HEARD(&r.client, "<policy-violation");
	assert_int_equal(r.n_bad, r.conf.max_failures);
	assert_int_equal(traced(&r, "xmpp.c2s.max-failures"), 1);
	assert_int_equal(c2s_edge_count(r.edge), 0);
	assert_true(r.link.eof);
	c2s_rig_fini(&r);
}

/* EXTERNAL without a certificate never leaves. */
static void external_needs_a_certificate(void **state)
{
	struct c2s_rig r;

	c2s_rig_init(&r);
	to_sasl(&r, false);
	buf_reset(&r.link.in);
	client_says(&r, "<auth xmlns='" XMPP_SASL "' mechanism='EXTERNAL'>=</auth>");
	EXPECT_HEARD(&r.client, "<invalid-mechanism/>");
	EXPECT_SILENCE(&r.link);
	client_says(&r, PLAIN_AUTH);
	EXPECT_HEARD(&r.link, PLAIN_AUTH);
	c2s_rig_fini(&r);
}

/* RFC 6120 section 6.4.6; what is pipelined waits its turn. */
static void what_is_pipelined_is_kept(void **state)
{
	struct c2s_rig r;

	c2s_rig_init(&r);
	to_sasl(&r, false);
	client_says(&r, PLAIN_AUTH HEADER BIND "<presence/>");
	EXPECT_HEARD(&r.link, PLAIN_AUTH);
	server_says(&r, SUCCESS);
	assert_true(xmpp_far_heard(&r.link, "<stream:stream"));
	assert_true(xmpp_far_heard(&r.link, BIND));
	EXPECT_HEARD(&r.link, "<presence/>");
	c2s_rig_fini(&r);
}

/* One byte at a time is the same client. */
static void bytes_may_come_one_by_one(void **state)
{
	static const char all[] = HEADER PLAIN_AUTH;
	struct c2s_rig r;

	c2s_rig_init(&r);
	c2s_rig_connect(&r, true);
	for (size_t i = 0; i < sizeof(all) - 1; i++)
		xmpp_far_say_bytes(&r.client, &r.rig, (struct slice){ all + i, 1 });
	server_says(&r, SERVER_HEADER SASL_FEATURES);
	EXPECT_HEARD(&r.link, PLAIN_AUTH);
	c2s_rig_fini(&r);
}

/* B01 and the NO STARTTLS study: what was injected is dropped and told. */
static void plaintext_injection_behind_starttls_is_dropped(void **state)
{
	struct c2s_rig r;

	c2s_rig_init(&r);
	c2s_rig_connect(&r, false);
	client_says(&r, HEADER);
	client_says(&r, STARTTLS HEADER PLAIN_AUTH);
	assert_int_equal(traced(&r, "xmpp.c2s.plaintext-injected"), 1);
	assert_int_equal(c2s_edge_stats(r.edge).n_injected, 1);
	assert_int_equal(r.n_takes, 0);
	buf_reset(&r.client.in);
	client_says(&r, HEADER);
	assert_int_equal(r.n_takes, 1);
	server_says(&r, SERVER_HEADER SASL_FEATURES);
	assert_false(xmpp_far_heard(&r.link, "auth"));
	assert_true(xmpp_far_heard(&r.client, "<mechanisms"));
	c2s_rig_fini(&r);
}

struct bad {
	const char *say, *condition, *code;
};

/* say in state `when`: RFC 6120 error, end of stream, zero bytes to the link. */
static void expect_refused(const struct bad *b, unsigned when)
{
	struct c2s_rig r;

	c2s_rig_init(&r);
	if (when == 0 || when == 1)
		c2s_rig_connect(&r, when == 1);
	else if (when == 2)
		to_sasl(&r, false);
	else
		to_relay(&r);
	buf_reset(&r.client.in);
	buf_reset(&r.link.in);
	client_says(&r, b->say);
	if (!xmpp_far_heard(&r.client, b->condition))
		fail_msg("%s: no %s but %s", b->say, b->condition, xmpp_far_text(&r.client));
	assert_true(slice_ends(buf_slice(&r.client.in), SLICE("</stream:stream>")));
	assert_true(r.client.eof);
	if (when < 2)
		assert_int_equal(r.n_takes, 0);
	EXPECT_SILENCE(&r.link);
	if (when >= 2)
		assert_true(r.link.eof);
	assert_int_equal(c2s_edge_count(r.edge), 0);
	if (traced(&r, b->code) != 1)
		fail_msg("%s: no %s", b->say, b->code);
	assert_string_not_equal(reason(&r), "");
	c2s_rig_fini(&r);
}

#define EXPECT_REFUSED(rows, when)                                             \
	do {                                                                   \
		for (size_t i_ = 0; i_ < sizeof(rows) / sizeof(rows[0]); i_++) \
			expect_refused(&(rows)[i_], when);                     \
	} while (0)

/* B03 */
static void bad_headers_are_refused(void **state)
{
	static const struct bad rows[] = {
		{ HEADER_TO("", ""), "<improper-addressing", "xmpp.c2s.improper-addressing" },
		{ HEADER_TO(" to='a b'", ""), "<improper-addressing",
		  "xmpp.c2s.improper-addressing" },
		{ HEADER_TO(" to=''", ""), "<improper-addressing", "xmpp.c2s.improper-addressing" },
		{ HEADER_TO(" to='unknown.example'", ""), "<host-unknown",
		  "xmpp.c2s.host-unknown" },
		{ HEADER_TO(" to='nochat.example'", ""), "<host-unknown", "xmpp.c2s.host-unknown" },
		{ "<stream:stream xmlns='jabber:client' xmlns:stream='" XMPP_STREAMS
		  "' to='example.com'>",
		  "<unsupported-version", "xmpp.c2s.unsupported-version" },
		{ "<stream:stream xmlns='jabber:client' xmlns:stream='" XMPP_STREAMS
		  "' to='example.com' version='0.9'>",
		  "<unsupported-version", "xmpp.c2s.unsupported-version" },
		{ "<stream:stream xmlns='jabber:server' xmlns:stream='" XMPP_STREAMS
		  "' to='example.com' version='1.0'>",
		  "<invalid-namespace", "xmpp.c2s.invalid-namespace" },
		{ "<stream:stream xmlns='jabber:client' xmlns:stream='urn:x' to='example.com' "
		  "version='1.0'>",
		  "<invalid-namespace", "xmpp.c2s.invalid-namespace" },
		{ "GET / HTTP/1.0\r\n\r\n", "<not-well-formed", "xmpp.c2s.not-well-formed" },
		{ "\x16\x03\x01\x02", "<not-well-formed", "xmpp.c2s.not-well-formed" },
	};

	EXPECT_REFUSED(rows, 0);
	EXPECT_REFUSED(rows, 1);
}

static void a_domain_whose_c_is_down_is_told(void **state)
{
	static const struct bad row = { HEADER_TO(" to='down.example'", ""),
					"<remote-connection-failed", "xmpp.c2s.no-link" };

	expect_refused(&row, 1);
}

/* B01 */
static void nothing_but_starttls_before_tls(void **state)
{
	static const struct bad rows[] = {
		{ HEADER PLAIN_AUTH, "<policy-violation", "xmpp.c2s.tls-required" },
		{ HEADER "<message to='b@example.com'><body>x</body></message>", "<not-authorized",
		  "xmpp.c2s.not-authorized" },
		{ HEADER "<compress xmlns='" XMPP_COMPRESS "'><method>zlib</method></compress>",
		  "<not-authorized", "xmpp.c2s.not-authorized" },
		{ HEADER "<iq type='set' id='1'><query xmlns='jabber:iq:register'/></iq>",
		  "<not-authorized", "xmpp.c2s.not-authorized" },
	};

	EXPECT_REFUSED(rows, 0);
}

static void nothing_but_sasl_before_authentication(void **state)
{
	static const struct bad rows[] = {
		{ "<message to='b@example.com'/>", "<not-authorized", "xmpp.c2s.not-authorized" },
		{ "<iq type='set' id='1'><query xmlns='jabber:iq:register'/></iq>",
		  "<not-authorized", "xmpp.c2s.not-authorized" },
		{ STARTTLS, "<not-authorized", "xmpp.c2s.not-authorized" },
		{ "<compress xmlns='" XMPP_COMPRESS "'><method>zlib</method></compress>",
		  "<not-authorized", "xmpp.c2s.not-authorized" },
		{ "<response xmlns='" XMPP_SASL "'/>", "<not-authorized",
		  "xmpp.c2s.not-authorized" },
		{ "<abort xmlns='" XMPP_SASL "'/>", "<not-authorized", "xmpp.c2s.not-authorized" },
		{ "<success xmlns='" XMPP_SASL "'/>", "<not-authorized",
		  "xmpp.c2s.not-authorized" },
		{ "<auth xmlns='urn:other' mechanism='PLAIN'/>", "<not-authorized",
		  "xmpp.c2s.not-authorized" },
		{ "<resume xmlns='" XMPP_SM "' h='1' previd='x'/>", "<not-authorized",
		  "xmpp.c2s.not-authorized" },
	};

	EXPECT_REFUSED(rows, 2);
}

/* B08, B09 and the rows of the XMPP attack table, before and after sign-in. */
static void hostile_xml_is_refused(void **state)
{
	static const struct bad rows[] = {
		/* CVE-2022-20917: a stream in a stream */
		{ "<message><stream:stream xmlns:stream='" XMPP_STREAMS "'/></message>",
		  "<stream:error", NULL },
		{ "<message></stream:stream><message/>", "<not-well-formed", NULL },
		{ "<stream:stream xmlns='jabber:client' to='example.org' version='1.0'>",
		  "<stream:error", NULL },
		/* CVE-2022-25235, 25236: bad UTF-8, the separator of namespaces */
		{ "<message a='\xc0\xaf'/>", "<stream:error", NULL },
		{ "<message>\xed\xa0\x80</message>", "<stream:error", NULL },
		{ "<\xe3message/>", "<stream:error", NULL },
		{ "<m xmlns='urn:a\f'/>", "<not-well-formed", NULL },
		{ "<m>&#0;</m>", "<not-well-formed", NULL },
		{ "<m>\x01</m>", "<not-well-formed", NULL },
		/* CVE-2013-0340, CVE-2022-0217: at the first <! */
		{ "<!DOCTYPE a [<!ENTITY b 'c'>]>", "<restricted-xml", NULL },
		{ "<m>&undefined;</m>", "<stream:error", NULL },
		{ "<!-- a comment -->", "<restricted-xml", NULL },
		{ "<m><!-- a comment --></m>", "<restricted-xml", NULL },
		{ "<?php ?>", "<restricted-xml", NULL },
		{ "<m a='1' a='2'/>", "<not-well-formed", NULL },
		{ "<m><a></m></a>", "<not-well-formed", NULL },
		{ "<x:m/>", "<stream:error", NULL },
		{ "text between", "<invalid-xml", NULL },
	};

	for (unsigned when = 2; when < 4; when++) {
		for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
			struct c2s_rig r;

			c2s_rig_init(&r);
			if (when == 2)
				to_sasl(&r, false);
			else
				to_relay(&r);
			buf_reset(&r.link.in);
			buf_reset(&r.client.in);
			client_says(&r, rows[i].say);
			if (!xmpp_far_heard(&r.client, rows[i].condition))
				fail_msg("%s: %s", rows[i].say, xmpp_far_text(&r.client));
			assert_true(slice_ends(buf_slice(&r.client.in), SLICE("</stream:stream>")));
			EXPECT_SILENCE(&r.link);
			assert_true(r.client.eof && r.link.eof);
			assert_int_equal(c2s_edge_count(r.edge), 0);
			assert_int_equal(c2s_edge_stats(r.edge).n_refused, 1);
			c2s_rig_fini(&r);
		}
	}
}

/* B08: 10 KiB before, 256 KiB after; at the bound and one byte over. */
static void stanzas_have_a_bound(void **state)
{
	for (int after = 0; after < 2; after++) {
		for (int more = 0; more < 2; more++) {
			size_t n = after ? 256 * 1024 : 10 * 1024;
			struct c2s_rig r;
			char *text = malloc(n + 2);
			static const char start[] =
				"<auth xmlns='" XMPP_SASL "' mechanism='PLAIN'>";
			static const char m_start[] = "<message><body>",
					  m_end[] = "</body></message>";
			const char *head = after ? m_start : start,
				   *tail = after ? m_end : "</auth>";

			assert_non_null(text);
			memset(text, 'A', n + 1);
			text[n + more] = '\0';
			memcpy(text, head, strlen(head));
			memcpy(text + n + more - strlen(tail), tail, strlen(tail));
			c2s_rig_init(&r);
			if (after)
				to_relay(&r);
			else
				to_sasl(&r, false);
			buf_reset(&r.link.in);
			client_says(&r, text);
			if (more)
				EXPECT_HEARD(&r.client, "<policy-violation");
			if (more)
				EXPECT_SILENCE(&r.link);
			else
				assert_int_equal(r.link.in.n, n);
			free(text);
			c2s_rig_fini(&r);
		}
	}
}

static void behind_sign_in_negotiation_is_over(void **state)
{
	static const struct bad rows[] = {
		{ STARTTLS, "<unsupported-stanza-type", "xmpp.c2s.unsupported-stanza-type" },
		{ "<compress xmlns='" XMPP_COMPRESS "'><method>zlib</method></compress>",
		  "<unsupported-stanza-type", "xmpp.c2s.unsupported-stanza-type" },
		{ PLAIN_AUTH, "<unsupported-stanza-type", "xmpp.c2s.unsupported-stanza-type" },
		{ "<stream:features/>", "<unsupported-stanza-type",
		  "xmpp.c2s.unsupported-stanza-type" },
	};

	EXPECT_REFUSED(rows, 3);
}

static void another_domain_behind_sign_in_is_refused(void **state)
{
	struct c2s_rig r;

	c2s_rig_init(&r);
	to_sasl(&r, false);
	client_says(&r, PLAIN_AUTH);
	server_says(&r, SUCCESS);
	buf_reset(&r.link.in);
	client_says(&r, HEADER_TO(" to='example.org'", ""));
	EXPECT_HEARD(&r.client, "<host-unknown");
	EXPECT_SILENCE(&r.link);
	c2s_rig_fini(&r);
}

/* A server, or a C, that is out of step. */
static void a_server_out_of_turn_is_refused(void **state)
{
	static const char *const rows[] = {
		SUCCESS,
		"<message><body>x</body></message>",
		"<challenge xmlns='" XMPP_SASL "'/>",
		SASL_FEATURES,
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct c2s_rig r;

		c2s_rig_init(&r);
		to_sasl(&r, false);
		buf_reset(&r.client.in);
		server_says(&r, rows[i]);
		EXPECT_HEARD(&r.client, "<internal-server-error");
		assert_int_equal(c2s_edge_stats(r.edge).n_auth_good, 0);
		c2s_rig_fini(&r);
	}
}

/* B12 */
static void the_time_to_sign_in_is_bounded(void **state)
{
	for (int when = 0; when < 3; when++) {
		struct c2s_rig r;

		c2s_rig_init(&r);
		if (when < 2)
			c2s_rig_connect(&r, when);
		else
			to_sasl(&r, true);
		xmpp_rig_pass(&r.rig, r.conf.auth_timeout_ms - 100);
		assert_int_equal(c2s_edge_count(r.edge), 1);
		xmpp_rig_pass(&r.rig, 200);
		EXPECT_HEARD(&r.client, "<connection-timeout");
		assert_int_equal(traced(&r, "xmpp.c2s.auth-timeout"), 1);
		assert_int_equal(c2s_edge_count(r.edge), 0);
		assert_int_equal(c2s_edge_stats(r.edge).n_unauthenticated, 0);
		c2s_rig_fini(&r);
	}
}

static void who_has_signed_in_has_time(void **state)
{
	struct c2s_rig r;

	c2s_rig_init(&r);
	to_relay(&r);
	xmpp_rig_pass(&r.rig, 3500 * 1000);
	assert_int_equal(c2s_edge_count(r.edge), 1);
	client_says(&r, " ");
	xmpp_rig_pass(&r.rig, 3500 * 1000);
	assert_int_equal(c2s_edge_count(r.edge), 1);
	xmpp_rig_pass(&r.rig, 200 * 1000);
	EXPECT_HEARD(&r.client, "<connection-timeout");
	assert_true(r.link.eof);
	c2s_rig_fini(&r);
}

/* Attack: half-open streams; one address cannot take all the room of the others. */
static void strangers_of_one_address_are_bounded(void **state)
{
	struct c2s_rig r;
	struct xmpp_far extra[4];

	c2s_rig_init(&r);
	r.conf.max_unauthenticated_source = 3;
	c2s_edge_configure(r.edge, &r.conf);
	for (int i = 0; i < 4; i++) {
		struct stream *s = xmpp_far_init(&extra[i], &r.rig);

		addr_parse(SLICE("198.51.100.8:4711"), 0, &s->remote);
		c2s_edge_accept(r.edge, s);
	}
	xmpp_rig_turn(&r.rig);
	EXPECT_HEARD(&extra[3], "<resource-constraint");
	assert_int_equal(traced(&r, "xmpp.c2s.too-many-unauthenticated"), 1);
	assert_int_equal(c2s_edge_count(r.edge), 3);
	c2s_rig_connect(&r, false); /* another one */
	EXPECT_SILENCE(&r.client);
	assert_int_equal(c2s_edge_count(r.edge), 4);
	c2s_rig_disconnect(&r);
	/* Who has signed in, or is gone, counts no more. */
	for (int i = 0; i < 4; i++)
		xmpp_far_fini(&extra[i], &r.rig);
	xmpp_rig_turn(&r.rig);
	for (int i = 0; i < 5; i++) {
		to_relay(&r);
		assert_int_equal(c2s_edge_stats(r.edge).n_unauthenticated, 0);
		c2s_rig_disconnect(&r);
	}
	assert_int_equal(traced(&r, "xmpp.c2s.too-many-unauthenticated"), 1);
	c2s_rig_fini(&r);
}

/* Attack: half-open streams; the bound is one for all, and it is given back. */
static void strangers_are_bounded(void **state)
{
	struct c2s_rig r;
	struct xmpp_far extra[10];

	c2s_rig_init(&r);
	for (int i = 0; i < 10; i++)
		c2s_edge_accept(r.edge, xmpp_far_init(&extra[i], &r.rig));
	c2s_rig_connect(&r, false);
	EXPECT_HEARD(&r.client, "<resource-constraint");
	assert_true(r.client.eof);
	assert_int_equal(traced(&r, "xmpp.c2s.too-many-unauthenticated"), 1);
	assert_int_equal(c2s_edge_count(r.edge), 10);
	c2s_rig_disconnect(&r);
	xmpp_far_fini(&extra[0], &r.rig);
	c2s_rig_connect(&r, false);
	EXPECT_SILENCE(&r.client);
	assert_int_equal(c2s_edge_count(r.edge), 10);
	for (int i = 1; i < 10; i++)
		xmpp_far_fini(&extra[i], &r.rig);
	c2s_rig_fini(&r);
}

static void no_link_is_told(void **state)
{
	for (int i = 0; i < 2; i++) {
		struct c2s_rig r;

		c2s_rig_init(&r);
		r.no_link = i == 0;
		r.take_fails = i == 1;
		c2s_rig_connect(&r, true);
		client_says(&r, HEADER);
		EXPECT_HEARD(&r.client,
			     i == 0 ? "<remote-connection-failed" : "<resource-constraint");
		assert_int_equal(traced(&r, "xmpp.c2s.no-link"), 1);
		c2s_rig_fini(&r);
	}
}

static void a_client_that_leaves_while_waiting_takes_nothing(void **state)
{
	struct c2s_rig r;

	c2s_rig_init(&r);
	r.link_late = true;
	c2s_rig_connect(&r, true);
	client_says(&r, HEADER);
	assert_int_equal(r.n_takes, 1);
	xmpp_rig_pass(&r.rig, r.conf.auth_timeout_ms + 1000);
	assert_int_equal(r.n_cancels, 1);
	assert_int_equal(c2s_edge_count(r.edge), 0);
	c2s_rig_fini(&r);
}

static void a_client_that_leaves_before_the_answer_gives_the_link_back(void **state)
{
	struct c2s_rig r;

	c2s_rig_init(&r);
	to_sasl(&r, false);
	client_says(&r, PLAIN_AUTH);
	stream_close(r.client.s);
	r.client.s = NULL;
	xmpp_rig_turn(&r.rig);
	assert_int_equal(c2s_edge_count(r.edge), 0);
	assert_true(r.link.eof);
	c2s_rig_fini(&r);
}

static bool see_decided_by(const struct trace_entry *e, void *arg)
{
	slice_copy(arg, sizeof(e->decided_by), slice_of(e->decided_by));
	return false;
}

static void a_source_that_guesses_is_kept_out(void **state)
{
	char decided_by[sizeof(((struct trace_entry *)0)->decided_by)] = "";
	struct c2s_rig r;

	c2s_rig_init(&r);
	r.banned = true;
	c2s_rig_connect(&r, true);
	client_says(&r, HEADER);
	EXPECT_HEARD(&r.client, "<policy-violation");
	assert_int_equal(r.n_takes, 0);
	assert_int_equal(traced(&r, "xmpp.c2s.throttled"), 1);
	trace_each(r.rig.env.trace, "xmpp.c2s.throttled", see_decided_by, decided_by);
	assert_string_equal(decided_by, "[xmpp] failures-per-minute");
	c2s_rig_fini(&r);
}

/* --- ends --- */

static void a_client_that_ends_is_ended_inside_first(void **state)
{
	struct c2s_rig r;

	c2s_rig_init(&r);
	to_relay(&r);
	client_says(&r, "<presence type='unavailable'/></stream:stream>");
	assert_true(xmpp_far_heard(&r.link, "<presence type='unavailable'/></stream:stream>"));
	EXPECT_SILENCE(&r.client);
	server_says(&r, "<message/></stream:stream>");
	assert_string_equal(xmpp_far_text(&r.client), "<message/></stream:stream>");
	assert_true(r.client.eof && r.link.eof);
	assert_string_equal(reason(&r), "ended by the client");
	c2s_rig_fini(&r);
}

static void a_server_that_ends_is_passed_on(void **state)
{
	for (int error = 0; error < 2; error++) {
		struct c2s_rig r;

		c2s_rig_init(&r);
		to_relay(&r);
		server_says(&r, error ? "<stream:error><conflict xmlns='" XMPP_STREAM_ERROR
					"'/></stream:error></stream:stream>"
				      : "</stream:stream>");
		if (error)
			assert_true(xmpp_far_heard(&r.client, "<stream:error><conflict"));
		EXPECT_HEARD(&r.client, "</stream:stream>");
		client_says(&r, "</stream:stream>");
		assert_string_equal(xmpp_far_text(&r.link), "</stream:stream>");
		assert_true(r.client.eof && r.link.eof);
		assert_string_equal(reason(&r), "ended by the server");
		c2s_rig_fini(&r);
	}
}

static void a_host_inside_is_not_told(void **state)
{
	struct c2s_rig r;

	c2s_rig_init(&r);
	to_relay(&r);
	server_says(&r, "<stream:error><see-other-host xmlns='" XMPP_STREAM_ERROR
			"'>im2.inside.example</see-other-host></stream:error></stream:stream>");
	assert_false(xmpp_far_heard(&r.client, "inside"));
	EXPECT_HEARD(&r.client, "<reset");
	c2s_rig_fini(&r);
}

/* B10: so that the client comes back and resumes. */
static void loss_of_the_link_cuts_the_client(void **state)
{
	for (int how = 0; how < 3; how++) {
		struct c2s_rig r;

		c2s_rig_init(&r);
		to_relay(&r);
		if (how == 0) {
			stream_abort(r.link.s);
			r.link.s = NULL;
		} else if (how == 1) {
			stream_close(r.link.s);
			r.link.s = NULL;
		} else {
			c2s_edge_peer_lost(r.edge, 2);
			assert_int_equal(c2s_edge_count(r.edge), 1);
			c2s_edge_peer_lost(r.edge, 1);
		}
		xmpp_rig_turn(&r.rig);
		EXPECT_SILENCE(&r.client);
		assert_true(r.client.eof);
		assert_int_equal(c2s_edge_count(r.edge), 0);
		assert_int_equal(traced(&r, "xmpp.c2s.link-lost"), 1);
		c2s_rig_fini(&r);
	}
}

static void before_sign_in_the_client_hears_why(void **state)
{
	struct c2s_rig r;

	c2s_rig_init(&r);
	to_sasl(&r, false);
	stream_close(r.link.s);
	r.link.s = NULL;
	xmpp_rig_turn(&r.rig);
	EXPECT_HEARD(&r.client, "<remote-connection-failed");
	c2s_rig_fini(&r);
}

static void loss_of_the_client_cuts_the_link(void **state)
{
	struct c2s_rig r;

	c2s_rig_init(&r);
	to_relay(&r);
	client_says(&r, "<message/><half");
	EXPECT_HEARD(&r.link, "<message/>");
	stream_close(r.client.s);
	r.client.s = NULL;
	xmpp_rig_turn(&r.rig);
	EXPECT_SILENCE(&r.link);
	assert_true(r.link.eof);
	assert_int_equal(c2s_edge_count(r.edge), 0);
	c2s_rig_fini(&r);
}

static void an_entry_can_be_closed(void **state)
{
	struct c2s_rig r;
	struct conn *conn;

	c2s_rig_init(&r);
	to_relay(&r);
	conn = CONTAINER_OF(list_first(conn_list(r.rig.env.conns, CONN_XMPP)), struct conn, node);
	conn->close(conn, "closed by operator");
	xmpp_rig_turn(&r.rig);
	EXPECT_HEARD(&r.client, "<policy-violation");
	assert_string_equal(xmpp_far_text(&r.link), "</stream:stream>");
	assert_string_equal(reason(&r), "closed by operator");
	server_says(&r, "</stream:stream>");
	assert_true(r.link.eof);
	c2s_rig_fini(&r);
}

static void a_domain_that_goes_takes_its_own_alone(void **state)
{
	struct c2s_rig r;

	c2s_rig_init(&r);
	to_relay(&r);
	c2s_edge_domain_gone(r.edge, "example.org");
	assert_int_equal(c2s_edge_count(r.edge), 1);
	c2s_edge_domain_gone(r.edge, "example.com");
	xmpp_rig_turn(&r.rig);
	EXPECT_HEARD(&r.client, "<host-gone");
	EXPECT_HEARD(&r.link, "</stream:stream>");
	c2s_rig_fini(&r);
}

static void draining_takes_no_new_ones(void **state)
{
	struct c2s_rig r;
	struct xmpp_far other;

	c2s_rig_init(&r);
	to_relay(&r);
	c2s_edge_drain(r.edge);
	c2s_edge_accept(r.edge, xmpp_far_init(&other, &r.rig));
	xmpp_rig_turn(&r.rig);
	EXPECT_HEARD(&other, "<system-shutdown");
	client_says(&r, "<presence/>");
	EXPECT_HEARD(&r.link, "<presence/>");
	xmpp_far_fini(&other, &r.rig);
	c2s_rig_fini(&r);
}

/* What the client said is told back cut, and perhaps inside a character: the condition is heard. */
static void refusal_cut_inside_a_character(void **state)
{
	char text[1000] = "<";
	struct c2s_rig r;

	for (int i = 0; i < 100; i++)
		strcat(text, "\xe4\xb8\x80");
	strcat(text, " xmlns='" XMPP_TLS "'/>");
	c2s_rig_init(&r);
	to_relay(&r);
	client_says(&r, text);
	EXPECT_HEARD(&r.client, "<unsupported-stanza-type");
	c2s_rig_fini(&r);
}

static void new_settings_drop_nobody(void **state)
{
	struct c2s_rig r;

	c2s_rig_init(&r);
	to_relay(&r);
	r.conf.stanza_bytes = 10000;
	c2s_edge_configure(r.edge, &r.conf);
	client_says(&r, "<presence/>");
	EXPECT_HEARD(&r.link, "<presence/>");
	c2s_rig_fini(&r);
}

/* --- pace --- */

/* B11 */
static void spaces_pass_as_one(void **state)
{
	struct c2s_rig r;

	c2s_rig_init(&r);
	to_relay(&r);
	client_says(&r, " \n \n    \n");
	assert_string_equal(xmpp_far_text(&r.link), " ");
	server_says(&r, "\n\n");
	assert_string_equal(xmpp_far_text(&r.client), " ");
	c2s_rig_fini(&r);
}

/* One side takes nothing: the other is not read, and what waits is bounded. */
static void back_pressure_goes_both_ways(void **state)
{
	static char text[1200];

	for (int to_client = 0; to_client < 2; to_client++) {
		struct c2s_rig r;
		struct xmpp_far *from, *to;
		size_t n_left;

		c2s_rig_init(&r);
		to_relay(&r);
		from = to_client ? &r.link : &r.client;
		to = to_client ? &r.client : &r.link;
		to->deaf = true;
		snprintf(text, sizeof(text), "<message><body>%01000d</body></message>", 7);
		for (int i = 0; i < 1500; i++)
			evbuffer_add(stream_out(from->s), text, strlen(text));
		stream_flush(from->s);
		xmpp_rig_turn(&r.rig);
		n_left = evbuffer_get_length(stream_out(from->s));
		assert_true(n_left > 800 * 1000);
		to->deaf = false;
		xmpp_far_readable(to);
		for (int i = 0; i < 30; i++)
			xmpp_rig_turn(&r.rig);
		assert_int_equal(to->in.n, 1500 * strlen(text));
		assert_int_equal(c2s_edge_count(r.edge), 1);
		c2s_rig_fini(&r);
	}
}

static void a_slow_reader_loses_its_stream(void **state)
{
	static char text[1200];
	struct c2s_rig r;

	c2s_rig_init(&r);
	to_relay(&r);
	r.client.deaf = true;
	snprintf(text, sizeof(text), "<message><body>%01000d</body></message>", 7);
	for (int i = 0; i < 500; i++)
		evbuffer_add(stream_out(r.link.s), text, strlen(text));
	stream_flush(r.link.s);
	xmpp_rig_turn(&r.rig);
	xmpp_rig_pass(&r.rig, r.conf.send_timeout_ms * 3 / 2);
	assert_int_equal(c2s_edge_count(r.edge), 0);
	assert_int_equal(traced(&r, "xmpp.c2s.slow-reader"), 1);
	assert_true(r.link.eof);
	EXPECT_SILENCE(&r.link);
	c2s_rig_fini(&r);
}

static void without_memory(void *arg)
{
	struct c2s_rig *r = arg;

	c2s_rig_connect(r, false);
	client_says(r, HEADER);
	client_says(r, STARTTLS);
	client_says(r, HEADER);
	server_says(r, SERVER_HEADER SASL_FEATURES);
	client_says(r, PLAIN_AUTH);
	server_says(r, SUCCESS);
	client_says(r, HEADER BIND);
	server_says(r, SERVER_HEADER BOUND "<message><body>x</body></message></stream:stream>");
	client_says(r, "</stream:stream>");
	xmpp_rig_pass(&r->rig, 40000);
	assert_int_equal(c2s_edge_count(r->edge), 0);
	c2s_rig_disconnect(r);
}

static void memory_may_run_out_anywhere(void **state)
{
	struct c2s_rig r;

	c2s_rig_init(&r);
	alloc_fail_sweep(without_memory, &r);
	assert_int_equal(c2s_edge_stats(r.edge).n_unauthenticated, 0);
	assert_int_equal(conn_count(r.rig.env.conns, CONN_XMPP), 0);
	c2s_rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_client_signs_in_with_plain),
		cmocka_unit_test(stream_management_passes_and_is_listed),
		cmocka_unit_test(scram_passes_untouched),
		cmocka_unit_test(a_client_signs_in_with_sasl2),
		cmocka_unit_test(a_failure_then_a_success),
		cmocka_unit_test(too_many_failures_end_the_stream),
		cmocka_unit_test(external_needs_a_certificate),
		cmocka_unit_test(what_is_pipelined_is_kept),
		cmocka_unit_test(bytes_may_come_one_by_one),
		cmocka_unit_test(plaintext_injection_behind_starttls_is_dropped),
		cmocka_unit_test(bad_headers_are_refused),
		cmocka_unit_test(a_domain_whose_c_is_down_is_told),
		cmocka_unit_test(nothing_but_starttls_before_tls),
		cmocka_unit_test(nothing_but_sasl_before_authentication),
		cmocka_unit_test(hostile_xml_is_refused),
		cmocka_unit_test(stanzas_have_a_bound),
		cmocka_unit_test(behind_sign_in_negotiation_is_over),
		cmocka_unit_test(another_domain_behind_sign_in_is_refused),
		cmocka_unit_test(a_server_out_of_turn_is_refused),
		cmocka_unit_test(the_time_to_sign_in_is_bounded),
		cmocka_unit_test(who_has_signed_in_has_time),
		cmocka_unit_test(strangers_are_bounded),
		cmocka_unit_test(strangers_of_one_address_are_bounded),
		cmocka_unit_test(no_link_is_told),
		cmocka_unit_test(a_client_that_leaves_while_waiting_takes_nothing),
		cmocka_unit_test(a_client_that_leaves_before_the_answer_gives_the_link_back),
		cmocka_unit_test(a_source_that_guesses_is_kept_out),
		cmocka_unit_test(a_client_that_ends_is_ended_inside_first),
		cmocka_unit_test(a_server_that_ends_is_passed_on),
		cmocka_unit_test(a_host_inside_is_not_told),
		cmocka_unit_test(loss_of_the_link_cuts_the_client),
		cmocka_unit_test(before_sign_in_the_client_hears_why),
		cmocka_unit_test(loss_of_the_client_cuts_the_link),
		cmocka_unit_test(an_entry_can_be_closed),
		cmocka_unit_test(a_domain_that_goes_takes_its_own_alone),
		cmocka_unit_test(draining_takes_no_new_ones),
		cmocka_unit_test(refusal_cut_inside_a_character),
		cmocka_unit_test(new_settings_drop_nobody),
		cmocka_unit_test(spaces_pass_as_one),
		cmocka_unit_test(back_pressure_goes_both_ways),
		cmocka_unit_test(a_slow_reader_loses_its_stream),
		cmocka_unit_test(memory_may_run_out_anywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
