/* The engine: what all fronts share. */
#include <stdlib.h>

#include "http/http_impl.h"

#define OUT_MAX_BYTES (512 * 1024)

struct http_engine *http_engine_new(struct timerq *timers, struct conn_table *conns,
				    const struct http_engine_conf *conf,
				    const struct http_engine_ops *ops, void *arg)
{
	struct http_engine *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->timers = timers;
	e->conns = conns;
	e->conf = *conf;
	e->ops = ops;
	e->arg = arg;
	e->date_s = -1;
	list_init(&e->fronts);
	buf_init(&e->out, OUT_MAX_BYTES);
	buf_init(&e->extra, OUT_MAX_BYTES);
	return e;
}

void http_engine_free(struct http_engine *e)
{
	if (!e)
		return;
	while (!list_empty(&e->fronts))
		http_front_close(CONTAINER_OF(e->fronts.next, struct http_front, node),
				 "shutting down");
	buf_fini(&e->out);
	buf_fini(&e->extra);
	free(e);
}

/* Each front once. A callback may end any of them, so the ring is turned rather than walked. */
static void run_all(struct http_engine *e)
{
	size_t n = 0;

	LIST_FOREACH (it, &e->fronts) {
		n++;
	}
	for (; n > 0 && !list_empty(&e->fronts); n--) {
		struct list *it = e->fronts.next;

		list_del(it);
		list_add_tail(&e->fronts, it);
		front_run(CONTAINER_OF(it, struct http_front, node));
	}
}

void http_engine_configure(struct http_engine *e, const struct http_engine_conf *conf)
{
	e->conf = *conf;
	run_all(e);
}

void http_engine_drain(struct http_engine *e)
{
	e->draining = true;
	run_all(e);
}

size_t http_engine_busy(const struct http_engine *e)
{
	return e->n_busy;
}

struct http_engine_stats http_engine_stats(const struct http_engine *e)
{
	return e->stats;
}
