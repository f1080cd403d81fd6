/*
 * Whose REGISTER may pass (sip/gate.c), on a fake clock: real transactions over a fake network, a
 * real table of registrations, a C whose word the test gives. dispatch.c and register.c are not
 * linked: what the gate calls of them is here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "base/base64.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/system_conf.h"
#include "core/trace.h"
#include "sip/sip.h"
#include "support/alloc_fail.h"

enum { MAX_SENT = 64, MAX_SESSIONS = 4 };

#define ALICE_ID "0123456789abcdef0123456789abcdef"
#define BOB_ID	 "fedcba9876543210fedcba9876543210"
#define PASS_MS	 600000

struct box {
	struct env env;
	FILE *sink;
	struct sip s;
	struct side from; /* of the next request */
	char *sent[MAX_SENT];
	size_t n_sent;
	unsigned n_branches;
	/* the service "signin" */
	struct signin_session sessions[MAX_SESSIONS];
	size_t n_sessions;
	uint64_t check; /* C is asked, 0: not */
	signin_done done;
	void *done_arg;
	bool no_check; /* check_digest finds no memory */
	bool digest_good;
	char asked_domain[64], asked_method[16];
	struct addr asked_from;
	unsigned n_checks, n_cancels;
	/* sip_register_admitted() */
	unsigned n_admitted;
	bool has_session;
	char session[CONN_SESSION_BYTES];
};

/* --- what dispatch.c and register.c have in the daemon --- */

void sip_refuse(struct sip *s, struct target_refusal *r, int status, const char *phrase,
		const char *code, const char *decided_by, const struct side *from,
		const char *session, const char *why)
{
	*r = (struct target_refusal){ .status = status };
	trace_add(s->env->trace, code, decided_by, &from->remote, session, "%d: %s", status, why);
}

void sip_link_session(const struct sip_msg *m, const struct side *from,
		      char out[CONN_SESSION_BYTES])
{
	out[0] = '\0';
	if (from->role == FLOW_TRAVERSAL_CLIENT)
		slice_copy(out, CONN_SESSION_BYTES, sip_msg_hdr(m, SIP_HDR_TURNPIKE_SESSION));
}

void sip_register_admitted(struct sip *s, struct txn_server *t, struct sip_msg *m,
			   const struct side *from, const char *session)
{
	struct box *b = CONTAINER_OF(s, struct box, s);
	struct registration *r;
	struct buf aor;

	b->n_admitted++;
	b->has_session = session;
	slice_copy(b->session, sizeof(b->session), slice_of(session));
	buf_init(&aor, CONN_USER_BYTES - 1);
	if (sip_uri_aor(m->to.uri, &aor)) {
		r = registration_put(s->regs, buf_slice(&aor), m->contact, NULL, from, "registrar",
				     session ? session : "", 60);
		if (r)
			r->confirmed = true;
	}
	buf_fini(&aor);
	txn_server_reply(t, 200, NULL, NULL);
}

static void hold_flow(void *arg, uint64_t flow, bool hold)
{
}

static const struct registrations_ops regs_ops = { hold_flow };

/* --- the network --- */

static int net_send(void *arg, uint64_t flow, struct slice m)
{
	struct box *b = arg;

	char *text = b->n_sent < MAX_SENT ? strndup(m.p, m.n) : NULL;

	if (text)
		b->sent[b->n_sent++] = text;
	return 0;
}

static bool net_reliable(void *arg, uint64_t flow)
{
	return true;
}

static unsigned net_share(void *arg, uint64_t flow)
{
	return 100;
}

static void on_request(void *arg, struct txn_server *t, struct sip_msg *m)
{
	struct box *b = arg;

	sip_gate(&b->s, t, m, &b->from);
}

static void on_ack(void *arg, uint64_t flow, struct sip_msg *m)
{
}

static void on_cancelled(void *arg, struct txn_server *t, struct sip_msg *m)
{
}

static const struct txn_ops ops = { net_send,	net_reliable, net_share,
				    on_request, on_ack,	      on_cancelled };

/* --- the service "signin" --- */

static const struct signin_domain domains[] = {
	{ .name = "example.com", .web = true, .sip = true, .sip_signin = true, .peer = 1 },
	{ .name = "open.example", .web = true, .sip = true, .peer = 1 },
};

static const struct signin_domain *find_domain(void *self, struct slice name)
{
	for (size_t i = 0; i < sizeof(domains) / sizeof(domains[0]); i++)
		if (slice_caseeq(name, slice_of(domains[i].name)))
			return &domains[i];
	return NULL;
}

static const struct signin_session *session_by_id(void *self, struct slice id)
{
	struct box *b = self;

	for (size_t i = 0; i < b->n_sessions; i++)
		if (slice_eq(id, slice_of(b->sessions[i].id)))
			return &b->sessions[i];
	return NULL;
}

