#ifndef SIP_TXN_IMPL_H
#define SIP_TXN_IMPL_H
/* Shared by txn.c, txn_server.c and txn_client.c only. */
#include "base/htab.h"
#include "base/list.h"
#include "proto/sip_build.h"
#include "sip/txn.h"

enum txn_state {
	TXN_CALLING, /* client TRYING too */
	TXN_PROCEEDING,
	TXN_ACCEPTED,
	TXN_COMPLETED,
	TXN_CONFIRMED,
	TXN_TERMINATED,
};

/* What both sides have. */
struct txn {
	struct htab_node node;
	char *key;
	size_t key_n;
	struct txn_layer *layer;
	uint64_t flow;
	bool reliable;
	bool flow_dead;
	bool is_invite;
	enum txn_state state;
	struct timer retransmit; /* A, E, G */
	struct timer life;	 /* B, D, F, H, I, J, K, L, M */
	uint32_t interval_ms;
	char *last; /* what to retransmit: request, or last response */
	size_t last_n;
};

struct txn_server {
	struct txn t;
	struct sip_msg *request;
	struct addr from;
	char to_tag[TXN_BRANCH_BYTES];
	bool final_sent;
	void *user;
	void (*on_end)(void *user, struct txn_server *t);
};

struct txn_client {
	struct txn t;
	enum sip_method method;
	const struct txn_client_events *events;
	void *arg;
	bool cancel_wanted, cancel_sent;
	struct timer error; /* transport errors are told from here */
	char error_why[128];
};

struct txn_layer {
	struct timerq *timers;
	struct txn_timers conf;
	const struct txn_ops *ops;
	void *arg;
	struct htab server, client;
	uint8_t seed[16];
	uint64_t counter;
};

void txn_random_text(struct txn_layer *l, char *out, size_t size);
void txn_set_state(struct txn *t, enum txn_state state);
bool txn_table_full(const struct txn_layer *l, uint64_t flow);
uint32_t txn_unless_reliable(const struct txn *t, uint32_t ms);
int txn_server_input(struct txn_layer *l, uint64_t flow, const struct addr *from,
		     struct sip_msg *m);
int txn_client_input(struct txn_layer *l, uint64_t flow, struct sip_msg *m);
void txn_server_end(struct txn_server *s);
void txn_client_end(struct txn_client *c);
void txn_client_transport_error(struct txn_client *c, const char *why);

#endif
