/*
 * Chat streams on C between a scripted E and scripted IM servers, over stream pairs; the clock is
 * turned by hand.
 */
#include "support/xmpp_c2s_core_rig.h"

#include "base/base64.h"
#include "support/alloc_fail.h"

/* --- signing in --- */

static void see_listing(const struct xmpp_listing *l, void *arg)
{
	assert_string_equal(l->domain, "example.com");
	assert_string_equal(l->auth, "PLAIN");
	assert_string_equal(l->direction, "out");
	assert_true(l->stats->n_in > 0);
	*(bool *)arg = l->resumable;
}

static void test_sign_in(void **state)
{
	struct rig *rig = rig_taken();
	struct side *srv = &rig->legs[0];
	bool resumable = false;

	from_e(rig, HEAD("to='Example.COM.' from='Alice@example.com/phone' version='1.0' "
			 "xml:lang='de'"));
	assert_string_equal(rig->key, "alice@example.com");
	assert_has(&rig->e, "from='example.com'");
	assert_has(&rig->e, "to='Alice@example.com/phone'");
	assert_has(&rig->e, "id='a");
	assert_has(&rig->e, M("SCRAM-SHA-1") M("PLAIN"));
	assert_has_not(&rig->e, "starttls");
	/* who it is, is told under TLS only */
	assert_has(srv, "to='example.com'");
	assert_has(srv, "xml:lang='de'");
	assert_null(strstr(text_of(srv), "Alice") < strstr(text_of(srv), "<starttls")
			    ? strstr(text_of(srv), "Alice")
			    : NULL);
	assert_has(srv, "from='Alice@example.com/phone'");
	assert_int_equal(rig->servers[0].n_good, 1);
	assert_string_equal(entry(rig)->state, "signing in");
	assert_string_equal(entry(rig)->user, "");
	forget(&rig->e);
	from_e(rig, ALICE);
	assert_string_equal(text_of(&rig->e), SUCCESS);
	assert_int_equal(rig->n_finds, 1); /* the user is where the header said */
	forget(&rig->e);
	/* RFC 6120 section 6.4.6: both sides begin anew, one header each */
	from_e(rig, E_HEAD_OF("alice"));
	assert_int_equal(strncmp(text_of(&rig->e), "<?xml ", 6), 0);
	assert_null(strstr(text_of(&rig->e) + 1, "<?xml "));
	assert_has(&rig->e, BIND);
	assert_has(&rig->e, "<sm xmlns='urn:xmpp:sm:3'/>");
	assert_string_equal(entry(rig)->user, "alice@example.com");
	assert_string_equal(entry(rig)->session, "ffffffffffffffffffffffffffffffff");
	assert_string_equal(entry(rig)->zone, "main");
	assert_int_equal(entry(rig)->parent, 4242);
	assert_string_equal(entry(rig)->state, "relaying");
	assert_string_equal(rig->user, "alice@example.com");
	forget(&rig->e);
	forget(srv);
	from_e(rig,
	       "<message to=\"bob@example.com\"><body>a &lt; b<![CDATA[<&]]></body></message>");
	assert_string_equal(
		text_of(srv),
		"<message to='bob@example.com'><body>a &lt; b&lt;&amp;</body></message>");
	from_server(rig, 0,
		    "<message from='bob@example.com'><body>yes</body></message>"
		    "<enabled xmlns='urn:xmpp:sm:3' id='x' resume='true'/>");
	assert_has(&rig->e, "<message from='bob@example.com'><body>yes</body></message>");
	assert_has(&rig->e, "<enabled xmlns='urn:xmpp:sm:3' id='x' resume='true'/>");
	c2s_core_each(rig->core, see_listing, &resumable);
	assert_true(resumable);
	assert_true(entry(rig)->rx_packets > 0 && entry(rig)->tx_bytes > 0);
	/* nothing of the exchange is written anywhere */
	fflush(rig->sink);
	assert_null(strstr(rig->log_text, "sesame"));
	assert_null(strstr(rig->log_text, "AGFsaWNl"));
	rig_free(rig);
}

static void test_without_from(void **state)
{
	struct rig *rig = rig_taken();

	from_e(rig, E_HEAD);
	assert_string_equal(rig->key, "198.51.100.7");
	from_e(rig, ALICE);
	/* now the name is known, and a is her node too */
	assert_string_equal(rig->key, "alice@example.com");
	assert_int_equal(rig->n_finds, 2);
	assert_int_equal(rig->n_legs, 1);
	assert_has(&rig->e, SUCCESS);
	rig_free(rig);
}

static void test_from_of_others_is_dropped(void **state)
{
	struct rig *rig = rig_taken();

	from_e(rig, HEAD("to='example.com' from='alice@other.org' version='1.0'"));
	assert_string_equal(rig->key, "198.51.100.7");
	assert_has_not(&rig->legs[0], "other.org");
	rig_free(rig);
}

/* B06: SCRAM, an answer each; what E sends too early waits. */
static void test_lock_step(void **state)
{
	struct rig *rig = rig_taken();
	struct side *srv = &rig->legs[0];

	rig->servers[0].answer = "<challenge xmlns='" SASL "'>cj0x</challenge>";
	from_e(rig, E_HEAD_OF("alice"));
	forget(&rig->e);
	rig->servers[0].answer = ""; /* silent */
	from_e(rig, "<auth xmlns='" SASL "' mechanism='SCRAM-SHA-1'>biwsbj1hbGljZSxyPXg=</auth>"
		    "<response xmlns='" SASL "'>Yz1iaXdz</response>");
	assert_has(srv, "biwsbj1hbGljZSxyPXg=");
	assert_has_not(srv, "Yz1iaXdz");
	from_server(rig, 0, "<challenge xmlns='" SASL "'>cj0x</challenge>");
	assert_has(&rig->e, "cj0x");
	assert_has(srv, "Yz1iaXdz");
	from_server(rig, 0, "<failure xmlns='" SASL "'><not-authorized/></failure>");
	assert_has(&rig->e, "<not-authorized/>");
	/* and again, on the same stream */
	forget(srv);
	from_e(rig, BOB);
	assert_int_equal(rig->n_legs, 2);
	assert_has(&rig->e, SUCCESS);
	rig_free(rig);
}