static const struct signin_session *session_of_user(void *self, struct slice domain,
						    struct slice user, const struct addr *from)
{
	struct box *b = self;
	const struct signin_session *any = NULL;

	for (size_t i = 0; i < b->n_sessions; i++) {
		const struct signin_session *s = &b->sessions[i];

		if (!slice_eq(domain, slice_of(s->domain)) || !slice_eq(user, slice_of(s->user)))
			continue;
		if (addr_ip_eq(&s->from, from))
			return s;
		any = s;
	}
	return any;
}

static void cancel_check(void *self, uint64_t id)
{
	struct box *b = self;

	assert_int_equal(id, b->check);
	b->n_cancels++;
	b->check = 0;
}

static uint64_t check_digest(void *self, struct slice domain, const struct digest_response *r,
			     struct slice method, const struct addr *from, signin_done done,
			     void *arg)
{
	struct box *b = self;

	b->n_checks++;
	if (b->no_check)
		return 0;
	slice_copy(b->asked_domain, sizeof(b->asked_domain), domain);
	slice_copy(b->asked_method, sizeof(b->asked_method), method);
	b->asked_from = *from;
	b->digest_good = digest_response_check(r, SLICE("secret"), method);
	b->done = done;
	b->done_arg = arg;
	b->check = b->n_checks;
	return b->check;
}

static const struct signin_ops signin = {
	.domain = find_domain,
	.by_id = session_by_id,
	.of_user = session_of_user,
	.cancel = cancel_check,
	.check_digest = check_digest,
};

static const struct signin_session *sign_in(struct box *b, const char *id, const char *user,
					    const char *domain, const char *ip)
{
	struct signin_session *s = &b->sessions[b->n_sessions++];

	assert_true(b->n_sessions <= MAX_SESSIONS);
	memset(s, 0, sizeof(*s));
	slice_copy(s->id, sizeof(s->id), slice_of(id));
	slice_copy(s->user, sizeof(s->user), slice_of(user));
	slice_copy(s->domain, sizeof(s->domain), slice_of(domain));
	assert_true(addr_parse_ip(slice_of(ip), 0, &s->from));
	return s;
}

/* C answers what it was asked. */
static void core_says(struct box *b, enum signin_status status, const struct signin_session *s)
{
	struct signin_result r = { .status = status, .session = s, .why = "said the test" };

	assert_true(b->check != 0);
	b->check = 0;
	b->done(b->done_arg, &r);
}

/* --- the box --- */

static const struct conf_section *const schema[] = { &system_conf_section, &tls_conf_section,
						     &sip_conf_section };

static int64_t box_clock(void *arg)
{
	return loop_now_ms(arg);
}

static void configure(struct box *b, const char *sip_rows)
{
	struct buf text, err;
	const struct conf_snapshot *old = b->s.snap;

	buf_init(&text, 4096);
	buf_init(&err, 4096);
	buf_printf(&text,
		   "[system]\nrole = %s\nname = edge1.example.com\n[sip]\ntls-port = 0\n%s\n",
		   b->env.role == CONF_ROLE_E ? "E" : "C", sip_rows);
	b->s.snap = conf_parse(b->env.conf, "test.ini", buf_slice(&text), b->env.role, &err);
	if (!b->s.snap)
		fail_msg("%s", err.p);
	b->s.conf = conf_get(b->s.snap, "sip", NULL);
	if (old)
		conf_unref(old);
	buf_fini(&text);
	buf_fini(&err);
}

static void set_from(struct box *b, uint64_t flow, const char *ip)
{
	b->from = (struct side){ .flow = flow,
				 .role = b->env.role == CONF_ROLE_E ? FLOW_OUTSIDE
								    : FLOW_TRAVERSAL_CLIENT,
				 .transport = CONN_TLS,
				 .reliable = true,
				 .link = b->env.role == CONF_ROLE_E ? -1 : 0 };
	assert_true(addr_parse_ip(slice_of(ip), 40000, &b->from.remote));
}

static const struct txn_timers timers = { 500, 4000, 5000, 100, 264000 };

static struct box *box_new(unsigned role)
{
	static const uint8_t seed[16] = { 1 };
	struct box *b = calloc(1, sizeof(*b));

	b->env.role = role;
	b->env.loop = loop_new();
	b->sink = fopen("/dev/null", "w");
	b->env.log = log_new(b->sink, LOG_LEVEL_ERROR);
	b->env.trace = trace_new(64, box_clock, b->env.loop);
	b->env.conns = conn_table_new(1000, 16, box_clock, b->env.loop);
	b->env.conf = conf_store_new(schema, sizeof(schema) / sizeof(schema[0]));
	b->s.env = &b->env;
	configure(b, "");
	b->s.txns = txn_layer_new(loop_timers(b->env.loop), &timers, seed, &ops, b);
	b->s.regs = registrations_new(loop_timers(b->env.loop), b->env.conns, seed, &regs_ops, b);
	b->s.signin = &signin;
	b->s.signin_self = b;
	memset(b->s.token_key, 7, sizeof(b->s.token_key));
	assert_int_equal(sip_gate_init(&b->s), 0);
	set_from(b, 1, "198.51.100.7");
	return b;
}

