#ifndef CORE_CTL_PRIVATE_H
#define CORE_CTL_PRIVATE_H
/* What the files of the control socket share; nobody else includes this. */
#include <stdint.h>
#include <sys/types.h>

#include "base/slice.h"
#include "core/alarm.h"
#include "core/conn.h"
#include "core/ctl.h"
#include "core/trace.h"

/* ctl_socket.c */
/* A listening, non-blocking Unix stream socket at path, which nobody but the owner can use before
 * it has its group and mode 0660. Removes a socket that nobody listens on. Returns the descriptor,
 * or -EADDRINUSE (somebody listens), -EEXIST (path is something else), -EINVAL (no such group), or
 * what the system said. */
int ctl_socket_listen(const char *path, const char *group);
/* Group and mode of a socket file that is ours. */
int ctl_socket_own(const char *path, const char *group);
/* User id at the other end; -1 when the kernel does not say. */
long ctl_socket_peer_uid(int fd);

/* ctl_commands.c: connections, disconnect, alarms, trace, counters; self is struct env. */
extern const struct ctl_command ctl_commands[];

/* ctl_json.c: JSON of what the core keeps; NULL without memory. */
/* Text that may hold bytes that are not UTF-8: those are escaped. */
json_t *ctl_json_text(const char *text);
/* ended_wall_s < 0: alive. */
json_t *ctl_json_conn(const struct conn *c, int64_t now_ms, int64_t ended_wall_s);
json_t *ctl_json_alarm(const struct alarm_entry *e);
json_t *ctl_json_trace(const struct trace_entry *e);

#endif
