/* IM servers: whose node is which, who lives, PROXY protocol, certificates, SRV. */
#include "support/stream_box.h"

#include <event2/event.h>

#include "support/alloc_fail.h"
#include "xmpp/im_server_impl.h"

/* --- the hash --- */

#define N_PEERS 5
#define N_USERS 2000
#define HOMES	"2351414423"

static void make_peers(struct im_peer *peers, struct im_peer **list)
{
	static const char *const hosts[N_PEERS] = { "im1", "im2", "im3", "im4", "im5" };

	memset(peers, 0, N_PEERS * sizeof(*peers));
	for (size_t i = 0; i < N_PEERS; i++) {
		peers[i].pub = (struct im_node){ .host = hosts[i], .port = 5222, .alive = true };
		list[i] = &peers[i];
	}
}

static const struct im_peer *home_of(struct im_peer **list, size_t n, int user)
{
	char key[40];

	snprintf(key, sizeof(key), "user%d@example.com", user);
	im_peers_sort(list, n, key);
	return list[0];
}

/* B14: when a node goes, only its users move, and they spread. */
static void test_only_users_of_the_dead_move(void **state)
{
	struct im_peer peers[N_PEERS], *list[N_PEERS];
	const struct im_peer *was[N_USERS];
	size_t n_of[N_PEERS] = { 0 }, n_moved_to[N_PEERS] = { 0 };

	make_peers(peers, list);
	for (int u = 0; u < N_USERS; u++) {
		was[u] = home_of(list, N_PEERS, u);
		n_of[was[u] - peers]++;
	}
	for (size_t i = 0; i < N_PEERS; i++)
		assert_in_range(n_of[i], N_USERS / N_PEERS * 8 / 10, N_USERS / N_PEERS * 12 / 10);
	peers[2].pub.alive = false;
	for (int u = 0; u < N_USERS; u++) {
		const struct im_peer *now = home_of(list, N_PEERS, u);

		assert_ptr_equal(list[N_PEERS - 1], &peers[2]); /* still there, as the last */
		if (was[u] != &peers[2])
			assert_ptr_equal(now, was[u]);
		else
			n_moved_to[now - peers]++;
	}
	for (size_t i = 0; i < N_PEERS; i++)
		assert_true(i == 2 ? n_moved_to[i] == 0 : n_moved_to[i] > n_of[2] / 8);
	/* and back */
	peers[2].pub.alive = true;
	for (int u = 0; u < N_USERS; u++)
		assert_ptr_equal(home_of(list, N_PEERS, u), was[u]);
}

static void test_order(void **state)
{
	struct im_peer peers[N_PEERS], *list[N_PEERS];

	make_peers(peers, list);
	peers[1].priority = peers[3].priority = 10;
	peers[0].pub.alive = false;
	for (int u = 0; u < 50; u++) {
		home_of(list, N_PEERS, u);
		assert_true(list[0] == &peers[2] || list[0] == &peers[4]);
		assert_true(list[2] == &peers[1] || list[2] == &peers[3]);
		assert_ptr_equal(list[4], &peers[0]);
	}
	/* the port makes a node another one */
	make_peers(peers, list);
	for (size_t i = 0; i < N_PEERS; i++) {
		peers[i].pub.host = "im1";
		peers[i].pub.port = (uint16_t)(5222 + i);
	}
	for (int u = 1; home_of(list, N_PEERS, u) == home_of(list, N_PEERS, 0); u++)
		assert_true(u < 100);
}

/* A user must not move because C was updated: these are for ever. */
static void test_hash_is_the_same_everywhere(void **state)
{
	struct im_peer peers[N_PEERS], *list[N_PEERS];
	char homes[11] = "";

	make_peers(peers, list);
	for (int u = 0; u < 10; u++)
		homes[u] = (char)('1' + (home_of(list, N_PEERS, u) - peers));
	assert_string_equal(homes, HOMES);
}

/* --- PROXY protocol, version 2 --- */

static struct addr addr_of(const char *text)
{
	struct addr a;

	assert_true(addr_parse(slice_of(text), 0, &a));
	return a;
}

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