static void forget(struct box *b)
{
	while (b->n_sent)
		free(b->sent[--b->n_sent]);
}

/* As mod_sip.c: the gate goes first. */
static void box_free(struct box *b)
{
	sip_gate_free(&b->s);
	assert_int_equal(b->check, 0);
	registrations_free(b->s.regs);
	txn_layer_free(b->s.txns);
	forget(b);
	conf_unref(b->s.snap);
	conf_store_free(b->env.conf);
	conn_table_free(b->env.conns);
	trace_free(b->env.trace);
	log_free(b->env.log);
	fclose(b->sink);
	loop_free(b->env.loop);
	free(b);
}

static int set_up_e(void **state)
{
	*state = box_new(CONF_ROLE_E);
	return 0;
}

static int set_up_c(void **state)
{
	*state = box_new(CONF_ROLE_C);
	return 0;
}

static int tear_down(void **state)
{
	box_free(*state);
	return 0;
}

/* Turns the clock in steps, so that timers fire at their own times. The loop itself never turns. */
static void pass(struct box *b, int64_t ms)
{
	struct timerq *q = loop_timers(b->env.loop);
	int64_t end = q->now_ms + ms, next;

	while ((next = timerq_next(q)) >= 0 && q->now_ms + next <= end)
		timerq_run(q, q->now_ms + next);
	timerq_run(q, end);
}

#define ALICE "alice@example.com"

/* A REGISTER from b->from; headers: whole lines. */
static void registers(struct box *b, const char *aor, const char *headers)
{
	struct sip_msg *m = NULL;
	struct sip_reject why;
	struct buf text;

	b->n_branches++;
	buf_init(&text, 16384);
	buf_printf(&text,
		   "REGISTER sip:example.com SIP/2.0\r\n"
		   "Via: SIP/2.0/TLS 192.0.2.9:5061;branch=z9hG4bKg%u\r\n"
		   "Max-Forwards: 70\r\nFrom: <sip:%s>;tag=f\r\nTo: <sip:%s>\r\n"
		   "Call-ID: r%u\r\nCSeq: 1 REGISTER\r\nContact: <sip:phone@192.0.2.9:5061>\r\n"
		   "%sContent-Length: 0\r\n\r\n",
		   b->n_branches, aor, aor, b->n_branches, headers);
	if (sip_msg_parse(buf_slice(&text), true, &m, &why) == 0)
		txn_layer_input(b->s.txns, b->from.flow, &b->from.remote, m);
	sip_msg_unref(m);
	buf_fini(&text);
}

/* Status of the newest answer; 0: none since the last question. */
static int answer(struct box *b)
{
	static char last[8192];
	int status = 0;

	if (b->n_sent > 0) {
		slice_copy(last, sizeof(last), slice_of(b->sent[b->n_sent - 1]));
		status = atoi(last + strlen("SIP/2.0 "));
	}
	forget(b);
	pass(b, 0); /* transactions on reliable flows are over */
	return status;
}

#define assert_answer(b, status) assert_int_equal(answer(b), status)

/* The i-th challenge of the newest answer. Slices into it. */
static bool find_challenge(struct box *b, unsigned i, struct digest_challenge *out)
{
	static const char name[] = "Proxy-Authenticate: ";
	const char *at = b->n_sent ? b->sent[b->n_sent - 1] : "";

	for (unsigned k = 0; (at = strstr(at, name)); k++) {
		struct slice line;

		at += strlen(name);
		line = slice_of(at);
		line.n = strcspn(at, "\r");
		if (k == i)
			return digest_challenge_parse(line, out);
	}
	return false;
}

/* Credentials for a challenge as a header line, to be freed; NULL: without memory. */
static char *credentials(const struct digest_challenge *c, const char *user, const char *uri)
{
	struct buf b;

	buf_init(&b, 4096);
	buf_add_str(&b, "Proxy-Authorization: ");
	digest_response_print(&b, c, slice_of(user), SLICE("secret"), SLICE("REGISTER"),
			      slice_of(uri), SLICE("0a4f113b"), 1);
	buf_add_str(&b, "\r\n");
	return buf_take(&b);
}

