/* The TURN server's life, and the way of a message to the verb that it names. */
#include "turn/server.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/net.h"
#include "core/trace.h"
#include "proto/turn.h"
#include "turn/reservation.h"

static struct slice tuple_key(const struct htab_node *node)
{
	const struct turn_alloc *a = CONTAINER_OF(node, const struct turn_alloc, node);

	return (struct slice){ (const char *)&a->tuple, sizeof(a->tuple) };
}

/* --- life --- */

static int init_parts(struct turn_server *s)
{
	uint8_t key[32], seeds[4][16];

	net_random(key, sizeof(key));
	net_random(seeds, sizeof(seeds));
	net_random(s->seed, sizeof(s->seed));
	turn_nonces_init(&s->nonces, key);
	OPENSSL_cleanse(key, sizeof(key));
	s->limit = turn_unauth_limit_new(seeds[0]);
	s->guesses = turn_unauth_limit_new(seeds[3]);
	if (!s->limit || !s->guesses || turn_usage_init(&s->usage, seeds[1]) < 0)
		return -ENOMEM;
	if (htab_init(&s->allocs, seeds[2], tuple_key) < 0) {
		turn_usage_fini(&s->usage);
		return -ENOMEM;
	}
	return 0;
}

struct turn_server *turn_server_new(struct timerq *timers, struct conn_table *conns,
				    struct trace *trace, const struct turn_server_ops *ops,
				    void *arg)
{
	struct turn_server *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->timers = timers;
	s->conns = conns;
	s->trace = trace;
	s->ops = ops;
	s->arg = arg;
	s->drop_traced_ms = INT64_MIN / 2;
	list_init(&s->reservations);
	if (init_parts(s) == 0)
		return s;
	turn_unauth_limit_free(s->limit);
	turn_unauth_limit_free(s->guesses);
	turn_nonces_fini(&s->nonces);
	free(s);
	return NULL;
}

void turn_server_free(struct turn_server *s)
{
	if (!s)
		return;
	HTAB_FOREACH_SAFE (it, &s->allocs)
		turn_alloc_end(CONTAINER_OF(it, struct turn_alloc, node), "shutting down", true);
	turn_reservations_free(s);
	if (s->tcp)
		s->tcp->stop(s);
	htab_fini(&s->allocs);
	turn_usage_fini(&s->usage);
	turn_unauth_limit_free(s->limit);
	turn_unauth_limit_free(s->guesses);
	turn_nonces_fini(&s->nonces);
	for (unsigned i = 0; i < TURN_N_RELAYS; i++)
		turn_ports_free(s->ports[i]);
	OPENSSL_cleanse(s->seed, sizeof(s->seed));
	free(s);
}

static int set_ports(struct turn_server *s, uint16_t first, uint16_t last)
{
	int err = 0;

	if (first == 0 || last < first)
		return -EINVAL;
	for (unsigned i = 0; i < TURN_N_RELAYS && err == 0; i++) {
		if (s->ports[i]) {
			err = turn_ports_resize(s->ports[i], first, last);
			continue;
		}
		s->ports[i] = turn_ports_new(first, last, net_random);
		err = s->ports[i] ? 0 : -ENOMEM;
	}
	return err;
}

int turn_server_configure(struct turn_server *s, const struct turn_server_conf *conf,
			  const struct turn_credentials *credentials,
			  const struct turn_peer_policy *policy)
{
	int err = set_ports(s, conf->first_port, conf->last_port);

	if (err == -EINVAL || !s->ports[0] || !s->ports[1])
		return err;
	/* Without memory for the ports too: what was borrowed before is about to go. */
	s->conf = *conf;
	s->credentials = credentials;
	s->policy = policy;
	HTAB_FOREACH_SAFE (it, &s->allocs)
		turn_alloc_recheck(CONTAINER_OF(it, struct turn_alloc, node));
	return err;
}

void turn_server_drain(struct turn_server *s)
{
	s->draining = true;
}

void turn_server_client_gone(struct turn_server *s, struct turn_client *c, const char *why)
{
	if (s->tcp)
		s->tcp->client_gone(s, c);
	if (c->alloc)
		turn_alloc_end(c->alloc, why, true);
}

