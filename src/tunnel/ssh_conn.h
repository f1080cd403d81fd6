#ifndef TUNNEL_SSH_CONN_H
#define TUNNEL_SSH_CONN_H
/*
 * One SSH connection of either role, non-blocking on the loop.
 *
 *   C: CONNECTING --TCP--> KEX --host key is the pinned one--> AUTH --> OPENING --hello--> UP
 *   E:                     KEX --------------------------> AUTH --key--> OPENING --hello--> UP
 *   any --error, deadline, ssh_conn_close--> CLOSED, freed at the end of the turn
 *
 * libssh may process packets of any channel inside nearly every call on a session. So its callbacks
 * only take bytes and set marks; everybody else is called from ssh_conn_turn(), after libssh.
 */
#include <libssh/callbacks.h>
#include <libssh/libssh.h>
#include <libssh/server.h>

#include "tunnel/tunnel_impl.h"

#define SSH_CONN_MAX_UNSENT (4 * 1024 * 1024) /* replies that the other side does not take */

enum ssh_conn_state {
	SSH_CONN_CONNECTING,
	SSH_CONN_KEX,
	SSH_CONN_AUTH,
	SSH_CONN_OPENING,
	SSH_CONN_UP,
	SSH_CONN_CLOSED,
};

struct chan;

struct ssh_conn {
	struct conn conn;
	struct tunnel *t;
	struct list node; /* of tunnel.conns */
	bool is_server;
	enum ssh_conn_state state;
	struct peer *peer;		    /* E: after the login */
	uint8_t peer_hash[KEYS_HASH_BYTES]; /* of the key that it proved to have */
	bool peer_proved;
	int64_t agreed_ms; /* since when its control channel stands, 0: not yet */
	unsigned slot;
	bool entered; /* the slot is taken */
	int fd;
	ssh_session session;
	ssh_event event;
	struct event *readable, *writable;
	bool write_on;
	struct timer deadline; /* until UP */
	struct timer blocked;  /* a write waits for libssh's rekey */
	int64_t blocked_ms;    /* since when; 0: not */
	uint64_t blocked_packets;
	struct loop_deferred later;
	bool in_turn, again;
	struct ssh_callbacks_struct callbacks;
	struct ssh_server_callbacks_struct server_callbacks;
	struct ssh_counter_struct socket_count, raw_count, empty_count;
	uint64_t empty_sent;
	/* Channels: */
	struct list chans;   /* all */
	struct list opening; /* ours, no answer yet */
	struct list changed; /* something for the owner, or to close */
	struct list writers; /* have bytes to send */
	struct list stalled; /* have bytes, no window */
	unsigned n_chans;
	struct chan *control_chan;
	struct control_link *link;
	unsigned n_refused, n_auth;
	bool limited; /* counted in tunnel.limits */
	bool leaving; /* the other box said bye */
	/* The control channel until its subsystem is asked for. */
	ssh_channel pending;
	struct chan *pending_chan;
	bool control_asked;
	int step; /* C: of OPENING */
	char cipher[40], kex[48];
	char why[TUNNEL_WHY_BYTES];
};

/* ssh_conn.c */
/* Takes fd over, also when it fails. session may be NULL (C: made when TCP stands). */
struct ssh_conn *ssh_conn_new(struct tunnel *t, int fd, bool is_server);
/* Marks it; the rest at the end of the turn. why: printf, for humans; the first one counts. */
void ssh_conn_close(struct ssh_conn *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Watches the socket from now on. */
int ssh_conn_start(struct ssh_conn *c);
/* Runs a turn soon. */
void ssh_conn_later(struct ssh_conn *c);
/* Gives the session to the event machinery; state OPENING. */
int ssh_conn_authenticated(struct ssh_conn *c);
void ssh_conn_set_state(struct ssh_conn *c, enum ssh_conn_state state);
/* The control channel is there: hello goes out. */
void ssh_conn_control(struct ssh_conn *c, struct chan *ch);
/* May new streams be opened on it? */
bool ssh_conn_usable(const struct ssh_conn *c);
/* The other side asked for something that is not for it: traced, and the end after three. */
void ssh_conn_refused(struct ssh_conn *c, const char *code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Frees what is CLOSED at once (the module stops). */
void ssh_conns_free(struct tunnel *t);

/* ssh_server.c */
void ssh_server_advance(struct ssh_conn *c);
/* ssh_client.c */
/* NULL and negative errno. */
struct ssh_conn *ssh_client_dial(struct slot *s, const struct addr *to, int *error);
void ssh_client_advance(struct ssh_conn *c);

#endif
