/* Rules that C puts: whatever is taken can be asked for, printed and taken again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/json_strict.h"
#include "xmpp/partner.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again(void *arg, const char *key, const json_t *item)
{
	struct partners *copy = arg;

	if (partners_put(copy, key, item) != 0)
		abort();
}

static void look(void *arg, const struct partner_rule *r)
{
	const struct partners *copy = arg;
	char host[PARTNER_HOST_BYTES];
	uint16_t port;

	for (size_t i = 0; i < r->n_routes; i++)
		if (!partner_route_parse(slice_of(r->routes[i]), 5269, host, &port))
			abort();
	if (strcmp(r->domain, PARTNER_ANY) != 0 &&
	    partners_decide(copy, true, false, r->domain).allowed != r->allowed)
		abort();
}

/* The key, a line feed, the item. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = { (const char *)data, size }, line = slice_next(&text, '\n');
	struct partners *p = partners_new(), *copy = partners_new();
	char key[256];
	const char *why;
	json_t *item = text.p ? json_strict_parse(text, 8, &why) : NULL;

	if (item && slice_copy(key, sizeof(key), line)) {
		if (partners_put(p, key, item) == 0 && partners_count(p) != 1)
			abort();
		partners_each(p, again, copy);
		if (partners_count(copy) != partners_count(p))
			abort();
		partners_each_rule(p, look, copy);
	}
	json_decref(item);
	partners_free(copy);
	partners_free(p);
	return 0;
}
