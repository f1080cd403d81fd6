/* AXL requests and answers, and the discoveries that are made of them. */
#include "support/alloc_fail.h"
#include "support/uc_world.h"
#include "uc/axl.h"
#include "uc/discovery.h"
#include "uc/uds.h"

#define SOAP(inner)                                                                      \
	"<?xml version='1.0' encoding='UTF-8'?>"                                         \
	"<soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\">" \
	"<soapenv:Body>" inner "</soapenv:Body></soapenv:Envelope>"
#define RESPONSE(call, inner)                                               \
	SOAP("<ns:" call " xmlns:ns=\"http://www.cisco.com/AXL/API/12.5\">" \
	     "<return>" inner "</return></ns:" call ">")
#define NODE(name, role)                                                        \
	"<processNode uuid=\"{0}\"><name>" name "</name><processNodeRole>" role \
	"</processNodeRole></processNode>"
#define VOICE "CUCM Voice/Video"

static const char version_answer[] =
	RESPONSE("getCCMVersionResponse",
		 "<componentVersion><version>12.5.1.11900(146)</version></componentVersion>");
static const char nodes_answer[] =
	RESPONSE("listProcessNodeResponse",
		 NODE("EnterpriseWideData", VOICE) NODE("cucm1.example.com", VOICE)
			 NODE("cucm2.example.com", VOICE) NODE("imp1", "CUCM IM and Presence"));
static const char services_answer[] =
	RESPONSE("executeSQLQueryResponse",
		 "<row><name>cucm1.example.com</name><service>Cisco Tftp</service></row>"
		 "<row><name>cucm2.example.com</name><service>Cisco CallManager</service></row>"
		 "<row><name>elsewhere</name><service>Cisco CallManager</service></row>");
static const char mixed_answer[] =
	RESPONSE("executeSQLQueryResponse", "<row><paramvalue>1</paramvalue></row>");
static const char fault_answer[] =
	SOAP("<soapenv:Fault><faultcode>soapenv:Client</faultcode>"
	     "<faultstring>Query refused &lt;now&gt;</faultstring></soapenv:Fault>");

static void test_requests(void **state)
{
	char action[64];
	struct buf b;

	buf_init(&b, 4096);
	assert_true(uc_axl_request(UC_AXL_NODES, "12.5", &b, action, sizeof(action)));
	assert_string_equal(action, "CUCM:DB ver=12.5 listProcessNode");
	assert_string_equal(
		b.p, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		     "<soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\""
		     " xmlns:ns=\"http://www.cisco.com/AXL/API/12.5\"><soapenv:Body>"
		     "<ns:listProcessNode><searchCriteria><name>%</name></searchCriteria>"
		     "<returnedTags><name/><processNodeRole/></returnedTags></ns:listProcessNode>"
		     "</soapenv:Body></soapenv:Envelope>");
	buf_reset(&b);
	assert_true(uc_axl_request(UC_AXL_VERSION, "10.0", &b, action, sizeof(action)));
	assert_string_equal(action, "CUCM:DB ver=10.0 getCCMVersion");
	assert_non_null(strstr(b.p, "<ns:getCCMVersion/>"));
	buf_reset(&b);
	assert_true(uc_axl_request(UC_AXL_SERVICES, "12.5", &b, action, sizeof(action)));
	assert_string_equal(action, "CUCM:DB ver=12.5 executeSQLQuery");
	assert_non_null(strstr(b.p, "'Cisco Tftp'"));
	buf_reset(&b);
	assert_true(uc_axl_request(UC_AXL_SECURITY, "12.5", &b, action, sizeof(action)));
	assert_non_null(strstr(b.p, "ClusterSecurityMode"));
	buf_fini(&b);
	buf_init(&b, 100);
	assert_false(uc_axl_request(UC_AXL_NODES, "12.5", &b, action, sizeof(action)));
	buf_fini(&b);
}

static void read_ok(enum uc_axl_call call, const char *text, struct uc_found *found)
{
	char why[200] = "";

	if (!uc_axl_answer(call, slice_of(text), 8443, found, why, sizeof(why)))
		fail_msg("%s", why);
}

