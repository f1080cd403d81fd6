#include "media/udp.h"

#include <errno.h>
#include <stdlib.h>

#include "core/loop.h"
#include "core/udp.h"

/* A key frame of many streams may come at once. */
#define BUFFER_BYTES (1024 * 1024)

struct media_socket {
	struct udp_socket *s;
	struct media_udp *udp;
	struct media_end *end; /* NULL: shared port */
	unsigned component;
	uint32_t number; /* shared port: as mux_input() counts */
};

_Static_assert((int)RELAY_PACKET_BYTES <= (int)UDP_PACKET_BYTES &&
		       (int)RELAY_BUFFER_BYTES <= UDP_PACKET_BYTES + UDP_TAILROOM,
	       "the relay grows packets where they lie");

int media_udp_init(struct media_udp *u, struct loop *loop, struct media_engine *engine)
{
	*u = (struct media_udp){ .loop = loop, .engine = engine };
	u->pool = udp_pool_new(loop);
	return u->pool ? 0 : -ENOMEM;
}

static void socket_free(struct media_socket *s)
{
	if (!s)
		return;
	udp_socket_close(s->s);
	free(s);
}

void media_udp_fini(struct media_udp *u)
{
	for (uint32_t i = 0; i < u->n_mux * 2; i++)
		socket_free(u->mux[i]);
	u->n_mux = 0;
	udp_pool_free(u->pool);
	u->pool = NULL;
}

void media_udp_lost(const struct media_udp *u, uint64_t *n_truncated, uint64_t *n_send_failed)
{
	struct udp_stats st = udp_pool_stats(u->pool);

	*n_truncated = u->n_truncated + st.n_truncated;
	*n_send_failed = u->n_send_failed + st.n_send_failed;
}

static void packet_in(void *arg, struct udp_packet *in)
{
	struct media_socket *s = arg;
	struct media_udp *u = s->udp;
	struct mux_packet pkt = { .p = in->p, .n = in->n, .cap = RELAY_BUFFER_BYTES };

	if (in->n > RELAY_PACKET_BYTES) {
		u->n_truncated++;
		return;
	}
	pkt.from = in->from;
	pkt.now_ms = loop_now_ms(u->loop);
	pkt.now_us = in->now_us;
	if (s->end)
		relay_input(s->end, s->component, &pkt);
	else
		mux_input(&u->engine->mux, s->number, &pkt);
}

static const struct udp_handler handler = { .input = packet_in };

static int socket_new(struct media_udp *u, const struct addr *local, uint8_t dscp,
		      struct media_socket **out)
{
	struct media_socket *s = calloc(1, sizeof(*s));
	struct udp_socket_conf c = { .local = *local,
				     .buffer_bytes = BUFFER_BYTES,
				     .dscp = dscp,
				     .handler = &handler,
				     .arg = s };
	int error;

	if (!s)
		return -ENOMEM;
	s->udp = u;
	s->s = udp_socket_open(u->pool, &c, &error);
	if (!s->s) {
		free(s);
		return error;
	}
	*out = s;
	return 0;
}

int media_udp_open(struct media_udp *u, struct media_end *end)
{
	uint8_t dscp = end->stream->video ? u->dscp_video : u->dscp_audio;
	struct media_socket *pair[RELAY_N_COMPONENTS] = { NULL, NULL };

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

void media_udp_close(struct media_udp *u, struct media_end *end)
{
	for (unsigned i = 0; i < RELAY_N_COMPONENTS; i++) {
		socket_free(end->io[i]);
		end->io[i] = NULL;
	}
}

int media_udp_open_mux(struct media_udp *u, const struct addr *local, uint16_t rtp_port,
		       uint32_t *pair)
{
	struct addr at = *local;

	at.port = rtp_port;
	for (uint32_t i = 0; i < u->n_mux; i++) {
		if (addr_eq(udp_socket_local(u->mux[2 * i]->s), &at)) {
			*pair = i;
			return 0;
		}
	}
	if (u->n_mux == MEDIA_UDP_MAX_MUX)
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

static void send_to(struct media_udp *u, const struct media_socket *s, const struct addr *to,
		    const void *p, size_t n)
{
	if (s)
		udp_socket_send(s->s, to, p, n);
	else
		u->n_send_failed++;
}

void media_udp_mux_send(struct media_udp *u, uint32_t socket, const struct addr *to, const void *p,
			size_t n)
{
	if (socket < u->n_mux * 2)
		send_to(u, u->mux[socket], to, p, n);
}

void media_udp_send(struct media_udp *u, struct media_end *end, unsigned component,
		    const struct addr *to, const void *p, size_t n)
{
	if (end->kind == MEDIA_LEG_MUX)
		media_udp_mux_send(u, 2 * end->mux.pair + component, to, p, n);
	else
		send_to(u, end->io[component], to, p, n);
}