/* B13; section 2.2 of the specification. */
static void test_proxy_header(void **state)
{
	static const char ip4[] = SIGNATURE "\x21\x11\0\x0c"
					    "\xc6\x33\x64\x07"
					    "\x0a\0\0\x05"
					    "\x12\x67\x14\x66";
	static const char ip6[] = SIGNATURE "\x21\x21\0\x24"
					    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07"
					    "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05"
					    "\x12\x67\x14\x66";
	static const char mixed[] = SIGNATURE "\x21\x21\0\x24"
					      "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc6\x33\x64\x07"
					      "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05"
					      "\x12\x67\x14\x66";
	static const char local[] = SIGNATURE "\x20\0\0\0";
	struct addr v4 = addr_of("198.51.100.7:4711"), v6 = addr_of("[2001:db8::7]:4711");
	struct addr to4 = addr_of("10.0.0.5:5222"), to6 = addr_of("[fd00::5]:5222"), none = { 0 };
	uint8_t out[IM_PROXY_BYTES];

	assert_int_equal(im_proxy_header(out, &v4, &to4), sizeof(ip4) - 1);
	assert_memory_equal(out, ip4, sizeof(ip4) - 1);
	assert_int_equal(im_proxy_header(out, &v6, &to6), sizeof(ip6) - 1);
	assert_memory_equal(out, ip6, sizeof(ip6) - 1);
	assert_int_equal(im_proxy_header(out, &v4, &to6), sizeof(mixed) - 1);
	assert_memory_equal(out, mixed, sizeof(mixed) - 1);
	assert_int_equal(im_proxy_header(out, NULL, &to4), sizeof(local) - 1);
	assert_memory_equal(out, local, sizeof(local) - 1);
	assert_int_equal(im_proxy_header(out, &none, &to6), sizeof(local) - 1);
	assert_memory_equal(out, local, sizeof(local) - 1);
}

/* --- with sockets --- */

struct srv {
	const char *name;
	uint16_t priority, port;
	const char *target;
};

struct world {
	struct stream_box *box;
	struct env *env;
	struct conf_store *store;
	struct im_servers *servers;
	char hosts[32];
	int dns_fd;
	struct event *dns_event;
	const struct srv *srv; /* ends with name NULL */
	struct stream_listener *listener;
	struct addr at;
	struct stream *accepted;
	/* the last search */
	int n_done;
	size_t n;
	struct im_node nodes[2 * IM_MAX_NODES];
	char names[2 * IM_MAX_NODES][64], why[320];
	/* the last stream */
	bool opened, closed;
	char closed_why[200];
};

static void put_name(struct buf *b, const char *name)
{
	struct slice rest = slice_of(name);

	while (rest.n) {
		struct slice label = slice_next(&rest, '.');

		buf_add_char(b, (char)label.n);
		buf_add_slice(b, label);
	}
	buf_add_char(b, '\0');
}

/* Answers SRV questions; all else does not exist. */
static void on_query(evutil_socket_t fd, short what, void *arg)
{
	struct world *w = arg;
	struct sockaddr_storage from;
	socklen_t from_n = sizeof(from);
	uint8_t q[600];
	ssize_t n = recvfrom(fd, q, sizeof(q), 0, (struct sockaddr *)&from, &from_n);
	size_t end = 12, n_answers = 0;
	char name[300] = "";
	struct buf b, rrs;

	assert_true(n > 12);
	for (size_t at = 12; q[at]; at += q[at] + 1u)
		snprintf(name + strlen(name), sizeof(name) - strlen(name), "%s%.*s",
			 name[0] ? "." : "", q[at], q + at + 1);
	end += strlen(name) + 2 + 4;
	buf_init(&b, 4096);
	buf_init(&rrs, 4096);
	for (const struct srv *s = w->srv; s && s->name && q[end - 3] == 33; s++) {
		struct buf target;

		if (strcmp(s->name, name) != 0)
			continue;
		buf_init(&target, 300);
		put_name(&target, s->target);
		buf_add(&rrs, "\xc0\x0c\0\x21\0\x01\0\0\0\x3c", 10);
		buf_add_u16(&rrs, (uint16_t)(6 + target.n));
		buf_add_u16(&rrs, s->priority);
		buf_add_u16(&rrs, 0);
		buf_add_u16(&rrs, s->port);
		buf_add_slice(&rrs, buf_slice(&target));
		buf_fini(&target);
		n_answers++;
	}
	buf_add(&b, q, 2);
	buf_add_u16(&b, (uint16_t)(0x8180 | (n_answers ? 0 : 3)));
	buf_add_u16(&b, 1);
	buf_add_u16(&b, (uint16_t)n_answers);
	buf_add_u32(&b, 0);
	buf_add(&b, q + 12, end - 12);
	buf_add_slice(&b, buf_slice(&rrs));
	sendto(fd, b.p, b.n, 0, (struct sockaddr *)&from, from_n);
	buf_fini(&b);
	buf_fini(&rrs);
}

