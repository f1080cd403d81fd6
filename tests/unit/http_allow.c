/* The allow list: what a rule lets through, what a refusal says, and the copy on the other box. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/list.h"
#include "http/allow.h"
#include "support/alloc_fail.h"

static const uint8_t seed[16] = { 1 };

/* A rule by its URL, as [allow NAME] makes one. */
static struct allow_rule rule_of(const char *name, const char *url_text, const char *methods)
{
	struct allow_rule r = { .verify = true };
	struct http_url url;
	const char *why = "";

	if (!http_url_parse(slice_of(url_text), &url, &why))
		fail_msg("%s: %s", url_text, why);
	assert_true(slice_copy(r.name, sizeof(r.name), slice_of(name)));
	slice_copy(r.host, sizeof(r.host), slice_of(url.host));
	slice_copy(r.path, sizeof(r.path), slice_of(url.path));
	r.https = url.https;
	r.port = url.port;
	assert_true(allow_methods_parse(slice_of(methods), &r.methods));
	return r;
}

static void add(struct allow_list *l, const char *name, const char *url, const char *methods)
{
	struct allow_rule r = rule_of(name, url, methods);

	assert_int_equal(allow_add(l, &r), 0);
}

static int setup(void **state)
{
	struct allow_list *l = calloc(1, sizeof(*l));
	struct allow_rule r;

	assert_non_null(l);
	assert_int_equal(allow_init(l, seed), 0);
	add(l, "photos", "https://photos.example.com/a/b", "GET HEAD");
	add(l, "slash", "https://slash.example.com/dir/", "GET");
	add(l, "all", "http://all.example.com", "all");
	add(l, "ip4", "http://192.0.2.1:8080/", "GET");
	add(l, "ip6", "http://[2001:db8::1]:8080/", "GET");
	r = rule_of("exact", "https://exact.example.com:8443/one/file", "GET");
	r.exact = true;
	assert_int_equal(allow_add(l, &r), 0);
	r = rule_of("guest", "https://guest.example.com/", "GET");
	r.open = true;
	assert_int_equal(allow_add(l, &r), 0);
	r = rule_of("main cucm1 uds", "https://cucm1.example.com:8443/cucm-uds/", "GET PUT");
	r.automatic = true;
	assert_int_equal(allow_add(l, &r), 0);
	*state = l;
	return 0;
}

static int teardown(void **state)
{
	allow_fini(*state);
	free(*state);
	return 0;
}

static struct allow_verdict check(const struct allow_list *l, const char *text,
				  enum http_method method)
{
	struct allow_verdict v;
	struct http_url url;
	const char *why = "";

	if (!http_url_parse(slice_of(text), &url, &why))
		fail_msg("%s: %s", text, why);
	allow_check(l, &url, method, &v);
	return v;
}

