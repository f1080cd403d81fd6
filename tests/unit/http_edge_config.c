/* get_edge_config: the names that may be asked, the document, and the look-ups behind it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/alarm.h"
#include "core/dns.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/module.h"
#include "http/edge_config.h"
#include "proto/xml_doc.h"
#include "support/alloc_fail.h"

static bool parse(const char *query, struct edge_config_names *out)
{
	const char *why = NULL;
	bool ok = edge_config_names_parse(slice_of(query), out, &why);

	assert_true(ok || why);
	return ok;
}

static void names(void **state)
{
	static const char *const bad[] = {
		"service_name=",
		"service_name=_",
		"service_name=cisco-uds",
		"service_name=_cisco.uds",
		"service_name=_cisco_uds",
		"service_name=_cisco%2Duds",
		"service_name=_a+b",
		"service_name=_a&service_name=b",
		"service_name=_a;service_name=_b",
	};
	struct edge_config_names n;
	char text[64 * EDGE_CONFIG_MAX_NAMES], one[EDGE_CONFIG_NAME_BYTES + 20];
	const char *why = NULL;

	assert_true(edge_config_names_parse(SLICE_NONE, &n, &why));
	assert_int_equal(n.n, 0);
	assert_true(parse("", &n));
	assert_true(parse("x=1&&service_nam=_a&Service_name=b", &n));
	assert_int_equal(n.n, 0);
	assert_true(parse("service_name=_cisco-uds&x&service_name=_Cuplogin2&", &n));
	assert_int_equal(n.n, 2);
	assert_string_equal(n.v[0], "_cisco-uds");
	assert_string_equal(n.v[1], "_Cuplogin2");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (parse(bad[i], &n))
			fail_msg("taken: %s", bad[i]);
	/* The bounds: how many, how long. */
	text[0] = '\0';
	for (int i = 0; i < EDGE_CONFIG_MAX_NAMES; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "&service_name=_n%d", i);
	assert_true(parse(text, &n));
	assert_int_equal(n.n, EDGE_CONFIG_MAX_NAMES);
	strcat(text, "&service_name=_m");
	assert_false(parse(text, &n));
	for (int over = 0; over <= 1; over++) {
		size_t len = EDGE_CONFIG_NAME_BYTES - 1 + (size_t)over;

		strcpy(one, "service_name=_");
		memset(one + strlen("service_name=_"), 'a', len - 1);
		one[strlen("service_name=") + len] = '\0';
		assert_int_equal(parse(one, &n), !over);
	}
}

static const struct edge_config_service services[] = {
	{ .name = "_cisco-uds",
	  .n = 2,
	  .servers = { { .priority = 0,
			 .weight = 10,
			 .port = 8443,
			 .address = "cucm1.example.com" },
		       { .priority = 1,
			 .weight = 0,
			 .port = 8443,
			 .address = "cucm2.example.com" } } },
	{ .name = "_cuplogin", .n = 0 },
};
static const struct edge_facts full_edge = { .name = "edge1.example.com",
					     .web_port = 8443,
					     .sip_tls_port = 5061,
					     .xmpp_port = 5222,
					     .turn_port = 5349 };
static const struct uc_node nodes[] = {
	{ .name = "cucm1.example.com",
	  .roles = UC_CALL_MANAGER | UC_TFTP,
	  .uds_port = 8443,
	  .alive = true },
	{ .name = "tftp.example.com", .roles = UC_TFTP, .uds_port = 8443, .alive = true },
	{ .name = "imp.example.com", .roles = UC_PRESENCE, .uds_port = 8443, .alive = true },
};

/* Byte for byte: apps out there were written against this order. */
static const char golden[] =
	"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
	"<getEdgeConfigResponse version=\"1.0\">"
	"<serviceConfig>"
	"<service><name>_cisco-uds</name>"
	"<server><priority>0</priority><weight>10</weight><port>8443</port>"
	"<address>cucm1.example.com</address></server>"
	"<server><priority>1</priority><weight>0</weight><port>8443</port>"
	"<address>cucm2.example.com</address></server></service>"
	"<service><name>_cuplogin</name><error>NameError</error></service>"
	"<tftpServer><address>cucm1.example.com</address><address>tftp.example.com</address>"
	"</tftpServer>"
	"</serviceConfig>"
	"<edgeConfig>"
	"<sipEdgeServer><server><address>edge1.example.com</address><tlsPort>5061</tlsPort>"
	"</server></sipEdgeServer>"
	"<sipRequest><route>&lt;sip:edge1.example.com:5061;transport=tls;lr&gt;</route>"
	"</sipRequest>"
	"<xmppEdgeServer><server><address>edge1.example.com</address><tlsPort>5222</tlsPort>"
	"</server></xmppEdgeServer>"
	"<httpEdgeServer><server><address>edge1.example.com</address><tlsPort>8443</tlsPort>"
	"</server></httpEdgeServer>"
	"<turnEdgeServer><server><address>edge1.example.com</address><tlsPort>5349</tlsPort>"
	"</server></turnEdgeServer>"
	"<userUdsServer><server><address>cucm1.example.com</address><tlsPort>8443</tlsPort>"
	"</server></userUdsServer>"
	"</edgeConfig>"
	"</getEdgeConfigResponse>";

