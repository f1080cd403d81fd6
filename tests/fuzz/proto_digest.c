/* Challenges and credentials: what was read can be answered, printed, read and checked again. */
#include <stdlib.h>

#include "proto/digest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void answer(const struct digest_challenge *c)
{
	struct digest_response r;
	struct buf b;

	buf_init(&b, 8192);
	digest_response_print(&b, c, SLICE("user"), SLICE("secret"), SLICE("INVITE"),
			      SLICE("sip:b@example.com"), SLICE("cn"), 7);
	/* Over 2 KiB our own answer would be refused as well. */
	if (!b.failed && b.n <= 2048) {
		check(digest_response_parse(buf_slice(&b), &r));
		check(digest_response_check(&r, SLICE("secret"), SLICE("INVITE")));
		check(!digest_response_check(&r, SLICE("Secret"), SLICE("INVITE")));
		check(slice_eq(r.realm, c->realm) && slice_eq(r.nonce, c->nonce));
	}
	buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t key[32] = { 1 };
	struct slice text = { (const char *)data, size };
	struct digest_challenge c;
	struct digest_response r;

	if (digest_challenge_parse(text, &c))
		answer(&c);
	if (digest_response_parse(text, &r)) {
		digest_response_check(&r, SLICE("secret"), SLICE("INVITE"));
		digest_nonce_check(r.nonce, key, 1000, 60, SLICE("b"));
	}
	check(digest_nonce_check(text, key, 1000, 60, SLICE("b")) == DIGEST_NONCE_FOREIGN);
	return 0;
}
