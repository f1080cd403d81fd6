#include "tunnel/keys.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/base64.h"

#define PREFIX "SHA256:"

static int refuse(char *why, size_t size, int error, const char *text)
{
	snprintf(why, size, "%s", text);
	return error;
}

int keys_load(const char *path, ssh_key *out, char *why, size_t why_size)
{
	struct stat st;
	ssh_key key = NULL;

	*out = NULL;
	if (stat(path, &st) < 0)
		return refuse(why, why_size, -errno, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return refuse(why, why_size, -EINVAL, "not a file");
	if (st.st_mode & (S_IRWXG | S_IRWXO))
		return refuse(why, why_size, -EPERM,
			      "others can read it: chmod 600, only its owner may");
	if (ssh_pki_import_privkey_file(path, NULL, NULL, NULL, &key) != SSH_OK)
		return refuse(why, why_size, -EINVAL,
			      "not an OpenSSH private key without passphrase");
	if (ssh_key_type(key) != SSH_KEYTYPE_ED25519) {
		ssh_key_free(key);
		return refuse(why, why_size, -EINVAL,
			      "not an ed25519 key: make one with ssh-keygen -t ed25519");
	}
	*out = key;
	return 0;
}

int keys_hash(ssh_key key, uint8_t out[KEYS_HASH_BYTES])
{
	unsigned char *hash = NULL;
	size_t n = 0;
	int error = 0;

	if (ssh_get_publickey_hash(key, SSH_PUBLICKEY_HASH_SHA256, &hash, &n) != SSH_OK ||
	    n != KEYS_HASH_BYTES)
		error = -EINVAL;
	else
		memcpy(out, hash, n);
	ssh_clean_pubkey_hash(&hash);
	return error;
}

const char *keys_fingerprint(const uint8_t hash[KEYS_HASH_BYTES], char buf[KEYS_TEXT_BYTES])
{
	struct buf b;

	buf_init(&b, 64);
	base64_encode(&b, hash, KEYS_HASH_BYTES);
	while (b.n > 0 && b.p[b.n - 1] == '=')
		b.n--;
	snprintf(buf, KEYS_TEXT_BYTES, PREFIX "%.*s", (int)b.n, b.p ? b.p : "?");
	buf_fini(&b);
	return buf;
}

bool keys_fingerprint_parse(struct slice text, uint8_t out[KEYS_HASH_BYTES])
{
	struct slice digits;

	if (!slice_starts(text, SLICE(PREFIX)))
		return false;
	digits = (struct slice){ text.p + sizeof(PREFIX) - 1, text.n - (sizeof(PREFIX) - 1) };
	/* Only what ssh-keygen prints: standard alphabet, no padding. */
	if (digits.n != 43 || slice_find(digits, '-') < digits.n ||
	    slice_find(digits, '_') < digits.n)
		return false;
	return base64_decode(digits, out, KEYS_HASH_BYTES) == KEYS_HASH_BYTES;
}

bool keys_hash_eq(const uint8_t a[KEYS_HASH_BYTES], const uint8_t b[KEYS_HASH_BYTES])
{
	return CRYPTO_memcmp(a, b, KEYS_HASH_BYTES) == 0;
}
