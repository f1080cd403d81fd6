#ifndef PROTO_SIP_TEXT_H
#define PROTO_SIP_TEXT_H
/* Inner header of the SIP codec: character classes and the small steps of RFC 3261 25.1. */
#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"
#include "proto/sip_msg.h"

/* token, RFC 3261 25.1: alphanum / "-.!%*_+`'~" */
bool sip_is_token_char(char c);
/* Not empty and token characters only. */
bool sip_is_token(struct slice s);
/* Index behind the quoted-string that starts at s.p[0] == '"', or 0 when it does not end. */
size_t sip_quoted_end(struct slice s);
/* Without spaces and tabs at its start. */
struct slice sip_skip_ws(struct slice s);
/* host = hostname / IPv4address / IPv6reference; underscores are let pass, people use them. */
bool sip_is_host(struct slice s);
/* [":" port] after a host: the whole of s, or nothing. *port 0 when there is none. */
bool sip_port_parse(struct slice s, uint16_t *port);
/* Cuts the first ";name[=value]" off *rest. false: not one (*rest then unchanged). *value has p
 * NULL when there is no '='. */
bool sip_param_next(struct slice *rest, struct slice *name, struct slice *value);
/* Are the parameters a well-formed *( SEMI generic-param )? */
bool sip_params_valid(struct slice params);
/* Cuts the first element of a comma list off *rest, commas in quotes and angle brackets left alone;
 * trimmed, may be empty. Call while (rest->p). */
struct slice sip_list_next(struct slice *rest);

/* Id of a header by its name in any spelling; *name becomes the full form in its usual spelling
 * when we know it, and stays as written when not. */
enum sip_hdr_id sip_hdr_find(struct slice *name);

#endif
