#ifndef PROTO_CONTROL_MSG_H
#define PROTO_CONTROL_MSG_H
/*
 * Messages of the control channel between C and E (docs/protocol/control.md): a length of four
 * bytes in network order, then so many bytes of JSON (RFC 8259), an object. Every type has a
 * schema; what does not fit it is refused before anybody sees it.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

#define CONTROL_VERSION	       1
#define CONTROL_MAX_BYTES      (256 * 1024) /* one message */
#define CONTROL_MAX_DEPTH      8
#define CONTROL_NAME_BYTES     48	   /* of tables, methods */
#define CONTROL_MAX_ITEM_BYTES (16 * 1024) /* one item of a table, or the parameters of a call */

enum control_type {
	CONTROL_HELLO, /* first in both directions */
	CONTROL_PING,  /* answered with pong at once */
	CONTROL_PONG,
	CONTROL_RESET,	/* table: what was put before is void; the whole state follows */
	CONTROL_PUT,	/* table, key, item */
	CONTROL_DEL,	/* table, key */
	CONTROL_SYNCED, /* table: the state since reset is whole */
	CONTROL_CALL,	/* id, method, params */
	CONTROL_RESULT, /* id, status (0 or a negative errno), value */
	CONTROL_BYE,	/* this connection drains: open nothing new on it */
};

struct control_msg {
	enum control_type type;
	/* hello */
	int version;	/* highest one spoken */
	char name[254]; /* [system] name */
	char software[64];
	char boot[17]; /* changes when the daemon starts: hex */
	/* hello, ping, pong */
	int64_t wall_ms;
	uint64_t n; /* ping, pong: echoed */
	/* reset, put, del, synced */
	char table[CONTROL_NAME_BYTES];
	char key[256];
	/* call, result */
	uint64_t id;
	char method[CONTROL_NAME_BYTES];
	int status;
	json_t *value; /* item, params or value: a reference of its own, or NULL */
};

/* The next message of bytes. 0: not whole yet (or over, *used is 0 then); 1: out is filled and
 * *used bytes belong to it; -EPROTO with *why: too long, not JSON, not an object of a known type, a
 * member missing, of a wrong type or out of its bounds, nested too deeply, duplicate members.
 * Unknown members are ignored (a later version may add some); unknown types are *why "unknown type"
 * with *used set, so that the caller may skip them once the other side speaks a higher version. */
int control_msg_decode(struct slice bytes, struct control_msg *out, size_t *used, const char **why);
void control_msg_fini(struct control_msg *m);
/* Appends length and JSON; false when it is over the bound or without memory (nothing added). Does
 * not take m->value over. */
bool control_msg_encode(struct buf *out, const struct control_msg *m);

#endif
