#ifndef CTL_HASH_PASSWORD_H
#define CTL_HASH_PASSWORD_H
/* `turnpikectl hash-password`: what a [web-user] or [admin] section keeps of a password. */
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define HASH_PASSWORD_MAX_BYTES	 256 /* longer ones cannot be used to sign in */
#define HASH_PASSWORD_TEXT_BYTES 128

/* Asks twice on the terminal, without echo, or reads one line of standard input when that is none.
 * Prints the argon2id hash; with user "alice@example.com" the whole section. Returns an exit code
 * (ctl/command.h). */
int hash_password(const char *user, bool json, FILE *out, FILE *err);
/* The same for an administrator: always the whole section. */
int hash_admin_password(const char *name, bool json, FILE *out, FILE *err);
/* The hash of a password in its text form, with a fresh salt. 0, -ENOMEM, or another negative errno
 * of getrandom(). */
int hash_password_text(const char *password, size_t n, char out[HASH_PASSWORD_TEXT_BYTES]);

#endif