static void start_dns(struct world *w)
{
	static const char names[] = "127.0.0.1 im1.inside im2.inside im3.inside only.test\n"
				    "127.0.0.2 two.inside\n127.0.0.1 two.inside\n";
	struct addr any = stream_box_addr(0), at;
	char text[ADDR_STR_BYTES];
	char *servers[] = { text };
	struct dns_conf conf = { .servers = { servers, 1 },
				 .timeout_ms = 2000,
				 .tries = 1,
				 .cache_max_ms = 3600000,
				 .cache_entries = 100 };
	int fd;

	w->dns_fd = net_bind_udp(&any);
	assert_true(w->dns_fd >= 0);
	at = net_local_addr(w->dns_fd);
	w->dns_event =
		event_new(loop_base(w->env->loop), w->dns_fd, EV_READ | EV_PERSIST, on_query, w);
	event_add(w->dns_event, NULL);
	strcpy(w->hosts, "/tmp/tp-hosts-XXXXXX");
	fd = mkstemp(w->hosts);
	assert_int_equal(write(fd, names, sizeof(names) - 1), sizeof(names) - 1);
	close(fd);
	w->env->dns = dns_new(w->env->loop, w->env->log, w->env->alarms);
	assert_int_equal(dns_set_hosts_file(w->env->dns, w->hosts), 0);
	addr_str(&at, text);
	assert_int_equal(dns_apply(w->env->dns, &conf), 0);
}

/* Without its check, which looks at the sections of other modules. */
static struct conf_section section;
static const struct conf_section *const schema[] = { &tls_conf_section, &section };

static void configure(struct world *w, const char *text)
{
	struct conf_snapshot *snap;
	struct buf all, err;

	buf_init(&all, 4096);
	buf_init(&err, 4096);
	buf_printf(&all, "[tls web]\nca = %s/ca.pem\n%s", w->box->dir, text);
	snap = conf_parse(w->store, "test.ini", buf_slice(&all), CONF_ROLE_C, &err);
	if (!snap)
		fail_msg("%s", err.p);
	im_servers_configure(w->servers, snap);
	conf_unref(snap);
	buf_fini(&all);
	buf_fini(&err);
}

static struct world *world_new(const char *conf)
{
	struct world *w = calloc(1, sizeof(*w));

	section = im_server_conf_section;
	section.check = NULL;
	w->box = stream_box_new();
	w->env = &w->box->env;
	w->env->role = CONF_ROLE_C;
	w->store = conf_store_new(schema, 2);
	start_dns(w);
	w->servers = im_servers_new(w->env);
	assert_true(w->store && w->servers);
	configure(w, conf);
	return w;
}

static void world_free(struct world *w)
{
	im_servers_free(w->servers);
	stream_close(w->accepted);
	if (w->listener)
		stream_listener_free(w->listener);
	loop_once(w->env->loop, 0);
	conf_store_free(w->store);
	event_free(w->dns_event);
	close(w->dns_fd);
	dns_free(w->env->dns);
	unlink(w->hosts);
	stream_box_free(w->box);
	free(w);
}

static void on_found(void *arg, const struct im_node *nodes, size_t n, const char *why)
{
	struct world *w = arg;

	w->n_done++;
	w->n = n;
	snprintf(w->why, sizeof(w->why), "%s", why);
	for (size_t i = 0; i < n; i++) {
		w->nodes[i] = nodes[i];
		snprintf(w->names[i], sizeof(w->names[i]), "%s", nodes[i].host);
		w->nodes[i].host = w->names[i];
		w->nodes[i].server = "main";
		w->nodes[i].domain = NULL;
	}
}