static void document(void **state)
{
	const struct xml_element *root, *e;
	const char *why = "";
	struct xml_doc *d;
	struct buf b;

	buf_init(&b, 65536);
	assert_true(edge_config_print(&b, services, 2, &full_edge, nodes, 3));
	/* The declaration's end and a last line feed are the writer's own business. */
	d = xml_doc_parse(buf_slice(&b), 65536, &why);
	if (!d)
		fail_msg("%s", why);
	root = xml_doc_root(d);
	assert_string_equal(root->name, "getEdgeConfigResponse");
	assert_string_equal(xml_attr(root, "version"), "1.0");
	e = xml_at(root, "serviceConfig/service/server");
	assert_string_equal(xml_text(e, "address"), "cucm1.example.com");
	assert_string_equal(xml_text(xml_again(e), "address"), "cucm2.example.com");
	assert_null(xml_again(xml_again(e)));
	e = xml_again(xml_at(root, "serviceConfig/service"));
	assert_string_equal(xml_text(e, "error"), "NameError");
	assert_string_equal(xml_text(root, "edgeConfig/sipRequest/route"),
			    "<sip:edge1.example.com:5061;transport=tls;lr>");
	xml_doc_free(d);
	assert_string_equal(b.p, golden);
	buf_fini(&b);
}

/* What the edge does not serve has an empty element; no SIP, no route. */
static void document_of_little(void **state)
{
	static const struct edge_facts edge = { .name = "edge1" };
	const char *why = "";
	struct xml_doc *d;
	struct buf b;

	buf_init(&b, 65536);
	assert_true(edge_config_print(&b, NULL, 0, &edge, NULL, 0));
	assert_non_null(strstr(b.p, "<tftpServer/>"));
	assert_non_null(strstr(b.p, "<sipEdgeServer/>"));
	assert_non_null(strstr(b.p, "<xmppEdgeServer/>"));
	assert_non_null(strstr(b.p, "<turnEdgeServer/>"));
	assert_non_null(strstr(b.p, "<userUdsServer/>"));
	assert_null(strstr(b.p, "sipRequest"));
	d = xml_doc_parse(buf_slice(&b), 65536, &why);
	assert_non_null(d);
	xml_doc_free(d);
	buf_fini(&b);
}

static void hostile_names(void **state)
{
	static struct edge_config_service s = { .name = "_x", .n = 1 };
	const char *why = "";
	struct xml_doc *d;
	struct buf b;

	/* Whatever DNS inside says stays text. */
	strcpy(s.servers[0].address, "a</address><x>&\"'");
	buf_init(&b, 65536);
	assert_true(edge_config_print(&b, &s, 1, &full_edge, nodes, 3));
	d = xml_doc_parse(buf_slice(&b), 65536, &why);
	assert_non_null(d);
	assert_string_equal(xml_text(xml_doc_root(d), "serviceConfig/service/server/address"),
			    "a</address><x>&\"'");
	xml_doc_free(d);
	buf_fini(&b);
	/* What XML cannot carry, and what does not fit: no half document. */
	strcpy(s.servers[0].address, "a\001b");
	buf_init(&b, 65536);
	assert_false(edge_config_print(&b, &s, 1, &full_edge, nodes, 3));
	buf_fini(&b);
	buf_init(&b, strlen(golden));
	assert_true(edge_config_print(&b, services, 2, &full_edge, nodes, 3));
	buf_fini(&b);
	buf_init(&b, strlen(golden) - 1);
	assert_false(edge_config_print(&b, services, 2, &full_edge, nodes, 3));
	buf_fini(&b);
}

/* --- look-ups: without name servers everything is unknown, discovery fills in --- */

struct box {
	struct env env;
	FILE *sink;
	struct dns_conf conf;
	char xml[4096];
	unsigned n_done, n_without;
	const struct uc_node *nodes;
	size_t n_nodes;
};

static bool node(void *self, size_t i, struct uc_node *out)
{
	const struct box *b = self;

	if (i >= b->n_nodes)
		return false;
	*out = b->nodes[i];
	return true;
}

static const struct uc_ops uc = { .node = node };

static struct box *box_new(void)
{
	static char *const servers[] = { (char *)(uintptr_t) "127.0.0.1:9" };
	struct box *b = calloc(1, sizeof(*b));

