/* Frames in front of a stream on the link: what is taken is printed and must be taken again. */
#include <stdlib.h>

#include "xmpp/preface.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool is)
{
	if (!is)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice bytes = { (const char *)data, size };
	struct preface p, again;
	const char *why = NULL;
	struct buf out;
	int used = preface_parse(bytes, &p, &why);

	if (used < 0)
		must(why);
	if (used <= 0)
		return 0;
	must((size_t)used <= size && used <= 4 + PREFACE_MAX_BYTES);
	buf_init(&out, 4 + PREFACE_MAX_BYTES);
	/* Escapes may make it longer than it came. */
	if (preface_print(&p, &out) == 0) {
		must(preface_parse(buf_slice(&out), &again, &why) == (int)out.n);
		must(memcmp(&p, &again, sizeof(p)) == 0);
	}
	buf_fini(&out);
	return 0;
}