static void find(struct world *w, const char *domain, enum im_use use, const char *key)
{
	int before = w->n_done;

	assert_int_not_equal(im_servers_find(w->servers, domain, use, key, on_found, w), 0);
	assert_int_equal(w->n_done, before);
	UNTIL(w->box, w->n_done > before);
}

static bool found(const struct world *w, const char *host, uint16_t port)
{
	for (size_t i = 0; i < w->n; i++) {
		if (strcmp(w->nodes[i].host, host) == 0 && w->nodes[i].port == port)
			return true;
	}
	return false;
}

static void test_sections(void **state)
{
	struct world *w = world_new("[im-server main]\ndomains = example.com rooms.example.com\n"
				    "hosts = im1.inside im2.inside 127.0.0.3 im3.inside:7400\n"
				    "[im-server other]\nenabled = no\ndomains = off.org\n");

	assert_true(im_servers_serve(w->servers, "example.com"));
	assert_true(im_servers_serve(w->servers, "rooms.example.com"));
	assert_false(im_servers_serve(w->servers, "off.org"));
	assert_false(im_servers_serve(w->servers, "x.org"));
	assert_int_equal(im_servers_find(w->servers, "x.org", IM_CHAT, "k", on_found, w), 0);
	find(w, "example.com", IM_CHAT, "alice@example.com");
	assert_int_equal(w->n, 4);
	assert_true(found(w, "im1.inside", 5222) && found(w, "im2.inside", 5222) &&
		    found(w, "127.0.0.3", 5222) && found(w, "im3.inside", 7400));
	find(w, "rooms.example.com", IM_FEDERATION, "partner.org");
	assert_true(found(w, "im1.inside", 5269) && found(w, "im3.inside", 5269));
	configure(w, "[im-server main]\ndomains = example.com\nhosts = im1.inside\ntls = direct\n"
		     "federation = component\ncomponent-secret = x\n");
	find(w, "example.com", IM_CHAT, "alice@example.com");
	assert_int_equal(w->n, 1);
	assert_true(found(w, "im1.inside", 5223));
	find(w, "example.com", IM_FEDERATION, "alice@example.com");
	assert_true(found(w, "im1.inside", 5347));
	/* two addresses: the second one at the end */
	configure(w, "[im-server main]\ndomains = example.com\nhosts = two.inside im1.inside\n");
	find(w, "example.com", IM_CHAT, "alice@example.com");
	assert_int_equal(w->n, 3);
	assert_string_equal(w->nodes[2].host, "two.inside");
	world_free(w);
}

static void test_cancel(void **state)
{
	struct world *w = world_new("[im-server main]\ndomains = example.com\n");
	uint64_t id = im_servers_find(w->servers, "example.com", IM_CHAT, "a", on_found, w);

	im_servers_cancel(w->servers, id);
	im_servers_cancel(w->servers, id);
	for (int i = 0; i < 10; i++)
		loop_once(w->env->loop, 5);
	assert_int_equal(w->n_done, 0);
	/* one that is under way goes with the servers */
	assert_int_not_equal(im_servers_find(w->servers, "example.com", IM_CHAT, "a", on_found, w),
			     0);
	world_free(w);
}

