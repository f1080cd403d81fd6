#include "core/dns_answer.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define HEADER_BYTES	12
#define CLASS_IN	1
#define MAX_POINTERS	32
#define MAX_CNAMES	8
#define MAX_RRS		256
#define MAX_TTL_S	0x7fffffff /* RFC 2181 section 8: the top bit set means 0 */
#define MAX_LABEL_BYTES 63

struct reader {
	const uint8_t *p;
	size_t n;
	size_t at;
};

struct rr {
	char owner[DNS_NAME_BYTES];
	uint16_t type, class;
	uint32_t ttl_s;
	size_t data_at, data_n;
};

static bool u16(struct reader *r, uint16_t *out)
{
	if (r->n - r->at < 2)
		return false;
	*out = (uint16_t)(r->p[r->at] << 8 | r->p[r->at + 1]);
	r->at += 2;
	return true;
}

static bool u32(struct reader *r, uint32_t *out)
{
	uint16_t high, low;

	if (!u16(r, &high) || !u16(r, &low))
		return false;
	*out = (uint32_t)high << 16 | low;
	return true;
}

/* Appends one label in lower case. Bytes that a host name cannot have become '?': such a name
 * matches nothing and cannot be looked up further. */
static bool add_label(char out[DNS_NAME_BYTES], size_t *n, const uint8_t *label, size_t label_n)
{
	if (*n + label_n + 2 > DNS_NAME_BYTES)
		return false;
	if (*n > 0)
		out[(*n)++] = '.';
	for (size_t i = 0; i < label_n; i++) {
		uint8_t c = label[i];

		out[(*n)++] = isalnum(c) || c == '-' || c == '_' ? (char)tolower(c) : '?';
	}
	return true;
}

/* RFC 1035 section 4.1.4; the root is "". Pointers are counted, so that they cannot circle. */
static bool name(struct reader *r, char out[DNS_NAME_BYTES])
{
	size_t at = r->at, after = 0, n = 0;
	unsigned n_pointers = 0;

	for (;;) {
		uint8_t len;

		if (at >= r->n)
			return false;
		len = r->p[at++];
		if (len == 0)
			break;
		if ((len & 0xc0) == 0xc0) {
			if (at >= r->n || ++n_pointers > MAX_POINTERS)
				return false;
			if (!after)
				after = at + 1;
			at = (size_t)(len & 0x3f) << 8 | r->p[at];
			continue;
		}
		if (len > MAX_LABEL_BYTES || r->n - at < len || !add_label(out, &n, r->p + at, len))
			return false;
		at += len;
	}
	out[n] = '\0';
	r->at = after ? after : at;
	return true;
}

static bool next_rr(struct reader *r, struct rr *rr)
{
	uint16_t n;

	if (!name(r, rr->owner) || !u16(r, &rr->type) || !u16(r, &rr->class) ||
	    !u32(r, &rr->ttl_s) || !u16(r, &n) || r->n - r->at < n)
		return false;
	if (rr->ttl_s > MAX_TTL_S)
		rr->ttl_s = 0;
	rr->data_at = r->at;
	rr->data_n = n;
	r->at += n;
	return true;
}

static bool read_record(const struct reader *message, const struct rr *rr, struct dns_record *out)
{
	struct reader data = { message->p, rr->data_at + rr->data_n, rr->data_at };
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };

	*out = (struct dns_record){ 0 };
	if (rr->type == DNS_SRV)
		return u16(&data, &out->priority) && u16(&data, &out->weight) &&
		       u16(&data, &out->port) && name(&data, out->target);
	if (rr->data_n != (rr->type == DNS_A ? 4 : 16))
		return false;
	if (rr->type == DNS_A) {
		memcpy(&in.sin_addr, data.p + data.at, 4);
		out->addr = addr_from_sockaddr((struct sockaddr *)&in);
	} else {
		memcpy(&in6.sin6_addr, data.p + data.at, 16);
		out->addr = addr_from_sockaddr((struct sockaddr *)&in6);
	}
	return true;
}

static void lower_ttl(struct dns_answer *out, uint32_t ttl_s)
{
	if (ttl_s < out->ttl_s)
		out->ttl_s = ttl_s;
}

