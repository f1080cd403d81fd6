#include "proto/sdp.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sdp_text {
	struct sdp_text *next;
	char p[];
};

static char *text_new(struct sdp *sdp, size_t n)
{
	struct sdp_text *t = malloc(sizeof(*t) + n + 1);

	if (!t)
		return NULL;
	t->next = sdp->texts;
	sdp->texts = t;
	t->p[n] = '\0';
	return t->p;
}

void sdp_fini(struct sdp *sdp)
{
	struct sdp_text *t;

	free(sdp->session.lines);
	for (size_t i = 0; i < sdp->n_media; i++)
		free(sdp->media[i].lines);
	while ((t = sdp->texts)) {
		sdp->texts = t->next;
		free(t);
	}
	memset(sdp, 0, sizeof(*sdp));
}

/* Opens a gap at `at`; the caller fills it. */
static int section_insert(struct sdp_section *s, size_t at)
{
	if (s->n == SDP_MAX_LINES)
		return -E2BIG;
	if (s->n == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 16;
		struct sdp_line *lines = realloc(s->lines, cap * sizeof(*lines));

		if (!lines)
			return -ENOMEM;
		s->lines = lines;
		s->cap = cap;
	}
	memmove(s->lines + at + 1, s->lines + at, (s->n - at) * sizeof(*s->lines));
	s->n++;
	return 0;
}

/* Next field of a line whose fields are parted by single spaces. */
static struct slice field(struct slice *rest)
{
	return rest->p ? slice_next(rest, ' ') : SLICE_NONE;
}

static bool is_token(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c <= ' ' || c >= 0x7f || strchr("\"(),:;<=>?@[\\]", c))
			return false;
	}
	return s.n > 0;
}

static enum sdp_profile profile_of(struct slice proto)
{
	static const char *const names[] = { "RTP/AVP",	  "RTP/AVPF",	      "RTP/SAVP",
					     "RTP/SAVPF", "UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (slice_caseeq(proto, slice_of(names[i])))
			return (enum sdp_profile)i;
	if (slice_caseeq(proto, SLICE("udp")) || slice_caseeq(proto, SLICE("udptl")))
		return SDP_UDP_OTHER;
	if (proto.n > 4 && slice_caseeq((struct slice){ proto.p, 4 }, SLICE("UDP/")))
		return SDP_UDP_OTHER;
	return SDP_OTHER;
}

const char *sdp_profile_str(enum sdp_profile p)
{
	switch (p) {
	case SDP_RTP_AVP:
		return "RTP/AVP";
	case SDP_RTP_AVPF:
		return "RTP/AVPF";
	case SDP_RTP_SAVP:
		return "RTP/SAVP";
	case SDP_RTP_SAVPF:
		return "RTP/SAVPF";
	case SDP_DTLS_SAVP:
		return "UDP/TLS/RTP/SAVP";
	case SDP_DTLS_SAVPF:
		return "UDP/TLS/RTP/SAVPF";
	case SDP_UDP_OTHER:
	case SDP_OTHER:
		break;
	}
	return NULL;
}

static bool media_parse(struct slice value, struct sdp_media *out)
{
	struct slice rest = value, port, count;
	uint64_t n = 1, number;

	out->media = field(&rest);
	count = field(&rest);
	out->proto = field(&rest);
	out->formats = rest.p ? rest : SLICE_NONE;
	port = slice_next(&count, '/');
	if (!is_token(out->media) || !slice_u64(port, 65535, &number))
		return false;
	if (count.p && (!slice_u64(count, 65535, &n) || n == 0))
		return false;
	if (out->proto.n == 0 || slice_trim(out->formats).n == 0)
		return false;
	out->port = (uint16_t)number;
	out->n_ports = (uint16_t)n;
	out->profile = profile_of(out->proto);
	return true;
}

static bool origin_parse(struct slice value, struct sdp_origin *out)
{
	struct slice rest = value;
	uint64_t n;

	out->username = field(&rest);
	out->sess_id = field(&rest);
	out->sess_version = field(&rest);
	out->net_type = field(&rest);
	out->addr_type = field(&rest);
	out->address = rest.p ? slice_trim(rest) : SLICE_NONE;
	return out->username.n && slice_u64(out->sess_id, UINT64_MAX, &n) &&
	       slice_u64(out->sess_version, UINT64_MAX, &n) && out->net_type.n &&
	       out->addr_type.n && out->address.n;
}

/* What one line may be where it stands; NULL when it may. `at` counts the session lines before. */
static const char *line_fault(const struct sdp *sdp, const struct sdp_section *s, char type,
			      struct slice value)
{
	static const char head[] = "vos";
	struct sdp_origin origin;
	struct sdp_media media;

