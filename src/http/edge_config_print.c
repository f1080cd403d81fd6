/* The XML of get_edge_config, and the names that were asked for. */
#include <stdio.h>
#include <string.h>

#include "http/edge_config.h"
#include "proto/xml_doc.h"

static bool is_service_name(struct slice s)
{
	if (s.n < 2 || s.n >= EDGE_CONFIG_NAME_BYTES || s.p[0] != '_')
		return false;
	for (size_t i = 1; i < s.n; i++) {
		char c = s.p[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
		    c != '-')
			return false;
	}
	return true;
}

bool edge_config_names_parse(struct slice query, struct edge_config_names *out, const char **why)
{
	static const struct slice key = { "service_name=", 13 };

	out->n = 0;
	while (query.p) {
		struct slice one = slice_next(&query, '&');

		if (!slice_starts(one, key))
			continue;
		one.p += key.n;
		one.n -= key.n;
		*why = "not a service name";
		if (!is_service_name(one))
			return false;
		*why = "more than 8 service names";
		if (out->n == EDGE_CONFIG_MAX_NAMES)
			return false;
		slice_copy(out->v[out->n++], EDGE_CONFIG_NAME_BYTES, one);
	}
	return true;
}

static void number(struct xml_writer *w, const char *name, unsigned v)
{
	char text[12];

	snprintf(text, sizeof(text), "%u", v);
	xml_write_leaf(w, name, slice_of(text));
}

static void print_service(struct xml_writer *w, const struct edge_config_service *s)
{
	xml_write_open(w, "service");
	xml_write_leaf(w, "name", slice_of(s->name));
	if (s->n == 0)
		xml_write_leaf(w, "error", SLICE("NameError"));
	for (size_t i = 0; i < s->n; i++) {
		xml_write_open(w, "server");
		number(w, "priority", s->servers[i].priority);
		number(w, "weight", s->servers[i].weight);
		number(w, "port", s->servers[i].port);
		xml_write_leaf(w, "address", slice_of(s->servers[i].address));
		xml_write_close(w);
	}
	xml_write_close(w);
}

static void print_nodes(struct xml_writer *w, const struct uc_node *nodes, size_t n, unsigned role,
			bool with_port)
{
	for (size_t i = 0; i < n; i++) {
		if (!(nodes[i].roles & role))
			continue;
		if (with_port)
			xml_write_open(w, "server");
		xml_write_leaf(w, "address", slice_of(nodes[i].name));
		if (with_port) {
			number(w, "tlsPort", nodes[i].uds_port);
			xml_write_close(w);
		}
	}
}

static void print_edge(struct xml_writer *w, const char *element, const char *name, uint16_t port)
{
	xml_write_open(w, element);
	if (port) {
		xml_write_open(w, "server");
		xml_write_leaf(w, "address", slice_of(name));
		number(w, "tlsPort", port);
		xml_write_close(w);
	}
	xml_write_close(w);
}

static void print_route(struct xml_writer *w, const struct edge_facts *edge)
{
	char route[512];

	if (!edge->sip_tls_port)
		return;
	/* The edge finds the way inside by itself: the route names only the edge, no inner box. */
	snprintf(route, sizeof(route), "<sip:%s:%u;transport=tls;lr>", edge->name,
		 edge->sip_tls_port);
	xml_write_open(w, "sipRequest");
	xml_write_leaf(w, "route", slice_of(route));
	xml_write_close(w);
}

bool edge_config_print(struct buf *out, const struct edge_config_service *services, size_t n,
		       const struct edge_facts *edge, const struct uc_node *nodes, size_t n_nodes)
{
	struct xml_writer w;

	xml_write_start(&w, out);
	xml_write_open(&w, "getEdgeConfigResponse");
	xml_write_attr(&w, "version", SLICE("1.0"));
	xml_write_open(&w, "serviceConfig");
	for (size_t i = 0; i < n; i++)
		print_service(&w, &services[i]);
	xml_write_open(&w, "tftpServer");
	print_nodes(&w, nodes, n_nodes, UC_TFTP, false);
	xml_write_close(&w);
	xml_write_close(&w);
	xml_write_open(&w, "edgeConfig");
	print_edge(&w, "sipEdgeServer", edge->name, edge->sip_tls_port);
	print_route(&w, edge);
	print_edge(&w, "xmppEdgeServer", edge->name, edge->xmpp_port);
	print_edge(&w, "httpEdgeServer", edge->name, edge->web_port);
	print_edge(&w, "turnEdgeServer", edge->name, edge->turn_port);
	xml_write_open(&w, "userUdsServer");
	print_nodes(&w, nodes, n_nodes, UC_CALL_MANAGER, true);
	xml_write_close(&w);
	xml_write_close(&w);
	xml_write_close(&w);
	return xml_write_end(&w) && !out->failed;
}
