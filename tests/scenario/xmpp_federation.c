/*
 * Federation through both boxes (checklist: B20 to B28 as far as it is about pairs, policy and the
 * link; proofs between servers are tested with the engine).
 */
#include "support/xmpp_federation_rig.h"

#include "support/alloc_fail.h"
#include "xmpp/federation_table.h"

#define LINK_HEADER                                                                             \
	"<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='" XMPP_STREAMS \
	"' from='%s' to='%s' version='1.0'>"

static void s2s_both_ways(void **state)
{
	fed_start(FED_C FED_S2S FED_PARTNER);
	assert_non_null(fed->e_port);
	assert_non_null(fed->c_port);
	/* Out: our user writes first, so C opens the link. */
	assert_int_equal(
		fed_send(&fed->im, "partner.org", "me@example.com/a", "you@partner.org", "1", 3),
		0);
	FED_GOT(&fed->partner, "from='me@example.com/a' to='you@partner.org' "
			       "id='1'><body>xxx</body></message>");
	/* In: over the same stream of the link. */
	assert_int_equal(
		fed_send(&fed->partner, "example.com", "you@partner.org", "me@example.com", "2", 3),
		0);
	FED_GOT(&fed->im, "from='you@partner.org' to='me@example.com' id='2'>");
	assert_int_equal(fed->n_links, 1);
	fed_send(&fed->im, "partner.org", "me@example.com", "you@partner.org", "3", 3);
	FED_GOT(&fed->partner, "id='3'");
	assert_int_equal(fed->n_links, 1);
}

static void s2s_partner_first(void **state)
{
	fed_start(FED_C FED_S2S FED_PARTNER);
	fed_send(&fed->partner, "example.com", "you@partner.org", "me@example.com", "1", 3);
	FED_GOT(&fed->im, "id='1'");
	assert_int_equal(fed->n_links, 1);
	fed_send(&fed->im, "partner.org", "me@example.com", "you@partner.org", "2", 3);
	FED_GOT(&fed->partner, "id='2'");
	assert_int_equal(fed->n_links, 1);
}

/* What is idle goes, and comes back by itself. */
static void idle_link(void **state)
{
	fed_start(FED_C FED_S2S FED_PARTNER);
	fed_send(&fed->partner, "example.com", "you@partner.org", "me@example.com", "1", 3);
	buf_reset(&fed->im.got);
	xmpp_rig_pass(&fed->rig, 700 * 1000);
	fed_turn();
	assert_int_equal(fed->n_links, 1);
	fed_send(&fed->im, "partner.org", "me@example.com", "you@partner.org", "2", 3);
	FED_GOT(&fed->partner, "id='2'");
	assert_int_equal(fed->n_links, 2);
}

/* What stands is idle by the new setting at once. */
static void idle_setting(void **state)
{
	fed_start(FED_C FED_S2S FED_PARTNER);
	fed_send(&fed->partner, "example.com", "you@partner.org", "me@example.com", "1", 3);
	fed_load_core(FED_C FED_S2S
		      "[federation]\nmode = allow-list\ntls = off\nidle-timeout = 2s\n"
		      "[partner partner.org]\nroutes = 127.0.0.1\n");
	fed_turn();
	buf_reset(&fed->im.got);
	xmpp_rig_pass(&fed->rig, 5000);
	fed_turn();
	assert_int_equal(fed->n_links, 1);
	fed_send(&fed->im, "partner.org", "me@example.com", "you@partner.org", "2", 3);
	FED_GOT(&fed->partner, "id='2'");
	assert_int_equal(fed->n_links, 2);
}

/* --- component --- */

static void component_answers(void)
{
	EXPECT_HEARD(&fed->component, "xmlns='jabber:component:accept'");
	xmpp_far_say(&fed->component, &fed->rig,
		     "<stream:stream xmlns='jabber:component:accept' "
		     "xmlns:stream='" XMPP_STREAMS "' from='partner.org' id='7'>");
	EXPECT_HEARD(&fed->component, "<handshake>");
	xmpp_far_say(&fed->component, &fed->rig, "<handshake/>");
}

