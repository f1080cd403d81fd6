/* Frame, parse, rebuild. Beyond not crashing: cutting a stream does not depend on how it arrives,
 * and what was accepted is accepted again, with the same headers, after it was printed by us. */
#include <stdlib.h>

#include "proto/sip_build.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

/* The parser must see a message end where the frame does: else the next one could be smuggled in.
 */
static void same_end(struct slice bytes)
{
	struct sip_reject why;
	struct sip_msg *m;

	if (sip_msg_parse(bytes, true, &m, &why) == 0) {
		struct slice head = { bytes.p, bytes.n - m->body.n };

		check(slice_ends(head, SLICE("\r\n\r\n")));
		check(slice_ends(bytes, m->body));
	}
	sip_msg_unref(m);
}

static void frame(struct slice all)
{
	size_t scanned = 0, fresh = 0;
	struct sip_frame f = { 0 }, whole;

	for (size_t n = 1; n <= all.n; n += 1 + n / 16) {
		f = sip_frame_next((struct slice){ all.p, n }, SIP_MAX_MESSAGE_BYTES, &scanned);
		if (f.kind != SIP_FRAME_MORE)
			break;
	}
	if (f.kind == SIP_FRAME_MORE)
		f = sip_frame_next(all, SIP_MAX_MESSAGE_BYTES, &scanned);
	whole = sip_frame_next(all, SIP_MAX_MESSAGE_BYTES, &fresh);
	check(f.skip + f.n <= all.n);
	/* A keep-alive is read as it comes, and the size bound speaks before a fault behind it. */
	if (f.kind == SIP_FRAME_PONG || f.kind == SIP_FRAME_TOO_BIG || all.n == 0)
		return;
	check(f.kind == whole.kind && f.n == whole.n);
	if (f.kind == SIP_FRAME_MESSAGE)
		same_end((struct slice){ all.p, f.n });
}

static bool keep(const struct sip_hdr *h, void *arg)
{
	return h->id != SIP_HDR_CONTENT_LENGTH;
}

static void same_headers(const struct sip_msg *a, const struct sip_msg *b)
{
	size_t j = 0;

	for (size_t i = 0; i < a->n_headers; i++) {
		if (!keep(&a->headers[i], NULL))
			continue;
		check(j < b->n_headers);
		check(a->headers[i].id == b->headers[j].id);
		check(slice_eq(a->headers[i].name, b->headers[j].name));
		check(slice_eq(a->headers[i].value, b->headers[j].value));
		j++;
	}
	check(j + 1 == b->n_headers);
	check(slice_eq(a->body, b->body) && slice_eq(a->call_id, b->call_id));
	check(a->cseq == b->cseq && a->method == b->method && a->status == b->status);
	check(slice_eq(a->from_tag, b->from_tag) && slice_eq(a->to_tag, b->to_tag));
	check(slice_eq(a->contact, b->contact) && a->max_forwards == b->max_forwards);
}

static void rebuild(const struct sip_msg *m)
{
	struct sip_reject why;
	struct sip_msg *again;
	struct sip_build b;
	char phrase[256];

	sip_build_init(&b);
	if (m->is_request) {
		sip_build_request(&b, m->method_name, m->uri);
	} else {
		slice_copy(phrase, sizeof(phrase), m->phrase);
		sip_build_status(&b, m->status, phrase);
	}
	sip_build_copy(&b, m, keep, NULL);
	sip_build_body(&b, SLICE_NONE, m->body);
	/* Full names and one line an element can make it too large. */
	if (sip_build_done(&b).p && m->n_headers < SIP_MAX_HEADERS) {
		check(sip_msg_parse(sip_build_done(&b), true, &again, &why) == 0);
		same_headers(m, again);
		sip_msg_unref(again);
	}
	sip_build_fini(&b);
}

static void answer(const struct sip_msg *m, bool accepted)
{
	struct addr from = { .ip = { 192, 0, 2, 1 }, .port = 5060, .family = ADDR_IP4 };
	struct sip_reject why;
	struct sip_msg *again;
	struct sip_build b;
	struct slice done;

	sip_build_init(&b);
	sip_build_response(&b, m, 400, NULL, SLICE("tag"), &from);
	sip_build_body(&b, SLICE_NONE, SLICE_NONE);
	done = sip_build_done(&b);
	/* Via parameters grow by received and rport. */
	check(done.p || m->body.n + 1000 < SIP_MAX_MESSAGE_BYTES);
	if (done.p && accepted) {
		check(sip_msg_parse(done, true, &again, &why) == 0);
		check(again->via.rport == m->via.rport);
		sip_msg_unref(again);
	}
	sip_build_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice bytes = { (const char *)data, size };

	frame(bytes);
	for (int is_stream = 0; is_stream <= 1; is_stream++) {
		struct sip_reject why;
		struct sip_msg *m;
		int ret = sip_msg_parse(bytes, is_stream, &m, &why);

		check(ret == 0 || why.why[0]);
		check((m != NULL) == (ret == 0 || why.status != 0));
		if (ret == 0)
			rebuild(m);
		if (m && m->is_request)
			answer(m, ret == 0);
		sip_msg_unref(m);
	}
	return 0;
}
