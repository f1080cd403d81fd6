#ifndef CORE_ISO_TIME_H
#define CORE_ISO_TIME_H
/* Wall-clock time as people and JSON see it: ISO 8601, UTC. */
#include <stdint.h>

#define ISO_TIME_BYTES 32

/* Milliseconds since 1970. */
int64_t iso_time_now_ms(void);
/* Seconds since 1970; cheaper. */
int64_t iso_time_now_s(void);
/* "2026-01-31T23:59:59Z"; returns buf. */
const char *iso_time_s(int64_t wall_s, char buf[ISO_TIME_BYTES]);
/* "2026-01-31T23:59:59.123Z"; returns buf. */
const char *iso_time_ms(int64_t wall_ms, char buf[ISO_TIME_BYTES]);

#endif
