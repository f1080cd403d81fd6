#include "turn/server_item.h"

#include <string.h>

#include "base/addr.h"
#include "base/slice.h"

#define MAX_NAME_BYTES	253
#define MAX_REALM_BYTES 127 /* RFC 8489 14.9 */

bool turn_server_host_valid(struct slice s)
{
	struct addr ip;

	if (addr_parse_ip(s, 0, &ip))
		return s.p[0] != '[';
	if (s.n == 0 || s.n > MAX_NAME_BYTES)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
		    c != '-' && c != '.' && c != '_')
			return false;
	}
	return s.p[0] != '.' && s.p[0] != '-';
}

static bool is_realm(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f || s.p[i] == '"' ||
		    s.p[i] == '\\')
			return false;
	return s.n > 0 && s.n <= MAX_REALM_BYTES;
}

static bool take_text(const json_t *item, const char *key, bool (*legal)(struct slice s), char *out,
		      size_t size)
{
	const json_t *v = json_object_get(item, key);
	struct slice s = { json_string_value(v), json_string_length(v) };

	return s.p && legal(s) && slice_copy(out, size, s);
}

/* Absent: none. */
static bool take_ports(const json_t *item, const char *key, uint16_t out[TURN_MAX_PORTS],
		       unsigned *n)
{
	const json_t *list = json_object_get(item, key);

	*n = 0;
	if (!list)
		return true;
	if (!json_is_array(list) || json_array_size(list) > TURN_MAX_PORTS)
		return false;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *v = json_array_get(list, i);
		json_int_t port = json_integer_value(v);

		if (!json_is_integer(v) || port < 1 || port > 65535)
			return false;
		out[(*n)++] = (uint16_t)port;
	}
	return true;
}

bool turn_server_item_read(const json_t *item, struct turn_facts *out, const char **why)
{
	*out = (struct turn_facts){ .n_udp = 0 };
	if (!take_text(item, "host", turn_server_host_valid, out->host, sizeof(out->host)))
		*why = "host is no name and no address";
	else if (!take_text(item, "realm", is_realm, out->realm, sizeof(out->realm)))
		*why = "realm is absent, too long or not printable";
	else if (!take_ports(item, "udp", out->udp_ports, &out->n_udp) ||
		 !take_ports(item, "tcp", out->tcp_ports, &out->n_tcp) ||
		 !take_ports(item, "tls", out->tls_ports, &out->n_tls))
		*why = "ports are no list of up to 16 numbers from 1 to 65535";
	else if (out->n_udp + out->n_tcp + out->n_tls == 0)
		*why = "there is no port";
	else
		return true;
	return false;
}
