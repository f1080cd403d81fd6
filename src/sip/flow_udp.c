/*
 * UDP: a flow is one of our sockets and a remote address. Only a datagram that is SIP makes one;
 * the number is bounded, and what nobody holds gives way, least recently used first.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "core/trace.h"
#include "sip/flow_impl.h"

#define BATCH	      16
#define MAX_PAYLOAD   65507
#define TELL_EVERY_MS 1000

union pktinfo_space {
	char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
	struct cmsghdr align;
};

struct udp_batch {
	struct mmsghdr msgs[BATCH];
	struct iovec iov[BATCH];
	struct sockaddr_storage from[BATCH];
	union pktinfo_space control[BATCH];
	char bytes[BATCH][SIP_MAX_MESSAGE_BYTES];
};

static bool is_wildcard(const struct listener *l)
{
	return addr_class(&l->conn.local) == ADDR_UNSPECIFIED;
}

/* A socket for all addresses has to answer from the address that was asked (RFC 3261 18.2.2 has no
 * other way through a NAT), so it asks to be told. */
int flow_udp_open(struct listener *l)
{
	int on = 1, error;

	if (!l->t->batch)
		l->t->batch = malloc(sizeof(*l->t->batch));
	if (!l->t->batch)
		return -ENOMEM;
	if (!is_wildcard(l))
		return 0;
	if (l->conn.local.family == ADDR_IP6)
		error = setsockopt(l->fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on));
	else
		error = setsockopt(l->fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on));
	return error < 0 ? -errno : 0;
}

void flow_udp_free_batch(struct transport *t)
{
	free(t->batch);
}

static struct addr local_of(const struct listener *l, struct msghdr *h)
{
	struct addr local = l->conn.local;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo info;

			memcpy(&info, CMSG_DATA(c), sizeof(info));
			memcpy(local.ip, &info.ipi_addr, 4);
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo info;

			memcpy(&info, CMSG_DATA(c), sizeof(info));
			memcpy(local.ip, &info.ipi6_addr, 16);
		}
	}
	return local;
}

static void set_source(struct msghdr *h, union pktinfo_space *space, const struct addr *local)
{
	struct cmsghdr *c;

	memset(space, 0, sizeof(*space));
	h->msg_control = space->bytes;
	if (local->family == ADDR_IP6) {
		struct in6_pktinfo info = { 0 };

		h->msg_controllen = CMSG_SPACE(sizeof(info));
		c = CMSG_FIRSTHDR(h);
		c->cmsg_level = IPPROTO_IPV6;
		c->cmsg_type = IPV6_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(&info.ipi6_addr, local->ip, 16);
		memcpy(CMSG_DATA(c), &info, sizeof(info));
	} else {
		struct in_pktinfo info = { 0 };

		h->msg_controllen = CMSG_SPACE(sizeof(info));
		c = CMSG_FIRSTHDR(h);
		c->cmsg_level = IPPROTO_IP;
		c->cmsg_type = IP_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(&info.ipi_spec_dst, local->ip, 4);
		memcpy(CMSG_DATA(c), &info, sizeof(info));
	}
}

static int udp_send(struct flow *f, struct slice bytes)
{
	union pktinfo_space space;
	struct sockaddr_storage to;
	struct iovec iov = { (void *)bytes.p, bytes.n };
	struct msghdr h = { .msg_name = &to, .msg_iov = &iov, .msg_iovlen = 1 };

	if (bytes.n > MAX_PAYLOAD)
		return -EMSGSIZE;
	h.msg_namelen = addr_to_sockaddr(&f->conn.remote, &to);
	if (is_wildcard(f->u.socket) && addr_class(&f->conn.local) != ADDR_UNSPECIFIED)
		set_source(&h, &space, &f->conn.local);
	if (sendmsg(f->u.socket->fd, &h, MSG_DONTWAIT) >= 0)
		return 0;
	if (errno != EAGAIN && errno != ENOBUFS && errno != EINTR)
		return -errno;
	/* A full socket is a lost packet like any other: retransmission cures it. */
	f->conn.n_dropped++;
	return 0;
}

static void udp_stop(struct flow *f)
{
}

static void udp_release(struct flow *f)
{
}

static void udp_late(struct flow *f)
{
}

static const struct flow_io udp_io = {
	.send = udp_send,
	.stop = udp_stop,
	.release = udp_release,
	.late = udp_late,
};

void flow_udp_held(struct flow *f)
{
	list_del(&f->u.lru);
}

void flow_udp_unheld(struct flow *f)
{
	list_del(&f->u.lru);
	list_add_tail(&f->t->udp_idle, &f->u.lru);
}

static struct flow *find(const struct listener *l, const struct addr *remote)
{
	struct htab_node *it = htab_get(&l->t->by_remote, addr_key(remote));

