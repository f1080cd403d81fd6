#include "proto/sip_msg.h"

#include <errno.h>
#include <stdlib.h>

#include "proto/sip_scan.h"
#include "proto/sip_sofia.h"
#include "proto/sip_text.h"

/* One block: this, the header list, then the text that all slices point into. */
struct box {
	unsigned refs;
	struct sip_msg m;
	struct sip_hdr headers[];
};

/* What is being put together. */
struct parse {
	struct sip_scan scan;
	struct sip_reject *why;
	struct box *box;
	struct sip_msg *m;
	struct slice start_line; /* in the box */
	char *end;		 /* of the text written so far */
	bool is_stream;
};

static struct slice keep(struct parse *p, struct slice s)
{
	struct slice kept = { p->end, s.n };

	if (s.n)
		memcpy(p->end, s.p, s.n);
	p->end += s.n;
	return kept;
}

static size_t text_size(const struct sip_scan *s)
{
	size_t n = s->start_line.n + s->body.n + 1;

	for (size_t i = 0; i < s->n_headers; i++) {
		n += s->headers[i].value.n;
		if (s->headers[i].id == SIP_HDR_OTHER)
			n += s->headers[i].name.n;
	}
	return n;
}

static int make_box(struct parse *p)
{
	struct sip_scan *s = &p->scan;
	size_t headers_size = s->n_headers * sizeof(struct sip_hdr);

	p->box = malloc(sizeof(*p->box) + headers_size + text_size(s));
	if (!p->box)
		return -ENOMEM;
	p->box->refs = 1;
	p->m = &p->box->m;
	*p->m = (struct sip_msg){ .max_forwards = -1, .expires = -1, .headers = p->box->headers };
	p->end = (char *)p->box->headers + headers_size;
	return 0;
}

/* Headers that a message has at most once and that somebody decides by: with two that disagree,
 * different elements would go by different ones. */
static bool is_single(enum sip_hdr_id id)
{
	switch (id) {
	case SIP_HDR_FROM:
	case SIP_HDR_TO:
	case SIP_HDR_CALL_ID:
	case SIP_HDR_CSEQ:
	case SIP_HDR_MAX_FORWARDS:
	case SIP_HDR_CONTENT_LENGTH:
	case SIP_HDR_CONTENT_TYPE:
	case SIP_HDR_EXPIRES:
	case SIP_HDR_MIN_EXPIRES:
	case SIP_HDR_RSEQ:
	case SIP_HDR_RACK:
	case SIP_HDR_SESSION_EXPIRES:
	case SIP_HDR_MIN_SE:
	case SIP_HDR_REFER_TO:
	case SIP_HDR_REFERRED_BY:
	case SIP_HDR_REPLACES:
	case SIP_HDR_EVENT:
		return true;
	default:
		return false;
	}
}

static const struct sip_hdr *find(const struct sip_msg *m, enum sip_hdr_id id)
{
	for (size_t i = 0; i < m->n_headers; i++) {
		if (m->headers[i].id == id)
			return &m->headers[i];
	}
	return NULL;
}

/* Copies the headers; of a single header that was said twice in the same words one stays. */
static void copy_headers(struct parse *p)
{
	bool seen[SIP_HDR_N] = { false };

	for (size_t i = 0; i < p->scan.n_headers; i++) {
		const struct sip_hdr *from = &p->scan.headers[i];
		struct sip_hdr *h = &p->box->headers[p->m->n_headers];

		*h = *from;
		h->value = (struct slice){ p->end, sip_unfold(p->end, from->value) };
		if (is_single(h->id) && seen[h->id]) {
			if (!slice_eq(h->value, find(p->m, h->id)->value))
				sip_fault(p->why, 400, "Repeated Header", "more than one %s",
					  sip_hdr_name(h->id));
			continue;
		}
		seen[h->id] = true;
		p->end += h->value.n;
		if (h->id == SIP_HDR_OTHER)
			h->name = keep(p, h->name);
		p->m->n_headers++;
	}
}

