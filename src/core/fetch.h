#ifndef CORE_FETCH_H
#define CORE_FETCH_H
/*
 * One HTTP request of our own (UDS, AXL, health checks, Basic endpoints): connect, ask, take a
 * bounded answer, close. The strict parser of proto/http1.h reads it.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "proto/http1.h"
#include "proto/http_url.h"

struct env;
struct fetch;

struct fetch_request {
	const char *url;	     /* absolute, http or https */
	const char *method;	     /* NULL: GET */
	const char *user, *password; /* Basic; NULL: none */
	const char *content_type;    /* of body */
	const char *soap_action;     /* without its quotes; NULL: none */
	struct slice body;
	const char *tls; /* [tls NAME] whose `ca` is trusted; NULL: the system's CAs */
	bool verify;
	uint32_t timeout_ms; /* all of it; 0: 10 s */
	size_t max_body;     /* bytes of the answer; 0: 1 MiB */
	const struct addr
		*to; /* connect here instead of asking DNS (a pinned address); NULL: ask */
};

struct fetch_result {
	int error;  /* 0: a whole answer came; else -ETIMEDOUT, -ECONNREFUSED, -ENOENT (name),
		       -EPROTO (not HTTP), -EPERM (certificate refused), -EMSGSIZE, ... */
	int status; /* when error is 0 */
	struct slice body;	      /* valid during the callback */
	const struct http_head *head; /* NULL when error */
	struct addr from;	      /* who answered */
	char why[160];		      /* for humans: "cucm1.lab:8443: certificate expired on ..." */
};

/* Never calls back before it returns. NULL without memory or for a bad URL (*error). All addresses
 * of the name are tried in turn within the time. Everything in r is copied. */
struct fetch *fetch_start(struct env *env, const struct fetch_request *r,
			  void (*done)(const struct fetch_result *r, void *arg), void *arg,
			  int *error);
/* No callback afterwards. NULL is allowed. */
void fetch_cancel(struct fetch *f);

#endif