static void test_abort(void **state)
{
	struct rig *rig = rig_taken();

	rig->servers[0].answer = "<challenge xmlns='" SASL "'>cj0x</challenge>";
	from_e(rig, E_HEAD_OF("alice"));
	from_e(rig, ALICE);
	from_e(rig, "<abort xmlns='" SASL "'/>");
	assert_has(&rig->legs[0], "<abort ");
	from_server(rig, 0, "<failure xmlns='" SASL "'><aborted/></failure>");
	assert_has(&rig->e, "<aborted/>");
	/* what nobody asked for goes nowhere */
	forget(&rig->e);
	from_server(rig, 0, SUCCESS "<message/>");
	assert_string_equal(text_of(&rig->e), "");
	rig_free(rig);
}

#define SASL2 "urn:xmpp:sasl:2"

/* B07: no restart */
static void test_sasl2(void **state)
{
	struct rig *rig = rig_taken();
	bool resumable = false;

	for (int i = 0; i < N_NODES; i++)
		rig->servers[i].features = "<stream:features><authentication xmlns='" SASL2
					   "'><mechanism>PLAIN</mechanism></authentication>"
					   "</stream:features>";
	from_e(rig, E_HEAD);
	assert_has(&rig->e, "<authentication xmlns='" SASL2 "'>");
	from_e(rig, "<authenticate xmlns='" SASL2 "' mechanism='PLAIN'><initial-response>"
		    "AGJvYgBzZXNhbWU=</initial-response></authenticate>");
	assert_int_equal(rig->n_legs, 2); /* bob's node */
	assert_has_not(&rig->legs[0], "AGJvYgBzZXNhbWU=");
	assert_has(&rig->legs[1], "AGJvYgBzZXNhbWU=");
	forget(&rig->e);
	from_server(rig, 1,
		    "<success xmlns='" SASL2 "'><authorization-identifier>"
		    "bob@example.com/x</authorization-identifier>"
		    "<bound xmlns='urn:xmpp:bind:0'><enabled xmlns='urn:xmpp:sm:3' id='1' "
		    "resume='true'/>"
		    "</bound></success>"
		    "<stream:features>" BIND "</stream:features>");
	assert_has(&rig->e, "bob@example.com/x");
	assert_has(&rig->e, BIND);
	assert_string_equal(rig->user, "bob@example.com");
	c2s_core_each(rig->core, see_listing, &resumable);
	assert_true(resumable);
	from_e(rig, "<iq id='1' type='get'/>");
	assert_has(&rig->legs[1], "<iq id='1' type='get'/>");
	rig_free(rig);
}

/* RFC 6120 section 7.6: the server tells who it was. */
static void test_user_of_bind(void **state)
{
	struct rig *rig = rig_taken();

	rig->servers[0].features =
		"<stream:features>" MECHANISMS(M("OAUTHBEARER")) "</stream:features>";
	from_e(rig, E_HEAD);
	from_e(rig, "<auth xmlns='" SASL "' mechanism='OAUTHBEARER'>bixhPSwB</auth>");
	from_e(rig, E_HEAD);
	assert_string_equal(rig->user, "");
	from_server(rig, 0,
		    "<iq type='result' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
		    "<jid>carol@example.com/x</jid></bind></iq>");
	assert_string_equal(rig->user, "carol@example.com");
	rig_free(rig);
}

/* --- which node --- */

static void test_rehoming(void **state)
{
	struct rig *rig = rig_taken();

	from_e(rig, E_HEAD);
	assert_int_equal(rig->legs[0].node, 0);
	from_e(rig, BOB);
	assert_int_equal(rig->n_legs, 2);
	assert_int_equal(rig->legs[1].node, 1);
	assert_has_not(&rig->legs[0], "<auth");
	assert_true(!rig->legs[0].s || rig->legs[0].eof);
	assert_has(&rig->legs[1], "AGJvYgBzZXNhbWU=");
	assert_has(&rig->e, SUCCESS);
	assert_null(strstr(strstr(text_of(&rig->e), "<stream:features>") + 1, "<stream:features>"));
	from_e(rig, E_HEAD);
	assert_has(&rig->e, BIND);
	rig_free(rig);
}

static void test_rehoming_without_the_mechanism(void **state)
{
	struct rig *rig = rig_taken();

	rig->servers[1].features =
		"<stream:features>" MECHANISMS(M("SCRAM-SHA-1")) "</stream:features>";
	from_e(rig, E_HEAD);
	from_e(rig, BOB);
	assert_has_not(&rig->legs[1], "<auth");
	assert_has(&rig->e, "<failure xmlns='" SASL "'><temporary-auth-failure/></failure>");
	assert_int_equal(trace_count(rig->env.trace, "xmpp.core.rehome"), 1);
	/* what it offers is taken there */
	from_e(rig, "<auth xmlns='" SASL "' mechanism='SCRAM-SHA-1'>biwsbj1ib2Iscj14</auth>");
	assert_has(&rig->legs[1], "biwsbj1ib2Iscj14");
	assert_int_equal(rig->n_legs, 2);
	rig_free(rig);
}

/* Each costs a connection inside. */
static void test_homes_are_bounded(void **state)
{
	struct rig *rig = rig_taken();

	for (int i = 0; i < N_NODES; i++)
		rig->servers[i].answer = "<failure xmlns='" SASL "'><not-authorized/></failure>";
	from_e(rig, E_HEAD_OF("alice"));
	for (int i = 0; i < 10; i++)
		from_e(rig, i % 2 ? ALICE : BOB);
	assert_int_equal(rig->n_legs, 11);
	assert_has_not(&rig->e, "stream:error");
	from_e(rig, BOB);
	assert_error(rig, "policy-violation");
	assert_int_equal(rig->n_legs, 11);
	rig_free(rig);
}

static void test_home_is_down(void **state)
{
	struct rig *rig = rig_taken();

	rig->servers[1].alive = rig->servers[2].alive = false;
	from_e(rig, E_HEAD);
	from_e(rig, BOB);
	assert_int_equal(rig->n_legs, 1);
	assert_has(&rig->legs[0], "AGJvYgBzZXNhbWU=");
	rig_free(rig);
}

