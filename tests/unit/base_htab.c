#include "base/htab.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/list.h"
#include "base/siphash.h"
#include "support/alloc_fail.h"

struct item {
	struct htab_node node;
	char name[16];
	bool seen;
};

static const uint8_t seed[16] = "0123456789abcde";

static struct slice item_key(const struct htab_node *n)
{
	return slice_of(CONTAINER_OF(n, struct item, node)->name);
}

static struct item *get(const struct htab *t, const char *name)
{
	struct htab_node *n = htab_get(t, slice_of(name));

	return n ? CONTAINER_OF(n, struct item, node) : NULL;
}

/* The reference vectors of the SipHash paper's implementation: key 00..0f, input 00 01 02 ... */
static void test_siphash(void **state)
{
	static const uint64_t want[] = { 0x726fdb47dd0e0e31, 0x74f839c593dc67fd, 0x0d6c8009d9a94f5a,
					 0x85676696d7fb7e2d };
	uint8_t key[16], in[16];

	for (uint8_t i = 0; i < 16; i++)
		key[i] = in[i] = i;
	for (size_t n = 0; n < 4; n++)
		assert_int_equal(siphash(key, in, n), want[n]);
	assert_int_equal(siphash(key, in, 15), 0xa129ca6149be45e5);
	assert_int_equal(siphash(key, in, 8), 0x93f5f5799a932462);
}

enum { N_ITEMS = 1000 };

static void fill(struct htab *t, struct item *items)
{
	for (int i = 0; i < N_ITEMS; i++) {
		snprintf(items[i].name, sizeof(items[i].name), "item%d", i);
		htab_add(t, &items[i].node);
	}
}

static void test_add_get_del(void **state)
{
	struct item *items = calloc(N_ITEMS, sizeof(*items));
	struct htab t;

	assert_int_equal(htab_init(&t, seed, item_key), 0);
	assert_null(htab_first(&t));
	assert_null(get(&t, "item0"));
	fill(&t, items);
	assert_int_equal(t.n, N_ITEMS);
	assert_true(t.n_slots >= N_ITEMS / 2);
	for (int i = 0; i < N_ITEMS; i++)
		assert_ptr_equal(get(&t, items[i].name), &items[i]);
	assert_null(get(&t, "item1000"));
	assert_null(htab_get(&t, SLICE_NONE));
	for (int i = 0; i < N_ITEMS; i += 2)
		htab_del(&t, &items[i].node);
	assert_int_equal(t.n, N_ITEMS / 2);
	for (int i = 0; i < N_ITEMS; i++)
		assert_ptr_equal(get(&t, items[i].name), i % 2 ? &items[i] : NULL);
	/* Not inside any more: no effect. */
	htab_del(&t, &items[0].node);
	assert_int_equal(t.n, N_ITEMS / 2);
	htab_fini(&t);
	assert_null(htab_first(&t));
	htab_fini(&t);
	free(items);
}

static void test_walk(void **state)
{
	struct item *items = calloc(N_ITEMS, sizeof(*items));
	struct htab t;
	int n = 0;

	assert_int_equal(htab_init(&t, seed, item_key), 0);
	fill(&t, items);
	HTAB_FOREACH (it, &t) {
		struct item *item = CONTAINER_OF(it, struct item, node);

		assert_false(item->seen);
		item->seen = true;
		n++;
	}
	assert_int_equal(n, N_ITEMS);
	HTAB_FOREACH_SAFE (it, &t) {
		htab_del(&t, it);
		memset(it, 0xa5, sizeof(*it));
		n--;
	}
	assert_int_equal(n, 0);
	assert_int_equal(t.n, 0);
	assert_null(htab_first(&t));
	htab_fini(&t);
	free(items);
}

static void test_same_key(void **state)
{
	struct item items[5] = { 0 };
	struct htab_node *n;
	struct htab t;
	int found = 0;

	assert_int_equal(htab_init(&t, seed, item_key), 0);
	for (int i = 0; i < 5; i++) {
		strcpy(items[i].name, i == 3 ? "other" : "same");
		htab_add(&t, &items[i].node);
	}
	for (n = htab_get(&t, SLICE("same")); n; n = htab_get_next(&t, n))
		found++;
	assert_int_equal(found, 4);
	htab_del(&t, &items[1].node);
	found = 0;
	for (n = htab_get(&t, SLICE("same")); n; n = htab_get_next(&t, n)) {
		assert_ptr_not_equal(n, &items[1].node);
		found++;
	}
	assert_int_equal(found, 3);
	assert_null(htab_get_next(&t, htab_get(&t, SLICE("other"))));
	htab_fini(&t);
}

/* Growing may fail: then chains get longer, and every element is still found. */
static void run_fill(void *arg)
{
	struct item *items = arg;
	struct htab t;
	int err = htab_init(&t, seed, item_key);

	if (err == 0) {
		fill(&t, items);
		assert_int_equal(t.n, N_ITEMS);
		for (int i = 0; i < N_ITEMS; i++)
			assert_ptr_equal(get(&t, items[i].name), &items[i]);
	} else {
		assert_int_equal(err, -ENOMEM);
		assert_true(alloc_fail_hit());
	}
	htab_fini(&t);
}

static void test_no_memory(void **state)
{
	struct item *items = calloc(N_ITEMS, sizeof(*items));

	assert_true(alloc_fail_sweep(run_fill, items) > 5);
	free(items);
}

static void test_list(void **state)
{
	struct list head, a, b, c;
	struct list *want[] = { &c, &a, &b };
	int n = 0;

	list_init(&head);
	assert_true(list_empty(&head));
	assert_null(list_first(&head));
	list_add_tail(&head, &a);
	list_add_tail(&head, &b);
	list_add_head(&head, &c);
	LIST_FOREACH (it, &head)
		assert_ptr_equal(it, want[n++]);
	assert_int_equal(n, 3);
	list_del(&a);
	list_del(&a);
	assert_true(list_empty(&a));
	assert_ptr_equal(list_first(&head), &c);
	LIST_FOREACH_SAFE (it, &head)
		list_del(it);
	assert_true(list_empty(&head));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_siphash),	  cmocka_unit_test(test_add_get_del),
		cmocka_unit_test(test_walk),	  cmocka_unit_test(test_same_key),
		cmocka_unit_test(test_no_memory), cmocka_unit_test(test_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
