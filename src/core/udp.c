/* UDP sockets of relays: their life, packets and ICMP errors that come in. */
#include "core/udp.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "core/net.h"
#include "core/udp_impl.h"

static void end_of_turn(void *arg)
{
	udp_pool_flush(arg);
}

struct udp_pool *udp_pool_new(struct loop *loop)
{
	struct udp_pool *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->loop = loop;
	list_init(&p->waiting);
	loop_deferred_init(&p->end_of_turn, end_of_turn, p);
	for (unsigned i = 0; i < UDP_N_SLOTS; i++) {
		struct msghdr *m = &p->in[i].msg_hdr;

		p->in_iovs[i] = (struct iovec){ p->slots[i] + UDP_HEADROOM, UDP_PACKET_BYTES };
		m->msg_iov = &p->in_iovs[i];
		m->msg_iovlen = 1;
		m->msg_name = &p->from[i];
		m->msg_namelen = sizeof(p->from[i]);
	}
	return p;
}

void udp_pool_free(struct udp_pool *p)
{
	if (!p)
		return;
	loop_defer_cancel(&p->end_of_turn);
	free(p);
}

struct udp_stats udp_pool_stats(const struct udp_pool *p)
{
	return p->stats;
}

/* --- in --- */

static int64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void packet_in(struct udp_socket *s, unsigned slot, int64_t at_us)
{
	struct udp_pool *p = s->pool;
	const struct mmsghdr *m = &p->in[slot];
	struct udp_packet pkt;

	p->stats.n_in++;
	if (m->msg_hdr.msg_flags & MSG_TRUNC) {
		p->stats.n_truncated++;
		return;
	}
	pkt.p = p->slots[slot] + UDP_HEADROOM;
	pkt.n = m->msg_len;
	pkt.from = addr_from_sockaddr((const struct sockaddr *)&p->from[slot]);
	pkt.now_us = at_us;
	s->handler->input(s->arg, &pkt);
}

static const struct sock_extended_err *extended_err(struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
		    (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR))
			return (const void *)CMSG_DATA(c);
	}
	return NULL;
}

static void tell_icmp(struct udp_socket *s, const struct addr *peer,
		      const struct sock_extended_err *e)
{
	bool ip6 = peer->family == ADDR_IP6;
	uint8_t type = e->ee_type, code = e->ee_code;
	uint32_t mtu = 0;

	if (e->ee_origin == SO_EE_ORIGIN_LOCAL && e->ee_errno == EMSGSIZE) {
		type = ip6 ? ICMP6_PACKET_TOO_BIG : ICMP_DEST_UNREACH;
		code = ip6 ? 0 : ICMP_FRAG_NEEDED;
	} else if (e->ee_origin != (ip6 ? SO_EE_ORIGIN_ICMP6 : SO_EE_ORIGIN_ICMP)) {
		return;
	}
	if (ip6 ? type == ICMP6_PACKET_TOO_BIG
		: type == ICMP_DEST_UNREACH && code == ICMP_FRAG_NEEDED)
		mtu = e->ee_info;
	s->handler->icmp(s->arg, peer, type, code, mtu);
}

/* The kernel names no port in what it made up itself. */
static void complete_peer(const struct udp_pool *p, struct addr *peer)
{
	if (peer->port == 0 && addr_ip_eq(peer, &p->too_big))
		*peer = p->too_big;
}