static void component_both_ways(void **state)
{
	fed_start(FED_C FED_COMPONENT FED_PARTNER);
	/* Named partners are connected before anybody writes. */
	assert_int_equal(fed->n_components, 1);
	component_answers();
	assert_null(fed->c_port); /* no IM server needs it */
	xmpp_far_say(&fed->component, &fed->rig,
		     "<message from='me@example.com/a' to='you@partner.org' id='1'>"
		     "<body>hi</body></message>");
	fed_turn();
	FED_GOT(&fed->partner, "<message from='me@example.com/a' to='you@partner.org' "
			       "id='1'><body>hi</body></message>");
	fed_send(&fed->partner, "example.com", "you@partner.org", "me@example.com", "2", 2);
	EXPECT_HEARD(&fed->component, "<message from='you@partner.org' to='me@example.com' "
				      "id='2'><body>xx</body></message>");
}

/* The server speaks for its own federating domains alone, and to this partner alone. */
static void component_spoofs(void **state)
{
	static const char *const bad[] = {
		"<message from='me@other.com' to='you@partner.org'/>",
		"<message from='me@quiet.example.com' to='you@partner.org'/>",
		"<message from='you@partner.org' to='you@partner.org'/>",
		"<message from='me@example.com' to='you@other.org'/>",
		"<message from='me@example.com' to='me@example.com'/>",
		"<message from='me@example.com'/>",
		"<message to='you@partner.org'/>",
	};

	fed_start(FED_C FED_COMPONENT FED_PARTNER);
	component_answers();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		xmpp_far_say(&fed->component, &fed->rig, bad[i]);
	fed_turn();
	FED_NOTHING(&fed->partner);
	assert_int_equal(fed->n_links, 0);
	assert_int_equal(trace_count(fed->rig.env.trace, "xmpp.federation.component"),
			 sizeof(bad) / sizeof(bad[0]));
}

static void component_refused(void **state)
{
	fed_start(FED_C FED_COMPONENT FED_PARTNER);
	EXPECT_HEARD(&fed->component, "xmlns='jabber:component:accept'");
	xmpp_far_say(&fed->component, &fed->rig,
		     "<stream:stream xmlns='jabber:component:accept' "
		     "xmlns:stream='" XMPP_STREAMS "' id='7'><stream:error><not-authorized "
		     "xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
		     "</stream:stream>");
	fed_turn();
	assert_int_equal(alarm_count(fed->rig.env.alarms), 1);
	/* What comes meanwhile waits, and goes back after a while. */
	fed_send(&fed->partner, "example.com", "you@partner.org", "me@example.com", "2", 2);
	xmpp_rig_pass(&fed->rig, 31000);
	fed_turn();
	FED_GOT(&fed->partner, "remote-server-timeout");
}

/* --- policy --- */

/* X4, B24: who is not on the list gets nowhere, in either direction. */
static void not_allowed(void **state)
{
	fed_start(FED_C FED_S2S "[federation]\nmode = allow-list\ntls = off\n[partner b.org]\n");
	fed_send(&fed->im, "partner.org", "me@example.com", "you@partner.org", "1", 3);
	fed_send(&fed->partner, "example.com", "you@partner.org", "me@example.com", "2", 3);
	xmpp_rig_pass(&fed->rig, 60000);
	fed_turn();
	assert_int_equal(fed->n_links, 0);
	FED_GOT(&fed->im, "type='error'");
	FED_GOT(&fed->partner, "type='error'");
}

static void domain_that_does_not_federate(void **state)
{
	fed_start(FED_C FED_S2S FED_PARTNER);
	fed_send(&fed->partner, "quiet.example.com", "you@partner.org", "me@quiet.example.com", "1",
		 3);
	xmpp_rig_pass(&fed->rig, 60000);
	fed_turn();
	FED_NOTHING(&fed->im);
	FED_GOT(&fed->partner, "type='error'");
	assert_int_equal(fed->n_links, 0);
}

