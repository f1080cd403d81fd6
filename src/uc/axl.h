#ifndef UC_AXL_H
#define UC_AXL_H
/*
 * AXL, the administrative SOAP interface of a publisher, as far as discovery needs it: the text of
 * four requests and what their answers say. POST https://publisher:8443/axl/ with Basic, SOAPAction
 * "CUCM:DB ver=V CALL"; answers are read by local names, so that any prefix and any schema version
 * will do:
 *
 *   getCCMVersion     Body/getCCMVersionResponse/return/componentVersion/version
 * = 12.5.1.11900(146) listProcessNode   Body/listProcessNodeResponse/return/processNode: name,
 * processNodeRole (CUCM Voice/Video, CUCM IM and Presence) executeSQLQuery
 * Body/executeSQLQueryResponse/return/row: one element a column refused           500 with
 * Body/Fault/faultstring; 599: a schema version it does not know
 */
#include "base/buf.h"
#include "uc/servers.h"

#define UC_AXL_VERSION_BYTES 16 /* of the schema: "12.5" */
#define UC_AXL_MAX_BYTES     (1024 * 1024)

enum uc_axl_call { UC_AXL_VERSION, UC_AXL_NODES, UC_AXL_SERVICES, UC_AXL_SECURITY };

/* What a discovery has found so far. */
struct uc_found {
	struct uc_servers servers;
	bool mixed;
	char version[32];   /* of the cluster: "12.5.1.11900(146)" */
	unsigned n_skipped; /* nodes with impossible names, or over UC_MAX_SERVERS */
};

/* Appends the envelope; action: for SOAPAction, without quotes. False: out or version is bad. */
bool uc_axl_request(enum uc_axl_call call, const char *version, struct buf *out, char *action,
		    size_t size);
/* Reads the answer to call into found. False with why (escaped by whoever shows it): no XML, a
 * fault, another answer, or without memory. */
bool uc_axl_answer(enum uc_axl_call call, struct slice body, uint16_t uds_port,
		   struct uc_found *found, char *why, size_t size);
/* "12.5" of "12.5.1.11900(146)"; false when it begins otherwise. */
bool uc_axl_schema_version(const char *full, char out[UC_AXL_VERSION_BYTES]);
const char *uc_axl_call_str(enum uc_axl_call call);
void uc_found_fini(struct uc_found *found);

#endif