	if (sdp->n_media == 0 && sdp->session.n < 3) {
		if (type != head[sdp->session.n])
			return "an SDP begins with v=, o= and s=";
		if (type == 'v' && !slice_eq(value, SLICE("0")))
			return "v= must be 0";
		if (type == 'o' && !origin_parse(value, &origin))
			return "malformed o= line";
		return NULL;
	}
	if (type == 'v' || type == 'o' || type == 's')
		return "second v=, o= or s= line";
	if (type == 'm' && !media_parse(value, &media))
		return "malformed m= line";
	if (type == 'c' && sdp_find(s, 'c', 0) < s->n)
		return "second c= line in a section";
	return NULL;
}

static int line_add(struct sdp *sdp, char type, struct slice value, const char **what)
{
	struct sdp_section *s = sdp->n_media ? &sdp->media[sdp->n_media - 1] : &sdp->session;
	int err;

	*what = line_fault(sdp, s, type, value);
	if (*what)
		return -EINVAL;
	if (type == 'm') {
		if (sdp->n_media == SDP_MAX_MEDIA) {
			*what = "too many m= lines";
			return -E2BIG;
		}
		s = &sdp->media[sdp->n_media++];
	}
	err = section_insert(s, s->n);
	if (err == -E2BIG)
		*what = "too many lines in a section";
	if (err == 0)
		s->lines[s->n - 1] = (struct sdp_line){ type, value };
	return err;
}

static bool value_clean(struct slice v)
{
	for (size_t i = 0; i < v.n; i++)
		if (v.p[i] == '\0' || v.p[i] == '\r')
			return false;
	return true;
}

/* Without the blank lines at the end; the last real line stays as it is. */
static struct slice without_tail(struct slice s)
{
	struct slice t = slice_trim(s);
	size_t end = t.n ? (size_t)(t.p - s.p) + t.n : 0;

	s.n = end + slice_find((struct slice){ s.p + end, s.n - end }, '\n');
	return end ? s : SLICE_NONE;
}

static int lines_parse(struct sdp *sdp, struct slice rest, struct sdp_error *err)
{
	int rc = 0;

	rest = without_tail(rest);
	while (rest.p && rest.n && rc == 0) {
		struct slice line = slice_next(&rest, '\n');

		err->line++;
		if (line.n && line.p[line.n - 1] == '\r')
			line.n--;
		err->what = "not a `letter=value` line";
		if (line.n < 2 || line.p[0] < 'a' || line.p[0] > 'z' || line.p[1] != '=')
			return -EINVAL;
		err->what = "NUL or lone CR";
		if (!value_clean(line))
			return -EINVAL;
		rc = line_add(sdp, line.p[0], (struct slice){ line.p + 2, line.n - 2 }, &err->what);
	}
	if (rc == 0 && sdp->session.n < 3) {
		err->what = "an SDP begins with v=, o= and s=";
		rc = -EINVAL;
	}
	return rc;
}

int sdp_parse(struct sdp *sdp, struct slice text, struct sdp_error *err)
{
	struct sdp_error ignored;
	char *copy;
	int rc;

	if (!err)
		err = &ignored;
	*err = (struct sdp_error){ 0, "out of memory" };
	memset(sdp, 0, sizeof(*sdp));
	if (text.n > SDP_MAX_BYTES) {
		err->what = "longer than 32768 bytes";
		return -E2BIG;
	}
	copy = text_new(sdp, text.n);
	if (!copy)
		return -ENOMEM;
	if (text.n)
		memcpy(copy, text.p, text.n);
	rc = lines_parse(sdp, (struct slice){ copy, text.n }, err);
	if (rc < 0)
		sdp_fini(sdp);
	return rc;
}

static void section_print(const struct sdp_section *s, struct buf *out)
{
	for (size_t i = 0; i < s->n; i++) {
		buf_add_char(out, s->lines[i].type);
		buf_add_char(out, '=');
		buf_add_slice(out, s->lines[i].value);
		buf_add(out, "\r\n", 2);
	}
}

void sdp_print(const struct sdp *sdp, struct buf *out)
{
	section_print(&sdp->session, out);
	for (size_t i = 0; i < sdp->n_media; i++)
		section_print(&sdp->media[i], out);
}

size_t sdp_find(const struct sdp_section *s, char type, size_t from)
{
	size_t i;

	for (i = from; i < s->n; i++)
		if (s->lines[i].type == type)
			break;
	return i < s->n ? i : s->n;
}

struct slice sdp_attr_name(const struct sdp_line *line)
{
	return (struct slice){ line->value.p, slice_find(line->value, ':') };
}

size_t sdp_attr_find(const struct sdp_section *s, const char *name, size_t from,
		     struct slice *value)
{
	struct slice want = slice_of(name);

