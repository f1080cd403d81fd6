#include "proto/sip_sofia.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sofia-sip/msg_addr.h>
#include <sofia-sip/sip.h>
#include <sofia-sip/sip_header.h>
#include <sofia-sip/sip_parser.h>
#include <sofia-sip/sip_status.h>
#include <sofia-sip/sip_util.h>

/*
 * The extended parser tables (they know P-Asserted-Identity and its like). Building them takes
 * longer than parsing thousands of messages, they never change afterwards and carry nothing of any
 * message: a constant that has to be computed, which is why it may live here once for the whole
 * process.
 */
static const msg_mclass_t *tables;
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

static void tables_make(void)
{
	tables = sip_extend_mclass(NULL);
}

/* Is this a header whose grammar we rely on? Others pass as they came (RFC 3261 16.3: an element
 * must not refuse a message for headers that it does not need). Expires is not among them: a
 * malformed one means 3600 (10.2.1.1), not 400. Credentials are read by proto/digest.h, plain
 * numbers by sip_msg.c. */
static bool is_checked(enum sip_hdr_id id)
{
	switch (id) {
	case SIP_HDR_VIA:
	case SIP_HDR_ROUTE:
	case SIP_HDR_RECORD_ROUTE:
	case SIP_HDR_PATH:
	case SIP_HDR_SERVICE_ROUTE:
	case SIP_HDR_FROM:
	case SIP_HDR_TO:
	case SIP_HDR_CALL_ID:
	case SIP_HDR_CSEQ:
	case SIP_HDR_CONTACT:
	case SIP_HDR_CONTENT_TYPE:
	case SIP_HDR_RSEQ:
	case SIP_HDR_RACK:
	case SIP_HDR_SESSION_EXPIRES:
	case SIP_HDR_MIN_SE:
	case SIP_HDR_REFER_TO:
	case SIP_HDR_REPLACES:
	case SIP_HDR_EVENT:
		return true;
	default:
		return false;
	}
}

/*
 * sofia refuses some methods that are tokens (RFC 3261 25.1): those with '+' or '`', and short ones
 * that start like a known one ("PING": it compares the length with that of PUBLISH). So it gets to
 * see another word in place of any method that it does not know.
 */
static struct slice method_shown(const struct sip_msg *m)
{
	return m->method == SIP_OTHER_METHOD ? SLICE("X") : m->method_name;
}

static void add_line(struct buf *b, const struct sip_msg *m, const struct sip_hdr *h)
{
	buf_add_slice(b, h->name);
	buf_add(b, ": ", 2);
	if (h->id == SIP_HDR_CSEQ) {
		buf_printf(b, "%u ", m->cseq);
		buf_add_slice(b, method_shown(m));
	} else {
		buf_add_slice(b, h->value);
	}
	buf_add(b, "\r\n", 2);
}

/* The message as sofia gets to see it: what it is to check, without a body. */
static void text_write(const struct sip_msg *m, struct buf *b)
{
	if (m->is_request) {
		buf_add_slice(b, method_shown(m));
		buf_add_char(b, ' ');
		buf_add_slice(b, m->uri);
		buf_add_str(b, " SIP/2.0\r\n");
	} else {
		buf_printf(b, "SIP/2.0 %d Phrase\r\n", m->status);
	}
	for (size_t i = 0; i < m->n_headers; i++) {
		if (is_checked(m->headers[i].id))
			add_line(b, m, &m->headers[i]);
	}
	buf_add(b, "\r\n", 2);
}

/* Room for what text_write() writes: nothing there is longer than in the message itself. */
static size_t text_size(const struct sip_msg *m)
{
	size_t n = m->method_name.n + m->uri.n + 64;

	for (size_t i = 0; i < m->n_headers; i++) {
		if (is_checked(m->headers[i].id))
			n += m->headers[i].name.n + m->headers[i].value.n + 4;
	}
	return n;
}

