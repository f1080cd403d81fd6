/* The server around its allocations: listings, closing by id, new settings, streams. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/alloc_fail.h"
#include "support/turn_rig.h"

static int begin(void **state)
{
	*state = rig_new();
	return 0;
}

static int finish(void **state)
{
	rig_free(*state);
	return 0;
}

#define TEST(f)	 cmocka_unit_test_setup_teardown(f, begin, finish)
#define PEER	 "198.51.100.1:40000"
#define PEER_IP	 "198.51.100.1"
#define ALLOC(g) turn_alloc_find((g)->rig->s, &(g)->c)

static struct conn *entry(const struct rig *rig)
{
	struct list *first = list_first(conn_list(rig->conns, CONN_ALLOCATION));

	return first ? CONTAINER_OF(first, struct conn, node) : NULL;
}

static bool keep_reason(const struct conn *c, int64_t ended_wall_s, void *arg)
{
	memcpy(arg, c->reason, CONN_REASON_BYTES);
	return false;
}

static const char *last_reason(const struct rig *rig)
{
	static char reason[CONN_REASON_BYTES];

	conn_ended_each(rig->conns, keep_reason, reason);
	return reason;
}

static void an_allocation_is_a_connection(void **state)
{
	struct rig *rig = *state;
	struct addr relayed;
	struct conn *c;
	struct guest g;

	guest_init(&g, rig, "alice", "192.0.2.7:5000", TURN_TLS);
	g.c.conn_id = 4711;
	assert_int_equal(guest_allocates(&g), 200);
	relayed = guest_addr(&g, STUN_ATTR_XOR_RELAYED_ADDRESS);
	c = entry(rig);
	assert_int_equal(c->parent, 4711);
	assert_int_equal(c->transport, CONN_TLS);
	assert_string_equal(c->user, "alice");
	assert_string_equal(c->state, "allocated");
	assert_true(addr_eq(&c->local, &relayed));
	assert_true(addr_eq(&c->remote, &g.c.remote));
	assert_int_equal(guest_permits(&g, PEER_IP), 200);
	assert_true(guest_says(&g, PEER, "four"));
	rig_peer_sends(rig, guest_relay(&g), PEER, "seven..");
	assert_int_equal(c->rx_packets, 1);
	assert_int_equal(c->rx_bytes, 4);
	assert_int_equal(c->tx_packets, 1);
	assert_int_equal(c->tx_bytes, 7);
	c->close(c, "closed by administrator");
	assert_null(entry(rig));
	assert_string_equal(last_reason(rig), "closed by administrator");
	assert_int_equal(rig->n_over, 1);
	assert_ptr_equal(rig->over, &g.c);
	assert_null(g.c.alloc);
}

static void every_end_has_its_reason(void **state)
{
	struct rig *rig = *state;
	struct guest g;

	guest_enters(&g, rig, "alice", "192.0.2.7:5000");
	assert_int_equal(guest_refreshes(&g, 0), 200);
	assert_string_equal(last_reason(rig), "refreshed with lifetime 0");
	guest_enters(&g, rig, "alice", "192.0.2.7:5000");
	rig_wait_ms(rig, 600000);
	assert_string_equal(last_reason(rig), "expired");
	guest_enters(&g, rig, "alice", "192.0.2.7:5000");
	turn_server_listener_gone(rig->s, &g, "somebody else's");
	assert_non_null(entry(rig));
	turn_server_listener_gone(rig->s, rig, "the listener is gone");
	assert_string_equal(last_reason(rig), "the listener is gone");
	guest_init(&g, rig, "alice", "192.0.2.7:5000", TURN_TCP);
	assert_int_equal(guest_allocates(&g), 200);
	turn_server_listener_gone(rig->s, rig, "only of datagrams");
	assert_non_null(entry(rig));
	turn_server_client_gone(rig->s, &g.c, "connection reset");
	assert_string_equal(last_reason(rig), "connection reset");
	assert_int_equal(rig->n_over, 0);
}

static void streams_and_datagrams_are_apart(void **state)
{
	struct rig *rig = *state;
	struct guest udp, tcp, again;

	guest_enters(&udp, rig, "alice", "192.0.2.7:5000");
	guest_init(&tcp, rig, "alice", "192.0.2.7:5000", TURN_TCP);
	assert_int_equal(guest_allocates(&tcp), 200);
	assert_int_equal(rig->n_relays, 2);
	assert_int_equal(guest_refreshes(&tcp, 0), 200);
	assert_int_equal(rig->n_over, 0); /* it may ask for another one */
	assert_int_equal(guest_allocates(&tcp), 200);
	rig_wait_ms(rig, 600000);
	assert_int_equal(rig->n_over, 1);
	/* Another connection of the same address later. */
	guest_init(&again, rig, "alice", "192.0.2.7:5000", TURN_TCP);
	assert_int_equal(guest_allocates(&again), 200);
	turn_server_client_gone(rig->s, &again.c, "gone");
}