	for (size_t i = from; i < s->n; i++) {
		const struct sdp_line *l = &s->lines[i];
		struct slice have;

		if (l->type != 'a')
			continue;
		have = sdp_attr_name(l);
		if (!slice_eq(have, want))
			continue;
		if (value && have.n < l->value.n)
			*value = (struct slice){ have.p + have.n + 1, l->value.n - have.n - 1 };
		else if (value)
			*value = (struct slice){ have.p + have.n, 0 };
		return i;
	}
	return s->n;
}

bool sdp_attr(const struct sdp_section *s, const char *name, struct slice *value)
{
	return sdp_attr_find(s, name, 0, value) < s->n;
}

bool sdp_attr_inherited(const struct sdp *sdp, size_t m, const char *name, struct slice *value)
{
	return sdp_attr(&sdp->media[m], name, value) || sdp_attr(&sdp->session, name, value);
}

bool sdp_origin(const struct sdp *sdp, struct sdp_origin *out)
{
	size_t i = sdp_find(&sdp->session, 'o', 0);

	return i < sdp->session.n && origin_parse(sdp->session.lines[i].value, out);
}

/* "IN IP4 192.0.2.1[/ttl]" */
static bool address_parse(struct slice value, struct addr *ip)
{
	struct slice rest = value, net = field(&rest), type = field(&rest), text, host;

	if (!rest.p || !slice_caseeq(net, SLICE("IN")))
		return false;
	text = slice_trim(rest);
	host = slice_next(&text, '/');
	if (host.n == 0 || host.p[0] == '[' || !addr_parse_ip(host, 0, ip))
		return false;
	if (slice_caseeq(type, SLICE("IP4")))
		return ip->family == ADDR_IP4;
	/* An IPv4-mapped address is written under IP6 and kept as IPv4 (base/addr.h). */
	return slice_caseeq(type, SLICE("IP6")) && slice_find(host, ':') < host.n;
}

bool sdp_connection(const struct sdp *sdp, size_t m, struct addr *ip)
{
	const struct sdp_section *s = &sdp->media[m];
	size_t i = sdp_find(s, 'c', 0);

	if (i == s->n) {
		s = &sdp->session;
		i = sdp_find(s, 'c', 0);
	}
	return i < s->n && address_parse(s->lines[i].value, ip);
}

bool sdp_media(const struct sdp *sdp, size_t m, struct sdp_media *out)
{
	return m < sdp->n_media && media_parse(sdp->media[m].lines[0].value, out);
}

bool sdp_rtcp(const struct sdp *sdp, size_t m, uint16_t *port, struct addr *ip)
{
	struct slice rest, number;
	uint64_t n;

	*ip = (struct addr){ 0 };
	if (!sdp_attr(&sdp->media[m], "rtcp", &rest))
		return false;
	number = field(&rest);
	if (!slice_u64(number, 65535, &n) || n == 0)
		return false;
	*port = (uint16_t)n;
	return !rest.p || address_parse(rest, ip);
}

static const char *const directions[] = { "sendrecv", "sendonly", "recvonly", "inactive" };

static bool section_direction(const struct sdp_section *s, enum sdp_direction *out)
{
	for (size_t i = 0; i < sizeof(directions) / sizeof(directions[0]); i++) {
		if (sdp_attr(s, directions[i], NULL)) {
			*out = (enum sdp_direction)i;
			return true;
		}
	}
	return false;
}

enum sdp_direction sdp_direction(const struct sdp *sdp, size_t m)
{
	enum sdp_direction d = SDP_SENDRECV;

