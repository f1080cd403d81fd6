#include "ctl/command.h"

#include <jansson.h>
#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "ctl/client.h"
#include "ctl/hash_password.h"
#include "ctl/show.h"
#include "ctl/text.h"

#define MAX_TARGET_BYTES (32 * 1024)
#define MAX_OUT_BYTES	 (256u << 20)
#define MAX_OPTIONS	 7
#define MAX_POSITIONALS	 2

struct option {
	const char *name;  /* "--kind" */
	const char *param; /* query key */
	const char *value; /* what the option stands for; NULL: it takes a value */
};

/* "allow-check" is also written in two words, `allow check`. */
struct command {
	const char *name;
	const char *path;  /* after /v1/, NULL: the name */
	const char *query; /* always sent: "prefix=route."; NULL: none */
	const char *method;
	const char *positionals[MAX_POSITIONALS + 1]; /* query keys of the arguments, in order */
	size_t n_required;			      /* of them */
	struct option options[MAX_OPTIONS + 1];
	show_fn show;
	const char *verdict; /* key of a boolean of the reply: false exits as a refusal does */
	/* Needs no daemon: runs here, argument NULL or the word. */
	int (*local)(const char *argument, bool json, FILE *out, FILE *err);
	const char *usage;
	const char *help;
};

#define LIMIT                            \
	{                                \
		"--limit", "limit", NULL \
	}

