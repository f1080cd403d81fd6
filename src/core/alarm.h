#ifndef CORE_ALARM_H
#define CORE_ALARM_H
/* Alarms: conditions that last until cleared, each with an id, a severity and what to do about it.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum alarm_severity { ALARM_WARNING, ALARM_ERROR, ALARM_CRITICAL };

struct log;
struct alarms;

struct alarm_entry {
	char id[48];	  /* "link-down" */
	char subject[96]; /* what it is about: zone, peer, file; "" for none */
	enum alarm_severity severity;
	int64_t since_wall_s;
	char text[256];
	char what_to_do[256];
};

struct alarms *alarms_new(struct log *log);
void alarms_free(struct alarms *a);
/* Raising an alarm that stands already (same id and subject) updates its text and keeps `since`. */
void alarm_raise(struct alarms *a, const char *id, const char *subject,
		 enum alarm_severity severity, const char *what_to_do, const char *fmt, ...)
	__attribute__((format(printf, 6, 7)));
void alarm_clear(struct alarms *a, const char *id, const char *subject);
size_t alarm_count(const struct alarms *a);
void alarms_each(const struct alarms *a, void (*fn)(const struct alarm_entry *e, void *arg),
		 void *arg);
const char *alarm_severity_str(enum alarm_severity s);

#endif