/* Asks, is challenged, answers as `user` for `uri`. */
static void registers_with_digest(struct box *b, const char *aor, const char *user, const char *uri)
{
	struct digest_challenge c;
	char *line = NULL;

	registers(b, aor, "");
	if (find_challenge(b, 0, &c))
		line = credentials(&c, user, uri);
	answer(b);
	if (line)
		registers(b, aor, line);
	free(line);
}

#define URI "sip:example.com"

/* Signs alice in and lets her register; the flow then has a pass. */
static void alice_registers(struct box *b)
{
	if (b->n_sessions == 0)
		sign_in(b, ALICE_ID, "alice", "example.com", "198.51.100.7");
	registers_with_digest(b, ALICE, "alice", URI);
	assert_true(b->digest_good);
	core_says(b, SIGNIN_OK, &b->sessions[0]);
	assert_answer(b, 200);
}

static void nonce_of(struct box *b, int64_t age_s, uint8_t key0, uint64_t flow, struct buf *out)
{
	struct slice bound = { (const char *)&flow, sizeof(flow) };
	uint8_t key[32], random[8] = { 1 };

	memcpy(key, b->s.token_key, sizeof(key));
	key[0] = key0;
	digest_nonce_make(out, key, (int64_t)time(NULL) - age_s, random, bound);
}

/* Registers with a nonce that the gate did not make just now. */
static void registers_with_nonce(struct box *b, struct slice nonce)
{
	struct digest_challenge c = { .realm = SLICE("edge1.example.com"),
				      .nonce = nonce,
				      .algorithm = DIGEST_MD5,
				      .qop_auth = true };
	char *line = credentials(&c, "alice", URI);

	registers(b, ALICE, line);
	free(line);
}

/* --- E, without the demand --- */

static void without_the_demand_everybody_passes(void **state)
{
	struct box *b = *state;

	registers(b, "alice@open.example", "");
	assert_answer(b, 200);
	assert_false(b->has_session);
	registers(b, "alice@unknown.example", "");
	assert_answer(b, 200);
	assert_false(b->has_session);
	b->s.signin = NULL;
	registers(b, ALICE, "");
	assert_answer(b, 200);
	assert_int_equal(b->n_admitted, 3);
	assert_int_equal(b->n_checks, 0);
}

static void session_comes_from_the_same_address_only(void **state)
{
	struct box *b = *state;
	struct registration *r;

	sign_in(b, ALICE_ID, "alice", "open.example", "198.51.100.7");
	registers(b, "alice@open.example", "");
	assert_answer(b, 200);
	assert_string_equal(b->session, ALICE_ID);
	r = registration_on_flow(b->s.regs, 1, SLICE("alice@open.example"));
	assert_string_equal(r->conn.session, ALICE_ID);
	assert_string_equal(r->conn.user, "alice@open.example");
	set_from(b, 2, "198.51.100.8");
	registers(b, "alice@open.example", "");
	assert_answer(b, 200);
	assert_false(b->has_session);
	set_from(b, 1, "198.51.100.7");
	registers(b, "bob@open.example", "");
	assert_answer(b, 200);
	assert_false(b->has_session);
}

/* --- E: the question --- */

static void md5_alone_is_asked_unless_written_otherwise(void **state)
{
	struct box *b = *state;
	struct digest_challenge c;

	registers(b, ALICE, "");
	assert_true(find_challenge(b, 0, &c));
	assert_int_equal(c.algorithm, DIGEST_MD5);
	assert_true(c.qop_auth);
	assert_false(c.stale);
	assert_true(slice_eq(c.realm, SLICE("edge1.example.com")));
	assert_false(find_challenge(b, 1, &c));
	assert_answer(b, 407);
	assert_int_equal(b->n_admitted, 0);
}

/* RFC 8760 2.3 */
static void both_are_asked_the_stronger_first(void **state)
{
	struct box *b = *state;
	struct digest_challenge c, second;

	configure(b, "signin-digest = both");
	registers(b, ALICE, "");
	assert_true(find_challenge(b, 0, &c));
	assert_true(find_challenge(b, 1, &second));
	assert_int_equal(c.algorithm, DIGEST_SHA256);
	assert_int_equal(second.algorithm, DIGEST_MD5);
	assert_true(slice_eq(c.nonce, second.nonce));
	assert_answer(b, 407);
	registers_with_digest(b, ALICE, "alice", URI);
	assert_true(b->digest_good);
	core_says(b, SIGNIN_OK, sign_in(b, ALICE_ID, "alice", "example.com", "198.51.100.7"));
	assert_answer(b, 200);
}

/* Who asks for SHA-256 alone does not take MD5 either: an attacker who has the weak one gains
 * nothing. */
