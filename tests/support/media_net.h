#ifndef TESTS_SUPPORT_MEDIA_NET_H
#define TESTS_SUPPORT_MEDIA_NET_H
/*
 * A net and a clock for media engines: nodes (E, C) whose sockets are rows of a table, a queue of
 * packets that net_run() delivers, one NAT that gives C another address and other ports on the way
 * to E, and a record of what reached addresses that no node owns (phones, attackers).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "media/session.h"
#include "proto/rtp.h"
#include "proto/stun.h"

enum { NET_PACKETS = 512, NET_SOCKETS = 256, NET_BYTES = 1600 };

struct net_packet {
	struct addr from, to;
	size_t n;
	uint8_t p[NET_BYTES];
};

struct net_node;

struct net_socket {
	struct net_node *node;
	struct addr local;
	struct media_end *end; /* NULL: shared port */
	unsigned component;
	uint32_t number;
};

struct net {
	struct timerq timers;
	struct net_packet queue[NET_PACKETS];
	size_t n_queue;
	struct net_packet got[NET_PACKETS]; /* at nobody's socket */
	size_t n_got;
	struct net_socket sockets[NET_SOCKETS];
	size_t n_sockets;
	struct addr nat_inside, nat_outside; /* ADDR_NONE: no NAT */
	struct addr nat_far;		     /* only on the way there */
	int nat_shift;			     /* added to ports */
	bool drop_all;			     /* the path is gone */
	uint64_t n_delivered;
};

struct net_node {
	struct net *net;
	struct media_engine engine;
	struct addr ips[4];
	unsigned n_ips;
	struct addr mux[64];
	uint32_t n_mux;
	uint32_t random;
	char code[64]; /* last refusal */
	unsigned n_refused, n_idle;
	int open_fails; /* so many opens answer -EADDRINUSE */
	/* TURN relays: as clients write them, where they are, and their ports 24000-24099. */
	struct addr relay_public, relay;
};

static inline struct addr ip(const char *text, uint16_t port)
{
	struct addr a = { 0 };

	assert_true(addr_parse_ip(slice_of(text), port, &a));
	return a;
}

static inline void net_queue(struct net *net, const struct addr *from, const struct addr *to,
			     const void *p, size_t n)
{
	struct net_packet *q = &net->queue[net->n_queue];

	if (net->drop_all)
		return;
	assert_true(net->n_queue < NET_PACKETS && n <= NET_BYTES);
	net->n_queue++;
	q->from = *from;
	q->to = *to;
	q->n = n;
	memcpy(q->p, p, n);
}

static inline void net_translate(struct net *net, struct net_packet *q)
{
	if (net->nat_inside.family == ADDR_NONE)
		return;
	if (addr_ip_eq(&q->from, &net->nat_inside) && addr_ip_eq(&q->to, &net->nat_far)) {
		uint16_t port = (uint16_t)(q->from.port + net->nat_shift);

		q->from = net->nat_outside;
		q->from.port = port;
	}
	if (addr_ip_eq(&q->to, &net->nat_outside)) {
		uint16_t port = (uint16_t)(q->to.port - net->nat_shift);

		q->to = net->nat_inside;
		q->to.port = port;
	}
}

static inline void net_deliver(struct net *net, struct net_packet *q)
{
	uint8_t room[RELAY_BUFFER_BYTES];
	struct mux_packet pkt = { .p = room, .n = q->n, .cap = sizeof(room), .from = q->from };

	memcpy(room, q->p, q->n);
	pkt.now_ms = net->timers.now_ms;
	pkt.now_us = net->timers.now_ms * 1000;
	net->n_delivered++;
	for (size_t i = 0; i < net->n_sockets; i++) {
		struct net_socket *s = &net->sockets[i];

		if (!s->node || !addr_eq(&s->local, &q->to))
			continue;
		if (s->end)
			relay_input(s->end, s->component, &pkt);
		else
			mux_input(&s->node->engine.mux, s->number, &pkt);
		return;
	}
	assert_true(net->n_got < NET_PACKETS);
	net->got[net->n_got++] = *q;
}

/* Delivers until nothing moves. */
static inline void net_run(struct net *net)
{
	for (unsigned rounds = 0; net->n_queue > 0; rounds++) {
		struct net_packet q = net->queue[0];

		assert_true(rounds < 10000); /* else packets run in a circle */
		memmove(net->queue, net->queue + 1, (net->n_queue - 1) * sizeof(q));
		net->n_queue--;
		net_translate(net, &q);
		net_deliver(net, &q);
	}
}

/* Turns the clock in steps, delivering after each. */
static inline void net_pass(struct net *net, int64_t ms)
{
	int64_t end = net->timers.now_ms + ms;

	net_run(net);
	while (net->timers.now_ms < end) {
		timerq_run(&net->timers, net->timers.now_ms + 10);
		net_run(net);
	}
}

static inline struct net_socket *net_socket_add(struct net_node *node, const struct addr *local)
{
	struct net *net = node->net;
	size_t i;

	for (i = 0; i < net->n_sockets; i++)
		if (net->sockets[i].node && addr_eq(&net->sockets[i].local, local))
			return NULL;
	for (i = 0; i < net->n_sockets && net->sockets[i].node; i++)
		;
	assert_true(i < NET_SOCKETS);
	if (i == net->n_sockets)
		net->n_sockets++;
	net->sockets[i] = (struct net_socket){ .node = node, .local = *local };
	return &net->sockets[i];
}

static inline int node_open(void *arg, struct media_end *end)
{
	struct net_node *node = arg;

	if (node->open_fails > 0) {
		node->open_fails--;
		return -98; /* EADDRINUSE */
	}
	for (unsigned i = 0; i < RELAY_N_COMPONENTS; i++) {
		struct net_socket *s = net_socket_add(node, &end->bound[i]);

		assert_non_null(s);
		s->end = end;
		s->component = i;
	}
	return 0;
}

