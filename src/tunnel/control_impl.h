#ifndef TUNNEL_CONTROL_IMPL_H
#define TUNNEL_CONTROL_IMPL_H
/* Shared by control.c (hub, tables), control_link.c (frames, hello, ping) and control_call.c only.
 */
#include "base/htab.h"
#include "base/list.h"
#include "tunnel/control.h"

struct published {
	char name[CONTROL_NAME_BYTES];
	const struct tunnel_source *source;
	void *arg;
};

struct subscribed {
	char name[CONTROL_NAME_BYTES];
	const struct tunnel_sink *sink;
	void *arg;
};

struct method {
	char name[CONTROL_NAME_BYTES];
	tunnel_serve fn;
	void *arg;
};

struct control_hub {
	struct timerq *timers;
	const struct control_conf *conf;
	const struct control_ops *ops;
	void *arg;
	struct published published[CONTROL_MAX_TABLES];
	struct subscribed subscribed[CONTROL_MAX_TABLES];
	struct method methods[CONTROL_MAX_METHODS];
	size_t n_published, n_subscribed, n_methods;
	struct htab calls;   /* ours under way, by id */
	struct list serving; /* theirs whose link is gone */
	uint64_t next_id;
	struct buf out; /* scratch for one message */
};

struct control {
	struct control_hub *hub;
	tunnel_peer id;
	void *peer;
	struct list links; /* oldest first */
	struct control_link *carrier;
	bool up;
	unsigned n_calls, n_serving;
	/* By index of hub->published: its copy there is not what we have. */
	bool dirty[CONTROL_MAX_TABLES];
	/* By index of hub->subscribed: the link whose reset came last; puts of others are late. */
	struct control_link *from[CONTROL_MAX_TABLES];
};

enum link_state { LINK_HELLO_WAIT, LINK_AGREED, LINK_LEAVING, LINK_CLOSED };

struct control_link {
	struct list node;
	struct control *control;
	void *conn;
	enum link_state state;
	int version; /* highest that the other box speaks */
	bool said_bye;
	struct buf in;
	struct list serving; /* struct tunnel_call */
	struct timer ping, dead, more;
	int64_t last_ms; /* something came */
	uint64_t ping_n;
	int64_t ping_ms; /* when it was sent */
	uint32_t rtt_ms;
	uint64_t n_messages;
	/* Token buckets, in thousandths. */
	int64_t filled_ms;
	int64_t msg_tokens, byte_tokens;
	size_t backlog; /* as ops->send() said last */
};

struct tunnel_call {
	struct list node;
	struct control_link *link; /* NULL: gone, the answer goes nowhere */
	uint64_t id;
};

/* control_link.c */
bool control_link_send(struct control_link *l, const struct control_msg *m);
void control_link_fail(struct control_link *l, const char *code, const char *why);

/* control.c */
void control_link_up(struct control_link *l);
/* It carries nothing of ours any more. */
void control_link_down(struct control_link *l);
void control_table_input(struct control_link *l, const struct control_msg *m);
void control_sync_dirty(struct control *c);

/* control_call.c */
void control_call_input(struct control_link *l, const struct control_msg *m);
void control_result_input(struct control_link *l, const struct control_msg *m);
void control_calls_lost(struct control_link *l);
struct slice control_call_key(const struct htab_node *node);
void control_calls_free(struct control_hub *h);

#endif
