#include "signin/item.h"

#include <stdlib.h>

#include <openssl/crypto.h>

#include "signin/basic.h"
#include "signin/name.h"

#define MAX_FIELD_BYTES 2048 /* as in proto/digest */

static const char *const statuses[] = {
	[SIGNIN_OK] = "ok",
	[SIGNIN_DENIED] = "denied",
	[SIGNIN_NO_DOMAIN] = "no-domain",
	[SIGNIN_TOO_MANY] = "too-many",
	[SIGNIN_UNAVAILABLE] = "unavailable",
	[SIGNIN_BAD_REQUEST] = "bad-request",
};

enum { N_STATUSES = sizeof(statuses) / sizeof(statuses[0]) };

const char *signin_status_str(enum signin_status s)
{
	return (unsigned)s < N_STATUSES ? statuses[s] : "unknown";
}

/* p NULL when it is absent or no string. */
static struct slice text_of(const json_t *item, const char *key)
{
	const json_t *v = json_object_get(item, key);

	return json_is_string(v) ? (struct slice){ json_string_value(v), json_string_length(v) }
				 : SLICE_NONE;
}

static bool number_of(const json_t *item, const char *key, json_int_t max, uint32_t *out)
{
	const json_t *v = json_object_get(item, key);
	json_int_t n = json_integer_value(v);

	if (!json_is_integer(v) || n < 0 || n > max)
		return false;
	*out = (uint32_t)n;
	return true;
}

static bool address_of(const json_t *item, const char *key, struct addr *out)
{
	struct slice text = text_of(item, key);

	return text.p && addr_parse_ip(text, 0, out);
}

static json_t *from_slice(struct slice s)
{
	return json_stringn(s.p ? s.p : "", s.n);
}

json_t *signin_item_session(const struct signin_session *s, uint32_t age_s)
{
	char from[ADDR_STR_BYTES];

	return json_pack("{ss,ss,ss,sI,sI,ss}", "id", s->id, "domain", s->domain, "user", s->user,
			 "life_s", (json_int_t)s->life_s, "age_s", (json_int_t)age_s, "from",
			 addr_ip_str(&s->from, from));
}

bool signin_item_session_read(const char *key, const json_t *item, struct signin_session *out,
			      uint32_t *age_s, const char **why)
{
	struct slice token = slice_of(key), id = text_of(item, "id");
	struct slice domain = text_of(item, "domain"), user = text_of(item, "user");

	*out = (struct signin_session){ 0 };
	*why = "the token is no UUID";
	if (!signin_token_valid(token))
		return false;
	*why = "id, domain or user of the session is malformed";
	if (!signin_id_valid(id) || !signin_domain_valid(domain) || !signin_user_valid(user))
		return false;
	*why = "life, age or source of the session is malformed";
	if (!number_of(item, "life_s", SIGNIN_MAX_LIFE_S, &out->life_s) || out->life_s == 0 ||
	    !number_of(item, "age_s", out->life_s, age_s) || !address_of(item, "from", &out->from))
		return false;
	slice_copy(out->token, sizeof(out->token), token);
	slice_copy(out->id, sizeof(out->id), id);
	slice_copy(out->domain, sizeof(out->domain), domain);
	slice_copy(out->user, sizeof(out->user), user);
	return true;
}

json_t *signin_item_domain(const struct signin_domain *d)
{
	return json_pack("{sb,sb,sb,sb}", "web", d->web, "sip", d->sip, "sip_signin", d->sip_signin,
			 "im", d->im);
}

static bool flag_of(const json_t *item, const char *key, bool *out)
{
	const json_t *v = json_object_get(item, key);

	*out = json_is_true(v);
	return json_is_boolean(v);
}

bool signin_item_domain_read(const char *key, const json_t *item, struct signin_domain *out,
			     const char **why)
{
	*out = (struct signin_domain){ 0 };
	*why = "the name is no domain in lower case";
	if (!signin_domain_valid(slice_of(key)))
		return false;
	*why = "the domain's web, sip, sip_signin and im are not all there";
	slice_copy(out->name, sizeof(out->name), slice_of(key));
	return flag_of(item, "web", &out->web) && flag_of(item, "sip", &out->sip) &&
	       flag_of(item, "sip_signin", &out->sip_signin) && flag_of(item, "im", &out->im);
}

json_t *signin_item_asked(const struct signin_asked *a)
{
	char from[ADDR_STR_BYTES];

	return json_pack("{so,so,ss}", "domain", from_slice(a->domain), "authorization",
			 from_slice(a->authorization), "from", addr_ip_str(&a->from, from));
}

