#include "media/rewrite.h"

#include <errno.h>
#include <string.h>

#include <openssl/crypto.h>

enum { MAX_INNER = 2 + 2 * SDP_MAX_MEDIA };

/* Address texts of the side whose SDP this is. */
struct inner {
	struct slice texts[MAX_INNER];
	size_t n;
};

static const char *ip_type(const struct addr *ip)
{
	return ip->family == ADDR_IP6 ? "IP6" : "IP4";
}

static void inner_add(struct inner *in, struct slice text)
{
	struct addr ip;

	text.n = slice_find(text, '/');
	if (in->n < MAX_INNER && addr_parse_ip(text, 0, &ip) && addr_class(&ip) != ADDR_UNSPECIFIED)
		in->texts[in->n++] = text;
}

static void inner_add_connection(struct inner *in, const struct sdp_section *s)
{
	size_t i = sdp_find(s, 'c', 0);
	struct slice rest;

	if (i == s->n)
		return;
	rest = s->lines[i].value;
	slice_word(&rest);
	slice_word(&rest);
	inner_add(in, slice_word(&rest));
}

static void inner_collect(struct inner *in, const struct sdp *sdp)
{
	struct sdp_origin origin;

	in->n = 0;
	if (sdp_origin(sdp, &origin))
		inner_add(in, origin.address);
	inner_add_connection(in, &sdp->session);
	for (size_t i = 0; i < sdp->n_media; i++)
		inner_add_connection(in, &sdp->media[i]);
}

static bool is_addr_char(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') ||
	       c == ':' || c == '.';
}

/* Does text spell the address out, not as a part of a longer one? */
static bool names(struct slice text, struct slice address)
{
	if (address.n == 0 || text.n < address.n)
		return false;
	for (size_t i = 0; i + address.n <= text.n; i++) {
		size_t end = i + address.n;

		if (!slice_caseeq((struct slice){ text.p + i, address.n }, address))
			continue;
		/* "a=x:10.0.0.1" and "10.0.0.1:5000": a colon parts what is no IPv6 address. */
		if (i > 0 && is_addr_char(text.p[i - 1]) && text.p[i - 1] != ':')
			continue;
		if (end < text.n && is_addr_char(text.p[end]) && text.p[end] != ':' &&
		    text.p[end] != '.')
			continue;
		return true;
	}
	return false;
}

static bool leaks(const struct inner *in, const struct sdp_line *l)
{
	if (l->type == 'm' || l->type == 'o' || l->type == 'c')
		return false;
	for (size_t i = 0; i < in->n; i++)
		if (names(l->value, in->texts[i]))
			return true;
	return false;
}

static bool listed(struct slice name, const char *const *list)
{
	for (; *list; list++)
		if (slice_eq(name, slice_of(*list)))
			return true;
	return false;
}

/* Ours to write or to leave out. */
static const char *const transport_attrs[] = {
	"candidate",   "remote-candidates", "end-of-candidates", "ice-ufrag",  "ice-pwd",
	"ice-options", "ice-lite",	    "ice-mismatch",	 "ice-pacing", "rtcp",
	"rtcp-mux",    "rtcp-mux-only",	    "source-filter",	 "altc",       "bundle-only",
	NULL,
};
static const char *const key_attrs[] = {
	"crypto", "fingerprint", "setup", "tls-id", "key-mgmt", "zrtp-hash", NULL,
};

static bool line_dropped(const struct sdp_line *l, const struct inner *in, bool keep_keys)
{
	struct slice name;

	if (l->type == 'k') /* RFC 8866 section 5.12: obsolete, MUST NOT be used */
		return true;
	if (leaks(in, l) && l->type != 's')
		return true;
	if (l->type != 'a')
		return false;
	name = sdp_attr_name(l);
	if (listed(name, transport_attrs) || (!keep_keys && listed(name, key_attrs)))
		return true;
	/* Every m= line has a port of its own here. */
	return slice_starts(l->value, SLICE("group:BUNDLE"));
}

static void section_clean(struct sdp_section *s, const struct inner *in, bool keep_keys)
{
	size_t to = 0;

	for (size_t i = 0; i < s->n; i++)
		if (!line_dropped(&s->lines[i], in, keep_keys))
			s->lines[to++] = s->lines[i];
	s->n = to;
}

static int media_line(struct sdp *sdp, size_t m, const struct rewrite_line *l)
{
	const char *profile = l->is_rtp ? sdp_profile_str(l->profile) : NULL;
	struct sdp_media media;

	sdp_media(sdp, m, &media);
	if (!profile)
		return sdp_line_set(sdp, &sdp->media[m], 0, "%.*s %u %.*s %.*s",
				    SLICE_ARG(media.media), l->on ? l->port : 0u,
				    SLICE_ARG(media.proto), SLICE_ARG(media.formats));
	return sdp_line_set(sdp, &sdp->media[m], 0, "%.*s %u %s %.*s", SLICE_ARG(media.media),
			    l->on ? l->port : 0u, profile, SLICE_ARG(media.formats));
}

