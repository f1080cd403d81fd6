/* `turnpikectl hash-password`: on a terminal, in a pipe, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <sys/wait.h>
#include <unistd.h>
#include <argon2.h>
#include <cmocka.h>
#include <fcntl.h>

#include "ctl/command.h"
#include "ctl/hash_password.h"

static char out_text[1024], err_text[1024];

static void read_back(char *dst, size_t size, FILE *f)
{
	size_t n;

	rewind(f);
	n = fread(dst, 1, size - 1, f);
	dst[n] = '\0';
	fclose(f);
}

/* With fd as standard input. */
static int run(int fd, const char *user, bool json)
{
	FILE *out = tmpfile(), *err = tmpfile();
	int saved = dup(STDIN_FILENO), r;

	assert_int_equal(dup2(fd, STDIN_FILENO), STDIN_FILENO);
	r = hash_password(user, json, out, err);
	dup2(saved, STDIN_FILENO);
	close(saved);
	read_back(out_text, sizeof(out_text), out);
	read_back(err_text, sizeof(err_text), err);
	return r;
}

static int run_pipe(const char *typed, size_t n, const char *user, bool json)
{
	int ends[2], r;

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], typed, n), n);
	close(ends[1]);
	r = run(ends[0], user, json);
	close(ends[0]);
	return r;
}

static void hash_is_of(char *line, const char *password)
{
	line[strcspn(line, "\n")] = '\0';
	assert_memory_equal(line, "$argon2id$v=19$m=65536,t=3,p=1$",
			    strlen("$argon2id$v=19$m=65536,t=3,p=1$"));
	assert_int_equal(argon2id_verify(line, password, strlen(password)), ARGON2_OK);
}

static void from_a_pipe(void **state)
{
	char first[sizeof(out_text)];

	assert_int_equal(run_pipe("secret\nmore\n", 12, NULL, false), COMMAND_OK);
	hash_is_of(out_text, "secret");
	snprintf(first, sizeof(first), "%s", out_text);
	assert_string_equal(err_text, "");
	/* Another salt each time. */
	assert_int_equal(run_pipe("secret\r\n", 8, NULL, false), COMMAND_OK);
	hash_is_of(out_text, "secret");
	assert_string_not_equal(first, out_text);
	/* Without an end of line, and more than ASCII. */
	assert_int_equal(run_pipe("p\xc3\xa4ss wort", 10, NULL, false), COMMAND_OK);
	hash_is_of(out_text, "p\xc3\xa4ss wort");
}

static void with_a_user(void **state)
{
	static const char head[] = "[web-user alice@example.com]\npassword-hash = ";

	assert_int_equal(run_pipe("x\n", 2, "alice@example.com", false), COMMAND_OK);
	assert_memory_equal(out_text, head, strlen(head));
	hash_is_of(out_text + strlen(head), "x");
	assert_int_equal(run_pipe("x\n", 2, "alice@example.com", true), COMMAND_OK);
	assert_non_null(strstr(out_text, "\"user\": \"alice@example.com\""));
	assert_non_null(strstr(out_text, "\"password-hash\": \"$argon2id$"));
	assert_int_equal(run_pipe("x\n", 2, NULL, true), COMMAND_OK);
	assert_null(strstr(out_text, "user"));
}

static void for_an_administrator(void **state)
{
	static const char head[] = "[admin ops]\npassword-hash = ";
	static char *const words[] = {
		(char *)(uintptr_t) "turnpikectl",
		(char *)(uintptr_t) "hash-password",
		(char *)(uintptr_t) "admin",
		(char *)(uintptr_t) "ops",
	};
	static const char *const bad[] = { "a@b", "a:b", "a b", "a]", "" };
	FILE *out = tmpfile(), *err = tmpfile();
	int ends[2], saved = dup(STDIN_FILENO);

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], "x\n", 2), 2);
	close(ends[1]);
	dup2(ends[0], STDIN_FILENO);
	assert_int_equal(command_run(3, words, out, err), COMMAND_USAGE);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(hash_admin_password(bad[i], false, out, err), COMMAND_USAGE);
	assert_int_equal(command_run(4, words, out, err), COMMAND_OK);
	dup2(saved, STDIN_FILENO);
	close(saved);
	close(ends[0]);
	read_back(out_text, sizeof(out_text), out);
	read_back(err_text, sizeof(err_text), err);
	assert_memory_equal(out_text, head, strlen(head));
	hash_is_of(out_text + strlen(head), "x");
}

