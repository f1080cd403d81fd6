#include "uc/axl.h"

#include <stdio.h>
#include <string.h>

#include "proto/xml_doc.h"

#define SOAP_NS "http://schemas.xmlsoap.org/soap/envelope/"
#define AXL_NS	"http://www.cisco.com/AXL/API/"
/* A row of the list that stands for settings of all nodes. */
#define NOT_A_NODE "EnterpriseWideData"

static const char services_sql[] =
	"select pn.name, ts.name as service from processnodeservice pns "
	"inner join processnode pn on pns.fkprocessnode = pn.pkid "
	"inner join typeservice ts on pns.tkservice = ts.enum "
	"where pns.enable = 't' and ts.name in ('Cisco CallManager', 'Cisco Tftp')";
static const char security_sql[] =
	"select paramvalue from processconfig where paramname = 'ClusterSecurityMode'";

static const char *const calls[] = { "getCCMVersion", "listProcessNode", "executeSQLQuery",
				     "executeSQLQuery" };
static const char *const tags[] = { "ns:getCCMVersion", "ns:listProcessNode", "ns:executeSQLQuery",
				    "ns:executeSQLQuery" };
static const char *const responses[] = { "getCCMVersionResponse", "listProcessNodeResponse",
					 "executeSQLQueryResponse", "executeSQLQueryResponse" };

const char *uc_axl_call_str(enum uc_axl_call call)
{
	return calls[call];
}

bool uc_axl_schema_version(const char *full, char out[UC_AXL_VERSION_BYTES])
{
	const size_t major = strspn(full, "0123456789");
	size_t minor;

	if (major == 0 || major > 3 || full[major] != '.')
		return false;
	minor = strspn(full + major + 1, "0123456789");
	if (minor == 0 || minor > 3)
		return false;
	return slice_copy(out, UC_AXL_VERSION_BYTES, (struct slice){ full, major + 1 + minor });
}

static void write_arguments(struct xml_writer *w, enum uc_axl_call call)
{
	switch (call) {
	case UC_AXL_VERSION:
		return;
	case UC_AXL_NODES:
		xml_write_open(w, "searchCriteria");
		xml_write_leaf(w, "name", SLICE("%"));
		xml_write_close(w);
		xml_write_open(w, "returnedTags");
		xml_write_leaf(w, "name", SLICE_NONE);
		xml_write_leaf(w, "processNodeRole", SLICE_NONE);
		xml_write_close(w);
		return;
	case UC_AXL_SERVICES:
		xml_write_leaf(w, "sql", slice_of(services_sql));
		return;
	case UC_AXL_SECURITY:
		xml_write_leaf(w, "sql", slice_of(security_sql));
		return;
	}
}

bool uc_axl_request(enum uc_axl_call call, const char *version, struct buf *out, char *action,
		    size_t size)
{
	char ns[sizeof(AXL_NS) + UC_AXL_VERSION_BYTES];
	struct xml_writer w;
	int n;

	snprintf(ns, sizeof(ns), AXL_NS "%s", version);
	xml_write_start(&w, out);
	xml_write_open(&w, "soapenv:Envelope");
	xml_write_attr(&w, "xmlns:soapenv", SLICE(SOAP_NS));
	xml_write_attr(&w, "xmlns:ns", slice_of(ns));
	xml_write_open(&w, "soapenv:Body");
	xml_write_open(&w, tags[call]);
	write_arguments(&w, call);
	xml_write_close(&w);
	xml_write_close(&w);
	xml_write_close(&w);
	n = snprintf(action, size, "CUCM:DB ver=%s %s", version, calls[call]);
	return xml_write_end(&w) && n > 0 && (size_t)n < size;
}

static bool fail(char *why, size_t size, const char *text)
{
	snprintf(why, size, "%s", text);
	return false;
}

/* SOAP 1.1 4.4, SOAP 1.2 5.4. */
static const char *fault_text(const struct xml_element *fault)
{
	const char *text = xml_text(fault, "faultstring");

	if (!text[0])
		text = xml_text(fault, "Reason/Text");
	if (!text[0])
		text = xml_text(fault, "detail/axlError/axlmessage");
	return text[0] ? text : "a fault without a text";
}

static bool holds(const char *text, const char *word)
{
	return strcasestr(text, word) != NULL;
}

