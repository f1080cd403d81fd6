#ifndef CORE_DNS_ANSWER_H
#define CORE_DNS_ANSWER_H
/* A DNS answer message (RFC 1035) cut down to what is used: addresses or SRV records and a TTL.
 * Pure. */
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/slice.h"

#define DNS_NAME_BYTES	256
#define DNS_MAX_RECORDS 16

enum dns_type { DNS_A = 1, DNS_CNAME = 5, DNS_SOA = 6, DNS_AAAA = 28, DNS_SRV = 33 };

struct dns_record {
	struct addr addr; /* A, AAAA: port 0 */
	/* SRV */
	uint16_t priority, weight, port;
	char target[DNS_NAME_BYTES];
};

struct dns_answer {
	int status;	/* 0, -ENOENT (no such name, or no such records), -EAGAIN, -ETIMEDOUT */
	uint32_t ttl_s; /* smallest on the way, CNAMEs included; for -ENOENT RFC 2308's, 0 without
			   SOA */
	bool none;	/* SRV: a lone target ".": not offered there (RFC 2782) */
	uint16_t n;	/* records; more than DNS_MAX_RECORDS are cut */
	struct dns_record records[DNS_MAX_RECORDS];
};

/* Reads the records of `type` that the question's name leads to (CNAMEs followed inside the
 * message). Records of other owners are ignored. 0 with *out filled, or -EBADMSG. */
int dns_answer_parse(struct slice message, enum dns_type type, struct dns_answer *out);
/* A name that may be asked for: 1 to 253 bytes of letters, digits, '-' and '_' in labels of 1 to 63
 * bytes, one dot at the end allowed. */
bool dns_name_ok(struct slice name);

#endif
