/* Flows over TLS, and the mutual TLS of traversal links. */
#include "support/sip_box.h"

static void tls_both_ways(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	struct flow_dest dest = dest_to(CONN_TLS, ADDR_IP4, port);
	char tls[512], text[1024];
	struct flow *f;
	int error;

	configure(fx, &fx->e, "%s[sip]\naddress = 127.0.0.1\ntls-port = %u\ntls = edge\n",
		  tls_section(fx, "edge", tls), port);
	configure(fx, &fx->c, "%s[sip]\ntls-port = 0\n", tls_section(fx, "core", tls));
	fx->e.on_message = ANSWER;
	dest.tls = "core";
	dest.server_name = "edge1.example.com";
	dest.verify = true;
	f = transport_flow_to(fx->c.t, &dest, &error);
	assert_non_null(f);
	assert_int_equal(flow_send(f, options(text, "tls")), 0);
	UNTIL(fx->c.n_messages == 1);
	assert_string_equal(fx->e.last_call_id, "tls");
	assert_non_null(flow_ssl(f));
	assert_ptr_equal(transport_flow_to(fx->c.t, &dest, &error), f);
	/* The same address under another name is another peer. */
	dest.server_name = "edge2.example.com";
	assert_ptr_not_equal(transport_flow_to(fx->c.t, &dest, &error), f);
	UNTIL(fx->c.n_closed == 1);
	assert_string_equal(fx->c.why, "name mismatch: wanted edge2.example.com, certificate has "
				       "edge1.example.com");
	UNTIL(fx->e.n_closed == 1);
	assert_non_null(strstr(fx->e.why, "peer refused: alert"));
	flow_close(f, "enough");
	UNTIL(fx->e.n_closed == 2);
	assert_string_equal(fx->e.why, "closed by peer");
}

#define TRAVERSAL_CONF                                                            \
	"%s[sip]\naddress = 127.0.0.1\ntls-port = 0\nhandshake-timeout = 150ms\n" \
	"[zone from-core]\ntype = uc-traversal\nport = %u\ntls = edge\nverify-name = %s\n"

static struct flow_dest traversal_dest(uint16_t port, const char *tls)
{
	struct flow_dest dest = dest_to(CONN_TLS, ADDR_IP4, port);

	dest.role = FLOW_TRAVERSAL_CLIENT;
	dest.zone = "to-edge";
	dest.tls = tls;
	dest.server_name = "edge1.example.com";
	dest.verify = true;
	return dest;
}

static void traversal_link_is_mutual(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	struct flow_dest dest = traversal_dest(port, "core");
	char tls[512], text[1024];
	struct flow *e, *c;
	int error;

	configure(fx, &fx->e, TRAVERSAL_CONF, tls_section(fx, "edge", tls), port,
		  "core1.example.com");
	configure(fx, &fx->c, "%s[sip]\ntls-port = 0\n", tls_section(fx, "core", tls));
	assert_int_equal(transport_set_name(fx->e.t, "edge1.example.com"), 0);
	assert_int_equal(transport_set_name(fx->c.t, "core1.example.com"), 0);
	c = transport_connect(fx->c.t, &dest, &error);
	assert_non_null(c);
	assert_int_equal(flow_send(c, options(text, "link")), 0);
	UNTIL(fx->e.n_messages == 1);
	e = transport_flow(fx->e.t, fx->e.last);
	assert_int_equal(flow_role(e), FLOW_TRAVERSAL_SERVER);
	assert_string_equal(flow_zone(e), "from-core");
	snprintf(text, sizeof(text), "edge1.example.com:%u", port);
	sent_by_is(e, text);
	snprintf(text, sizeof(text), "core1.example.com:%u", flow_local(c)->port);
	sent_by_is(c, text);
}

static void traversal_refuses_wrong_name(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	struct flow_dest dest = traversal_dest(port, "core");
	char tls[512], text[1024];
	struct flow *c;
	int error;

	configure(fx, &fx->e, TRAVERSAL_CONF, tls_section(fx, "edge", tls), port,
		  "core9.example.com");
	configure(fx, &fx->c, "%s[sip]\ntls-port = 0\n", tls_section(fx, "core", tls));
	c = transport_connect(fx->c.t, &dest, &error);
	flow_send(c, options(text, "must-not-arrive"));
	UNTIL(fx->e.n_closed == 1);
	assert_string_equal(fx->e.why, "name mismatch: wanted core9.example.com, certificate has "
				       "core1.example.com");
	assert_int_equal(fx->e.n_opened, 0);
	assert_int_equal(fx->e.n_messages, 0);
	assert_int_equal(trace_count(fx->e.env.trace, "sip.flow.tls-name"), 1);
	UNTIL(fx->c.n_closed == 1);
	assert_string_equal(fx->c.why, "closed by peer");
}

