/*
 * What goes out: queued with its socket, sent when the turn ends. A socket's packets leave in one
 * sendmmsg(), and of them runs of one size to one address as one segmented packet.
 */
#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>

#include "core/udp_impl.h"

/* --- sending --- */

static void set_df(const struct udp_socket *s, bool on)
{
	int off_value = s->clear_df ? IP_PMTUDISC_DONT : IP_PMTUDISC_WANT;
	int value = on ? IP_PMTUDISC_DO : off_value;

	_Static_assert(IP_PMTUDISC_DO == IPV6_PMTUDISC_DO && IP_PMTUDISC_WANT == IPV6_PMTUDISC_WANT,
		       "one set of names for both");
	if (s->family == ADDR_IP6)
		(void)setsockopt(s->fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &value, sizeof(value));
	else
		(void)setsockopt(s->fd, IPPROTO_IP, IP_MTU_DISCOVER, &value, sizeof(value));
}

/* Does b, the next packet behind a run of n that a began, belong to it? */
static bool continues(const struct udp_socket *s, const struct udp_send *a,
		      const struct udp_send *b, unsigned n)
{
	return a->n > 0 && b->n > 0 && b->n <= a->n && a->df == b->df && n < UDP_MAX_SEGMENTS &&
	       a->n <= s->max_segment && a->n * n + b->n <= UDP_MAX_SEGMENTED_BYTES &&
	       addr_eq(&a->to, &b->to);
}

static void set_segment(struct msghdr *h, struct udp_message *m, uint16_t bytes)
{
	struct cmsghdr *c = (struct cmsghdr *)m->control;

	h->msg_control = c;
	h->msg_controllen = sizeof(m->control);
	c->cmsg_level = IPPROTO_UDP;
	c->cmsg_type = UDP_SEGMENT;
	c->cmsg_len = CMSG_LEN(sizeof(bytes));
	memcpy(CMSG_DATA(c), &bytes, sizeof(bytes));
}

/* Makes one message from the sends at `at`; returns the one behind it. */
static unsigned message_make(struct udp_socket *s, unsigned at, unsigned i, unsigned *n_iovs)
{
	struct udp_pool *p = s->pool;
	struct udp_message *m = &p->messages[i];
	struct msghdr *h = &p->out[i].msg_hdr;
	const struct udp_send *a = &p->sends[at], *last = a;

	*h = (struct msghdr){ .msg_name = &m->to, .msg_iov = &p->out_iovs[*n_iovs] };
	h->msg_namelen = addr_to_sockaddr(&a->to, &m->to);
	m->first_send = (uint16_t)at;
	m->n_sends = 0;
	do {
		last = &p->sends[at];
		p->out_iovs[(*n_iovs)++] = (struct iovec){ (void *)last->p, last->n };
		m->n_sends++;
		at = last->next;
		/* Only the last of a run may be shorter. */
	} while (at != UDP_NO_SEND && last->n == a->n &&
		 continues(s, a, &p->sends[at], m->n_sends));
	h->msg_iovlen = m->n_sends;
	if (m->n_sends > 1)
		set_segment(h, m, a->n);
	return at;
}

static bool refuses_segments(int error)
{
	return error == EINVAL || error == EIO || error == EMSGSIZE;
}

/* The kernel does not segment packets of that size here (no checksums in hardware, path too
 * narrow): shorter ones perhaps. */
static void segment_less(struct udp_socket *s, const struct udp_send *a, int error)
{
	s->max_segment = error == EIO ? 0 : (uint16_t)(a->n - 1);
}

static int send_some(struct udp_socket *s, unsigned from, unsigned n)
{
	struct udp_pool *p = s->pool;
	struct mmsghdr *m = &p->out[from];
	int flags = MSG_DONTWAIT | MSG_NOSIGNAL;

	p->stats.n_send_calls++;
	if (n > 1)
		return sendmmsg(s->fd, m, n, flags);
	if (m->msg_hdr.msg_iovlen > 1)
		return sendmsg(s->fd, &m->msg_hdr, flags) < 0 ? -1 : 1;
	/* The most common case, with the least for the kernel to fetch. */
	return sendto(s->fd, m->msg_hdr.msg_iov->iov_base, m->msg_hdr.msg_iov->iov_len, flags,
		      m->msg_hdr.msg_name, m->msg_hdr.msg_namelen) < 0
		       ? -1
		       : 1;
}

static unsigned count_left(const struct udp_pool *p, unsigned at)
{
	unsigned n = 0;

	for (; at != UDP_NO_SEND; at = p->sends[at].next)
		n++;
	return n;
}

