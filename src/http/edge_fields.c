#include "http/edge_fields.h"

#include "core/conn.h"
#include "http/cookies.h"

bool edge_fields_go_in(const struct http_field *f)
{
	switch (f->id) {
	case HTTP_F_X_FORWARDED:
	case HTTP_F_FORWARDED:
	case HTTP_F_X_REAL_IP:
	case HTTP_F_TURNPIKE:
	case HTTP_F_COOKIE:
		return false;
	default:
		return true;
	}
}

bool edge_fields_come_out(const struct web *w, const struct http_field *f)
{
	if (f->id == HTTP_F_TURNPIKE)
		return false;
	return f->id != HTTP_F_SET_COOKIE ||
	       !cookies_sets(f->value, slice_of(w->conf->cookie_name));
}

void edge_fields_add(const struct web *w, struct http_exchange *ex, bool in_tunnel, struct buf *out)
{
	const struct conn *front = http_front_conn(http_exchange_front(ex));
	const struct http_head *h = http_exchange_head(ex);
	char text[ADDR_STR_BYTES];

	if (in_tunnel)
		http_print_field(out, SLICE("Turnpike-Client"),
				 slice_of(addr_str(&front->remote, text)));
	http_print_field(out, SLICE("X-Forwarded-For"),
			 slice_of(addr_ip_str(&front->remote, text)));
	http_print_field(out, SLICE("X-Forwarded-Proto"), SLICE("https"));
	if (h->host.n)
		http_print_field(out, SLICE("X-Forwarded-Host"), h->host);
	cookies_pass(h, slice_of(w->conf->cookie_name), out);
}