/* Where the answer section sends `owner` on to; false when nowhere. The order of the records
 * does not matter. */
static bool follow_cname(struct reader r, unsigned n_answers, char owner[DNS_NAME_BYTES],
			 struct dns_answer *out)
{
	struct rr rr;

	while (n_answers-- > 0 && next_rr(&r, &rr)) {
		struct reader data = { r.p, rr.data_at + rr.data_n, rr.data_at };
		char target[DNS_NAME_BYTES];

		if (rr.type != DNS_CNAME || rr.class != CLASS_IN || strcmp(rr.owner, owner) != 0)
			continue;
		if (!name(&data, target))
			return false;
		lower_ttl(out, rr.ttl_s);
		strcpy(owner, target);
		return true;
	}
	return false;
}

/* 0 or -EBADMSG; leaves r after the answer section. */
static int collect(struct reader *r, unsigned n_answers, const char *owner, enum dns_type type,
		   struct dns_answer *out)
{
	struct rr rr;

	while (n_answers-- > 0) {
		if (!next_rr(r, &rr))
			return -EBADMSG;
		if (rr.type != type || rr.class != CLASS_IN || strcmp(rr.owner, owner) != 0 ||
		    out->n == DNS_MAX_RECORDS)
			continue;
		if (!read_record(r, &rr, &out->records[out->n]))
			return -EBADMSG;
		out->n++;
		lower_ttl(out, rr.ttl_s);
	}
	return 0;
}

/* RFC 2308 section 5: the smaller of the SOA's own TTL and its MINIMUM field. */
static uint32_t negative_ttl(struct reader r, unsigned n_authority)
{
	struct rr rr;

	while (n_authority-- > 0 && next_rr(&r, &rr)) {
		struct reader data = { r.p, rr.data_at + rr.data_n, rr.data_at };
		char skipped[DNS_NAME_BYTES];
		uint32_t minimum;

		if (rr.type != DNS_SOA || rr.class != CLASS_IN)
			continue;
		if (!name(&data, skipped) || !name(&data, skipped) || data.n - data.at < 20)
			return 0;
		data.at += 16;
		if (!u32(&data, &minimum))
			return 0;
		return minimum < rr.ttl_s ? minimum : rr.ttl_s;
	}
	return 0;
}

int dns_answer_parse(struct slice message, enum dns_type type, struct dns_answer *out)
{
	struct reader r = { (const uint8_t *)message.p, message.n, 2 };
	uint16_t flags, n_questions, n_answers, n_authority, n_additional, qtype, qclass;
	char owner[DNS_NAME_BYTES];

	out->status = 0;
	out->n = 0;
	out->none = false;
	out->ttl_s = MAX_TTL_S;
	if (message.n < HEADER_BYTES || !u16(&r, &flags) || !u16(&r, &n_questions) ||
	    !u16(&r, &n_answers) || !u16(&r, &n_authority) || !u16(&r, &n_additional))
		return -EBADMSG;
	if (n_questions != 1 || n_answers > MAX_RRS || n_authority > MAX_RRS || !name(&r, owner) ||
	    !u16(&r, &qtype) || !u16(&r, &qclass) || qtype != type)
		return -EBADMSG;
	for (int i = 0; i < MAX_CNAMES && follow_cname(r, n_answers, owner, out); i++)
		;
	if (collect(&r, n_answers, owner, type, out) < 0)
		return -EBADMSG;
	/* RFC 2782: the lone target "." says that the service is not offered there. */
	out->none = type == DNS_SRV && out->n == 1 && out->records[0].target[0] == '\0';
	if (out->none)
		out->n = 0;
	else if (out->n == 0)
		out->ttl_s = negative_ttl(r, n_authority);
	if (out->n == 0)
		out->status = -ENOENT;
	return 0;
}

bool dns_name_ok(struct slice s)
{
	size_t label_n = 0;

	if (s.n > 0 && s.p[s.n - 1] == '.')
		s.n--;
	if (s.n == 0 || s.n > 253)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '.' ? label_n == 0 : !(c < 0x80 && (isalnum(c) || c == '-' || c == '_')))
			return false;
		label_n = c == '.' ? 0 : label_n + 1;
		if (label_n > MAX_LABEL_BYTES)
			return false;
	}
	return label_n > 0;
}