/* An error left in the queue would wake us again and again. */
static void read_errors(struct udp_socket *s)
{
	struct udp_pool *p = s->pool;
	struct addr too_big = { 0 };

	s->failed = false;
	for (unsigned i = 0; i < UDP_MAX_ERRORS && p->current == s; i++) {
		union {
			struct cmsghdr head;
			uint8_t room[256];
		} control;
		struct sockaddr_storage ss = { 0 };
		struct msghdr m = { .msg_name = &ss,
				    .msg_namelen = sizeof(ss),
				    .msg_control = &control,
				    .msg_controllen = sizeof(control) };
		const struct sock_extended_err *e;
		struct addr peer;

		if (recvmsg(s->fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
			return;
		e = extended_err(&m);
		peer = addr_from_sockaddr((const struct sockaddr *)&ss);
		if (!e || peer.family != s->family)
			continue;
		complete_peer(p, &peer);
		/* Each of the two tries left one. */
		if (e->ee_origin == SO_EE_ORIGIN_LOCAL && addr_eq(&peer, &too_big))
			continue;
		if (e->ee_origin == SO_EE_ORIGIN_LOCAL)
			too_big = peer;
		tell_icmp(s, &peer, e);
	}
}

static void readable(evutil_socket_t fd, short what, void *arg)
{
	struct udp_socket *s = arg;
	struct udp_pool *p = s->pool;
	unsigned first, n_free;
	int64_t at_us;
	int n;

	if (UDP_N_SLOTS - p->n_held < UDP_MIN_SLOTS)
		udp_pool_flush(p);
	first = p->n_held;
	n_free = UDP_N_SLOTS - first;
	n = recvmmsg(fd, &p->in[first], n_free < UDP_BATCH ? n_free : UDP_BATCH, MSG_DONTWAIT,
		     NULL);
	at_us = n > 0 ? now_us() : 0;
	p->current = s;
	for (unsigned i = first; (int)(i - first) < n; i++) {
		if (p->current == s)
			packet_in(s, i, at_us);
		p->in[i].msg_hdr.msg_namelen = sizeof(p->from[i]);
	}
	/* An error that is pending comes out of the first receive as its result; those that a send
	 * has taken off, and those that the kernel made up itself, do not. */
	if (p->current == s && s->handler->icmp && (n < 0 || s->failed))
		read_errors(s);
	p->current = NULL;
}

/* --- life --- */

static void set_options(struct udp_socket *s, const struct udp_socket_conf *c)
{
	bool ip6 = c->local.family == ADDR_IP6;
	int tos = c->dscp * 4, on = 1, dont = IP_PMTUDISC_DONT;

	/* A kernel that refuses one of them still carries packets. */
	if (c->dscp >= 0 && ip6)
		(void)setsockopt(s->fd, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos));
	else if (c->dscp >= 0)
		(void)setsockopt(s->fd, IPPROTO_IP, IP_TOS, &tos, sizeof(tos));
	if (c->handler->icmp && ip6)
		(void)setsockopt(s->fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof(on));
	else if (c->handler->icmp)
		(void)setsockopt(s->fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on));
	s->clear_df = c->clear_df && !ip6;
	if (s->clear_df)
		(void)setsockopt(s->fd, IPPROTO_IP, IP_MTU_DISCOVER, &dont, sizeof(dont));
}

struct udp_socket *udp_socket_open(struct udp_pool *p, const struct udp_socket_conf *c, int *error)
{
	struct udp_socket *s = calloc(1, sizeof(*s));
	int fd;

	*error = -ENOMEM;
	if (!s)
		return NULL;
	fd = net_bind_udp_sized(&c->local, c->buffer_bytes);
	if (fd < 0) {
		*error = fd;
		free(s);
		return NULL;
	}
	s->fd = fd;
	s->pool = p;
	s->handler = c->handler;
	s->arg = c->arg;
	s->first_send = s->last_send = UDP_NO_SEND;
	s->max_segment = UINT16_MAX;
	list_init(&s->waiting);
	s->local = c->local.port ? c->local : net_local_addr(fd);
	s->family = s->local.family;
	set_options(s, c);
	event_assign(&s->readable, loop_base(p->loop), fd, EV_READ | EV_PERSIST, readable, s);
	if (event_add(&s->readable, NULL) < 0) {
		close(fd);
		free(s);
		return NULL;
	}
	*error = 0;
	return s;
}

void udp_socket_close(struct udp_socket *s)
{
	if (!s)
		return;
	udp_socket_flush(s);
	if (s->pool->current == s)
		s->pool->current = NULL;
	event_del(&s->readable);
	close(s->fd);
	free(s);
}

const struct addr *udp_socket_local(const struct udp_socket *s)
{
	return &s->local;
}