	b->sink = fopen("/dev/null", "w");
	b->env.role = CONF_ROLE_C;
	b->env.loop = loop_new();
	b->env.log = log_new(b->sink, LOG_LEVEL_ERROR);
	b->env.alarms = alarms_new(b->env.log);
	b->env.dns = dns_new(b->env.loop, b->env.log, b->env.alarms);
	b->conf = (struct dns_conf){ .servers = { (char **)(uintptr_t)servers, 1 },
				     .timeout_ms = 50,
				     .tries = 1,
				     .cache_max_ms = 1000,
				     .cache_entries = 10 };
	assert_int_equal(dns_apply(b->env.dns, &b->conf), 0);
	b->nodes = nodes;
	b->n_nodes = 3;
	return b;
}

static void box_free(struct box *b)
{
	dns_free(b->env.dns);
	alarms_free(b->env.alarms);
	log_free(b->env.log);
	loop_free(b->env.loop);
	fclose(b->sink);
	free(b);
}

static void done(void *arg, const struct buf *xml)
{
	struct box *b = arg;

	b->n_done++;
	if (!xml) {
		b->n_without++;
		return;
	}
	assert_true(xml->n < sizeof(b->xml));
	memcpy(b->xml, xml->p, xml->n + 1);
}

static void turn(struct box *b)
{
	for (int i = 0; i < 2000 && b->n_done == 0; i++)
		loop_once(b->env.loop, 10);
}

static void discovery_fills_in(void **state)
{
	struct edge_config_names n;
	struct box *b = box_new();

	assert_true(
		parse("service_name=_cisco-uds&service_name=_cuplogin&service_name=_cisco-phone-"
		      "tftp&service_name=_other",
		      &n));
	assert_non_null(
		edge_config_start(&b->env, &uc, b, SLICE("example.com"), &n, &full_edge, done, b));
	assert_int_equal(b->n_done, 0);
	turn(b);
	assert_int_equal(b->n_done, 1);
	assert_non_null(strstr(b->xml, "<name>_cisco-uds</name><server><priority>10</priority>"
				       "<weight>10</weight><port>8443</port>"
				       "<address>cucm1.example.com</address>"));
	assert_non_null(strstr(b->xml, "<name>_cuplogin</name><server><priority>10</priority>"
				       "<weight>10</weight><port>8443</port>"
				       "<address>imp.example.com</address>"));
	assert_non_null(strstr(b->xml, "<port>6970</port><address>cucm1.example.com</address>"));
	assert_non_null(strstr(b->xml, "<name>_other</name><error>NameError</error>"));
	box_free(b);
}

/* Nothing asked, or no uc module: still a document. */
static void nothing_asked(void **state)
{
	static const struct edge_config_names none = { .n = 0 };
	struct box *b = box_new();

	assert_non_null(edge_config_start(&b->env, NULL, NULL, SLICE("example.com"), &none,
					  &full_edge, done, b));
	assert_int_equal(b->n_done, 0);
	turn(b);
	assert_int_equal(b->n_done, 1);
	assert_non_null(strstr(b->xml, "<serviceConfig><tftpServer/></serviceConfig>"));
	box_free(b);
}

static void cancelled(void **state)
{
	static const struct edge_config_names none = { .n = 0 };
	struct edge_config_names n;
	struct box *b = box_new();

	assert_true(parse("service_name=_a&service_name=_b", &n));
	edge_config_cancel(
		edge_config_start(&b->env, &uc, b, SLICE("example.com"), &n, &full_edge, done, b));
	edge_config_cancel(edge_config_start(&b->env, &uc, b, SLICE("example.com"), &none,
					     &full_edge, done, b));
	edge_config_cancel(NULL);
	for (int i = 0; i < 20; i++)
		loop_once(b->env.loop, 10);
	assert_int_equal(b->n_done, 0);
	box_free(b);
}

static void run_without_memory(void *arg)
{
	static const struct edge_config_names none = { .n = 0 };
	struct box *b = arg;
	struct edge_config *c;

	b->n_done = b->n_without = 0;
	c = edge_config_start(&b->env, &uc, b, SLICE("example.com"), &none, &full_edge, done, b);
	if (!c) {
		assert_true(alloc_fail_hit());
		return;
	}
	turn(b);
	assert_int_equal(b->n_done, 1);
	assert_true(b->n_without == 0 || alloc_fail_hit());
}

static void without_memory(void **state)
{
	struct box *b = box_new();

	assert_true(alloc_fail_sweep(run_without_memory, b) > 2);
	box_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(document),
		cmocka_unit_test(document_of_little),
		cmocka_unit_test(hostile_names),
		cmocka_unit_test(discovery_fills_in),
		cmocka_unit_test(nothing_asked),
		cmocka_unit_test(cancelled),
		cmocka_unit_test(without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
