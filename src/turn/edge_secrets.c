/*
 * Secrets that each C gives (control table "turn-secrets", docs/protocol/control.md): id ->
 * {"secret": base64, "left": seconds that it lives on}. C is trusted to say who may use the server,
 * but every item is checked for its form, and no C takes the room of another. How long it lives is
 * counted here and not read from a clock: those of both boxes may be set while it lives.
 */
#include <string.h>

#include <openssl/crypto.h>

#include "base/base64.h"
#include "core/log.h"
#include "core/loop.h"
#include "turn/core_side.h"
#include "turn/edge_side.h"

#define SKEW_TOLERANCE_MS 500
#define MAX_LEFT_S	  (30 * 86400) /* C makes them for two weeks at most */

static int64_t skew_of(const struct turn_edge *e, tunnel_peer peer)
{
	struct tunnel_peer_info info;

	for (size_t i = 0; e->tunnel->peer(e->tunnel_self, i, &info); i++)
		if (info.id == peer)
			return info.skew_ms;
	return 0;
}

static struct turn_edge_secret *find(struct turn_edge *e, tunnel_peer peer, const char *id)
{
	for (size_t i = 0; i < TURN_C_SECRETS; i++)
		if (e->secrets[i].peer == peer && strcmp(e->secrets[i].id, id) == 0)
			return &e->secrets[i];
	return NULL;
}

static struct turn_edge_secret *take_place(struct turn_edge *e, tunnel_peer peer, const char *id)
{
	struct turn_edge_secret *s = find(e, peer, id);
	size_t n = 0;

	for (size_t i = 0; i < TURN_C_SECRETS; i++)
		n += e->secrets[i].peer == peer;
	return s || n >= TURN_SECRETS_OF_C ? s : find(e, 0, "");
}

static void drop(struct turn_edge *e, struct turn_edge_secret *s)
{
	turn_credentials_del_secret(e->credentials, s->peer, slice_of(s->id));
	OPENSSL_cleanse(s, sizeof(*s));
}

static int enter(struct turn_edge *e, struct turn_edge_secret *s)
{
	s->skew_ms = skew_of(e, s->peer);
	return turn_credentials_put_secret(e->credentials, s->peer, slice_of(s->id),
					   (struct slice){ (const char *)s->secret, s->n },
					   s->skew_ms);
}

/* Fills s but for peer and skew; false: not the form it must have. */
static bool read_item(const char *key, const json_t *item, int64_t now_ms,
		      struct turn_edge_secret *s)
{
	const json_t *left = json_object_get(item, "left");
	json_int_t left_s = json_integer_value(left);
	const char *secret = json_string_value(json_object_get(item, "secret"));
	long n = secret ? base64_decode(slice_of(secret), s->secret, sizeof(s->secret)) : -1;

	s->n = n > 0 ? (uint8_t)n : 0;
	left_s = left_s < 0 ? 0 : left_s < MAX_LEFT_S ? left_s : MAX_LEFT_S;
	s->until_ms = now_ms + left_s * 1000;
	return n > 0 && json_is_integer(left) && left_s > 0 && key[0] &&
	       slice_copy(s->id, sizeof(s->id), slice_of(key));
}

static void on_put(void *arg, tunnel_peer from, const char *key, const json_t *item)
{
	struct turn_edge *e = arg;
	struct turn_edge_secret fresh = { .peer = from }, *place;
	const char *why = NULL;

	if (!from || !read_item(key, item, loop_now_ms(e->env->loop), &fresh)) {
		why = "malformed";
	} else if (!(place = take_place(e, from, fresh.id))) {
		why = "too many secrets";
	} else {
		*place = fresh;
		if (enter(e, place) < 0) {
			drop(e, place);
			why = "no room for it";
		}
	}
	if (why)
		log_warn(e->env->log, "turn.secret", "peer=%u reason=\"%s\"", from, why);
	OPENSSL_cleanse(&fresh, sizeof(fresh));
}

static void on_del(void *arg, tunnel_peer from, const char *key)
{
	struct turn_edge *e = arg;
	struct turn_edge_secret *s = from ? find(e, from, key) : NULL;

	if (s)
		drop(e, s);
}

static void on_reset(void *arg, tunnel_peer from)
{
	struct turn_edge *e = arg;

	for (size_t i = 0; i < TURN_C_SECRETS; i++)
		if (e->secrets[i].peer == from)
			drop(e, &e->secrets[i]);
	turn_credentials_reset(e->credentials, from);
}

static const struct tunnel_sink sink = { .reset = on_reset, .put = on_put, .del = on_del };

int turn_edge_secrets_start(struct turn_edge *e)
{
	if (!e->tunnel)
		return 0;
	return e->tunnel->subscribe(e->tunnel_self, TURN_TABLE_SECRETS, &sink, e);
}

void turn_edge_secrets_look(struct turn_edge *e, int64_t now_ms)
{
	for (size_t i = 0; i < TURN_C_SECRETS; i++) {
		struct turn_edge_secret *s = &e->secrets[i];
		int64_t skew;

		if (!s->peer)
			continue;
		skew = skew_of(e, s->peer);
		/* Longer than C said: it went away without taking it back. */
		if (now_ms >= s->until_ms)
			drop(e, s);
		else if (skew - s->skew_ms > SKEW_TOLERANCE_MS ||
			 s->skew_ms - skew > SKEW_TOLERANCE_MS)
			enter(e, s);
	}
}
