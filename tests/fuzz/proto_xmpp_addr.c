/* Addresses: the parts lie in the text, what is normal stays as it is, what a part is holds. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/xmpp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(struct slice whole, struct slice part)
{
	if (part.n && (part.p < whole.p || part.p + part.n > whole.p + whole.n))
		abort();
}

static void check_domain(struct slice text)
{
	char once[XMPP_DOMAIN_BYTES], twice[XMPP_DOMAIN_BYTES];

	if (!xmpp_domain(text, once))
		return;
	if (once[0] == '\0' || strlen(once) > 253 || strpbrk(once, "@/ <>&'\"\\"))
		abort();
	if (!xmpp_domain(slice_of(once), twice) || strcmp(once, twice) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = { (const char *)data, size };
	char bare[XMPP_JID_BYTES], again[XMPP_JID_BYTES];
	struct xmpp_jid jid, other;

	check_domain(text);
	if (xmpp_jid_parse(text, &jid)) {
		inside(text, jid.local);
		inside(text, jid.domain);
		inside(text, jid.resource);
		if (jid.domain.n == 0)
			abort();
		check_domain(jid.domain);
	}
	if (!xmpp_bare(text, bare, sizeof(bare)))
		return 0;
	if (!xmpp_bare(slice_of(bare), again, sizeof(again)) || strcmp(bare, again) != 0)
		abort();
	if (!xmpp_jid_parse(slice_of(bare), &other) || other.resource.n ||
	    !slice_caseeq(other.local, jid.local))
		abort();
	return 0;
}
