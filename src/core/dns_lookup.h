#ifndef CORE_DNS_LOOKUP_H
#define CORE_DNS_LOOKUP_H
/* The callers' lookups: hosts file, A and AAAA of a host; SRV and then the targets' addresses. */
struct dns;

/* Frees every query without callback. */
void dns_lookups_fini(struct dns *d);

#endif
