/* Chat clients at E over real sockets: STARTTLS, direct TLS, which certificate for which domain,
 * and certificates of clients. */
#include "support/stream_box.h"

#include "core/stream_socket.h"
#include "support/xmpp_c2s_edge_rig.h"

#define HEADER(to)                                                                              \
	"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='" XMPP_STREAMS \
	"' to='" to "' version='1.0'>"
#define STARTTLS "<starttls xmlns='" XMPP_TLS "'/>"
#define SERVER                                                                                  \
	"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='" XMPP_STREAMS \
	"' id='s1' version='1.0'><stream:features><mechanisms xmlns='" XMPP_SASL                \
	"'><mechanism>PLAIN</mechanism><mechanism>EXTERNAL</mechanism></mechanisms>"            \
	"</stream:features>"

struct box {
	struct stream_box *sb;
	struct c2s_rig r; /* its env is the stream_box's; client is over a socket */
	struct c2s_edge_ops ops;
	struct stream_listener *l;
	unsigned n_opened;
};

static int start_tls(void *arg, struct stream *s)
{
	struct box *b = CONTAINER_OF(arg, struct box, r);
	struct stream_tls t = {
		.is_server = true, .tls = "web guest", .ask = true, .timeout_ms = 10000
	};

	return stream_start_tls(&b->sb->env, s, &t);
}

static void accepted(void *arg, struct stream *s)
{
	c2s_edge_accept(((struct box *)arg)->r.edge, s);
}

static void opened(void *arg)
{
	CONTAINER_OF(arg, struct box, r.client)->n_opened++;
}

static const struct stream_handler client_handler = {
	.opened = opened,
	.readable = xmpp_far_readable,
	.closed = xmpp_far_closed,
};

/* [tls web] speaks for example.com, [tls guest] for example.org (and is alice's own). */
static void box_init(struct box *b)
{
	struct stream_listener_conf conf = {
		.local = stream_box_addr(0),
		.tls = "web guest",
		.detect_tls = true,
		.verify = TLS_VERIFY_ASK,
		.alpn = "xmpp-client",
		.kind = CONN_XMPP,
		.handshake_ms = 10000,
		.zone = "chat",
		.accepted = accepted,
		.arg = b,
	};
	int error;

	*b = (struct box){ .sb = stream_box_new(), .ops = c2s_rig_ops };
	stream_box_cert(b->sb, "web", "DNS:example.com");
	stream_box_cert(b->sb, "guest",
			"DNS:example.org,otherName:1.3.6.1.5.5.7.8.5;UTF8:example.org,"
			"otherName:1.3.6.1.5.5.7.8.5;UTF8:alice@example.com");
	stream_box_load_tls(b->sb);
	b->r.rig.env = b->sb->env;
	loop_deferred_init(&b->r.later, c2s_rig_run, &b->r);
	b->ops.start_tls = start_tls;
	b->r.conf = (struct xmpp_conf){
		.auth_timeout_ms = 30000,
		.stanza_bytes = 65536,
		.stanza_bytes_unauthenticated = 10240,
		.max_failures = 3,
		.max_unauthenticated = 10,
	};
	b->r.edge = c2s_edge_new(&b->sb->env, &b->ops, &b->r);
	assert_non_null(b->r.edge);
	c2s_edge_configure(b->r.edge, &b->r.conf);
	b->l = stream_listener_new(&b->sb->env, &conf, &error);
	assert_non_null(b->l);
}

static void box_fini(struct box *b)
{
	stream_close(b->r.client.s);
	b->r.client.s = NULL;
	UNTIL(b->sb, c2s_edge_count(b->r.edge) == 0);
	c2s_edge_free(b->r.edge);
	stream_listener_free(b->l);
	c2s_rig_disconnect(&b->r);
	loop_defer_cancel(&b->r.later);
	stream_box_free(b->sb);
}

/* sni NULL: in the clear. */
static void dial(struct box *b, const char *sni, const char *certificate)
{
	struct stream_connect c = {
		.to = stream_box_listening(b->sb),
		.timeout_ms = 10000,
		.tls = sni ? certificate : NULL,
		.tls_public = sni && !certificate,
		.server_name = sni,
		.alpn = sni ? "xmpp-client" : NULL,
	};
	int error;

	buf_init(&b->r.client.in, 65536);
	b->r.client.s = stream_connect(&b->sb->env, &c, &client_handler, &b->r.client, &error);
	assert_non_null(b->r.client.s);
	UNTIL(b->sb, b->n_opened == 1);
}

static void says(struct box *b, const char *text)
{
	xmpp_far_say(&b->r.client, &b->r.rig, text);
}

static void hears(struct box *b, const char *part)
{
	UNTIL(b->sb, xmpp_far_heard(&b->r.client, part) || b->r.client.over);
	EXPECT_HEARD(&b->r.client, part);
}

