#ifndef CORE_DNS_CHANNEL_H
#define CORE_DNS_CHANNEL_H
/* c-ares on the loop: questions out, answer messages in. */
#include <stddef.h>

#include "core/dns.h"
#include "core/dns_answer.h"

struct dns_channel;

/* *error: -ENOMEM or -EINVAL (servers, resolv.conf). */
struct dns_channel *dns_channel_new(struct loop *loop, const struct dns_conf *conf, int *error);
/* Questions under way end with -ECANCELED before this returns (after the callback when called from
 * within one). */
void dns_channel_free(struct dns_channel *ch);
/* Asks the servers, with the search domains of resolv.conf for short names. done may be called
 * before this returns. status: 0 or -ENOENT with the message, if any; -ETIMEDOUT, -EAGAIN (server
 * failure), -ENOMEM, -ECANCELED without. */
void dns_channel_ask(struct dns_channel *ch, const char *name, enum dns_type type,
		     void (*done)(int status, struct slice message, void *arg), void *arg);

#endif
