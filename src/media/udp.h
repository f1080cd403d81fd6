#ifndef MEDIA_UDP_H
#define MEDIA_UDP_H
/*
 * The sockets of the media module on core/udp: the private pairs of the ends and the shared ports
 * of the mux. Hands every packet to the relay or the mux, sends what they ask to send. The only
 * place of the module that knows sockets.
 */
#include "media/engine.h"

struct loop;
struct media_socket;
struct udp_pool;

enum { MEDIA_UDP_MAX_MUX = 64 }; /* shared pairs over all local addresses */

struct media_udp {
	struct loop *loop;
	struct media_engine *engine;
	struct udp_pool *pool;
	struct media_socket *mux[MEDIA_UDP_MAX_MUX * 2]; /* by socket number */
	uint32_t n_mux;					 /* pairs */
	uint8_t dscp_audio, dscp_video;
	uint64_t n_truncated, n_send_failed; /* beside those that the pool counts */
};

/* engine need not be initialised yet. 0 or -ENOMEM. */
int media_udp_init(struct media_udp *u, struct loop *loop, struct media_engine *engine);
/* Closes the shared ports; the ends must be closed before. */
void media_udp_fini(struct media_udp *u);
/* Packets that were too long, and those that could not be sent. */
void media_udp_lost(const struct media_udp *u, uint64_t *n_truncated, uint64_t *n_send_failed);

/* Parts of struct media_io; arg is the struct media_udp. */
int media_udp_open(struct media_udp *u, struct media_end *end);
void media_udp_close(struct media_udp *u, struct media_end *end);
int media_udp_open_mux(struct media_udp *u, const struct addr *local, uint16_t rtp_port,
		       uint32_t *pair);
void media_udp_mux_send(struct media_udp *u, uint32_t socket, const struct addr *to, const void *p,
			size_t n);
void media_udp_send(struct media_udp *u, struct media_end *end, unsigned component,
		    const struct addr *to, const void *p, size_t n);

#endif