static int crypto_lines(struct sdp *sdp, struct sdp_section *s, const struct rewrite_line *l)
{
	int err = 0;

	for (unsigned i = 0; i < l->n_crypto && err == 0; i++) {
		struct buf text;

		buf_init(&text, 1024);
		srtp_sdes_print(&text, &l->crypto[i]);
		err = text.failed ? -ENOMEM : sdp_attr_add(sdp, s, "crypto:%s", text.p);
		if (text.p)
			OPENSSL_cleanse(text.p, text.n);
		buf_fini(&text);
	}
	return err;
}

static int candidate_line(struct sdp *sdp, struct sdp_section *s, const struct addr *ip,
			  unsigned component, uint16_t port)
{
	char text[ADDR_STR_BYTES];

	/* RFC 8445 section 5.1.2.1: host type preference 126, one address. */
	return sdp_attr_add(sdp, s, "candidate:1 %u UDP %u %s %u typ host", component,
			    126u << 24 | 65535u << 8 | (256u - component), addr_ip_str(ip, text),
			    port);
}

static int ice_lines(struct sdp *sdp, struct sdp_section *s, const struct addr *ip,
		     const struct rewrite_line *l)
{
	int err = sdp_attr_add(sdp, s, "ice-ufrag:%s", l->ice->ufrag);

	if (err == 0)
		err = sdp_attr_add(sdp, s, "ice-pwd:%s", l->ice->pwd);
	if (err == 0)
		err = candidate_line(sdp, s, ip, 1, l->port);
	if (err == 0 && !l->one_component)
		err = candidate_line(sdp, s, ip, 2, l->rtcp_port);
	return err;
}

static int section_rewrite(struct sdp *sdp, size_t m, const struct rewrite *r,
			   const struct inner *in)
{
	const struct rewrite_line *l = &r->lines[m];
	struct sdp_section *s = &sdp->media[m];
	int err;

	section_clean(s, in, l->on && l->keep_keys);
	sdp_del(s, 'c');
	err = media_line(sdp, m, l);
	if (err < 0 || !l->on)
		return err;
	if (l->hold)
		err = sdp_set(sdp, s, 'c', "IN %s %s", ip_type(&r->ip),
			      r->ip.family == ADDR_IP6 ? "::" : "0.0.0.0");
	if (err == 0)
		err = crypto_lines(sdp, s, l);
	if (err == 0 && l->is_rtp && l->write_rtcp && !l->one_component)
		err = sdp_attr_add(sdp, s, "rtcp:%u", l->rtcp_port);
	if (err == 0 && l->is_rtp && l->rtcp_mux)
		err = sdp_attr_add(sdp, s, "rtcp-mux");
	if (err == 0 && l->ice)
		err = ice_lines(sdp, s, &r->ip, l);
	return err;
}

int media_rewrite_origin(struct sdp *sdp, const struct rewrite *r)
{
	char ip[ADDR_STR_BYTES];

	return sdp_set(sdp, &sdp->session, 'o', "- %llu %llu IN %s %s",
		       (unsigned long long)r->sess_id, (unsigned long long)r->version,
		       ip_type(&r->ip), addr_ip_str(&r->ip, ip));
}

static int session_rewrite(struct sdp *sdp, const struct rewrite *r, const struct inner *in)
{
	size_t name = sdp_find(&sdp->session, 's', 0);
	bool keep_keys = false;
	char ip[ADDR_STR_BYTES];
	int err = 0;

	if (name < sdp->session.n && leaks(in, &sdp->session.lines[name]))
		err = sdp_line_set(sdp, &sdp->session, name, "-");
	for (size_t i = 0; i < r->n_lines; i++)
		keep_keys = keep_keys || (r->lines[i].on && r->lines[i].keep_keys);
	section_clean(&sdp->session, in, keep_keys);
	if (err == 0)
		err = media_rewrite_origin(sdp, r);
	if (err == 0)
		err = sdp_set(sdp, &sdp->session, 'c', "IN %s %s", ip_type(&r->ip),
			      addr_ip_str(&r->ip, ip));
	if (err == 0 && r->ice_lite)
		err = sdp_attr_add(sdp, &sdp->session, "ice-lite");
	return err;
}

int media_rewrite(struct sdp *sdp, const struct rewrite *r)
{
	struct inner in;
	int err;

	inner_collect(&in, sdp);
	err = session_rewrite(sdp, r, &in);
	for (size_t i = 0; i < sdp->n_media && err == 0; i++)
		err = section_rewrite(sdp, i, r, &in);
	return err;
}
