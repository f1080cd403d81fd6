/*
 * A rule and a request, as text: the rule's URL, its methods, prefix or exact, and the request's
 * URL, one a line. What is allowed has the scheme, host and port of the rule and a path that is the
 * rule's or below it; compared here without the list's own functions.
 */
#include <stdlib.h>
#include <string.h>

#include "http/allow.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

/* Segment by segment, the way a server walks down its folders. */
static bool is_below(const char *rule, const char *path, bool exact)
{
	while (*rule && *path) {
		size_t n = strcspn(rule + 1, "/") + 1, m = strcspn(path + 1, "/") + 1;

		if (rule[1] == '\0')
			return !exact || path[1] == '\0'; /* "/a/" is above all of "/a/..." */
		if (n != m || memcmp(rule, path, n) != 0)
			return false;
		rule += n;
		path += m;
	}
	return *rule == '\0' && (!exact || *path == '\0');
}

static bool make_rule(struct slice url_text, struct slice methods, struct slice match,
		      struct allow_rule *out)
{
	static struct http_url url;
	const char *why;

	memset(out, 0, sizeof(*out));
	strcpy(out->name, "x");
	if (!http_url_parse(url_text, &url, &why) || strlen(url.path) >= sizeof(out->path) ||
	    !allow_methods_parse(methods, &out->methods))
		return false;
	strcpy(out->host, url.host);
	strcpy(out->path, url.path);
	out->https = url.https;
	out->port = url.port;
	out->exact = slice_eq(match, SLICE("exact"));
	return true;
}

/* The copy on the other box decides the same. */
static void must_travel(const struct allow_rule *r)
{
	json_t *item = allow_to_json(r);
	struct allow_rule back;

	must(item != NULL);
	must(allow_from_json(r->name, item, &back));
	must(strcmp(back.host, r->host) == 0 && strcmp(back.path, r->path) == 0);
	must(back.https == r->https && back.port == r->port && back.exact == r->exact &&
	     back.methods == r->methods);
	json_decref(item);
}

static void check(const struct allow_rule *r, const struct http_url *url)
{
	static const uint8_t seed[16];
	struct allow_verdict v;
	struct allow_list l;

	must(allow_init(&l, seed) == 0 && allow_add(&l, r) == 0);
	for (int m = HTTP_GET; m <= HTTP_METHOD_OTHER; m++) {
		bool want = r->methods & 1u << m && r->https == url->https &&
			    r->port == url->port && strcmp(r->host, url->host) == 0 &&
			    is_below(r->path, url->path, r->exact);

		allow_check(&l, url, (enum http_method)m, &v);
		must((v.rule != NULL) == want);
		must(v.why[0] != '\0');
		must(!v.rule || (m != HTTP_TRACE && m != HTTP_CONNECT && m != HTTP_METHOD_OTHER));
	}
	allow_fini(&l);
}

/* Items as the other box may send them. */
static void take_json(struct slice text)
{
	json_t *item = json_loadb(text.p ? text.p : "", text.n, 0, NULL);
	struct allow_rule r;

	if (item && allow_from_json("x", item, &r))
		must_travel(&r);
	json_decref(item);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct http_url url;
	struct slice rest = { (const char *)data, size };
	struct slice rule_url, methods, match;
	struct allow_rule r;
	const char *why;

	take_json(rest);
	rule_url = slice_next(&rest, '\n');
	methods = slice_next(&rest, '\n');
	match = slice_next(&rest, '\n');
	if (!make_rule(rule_url, methods, match, &r))
		return 0;
	must_travel(&r);
	if (http_url_parse(slice_next(&rest, '\n'), &url, &why))
		check(&r, &url);
	return 0;
}