	if (!section_direction(&sdp->media[m], &d))
		section_direction(&sdp->session, &d);
	return d;
}

const char *sdp_direction_str(enum sdp_direction d)
{
	return directions[d];
}

unsigned sdp_ptime(const struct sdp *sdp, size_t m)
{
	struct slice value;
	uint64_t n;

	if (!sdp_attr(&sdp->media[m], "ptime", &value) || !slice_u64(slice_trim(value), 10000, &n))
		return 0;
	return (unsigned)n;
}

/* RFC 3551 section 6: the static types that do not run at 8000 Hz. */
static uint32_t static_rate(uint64_t pt)
{
	switch (pt) {
	case 6:
		return 16000;
	case 10:
	case 11:
		return 44100;
	case 16:
		return 11025;
	case 17:
		return 22050;
	case 14:
	case 25:
	case 26:
	case 28:
	case 31:
	case 32:
	case 33:
	case 34:
		return 90000;
	default:
		return 8000;
	}
}

uint32_t sdp_clock_rate(const struct sdp *sdp, size_t m)
{
	const struct sdp_section *s = &sdp->media[m];
	struct sdp_media media;
	struct slice first, value;
	uint64_t pt, rate;

	if (!sdp_media(sdp, m, &media))
		return 8000;
	first = field(&media.formats);
	if (!slice_u64(first, 127, &pt))
		return 8000;
	for (size_t i = sdp_attr_find(s, "rtpmap", 0, &value); i < s->n;
	     i = sdp_attr_find(s, "rtpmap", i + 1, &value)) {
		if (!slice_eq(field(&value), first) || !value.p)
			continue;
		slice_next(&value, '/');
		if (value.p && slice_u64(slice_trim(slice_next(&value, '/')), 1000000, &rate) &&
		    rate > 0)
			return (uint32_t)rate;
	}
	return static_rate(pt);
}

bool sdp_candidate_parse(struct slice value, struct sdp_candidate *out)
{
	struct slice rest = value, component, priority, host, port;
	uint64_t n_component, n_priority, n_port;

	out->foundation = field(&rest);
	component = field(&rest);
	out->transport = field(&rest);
	priority = field(&rest);
	host = field(&rest);
	port = field(&rest);
	if (!slice_eq(field(&rest), SLICE("typ")))
		return false;
	out->type = field(&rest);
	if (!out->foundation.n || out->foundation.n > 32 || !out->transport.n || !out->type.n)
		return false;
	if (!slice_u64(component, 256, &n_component) || n_component == 0 ||
	    !slice_u64(priority, UINT32_MAX, &n_priority) || !slice_u64(port, 65535, &n_port) ||
	    host.n == 0)
		return false;
	out->component = (unsigned)n_component;
	out->priority = (uint32_t)n_priority;
	if (!addr_parse_ip(host, (uint16_t)n_port, &out->addr))
		out->addr = (struct addr){ 0 };
	return true;
}

bool sdp_crypto_parse(struct slice value, struct sdp_crypto *out)
{
	struct slice rest = value, tag = field(&rest);
	uint64_t n;

	/* RFC 4568 section 9.1: tag is 1 to 9 digits. */
	if (tag.n > 9 || !slice_u64(tag, 999999999, &n))
		return false;
	out->tag = (uint32_t)n;
	out->suite = field(&rest);
	out->key_params = field(&rest);
	out->session_params = rest.p ? slice_trim(rest) : SLICE_NONE;
	return out->suite.n && out->key_params.n;
}

static __attribute__((format(printf, 3, 0))) int value_print(struct sdp *sdp, struct slice *value,
							     const char *fmt, va_list ap)
{
	va_list again;
	char *p;
	int n;

	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	p = n < 0 ? NULL : text_new(sdp, (size_t)n);
	if (!p)
		return -ENOMEM;
	vsnprintf(p, (size_t)n + 1, fmt, ap);
	*value = (struct slice){ p, (size_t)n };
	return 0;
}

int sdp_line_set(struct sdp *sdp, struct sdp_section *s, size_t i, const char *fmt, ...)
{
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = value_print(sdp, &s->lines[i].value, fmt, ap);
	va_end(ap);
	return rc;
}

/* Where a line of that type goes: before the first line that RFC 8866 section 5 puts after it. */
static size_t place_of(const struct sdp_section *s, char type)
{
	static const char order[] = "vmosiuepcbtrzka";
	const char *mine = strchr(order, type);
	size_t i;

	for (i = 0; i < s->n && mine; i++) {
		const char *its = strchr(order, s->lines[i].type);

		if (its && its > mine)
			break;
	}
	return mine ? i : s->n;
}

static int value_insert(struct sdp_section *s, size_t at, char type, struct slice value)
{
	int rc = section_insert(s, at);

	if (rc == 0)
		s->lines[at] = (struct sdp_line){ type, value };
	return rc;
}

int sdp_set(struct sdp *sdp, struct sdp_section *s, char type, const char *fmt, ...)
{
	size_t i = sdp_find(s, type, 0);
	struct slice value;
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = value_print(sdp, &value, fmt, ap);
	va_end(ap);
	if (rc < 0)
		return rc;
	if (i == s->n)
		return value_insert(s, place_of(s, type), type, value);
	s->lines[i].value = value;
	return 0;
}

int sdp_attr_add(struct sdp *sdp, struct sdp_section *s, const char *fmt, ...)
{
	struct slice value;
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = value_print(sdp, &value, fmt, ap);
	va_end(ap);
	return rc < 0 ? rc : value_insert(s, s->n, 'a', value);
}

void sdp_line_del(struct sdp_section *s, size_t i)
{
	memmove(s->lines + i, s->lines + i + 1, (s->n - i - 1) * sizeof(*s->lines));
	s->n--;
}

void sdp_del(struct sdp_section *s, char type)
{
	size_t i;

	while ((i = sdp_find(s, type, 0)) < s->n)
		sdp_line_del(s, i);
}

void sdp_attr_del(struct sdp_section *s, const char *name)
{
	size_t i;

	while ((i = sdp_attr_find(s, name, 0, NULL)) < s->n)
		sdp_line_del(s, i);
}