static void mode_off(void **state)
{
	fed_start(FED_C FED_S2S "[federation]\nmode = off\n");
	assert_null(fed->e_port);
	assert_null(fed->c_port);
	/* From here on, without a restart. */
	fed_load_core(FED_C FED_S2S FED_PARTNER);
	fed_turn();
	assert_non_null(fed->e_port);
	fed_send(&fed->partner, "example.com", "you@partner.org", "me@example.com", "1", 3);
	FED_GOT(&fed->im, "id='1'");
	fed_load_core(FED_C FED_S2S "[federation]\nmode = off\n");
	fed_turn();
	assert_null(fed->e_port);
	assert_null(fed->c_port);
}

/* X7: a reload touches nothing but what it changes. */
static void reload(void **state)
{
	size_t n_puts, n_dels;

	fed_start(FED_C FED_S2S FED_PARTNER "[partner b.org]\n");
	fed_send(&fed->partner, "example.com", "you@partner.org", "me@example.com", "1", 3);
	FED_GOT(&fed->im, "id='1'");
	n_puts = fed->n_puts;
	n_dels = fed->n_dels;
	fed_load_core(FED_C FED_S2S FED_PARTNER "[partner b.org]\n");
	assert_int_equal(fed->n_puts, n_puts);
	assert_int_equal(fed->n_dels, n_dels);
	fed_load_core(FED_C FED_S2S FED_PARTNER "[partner c.org]\n");
	assert_int_equal(fed->n_puts, n_puts + 1);
	assert_int_equal(fed->n_dels, n_dels + 1);
	fed_turn();
	fed_send(&fed->partner, "example.com", "you@partner.org", "me@example.com", "2", 3);
	FED_GOT(&fed->im, "id='2'");
	assert_int_equal(fed->n_links, 1); /* the stream lives on */
	/* Now the partner itself goes. */
	fed_load_core(FED_C FED_S2S FED_PARTNER "enabled = no\n");
	fed_turn();
	fed_send(&fed->partner, "example.com", "you@partner.org", "me@example.com", "3", 3);
	xmpp_rig_pass(&fed->rig, 60000);
	fed_turn();
	FED_NOTHING(&fed->im);
	FED_GOT(&fed->partner, "type='error'");
	assert_int_equal(fed->n_links, 1);
}

/* --- faults --- */

static void core_is_gone(void **state)
{
	fed_start(FED_C FED_S2S FED_PARTNER);
	fed_tunnel_state(false);
	fed_turn();
	/* The port stays, and dialback works: the secret and the rules are remembered. */
	assert_non_null(fed->e_port);
	fed_send(&fed->partner, "example.com", "you@partner.org", "me@example.com", "1", 3);
	FED_GOT(&fed->partner, "service-unavailable");
	fed_tunnel_state(true);
	fed_turn();
	fed_send(&fed->partner, "example.com", "you@partner.org", "me@example.com", "2", 3);
	FED_GOT(&fed->im, "id='2'");
}

static void link_is_gone(void **state)
{
	fed_start(FED_C FED_S2S FED_PARTNER);
	fed->link_down = true;
	fed_send(&fed->partner, "example.com", "you@partner.org", "me@example.com", "1", 3);
	FED_GOT(&fed->partner, "remote-server-timeout");
	fed_send(&fed->im, "partner.org", "me@example.com", "you@partner.org", "2", 3);
	FED_GOT(&fed->im, "remote-server-timeout");
}

/* What waits for a C that goes down comes back at once. */
static void core_goes_while_a_stanza_waits(void **state)
{
	fed_start(FED_C FED_S2S FED_PARTNER);
	fed->link_hangs = true;
	fed_send(&fed->partner, "example.com", "you@partner.org", "me@example.com", "1", 3);
	FED_NOTHING(&fed->partner);
	fed_tunnel_state(false);
	fed_turn();
	FED_GOT(&fed->partner, "service-unavailable");
}

