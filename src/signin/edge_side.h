#ifndef SIGNIN_EDGE_SIDE_H
#define SIGNIN_EDGE_SIDE_H
/*
 * The service on E: copies of what the Cs announce (domains) and keep (sessions), and calls to C
 * for whatever needs a password. Copies outlive the tunnel: a sign-in stays good while a C is out
 * of reach, C checks each request again anyway. When a C has told its whole state after a
 * reconnect, what it did not mention goes.
 */
#include "core/rate.h"
#include "signin/side.h"

#define EDGE_MAX_REQUESTS 4096	/* under way */
#define EDGE_SYNC_MS	  10000 /* for the whole state of a peer to come */

struct edge_side;

struct edge_settings {
	size_t max_sessions;
	struct rate_limit source; /* failures */
	uint32_t timeout_ms;	  /* of a call of C */
};

struct edge_side *edge_side_new(const struct signin_world *w);
/* Requests under way get no result. */
void edge_side_free(struct edge_side *s);
/* Lets go of the tunnel and drops what is under way. */
void edge_side_stop(struct edge_side *s);
/* Registers with the tunnel (ops NULL: there is none, then no domain is served). */
int edge_side_start(struct edge_side *s, const struct service *tunnel);
void edge_side_configure(struct edge_side *s, const struct edge_settings *settings);
struct signin_side *edge_side_base(struct edge_side *s);
void edge_side_status(const struct edge_side *s, json_t *out);

/* self is a struct edge_side. */
extern const struct signin_ops edge_side_ops;

#endif
