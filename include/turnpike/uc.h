#ifndef TURNPIKE_UC_H
#define TURNPIKE_UC_H
/*
 * Service "uc" (on C): the call manager, presence and voicemail servers inside, from [uc-cluster]
 * sections: written there, found by SRV, or asked from a publisher by AXL; which cluster is a
 * user's home; and the password check at it (UDS).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/slice.h"

enum uc_role {
	UC_CALL_MANAGER = 1 << 0, /* SIP, UDS on 8443 */
	UC_TFTP = 1 << 1,	  /* configuration files on 6970 (6972 TLS) */
	UC_PRESENCE = 1 << 2,	  /* IM: SOAP on 8443 */
	UC_VOICEMAIL = 1 << 3,	  /* 443, 7080, 7443 */
};

struct uc_node {
	const char *name;     /* host name or address, as the administrator or AXL gave it */
	const char *cluster;  /* [uc-cluster NAME] */
	unsigned roles;	      /* enum uc_role */
	uint16_t uds_port;    /* 8443 unless written otherwise */
	uint16_t port;	      /* as written with a tftp or voicemail server; 0: the usual ones */
	bool mixed;	      /* cluster security mode: TLS lines exist */
	bool verify;	      /* check its certificate */
	const char *tls;      /* [tls NAME] whose ca is trusted; NULL: the system's CAs */
	const char *tcp_zone; /* its generated zones CEtcp-<name> and CEtls-<name>; NULL: none */
	const char *tls_zone;
	bool alive; /* as far as probes know */
};

enum uc_answer {
	UC_YES,
	UC_NO,		 /* the home cluster refused the password */
	UC_UNKNOWN_USER, /* every cluster of the domain says so */
	UC_FAILED,	 /* a cluster that might be the home gave no answer: 503, never 401 */
};

struct uc_result {
	enum uc_answer answer;
	const char *cluster; /* home cluster, when known */
	const char *node;    /* who said so */
	const char *why;
};
typedef void (*uc_done)(void *arg, const struct uc_result *r);

struct uc_ops {
	/* All nodes known now, i from 0; false behind the last. Valid until the loop's turn ends.
	 */
	bool (*node)(void *self, size_t i, struct uc_node *out);
	/* Grows with every change of the nodes. */
	uint64_t (*generation)(void *self);
	/* Does the domain have clusters? */
	bool (*serves)(void *self, struct slice domain);
	/* Home cluster look-up, then the password check there, with fail-over between nodes: UC_NO
	 * only when the home cluster itself said 401. Never calls back before it returns; 0 without
	 * memory. */
	uint64_t (*check)(void *self, struct slice domain, struct slice user, struct slice password,
			  uc_done done, void *arg);
	void (*cancel)(void *self, uint64_t id);
	/* The user's home cluster from the last look-up that succeeded, however long ago; NULL: not
	 * known (no sign-in since the start). Valid until the loop's turn ends. */
	const char *(*home)(void *self, struct slice domain, struct slice user);
};
#define UC_SERVICE "uc"

#endif