static void queue_of_a_pair_is_bounded(void **state)
{
	size_t n_errors = 0;
	const char *at;

	fed_start(FED_C FED_S2S FED_PARTNER);
	fed->link_hangs = true;
	/* E stops reading from the partner; what it read before waits or comes back. */
	for (int i = 0; i < 40; i++)
		fed_send(&fed->partner, "example.com", "you@partner.org", "me@example.com", "1",
			 20000);
	fed_tunnel_state(false);
	fed_turn();
	fed_turn();
	at = fed->partner.got.n ? fed->partner.got.p : "";
	while ((at = strstr(at, "type='error'"))) {
		n_errors++;
		at++;
	}
	assert_true(n_errors >= 7);
	FED_NOTHING(&fed->im);
}

/* All queues together too: who has many partners may not fill the memory. */
static void queues_are_bounded(void **state)
{
	char name[32], to[48];
	unsigned n = 0;

	fed_start(FED_C FED_S2S "[federation]\nmode = deny-list\ntls = off\nbidi = no\n");
	fed->link_hangs = true;
	while (n < 100 && !strstr(fed->im.got.n ? fed->im.got.p : "", "resource-constraint")) {
		snprintf(name, sizeof(name), "p%u.org", n++);
		snprintf(to, sizeof(to), "you@%s", name);
		fed_send(&fed->im, name, "me@example.com", to, "1", 240000);
	}
	assert_in_range(n, 64, 70);
}

/* The longest stanza, both ways, before any stream of the link or of a component is open. */
static void longest_stanza(void **state)
{
	static const size_t n = 256 * 1024 - 200;

	fed_start(FED_C FED_S2S FED_PARTNER);
	fed_send(&fed->im, "partner.org", "me@example.com", "you@partner.org", "1", n);
	FED_GOT(&fed->partner, "id='1'");
	fed_send(&fed->partner, "example.com", "you@partner.org", "me@example.com", "2", n);
	FED_GOT(&fed->im, "id='2'");
}

static void longest_stanza_to_component(void **state)
{
	fed_start(FED_C FED_COMPONENT FED_PARTNER);
	component_answers();
	fed_send(&fed->partner, "example.com", "you@partner.org", "me@example.com", "2",
		 256 * 1024 - 200);
	EXPECT_HEARD(&fed->component, "id='2'");
}

static void partner_is_gone(void **state)
{
	fed_start(FED_C FED_S2S FED_PARTNER);
	fed->partner.is_down = true;
	fed_send(&fed->im, "partner.org", "me@example.com", "you@partner.org", "1", 3);
	xmpp_rig_pass(&fed->rig, 60000);
	fed_turn();
	FED_GOT(&fed->im, "type='error' from='you@partner.org' to='me@example.com' id='1'>");
}

static void im_server_is_gone(void **state)
{
	fed_start(FED_C FED_S2S FED_PARTNER);
	fed->im.is_down = true;
	fed_send(&fed->partner, "example.com", "you@partner.org", "me@example.com", "1", 3);
	xmpp_rig_pass(&fed->rig, 60000);
	fed_turn();
	FED_GOT(&fed->partner, "type='error'");
}

/* --- anything, in any order --- */

static uint32_t dice_seed;

static unsigned dice(unsigned n)
{
	dice_seed = dice_seed * 1664525u + 1013904223u;
	return (dice_seed >> 8) % n;
}

static void close_some_stream(void)
{
	const struct list *all = conn_list(fed->rig.env.conns, CONN_XMPP_S2S);
	unsigned n = dice(8);

	LIST_FOREACH (it, all) {
		struct conn *c = CONTAINER_OF(it, struct conn, node);

		if (n-- > 0)
			continue;
		c->close(c, "closed by hand");
		return;
	}
}