	for (; it; it = htab_get_next(&l->t->by_remote, it)) {
		struct flow *f = CONTAINER_OF(it, struct flow, by_remote);

		if (f->u.socket == l)
			return f;
	}
	return NULL;
}

/* NULL when there is no room for one more. */
static struct flow *new_flow(struct listener *l, const struct addr *remote,
			     const struct addr *local, const char *zone, enum flow_role role,
			     const char **why)
{
	struct transport *t = l->t;
	struct conn like = {
		.parent = l->conn.id, .transport = CONN_UDP, .local = *local, .remote = *remote
	};
	enum net_verdict verdict =
		net_limits_enter(t->limits_udp, remote, loop_now_ms(t->env->loop));
	struct flow *f;

	if (verdict == NET_OVER_TOTAL && !list_empty(&t->udp_idle)) {
		f = CONTAINER_OF(list_first(&t->udp_idle), struct flow, u.lru);
		/* Its place is free at once, not at the end of the turn. */
		net_limits_leave(f->counted, &f->conn.remote);
		f->counted = NULL;
		flow_close(f, "made room for a newer UDP peer");
		verdict = net_limits_enter(t->limits_udp, remote, loop_now_ms(t->env->loop));
	}
	if (verdict != NET_OK) {
		*why = net_verdict_str(verdict);
		return NULL;
	}
	slice_copy(like.zone, sizeof(like.zone), slice_of(zone));
	f = flow_new(t, &udp_io, &like, role);
	if (!f) {
		net_limits_leave(t->limits_udp, remote);
		*why = "connection table full, or out of memory";
		return NULL;
	}
	f->counted = t->limits_udp;
	f->u.socket = l;
	flow_udp_unheld(f);
	flow_enter(f);
	return f;
}

static bool has_only(struct slice s, const char *set, size_t n_set)
{
	for (size_t i = 0; i < s.n; i++) {
		if (!memchr(set, s.p[i], n_set))
			return false;
	}
	return true;
}

/* Counted always, told at most once a second: sources of datagrams are easily forged, and a flood
 * must not wash out what else is remembered. */
static bool is_time_to_tell(const struct listener *l, int64_t *told_ms)
{
	int64_t now = loop_now_ms(l->t->env->loop);

	if (*told_ms != 0 && now - *told_ms < TELL_EVERY_MS)
		return false;
	*told_ms = now;
	return true;
}

static void refused(struct listener *l, const struct addr *from, const struct addr *local,
		    const char *why)
{
	struct conn like = { .kind = CONN_FLOW,
			     .parent = l->conn.id,
			     .transport = CONN_UDP,
			     .local = *local,
			     .remote = *from };

	l->conn.n_dropped++;
	if (!is_time_to_tell(l, &l->refused_told_ms))
		return;
	conn_refused(l->t->env->conns, &like, "%s", why);
	trace_add(l->t->env->trace, "sip.flow.refused", "[sip] max-connections", from, NULL, "%s",
		  why);
}

static void garbage(struct listener *l, struct flow *f, const struct addr *from, const char *why)
{
	l->conn.n_dropped++;
	if (f)
		f->conn.n_dropped++;
	if (is_time_to_tell(l, &l->garbage_told_ms))
		trace_add(l->t->env->trace, "sip.flow.garbage", NULL, from, NULL,
			  "garbage datagram: %s", why);
}

static struct flow *find_or_new(struct listener *l, const struct addr *from,
				const struct addr *local)
{
	struct flow *f = find(l, from);
	const char *why = "draining";

	if (f)
		return f;
	if (!l->t->draining)
		f = new_flow(l, from, local, "", l->role, &why);
	if (!f) {
		refused(l, from, local, why);
		return NULL;
	}
	flow_opened(f);
	return f->state == FLOW_OPEN ? f : NULL;
}

static void keepalive(struct flow *f, struct slice bytes)
{
	if (!f)
		return;
	if (slice_eq(bytes, SLICE("\r\n\r\n")))
		flow_send(f, SLICE("\r\n"));
	else if (f->t->events->pong)
		f->t->events->pong(f->t->arg, f);
}

static void heard(struct flow *f, size_t n_bytes, const struct addr *local)
{
	/* On a socket for all addresses: answers leave from the one that was asked last. */
	f->conn.local = *local;
	f->last_rx_ms = loop_now_ms(f->t->env->loop);
	f->conn.rx_bytes += n_bytes;
	if (f->n_holds == 0)
		flow_udp_unheld(f); /* youngest */
}

