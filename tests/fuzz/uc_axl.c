/* Answers of a publisher: what comes out may be printed into settings. The first byte chooses the
 * question. */
#include <stdint.h>
#include <stdlib.h>

#include "uc/axl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct uc_found found = { 0 };
	char why[200] = "", version[UC_AXL_VERSION_BYTES];
	struct slice body;
	bool ok;
	size_t i;

	if (size == 0)
		return 0;
	body = (struct slice){ (const char *)data + 1, size - 1 };
	/* Names to look up, for the answers that speak of them. */
	uc_servers_add(&found.servers, SLICE("cucm1.example.com"), UC_CALL_MANAGER, 8443);
	ok = uc_axl_answer((enum uc_axl_call)(data[0] % 4), body, 8443, &found, why, sizeof(why));
	if (ok == (why[0] != '\0'))
		abort();
	for (i = 0; i < found.servers.n; i++)
		if (!uc_host_is_legal(slice_of(found.servers.v[i].name)))
			abort();
	uc_axl_schema_version(found.version, version);
	uc_found_fini(&found);
	return 0;
}
