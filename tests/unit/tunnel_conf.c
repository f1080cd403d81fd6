#include "tunnel/tunnel_conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "core/system_conf.h"
#include "tunnel/keys.h"

#define FP_A "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define FP_B "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"
#define E    "[system]\nrole = E\nname = e.test\n"
#define C    "[system]\nrole = C\nname = c.test\n"
#define PEER "[tunnel-peer other]\nfingerprints = " FP_A "\n"

static const struct conf_section *const schema[] = { &system_conf_section, &tunnel_conf_section,
						     &tunnel_peer_conf_section };
static char key_path[] = "/tmp/tunnel-conf-XXXXXX";

static void check(const char *head, const char *key, const char *tail, const char *error)
{
	struct conf_store *store = conf_store_new(schema, 3);
	struct conf_snapshot *snap;
	struct buf errors;
	char text[2048];

	snprintf(text, sizeof(text), "%s[tunnel]\n%s%s%s", head, key[0] ? "key = " : "", key, tail);
	buf_init(&errors, 8192);
	snap = conf_parse(store, "t.ini", slice_of(text), 0, &errors);
	if (error && (snap || !strstr(errors.p, error)))
		fail_msg("wanted '%s', got '%s'", error, errors.p ? errors.p : "nothing");
	if (!error && !snap)
		fail_msg("%s", errors.p);
	if (snap)
		conf_unref(snap);
	buf_fini(&errors);
	conf_store_free(store);
}

static void good_ones(void **state)
{
	check(E, "", "\n", NULL); /* idle */
	check(E, key_path, "\n" PEER, NULL);
	check(C, key_path, "\n" PEER, NULL);
	check(C, key_path, "\n[tunnel-peer edge_1.test]\nfingerprints = " FP_A ", " FP_B "\n",
	      NULL);
	check(C, key_path, "\n" PEER "address = [2001:db8::1]:2223\n", NULL);
	check(C, "", "\n" PEER "enabled = no\n", NULL);
}

static void bad_ones(void **state)
{
	check(E, "", "\n" PEER, "key is missing");
	check(C, "", "\n" PEER, "key is missing");
	check(E, "/dev/null", "\n" PEER, "not a regular file");
	check(E, key_path, "\n" PEER "address = x\n", "only C dials");
	check(C, key_path, "\n" PEER "address = a b\n", "is not a host");
	check(C, key_path, "\n[tunnel-peer a/b]\nfingerprints = " FP_A "\n", "is not a host");
	check(E, key_path, "\n[tunnel-peer a]\n", "fingerprints");
	check(E, key_path, "\n[tunnel-peer a]\nfingerprints = MD5:00\n", "is no fingerprint");
	check(E, key_path, "\n" PEER "[tunnel-peer b]\nfingerprints = " FP_A "\n",
	      "belongs to [tunnel-peer other] too");
	check(E, key_path, "\ndead-after = 3s\n", "longer than keepalive");
	check(C, key_path, "\nretry-min = 10s\nretry-max = 1s\n", "shorter than retry-min");
	check(C, key_path, "\nconnections = 9\n", "connections");
	chmod(key_path, 0640);
	check(E, key_path, "\n" PEER, "chmod 600");
	chmod(key_path, 0600);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_ones),
		cmocka_unit_test(bad_ones),
	};
	ssh_key key = NULL;
	int failed, fd = mkstemp(key_path);

	close(fd);
	ssh_pki_generate(SSH_KEYTYPE_ED25519, 0, &key);
	ssh_pki_export_privkey_file(key, NULL, NULL, NULL, key_path);
	ssh_key_free(key);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(key_path);
	return failed;
}
