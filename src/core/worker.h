#ifndef CORE_WORKER_H
#define CORE_WORKER_H
/* A small pool of threads for what may block (password hashing, big files). Results come back as
 * callbacks on the loop. */
#include <stddef.h>

struct loop;
struct worker_pool;

struct worker_pool *worker_pool_new(struct loop *loop, unsigned n_threads, size_t max_queued);
/* Waits for jobs that run; jobs that only wait are dropped (their done is called with -ECANCELED).
 */
void worker_pool_free(struct worker_pool *w);
/* run is called on a worker thread and may touch only arg; its result goes to done on the loop.
 * 0, or -EAGAIN when max_queued jobs wait already, or -ENOMEM. */
int worker_submit(struct worker_pool *w, int (*run)(void *arg), void (*done)(int result, void *arg),
		  void *arg);

#endif
