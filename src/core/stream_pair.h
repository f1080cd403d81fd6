#ifndef CORE_STREAM_PAIR_H
#define CORE_STREAM_PAIR_H
/* Two streams joined in memory: what goes out of one comes into the other at the end of the loop's
 * turn. For tests. */
#include "core/stream.h"

struct loop;
/* Both are born OPEN. One that was closed and sent everything is the other's stream_eof; one that
 * was aborted, or written to after it was gone, is STREAM_END_ERROR. 0 or -ENOMEM. */
int stream_pair_new(struct loop *loop, struct stream *out[2]);

#endif
