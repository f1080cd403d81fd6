/* What an E says of its TURN server: only what can stand in a URI gets through. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/json_strict.h"
#include "turn/mint.h"
#include "turn/server_item.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void random_fill(void *p, size_t n)
{
	memset(p, 7, n);
}

/* Whatever is taken makes addresses of which none is cut and none has a stranger's byte. */
static void use(const struct turn_facts *f)
{
	static const char legal[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789-._:[]?=%";
	static struct turn_mint m;
	struct turn_mint_credential c;
	struct turn_mint_change change;
	struct turn_mint_server *s;

	turn_mint_init(&m, random_fill);
	turn_mint_configure(&m, 60000, 0);
	turn_mint_turn(&m, 0, &change);
	s = turn_mint_server(&m, 1);
	s->up = s->has_facts = true;
	s->facts = *f;
	if (!turn_mint_make(&m, SLICE("example.com"), SLICE_NONE, 0, 1800000000, &c))
		abort();
	if (c.n_uris == 0)
		abort();
	for (size_t i = 0; i < c.n_uris; i++)
		if (strspn(c.uris[i], legal) != strlen(c.uris[i]) ||
		    strcmp(c.uris[i] + strlen(c.uris[i]) - 2, i == 0 && f->n_udp ? "dp" : "cp"))
			abort();
	turn_mint_fini(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = { (const char *)data, size };
	struct turn_facts f;
	const char *why = NULL;
	json_t *item = json_strict_parse(text, 8, &why);

	if (!item) {
		if (!why)
			abort();
		return 0;
	}
	if (turn_server_item_read(item, &f, &why))
		use(&f);
	json_decref(item);
	return 0;
}
