#ifndef SIGNIN_SIDE_H
#define SIGNIN_SIDE_H
/* What the two implementations of service "signin" (core_side.c, edge_side.c) have in common. */
#include <jansson.h>

#include "base/timerq.h"
#include "core/module.h"
#include "signin/session.h"
#include "turnpike/signin.h"
#include "turnpike/tunnel.h"

#define SIGNIN_N_STATUSES (SIGNIN_BAD_REQUEST + 1)

struct signin_admins;

/* What a side stands on. log may be NULL. */
struct signin_world {
	struct timerq *timers;
	struct conn_table *conns;
	struct trace *trace;
	struct log *log;
	void (*random)(void *p, size_t n);
};

/* First member of both. */
struct signin_side {
	struct signin_world w;
	const struct tunnel_ops *tunnel; /* NULL: none */
	void *tunnel_self;
	struct signin_sessions *sessions;
	struct signin_admins *admins; /* the module's; NULL: none */
	uint64_t n_results[SIGNIN_N_STATUSES];
};

/* 0 or -ENOMEM. ops and arg as in session.h. */
int signin_side_init(struct signin_side *s, const struct signin_world *w, size_t max_sessions,
		     size_t max_per_user, const struct signin_sessions_ops *ops);
void signin_side_fini(struct signin_side *s, const char *why);

/* Functions of signin_ops that are the same on both; self is a struct signin_side. */
const struct signin_session *signin_side_by_token(void *self, struct slice token);
const struct signin_session *signin_side_by_id(void *self, struct slice id);
const struct signin_session *signin_side_of_user(void *self, struct slice domain, struct slice user,
						 const struct addr *from);
void signin_side_touch(void *self, struct slice id);
uint64_t signin_side_admin(void *self, struct slice authorization, const struct addr *from,
			   void (*done)(void *arg, enum signin_status status, const char *name,
					uint32_t retry_after_s, const char *why),
			   void *arg);

/* "edge1 (e1.example.com)"-like name of a peer for people; "this box" for 0. */
struct tunnel_peer_info signin_side_peer(const struct signin_side *s, tunnel_peer id);
bool signin_side_peer_up(const struct signin_side *s, tunnel_peer id);

/* Counts a result, and unless it is good puts it into the trace. who: "user@domain", from the wire.
 */
struct signin_event {
	enum signin_status status;
	const char *what; /* "sign-in", "digest" */
	const char *why, *decided_by;
	const struct addr *from; /* may be NULL */
	struct slice domain, user;
	const char *session; /* id, may be NULL */
};
void signin_side_report(struct signin_side *s, const struct signin_event *e);
void signin_side_status(const struct signin_side *s, json_t *out);

#endif
