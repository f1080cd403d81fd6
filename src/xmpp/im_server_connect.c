/* Dialling a node: PROXY protocol, TLS, whose certificate will do. */
#include "xmpp/im_server_impl.h"

#include <errno.h>

#define ALPN_CLIENT "xmpp-client" /* XEP-0368 */

/* --- PROXY protocol, version 2 --- */
static size_t put_address(uint8_t *out, const struct addr *a, bool ip6)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (!ip6) {
		memcpy(out, a->ip, 4);
		return 4;
	}
	if (a->family == ADDR_IP4) { /* the two must be of one family */
		memcpy(out, mapped, sizeof(mapped));
		memcpy(out + sizeof(mapped), a->ip, 4);
	} else {
		memcpy(out, a->ip, 16);
	}
	return 16;
}

static size_t put_port(uint8_t *out, uint16_t port)
{
	out[0] = (uint8_t)(port >> 8);
	out[1] = (uint8_t)port;
	return 2;
}

size_t im_proxy_header(uint8_t out[IM_PROXY_BYTES], const struct addr *src, const struct addr *dst)
{
	static const uint8_t signature[12] = { '\r', '\n', '\r', '\n', 0,   '\r',
					       '\n', 'Q',  'U',	 'I',  'T', '\n' };
	bool local = !src || src->family == ADDR_NONE;
	bool ip6 = !local && (src->family == ADDR_IP6 || dst->family == ADDR_IP6);
	size_t n = 16;

	memcpy(out, signature, sizeof(signature));
	out[12] = local ? 0x20 : 0x21;		    /* version 2, LOCAL or PROXY */
	out[13] = local ? 0x00 : ip6 ? 0x21 : 0x11; /* unspecified, TCP over IPv6 or IPv4 */
	if (!local) {
		n += put_address(out + n, src, ip6);
		n += put_address(out + n, dst, ip6);
		n += put_port(out + n, src->port);
		n += put_port(out + n, dst->port);
	}
	put_port(out + 14, (uint16_t)(n - 16)); /* the length of the rest, in network order too */
	return n;
}

/* --- TLS --- */

static const char *own_name(const struct im_peer *p)
{
	return *p->found_by ? NULL : p->pub.host;
}

/* SNI is the domain: servers with many choose the certificate by it. */
static const char *sni_of(const struct im_peer *p, const char *domain)
{
	return domain ? domain : own_name(p);
}

static void say_tls(const struct im_peer *p, const char *domain, struct stream_connect *c)
{
	const struct im_server_conf *conf = p->pub.conf;

	c->tls = conf->ca && *conf->ca ? conf->ca : NULL;
	c->tls_public = !c->tls;
	c->verify = conf->verify;
	c->server_name = sni_of(p, domain);
	c->also_name = own_name(p);
	/* A sign-in is a connection; a full handshake with the server is the dearest part of it. */
	c->resume = true;
	c->alpn = ALPN_CLIENT;
}

struct stream *im_peer_dial(struct im_peer *p, enum im_use use, const struct addr *client,
			    const char *domain, uint32_t timeout_ms, const struct stream_handler *h,
			    void *arg, int *error)
{
	const struct im_server_conf *conf = p->pub.conf;
	struct stream_connect c = { .timeout_ms = timeout_ms, .keepalive = true };
	bool for_clients = use == IM_CHAT && p->pub.port != im_server_port(conf, IM_FEDERATION);
	uint8_t proxy[IM_PROXY_BYTES];

	*error = -ENOENT;
	if (p->n_addrs == 0)
		return NULL;
	c.to = p->addrs[p->at];
	if (conf->proxy_protocol && for_clients)
		c.preface = (struct slice){ (const char *)proxy,
					    im_proxy_header(proxy, client, &c.to) };
	if (domain && use == IM_CHAT && conf->tls == XMPP_INNER_DIRECT)
		say_tls(p, domain, &c);
	return stream_connect(p->owner->env, &c, h, arg, error);
}

struct stream *im_servers_connect(struct im_servers *s, const struct im_node *node, enum im_use use,
				  const struct addr *client, const struct stream_handler *h,
				  void *arg, int *error)
{
	struct im_peer *p = im_peer_get(s, node);
	const char *domain = node->domain ? node->domain : node->host;

	*error = -ENOENT;
	return p ? im_peer_dial(p, use, client, domain, IM_CONNECT_MS, h, arg, error) : NULL;
}

int im_servers_start_tls(struct im_servers *s, const struct im_node *node, const char *domain,
			 struct stream *stream)
{
	struct im_peer *p = im_peer_get(s, node);
	struct stream_connect c = { 0 };
	struct stream_tls t;

	if (!p)
		return -EINVAL;
	say_tls(p, domain, &c);
	t = (struct stream_tls){ .tls = c.tls,
				 .tls_public = c.tls_public,
				 .server_name = c.server_name,
				 .also_name = c.also_name,
				 .verify = c.verify,
				 .resume = c.resume,
				 .timeout_ms = IM_CONNECT_MS };
	return stream_start_tls(s->env, stream, &t);
}
