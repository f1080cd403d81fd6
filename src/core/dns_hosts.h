#ifndef CORE_DNS_HOSTS_H
#define CORE_DNS_HOSTS_H
/* /etc/hosts (hosts(5)): read when it changed, asked before the resolvers. */
#include <stddef.h>

#include "core/dns_answer.h"

struct dns_hosts;

struct dns_hosts *dns_hosts_new(const char *path);
void dns_hosts_free(struct dns_hosts *h);
/* Looks whether the file changed and reads it again then. An unreadable file, or one over 1 MiB, is
 * taken as empty. */
void dns_hosts_refresh(struct dns_hosts *h);
/* Adds the addresses that text gives for name to out->records (no duplicates, at most
 * DNS_MAX_RECORDS); names compare without case. */
void dns_hosts_parse(struct slice text, struct slice name, struct dns_answer *out);
/* Same from the file. Both families come together; status 0, or -ENOENT when name is not in it. */
void dns_hosts_find(const struct dns_hosts *h, struct slice name, struct dns_answer *out);

#endif
