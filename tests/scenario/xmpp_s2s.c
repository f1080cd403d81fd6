/* Federation, streams between servers: checklist rows B20 to B23, B27, B28 and the attacks on them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <errno.h>
#include <cmocka.h>

#include "support/alloc_fail.h"
#include "support/xmpp_s2s_box.h"

#define A "a.example"
#define B "b.example"

struct two {
	struct s2s_world *w;
	struct s2s_box *a, *b;
};

static int set_up(void **state)
{
	struct two *t = calloc(1, sizeof(*t));

	t->w = s2s_world_new();
	t->a = s2s_world_add(t->w, A, false);
	t->b = s2s_world_add(t->w, B, false);
	*state = t;
	return 0;
}

/* b is a script. */
static int set_up_script(void **state)
{
	struct two *t = calloc(1, sizeof(*t));

	t->w = s2s_world_new();
	t->a = s2s_world_add(t->w, A, false);
	t->b = s2s_world_add(t->w, B, true);
	*state = t;
	return 0;
}

static int tear_down(void **state)
{
	struct two *t = *state;

	s2s_world_free(t->w);
	free(t);
	return 0;
}

static bool has(const struct s2s_box *b, const char *text)
{
	return b->got.p && strstr(b->got.p, text);
}

static bool empty(const struct s2s_box *b)
{
	return b->got.n == 0;
}

struct look {
	const char *local, *remote;
	struct s2s_pair_info info;
	char error[200], in_auth[20], out_auth[20], out_tls[64];
	bool found;
};

static void look_at(const struct s2s_pair_info *p, void *arg)
{
	struct look *l = arg;

	if (strcmp(p->local, l->local) != 0 || strcmp(p->remote, l->remote) != 0)
		return;
	l->found = true;
	l->info = *p;
	snprintf(l->error, sizeof(l->error), "%s", p->last_error);
	snprintf(l->in_auth, sizeof(l->in_auth), "%s", p->in_auth);
	snprintf(l->out_auth, sizeof(l->out_auth), "%s", p->out_auth);
	snprintf(l->out_tls, sizeof(l->out_tls), "%s", p->out_tls);
}

static struct look pair_of(const struct s2s_box *b, const char *local, const char *remote)
{
	struct look l = { .local = local, .remote = remote };

	s2s_pairs_each(b->s2s, look_at, &l);
	return l;
}

static uint64_t n_traced(const struct two *t, const char *code)
{
	return trace_count(t->w->env.trace, code);
}

static void certificates(struct two *t, enum s2s_cert a, enum s2s_cert b)
{
	t->a->cert = a;
	t->b->cert = b;
}

static void policies(struct two *t, enum s2s_tls tls, enum s2s_auth auth)
{
	t->a->in.tls = t->a->out.tls = t->b->in.tls = t->b->out.tls = tls;
	t->a->in.auth = t->a->out.auth = t->b->in.auth = t->b->out.auth = auth;
}

/* --- engines among themselves --- */

static void B21_external(void **state)
{
	struct two *t = *state;
	struct look l;

	assert_int_equal(s2s_box_send(t->a, A, B, "hello"), 0);
	assert_int_equal(s2s_box_send(t->a, A, B, "again"), 0);
	s2s_world_settle(t->w);
	assert_string_equal(t->b->got.p, B
			    "<" A " <message from='romeo@a.example' to='juliet@b.example/balcony' "
			    "id='1'><body>hello</body></message>\n" B "<" A
			    " <message from='romeo@a.example' to='juliet@b.example/balcony' "
			    "id='1'><body>again</body></message>\n");
	l = pair_of(t->a, A, B);
	assert_true(l.info.out && !l.info.in);
	assert_string_equal(l.out_auth, "external");
	assert_string_equal(l.out_tls, "TLSv1.3 TEST");
	assert_int_equal(l.info.n_out, 2);
	l = pair_of(t->b, B, A);
	assert_true(l.info.in && !l.info.out);
	assert_string_equal(l.in_auth, "external");
	assert_int_equal(l.info.n_in, 2);
	/* One stream was enough, and it is used on. */
	assert_int_equal(t->a->n_dialled, 1);
	assert_int_equal(s2s_box_send(t->a, A, B, "third"), 0);
	s2s_world_settle(t->w);
	assert_true(has(t->b, "third"));
	assert_int_equal(t->a->n_dialled, 1);
	/* The way back is a stream of its own. */
	assert_int_equal(s2s_box_send(t->b, B, A, "back"), 0);
	s2s_world_settle(t->w);
	assert_true(has(t->a, "back"));
	assert_int_equal(t->b->n_dialled, 1);
	assert_int_equal(conn_count(t->w->env.conns, CONN_XMPP_S2S), 4);
}

static void direct_tls(void **state)
{
	struct two *t = *state;

	t->b->direct_tls = true;
	assert_int_equal(s2s_box_send(t->a, A, B, "hello"), 0);
	s2s_world_settle(t->w);
	assert_true(has(t->b, "hello"));
	assert_string_equal(pair_of(t->a, A, B).out_auth, "external");
}

static void B22_dialback(void **state)
{
	struct two *t = *state;

	certificates(t, CERT_NONE, CERT_NONE);
	assert_int_equal(s2s_box_send(t->a, A, B, "hello"), 0);
	s2s_world_settle(t->w);
	assert_true(has(t->b, "hello"));
	assert_string_equal(pair_of(t->a, A, B).out_auth, "dialback");
	assert_string_equal(pair_of(t->b, B, A).in_auth, "dialback");
	/* The stream that asked is gone again. */
	assert_int_equal(t->b->n_dialled, 1);
	assert_int_equal(s2s_count(t->b->s2s), 1);
}

/* Every cell of tls x auth x certificate of the one who connects. */
static void B20_B21_policy_matrix(void **state)
{
	static const enum s2s_cert certs[] = { CERT_NONE, CERT_GOOD, CERT_EXPIRED,
					       CERT_WRONG_NAME };

	for (int tls = S2S_TLS_REQUIRED; tls <= S2S_TLS_OFF; tls++) {
		for (int auth = S2S_AUTH_ANY; auth <= S2S_AUTH_DIALBACK; auth++) {
			for (size_t c = 0; c < 4; c++) {
				struct two *t;
				void *s;
				bool good = certs[c] == CERT_GOOD && tls != S2S_TLS_OFF;
				bool expect = auth != S2S_AUTH_CERTIFICATE || good;

				set_up(&s);
				t = s;
				policies(t, tls, auth);
				certificates(t, certs[c], CERT_GOOD);
				assert_int_equal(s2s_box_send(t->a, A, B, "hello"), 0);
				s2s_world_settle(t->w);
				if (has(t->b, "hello") != expect)
					fail_msg("tls %d auth %d certificate %zu", tls, auth, c);
				if (expect)
					assert_string_equal(pair_of(t->b, B, A).in_auth,
							    good && auth != S2S_AUTH_DIALBACK
								    ? "external"
								    : "dialback");
				else
					assert_true(has(t->a, "remote-server-timeout"));
				tear_down(&s);
			}
		}
	}
}

/* The certificate of the one who is connected to. */
static void B21_certificate_of_the_server(void **state)
{
	static const enum s2s_cert certs[] = { CERT_NONE, CERT_EXPIRED, CERT_WRONG_NAME };

	for (size_t c = 0; c < 3; c++) {
		for (int auth = S2S_AUTH_ANY; auth <= S2S_AUTH_DIALBACK; auth++) {
			struct two *t;
			void *s;

			set_up(&s);
			t = s;
			t->a->out.auth = auth;
			certificates(t, CERT_GOOD, certs[c]);
			assert_int_equal(s2s_box_send(t->a, A, B, "hello"), 0);
			s2s_world_settle(t->w);
			assert_int_equal(has(t->b, "hello"), auth != S2S_AUTH_CERTIFICATE);
			if (auth == S2S_AUTH_CERTIFICATE) {
				assert_true(n_traced(t, "xmpp.s2s.certificate") > 0);
				assert_string_equal(pair_of(t->a, A, B).error,
						    certs[c] == CERT_NONE      ? "no certificate"
						    : certs[c] == CERT_EXPIRED ? "peer certificate "
										 "expired"
									       : "name mismatch");
			} else {
				/* EXTERNAL is only for who showed the right one. */
				assert_string_equal(pair_of(t->a, A, B).out_auth, "dialback");
			}
			tear_down(&s);
		}
	}
}

static void B20_one_side_wants_no_tls(void **state)
{
	struct two *t = *state;

	t->a->out.tls = S2S_TLS_OFF;
	assert_int_equal(s2s_box_send(t->a, A, B, "hello"), 0);
	s2s_world_settle(t->w);
	assert_true(empty(t->b));
	assert_true(has(t->a, "remote-server-timeout"));
	assert_true(n_traced(t, "xmpp.s2s.tls") > 0);
}

static void B22_wrong_key(void **state)
{
	struct two *t = *state;
	static const char other[] = "not the secret of a";

	/* c says it is a, and cannot prove it. */
	struct s2s_box *c = s2s_world_add(t->w, "c.example", false);

	certificates(t, CERT_NONE, CERT_NONE);
	c->cert = CERT_NONE;
	c->domains[0] = NULL;
	c->domains[1] = "nobody.example";
	c->secrets[0] = other;
	c->domains[2] = A; /* found behind the true one */
	assert_int_equal(s2s_box_send(c, A, B, "I am a"), 0);
	s2s_world_settle(t->w);
	assert_true(empty(t->b));
	assert_true(has(c, "internal-server-error"));
	assert_int_equal(n_traced(t, "xmpp.s2s.key"), 1);
	assert_false(pair_of(t->b, B, A).info.in);
}

/* Another box of ours has made the key: same secrets, other engine. */
static void B22_key_of_another_box(void **state)
{
	struct two *t = *state;
	struct s2s_box *c = s2s_world_add(t->w, "c.example", false);

	certificates(t, CERT_NONE, CERT_NONE);
	c->cert = CERT_NONE;
	c->domains[1] = A;
	c->secrets[0] = A; /* a's secret */
	assert_int_equal(s2s_box_send(c, A, B, "hello from the other box"), 0);
	s2s_world_settle(t->w);
	/* b asked the first box. */
	assert_int_equal(t->a->n_accepted, 1);
	assert_true(has(t->b, "hello from the other box"));
	/* So is one made with a secret that has been replaced since. */
	t->a->secrets[0] = "new";
	t->a->secrets[1] = A;
	c->domains[2] = "c2.example";
	t->a->domains[1] = "c2.example";
	assert_int_equal(s2s_box_send(c, "c2.example", B, "old secret"), 0);
	s2s_world_settle(t->w);
	assert_true(has(t->b, "old secret"));
	/* And with the new one. */
	assert_int_equal(s2s_box_send(t->a, A, B, "new secret"), 0);
	s2s_world_settle(t->w);
	assert_true(has(t->b, "new secret"));
}

