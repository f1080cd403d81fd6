#include "proto/control_msg.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "support/alloc_fail.h"

static void frame(struct buf *b, const char *json, size_t n)
{
	buf_init(b, CONTROL_MAX_BYTES + 8);
	buf_add_u32(b, (uint32_t)n);
	buf_add(b, json, n);
}

static int decode(const char *json, struct control_msg *m, const char **why)
{
	struct buf b;
	size_t used;
	int r;

	frame(&b, json, strlen(json));
	r = control_msg_decode(buf_slice(&b), m, &used, why);
	if (r != 0)
		assert_int_equal(used, b.n);
	buf_fini(&b);
	return r;
}

static void good(const char *json, enum control_type type)
{
	struct control_msg m;
	const char *why;

	if (decode(json, &m, &why) != 1)
		fail_msg("%s: %s", json, why);
	assert_int_equal(m.type, type);
	control_msg_fini(&m);
}

static void bad(const char *json, const char *wanted)
{
	struct control_msg m;
	const char *why;

	assert_int_equal(decode(json, &m, &why), -EPROTO);
	assert_null(m.value);
	if (strcmp(why, wanted) != 0)
		fail_msg("%s: '%s', wanted '%s'", json, why, wanted);
}

static void every_type_is_read(void **state)
{
	good("{\"type\":\"hello\",\"version\":1,\"name\":\"core_1.test\",\"software\":\"t 1\","
	     "\"boot\":\"0123456789abcdef\",\"time\":1700000000000}",
	     CONTROL_HELLO);
	good("{\"type\":\"ping\",\"n\":0,\"time\":1}", CONTROL_PING);
	good("{\"type\":\"pong\",\"n\":9223372036854775807,\"time\":1}", CONTROL_PONG);
	good("{\"type\":\"reset\",\"table\":\"uc.servers-1\"}", CONTROL_RESET);
	good("{\"type\":\"put\",\"table\":\"t\",\"key\":\"k\\u00e4\",\"item\":{}}", CONTROL_PUT);
	good("{\"type\":\"del\",\"table\":\"t\",\"key\":\"a b\"}", CONTROL_DEL);
	good("{\"type\":\"synced\",\"table\":\"t\"}", CONTROL_SYNCED);
	good("{\"type\":\"call\",\"id\":1,\"method\":\"sign-in\",\"params\":{\"a\":[1]}}",
	     CONTROL_CALL);
	good("{\"type\":\"call\",\"id\":1,\"method\":\"sign-in\"}", CONTROL_CALL);
	good("{\"type\":\"result\",\"id\":1,\"status\":0,\"value\":[1,2]}", CONTROL_RESULT);
	good("{\"type\":\"result\",\"id\":1,\"status\":-110}", CONTROL_RESULT);
	good("{\"type\":\"bye\"}", CONTROL_BYE);
	/* A later version may add members. */
	good("{\"type\":\"bye\",\"reason\":\"update\"}", CONTROL_BYE);
}

