/* Token texts: whatever is accepted prints back as the same text. */
#include <stdint.h>
#include <stdlib.h>

#include "sip/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t key[TOKEN_KEY_BYTES];
	struct slice text = { (const char *)data, size };
	struct token t;
	struct buf out;

	if (token_parse(text, key, &t) != TOKEN_OK)
		return 0;
	buf_init(&out, TOKEN_MAX_CHARS);
	token_print(&out, key, &t);
	if (!slice_eq(buf_slice(&out), text))
		abort();
	buf_fini(&out);
	return 0;
}
