#ifndef CTL_COMMAND_H
#define CTL_COMMAND_H
/* The command line of turnpikectl. */
#include <stdio.h>

#define COMMAND_DEFAULT_SOCKET "/run/turnpike/ctl.sock"

enum command_exit {
	COMMAND_OK = 0,
	COMMAND_REFUSED = 1, /* the daemon said no */
	COMMAND_USAGE = 2,
	COMMAND_UNREACHABLE = 3,
};

/* Runs it; results go to out, complaints to err. Returns an exit code. */
int command_run(int argc, char *const *argv, FILE *out, FILE *err);

#endif