static void algorithm_that_was_not_asked_is_not_taken(void **state)
{
	struct box *b = *state;
	struct digest_challenge c;
	char *line;

	configure(b, "signin-digest = sha-256");
	registers(b, ALICE, "");
	assert_true(find_challenge(b, 0, &c));
	assert_int_equal(c.algorithm, DIGEST_SHA256);
	assert_false(find_challenge(b, 1, &c));
	assert_true(find_challenge(b, 0, &c));
	c.algorithm = DIGEST_MD5;
	line = credentials(&c, "alice", URI);
	answer(b);
	registers(b, ALICE, line);
	free(line);
	assert_int_equal(b->n_checks, 0);
	assert_answer(b, 407);
	registers_with_digest(b, ALICE, "alice", URI);
	assert_int_equal(b->n_checks, 1);
	assert_true(b->digest_good);
	core_says(b, SIGNIN_DENIED, NULL);
	assert_answer(b, 403);
	configure(b, "signin-digest = md5");
	registers(b, ALICE, "");
	assert_true(find_challenge(b, 0, &c));
	c.algorithm = DIGEST_SHA256;
	line = credentials(&c, "alice", URI);
	answer(b);
	registers(b, ALICE, line);
	free(line);
	assert_int_equal(b->n_checks, 1);
	assert_answer(b, 407);
}

/* Credentials for another realm (the registrar's) are none for us. */
static void other_realm_is_no_answer(void **state)
{
	struct box *b = *state;
	struct digest_challenge c;
	char *other, *mine;
	struct buf lines;

	registers(b, ALICE, "");
	assert_true(find_challenge(b, 0, &c));
	mine = credentials(&c, "alice", URI);
	c.realm = SLICE("registrar.example.com");
	other = credentials(&c, "alice", URI);
	answer(b);
	registers(b, ALICE, other);
	assert_answer(b, 407);
	/* Both: ours is found behind it. */
	buf_init(&lines, 8192);
	buf_printf(&lines, "%s%s", other, mine);
	registers(b, ALICE, lines.p);
	assert_int_equal(b->n_checks, 1);
	core_says(b, SIGNIN_DENIED, NULL);
	assert_answer(b, 403);
	buf_fini(&lines);
	free(mine);
	free(other);
}

static void nonce_is_good_for_its_flow_and_five_minutes(void **state)
{
	struct box *b = *state;
	struct digest_challenge c;
	struct buf nonce;

	buf_init(&nonce, 256);
	nonce_of(b, 301, 7, 1, &nonce); /* old */
	registers_with_nonce(b, buf_slice(&nonce));
	assert_true(find_challenge(b, 0, &c));
	assert_true(c.stale);
	assert_answer(b, 407);
	buf_reset(&nonce);
	nonce_of(b, 0, 8, 1, &nonce); /* somebody else's */
	registers_with_nonce(b, buf_slice(&nonce));
	assert_true(find_challenge(b, 0, &c));
	assert_false(c.stale);
	assert_answer(b, 407);
	buf_reset(&nonce);
	nonce_of(b, 0, 7, 2, &nonce); /* of another flow */
	registers_with_nonce(b, buf_slice(&nonce));
	assert_true(find_challenge(b, 0, &c));
	assert_false(c.stale);
	assert_answer(b, 407);
	registers_with_nonce(b, SLICE("rubbish"));
	assert_answer(b, 407);
	assert_int_equal(b->n_checks, 0);
	buf_reset(&nonce);
	nonce_of(b, 290, 7, 1, &nonce); /* still good */
	registers_with_nonce(b, buf_slice(&nonce));
	assert_int_equal(b->n_checks, 1);
	buf_fini(&nonce);
}

static void digest_of_another_user_is_refused(void **state)
{
	struct box *b = *state;

	registers_with_digest(b, ALICE, "mallory", URI);
	assert_answer(b, 403);
	registers_with_digest(b, ALICE, "alice@other.example", URI);
	assert_answer(b, 403);
	registers_with_digest(b, ALICE, "alicex", URI);
	assert_answer(b, 403);
	registers_with_digest(b, ALICE, "alic", URI);
	assert_answer(b, 403);
	assert_int_equal(b->n_checks, 0);
	assert_int_equal(trace_count(b->env.trace, "sip.register.signin-denied"), 4);
	registers_with_digest(b, ALICE, "alice@EXAMPLE.com", URI);
	assert_int_equal(b->n_checks, 1);
}

static void digest_for_another_request_is_refused(void **state)
{
	struct box *b = *state;
	struct digest_challenge c;
	char *line;

	registers_with_digest(b, ALICE, "alice", "sip:other.example");
	assert_answer(b, 403);
	registers(b, ALICE, "");
	assert_true(find_challenge(b, 0, &c));
	c.qop_auth = false; /* RFC 2069: nothing against replays */
	line = credentials(&c, "alice", URI);
	answer(b);
	registers(b, ALICE, line);
	assert_answer(b, 403);
	free(line);
	assert_int_equal(b->n_checks, 0);
}

