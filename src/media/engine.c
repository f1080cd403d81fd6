#include "media/engine.h"

#include <errno.h>
#include <string.h>

#include "media/session.h"

unsigned media_engine_mux_pairs(const struct media_engine *e)
{
	unsigned n = (unsigned)(e->settings.mux_ports.last - e->settings.mux_ports.first + 1) / 2;

	if (e->settings.mux_ports.first == 0)
		return 0;
	return n < MEDIA_MAX_MUX_PAIRS ? n : MEDIA_MAX_MUX_PAIRS;
}

static void mux_send(void *arg, uint32_t socket, const struct addr *to, const void *p, size_t n)
{
	struct media_engine *e = arg;

	e->io->mux_send(e->io_arg, socket, to, p, n);
}

static void mux_packet(void *arg, struct mux_end *mux, unsigned component, struct mux_packet *pkt)
{
	relay_input_proved(CONTAINER_OF(mux, struct media_end, mux), component, pkt);
}

static void mux_bound(void *arg, struct mux_end *mux, unsigned component, const struct addr *from)
{
	struct media_end *end = CONTAINER_OF(mux, struct media_end, mux);

	if (component == RELAY_RTP)
		end->conn.remote = *from;
}

static const struct mux_ops mux_ops = {
	.send = mux_send,
	.input = mux_packet,
	.bound = mux_bound,
};

enum { SWEEP_MAX = 64 };

/* Ending a call frees its session and may end others, so the idle ones are noted by id first. What
 * does not fit waits for the next sweep. */
static void sweep_fire(void *arg)
{
	struct media_engine *e = arg;
	uint64_t idle[SWEEP_MAX];
	size_t n = 0;

	LIST_FOREACH (it, &e->sessions) {
		struct media_session *s = CONTAINER_OF(it, struct media_session, node);

		if (n < SWEEP_MAX && media_session_idle(s, e->timers->now_ms))
			idle[n++] = s->id;
	}
	for (size_t i = 0; i < n; i++) {
		struct media_session *s = media_session_get(e, idle[i]);

		if (s && e->io->idle)
			e->io->idle(e->io_arg, s);
	}
	timer_start(e->timers, &e->sweep, MEDIA_SWEEP_MS);
}

int media_engine_init(struct media_engine *e, const struct media_settings *settings,
		      const struct media_io *io, void *io_arg, struct timerq *timers,
		      struct conn_table *conns)
{
	uint8_t seed[16];
	int err;

	memset(e, 0, sizeof(*e));
	e->settings = *settings;
	e->io = io;
	e->io_arg = io_arg;
	e->timers = timers;
	e->conns = conns;
	list_init(&e->sessions);
	timer_init(&e->sweep, sweep_fire, e);
	err = portpool_init(&e->ports, settings->ports);
	if (err < 0)
		return err;
	io->random(io_arg, seed, sizeof(seed));
	err = mux_init(&e->mux, seed, settings->max_sessions * 4, &mux_ops, e);
	if (err == 0) {
		idtab_init(&e->ids, settings->max_sessions);
		timer_start(timers, &e->sweep, MEDIA_SWEEP_MS);
		return 0;
	}
	portpool_fini(&e->ports);
	return err;
}

void media_engine_fini(struct media_engine *e)
{
	LIST_FOREACH_SAFE (it, &e->sessions) {
		media_session_free(CONTAINER_OF(it, struct media_session, node), "shutting down");
	}
	timer_stop(e->timers, &e->sweep);
	idtab_fini(&e->ids);
	mux_fini(&e->mux);
	portpool_fini(&e->ports);
}

int media_engine_configure(struct media_engine *e, const struct media_settings *settings)
{
	bool ports = settings->ports.first != e->settings.ports.first ||
		     settings->ports.last != e->settings.ports.last;
	bool mux = settings->mux_ports.first != e->settings.mux_ports.first;
	int err = ports ? portpool_resize(&e->ports, settings->ports) : 0;

	if (err < 0)
		return err;
	/* Loads count by distance from the first port: old ends drain uncounted. */
	if (mux)
		memset(e->mux_load, 0, sizeof(e->mux_load));
	e->settings = *settings;
	e->ids.max = settings->max_sessions;
	e->mux.max_ends = settings->max_sessions * 4;
	return 0;
}