/* "SIP/2.0", in any case; a proper other version is 505 (RFC 3261 21.5.6). */
static void read_version(struct parse *p, struct slice v)
{
	size_t dot = slice_find(v, '.');
	uint64_t n;

	if (slice_caseeq(v, SLICE("SIP/2.0")))
		return;
	if (v.n > 4 && dot < v.n && slice_caseeq((struct slice){ v.p, 4 }, SLICE("SIP/")) &&
	    slice_u64((struct slice){ v.p + 4, dot - 4 }, 1000000, &n) &&
	    slice_u64((struct slice){ v.p + dot + 1, v.n - dot - 1 }, 1000000, &n))
		sip_fault(p->why, 505, "Version Not Supported", "SIP version is not 2.0");
	else
		sip_fault(p->why, 400, "Bad Start Line", "no SIP version in the start line");
}

static void read_status_line(struct parse *p, struct slice line)
{
	struct slice rest = line, code;
	uint64_t v;

	read_version(p, slice_next(&rest, ' '));
	code = slice_next(&rest, ' ');
	if (code.n != 3 || !slice_u64(code, 699, &v) || v < 100) {
		sip_fault(p->why, 400, "Bad Status", "status code is not 100 to 699");
		return;
	}
	p->m->status = (int)v;
	p->m->phrase = rest.p ? rest : (struct slice){ code.p + code.n, 0 };
}

/* Method SP Request-URI SP SIP-Version: single spaces, nothing before or behind. */
static void read_request_line(struct parse *p, struct slice line)
{
	struct slice rest = line, version;
	struct sip_uri uri;

	p->m->is_request = true;
	p->m->method_name = slice_next(&rest, ' ');
	p->m->method = sip_method_parse(p->m->method_name);
	p->m->uri = slice_next(&rest, ' ');
	version = slice_next(&rest, ' ');
	if (!sip_is_token(p->m->method_name) || p->m->uri.n == 0 || !version.p || rest.p)
		sip_fault(p->why, 400, "Bad Request-Line", "not method, URI and version");
	else
		read_version(p, version);
	if (!sip_uri_parse(p->m->uri, &uri))
		sip_fault(p->why, 400, "Bad Request-URI",
			  "Request-URI does not follow its grammar");
	else if (uri.headers.n > 0)
		/* RFC 3261 19.1.1 table 1: no headers in a Request-URI. */
		sip_fault(p->why, 400, "Bad Request-URI", "Request-URI with a header part");
}

static void read_start_line(struct parse *p)
{
	struct slice line = p->start_line;

	if (line.n == 0)
		return; /* it had a fault; nobody can say whether this was a request */
	if (line.n >= 4 && slice_caseeq((struct slice){ line.p, 4 }, SLICE("SIP/")))
		read_status_line(p, line);
	else
		read_request_line(p, line);
}

static void bad_header(struct parse *p, enum sip_hdr_id id, const char *what)
{
	char phrase[40] = "Bad ";

	strncat(phrase, sip_hdr_name(id), sizeof(phrase) - 5);
	sip_fault(p->why, 400, phrase, "%s: %s", sip_hdr_name(id), what);
}

/* CSeq = 1*DIGIT LWS Method, below 2**31 (RFC 3261 8.1.1.5). */
static void read_cseq(struct parse *p, struct slice value)
{
	struct slice number = slice_word(&value), method = slice_word(&value);
	uint64_t v;

	if (!slice_u64(number, INT32_MAX, &v) || !sip_is_token(method) ||
	    slice_word(&value).n > 0) {
		bad_header(p, SIP_HDR_CSEQ, "not a number under 2^31 and a method");
		return;
	}
	p->m->cseq = (uint32_t)v;
	if (!p->m->is_request) {
		p->m->method = sip_method_parse(method);
		p->m->method_name = method;
	} else if (!slice_eq(method, p->m->method_name)) {
		sip_fault(p->why, 400, "CSeq Method Mismatch", "CSeq names another method");
	}
}

static void read_party(struct parse *p, const struct sip_hdr *h, struct sip_addr *addr,
		       struct slice *tag)
{
	struct sip_uri uri;

