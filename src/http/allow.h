#ifndef HTTP_ALLOW_H
#define HTTP_ALLOW_H
/*
 * The allow list: which requests may reach a server inside. C decides; E has a copy by which it
 * refuses early, so that a request refused by C means that the edge is not what it should be. Pure.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/htab.h"
#include "proto/http1.h"
#include "proto/http_url.h"

#define ALLOW_MAX_RULES	 4000
#define ALLOW_MAX_CONF	 2000 /* of them from the file: discovery has its share */
#define ALLOW_NAME_BYTES 256  /* as long as the keys of a control table */

struct allow_rule {
	struct htab_node by_host, by_name;
	char name[ALLOW_NAME_BYTES]; /* of the [allow NAME] section, or what made it */
	bool automatic;
	bool https;
	char host[HTTP_URL_HOST_BYTES];
	uint16_t port;
	char path[512]; /* canonical */
	bool exact;
	unsigned methods; /* 1 << enum http_method */
	bool open;	  /* without a sign-in (guests) */
	/* C only: how the server is reached. */
	bool verify;
	char tls[64];	      /* [tls NAME] whose ca is trusted, "": the system's CAs */
	uint32_t response_ms; /* 0: [web] response-timeout */
};

struct allow_list {
	struct htab rules; /* by host; several of one host */
	struct htab names; /* by name, which is unique */
	size_t n;
};

/* 0 or -ENOMEM. */
int allow_init(struct allow_list *l, const uint8_t seed[16]);
void allow_fini(struct allow_list *l);
/* Empties it. */
void allow_clear(struct allow_list *l);
/* A copy of r; one of that name before is replaced. 0, -ENOMEM, -ENOSPC (ALLOW_MAX_RULES). */
int allow_add(struct allow_list *l, const struct allow_rule *r);
const struct allow_rule *allow_get(const struct allow_list *l, struct slice name);
void allow_remove(struct allow_list *l, struct slice name);

struct allow_verdict {
	const struct allow_rule *rule; /* the one that allows it; NULL: denied */
	char why[192];		       /* which rule decided, or what came closest and why not */
};
/* url is canonical (proto/http_url.h). Of several rules that allow it the most specific decides how
 * it is reached. A rule of prefix "/a" allows "/a", "/a/b", "/a?x", not
 * "/ab". */
void allow_check(const struct allow_list *l, const struct http_url *url, enum http_method method,
		 struct allow_verdict *out);

/* "GET HEAD POST": a set of methods; false when a word is none that may be listed (TRACE and
 * CONNECT may not). "all": every method but those two. */
bool allow_methods_parse(struct slice words, unsigned *out);
void allow_methods_print(unsigned methods, char *out, size_t size);
/* For the control table "allow" (new reference), and back: false when it is not a rule. */
json_t *allow_to_json(const struct allow_rule *r);
bool allow_from_json(const char *name, const json_t *item, struct allow_rule *out);

#endif