/* --- E: C's word --- */

static void good_digest_is_admitted_with_its_session(void **state)
{
	struct box *b = *state;

	sign_in(b, ALICE_ID, "alice", "example.com",
		"203.0.113.1"); /* another network: no matter */
	registers_with_digest(b, ALICE, "alice", URI);
	assert_int_equal(answer(b), 0);
	assert_int_equal(b->n_admitted, 0);
	assert_string_equal(b->asked_domain, "example.com");
	assert_string_equal(b->asked_method, "REGISTER");
	assert_true(addr_eq(&b->asked_from, &b->from.remote));
	core_says(b, SIGNIN_OK, &b->sessions[0]);
	assert_answer(b, 200);
	assert_int_equal(b->n_admitted, 1);
	assert_string_equal(b->session, ALICE_ID);
	assert_string_equal(registration_on_flow(b->s.regs, 1, SLICE(ALICE))->conn.session,
			    ALICE_ID);
	assert_int_equal(b->n_cancels, 0);
}

static void pass_holds_on_its_flow(void **state)
{
	struct box *b = *state;

	alice_registers(b);
	registers(b, ALICE, "");
	assert_answer(b, 200);
	assert_string_equal(b->session, ALICE_ID);
	assert_int_equal(b->n_checks, 1);
	set_from(b, 2, "198.51.100.7"); /* the same address is not enough */
	registers(b, ALICE, "");
	assert_answer(b, 407);
	set_from(b, 1, "198.51.100.7");
	registers(b, "bob@example.com", ""); /* nor is the flow */
	assert_answer(b, 407);
	assert_int_equal(b->n_admitted, 2);
}

static void pass_holds_for_ten_minutes(void **state)
{
	struct box *b = *state;

	alice_registers(b);
	pass(b, PASS_MS - 1);
	registers(b, ALICE, "");
	assert_answer(b, 200);
	pass(b, 1); /* using it does not lengthen it */
	registers(b, ALICE, "");
	assert_answer(b, 407);
	alice_registers(b);
	pass(b, PASS_MS / 2);
	registers(b, ALICE, "");
	assert_answer(b, 200);
}

static void pass_ends_with_its_session(void **state)
{
	struct box *b = *state;

	alice_registers(b);
	b->n_sessions = 0;
	registers(b, ALICE, "");
	assert_answer(b, 407);
	/* A new session needs a new proof. */
	sign_in(b, BOB_ID, "alice", "example.com", "198.51.100.7");
	registers(b, ALICE, "");
	assert_answer(b, 407);
	alice_registers(b);
	assert_string_equal(b->session, BOB_ID);
}

/* Credentials on a flow with a pass are not asked about again: refreshes cost C nothing. */
static void pass_saves_the_question(void **state)
{
	struct box *b = *state;
	struct buf nonce;

	alice_registers(b);
	buf_init(&nonce, 256);
	nonce_of(b, 0, 7, 1, &nonce);
	registers_with_nonce(b, buf_slice(&nonce));
	buf_fini(&nonce);
	assert_answer(b, 200);
	assert_int_equal(b->n_checks, 1);
}

static void says_no(struct box *b, enum signin_status status, int answered, const char *code)
{
	uint64_t before = trace_count(b->env.trace, code);

	registers_with_digest(b, ALICE, "alice", URI);
	core_says(b, status, NULL);
	if (answered == 503)
		assert_non_null(strstr(b->sent[b->n_sent - 1], "\r\nRetry-After: 5\r\n"));
	assert_answer(b, answered);
	assert_int_equal(trace_count(b->env.trace, code), before + 1);
	registers(b, ALICE, "");
	assert_answer(b, 407); /* no pass came of it */
}

static void refusals_of_the_core(void **state)
{
	struct box *b = *state;

	says_no(b, SIGNIN_DENIED, 403, "sip.register.signin-denied");
	says_no(b, SIGNIN_NO_DOMAIN, 403, "sip.register.signin-denied");
	says_no(b, SIGNIN_BAD_REQUEST, 403, "sip.register.signin-denied");
	says_no(b, SIGNIN_UNAVAILABLE, 503, "sip.register.signin-unavailable");
	says_no(b, SIGNIN_TOO_MANY, 503, "sip.register.signin-unavailable");
	assert_int_equal(b->n_admitted, 0);
}

/* A C that answers with somebody else's session, by mistake or not, opens nothing. */
static void session_of_somebody_else_is_refused(void **state)
{
	struct box *b = *state;

	sign_in(b, BOB_ID, "bob", "example.com", "198.51.100.7");
	sign_in(b, ALICE_ID, "alice", "open.example", "198.51.100.7");
	for (int i = 0; i < 2; i++) {
		registers_with_digest(b, ALICE, "alice", URI);
		core_says(b, SIGNIN_OK, &b->sessions[i]);
		assert_answer(b, 403);
		registers(b, ALICE, "");
		assert_answer(b, 407);
	}
	assert_int_equal(b->n_admitted, 0);
}

