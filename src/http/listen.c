#include "http/listen.h"

#include <errno.h>

size_t listen_addresses(const struct addr *written, uint32_t port,
			struct addr out[LISTEN_MAX_ADDRESSES])
{
	if (written->family != ADDR_NONE) {
		out[0] = *written;
		out[0].port = (uint16_t)port;
		return 1;
	}
	addr_parse_ip(SLICE("0.0.0.0"), (uint16_t)port, &out[0]);
	addr_parse_ip(SLICE("::"), (uint16_t)port, &out[1]);
	return 2;
}

bool listen_may_fail(const struct addr *local, int error)
{
	return error == -EAFNOSUPPORT && local->family == ADDR_IP6;
}
