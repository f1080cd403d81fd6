/* Path tokens, encoded and in the clear: what is accepted is printed to a token of the same
 * meaning. */
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/buf.h"
#include "proto/path_token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void check(struct slice path)
{
	struct path_token t, again;
	struct slice rest, none;
	const char *why = NULL;
	struct buf b;

	if (!path_token_parse(path, &t, &rest, &why)) {
		must(why != NULL);
		return;
	}
	must(rest.n > 0 && rest.p[0] == '/');
	must(t.domain[0] != '\0' && t.has_target == (t.host[0] != '\0'));
	must(t.has_target == (t.port != 0));
	buf_init(&b, 4096);
	buf_add_char(&b, '/');
	path_token_print(&b, &t);
	if (!b.failed) {
		must(path_token_parse(buf_slice(&b), &again, &none, &why));
		must(memcmp(&t, &again, sizeof(t)) == 0 && slice_eq(none, SLICE("/")));
	}
	buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf b;

	check((struct slice){ (const char *)data, size });
	/* And as what a token says: base64 keeps a fuzzer out of there. */
	buf_init(&b, 4096);
	buf_add_char(&b, '/');
	base64url_encode(&b, data, size);
	if (!b.failed)
		check(buf_slice(&b));
	buf_fini(&b);
	return 0;
}