static void bad_ones_are_refused(void **state)
{
	bad("", "not JSON");
	bad("{", "not JSON");
	bad("[]", "not an object");
	bad("{\"type\":\"bye\"}x", "not JSON");
	bad("{\"type\":\"bye\",\"type\":\"bye\"}", "duplicate members");
	bad("{}", "type is missing");
	bad("{\"type\":1}", "type is missing");
	bad("{\"type\":\"Bye\"}", "unknown type");
	bad("{\"type\":\"ping\",\"n\":-1,\"time\":1}", "bad n");
	bad("{\"type\":\"ping\",\"n\":1.5,\"time\":1}", "bad n");
	bad("{\"type\":\"ping\",\"n\":\"1\",\"time\":1}", "bad n");
	bad("{\"type\":\"ping\",\"n\":99999999999999999999,\"time\":1}", "not JSON");
	bad("{\"type\":\"ping\",\"n\":1}", "bad time");
	bad("{\"type\":\"reset\",\"table\":\"\"}", "bad table");
	bad("{\"type\":\"reset\",\"table\":\"A\"}", "bad table");
	bad("{\"type\":\"reset\",\"table\":\"a/b\"}", "bad table");
	bad("{\"type\":\"del\",\"table\":\"a\",\"key\":\"\"}", "bad key");
	bad("{\"type\":\"del\",\"table\":\"a\",\"key\":\"\\u0001\"}", "bad key");
	bad("{\"type\":\"del\",\"table\":\"a\",\"key\":\"a\\u0000b\"}", "not JSON");
	bad("{\"type\":\"put\",\"table\":\"a\",\"key\":\"k\"}", "item is missing");
	bad("{\"type\":\"put\",\"table\":\"a\",\"key\":\"k\",\"item\":[]}",
	    "item is not an object");
	bad("{\"type\":\"call\",\"id\":0,\"method\":\"m\"}", "bad id");
	bad("{\"type\":\"call\",\"id\":1,\"method\":\"m\",\"params\":7}",
	    "params is not an object");
	bad("{\"type\":\"result\",\"id\":1,\"status\":1}", "bad status");
	bad("{\"type\":\"result\",\"id\":1,\"status\":-4096}", "bad status");
	bad("{\"type\":\"hello\",\"version\":0,\"name\":\"a\",\"software\":\"b\",\"boot\":\"1\","
	    "\"time\":1}",
	    "bad version");
	bad("{\"type\":\"hello\",\"version\":1,\"name\":\"a b\",\"software\":\"b\",\"boot\":\"1\","
	    "\"time\":1}",
	    "bad name");
	bad("{\"type\":\"hello\",\"version\":1,\"name\":\"a\",\"software\":\"\\n\",\"boot\":\"1\","
	    "\"time\":1}",
	    "bad software");
	bad("{\"type\":\"hello\",\"version\":1,\"name\":\"a\",\"software\":\"b\",\"boot\":\"G\","
	    "\"time\":1}",
	    "bad boot");
}

static void bounds(void **state)
{
	struct control_msg m, out = { .type = CONTROL_PUT, .table = "t", .key = "k" };
	char json[700], *big;
	const char *why;
	struct buf b;
	size_t used;

	/* Names and keys at their ends. */
	memset(json, 0, sizeof(json));
	strcpy(json, "{\"type\":\"reset\",\"table\":\"");
	memset(json + strlen(json), 'a', CONTROL_NAME_BYTES - 1);
	strcat(json, "\"}");
	good(json, CONTROL_RESET);
	strcpy(json + strlen(json) - 2, "a\"}");
	bad(json, "bad table");
	/* Depth: the message itself is one. */
	good("{\"type\":\"put\",\"table\":\"t\",\"key\":\"k\",\"item\":{\"a\":[[[[[[]]]]]]}}",
	     CONTROL_PUT);
	bad("{\"type\":\"put\",\"table\":\"t\",\"key\":\"k\",\"item\":{\"a\":[[[[[[[]]]]]]]}}",
	    "nested too deeply");
	/* Brackets in text are none. */
	good("{\"type\":\"del\",\"table\":\"t\",\"key\":\"[[[[[[[[[[[\\\"[[[[\"}", CONTROL_DEL);
	/* An item of exactly the bound, {"v":"..."} */
	big = malloc(CONTROL_MAX_BYTES + 1);
	memset(big, 'x', CONTROL_MAX_ITEM_BYTES - 8);
	big[CONTROL_MAX_ITEM_BYTES - 8] = '\0';
	out.value = json_pack("{s:s}", "v", big);
	buf_init(&b, CONTROL_MAX_BYTES + 4);
	assert_true(control_msg_encode(&b, &out));
	assert_int_equal(control_msg_decode(buf_slice(&b), &m, &used, &why), 1);
	control_msg_fini(&m);
	control_msg_fini(&out);
	strcat(big, "x");
	out.value = json_pack("{s:s}", "v", big);
	assert_false(control_msg_encode(&b, &out));
	control_msg_fini(&out);
	buf_fini(&b);
	/* A message of exactly the bound; one byte more is refused before it is there. */
	memset(big, ' ', CONTROL_MAX_BYTES);
	memcpy(big, "{\"type\":\"bye\"}", 14);
	buf_init(&b, CONTROL_MAX_BYTES + 8);
	buf_add_u32(&b, CONTROL_MAX_BYTES);
	buf_add(&b, big, CONTROL_MAX_BYTES);
	assert_int_equal(control_msg_decode(buf_slice(&b), &m, &used, &why), 1);
	assert_int_equal(control_msg_decode((struct slice){ b.p, b.n - 1 }, &m, &used, &why), 0);
	buf_reset(&b);
	buf_add_u32(&b, CONTROL_MAX_BYTES + 1);
	assert_int_equal(control_msg_decode(buf_slice(&b), &m, &used, &why), -EPROTO);
	assert_string_equal(why, "message too long");
	assert_int_equal(used, 0);
	buf_fini(&b);
	free(big);
}