static void test_home_fails(void **state)
{
	struct rig *rig = rig_taken();

	rig->servers[1].dies = true; /* nobody has seen it yet */
	from_e(rig, E_HEAD);
	from_e(rig, BOB);
	assert_int_equal(rig->servers[1].n_bad, 1);
	assert_int_equal(rig->n_legs, 3);
	assert_int_equal(rig->legs[2].node, 2);
	assert_has(&rig->legs[2], "AGJvYgBzZXNhbWU=");
	assert_has(&rig->e, SUCCESS);
	rig_free(rig);
}

/* B10: whoever resumes says who it is, and comes to the node that has the session. */
static void test_resumption_reaches_the_same_node(void **state)
{
	struct rig *rig = rig_taken();

	for (int i = 0; i < 2; i++) {
		from_e(rig, E_HEAD_OF("bob"));
		from_e(rig, BOB);
		from_e(rig, E_HEAD_OF("bob"));
		assert_int_equal(rig->legs[i].node, 1);
		if (i == 0) {
			stream_abort(rig->e.s);
			rig->e.s = NULL;
			settle(rig);
			assert_has_not(&rig->legs[0], "</stream:stream>");
			assert_true(rig->legs[0].eof);
			take(rig);
		}
	}
	from_e(rig, "<resume xmlns='urn:xmpp:sm:3' h='1' previd='x'/>");
	from_server(rig, 1, "<resumed xmlns='urn:xmpp:sm:3' h='2' previd='x'/>");
	assert_has(&rig->e, "<resumed xmlns='urn:xmpp:sm:3' h='2' previd='x'/>");
	rig_free(rig);
}

/* --- nodes that fail (B14) --- */

static void fails_over(struct rig *rig, const char *why)
{
	from_e(rig, E_HEAD_OF("alice"));
	wait_ms(rig, 8100);
	assert_int_equal(rig->servers[0].n_bad, 1);
	if (!strstr(rig->servers[0].why, why))
		fail_msg("%s, not %s", rig->servers[0].why, why);
	assert_has(&rig->e, "id='b");
	assert_has_not(&rig->e, "stream:error");
	assert_has_not(&rig->e, "id='a");
	assert_int_equal(trace_count(rig->env.trace, "xmpp.core.node-failed"),
			 rig->servers[0].refuses ? 0 : 1);
	from_e(rig, ALICE);
	assert_has(&rig->legs[rig->n_legs - 1], "<auth");
	rig_free(rig);
}

static void test_failover(void **state)
{
	struct rig *rig = rig_taken();

	rig->servers[0].refuses = true;
	fails_over(rig, "refused");
	rig = rig_taken();
	rig->servers[0].dies = true;
	fails_over(rig, "closed by peer");
	rig = rig_taken();
	rig->servers[0].silent = true;
	fails_over(rig, "within 8 s");
	rig = rig_taken();
	rig->servers[0].header = HEAD("id='a'");
	fails_over(rig, "no XMPP 1.0");
	rig = rig_taken();
	rig->servers[0].first = "<stream:error><host-unknown "
				"xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
				"</stream:stream>";
	fails_over(rig, "host-unknown");
	rig = rig_taken();
	rig->servers[0].first = "<message/>";
	fails_over(rig, "message");
	rig = rig_taken();
	rig->servers[0].first = "<oops>";
	rig->servers[0].header = "HTTP/1.1 400 Bad Request\r\n\r\n";
	fails_over(rig, "");
	rig = rig_taken();
	rig->servers[0].first = "</stream:stream>";
	fails_over(rig, "ended the stream");
	rig = rig_taken();
	rig->servers[0].features =
		"<stream:features>" MECHANISMS(M("EXTERNAL")) "</stream:features>";
	fails_over(rig, "no SASL mechanism");
}

static void test_starttls_is_required(void **state)
{
	struct rig *rig = rig_taken();

	for (int i = 0; i < N_NODES; i++)
		rig->servers[i].first =
			"<stream:features>" MECHANISMS(M("PLAIN")) "</stream:features>";
	from_e(rig, E_HEAD_OF("alice"));
	assert_error(rig, "remote-connection-failed");
	assert_has_not(&rig->e, "PLAIN");
	assert_int_equal(rig->servers[0].n_bad, 1);
	assert_non_null(strstr(rig->servers[0].why, "STARTTLS"));
	assert_int_equal(trace_count(rig->env.trace, "xmpp.core.node-failed"), 3);
	rig_free(rig);
}

static void test_injection_behind_proceed(void **state)
{
	struct rig *rig = rig_taken();

	rig->servers[0].first = "<stream:features>" STARTTLS "</stream:features>" PROCEED
				"<stream:features><evil/></stream:features>";
	fails_over(rig, "behind <proceed/>");
}

static void test_plain_inside(void **state)
{
	struct rig *rig = rig_new();

	rig->conf.tls = XMPP_INNER_PLAIN;
	take(rig);
	from_e(rig, E_HEAD_OF("alice"));
	assert_has_not(&rig->legs[0], "<starttls");
	assert_has(&rig->legs[0], "from='alice@example.com'");
	from_e(rig, ALICE);
	assert_has(&rig->e, SUCCESS);
	rig_free(rig);
}

static void test_no_node(void **state)
{
	struct rig *rig = rig_taken();

	for (int i = 0; i < N_NODES; i++)
		rig->servers[i].refuses = true;
	from_e(rig, E_HEAD);
	assert_error(rig, "remote-connection-failed");
	assert_has(&rig->e, "no IM server can be reached");
	assert_has(&rig->e, "from='example.com'");
	assert_int_equal(trace_count(rig->env.trace, "xmpp.core.no-server"), 1);
	rig_free(rig);
	rig = rig_taken();
	rig->find_fails = true;
	from_e(rig, E_HEAD);
	assert_error(rig, "remote-connection-failed");
	rig_free(rig);
	rig = rig_taken();
	rig->no_find = true;
	from_e(rig, E_HEAD);
	assert_error(rig, "remote-connection-failed");
	rig_free(rig);
}

