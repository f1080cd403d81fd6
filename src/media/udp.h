#ifndef MEDIA_UDP_H
#define MEDIA_UDP_H
/*
 * The sockets of the media module on the loop: the private pairs of the ends and the shared ports
 * of the mux. Reads in batches (recvmmsg) into buffers allocated once, hands every packet to the
 * relay or the mux, sends what they ask to send. The only place of the module that knows sockets.
 */
#include "media/engine.h"

struct loop;
struct udp_socket;

enum {
	UDP_BATCH = 32,	  /* packets a wakeup, so that no socket starves the others */
	UDP_MAX_MUX = 64, /* shared pairs over all local addresses */
};

struct udp {
	struct loop *loop;
	struct media_engine *engine;
	struct udp_batch *batch;
	struct udp_socket *mux[UDP_MAX_MUX * 2]; /* by socket number */
	uint32_t n_mux;				 /* pairs */
	uint8_t dscp_audio, dscp_video;
	uint64_t n_truncated, n_send_failed;
};

/* engine need not be initialised yet. 0 or -ENOMEM. */
int udp_init(struct udp *u, struct loop *loop, struct media_engine *engine);
/* Closes the shared ports; the ends must be closed before. */
void udp_fini(struct udp *u);

/* Parts of struct media_io; arg is the struct udp. */
int udp_open(struct udp *u, struct media_end *end);
void udp_close(struct udp *u, struct media_end *end);
int udp_open_mux(struct udp *u, const struct addr *local, uint16_t rtp_port, uint32_t *pair);
void udp_mux_send(struct udp *u, uint32_t socket, const struct addr *to, const void *p, size_t n);
void udp_send(struct udp *u, struct media_end *end, unsigned component, const struct addr *to,
	      const void *p, size_t n);

#endif
