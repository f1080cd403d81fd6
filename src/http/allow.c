#include "http/allow.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"

#define MAX_SHOWN_NAME 120
#define LISTABLE       (((1u << HTTP_METHOD_OTHER) - 1) & ~(1u << HTTP_CONNECT) & ~(1u << HTTP_TRACE))

static const struct {
	const char *name;
	enum http_method method;
} methods_by_name[] = {
	{ "GET", HTTP_GET },	 { "HEAD", HTTP_HEAD },	    { "POST", HTTP_POST },
	{ "PUT", HTTP_PUT },	 { "DELETE", HTTP_DELETE }, { "OPTIONS", HTTP_OPTIONS },
	{ "PATCH", HTTP_PATCH },
};
#define N_METHODS (sizeof(methods_by_name) / sizeof(methods_by_name[0]))

static struct allow_rule *rule_of(struct htab_node *node)
{
	return CONTAINER_OF(node, struct allow_rule, by_host);
}

static struct slice host_key(const struct htab_node *node)
{
	return slice_of(
		CONTAINER_OF((struct htab_node *)(uintptr_t)node, struct allow_rule, by_host)
			->host);
}

static struct slice name_key(const struct htab_node *node)
{
	return slice_of(
		CONTAINER_OF((struct htab_node *)(uintptr_t)node, struct allow_rule, by_name)
			->name);
}

int allow_init(struct allow_list *l, const uint8_t seed[16])
{
	l->n = 0;
	if (htab_init(&l->rules, seed, host_key) < 0)
		return -ENOMEM;
	if (htab_init(&l->names, seed, name_key) == 0)
		return 0;
	htab_fini(&l->rules);
	return -ENOMEM;
}

static void drop(struct allow_list *l, struct allow_rule *r)
{
	htab_del(&l->rules, &r->by_host);
	htab_del(&l->names, &r->by_name);
	free(r);
	l->n--;
}

void allow_clear(struct allow_list *l)
{
	HTAB_FOREACH_SAFE (it, &l->rules) {
		drop(l, rule_of(it));
	}
}

void allow_fini(struct allow_list *l)
{
	allow_clear(l);
	htab_fini(&l->rules);
	htab_fini(&l->names);
}

const struct allow_rule *allow_get(const struct allow_list *l, struct slice name)
{
	struct htab_node *it = htab_get(&l->names, name);

	return it ? CONTAINER_OF(it, struct allow_rule, by_name) : NULL;
}

void allow_remove(struct allow_list *l, struct slice name)
{
	struct htab_node *it = htab_get(&l->names, name);

	if (it)
		drop(l, CONTAINER_OF(it, struct allow_rule, by_name));
}