static bool read_version(const struct xml_element *ret, struct uc_found *found, char *why,
			 size_t size)
{
	const char *version = xml_text(ret, "componentVersion/version");

	if (!version[0])
		return fail(why, size, "the answer has no version");
	snprintf(found->version, sizeof(found->version), "%s", version);
	return true;
}

static unsigned role_of(const char *text)
{
	return holds(text, "presence") ? UC_PRESENCE : UC_CALL_MANAGER;
}

static bool read_nodes(const struct xml_element *ret, uint16_t uds_port, struct uc_found *found,
		       char *why, size_t size)
{
	const struct xml_element *e;

	for (e = xml_child(ret, "processNode"); e; e = xml_again(e)) {
		const struct slice name = slice_of(xml_text(e, "name"));

		if (slice_eq(name, SLICE(NOT_A_NODE)))
			continue;
		if (!uc_host_is_legal(name) || found->servers.n == UC_MAX_SERVERS)
			found->n_skipped++;
		else if (!uc_servers_add(&found->servers, name,
					 role_of(xml_text(e, "processNodeRole")), uds_port))
			return fail(why, size, "out of memory");
	}
	return found->servers.n > 0 || fail(why, size, "the cluster names no nodes");
}

/* A column of the row that is a node's name; a word of one that is a service. */
static void read_service(const struct xml_element *row, struct uc_found *found, bool *runs_cm)
{
	const struct xml_element *column;
	struct uc_server *server = NULL;
	bool is_cm = false;
	size_t i;

	for (column = row->first; column; column = column->next) {
		if (!server)
			server = uc_servers_find(&found->servers, slice_of(column->text));
		is_cm = is_cm || holds(column->text, "callmanager");
	}
	if (!server || !(server->roles & UC_CALL_MANAGER))
		return;
	i = (size_t)(server - found->servers.v);
	if (is_cm)
		runs_cm[i] = true;
	else
		server->roles |= UC_TFTP;
}

/* Who runs what. A node where the service is off is no call manager: phones cannot register there.
 * When the answer says it of nobody, all voice nodes are taken. */
static void read_services(const struct xml_element *ret, struct uc_found *found)
{
	bool runs_cm[UC_MAX_SERVERS] = { false };
	const struct xml_element *row;
	bool any = false;
	size_t i;

	for (row = xml_child(ret, "row"); row; row = xml_again(row))
		read_service(row, found, runs_cm);
	for (i = 0; i < found->servers.n; i++)
		any = any || runs_cm[i];
	for (i = 0; any && i < found->servers.n; i++)
		if (!runs_cm[i])
			found->servers.v[i].roles &= ~(unsigned)UC_CALL_MANAGER;
}

/* Enterprise parameter: 0 non-secure, 1 mixed. */
static void read_security(const struct xml_element *ret, struct uc_found *found)
{
	const struct xml_element *row, *column;

	for (row = xml_child(ret, "row"); row; row = xml_again(row))
		for (column = row->first; column; column = column->next)
			if (strcmp(column->text, "1") == 0)
				found->mixed = true;
}

static bool read_return(enum uc_axl_call call, const struct xml_element *ret, uint16_t uds_port,
			struct uc_found *found, char *why, size_t size)
{
	switch (call) {
	case UC_AXL_VERSION:
		return read_version(ret, found, why, size);
	case UC_AXL_NODES:
		return read_nodes(ret, uds_port, found, why, size);
	case UC_AXL_SERVICES:
		read_services(ret, found);
		return true;
	case UC_AXL_SECURITY:
		read_security(ret, found);
		return true;
	}
	return false;
}

bool uc_axl_answer(enum uc_axl_call call, struct slice body, uint16_t uds_port,
		   struct uc_found *found, char *why, size_t size)
{
	const char *reason = "out of memory";
	struct xml_doc *doc = xml_doc_parse(body, UC_AXL_MAX_BYTES, &reason);
	const struct xml_element *soap, *answer;
	bool ok;

	if (!doc)
		return fail(why, size, reason);
	soap = xml_child(xml_doc_root(doc), "Body");
	answer = xml_at(xml_child(soap, responses[call]), "return");
	if (answer)
		ok = read_return(call, answer, uds_port, found, why, size);
	else if (xml_child(soap, "Fault"))
		ok = fail(why, size, fault_text(xml_child(soap, "Fault")));
	else
		ok = fail(why, size, "this is no AXL answer");
	xml_doc_free(doc);
	return ok;
}

void uc_found_fini(struct uc_found *found)
{
	uc_servers_fini(&found->servers);
	*found = (struct uc_found){ 0 };
}