void turn_server_listener_gone(struct turn_server *s, const void *io, const char *why)
{
	HTAB_FOREACH_SAFE (it, &s->allocs) {
		struct turn_alloc *a = CONTAINER_OF(it, struct turn_alloc, node);

		if (a->client_of == &a->client && a->client.io == io)
			turn_alloc_end(a, why, true);
	}
}

int64_t turn_now(const struct turn_server *s)
{
	return s->timers->now_ms;
}

/* --- answers --- */

void turn_answer_start(const struct turn_request *q, struct stun_build *b,
		       uint8_t out[TURN_ANSWER_BYTES], enum stun_class class)
{
	stun_build_start(b, out, TURN_ANSWER_BYTES, class, q->msg.method, q->msg.tid);
}

void turn_answer_send(const struct turn_request *q, struct stun_build *b)
{
	struct slice key = { (const char *)q->key.key, q->key.n };

	if (q->sha256)
		stun_build_integrity256(b, key);
	else
		stun_build_integrity(b, key);
	if (q->msg.fingerprint_at)
		stun_build_fingerprint(b);
	if (stun_build_end(b) > 0)
		q->s->ops->to_client(q->s->arg, q->c, b->p, stun_build_end(b), false);
}

void turn_answer_ok(const struct turn_request *q)
{
	uint8_t out[TURN_ANSWER_BYTES];
	struct stun_build b;

	turn_answer_start(q, &b, out, STUN_CLASS_SUCCESS);
	turn_answer_send(q, &b);
}

void turn_refuse(const struct turn_request *q, enum stun_code code)
{
	uint8_t out[TURN_ANSWER_BYTES];
	struct stun_build b;

	q->s->counters.n_refused++;
	turn_answer_start(q, &b, out, STUN_CLASS_ERROR);
	stun_build_error(&b, code, NULL);
	turn_answer_send(q, &b);
}

void turn_refuse_traced(const struct turn_request *q, enum stun_code code, const char *trace_code,
			const char *decided_by, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	trace_add(q->s->trace, trace_code, decided_by, &q->c->remote, NULL, "%s", text);
	turn_refuse(q, code);
}

/* --- dispatch --- */

static void connect_peer(struct turn_request *q)
{
	q->s->tcp->connect(q);
}

static void connection_bind(struct turn_request *q)
{
	q->s->tcp->connection_bind(q);
}

static void binding(struct turn_request *q)
{
	uint8_t out[TURN_ANSWER_BYTES];
	struct stun_build b;

	turn_answer_start(q, &b, out, STUN_CLASS_SUCCESS);
	stun_build_xor_addr(&b, STUN_ATTR_XOR_MAPPED_ADDRESS, &q->c->remote);
	if (q->key.n > 0)
		turn_answer_send(q, &b);
	else
		turn_answer_unproved(q, &b);
}

struct verb {
	uint16_t method;
	bool of_alloc; /* 437 without one, 441 by another user than its own */
	bool tcp;      /* RFC 6062 */
	void (*handle)(struct turn_request *q);
};

static const struct verb verbs[] = {
	{ STUN_METHOD_BINDING, .handle = binding },
	{ STUN_METHOD_ALLOCATE, .handle = turn_request_allocate },
	{ STUN_METHOD_REFRESH, .of_alloc = true, .handle = turn_request_refresh },
	{ STUN_METHOD_CREATE_PERMISSION, .of_alloc = true,
	  .handle = turn_request_create_permission },
	{ STUN_METHOD_CHANNEL_BIND, .of_alloc = true, .handle = turn_request_channel_bind },
	{ STUN_METHOD_CONNECT, .of_alloc = true, .tcp = true, .handle = connect_peer },
	{ STUN_METHOD_CONNECTION_BIND, .tcp = true, .handle = connection_bind },
};

static const struct verb *verb_of(const struct turn_server *s, uint16_t method)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (verbs[i].method == method && (s->tcp || !verbs[i].tcp))
			return &verbs[i];
	}
	return NULL;
}