static void one_event(void)
{
	static const char *const confs[] = {
		FED_C FED_S2S FED_PARTNER,
		FED_C FED_S2S "[federation]\nmode = deny-list\ntls = off\nbidi = no\n",
		FED_C FED_S2S "[federation]\nmode = deny-list\ndeny = partner.org\n",
		FED_C FED_S2S,
	};
	const size_t n_body = dice(3) ? 10 : 30000;

	switch (dice(9)) {
	case 0:
	case 1:
		fed_send(&fed->im, "partner.org", "me@example.com", "you@partner.org", "1", n_body);
		break;
	case 2:
	case 3:
		fed_send(&fed->partner, "example.com", "you@partner.org", "me@example.com", "2",
			 n_body);
		break;
	case 4:
		fed_tunnel_state(!fed->up || dice(2));
		break;
	case 5:
		fed_load_core(confs[dice(2) ? 0 : dice(4)]);
		break;
	case 6:
		close_some_stream();
		break;
	case 7:
		fed->link_hangs = dice(4) == 0;
		fed->link_down = dice(4) == 0;
		fed->im.is_down = dice(4) == 0;
		fed->partner.is_down = dice(4) == 0;
		break;
	default:
		xmpp_rig_pass(&fed->rig, (int64_t)dice(3) * dice(400000));
	}
	if (dice(2))
		fed_turn();
}

/* Nothing breaks, and in the end all is well again. */
static void any_order(void **state)
{
	for (uint32_t seed = 1; seed <= 40; seed++) {
		dice_seed = seed;
		fed_start(FED_C FED_S2S FED_PARTNER);
		for (int i = 0; i < 80; i++) {
			one_event();
			buf_reset(&fed->im.got);
			buf_reset(&fed->partner.got);
		}
		fed->link_hangs = fed->link_down = fed->im.is_down = fed->partner.is_down = false;
		fed_load_core(FED_C FED_S2S FED_PARTNER);
		fed_tunnel_state(false); /* for who waits for a link that hung */
		fed_tunnel_state(true);
		for (int i = 0; i < 4; i++) {
			xmpp_rig_pass(&fed->rig, 300000);
			fed_turn();
		}
		buf_reset(&fed->im.got);
		buf_reset(&fed->partner.got);
		fed_send(&fed->im, "partner.org", "me@example.com", "you@partner.org", "9", 3);
		FED_GOT(&fed->partner, "id='9'");
		fed_send(&fed->partner, "example.com", "you@partner.org", "me@example.com", "8", 3);
		FED_GOT(&fed->im, "id='8'");
		fed_stop(state);
	}
}

/* --- the other box is hostile --- */

static void take(struct xmpp_far *far, bool core, const char *local, const char *remote)
{
	struct preface p = { .kind = PREFACE_S2S };
	struct stream *s = xmpp_far_init(far, &fed->rig);

	snprintf(p.local, sizeof(p.local), "%s", local);
	snprintf(p.remote, sizeof(p.remote), "%s", remote);
	if (core)
		federation_core_take(fed->c, E_ID, &p, s);
	else
		federation_edge_take(fed->e, C_ID, &p, s);
	fed_turn();
}

static void say_header(struct xmpp_far *far, const char *from, const char *to)
{
	char text[400];

	snprintf(text, sizeof(text), LINK_HEADER, from, to);
	xmpp_far_say(far, &fed->rig, text);
}

