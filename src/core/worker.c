#include "core/worker.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/list.h"
#include "core/loop.h"

struct job {
	struct list node;
	int (*run)(void *arg);
	void (*done)(int result, void *arg);
	void *arg;
	int result;
};

struct worker_pool {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	/* Under lock. */
	struct list waiting;
	struct list finished;
	size_t n_waiting;
	bool closing;
	/* The loop's thread only. */
	size_t max_queued;
	int event_fd;
	struct event *event;
	unsigned n_threads;
	pthread_t threads[];
};

static struct job *take(struct list *from)
{
	struct list *node = list_first(from);

	if (!node)
		return NULL;
	list_del(node);
	return CONTAINER_OF(node, struct job, node);
}

static void *work(void *arg)
{
	struct worker_pool *w = arg;
	uint64_t one = 1;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		struct job *job;

		while (!w->closing && list_empty(&w->waiting))
			pthread_cond_wait(&w->wake, &w->lock);
		if (w->closing)
			break;
		job = take(&w->waiting);
		w->n_waiting--;
		pthread_mutex_unlock(&w->lock);
		job->result = job->run(job->arg);
		pthread_mutex_lock(&w->lock);
		list_add_tail(&w->finished, &job->node);
		/* Fails only when the counter is full: then the loop is awake anyway. */
		if (write(w->event_fd, &one, sizeof(one)) < 0)
			continue;
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static void finish(struct job *job, int result)
{
	job->done(result, job->arg);
	free(job);
}

/* Runs on the loop. done may submit again. */
static void deliver(evutil_socket_t fd, short what, void *arg)
{
	struct worker_pool *w = arg;
	struct job *job;
	uint64_t n;

	if (read(w->event_fd, &n, sizeof(n)) < 0)
		return;
	for (;;) {
		pthread_mutex_lock(&w->lock);
		job = take(&w->finished);
		pthread_mutex_unlock(&w->lock);
		if (!job)
			break;
		finish(job, job->result);
	}
}

/* Signals belong to the loop's thread. */
static int start_threads(struct worker_pool *w, unsigned n_threads)
{
	sigset_t all, old;
	int error = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (w->n_threads < n_threads && error == 0) {
		error = pthread_create(&w->threads[w->n_threads], NULL, work, w);
		if (error == 0)
			w->n_threads++;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -error;
}

struct worker_pool *worker_pool_new(struct loop *loop, unsigned n_threads, size_t max_queued)
{
	struct worker_pool *w = calloc(1, sizeof(*w) + n_threads * sizeof(w->threads[0]));

	if (!w)
		return NULL;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->wake, NULL);
	list_init(&w->waiting);
	list_init(&w->finished);
	w->max_queued = max_queued;
	w->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->event_fd < 0)
		goto fail;
	w->event = event_new(loop_base(loop), w->event_fd, EV_READ | EV_PERSIST, deliver, w);
	if (!w->event || event_add(w->event, NULL) < 0 || start_threads(w, n_threads) < 0)
		goto fail;
	return w;
fail:
	worker_pool_free(w);
	return NULL;
}

void worker_pool_free(struct worker_pool *w)
{
	struct job *job;

	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->closing = true;
	pthread_cond_broadcast(&w->wake);
	pthread_mutex_unlock(&w->lock);
	for (unsigned i = 0; i < w->n_threads; i++)
		pthread_join(w->threads[i], NULL);
	while ((job = take(&w->finished)))
		finish(job, job->result);
	while ((job = take(&w->waiting)))
		finish(job, -ECANCELED);
	if (w->event)
		event_free(w->event);
	if (w->event_fd >= 0)
		close(w->event_fd);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

int worker_submit(struct worker_pool *w, int (*run)(void *arg), void (*done)(int result, void *arg),
		  void *arg)
{
	struct job *job = calloc(1, sizeof(*job));
	bool taken;

	if (!job)
		return -ENOMEM;
	*job = (struct job){ .run = run, .done = done, .arg = arg };
	pthread_mutex_lock(&w->lock);
	taken = !w->closing && w->n_waiting < w->max_queued;
	if (taken) {
		list_add_tail(&w->waiting, &job->node);
		w->n_waiting++;
		pthread_cond_signal(&w->wake);
	}
	pthread_mutex_unlock(&w->lock);
	if (taken)
		return 0;
	free(job);
	return -EAGAIN;
}
