#include "core/dns_question.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/alarm.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/net.h"

#define STALE_RETRY_MS	 5000 /* between attempts while old answers are used */
#define FAILURE_RETRY_MS 1000 /* without an old answer (RFC 9520 section 3.2: at least 1 s) */
#define DEAD_AFTER	 3    /* failures in a row */
#define ALARM_DEAD	 "dns-dead"

struct question {
	struct htab_node node;
	struct dns *dns;
	struct list waiters;
	enum dns_type type;
	size_t key_n;
	char key[DNS_NAME_BYTES + 2]; /* name, NUL, type byte */
};

static struct slice question_key(const struct htab_node *node)
{
	const struct question *q = CONTAINER_OF(node, struct question, node);

	return (struct slice){ q->key, q->key_n };
}

int dns_questions_init(struct dns *d)
{
	uint8_t seed[16];

	net_random(seed, sizeof(seed));
	return htab_init(&d->questions, seed, question_key);
}

void dns_questions_fini(struct dns *d)
{
	htab_fini(&d->questions);
}

static void servers_answer(struct dns *d)
{
	d->n_failed_in_a_row = 0;
	if (!d->alarmed)
		return;
	d->alarmed = false;
	if (d->alarms)
		alarm_clear(d->alarms, ALARM_DEAD, "");
	log_info(d->log, "dns.alive", "servers=answer");
}

static void servers_fail(struct dns *d, const char *name, int status, bool stale_used)
{
	d->stats.n_failures++;
	d->n_failed_in_a_row++;
	if (!stale_used && d->n_failed_in_a_row < DEAD_AFTER)
		return;
	if (!d->alarmed)
		log_warn(d->log, "dns.dead", "name=%s error=%s", log_esc(slice_of(name)),
			 strerror(-status));
	d->alarmed = true;
	if (d->alarms)
		alarm_raise(
			d->alarms, ALARM_DEAD, "", ALARM_ERROR,
			"check the DNS servers ([dns] servers, or /etc/resolv.conf) and the way "
			"to them",
			"DNS does not answer (%s, %u failures in a row); old answers are used "
			"where there are any",
			strerror(-status), d->n_failed_in_a_row);
}

static void answer_waiters(struct question *q, const struct dns_answer *answer, bool stale)
{
	struct dns *d = q->dns;

	/* Each callback may ask, leave, or end others: take one at a time. */
	while (!list_empty(&q->waiters)) {
		struct dns_waiter *w =
			CONTAINER_OF(list_first(&q->waiters), struct dns_waiter, node);

		list_del(&w->node);
		if (stale)
			d->stats.n_stale++;
		w->done(w, answer, stale);
	}
}

static void ask_servers(struct question *q);

static void on_message(int status, struct slice message, void *arg)
{
	struct question *q = arg;
	struct dns *d = q->dns;
	int64_t now_ms = loop_now_ms(d->loop);
	struct slice name = slice_of(q->key);
	struct dns_answer answer = { .status = status };
	const struct dns_answer *old;
	enum dns_cache_state state;
	bool stale = false;

	if (status == -ECANCELED && !d->closing) {
		ask_servers(q); /* other servers now */
		return;
	}
	htab_del(&d->questions, &q->node);
	if (message.n > 0 && dns_answer_parse(message, q->type, &answer) < 0)
		status = -EAGAIN;
	if (status != 0) {
		answer.status = status;
		answer.n = 0;
	}
	if (d->closing) {
		/* dns_free(): nobody waits any more. */
	} else if (status == 0 || status == -ENOENT) {
		servers_answer(d);
		dns_cache_put(d->cache, name, q->type, &answer, now_ms);
		answer_waiters(q, &answer, false);
	} else {
		state = dns_cache_get(d->cache, name, q->type, now_ms, &old);
		stale = state == DNS_CACHE_STALE || state == DNS_CACHE_STALE_NOW;
		if (stale)
			memcpy(&answer, old,
			       offsetof(struct dns_answer, records) +
				       old->n * sizeof(old->records[0]));
		dns_cache_failed(d->cache, name, q->type, status, now_ms,
				 stale ? STALE_RETRY_MS : FAILURE_RETRY_MS);
		servers_fail(d, q->key, status, stale);
		answer_waiters(q, &answer, stale);
	}
	free(q);
}

static void ask_servers(struct question *q)
{
	q->dns->stats.n_queries++;
	dns_channel_ask(q->dns->channel, q->key, q->type, on_message, q);
}

static void fail(struct dns_waiter *w, int status)
{
	struct dns_answer failure = { .status = status };

	w->done(w, &failure, false);
}

static struct question *question_new(struct dns *d, const char *name, enum dns_type type)
{
	struct question *q = calloc(1, sizeof(*q));
	size_t n = strlen(name);

	if (!q)
		return NULL;
	for (size_t i = 0; i < n; i++)
		q->key[i] = (char)tolower((unsigned char)name[i]);
	q->key[n + 1] = (char)type;
	q->key_n = n + 2;
	q->dns = d;
	q->type = type;
	list_init(&q->waiters);
	return q;
}

static void join(struct dns *d, struct dns_waiter *w, const char *name, enum dns_type type)
{
	struct question *q = question_new(d, name, type);
	struct htab_node *node;

	if (!q) {
		fail(w, -ENOMEM);
		return;
	}
	node = htab_get(&d->questions, question_key(&q->node));
	if (node) {
		free(q);
		q = CONTAINER_OF(node, struct question, node);
		list_add_tail(&q->waiters, &w->node);
		return;
	}
	if (d->questions.n >= DNS_MAX_QUESTIONS || !d->channel) {
		free(q);
		fail(w, -EAGAIN);
		return;
	}
	list_add_tail(&q->waiters, &w->node);
	htab_add(&d->questions, &q->node);
	ask_servers(q);
}

void dns_question_ask(struct dns *d, struct dns_waiter *w, const char *name, enum dns_type type)
{
	const struct dns_answer *cached;
	enum dns_cache_state state;

	list_init(&w->node);
	state = dns_cache_get(d->cache, slice_of(name), type, loop_now_ms(d->loop), &cached);
	if (state != DNS_CACHE_FRESH && state != DNS_CACHE_STALE_NOW) {
		join(d, w, name, type);
		return;
	}
	d->stats.n_cache_hits++;
	if (state == DNS_CACHE_STALE_NOW)
		d->stats.n_stale++;
	w->done(w, cached, state == DNS_CACHE_STALE_NOW);
}

void dns_question_leave(struct dns_waiter *w)
{
	list_del(&w->node);
}
