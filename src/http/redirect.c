/*
 * The redirect-port of a [site]: plain HTTP, where every request is sent to the same path by HTTPS
 * (a browser that is given a bare name asks there first). Nothing ever goes inside from it.
 */
#include <stdio.h>

#include "http/web.h"

/* Browsers keep a redirect for good otherwise, also a wrong one. */
#define CACHE "Cache-Control: max-age=3600\r\n"

/* public-host, the host that was asked for, or the name of this box. */
static bool find_host(const struct web *w, const struct site_conf *c, const struct http_head *h,
		      struct http_url *out)
{
	const char *why;
	struct slice asked = h->host;

	if (c->public_host && c->public_host[0])
		return http_host_parse(slice_of(c->public_host), out->host, &out->ip, &why);
	if (asked.n > 0 && http_authority_parse(asked, 80, out, &why))
		return true;
	return http_host_parse(slice_of(w->name), out->host, &out->ip, &why);
}

/* Path and query as they came: the parser has let through nothing that could end the line. */
static bool print_location(const struct http_head *h, struct http_url *url, uint16_t port,
			   struct buf *out)
{
	char authority[HTTP_URL_HOST_BYTES + 10];

	url->https = true;
	url->port = port;
	web_authority(url, authority, sizeof(authority));
	buf_printf(out, "https://%s", authority);
	buf_add_slice(out, h->form == HTTP_ORIGIN_FORM || h->form == HTTP_ABSOLUTE_FORM
				   ? h->path
				   : SLICE("/"));
	if (h->query.p) {
		buf_add_char(out, '?');
		buf_add_slice(out, h->query);
	}
	return !out->failed;
}

void redirect_request(struct web *w, const struct web_listener *l, struct http_exchange *ex)
{
	const struct http_head *h = http_exchange_head(ex);
	const struct site_conf *c = conf_get(w->snap, "site", l->site);
	/* 308 keeps the method; clients older than it know 301, which is as good for these two
	 * (RFC 9110 15.4.2, 15.4.9). */
	bool plain = h->method == HTTP_GET || h->method == HTTP_HEAD;
	struct http_url url;
	struct buf location, fields;

	if (!c) {
		http_reply_error(ex, 503, SLICE_NONE, "no longer served");
		return;
	}
	buf_init(&location, HTTP_URL_HOST_BYTES + 80 + h->n_bytes);
	buf_init(&fields, HTTP_URL_HOST_BYTES + 200 + h->n_bytes);
	if (!find_host(w, c, h, &url)) {
		http_reply_error(ex, 400, SLICE_NONE, "no host to send you to");
	} else if (print_location(h, &url, (uint16_t)c->public_port, &location) &&
		   http_print_field(&fields, SLICE("Location"), buf_slice(&location))) {
		buf_add_str(&fields, CACHE);
		http_reply(ex, plain ? 301 : 308, buf_slice(&fields), "text/plain; charset=utf-8",
			   buf_slice(&location));
	} else {
		http_reply_error(ex, 503, SLICE_NONE, "out of memory");
	}
	buf_fini(&location);
	buf_fini(&fields);
}