static void test_server_lost_while_signing_in(void **state)
{
	struct rig *rig = rig_taken();

	rig->servers[0].answer = "";
	from_e(rig, E_HEAD_OF("alice"));
	from_e(rig, ALICE);
	stream_abort(rig->legs[0].s);
	rig->legs[0].s = NULL;
	settle(rig);
	assert_error(rig, "remote-connection-failed");
	rig_free(rig);
}

/* --- a hostile E --- */

static void refused_head(const char *head, const char *condition)
{
	struct rig *rig = rig_taken();

	from_e(rig, head);
	assert_error(rig, condition);
	assert_int_equal(rig->n_legs, 0);
	rig_free(rig);
}

/* B03 */
static void test_domains(void **state)
{
	struct rig *rig;

	refused_head(HEAD("to='other.org' version='1.0'"), "host-unknown");
	refused_head(HEAD("version='1.0'"), "host-unknown");
	refused_head(HEAD("to='a@example.com' version='1.0'"), "host-unknown");
	refused_head(HEAD("to='example.com'"), "unsupported-version");
	rig = rig_new();
	rig->serves = false;
	take(rig);
	from_e(rig, E_HEAD);
	assert_error(rig, "host-unknown");
	assert_int_equal(rig->n_finds, 0);
	assert_int_equal(trace_count(rig->env.trace, "xmpp.core.host-unknown"), 1);
	rig_free(rig);
	/* the second header counts too */
	rig = rig_taken();
	from_e(rig, E_HEAD_OF("alice"));
	from_e(rig, ALICE);
	from_e(rig, HEAD("to='other.org' version='1.0'"));
	assert_error(rig, "host-unknown");
	rig_free(rig);
}

static void hostile(const char *text, const char *condition)
{
	struct rig *rig = rig_taken();

	from_e(rig, E_HEAD_OF("alice"));
	forget(&rig->legs[0]);
	from_e(rig, text);
	assert_error(rig, condition);
	assert_string_equal(text_of(&rig->legs[0]), "");
	assert_true(!rig->legs[0].s || rig->legs[0].eof);
	rig_free(rig);
}

/* B08, B09 on C: E may be anything */
static void test_hostile_before_signing_in(void **state)
{
	struct buf big;

	hostile("<message to='x'/>", "not-authorized");
	hostile("<iq type='set' id='1'/>", "not-authorized");
	hostile("<r xmlns='urn:xmpp:sm:3'/>", "not-authorized");
	hostile(STARTTLS, "not-authorized");
	hostile("<response xmlns='" SASL "'/>", "not-authorized");
	hostile("<abort xmlns='" SASL "'/>", "not-authorized");
	hostile("<success xmlns='" SASL "'/>", "not-authorized");
	hostile("<auth xmlns='" SASL "' mechanism='PLAIN'>&x;</auth>", "restricted-xml");
	hostile("<!DOCTYPE x>", "restricted-xml");
	hostile("<a></b>", "not-well-formed");
	hostile("<auth>\xc0\xaf</auth>", "unsupported-encoding");
	buf_init(&big, 1 << 20);
	buf_add_str(&big, "<auth xmlns='" SASL "' mechanism='PLAIN'>");
	for (int i = 0; i < 4 * 10 * 1024; i++)
		buf_add_char(&big, 'A');
	buf_add_str(&big, "</auth>");
	hostile(big.p, "policy-violation");
	buf_fini(&big);
}

static void test_second_auth_within_one(void **state)
{
	struct rig *rig = rig_taken();

	rig->servers[0].answer = "<challenge xmlns='" SASL "'>cj0x</challenge>";
	from_e(rig, E_HEAD_OF("alice"));
	from_e(rig, ALICE ALICE);
	assert_error(rig, "not-authorized");
	rig_free(rig);
}

static void hostile_after(const char *text, const char *condition)
{
	struct rig *rig = rig_signed_in();

	from_e(rig, text);
	assert_error(rig, condition);
	assert_string_equal(text_of(&rig->legs[0]), "");
	assert_true(!rig->legs[0].s || rig->legs[0].eof);
	rig_free(rig);
}

static void test_hostile_after(void **state)
{
	struct buf big;

	hostile_after("<message><stream:stream/></message>", "invalid-xml");
	hostile_after("<message><body>\xed\xa0\x80</body></message>", "unsupported-encoding");
	hostile_after("<message><!-- x --></message>", "restricted-xml");
	hostile_after(STARTTLS, "unsupported-stanza-type");
	hostile_after("<stream:features/>", "unsupported-stanza-type");
	buf_init(&big, 1 << 21);
	buf_add_str(&big, "<message><body>");
	for (int i = 0; i < 4 * 256 * 1024; i++)
		buf_add_char(&big, 'A');
	buf_add_str(&big, "</body></message>");
	hostile_after(big.p, "policy-violation");
	buf_fini(&big);
}

static void test_stanza_at_the_bound(void **state)
{
	static const char shell[] = "<message><body></body></message>";
	struct rig *rig = rig_signed_in();
	struct buf big;

	buf_init(&big, 1 << 20);
	buf_add_str(&big, "<message><body>");
	for (size_t i = 0; i < 256 * 1024 - (sizeof(shell) - 1); i++)
		buf_add_char(&big, 'A');
	buf_add_str(&big, "</body></message>");
	assert_int_equal(big.n, 256 * 1024);
	from_e(rig, big.p);
	assert_int_equal(rig->legs[0].got.n, big.n);
	buf_fini(&big);
	rig_free(rig);
}

/* What E took within its limits is longer when E has printed it: no reason to refuse it here, nor
 * what the server makes of it. */
static void test_printed_anew(void **state)
{
	struct rig *rig = rig_signed_in();
	struct buf big;

	buf_init(&big, 1 << 22);
	buf_add_str(&big, "<message");
	for (int i = 0; i < 64; i++)
		buf_printf(&big, " xmlns:a%d='urn:x%d' a%d:b='c'", i, i, i);
	buf_add_str(&big, "><body>");
	for (int i = 0; i < 256 * 1024; i++)
		buf_add_str(&big, "&gt;");
	big.n -= 4 * 2048;
	buf_add_str(&big, "</body></message>");
	assert_true(big.n < 4 * 256 * 1024);
	from_e(rig, big.p);
	assert_has(&rig->legs[0], "</message>");
	from_server(rig, 0, big.p);
	assert_has(&rig->e, "</message>");
	buf_fini(&big);
	rig_free(rig);
}