static unsigned roles_of(const struct uc_servers *s, const char *name)
{
	const struct uc_server *server = uc_servers_find(s, slice_of(name));

	assert_non_null(server);
	return server->roles;
}

static void test_answers(void **state)
{
	struct uc_found found = { 0 };

	read_ok(UC_AXL_VERSION, version_answer, &found);
	assert_string_equal(found.version, "12.5.1.11900(146)");
	read_ok(UC_AXL_NODES, nodes_answer, &found);
	assert_int_equal(found.servers.n, 3);
	assert_int_equal(roles_of(&found.servers, "CUCM1.example.com"), UC_CALL_MANAGER);
	assert_int_equal(roles_of(&found.servers, "imp1"), UC_PRESENCE);
	read_ok(UC_AXL_SERVICES, services_answer, &found);
	assert_int_equal(roles_of(&found.servers, "cucm1.example.com"), UC_TFTP);
	assert_int_equal(roles_of(&found.servers, "cucm2.example.com"), UC_CALL_MANAGER);
	assert_int_equal(roles_of(&found.servers, "imp1"), UC_PRESENCE);
	assert_false(found.mixed);
	read_ok(UC_AXL_SECURITY, mixed_answer, &found);
	assert_true(found.mixed);
	uc_found_fini(&found);
}

/* Names of TFTP servers alone, as a query for them gives: nobody loses the other role. */
static void test_services_without_names(void **state)
{
	struct uc_found found = { 0 };

	read_ok(UC_AXL_NODES, nodes_answer, &found);
	read_ok(UC_AXL_SERVICES,
		RESPONSE("executeSQLQueryResponse", "<row><name>cucm1.example.com</name></row>"),
		&found);
	assert_int_equal(roles_of(&found.servers, "cucm1.example.com"), UC_CALL_MANAGER | UC_TFTP);
	assert_int_equal(roles_of(&found.servers, "cucm2.example.com"), UC_CALL_MANAGER);
	uc_found_fini(&found);
}

static void read_bad(enum uc_axl_call call, const char *text, const char *expected)
{
	struct uc_found found = { 0 };
	char why[200] = "";

	assert_false(uc_axl_answer(call, slice_of(text), 8443, &found, why, sizeof(why)));
	if (!strstr(why, expected))
		fail_msg("\"%s\" does not hold \"%s\"", why, expected);
	uc_found_fini(&found);
}

static void test_bad_answers(void **state)
{
	read_bad(UC_AXL_NODES, fault_answer, "Query refused <now>");
	read_bad(UC_AXL_NODES, SOAP("<x/>"), "no AXL answer");
	read_bad(UC_AXL_NODES,
		 SOAP("<s:Fault xmlns:s='y'><s:Reason><s:Text>no</s:Text></s:Reason></s:Fault>"),
		 "no");
	read_bad(UC_AXL_NODES, SOAP("<Fault/>"), "without a text");
	read_bad(UC_AXL_NODES, "<html><body>hello</body></html>", "no AXL answer");
	read_bad(UC_AXL_NODES, "", "no element");
	read_bad(UC_AXL_NODES, version_answer, "no AXL answer");
	read_bad(UC_AXL_NODES, RESPONSE("listProcessNodeResponse", ""), "names no nodes");
	read_bad(UC_AXL_VERSION, RESPONSE("getCCMVersionResponse", ""), "no version");
	read_bad(UC_AXL_NODES, "<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>", "document type");
}

/* Nothing that could mean something else in the settings gets through. */
static void test_hostile_names(void **state)
{
	struct uc_found found = { 0 };

	read_ok(UC_AXL_NODES,
		RESPONSE("listProcessNodeResponse",
			 NODE("good", VOICE) NODE("a]&#10;[zone x", VOICE) NODE("a b", VOICE) NODE(
				 "-a", VOICE) NODE("", VOICE) NODE("a/b", VOICE) NODE("a@b", VOICE)
				 NODE("2001:db8::1", VOICE) NODE("[::1]", VOICE) NODE("a:80", VOICE)
					 NODE("fe80::1%eth0", VOICE)),
		&found);
	assert_int_equal(found.servers.n, 2);
	assert_int_equal(found.n_skipped, 9);
	assert_non_null(uc_servers_find(&found.servers, SLICE("2001:db8::1")));
	uc_found_fini(&found);
}