static void question_that_cannot_be_put_is_500(void **state)
{
	struct box *b = *state;

	b->no_check = true;
	registers_with_digest(b, ALICE, "alice", URI);
	assert_answer(b, 500);
	assert_int_equal(b->n_cancels, 0);
}

/* --- E: ends --- */

static void transaction_that_ends_takes_its_question_back(void **state)
{
	struct box *b = *state;

	registers_with_digest(b, ALICE, "alice", URI);
	assert_true(b->check != 0);
	pass(b, timers.guard_ms); /* C never answers */
	assert_int_equal(b->n_cancels, 1);
	assert_int_equal(b->check, 0);
	assert_int_equal(txn_layer_count(b->s.txns), 0);
	assert_true(list_empty(&b->s.gate_waits));
}

/* Repeats of the request while C is asked are no second question. */
static void questions_are_independent(void **state)
{
	struct box *b = *state;
	signin_done first_done;
	void *first;

	sign_in(b, ALICE_ID, "alice", "example.com", "198.51.100.7");
	registers_with_digest(b, ALICE, "alice", URI);
	first = b->done_arg;
	first_done = b->done;
	set_from(b, 2, "198.51.100.9");
	registers_with_digest(b, ALICE, "alice", URI);
	assert_int_equal(b->n_checks, 2);
	core_says(b, SIGNIN_DENIED, NULL);
	assert_answer(b, 403);
	b->check = 1;
	b->done = first_done;
	b->done_arg = first;
	core_says(b, SIGNIN_OK, &b->sessions[0]);
	assert_answer(b, 200);
	registers(b, ALICE, "");
	assert_answer(b, 407); /* flow 2 has no pass */
	set_from(b, 1, "198.51.100.7");
	registers(b, ALICE, "");
	assert_answer(b, 200);
}

static void daemon_ends_while_the_core_is_asked(void **state)
{
	struct box *b = *state;

	alice_registers(b);
	set_from(b, 2, "198.51.100.9");
	registers_with_digest(b, ALICE, "alice", URI);
	sip_gate_free(&b->s);
	assert_int_equal(b->n_cancels, 1);
	assert_int_equal(txn_layer_count(b->s.txns), 1); /* it no longer knows of the gate */
	pass(b, timers.guard_ms);
	assert_int_equal(b->n_cancels, 1);
	assert_int_equal(sip_gate_init(&b->s), 0);
}

static void flow_closes_while_the_core_is_asked(void **state)
{
	struct box *b = *state;

	sign_in(b, ALICE_ID, "alice", "example.com", "198.51.100.7");
	registers_with_digest(b, ALICE, "alice", URI);
	txn_layer_flow_closed(b->s.txns, 1, "reset by peer");
	if (b->check)
		core_says(b, SIGNIN_DENIED, NULL);
	pass(b, timers.guard_ms);
	assert_int_equal(txn_layer_count(b->s.txns), 0);
	assert_true(list_empty(&b->s.gate_waits));
}

/* [sip] max-registrations bounds the passes too: the oldest goes. */
static void passes_are_bounded(void **state)
{
	struct box *b = *state;

	configure(b, "max-registrations = 3");
	for (uint64_t flow = 1; flow <= 4; flow++) {
		set_from(b, flow, "198.51.100.7");
		alice_registers(b);
		assert_true(b->s.gate_passes.n <= 3);
	}
	for (uint64_t flow = 1; flow <= 4; flow++) {
		set_from(b, flow, "198.51.100.7");
		registers(b, ALICE, "");
		assert_answer(b, flow == 1 ? 407 : 200);
	}
	/* One that is renewed is not one more. */
	set_from(b, 2, "198.51.100.7");
	pass(b, PASS_MS - 1000);
	assert_int_equal(b->s.gate_passes.n, 3);
	configure(b, "max-registrations = 1");
	set_from(b, 9, "198.51.100.7");
	alice_registers(b);
	assert_int_equal(b->s.gate_passes.n, 1);
	/* What is over goes with the next that comes. */
	configure(b, "max-registrations = 100");
	pass(b, PASS_MS);
	set_from(b, 10, "198.51.100.7");
	alice_registers(b);
	assert_int_equal(b->s.gate_passes.n, 1);
}

static void renewed_pass_replaces_the_old_one(void **state)
{
	struct box *b = *state;

	for (int i = 0; i < 5; i++) {
		alice_registers(b);
		assert_int_equal(b->s.gate_passes.n, 1);
		pass(b, PASS_MS);
	}
}

/* --- C --- */