/* --- anything, in any order --- */

static uint32_t dice_seed;

static unsigned dice(unsigned n)
{
	dice_seed = dice_seed * 1664525u + 1013904223u;
	return (dice_seed >> 8) % n;
}

#define AUTH2                                                                    \
	"<authenticate xmlns='" SASL2 "' mechanism='PLAIN'><initial-response>"   \
	"AGFsaWNlAHNlc2FtZQ==</initial-response><bind xmlns='urn:xmpp:bind:0'/>" \
	"</authenticate>"

static const char *said_by_e(void)
{
	static const char *const texts[] = {
		E_HEAD_OF("alice"),
		E_HEAD_OF("bob"),
		E_HEAD,
		ALICE,
		ALICE,
		BOB,
		AUTH2,
		ALICE E_HEAD_OF("alice") "<message id='x'/>",
		ALICE "<message id='x'/>",
		"<response xmlns='" SASL "'>eA==</response>",
		"<abort xmlns='" SASL "'/>",
		"<message id='x'/>",
		"<message id='x'/>",
		"<iq type='set' id='x'/>",
		" ",
		"<mess",
		STARTTLS,
		"</stream:stream>",
		"</stream:stream>",
		"<stream:error/>",
	};

	return texts[dice(sizeof(texts) / sizeof(texts[0]))];
}

static const char *said_by_server(bool good)
{
	static const char *const texts[] = {
		"<challenge xmlns='" SASL "'>cj0x</challenge>",
		"<failure xmlns='" SASL "'><not-authorized/></failure>",
		"<stream:features/>",
		HEAD("from='example.com' id='1' version='1.0'"),
		"<message id='y'/>",
		" ",
		"</stream:stream>",
		"<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
		"</stream:error></stream:stream>",
		"<oops>",
		SUCCESS,
		"<success xmlns='" SASL2 "'/>",
	};

	return texts[dice(sizeof(texts) / sizeof(texts[0]) - (good ? 0 : 2))];
}

static void change_server(struct server *s, bool good)
{
	static const char *const answers[] = {
		"<failure xmlns='" SASL "'><not-authorized/></failure>",
		"<challenge xmlns='" SASL "'>cj0x</challenge>",
		NULL,
	};

	s->answer = answers[dice(good ? 3 : 2)];
	s->silent = dice(5) == 0;
	s->dies = dice(5) == 0;
	s->refuses = dice(5) == 0;
	s->alive = dice(3) > 0;
}

static void one_event(struct rig *rig, bool good)
{
	struct xmpp_conf conf = { .auth_timeout_ms = 30000,
				  .stanza_bytes = 20000,
				  .stanza_bytes_unauthenticated = 10000 };
	struct side *leg = rig->n_legs ? &rig->legs[dice((unsigned)rig->n_legs)] : NULL;
	const struct conn *c;

	switch (dice(16)) {
	case 0:
	case 1:
		if (leg)
			say(leg, said_by_server(good));
		break;
	case 2:
		change_server(&rig->servers[dice(N_NODES)], good);
		break;
	case 3:
		wait_ms(rig, dice(12000));
		break;
	case 4:
		if (leg && dice(2))
			stream_close(leg->s);
		else if (leg && leg->s)
			stream_abort(leg->s);
		if (leg)
			leg->s = NULL;
		break;
	case 5:
		c2s_core_configure(rig->core, &conf);
		break;
	case 6:
		rig->e.stalled = dice(2);
		break;
	case 7:
		rig->serves = dice(4) > 0;
		if (!rig->serves && dice(2))
			c2s_core_domain_gone(rig->core, "example.com");
		break;
	case 8:
		c = CONTAINER_OF(conn_list(rig->env.conns, CONN_XMPP)->next, struct conn, node);
		if (dice(3) == 0 && conn_count(rig->env.conns, CONN_XMPP))
			c->close((struct conn *)c, "closed by hand");
		break;
	default:
		say(&rig->e, said_by_e());
	}
	if (dice(2))
		settle(rig);
}

/* Nothing breaks; and as long as no server says yes, no stanza gets inside. */
static void test_any_order(void **state)
{
	for (uint32_t seed = 1; seed <= 400; seed++) {
		const bool good = seed % 2;
		struct rig *rig = rig_new();

		dice_seed = seed;
		for (int i = 0; i < N_NODES; i++)
			change_server(&rig->servers[i], good);
		for (int streams = 0; streams < 3 && rig->n_legs < N_LEGS / 2; streams++) {
			take(rig);
			from_e(rig, E_HEAD_OF("alice"));
			for (int i = 0; i < 30 && rig->n_legs < N_LEGS - 6; i++)
				one_event(rig, good);
		}
		settle(rig);
		for (size_t i = 0; !good && i < rig->n_legs; i++) {
			assert_has_not(&rig->legs[i], "<message");
			assert_has_not(&rig->legs[i], "<iq");
		}
		rig_free(rig);
	}
}

/* --- channel binding, mechanisms (B05) --- */

static void test_binding(void **state)
{
	struct rig *rig = rig_taken();

	rig->servers[0].features = "<stream:features>" MECHANISMS(M("SCRAM-SHA-1-PLUS") M(
		"SCRAM-SHA-1")) "<sasl-channel-binding "
				"xmlns='urn:xmpp:sasl-cb:0'/></stream:features>";
	from_e(rig, E_HEAD_OF("alice"));
	assert_has_not(&rig->e, "PLUS");
	assert_has_not(&rig->e, "sasl-cb");
	assert_int_equal(rig->n_bindings, 1);
	from_e(rig,
	       "<auth xmlns='" SASL "' mechanism='SCRAM-SHA-1-PLUS'>biwsbj1hbGljZSxyPXg=</auth>");
	assert_has(&rig->e, "<invalid-mechanism/>");
	assert_has_not(&rig->legs[0], "<auth");
	from_e(rig, "<auth xmlns='" SASL "' mechanism='SCRAM-SHA-1'>biwsbj1hbGljZSxyPXg=</auth>");
	assert_has(&rig->e, SUCCESS);
	rig_free(rig);
}