/* A compromised E opens pairs that are not allowed, and says what no partner may say. */
static void hostile_edge(void **state)
{
	static const struct {
		const char *local, *remote;
	} pairs[] = {
		{ "example.com", "other.org" },
		{ "other.com", "partner.org" },
		{ "quiet.example.com", "partner.org" },
		{ "example.com", "example.com" },
		{ "partner.org", "example.com" },
		{ "example.com", "chat.example.com" },
		{ "", "partner.org" },
		{ "example.com", "" },
	};
	static const char *const stanzas[] = {
		"<message from='you@other.org' to='me@example.com'/>",
		"<message from='you@partner.org' to='me@quiet.example.com'/>",
		"<message from='me@example.com' to='you@partner.org'/>",
		"<message from='me@example.com' to='me@example.com'/>",
		"<message to='me@example.com'/>",
		"<message from='you@partner.org'/>",
		"<message from='partner.org.evil.org' to='example.com'/>",
		"<db:result xmlns:db='jabber:server:dialback' from='partner.org' "
		"to='example.com'>k</db:result>",
		"<message xmlns='jabber:client' from='you@partner.org' to='me@example.com'/>",
	};
	struct xmpp_far far;

	fed_start(FED_C FED_S2S FED_PARTNER);
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		take(&far, true, pairs[i].local, pairs[i].remote);
		assert_true(far.eof || far.over);
		assert_string_equal(xmpp_far_text(&far), "");
		xmpp_far_fini(&far, &fed->rig);
	}
	assert_int_equal(trace_count(fed->rig.env.trace, "xmpp.federation.pair"),
			 sizeof(pairs) / sizeof(pairs[0]));
	for (size_t i = 0; i < sizeof(stanzas) / sizeof(stanzas[0]); i++) {
		take(&far, true, "example.com", "partner.org");
		say_header(&far, "partner.org", "example.com");
		EXPECT_HEARD(&far, "from='example.com' to='partner.org'");
		xmpp_far_say(&far, &fed->rig, stanzas[i]);
		EXPECT_HEARD(&far, "<improper-addressing");
		assert_true(far.eof || far.over);
		xmpp_far_fini(&far, &fed->rig);
	}
	/* The header is another pair's. */
	take(&far, true, "example.com", "partner.org");
	say_header(&far, "other.org", "example.com");
	EXPECT_HEARD(&far, "<invalid-from");
	xmpp_far_fini(&far, &fed->rig);
	FED_NOTHING(&fed->im);
	/* A good one is as good as before. */
	fed_send(&fed->partner, "example.com", "you@partner.org", "me@example.com", "1", 3);
	FED_GOT(&fed->im, "id='1'");
}

static void hostile_core(void **state)
{
	struct xmpp_far far;

	fed_start(FED_C FED_S2S FED_PARTNER);
	take(&far, false, "other.com", "partner.org");
	assert_true(far.eof || far.over);
	xmpp_far_fini(&far, &fed->rig);
	take(&far, false, "example.com", "other.org");
	assert_true(far.eof || far.over);
	xmpp_far_fini(&far, &fed->rig);
	take(&far, false, "example.com", "partner.org");
	say_header(&far, "example.com", "partner.org");
	xmpp_far_say(&far, &fed->rig, "<message from='me@other.com' to='you@partner.org'/>");
	EXPECT_HEARD(&far, "<improper-addressing");
	xmpp_far_fini(&far, &fed->rig);
	FED_NOTHING(&fed->partner);
}

static void made_up_partner(unsigned i)
{
	char name[32], text[200];
	struct xmpp_far far;

	snprintf(name, sizeof(name), "p%u.org", i);
	snprintf(text, sizeof(text), "<message from='you@%s' to='me@example.com'/>", name);
	take(&far, true, "example.com", name);
	say_header(&far, name, "example.com");
	xmpp_far_say(&far, &fed->rig, text);
	fed_turn();
	xmpp_far_fini(&far, &fed->rig);
}

