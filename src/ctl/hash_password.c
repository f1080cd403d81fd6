#include "ctl/hash_password.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>
#include <termios.h>
#include <unistd.h>

#include <argon2.h>
#include <jansson.h>

#include "base/slice.h"
#include "ctl/command.h"

/* RFC 9106 section 4 asks for three passes with 64 MiB; one lane, since the daemon's workers count
 * as one each. */
enum { ADMIN_MAX_BYTES = 127 };
enum { MEMORY_KIB = 64 * 1024, PASSES = 3, LANES = 1, SALT_BYTES = 16, HASH_BYTES = 32 };

/* What was typed, and room to see that it is too long. */
struct password {
	char text[HASH_PASSWORD_MAX_BYTES + 2];
	size_t n;
};

int hash_password_text(const char *password, size_t n, char out[HASH_PASSWORD_TEXT_BYTES])
{
	uint8_t salt[SALT_BYTES];
	ssize_t got = getrandom(salt, sizeof(salt), 0);
	int r;

	if (got != (ssize_t)sizeof(salt))
		return got < 0 ? -errno : -EIO;
	r = argon2id_hash_encoded(PASSES, MEMORY_KIB, LANES, password, n, salt, sizeof(salt),
				  HASH_BYTES, out, HASH_PASSWORD_TEXT_BYTES);
	return r == ARGON2_OK ? 0 : r == ARGON2_MEMORY_ALLOCATION_ERROR ? -ENOMEM : -EINVAL;
}

#define INTERRUPT '\x03' /* Ctrl-C as a byte */

/* One line of the descriptor, byte by byte: nothing behind it is taken, no copy stays in a stdio
 * buffer. False: nothing came. */
static bool read_line(int fd, struct password *p)
{
	bool any = false;
	char c;

	p->n = 0;
	for (;;) {
		ssize_t n = read(fd, &c, 1);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || c == '\n')
			break;
		if (c == INTERRUPT) {
			any = false;
			break;
		}
		any = true;
		if (p->n < sizeof(p->text) - 1)
			p->text[p->n++] = c;
	}
	if (p->n > 0 && p->text[p->n - 1] == '\r')
		p->n--;
	p->text[p->n] = '\0';
	c = '\0';
	return any;
}

static bool ask(const char *question, struct password *p, FILE *err)
{
	bool good;

	fprintf(err, "%s", question);
	fflush(err);
	good = read_line(STDIN_FILENO, p);
	fprintf(err, "\n");
	return good;
}

/* Twice and without echo. Ctrl-C is a byte that ends the line meanwhile, no signal: the echo must
 * come back. */
static const char *ask_terminal(struct password *p, FILE *err)
{
	struct password again = { .n = 0 };
	struct termios old, quiet;
	const char *why = NULL;

	if (tcgetattr(STDIN_FILENO, &old) < 0)
		return "the terminal cannot be read without echo";
	quiet = old;
	quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL | ISIG);
	quiet.c_cc[VEOL] = INTERRUPT;
	if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) < 0)
		return "the terminal cannot be read without echo";
	if (!ask("password: ", p, err) || !ask("again: ", &again, err))
		why = "no password given";
	else if (p->n != again.n || memcmp(p->text, again.text, p->n) != 0)
		why = "the two are not the same";
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
	explicit_bzero(&again, sizeof(again));
	return why;
}

/* What no client could ever send as Basic credentials (RFC 7617 2). */
static const char *refuse(const struct password *p)
{
	if (p->n == 0)
		return "no password given";
	if (p->n > HASH_PASSWORD_MAX_BYTES)
		return "a password has at most 256 bytes";
	for (size_t i = 0; i < p->n; i++)
		if ((unsigned char)p->text[i] < 0x20 || p->text[i] == 0x7f)
			return "a password has no control characters";
	return NULL;
}

/* It becomes the header of a section. */
static bool fits_header(const char *name)
{
	for (const unsigned char *p = (const unsigned char *)name; *p; p++)
		if (*p <= 0x20 || *p == 0x7f || strchr("[]#;\"\\", *p))
			return false;
	return true;
}

static bool is_user(const char *user)
{
	const char *at = strrchr(user, '@');

	return at && at != user && at[1] && fits_header(user);
}

static bool is_admin(const char *name)
{
	return name[0] && strlen(name) <= ADMIN_MAX_BYTES && !strpbrk(name, "@:") &&
	       fits_header(name);
}

static int print(const char *section, const char *key, const char *name, const char *hash,
		 bool json, FILE *out)
{
	json_t *o;

	if (!json) {
		if (name)
			fprintf(out, "[%s %s]\npassword-hash = ", section, name);
		fprintf(out, "%s\n", hash);
		return COMMAND_OK;
	}
	o = json_pack("{s:s*,s:s}", key, name, "password-hash", hash);
	if (!o)
		return COMMAND_REFUSED;
	json_dumpf(o, out, JSON_INDENT(2) | JSON_ENSURE_ASCII);
	fputc('\n', out);
	json_decref(o);
	return COMMAND_OK;
}

static int ask_and_print(const char *section, const char *key, const char *name, bool json,
			 FILE *out, FILE *err)
{
	char hash[HASH_PASSWORD_TEXT_BYTES];
	struct password p = { .n = 0 };
	const char *why = NULL;
	int r = COMMAND_REFUSED, error;

	if (isatty(STDIN_FILENO))
		why = ask_terminal(&p, err);
	else
		read_line(STDIN_FILENO, &p);
	why = why ? why : refuse(&p);
	error = why ? 0 : hash_password_text(p.text, p.n, hash);
	if (why)
		fprintf(err, "turnpikectl: %s\n", why);
	else if (error)
		fprintf(err, "turnpikectl: cannot hash: %s\n", strerror(-error));
	else
		r = print(section, key, name, hash, json, out);
	explicit_bzero(&p, sizeof(p));
	return r;
}

int hash_password(const char *user, bool json, FILE *out, FILE *err)
{
	if (user && !is_user(user)) {
		fprintf(err, "turnpikectl: a web user is written USER@DOMAIN\n");
		return COMMAND_USAGE;
	}
	return ask_and_print("web-user", "user", user, json, out, err);
}

int hash_admin_password(const char *name, bool json, FILE *out, FILE *err)
{
	if (!is_admin(name)) {
		fprintf(err, "turnpikectl: the name of an administrator has no spaces, @ and "
			     "colon\n");
		return COMMAND_USAGE;
	}
	return ask_and_print("admin", "admin", name, json, out, err);
}
