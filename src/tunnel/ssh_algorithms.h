#ifndef TUNNEL_SSH_ALGORITHMS_H
#define TUNNEL_SSH_ALGORITHMS_H
/* The same on both sides. AES-128-GCM costs least; all three ciphers authenticate by themselves.
 * libssh adds strict key exchange (no Terrapin) on its own. */
#define SSH_KEX_LIST "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256"
#define SSH_CIPHER_LIST \
	"aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com"
#define SSH_MAC_LIST "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com"
#define SSH_KEY_LIST "ssh-ed25519"

#endif
