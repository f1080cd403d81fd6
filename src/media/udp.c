#include "media/udp.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "core/loop.h"
#include "core/net.h"

struct udp_socket {
	int fd;
	struct event event;
	struct udp *udp;
	struct media_end *end; /* NULL: shared port */
	unsigned component;
	uint32_t number; /* shared port: as mux_input() counts */
	struct addr local;
};

struct udp_batch {
	struct mmsghdr messages[UDP_BATCH];
	struct iovec iovs[UDP_BATCH];
	struct sockaddr_storage from[UDP_BATCH];
	uint8_t bytes[UDP_BATCH][RELAY_BUFFER_BYTES];
};

int udp_init(struct udp *u, struct loop *loop, struct media_engine *engine)
{
	*u = (struct udp){ .loop = loop, .engine = engine };
	u->batch = calloc(1, sizeof(*u->batch));
	if (!u->batch)
		return -ENOMEM;
	for (unsigned i = 0; i < UDP_BATCH; i++) {
		u->batch->iovs[i] = (struct iovec){ u->batch->bytes[i], RELAY_PACKET_BYTES };
		u->batch->messages[i].msg_hdr.msg_iov = &u->batch->iovs[i];
		u->batch->messages[i].msg_hdr.msg_iovlen = 1;
		u->batch->messages[i].msg_hdr.msg_name = &u->batch->from[i];
	}
	return 0;
}

static void socket_free(struct udp_socket *s)
{
	if (!s)
		return;
	event_del(&s->event);
	close(s->fd);
	free(s);
}

void udp_fini(struct udp *u)
{
	for (uint32_t i = 0; i < u->n_mux * 2; i++)
		socket_free(u->mux[i]);
	u->n_mux = 0;
	free(u->batch);
	u->batch = NULL;
}

static int64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void packet_in(struct udp_socket *s, unsigned i, int64_t at_us)
{
	struct udp *u = s->udp;
	const struct mmsghdr *m = &u->batch->messages[i];
	struct mux_packet pkt;

	if (m->msg_hdr.msg_flags & MSG_TRUNC) {
		u->n_truncated++;
		return;
	}
	pkt.p = u->batch->bytes[i];
	pkt.n = m->msg_len;
	pkt.cap = RELAY_BUFFER_BYTES;
	pkt.from = addr_from_sockaddr((const struct sockaddr *)&u->batch->from[i]);
	pkt.now_ms = loop_now_ms(u->loop);
	pkt.now_us = at_us;
	if (s->end)
		relay_input(s->end, s->component, &pkt);
	else
		mux_input(&u->engine->mux, s->number, &pkt);
}

static void readable(evutil_socket_t fd, short what, void *arg)
{
	struct udp_socket *s = arg;
	struct udp_batch *b = s->udp->batch;
	int64_t at_us;
	int n;

	for (unsigned i = 0; i < UDP_BATCH; i++)
		b->messages[i].msg_hdr.msg_namelen = sizeof(b->from[i]);
	n = recvmmsg(fd, b->messages, UDP_BATCH, MSG_DONTWAIT, NULL);
	at_us = n > 0 ? now_us() : 0;
	for (int i = 0; i < n; i++)
		packet_in(s, (unsigned)i, at_us);
}

static void dscp_set(int fd, const struct addr *local, uint8_t dscp)
{
	int tos = dscp << 2;

	/* Marking is a favour to the network; a kernel that refuses it does not stop a call. */
	if (local->family == ADDR_IP6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos));
	else
		(void)setsockopt(fd, IPPROTO_IP, IP_TOS, &tos, sizeof(tos));
}

static int socket_new(struct udp *u, const struct addr *local, uint8_t dscp,
		      struct udp_socket **out)
{
	struct udp_socket *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->udp = u;
	s->local = *local;
	s->fd = net_bind_udp(local);
	if (s->fd < 0) {
		int err = s->fd;

		free(s);
		return err;
	}
	dscp_set(s->fd, local, dscp);
	if (event_assign(&s->event, loop_base(u->loop), s->fd, EV_READ | EV_PERSIST, readable, s) <
		    0 ||
	    event_add(&s->event, NULL) < 0) {
		close(s->fd);
		free(s);
		return -ENOMEM;
	}
	*out = s;
	return 0;
}

int udp_open(struct udp *u, struct media_end *end)
{
	uint8_t dscp = end->stream->video ? u->dscp_video : u->dscp_audio;
	struct udp_socket *pair[RELAY_N_COMPONENTS] = { NULL, NULL };

	for (unsigned i = 0; i < RELAY_N_COMPONENTS; i++) {
		int err = socket_new(u, &end->bound[i], dscp, &pair[i]);

		if (err < 0) {
			socket_free(pair[0]);
			return err;
		}
		pair[i]->end = end;
		pair[i]->component = i;
	}
	end->io[RELAY_RTP] = pair[RELAY_RTP];
	end->io[RELAY_RTCP] = pair[RELAY_RTCP];
	return 0;
}

void udp_close(struct udp *u, struct media_end *end)
{
	for (unsigned i = 0; i < RELAY_N_COMPONENTS; i++) {
		socket_free(end->io[i]);
		end->io[i] = NULL;
	}
}

int udp_open_mux(struct udp *u, const struct addr *local, uint16_t rtp_port, uint32_t *pair)
{
	struct addr at = *local;

	at.port = rtp_port;
	for (uint32_t i = 0; i < u->n_mux; i++) {
		if (addr_eq(&u->mux[2 * i]->local, &at)) {
			*pair = i;
			return 0;
		}
	}
	if (u->n_mux == UDP_MAX_MUX)
		return -ENOSPC;
	for (uint32_t i = 0; i < RELAY_N_COMPONENTS; i++) {
		uint32_t number = 2 * u->n_mux + i;
		int err;

		at.port = (uint16_t)(rtp_port + i);
		err = socket_new(u, &at, u->dscp_audio, &u->mux[number]);
		if (err < 0) {
			if (i > 0)
				socket_free(u->mux[number - 1]);
			return err;
		}
		u->mux[number]->number = number;
	}
	*pair = u->n_mux++;
	return 0;
}

static void send_to(struct udp *u, const struct udp_socket *s, const struct addr *to, const void *p,
		    size_t n)
{
	struct sockaddr_storage ss;
	socklen_t len = addr_to_sockaddr(to, &ss);

	if (!s || len == 0 ||
	    sendto(s->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&ss, len) < 0)
		u->n_send_failed++;
}

void udp_mux_send(struct udp *u, uint32_t socket, const struct addr *to, const void *p, size_t n)
{
	if (socket < u->n_mux * 2)
		send_to(u, u->mux[socket], to, p, n);
}

void udp_send(struct udp *u, struct media_end *end, unsigned component, const struct addr *to,
	      const void *p, size_t n)
{
	if (end->kind == MEDIA_LEG_MUX)
		udp_mux_send(u, 2 * end->mux.pair + component, to, p, n);
	else
		send_to(u, end->io[component], to, p, n);
}