static void B22_no_secret(void **state)
{
	struct two *t = *state;

	certificates(t, CERT_NONE, CERT_NONE);
	t->a->secrets[0] = NULL;
	assert_int_equal(s2s_box_send(t->a, A, B, "hello"), 0);
	s2s_world_settle(t->w);
	assert_true(empty(t->b));
	assert_true(has(t->a, "remote-server-timeout"));
	assert_string_equal(pair_of(t->a, A, B).error, "no dialback secret");
}

/* --- bidi --- */

static void use_bidi(struct two *t)
{
	t->a->conf.bidi = t->b->conf.bidi = true;
	s2s_configure(t->a->s2s, &t->a->conf);
	s2s_configure(t->b->s2s, &t->b->conf);
}

static void bidi_both_ways(struct two *t)
{
	use_bidi(t);
	assert_int_equal(s2s_box_send(t->a, A, B, "there"), 0);
	s2s_world_settle(t->w);
	assert_true(has(t->b, "there"));
	assert_int_equal(s2s_box_send(t->b, B, A, "and back"), 0);
	s2s_world_settle(t->w);
	assert_true(has(t->a, "and back"));
	assert_int_equal(s2s_count(t->a->s2s), 1);
	assert_int_equal(s2s_count(t->b->s2s), 1);
}

static void B27_bidi_external(void **state)
{
	struct two *t = *state;

	bidi_both_ways(t);
	assert_int_equal(t->b->n_dialled, 0);
}

static void B27_bidi_dialback(void **state)
{
	struct two *t = *state;

	certificates(t, CERT_NONE, CERT_NONE);
	bidi_both_ways(t);
	assert_int_equal(t->b->n_dialled, 1); /* to ask about the key */
}

/* Both begin at the same time: each has two streams, nothing is lost, and no one kills the other's.
 */
static void B27_bidi_simultaneous(void **state)
{
	struct two *t = *state;

	use_bidi(t);
	assert_int_equal(s2s_box_send(t->a, A, B, "there"), 0);
	assert_int_equal(s2s_box_send(t->b, B, A, "and back"), 0);
	s2s_world_settle(t->w);
	assert_true(has(t->b, "there"));
	assert_true(has(t->a, "and back"));
	assert_int_equal(s2s_count(t->a->s2s), 2);
	/* In time the idle ones go, and it goes on working. */
	for (int i = 0; i < 30; i++) {
		s2s_world_pass(t->w, 60000);
		s2s_box_send(t->a, A, B, "tick");
	}
	s2s_world_settle(t->w);
	assert_int_equal(s2s_count(t->a->s2s), 1);
	buf_reset(&t->a->got);
	assert_int_equal(s2s_box_send(t->b, B, A, "still"), 0);
	s2s_world_settle(t->w);
	assert_true(has(t->a, "still"));
}

/* What may come in on a bidi stream follows the policy of what comes in. */
static void B27_bidi_not_for_who_must_show_more(void **state)
{
	struct two *t = *state;

	certificates(t, CERT_NONE, CERT_NONE);
	t->a->in.auth = S2S_AUTH_CERTIFICATE;
	use_bidi(t);
	assert_int_equal(s2s_box_send(t->a, A, B, "there"), 0);
	s2s_world_settle(t->w);
	assert_true(has(t->b, "there"));
	assert_int_equal(s2s_box_send(t->b, B, A, "and back"), 0);
	s2s_world_settle(t->w);
	assert_true(empty(t->a));
	assert_true(has(t->b, "remote-server-timeout")); /* it tried on a stream of its own */
}

/* Nor does anything go into one that showed less than we ask of who we send to. */
static void B27_bidi_not_into_less(void **state)
{
	struct two *t = *state;

	certificates(t, CERT_NONE, CERT_NONE);
	t->b->out.auth = S2S_AUTH_CERTIFICATE;
	use_bidi(t);
	assert_int_equal(s2s_box_send(t->a, A, B, "there"), 0);
	s2s_world_settle(t->w);
	assert_true(has(t->b, "there"));
	assert_int_equal(s2s_box_send(t->b, B, A, "and back"), 0);
	s2s_world_settle(t->w);
	assert_true(empty(t->a));
	assert_true(has(t->b, "remote-server-timeout"));
}

/* --- failure --- */

static void B24_no_such_domain(void **state)
{
	struct two *t = *state;

	assert_int_equal(s2s_box_send(t->a, A, "c.example", "hello"), 0);
	assert_true(empty(t->a)); /* not before s2s_send() has returned */
	s2s_world_settle(t->w);
	assert_string_equal(t->a->got.p,
			    A "<c.example <message type='error' from='juliet@c.example/balcony' "
			      "to='romeo@a.example' id='1'><error type='cancel'>"
			      "<remote-server-not-found "
			      "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>\n");
	assert_int_equal(pair_of(t->a, A, "c.example").info.n_bounced, 1);
}

static void back_off(void **state)
{
	struct two *t = *state;

	t->b->is_down = true;
	assert_int_equal(s2s_box_send(t->a, A, B, "one"), 0);
	s2s_world_settle(t->w);
	assert_true(has(t->a, "remote-server-timeout"));
	assert_int_equal(t->a->n_dialled, 2); /* both targets */
	/* Within the first second nothing is tried. */
	s2s_world_pass(t->w, 999);
	assert_int_equal(s2s_box_send(t->a, A, B, "two"), 0);
	s2s_world_settle(t->w);
	assert_int_equal(pair_of(t->a, A, B).info.n_bounced, 2);
	assert_int_equal(t->a->n_dialled, 2);
	s2s_world_pass(t->w, 1);
	assert_int_equal(s2s_box_send(t->a, A, B, "three"), 0);
	s2s_world_settle(t->w);
	assert_int_equal(t->a->n_dialled, 4);
	/* It gets longer, up to five minutes. */
	for (int i = 0; i < 20; i++) {
		s2s_world_pass(t->w, 300000);
		s2s_box_send(t->a, A, B, "more");
		s2s_world_settle(t->w);
	}
	assert_int_equal(t->a->n_dialled, 44);
	s2s_world_pass(t->w, 149000);
	s2s_box_send(t->a, A, B, "more");
	s2s_world_settle(t->w);
	assert_int_equal(t->a->n_dialled, 44);
	/* The button does not wait; and once it works all is forgotten. */
	t->b->is_down = false;
	assert_int_equal(s2s_probe(t->a->s2s, A, B), 0);
	s2s_world_settle(t->w);
	assert_true(pair_of(t->a, A, B).info.out);
	assert_int_equal(s2s_box_send(t->a, A, B, "finally"), 0);
	s2s_world_settle(t->w);
	assert_true(has(t->b, "finally"));
}

static void dies_while_queued(void **state)
{
	struct two *t = *state;

	for (int i = 0; i < 3; i++)
		assert_int_equal(s2s_box_send(t->a, A, B, "waits"), 0);
	s2s_world_settle(t->w);
	assert_true(strstr(s2s_script_read(&t->b->script[0]), "<stream:stream"));
	s2s_script_write(&t->b->script[0],
			 "<?xml version='1.0'?><stream:stream xmlns='jabber:server' "
			 "xmlns:stream='http://etherx.jabber.org/streams' "
			 "id='1' version='1.0'>");
	assert_int_equal(pair_of(t->a, A, B).info.n_queued, 3);
	/* The next target is tried, then all come back. */
	stream_abort(t->b->script[0]);
	t->b->script[0] = NULL;
	s2s_world_settle(t->w);
	assert_int_equal(t->a->n_dialled, 2);
	assert_true(empty(t->a));
	stream_abort(t->b->script[1]);
	t->b->script[1] = NULL;
	s2s_world_settle(t->w);
	assert_int_equal(pair_of(t->a, A, B).info.n_bounced, 3);
	assert_int_equal(pair_of(t->a, A, B).info.n_queued, 0);
	assert_int_equal(s2s_count(t->a->s2s), 0);
}

static void hangs(void **state)
{
	struct two *t = *state;

	assert_int_equal(s2s_box_send(t->a, A, B, "waits"), 0);
	s2s_world_pass(t->w, 29000);
	assert_int_equal(t->a->n_dialled, 1);
	s2s_world_pass(t->w, 2000);
	assert_int_equal(t->a->n_dialled, 2);
	s2s_world_pass(t->w, 30000);
	assert_true(has(t->a, "remote-server-timeout"));
	assert_string_equal(pair_of(t->a, A, B).error, "two: connecting took too long");
}

static void dns_hangs(void **state)
{
	struct two *t = *state;

	t->w->dns_is_slow = true;
	assert_int_equal(s2s_box_send(t->a, A, B, "waits"), 0);
	s2s_world_pass(t->w, 31000);
	assert_true(has(t->a, "remote-server-timeout"));
	assert_string_equal(pair_of(t->a, A, B).error, "DNS took too long");
	assert_int_equal(s2s_count(t->a->s2s), 0);
}

/* The bound of the queue; one stanza always fits. */
static void queue_is_bounded(void **state)
{
	struct two *t = *state;
	char text[1000];
	unsigned n = 0;
	int err;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	t->a->conf.queue_bytes = 20000;
	s2s_configure(t->a->s2s, &t->a->conf);
	t->w->dns_is_slow = true;
	while ((err = s2s_box_send(t->a, A, B, text)) == 0)
		n++;
	assert_int_equal(err, -ENOBUFS);
	assert_in_range(n, 2, 20);
	assert_int_equal(pair_of(t->a, A, B).info.n_queued, n);
	t->a->conf.queue_bytes = 100;
	s2s_configure(t->a->s2s, &t->a->conf);
	assert_int_equal(s2s_box_send(t->a, A, "c.example", "short"), -ENOBUFS); /* all together */
	t->w->dns_is_slow = false;
	timer_start(&t->w->timers, &t->w->dns, 0);
	s2s_world_settle(t->w);
	assert_int_equal(pair_of(t->a, A, B).info.n_out, n);
}

