/* XML answers: the tree that comes out can be walked, and written again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/xml_doc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void copy(struct xml_writer *w, const struct xml_element *e, unsigned depth)
{
	const struct xml_element *child;
	size_t i;

	if (depth > XML_DOC_MAX_DEPTH)
		abort();
	xml_write_open(w, "e");
	for (i = 0; e->attrs[i]; i += 2)
		xml_write_attr(w, "a", slice_of(e->attrs[i + 1]));
	xml_write_text(w, slice_of(e->text));
	for (child = e->first; child; child = child->next) {
		if (child->parent != e)
			abort();
		copy(w, child, depth + 1);
	}
	xml_write_close(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *why = NULL;
	struct xml_doc *d = xml_doc_parse((struct slice){ (const char *)data, size }, 65536, &why);
	struct xml_writer w;
	struct buf b;

	if (!d) {
		if (!why)
			abort();
		return 0;
	}
	buf_init(&b, 4 << 20);
	xml_write_start(&w, &b);
	copy(&w, xml_doc_root(d), 1);
	/* expat has checked every character: nothing of it can be refused. */
	if (!xml_write_end(&w))
		abort();
	buf_fini(&b);
	xml_doc_free(d);
	return 0;
}
