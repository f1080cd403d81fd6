#ifndef CORE_DAEMON_SERVICE_H
#define CORE_DAEMON_SERVICE_H
/* The daemon and the outside that runs it: signals, readiness, the watchdog of the service manager.
 */
struct daemon;

int daemon_service_start(struct daemon *d);
void daemon_service_stop(struct daemon *d);
void daemon_service_ready(struct daemon *d);
void daemon_service_reloading(struct daemon *d);
void daemon_service_stopping(struct daemon *d);

#endif