static void test_srv(void **state)
{
	static const struct srv three[] = {
		{ "_xmpp-client._tcp.example.com", 5, 5222, "im1.inside" },
		{ "_xmpp-client._tcp.example.com", 5, 7400, "im2.inside" },
		{ "_xmpp-client._tcp.example.com", 9, 5222, "im3.inside" },
		{ "_xmpps-client._tcp.example.com", 5, 443, "im1.inside" },
		{ 0 },
	};
	static const struct srv one[] = {
		{ "_xmpp-client._tcp.example.com", 5, 5222, "im1.inside" },
		{ 0 },
	};
	static const struct srv none[] = {
		{ "_xmpp-client._tcp.only.test", 0, 0, "" },
		{ 0 },
	};
	struct world *w = world_new("[im-server main]\ndomains = example.com only.test\n");

	w->srv = three;
	find(w, "example.com", IM_CHAT, "alice@example.com");
	assert_int_equal(w->n, 3);
	assert_true(found(w, "im1.inside", 5222) && found(w, "im2.inside", 7400));
	assert_string_equal(w->nodes[2].host, "im3.inside");
	find(w, "example.com", IM_FEDERATION, "alice@example.com");
	assert_true(found(w, "im1.inside", 5269) && found(w, "im2.inside", 5269));
	/* what is named no more is forgotten, with its alarm */
	find(w, "example.com", IM_CHAT, "alice@example.com");
	im_servers_report(w->servers, &w->nodes[2], false, "test");
	assert_int_equal(alarm_count(w->env->alarms), 1);
	w->srv = one;
	dns_flush(w->env->dns);
	find(w, "example.com", IM_CHAT, "alice@example.com");
	assert_int_equal(w->n, 1);
	assert_int_equal(alarm_count(w->env->alarms), 0);
	/* without records the name itself (RFC 6120 section 3.2.2) ... */
	w->srv = NULL;
	dns_flush(w->env->dns);
	find(w, "only.test", IM_CHAT, "alice@only.test");
	assert_int_equal(w->n, 1);
	assert_true(found(w, "only.test", 5222));
	/* ... but not when they say that there is none */
	w->srv = none;
	dns_flush(w->env->dns);
	find(w, "only.test", IM_CHAT, "alice@only.test");
	assert_int_equal(w->n, 0);
	assert_string_equal(w->why, "_xmpp-client._tcp.only.test leads to no server");
	/* direct TLS has records of its own */
	configure(w, "[im-server main]\ndomains = example.com\ntls = direct\n");
	w->srv = three;
	dns_flush(w->env->dns);
	find(w, "example.com", IM_CHAT, "alice@example.com");
	assert_int_equal(w->n, 1);
	assert_true(found(w, "im1.inside", 443));
	world_free(w);
}

/* --- health --- */

static void on_accepted(void *arg, struct stream *s);

static void listen_at(struct world *w, uint16_t port, const char *tls)
{
	struct stream_listener_conf c = { .local = stream_box_addr(port),
					  .tls = tls,
					  .kind = CONN_XMPP,
					  .handshake_ms = 5000,
					  .zone = "inside",
					  .accepted = on_accepted,
					  .arg = w };
	int error = 0;

	w->listener = stream_listener_new(w->env, &c, &error);
	if (!w->listener)
		fail_msg("listen: %s", strerror(-error));
	w->at = stream_box_listening(w->box);
}

static void on_opened(void *arg)
{
	((struct world *)arg)->opened = true;
}

static void on_nothing(void *arg)
{
}

static void on_closed(void *arg, enum stream_end end, const char *why)
{
	struct world *w = arg;

	w->closed = true;
	snprintf(w->closed_why, sizeof(w->closed_why), "%s", why);
}

static void on_accepted_closed(void *arg, enum stream_end end, const char *why)
{
	((struct world *)arg)->accepted = NULL;
}

static const struct stream_handler dialled = { .opened = on_opened,
					       .readable = on_nothing,
					       .closed = on_closed };
static const struct stream_handler taken = { .readable = on_nothing, .closed = on_accepted_closed };

static void on_accepted(void *arg, struct stream *s)
{
	struct world *w = arg;

	stream_close(w->accepted);
	w->accepted = s;
	stream_set_handler(s, &taken, w);
}

static void turn(struct world *w, int64_t ms)
{
	struct timerq *q = loop_timers(w->env->loop);

	timerq_run(q, q->now_ms + ms);
}

static bool is_alive(const struct world *w)
{
	return CONTAINER_OF(list_first(&w->servers->peers), struct im_peer, node)->pub.alive;
}

