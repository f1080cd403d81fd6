#ifndef TURNPIKE_API_H
#define TURNPIKE_API_H
/*
 * Service "api": the HTTPS API for administrators and their programs, on its own port ([api]), off
 * until it has a certificate. Every request carries the Basic credentials of an [admin NAME]; who
 * asked without, or with wrong ones, never reaches a handler. Bodies and answers are JSON objects.
 */
#include <jansson.h>

#include "base/addr.h"
#include "base/slice.h"

struct api_request {
	const char *method; /* as registered */
	const char *path;
	const char *admin; /* who asks */
	const struct addr *from;
	const json_t *body; /* an object; empty when there was no body */
};

/* Answers at once: HTTP status, and *out a new reference to an object (NULL: only the status). With
 * an error status put {"error": "..."} there, as ctl_fail() does. */
typedef int (*api_handler)(void *arg, const struct api_request *r, json_t **out);

struct api_ops {
	/* method "GET" or "POST"; path "/api/v1/...", exact. Both static. At init or start. 0,
	 * -EEXIST or -ENOSPC (over 64). Other methods on the path are 405, other paths 404. */
	int (*add)(void *self, const char *method, const char *path, api_handler fn, void *arg);
};
#define API_SERVICE "api"

#endif
