#include "http/cookies.h"

/* Blanks around a name do not count (RFC 6265 5.2), and of a cookie without a name ("=a=1") the
 * value alone comes back. Servers that read cookies are not stricter. */
static bool is_ours(struct slice pair, struct slice ours)
{
	pair = slice_trim(pair);
	while (pair.n > 0 && pair.p[0] == '=')
		pair = slice_trim((struct slice){ pair.p + 1, pair.n - 1 });
	pair.n = slice_find(pair, '=');
	return slice_eq(slice_trim(pair), ours);
}

static void pass_field(struct slice rest, struct slice ours, struct buf *out)
{
	struct buf kept;

	buf_init(&kept, 2 * rest.n + 1); /* every ';' may become "; " */
	while (rest.p) {
		struct slice one = slice_trim(slice_next(&rest, ';'));

		if (one.n == 0 || is_ours(one, ours))
			continue;
		if (kept.n)
			buf_add_str(&kept, "; ");
		buf_add_slice(&kept, one);
	}
	if (kept.failed)
		out->failed = true;
	else if (kept.n)
		http_print_field(out, SLICE("Cookie"), buf_slice(&kept));
	buf_fini(&kept);
}

void cookies_pass(const struct http_head *h, struct slice ours, struct buf *out)
{
	for (size_t i = 0; i < h->n_fields; i++) {
		if (h->fields[i].id == HTTP_F_COOKIE)
			pass_field(h->fields[i].value, ours, out);
	}
}

bool cookies_sets(struct slice set_cookie, struct slice ours)
{
	return is_ours(slice_next(&set_cookie, ';'), ours);
}
