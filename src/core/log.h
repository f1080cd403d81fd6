#ifndef CORE_LOG_H
#define CORE_LOG_H
/*
 * One line an event: `event key=value key=value`. Values come in as printf arguments already named
 * in the format; values from the wire go through log_esc() or a conn's context. stderr, with the
 * syslog priority in front (<6>) when journald reads it (JOURNAL_STREAM set).
 */
#include <stdbool.h>
#include <stdio.h>

#include "base/slice.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

struct log;

/* out: where lines go (not closed). */
struct log *log_new(FILE *out, enum log_level level);
void log_free(struct log *l);
void log_set_level(struct log *l, enum log_level level);
bool log_enabled(const struct log *l, enum log_level level);
/* event: a stable name such as "sip.flow.closed". fmt: "peer=%s reason=%s". A NULL log drops it. */
void log_event(struct log *l, enum log_level level, const char *event, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Escaped copy in a ring of eight static buffers of 512 bytes (longer is cut with "..."), quoted
 * when it holds spaces, '=' or escapes: usable up to eight times in one log_event(). */
const char *log_esc(struct slice s);

#define log_error(l, ...) log_event(l, LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(l, ...)  log_event(l, LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(l, ...)  log_event(l, LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(l, ...) log_event(l, LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