static inline void node_close(void *arg, struct media_end *end)
{
	struct net_node *node = arg;

	for (size_t i = 0; i < node->net->n_sockets; i++)
		if (node->net->sockets[i].end == end)
			memset(&node->net->sockets[i], 0, sizeof(node->net->sockets[i]));
}

static inline int node_open_mux(void *arg, const struct addr *local, uint16_t rtp_port,
				uint32_t *pair)
{
	struct net_node *node = arg;
	struct addr at = *local;

	at.port = rtp_port;
	for (*pair = 0; *pair < node->n_mux; (*pair)++)
		if (addr_eq(&node->mux[*pair], &at))
			return 0;
	node->mux[node->n_mux++] = at;
	for (uint16_t i = 0; i < 2; i++) {
		struct net_socket *s;

		at.port = (uint16_t)(rtp_port + i);
		s = net_socket_add(node, &at);
		assert_non_null(s);
		s->number = 2 * *pair + i;
	}
	return 0;
}

static inline void node_mux_send(void *arg, uint32_t socket, const struct addr *to, const void *p,
				 size_t n)
{
	struct net_node *node = arg;
	struct addr from = node->mux[socket / 2];

	from.port = (uint16_t)(from.port + socket % 2);
	net_queue(node->net, &from, to, p, n);
}

static inline void node_send(void *arg, struct media_end *end, unsigned component,
			     const struct addr *to, const void *p, size_t n)
{
	struct net_node *node = arg;

	if (end->kind == MEDIA_LEG_MUX)
		node_mux_send(node, 2 * end->mux.pair + component, to, p, n);
	else
		net_queue(node->net, &end->bound[component], to, p, n);
}

static inline void node_random(void *arg, void *p, size_t n)
{
	struct net_node *node = arg;
	uint8_t *b = p;

	while (n-- > 0) {
		node->random = node->random * 1664525u + 1013904223u;
		*b++ = (uint8_t)(node->random >> 24);
	}
}

static inline bool node_own_ip(void *arg, const struct addr *a)
{
	struct net_node *node = arg;

	for (unsigned i = 0; i < node->n_ips; i++)
		if (addr_ip_eq(&node->ips[i], a))
			return true;
	return false;
}

static inline bool node_is_listener(void *arg, const struct addr *a)
{
	return a->port == 5060 || a->port == 5061;
}

static inline bool node_relay_of(void *arg, const struct addr *written, struct addr *reached)
{
	struct net_node *node = arg;

	if (written->port < 24000 || written->port > 24099 ||
	    !(addr_ip_eq(written, &node->relay_public) || addr_ip_eq(written, &node->relay)))
		return false;
	*reached = node->relay;
	reached->port = written->port;
	return true;
}

static inline void node_refused(void *arg, const struct media_session *s, unsigned leg,
				const char *code, const struct addr *about, const char *text)
{
	struct net_node *node = arg;

	snprintf(node->code, sizeof(node->code), "%s", code);
	node->n_refused++;
}

static inline void node_idle(void *arg, struct media_session *s)
{
	struct net_node *node = arg;

	node->n_idle++;
	media_session_free(s, "no media");
}

static const struct media_io node_io = {
	.open = node_open,
	.close = node_close,
	.open_mux = node_open_mux,
	.mux_send = node_mux_send,
	.relay = { .send = node_send },
	.random = node_random,
	.own_ip = node_own_ip,
	.is_listener = node_is_listener,
	.relay_of = node_relay_of,
	.refused = node_refused,
	.idle = node_idle,
};

static inline int node_init(struct net_node *node, struct net *net, uint32_t seed,
			    const struct media_settings *settings)
{
	memset(node, 0, sizeof(*node));
	node->net = net;
	node->random = seed;
	return media_engine_init(&node->engine, settings, &node_io, node, &net->timers, NULL);
}

/* A 12-byte header and n bytes of payload. */
static inline size_t rtp_make(uint8_t *p, uint32_t ssrc, uint16_t seq, size_t n)
{
	memset(p, 0, 12 + n);
	p[0] = 0x80;
	p[2] = (uint8_t)(seq >> 8);
	p[3] = (uint8_t)seq;
	p[6] = (uint8_t)(seq >> 8);
	p[7] = (uint8_t)seq;
	p[8] = (uint8_t)(ssrc >> 24);
	p[9] = (uint8_t)(ssrc >> 16);
	p[10] = (uint8_t)(ssrc >> 8);
	p[11] = (uint8_t)ssrc;
	for (size_t i = 0; i < n; i++)
		p[12 + i] = (uint8_t)(seq + i);
	return 12 + n;
}

/* An empty receiver report. */
static inline size_t rtcp_make(uint8_t *p, uint32_t ssrc)
{
	static const uint8_t head[4] = { 0x80, 201, 0, 1 };

	memcpy(p, head, 4);
	p[4] = (uint8_t)(ssrc >> 24);
	p[5] = (uint8_t)(ssrc >> 16);
	p[6] = (uint8_t)(ssrc >> 8);
	p[7] = (uint8_t)ssrc;
	return 8;
}

/* How many packets reached that address since the mark; *last: the last one. */
static inline size_t net_got(struct net *net, size_t mark, const struct addr *to,
			     struct net_packet **last)
{
	size_t n = 0;

	for (size_t i = mark; i < net->n_got; i++) {
		if (!addr_eq(&net->got[i].to, to))
			continue;
		n++;
		if (last)
			*last = &net->got[i];
	}
	return n;
}

#endif
