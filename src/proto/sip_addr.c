/* name-addr, addr-spec and Via values (RFC 3261 20.10, 20.42, 25.1). */
#include "proto/sip_text.h"

static struct slice cut(struct slice s, size_t n)
{
	return (struct slice){ s.p + n, s.n - n };
}

/* Has it a scheme, and nothing that cannot stand in any URI? */
static bool looks_like_uri(struct slice s)
{
	size_t colon = slice_find(s, ':');

	if (colon == 0 || colon == s.n)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f || s.p[i] == '"' ||
		    s.p[i] == '<' || s.p[i] == '>')
			return false;
	}
	return true;
}

/* An unquoted display name is *(token LWS). Here it only must not hold what could change where the
 * address starts or the entry ends; in messages sofia's parser insists on the rest. */
static bool is_plain_display(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == ',' || s.p[i] == ';' || s.p[i] == '"' || s.p[i] == '>')
			return false;
	}
	return true;
}

static bool parse_name_addr(struct slice s, size_t open, struct sip_addr *out)
{
	size_t close;

	s = cut(s, open + 1);
	close = slice_find(s, '>');
	if (close == s.n)
		return false;
	out->uri = (struct slice){ s.p, close };
	out->params = sip_skip_ws(cut(s, close + 1));
	return true;
}

/* addr-spec without brackets: a ';' starts header parameters, and '?' or ',' must not be there
 * (RFC 3261 20.10). */
static bool parse_addr_spec(struct slice s, struct sip_addr *out)
{
	size_t end = slice_find(s, ';');

	out->params = cut(s, end);
	out->uri = slice_trim((struct slice){ s.p, end });
	return slice_find(out->uri, '?') == out->uri.n && slice_find(out->uri, ',') == out->uri.n;
}

bool sip_addr_parse(struct slice text, struct sip_addr *out)
{
	struct slice s = slice_trim(text);
	size_t open;
	bool ok;

	*out = (struct sip_addr){ 0 };
	if (s.n == 0)
		return false;
	if (s.p[0] == '"') {
		size_t end = sip_quoted_end(s);
		struct slice rest = sip_skip_ws(cut(s, end));

		if (end == 0 || rest.n == 0 || rest.p[0] != '<')
			return false;
		out->display = (struct slice){ s.p, end };
		ok = parse_name_addr(rest, 0, out);
	} else {
		open = slice_find(s, '<');
		if (open < s.n) {
			out->display = slice_trim((struct slice){ s.p, open });
			ok = is_plain_display(out->display) && parse_name_addr(s, open, out);
		} else {
			ok = parse_addr_spec(s, out);
		}
	}
	return ok && looks_like_uri(out->uri) && sip_params_valid(out->params);
}

/* "SIP" SLASH version SLASH transport; what follows is left in *s. */
static bool via_protocol(struct slice *s, struct slice *transport)
{
	struct slice part[3];

	for (int i = 0; i < 3; i++) {
		size_t n = 0;

		*s = sip_skip_ws(*s);
		while (n < s->n && sip_is_token_char(s->p[n]))
			n++;
		part[i] = (struct slice){ s->p, n };
		*s = cut(*s, n);
		if (n == 0)
			return false;
		if (i == 2)
			break;
		*s = sip_skip_ws(*s);
		if (s->n == 0 || s->p[0] != '/')
			return false;
		*s = cut(*s, 1);
	}
	*transport = part[2];
	/* LWS is required between transport and sent-by. */
	return slice_caseeq(part[0], SLICE("SIP")) && s->n > 0 && sip_skip_ws(*s).n < s->n;
}

static bool via_sent_by(struct slice s, struct sip_via *out)
{
	size_t end = slice_find(s, ':');

	if (s.n > 0 && s.p[0] == '[') {
		end = slice_find(s, ']');
		end = end < s.n ? end + 1 : end;
	}
	out->host = slice_trim((struct slice){ s.p, end });
	return sip_is_host(out->host) && sip_port_parse(cut(s, end), &out->port);
}

bool sip_via_parse(struct slice text, struct sip_via *out)
{
	struct slice s = slice_trim(text), params, rport;
	uint64_t port = 0;
	size_t end;

	*out = (struct sip_via){ 0 };
	if (!via_protocol(&s, &out->transport))
		return false;
	s = sip_skip_ws(s);
	end = slice_find(s, ';');
	params = cut(s, end);
	if (!via_sent_by(slice_trim((struct slice){ s.p, end }), out) || !sip_params_valid(params))
		return false;
	out->branch = sip_param(params, "branch");
	out->received = sip_param(params, "received");
	rport = sip_param(params, "rport");
	out->rport = rport.p != NULL;
	if (rport.n > 0 && !slice_u64(rport, 65535, &port))
		return false;
	out->rport_port = (uint16_t)port;
	return true;
}
