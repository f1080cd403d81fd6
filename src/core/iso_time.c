#include "core/iso_time.h"

#include <stdio.h>
#include <time.h>

int64_t iso_time_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t iso_time_now_s(void)
{
	return (int64_t)time(NULL);
}

const char *iso_time_s(int64_t wall_s, char buf[ISO_TIME_BYTES])
{
	time_t t = (time_t)wall_s;
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(buf, ISO_TIME_BYTES, "%Y-%m-%dT%H:%M:%SZ", &tm))
		snprintf(buf, ISO_TIME_BYTES, "-");
	return buf;
}

const char *iso_time_ms(int64_t wall_ms, char buf[ISO_TIME_BYTES])
{
	time_t t = (time_t)(wall_ms / 1000);
	struct tm tm;
	size_t n;

	if (!gmtime_r(&t, &tm) || !(n = strftime(buf, ISO_TIME_BYTES, "%Y-%m-%dT%H:%M:%S", &tm)))
		snprintf(buf, ISO_TIME_BYTES, "-");
	else
		snprintf(buf + n, ISO_TIME_BYTES - n, ".%03uZ", (unsigned)(wall_ms % 1000));
	return buf;
}