static void check_listing(const struct xmpp_listing *l, void *arg)
{
	assert_true(strncmp(l->tls, "TLSv1.3 TLS_", 12) == 0);
	assert_int_equal(l->conn->transport, CONN_TLS);
	*(bool *)arg = true;
}

/* B01, with the real handshake; what came in the same segment as <starttls/> is gone. */
static void starttls_works_and_drops_what_was_injected(void **state)
{
	for (int inject = 0; inject < 2; inject++) {
		struct box b;
		struct stream_tls t = { .tls_public = true,
					.server_name = "example.com",
					.timeout_ms = 10000 };
		bool listed = false;

		box_init(&b);
		dial(&b, NULL, NULL);
		says(&b, HEADER("example.com"));
		hears(&b, "<required/>");
		says(&b, inject ? STARTTLS "<auth xmlns='" XMPP_SASL
					   "' mechanism='PLAIN'>eA==</auth>"
				: STARTTLS);
		hears(&b, "<proceed");
		assert_int_equal(stream_start_tls(&b.sb->env, b.r.client.s, &t), 0);
		UNTIL(b.sb, b.n_opened == 2);
		says(&b, HEADER("example.com"));
		UNTIL(b.sb, b.r.link.s && xmpp_far_heard(&b.r.link, "to='example.com'"));
		assert_false(b.r.preface.direct_tls);
		xmpp_far_say(&b.r.link, &b.r.rig, SERVER);
		hears(&b, "<mechanism>PLAIN</mechanism>");
		assert_false(xmpp_far_heard(&b.r.link, "auth"));
		assert_int_equal(trace_count(b.sb->env.trace, "xmpp.c2s.plaintext-injected"),
				 inject);
		c2s_edge_each(b.r.edge, check_listing, &listed);
		assert_true(listed);
		box_fini(&b);
	}
}

/* B02, B03 */
static void the_domain_counts_unless_tls_was_for_another_of_ours(void **state)
{
	static const struct {
		const char *sni, *header;
		bool good;
	} rows[] = {
		{ "example.com", HEADER("example.com"), true },
		{ "example.org", HEADER("example.org"), true },
		/* A host name of the service: the client has looked at the certificate. */
		{ "xmpp.provider.example", HEADER("example.com"), true },
		/* [tls web] is shown to who names none; it does not speak for example.org. */
		{ "example.com", HEADER("example.org"), false },
		{ "example.org", HEADER("example.com"), false },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct box b;

		box_init(&b);
		dial(&b, rows[i].sni, NULL);
		says(&b, rows[i].header);
		if (rows[i].good) {
			UNTIL(b.sb, b.r.n_takes == 1);
			assert_true(b.r.preface.direct_tls);
			assert_int_equal(b.r.preface.n_addrs, 0);
		} else {
			hears(&b, "<policy-violation");
			assert_int_equal(b.r.n_takes, 0);
			assert_int_equal(
				trace_count(b.sb->env.trace, "xmpp.c2s.certificate-mismatch"), 1);
		}
		box_fini(&b);
	}
}

/* B06: C is told what the certificate says, and only then EXTERNAL is offered. */
static void a_verified_certificate_allows_external(void **state)
{
	struct box b;

	box_init(&b);
	dial(&b, "example.com", "guest");
	says(&b, HEADER("example.com"));
	UNTIL(b.sb, b.r.link.s && xmpp_far_heard(&b.r.link, "<stream:stream"));
	assert_int_equal(b.r.preface.n_addrs, 1);
	assert_string_equal(b.r.preface.addrs[0], "alice@example.com");
	xmpp_far_say(&b.r.link, &b.r.rig, SERVER);
	hears(&b, "<mechanism>EXTERNAL</mechanism>");
	says(&b, "<auth xmlns='" XMPP_SASL "' mechanism='EXTERNAL'>=</auth>");
	UNTIL(b.sb, xmpp_far_heard(&b.r.link, "mechanism='EXTERNAL'"));
	box_fini(&b);
}

/* What begins TLS and is none ends, and leaves its reason. */
static void a_broken_handshake_ends_the_stream(void **state)
{
	struct box b;

	box_init(&b);
	dial(&b, NULL, NULL);
	says(&b, HEADER("example.com"));
	hears(&b, "<required/>");
	says(&b, STARTTLS);
	hears(&b, "<proceed");
	says(&b, "<iq/> and no handshake at all, but enough bytes to look like a record");
	UNTIL(b.sb, c2s_edge_count(b.r.edge) == 0);
	assert_int_equal(trace_count(b.sb->env.trace, "xmpp.c2s.tls-failed"), 1);
	assert_int_equal(b.r.n_takes, 0);
	box_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(starttls_works_and_drops_what_was_injected),
		cmocka_unit_test(the_domain_counts_unless_tls_was_for_another_of_ours),
		cmocka_unit_test(a_verified_certificate_allows_external),
		cmocka_unit_test(a_broken_handshake_ends_the_stream),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