static void test_nodes_at_the_bound(void **state)
{
	struct uc_found found = { 0 };
	struct buf b;
	int i;

	buf_init(&b, 1 << 20);
	buf_add_str(&b, "<e><Body><listProcessNodeResponse><return>");
	for (i = 0; i < UC_MAX_SERVERS + 3; i++)
		buf_printf(&b, "<processNode><name>n%d</name></processNode>", i);
	buf_add_str(&b, "</return></listProcessNodeResponse></Body></e>");
	read_ok(UC_AXL_NODES, b.p, &found);
	assert_int_equal(found.servers.n, UC_MAX_SERVERS);
	assert_int_equal(found.n_skipped, 3);
	uc_found_fini(&found);
	buf_fini(&b);
}

static void test_schema_version(void **state)
{
	char v[UC_AXL_VERSION_BYTES];

	assert_true(uc_axl_schema_version("12.5.1.11900(146)", v));
	assert_string_equal(v, "12.5");
	assert_true(uc_axl_schema_version("15.0", v));
	assert_string_equal(v, "15.0");
	assert_false(uc_axl_schema_version("15", v));
	assert_false(uc_axl_schema_version("x.1", v));
	assert_false(uc_axl_schema_version("1234.1", v));
	assert_false(uc_axl_schema_version("", v));
}

static void test_uds(void **state)
{
	char home[UC_HOST_BYTES];

	assert_int_equal(uc_uds_home(SLICE("<clusterUser><result found=\"true\" "
					   "uri=\"https://c1.example.com:8443/cucm-uds/user/a\"/>"
					   "</clusterUser>"),
				     home),
			 UC_UDS_FOUND);
	assert_string_equal(home, "c1.example.com");
	assert_int_equal(
		uc_uds_home(SLICE("<x:clusterUser xmlns:x='y'><x:result found='true' uri='z'/>"
				  "<x:homeCluster>c2</x:homeCluster></x:clusterUser>"),
			    home),
		UC_UDS_FOUND);
	assert_string_equal(home, "c2");
	assert_int_equal(
		uc_uds_home(SLICE("<clusterUser><homeCluster serverUri='https://[2001:db8::1]"
				  ":8443/x'/></clusterUser>"),
			    home),
		UC_UDS_FOUND);
	assert_string_equal(home, "2001:db8::1");
	assert_int_equal(
		uc_uds_home(SLICE("<clusterUser><result found='false'/></clusterUser>"), home),
		UC_UDS_NOT_FOUND);
	assert_int_equal(uc_uds_home(SLICE("<clusterUser/>"), home), UC_UDS_BAD);
	assert_int_equal(uc_uds_home(SLICE("<other><result found='true'/></other>"), home),
			 UC_UDS_BAD);
	assert_int_equal(uc_uds_home(SLICE("no xml"), home), UC_UDS_BAD);
	/* Found, with a home that is none. */
	assert_int_equal(uc_uds_home(SLICE("<clusterUser><result found='true' uri='https://a b/'/>"
					   "</clusterUser>"),
				     home),
			 UC_UDS_FOUND);
	assert_string_equal(home, "");
}

static void test_uds_paths(void **state)
{
	struct buf b;

	buf_init(&b, 4096);
	uc_uds_cluster_user_path(&b, SLICE("a&b=c/../d?#%\xc3\xa9 +"));
	assert_string_equal(b.p, "/cucm-uds/clusterUser?username="
				 "a%26b%3Dc%2F..%2Fd%3F%23%25%C3%A9%20%2B");
	buf_reset(&b);
	uc_uds_user_path(&b, SLICE("al.ice-1_~"));
	assert_string_equal(b.p, "/cucm-uds/user/al.ice-1_~");
	buf_fini(&b);
	assert_true(uc_uds_user_is_legal(SLICE("alice@example.com")));
	assert_false(uc_uds_user_is_legal(SLICE("")));
	assert_false(uc_uds_user_is_legal(SLICE("..")));
	assert_false(uc_uds_user_is_legal(SLICE("a:b")));
	assert_false(uc_uds_user_is_legal(SLICE("a\r\nb")));
	b.p = memset(test_malloc(UC_UDS_MAX_USER_BYTES + 1), 'a', UC_UDS_MAX_USER_BYTES + 1);
	assert_true(uc_uds_user_is_legal((struct slice){ b.p, UC_UDS_MAX_USER_BYTES }));
	assert_false(uc_uds_user_is_legal((struct slice){ b.p, UC_UDS_MAX_USER_BYTES + 1 }));
	test_free(b.p);
}

