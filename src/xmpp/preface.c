#include "xmpp/preface.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/addr.h"
#include "proto/json_strict.h"

static const char *const kinds[] = { "idle", "c2s", "s2s", "park", "parked", "resume" };

#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* --- names of streams --- */

const char *preface_id_str(uint64_t id, char buf[PREFACE_ID_BYTES])
{
	snprintf(buf, PREFACE_ID_BYTES, "%" PRIx64, id);
	return buf;
}

bool preface_id_parse(struct slice text, uint64_t *id)
{
	uint64_t v = 0;

	if (text.n == 0 || text.n >= PREFACE_ID_BYTES || text.p[0] == '0')
		return false;
	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];

		if (c >= '0' && c <= '9')
			v = v << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			v = v << 4 | (uint64_t)(c - 'a' + 10);
		else
			return false;
	}
	*id = v;
	return true;
}

static bool names_stream(enum preface_kind kind)
{
	return kind == PREFACE_PARK || kind == PREFACE_PARKED || kind == PREFACE_RESUME;
}

/* --- print --- */

static json_t *addrs_json(const struct preface *p)
{
	json_t *a = json_array();

	for (size_t i = 0; a && i < p->n_addrs; i++) {
		if (json_array_append_new(a, json_string(p->addrs[i])) == 0)
			continue;
		json_decref(a);
		return NULL;
	}
	return a;
}

/* Takes value over; NULL value: no memory, or text that is no UTF-8. */
static bool set(json_t *o, const char *key, json_t *value)
{
	return json_object_set_new(o, key, value) == 0;
}

static bool add_c2s(json_t *o, const struct preface *p)
{
	return set(o, "domain", json_string(p->domain)) &&
	       set(o, "client", json_string(p->client)) &&
	       set(o, "session", json_string(p->session)) &&
	       set(o, "tls", json_string(p->direct_tls ? "direct" : "starttls")) &&
	       (p->n_addrs == 0 || set(o, "certificate", addrs_json(p)));
}

static json_t *to_json(const struct preface *p)
{
	char id[PREFACE_ID_BYTES];
	json_t *o = json_object();
	bool good = o && set(o, "v", json_integer(PREFACE_VERSION)) &&
		    set(o, "kind", json_string(kinds[p->kind]));

	if (good && p->kind == PREFACE_C2S)
		good = add_c2s(o, p);
	if (good && p->kind == PREFACE_S2S)
		good = set(o, "local", json_string(p->local)) &&
		       set(o, "remote", json_string(p->remote));
	if (good && names_stream(p->kind))
		good = set(o, "stream", json_string(preface_id_str(p->stream, id)));
	if (good && p->kind == PREFACE_PARKED)
		good = set(o, "keep", json_boolean(p->keep));
	if (good)
		return o;
	json_decref(o);
	return NULL;
}

static bool is_domain(const char *text)
{
	char out[XMPP_DOMAIN_BYTES];

	return xmpp_domain(slice_of(text), out) && strcmp(out, text) == 0;
}

/* What the other side would take. */
static bool is_session(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!(s.p[i] >= '0' && s.p[i] <= '9') && !(s.p[i] >= 'a' && s.p[i] <= 'f'))
			return false;
	return s.n == 32;
}

/* Needs its port: it names one connection. */
static bool is_client(struct slice s)
{
	struct addr a;

	return addr_parse(s, 0, &a) && a.port > 0;
}

/* A bare or full address whose domain is one; the IM server compares it itself. */
static bool is_user(struct slice s)
{
	struct xmpp_jid j;

	return xmpp_jid_parse(s, &j) && j.local.n > 0;
}

static bool is_legal(const struct preface *p)
{
	if (p->kind == PREFACE_IDLE)
		return true;
	if (p->kind == PREFACE_S2S)
		return is_domain(p->local) && is_domain(p->remote);
	if (names_stream(p->kind))
		return p->stream != 0;
	if (p->kind != PREFACE_C2S || p->n_addrs > PREFACE_MAX_ADDRS)
		return false;
	for (size_t i = 0; i < p->n_addrs; i++)
		if (!is_user(slice_of(p->addrs[i])))
			return false;
	return is_domain(p->domain) && is_client(slice_of(p->client)) &&
	       is_session(slice_of(p->session));
}

