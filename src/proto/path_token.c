#include "proto/path_token.h"

#include <stdio.h>

#include "base/base64.h"
#include "proto/http_url.h"

#define MAX_TOKEN 1024
#define MAX_PARTS 4

static bool refuse(const char **why, const char *text)
{
	*why = text;
	return false;
}

/* The token without its padding, which may come percent-encoded ("%3D"). The decoder takes padding
 * for optional, but would count it: it must be right when it is there. */
static bool strip_padding(struct slice *s)
{
	size_t n_pad = 0, n = s->n;

	while (n > 0 && n_pad < 3) {
		struct slice tail = { s->p, n };

		if (slice_ends(tail, SLICE("=")))
			n -= 1;
		else if (slice_ends(tail, SLICE("%3D")) || slice_ends(tail, SLICE("%3d")))
			n -= 3;
		else
			break;
		n_pad++;
	}
	s->n = n;
	return n_pad == 0 || (n_pad < 3 && (n + n_pad) % 4 == 0);
}

/* path: "/token[/rest]"; false when there is no token. */
static bool cut_token(struct slice path, struct slice *token, struct slice *rest)
{
	size_t n;

	if (path.n < 2 || path.p[0] != '/')
		return false;
	path = (struct slice){ path.p + 1, path.n - 1 };
	n = slice_find(path, '/');
	*token = (struct slice){ path.p, n };
	*rest = n < path.n ? (struct slice){ path.p + n, path.n - n } : SLICE("/");
	return n > 0;
}

static bool read_domain(struct slice text, struct path_token *out, const char **why)
{
	struct addr ip;

	if (!http_host_parse(text, out->domain, &ip, why) || ip.family != ADDR_NONE)
		return refuse(why, "token does not begin with a domain");
	return true;
}

static bool read_target(const struct slice part[3], struct path_token *out, const char **why)
{
	struct addr ip;

	out->https = slice_caseeq(part[0], SLICE("https"));
	if (!out->https && !slice_caseeq(part[0], SLICE("http")))
		return refuse(why, "token has a scheme that is neither http nor https");
	if (!http_host_parse(part[1], out->host, &ip, why))
		return false;
	if (!http_port_parse(part[2], &out->port))
		return refuse(why, "token has a bad port");
	return true;
}

bool path_token_parse(struct slice path, struct path_token *out, struct slice *rest,
		      const char **why)
{
	struct slice token, text, part[MAX_PARTS];
	uint8_t bytes[MAX_TOKEN];
	size_t n = 0;
	long n_bytes;

	*out = (struct path_token){ .has_target = false };
	if (!cut_token(path, &token, rest))
		return refuse(why, "no token in the path");
	if (token.n > MAX_TOKEN)
		return refuse(why, "token too long");
	if (!strip_padding(&token) || (n_bytes = base64_decode(token, bytes, sizeof(bytes))) <= 0)
		return refuse(why, "token is not base64");
	text = (struct slice){ (const char *)bytes, (size_t)n_bytes };
	while (text.p && n < MAX_PARTS)
		part[n++] = slice_next(&text, '/');
	if (text.p || (n != 1 && n != MAX_PARTS))
		return refuse(why, "token is neither domain nor domain/scheme/host/port");
	out->has_target = n == MAX_PARTS;
	return read_domain(part[0], out, why) &&
	       (!out->has_target || read_target(part + 1, out, why));
}

void path_token_print(struct buf *out, const struct path_token *t)
{
	char text[sizeof(t->domain) + sizeof(t->host) + sizeof("/https//65535")];
	int n;

	if (t->has_target)
		n = snprintf(text, sizeof(text), "%s/%s/%s/%u", t->domain,
			     t->https ? "https" : "http", t->host, t->port);
	else
		n = snprintf(text, sizeof(text), "%s", t->domain);
	base64url_encode(out, text, (size_t)n);
}
