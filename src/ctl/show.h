#ifndef CTL_SHOW_H
#define CTL_SHOW_H
/* Replies of the daemon as text for people. Each takes the JSON object of the reply and appends. */
#include <jansson.h>

#include "base/buf.h"

typedef void (*show_fn)(const json_t *reply, struct buf *out);

void show_status(const json_t *reply, struct buf *out);
void show_zones(const json_t *reply, struct buf *out);
void show_registrations(const json_t *reply, struct buf *out);
void show_calls(const json_t *reply, struct buf *out);
void show_connections(const json_t *reply, struct buf *out);
void show_alarms(const json_t *reply, struct buf *out);
void show_trace(const json_t *reply, struct buf *out);
void show_locate(const json_t *reply, struct buf *out);
void show_tunnels(const json_t *reply, struct buf *out);
void show_sessions(const json_t *reply, struct buf *out);
void show_uc(const json_t *reply, struct buf *out);
void show_allow(const json_t *reply, struct buf *out);
void show_allow_check(const json_t *reply, struct buf *out);
void show_backends(const json_t *reply, struct buf *out);
void show_turn(const json_t *reply, struct buf *out);
void show_xmpp(const json_t *reply, struct buf *out);
void show_xmpp_partners(const json_t *reply, struct buf *out);
/* Any object: `key: value` lines, nested ones indented. */
void show_object(const json_t *reply, struct buf *out);

#endif
