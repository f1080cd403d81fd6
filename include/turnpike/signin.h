#ifndef TURNPIKE_SIGNIN_H
#define TURNPIKE_SIGNIN_H
/*
 * Service "signin": who is who. C authenticates users against what their domain names and keeps the
 * sessions; E has a replicated copy (control table "sessions") and asks C for everything that needs
 * a password. The same functions on both boxes; on C they answer out of their own tables.
 *
 * A session has a token (the X-Auth cookie: a random UUID, a secret) and an id (32 hex digits,
 * shown everywhere, no secret).
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/slice.h"
#include "proto/digest.h"
#include "turnpike/tunnel.h"

#define SIGNIN_TOKEN_BYTES  37 /* UUID text and NUL */
#define SIGNIN_ID_BYTES	    33
#define SIGNIN_DOMAIN_BYTES 254
#define SIGNIN_USER_BYTES   128

struct signin_session {
	char token[SIGNIN_TOKEN_BYTES];
	char id[SIGNIN_ID_BYTES];
	char domain[SIGNIN_DOMAIN_BYTES];
	char user[SIGNIN_USER_BYTES]; /* as signed in, without the domain */
	struct addr from;	      /* where outside the sign-in came from */
	int64_t expires_ms;	      /* monotonic, of this box */
	uint32_t life_s;	      /* given at sign-in */
	tunnel_peer peer;	      /* on E: the C that made it; on C: the E that asked */
	uint64_t conn_id;	      /* entry of the connection table (CONN_SIGNIN) */
};

/* A domain that C serves; on E as announced. */
struct signin_domain {
	char name[SIGNIN_DOMAIN_BYTES];
	bool web; /* the edge service on 8443 */
	bool sip;
	bool sip_signin; /* a REGISTER must belong to a signed-in user */
	bool im;
	tunnel_peer
		peer; /* on E: a C that serves it and is up, preferring this one; 0: none is up */
};

enum signin_status {
	SIGNIN_OK,
	SIGNIN_DENIED,	    /* 401: wrong user or password */
	SIGNIN_NO_DOMAIN,   /* 403: not served, or not for the web */
	SIGNIN_TOO_MANY,    /* 429 */
	SIGNIN_UNAVAILABLE, /* 503: what knows the passwords, or the tunnel, does not answer */
	SIGNIN_BAD_REQUEST, /* 400: the credentials cannot be read */
};

struct signin_result {
	enum signin_status status;
	const struct signin_session *session; /* SIGNIN_OK; valid during the callback */
	uint32_t retry_after_s;		      /* SIGNIN_TOO_MANY, SIGNIN_UNAVAILABLE; 0: not said */
	const char *why;		      /* for traces and logs */
};
typedef void (*signin_done)(void *arg, const struct signin_result *r);

struct signin_ops {
	/* The domain (any case), or NULL when C has not announced it. On E peer is filled. */
	const struct signin_domain *(*domain)(void *self, struct slice name);
	/* By token (constant-time compare) or by id; NULL: no such session, or expired. */
	const struct signin_session *(*by_token)(void *self, struct slice token);
	const struct signin_session *(*by_id)(void *self, struct slice id);
	/* The newest session of a user, one from the same source address preferred; NULL: none. */
	const struct signin_session *(*of_user)(void *self, struct slice domain, struct slice user,
						const struct addr *from);
	/* authorization: value of an Authorization field (Basic). A good one makes a session, or
	 * finds the one that the same user has from the same source. Never calls back before it
	 * returns. Returns an id for cancel(); 0 without memory. */
	uint64_t (*sign_in)(void *self, struct slice domain, struct slice authorization,
			    const struct addr *from, signin_done done, void *arg);
	void (*cancel)(void *self, uint64_t id);
	void (*sign_out)(void *self, struct slice token, const char *why);
	/* The session is used now (for the list); cheap. */
	void (*touch)(void *self, struct slice id);
	/* Basic credentials of an administrator ([admin NAME] sections), for the API. Good ones are
	 * kept, hashed, for a minute, so that a program may ask often; wrong ones are counted and
	 * slowed down as those of users are. Calls back once, never before it returns; status OK,
	 * DENIED, TOO_MANY, BAD_REQUEST or UNAVAILABLE. Returns an id for cancel(); 0 without
	 * memory. */
	uint64_t (*admin)(void *self, struct slice authorization, const struct addr *from,
			  void (*done)(void *arg, enum signin_status status, const char *name,
				       uint32_t retry_after_s, const char *why),
			  void *arg);
	/* A backend answered 401 to these credentials: what was cached of them is dropped. C only.
	 */
	void (*distrust)(void *self, struct slice session_id, struct slice authorization);
	/* Digest of a SIP request (RFC 7616, 8760) of a signed-in user: C compares with what it
	 * keeps of the sign-in; answers are cached on E for the life of the nonce. realm and nonce
	 * are those that the caller made and checked. */
	uint64_t (*check_digest)(void *self, struct slice domain, const struct digest_response *r,
				 struct slice method, const struct addr *from, signin_done done,
				 void *arg);
};
#define SIGNIN_SERVICE "signin"

#endif