/* Whoever makes up partners fills neither the table of components nor that of alarms. */
static void made_up_partners_are_bounded(void **state)
{
	fed_start(FED_C FED_COMPONENT "[federation]\nmode = deny-list\ntls = off\n"
				      "[partner partner.org]\n");
	assert_int_equal(fed->n_components, 1);
	for (unsigned i = 0; i < 512; i++)
		made_up_partner(i);
	assert_int_equal(trace_count(fed->rig.env.trace, "xmpp.federation.component"), 0);
	made_up_partner(512);
	assert_int_equal(trace_count(fed->rig.env.trace, "xmpp.federation.component"), 1);
	assert_int_equal(alarm_count(fed->rig.env.alarms), 0);
	/* The one that is named stays, the others go when nobody wants them. */
	for (int i = 0; i < 25; i++)
		xmpp_rig_pass(&fed->rig, 60 * 1000);
	made_up_partner(512);
	assert_int_equal(trace_count(fed->rig.env.trace, "xmpp.federation.component"), 1);
	assert_true(fed->n_components > 0);
}

static void streams_of_a_pair_are_bounded(void **state)
{
	struct xmpp_far far[6];

	fed_start(FED_C FED_S2S FED_PARTNER);
	for (int i = 0; i < 6; i++) {
		take(&far[i], true, "example.com", "partner.org");
		assert_int_equal(far[i].eof || far[i].over, i >= 4);
	}
	assert_int_equal(trace_count(fed->rig.env.trace, "xmpp.federation.hostile"), 2);
	/* One that never says its header is given up. */
	xmpp_rig_pass(&fed->rig, 21000);
	assert_true(far[0].eof || far[0].over);
	for (int i = 0; i < 6; i++)
		xmpp_far_fini(&far[i], &fed->rig);
}

static void put_from(tunnel_peer from, const char *table, const char *key, const char *text)
{
	size_t at = fed_table(table);
	json_t *item = json_loads(text, 0, NULL);

	fed->tables[at].sink->put(fed->tables[at].sink_arg, from, key, item);
	json_decref(item);
	fed_turn();
}

/* B22: another C's secret makes no keys for domains that it has not announced. */
static void secret_of_another_core(void **state)
{
	const tunnel_peer other = C_ID + 1;
	char key[DIALBACK_KEY_BYTES], text[600];
	struct xmpp_far far;

	fed_start(FED_C FED_S2S FED_PARTNER);
	put_from(other, XMPP_TABLE_FEDERATION, "dialback", "{\"secret\":\"b3RoZXI=\"}");
	put_from(other, XMPP_TABLE_DOMAINS, "other.com", "{\"chat\":true,\"federation\":true}");
	fed_confs[0].accepted(fed_confs[0].arg, xmpp_far_init(&far, &fed->rig));
	xmpp_far_say(&far, &fed->rig,
		     "<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' "
		     "xmlns:stream='" XMPP_STREAMS "' from='partner.org' to='example.com' "
		     "version='1.0'>");
	EXPECT_HEARD(&far, "<stream:features>");
	dialback_key(SLICE("other"), "partner.org", "example.com", "id1", key);
	snprintf(text, sizeof(text),
		 "<db:verify from='partner.org' to='example.com' id='id1'>%s</db:verify>", key);
	xmpp_far_say(&far, &fed->rig, text);
	EXPECT_HEARD(&far, "type='invalid'");
	put_from(other, XMPP_TABLE_DOMAINS, "example.com", "{\"chat\":true,\"federation\":true}");
	xmpp_far_say(&far, &fed->rig, text);
	EXPECT_HEARD(&far, "type='valid'");
	xmpp_far_fini(&far, &fed->rig);
}

