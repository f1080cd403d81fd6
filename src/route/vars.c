#include "route/vars.h"

#include <errno.h>
#include <stdio.h>

/* A list that stands for nothing must match nothing: an empty group would match everything. */
#define MATCHES_NOTHING "(?!)"
#define MAX_DOMAINS	200

static const char *const names[] = { "systemname", "localdomains", "localdomain1",
				     "ip",	   "ipv4",	   "ipv6",
				     NULL };

struct expansion {
	const struct route_vars *v;
	enum route_vars_use use;
	struct buf *out;
	struct route_fault *fault;
};

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

void route_vars_quote(struct buf *out, struct slice s)
{
	size_t i;

	for (i = 0; i < s.n; i++) {
		if (!is_alnum(s.p[i]) && (unsigned char)s.p[i] < 0x80)
			buf_add_char(out, '\\');
		buf_add_char(out, s.p[i]);
	}
}

static void add_value(const struct expansion *x, struct slice value)
{
	size_t i;

	switch (x->use) {
	case ROUTE_VARS_REGEX:
		route_vars_quote(x->out, value);
		return;
	case ROUTE_VARS_PLAIN:
		buf_add_slice(x->out, value);
		return;
	case ROUTE_VARS_REPLACE:
		for (i = 0; i < value.n; i++) {
			if (value.p[i] == '\\')
				buf_add_char(x->out, '\\');
			buf_add_char(x->out, value.p[i]);
		}
		return;
	}
}

/* Lists make sense only where alternatives can be written. */
static int refuse_list(const struct expansion *x, struct slice name)
{
	snprintf(
		x->fault->text, sizeof(x->fault->text),
		"%%%.*s%% stands for a list and is legal only in a pattern of pattern-type = regex",
		SLICE_ARG(name));
	return -EINVAL;
}

static int add_domains(const struct expansion *x, struct slice name)
{
	size_t i;

	if (x->use != ROUTE_VARS_REGEX)
		return refuse_list(x, name);
	if (x->v->n_domains == 0)
		buf_add_str(x->out, MATCHES_NOTHING);
	for (i = 0; i < x->v->n_domains; i++) {
		buf_add_str(x->out, i ? "|" : "(?:");
		add_value(x, slice_of(x->v->domains[i]));
	}
	if (x->v->n_domains)
		buf_add_char(x->out, ')');
	return 0;
}

static int add_domain(const struct expansion *x, uint64_t number)
{
	if (number <= x->v->n_domains) {
		add_value(x, slice_of(x->v->domains[number - 1]));
		return 0;
	}
	if (x->use == ROUTE_VARS_REGEX) {
		buf_add_str(x->out, MATCHES_NOTHING);
		return 0;
	}
	snprintf(x->fault->text, sizeof(x->fault->text),
		 "%%localdomain%u%%: there are only %zu [domain] sections with SIP",
		 (unsigned)number, x->v->n_domains);
	return -EINVAL;
}

static int add_ips(const struct expansion *x, struct slice name, int family)
{
	char text[ADDR_STR_BYTES];
	size_t i, n = 0;

	if (x->use == ROUTE_VARS_PLAIN)
		return refuse_list(x, name);
	for (i = 0; i < x->v->n_ips; i++) {
		if (family != ADDR_NONE && x->v->ips[i].family != family)
			continue;
		if (n > 0 && x->use == ROUTE_VARS_REPLACE)
			break;
		if (x->use == ROUTE_VARS_REGEX)
			buf_add_str(x->out, n ? "|" : "(?:");
		add_value(x, slice_of(addr_ip_str(&x->v->ips[i], text)));
		n++;
	}
	if (x->use == ROUTE_VARS_REGEX)
		buf_add_str(x->out, n ? ")" : MATCHES_NOTHING);
	if (n > 0 || x->use == ROUTE_VARS_REGEX)
		return 0;
	snprintf(x->fault->text, sizeof(x->fault->text), "%%%.*s%%: this host has no such address",
		 SLICE_ARG(name));
	return -EINVAL;
}

/* 1 when name is no variable, else as route_vars_expand(). */
static int add_named(const struct expansion *x, struct slice name)
{
	static const struct slice numbered = { "localdomain", sizeof("localdomain") - 1 };
	uint64_t number;

	if (slice_caseeq(name, SLICE("systemname"))) {
		add_value(x, slice_of(x->v->system_name));
		return 0;
	}
	if (slice_caseeq(name, SLICE("localdomains")))
		return add_domains(x, name);
	if (slice_caseeq(name, SLICE("ip")))
		return add_ips(x, name, ADDR_NONE);
	if (slice_caseeq(name, SLICE("ipv4")))
		return add_ips(x, name, ADDR_IP4);
	if (slice_caseeq(name, SLICE("ipv6")))
		return add_ips(x, name, ADDR_IP6);
	if (name.n > numbered.n && slice_starts(name, numbered) &&
	    slice_u64((struct slice){ name.p + numbered.n, name.n - numbered.n }, MAX_DOMAINS,
		      &number) &&
	    number > 0)
		return add_domain(x, number);
	return 1;
}

static int refuse_misspelt(const struct expansion *x, struct slice name)
{
	size_t i;

	for (i = 0; names[i]; i++) {
		/* The short ones are too near to everything: "%20%" is an escape, not "ip". */
		if (name.n < 6 || slice_distance(name, slice_of(names[i])) > 2)
			continue;
		snprintf(x->fault->text, sizeof(x->fault->text),
			 "%%%.*s%% is no variable; did you mean %%%s%%?", SLICE_ARG(name),
			 names[i]);
		return -EINVAL;
	}
	return 0;
}

/* The word between two percent signs at the start of rest; n 0 when there is none. */
static struct slice percent_word(struct slice rest)
{
	size_t i = 1;

	while (i < rest.n && is_alnum(rest.p[i]))
		i++;
	if (i == 1 || i >= rest.n || rest.p[i] != '%')
		return SLICE_NONE;
	return (struct slice){ rest.p + 1, i - 1 };
}

int route_vars_expand(const struct route_vars *v, struct slice text, enum route_vars_use use,
		      struct buf *out, struct route_fault *fault)
{
	struct expansion x = { v, use, out, fault };
	size_t i = 0;
	int err;

	while (i < text.n) {
		struct slice rest = { text.p + i, text.n - i };
		struct slice name = rest.p[0] == '%' ? percent_word(rest) : SLICE_NONE;

		err = name.n ? add_named(&x, name) : 1;
		if (err < 0)
			return err;
		if (err == 0) {
			i += name.n + 2;
			continue;
		}
		if (name.n && refuse_misspelt(&x, name) < 0)
			return -EINVAL;
		buf_add_char(out, text.p[i++]);
	}
	return out->failed ? -ENOMEM : 0;
}