static void test_binding_passes_by_setting(void **state)
{
	struct xmpp_conf conf = { .auth_timeout_ms = 30000,
				  .stanza_bytes = 20000,
				  .stanza_bytes_unauthenticated = 10000,
				  .keep_binding = true };
	struct rig *rig = rig_new();

	c2s_core_configure(rig->core, &conf);
	take(rig);
	rig->servers[0].features =
		"<stream:features>" MECHANISMS(M("SCRAM-SHA-1-PLUS")) "</stream:features>";
	from_e(rig, E_HEAD_OF("alice"));
	assert_has(&rig->e, "SCRAM-SHA-1-PLUS");
	assert_int_equal(rig->n_bindings, 0);
	assert_false(rig->bound);
	rig_free(rig);
}

/* --- EXTERNAL (B06) --- */

static struct rig *rig_external(bool setting, const char *a, const char *b)
{
	struct rig *rig = rig_new();

	rig->conf.sasl_external = setting;
	rig->preface.n_addrs = (a != NULL) + (b != NULL);
	if (a)
		strcpy(rig->preface.addrs[0], a);
	if (b)
		strcpy(rig->preface.addrs[1], b);
	for (int i = 0; i < N_NODES; i++)
		rig->servers[i].features = "<stream:features>" MECHANISMS(
			M("EXTERNAL") M("PLAIN")) "</stream:features>";
	take(rig);
	from_e(rig, E_HEAD);
	return rig;
}

static void external(struct rig *rig, const char *identity)
{
	struct buf b;

	buf_init(&b, 4096);
	buf_add_str(&b, "<auth xmlns='" SASL "' mechanism='EXTERNAL'>");
	if (*identity)
		base64_encode(&b, identity, strlen(identity));
	else
		buf_add_char(&b, '=');
	buf_add_str(&b, "</auth>");
	from_e(rig, b.p);
	buf_fini(&b);
}

static void external_refused(struct rig *rig, const char *identity)
{
	external(rig, identity);
	assert_has(&rig->e, "<failure xmlns='" SASL "'><invalid-authzid/></failure>");
	assert_int_equal(trace_count(rig->env.trace, "xmpp.core.external"), 1);
	for (size_t i = 0; i < rig->n_legs; i++)
		assert_has_not(&rig->legs[i], "<auth");
	rig_free(rig);
}

static void test_external(void **state)
{
	struct rig *rig = rig_external(true, "alice@example.com", "bob@example.com");

	assert_has(&rig->e, M("EXTERNAL"));
	external(rig, "Bob@example.com");
	assert_int_equal(rig->n_legs, 2); /* his node */
	assert_has(&rig->legs[1], "Qm9iQGV4YW1wbGUuY29t");
	assert_has(&rig->e, SUCCESS);
	rig_free(rig);
	/* XEP-0178: one address need not be said; the server is told */
	rig = rig_external(true, "alice@example.com", NULL);
	external(rig, "");
	assert_has(&rig->legs[0], ">YWxpY2VAZXhhbXBsZS5jb20=</auth>");
	rig_free(rig);
	external_refused(rig_external(true, "alice@example.com", "bob@example.com"), "");
	external_refused(rig_external(true, "alice@example.com", NULL), "bob@example.com");
	external_refused(rig_external(true, "alice@example.com", NULL), "alice");
	external_refused(rig_external(true, "alice@other.org", NULL), "alice@other.org");
	external_refused(rig_external(true, "alice@other.org", NULL), "");
	rig = rig_external(true, NULL, NULL);
	assert_has_not(&rig->e, M("EXTERNAL"));
	external_refused(rig, "alice@example.com");
	rig = rig_external(false, "alice@example.com", NULL);
	assert_has_not(&rig->e, M("EXTERNAL"));
	external_refused(rig, "alice@example.com");
}

static void test_external_by_response(void **state)
{
	struct rig *rig = rig_external(true, "alice@example.com", NULL);

	rig->servers[0].answer = "<challenge xmlns='" SASL "'/>";
	external(rig, "alice@example.com");
	forget(&rig->legs[0]);
	from_e(rig, "<response xmlns='" SASL "'>Ym9iQGV4YW1wbGUuY29t</response>");
	assert_error(rig, "not-authorized");
	assert_string_equal(text_of(&rig->legs[0]), "");
	rig_free(rig);
}

/* SASL 2 has an element for the identity; of two of them a server may take the other one. */
static void test_external_said_twice(void **state)
{
	struct rig *rig = rig_new();

	rig->conf.sasl_external = true;
	rig->preface.n_addrs = 1;
	strcpy(rig->preface.addrs[0], "alice@example.com");
	rig->servers[0].features = "<stream:features><authentication xmlns='" SASL2
				   "'>" M("EXTERNAL") "</authentication></stream:features>";
	rig->servers[1].features = rig->servers[2].features = rig->servers[0].features;
	take(rig);
	from_e(rig, E_HEAD);
	from_e(rig, "<authenticate xmlns='" SASL2 "' mechanism='EXTERNAL'><initial-response>"
		    "YWxpY2VAZXhhbXBsZS5jb20=</initial-response><initial-response>"
		    "Ym9iQGV4YW1wbGUuY29t</initial-response></authenticate>");
	assert_has(&rig->e, "<invalid-authzid");
	for (size_t i = 0; i < rig->n_legs; i++)
		assert_has_not(&rig->legs[i], "<authenticate");
	from_e(rig, "<authenticate xmlns='" SASL2 "' mechanism='EXTERNAL'><initial-response>"
		    "YWxpY2VAZXhhbXBsZS5jb20=</initial-response></authenticate>");
	assert_has(&rig->legs[rig->n_legs - 1], "YWxpY2VAZXhhbXBsZS5jb20=");
	rig_free(rig);
}

/* --- ends (B10) --- */

static void test_client_ends(void **state)
{
	struct rig *rig = rig_signed_in();

	from_e(rig, "<presence type='unavailable'/></stream:stream>");
	assert_string_equal(text_of(&rig->legs[0]),
			    "<presence type='unavailable'/></stream:stream>");
	assert_has_not(&rig->e, "</stream:stream>");
	from_server(rig, 0, "<message/></stream:stream>");
	assert_string_equal(text_of(&rig->e), "<message/></stream:stream>");
	wait_ms(rig, 10);
	assert_over(rig);
	rig_free(rig);
}

