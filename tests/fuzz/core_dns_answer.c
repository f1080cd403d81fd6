#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "core/dns_answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first byte chooses the type that was asked for, the rest is the message. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum dns_type types[] = { DNS_A, DNS_AAAA, DNS_SRV };
	struct dns_answer a;

	if (size < 1)
		return 0;
	if (dns_answer_parse((struct slice){ (const char *)data + 1, size - 1 }, types[data[0] % 3],
			     &a) < 0)
		return 0;
	/* What it promises. */
	if (a.n > DNS_MAX_RECORDS || (a.status != 0) != (a.n == 0))
		abort();
	for (size_t i = 0; i < a.n; i++) {
		if (!memchr(a.records[i].target, '\0', sizeof(a.records[i].target)))
			abort();
	}
	return 0;
}
