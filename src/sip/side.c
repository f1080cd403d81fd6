#include "sip/side.h"

const char *side_via_transport(const struct side *s)
{
	return s->transport == CONN_TLS ? "TLS" : s->transport == CONN_TCP ? "TCP" : "UDP";
}

const char *side_uri_transport(const struct side *s)
{
	return s->transport == CONN_TLS ? "tls" : s->transport == CONN_TCP ? "tcp" : "udp";
}