static void parts_wait(void **state)
{
	static const char json[] = "{\"type\":\"ping\",\"n\":7,\"time\":8}";
	struct control_msg m;
	const char *why;
	struct buf b;
	size_t used;

	frame(&b, json, sizeof(json) - 1);
	for (size_t n = 0; n < b.n; n++) {
		assert_int_equal(control_msg_decode((struct slice){ b.p, n }, &m, &used, &why), 0);
		assert_int_equal(used, 0);
	}
	buf_add_str(&b, "rest");
	assert_int_equal(control_msg_decode(buf_slice(&b), &m, &used, &why), 1);
	assert_int_equal(used, b.n - 4);
	assert_int_equal(m.n, 7);
	assert_int_equal(m.wall_ms, 8);
	buf_fini(&b);
}

static void there_and_back(void **state)
{
	struct control_msg in[] = {
		{ .type = CONTROL_HELLO,
		  .version = 1,
		  .name = "a",
		  .software = "b c",
		  .boot = "ff",
		  .wall_ms = 5 },
		{ .type = CONTROL_CALL, .id = 3, .method = "m" },
		{ .type = CONTROL_RESULT, .id = 3, .status = -EPIPE },
		{ .type = CONTROL_BYE },
	};
	struct control_msg out;
	const char *why;
	struct buf b;
	size_t used;

	for (size_t i = 0; i < sizeof(in) / sizeof(in[0]); i++) {
		buf_init(&b, 1000);
		assert_true(control_msg_encode(&b, &in[i]));
		assert_int_equal(control_msg_decode(buf_slice(&b), &out, &used, &why), 1);
		assert_memory_equal(&in[i], &out, sizeof(out));
		buf_fini(&b);
	}
	/* Over the buffer's bound: nothing is left in it. */
	buf_init(&b, 20);
	buf_add_str(&b, "x");
	assert_false(control_msg_encode(&b, &in[0]));
	assert_int_equal(b.n, 1);
	buf_fini(&b);
}

static void without_memory(void *arg)
{
	struct control_msg m = { .type = CONTROL_DEL, .table = "t", .key = "k" };
	struct buf b;

	buf_init(&b, 1000);
	if (control_msg_encode(&b, &m))
		assert_true(b.n > 4);
	else
		assert_int_equal(b.n, 0);
	buf_fini(&b);
}

static void allocations_fail(void **state)
{
	assert_true(alloc_fail_sweep(without_memory, NULL) > 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_type_is_read),
		cmocka_unit_test(bad_ones_are_refused),
		cmocka_unit_test(bounds),
		cmocka_unit_test(parts_wait),
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(allocations_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
