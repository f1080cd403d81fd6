#include "sip/dialog.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

const char *dialog_state_str(enum dialog_state s)
{
	static const char *const names[] = { "idle", "early", "confirmed", "ended" };

	return names[s];
}

/* From/To value without its tag: display and URI, other parameters dropped too. */
static char *without_tag(struct slice value)
{
	struct sip_addr a;
	struct buf b;

	if (!sip_addr_parse(value, &a))
		return slice_dup(value);
	buf_init(&b, SIP_MAX_MESSAGE_BYTES);
	if (a.display.n)
		buf_printf(&b, "%.*s ", SLICE_ARG(a.display));
	buf_printf(&b, "<%.*s>", SLICE_ARG(a.uri));
	return buf_take(&b);
}

static int replace(char **field, struct slice value)
{
	char *copy = slice_dup(value);

	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

/* Record-Route entries as one list, in order or reversed. NULL when there are none or no memory. */
static char *record_routes(const struct sip_msg *m, bool reversed)
{
	const struct sip_hdr *h = NULL;
	struct buf b, one;

	buf_init(&b, SIP_MAX_MESSAGE_BYTES);
	buf_init(&one, SIP_MAX_MESSAGE_BYTES);
	while ((h = sip_msg_next(m, SIP_HDR_RECORD_ROUTE, h))) {
		buf_reset(&one);
		buf_add_slice(&one, reversed ? h->value : buf_slice(&b));
		if (b.n)
			buf_add_str(&one, ", ");
		buf_add_slice(&one, reversed ? buf_slice(&b) : h->value);
		buf_reset(&b);
		buf_add_slice(&b, buf_slice(&one));
	}
	buf_fini(&one);
	if (b.n == 0) {
		buf_fini(&b);
		return NULL;
	}
	return buf_take(&b);
}

static void make_contact_user(struct dialog *d)
{
	snprintf(d->contact_user, sizeof(d->contact_user), "tp-%.12s", d->local_tag);
}

int dialog_init_uas(struct dialog *d, const struct sip_msg *m, const struct side *side,
		    const char *local_tag)
{
	*d = (struct dialog){ .state = DIALOG_IDLE, .side = *side };
	d->call_id = slice_dup(m->call_id);
	d->local_tag = strdup(local_tag);
	d->remote_tag = slice_dup(m->from_tag);
	d->local = without_tag(sip_msg_hdr(m, SIP_HDR_TO));
	d->remote = without_tag(sip_msg_hdr(m, SIP_HDR_FROM));
	d->remote_target = slice_dup(m->contact);
	d->routes = record_routes(m, false);
	d->remote_cseq = m->cseq;
	d->has_remote_cseq = true;
	if (!d->call_id || !d->local_tag || !d->remote_tag || !d->local || !d->remote ||
	    !d->remote_target)
		return -ENOMEM;
	if (!d->routes && sip_msg_hdr(m, SIP_HDR_RECORD_ROUTE).p)
		return -ENOMEM;
	make_contact_user(d);
	return 0;
}

int dialog_init_uac(struct dialog *d, const struct side *side, const char *call_id,
		    const char *local_tag, struct slice from, struct slice to, struct slice target,
		    const char *routes)
{
	*d = (struct dialog){ .state = DIALOG_IDLE, .is_uac = true, .side = *side };
	d->call_id = strdup(call_id);
	d->local_tag = strdup(local_tag);
	d->local = without_tag(from);
	d->remote = without_tag(to);
	d->remote_target = slice_dup(target);
	d->routes = routes && *routes ? strdup(routes) : NULL;
	if (!d->call_id || !d->local_tag || !d->local || !d->remote || !d->remote_target ||
	    (routes && *routes && !d->routes))
		return -ENOMEM;
	make_contact_user(d);
	return 0;
}

void dialog_fini(struct dialog *d)
{
	free(d->call_id);
	free(d->local_tag);
	free(d->remote_tag);
	free(d->local);
	free(d->remote);
	free(d->remote_target);
	free(d->routes);
	*d = (struct dialog){ .state = DIALOG_ENDED };
}

int dialog_on_response(struct dialog *d, const struct sip_msg *m)
{
	char *routes;

	if (m->status <= 100 || m->status >= 300 || !m->to_tag.p)
		return 0;
	if (d->state == DIALOG_CONFIRMED) {
		/* Target refresh by the 2xx to a re-INVITE or UPDATE. */
		return m->contact.p && m->status >= 200 ? replace(&d->remote_target, m->contact)
							: 0;
	}
	if (replace(&d->remote_tag, m->to_tag) < 0)
		return -ENOMEM;
	if (m->contact.p && replace(&d->remote_target, m->contact) < 0)
		return -ENOMEM;
	routes = record_routes(m, true);
	if (routes || m->status >= 200) {
		/* The initial routes were for the first request only (12.1.2). */
		free(d->routes);
		d->routes = routes;
	}
	d->state = m->status < 200 ? DIALOG_EARLY : DIALOG_CONFIRMED;
	return 0;
}

int dialog_on_request(struct dialog *d, const struct sip_msg *m)
{
	if (d->has_remote_cseq && m->cseq <= d->remote_cseq)
		return -EINVAL;
	d->remote_cseq = m->cseq;
	d->has_remote_cseq = true;
	if (m->contact.p && (m->method == SIP_INVITE || m->method == SIP_UPDATE))
		return replace(&d->remote_target, m->contact);
	return 0;
}

void dialog_request(struct dialog *d, struct sip_build *b, struct slice method, const char *branch,
		    uint32_t cseq, int max_forwards)
{
	if (cseq == 0)
		cseq = ++d->local_cseq;
	sip_build_request(b, method, slice_of(d->remote_target));
	sip_build_hdr(b, SIP_HDR_VIA, "SIP/2.0/%s %s;branch=%s;rport", side_via_transport(&d->side),
		      d->side.sent_by, branch);
	if (d->routes)
		sip_build_hdr(b, SIP_HDR_ROUTE, "%s", d->routes);
	sip_build_hdr(b, SIP_HDR_MAX_FORWARDS, "%d", max_forwards);
	sip_build_hdr(b, SIP_HDR_FROM, "%s;tag=%s", d->local, d->local_tag);
	if (d->remote_tag && *d->remote_tag)
		sip_build_hdr(b, SIP_HDR_TO, "%s;tag=%s", d->remote, d->remote_tag);
	else
		sip_build_hdr(b, SIP_HDR_TO, "%s", d->remote);
	sip_build_hdr(b, SIP_HDR_CALL_ID, "%s", d->call_id);
	sip_build_hdr(b, SIP_HDR_CSEQ, "%u %.*s", cseq, SLICE_ARG(method));
}

void dialog_contact(const struct dialog *d, struct sip_build *b)
{
	sip_build_hdr(b, SIP_HDR_CONTACT, "<sip:%s@%s;transport=%s>", d->contact_user,
		      d->side.sent_by, side_uri_transport(&d->side));
}

bool dialog_matches(const struct dialog *d, struct slice call_id, struct slice local_tag,
		    struct slice remote_tag)
{
	if (d->state == DIALOG_ENDED || !d->call_id)
		return false;
	return slice_eq(call_id, slice_of(d->call_id)) &&
	       slice_eq(local_tag, slice_of(d->local_tag)) &&
	       (!d->remote_tag || slice_eq(remote_tag, slice_of(d->remote_tag)));
}

struct slice dialog_next_hop(const struct dialog *d)
{
	struct sip_addr a;
	struct slice first;

	if (!d->routes)
		return slice_of(d->remote_target);
	first = slice_of(d->routes);
	first.n = slice_find(first, '>') + 1;
	if (first.n > strlen(d->routes))
		first = slice_of(d->routes);
	return sip_addr_parse(first, &a) ? a.uri : slice_of(d->remote_target);
}