static void core_admits_the_session_of_that_very_user(void **state)
{
	struct box *b = *state;

	sign_in(b, ALICE_ID, "alice", "example.com", "203.0.113.1");
	registers(b, ALICE, "Turnpike-Session: " ALICE_ID "\r\n");
	assert_answer(b, 200);
	assert_string_equal(b->session, ALICE_ID);
	assert_int_equal(b->n_checks, 0);
}

static void core_refuses_every_other(void **state)
{
	struct box *b = *state;

	sign_in(b, BOB_ID, "bob", "example.com", "203.0.113.1");
	sign_in(b, ALICE_ID, "alice", "open.example", "203.0.113.1");
	registers(b, ALICE, ""); /* none */
	assert_answer(b, 403);
	registers(b, ALICE, "Turnpike-Session: 00000000000000000000000000000000\r\n");
	assert_answer(b, 403);
	registers(b, ALICE, "Turnpike-Session: " BOB_ID "\r\n");
	assert_answer(b, 403);
	registers(b, ALICE, "Turnpike-Session: " ALICE_ID "\r\n"); /* of another domain */
	assert_answer(b, 403);
	b->from.role = FLOW_INSIDE; /* nobody but a link names sessions */
	sign_in(b, "11111111111111111111111111111111", "alice", "example.com", "203.0.113.1");
	registers(b, ALICE, "Turnpike-Session: 11111111111111111111111111111111\r\n");
	assert_answer(b, 403);
	assert_int_equal(b->n_admitted, 0);
	assert_int_equal(trace_count(b->env.trace, "sip.register.signin-missing"), 5);
}

/* A pass and a challenge are E's business: C has neither. */
static void core_asks_for_no_password(void **state)
{
	struct box *b = *state;

	sign_in(b, ALICE_ID, "alice", "example.com", "203.0.113.1");
	registers(b, ALICE, "Turnpike-Session: " ALICE_ID "\r\n");
	assert_answer(b, 200);
	registers(b, ALICE, "");
	assert_answer(b, 403);
	b->n_sessions = 0; /* ended */
	registers(b, ALICE, "Turnpike-Session: " ALICE_ID "\r\n");
	assert_answer(b, 403);
}

static void core_lets_other_domains_pass(void **state)
{
	struct box *b = *state;

	registers(b, "alice@open.example", "");
	assert_answer(b, 200);
	assert_false(b->has_session);
}

/* --- memory --- */

static void one_run(void *arg)
{
	struct box *b = arg;

	if (sip_gate_init(&b->s) < 0)
		return;
	registers_with_digest(b, ALICE, "alice", URI);
	if (b->check)
		core_says(b, SIGNIN_OK, &b->sessions[0]);
	answer(b);
	registers(b, ALICE, "");
	answer(b);
	registers_with_digest(b, "bob@example.com", "bob", URI);
	sip_gate_free(&b->s);
	pass(b, timers.guard_ms);
	forget(b);
	assert_int_equal(txn_layer_count(b->s.txns), 0);
	assert_int_equal(b->check, 0);
}

static void survives_failing_allocations(void **state)
{
	struct box *b = *state;

	sign_in(b, ALICE_ID, "alice", "example.com", "198.51.100.7");
	sip_gate_free(&b->s);
	assert_true(alloc_fail_sweep(one_run, b) > 10);
	assert_int_equal(sip_gate_init(&b->s), 0);
}

#define E(f) cmocka_unit_test_setup_teardown(f, set_up_e, tear_down)
#define C(f) cmocka_unit_test_setup_teardown(f, set_up_c, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		E(without_the_demand_everybody_passes),
		E(session_comes_from_the_same_address_only),
		E(md5_alone_is_asked_unless_written_otherwise),
		E(both_are_asked_the_stronger_first),
		E(algorithm_that_was_not_asked_is_not_taken),
		E(other_realm_is_no_answer),
		E(nonce_is_good_for_its_flow_and_five_minutes),
		E(digest_of_another_user_is_refused),
		E(digest_for_another_request_is_refused),
		E(good_digest_is_admitted_with_its_session),
		E(pass_holds_on_its_flow),
		E(pass_holds_for_ten_minutes),
		E(pass_ends_with_its_session),
		E(pass_saves_the_question),
		E(refusals_of_the_core),
		E(session_of_somebody_else_is_refused),
		E(question_that_cannot_be_put_is_500),
		E(transaction_that_ends_takes_its_question_back),
		E(questions_are_independent),
		E(daemon_ends_while_the_core_is_asked),
		E(flow_closes_while_the_core_is_asked),
		E(passes_are_bounded),
		E(renewed_pass_replaces_the_old_one),
		C(core_admits_the_session_of_that_very_user),
		C(core_refuses_every_other),
		C(core_asks_for_no_password),
		C(core_lets_other_domains_pass),
		E(survives_failing_allocations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