static void what_may_be_sent(void **state)
{
	struct two *t = *state;

	assert_int_equal(s2s_box_send_named(t->a, A, B, "message", "x@c.example", "y@" B, "t"),
			 -EINVAL);
	assert_int_equal(s2s_box_send_named(t->a, A, B, "message", "x@" A, "y@c.example", "t"),
			 -EINVAL);
	assert_int_equal(s2s_box_send_named(t->a, A, B, "features", "x@" A, "y@" B, "t"), -EINVAL);
	assert_int_equal(s2s_box_send_named(t->a, "a b", B, "message", "x@" A, "y@" B, "t"),
			 -EINVAL);
	t->a->denied = B;
	assert_int_equal(s2s_box_send(t->a, A, B, "hello"), -EACCES);
	assert_int_equal(s2s_probe(t->a->s2s, A, B), -EACCES);
	assert_int_equal(n_traced(t, "xmpp.s2s.denied"), 2);
	assert_int_equal(s2s_count(t->a->s2s), 0);
}

static void idle_stream_closes(void **state)
{
	struct two *t = *state;

	s2s_box_send(t->a, A, B, "hello");
	s2s_world_pass(t->w, 599000);
	assert_int_equal(s2s_count(t->a->s2s), 1);
	s2s_world_pass(t->w, 2000);
	assert_int_equal(s2s_count(t->a->s2s), 0);
	assert_int_equal(s2s_count(t->b->s2s), 0);
	s2s_box_send(t->a, A, B, "later");
	s2s_world_settle(t->w);
	assert_true(has(t->b, "later"));
	assert_int_equal(t->a->n_dialled, 2);
}

/* An open stream that is cut: what comes next opens another one. */
static void reconnects(void **state)
{
	struct two *t = *state;
	struct conn *c;

	s2s_box_send(t->a, A, B, "hello");
	s2s_world_settle(t->w);
	c = CONTAINER_OF(list_first(conn_list(t->w->env.conns, CONN_XMPP_S2S)), struct conn, node);
	assert_string_equal(c->zone, "federation");
	c->close(c, "closed by hand");
	s2s_world_settle(t->w);
	assert_int_equal(s2s_count(t->a->s2s) + s2s_count(t->b->s2s), 0);
	s2s_box_send(t->a, A, B, "again");
	s2s_world_settle(t->w);
	assert_true(has(t->b, "again"));
}

/* A second stream of the same pair does not end the first. */
static void newer_stream_leaves_the_older(void **state)
{
	struct two *t = *state;
	struct s2s_box *c = s2s_world_add(t->w, "c.example", false);

	c->domains[1] = A;
	s2s_box_send(t->a, A, B, "first");
	s2s_world_settle(t->w);
	s2s_box_send(c, A, B, "second");
	s2s_world_settle(t->w);
	assert_int_equal(s2s_count(t->b->s2s), 2);
	s2s_box_send(t->a, A, B, "third");
	s2s_world_settle(t->w);
	assert_true(has(t->b, "second") && has(t->b, "third"));
	assert_int_equal(t->a->n_dialled, 1);
}

/* --- changes --- */

static void recheck_ends_what_is_not_allowed(void **state)
{
	struct two *t = *state;

	s2s_box_send(t->a, A, B, "hello");
	s2s_box_send(t->b, B, A, "hello");
	s2s_world_settle(t->w);
	s2s_recheck(t->b->s2s);
	s2s_world_settle(t->w);
	assert_int_equal(s2s_count(t->b->s2s), 2);
	t->b->in.allowed = false;
	t->b->in.why = "off";
	s2s_recheck(t->b->s2s);
	s2s_world_settle(t->w);
	assert_int_equal(s2s_count(t->b->s2s), 1);
	assert_true(strstr(pair_of(t->a, A, B).error, "policy-violation: off"));
	t->b->out.allowed = false;
	s2s_recheck(t->b->s2s);
	s2s_world_pass(t->w, 6000);
	assert_int_equal(s2s_count(t->b->s2s), 0);
	assert_int_equal(s2s_count(t->a->s2s), 0);
}

static void recheck_wants_more(void **state)
{
	struct two *t = *state;

	certificates(t, CERT_NONE, CERT_NONE);
	s2s_box_send(t->a, A, B, "hello");
	s2s_world_settle(t->w);
	assert_true(pair_of(t->b, B, A).info.in);
	t->b->in.auth = S2S_AUTH_CERTIFICATE;
	s2s_recheck(t->b->s2s);
	s2s_world_settle(t->w);
	assert_false(pair_of(t->b, B, A).info.in);
}

static void drain_and_free(void **state)
{
	struct two *t = *state;

	s2s_box_send(t->a, A, B, "hello");
	s2s_world_settle(t->w);
	s2s_drain(t->a->s2s);
	assert_int_equal(s2s_box_send(t->a, A, B, "goes on"), 0);
	assert_int_equal(s2s_box_send(t->a, A, "c.example", "not"), -ENOBUFS);
	s2s_box_send(t->b, B, A, "nobody takes it");
	s2s_world_settle(t->w);
	assert_true(has(t->b, "goes on"));
	assert_true(has(t->b, "remote-server-timeout"));
	s2s_free(t->a->s2s);
	t->a->s2s = NULL;
	s2s_world_settle(t->w);
	assert_int_equal(s2s_count(t->b->s2s), 0);
	assert_true(strstr(pair_of(t->b, B, A).error, "system-shutdown") ||
		    n_traced(t, "xmpp.s2s.error") > 0);
}

static void limit_of_streams(void **state)
{
	struct two *t = *state;

	t->a->conf.max_unauthenticated = 2;
	s2s_configure(t->a->s2s, &t->a->conf);
	for (int i = 0; i < 3; i++) {
		struct stream **s = s2s_script_dial(t->b, t->a, true);

		assert_int_equal(s2s_script_is_closed(s), i == 2);
		assert_int_equal(s2s_count(t->a->s2s), i < 2 ? i + 1 : 2);
	}
	assert_int_equal(n_traced(t, "xmpp.s2s.limit"), 1);
	/* They have half a minute. */
	s2s_world_pass(t->w, 29999);
	assert_int_equal(s2s_count(t->a->s2s), 2);
	s2s_world_pass(t->w, 1);
	assert_int_equal(s2s_count(t->a->s2s), 0);
	t->a->conf.max_streams = 0;
	s2s_configure(t->a->s2s, &t->a->conf);
	assert_int_equal(s2s_probe(t->a->s2s, A, B), -ENOBUFS);
}

/* One address alone does not take them all. */
static void limit_of_streams_of_one_address(void **state)
{
	struct two *t = *state;

	t->a->conf.max_unauthenticated_source = 2;
	s2s_configure(t->a->s2s, &t->a->conf);
	for (int i = 0; i < 4; i++) {
		struct s2s_link *l = s2s_world_join(t->w, t->b, t->a);

		s2s_script_take(t->b, l->end[0]);
		if (i == 3)
			addr_parse_ip(SLICE("192.0.2.9"), 4711, &l->end[1]->remote);
		s2s_accept(t->a->s2s, l->end[1]);
		s2s_world_settle(t->w);
		assert_int_equal(s2s_count(t->a->s2s), i < 2 ? i + 1 : i);
	}
	assert_int_equal(n_traced(t, "xmpp.s2s.limit"), 1);
}

/* --- scripts: what others may send --- */

#define HEADER                                                       \
	"<?xml version='1.0'?><stream:stream xmlns='jabber:server' " \
	"xmlns:db='jabber:server:dialback' "                         \
	"xmlns:stream='http://etherx.jabber.org/streams' "
#define FROM_B HEADER "from='b.example' to='a.example' version='1.0'>"

/* A stream of b's, over TLS, its header sent and the answer read. */
static struct stream **open_from_b(struct two *t, bool tls)
{
	struct stream **s = s2s_script_dial(t->b, t->a, tls);

	s2s_script_write(s, FROM_B);
	return s;
}

static struct stream **external_from_b(struct two *t)
{
	struct stream **s = open_from_b(t, true);

	assert_true(strstr(s2s_script_read(s), "<mechanism>EXTERNAL</mechanism>"));
	s2s_script_write(s, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' "
			    "mechanism='EXTERNAL'>Yi5leGFtcGxl</auth>");
	assert_true(strstr(s2s_script_read(s), "<success"));
	s2s_script_write(s, FROM_B);
	assert_true(strstr(s2s_script_read(s), "<stream:features"));
	return s;
}

