#include "core/alarm.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "core/iso_time.h"
#include "core/log.h"

/* Subjects may come from the wire; more alarms than that nobody reads. */
#define MAX_ALARMS 256

struct alarm {
	struct list node;
	struct alarm_entry entry;
};

struct alarms {
	struct list list; /* oldest first */
	size_t n;
	struct log *log;
};

struct alarms *alarms_new(struct log *log)
{
	struct alarms *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	list_init(&a->list);
	a->log = log;
	return a;
}

void alarms_free(struct alarms *a)
{
	if (!a)
		return;
	LIST_FOREACH_SAFE (it, &a->list)
		free(CONTAINER_OF(it, struct alarm, node));
	free(a);
}

/* Ids and subjects compare as they are stored, that is, cut. */
static struct alarm *find(const struct alarms *a, const char *id, const char *subject)
{
	struct alarm_entry key;

	slice_copy(key.id, sizeof(key.id), slice_of(id));
	slice_copy(key.subject, sizeof(key.subject), slice_of(subject));
	LIST_FOREACH (it, &a->list) {
		struct alarm *alarm = CONTAINER_OF(it, struct alarm, node);

		if (strcmp(alarm->entry.id, key.id) == 0 &&
		    strcmp(alarm->entry.subject, key.subject) == 0)
			return alarm;
	}
	return NULL;
}

static struct alarm *add(struct alarms *a, const char *id, const char *subject)
{
	struct alarm *alarm = a->n < MAX_ALARMS ? calloc(1, sizeof(*alarm)) : NULL;

	if (!alarm)
		return NULL;
	slice_copy(alarm->entry.id, sizeof(alarm->entry.id), slice_of(id));
	slice_copy(alarm->entry.subject, sizeof(alarm->entry.subject), slice_of(subject));
	alarm->entry.since_wall_s = iso_time_now_ms() / 1000;
	list_add_tail(&a->list, &alarm->node);
	a->n++;
	return alarm;
}

static void log_raised(const struct alarms *a, const char *id, const char *subject,
		       enum alarm_severity severity, const char *text)
{
	log_event(a->log, severity == ALARM_WARNING ? LOG_LEVEL_WARN : LOG_LEVEL_ERROR,
		  "alarm.raised", "alarm=%s subject=%s severity=%s text=%s", log_esc(slice_of(id)),
		  log_esc(slice_of(subject)), alarm_severity_str(severity),
		  log_esc(slice_of(text)));
}

void alarm_raise(struct alarms *a, const char *id, const char *subject,
		 enum alarm_severity severity, const char *what_to_do, const char *fmt, ...)
{
	char text[sizeof(((struct alarm_entry *)0)->text)];
	struct alarm *alarm;
	bool is_news;
	va_list ap;

	if (!a)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	alarm = find(a, id, subject);
	/* What is raised again each second is logged once. */
	is_news =
		!alarm || alarm->entry.severity != severity || strcmp(alarm->entry.text, text) != 0;
	if (is_news)
		log_raised(a, id, subject, severity, text);
	if (!alarm && !(alarm = add(a, id, subject)))
		return;
	alarm->entry.severity = severity;
	slice_copy(alarm->entry.text, sizeof(alarm->entry.text), slice_of(text));
	slice_copy(alarm->entry.what_to_do, sizeof(alarm->entry.what_to_do), slice_of(what_to_do));
}

void alarm_clear(struct alarms *a, const char *id, const char *subject)
{
	struct alarm *alarm = a ? find(a, id, subject) : NULL;

	if (!alarm)
		return;
	log_info(a->log, "alarm.cleared", "alarm=%s subject=%s", log_esc(slice_of(id)),
		 log_esc(slice_of(subject)));
	list_del(&alarm->node);
	free(alarm);
	a->n--;
}

size_t alarm_count(const struct alarms *a)
{
	return a ? a->n : 0;
}

void alarms_each(const struct alarms *a, void (*fn)(const struct alarm_entry *e, void *arg),
		 void *arg)
{
	if (!a)
		return;
	LIST_FOREACH (it, &a->list)
		fn(&CONTAINER_OF(it, struct alarm, node)->entry, arg);
}

const char *alarm_severity_str(enum alarm_severity s)
{
	return s == ALARM_WARNING ? "warning" : s == ALARM_ERROR ? "error" : "critical";
}
