#ifndef CORE_DNS_ORDER_H
#define CORE_DNS_ORDER_H
/* In which order SRV records are tried (RFC 2782). Pure: chance comes in as a function. */
#include <stddef.h>
#include <stdint.h>

#include "core/dns_answer.h"

/* Orders by priority, and within one priority draws by weight: weight 0 has a very small chance of
 * coming before others. random(arg, n) gives an evenly spread number below n (n > 0). */
void dns_order_srv(struct dns_record *records, size_t n, uint32_t (*random)(void *arg, uint32_t n),
		   void *arg);

#endif