int allow_add(struct allow_list *l, const struct allow_rule *r)
{
	struct allow_rule *copy;

	if (l->n >= ALLOW_MAX_RULES && !allow_get(l, slice_of(r->name)))
		return -ENOSPC;
	copy = malloc(sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	*copy = *r;
	allow_remove(l, slice_of(r->name));
	htab_add(&l->rules, &copy->by_host);
	htab_add(&l->names, &copy->by_name);
	l->n++;
	return 0;
}

static bool path_matches(const struct allow_rule *r, struct slice path)
{
	struct slice want = slice_of(r->path);

	return r->exact ? slice_eq(want, path) : http_path_is_under(path, want);
}

/* How far a rule of the right host fits: the higher, the better it explains a refusal. */
enum fit { FIT_HOST, FIT_PORT, FIT_PATH, FIT_ALL };

static enum fit fit_of(const struct allow_rule *r, const struct http_url *url,
		       enum http_method method)
{
	if (r->https != url->https || r->port != url->port)
		return FIT_HOST;
	if (!path_matches(r, slice_of(url->path)))
		return FIT_PORT;
	return r->methods & (1u << method) ? FIT_ALL : FIT_PATH;
}

static void explain(const struct allow_rule *near, enum fit fit, const struct http_url *url,
		    struct allow_verdict *out)
{
	static const char *const miss[] = {
		[FIT_HOST] = "has another scheme or port",
		[FIT_PORT] = "has another path",
		[FIT_PATH] = "does not list the method",
	};

	if (!near)
		snprintf(out->why, sizeof(out->why), "no rule for host %.120s", url->host);
	else
		snprintf(out->why, sizeof(out->why), "no rule fits: the nearest, [allow %.80s], %s",
			 near->name, miss[fit]);
}

/* Of two rules that allow it, the more specific one says how the server is reached: exact before
 * prefix, the longer path before the shorter, then by name, so that the order of the file is no
 * matter. */
static bool more_specific(const struct allow_rule *a, const struct allow_rule *b)
{
	size_t na = strlen(a->path), nb = strlen(b->path);

	if (a->exact != b->exact)
		return a->exact;
	return na != nb ? na > nb : strcmp(a->name, b->name) < 0;
}

void allow_check(const struct allow_list *l, const struct http_url *url, enum http_method method,
		 struct allow_verdict *out)
{
	const struct allow_rule *near = NULL;
	enum fit best = FIT_HOST;
	struct slice name;
	size_t n;

	out->rule = NULL;
	for (struct htab_node *it = htab_get(&l->rules, slice_of(url->host)); it;
	     it = htab_get_next(&l->rules, it)) {
		enum fit fit = fit_of(rule_of(it), url, method);

		if (near && (fit < best || (fit == best && !more_specific(rule_of(it), near))))
			continue;
		near = rule_of(it);
		best = fit;
	}
	if (near && best == FIT_ALL) {
		out->rule = near;
		n = slice_append(out->why, sizeof(out->why), 0, SLICE("[allow "));
		name = slice_of(near->name);
		name.n = name.n < MAX_SHOWN_NAME ? name.n : MAX_SHOWN_NAME;
		n = slice_append(out->why, sizeof(out->why), n, name);
		slice_append(out->why, sizeof(out->why), n,
			     near->automatic ? SLICE("] (automatic)") : SLICE("]"));
		return;
	}
	explain(near, best, url, out);
}

bool allow_methods_parse(struct slice words, unsigned *out)
{
	unsigned set = 0;

	for (struct slice w = slice_word(&words); w.n > 0; w = slice_word(&words)) {
		size_t i = 0;

		if (slice_caseeq(w, SLICE("all"))) {
			set |= LISTABLE;
			continue;
		}
		while (i < N_METHODS && !slice_eq(w, slice_of(methods_by_name[i].name)))
			i++;
		if (i == N_METHODS)
			return false;
		set |= 1u << methods_by_name[i].method;
	}
	*out = set;
	return set != 0;
}

void allow_methods_print(unsigned methods, char *out, size_t size)
{
	size_t n = 0;

	out[0] = '\0';
	for (size_t i = 0; i < N_METHODS; i++)
		if (methods & (1u << methods_by_name[i].method) && n < size)
			n += (size_t)snprintf(out + n, size - n, "%s%s", n ? " " : "",
					      methods_by_name[i].name);
}

json_t *allow_to_json(const struct allow_rule *r)
{
	char methods[64];

	allow_methods_print(r->methods, methods, sizeof(methods));
	return json_pack("{s:b,s:s,s:i,s:s,s:b,s:s,s:b,s:b}", "https", r->https, "host", r->host,
			 "port", (int)r->port, "path", r->path, "exact", r->exact, "methods",
			 methods, "automatic", r->automatic, "open", r->open);
}

/* Is it spelled as http_url.h spells hosts? */
static bool host_is_canonical(const char *host)
{
	struct http_url url;
	const char *why;
	char text[HTTP_URL_HOST_BYTES + 2];

	snprintf(text, sizeof(text), strchr(host, ':') ? "[%s]" : "%s", host);
	return strlen(host) < HTTP_URL_HOST_BYTES &&
	       http_authority_parse(slice_of(text), 1, &url, &why) && strcmp(url.host, host) == 0;
}

bool allow_from_json(const char *name, const json_t *item, struct allow_rule *out)
{
	const char *host, *path, *methods, *why;
	int https, exact, automatic, open;
	json_int_t port;

	if (json_unpack((json_t *)(uintptr_t)item, "{s:b,s:s,s:I,s:s,s:b,s:s,s:b,s:b}", "https",
			&https, "host", &host, "port", &port, "path", &path, "exact", &exact,
			"methods", &methods, "automatic", &automatic, "open", &open) < 0)
		return false;
	memset(out, 0, sizeof(*out));
	if (port < 1 || port > 65535 || !host_is_canonical(host) ||
	    !http_path_canonical(slice_of(path), out->path, sizeof(out->path), &why) ||
	    strcmp(out->path, path) != 0 || !allow_methods_parse(slice_of(methods), &out->methods))
		return false;
	out->https = https;
	out->exact = exact;
	out->automatic = automatic;
	out->open = open;
	out->port = (uint16_t)port;
	slice_copy(out->host, sizeof(out->host), slice_of(host));
	return slice_copy(out->name, sizeof(out->name), slice_of(name));
}
