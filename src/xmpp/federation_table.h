#ifndef XMPP_FEDERATION_TABLE_H
#define XMPP_FEDERATION_TABLE_H
/* Control tables of federation (docs/protocol/control.md), beside XMPP_TABLE_DOMAINS. */
#define XMPP_TABLE_PARTNERS	"xmpp-partners"	  /* C -> E: see partners_put() */
#define XMPP_TABLE_FEDERATION	"xmpp-federation" /* C -> E: "dialback" -> {"secret": base64} */
#define FEDERATION_KEY_DIALBACK "dialback"
#define FEDERATION_SECRET_BYTES 1024 /* at most; C makes 32 */

#endif