/* RFC 6120 section 4.9.1.1: the client's own error is for the server to hear. */
static void test_client_ends_by_an_error(void **state)
{
	static const char error[] = "<stream:error><not-well-formed "
				    "xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>";
	struct rig *rig = rig_signed_in();

	from_e(rig, error);
	from_e(rig, "</stream:stream>");
	assert_has(&rig->legs[0], error);
	assert_has(&rig->legs[0], "</stream:stream>");
	rig_free(rig);
}

static void test_server_ends(void **state)
{
	struct rig *rig = rig_signed_in();

	from_server(rig, 0, "</stream:stream>");
	wait_ms(rig, 10);
	assert_string_equal(text_of(&rig->e), "</stream:stream>");
	assert_string_equal(text_of(&rig->legs[0]), "</stream:stream>");
	from_e(rig, "</stream:stream>");
	wait_ms(rig, 10);
	assert_over(rig);
	rig_free(rig);
}

static void test_server_never_answers_the_end(void **state)
{
	struct rig *rig = rig_signed_in();

	from_e(rig, "</stream:stream>");
	wait_ms(rig, 5100);
	wait_ms(rig, 10);
	assert_has(&rig->e, "</stream:stream>");
	assert_over(rig);
	rig_free(rig);
}

static void test_client_ends_early(void **state)
{
	struct rig *rig = rig_taken();

	from_e(rig, E_HEAD "</stream:stream>");
	wait_ms(rig, 10);
	assert_has(&rig->e, "</stream:stream>");
	assert_over(rig);
	rig_free(rig);
}

static void test_cuts(void **state)
{
	struct rig *rig = rig_signed_in();

	from_e(rig, "<message id='last'/>");
	stream_close(rig->e.s);
	rig->e.s = NULL;
	settle(rig);
	assert_string_equal(text_of(&rig->legs[0]), "<message id='last'/>");
	assert_true(rig->legs[0].eof);
	assert_over(rig);
	rig_free(rig);
	rig = rig_signed_in();
	stream_close(rig->legs[0].s);
	rig->legs[0].s = NULL;
	settle(rig);
	assert_string_equal(text_of(&rig->e), "");
	assert_true(rig->e.eof);
	assert_over(rig);
	assert_int_equal(trace_count(rig->env.trace, "xmpp.core.server-lost"), 1);
	rig_free(rig);
	/* while a search is under way */
	rig = rig_taken();
	say(&rig->e, E_HEAD);
	for (int i = 0; i < 5 && !rig->find_done; i++)
		loop_once(rig->env.loop, 0);
	assert_non_null(rig->find_done);
	stream_abort(rig->e.s);
	rig->e.s = NULL;
	for (int i = 0; i < 5; i++)
		loop_once(rig->env.loop, 0);
	assert_int_equal(rig->n_cancelled, 1);
	assert_over(rig);
	rig_free(rig);
}

#define ERROR(c, more)                                                                      \
	"<stream:error><" c " xmlns='urn:ietf:params:xml:ns:xmpp-streams'>" more "</" c ">" \
	"</stream:error></stream:stream>"

static void test_server_errors(void **state)
{
	struct rig *rig = rig_signed_in();

	from_server(rig, 0, ERROR("conflict", ""));
	assert_error(rig, "conflict");
	rig_free(rig);
	/* names inside stay inside */
	rig = rig_signed_in();
	from_server(rig, 0, ERROR("see-other-host", "im2.inside.example.com"));
	assert_error(rig, "reset");
	assert_has_not(&rig->e, "inside");
	rig_free(rig);
	rig = rig_signed_in();
	from_server(rig, 0, "<message><oops></message>");
	assert_error(rig, "internal-server-error");
	rig_free(rig);
}

static void test_closed_by_hand_and_domain_gone(void **state)
{
	struct rig *rig = rig_signed_in();
	struct conn *c = (struct conn *)entry(rig);

	c->close(c, "asked to");
	settle(rig);
	assert_error(rig, "reset");
	assert_has(&rig->legs[0], "</stream:stream>");
	rig_free(rig);
	rig = rig_signed_in();
	c2s_core_domain_gone(rig->core, "other.org");
	assert_int_equal(c2s_core_count(rig->core), 1);
	c2s_core_domain_gone(rig->core, "example.com");
	settle(rig);
	assert_error(rig, "host-gone");
	assert_has(&rig->legs[0], "</stream:stream>");
	rig_free(rig);
}

/* --- time and flow (B12) --- */

static void test_auth_timeout(void **state)
{
	struct rig *rig = rig_taken();

	wait_ms(rig, 29000);
	assert_int_equal(c2s_core_count(rig->core), 1);
	wait_ms(rig, 1100);
	assert_error(rig, "connection-timeout");
	rig_free(rig);
	/* with a header that never comes after success */
	rig = rig_taken();
	from_e(rig, E_HEAD_OF("alice"));
	from_e(rig, ALICE);
	wait_ms(rig, 30100);
	assert_error(rig, "connection-timeout");
	rig_free(rig);
	rig = rig_signed_in();
	wait_ms(rig, 3600000);
	assert_int_equal(c2s_core_count(rig->core), 1);
	rig_free(rig);
}

/* How much of it the core holds when nobody takes it. */
static void flood(struct rig *rig, struct side *from, struct side *to)
{
	char stanza[1100];
	size_t n_said = 0, n;

	memset(stanza, 'x', sizeof(stanza));
	memcpy(stanza, "<message><body>", 15);
	strcpy(stanza + 1024 - 17, "</body></message>");
	to->stalled = true;
	for (int i = 0; i < 4000; i++) {
		say(from, stanza);
		n_said += 1024;
		if (i % 50 == 0)
			settle(rig);
	}
	settle(rig);
	/* most of it still waits where it comes from */
	n = evbuffer_get_length(stream_out(from->s));
	assert_true(n > n_said - 6 * STREAM_HIGH_BYTES);
	to->stalled = false;
	for (int i = 0; i < 20; i++) {
		side_readable(to);
		settle(rig);
	}
	assert_int_equal(to->got.n, n_said);
	assert_int_equal(evbuffer_get_length(stream_out(from->s)), 0);
}

