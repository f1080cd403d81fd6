#include "proto/sip_build.h"

#include "proto/sip_text.h"

void sip_build_init(struct sip_build *s)
{
	*s = (struct sip_build){ 0 };
	buf_init(&s->b, SIP_MAX_MESSAGE_BYTES);
}

void sip_build_fini(struct sip_build *s)
{
	buf_fini(&s->b);
}

/* Nothing that ends a line may get into one: the last defence against header injection. */
static bool is_line_text(struct slice v)
{
	return v.n == 0 ||
	       (!memchr(v.p, '\r', v.n) && !memchr(v.p, '\n', v.n) && !memchr(v.p, '\0', v.n));
}

static void add_checked(struct sip_build *s, struct slice v)
{
	if (!is_line_text(v) || s->ended)
		s->b.failed = true;
	buf_add_slice(&s->b, v);
}

static void end_line(struct sip_build *s)
{
	buf_add(&s->b, "\r\n", 2);
}

static void add_name(struct sip_build *s, struct slice name)
{
	if (!sip_is_token(name))
		s->b.failed = true;
	add_checked(s, name);
	buf_add(&s->b, ": ", 2);
}

static void add_id(struct sip_build *s, enum sip_hdr_id id)
{
	add_name(s, slice_of(sip_hdr_name(id)));
}

void sip_build_request(struct sip_build *s, struct slice method, struct slice uri)
{
	if (!sip_is_token(method) || uri.n == 0 || slice_find(uri, ' ') < uri.n)
		s->b.failed = true;
	add_checked(s, method);
	buf_add_char(&s->b, ' ');
	add_checked(s, uri);
	buf_add_str(&s->b, " SIP/2.0\r\n");
}

void sip_build_status(struct sip_build *s, int status, const char *phrase)
{
	if (status < 100 || status > 699)
		s->b.failed = true;
	buf_printf(&s->b, "SIP/2.0 %03d ", status);
	add_checked(s, slice_of(phrase ? phrase : sip_status_phrase(status)));
	end_line(s);
}

void sip_build_hdr(struct sip_build *s, enum sip_hdr_id id, const char *fmt, ...)
{
	size_t start;
	va_list ap;

	add_id(s, id);
	start = s->b.n;
	va_start(ap, fmt);
	buf_vprintf(&s->b, fmt, ap);
	va_end(ap);
	if (!s->b.failed && !is_line_text((struct slice){ s->b.p + start, s->b.n - start }))
		s->b.failed = true;
	end_line(s);
}

void sip_build_hdr_slice(struct sip_build *s, enum sip_hdr_id id, struct slice value)
{
	add_id(s, id);
	add_checked(s, value);
	end_line(s);
}

void sip_build_named(struct sip_build *s, struct slice name, struct slice value)
{
	add_name(s, name);
	add_checked(s, value);
	end_line(s);
}

void sip_build_copy(struct sip_build *s, const struct sip_msg *m,
		    bool (*keep)(const struct sip_hdr *h, void *arg), void *arg)
{
	for (size_t i = 0; i < m->n_headers; i++) {
		if (keep(&m->headers[i], arg))
			sip_build_named(s, m->headers[i].name, m->headers[i].value);
	}
}

void sip_build_copy_id(struct sip_build *s, const struct sip_msg *m, enum sip_hdr_id id)
{
	for (const struct sip_hdr *h = NULL; (h = sip_msg_next(m, id, h));)
		sip_build_named(s, h->name, h->value);
}

void sip_build_body(struct sip_build *s, struct slice type, struct slice body)
{
	if (type.n > 0)
		sip_build_hdr_slice(s, SIP_HDR_CONTENT_TYPE, type);
	sip_build_hdr(s, SIP_HDR_CONTENT_LENGTH, "%zu", body.n);
	end_line(s);
	buf_add_slice(&s->b, body);
	s->ended = true;
}

/* The topmost Via of a request with what RFC 3261 18.2.1 and RFC 3581 4 want added. received and
 * rport that are in it already were not written by us and go. */
static void add_top_via(struct sip_build *s, struct slice value, const struct sip_via *via,
			const struct addr *from)
{
	size_t end = slice_find(value, ';');
	struct slice params = { value.p + end, value.n - end }, name, v;
	char ip[ADDR_STR_BYTES];
	struct addr sent_by;
	bool differs;

	add_id(s, SIP_HDR_VIA);
	add_checked(s, slice_trim((struct slice){ value.p, end }));
	while (sip_param_next(&params, &name, &v)) {
		if (slice_caseeq(name, SLICE("received")) || slice_caseeq(name, SLICE("rport")))
			continue;
		buf_add_char(&s->b, ';');
		add_checked(s, name);
		if (v.p) {
			buf_add_char(&s->b, '=');
			add_checked(s, v);
		}
	}
	differs = !addr_parse_ip(via->host, 0, &sent_by) || !addr_ip_eq(&sent_by, from);
	if (via->rport || differs)
		buf_printf(&s->b, ";received=%s", addr_ip_str(from, ip));
	if (via->rport)
		buf_printf(&s->b, ";rport=%u", from->port);
	end_line(s);
}

static void add_vias(struct sip_build *s, const struct sip_msg *req, const struct addr *from)
{
	const struct sip_hdr *h = sip_msg_next(req, SIP_HDR_VIA, NULL);

	if (h && from && from->family != ADDR_NONE) {
		add_top_via(s, h->value, &req->via, from);
		h = sip_msg_next(req, SIP_HDR_VIA, h);
	}
	for (; h; h = sip_msg_next(req, SIP_HDR_VIA, h))
		sip_build_hdr_slice(s, SIP_HDR_VIA, h->value);
}

void sip_build_response(struct sip_build *s, const struct sip_msg *req, int status,
			const char *phrase, struct slice to_tag, const struct addr *from)
{
	sip_build_status(s, status, phrase);
	add_vias(s, req, from);
	sip_build_copy_id(s, req, SIP_HDR_FROM);
	add_id(s, SIP_HDR_TO);
	add_checked(s, sip_msg_hdr(req, SIP_HDR_TO));
	if (!req->to_tag.p && to_tag.n > 0) {
		buf_add_str(&s->b, ";tag=");
		add_checked(s, to_tag);
	}
	end_line(s);
	sip_build_copy_id(s, req, SIP_HDR_CALL_ID);
	sip_build_copy_id(s, req, SIP_HDR_CSEQ);
}

struct slice sip_build_done(struct sip_build *s)
{
	if (s->b.failed || !s->ended)
		return SLICE_NONE;
	return buf_slice(&s->b);
}
