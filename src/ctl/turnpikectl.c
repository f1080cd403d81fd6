#include <signal.h>
#include <stdio.h>

#include "ctl/command.h"

int main(int argc, char **argv)
{
	/* `turnpikectl connections | head` ends quietly, by the default action of SIGPIPE. */
	signal(SIGPIPE, SIG_DFL);
	return command_run(argc, argv, stdout, stderr);
}