static void in_features(void **state)
{
	struct two *t = *state;
	struct stream **s = open_from_b(t, false);
	const char *text = s2s_script_read(s);

	assert_non_null(strstr(text, "from='a.example' to='b.example' id='"));
	assert_non_null(
		strstr(text, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/>"));
	assert_null(strstr(text, "mechanism"));
	assert_null(strstr(text, "dialback'><errors"));
	t->a->in.tls = S2S_TLS_OPTIONAL;
	s = open_from_b(t, false);
	text = s2s_script_read(s);
	assert_non_null(strstr(text, "<dialback xmlns='urn:xmpp:features:dialback'><errors/>"));
	assert_null(strstr(text, "required"));
	assert_null(strstr(text, "EXTERNAL"));
	assert_null(strstr(text, "bidi"));
}

static void B20_plain_is_refused(void **state)
{
	struct two *t = *state;
	struct stream **s = open_from_b(t, false);

	s2s_script_read(s);
	s2s_script_write(s, "<db:result from='b.example' to='a.example'>abc</db:result>");
	assert_non_null(strstr(s2s_script_read(s), "policy-violation"));
	s2s_script_write(s, "<db:verify from='b.example' to='a.example' id='1'>abc</db:verify>");
	assert_non_null(strstr(s2s_script_read(s), "policy-violation"));
	assert_int_equal(t->a->n_dialled, 0);
	s2s_script_write(s, "<message from='x@b.example' to='y@a.example'/>");
	assert_non_null(strstr(s2s_script_read(s), "not-authorized"));
	assert_true(s2s_script_is_closed(s));
	assert_true(empty(t->a));
}

static void host_unknown(void **state)
{
	struct two *t = *state;
	struct stream **s = s2s_script_dial(t->b, t->a, true);

	s2s_script_write(s, HEADER "from='b.example' to='nobody.example' version='1.0'>");
	assert_non_null(strstr(s2s_script_read(s), "<host-unknown"));
	assert_true(s2s_script_is_closed(s));
	assert_int_equal(n_traced(t, "xmpp.s2s.unknown-host"), 1);
	s = s2s_script_dial(t->b, t->a, true);
	s2s_script_write(s, HEADER "from='b..example' to='a.example' version='1.0'>");
	assert_non_null(strstr(s2s_script_read(s), "<invalid-from"));
}

static void B26_denied(void **state)
{
	struct two *t = *state;
	struct stream **s;

	t->a->in.allowed = false;
	t->a->in.why = "not on the list";
	/* We may send to it, so it must be able to ask about keys; it gets no further. */
	s = open_from_b(t, true);
	assert_non_null(strstr(s2s_script_read(s), "<stream:features"));
	s2s_script_write(s, "<db:result from='b.example' to='a.example'>abc</db:result>");
	assert_non_null(strstr(s2s_script_read(s), "policy-violation"));
	s2s_script_write(s, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' "
			    "mechanism='EXTERNAL'>=</auth>");
	assert_non_null(strstr(s2s_script_read(s), "not-authorized"));
	t->a->out.allowed = false;
	s = open_from_b(t, true);
	assert_non_null(strstr(s2s_script_read(s), "<policy-violation"));
	assert_true(s2s_script_is_closed(s));
	assert_int_equal(n_traced(t, "xmpp.s2s.denied"), 3);
}

static void B01_injected_behind_starttls(void **state)
{
	struct two *t = *state;
	struct stream **s = open_from_b(t, false);

	s2s_script_read(s);
	s2s_script_write(s,
			 "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
			 "<db:verify from='b.example' to='a.example' id='1'>injected</db:verify>");
	assert_non_null(strstr(s2s_script_read(s), "<proceed"));
	assert_int_equal(n_traced(t, "xmpp.s2s.injected"), 1);
	s2s_script_write(s, FROM_B);
	assert_non_null(strstr(s2s_script_read(s), "EXTERNAL"));
	assert_int_equal(n_traced(t, "xmpp.s2s.key"), 0);
}

static void injected_behind_proceed(void **state)
{
	struct two *t = *state;
	const char *text;

	s2s_box_send(t->a, A, B, "hello");
	s2s_script_read(&t->b->script[0]);
	s2s_script_write(&t->b->script[0],
			 HEADER "id='1' version='1.0'><stream:features><starttls "
				"xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>");
	assert_non_null(strstr(s2s_script_read(&t->b->script[0]), "<starttls"));
	s2s_script_write(&t->b->script[0],
			 "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>" HEADER
			 "id='evil' version='1.0'><stream:features/>");
	text = s2s_script_read(&t->b->script[0]);
	assert_non_null(strstr(text, "<stream:stream"));
	assert_null(strstr(text, "db:result"));
	assert_int_equal(n_traced(t, "xmpp.s2s.injected"), 1);
	assert_true(t->b->script[0]->is_tls);
}

static void B21_external_bad(void **state)
{
	static const char *const identities[] = { "Yy5leGFtcGxl" /* c.example */, "!!!",
						  "YS5leGFtcGxl" /* a.example: ours */ };
	struct two *t = *state;
	struct stream **s = open_from_b(t, true);

	s2s_script_read(s);
	for (int i = 0; i < 3; i++) {
		s2s_script_write(s,
				 "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' "
				 "mechanism='EXTERNAL'>%s</auth>",
				 identities[i]);
		assert_non_null(strstr(s2s_script_read(s), "<not-authorized"));
		assert_int_equal(s2s_script_is_closed(s), i == 2);
	}
	/* Not offered, not taken: certificates that are no good. */
	for (int c = CERT_NONE; c <= CERT_WRONG_NAME; c++) {
		if (c == CERT_GOOD)
			continue;
		t->b->shown = c;
		s = open_from_b(t, true);
		assert_null(strstr(s2s_script_read(s), "EXTERNAL"));
		s2s_script_write(s, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' "
				    "mechanism='EXTERNAL'>=</auth>");
		assert_non_null(strstr(s2s_script_read(s), "<not-authorized"));
		s2s_script_write(s, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' "
				    "mechanism='PLAIN'>AAAA</auth>");
		assert_non_null(strstr(s2s_script_read(s), "<invalid-mechanism"));
		/* Dialback is still possible where the policy says any. */
		s2s_script_write(s, "<db:result from='b.example' to='a.example'>k</db:result>");
		s2s_script_read(s);
		assert_int_equal(t->a->n_dialled, 1);
		t->a->n_dialled = 0;
		/* Where it does not, it is over at once, unless it may have to ask about keys. */
		t->a->in.auth = S2S_AUTH_CERTIFICATE;
		s = open_from_b(t, true);
		assert_null(strstr(s2s_script_read(s), "EXTERNAL"));
		assert_false(s2s_script_is_closed(s));
		t->a->out.auth = S2S_AUTH_CERTIFICATE;
		s = open_from_b(t, true);
		assert_non_null(strstr(s2s_script_read(s), "<not-authorized"));
		assert_true(s2s_script_is_closed(s));
		t->a->in.auth = t->a->out.auth = S2S_AUTH_ANY;
	}
	/* And without TLS there is none. */
	t->b->shown = CERT_GOOD;
	t->a->in.tls = S2S_TLS_OPTIONAL;
	s = open_from_b(t, false);
	s2s_script_read(s);
	s2s_script_write(s, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' "
			    "mechanism='EXTERNAL'>=</auth>");
	assert_non_null(strstr(s2s_script_read(s), "<not-authorized"));
	assert_true(empty(t->a));
}

static void B21_other_domain_after_external(void **state)
{
	struct two *t = *state;
	struct stream **s = open_from_b(t, true);

	s2s_script_read(s);
	s2s_script_write(s, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' "
			    "mechanism='EXTERNAL'>=</auth>" HEADER
			    "from='c.example' to='a.example' version='1.0'>");
	assert_non_null(strstr(s2s_script_read(s), "<invalid-from"));
	assert_true(s2s_script_is_closed(s));
	assert_int_equal(n_traced(t, "xmpp.s2s.spoofed"), 1);
}

static void B23_from_of_every_stanza(void **state)
{
	static const struct {
		const char *stanza, *condition;
	} cases[] = {
		{ "<message from='x@c.example' to='y@a.example'/>", "invalid-from" },
		{ "<message from='x@sub.b.example' to='y@a.example'/>", "invalid-from" },
		{ "<message from='x@a.example' to='y@a.example'/>", "invalid-from" },
		{ "<message from='b.example@c.example' to='y@a.example'/>", "invalid-from" },
		{ "<message from='x@c.example/b.example' to='y@a.example'/>", "invalid-from" },
		{ "<message from='@b.example' to='y@a.example'/>", "invalid-from" },
		{ "<message from='' to='y@a.example'/>", "invalid-from" },
		{ "<message to='y@a.example'/>", "improper-addressing" },
		{ "<message from='x@b.example'/>", "improper-addressing" },
		{ "<message from='x@b.example' to=''/>", "improper-addressing" },
		{ "<message from='x@b.example' to='y@c.example'/>", "improper-addressing" },
		{ "<message xmlns='jabber:client' from='x@b.example' to='y@a.example'/>",
		  "unsupported-stanza-type" },
		{ "<other from='x@b.example' to='y@a.example'/>", "unsupported-stanza-type" },
		{ "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>",
		  "unsupported-stanza-type" },
		{ "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
		  "unsupported-stanza-type" },
		{ "<bidi xmlns='urn:xmpp:bidi'/>", "unsupported-stanza-type" },
	};
	struct two *t = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct stream **s = external_from_b(t);

		s2s_script_write(s, "<iq from='B.Example' to='A.EXAMPLE./x' type='get' id='1'/>");
		assert_true(has(t->a, "<iq "));
		buf_reset(&t->a->got);
		s2s_script_write(s, "%s<message from='x@b.example' to='y@a.example'/>",
				 cases[i].stanza);
		if (!strstr(s2s_script_read(s), cases[i].condition))
			fail_msg("%s: no %s", cases[i].stanza, cases[i].condition);
		assert_true(s2s_script_is_closed(s));
		assert_true(empty(t->a)); /* nothing behind it either */
	}
}

static void stanzas_before_authentication(void **state)
{
	struct two *t = *state;

	for (int i = 0; i < 4; i++) {
		struct stream **s = open_from_b(t, true);

		s2s_script_read(s);
		if (i == 1) /* while the key is looked at */
			s2s_script_write(
				s, "<db:result from='b.example' to='a.example'>k</db:result>");
		if (i == 2) /* said by themselves */
			s2s_script_write(
				s, "<db:result from='b.example' to='a.example' type='valid'/>");
		if (i == 3)
			s2s_script_write(s, "<db:verify from='b.example' to='a.example' id='1' "
					    "type='valid'/>");
		s2s_script_write(s, "<presence from='x@b.example' to='y@a.example'/>");
		assert_non_null(strstr(s2s_script_read(s), "<not-authorized"));
		assert_true(s2s_script_is_closed(s));
	}
	assert_true(empty(t->a));
	assert_int_equal(n_traced(t, "xmpp.s2s.unsolicited"), 2);
	assert_int_equal(n_traced(t, "xmpp.s2s.unauthenticated"), 4);
}

/* --- dialback with a script on the other side --- */

/* The value of id= in a header that was read. */
static void read_id(const char *text, char out[64])
{
	const char *p = strstr(text, " id='");

	assert_non_null(p);
	sscanf(p, " id='%63[^']'", out);
}

/* b (no certificate) shows a key on *s; a comes to ask on the returned stream, which is TLS and has
 * had its features. */
static struct stream **asked(struct two *t, struct stream **s, const char *from, const char *to,
			     char id[64])
{
	struct stream **v = &t->b->script[t->b->n_script % S2S_SCRIPT_STREAMS];
	const char *text;

	s2s_script_write(s, "<db:result from='%s' to='%s'>the key</db:result>", from, to);
	assert_non_null(strstr(s2s_script_read(v), "<stream:stream"));
	s2s_script_write(v, HEADER "id='v1' version='1.0'><stream:features><starttls "
				   "xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>");
	assert_non_null(strstr(s2s_script_read(v), "<starttls"));
	s2s_script_write(v, "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
	assert_non_null(strstr(s2s_script_read(v), "<stream:stream"));
	s2s_script_write(v, HEADER "id='v2' version='1.0'><stream:features/>");
	text = s2s_script_read(v);
	assert_non_null(strstr(text, "<db:verify "));
	assert_non_null(strstr(text, ">the key</db:verify>"));
	read_id(strstr(text, "<db:verify "), id);
	return v;
}

static struct stream **fresh(struct two *t, char id[64])
{
	struct stream **s = open_from_b(t, true);

	read_id(s2s_script_read(s), id);
	return s;
}

static void B22_answers_must_fit(void **state)
{
	struct two *t = *state;
	struct stream **s, **v;
	char id[64], asked_id[64];

	t->b->shown = CERT_NONE;
	s = fresh(t, id);
	v = asked(t, s, B, A, asked_id);
	assert_string_equal(id, asked_id);
	/* On the asker's own stream, about other ids and domains: nothing happens. */
	s2s_script_write(s, "<db:verify from='b.example' to='a.example' id='%s' type='valid'/>",
			 id);
	s2s_script_write(s, "<db:result from='b.example' to='a.example' type='valid'/>");
	s2s_script_write(v, "<db:verify from='b.example' to='a.example' id='other' type='valid'/>");
	s2s_script_write(v, "<db:verify from='c.example' to='a.example' id='%s' type='valid'/>",
			 id);
	s2s_script_write(v, "<db:verify from='b.example' to='c.example' id='%s' type='valid'/>",
			 id);
	s2s_script_write(v, "<db:result from='b.example' to='a.example' type='valid'/>");
	assert_string_equal(s2s_script_read(s), "");
	assert_int_equal(n_traced(t, "xmpp.s2s.unsolicited"), 6);
	assert_false(pair_of(t->a, A, B).info.in);
	s2s_script_write(v, "<db:verify from='b.example' to='a.example' id='%s' type='valid'/>",
			 id);
	assert_string_equal(s2s_script_read(s),
			    "<db:result from='a.example' to='b.example' type='valid'/>");
	assert_string_equal(pair_of(t->a, A, B).in_auth, "dialback");
	s2s_script_write(s, "<message from='x@b.example' to='y@a.example'/>");
	assert_true(has(t->a, "<message"));
	assert_non_null(strstr(s2s_script_read(v), "</stream:stream>"));
}

static void B22_dialback_errors(void **state)
{
	static const struct {
		const char *answer, *says;
	} cases[] = {
		{ "<db:verify from='b.example' to='a.example' id='%s' type='invalid'/>",
		  "type='invalid'/></stream:stream>" },
		{ "<db:verify from='b.example' to='a.example' id='%s' type='error'><error "
		  "type='cancel'><item-not-found "
		  "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
		  "</db:verify>",
		  "type='error'><error type='cancel'><remote-server-not-found" },
		{ "<db:verify from='b.example' to='a.example' id='%s' type='error'/>",
		  "<remote-server-timeout" },
		{ "<db:verify from='b.example' to='a.example' id='%s' type='odd'/>",
		  "<remote-server-timeout" },
	};
	struct two *t = *state;
	char id[64];

	t->b->shown = CERT_NONE;
	for (size_t i = 0; i < 4; i++) {
		struct stream **s = fresh(t, id), **v = asked(t, s, B, A, id);
		char answer[400];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(answer, sizeof(answer), cases[i].answer, id);
#pragma GCC diagnostic pop
		s2s_script_write(v, "%s", answer);
		if (!strstr(s2s_script_read(s), cases[i].says))
			fail_msg("no %s", cases[i].says);
		/* The error is not the end of the stream. */
		assert_int_equal(s2s_script_is_closed(s), false);
		s2s_script_write(s, "<presence from='x@b.example' to='y@a.example'/>");
		assert_true(empty(t->a));
	}
	assert_true(n_traced(t, "xmpp.s2s.dialback") == 4);
}

static void B22_nobody_to_ask(void **state)
{
	struct two *t = *state;
	struct stream **s;
	char id[64];

	t->b->shown = CERT_NONE;
	t->b->is_down = true;
	s = fresh(t, id);
	s2s_script_write(s, "<db:result from='b.example' to='a.example'>k</db:result>");
	assert_non_null(strstr(s2s_script_read(s), "<remote-connection-failed"));
	s2s_script_write(s, "<db:result from='c.example' to='a.example'>k</db:result>");
	assert_non_null(strstr(s2s_script_read(s), "<remote-server-not-found"));
	s2s_script_write(s, "<db:result from='b.example' to='other.example'>k</db:result>");
	assert_non_null(strstr(s2s_script_read(s),
			       "<db:result from='other.example' to='b.example' type='error'><error "
			       "type='cancel'><item-not-found "));
	s2s_script_write(s, "<db:result from='b.example' to='a.example'> </db:result>");
	assert_non_null(strstr(s2s_script_read(s), "<bad-request"));
	assert_false(s2s_script_is_closed(s));
	s2s_script_write(s, "<db:result from='b.example' to='a.example'>%0256d</db:result>", 1);
	assert_non_null(strstr(s2s_script_read(s), "<policy-violation"));
	assert_true(s2s_script_is_closed(s));
	/* 255 bytes are still a key. */
	s = fresh(t, id);
	s2s_script_write(s, "<db:result from='b.example' to='a.example'>%0255d</db:result>", 1);
	assert_non_null(strstr(s2s_script_read(s), "<remote-connection-failed"));
}

/* Who asked is gone before the answer is there. */
static void B22_asker_is_gone(void **state)
{
	struct two *t = *state;
	struct stream **s, **v;
	char id[64];

	t->b->shown = CERT_NONE;
	s = fresh(t, id);
	v = asked(t, s, B, A, id);
	stream_abort(*s);
	*s = NULL;
	s2s_world_settle(t->w);
	s2s_script_write(v, "<db:verify from='b.example' to='a.example' id='%s' type='valid'/>",
			 id);
	assert_int_equal(s2s_count(t->a->s2s), 0);
	/* And the policy may have changed. */
	s = fresh(t, id);
	v = asked(t, s, B, A, id);
	t->a->in.allowed = false;
	s2s_script_write(v, "<db:verify from='b.example' to='a.example' id='%s' type='valid'/>",
			 id);
	assert_non_null(strstr(s2s_script_read(s), "<not-acceptable"));
	assert_false(pair_of(t->a, A, B).info.in);
}

static void B22_several_pairs_on_one_stream(void **state)
{
	struct two *t = *state;
	struct stream **s, **v;
	char id[64];

	t->b->shown = CERT_NONE;
	t->b->domains[1] = "c.example";
	t->a->domains[1] = "rooms.a.example";
	s = fresh(t, id);
	v = asked(t, s, B, A, id);
	s2s_script_write(v, "<db:verify from='b.example' to='a.example' id='%s' type='valid'/>",
			 id);
	v = asked(t, s, "c.example", A, id);
	s2s_script_write(v, "<db:verify from='c.example' to='a.example' id='%s' type='valid'/>",
			 id);
	v = asked(t, s, B, "rooms.a.example", id);
	s2s_script_write(
		v, "<db:verify from='b.example' to='rooms.a.example' id='%s' type='valid'/>", id);
	s2s_script_read(s);
	s2s_script_write(s, "<message from='x@b.example' to='y@a.example'/>"
			    "<message from='x@c.example' to='y@a.example'/>"
			    "<message from='x@b.example' to='y@rooms.a.example'/>");
	assert_true(has(t->a, "a.example<b.example <message"));
	assert_true(has(t->a, "a.example<c.example <message"));
	assert_true(has(t->a, "rooms.a.example<b.example <message"));
	/* An invalid one hurts none of the others. */
	t->b->domains[2] = "d.example";
	v = asked(t, s, "d.example", A, id);
	s2s_script_write(v, "<db:verify from='d.example' to='a.example' id='%s' type='invalid'/>",
			 id);
	assert_non_null(strstr(s2s_script_read(s), "<forbidden"));
	assert_false(s2s_script_is_closed(s));
	/* One is turned off: the others stay. */
	t->a->denied = "c.example";
	s2s_recheck(t->a->s2s);
	buf_reset(&t->a->got);
	s2s_script_write(s, "<message from='x@b.example' to='y@a.example'/>");
	assert_true(has(t->a, "<message"));
	buf_reset(&t->a->got);
	/* Pairs are pairs: both domains, but not with each other. */
	s2s_script_write(s, "<message from='x@c.example' to='y@a.example'/>");
	assert_non_null(strstr(s2s_script_read(s), "<invalid-from"));
	assert_true(empty(t->a));
}

/* Said in the clear, before it was asked: somebody on the way may have. */
static void B22_answer_before_the_question(void **state)
{
	struct two *t = *state;
	struct stream **s, **v;
	char id[64];

	t->b->shown = CERT_NONE;
	s = fresh(t, id);
	v = &t->b->script[t->b->n_script % S2S_SCRIPT_STREAMS];
	s2s_script_write(s, "<db:result from='b.example' to='a.example'>k</db:result>");
	s2s_script_read(v);
	s2s_script_write(v,
			 HEADER "id='v1' version='1.0'><db:verify from='b.example' "
				"to='a.example' id='%s' type='valid'/>",
			 id);
	assert_string_equal(s2s_script_read(s), "");
	assert_false(pair_of(t->a, A, B).info.in);
	assert_int_equal(n_traced(t, "xmpp.s2s.unsolicited"), 1);
}

static void pair_that_is_being_asked_about(void **state)
{
	struct two *t = *state;
	struct stream **s, **v;
	char id[64];

	t->b->shown = CERT_NONE;
	t->a->domains[1] = "rooms.a.example";
	s = fresh(t, id);
	v = asked(t, s, B, A, id);
	s2s_script_write(v, "<db:verify from='b.example' to='a.example' id='%s' type='valid'/>",
			 id);
	asked(t, s, B, "rooms.a.example", id);
	s2s_script_read(s);
	s2s_script_write(s, "<message from='x@b.example' to='y@rooms.a.example'/>");
	assert_non_null(strstr(s2s_script_read(s), "<improper-addressing"));
	assert_true(empty(t->a));
}

/* All that a stream had is withdrawn, and then it proves another pair: it has its time again. */
static void proves_again(void **state)
{
	struct two *t = *state;
	struct stream **s, **v;
	char id[64];

	t->b->shown = CERT_NONE;
	t->b->domains[1] = "c.example";
	s = fresh(t, id);
	v = asked(t, s, "c.example", A, id);
	s2s_script_write(v, "<db:verify from='c.example' to='a.example' id='%s' type='valid'/>",
			 id);
	v = asked(t, s, B, A, id);
	t->a->denied = "c.example";
	s2s_recheck(t->a->s2s);
	s2s_script_write(v, "<db:verify from='b.example' to='a.example' id='%s' type='valid'/>",
			 id);
	s2s_world_pass(t->w, 40000);
	s2s_script_write(s, "<message from='x@b.example' to='y@a.example'/>");
	assert_true(has(t->a, "<message"));
}

static void late_answer(void **state)
{
	struct two *t = *state;
	struct stream **s, **v;
	char id[64];

	t->b->shown = CERT_NONE;
	s = fresh(t, id);
	v = asked(t, s, B, A, id);
	s2s_world_pass(t->w, 27000);
	s2s_script_write(v, "<db:verify from='b.example' to='a.example' id='%s' type='valid'/>",
			 id);
	s2s_world_pass(t->w, 4000);
	assert_int_equal(t->a->n_dialled, 1);
	s2s_world_pass(t->w, 4000);
	assert_int_equal(s2s_count(t->a->s2s), 1);
}

static void pair_crosswise(void **state)
{
	struct two *t = *state;
	struct stream **s, **v;
	char id[64];

	t->b->shown = CERT_NONE;
	t->b->domains[1] = "c.example";
	t->a->domains[1] = "rooms.a.example";
	s = fresh(t, id);
	v = asked(t, s, B, A, id);
	s2s_script_write(v, "<db:verify from='b.example' to='a.example' id='%s' type='valid'/>",
			 id);
	v = asked(t, s, "c.example", "rooms.a.example", id);
	s2s_script_write(
		v, "<db:verify from='c.example' to='rooms.a.example' id='%s' type='valid'/>", id);
	s2s_script_read(s);
	s2s_script_write(s, "<message from='x@c.example' to='y@a.example'/>");
	assert_non_null(strstr(s2s_script_read(s), "<improper-addressing"));
	assert_true(empty(t->a));
}

static void bound_of_pairs(void **state)
{
	struct two *t = *state;
	struct stream **s, **v;
	char id[64];

	t->b->shown = CERT_NONE;
	t->b->domains[1] = "c.example";
	t->a->conf.max_pairs_in = 1;
	s2s_configure(t->a->s2s, &t->a->conf);
	s = fresh(t, id);
	v = asked(t, s, B, A, id);
	s2s_script_write(v, "<db:verify from='b.example' to='a.example' id='%s' type='valid'/>",
			 id);
	s2s_script_read(s);
	s2s_script_write(s, "<db:result from='c.example' to='a.example'>k</db:result>");
	assert_non_null(strstr(s2s_script_read(s), "<resource-constraint"));
	/* The one it has may be said again. */
	s2s_script_write(s, "<db:result from='b.example' to='a.example'>k</db:result>");
	assert_non_null(strstr(s2s_script_read(s), "type='valid'"));
	/* Questions at one time. */
	t->a->conf.max_pairs_in = 100;
	s2s_configure(t->a->s2s, &t->a->conf);
	t->w->dns_is_slow = true;
	s = fresh(t, id);
	for (int i = 0; i < 9; i++)
		s2s_script_write(s, "<db:result from='d%d.example' to='a.example'>k</db:result>",
				 i);
	assert_non_null(strstr(s2s_script_read(s),
			       "<db:result from='a.example' to='d8.example' type='error'><error "
			       "type='cancel'><resource-constraint"));
	assert_int_equal(s2s_count(t->a->s2s), 2 + 8 + 1); /* one is ending */
}

/* Dialback without dialback: a certificate counts only where nothing else does. */
static void B22_certificate_instead_of_asking(void **state)
{
	struct two *t = *state;
	struct stream **s;
	char id[64];

	s = fresh(t, id);
	s2s_script_write(s, "<db:result from='b.example' to='a.example'>k</db:result>");
	assert_string_equal(s2s_script_read(s), "");
	assert_int_equal(t->a->n_dialled, 1); /* it is asked about all the same */
	t->a->in.auth = S2S_AUTH_CERTIFICATE;
	s = external_from_b(t);
	t->b->domains[1] = "c.example";
	s2s_script_write(s, "<db:result from='c.example' to='a.example'>k</db:result>");
	assert_non_null(strstr(s2s_script_read(s), "type='valid'"));
	s2s_script_write(s, "<db:result from='d.example' to='a.example'>k</db:result>");
	assert_non_null(strstr(s2s_script_read(s), "<not-authorized"));
	assert_int_equal(t->a->n_dialled, 1);
	s2s_script_write(s, "<message from='x@c.example' to='y@a.example'/>");
	assert_true(has(t->a, "<message"));
}

static void B22_authoritative(void **state)
{
	struct two *t = *state;
	struct stream **s = open_from_b(t, true);
	char key[DIALBACK_KEY_BYTES];

	s2s_script_read(s);
	dialback_key(slice_of(A), B, A, "some id", key);
	s2s_script_write(s,
			 "<db:verify from='b.example' to='a.example' id='some id'>\n %s\n"
			 "</db:verify>",
			 key);
	assert_string_equal(s2s_script_read(s), "<db:verify from='a.example' to='b.example' "
						"id='some id' type='valid'/>");
	s2s_script_write(s, "<db:verify from='b.example' to='a.example' id='other'>%s</db:verify>",
			 key);
	assert_non_null(strstr(s2s_script_read(s), "type='invalid'"));
	s2s_script_write(
		s, "<db:verify from='c.example' to='a.example' id='some id'>%s</db:verify>", key);
	assert_non_null(strstr(s2s_script_read(s), "type='invalid'"));
	s2s_script_write(s, "<db:verify from='b.example' to='a.example' id='some id'/>");
	assert_non_null(strstr(s2s_script_read(s), "type='invalid'"));
	s2s_script_write(
		s, "<db:verify from='b.example' to='z.example' id='some id'>%s</db:verify>", key);
	assert_non_null(strstr(s2s_script_read(s), "<item-not-found"));
	assert_false(s2s_script_is_closed(s));
	s2s_script_write(s, "<db:verify from='b.example' to='a.example'>%s</db:verify>", key);
	assert_non_null(strstr(s2s_script_read(s), "<improper-addressing"));
	assert_true(empty(t->a));
}

/* An old server: no version, no `to`; dialback only. */
static void old_server_comes(void **state)
{
	struct two *t = *state;
	struct stream **s = s2s_script_dial(t->b, t->a, false), **v;
	const char *text;
	char id[64];

	t->a->in.tls = t->a->out.tls = S2S_TLS_OFF;
	s2s_script_write(s, HEADER "id='ignored'>");
	text = s2s_script_read(s);
	assert_null(strstr(text, "version='1.0'>"));
	assert_null(strstr(text, "features"));
	read_id(text, id);
	v = &t->b->script[t->b->n_script % S2S_SCRIPT_STREAMS];
	s2s_script_write(s, "<db:result from='b.example' to='a.example'>k</db:result>");
	s2s_script_read(v);
	s2s_script_write(v, HEADER "id='v'>");
	assert_non_null(strstr(s2s_script_read(v), "<db:verify"));
	s2s_script_write(v, "<db:verify from='b.example' to='a.example' id='%s' type='valid'/>",
			 id);
	assert_non_null(strstr(s2s_script_read(s), "type='valid'"));
	s2s_script_write(s, "<message from='x@b.example' to='y@a.example'/>");
	assert_true(has(t->a, "<message"));
}

static void old_server_is_called(void **state)
{
	struct two *t = *state;
	struct stream **s = &t->b->script[0];
	char key[DIALBACK_KEY_BYTES];
	const char *text;

	t->a->out.tls = S2S_TLS_OPTIONAL;
	s2s_box_send(t->a, A, B, "hello");
	s2s_script_read(s);
	s2s_script_write(s, HEADER "id='77'>");
	text = s2s_script_read(s);
	dialback_key(slice_of(A), B, A, "77", key);
	assert_non_null(strstr(text, key));
	/* Answers about others are none. */
	s2s_script_write(s, "<db:result from='c.example' to='a.example' type='valid'/>"
			    "<db:result from='b.example' to='c.example' type='valid'/>"
			    "<db:verify from='b.example' to='a.example' id='77' type='valid'/>");
	assert_string_equal(s2s_script_read(s), "");
	assert_int_equal(n_traced(t, "xmpp.s2s.unsolicited"), 3);
	assert_int_equal(pair_of(t->a, A, B).info.n_queued, 1);
	s2s_script_write(s, "<db:result from='b.example' to='a.example' type='valid'/>");
	assert_non_null(strstr(s2s_script_read(s), "hello"));
	/* One way only: what comes back on it is not taken. */
	s2s_script_write(s, "<db:result from='c.example' to='a.example'>k</db:result>");
	assert_non_null(strstr(s2s_script_read(s), "<not-acceptable"));
	s2s_script_write(s, "<message from='x@b.example' to='y@a.example'/>");
	assert_non_null(strstr(s2s_script_read(s), "<not-authorized"));
	assert_true(empty(t->a));
}

static void B20_no_tls_is_offered(void **state)
{
	struct two *t = *state;

	for (int i = 0; i < 2; i++) {
		struct stream **s = &t->b->script[i];

		if (i == 0)
			s2s_box_send(t->a, A, B, "hello");
		s2s_script_read(s);
		s2s_script_write(
			s, i ? HEADER "id='1'>"
			     : HEADER "id='1' version='1.0'><stream:features><dialback "
				      "xmlns='urn:xmpp:features:dialback'/></stream:features>");
		assert_null(strstr(s2s_script_read(s), "db:"));
	}
	assert_true(has(t->a, "remote-server-timeout"));
	assert_int_equal(n_traced(t, "xmpp.s2s.tls"), 2);
	assert_string_equal(pair_of(t->a, A, B).error,
			    "TLS is required, and the other side offers none");
}

static void refused_by_the_other_side(void **state)
{
	struct two *t = *state;
	struct stream **s = &t->b->script[0];

	s2s_box_send(t->a, A, B, "hello");
	s2s_script_read(s);
	s2s_script_write(s, HEADER "id='1' version='1.0'><stream:error><host-unknown "
				   "xmlns='urn:ietf:params:xml:ns:xmpp-streams'/><text "
				   "xmlns='urn:ietf:params:xml:ns:xmpp-streams'>not here</text>"
				   "</stream:error></stream:stream>");
	s = &t->b->script[1];
	s2s_script_read(s);
	s2s_script_write(s, HEADER "id='1' version='1.0'><stream:error><host-unknown "
				   "xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
				   "</stream:stream>");
	assert_true(has(t->a, "remote-server-not-found"));
	assert_string_equal(pair_of(t->a, A, B).error, "the other side said: host-unknown");
}

/* EXTERNAL is refused: dialback on the same stream. */
static void B21_fall_back_to_dialback(void **state)
{
	struct two *t = *state;
	struct stream **s = &t->b->script[0];

	t->b->direct_tls = true;
	s2s_box_send(t->a, A, B, "hello");
	s2s_script_read(s);
	s2s_script_write(s, HEADER "id='1' version='1.0'><stream:features><mechanisms "
				   "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL"
				   "</mechanism></mechanisms></stream:features>");
	assert_string_equal(s2s_script_read(s), "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' "
						"mechanism='EXTERNAL'>=</auth>");
	s2s_script_write(s, "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/>"
			    "</failure>");
	assert_non_null(strstr(s2s_script_read(s), "<db:result"));
	s2s_script_write(s, "<db:result from='b.example' to='a.example' type='valid'/>");
	assert_non_null(strstr(s2s_script_read(s), "hello"));
}

/* The partner reads nothing: the queue fills, then refuses. */
static void slow_partner(void **state)
{
	struct two *t = *state;
	struct stream **s = external_from_b(t);
	char text[4001];
	int err = 0;

	(void)s;
	memset(text, 'x', 4000);
	text[4000] = '\0';
	t->a->out.tls = S2S_TLS_OFF;
	t->a->out.auth = S2S_AUTH_DIALBACK;
	s2s_box_send(t->a, A, B, "hello");
	s = &t->b->script[t->b->n_script % S2S_SCRIPT_STREAMS];
	s2s_world_settle(t->w);
	s = &t->b->script[(t->b->n_script - 1) % S2S_SCRIPT_STREAMS];
	s2s_script_read(s);
	s2s_script_write(s, HEADER "id='77'>");
	s2s_script_write(s, "<db:result from='b.example' to='a.example' type='valid'/>");
	for (int i = 0; i < 400 && err == 0; i++) {
		err = s2s_box_send(t->a, A, B, text);
		s2s_world_settle(t->w);
	}
	assert_int_equal(err, -ENOBUFS);
	assert_true(pair_of(t->a, A, B).info.n_queued > 1);
	for (int i = 0; i < 100; i++)
		s2s_script_read(s);
	assert_int_equal(pair_of(t->a, A, B).info.n_queued, 0);
	assert_true(pair_of(t->a, A, B).info.n_out > 100);
}

/* Who takes the stanzas is full. */
static void paused_pair(void **state)
{
	struct two *t = *state;
	struct stream **s = external_from_b(t);

	s2s_set_paused(t->a->s2s, A, B, true);
	s2s_script_write(s, "<message from='x@b.example' to='y@a.example'/>");
	assert_true(empty(t->a));
	s2s_set_paused(t->a->s2s, A, B, false);
	s2s_world_settle(t->w);
	assert_true(has(t->a, "<message"));
	/* Remembered for the next stream. */
	s2s_set_paused(t->a->s2s, A, B, true);
	buf_reset(&t->a->got);
	s = external_from_b(t);
	s2s_script_write(s, "<message from='x@b.example' to='y@a.example'/>");
	assert_true(empty(t->a));
	s2s_set_paused(t->a->s2s, A, B, false);
	s2s_world_settle(t->w);
	assert_true(has(t->a, "<message"));
}

/* One pair of a stream is withdrawn while the stream waits for that pair's sake: what waited is
 * read then, is not allowed any more, and ends the stream with all its pairs. */
static void withdrawn_while_paused(void **state)
{
	struct two *t = *state;
	struct stream **s, **v;
	char id[64];

	t->b->shown = CERT_NONE;
	t->b->domains[1] = "c.example";
	s = fresh(t, id);
	v = asked(t, s, B, A, id);
	s2s_script_write(v, "<db:verify from='b.example' to='a.example' id='%s' type='valid'/>",
			 id);
	v = asked(t, s, "c.example", A, id);
	s2s_script_write(v, "<db:verify from='c.example' to='a.example' id='%s' type='valid'/>",
			 id);
	s2s_script_read(s);
	s2s_set_paused(t->a->s2s, A, B, true);
	s2s_script_write(s, "<message from='x@b.example' to='y@a.example'/>");
	t->a->denied = B;
	s2s_recheck(t->a->s2s);
	s2s_world_settle(t->w);
	assert_non_null(strstr(s2s_script_read(s), "<invalid-from"));
	assert_true(s2s_script_is_closed(s));
	assert_true(empty(t->a));
	assert_false(pair_of(t->a, A, "c.example").info.in);
}

/* One source that makes up domains: over several streams it gets no more than its part. */
static void bound_of_one_source(void **state)
{
	struct two *t = *state;
	struct stream **s, **v;
	char id[64];

	t->b->shown = CERT_NONE;
	t->b->domains[1] = "c.example";
	t->a->conf.max_pairs_source = 2;
	s2s_configure(t->a->s2s, &t->a->conf);
	s = fresh(t, id);
	v = asked(t, s, B, A, id);
	s2s_script_write(v, "<db:verify from='b.example' to='a.example' id='%s' type='valid'/>",
			 id);
	s = fresh(t, id);
	v = asked(t, s, "c.example", A, id);
	s2s_script_write(v, "<db:verify from='c.example' to='a.example' id='%s' type='valid'/>",
			 id);
	assert_non_null(strstr(s2s_script_read(s), "type='valid'"));
	s2s_script_write(s, "<db:result from='d.example' to='a.example'>k</db:result>");
	assert_non_null(strstr(s2s_script_read(s), "<resource-constraint"));
	/* With a certificate neither. */
	t->b->shown = CERT_GOOD;
	s = open_from_b(t, true);
	s2s_script_read(s);
	s2s_script_write(s, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' "
			    "mechanism='EXTERNAL'>=</auth>");
	assert_non_null(strstr(s2s_script_read(s), "<resource-constraint"));
	assert_int_equal(n_traced(t, "xmpp.s2s.limit"), 2);
	/* What it has works on. */
	t->a->conf.max_pairs_source = 0;
	s2s_configure(t->a->s2s, &t->a->conf);
	external_from_b(t);
}

static void bound_of_questions(void **state)
{
	struct two *t = *state;
	struct stream **s;
	char id[64];

	t->b->shown = CERT_NONE;
	t->w->dns_is_slow = true;
	t->a->conf.max_verify_source = 10;
	s2s_configure(t->a->s2s, &t->a->conf);
	for (int round = 0; round < 2; round++) {
		s = fresh(t, id);
		for (int i = 0; i < 6; i++)
			s2s_script_write(
				s, "<db:result from='d%d.example' to='a.example'>k</db:result>", i);
		if (round == 0)
			assert_string_equal(s2s_script_read(s), "");
	}
	assert_non_null(strstr(s2s_script_read(s), "to='d4.example' type='error'"));
	assert_int_equal(s2s_count(t->a->s2s), 2 + 10);
	t->a->conf.max_verify_source = 0;
	t->a->conf.max_verify = 11;
	s2s_configure(t->a->s2s, &t->a->conf);
	s2s_script_write(s, "<db:result from='d4.example' to='a.example'>k</db:result>");
	assert_string_equal(s2s_script_read(s), "");
	s2s_script_write(s, "<db:result from='d5.example' to='a.example'>k</db:result>");
	assert_non_null(strstr(s2s_script_read(s), "<resource-constraint"));
	/* It sends all the same. */
	assert_int_equal(s2s_box_send(t->a, A, B, "hello"), 0);
	/* Nobody answers: in time there is room again. */
	s2s_world_pass(t->w, 100000);
	assert_int_equal(s2s_count(t->a->s2s), 0);
}

/* Who opened it does not end it. */
static void idle_incoming_stream_closes(void **state)
{
	struct two *t = *state;
	struct stream **s = external_from_b(t);

	s2s_world_pass(t->w, 1000000);
	s2s_script_write(s, "<message from='x@b.example' to='y@a.example'/>");
	s2s_script_read(s);
	for (int i = 0; i < 11; i++) {
		s2s_world_pass(t->w, 109000);
		s2s_script_write(s, " ");
	}
	assert_null(strstr(s2s_script_read(s), "</stream:stream>"));
	s2s_world_pass(t->w, 1000);
	assert_non_null(strstr(s2s_script_read(s), "</stream:stream>"));
	/* What crosses is still taken. */
	buf_reset(&t->a->got);
	s2s_script_write(s, "<message from='x@b.example' to='y@a.example'/></stream:stream>");
	assert_true(has(t->a, "<message"));
	assert_int_equal(s2s_count(t->a->s2s), 0);
}

/* --- anything, in any order --- */

static uint32_t dice_seed;

static unsigned dice(unsigned n)
{
	dice_seed = dice_seed * 1664525u + 1013904223u;
	return (dice_seed >> 8) % n;
}

static void one_event(struct two *t)
{
	static const char *const a_names[] = { A, "rooms.a.example", "gone.example" };
	static const char *const b_names[] = { B, "rooms.b.example", "gone.example" };
	const bool of_a = dice(2);
	struct s2s_box *box = of_a ? t->a : t->b;
	const char *local = (of_a ? a_names : b_names)[dice(10) ? dice(2) : 2];
	const char *remote = (of_a ? b_names : a_names)[dice(10) ? dice(2) : 2];
	unsigned n = dice(10);

	switch (dice(10)) {
	case 0:
	case 1:
	case 2:
		s2s_box_send(box, local, remote, "hello");
		break;
	case 3:
		s2s_set_paused(box->s2s, local, remote, dice(3) == 0);
		break;
	case 4:
		box->denied = dice(2) ? remote : NULL;
		s2s_recheck(box->s2s);
		break;
	case 5:
		box->in.auth = (enum s2s_auth)dice(3);
		box->out.tls = dice(4) ? S2S_TLS_REQUIRED : S2S_TLS_OFF;
		box->cert = dice(3) ? CERT_GOOD : CERT_NONE;
		if (dice(2))
			s2s_recheck(box->s2s);
		break;
	case 6:
		LIST_FOREACH (it, conn_list(t->w->env.conns, CONN_XMPP_S2S)) {
			struct conn *c = CONTAINER_OF(it, struct conn, node);

			if (n-- > 0)
				continue;
			c->close(c, "closed by hand");
			break;
		}
		break;
	case 7:
		box->is_down = dice(3) == 0;
		t->w->dns_is_slow = dice(5) == 0;
		box->conf.bidi = dice(2);
		box->conf.max_pairs_in = 1 + dice(4);
		s2s_configure(box->s2s, &box->conf);
		break;
	default:
		s2s_world_pass(t->w, (int64_t)dice(3) * dice(700000));
	}
	if (dice(2))
		s2s_world_settle(t->w);
}

static void heal(struct s2s_box *box)
{
	box->denied = NULL;
	box->in = box->out = (struct s2s_policy){ .allowed = true };
	box->cert = CERT_GOOD;
	box->is_down = false;
	box->conf.max_pairs_in = 100;
	s2s_configure(box->s2s, &box->conf);
	s2s_recheck(box->s2s);
}

static void unpause(struct s2s_box *box, const char *local, const char *remote)
{
	char other[64];

	snprintf(other, sizeof(other), "rooms.%s", local);
	s2s_set_paused(box->s2s, local, remote, false);
	s2s_set_paused(box->s2s, other, remote, false);
	s2s_set_paused(box->s2s, "gone.example", remote, false);
}

/* Nothing breaks, and in the end all is well again. */
static void any_order(void **state)
{
	for (uint32_t seed = 1; seed <= 60; seed++) {
		struct two *t;
		void *s;

		dice_seed = seed;
		set_up(&s);
		t = s;
		t->a->domains[1] = "rooms." A;
		t->b->domains[1] = "rooms." B;
		for (int i = 0; i < 150; i++) {
			one_event(t);
			buf_reset(&t->a->got);
			buf_reset(&t->b->got);
		}
		t->w->dns_is_slow = false;
		heal(t->a);
		heal(t->b);
		for (int i = 0; i < 3; i++) {
			char name[64];

			snprintf(name, sizeof(name), "%s%s", i ? "rooms." : "",
				 i < 2 ? B : "gone.example");
			unpause(t->a, A, i == 2 ? "gone.example" : name);
			snprintf(name, sizeof(name), "%s%s", i ? "rooms." : "",
				 i < 2 ? A : "gone.example");
			unpause(t->b, B, i == 2 ? "gone.example" : name);
		}
		for (int i = 0; i < 4; i++)
			s2s_world_pass(t->w, 400000);
		buf_reset(&t->a->got);
		buf_reset(&t->b->got);
		assert_int_equal(s2s_box_send(t->a, A, B, "at last"), 0);
		assert_int_equal(s2s_box_send(t->b, B, A, "at last"), 0);
		s2s_world_settle(t->w);
		if (!has(t->a, "at last<") || !has(t->b, "at last<"))
			fail_msg("seed %u", seed);
		tear_down(&s);
	}
}

static void stanza_sizes(void **state)
{
	struct two *t = *state;
	struct stream **s = open_from_b(t, true);

	s2s_script_read(s);
	s2s_script_write(s, "<message from='x@b.example' to='y@a.example'><body>%011000d", 1);
	assert_non_null(strstr(s2s_script_read(s), "<policy-violation"));
	s = external_from_b(t);
	s2s_script_write(s,
			 "<message from='x@b.example' to='y@a.example'><body>%0200000d</body>"
			 "</message>",
			 1);
	assert_true(has(t->a, "<message"));
	s2s_script_write(s, "<message from='x@b.example' to='y@a.example'><body>%0300000d", 1);
	assert_non_null(strstr(s2s_script_read(s), "<policy-violation"));
}

static void B09_no_smuggling(void **state)
{
	static const char *const cases[] = {
		"<message from='x@b.example' to='y@a.example'><stream:stream/></message>",
		"<message from='x@b.example' to='y@a.example'></stream:stream></message>",
		"<!DOCTYPE x [<!ENTITY y 'z'>]>",
		"<message from='x@b.example' to='y@a.example'>&unknown;</message>",
		"<message from='x@b.example' to='y@a.example'><!-- --></message>",
	};
	struct two *t = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct stream **s = external_from_b(t);

		s2s_script_write(s, "%s", cases[i]);
		assert_non_null(strstr(s2s_script_read(s), "<stream:error"));
		assert_true(s2s_script_is_closed(s));
	}
	assert_true(empty(t->a));
}

struct seen {
	unsigned n;
	bool good;
};

static void see(const struct xmpp_listing *l, void *arg)
{
	struct seen *s = arg;

	s->n++;
	s->good = strcmp(l->domain, A) == 0 && strcmp(l->remote, B) == 0 &&
		  strcmp(l->auth, "external") == 0 && strcmp(l->direction, "in") == 0 &&
		  strcmp(l->tls, "TLSv1.3 TEST") == 0 && l->cert_expires_s == 2000000000 &&
		  l->stats->n_in > 0 && l->conn->rx_bytes > 0;
}

static void B28_listing(void **state)
{
	struct two *t = *state;
	struct seen seen = { 0 };

	external_from_b(t);
	s2s_each(t->a->s2s, see, &seen);
	assert_int_equal(seen.n, 1);
	assert_true(seen.good);
	assert_int_equal(pair_of(t->a, A, B).info.cert_expires_s, 2000000000);
}

/* --- memory --- */

/* Every allocation of a conversation fails once. What was sent arrives, comes back, or is lost with
 * a stream that ended: nothing else, and nothing twice. */
static void sweep(enum s2s_cert cert)
{
	bool hit = true;

	for (unsigned n = 1; hit; n++) {
		struct two *t;
		void *s;

		set_up(&s);
		t = s;
		certificates(t, cert, cert);
		use_bidi(t);
		alloc_fail_at(n);
		s2s_box_send(t->a, A, B, "hello");
		s2s_world_settle(t->w);
		s2s_box_send(t->b, B, A, "back");
		s2s_world_pass(t->w, 61000);
		s2s_box_send(t->a, A, B, "last");
		s2s_world_settle(t->w);
		hit = alloc_fail_hit();
		alloc_fail_at(0);
		if (!hit)
			assert_true(has(t->b, "hello") && has(t->a, "back") && has(t->b, "last"));
		assert_true(n < 5000);
		tear_down(&s);
	}
}

static void without_memory(void **state)
{
	sweep(CERT_GOOD);
}

static void without_memory_dialback(void **state)
{
	sweep(CERT_NONE);
}

int main(void)
{
#define WITH(test)	  cmocka_unit_test_setup_teardown(test, set_up, tear_down)
#define WITH_SCRIPT(test) cmocka_unit_test_setup_teardown(test, set_up_script, tear_down)
	const struct CMUnitTest tests[] = {
		WITH(B21_external),
		WITH(direct_tls),
		WITH(B22_dialback),
		cmocka_unit_test(B20_B21_policy_matrix),
		cmocka_unit_test(B21_certificate_of_the_server),
		WITH(B20_one_side_wants_no_tls),
		WITH(B22_wrong_key),
		WITH(B22_key_of_another_box),
		WITH(B22_no_secret),
		WITH(B27_bidi_external),
		WITH(B27_bidi_dialback),
		WITH(B27_bidi_simultaneous),
		WITH(B27_bidi_not_for_who_must_show_more),
		WITH(B27_bidi_not_into_less),
		WITH(B24_no_such_domain),
		WITH(back_off),
		WITH_SCRIPT(dies_while_queued),
		WITH_SCRIPT(hangs),
		WITH(dns_hangs),
		WITH(queue_is_bounded),
		WITH(what_may_be_sent),
		WITH(idle_stream_closes),
		WITH(reconnects),
		WITH(newer_stream_leaves_the_older),
		WITH(recheck_ends_what_is_not_allowed),
		WITH(recheck_wants_more),
		WITH(drain_and_free),
		WITH_SCRIPT(limit_of_streams),
		WITH_SCRIPT(limit_of_streams_of_one_address),
		WITH_SCRIPT(in_features),
		WITH_SCRIPT(B20_plain_is_refused),
		WITH_SCRIPT(host_unknown),
		WITH_SCRIPT(B26_denied),
		WITH_SCRIPT(B01_injected_behind_starttls),
		WITH_SCRIPT(injected_behind_proceed),
		WITH_SCRIPT(B21_external_bad),
		WITH_SCRIPT(B21_other_domain_after_external),
		WITH_SCRIPT(B23_from_of_every_stanza),
		WITH_SCRIPT(stanzas_before_authentication),
		WITH_SCRIPT(B22_answers_must_fit),
		WITH_SCRIPT(B22_dialback_errors),
		WITH_SCRIPT(B22_nobody_to_ask),
		WITH_SCRIPT(B22_asker_is_gone),
		WITH_SCRIPT(B22_several_pairs_on_one_stream),
		WITH_SCRIPT(B22_answer_before_the_question),
		WITH_SCRIPT(pair_that_is_being_asked_about),
		WITH_SCRIPT(proves_again),
		WITH_SCRIPT(late_answer),
		WITH_SCRIPT(pair_crosswise),
		WITH_SCRIPT(bound_of_pairs),
		WITH_SCRIPT(B22_certificate_instead_of_asking),
		WITH_SCRIPT(B22_authoritative),
		WITH_SCRIPT(old_server_comes),
		WITH_SCRIPT(old_server_is_called),
		WITH_SCRIPT(B20_no_tls_is_offered),
		WITH_SCRIPT(refused_by_the_other_side),
		WITH_SCRIPT(B21_fall_back_to_dialback),
		WITH_SCRIPT(slow_partner),
		WITH_SCRIPT(paused_pair),
		cmocka_unit_test(any_order),
		WITH_SCRIPT(withdrawn_while_paused),
		WITH_SCRIPT(idle_incoming_stream_closes),
		WITH_SCRIPT(bound_of_one_source),
		WITH_SCRIPT(bound_of_questions),
		WITH_SCRIPT(stanza_sizes),
		WITH_SCRIPT(B09_no_smuggling),
		WITH_SCRIPT(B28_listing),
		cmocka_unit_test(without_memory),
		cmocka_unit_test(without_memory_dialback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
