#ifndef CORE_SD_NOTIFY_H
#define CORE_SD_NOTIFY_H
/* The service manager's notification protocol, sd_notify(3): one datagram to $NOTIFY_SOCKET. */
#include <stdint.h>

/* Sends "KEY=value\n..." 0 when sent or when nobody wants it, else negative errno. */
int sd_notify_send(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Microseconds between signs of life that the manager demands of this process; 0: none. */
uint64_t sd_notify_watchdog_us(void);

#endif