static void message(struct listener *l, struct slice bytes, const struct addr *from,
		    const struct addr *local)
{
	struct transport *t = l->t;
	struct sip_msg *m = NULL;
	struct sip_reject why = { 0 };
	int error = sip_msg_parse(bytes, false, &m, &why);
	struct flow *f;

	if (!m) {
		garbage(l, find(l, from), from, error == -ENOMEM ? "out of memory" : why.why);
		return;
	}
	f = find_or_new(l, from, local);
	if (f) {
		heard(f, bytes.n, local);
		f->conn.rx_packets++;
		f->idle_since_ms = f->last_rx_ms;
		if (error == 0) {
			t->events->message(t->arg, f, m);
		} else {
			f->conn.n_dropped++;
			t->events->malformed(t->arg, f, m, &why);
		}
	}
	sip_msg_unref(m);
}

static void too_big(struct listener *l, struct slice bytes, const struct addr *from,
		    const struct addr *local)
{
	struct sip_msg *m = flow_parse_head(bytes, l->t->conf->max_message);
	struct flow *f;

	if (!m) {
		garbage(l, find(l, from), from, "too big, and no SIP head");
		return;
	}
	sip_msg_unref(m);
	f = find_or_new(l, from, local);
	if (f) {
		heard(f, bytes.n, local);
		flow_too_big(f, bytes);
	}
}

static void datagram(struct listener *l, struct slice bytes, bool truncated,
		     const struct addr *from, const struct addr *local)
{
	l->conn.rx_packets++;
	l->conn.rx_bytes += bytes.n;
	if (from->family == ADDR_NONE || from->port == 0) {
		l->conn.n_dropped++;
		return;
	}
	if (has_only(bytes, "\r\n\0", 3)) {
		struct flow *f = find(l, from);

		if (f)
			heard(f, bytes.n, local);
		keepalive(f, bytes);
	} else if (truncated || bytes.n > l->t->conf->max_message) {
		too_big(l, bytes, from, local);
	} else {
		message(l, bytes, from, local);
	}
}

static void prepare_batch(struct udp_batch *b)
{
	for (int i = 0; i < BATCH; i++) {
		b->iov[i] = (struct iovec){ b->bytes[i], sizeof(b->bytes[i]) };
		b->msgs[i].msg_hdr = (struct msghdr){ .msg_name = &b->from[i],
						      .msg_namelen = sizeof(b->from[i]),
						      .msg_iov = &b->iov[i],
						      .msg_iovlen = 1,
						      .msg_control = &b->control[i],
						      .msg_controllen = sizeof(b->control[i]) };
	}
}

/* One batch a turn: the event is level triggered, and others want their turn too. */
void flow_udp_readable(struct listener *l)
{
	struct udp_batch *b = l->t->batch;
	int n;

	prepare_batch(b);
	n = recvmmsg(l->fd, b->msgs, BATCH, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++) {
		struct msghdr *h = &b->msgs[i].msg_hdr;
		struct addr from = addr_from_sockaddr((struct sockaddr *)&b->from[i]);
		struct addr local = local_of(l, h);

		datagram(l, (struct slice){ b->bytes[i], b->msgs[i].msg_len },
			 h->msg_flags & MSG_TRUNC, &from, &local);
	}
}

void flow_udp_close(struct listener *l)
{
	LIST_FOREACH_SAFE (it, &l->t->flows) {
		struct flow *f = CONTAINER_OF(it, struct flow, node);

		if (f->u.socket != l)
			continue;
		flow_close(f, "UDP port closed");
		/* The listener goes now; a flow that is only marked must not point to it. */
		flow_bury(f);
	}
}

/* The first UDP socket of that family. */
static struct listener *socket_for(struct transport *t, const struct flow_dest *dest)
{
	LIST_FOREACH (it, &t->listeners) {
		struct listener *l = CONTAINER_OF(it, struct listener, node);

		if (l->conn.transport == CONN_UDP && l->conn.local.family == dest->addr.family)
			return l;
	}
	return NULL;
}

struct flow *flow_udp_to(struct transport *t, const struct flow_dest *dest, int *error)
{
	struct listener *l = socket_for(t, dest);
	struct addr local;
	const char *why;
	struct flow *f;

	*error = -EADDRNOTAVAIL;
	if (!l)
		return NULL;
	f = find(l, &dest->addr);
	if (f) {
		if (f->conn.zone[0] == '\0')
			slice_copy(f->conn.zone, sizeof(f->conn.zone), slice_of(dest->zone));
		*error = 0;
		return f;
	}
	local = l->conn.local;
	if (is_wildcard(l)) {
		*error = net_source_for(&dest->addr, &local);
		if (*error)
			return NULL;
		local.port = l->conn.local.port;
	}
	f = new_flow(l, &dest->addr, &local, dest->zone, dest->role, &why);
	*error = f ? 0 : -ENOBUFS;
	if (f)
		flow_open_later(f);
	return f;
}
