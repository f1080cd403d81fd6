#ifndef PROTO_SIP_SOFIA_H
#define PROTO_SIP_SOFIA_H
/* Inner header of the SIP codec: the only door to sofia-sip's parser. */
#include "proto/sip_scan.h"

/*
 * Second reading. Gives sofia's parser exactly the text that the rest of the program will use and
 * forward (our start line and the headers that we act upon, one list element a line) and demands
 * that it reads the same message out of it: same method or status, Call-ID, tags, CSeq, and as many
 * list elements as we counted. A disagreement of two parsers is what request smuggling is made of,
 * so it is a fault. Returns 0 (look at *why) or -ENOMEM. Call it only for messages without a fault.
 */
int sip_sofia_check(const struct sip_msg *m, struct sip_reject *why);

#endif