int preface_print(const struct preface *p, struct buf *out)
{
	json_t *o;
	char *text;
	size_t n;

	if (!is_legal(p))
		return -EINVAL;
	o = to_json(p);
	text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	if (!text)
		return -ENOMEM;
	n = strlen(text);
	if (n <= PREFACE_MAX_BYTES) {
		buf_add_u32(out, (uint32_t)n);
		buf_add(out, text, n);
	}
	free(text);
	if (n > PREFACE_MAX_BYTES)
		return -EINVAL;
	return out->failed ? -ENOMEM : 0;
}

/* --- parse --- */

static struct slice text_of(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	if (!json_is_string(v))
		return (struct slice){ NULL, 0 };
	return (struct slice){ json_string_value(v), json_string_length(v) };
}

static bool take_domain(const json_t *o, const char *key, char out[XMPP_DOMAIN_BYTES])
{
	struct slice s = text_of(o, key);

	return s.n > 0 && slice_copy(out, XMPP_DOMAIN_BYTES, s) && is_domain(out);
}

static const char *take_addrs(const json_t *o, struct preface *out)
{
	const json_t *a = json_object_get(o, "certificate"), *v;
	size_t i;

	if (!a)
		return NULL;
	if (!json_is_array(a) || json_array_size(a) > PREFACE_MAX_ADDRS)
		return "certificate is no list of addresses";
	json_array_foreach((json_t *)a, i, v)
	{
		struct slice s = { json_string_value(v), json_string_length(v) };

		if (!json_is_string(v) || !slice_copy(out->addrs[i], sizeof(out->addrs[i]), s) ||
		    !is_user(s))
			return "certificate holds what is no address";
		out->n_addrs++;
	}
	return NULL;
}

static const char *take_c2s(const json_t *o, struct preface *out)
{
	struct slice client = text_of(o, "client"), session = text_of(o, "session");
	struct slice tls = text_of(o, "tls");

	if (!take_domain(o, "domain", out->domain))
		return "domain is none";
	if (!is_client(client) || !slice_copy(out->client, sizeof(out->client), client))
		return "client is no address";
	if (!is_session(session))
		return "session is no id";
	slice_copy(out->session, sizeof(out->session), session);
	out->direct_tls = slice_eq(tls, SLICE("direct"));
	if (!out->direct_tls && !slice_eq(tls, SLICE("starttls")))
		return "tls is neither direct nor starttls";
	return take_addrs(o, out);
}

static const char *take_stream(const json_t *o, struct preface *out)
{
	const json_t *keep = json_object_get(o, "keep");

	if (!preface_id_parse(text_of(o, "stream"), &out->stream))
		return "stream is no id";
	if (out->kind == PREFACE_PARKED && !json_is_boolean(keep))
		return "keep is neither true nor false";
	out->keep = out->kind == PREFACE_PARKED && json_is_true(keep);
	return NULL;
}

static const char *take(const json_t *o, struct preface *out)
{
	const json_t *v = json_object_get(o, "v");
	struct slice kind = text_of(o, "kind");
	size_t i = 0;

	if (!json_is_integer(v) || json_integer_value(v) != PREFACE_VERSION)
		return "unknown version";
	while (i < N_KINDS && !slice_eq(kind, slice_of(kinds[i])))
		i++;
	if (i == N_KINDS)
		return "unknown kind";
	out->kind = (enum preface_kind)i;
	if (out->kind == PREFACE_C2S)
		return take_c2s(o, out);
	if (names_stream(out->kind))
		return take_stream(o, out);
	if (out->kind != PREFACE_S2S)
		return NULL;
	if (!take_domain(o, "local", out->local) || !take_domain(o, "remote", out->remote))
		return "local or remote is no domain";
	return NULL;
}

int preface_parse(struct slice bytes, struct preface *out, const char **why)
{
	const unsigned char *p = (const unsigned char *)bytes.p;
	json_t *o;
	size_t n;

	memset(out, 0, sizeof(*out));
	if (bytes.n < 4)
		return 0;
	n = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
	if (n < 2 || n > PREFACE_MAX_BYTES) {
		*why = "the frame has an impossible length";
		return -EBADMSG;
	}
	if (bytes.n < 4 + n)
		return 0;
	o = json_strict_parse((struct slice){ bytes.p + 4, n }, 3, why);
	if (!o)
		return -EBADMSG;
	*why = take(o, out);
	json_decref(o);
	return *why ? -EBADMSG : (int)(4 + n);
}