/* --- discoveries --- */

struct seen {
	unsigned n_found, n_failed;
	struct uc_found found;
	char code[64], text[256];
};

static void on_done(void *arg, struct uc_found *found, const struct uc_fault *fault)
{
	struct seen *s = arg;

	if (found) {
		s->n_found++;
		uc_found_fini(&s->found);
		s->found = *found;
		*found = (struct uc_found){ 0 };
		return;
	}
	s->n_failed++;
	assert_non_null(fault->todo);
	snprintf(s->code, sizeof(s->code), "%s", fault->code);
	snprintf(s->text, sizeof(s->text), "%s", fault->text);
}

static char *domains[] = { (char *)(uintptr_t) "example.com", (char *)(uintptr_t) "example.org" };
static char *managers[] = { (char *)(uintptr_t) "cm1", (char *)(uintptr_t) "cm2:9443",
			    (char *)(uintptr_t) "192.0.2.1" };
static char *voicemails[] = { (char *)(uintptr_t) "cuc:7443" };

static struct uc_cluster_conf conf_of(int way)
{
	return (struct uc_cluster_conf){
		.domains = { domains, 2 },
		.discovery = way,
		.voicemail = { voicemails, 1 },
		.publisher = (char *)(uintptr_t) "pub",
		.username = (char *)(uintptr_t) "admin",
		.password = (char *)(uintptr_t) "secret",
		.verify = true,
		.tls = (char *)(uintptr_t) "inside",
		.uds_port = 8443,
		.timeout_ms = 7000,
	};
}

static void discover(struct fake_world *w, const struct uc_cluster_conf *conf, struct seen *seen)
{
	struct uc_discovery d;

	memset(seen, 0, sizeof(*seen));
	uc_discovery_init(&d, &w->world, on_done, seen);
	uc_discovery_start(&d, conf);
	assert_int_equal(seen->n_found + seen->n_failed, 0); /* never at once */
	assert_true(uc_discovery_runs(&d));
	uc_discovery_start(&d, conf); /* once is enough */
	fake_pass(w, 60000);
	assert_int_equal(seen->n_found + seen->n_failed, 1);
	assert_false(uc_discovery_runs(&d));
	uc_discovery_stop(&d);
}

static void test_static(void **state)
{
	struct uc_cluster_conf conf = conf_of(UC_WAY_STATIC);
	struct fake_world w;
	struct seen seen;

	fake_world_init(&w, NULL);
	conf.call_managers = (struct conf_names){ managers, 3 };
	conf.security = 1;
	discover(&w, &conf, &seen);
	assert_int_equal(seen.n_found, 1);
	assert_int_equal(seen.found.servers.n, 4);
	assert_int_equal(roles_of(&seen.found.servers, "cm1"), UC_CALL_MANAGER | UC_TFTP);
	assert_int_equal(seen.found.servers.v[0].uds_port, 8443);
	assert_int_equal(seen.found.servers.v[1].uds_port, 9443);
	assert_int_equal(roles_of(&seen.found.servers, "cuc"), UC_VOICEMAIL);
	assert_int_equal(seen.found.servers.v[3].port, 7443);
	assert_true(seen.found.mixed);
	uc_found_fini(&seen.found);
	conf.tftp = (struct conf_names){ managers, 1 };
	discover(&w, &conf, &seen);
	assert_int_equal(roles_of(&seen.found.servers, "cm1"), UC_CALL_MANAGER | UC_TFTP);
	assert_int_equal(roles_of(&seen.found.servers, "cm2"), UC_CALL_MANAGER);
	uc_found_fini(&seen.found);
	fake_world_fini(&w);
}

