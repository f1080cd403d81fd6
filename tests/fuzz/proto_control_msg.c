/* Messages of the control channel: what is taken must survive being written and read again. */
#include <stdlib.h>
#include <string.h>

#include "proto/control_msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_and_read(const struct control_msg *m)
{
	struct control_msg again;
	const char *why;
	struct buf b;
	size_t used;

	buf_init(&b, CONTROL_MAX_BYTES + 4);
	if (control_msg_encode(&b, m)) {
		if (control_msg_decode(buf_slice(&b), &again, &used, &why) != 1 || used != b.n ||
		    again.type != m->type || strcmp(again.key, m->key) != 0 || again.id != m->id)
			abort();
		control_msg_fini(&again);
	}
	buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice rest = { (const char *)data, size };
	struct control_msg m;
	const char *why;
	size_t used;

	for (;;) {
		int r = control_msg_decode(rest, &m, &used, &why);

		if (r > 0)
			write_and_read(&m);
		control_msg_fini(&m);
		if (r == 0 || used == 0)
			return 0;
		rest.p += used;
		rest.n -= used;
	}
}
