#ifndef UC_UC_CONF_H
#define UC_UC_CONF_H
/* [uc-cluster NAME]: one cluster of call managers and what belongs to it. */
#include "core/conf_schema.h"
#include "core/conf_store.h"

#define UC_MAX_CLUSTERS	 64
#define UC_CLUSTER_BYTES 64 /* of its name, with NUL */

enum uc_discovery_way { UC_WAY_STATIC, UC_WAY_SRV, UC_WAY_AXL };

struct uc_cluster_conf {
	struct conf_common common;
	struct conf_names domains;
	int discovery;						    /* enum uc_discovery_way */
	struct conf_names call_managers, tftp, presence, voicemail; /* host[:port] */
	char *publisher;					    /* host[:port] */
	char *username, *password;
	bool verify;
	char *tls;
	uint32_t uds_port;
	int security; /* 1: mixed */
	uint32_t sip_port, sip_tls_port;
	bool sip;
	uint32_t refresh_ms, probe_ms, timeout_ms;
	int url_scheme; /* 0: https, 1: http */
};

extern const struct conf_section uc_cluster_section;

#endif
