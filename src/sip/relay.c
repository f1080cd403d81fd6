#include "sip/relay.h"

#include <stdlib.h>

#include "proto/digest.h"
#include "proto/sip_build.h"

struct relays {
	struct txn_layer *txns;
	struct list all;
};

struct relay {
	struct list node;
	struct txn_server *st;
	struct txn_client *ct;
	struct sip_msg *request;
	bool to_outside, from_outside;
	relay_done done;
	void *arg;
};

struct filter {
	bool keep_path, keep_contact, to_outside, from_outside;
	const char *realm;
};

/* RFC 3261 22.3: credentials end at the proxy that asked for them. */
static bool is_for_us(const struct sip_hdr *h, const char *realm)
{
	struct digest_response r;

	return realm && digest_response_parse(h->value, &r) && slice_eq(r.realm, slice_of(realm));
}

static bool keep(const struct sip_hdr *h, void *arg)
{
	const struct filter *f = arg;

	switch (h->id) {
	case SIP_HDR_VIA:
	case SIP_HDR_ROUTE:
	case SIP_HDR_RECORD_ROUTE:
	case SIP_HDR_FROM:
	case SIP_HDR_TO:
	case SIP_HDR_CALL_ID:
	case SIP_HDR_CSEQ:
	case SIP_HDR_MAX_FORWARDS:
	case SIP_HDR_CONTENT_LENGTH:
	case SIP_HDR_CONTENT_TYPE:
	case SIP_HDR_TURNPIKE_SESSION:
	case SIP_HDR_TIMESTAMP:
		return false;
	case SIP_HDR_PATH:
	case SIP_HDR_SERVICE_ROUTE:
		return f->keep_path;
	case SIP_HDR_CONTACT:
		return f->keep_contact;
	case SIP_HDR_WARNING:
		return !f->to_outside;
	case SIP_HDR_PROXY_AUTHORIZATION:
		return !is_for_us(h, f->realm);
	case SIP_HDR_P_ASSERTED_IDENTITY:
	case SIP_HDR_P_PREFERRED_IDENTITY:
	case SIP_HDR_REMOTE_PARTY_ID:
	case SIP_HDR_DIVERSION:
		return !f->from_outside;
	default:
		return true;
	}
}

struct relays *relays_new(struct txn_layer *txns)
{
	struct relays *rs = calloc(1, sizeof(*rs));

	if (!rs)
		return NULL;
	rs->txns = txns;
	list_init(&rs->all);
	return rs;
}

static void relay_free(struct relay *r)
{
	if (r->st)
		txn_server_set_user(r->st, NULL, NULL);
	if (r->ct)
		txn_client_detach(r->ct);
	list_del(&r->node);
	sip_msg_unref(r->request);
	free(r);
}

void relays_free(struct relays *rs)
{
	if (!rs)
		return;
	LIST_FOREACH_SAFE (it, &rs->all) {
		struct relay *r = CONTAINER_OF(it, struct relay, node);

		if (r->done)
			r->done(r->arg, r->request, NULL, 0, NULL);
		relay_free(r);
	}
	free(rs);
}

/* With its parameters (boundary, version), and none without a body. */
static struct slice content_type(const struct sip_msg *m)
{
	return m->body.n ? sip_msg_hdr(m, SIP_HDR_CONTENT_TYPE) : SLICE_NONE;
}

static void tell(struct relay *r, const struct sip_msg *m, int status, struct buf *contact)
{
	relay_done done = r->done;

	r->done = NULL;
	if (done)
		done(r->arg, r->request, m, status, contact);
}

static void on_response(void *arg, struct txn_client *t, struct sip_msg *m)
{
	struct relay *r = arg;
	/* Back to a phone outside: nothing that names who stands inside. */
	struct filter f = { !r->from_outside, !r->from_outside || m->method == SIP_REGISTER,
			    r->from_outside, r->to_outside, NULL };
	struct buf contact;
	struct sip_build b;
	struct slice out;
	char phrase[64];

	if (m->status == 100 || !r->st)
		return;
	buf_init(&contact, 4096);
	if (m->status >= 200)
		tell(r, m, m->status, &contact);
	if (contact.n)
		f.keep_contact = false;
	slice_copy(phrase, sizeof(phrase), m->phrase);
	sip_build_init(&b);
	sip_build_response(&b, r->request, m->status, phrase, m->to_tag, txn_server_from(r->st));
	buf_add_slice(&b.b, buf_slice(&contact));
	sip_build_copy(&b, m, keep, &f);
	sip_build_body(&b, content_type(m), m->body);
	out = sip_build_done(&b);
	if (out.p)
		txn_server_respond(r->st, m->status, out);
	else
		txn_server_reply(r->st, 500, NULL, NULL);
	sip_build_fini(&b);
	buf_fini(&contact);
}