static void users_who_are_gone_or_changed_end(void **state)
{
	struct rig *rig = *state;
	struct guest alice, bob, carol;

	guest_enters(&alice, rig, "alice", "192.0.2.7:5000");
	guest_enters(&bob, rig, "bob", "192.0.2.7:5001");
	guest_init(&carol, rig, "", "192.0.2.7:5002", TURN_UDP);
	guest_mint(&carol, rig->wall_s + 10, "carol");
	assert_int_equal(guest_allocates(&carol), 200);
	rig_wait_ms(rig, 20000);
	rig_users(rig, "pw-alice", "another");
	assert_int_equal(rig_configure(rig), 0);
	assert_non_null(ALLOC(&alice));
	assert_null(ALLOC(&bob));
	assert_non_null(ALLOC(&carol));
	rig_users(rig, NULL, NULL);
	assert_int_equal(rig_configure(rig), 0);
	assert_null(ALLOC(&alice));
	assert_non_null(ALLOC(&carol));
	assert_int_equal(rig->n_relays, 1);
}

static void peers_that_are_denied_now_are_cut_off(void **state)
{
	struct rig *rig = *state;
	struct guest g;
	size_t before;

	guest_enters(&g, rig, "alice", "192.0.2.7:5000");
	assert_int_equal(guest_permits(&g, PEER_IP), 200);
	assert_int_equal(guest_permits(&g, "198.51.101.1"), 200);
	assert_int_equal(guest_binds(&g, 0x4000, PEER), 200);
	assert_int_equal(guest_binds(&g, 0x4001, "198.51.101.1:9"), 200);
	rig_add_prefix(&rig->deny, "198.51.100.0/24");
	assert_int_equal(rig_configure(rig), 0);
	assert_true(rig_traced(rig, "turn.peer.denied"));
	assert_false(guest_says_on_channel(&g, 0x4000, "x"));
	assert_false(guest_says(&g, PEER, "x"));
	assert_true(guest_says_on_channel(&g, 0x4001, "x"));
	before = rig->n_sent;
	rig_peer_sends(rig, guest_relay(&g), PEER, "x");
	assert_int_equal(rig->n_sent, before);
	rig_peer_sends(rig, guest_relay(&g), "198.51.101.1:9", "x");
	assert_int_equal(rig->n_sent, before + 1);
}

static void new_addresses_and_ranges(void **state)
{
	struct rig *rig = *state;
	struct guest g;

	guest_enters(&g, rig, "alice", "192.0.2.7:5000");
	rig->conf.first_port = 0;
	assert_int_equal(rig_configure(rig), -EINVAL);
	rig->conf.first_port = 30000;
	rig->conf.last_port = 29999;
	assert_int_equal(rig_configure(rig), -EINVAL);
	assert_non_null(ALLOC(&g));
	rig->conf.last_port = 30001;
	assert_int_equal(rig_configure(rig), 0);
	assert_non_null(ALLOC(&g)); /* a port of the old range stays until its end */
	assert_int_equal(guest_refreshes(&g, 0), 200);
	assert_int_equal(guest_allocates(&g), 200);
	assert_true(guest_addr(&g, STUN_ATTR_XOR_RELAYED_ADDRESS).port >= 30000);
	rig->conf.public_ip4 = rig_addr("203.0.113.77");
	assert_int_equal(rig_configure(rig), 0);
	assert_null(ALLOC(&g)); /* its client knows it by another address */
	assert_int_equal(rig->n_relays, 0);
}