static const struct command commands[] = {
	{ .name = "status",
	  .method = "GET",
	  .show = show_status,
	  .usage = "status",
	  .help = "state of the daemon and its modules" },
	{ .name = "zones",
	  .method = "GET",
	  .show = show_zones,
	  .usage = "zones",
	  .help = "zones and their peers, with the reason when one is down" },
	{ .name = "registrations",
	  .method = "GET",
	  .show = show_registrations,
	  .usage = "registrations",
	  .help = "who is registered, over which connection" },
	{ .name = "calls",
	  .method = "GET",
	  .show = show_calls,
	  .usage = "calls",
	  .help = "calls with their legs and media" },
	{ .name = "connections",
	  .method = "GET",
	  .options = { { "--ended", "ended", "1" },
		       { "--kind", "kind", NULL },
		       { "--zone", "zone", NULL },
		       { "--session", "session", NULL },
		       { "--user", "user", NULL },
		       LIMIT,
		       { "--offset", "offset", NULL } },
	  .show = show_connections,
	  .usage = "connections [--ended] [--kind K] [--zone Z] [--session S] [--user U] "
		   "[--limit N] [--offset N]",
	  .help = "everything alive with a peer, or what ended and why" },
	{ .name = "tunnels",
	  .method = "GET",
	  .show = show_tunnels,
	  .usage = "tunnels",
	  .help = "SSH connections with the other boxes, with the reason when one is down" },
	{ .name = "sessions",
	  .method = "GET",
	  .options = { { "--user", "user", NULL }, LIMIT },
	  .show = show_sessions,
	  .usage = "sessions [--user U] [--limit N]",
	  .help = "who is signed in, from where, and who was lately" },
	{ .name = "uc",
	  .method = "GET",
	  .show = show_uc,
	  .usage = "uc",
	  .help = "clusters inside with the servers that discovery found" },
	{ .name = "uc-refresh",
	  .method = "POST",
	  .positionals = { "cluster" },
	  .show = show_object,
	  .usage = "uc refresh [CLUSTER]",
	  .help = "discovers the servers again, in the background; sign-ins go on" },
	{ .name = "allow",
	  .method = "GET",
	  .show = show_allow,
	  .usage = "allow",
	  .help = "what signed-in users may reach inside: rules of the file, then automatic ones" },
	{ .name = "allow-check",
	  .method = "GET",
	  .positionals = { "url", "method" },
	  .n_required = 1,
	  .show = show_allow_check,
	  .verdict = "allowed",
	  .usage = "allow check URL [METHOD]",
	  .help = "may URL be asked for, and which rule says so; nothing is sent" },
	{ .name = "backends",
	  .method = "GET",
	  .show = show_backends,
	  .usage = "backends",
	  .help = "servers of [backends] sections, which of them work" },
	{ .name = "turn",
	  .method = "GET",
	  .positionals = { "id" },
	  .options = { { "--user", "user", NULL } },
	  .show = show_turn,
	  .usage = "turn [ID] [--user U]",
	  .help = "allocations of the TURN server; one with its permissions and channels" },
	{ .name = "xmpp",
	  .method = "GET",
	  .positionals = { "id" },
	  .options = { { "--domain", "domain", NULL },
		       { "--user", "user", NULL },
		       { "--partner", "remote", NULL },
		       LIMIT },
	  .show = show_xmpp,
	  .usage = "xmpp [ID] [--domain D] [--user U] [--partner D] [--limit N]",
	  .help = "chat: streams, partners, connections between C and E, IM servers, domains" },
	{ .name = "xmpp-probe",
	  .method = "POST",
	  .positionals = { "local", "remote" },
	  .n_required = 2,
	  .show = show_xmpp_partners,
	  .usage = "xmpp probe DOMAIN PARTNER",
	  .help = "E: opens a stream for the two domains; `xmpp --partner` shows what came of it" },
	{ .name = "hash-password",
	  .positionals = { "user" },
	  .local = hash_password,
	  .usage = "hash-password [USER@DOMAIN]",
	  .help = "asks for a password and prints what [web-user] keeps of it; needs no daemon" },
	{ .name = "hash-password-admin",
	  .positionals = { "name" },
	  .n_required = 1,
	  .local = hash_admin_password,
	  .usage = "hash-password admin NAME",
	  .help = "the same for [admin NAME], whose programs may use the API" },
	{ .name = "turn-credentials",
	  .method = "POST",
	  .positionals = { "domain" },
	  .n_required = 1,
	  .options = { { "--user", "user", NULL }, { "--ttl", "ttl", NULL } },
	  .show = show_object,
	  .usage = "turn-credentials DOMAIN [--user LABEL] [--ttl SECONDS]",
	  .help = "C: a TURN credential as the API hands it out, password and all" },
	{ .name = "alarms",
	  .method = "GET",
	  .show = show_alarms,
	  .usage = "alarms",
	  .help = "what stands wrong, since when, and what to do about it" },
	{ .name = "search-history",
	  .path = "trace",
	  .query = "prefix=route.",
	  .method = "GET",
	  .options = { LIMIT },
	  .show = show_trace,
	  .usage = "search-history [--limit N]",
	  .help = "the last searches for a destination, rule by rule, newest first" },
	{ .name = "trace",
	  .method = "GET",
	  .positionals = { "prefix" },
	  .options = { LIMIT },
	  .show = show_trace,
	  .usage = "trace [PREFIX] [--limit N]",
	  .help = "the last decisions (refused, routed, dropped) and what decided, newest first" },
	{ .name = "counters",
	  .method = "GET",
	  .show = show_object,
	  .usage = "counters",
	  .help = "numbers of connections and of decisions since the start" },
	{ .name = "locate",
	  .method = "GET",
	  .positionals = { "alias" },
	  .n_required = 1,
	  .options = { { "--source", "source", NULL },
		       { "--authenticated", "authenticated", "yes" },
		       { "--hops", "hops", NULL } },
	  .show = show_locate,
	  .usage = "locate ALIAS [--source ZONE] [--authenticated] [--hops N]",
	  .help = "where a call to ALIAS would go, and why; nothing is sent" },
	{ .name = "disconnect",
	  .method = "POST",
	  .positionals = { "id" },
	  .n_required = 1,
	  .show = show_object,
	  .usage = "disconnect ID",
	  .help = "ends a call, registration or connection" },
	{ .name = "reload",
	  .method = "POST",
	  .show = show_object,
	  .usage = "reload",
	  .help = "reads the configuration again; a bad one changes nothing" },
	{ .name = "drain",
	  .method = "POST",
	  .show = show_object,
	  .usage = "drain",
	  .help = "takes no new work; existing calls go on" },
};

#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

/* What the command line says. */
struct invocation {
	const char *socket;
	bool json;
	bool help;
	bool version;
	const struct command *command;
	size_t n_arguments;
	const char *argument; /* the last */
	struct buf target;
};

static void print_help(FILE *out)
{
	fprintf(out,
		"usage: turnpikectl [--socket PATH] [--json] COMMAND [ARGUMENTS]\n\ncommands:\n");
	for (size_t i = 0; i < N_COMMANDS; i++)
		fprintf(out, "  %s\n      %s\n", commands[i].usage, commands[i].help);
	fprintf(out,
		"\noptions:\n"
		"  --socket PATH  control socket of the daemon (%s)\n"
		"  --json         print the reply as JSON\n"
		"  --help         print this\n"
		"  --version      print the version\n"
		"\nexit status: 0 done (allow check: allowed), 1 refused, 2 wrong usage, 3 daemon "
		"not reachable\n",
		COMMAND_DEFAULT_SOCKET);
}

