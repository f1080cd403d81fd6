#ifndef TURN_SERVER_ITEM_H
#define TURN_SERVER_ITEM_H
/* What an E says of its TURN server: an item of the table "turn" (docs/protocol/control.md). */
#include <jansson.h>

#include "base/slice.h"
#include "turnpike/turn.h"

/* A name, or an address without brackets: it becomes a part of URIs. */
bool turn_server_host_valid(struct slice s);
/* item is well-formed JSON and otherwise hostile: out is filled only with a host that is a name or
 * an address, a realm without control characters, and ports that can be, at least one in all.
 * false: *why, static. */
bool turn_server_item_read(const json_t *item, struct turn_facts *out, const char **why);

#endif
