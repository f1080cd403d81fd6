#ifndef TUNNEL_KEYS_H
#define TUNNEL_KEYS_H
/* SSH keys: own private ones from files, fingerprints of others. */
#include <libssh/libssh.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

#define KEYS_HASH_BYTES	  32
#define KEYS_TEXT_BYTES	  56 /* "SHA256:" and 43 characters */
#define KEYS_MAX_PER_PEER 8

/* An ed25519 private key in OpenSSH's format, without a passphrase, in a file that nobody but its
 * owner reads. 0; or negative errno and why. The caller frees *out. */
int keys_load(const char *path, ssh_key *out, char *why, size_t why_size);
/* SHA-256 of the public key. */
int keys_hash(ssh_key key, uint8_t out[KEYS_HASH_BYTES]);
/* As ssh-keygen -lf prints it: "SHA256:..." without padding. Returns buf. */
const char *keys_fingerprint(const uint8_t hash[KEYS_HASH_BYTES], char buf[KEYS_TEXT_BYTES]);
bool keys_fingerprint_parse(struct slice text, uint8_t out[KEYS_HASH_BYTES]);
/* Takes as long whatever differs. */
bool keys_hash_eq(const uint8_t a[KEYS_HASH_BYTES], const uint8_t b[KEYS_HASH_BYTES]);

#endif