static void allowed(void **state)
{
	static const struct {
		const char *url;
		enum http_method method;
		const char *rule;
	} rows[] = {
		{ "https://photos.example.com/a/b", HTTP_GET, "photos" },
		{ "https://photos.example.com:443/a/b", HTTP_HEAD, "photos" },
		{ "https://PHOTOS.example.com/a/b/c.jpg", HTTP_GET, "photos" },
		{ "https://photos.example.com/a/b/", HTTP_GET, "photos" },
		{ "https://photos.example.com/a/b?x=/../", HTTP_GET, "photos" },
		{ "https://photos.example.com/%61/b/%20", HTTP_GET, "photos" },
		{ "https://photos.example.com./a/b", HTTP_GET, "photos" },
		{ "https://slash.example.com/dir/", HTTP_GET, "slash" },
		{ "https://slash.example.com/dir/x", HTTP_GET, "slash" },
		{ "http://all.example.com/", HTTP_GET, "all" },
		{ "http://all.example.com", HTTP_PATCH, "all" },
		{ "http://all.example.com:80/any/thing", HTTP_DELETE, "all" },
		{ "http://192.0.2.1:8080/x", HTTP_GET, "ip4" },
		{ "http://[2001:DB8:0::1]:8080/x", HTTP_GET, "ip6" },
		{ "https://exact.example.com:8443/one/file", HTTP_GET, "exact" },
		{ "https://exact.example.com:8443/one/file?q", HTTP_GET, "exact" },
		{ "https://guest.example.com/x", HTTP_GET, "guest" },
		{ "https://cucm1.example.com:8443/cucm-uds/user/a", HTTP_PUT, "main cucm1 uds" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct allow_verdict v = check(*state, rows[i].url, rows[i].method);
		char why[192];

		if (!v.rule)
			fail_msg("%s: %s", rows[i].url, v.why);
		assert_string_equal(v.rule->name, rows[i].rule);
		snprintf(why, sizeof(why), "[allow %s]%s", rows[i].rule,
			 v.rule->automatic ? " (automatic)" : "");
		assert_string_equal(v.why, why);
	}
	assert_true(check(*state, "https://guest.example.com/", HTTP_GET).rule->open);
	assert_false(check(*state, "http://all.example.com/", HTTP_GET).rule->open);
}

#define NEAREST(name, miss) "no rule fits: the nearest, [allow " name "], " miss
#define PORT		    "has another scheme or port"
#define PATH		    "has another path"
#define METHOD		    "does not list the method"

static void denied(void **state)
{
	static const struct {
		const char *url;
		enum http_method method;
		const char *why;
	} rows[] = {
		/* host */
		{ "https://other.example.com/a/b", HTTP_GET, "no rule for host other.example.com" },
		{ "https://xphotos.example.com/a/b", HTTP_GET,
		  "no rule for host xphotos.example.com" },
		{ "https://photos.example.com.evil.example/a/b", HTTP_GET,
		  "no rule for host photos.example.com.evil.example" },
		{ "http://192.0.2.11:8080/", HTTP_GET, "no rule for host 192.0.2.11" },
		/* scheme and port */
		{ "http://photos.example.com/a/b", HTTP_GET, NEAREST("photos", PORT) },
		{ "http://photos.example.com:443/a/b", HTTP_GET, NEAREST("photos", PORT) },
		{ "https://photos.example.com:8443/a/b", HTTP_GET, NEAREST("photos", PORT) },
		{ "https://all.example.com:80/", HTTP_GET, NEAREST("all", PORT) },
		{ "http://192.0.2.1/", HTTP_GET, NEAREST("ip4", PORT) },
		/* path: whole segments only */
		{ "https://photos.example.com/a/bc", HTTP_GET, NEAREST("photos", PATH) },
		{ "https://photos.example.com/a/b%2Ec", HTTP_GET, NEAREST("photos", PATH) },
		{ "https://photos.example.com/a", HTTP_GET, NEAREST("photos", PATH) },
		{ "https://photos.example.com/A/b", HTTP_GET, NEAREST("photos", PATH) },
		{ "https://photos.example.com//a/b", HTTP_GET, NEAREST("photos", PATH) },
		{ "https://photos.example.com", HTTP_GET, NEAREST("photos", PATH) },
		{ "https://slash.example.com/dir", HTTP_GET, NEAREST("slash", PATH) },
		{ "https://slash.example.com/dirx/", HTTP_GET, NEAREST("slash", PATH) },
		{ "https://exact.example.com:8443/one/file/", HTTP_GET, NEAREST("exact", PATH) },
		{ "https://exact.example.com:8443/one/file/x", HTTP_GET, NEAREST("exact", PATH) },
		{ "https://exact.example.com:8443/one", HTTP_GET, NEAREST("exact", PATH) },
		/* method */
		{ "https://photos.example.com/a/b", HTTP_POST, NEAREST("photos", METHOD) },
		{ "http://all.example.com/", HTTP_TRACE, NEAREST("all", METHOD) },
		{ "http://all.example.com/", HTTP_CONNECT, NEAREST("all", METHOD) },
		{ "http://all.example.com/", HTTP_METHOD_OTHER, NEAREST("all", METHOD) },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct allow_verdict v = check(*state, rows[i].url, rows[i].method);

		if (v.rule)
			fail_msg("%s is allowed by %s", rows[i].url, v.rule->name);
		assert_string_equal(v.why, rows[i].why);
	}
}

/* The one that came furthest explains, whatever the order of the rules. */
static void nearest_of_several(void **state)
{
	static const char *const urls[] = { "http://h.example/a", "https://h.example:1/a",
					    "https://h.example/b", "https://h.example/a" };
	struct allow_list l;

	for (unsigned order = 0; order < 24; order++) {
		unsigned left = order, used = 0;

		assert_int_equal(allow_init(&l, seed), 0);
		for (unsigned n = 4; n > 0; n--) {
			unsigned skip = left % n, k = 0;

			left /= n;
			for (;; k++) {
				char name[8];

				if (used & 1u << k || skip-- > 0)
					continue;
				snprintf(name, sizeof(name), "r%u", k);
				add(&l, name, urls[k], "GET");
				used |= 1u << k;
				break;
			}
		}
		assert_string_equal(check(&l, "https://h.example/a/x", HTTP_GET).rule->name, "r3");
		assert_string_equal(check(&l, "https://h.example/a", HTTP_PUT).why,
				    NEAREST("r3", METHOD));
		assert_non_null(strstr(check(&l, "https://h.example/c", HTTP_GET).why, PATH));
		assert_non_null(strstr(check(&l, "https://h.example:2/a", HTTP_GET).why, PORT));
		allow_fini(&l);
	}
}

/* Whatever the order they came in. */
static void the_most_specific_decides(void **state)
{
	static const char *const names[] = { "wide", "deep", "other", "point" };
	struct allow_list l;
	struct allow_verdict v;
	struct http_url url;
	const char *why;

	for (int first = 0; first < 4; first++) {
		assert_int_equal(allow_init(&l, seed), 0);
		for (int i = 0; i < 4; i++) {
			const char *name = names[(first + i) % 4];
			struct allow_rule r = rule_of(name,
						      name[0] == 'w'   ? "https://a.example.com/"
						      : name[0] == 'p' ? "https://a.example.com/x/y"
								       : "https://a.example.com/x",
						      "GET");

			r.exact = name[0] == 'p';
			assert_int_equal(allow_add(&l, &r), 0);
		}
		assert_true(http_url_parse(SLICE("https://a.example.com/x/z"), &url, &why));
		allow_check(&l, &url, HTTP_GET, &v);
		assert_string_equal(v.rule->name, "deep");
		assert_true(http_url_parse(SLICE("https://a.example.com/x/y"), &url, &why));
		allow_check(&l, &url, HTTP_GET, &v);
		assert_string_equal(v.rule->name, "point");
		assert_true(http_url_parse(SLICE("https://a.example.com/q"), &url, &why));
		allow_check(&l, &url, HTTP_GET, &v);
		assert_string_equal(v.rule->name, "wide");
		allow_fini(&l);
	}
}

static void names(void **state)
{
	struct allow_list *l = *state;
	size_t n = l->n;

	/* Replaced: the old one is gone under its host too. */
	add(l, "photos", "https://new.example.com/", "GET");
	assert_int_equal(l->n, n);
	assert_string_equal(check(l, "https://photos.example.com/a/b", HTTP_GET).why,
			    "no rule for host photos.example.com");
	assert_non_null(check(l, "https://new.example.com/x", HTTP_GET).rule);
	assert_string_equal(allow_get(l, SLICE("photos"))->host, "new.example.com");
	assert_null(allow_get(l, SLICE("photo")));
	allow_remove(l, SLICE("photos"));
	allow_remove(l, SLICE("photos"));
	assert_int_equal(l->n, n - 1);
	assert_null(check(l, "https://new.example.com/x", HTTP_GET).rule);
	allow_clear(l);
	assert_int_equal(l->n, 0);
	assert_null(check(l, "http://all.example.com/", HTTP_GET).rule);
	add(l, "again", "http://all.example.com/", "GET");
	assert_non_null(check(l, "http://all.example.com/", HTTP_GET).rule);
}

static void how_many(void **state)
{
	struct allow_rule r = rule_of("x", "https://many.example.com/", "GET");
	struct allow_list l;

	assert_int_equal(allow_init(&l, seed), 0);
	for (int i = 0; i < ALLOW_MAX_RULES; i++) {
		snprintf(r.name, sizeof(r.name), "r%d", i);
		snprintf(r.path, sizeof(r.path), "/%d", i);
		assert_int_equal(allow_add(&l, &r), 0);
	}
	strcpy(r.name, "one more");
	strcpy(r.path, "/more");
	assert_int_equal(allow_add(&l, &r), -ENOSPC);
	assert_int_equal(l.n, ALLOW_MAX_RULES);
	assert_null(check(&l, "https://many.example.com/more", HTTP_GET).rule);
	/* One that is there may still be replaced. */
	strcpy(r.name, "r7");
	assert_int_equal(allow_add(&l, &r), 0);
	assert_non_null(check(&l, "https://many.example.com/more", HTTP_GET).rule);
	assert_null(check(&l, "https://many.example.com/7", HTTP_GET).rule);
	assert_non_null(check(&l, "https://many.example.com/3999", HTTP_GET).rule);
	allow_fini(&l);
}

static void methods(void **state)
{
	static const char *const bad[] = { "", " ", "get", "TRACE", "CONNECT", "GET,TRACE", "*" };
	char text[64];
	unsigned set = 0;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(allow_methods_parse(slice_of(bad[i]), &set));
	assert_true(allow_methods_parse(SLICE("POST, GET GET"), &set));
	assert_int_equal(set, 1u << HTTP_GET | 1u << HTTP_POST);
	allow_methods_print(set, text, sizeof(text));
	assert_string_equal(text, "GET POST");
	assert_true(allow_methods_parse(SLICE("All"), &set));
	assert_int_equal(set & (1u << HTTP_TRACE | 1u << HTTP_CONNECT | 1u << HTTP_METHOD_OTHER),
			 0);
	allow_methods_print(set, text, sizeof(text));
	assert_string_equal(text, "GET HEAD POST PUT DELETE OPTIONS PATCH");
	/* Cut, never over the end. */
	for (size_t size = 1; size < sizeof(text); size++) {
		char *small = malloc(size);

		allow_methods_print(set, small, size);
		assert_true(strlen(small) < size);
		free(small);
	}
}

static void over_the_tunnel(void **state)
{
	struct allow_list *l = *state;
	size_t n = 0;

	HTAB_FOREACH (it, &l->rules) {
		const struct allow_rule *r = CONTAINER_OF(it, struct allow_rule, by_host);
		json_t *item = allow_to_json(r);
		struct allow_rule back;

		assert_non_null(item);
		assert_true(allow_from_json(r->name, item, &back));
		assert_string_equal(back.name, r->name);
		assert_string_equal(back.host, r->host);
		assert_string_equal(back.path, r->path);
		assert_true(back.https == r->https && back.port == r->port &&
			    back.exact == r->exact && back.methods == r->methods &&
			    back.automatic == r->automatic && back.open == r->open);
		/* How C reaches the server is nobody else's business. */
		assert_null(json_object_get(item, "verify"));
		assert_null(json_object_get(item, "tls"));
		json_decref(item);
		n++;
	}
	assert_int_equal(n, l->n);
}

#define GOOD                                                                                  \
	"\"https\":true,\"host\":\"a.example\",\"port\":443,\"path\":\"/a\",\"exact\":false," \
	"\"methods\":\"GET\",\"automatic\":false,\"open\":false"

static bool takes(const char *name, const char *text)
{
	json_t *item = json_loads(text, JSON_DECODE_ANY, NULL);
	struct allow_rule r;
	bool ok;

	if (!item)
		fail_msg("no JSON: %s", text);
	ok = allow_from_json(name, item, &r);
	json_decref(item);
	return ok;
}

/* The same with one member replaced. */
static bool takes_with(const char *key, const char *value)
{
	json_t *item = json_loads("{" GOOD "}", 0, NULL);
	char *text;
	bool ok;

	json_object_set_new(item, key, json_loads(value, JSON_DECODE_ANY, NULL));
	text = json_dumps(item, 0);
	ok = takes("x", text);
	json_decref(item);
	free(text);
	return ok;
}

static void hostile_items(void **state)
{
	static const struct {
		const char *key, *value;
	} rows[] = {
		{ "https", "1" },
		{ "https", "null" },
		{ "host", "5" },
		{ "host", "\"\"" },
		{ "host", "\"A.example\"" },
		{ "host", "\"a.example.\"" },
		{ "host", "\"a.example:80\"" },
		{ "host", "\"a/b\"" },
		{ "host", "\"a@b\"" },
		{ "host", "\"0177.0.0.1\"" },
		{ "host", "\"[2001:db8::1]\"" },
		{ "host", "\"2001:DB8::1\"" },
		{ "host", "\"::ffff:127.0.0.1\"" },
		{ "port", "0" },
		{ "port", "-1" },
		{ "port", "65536" },
		{ "port", "4294967739" }, /* 443 in 32 bits */
		{ "port", "443.0" },
		{ "port", "\"443\"" },
		{ "path", "\"\"" },
		{ "path", "\"a\"" },
		{ "path", "\"/a/../b\"" },
		{ "path", "\"/%61\"" },
		{ "path", "\"/a?b\"" },
		{ "path", "\"/a\\u00e4\"" },
		{ "methods", "\"\"" },
		{ "methods", "\"GET TRACE\"" },
		{ "methods", "[\"GET\"]" },
		{ "exact", "\"no\"" },
		{ "automatic", "0" },
		{ "open", "[]" },
	};
	char name[ALLOW_NAME_BYTES + 1], value[1024];

	assert_true(takes("x", "{" GOOD "}"));
	assert_true(takes("x", "{" GOOD ",\"new\":{\"a\":1}}"));
	assert_true(takes_with("host", "\"2001:db8::1\""));
	assert_true(takes_with("port", "1"));
	assert_true(takes_with("port", "65535"));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (takes_with(rows[i].key, rows[i].value))
			fail_msg("taken: %s %s", rows[i].key, rows[i].value);
	assert_false(takes("x", "{}"));
	assert_false(takes("x", "[]"));
	assert_false(takes("x", "null"));
	assert_false(takes("x", "\""
				"x\""));
	/* At the bounds of the struct. */
	memset(name, 'n', sizeof(name));
	name[ALLOW_NAME_BYTES - 1] = '\0';
	assert_true(takes(name, "{" GOOD "}"));
	name[ALLOW_NAME_BYTES - 1] = 'n';
	name[ALLOW_NAME_BYTES] = '\0';
	assert_false(takes(name, "{" GOOD "}"));
	for (int over = 0; over <= 1; over++) {
		size_t n = sizeof(((struct allow_rule *)0)->path) - 1 + (size_t)over;

		memset(value, 'p', sizeof(value));
		memcpy(value, "\"/", 2);
		strcpy(value + n + 1, "\"");
		assert_int_equal(takes_with("path", value), !over);
		n = HTTP_URL_HOST_BYTES - 1 + (size_t)over;
		for (size_t i = 0; i < n; i++)
			value[1 + i] = i % 60 == 59 ? '.' : 'h';
		strcpy(value + n + 1, "\"");
		assert_int_equal(takes_with("host", value), !over);
	}
}

static void run_without_memory(void *arg)
{
	struct allow_list l;
	struct allow_rule r = rule_of("a", "https://a.example/", "GET");
	int first, second;

	if (allow_init(&l, seed) < 0)
		return;
	first = allow_add(&l, &r);
	/* A replacement that fails leaves what was there. */
	strcpy(r.path, "/new");
	second = allow_add(&l, &r);
	assert_int_equal(l.n, first == 0 || second == 0);
	if (first == 0 && second < 0)
		assert_string_equal(allow_get(&l, SLICE("a"))->path, "/");
	for (int i = 0; i < 40; i++) {
		snprintf(r.name, sizeof(r.name), "r%d", i);
		if (allow_add(&l, &r) == 0)
			assert_non_null(allow_get(&l, slice_of(r.name)));
	}
	allow_fini(&l);
}

static void without_memory(void **state)
{
	assert_true(alloc_fail_sweep(run_without_memory, NULL) > 40);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(allowed),
		TEST(denied),
		cmocka_unit_test(nearest_of_several),
		cmocka_unit_test(the_most_specific_decides),
		TEST(names),
		cmocka_unit_test(how_many),
		cmocka_unit_test(methods),
		TEST(over_the_tunnel),
		cmocka_unit_test(hostile_items),
		cmocka_unit_test(without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