bool signin_item_asked_read(const json_t *item, struct signin_asked *out, const char **why)
{
	*out = (struct signin_asked){ .domain = text_of(item, "domain"),
				      .authorization = text_of(item, "authorization") };
	*why = "domain, authorization or from is malformed";
	return out->domain.n > 0 && out->domain.n < SIGNIN_DOMAIN_BYTES &&
	       out->authorization.n > 0 && out->authorization.n <= SIGNIN_AUTHORIZATION_BYTES &&
	       address_of(item, "from", &out->from);
}

void signin_item_asked_wipe(json_t *item)
{
	struct slice s = text_of(item, "authorization");

	if (s.n > 0)
		OPENSSL_cleanse((void *)(uintptr_t)s.p, s.n);
}

json_t *signin_item_digest(struct slice domain, const struct digest_response *r,
			   struct slice method)
{
	if (r->algorithm == DIGEST_UNKNOWN)
		return NULL;
	return json_pack("{so,so,so,so,so,so,so,so,so,ss,sb}", "domain", from_slice(domain),
			 "username", from_slice(r->username), "realm", from_slice(r->realm),
			 "nonce", from_slice(r->nonce), "uri", from_slice(r->uri), "response",
			 from_slice(r->response), "cnonce", from_slice(r->cnonce), "nc",
			 from_slice(r->nc), "method", from_slice(method), "algorithm",
			 r->algorithm == DIGEST_MD5 ? "MD5" : "SHA-256", "qop", r->qop_auth);
}

static bool field_of(const json_t *item, const char *key, struct slice *out)
{
	*out = text_of(item, key);
	return out->p && out->n <= MAX_FIELD_BYTES;
}

bool signin_item_digest_read(const json_t *item, struct slice *domain, struct digest_response *r,
			     struct slice *method, const char **why)
{
	struct slice algorithm;

	*r = (struct digest_response){ 0 };
	*why = "a field of the digest is malformed";
	if (!field_of(item, "domain", domain) || !field_of(item, "username", &r->username) ||
	    !field_of(item, "realm", &r->realm) || !field_of(item, "nonce", &r->nonce) ||
	    !field_of(item, "uri", &r->uri) || !field_of(item, "response", &r->response) ||
	    !field_of(item, "cnonce", &r->cnonce) || !field_of(item, "nc", &r->nc) ||
	    !field_of(item, "method", method) || !field_of(item, "algorithm", &algorithm) ||
	    !flag_of(item, "qop", &r->qop_auth))
		return false;
	r->algorithm = slice_eq(algorithm, SLICE("MD5"))       ? DIGEST_MD5
		       : slice_eq(algorithm, SLICE("SHA-256")) ? DIGEST_SHA256
							       : DIGEST_UNKNOWN;
	return r->algorithm != DIGEST_UNKNOWN && r->username.n > 0 &&
	       signin_text_valid(r->username) && r->realm.n > 0 && r->nonce.n > 0;
}

static bool add_session(json_t *out, const struct signin_session *s, uint32_t age_s,
			bool with_token)
{
	if (!with_token)
		return json_object_set_new(out, "id", json_string(s->id)) == 0;
	return json_object_set_new(out, "token", json_string(s->token)) == 0 &&
	       json_object_set_new(out, "session", signin_item_session(s, age_s)) == 0;
}

json_t *signin_item_answer(enum signin_status status, uint32_t retry_after_s, const char *why,
			   const struct signin_session *s, uint32_t age_s, bool with_token)
{
	json_t *out =
		json_pack("{ss,ss}", "status", signin_status_str(status), "why", why ? why : "");
	bool good = out;

	if (good && retry_after_s)
		good = json_object_set_new(out, "retry_after", json_integer(retry_after_s)) == 0;
	if (good && s)
		good = add_session(out, s, age_s, with_token);
	if (good)
		return out;
	json_decref(out);
	return NULL;
}

bool signin_item_answer_read(const json_t *item, struct signin_answer *out)
{
	struct slice status = text_of(item, "status"), id = text_of(item, "id");
	const json_t *session = json_object_get(item, "session");
	const char *why;
	int i;

	*out = (struct signin_answer){ 0 };
	for (i = 0; i < N_STATUSES && !slice_eq(status, slice_of(statuses[i])); i++)
		;
	if (i == N_STATUSES)
		return false;
	out->status = (enum signin_status)i;
	slice_copy(out->why, sizeof(out->why), text_of(item, "why"));
	if (json_object_get(item, "retry_after") &&
	    !number_of(item, "retry_after", SIGNIN_MAX_RETRY_S, &out->retry_after_s))
		return false;
	if (id.p && !signin_id_valid(id))
		return false;
	slice_copy(out->id, sizeof(out->id), id);
	out->has_session = session;
	return !session ||
	       signin_item_session_read(json_string_value(json_object_get(item, "token")), session,
					&out->session, &out->age_s, &why);
}
