/* Memory of trees: what xml_node.h declares of pools and arenas. */
#include <stdlib.h>
#include <string.h>

#include "proto/xml_pool.h"
#include "proto/xml_reader.h"

#define BLOCK_DATA (XML_BLOCK_BYTES - sizeof(struct xml_block))

struct xml_pool *xml_pool_new(void)
{
	struct xml_pool *p = calloc(1, sizeof(*p));

	if (p)
		buf_init(&p->text, SIZE_MAX);
	return p;
}

void xml_pool_free(struct xml_pool *p)
{
	struct xml_block *b;

	if (!p)
		return;
	while (p->blocks) {
		b = p->blocks;
		p->blocks = b->next;
		free(b);
	}
	xml_readers_free(p);
	buf_fini(&p->text);
	free(p);
}

static struct xml_block *take_block(struct xml_pool *p, size_t n)
{
	size_t size = n > BLOCK_DATA ? n : BLOCK_DATA;
	struct xml_block *b;

	if (size == BLOCK_DATA && p->blocks) {
		b = p->blocks;
		p->blocks = b->next;
		p->n_blocks--;
	} else {
		b = malloc(sizeof(*b) + size);
		if (!b)
			return NULL;
		b->size = size;
	}
	b->n = 0;
	return b;
}

static void give_block(struct xml_pool *p, struct xml_block *b)
{
	if (b->size != BLOCK_DATA || p->n_blocks == XML_POOL_MAX_BLOCKS) {
		free(b);
		return;
	}
	b->next = p->blocks;
	p->blocks = b;
	p->n_blocks++;
}

/* A block with room for n more; one of its own for what is large, behind the first, which keeps
 * its room. */
static struct xml_block *room(struct xml_arena *a, size_t n)
{
	struct xml_block *b = a->blocks;

	if (b && b->size - b->n >= n)
		return b;
	b = take_block(a->pool, n);
	if (!b)
		return NULL;
	if (a->blocks && n > BLOCK_DATA / 4) {
		b->next = a->blocks->next;
		a->blocks->next = b;
	} else {
		b->next = a->blocks;
		a->blocks = b;
	}
	return b;
}

/* align: a power of two. */
static void *take(struct xml_arena *a, size_t n, size_t align)
{
	struct xml_block *b;
	size_t pad;
	void *p;

	if (a->max_bytes && (n > a->max_bytes || a->n_bytes > a->max_bytes - n)) {
		a->over = true;
		return NULL;
	}
	b = room(a, n + align - 1);
	if (!b)
		return NULL;
	pad = -b->n & (align - 1);
	p = b->data + b->n + pad;
	b->n += pad + n;
	a->n_bytes += n;
	return p;
}

void *xml_arena_take(struct xml_arena *a, size_t n)
{
	return take(a, n, sizeof(void *));
}

const char *xml_arena_text(struct xml_arena *a, struct slice s)
{
	char *p;

	if (s.n == 0)
		return "";
	p = take(a, s.n + 1, 1);
	if (!p)
		return NULL;
	memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	return p;
}

void xml_arena_reset(struct xml_arena *a)
{
	struct xml_block *b;

	while (a->blocks) {
		b = a->blocks;
		a->blocks = b->next;
		give_block(a->pool, b);
	}
	a->n_bytes = 0;
	a->over = false;
}
