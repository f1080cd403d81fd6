/* Relays as sockets. io of a relay: a UDP socket, or the listener of a TCP relay. */
#include <errno.h>

#include "turn/alloc.h"
#include "turn/edge_side.h"

/* Peers that connect to one relay; how many may be there is the machine's to say. */
#define NEW_PEERS_PER_SECOND 100

static void on_packet(void *arg, struct udp_packet *pkt)
{
	struct turn_relay *r = arg;

	turn_server_peer_input(r->alloc->server, r, pkt);
}

static void on_icmp(void *arg, const struct addr *peer, uint8_t type, uint8_t code, uint32_t mtu)
{
	struct turn_relay *r = arg;

	turn_server_peer_icmp(r->alloc->server, r, peer, type, code, mtu);
}

static const struct udp_handler udp_handler = { on_packet, on_icmp };

static int open_udp(struct turn_edge *e, struct turn_relay *r)
{
	struct udp_socket_conf c = { .local = r->local,
				     .dscp = -1,
				     /* RFC 8656 section 14.5: only when the client asks for it. */
				     .clear_df = true,
				     .handler = &udp_handler,
				     .arg = r };
	int error = 0;

	r->io = udp_socket_open(e->pool, &c, &error);
	return r->io ? 0 : error;
}

static void on_peer(void *arg, struct stream *s)
{
	struct turn_relay *r = arg;

	turn_server_peer_connected(r->alloc->server, r, s);
}

static int open_tcp(struct turn_edge *e, struct turn_relay *r)
{
	struct stream_listener_conf c = { .local = r->local,
					  .shared_port = true,
					  .kind = CONN_RELAYED,
					  .limits = { 0, 0, NEW_PEERS_PER_SECOND },
					  .zone = "turn",
					  .accepted = on_peer,
					  .arg = r };
	int error = 0;

	r->io = stream_listener_new(e->env, &c, &error);
	if (error == -ENOSPC) /* the connection table, not a port */
		error = -EMLINK;
	return r->io ? 0 : error;
}

int turn_relay_io_open(void *arg, struct turn_relay *r)
{
	return r->alloc->tcp ? open_tcp(arg, r) : open_udp(arg, r);
}

void turn_relay_io_close(void *arg, struct turn_relay *r)
{
	if (r->alloc->tcp)
		stream_listener_free(r->io);
	else
		udp_socket_close(r->io);
	r->io = NULL;
}

void turn_relay_io_send(void *arg, struct turn_relay *r, const struct addr *to, const void *p,
			size_t n, bool dont_fragment)
{
	if (dont_fragment)
		udp_socket_send_df(r->io, to, p, n);
	else
		udp_socket_send(r->io, to, p, n);
}

static struct stream *connect_peer(void *arg, struct turn_relay *r, const struct addr *to,
				   const struct stream_handler *h, void *harg, int *error)
{
	struct turn_edge *e = arg;
	struct stream_connect c = {
		.to = *to, .from = &r->local, .shared_port = true, .timeout_ms = TURN_TCP_CONNECT_MS
	};

	return stream_connect(e->env, &c, h, harg, error);
}

const struct turn_tcp_ops turn_relay_io_tcp = { connect_peer };
