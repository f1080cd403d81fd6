/* URIs, addresses, Via values and parameter lists from one text. */
#include <stdlib.h>

#include "proto/sip_msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void within(struct slice part, struct slice all)
{
	check(part.n == 0 || (part.p >= all.p && part.p + part.n <= all.p + all.n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = { (const char *)data, size };
	struct sip_addr a;
	struct sip_uri u;
	struct sip_via v;
	struct buf aor, again;

	if (sip_uri_parse(text, &u)) {
		within(u.user, text);
		within(u.host, text);
		within(u.params, text);
		within(u.headers, text);
		check(sip_uri_same(text, text));
		sip_param(u.params, "transport");
		buf_init(&aor, 4 * size + 1);
		buf_init(&again, 12 * size + 16);
		if (sip_uri_aor(text, &aor)) {
			/* canonical: its own AOR is itself */
			struct buf uri;

			buf_init(&uri, 4 * size + 16);
			buf_add_str(&uri, "sip:");
			buf_add_slice(&uri, buf_slice(&aor));
			check(sip_uri_aor(buf_slice(&uri), &again));
			check(slice_eq(buf_slice(&aor), buf_slice(&again)));
			buf_fini(&uri);
		}
		buf_fini(&aor);
		buf_fini(&again);
	}
	if (sip_addr_parse(text, &a)) {
		check(a.uri.n > 0);
		within(a.display, text);
		within(a.uri, text);
		within(a.params, text);
		sip_param(a.params, "tag");
	}
	if (sip_via_parse(text, &v)) {
		check(v.host.n > 0 && v.transport.n > 0);
		within(v.host, text);
		within(v.branch, text);
		within(v.received, text);
	}
	sip_has_param(text, "lr");
	return 0;
}
