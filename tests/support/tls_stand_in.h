#ifndef SUPPORT_TLS_STAND_IN_H
#define SUPPORT_TLS_STAND_IN_H
/* Stands in for the [tls] section of core/tls, which wants files. */
#include "core/tls.h"

static const struct conf_row tls_stand_in_rows[] = {
	{ .key = "certificate",
	  .type = CONF_STRING,
	  .offset = offsetof(struct tls_conf, certificate),
	  .def = "own.pem" },
};
static const struct conf_section tls_section = {
	.type = "tls",
	.repeatable = true,
	.roles = CONF_ROLE_BOTH,
	.size = sizeof(struct tls_conf),
	.rows = tls_stand_in_rows,
	.n_rows = 1,
};

#endif