static void test_srv(void **state)
{
	const struct uc_cluster_conf conf = conf_of(UC_WAY_SRV);
	struct fake_world w;
	struct seen seen;

	fake_world_init(&w, NULL);
	w.srv_names[0] = "_cisco-uds._tcp.example.org";
	w.srv_names[1] = "cm1.example.org.:8443";
	w.srv_names[2] = "cm1.example.org:8443"; /* its second address */
	w.srv_names[3] = "cm2.example.org:9443";
	w.srv_names[4] = "a]b:1";
	w.srv_names[5] = "";
	w.srv_names[6] = "_cuplogin._tcp.example.com";
	w.srv_names[7] = "imp1.example.com:8443";
	discover(&w, &conf, &seen);
	assert_int_equal(seen.n_found, 1);
	assert_int_equal(seen.found.servers.n, 4);
	assert_int_equal(seen.found.n_skipped, 1);
	assert_int_equal(roles_of(&seen.found.servers, "cm2.example.org"),
			 UC_CALL_MANAGER | UC_TFTP);
	assert_int_equal(roles_of(&seen.found.servers, "imp1.example.com"), UC_PRESENCE);
	uc_found_fini(&seen.found);
	memset(w.srv_names, 0, sizeof(w.srv_names));
	discover(&w, &conf, &seen);
	assert_int_equal(seen.n_failed, 1);
	assert_string_equal(seen.code, "uc.discovery.no-srv");
	w.srv_error = -ETIMEDOUT;
	discover(&w, &conf, &seen);
	assert_string_equal(seen.code, "uc.discovery.dns");
	fake_world_fini(&w);
}

/* Answers by turn instead of by URL, which is always the same. */
static struct {
	const struct fake_rule *turn;
	struct fake_rule now[2];
} script;

static struct fetch *scripted(void *arg, const struct fetch_request *r,
			      void (*done)(const struct fetch_result *r, void *arg), void *done_arg,
			      int *error)
{
	struct fake_world *w = arg;

	script.now[0] = *script.turn;
	script.now[0].url = "https://pub:8443/axl/";
	if (script.turn[1].url)
		script.turn++;
	w->rules = script.now;
	return fake_fetch(arg, r, done, done_arg, error);
}

static void axl(struct fake_world *w, const struct fake_rule *turns, struct seen *seen)
{
	const struct uc_cluster_conf conf = conf_of(UC_WAY_AXL);

	fake_world_init(w, NULL);
	w->world.fetch = scripted;
	script.turn = turns;
	discover(w, &conf, seen);
	fake_world_fini(w);
}

static void test_axl(void **state)
{
	static const struct fake_rule turns[] = { { "", 0, 200, version_answer, NULL },
						  { "", 0, 200, nodes_answer, NULL },
						  { "", 0, 200, services_answer, NULL },
						  { "", 0, 200, mixed_answer, NULL },
						  { 0 } };
	struct fake_world w;
	struct seen seen;

	axl(&w, turns, &seen);
	assert_int_equal(seen.n_found, 1);
	assert_int_equal(w.n_fetches, 4);
	assert_int_equal(seen.found.servers.n, 4);
	assert_true(seen.found.mixed);
	assert_string_equal(w.last_user, "admin");
	assert_string_equal(w.last_tls, "inside");
	assert_true(w.last_verify);
	assert_int_equal(w.last_timeout_ms, 7000);
	assert_string_equal(w.last_action, "CUCM:DB ver=12.5 executeSQLQuery");
	uc_found_fini(&seen.found);
}

static void test_axl_does_without(void **state)
{
	static const struct fake_rule turns[] = { { "", 0, 599, "<x/>", NULL },
						  { "", 0, 200, version_answer, NULL },
						  { "", 0, 200, nodes_answer, NULL },
						  { "", 0, 500, fault_answer, NULL },
						  { 0 } };
	struct fake_world w;
	struct seen seen;

	axl(&w, turns, &seen);
	assert_int_equal(seen.n_found, 1);
	assert_int_equal(w.n_fetches, 5);
	assert_int_equal(roles_of(&seen.found.servers, "cucm1.example.com"),
			 UC_CALL_MANAGER | UC_TFTP);
	assert_false(seen.found.mixed);
	uc_found_fini(&seen.found);
}

