#ifndef MEDIA_DESCRIBE_H
#define MEDIA_DESCRIBE_H
/* A session in figures, for `turnpikectl calls` and `status`. */
#include <jansson.h>

#include "media/session.h"

/* An array of streams, each with its two ends (new reference); NULL without memory. */
json_t *media_describe(const struct media_session *s);
/* Counters of the module, into out. */
void media_describe_engine(const struct media_engine *e, json_t *out);

#endif