static void test_health(void **state)
{
	char conf[200];
	struct world *w = world_new("");
	struct im_peer *p;
	uint32_t waits[] = { 1000, 2000, 4000, 8000, 16000, 30000, 30000 };

	listen_at(w, 0, NULL);
	stream_listener_free(w->listener);
	w->listener = NULL;
	snprintf(conf, sizeof(conf),
		 "[im-server main]\ndomains = example.com\nhosts = im1.inside\nport = %u\n",
		 w->at.port);
	configure(w, conf);
	find(w, "example.com", IM_CHAT, "a");
	assert_true(w->nodes[0].alive);
	im_servers_report(w->servers, &w->nodes[0], false, "reset by peer");
	p = CONTAINER_OF(list_first(&w->servers->peers), struct im_peer, node);
	assert_false(is_alive(w));
	assert_string_equal(p->why, "reset by peer");
	assert_int_equal(alarm_count(w->env->alarms), 1);
	assert_int_equal(trace_count(w->env->trace, "xmpp.im-server.down"), 1);
	for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
		assert_int_equal(p->wait_ms, waits[i]);
		assert_in_range(timer_left(loop_timers(w->env->loop), &p->timer),
				waits[i] * 9 / 10 - 200, waits[i] * 11 / 10 + 1);
		turn(w, waits[i] * 11 / 10 + 1);
		UNTIL(w->box, timer_armed(&p->timer));
		assert_false(is_alive(w));
	}
	/* dead ones are still found, as the last hope */
	find(w, "example.com", IM_CHAT, "a");
	assert_int_equal(w->n, 1);
	assert_false(w->nodes[0].alive);
	listen_at(w, w->at.port, NULL);
	turn(w, 33001);
	UNTIL(w->box, is_alive(w));
	assert_int_equal(alarm_count(w->env->alarms), 0);
	assert_int_equal(trace_count(w->env->trace, "xmpp.im-server.up"), 1);
	/* who fails again at once is asked less often, until a stream was good */
	im_servers_report(w->servers, &w->nodes[0], false, "no");
	assert_int_equal(p->wait_ms, 30000);
	im_servers_report(w->servers, &w->nodes[0], true, "");
	assert_true(is_alive(w));
	assert_int_equal(p->wait_ms, 0);
	/* a section that goes takes its alarm with it */
	im_servers_report(w->servers, &w->nodes[0], false, "no");
	assert_int_equal(alarm_count(w->env->alarms), 1);
	configure(w, "");
	assert_int_equal(alarm_count(w->env->alarms), 0);
	im_servers_report(w->servers, &w->nodes[0], false, "no");
	assert_int_equal(alarm_count(w->env->alarms), 0);
	world_free(w);
}

static void test_name_without_address(void **state)
{
	struct world *w = world_new("[im-server main]\ndomains = example.com\n"
				    "hosts = nowhere.inside im1.inside\n");
	int error = 0;

	find(w, "example.com", IM_CHAT, "a");
	assert_int_equal(w->n, 2);
	assert_string_equal(w->nodes[0].host, "im1.inside");
	assert_false(w->nodes[1].alive);
	assert_int_equal(alarm_count(w->env->alarms), 1);
	assert_null(
		im_servers_connect(w->servers, &w->nodes[1], IM_CHAT, NULL, &dialled, w, &error));
	assert_int_equal(error, -ENOENT);
	world_free(w);
}

/* --- dialling --- */

static struct stream *dial(struct world *w, const char *domain, const struct addr *client)
{
	struct stream *s;
	int error = 0;

	w->opened = w->closed = false;
	find(w, domain, IM_CHAT, "a");
	assert_true(w->n >= 1);
	w->nodes[0].domain = domain;
	s = im_servers_connect(w->servers, &w->nodes[0], IM_CHAT, client, &dialled, w, &error);
	assert_non_null(s);
	return s;
}

/* The header stands in front of everything, TLS too. */
static void test_proxy_on_the_wire(void **state)
{
	struct addr client = addr_of("198.51.100.7:4711");
	struct world *w = world_new("");
	uint8_t expected[IM_PROXY_BYTES];
	char conf[200];
	struct stream *s;
	size_t n;

	listen_at(w, 0, NULL);
	snprintf(conf, sizeof(conf),
		 "[im-server main]\ndomains = example.com\nhosts = 127.0.0.1\nport = %u\n"
		 "tls = direct\nca = web\nproxy-protocol = yes\n",
		 w->at.port);
	configure(w, conf);
	s = dial(w, "example.com", &client);
	n = im_proxy_header(expected, &client, &w->at);
	UNTIL(w->box, w->accepted && evbuffer_get_length(stream_in(w->accepted)) > n);
	assert_memory_equal(evbuffer_pullup(stream_in(w->accepted), (ev_ssize_t)n + 1), expected,
			    n);
	assert_int_equal(evbuffer_pullup(stream_in(w->accepted), (ev_ssize_t)n + 1)[n], 0x16);
	stream_abort(s);
	/* a probe has no client */
	im_servers_report(w->servers, &w->nodes[0], false, "test");
	stream_close(w->accepted);
	w->accepted = NULL;
	turn(w, 1200);
	UNTIL(w->box, w->accepted && evbuffer_get_length(stream_in(w->accepted)) >= 16);
	n = im_proxy_header(expected, NULL, &w->at);
	assert_int_equal(evbuffer_get_length(stream_in(w->accepted)), n);
	assert_memory_equal(evbuffer_pullup(stream_in(w->accepted), -1), expected, n);
	world_free(w);
}