static void on_failed(void *arg, struct txn_client *t, int status, const char *why)
{
	struct relay *r = arg;

	tell(r, NULL, status, NULL);
	if (r->st)
		txn_server_reply(r->st, status, NULL, status == 503 ? "Retry-After: 5\r\n" : NULL);
}

static void on_done(void *arg, struct txn_client *t)
{
	struct relay *r = arg;

	r->ct = NULL;
	if (!r->st || !txn_server_pending(r->st))
		relay_free(r);
}

static const struct txn_client_events events = { on_response, on_failed, on_done };

static void on_server_end(void *user, struct txn_server *t)
{
	struct relay *r = user;

	r->st = NULL;
	if (!r->ct)
		relay_free(r);
}

static struct slice print(struct relay *r, struct sip_build *b, const struct target *to,
			  const struct relay_rewrite *rw, const char *branch)
{
	const struct sip_msg *m = r->request;
	struct filter f = { !rw->drop_path, !rw->contact, r->to_outside, r->from_outside,
			    rw->realm };

	sip_build_request(b, m->method_name, slice_of(to->uri));
	sip_build_hdr(b, SIP_HDR_VIA, "SIP/2.0/%s %s;branch=%s;rport",
		      side_via_transport(&to->side), to->side.sent_by, branch);
	if (to->routes[0])
		sip_build_hdr(b, SIP_HDR_ROUTE, "%s", to->routes);
	sip_build_hdr(b, SIP_HDR_MAX_FORWARDS, "%d", to->max_forwards);
	sip_build_copy_id(b, m, SIP_HDR_FROM);
	sip_build_copy_id(b, m, SIP_HDR_TO);
	sip_build_copy_id(b, m, SIP_HDR_CALL_ID);
	sip_build_copy_id(b, m, SIP_HDR_CSEQ);
	if (rw->path) {
		sip_build_hdr(b, SIP_HDR_PATH, "%s", rw->path);
		/* Registrars that follow RFC 3327 5.3 strictly refuse a Path that the phone does
		 * not know: the one who makes use of it is us. */
		if (!sip_msg_has_token(m, SIP_HDR_SUPPORTED, "path"))
			sip_build_hdr(b, SIP_HDR_SUPPORTED, "path");
	}
	if (rw->contact)
		sip_build_hdr(b, SIP_HDR_CONTACT, "%s", rw->contact);
	if (rw->session)
		sip_build_hdr(b, SIP_HDR_TURNPIKE_SESSION, "%s", rw->session);
	sip_build_copy(b, m, keep, &f);
	sip_build_body(b, content_type(m), m->body);
	return sip_build_done(b);
}

void relay_start(struct relays *rs, struct txn_server *t, struct sip_msg *m,
		 const struct side *from, const struct target *to, const struct relay_rewrite *rw,
		 relay_done done, void *arg)
{
	char branch[TXN_BRANCH_BYTES];
	struct relay *r = calloc(1, sizeof(*r));
	struct sip_build b;
	struct slice out;

	if (!r) {
		if (done)
			done(arg, m, NULL, 500, NULL);
		txn_server_reply(t, 500, NULL, NULL);
		return;
	}
	r->st = t;
	r->request = sip_msg_ref(m);
	r->to_outside = to->side.role == FLOW_OUTSIDE;
	r->from_outside = from->role == FLOW_OUTSIDE;
	r->done = done;
	r->arg = arg;
	list_add_tail(&rs->all, &r->node);
	txn_branch(rs->txns, branch);
	sip_build_init(&b);
	out = print(r, &b, to, rw, branch);
	if (out.p)
		r->ct = txn_client_new(rs->txns, to->side.flow, branch, out, &events, r);
	sip_build_fini(&b);
	if (r->ct) {
		txn_server_set_user(t, r, on_server_end);
		return;
	}
	r->st = NULL;
	tell(r, NULL, 503, NULL);
	relay_free(r);
	txn_server_reply(t, 503, NULL, "Retry-After: 5\r\n");
}
