#include "xmpp/s2s_tls.h"

#include <stdio.h>

#include "core/stream_socket.h"

/* The i-th word; false behind the last. */
static bool word(const char *names, size_t i, char out[S2S_TLS_NAME_BYTES])
{
	struct slice rest = slice_of(names ? names : "");
	struct slice w = slice_word(&rest);

	while (i-- > 0 && w.n > 0)
		w = slice_word(&rest);
	return w.n > 0 && slice_copy(out, S2S_TLS_NAME_BYTES, w);
}

const char *s2s_tls_name(struct tls_store *t, const char *names, const char *domain,
			 char out[S2S_TLS_NAME_BYTES])
{
	for (size_t i = 0; domain && domain[0] && word(names, i, out); i++)
		if (tls_own_has_xmpp_domain(t, out, domain))
			return out;
	return word(names, 0, out) ? out : NULL;
}

bool s2s_tls_own(struct tls_store *t, const char *names, const char *domain)
{
	char name[S2S_TLS_NAME_BYTES];

	return s2s_tls_name(t, names, domain, name) && tls_own_has_xmpp_domain(t, name, domain);
}

void s2s_tls_identity(struct stream *s, const char *domain, struct s2s_identity *out)
{
	SSL *ssl = stream_ssl(s);
	const char *why = "";

	*out = (struct s2s_identity){ .tls = ssl != NULL };
	if (!ssl)
		return;
	snprintf(out->tls_text, sizeof(out->tls_text), "%s %s", SSL_get_version(ssl),
		 SSL_get_cipher_name(ssl));
	out->expires_s = tls_peer_expires_s(ssl);
	out->verified = tls_peer_verified(ssl, &why);
	out->names_domain = tls_peer_has_xmpp_domain(ssl, domain);
	if (!out->verified)
		snprintf(out->why, sizeof(out->why), "%s", why ? why : "");
	else if (!out->names_domain)
		tls_explain_name(ssl, domain, out->why, sizeof(out->why));
}
