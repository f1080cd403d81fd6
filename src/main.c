/* turnpiked: arguments, checks and dumps, the list of modules; core/daemon does the rest. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core/daemon.h"
#include "turnpike/modules.h"

#define EXIT_RUN_TIME 1
#define EXIT_USAGE    2
#define EXIT_CONFIG   78 /* EX_CONFIG of sysexits.h */
#define MAX_TEXT      (4 * 1024 * 1024)

/* In the order to start: who offers a service comes before who needs it. */
static const struct module *const module_list[] = { &route_module, &media_module,  &tunnel_module,
						    &uc_module,	   &signin_module, &http_module,
						    &turn_module,  &xmpp_module,   &sip_module };

enum action { ACTION_RUN, ACTION_CHECK, ACTION_DUMP, ACTION_ROWS, ACTION_VERSION, ACTION_HELP };

struct arguments {
	enum action action;
	bool roff;
	struct daemon_options daemon;
};

static const char usage[] =
	"usage: turnpiked -c FILE [--role E|C] [--check-config | --dump-config]\n"
	"       turnpiked --dump-rows man|md\n"
	"       turnpiked --version | --help\n"
	"\n"
	"  -c, --config FILE   the configuration\n"
	"      --role E|C      refuse to start when [system] role says otherwise\n"
	"      --check-config  list every error of FILE and exit: 0 none, 78 some\n"
	"      --dump-config   print every effective setting and where it comes from\n"
	"      --dump-rows F   print the table of all settings for the manual (man or md)\n"
	"\n"
	"Signals: HUP reads the configuration and certificates again; TERM drains and stops, a "
	"second\n"
	"TERM stops at once. Exit status: 0, 1 run time, 2 usage, 78 bad configuration.\n";

enum { OPT_ROLE = 256, OPT_CHECK, OPT_DUMP, OPT_ROWS, OPT_VERSION };

static const struct option long_options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "role", required_argument, NULL, OPT_ROLE },
	{ "check-config", no_argument, NULL, OPT_CHECK },
	{ "dump-config", no_argument, NULL, OPT_DUMP },
	{ "dump-rows", required_argument, NULL, OPT_ROWS },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

static bool take_role(struct arguments *a, const char *text)
{
	if (strcasecmp(text, "E") == 0)
		a->daemon.role = CONF_ROLE_E;
	else if (strcasecmp(text, "C") == 0)
		a->daemon.role = CONF_ROLE_C;
	else
		fprintf(stderr, "turnpiked: --role is E or C\n");
	return a->daemon.role != 0;
}

static bool take_rows(struct arguments *a, const char *text)
{
	a->action = ACTION_ROWS;
	a->roff = strcmp(text, "man") == 0;
	if (a->roff || strcmp(text, "md") == 0)
		return true;
	fprintf(stderr, "turnpiked: --dump-rows is man or md\n");
	return false;
}

static bool take_option(struct arguments *a, int option)
{
	switch (option) {
	case 'c':
		a->daemon.conf_path = optarg;
		return true;
	case OPT_ROLE:
		return take_role(a, optarg);
	case OPT_CHECK:
		a->action = ACTION_CHECK;
		return true;
	case OPT_DUMP:
		a->action = ACTION_DUMP;
		return true;
	case OPT_ROWS:
		return take_rows(a, optarg);
	case OPT_VERSION:
		a->action = ACTION_VERSION;
		return true;
	case 'h':
		a->action = ACTION_HELP;
		return true;
	default:
		return false; /* getopt has said why */
	}
}

static bool parse_arguments(int argc, char **argv, struct arguments *a)
{
	int option;

	while ((option = getopt_long(argc, argv, "c:h", long_options, NULL)) != -1) {
		if (!take_option(a, option))
			return false;
	}
	if (optind < argc) {
		fprintf(stderr, "turnpiked: unexpected argument '%s'\n", argv[optind]);
		return false;
	}
	if (a->action <= ACTION_DUMP && !a->daemon.conf_path) {
		fprintf(stderr, "turnpiked: -c FILE is missing\n");
		return false;
	}
	return true;
}

static void print(FILE *out, const struct buf *b)
{
	if (b->n > 0)
		fwrite(b->p, 1, b->n, out);
	if (b->failed)
		fprintf(stderr, "turnpiked: output cut\n");
}

static int check(struct daemon *d, enum action action, struct buf *text)
{
	struct conf_snapshot *snap = daemon_check(d, text);

	if (!snap) {
		print(stderr, text);
		return EXIT_CONFIG;
	}
	buf_reset(text);
	if (action == ACTION_DUMP)
		conf_dump(snap, text);
	print(stdout, text);
	conf_unref(snap);
	return 0;
}

static int run(struct daemon *d, struct buf *text)
{
	int error = daemon_start(d, text);

	print(stderr, text);
	if (error == -EINVAL)
		return EXIT_CONFIG;
	if (error == 0)
		error = daemon_run(d);
	if (error)
		fprintf(stderr, "turnpiked: %s\n", strerror(-error));
	return error ? EXIT_RUN_TIME : 0;
}

static int act(struct daemon *d, const struct arguments *a, struct buf *text)
{
	switch (a->action) {
	case ACTION_CHECK:
	case ACTION_DUMP:
		return check(d, a->action, text);
	case ACTION_ROWS:
		conf_document(daemon_conf(d), a->roff, text);
		print(stdout, text);
		return 0;
	default:
		return run(d, text);
	}
}

int main(int argc, char **argv)
{
	struct arguments a = { 0 };
	struct daemon *d;
	struct buf text;
	int status;

	if (!parse_arguments(argc, argv, &a)) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	if (a.action == ACTION_HELP || a.action == ACTION_VERSION) {
		fputs(a.action == ACTION_HELP ? usage : "turnpiked " TURNPIKE_VERSION "\n", stdout);
		return 0;
	}
	a.daemon.modules = module_list;
	a.daemon.n_modules = sizeof(module_list) / sizeof(module_list[0]);
	d = daemon_new(&a.daemon);
	if (!d) {
		fprintf(stderr, "turnpiked: out of memory\n");
		return EXIT_RUN_TIME;
	}
	buf_init(&text, MAX_TEXT);
	status = act(d, &a, &text);
	buf_fini(&text);
	daemon_free(d);
	return status;
}
