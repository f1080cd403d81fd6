#ifndef ROUTE_VARS_H
#define ROUTE_VARS_H
/*
 * Pattern variables: %systemname%, %localdomains%, %localdomain1%..%localdomain200%, %ip%, %ipv4%,
 * %ipv6%. They are replaced when the rules are compiled, never at search time.
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/slice.h"

/* What is wrong with a rule or transform: the key to blame and a sentence for humans. */
struct route_fault {
	const char *key;
	char text[256];
};

/* All borrowed. */
struct route_vars {
	const char *system_name;
	const char *const *domains;
	size_t n_domains;
	const struct addr *ips;
	size_t n_ips;
};

enum route_vars_use {
	ROUTE_VARS_REGEX, /* values are quoted, lists become (?:a|b), an empty list matches nothing
			   */
	ROUTE_VARS_PLAIN, /* exact, prefix and suffix patterns: no lists */
	ROUTE_VARS_REPLACE, /* replacement text: the first address; backslashes doubled */
};

/* Appends text to out with the variables replaced. A %word% that is no variable stays as it is
 * (aliases carry percent escapes), unless it looks like a misspelt one. 0, -EINVAL with
 * fault->text set, or -ENOMEM (out failed). */
int route_vars_expand(const struct route_vars *v, struct slice text, enum route_vars_use use,
		      struct buf *out, struct route_fault *fault);
/* Appends s so that PCRE2 takes every byte literally. */
void route_vars_quote(struct buf *out, struct slice s);

#endif
