#ifndef TURN_CORE_SIDE_H
#define TURN_CORE_SIDE_H
/*
 * C's side of the TURN server: makes credentials for it (mint.h), gives the secrets to every E
 * over the control channel (table "turn-secrets"), learns from each E how clients reach it (table
 * "turn"), and answers POST /api/v1/turn/credentials. Formats: docs/protocol/control.md, api.md.
 */
#include <jansson.h>

#include "base/timerq.h"
#include "core/conf_store.h"
#include "core/ctl.h"
#include "core/module.h"

#define TURN_TABLE_SECRETS    "turn-secrets" /* C -> E: id -> {"secret": base64, "left": s} */
#define TURN_TABLE_SERVER     "turn"	     /* E -> C: "server" -> {host, realm, udp, tcp, tls} */
#define TURN_SERVER_KEY	      "server"
#define TURN_CREDENTIALS_PATH "/api/v1/turn/credentials"

struct log;
struct trace;
struct turn_core;

/* What it stands on. */
struct turn_core_world {
	struct timerq *timers;
	struct trace *trace;
	struct log *log; /* may be NULL */
	void (*random)(void *p, size_t n);
	int64_t (*wall_s)(void);
};

/* init: looks at nothing else. NULL without memory. */
struct turn_core *turn_core_new(const struct turn_core_world *w);
/* start, after turn_core_configure(): registers with the tunnel and the API (ops NULL: there is
 * none). 0 or what they said. */
int turn_core_start(struct turn_core *t, const struct service *tunnel, const struct service *api);
/* start and reload: [turn] and [domain] of the snapshot, to which it keeps a reference. */
void turn_core_configure(struct turn_core *t, const struct conf_snapshot *snap);
/* Lets go of the tunnel. */
void turn_core_stop(struct turn_core *t);
/* Wipes the secrets. NULL is allowed. */
void turn_core_free(struct turn_core *t);
/* Numbers only; adds to out. */
void turn_core_status(const struct turn_core *t, json_t *out);

/* POST turn-credentials; arg is the struct turn_core. */
extern const struct ctl_command turn_core_commands[];

#endif
