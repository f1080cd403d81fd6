#ifndef CORE_DAEMON_CTL_H
#define CORE_DAEMON_CTL_H
/* The daemon's own commands on the control socket: status, reload, drain. */
struct daemon;

int daemon_ctl_add(struct daemon *d);

#endif