/* The listener shows a certificate for web.example.com and 127.0.0.1. */
static void tls_case(const char *host, const char *domain, bool verify, bool starttls, bool good)
{
	struct world *w = world_new("");
	char conf[300];
	struct stream *s;

	listen_at(w, 0, starttls ? NULL : "web");
	snprintf(conf, sizeof(conf),
		 "[im-server main]\ndomains = %s\nhosts = %s\nport = %u\ntls = %s\nca = web\n"
		 "verify = %s\n",
		 domain, host, w->at.port, starttls ? "starttls" : "direct", verify ? "yes" : "no");
	configure(w, conf);
	s = dial(w, domain, NULL);
	if (starttls) {
		const struct stream_tls t = { .is_server = true, .tls = "web", .timeout_ms = 5000 };

		UNTIL(w->box, w->opened && w->accepted);
		w->opened = false;
		assert_int_equal(stream_start_tls(w->env, w->accepted, &t), 0);
		assert_int_equal(im_servers_start_tls(w->servers, &w->nodes[0], domain, s), 0);
	}
	UNTIL(w->box, w->opened || w->closed);
	if (w->opened != good)
		fail_msg("%s %s: %s", host, domain, w->closed_why);
	if (!good)
		assert_non_null(strstr(w->closed_why, "name mismatch"));
	else
		stream_abort(s);
	world_free(w);
}

static void test_certificates(void **state)
{
	for (int starttls = 0; starttls < 2; starttls++) {
		tls_case("im1.inside", "web.example.com", true, starttls, true);
		tls_case("127.0.0.1", "example.com", true, starttls, true);
		tls_case("im1.inside", "example.com", true, starttls, false);
		tls_case("im1.inside", "example.com", false, starttls, true);
	}
}

/* What DNS says is no name to trust: only the domain is. */
static void test_srv_targets_are_not_trusted(void **state)
{
	static struct srv records[] = {
		{ "_xmpps-client._tcp.example.com", 0, 0, "web.example.com" },
		{ 0 },
	};
	struct world *w = world_new("[im-server main]\ndomains = example.com\ntls = direct\n"
				    "ca = web\n");
	FILE *f = fopen(w->hosts, "a");

	fputs("127.0.0.1 web.example.com\n", f);
	fclose(f);
	assert_int_equal(dns_set_hosts_file(w->env->dns, w->hosts), 0);
	listen_at(w, 0, "web");
	records[0].port = w->at.port;
	w->srv = records;
	dial(w, "example.com", NULL);
	UNTIL(w->box, w->opened || w->closed);
	assert_true(w->closed);
	assert_non_null(strstr(w->closed_why, "name mismatch"));
	world_free(w);
}

/* --- without memory --- */

static void sweep_run(void *arg)
{
	struct world *w = arg;
	struct im_servers *s = im_servers_new(w->env);
	int before = w->n_done;
	uint64_t id;

	if (!s)
		return;
	im_servers_configure(s, w->servers->snap);
	id = im_servers_find(s, "example.com", IM_CHAT, "a", on_found, w);
	if (id)
		UNTIL(w->box, w->n_done > before);
	im_servers_free(s);
}

static void test_without_memory(void **state)
{
	struct world *w = world_new("[im-server main]\ndomains = example.com\n"
				    "hosts = im1.inside im2.inside\n");

	alloc_fail_sweep(sweep_run, w);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_users_of_the_dead_move),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_hash_is_the_same_everywhere),
		cmocka_unit_test(test_proxy_header),
		cmocka_unit_test(test_sections),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_srv),
		cmocka_unit_test(test_health),
		cmocka_unit_test(test_name_without_address),
		cmocka_unit_test(test_proxy_on_the_wire),
		cmocka_unit_test(test_certificates),
		cmocka_unit_test(test_srv_targets_are_not_trusted),
		cmocka_unit_test(test_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
