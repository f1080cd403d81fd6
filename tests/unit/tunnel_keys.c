#include "tunnel/keys.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "support/alloc_fail.h"
#include "tunnel/tunnel_conf.h"

/* A published test vector: what ssh-keygen -lf printed for it stands below. */
#define PUBLIC "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"

static char dir[] = "/tmp/keys-test-XXXXXX";

static void write_key(const char *path, enum ssh_keytypes_e type, int bits, mode_t mode)
{
	ssh_key key = NULL;

	unlink(path);
	assert_int_equal(ssh_pki_generate(type, bits, &key), SSH_OK);
	assert_int_equal(ssh_pki_export_privkey_file(key, NULL, NULL, NULL, path), SSH_OK);
	assert_int_equal(chmod(path, mode), 0);
	ssh_key_free(key);
}

static void files(void **state)
{
	char path[64], why[200];
	ssh_key key;
	FILE *f;

	snprintf(path, sizeof(path), "%s/key", dir);
	assert_int_equal(keys_load(path, &key, why, sizeof(why)), -ENOENT);
	write_key(path, SSH_KEYTYPE_ED25519, 0, 0600);
	assert_int_equal(keys_load(path, &key, why, sizeof(why)), 0);
	assert_int_equal(ssh_key_type(key), SSH_KEYTYPE_ED25519);
	ssh_key_free(key);
	for (mode_t m = 1; m < 0100; m <<= 1) {
		chmod(path, 0600 | m);
		assert_int_equal(keys_load(path, &key, why, sizeof(why)), -EPERM);
		assert_null(key);
		assert_non_null(strstr(why, "chmod 600"));
	}
	write_key(path, SSH_KEYTYPE_ECDSA, 256, 0600);
	assert_int_equal(keys_load(path, &key, why, sizeof(why)), -EINVAL);
	assert_non_null(strstr(why, "ed25519"));
	f = fopen(path, "w");
	fputs("-----BEGIN OPENSSH PRIVATE KEY-----\nrubbish\n", f);
	fclose(f);
	assert_int_equal(keys_load(path, &key, why, sizeof(why)), -EINVAL);
	assert_int_equal(keys_load(dir, &key, why, sizeof(why)), -EINVAL);
	unlink(path);
}

static void fingerprints(void **state)
{
	uint8_t hash[KEYS_HASH_BYTES], back[KEYS_HASH_BYTES];
	char text[KEYS_TEXT_BYTES], *theirs;
	ssh_key key = NULL;

	assert_int_equal(ssh_pki_import_pubkey_base64(PUBLIC, SSH_KEYTYPE_ED25519, &key), SSH_OK);
	assert_int_equal(keys_hash(key, hash), 0);
	keys_fingerprint(hash, text);
	theirs = ssh_get_fingerprint_hash(SSH_PUBLICKEY_HASH_SHA256, hash, sizeof(hash));
	assert_string_equal(text, theirs);
	ssh_string_free_char(theirs);
	ssh_key_free(key);
	assert_int_equal(strlen(text), 50);
	assert_true(keys_fingerprint_parse(slice_of(text), back));
	assert_true(keys_hash_eq(hash, back));
	back[31] ^= 1;
	assert_false(keys_hash_eq(hash, back));
	/* Only that form. */
	assert_false(keys_fingerprint_parse((struct slice){ text, 49 }, back));
	assert_false(keys_fingerprint_parse(slice_of(text + 7), back));
	assert_false(keys_fingerprint_parse(SLICE("MD5:aa:bb"), back));
	assert_false(keys_fingerprint_parse(SLICE_NONE, back));
	text[10] = '_';
	assert_false(keys_fingerprint_parse(slice_of(text), back));
	text[10] = ' ';
	assert_false(keys_fingerprint_parse(slice_of(text), back));
	memcpy(text, "sha256", 6);
	assert_false(keys_fingerprint_parse(slice_of(text), back));
}

static void addresses(void **state)
{
	static const struct {
		const char *text, *host;
		uint16_t port;
	} good[] = {
		{ "edge1.example.com", "edge1.example.com", 2222 },
		{ "edge_1", "edge_1", 2222 },
		{ "edge_1.lab:22", "edge_1.lab", 22 },
		{ "192.0.2.1", "192.0.2.1", 2222 },
		{ "192.0.2.1:2223", "192.0.2.1", 2223 },
		{ "2001:db8::1", "2001:db8::1", 2222 },
		{ "[2001:db8::1]:2223", "2001:db8::1", 2223 },
	};
	static const char *const bad[] = { "",	  "a b", "a:0",	  "a:65536",	"a:x",
					   ":22", "a/b", "a:1:2", "caf\xc3\xa9" };
	char host[254];
	uint16_t port;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_true(tunnel_peer_address(good[i].text, host, sizeof(host), &port));
		assert_string_equal(host, good[i].host);
		assert_int_equal(port, good[i].port);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (tunnel_peer_address(bad[i], host, sizeof(host), &port))
			fail_msg("'%s' was taken", bad[i]);
	}
}

static void load(void *arg)
{
	char text[KEYS_TEXT_BYTES];
	uint8_t hash[KEYS_HASH_BYTES] = { 1 };

	keys_fingerprint(hash, text);
	assert_int_equal(strncmp(text, "SHA256:", 7), 0);
}

static void allocations_fail(void **state)
{
	alloc_fail_sweep(load, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files),
		cmocka_unit_test(fingerprints),
		cmocka_unit_test(addresses),

		cmocka_unit_test(allocations_fail),
	};
	int failed;

	assert_non_null(mkdtemp(dir));
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(dir);
	return failed;
}
