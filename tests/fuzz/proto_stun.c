#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/stun.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_values(const struct stun_msg *m, const struct stun_attr *a)
{
	struct slice reason;
	struct addr addr;
	uint16_t algorithms[4], v16;
	size_t n_algorithms = 0;
	unsigned code;
	uint32_t v32;
	uint64_t v64;
	uint8_t v8;
	bool reserve;

	if (a->p < m->p || a->p + a->n > m->p + m->n)
		abort();
	stun_attr_u32(a, &v32);
	stun_attr_u64(a, &v64);
	stun_attr_addr(a, &addr);
	stun_attr_xor_addr(m, a, &addr);
	stun_attr_error(a, &code, &reason);
	stun_attr_u8(a, &v8);
	stun_attr_channel(a, &v16);
	stun_attr_even_port(a, &reserve);
	if (stun_attr_algorithms(a, algorithms, 4, &n_algorithms) &&
	    (n_algorithms == 0 || n_algorithms > 4))
		abort();
	/* One is a list of one. */
	if (stun_attr_algorithm(a, &v16) && (n_algorithms != 1 || algorithms[0] != v16))
		abort();
}

/* The same message built anew must decode to the same attributes and pass every check. */
static void rebuild(const struct stun_msg *m)
{
	size_t cap = m->n + 128;
	uint8_t *p = malloc(cap);
	struct stun_attr a = { .p = NULL }, b = { .p = NULL };
	struct stun_build build;
	struct stun_msg copy;

	stun_build_start(&build, p, cap, (enum stun_class)m->class, m->method, m->tid);
	while (stun_attr_next(m, &a))
		stun_build_attr(&build, a.type, a.p, a.n);
	stun_build_integrity(&build, SLICE("key"));
	stun_build_integrity256(&build, SLICE("key"));
	stun_build_fingerprint(&build);
	if (stun_build_end(&build) == 0)
		goto out; /* names that are too long */
	if (stun_decode(p, stun_build_end(&build), &copy) < 0 ||
	    stun_integrity_check(&copy, SLICE("key")) < 0 ||
	    stun_integrity256_check(&copy, SLICE("key")) < 0 || copy.method != m->method ||
	    copy.class != m->class)
		abort();
	a.p = NULL;
	while (stun_attr_next(m, &a)) {
		if (!stun_attr_next(&copy, &b) || a.type != b.type || a.n != b.n ||
		    memcmp(a.p, b.p, a.n) != 0)
			abort();
	}
	if (stun_attr_next(&copy, &b))
		abort();
out:
	free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint16_t known[] = { STUN_ATTR_USERNAME, STUN_ATTR_PRIORITY };
	struct stun_attr a = { .p = NULL };
	struct stun_msg m;
	uint16_t unknown[8];

	if (stun_decode(data, size, &m) < 0)
		return 0;
	while (stun_attr_next(&m, &a))
		read_values(&m, &a);
	stun_unknown(&m, known, 2, unknown, 8);
	stun_integrity_check(&m, SLICE("VOkJxbRl1RmTxUk/WvJxBt"));
	stun_integrity256_check(&m, SLICE("VOkJxbRl1RmTxUk/WvJxBt"));
	rebuild(&m);
	return 0;
}