static void hostile_items(void **state)
{
	static const char *const tables[] = { XMPP_TABLE_DOMAINS, XMPP_TABLE_PARTNERS,
					      XMPP_TABLE_FEDERATION };
	static const char *const items[] = {
		"{}",
		"{\"secret\":\"\"}",
		"{\"secret\":\"***\"}",
		"{\"secret\":1}",
		"{\"chat\":1,\"federation\":true}",
		"{\"allowed\":\"yes\"}",
	};
	static const char *const keys[] = { "dialback", "example.com", "", "*", "A.B" };

	fed_start(FED_C FED_S2S FED_PARTNER);
	for (size_t t = 0; t < 3; t++)
		for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++)
			for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++) {
				json_t *item = json_loads(items[i], 0, NULL);
				size_t at = fed_table(tables[t]);

				fed->tables[at].sink->put(fed->tables[at].sink_arg, C_ID, keys[k],
							  item);
				json_decref(item);
			}
	fed_turn();
	/* example.com was put malformed: it is announced no more; the others are. */
	assert_int_equal(
		xmpp_domains_owner(federation_edge_domains(fed->e), "example.com", XMPP_DOMAIN_ANY),
		0);
	assert_non_null(fed->e_port);
	fed_tunnel_state(true);
	fed_turn();
	fed_send(&fed->partner, "example.com", "you@partner.org", "me@example.com", "1", 3);
	FED_GOT(&fed->im, "id='1'");
}

/* X6: a chat node has no section of its own; it federates with its server's domain. */
static void chat_node(void **state)
{
	struct xmpp_far far;

	fed_start(FED_C FED_S2S FED_PARTNER);
	take(&far, true, "chat.example.com", "partner.org");
	EXPECT_HEARD(&far, "from='chat.example.com' to='partner.org'");
	xmpp_far_fini(&far, &fed->rig);
	take(&far, false, "chat.example.com", "partner.org");
	EXPECT_HEARD(&far, "from='partner.org' to='chat.example.com'");
	xmpp_far_fini(&far, &fed->rig);
}

/* A stream of E's with a stanza, and one of C's, with an allocation that fails. */
static void pair_fails_at(unsigned n)
{
	struct xmpp_far far;
	struct preface p = { .kind = PREFACE_S2S, .local = "example.com", .remote = "partner.org" };
	struct stream *s = xmpp_far_init(&far, &fed->rig);

	alloc_fail_at(n);
	federation_core_take(fed->c, E_ID, &p, s);
	xmpp_far_say(&far, &fed->rig,
		     "<stream:stream xmlns='jabber:server' xmlns:stream='" XMPP_STREAMS
		     "' from='partner.org' to='example.com' version='1.0'>"
		     "<message from='you@partner.org' to='me@example.com'/>");
	fed_send(&fed->im, "partner.org", "me@example.com", "you@partner.org", "9", 1);
	alloc_fail_at(0);
	xmpp_far_fini(&far, &fed->rig);
}

/* Whatever fails, nothing breaks, and afterwards all is as before. */
static void out_of_memory(void **state)
{
	for (unsigned n = 1; n < 120; n += 1 + n / 20) {
		fed_start(FED_C FED_S2S FED_PARTNER);
		fed_send(&fed->partner, "example.com", "you@partner.org", "me@example.com", "0", 1);
		buf_reset(&fed->im.got);
		pair_fails_at(n);
		fed_stop(NULL);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, fed_stop)
	const struct CMUnitTest tests[] = {
		TEST(s2s_both_ways),
		TEST(s2s_partner_first),
		TEST(idle_link),
		TEST(idle_setting),
		TEST(component_both_ways),
		TEST(component_spoofs),
		TEST(component_refused),
		TEST(not_allowed),
		TEST(domain_that_does_not_federate),
		TEST(mode_off),
		TEST(reload),
		TEST(core_is_gone),
		TEST(link_is_gone),
		TEST(core_goes_while_a_stanza_waits),
		TEST(queue_of_a_pair_is_bounded),
		TEST(queues_are_bounded),
		TEST(longest_stanza),
		TEST(longest_stanza_to_component),
		TEST(partner_is_gone),
		TEST(im_server_is_gone),
		TEST(hostile_edge),
		TEST(hostile_core),
		TEST(any_order),
		TEST(secret_of_another_core),
		TEST(made_up_partners_are_bounded),
		TEST(streams_of_a_pair_are_bounded),
		TEST(hostile_items),
		TEST(chat_node),
		TEST(out_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