	if (!sip_addr_parse(h->value, addr) || !sip_uri_parse(addr->uri, &uri)) {
		bad_header(p, h->id, "does not follow its grammar");
		return;
	}
	*tag = sip_param(addr->params, "tag");
	if (tag->p && !sip_is_token(*tag))
		bad_header(p, h->id, "bad tag");
}

static void read_address(struct parse *p, const struct sip_hdr *h)
{
	struct sip_addr addr;
	struct sip_uri uri;

	if (h->id == SIP_HDR_CONTACT && slice_eq(h->value, SLICE("*"))) {
		addr.uri = h->value;
	} else if (!sip_addr_parse(h->value, &addr) || !sip_uri_parse(addr.uri, &uri)) {
		bad_header(p, h->id, "does not follow its grammar");
		return;
	}
	if (h->id == SIP_HDR_CONTACT && !p->m->contact.p)
		p->m->contact = addr.uri;
}

static void read_via(struct parse *p, const struct sip_hdr *h)
{
	struct sip_via via;
	bool ok = sip_via_parse(h->value, &via);

	if (!ok)
		bad_header(p, SIP_HDR_VIA, "does not follow its grammar");
	/* With bad parameters it still says whom to answer. */
	if (h == find(p->m, SIP_HDR_VIA))
		p->m->via = via;
}

/* callid = word [ "@" word ]: any printable without spaces does for us. */
static void read_call_id(struct parse *p, struct slice value)
{
	for (size_t i = 0; i < value.n; i++) {
		if ((unsigned char)value.p[i] <= ' ' || value.p[i] == 0x7f)
			bad_header(p, SIP_HDR_CALL_ID, "space or control character");
	}
	if (value.n == 0)
		bad_header(p, SIP_HDR_CALL_ID, "empty");
	p->m->call_id = value;
}

static void read_header(struct parse *p, const struct sip_hdr *h)
{
	struct slice v = h->value;
	uint64_t n = 0;

	switch (h->id) {
	case SIP_HDR_VIA:
		read_via(p, h);
		break;
	case SIP_HDR_FROM:
		read_party(p, h, &p->m->from, &p->m->from_tag);
		break;
	case SIP_HDR_TO:
		read_party(p, h, &p->m->to, &p->m->to_tag);
		break;
	case SIP_HDR_CALL_ID:
		read_call_id(p, v);
		break;
	case SIP_HDR_CSEQ:
		read_cseq(p, v);
		break;
	case SIP_HDR_MAX_FORWARDS:
		if (!slice_u64(v, 255, &n))
			bad_header(p, h->id, "not a number up to 255");
		p->m->max_forwards = (int)n;
		break;
	case SIP_HDR_EXPIRES:
		/* RFC 3261 10.2.1.1: a malformed one is as good as 3600. */
		p->m->expires = slice_u64(v, UINT32_MAX, &n) ? (int64_t)n : 3600;
		break;
	case SIP_HDR_CONTACT:
	case SIP_HDR_ROUTE:
	case SIP_HDR_RECORD_ROUTE:
	case SIP_HDR_PATH:
	case SIP_HDR_SERVICE_ROUTE:
	case SIP_HDR_REFER_TO:
		read_address(p, h);
		break;
	case SIP_HDR_CONTENT_TYPE:
		p->m->content_type = slice_trim((struct slice){ v.p, slice_find(v, ';') });
		break;
	default:
		break;
	}
}

static void read_headers(struct parse *p)
{
	static const enum sip_hdr_id needed[] = { SIP_HDR_VIA, SIP_HDR_FROM, SIP_HDR_TO,
						  SIP_HDR_CALL_ID, SIP_HDR_CSEQ };

	for (size_t i = 0; i < p->m->n_headers; i++)
		read_header(p, &p->m->headers[i]);
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if (!find(p->m, needed[i]))
			sip_fault(p->why, 400, "Missing Header", "no %s", sip_hdr_name(needed[i]));
	}
}

/* RFC 3261 18.3: a datagram's body ends where Content-Length says, what is behind is dropped; on
 * streams the header is a must. */
