#ifndef MEDIA_ENGINE_H
#define MEDIA_ENGINE_H
/*
 * What all sessions share: settings, port numbers, the mux, the table of sessions, and the way out
 * to sockets. Everything below the wiring acts through struct media_io, so tests play packets on a
 * net and a clock of their own.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/idtab.h"
#include "base/list.h"
#include "base/timerq.h"
#include "core/conf_schema.h"
#include "media/mux.h"
#include "media/portpool.h"
#include "media/relay.h"

enum { MEDIA_MAX_MUX_PAIRS = 6, MEDIA_BIND_TRIES = 32, MEDIA_SWEEP_MS = 5000 };

struct media_io {
	/* Opens the sockets of end->bound[]. 0, or negative errno (-EADDRINUSE: another pair is
	 * tried). */
	int (*open)(void *arg, struct media_end *end);
	void (*close)(void *arg, struct media_end *end);
	/* Makes sure that the shared ports (rtp_port and the one above) are open on that address;
	 * *pair gets the number of the pair for mux_input(). */
	int (*open_mux)(void *arg, const struct addr *local, uint16_t rtp_port, uint32_t *pair);
	void (*mux_send)(void *arg, uint32_t socket, const struct addr *to, const void *p,
			 size_t n);
	struct relay_ops relay;
	void (*random)(void *arg, void *p, size_t n);
	bool (*own_ip)(void *arg, const struct addr *a);
	bool (*is_listener)(void *arg, const struct addr *a);
	/* Is it a TURN relay of this host, and where do we reach it? NULL: there are none. */
	bool (*relay_of)(void *arg, const struct addr *written, struct addr *reached);
	/* For the decision trace. */
	void (*refused)(void *arg, const struct media_session *s, unsigned leg, const char *code,
			const struct addr *about, const char *text);
	/* Nothing was heard on a session for idle_timeout_ms: end its call. May free the session.
	 */
	void (*idle)(void *arg, struct media_session *s);
};

struct media_settings {
	struct conf_ports ports;
	struct conf_ports mux_ports;
	struct addr address;	     /* ADDR_NONE: that of the leg's signalling */
	struct addr outside_address; /* ADDR_NONE: as address */
	struct addr public_address;  /* ADDR_NONE: what is bound is advertised */
	const struct conf_prefixes *refuse_outside;
	uint32_t idle_timeout_ms; /* 0: never */
	uint32_t max_sessions;
};

struct media_engine {
	struct media_settings settings;
	const struct media_io *io;
	void *io_arg;
	struct timerq *timers;
	struct conn_table *conns; /* NULL: streams are not listed */
	struct portpool ports;
	struct mux mux;
	uint32_t mux_load[MEDIA_MAX_MUX_PAIRS]; /* ends on each pair */
	struct idtab ids;
	struct list sessions;
	uint32_t n_sessions;
	struct timer sweep;
	bool draining;
	uint64_t n_refused_ports, n_refused_sessions;
};

/* io, timers, conns live longer. 0 or negative errno. */
int media_engine_init(struct media_engine *e, const struct media_settings *settings,
		      const struct media_io *io, void *io_arg, struct timerq *timers,
		      struct conn_table *conns);
/* Ends every session. */
void media_engine_fini(struct media_engine *e);
/* New settings for what comes; running streams keep their ports. 0 or negative errno, nothing
 * changed. */
int media_engine_configure(struct media_engine *e, const struct media_settings *settings);
unsigned media_engine_mux_pairs(const struct media_engine *e);

#endif