static int usage_error(FILE *err, const char *what, const char *word, const struct command *c)
{
	fprintf(err, "turnpikectl: %s%s%s\n", what, word ? ": " : "", word ? word : "");
	if (c)
		fprintf(err, "usage: turnpikectl %s\n", c->usage);
	else
		fprintf(err, "turnpikectl --help lists all commands\n");
	return COMMAND_USAGE;
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < N_COMMANDS; i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

static int unknown_command(FILE *err, const char *name)
{
	const char *best = NULL;
	unsigned best_distance = 4;

	for (size_t i = 0; i < N_COMMANDS; i++) {
		unsigned d = slice_distance(slice_of(name), slice_of(commands[i].name));

		if (d < best_distance && d < strlen(commands[i].name)) {
			best = commands[i].name;
			best_distance = d;
		}
	}
	if (best)
		fprintf(err, "turnpikectl: unknown command: %s; did you mean \"%s\"?\n", name,
			best);
	else
		fprintf(err, "turnpikectl: unknown command: %s\n", name);
	fprintf(err, "turnpikectl --help lists all commands\n");
	return COMMAND_USAGE;
}

/* The value of `--name=value` or of the word behind `--name`; NULL when there is none. */
static const char *option_value(const char *word, size_t name_length, int argc, char *const *argv,
				int *i)
{
	if (word[name_length] == '=')
		return word + name_length + 1;
	return *i + 1 < argc ? argv[++*i] : NULL;
}

static bool is_option(const char *word, const char *name, bool takes_value)
{
	size_t n = strlen(name);

	return strncmp(word, name, n) == 0 && (!word[n] || (takes_value && word[n] == '='));
}

static int command_option(struct invocation *v, int argc, char *const *argv, int *i, FILE *err)
{
	const char *word = argv[*i], *value;

	for (const struct option *o = v->command ? v->command->options : NULL; o && o->name; o++) {
		if (!is_option(word, o->name, !o->value))
			continue;
		value = o->value ? o->value : option_value(word, strlen(o->name), argc, argv, i);
		if (!value)
			return usage_error(err, "a value must follow", word, v->command);
		client_add_query(&v->target, o->param, value);
		return COMMAND_OK;
	}
	return usage_error(err, "unknown option", word, v->command);
}

static int parse_option(struct invocation *v, int argc, char *const *argv, int *i, FILE *err)
{
	const char *word = argv[*i];

	if (strcmp(word, "--json") == 0) {
		v->json = true;
	} else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
		v->help = true;
	} else if (strcmp(word, "--version") == 0) {
		v->version = true;
	} else if (is_option(word, "--socket", true)) {
		v->socket = option_value(word, strlen("--socket"), argc, argv, i);
		if (!v->socket)
			return usage_error(err, "a path must follow", word, v->command);
	} else {
		return command_option(v, argc, argv, i, err);
	}
	return COMMAND_OK;
}

static void set_command(struct invocation *v, const struct command *c)
{
	v->command = c;
	buf_reset(&v->target);
	buf_printf(&v->target, "/v1/%s%s%s", c->path ? c->path : c->name, c->query ? "?" : "",
		   c->query ? c->query : "");
}

/* The second word of `allow check`; NULL: it is no such word. */
static const struct command *find_second(const struct command *c, const char *word)
{
	size_t n = strlen(c->name);

	for (size_t i = 0; i < N_COMMANDS; i++) {
		const char *name = commands[i].name;

		if (strncmp(name, c->name, n) == 0 && name[n] == '-' &&
		    strcmp(name + n + 1, word) == 0)
			return &commands[i];
	}
	return NULL;
}

static int parse_word(struct invocation *v, const char *word, FILE *err)
{
	const struct command *c = v->command ? find_second(v->command, word) : find_command(word);

	if (c && v->n_arguments == 0) {
		set_command(v, c);
		return COMMAND_OK;
	}
	c = v->command;
	if (!c)
		return unknown_command(err, word);
	if (!c->positionals[v->n_arguments])
		return usage_error(err, "one argument too many", word, c);
	client_add_query(&v->target, c->positionals[v->n_arguments++], word);
	v->argument = word;
	return COMMAND_OK;
}

