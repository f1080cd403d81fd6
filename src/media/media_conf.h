#ifndef MEDIA_MEDIA_CONF_H
#define MEDIA_MEDIA_CONF_H
/* The rows of [media]. */
#include "core/conf_schema.h"

struct media_conf {
	struct conf_common common;
	struct conf_ports ports;
	struct conf_ports mux_ports;
	struct addr address;
	struct addr outside_address;
	struct addr public_address;
	struct conf_prefixes refuse_outside;
	uint32_t dscp_audio, dscp_video;
	uint32_t idle_timeout_ms;
	uint32_t max_sessions;
};

extern const struct conf_section media_conf_section;

#endif