/* Writes straight into sofia's buffer: `b` borrows it, and at its maximum stops before growing. */
static int feed(msg_t *msg, const struct sip_msg *m)
{
	size_t n = text_size(m);
	struct buf b = { .max = n, .cap = n + 1 };
	msg_iovec_t iov[2];

	if (msg_recv_iovec(msg, iov, 2, n + 1, 1) != 1 || iov[0].mv_len < n + 1)
		return -ENOMEM;
	b.p = iov[0].mv_base;
	text_write(m, &b);
	if (b.failed)
		return -EINVAL;
	msg_recv_commit(msg, b.n, 1);
	return 0;
}

static size_t count(const void *first)
{
	size_t n = 0;

	for (const sip_header_t *h = first; h; h = h->sh_next)
		n++;
	return n;
}

static size_t count_ours(const struct sip_msg *m, enum sip_hdr_id id)
{
	size_t n = 0;

	for (size_t i = 0; i < m->n_headers; i++)
		n += m->headers[i].id == id;
	return n;
}

static bool same(const char *theirs, struct slice ours)
{
	return slice_eq(slice_of(theirs), ours) && !theirs == !ours.p;
}

static void compare_lists(const struct sip_msg *m, const sip_t *sip, struct sip_reject *why)
{
	const struct {
		enum sip_hdr_id id;
		const void *first;
	} lists[] = {
		{ SIP_HDR_VIA, sip->sip_via },
		{ SIP_HDR_ROUTE, sip->sip_route },
		{ SIP_HDR_RECORD_ROUTE, sip->sip_record_route },
		{ SIP_HDR_PATH, sip->sip_path },
		{ SIP_HDR_SERVICE_ROUTE, sip->sip_service_route },
		{ SIP_HDR_CONTACT, sip->sip_contact },
	};

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		if (count(lists[i].first) != count_ours(m, lists[i].id))
			sip_fault(why, 400, "Bad List", "ambiguous list in %s",
				  sip_hdr_name(lists[i].id));
	}
}

static void compare(const struct sip_msg *m, const sip_t *sip, struct sip_reject *why)
{
	bool start_ok;

	if (m->is_request)
		start_ok =
			sip->sip_request && same(sip->sip_request->rq_method_name, method_shown(m));
	else
		start_ok = sip->sip_status && sip->sip_status->st_status == m->status;
	if (!start_ok)
		sip_fault(why, 400, "Bad Start Line", "ambiguous start line");
	if (!same(sip->sip_call_id->i_id, m->call_id))
		sip_fault(why, 400, "Bad Call-ID", "ambiguous Call-ID");
	if (!same(sip->sip_from->a_tag, m->from_tag))
		sip_fault(why, 400, "Bad From", "ambiguous From tag");
	if (!same(sip->sip_to->a_tag, m->to_tag))
		sip_fault(why, 400, "Bad To", "ambiguous To tag");
	if (sip->sip_cseq->cs_seq != m->cseq)
		sip_fault(why, 400, "Bad CSeq", "ambiguous CSeq");
	compare_lists(m, sip, why);
}

int sip_sofia_check(const struct sip_msg *m, struct sip_reject *why)
{
	const sip_t *sip;
	msg_t *msg;
	int ret;

	pthread_once(&tables_once, tables_make);
	msg = tables ? msg_create(tables, 0) : NULL;
	if (!msg)
		return -ENOMEM;
	ret = feed(msg, m);
	if (ret)
		goto out;
	ret = msg_extract(msg);
	sip = sip_object(msg);
	if (!sip) {
		ret = -ENOMEM;
		goto out;
	}
	if (sip->sip_error && sip->sip_error->er_name) {
		char phrase[48];

		snprintf(phrase, sizeof(phrase), "Bad %s", sip->sip_error->er_name);
		sip_fault(why, 400, phrase, "%s does not follow its grammar",
			  sip->sip_error->er_name);
	} else if (ret < 0 || sip->sip_error || msg_has_error(msg)) {
		sip_fault(why, 400, "Bad Request", "headers do not follow the grammar");
	} else if (sip_sanity_check(sip) < 0) {
		sip_fault(why, 400, m->is_request ? "Bad Request-URI" : "Bad Request",
			  "refused by the sanity check");
	} else {
		compare(m, sip, why);
	}
	ret = 0;
out:
	msg_destroy(msg);
	return ret;
}