static void refused_users(void **state)
{
	static const char *const users[] = { "",      "alice", "@example.com",	"alice@",
					     "a b@x", "a]@x",  "a@x\n[system]", "a;@x" };

	for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++) {
		assert_int_equal(run_pipe("x\n", 2, users[i], false), COMMAND_USAGE);
		assert_string_equal(out_text, "");
	}
}

static void refused_passwords(void **state)
{
	char longest[HASH_PASSWORD_MAX_BYTES + 2];

	memset(longest, 'a', sizeof(longest));
	assert_int_equal(run_pipe(longest, HASH_PASSWORD_MAX_BYTES, NULL, false), COMMAND_OK);
	assert_int_equal(run_pipe(longest, HASH_PASSWORD_MAX_BYTES + 1, NULL, false),
			 COMMAND_REFUSED);
	assert_non_null(strstr(err_text, "at most 256 bytes"));
	assert_int_equal(run_pipe("", 0, NULL, false), COMMAND_REFUSED);
	assert_int_equal(run_pipe("\n", 1, NULL, false), COMMAND_REFUSED);
	assert_int_equal(run_pipe("a\tb\n", 4, NULL, false), COMMAND_REFUSED);
	assert_int_equal(run_pipe("a\0b\n", 4, NULL, false), COMMAND_REFUSED);
	assert_string_equal(out_text, "");
	assert_non_null(strstr(err_text, "control characters"));
}

/* A terminal on which `typed` waits already. TCSAFLUSH would throw it away, so that a child types
 * once the echo is off. */
static int run_terminal(const char *typed)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY), slave, r;
	struct termios before, after;
	pid_t child;

	assert_true(master >= 0);
	assert_int_equal(grantpt(master) | unlockpt(master), 0);
	slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	assert_true(slave >= 0);
	assert_int_equal(tcgetattr(slave, &before), 0);
	child = fork();
	if (child == 0) {
		struct termios now;

		do {
			usleep(1000);
		} while (tcgetattr(slave, &now) == 0 && now.c_lflag & ECHO);
		_exit(write(master, typed, strlen(typed)) < 0);
	}
	r = run(slave, NULL, false);
	assert_int_equal(tcgetattr(slave, &after), 0);
	assert_int_equal(before.c_lflag, after.c_lflag);
	assert_int_equal(waitpid(child, NULL, 0), child);
	close(slave);
	close(master);
	return r;
}

static void on_a_terminal(void **state)
{
	assert_int_equal(run_terminal("secret\nsecret\n"), COMMAND_OK);
	hash_is_of(out_text, "secret");
	assert_string_equal(err_text, "password: \nagain: \n");
	assert_int_equal(run_terminal("secret\nsecreT\n"), COMMAND_REFUSED);
	assert_non_null(strstr(err_text, "not the same"));
	/* Ctrl-C, and Ctrl-D on an empty line: nothing is printed, the echo is back. */
	assert_int_equal(run_terminal("sec\x03"), COMMAND_REFUSED);
	assert_string_equal(out_text, "");
	assert_int_equal(run_terminal("\x04"), COMMAND_REFUSED);
	assert_string_equal(out_text, "");
}

static void by_the_command_line(void **state)
{
	static char *const words[] = {
		(char *)(uintptr_t) "turnpikectl", (char *)(uintptr_t) "--socket",
		(char *)(uintptr_t) "/nowhere",	   (char *)(uintptr_t) "hash-password",
		(char *)(uintptr_t) "a@x",	   (char *)(uintptr_t) "b@x"
	};
	FILE *out = tmpfile(), *err = tmpfile();
	int ends[2], saved = dup(STDIN_FILENO);

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], "x\n", 2), 2);
	close(ends[1]);
	dup2(ends[0], STDIN_FILENO);
	assert_int_equal(command_run(6, words, out, err), COMMAND_USAGE);
	assert_int_equal(command_run(5, words, out, err), COMMAND_OK);
	dup2(saved, STDIN_FILENO);
	close(saved);
	close(ends[0]);
	read_back(out_text, sizeof(out_text), out);
	read_back(err_text, sizeof(err_text), err);
	assert_memory_equal(out_text, "[web-user a@x]\n", 15);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(from_a_pipe),		cmocka_unit_test(with_a_user),
		cmocka_unit_test(for_an_administrator), cmocka_unit_test(refused_users),
		cmocka_unit_test(refused_passwords),	cmocka_unit_test(on_a_terminal),
		cmocka_unit_test(by_the_command_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
