/* The lexer of configuration files: every slice of an item must lie inside the text. */
#include <stdint.h>
#include <stdlib.h>

#include "proto/ini.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(struct slice s, struct slice text)
{
	if (s.n && (s.p < text.p || s.p + s.n > text.p + text.n))
		abort();
}

static int look(const struct ini_item *item, void *arg)
{
	const struct slice *text = arg;

	inside(item->raw, *text);
	inside(item->type, *text);
	inside(item->name, *text);
	inside(item->key, *text);
	inside(item->value, *text);
	if (item->kind == INI_SECTION && item->type.n == 0)
		abort();
	if (item->kind == INI_SETTING && item->key.n == 0)
		abort();
	if ((item->kind == INI_ERROR) != (item->error != NULL))
		abort();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = { (const char *)data, size };

	ini_parse(text, look, &text);
	return 0;
}
