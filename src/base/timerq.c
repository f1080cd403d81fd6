#include "base/timerq.h"

void timerq_init(struct timerq *q, int64_t now_ms)
{
	*q = (struct timerq){ .now_ms = now_ms };
}

void timer_init(struct timer *t, void (*fire)(void *arg), void *arg)
{
	*t = (struct timer){ .fire = fire, .arg = arg };
}

static bool before(const struct timer *a, const struct timer *b)
{
	return a->due_ms < b->due_ms || (a->due_ms == b->due_ms && a->order < b->order);
}

/* Two trees into one: the later root becomes the first child of the earlier. */
static struct timer *meld(struct timer *a, struct timer *b)
{
	struct timer *t;

	if (!a || !b)
		return a ? a : b;
	if (before(b, a)) {
		t = a;
		a = b;
		b = t;
	}
	b->sibling = a->child;
	if (b->sibling)
		b->sibling->back = b;
	b->back = a;
	a->child = b;
	return a;
}

/* The children of a root that goes: paired from left to right, then melded from right to left.
 * Without recursion, since a row of siblings may be long. */
static struct timer *merge_pairs(struct timer *first)
{
	struct timer *pairs = NULL, *root = NULL, *a, *b;

	while (first) {
		a = first;
		b = a->sibling;
		first = b ? b->sibling : NULL;
		a->sibling = a->back = NULL;
		if (b)
			b->sibling = b->back = NULL;
		a = meld(a, b);
		a->sibling = pairs;
		pairs = a;
	}
	while (pairs) {
		a = pairs;
		pairs = a->sibling;
		a->sibling = NULL;
		root = meld(root, a);
	}
	return root;
}

void timer_stop(struct timerq *q, struct timer *t)
{
	struct timer *rest;

	if (!t->armed)
		return;
	if (t->back) {
		if (t->back->child == t)
			t->back->child = t->sibling;
		else
			t->back->sibling = t->sibling;
		if (t->sibling)
			t->sibling->back = t->back;
		rest = q->root;
	} else {
		rest = NULL;
	}
	q->root = meld(rest, merge_pairs(t->child));
	t->child = t->sibling = t->back = NULL;
	t->armed = false;
	q->n--;
}

void timerq_fini(struct timerq *q)
{
	while (q->root)
		timer_stop(q, q->root);
}

void timer_start(struct timerq *q, struct timer *t, int64_t delay_ms)
{
	timer_stop(q, t);
	if (__builtin_add_overflow(q->now_ms, delay_ms > 0 ? delay_ms : 0, &t->due_ms))
		t->due_ms = INT64_MAX;
	t->order = q->next_order++;
	t->armed = true;
	q->root = meld(q->root, t);
	q->n++;
}

int64_t timer_left(const struct timerq *q, const struct timer *t)
{
	if (!t->armed)
		return -1;
	return t->due_ms > q->now_ms ? t->due_ms - q->now_ms : 0;
}

void timerq_set_now(struct timerq *q, int64_t now_ms)
{
	if (now_ms > q->now_ms)
		q->now_ms = now_ms;
}

void timerq_run(struct timerq *q, int64_t now_ms)
{
	uint64_t order;

	timerq_set_now(q, now_ms);
	/* A timer that callbacks arm with delay 0 waits for the next run: no endless turn. */
	order = q->next_order;
	while (q->root && q->root->due_ms <= q->now_ms && q->root->order < order) {
		struct timer *t = q->root;

		timer_stop(q, t);
		t->fire(t->arg);
	}
}

int64_t timerq_next(const struct timerq *q)
{
	if (!q->root)
		return -1;
	return q->root->due_ms > q->now_ms ? q->root->due_ms - q->now_ms : 0;
}
