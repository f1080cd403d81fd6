/* Elements of a stream: names in them, features filtered. What is left must have nothing that is to
 * be held back. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "proto/xml_stream.h"
#include "xmpp/sasl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_header(void *arg, const struct xmpp_header *h)
{
}

static void on_element(void *arg, struct xml_node *e, struct xml_arena *arena)
{
	static const struct features_policy strict;
	struct features_found found, after;
	char text[256];

	if (sasl_element_of(e) != SASL_NONE) {
		if (sasl_user(arena, e, text, sizeof(text)) && (!text[0] || strlen(text) > 255))
			abort();
		(void)sasl_external_identity(e, text, sizeof(text));
		if (sasl_mechanism(e) && sasl_set_external_identity(arena, e, "a@b") == 0 &&
		    (!sasl_external_identity(e, text, sizeof(text)) || strcmp(text, "a@b") != 0))
			abort();
		return;
	}
	features_filter(e, &strict, &found);
	features_filter(e, NULL, &after);
	if (after.starttls || after.had_binding || after.had_compression || after.had_register ||
	    after.external || after.n_mechanisms != found.n_mechanisms)
		abort();
}

static void on_nothing(void *arg)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct xml_stream_events events = { on_header, on_element, on_nothing,
							 on_nothing, NULL };
	static const char header[] =
		"<stream:stream xmlns='jabber:client' "
		"xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";
	struct xml_pool *pool = xml_pool_new();
	struct xml_stream *x = xml_stream_new(pool, &xml_stream_default_limits, &events, NULL);

	if (xml_stream_feed(x, slice_of(header)) == 0)
		(void)xml_stream_feed(x, (struct slice){ (const char *)data, size });
	xml_stream_free(x);
	xml_pool_free(pool);
	return 0;
}