static void read_body(struct parse *p)
{
	struct slice cl = sip_msg_hdr(p->m, SIP_HDR_CONTENT_LENGTH), body = p->scan.body;
	uint64_t n = body.n;

	if (!cl.p && p->is_stream)
		sip_fault(p->why, 400, "Missing Content-Length", "no Content-Length on a stream");
	if (cl.p && !slice_u64(cl, INT32_MAX, &n))
		bad_header(p, SIP_HDR_CONTENT_LENGTH, "not a number");
	else if (n > body.n)
		bad_header(p, SIP_HDR_CONTENT_LENGTH, "larger than the message");
	else
		body.n = (size_t)n;
	p->m->body = keep(p, body);
}

/* Are the headers that a response copies (RFC 3261 8.2.6.2) there, and does the Via lead back? */
static bool is_answerable(const struct sip_msg *m)
{
	return m->is_request && m->via.host.n > 0 && find(m, SIP_HDR_FROM) && find(m, SIP_HDR_TO) &&
	       find(m, SIP_HDR_CALL_ID) && find(m, SIP_HDR_CSEQ);
}

int sip_msg_parse(struct slice bytes, bool is_stream, struct sip_msg **out, struct sip_reject *why)
{
	struct parse p = { .why = why, .is_stream = is_stream };
	int ret;

	*out = NULL;
	*why = (struct sip_reject){ 0 };
	/* RFC 3261 7.5: empty lines before the start line are ignored. */
	while (slice_starts(bytes, SLICE("\r\n")))
		bytes = (struct slice){ bytes.p + 2, bytes.n - 2 };
	if (bytes.n > SIP_MAX_MESSAGE_BYTES) {
		sip_fault(why, 513, "Message Too Large", "over %d bytes", SIP_MAX_MESSAGE_BYTES);
		bytes.n = SIP_MAX_MESSAGE_BYTES;
	}
	sip_scan(bytes, &p.scan, why);
	ret = make_box(&p);
	if (ret)
		return ret;
	p.start_line = keep(&p, p.scan.start_line);
	copy_headers(&p);
	read_start_line(&p);
	read_headers(&p);
	read_body(&p);
	if (!sip_faulty(why))
		ret = sip_sofia_check(p.m, why);
	if (ret == 0 && sip_faulty(why))
		ret = -EBADMSG;
	if (ret == 0 || (ret == -EBADMSG && is_answerable(p.m))) {
		*out = p.m;
		return ret;
	}
	why->status = 0;
	free(p.box);
	return ret;
}

static struct box *box_of(const struct sip_msg *m)
{
	return (struct box *)((char *)(uintptr_t)m - offsetof(struct box, m));
}

struct sip_msg *sip_msg_ref(const struct sip_msg *m)
{
	struct box *box = box_of(m);

	box->refs++;
	return &box->m;
}

void sip_msg_unref(const struct sip_msg *m)
{
	struct box *box;

	if (!m)
		return;
	box = box_of(m);
	if (--box->refs == 0)
		free(box);
}

struct slice sip_msg_hdr(const struct sip_msg *m, enum sip_hdr_id id)
{
	const struct sip_hdr *h = find(m, id);

	return h ? h->value : SLICE_NONE;
}

const struct sip_hdr *sip_msg_next(const struct sip_msg *m, enum sip_hdr_id id,
				   const struct sip_hdr *prev)
{
	const struct sip_hdr *end = m->headers + m->n_headers;

	for (const struct sip_hdr *h = prev ? prev + 1 : m->headers; h < end; h++) {
		if (h->id == id)
			return h;
	}
	return NULL;
}

bool sip_msg_has_token(const struct sip_msg *m, enum sip_hdr_id id, const char *token)
{
	struct slice want = slice_of(token);

	for (const struct sip_hdr *h = NULL; (h = sip_msg_next(m, id, h));) {
		struct slice rest = h->value;

		while (rest.p) {
			if (slice_caseeq(slice_trim(slice_next(&rest, ',')), want))
				return true;
		}
	}
	return false;
}
