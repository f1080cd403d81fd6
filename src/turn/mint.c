#include "turn/mint.h"

#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>

#include "turn/credentials.h"

enum { LABEL_BYTES = 4 };

void turn_mint_init(struct turn_mint *m, void (*random)(void *p, size_t n))
{
	*m = (struct turn_mint){ .random = random };
}

void turn_mint_fini(struct turn_mint *m)
{
	OPENSSL_cleanse(m->secrets, sizeof(m->secrets));
	m->n_secrets = 0;
}

/* --- secrets --- */

static struct turn_mint_secret *newest(struct turn_mint *m)
{
	return m->n_secrets ? &m->secrets[m->n_secrets - 1] : NULL;
}

/* It is the newest until then, and answers until its last credential has run out. */
static void live_until(struct turn_mint *m, struct turn_mint_secret *s, int64_t newest_until_ms)
{
	s->newest_until_ms = newest_until_ms;
	if (s->until_ms < newest_until_ms + m->ttl_ms)
		s->until_ms = newest_until_ms + m->ttl_ms;
}

void turn_mint_configure(struct turn_mint *m, int64_t ttl_ms, int64_t now_ms)
{
	struct turn_mint_secret *s = newest(m);

	if (s && m->ttl_ms != ttl_ms && s->newest_until_ms > now_ms)
		s->newest_until_ms = now_ms;
	m->ttl_ms = ttl_ms;
}

static void drop_old(struct turn_mint *m, int64_t now_ms, struct turn_mint_change *out)
{
	size_t n = 0;

	/* Never the newest: its time as such ends first. */
	for (size_t i = 0; i < m->n_secrets; i++) {
		const struct turn_mint_secret *s = &m->secrets[i];

		if (i + 1 < m->n_secrets && s->until_ms <= now_ms)
			memcpy(out->gone[out->n_gone++], s->id, sizeof(s->id));
		else
			m->secrets[n++] = *s;
	}
	OPENSSL_cleanse(&m->secrets[n], (TURN_MINT_SECRETS - n) * sizeof(m->secrets[0]));
	m->n_secrets = n;
}

static void hex(const uint8_t *p, size_t n, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = digits[p[i] >> 4];
		out[2 * i + 1] = digits[p[i] & 15];
	}
	out[2 * n] = '\0';
}

static void add_newest(struct turn_mint *m, int64_t now_ms)
{
	struct turn_mint_secret *s = &m->secrets[m->n_secrets++];
	uint8_t id[(TURN_MINT_ID_BYTES - 1) / 2];

	*s = (struct turn_mint_secret){ .until_ms = 0 };
	m->random(id, sizeof(id));
	hex(id, sizeof(id), s->id);
	m->random(s->secret, sizeof(s->secret));
	live_until(m, s, now_ms + m->ttl_ms);
}

int64_t turn_mint_turn(struct turn_mint *m, int64_t now_ms, struct turn_mint_change *out)
{
	struct turn_mint_secret *s;
	int64_t next_ms;

	*out = (struct turn_mint_change){ 0 };
	drop_old(m, now_ms, out);
	s = newest(m);
	if (!s || s->newest_until_ms <= now_ms) {
		out->put = true;
		if (m->n_secrets < TURN_MINT_SECRETS)
			add_newest(m, now_ms);
		else
			live_until(m, s, now_ms + m->ttl_ms);
	}
	/* One whose time was over as the newest one may have run out in the same moment. */
	drop_old(m, now_ms, out);
	next_ms = newest(m)->newest_until_ms;
	for (size_t i = 0; i + 1 < m->n_secrets; i++)
		if (m->secrets[i].until_ms < next_ms)
			next_ms = m->secrets[i].until_ms;
	return next_ms;
}

/* --- servers --- */

/* How good a place is for another E: 0 when it is not to be had. */
static int vacancy(const struct turn_mint_server *s)
{
	return s->peer == 0 ? 3 : s->up ? 0 : s->has_facts ? 1 : 2;
}

struct turn_mint_server *turn_mint_server(struct turn_mint *m, uint32_t peer)
{
	struct turn_mint_server *place = NULL;