static json_t *only(json_t *o, const char *key, size_t n)
{
	json_t *list = json_object_get(o, key);

	assert_int_equal(json_array_size(list), n);
	return json_array_get(list, 0);
}

static void the_listing_shows_all_of_it(void **state)
{
	struct rig *rig = *state;
	json_t *all, *one, *part;
	struct guest g;

	guest_init(&g, rig, "", "192.0.2.7:5000", TURN_UDP);
	guest_mint(&g, rig->wall_s + 10, "a\xff\"b");
	assert_int_equal(guest_allocates(&g), 200);
	assert_int_equal(guest_permits(&g, "198.51.100.9"), 200);
	rig_wait_ms(rig, 1000);
	assert_int_equal(guest_binds(&g, 0x4007, PEER), 200);
	assert_true(guest_says_on_channel(&g, 0x4007, "abc"));
	assert_false(guest_says(&g, "198.51.100.3:1", "abc"));
	rig_wait_ms(rig, 299000);
	all = turn_server_json(rig->s, 0, NULL);
	assert_int_equal(json_array_size(all), 1);
	one = json_array_get(all, 0);
	assert_string_equal(json_string_value(json_object_get(one, "client")), "192.0.2.7:5000");
	assert_string_equal(json_string_value(json_object_get(one, "transport")), "udp");
	assert_string_equal(json_string_value(json_object_get(one, "user")), "a\\xff\\x22b");
	assert_int_equal(json_integer_value(json_object_get(one, "left")), 300);
	assert_int_equal(json_integer_value(json_object_get(one, "rx_bytes")), 3);
	assert_int_equal(json_integer_value(json_object_get(one, "no_permission")), 1);
	assert_non_null(only(one, "relayed", 1));
	part = only(one, "permissions", 1); /* the first one is over */
	assert_string_equal(json_string_value(json_object_get(part, "peer")), PEER_IP);
	assert_int_equal(json_integer_value(json_object_get(part, "left")), 1);
	part = only(one, "channels", 1);
	assert_int_equal(json_integer_value(json_object_get(part, "number")), 0x4007);
	assert_string_equal(json_string_value(json_object_get(part, "peer")), PEER);
	assert_int_equal(json_integer_value(json_object_get(part, "left")), 301);
	json_decref(all);
}

static bool take_decider(const struct trace_entry *e, void *arg)
{
	strcpy(arg, e->decided_by);
	return false;
}

static const char *last_decider(const struct rig *rig)
{
	static char text[sizeof(((struct trace_entry *)0)->decided_by)];

	trace_each(rig->trace, NULL, take_decider, text);
	return text;
}

static size_t n_listed(const struct rig *rig, uint64_t id, const char *user)
{
	json_t *all = turn_server_json(rig->s, id, user);
	size_t n = json_array_size(all);

	json_decref(all);
	return n;
}

static void the_listing_shows_one_of_many(void **state)
{
	struct rig *rig = *state;
	struct guest a, b;

	guest_enters(&a, rig, "alice", "192.0.2.7:5000");
	guest_enters(&b, rig, "bob", "192.0.2.8:5000");
	assert_int_equal(n_listed(rig, 0, NULL), 2);
	assert_int_equal(n_listed(rig, ALLOC(&a)->conn.id, NULL), 1);
	assert_int_equal(n_listed(rig, 0, "bob"), 1);
	assert_int_equal(n_listed(rig, ALLOC(&a)->conn.id, "bob"), 0);
	assert_int_equal(n_listed(rig, 12345, NULL), 0);
}

/* What was borrowed before is not looked at any more, also when there is no memory for the new port
 * range. */
