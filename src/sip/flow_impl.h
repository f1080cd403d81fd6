#ifndef SIP_FLOW_IMPL_H
#define SIP_FLOW_IMPL_H
/* Shared by flow*.c and transport*.c only. */
#include "base/htab.h"
#include "base/list.h"
#include "base/timerq.h"
#include "core/loop.h"
#include "core/module.h"
#include "core/net.h"
#include "sip/flow.h"
#include "sip/sip_conf.h"

#define FLOW_MAX_OUTPUT_BYTES (1024 * 1024)

struct bufferevent;
struct evbuffer;
struct event;
struct listener;
struct udp_batch;

/* What differs between streams and datagrams. */
struct flow_io {
	int (*send)(struct flow *f, struct slice bytes);
	/* No more callbacks from the socket; called once, when the flow is marked closed. */
	void (*stop)(struct flow *f);
	/* Writes what the socket takes without waiting, then gives everything back. */
	void (*release)(struct flow *f);
	/* The deadline passed. */
	void (*late)(struct flow *f);
};

/* TCP and TLS. */
struct flow_stream {
	bool is_server;
	int fd; /* while CONNECTING; later the bufferevent's */
	struct event *connected;
	SSL *ssl;		  /* likewise */
	struct evbuffer *waiting; /* messages sent while CONNECTING */
	struct bufferevent *bev;
	char *server_name;
	char *verify_name; /* SAN that the client's certificate must carry, or NULL */
	size_t scanned;	   /* sip_frame_next() */
	size_t n_unread;   /* bytes left in the input by the last read */
	bool linger;	   /* what we said last matters: do not reset the connection */
};

struct flow_udp {
	struct listener *socket;
	struct list lru; /* of transport.udp_idle while nobody holds the flow */
};

struct flow {
	struct conn conn;
	struct transport *t;
	struct list node;	    /* transport.flows */
	struct htab_node by_remote; /* transport.by_remote: dialled ones and UDP */
	bool in_table;
	bool from_outside; /* accepted by a listener whose role is OUTSIDE */
	const struct flow_io *io;
	enum flow_role role;
	enum flow_state state;
	unsigned n_holds;
	int64_t last_rx_ms;
	int64_t idle_since_ms; /* last whole message, or release of the last hold */
	struct net_limits *counted;
	struct timer deadline; /* connect, handshake or message */
	struct timer idle;
	struct loop_deferred bury, announce;
	char why[CONN_REASON_BYTES];
	struct flow_stream s;
	struct flow_udp u;
};

/* One listening TCP socket or one UDP socket. */
struct listener {
	struct conn conn;
	struct transport *t;
	struct list node;
	enum flow_role role;
	char *tls;
	char *verify_name;
	struct acceptor *acceptor; /* TCP, TLS; NULL: draining */
	int fd;			   /* UDP; else -1 */
	struct event *event;	   /* UDP */
	bool keep;		   /* while configuring */
	int64_t garbage_told_ms, refused_told_ms;
};

struct transport {
	struct env *env;
	const struct transport_events *events;
	void *arg;
	char *name;
	const struct conf_snapshot *snap;
	const struct sip_conf *conf; /* of snap; NULL until configured */
	struct list listeners;
	struct list flows;
	struct htab by_remote;
	struct list udp_idle; /* least recently used first */
	/* The public ports cannot use up what the link between E and C needs. */
	struct net_limits *limits, *limits_traversal, *limits_udp;
	struct udp_batch *batch;
	bool draining;
	bool freeing;
};

/* flow.c */
/* Enters a new flow in state CONNECTING (UDP: OPEN). NULL without memory or room in the table. */
struct flow *flow_new(struct transport *t, const struct flow_io *io, const struct conn *like,
		      enum flow_role role);
void flow_set_state(struct flow *f, enum flow_state state);
/* OPEN now: starts the idle time and tells the layer above. */
void flow_opened(struct flow *f);
/* The same, told at the end of the turn. */
void flow_open_later(struct flow *f);
void flow_deadline(struct flow *f, uint32_t ms);
/* Enters it in by_remote. */
void flow_enter(struct flow *f);
/* A refusal by a rule of ours: decision trace, then flow_close(). */
void flow_drop(struct flow *f, const char *code, const char *decided_by, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Tells and frees now; silent: without events. */
void flow_bury(struct flow *f);
/* A whole message came in: parses it and tells. */
void flow_input(struct flow *f, struct slice bytes);
/* Something over max-message: malformed(513), with what the head says. */
void flow_too_big(struct flow *f, struct slice bytes);
/* The message that the head of bytes would make, NULL when there is none. */
struct sip_msg *flow_parse_head(struct slice bytes, size_t max);
/* "5 s", "150 ms" */
const char *flow_ms_str(uint32_t ms, char buf[24]);

/* flow_stream.c */
void flow_stream_accepted(struct listener *l, int fd, const struct addr *remote,
			  struct net_limits *counted);
struct flow *flow_stream_connect(struct transport *t, const struct flow_dest *dest, int *error);

/* flow_udp.c */
int flow_udp_open(struct listener *l);
/* Ends the flows of the socket. */
void flow_udp_close(struct listener *l);
void flow_udp_readable(struct listener *l);
struct flow *flow_udp_to(struct transport *t, const struct flow_dest *dest, int *error);
void flow_udp_held(struct flow *f);
void flow_udp_unheld(struct flow *f);
void flow_udp_free_batch(struct transport *t);

/* transport_listen.c */
int listeners_configure(struct transport *t, const struct conf_snapshot *snap, struct buf *errors);
int listeners_prepare(struct transport *t, const struct conf_snapshot *snap, struct buf *errors);
void listeners_drain(struct transport *t);
void listeners_free(struct transport *t);
/* The one whose port belongs into Via and Contact for this kind of flow, or NULL. */
const struct listener *listener_for(const struct transport *t, enum conn_transport transport,
				    enum flow_role role, const char *zone, uint8_t family);
/* The SIP port that peers inside reach on this address, or NULL. */
const struct listener *listener_at(const struct transport *t, enum conn_transport transport,
				   const struct addr *local);

#endif