static int parse_arguments(struct invocation *v, int argc, char *const *argv, FILE *err)
{
	bool options_over = false;

	for (int i = 1; i < argc; i++) {
		int r;

		if (!options_over && strcmp(argv[i], "--") == 0) {
			options_over = true;
			continue;
		}
		if (!options_over && argv[i][0] == '-' && argv[i][1])
			r = parse_option(v, argc, argv, &i, err);
		else
			r = parse_word(v, argv[i], err);
		if (r != COMMAND_OK)
			return r;
	}
	if (v->help || v->version)
		return COMMAND_OK;
	if (!v->command)
		return usage_error(err, "no command given", NULL, NULL);
	if (v->n_arguments < v->command->n_required)
		return usage_error(err, "an argument is missing", NULL, v->command);
	if (v->target.failed)
		return usage_error(err, "arguments too long", NULL, v->command);
	return COMMAND_OK;
}

/* {"error": "..."}, several lines perhaps. */
static void print_refusal(const json_t *body, int status, FILE *err)
{
	const char *error = json_string_value(json_object_get(body, "error"));
	struct slice rest = slice_of(error);
	struct buf text;

	buf_init(&text, MAX_OUT_BYTES);
	while (rest.p) {
		struct slice line = slice_next(&rest, '\n');
		char copy[4096];

		slice_copy(copy, sizeof(copy), line);
		text_add_safe(&text, copy);
		if (rest.n)
			buf_add_char(&text, '\n');
	}
	if (text.n)
		fprintf(err, "turnpikectl: %s\n", text.p);
	else
		fprintf(err, "turnpikectl: the daemon answered %d without a reason\n", status);
	buf_fini(&text);
}

static int print_text(const struct invocation *v, const json_t *body, FILE *out, FILE *err)
{
	struct buf text;
	int r = COMMAND_OK;

	buf_init(&text, MAX_OUT_BYTES);
	v->command->show(body, &text);
	if (text.failed) {
		fprintf(err, "turnpikectl: out of memory\n");
		r = COMMAND_REFUSED;
	} else if (text.n) {
		fwrite(text.p, 1, text.n, out);
	}
	buf_fini(&text);
	return r;
}

static int print_reply(const struct invocation *v, const struct client_reply *reply, FILE *out,
		       FILE *err)
{
	json_t *body = json_loadb(reply->body.p ? reply->body.p : "", reply->body.n, 0, NULL);
	int r = reply->status == 200 ? COMMAND_OK : COMMAND_REFUSED;

	if (!json_is_object(body)) {
		fprintf(err, "turnpikectl: what answers at %s sent no JSON object (HTTP %d)\n",
			v->socket, reply->status);
		json_decref(body);
		return COMMAND_UNREACHABLE;
	}
	if (v->json) {
		/* ASCII only: the reply may hold text from the wire, and out be a terminal. */
		json_dumpf(body, out, JSON_INDENT(2) | JSON_ENSURE_ASCII);
		fputc('\n', out);
	}
	if (r != COMMAND_OK)
		print_refusal(body, reply->status, err);
	else if (!v->json)
		r = print_text(v, body, out, err);
	if (r == COMMAND_OK && v->command->verdict &&
	    !json_is_true(json_object_get(body, v->command->verdict)))
		r = COMMAND_REFUSED;
	json_decref(body);
	return r;
}

static int call(const struct invocation *v, FILE *out, FILE *err)
{
	struct client_reply reply;
	char why[CLIENT_WHY_BYTES];
	int r = COMMAND_UNREACHABLE;

	if (client_call(v->socket, v->command->method, v->target.p, &reply, why) == 0)
		r = print_reply(v, &reply, out, err);
	else
		fprintf(err, "turnpikectl: %s\n", why);
	buf_fini(&reply.raw);
	return r;
}

int command_run(int argc, char *const *argv, FILE *out, FILE *err)
{
	struct invocation v = { .socket = COMMAND_DEFAULT_SOCKET };
	int r;

	buf_init(&v.target, MAX_TARGET_BYTES);
	r = parse_arguments(&v, argc, argv, err);
	if (r != COMMAND_OK)
		goto out;
	if (v.help)
		print_help(out);
	else if (v.version)
		fprintf(out, "turnpikectl %s\n", TURNPIKE_VERSION);
	else if (v.command->local)
		r = v.command->local(v.argument, v.json, out, err);
	else
		r = call(&v, out, err);
	/* A full disk or a closed pipe behind --json must not look like success. */
	if (fflush(out) != 0 && r == COMMAND_OK)
		r = COMMAND_REFUSED;
out:
	buf_fini(&v.target);
	return r;
}