/* 420 with the list, RFC 8489 section 6.3.1. True: it was refused. */
static bool refuse_unknown(const struct turn_request *q)
{
	static const uint16_t known[] = {
		STUN_ATTR_USERNAME,
		STUN_ATTR_REALM,
		STUN_ATTR_NONCE,
		STUN_ATTR_PASSWORD_ALGORITHM,
		STUN_ATTR_CHANNEL_NUMBER,
		STUN_ATTR_LIFETIME,
		STUN_ATTR_XOR_PEER_ADDRESS,
		STUN_ATTR_DATA,
		STUN_ATTR_EVEN_PORT,
		STUN_ATTR_REQUESTED_ADDRESS_FAMILY,
		STUN_ATTR_REQUESTED_TRANSPORT,
		STUN_ATTR_DONT_FRAGMENT,
		STUN_ATTR_RESERVATION_TOKEN,
		STUN_ATTR_CONNECTION_ID,
	};
	uint16_t unknown[8];
	size_t n = stun_unknown(&q->msg, known, sizeof(known) / sizeof(known[0]), unknown,
				sizeof(unknown) / sizeof(unknown[0]));
	uint8_t out[TURN_ANSWER_BYTES];
	struct stun_build b;

	if (n == 0)
		return false;
	q->s->counters.n_refused++;
	turn_answer_start(q, &b, out, STUN_CLASS_ERROR);
	stun_build_error(&b, STUN_CODE_UNKNOWN_ATTRIBUTE, NULL);
	stun_build_unknown(&b, unknown, n);
	if (q->key.n > 0)
		turn_answer_send(q, &b);
	else
		turn_answer_unproved(q, &b);
	return true;
}

/* Is the request about an allocation that is there and its own? False: it was refused. */
static bool check_alloc(const struct turn_request *q)
{
	if (!q->alloc) {
		turn_refuse_traced(q, STUN_CODE_ALLOCATION_MISMATCH, "turn.mismatch", NULL,
				   "user %.*s: this 5-tuple has no allocation", SLICE_ARG(q->user));
		return false;
	}
	if (!slice_eq(q->user, slice_of(q->alloc->user))) {
		turn_refuse_traced(q, STUN_CODE_WRONG_CREDENTIALS, "turn.wrong-user", NULL,
				   "user %.*s asks for the allocation of %s", SLICE_ARG(q->user),
				   q->alloc->user);
		return false;
	}
	return true;
}

static const struct turn_alloc *key_of(const struct turn_request *q)
{
	if (q->msg.method == STUN_METHOD_CONNECTION_BIND)
		return q->s->tcp->owner(q->s, &q->msg);
	return q->alloc;
}

static void request_input(struct turn_request *q)
{
	const struct verb *v = verb_of(q->s, q->msg.method);
	bool is_binding = q->msg.method == STUN_METHOD_BINDING;

	if (!v || (is_binding && q->s->conf.binding == TURN_BINDING_NO)) {
		q->s->counters.n_bad++;
		return;
	}
	q->alloc = turn_alloc_find(q->s, q->c);
	if (!(is_binding && q->s->conf.binding == TURN_BINDING_YES) &&
	    !turn_authenticate(q, key_of(q)))
		return;
	if (refuse_unknown(q) || (v->of_alloc && !check_alloc(q)))
		return;
	v->handle(q);
}

static void stun_input(struct turn_server *s, struct turn_client *c, const struct udp_packet *pkt)
{
	struct turn_request q = { .s = s, .c = c };

	if (stun_decode(pkt->p, pkt->n, &q.msg) < 0) {
		s->counters.n_bad++;
	} else if (q.msg.class == STUN_CLASS_REQUEST) {
		request_input(&q);
		OPENSSL_cleanse(&q.key, sizeof(q.key));
	} else if (q.msg.class == STUN_CLASS_INDICATION && q.msg.method == STUN_METHOD_SEND) {
		turn_relay_send_indication(s, c, &q.msg);
	} else if (q.msg.class != STUN_CLASS_INDICATION || q.msg.method != STUN_METHOD_BINDING) {
		s->counters.n_bad++; /* a Binding indication keeps a NAT awake */
	}
}

void turn_server_client_input(struct turn_server *s, struct turn_client *c, struct udp_packet *pkt)
{
	if (turn_is_channel(pkt->p, pkt->n))
		turn_relay_channel_data(s, c, pkt);
	else
		stun_input(s, c, pkt);
}