static void settings_hold_without_memory(void **state)
{
	struct rig *rig = *state;
	char *old = strdup(RIG_REALM), *fresh = strdup(RIG_REALM);
	struct guest g;

	rig->conf.realm = old;
	assert_int_equal(rig_configure(rig), 0);
	for (unsigned i = 1; i <= 2; i++) {
		rig->conf.realm = i == 1 ? fresh : RIG_REALM;
		rig->conf.last_port++;
		alloc_fail_at(i);
		assert_int_equal(rig_configure(rig), -ENOMEM);
		assert_true(alloc_fail_hit());
		alloc_fail_at(0);
		free(i == 1 ? old : fresh);
		guest_init(&g, rig, "alice", "192.0.2.7:5000", TURN_UDP);
		assert_int_equal(guest_allocates(&g), 200);
		assert_int_equal(guest_refreshes(&g, 0), 200);
	}
}

/* The first settings need their ports. */
static void nothing_is_served_without_settings(void **state)
{
	struct rig *rig = *state;
	struct guest g;

	rig_stop(rig);
	rig->s = turn_server_new(&rig->timers, rig->conns, rig->trace, &rig_ops, rig);
	alloc_fail_at(1);
	assert_int_equal(rig_configure(rig), -ENOMEM);
	alloc_fail_at(0);
	assert_int_equal(turn_server_stats(rig->s).n_ports, 0);
	assert_int_equal(rig_configure(rig), 0);
	guest_enters(&g, rig, "alice", "192.0.2.7:5000");
}

static void the_connection_table_has_a_bound(void **state)
{
	struct rig *rig = *state;
	struct guest g;

	conn_table_set_max(rig->conns, 1);
	guest_enters(&g, rig, "alice", "192.0.2.7:5000");
	guest_init(&g, rig, "alice", "192.0.2.7:5001", TURN_UDP);
	assert_int_equal(guest_allocates(&g), 508);
	guest_starts_allocate(&g); /* with a port reserved beside it */
	guest_byte(&g, STUN_ATTR_EVEN_PORT, 0x80, 1);
	assert_int_equal(guest_asks(&g), 508);
	assert_int_equal(rig->n_relays, 1);
	assert_int_equal(turn_server_stats(rig->s).n_ports_used, 1);
	assert_true(list_empty(&rig->s->reservations));
	assert_string_equal(last_decider(rig), "[system] max-connections");
}

/* Many come and go: nothing grows. */
static void twenty_thousand_allocations(void **state)
{
	struct rig *rig = *state;
	struct guest g;

	guest_init(&g, rig, "alice", "192.0.2.7:5000", TURN_UDP);
	for (unsigned i = 0; i < 20000; i++) {
		assert_int_equal(guest_allocates(&g), 200);
		assert_int_equal(guest_binds(&g, 0x4000, PEER), 200);
		assert_int_equal(guest_refreshes(&g, 0), 200);
	}
	assert_int_equal(turn_server_stats(rig->s).n_allocated, 20000);
	assert_int_equal(turn_server_stats(rig->s).n_ports_used, 0);
	assert_int_equal(turn_server_stats(rig->s).n_users, 0);
	assert_int_equal(rig->timers.n, 0);
}

/* The aim is 1.5 KiB with what an ICE session has. */
static void an_allocation_is_small(void **state)
{
	assert_true(sizeof(struct turn_alloc) + 4 * sizeof(struct turn_permission) +
			    2 * sizeof(struct turn_channel) <
		    1536);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_allocation_is_a_connection),
		TEST(every_end_has_its_reason),
		TEST(streams_and_datagrams_are_apart),
		TEST(users_who_are_gone_or_changed_end),
		TEST(peers_that_are_denied_now_are_cut_off),
		TEST(new_addresses_and_ranges),
		TEST(the_listing_shows_all_of_it),
		TEST(the_listing_shows_one_of_many),
		TEST(settings_hold_without_memory),
		TEST(nothing_is_served_without_settings),
		TEST(the_connection_table_has_a_bound),
		TEST(twenty_thousand_allocations),
		TEST(an_allocation_is_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
