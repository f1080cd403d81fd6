/* Answers of clusterUser: the home is a host name or nothing. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "uc/uds.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = { (const char *)data, size };
	char home[UC_HOST_BYTES], host[UC_HOST_BYTES];
	enum uc_uds_home r = uc_uds_home(text, home);
	uint16_t port;

	if (home[0] && (r != UC_UDS_FOUND || !uc_host_is_legal(slice_of(home))))
		abort();
	if (uc_host_parse(text, 1, host, &port) && !uc_host_is_legal(slice_of(host)))
		abort();
	return 0;
}
