#include "uc/uds.h"

#include <string.h>

#include "proto/xml_doc.h"

/* The host of "https://host:port/...", or of "host" or "host:port". */
static bool host_of(const char *text, char home[UC_HOST_BYTES])
{
	const char *at = text ? strstr(text, "://") : NULL;
	struct slice s = slice_of(at ? at + 3 : text);
	uint16_t port;

	s.n = slice_find(s, '/');
	return s.n > 0 && uc_host_parse(s, 0, home, &port);
}

static bool find_home(const struct xml_element *root, const struct xml_element *result, char *home)
{
	const struct xml_element *named = xml_child(root, "homeCluster");

	if (!named)
		named = xml_child(result, "homeCluster");
	return (named && host_of(named->text, home)) ||
	       (named && host_of(xml_attr(named, "serverUri"), home)) ||
	       host_of(xml_attr(result, "uri"), home);
}

enum uc_uds_home uc_uds_home(struct slice body, char home[UC_HOST_BYTES])
{
	enum uc_uds_home answer = UC_UDS_BAD;
	const char *why, *found;
	struct xml_doc *doc = xml_doc_parse(body, UC_UDS_MAX_BYTES, &why);
	const struct xml_element *root, *result;

	home[0] = '\0';
	if (!doc)
		return UC_UDS_BAD;
	root = xml_doc_root(doc);
	result = xml_child(root, "result");
	found = xml_attr(result, "found");
	if (strcmp(root->name, "clusterUser") != 0)
		goto out;
	if (found && slice_caseeq(slice_of(found), SLICE("false")))
		answer = UC_UDS_NOT_FOUND;
	else if (find_home(root, result, home) ||
		 (found && slice_caseeq(slice_of(found), SLICE("true"))))
		answer = UC_UDS_FOUND;
out:
	xml_doc_free(doc);
	return answer;
}

bool uc_uds_user_is_legal(struct slice user)
{
	size_t i;

	for (i = 0; i < user.n; i++)
		if ((uint8_t)user.p[i] < 0x20 || user.p[i] == 0x7f || user.p[i] == ':')
			return false;
	/* "." and ".." would be eaten as steps of the path (RFC 3986 5.2.4). */
	if (slice_eq(user, SLICE(".")) || slice_eq(user, SLICE("..")))
		return false;
	return user.n > 0 && user.n <= UC_UDS_MAX_USER_BYTES;
}

void uc_uds_cluster_user_path(struct buf *out, struct slice user)
{
	buf_add_str(out, "/cucm-uds/clusterUser?username=");
	uc_host_percent(out, user);
}

void uc_uds_user_path(struct buf *out, struct slice user)
{
	buf_add_str(out, "/cucm-uds/user/");
	uc_host_percent(out, user);
}
