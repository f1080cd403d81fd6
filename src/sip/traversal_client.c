#include "sip/traversal_client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const char *tc_state_str(enum tc_state s)
{
	static const char *const names[] = { "Off", "Failed", "Checking", "Checking", "Active" };

	return names[s];
}

static void set_state(struct traversal_client *c, enum tc_state state, const char *reason)
{
	enum tc_state old = c->state;

	c->state = state;
	slice_copy(c->reason, sizeof(c->reason), slice_of(reason));
	if (state != TC_PROVING && state != TC_ACTIVE)
		timer_stop(c->timers, &c->answer);
	if (state != TC_ACTIVE)
		timer_stop(c->timers, &c->keepalive);
	if (state != TC_WAITING)
		timer_stop(c->timers, &c->retry);
	c->ops->changed(c->arg, old, state, c->reason);
}

/* Full jitter: anywhere between the minimum and a ceiling that doubles with each failure, so that
 * many cores that lost one edge do not come back together. */
static uint32_t backoff(struct traversal_client *c)
{
	uint64_t ceiling = c->conf.retry_min_ms;
	uint32_t span;

	for (uint32_t i = 0; i < c->n_failures && ceiling < c->conf.retry_max_ms; i++)
		ceiling *= 2;
	if (ceiling > c->conf.retry_max_ms)
		ceiling = c->conf.retry_max_ms;
	span = (uint32_t)ceiling - c->conf.retry_min_ms;
	return c->conf.retry_min_ms + (span ? c->ops->random(c->arg) % (span + 1) : 0);
}

static void lost(struct traversal_client *c, const char *why)
{
	uint32_t wait = backoff(c);

	c->n_failures++;
	set_state(c, TC_WAITING, why);
	timer_start(c->timers, &c->retry, wait);
}

static void fail(struct traversal_client *c, const char *why)
{
	c->ops->hangup(c->arg, why);
	lost(c, why);
}

static void dial(void *arg)
{
	struct traversal_client *c = arg;
	char keep[sizeof(c->reason)];
	int err;

	/* The last reason stays in view while the next try runs. */
	memcpy(keep, c->reason, sizeof(keep));
	set_state(c, TC_DIALING, keep);
	err = c->ops->dial(c->arg);
	if (err < 0 && c->state == TC_DIALING) {
		char why[96];

		snprintf(why, sizeof(why), "cannot connect: %s", strerror(-err));
		lost(c, keep[0] && err == -EAGAIN ? keep : why);
	}
}

static void probe(struct traversal_client *c, const char *authorization)
{
	timer_start(c->timers, &c->answer, c->conf.answer_ms);
	if (c->ops->options(c->arg, authorization) < 0)
		fail(c, "cannot send OPTIONS");
}

static void on_keepalive(void *arg)
{
	struct traversal_client *c = arg;

	c->challenged = false;
	probe(c, NULL);
}

static void on_no_answer(void *arg)
{
	struct traversal_client *c = arg;
	char why[96];

	snprintf(why, sizeof(why), "no answer to OPTIONS in %u ms", c->conf.answer_ms);
	fail(c, why);
}

void tc_init(struct traversal_client *c, struct timerq *timers, const struct tc_conf *conf,
	     const struct tc_ops *ops, void *arg)
{
	*c = (struct traversal_client){ .conf = *conf, .ops = ops, .arg = arg, .timers = timers };
	timer_init(&c->retry, dial, c);
	timer_init(&c->answer, on_no_answer, c);
	timer_init(&c->keepalive, on_keepalive, c);
}

void tc_configure(struct traversal_client *c, const struct tc_conf *conf)
{
	c->conf = *conf;
}

void tc_start(struct traversal_client *c)
{
	if (c->state == TC_OFF)
		dial(c);
}

void tc_stop(struct traversal_client *c)
{
	if (c->state == TC_OFF)
		return;
	if (c->state != TC_WAITING)
		c->ops->hangup(c->arg, "switched off");
	set_state(c, TC_OFF, "");
}

void tc_opened(struct traversal_client *c)
{
	if (c->state != TC_DIALING)
		return;
	set_state(c, TC_PROVING, "");
	c->challenged = false;
	probe(c, NULL);
}

void tc_closed(struct traversal_client *c, const char *why)
{
	if (c->state != TC_OFF && c->state != TC_WAITING)
		lost(c, why);
}

/* The best challenge on offer: SHA-256 before MD5 (RFC 8760 2.4). */
static bool pick_challenge(const struct sip_msg *m, struct digest_challenge *best)
{
	const struct sip_hdr *h = NULL;
	bool found = false;

	while ((h = sip_msg_next(m, SIP_HDR_WWW_AUTHENTICATE, h))) {
		struct digest_challenge ch;

		if (!digest_challenge_parse(h->value, &ch) || ch.algorithm == DIGEST_UNKNOWN ||
		    !ch.qop_auth)
			continue;
		if (!found || (best->algorithm == DIGEST_MD5 && ch.algorithm == DIGEST_SHA256))
			*best = ch;
		found = true;
	}
	return found;
}

static void on_challenge(struct traversal_client *c, const struct sip_msg *m)
{
	struct digest_challenge ch;
	struct buf value;
	char cnonce[24];

	if (!pick_challenge(m, &ch)) {
		fail(c,
		     "peer asks for a digest that we do not have (SHA-256 and MD5 with qop=auth)");
		return;
	}
	if (c->challenged && !ch.stale) {
		fail(c, "peer refused username or password");
		return;
	}
	c->challenged = true;
	snprintf(cnonce, sizeof(cnonce), "%08x%08x", c->ops->random(c->arg),
		 c->ops->random(c->arg));
	buf_init(&value, 2048);
	digest_response_print(&value, &ch, slice_of(c->conf.username), slice_of(c->conf.password),
			      SLICE("OPTIONS"), slice_of(c->conf.uri), slice_of(cnonce), 1);
	if (value.failed)
		fail(c, "challenge too long");
	else
		probe(c, value.p);
	buf_fini(&value);
}

void tc_answer(struct traversal_client *c, const struct sip_msg *m, const char *why)
{
	char text[160];

	if (c->state != TC_PROVING && c->state != TC_ACTIVE)
		return;
	timer_stop(c->timers, &c->answer);
	if (!m) {
		fail(c, why);
		return;
	}
	if (m->status == 401) {
		on_challenge(c, m);
		return;
	}
	if (m->status == 503 && c->state == TC_ACTIVE) {
		/* Busy, and alive. */
		timer_start(c->timers, &c->keepalive, c->conf.keepalive_ms);
		return;
	}
	if (m->status >= 300) {
		struct slice warning = sip_msg_hdr(m, SIP_HDR_WARNING);

		snprintf(text, sizeof(text), "peer answered %d %.*s%s%.*s", m->status,
			 SLICE_ARG(m->phrase), warning.n ? ": " : "", SLICE_ARG(warning));
		fail(c, text);
		return;
	}
	if (c->state != TC_ACTIVE) {
		c->n_failures = 0;
		set_state(c, TC_ACTIVE, "");
	}
	timer_start(c->timers, &c->keepalive, c->conf.keepalive_ms);
}
