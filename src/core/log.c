#include "core/log.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/iso_time.h"

#define MAX_LINE_BYTES 8192
#define N_ESC_BUFFERS  8
#define ESC_BYTES      512

struct log {
	FILE *out;
	enum log_level level;
	bool journal;
};

/* JOURNAL_STREAM is "device:inode" of the stream that journald reads: a stderr that was redirected
 * since is not it. */
static bool is_journal(FILE *out)
{
	const char *text = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	if (!text || sscanf(text, "%llu:%llu", &device, &inode) != 2)
		return false;
	return fstat(fileno(out), &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

struct log *log_new(FILE *out, enum log_level level)
{
	struct log *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->out = out;
	l->level = level;
	l->journal = is_journal(out);
	return l;
}

void log_free(struct log *l)
{
	free(l);
}

void log_set_level(struct log *l, enum log_level level)
{
	if (l)
		l->level = level;
}

bool log_enabled(const struct log *l, enum log_level level)
{
	return l && level <= l->level;
}

/* journald takes the syslog priority from the front and has its own clock. */
static int print_head(const struct log *l, enum log_level level, char *line, size_t size)
{
	static const char *const names[] = { "error", "warn", "info", "debug" };
	static const int priorities[] = { 3, 4, 6, 7 };
	char when[ISO_TIME_BYTES];

	if (l->journal)
		return snprintf(line, size, "<%d>", priorities[level]);
	return snprintf(line, size, "%s %-5s ", iso_time_ms(iso_time_now_ms(), when), names[level]);
}

/* One event stays one line and moves no cursor, whatever came in as an argument. */
static void blank_controls(char *line, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = ' ';
	}
}

void log_event(struct log *l, enum log_level level, const char *event, const char *fmt, ...)
{
	static const char cut[] = "...";
	char line[MAX_LINE_BYTES];
	size_t room = sizeof(line) - sizeof(cut), n;
	va_list ap;
	int r;

	if (!log_enabled(l, level))
		return;
	n = (size_t)print_head(l, level, line, room);
	r = snprintf(line + n, room - n, "%s ", event);
	n += r < 0 ? 0 : (size_t)r < room - n ? (size_t)r : room - n - 1;
	va_start(ap, fmt);
	r = vsnprintf(line + n, room - n, fmt, ap);
	va_end(ap);
	if (r > 0 && (size_t)r >= room - n) {
		n = room - 1;
		memcpy(line + n, cut, sizeof(cut) - 1);
		n += sizeof(cut) - 1;
	} else if (r > 0) {
		n += (size_t)r;
	}
	blank_controls(line, n);
	if (line[n - 1] == ' ')
		n--;
	line[n++] = '\n';
	fwrite(line, 1, n, l->out);
	fflush(l->out);
}

static bool is_plain(unsigned char c)
{
	return c > 0x20 && c < 0x7f && c != '\\' && c != '"';
}

const char *log_esc(struct slice s)
{
	static const char hex[] = "0123456789abcdef";
	static _Thread_local char buffers[N_ESC_BUFFERS][ESC_BYTES];
	static _Thread_local unsigned next;
	char *b = buffers[next++ % N_ESC_BUFFERS];
	/* Room for the opening quote is in n; kept free at the end: "..." , the quote, NUL. */
	size_t n = 1, room = ESC_BYTES - 5, i;
	bool quoted = s.n == 0;

	b[0] = '"';
	for (i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		bool plain = is_plain(c) || c == ' ';

		if (n + (plain ? 1 : 4) > room)
			break;
		quoted = quoted || !is_plain(c) || c == '=';
		if (plain) {
			b[n++] = (char)c;
			continue;
		}
		b[n++] = '\\';
		b[n++] = 'x';
		b[n++] = hex[c >> 4];
		b[n++] = hex[c & 15];
	}
	if (i < s.n)
		n = (size_t)(stpcpy(b + n, "...") - b);
	if (!quoted) {
		b[n] = '\0';
		return b + 1;
	}
	b[n++] = '"';
	b[n] = '\0';
	return b;
}
