#ifndef SIP_DIALOG_H
#define SIP_DIALOG_H
/*
 * One dialog (RFC 3261 12) of a call, ours being one end of it. Pure: it keeps ids, sequence
 * numbers, target and route set, prints the headers of requests and takes over what messages say.
 *
 *   IDLE --1xx with tag--> EARLY --2xx--> CONFIRMED --BYE--> ENDED
 *   IDLE --2xx--> CONFIRMED              any --final failure--> ENDED
 */
#include <stdbool.h>
#include <stdint.h>

#include "proto/sip_build.h"
#include "sip/side.h"

enum dialog_state { DIALOG_IDLE, DIALOG_EARLY, DIALOG_CONFIRMED, DIALOG_ENDED };

struct dialog {
	enum dialog_state state;
	bool is_uac;
	char *call_id;
	char *local_tag;
	char *remote_tag;    /* NULL until known */
	char *local;	     /* From/To value on our side, without tag */
	char *remote;	     /* the same of the peer */
	char *remote_target; /* URI */
	char *routes; /* route set as one header value list: "<sip:a;lr>, <sip:b;lr>", or NULL */
	uint32_t local_cseq;
	uint32_t remote_cseq;
	bool has_remote_cseq;
	struct side side;
	char contact_user[24];
};

const char *dialog_state_str(enum dialog_state s);
/* As UAS: from the INVITE that came in on side. 0 or -ENOMEM (then dialog_fini() anyway). */
int dialog_init_uas(struct dialog *d, const struct sip_msg *invite, const struct side *side,
		    const char *local_tag);
/* As UAC: for an INVITE to send. from/to: header values (any tag is dropped); target: Request-URI;
 * routes: initial route list or NULL. */
int dialog_init_uac(struct dialog *d, const struct side *side, const char *call_id,
		    const char *local_tag, struct slice from, struct slice to, struct slice target,
		    const char *routes);
void dialog_fini(struct dialog *d);
/* UAC: a 1xx with a tag or a 2xx to the INVITE: takes tag, target and (while not CONFIRMED) the
 * reversed Record-Route (12.1.2). 0 or -ENOMEM. */
int dialog_on_response(struct dialog *d, const struct sip_msg *m);
/* A request of the peer inside the dialog: -EINVAL when its CSeq is not higher (12.2.2: 500).
 * Target refresh for INVITE and UPDATE. ACK and CANCEL are not for this. */
int dialog_on_request(struct dialog *d, const struct sip_msg *m);
/* Starts a request in the dialog: request line, Via with branch, Route, Max-Forwards, From, To,
 * Call-ID, CSeq. cseq 0: the next one (taken); else that one (ACK). */
void dialog_request(struct dialog *d, struct sip_build *b, struct slice method, const char *branch,
		    uint32_t cseq, int max_forwards);
/* Our Contact header for this dialog. */
void dialog_contact(const struct dialog *d, struct sip_build *b);
/* Does a request with these ids belong to it? remote_tag must match once known. */
bool dialog_matches(const struct dialog *d, struct slice call_id, struct slice local_tag,
		    struct slice remote_tag);
/* Where a request in the dialog goes: first route, else the remote target (12.2.1.1). */
struct slice dialog_next_hop(const struct dialog *d);

#endif