static void test_back_pressure(void **state)
{
	struct rig *rig = rig_signed_in();

	flood(rig, &rig->e, &rig->legs[0]);
	flood(rig, &rig->legs[0], &rig->e);
	rig_free(rig);
}

static void test_slow_server_is_cut(void **state)
{
	struct rig *rig = rig_signed_in();

	rig->legs[0].stalled = true;
	for (int i = 0; i < 600; i++)
		say(&rig->e, "<message><body>0123456789012345678901234567890123456789012345678901"
			     "0123456789012345678901234567890123456789012345678901234567890123"
			     "0123456789012345678901234567890123456789012345678901234567890123"
			     "0123456789012345678901234567890123456789012345678901234567890123"
			     "0123456789012345678901234567890123456789012345678901234567890123"
			     "</body></message>");
	settle(rig);
	for (int i = 0; i < 8; i++)
		wait_ms(rig, 20000);
	assert_over(rig);
	assert_has_not(&rig->e, "</stream:stream>");
	rig_free(rig);
}

static void test_keepalive(void **state)
{
	struct rig *rig = rig_signed_in();

	from_e(rig, "  \n ");
	assert_string_equal(text_of(&rig->legs[0]), " ");
	from_server(rig, 0, " ");
	assert_string_equal(text_of(&rig->e), " ");
	rig_free(rig);
}

/* A new configuration drops nobody. */
static void test_reload(void **state)
{
	struct xmpp_conf conf = { .auth_timeout_ms = 30000,
				  .stanza_bytes = 20000,
				  .stanza_bytes_unauthenticated = 10000 };
	struct rig *rig = rig_signed_in();
	struct buf big;

	c2s_core_configure(rig->core, &conf);
	from_e(rig, "<message id='1'/>");
	assert_has(&rig->legs[0], "<message id='1'/>");
	forget(&rig->legs[0]);
	buf_init(&big, 1 << 20);
	buf_add_str(&big, "<message><body>");
	for (int i = 0; i < 4 * 20000; i++)
		buf_add_char(&big, 'A');
	buf_add_str(&big, "</body></message>");
	from_e(rig, big.p);
	assert_error(rig, "policy-violation");
	buf_fini(&big);
	rig_free(rig);
}

static void test_table_full(void **state)
{
	struct rig *rig = rig_new();

	conn_table_set_max(rig->env.conns, 0);
	take(rig);
	settle(rig);
	assert_true(rig->e.eof);
	assert_int_equal(c2s_core_count(rig->core), 0);
	assert_int_equal(trace_count(rig->env.trace, "xmpp.core.full"), 1);
	rig_free(rig);
}

/* --- without memory --- */

/* The n-th allocation of ours fails within the words that E says. */
static bool sign_in_failing(unsigned n)
{
	static const char *const words[] = { E_HEAD, BOB, E_HEAD, "<message/>",
					     "</stream:stream>" };
	struct rig *rig = rig_taken();
	bool hit = false;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]) && !hit; i++) {
		say(&rig->e, words[i]);
		alloc_fail_at(n);
		for (int k = 0; k < 40 && !hit; k++) {
			turn(rig);
			hit = alloc_fail_hit();
		}
		alloc_fail_at(0);
		settle(rig);
	}
	wait_ms(rig, 31000);
	wait_ms(rig, 6000);
	assert_int_equal(c2s_core_count(rig->core), 0);
	rig_free(rig);
	return hit;
}

static void test_without_memory(void **state)
{
	unsigned n = 1;

	while (sign_in_failing(n))
		n++;
	assert_in_range(n, 20, 2000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sign_in),
		cmocka_unit_test(test_without_from),
		cmocka_unit_test(test_from_of_others_is_dropped),
		cmocka_unit_test(test_lock_step),
		cmocka_unit_test(test_abort),
		cmocka_unit_test(test_sasl2),
		cmocka_unit_test(test_user_of_bind),
		cmocka_unit_test(test_rehoming),
		cmocka_unit_test(test_rehoming_without_the_mechanism),
		cmocka_unit_test(test_homes_are_bounded),
		cmocka_unit_test(test_home_is_down),
		cmocka_unit_test(test_home_fails),
		cmocka_unit_test(test_resumption_reaches_the_same_node),
		cmocka_unit_test(test_failover),
		cmocka_unit_test(test_starttls_is_required),
		cmocka_unit_test(test_injection_behind_proceed),
		cmocka_unit_test(test_plain_inside),
		cmocka_unit_test(test_no_node),
		cmocka_unit_test(test_server_lost_while_signing_in),
		cmocka_unit_test(test_domains),
		cmocka_unit_test(test_hostile_before_signing_in),
		cmocka_unit_test(test_second_auth_within_one),
		cmocka_unit_test(test_hostile_after),
		cmocka_unit_test(test_stanza_at_the_bound),
		cmocka_unit_test(test_printed_anew),
		cmocka_unit_test(test_any_order),
		cmocka_unit_test(test_binding),
		cmocka_unit_test(test_binding_passes_by_setting),
		cmocka_unit_test(test_external),
		cmocka_unit_test(test_external_by_response),
		cmocka_unit_test(test_external_said_twice),
		cmocka_unit_test(test_client_ends),
		cmocka_unit_test(test_client_ends_by_an_error),
		cmocka_unit_test(test_server_ends),
		cmocka_unit_test(test_server_never_answers_the_end),
		cmocka_unit_test(test_client_ends_early),
		cmocka_unit_test(test_cuts),
		cmocka_unit_test(test_server_errors),
		cmocka_unit_test(test_closed_by_hand_and_domain_gone),
		cmocka_unit_test(test_auth_timeout),
		cmocka_unit_test(test_back_pressure),
		cmocka_unit_test(test_slow_server_is_cut),
		cmocka_unit_test(test_keepalive),
		cmocka_unit_test(test_reload),
		cmocka_unit_test(test_table_full),
		cmocka_unit_test(test_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