static void traversal_refuses_strangers(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	struct flow_dest dest = traversal_dest(port, "stranger");
	char tls[512], text[1024];
	struct flow *c;
	int error;

	configure(fx, &fx->e, TRAVERSAL_CONF, tls_section(fx, "edge", tls), port,
		  "core1.example.com");
	configure(fx, &fx->c, "%s[sip]\ntls-port = 0\n", tls_section(fx, "stranger", tls));
	c = transport_connect(fx->c.t, &dest, &error);
	/* TLS 1.3: the client is done before the server looks, and sends at once; the alert must
	 * reach it all the same. */
	flow_send(c, options(text, "must-not-arrive"));
	UNTIL(fx->e.n_closed == 1 && fx->c.n_closed == 1);
	assert_non_null(strstr(fx->e.why, "peer certificate not signed by"));
	assert_int_equal(fx->e.n_messages, 0);
	assert_non_null(strstr(fx->c.why, "peer refused: alert"));
}

static void traversal_wants_a_certificate(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(ctx);
	char tls[512];
	struct peer p;

	configure(fx, &fx->e, TRAVERSAL_CONF, tls_section(fx, "edge", tls), port,
		  "core1.example.com");
	p = dial4(port);
	SSL_set_fd(ssl, p.fd);
	UNTIL((SSL_connect(ssl), fx->e.n_closed == 1));
	assert_non_null(strstr(fx->e.why, "peer sent no certificate"));
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	hang_up(&p);
}

/* The route module demands verify-name; without it nobody may pass. */
static void traversal_without_a_name_is_shut(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	struct flow_dest dest = traversal_dest(port, "core");
	char tls[512];
	int error;

	configure(fx, &fx->e,
		  "%s[sip]\naddress = 127.0.0.1\ntls-port = 0\n"
		  "[zone from-core]\ntype = uc-traversal\nport = %u\ntls = edge\n",
		  tls_section(fx, "edge", tls), port);
	configure(fx, &fx->c, "%s[sip]\ntls-port = 0\n", tls_section(fx, "core", tls));
	assert_non_null(transport_connect(fx->c.t, &dest, &error));
	UNTIL(fx->e.n_closed == 1);
	assert_string_equal(fx->e.why, "zone from-core has no verify-name");
	assert_int_equal(fx->e.n_opened, 0);
}

static void slow_handshake_ends(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	char tls[512];
	struct peer silent, half;

	configure(fx, &fx->e, TRAVERSAL_CONF, tls_section(fx, "edge", tls), port,
		  "core1.example.com");
	silent = dial4(port);
	half = dial4(port);
	put(fx, &half, "\x16\x03\x01\x00\xf0", 5);
	UNTIL(fx->e.n_closed == 2);
	assert_int_equal(ended(&fx->e, "TLS handshake not finished in 150 ms"), 2);
	assert_int_equal(trace_count(fx->e.env.trace, "sip.flow.timeout"), 2);
	UNTIL(is_over(&silent) && is_over(&half));
	hang_up(&silent);
	hang_up(&half);
	silent = dial4(port);
	put_str(fx, &silent, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
	UNTIL(fx->e.n_closed == 3);
	assert_non_null(strstr(fx->e.why, "HTTP"));
	hang_up(&silent);
	assert_int_equal(fx->e.n_opened, 0);
}

/* New handshakes see the new certificate; the old connection does not notice. */
static void certificate_swap(void **state)
{
	struct fixture *fx = *state;
	uint16_t port = free_port();
	struct flow_dest dest = dest_to(CONN_TLS, ADDR_IP4, port);
	char tls[512], text[1024];
	struct flow *old;
	int error;

	configure(fx, &fx->e, "%s[sip]\naddress = 127.0.0.1\ntls-port = %u\ntls = edge\n",
		  tls_section(fx, "edge", tls), port);
	configure(fx, &fx->c, "%s[sip]\ntls-port = 0\n", tls_section(fx, "core", tls));
	dest.tls = "core";
	dest.server_name = "edge1.example.com";
	dest.verify = true;
	old = transport_connect(fx->c.t, &dest, &error);
	UNTIL(fx->e.n_opened == 1 && fx->c.n_opened == 1);

	write_pair(fx, "edge", "DNS:edge2.example.com", &fx->ca);
	configure(fx, &fx->e, "%s[sip]\naddress = 127.0.0.1\ntls-port = %u\ntls = edge\n",
		  tls_section(fx, "edge", tls), port);
	dest.server_name = "edge2.example.com";
	assert_non_null(transport_connect(fx->c.t, &dest, &error));
	UNTIL(fx->e.n_opened == 2 && fx->c.n_opened == 2);
	assert_int_equal(flow_send(old, options(text, "still-here")), 0);
	UNTIL(fx->e.n_messages == 1);
	assert_int_equal(fx->e.n_closed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(tls_both_ways),
		T(traversal_link_is_mutual),
		T(traversal_refuses_wrong_name),
		T(traversal_refuses_strangers),
		T(traversal_wants_a_certificate),
		T(traversal_without_a_name_is_shut),
		T(slow_handshake_ends),
		T(certificate_swap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
