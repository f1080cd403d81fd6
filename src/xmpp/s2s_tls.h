#ifndef XMPP_S2S_TLS_H
#define XMPP_S2S_TLS_H
/* What the engines of both boxes ask of TLS: which certificate of ours speaks for a domain, and
 * what the certificate of the other side says. */
#include "core/stream.h"
#include "core/tls.h"
#include "xmpp/s2s.h"

#define S2S_TLS_NAME_BYTES 128

/* Of the [tls] names (words) the one whose certificate carries domain, else the first. NULL: there
 * are no names. */
const char *s2s_tls_name(struct tls_store *t, const char *names, const char *domain,
			 char out[S2S_TLS_NAME_BYTES]);
bool s2s_tls_own(struct tls_store *t, const char *names, const char *domain);
/* Fills s2s_identity from the stream's TLS. */
void s2s_tls_identity(struct stream *s, const char *domain, struct s2s_identity *out);

#endif