/* Sends n messages; `rest` is the send behind them. Returns where to go on. */
static unsigned messages_send(struct udp_socket *s, unsigned n, unsigned rest)
{
	struct udp_pool *p = s->pool;
	bool retried = false;
	unsigned at = 0;

	while (at < n) {
		const struct udp_message *m = &p->messages[at];
		int sent = send_some(s, at, n - at), error = errno;

		if (sent > 0) {
			for (int i = 0; i < sent; i++)
				p->stats.n_out += p->messages[at++].n_sends;
			retried = false;
			continue;
		}
		/* The buffer is full: the next ones would not fit either. */
		if (error == EAGAIN) {
			p->stats.n_send_failed += count_left(p, m->first_send);
			return UDP_NO_SEND;
		}
		s->failed = true;
		/* Perhaps it was the error of an earlier packet (IP_RECVERR), which is gone now. */
		if (s->handler->icmp && !retried) {
			retried = true;
			continue;
		}
		if (m->n_sends > 1 && refuses_segments(error)) {
			segment_less(s, &p->sends[m->first_send], error);
			return m->first_send;
		}
		if (error == EMSGSIZE)
			p->too_big = p->sends[m->first_send].to;
		p->stats.n_send_failed += m->n_sends;
		retried = false;
		at++;
	}
	return rest;
}

void udp_socket_flush(struct udp_socket *s)
{
	struct udp_pool *p = s->pool;
	unsigned at = s->first_send;

	s->first_send = s->last_send = UDP_NO_SEND;
	list_del(&s->waiting);
	while (at != UDP_NO_SEND) {
		bool df = p->sends[at].df;
		unsigned n = 0, n_iovs = 0;

		while (at != UDP_NO_SEND && p->sends[at].df == df && n < UDP_BATCH)
			at = message_make(s, at, n++, &n_iovs);
		if (df)
			set_df(s, true);
		at = messages_send(s, n, at);
		if (df)
			set_df(s, false);
	}
}

void udp_pool_flush(struct udp_pool *p)
{
	while (!list_empty(&p->waiting))
		udp_socket_flush(CONTAINER_OF(list_first(&p->waiting), struct udp_socket, waiting));
	p->n_sends = 0;
	p->n_held = 0;
	p->n_copied = 0;
}

/* --- queueing --- */

/* The slot that holds all n bytes at b; UDP_N_SLOTS: none. */
static unsigned slot_of(const struct udp_pool *p, const void *b, size_t n)
{
	uintptr_t offset = (uintptr_t)b - (uintptr_t)p->slots;

	if (offset >= sizeof(p->slots) || offset % UDP_SLOT_BYTES + n > UDP_SLOT_BYTES)
		return UDP_N_SLOTS;
	return (unsigned)(offset / UDP_SLOT_BYTES);
}

/* Too long to keep: sent at once, behind what waits. */
static void send_long(struct udp_socket *s, const struct addr *to, const void *b, size_t n, bool df)
{
	struct udp_pool *p = s->pool;
	struct sockaddr_storage ss;
	socklen_t len = addr_to_sockaddr(to, &ss);
	int tries = s->handler->icmp ? 2 : 1;
	ssize_t sent = -1;

	udp_socket_flush(s);
	if (df)
		set_df(s, true);
	for (; sent < 0 && tries > 0; tries--) {
		p->stats.n_send_calls++;
		sent = sendto(s->fd, b, n, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&ss,
			      len);
	}
	if (df)
		set_df(s, false);
	s->failed = s->failed || sent < 0;
	if (sent < 0) {
		p->too_big = *to;
		p->stats.n_send_failed++;
	} else {
		p->stats.n_out++;
	}
}

static const uint8_t *copy_of(struct udp_pool *p, const void *b, size_t n)
{
	uint8_t *copy = p->copies + p->n_copied;

	memcpy(copy, b, n);
	p->n_copied += n;
	return copy;
}

static void append(struct udp_socket *s, unsigned i)
{
	struct udp_pool *p = s->pool;

	if (s->first_send == UDP_NO_SEND) {
		s->first_send = (uint16_t)i;
		list_add_tail(&p->waiting, &s->waiting);
	} else {
		p->sends[s->last_send].next = (uint16_t)i;
	}
	s->last_send = (uint16_t)i;
}

static void queue(struct udp_socket *s, const struct addr *to, const void *b, size_t n, bool df)
{
	struct udp_pool *p = s->pool;
	unsigned slot = slot_of(p, b, n);
	struct udp_send *x;

	/* What the kernel would refuse for its address must not look like a refusal of segments. */
	if (to->family != s->family || to->port == 0) {
		p->stats.n_send_failed++;
		return;
	}
	if (slot == UDP_N_SLOTS && n > UDP_PACKET_BYTES) {
		send_long(s, to, b, n, df);
		return;
	}
	if (p->n_sends == UDP_N_SENDS ||
	    (slot == UDP_N_SLOTS && n > sizeof(p->copies) - p->n_copied))
		udp_pool_flush(p);
	x = &p->sends[p->n_sends];
	x->to = *to;
	x->n = (uint16_t)n;
	x->next = UDP_NO_SEND;
	x->df = df;
	x->p = slot == UDP_N_SLOTS ? copy_of(p, b, n) : b;
	if (slot != UDP_N_SLOTS && slot >= p->n_held)
		p->n_held = slot + 1;
	append(s, p->n_sends++);
	loop_defer(p->loop, &p->end_of_turn);
}

void udp_socket_send(struct udp_socket *s, const struct addr *to, const void *p, size_t n)
{
	queue(s, to, p, n, false);
}

void udp_socket_send_df(struct udp_socket *s, const struct addr *to, const void *p, size_t n)
{
	queue(s, to, p, n, true);
}