static void axl_fails(const struct fake_rule *turns, const char *code, const char *text)
{
	struct fake_world w;
	struct seen seen;

	axl(&w, turns, &seen);
	assert_int_equal(seen.n_failed, 1);
	assert_string_equal(seen.code, code);
	if (!strstr(seen.text, text))
		fail_msg("\"%s\" does not hold \"%s\"", seen.text, text);
	assert_null(strstr(seen.text, "secret"));
}

static void test_axl_fails(void **state)
{
	static const struct fake_rule denied[] = { { "", 0, 401, "<html/>", NULL }, { 0 } };
	static const struct fake_rule dead[] = { { "", -EHOSTUNREACH, 0, NULL, NULL }, { 0 } };
	static const struct fake_rule silent[] = { { "", 1, 0, NULL, NULL }, { 0 } };
	static const struct fake_rule refused[] = { { "", 0, 200, version_answer, NULL },
						    { "", 0, 500, fault_answer, NULL },
						    { 0 } };
	static const struct fake_rule nonsense[] = { { "", 0, 200, "hello", NULL }, { 0 } };
	static const struct fake_rule no_schema[] = { { "", 0, 599, "", NULL }, { 0 } };

	axl_fails(denied, "uc.discovery.denied", "pub refuses the user admin (401)");
	axl_fails(dead, "uc.discovery.unreachable", "pub: ");
	axl_fails(silent, "uc.discovery.unreachable", "no answer");
	axl_fails(refused, "uc.discovery.axl", "listProcessNode: Query refused <now>");
	axl_fails(nonsense, "uc.discovery.axl", "pub answers 200 to getCCMVersion");
	axl_fails(no_schema, "uc.discovery.axl", "599");
}

static void test_stops(void **state)
{
	static const struct fake_rule silent[] = { { "https://pub", 1, 0, NULL, NULL }, { 0 } };
	const struct uc_cluster_conf conf = conf_of(UC_WAY_AXL);
	struct seen seen = { 0 };
	struct uc_discovery d;
	struct fake_world w;

	fake_world_init(&w, silent);
	uc_discovery_init(&d, &w.world, on_done, &seen);
	uc_discovery_start(&d, &conf);
	uc_discovery_stop(&d);
	uc_discovery_start(&d, &conf);
	fake_pass(&w, 10);
	assert_int_equal(fake_n_live(&w), 1);
	uc_discovery_stop(&d);
	fake_pass(&w, 60000);
	assert_int_equal(seen.n_found + seen.n_failed, 0);
	fake_world_fini(&w);
}

static void run_without_memory(void *arg)
{
	static const struct fake_rule turns[] = { { "", 0, 200, version_answer, NULL },
						  { "", 0, 200, nodes_answer, NULL },
						  { "", 0, 200, services_answer, NULL },
						  { "", 0, 200, mixed_answer, NULL },
						  { 0 } };
	struct uc_cluster_conf conf = conf_of(UC_WAY_STATIC);
	struct fake_world w;
	struct seen seen;

	axl(&w, turns, &seen);
	uc_found_fini(&seen.found);
	fake_world_init(&w, NULL);
	conf.call_managers = (struct conf_names){ managers, 3 };
	discover(&w, &conf, &seen);
	uc_found_fini(&seen.found);
	fake_world_fini(&w);
}

static void test_without_memory(void **state)
{
	assert_true(alloc_fail_sweep(run_without_memory, NULL) > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_services_without_names),
		cmocka_unit_test(test_bad_answers),
		cmocka_unit_test(test_hostile_names),
		cmocka_unit_test(test_nodes_at_the_bound),
		cmocka_unit_test(test_schema_version),
		cmocka_unit_test(test_uds),
		cmocka_unit_test(test_uds_paths),
		cmocka_unit_test(test_static),
		cmocka_unit_test(test_srv),
		cmocka_unit_test(test_axl),
		cmocka_unit_test(test_axl_does_without),
		cmocka_unit_test(test_axl_fails),
		cmocka_unit_test(test_stops),
		cmocka_unit_test(test_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