	for (size_t i = 0; i < TURN_MINT_SERVERS; i++) {
		struct turn_mint_server *s = &m->servers[i];

		if (s->peer == peer)
			return s;
		if (vacancy(s) > (place ? vacancy(place) : 0))
			place = s;
	}
	if (place)
		*place = (struct turn_mint_server){ .peer = peer };
	return place;
}

static bool is_ready(const struct turn_mint_server *s)
{
	return s->peer && s->up && s->has_facts;
}

bool turn_mint_any_up(const struct turn_mint *m)
{
	for (size_t i = 0; i < TURN_MINT_SERVERS; i++)
		if (m->servers[i].peer && m->servers[i].up)
			return true;
	return false;
}

bool turn_mint_is_ready(const struct turn_mint *m)
{
	for (size_t i = 0; i < TURN_MINT_SERVERS; i++)
		if (is_ready(&m->servers[i]))
			return true;
	return false;
}

static struct turn_mint_server *take_server(struct turn_mint *m)
{
	for (size_t i = 0; i < TURN_MINT_SERVERS; i++) {
		size_t at = (m->next_server + i) % TURN_MINT_SERVERS;

		if (!is_ready(&m->servers[at]))
			continue;
		m->next_server = (at + 1) % TURN_MINT_SERVERS;
		return &m->servers[at];
	}
	return NULL;
}

/* --- credentials --- */

bool turn_mint_label_valid(struct slice label)
{
	for (size_t i = 0; i < label.n; i++) {
		char c = label.p[i];

		if (c <= ' ' || c >= 0x7f || c == ':' || c == '"' || c == '\\')
			return false;
	}
	return label.n > 0 && label.n <= TURN_MINT_LABEL_MAX;
}

/* RFC 7065: an IPv6 address is in brackets. */
static void add_uri(struct turn_mint_credential *c, const char *scheme, const char *transport,
		    const uint16_t *ports, unsigned n_ports, unsigned *next)
{
	const char *host = c->server->host;
	const bool ip6 = strchr(host, ':');

	if (n_ports == 0)
		return;
	*next %= n_ports;
	snprintf(c->uris[c->n_uris++], sizeof(c->uris[0]), "%s:%s%s%s:%u?transport=%s", scheme,
		 ip6 ? "[" : "", host, ip6 ? "]" : "", ports[*next], transport);
	*next = (*next + 1) % n_ports;
}

static void add_uris(struct turn_mint_credential *c, struct turn_mint_server *s)
{
	const struct turn_facts *f = &s->facts;

	add_uri(c, "turn", "udp", f->udp_ports, f->n_udp, &s->next_udp);
	add_uri(c, "turn", "tcp", f->tcp_ports, f->n_tcp, &s->next_tcp);
	add_uri(c, "turns", "tcp", f->tls_ports, f->n_tls, &s->next_tls);
}

bool turn_mint_make(struct turn_mint *m, struct slice domain, struct slice label, int64_t ttl_s,
		    int64_t wall_s, struct turn_mint_credential *out)
{
	const struct turn_mint_secret *secret = newest(m);
	struct turn_mint_server *server;
	uint8_t random[LABEL_BYTES];
	char anonymous[2 * LABEL_BYTES + 1];
	int n;

	*out = (struct turn_mint_credential){ .ttl_s = m->ttl_ms / 1000 };
	if (!secret || domain.n == 0 || domain.n > 253 ||
	    (label.n && !turn_mint_label_valid(label)))
		return false;
	if (ttl_s > 0 && ttl_s < out->ttl_s)
		out->ttl_s = ttl_s;
	m->random(random, sizeof(random));
	hex(random, sizeof(random), anonymous);
	if (label.n == 0)
		label = slice_of(anonymous);
	n = snprintf(out->username, sizeof(out->username), "%lld:%.*s@%.*s",
		     (long long)(wall_s + out->ttl_s), SLICE_ARG(label), SLICE_ARG(domain));
	if (n < 0 || n >= TURN_USER_BYTES)
		return false;
	server = take_server(m);
	if (!server)
		return false;
	out->server = &server->facts;
	add_uris(out, server);
	turn_credentials_password(
		(struct slice){ (const char *)secret->secret, sizeof(secret->secret) },
		slice_of(out->username), out->password);
	return true;
}
