/* The words of SIP: methods, header names with their compact forms, reason phrases. */
#include <strings.h>

#include "proto/sip_text.h"

static const char *const methods[] = {
	[SIP_INVITE] = "INVITE",       [SIP_ACK] = "ACK",
	[SIP_CANCEL] = "CANCEL",       [SIP_BYE] = "BYE",
	[SIP_OPTIONS] = "OPTIONS",     [SIP_REGISTER] = "REGISTER",
	[SIP_INFO] = "INFO",	       [SIP_PRACK] = "PRACK",
	[SIP_UPDATE] = "UPDATE",       [SIP_MESSAGE] = "MESSAGE",
	[SIP_SUBSCRIBE] = "SUBSCRIBE", [SIP_NOTIFY] = "NOTIFY",
	[SIP_REFER] = "REFER",	       [SIP_PUBLISH] = "PUBLISH",
};

static const struct {
	const char *name;
	uint8_t n;
	char compact; /* RFC 3261 7.3.3 and the extensions' own; 0: none */
} headers[SIP_HDR_N] = {
#define H(id, name, compact) [SIP_HDR_##id] = { name, sizeof(name) - 1, compact }
	H(OTHER, "", 0),
	H(VIA, "Via", 'v'),
	H(ROUTE, "Route", 0),
	H(RECORD_ROUTE, "Record-Route", 0),
	H(PATH, "Path", 0),
	H(SERVICE_ROUTE, "Service-Route", 0),
	H(FROM, "From", 'f'),
	H(TO, "To", 't'),
	H(CALL_ID, "Call-ID", 'i'),
	H(CSEQ, "CSeq", 0),
	H(MAX_FORWARDS, "Max-Forwards", 0),
	H(CONTACT, "Contact", 'm'),
	H(EXPIRES, "Expires", 0),
	H(MIN_EXPIRES, "Min-Expires", 0),
	H(CONTENT_TYPE, "Content-Type", 'c'),
	H(CONTENT_LENGTH, "Content-Length", 'l'),
	H(CONTENT_ENCODING, "Content-Encoding", 'e'),
	H(CONTENT_DISPOSITION, "Content-Disposition", 0),
	H(AUTHORIZATION, "Authorization", 0),
	H(WWW_AUTHENTICATE, "WWW-Authenticate", 0),
	H(PROXY_AUTHORIZATION, "Proxy-Authorization", 0),
	H(PROXY_AUTHENTICATE, "Proxy-Authenticate", 0),
	H(SUPPORTED, "Supported", 'k'),
	H(REQUIRE, "Require", 0),
	H(PROXY_REQUIRE, "Proxy-Require", 0),
	H(UNSUPPORTED, "Unsupported", 0),
	H(ALLOW, "Allow", 0),
	H(RSEQ, "RSeq", 0),
	H(RACK, "RAck", 0),
	H(SESSION_EXPIRES, "Session-Expires", 'x'),
	H(MIN_SE, "Min-SE", 0),
	H(REFER_TO, "Refer-To", 'r'),
	H(REFERRED_BY, "Referred-By", 'b'),
	H(REPLACES, "Replaces", 0),
	H(EVENT, "Event", 'o'),
	H(SUBSCRIPTION_STATE, "Subscription-State", 0),
	H(RETRY_AFTER, "Retry-After", 0),
	H(REASON, "Reason", 0),
	H(USER_AGENT, "User-Agent", 0),
	H(SERVER, "Server", 0),
	H(WARNING, "Warning", 0),
	H(P_ASSERTED_IDENTITY, "P-Asserted-Identity", 0),
	H(P_PREFERRED_IDENTITY, "P-Preferred-Identity", 0),
	H(PRIVACY, "Privacy", 0),
	H(DIVERSION, "Diversion", 0),
	H(REMOTE_PARTY_ID, "Remote-Party-ID", 0),
	H(SESSION_ID, "Session-ID", 0),
	H(TIMESTAMP, "Timestamp", 0),
	H(TURNPIKE_SESSION, "Turnpike-Session", 0),
#undef H
};

/* Compact forms of headers that have no id: their full names, so that nothing leaves compact. */
static const struct {
	char compact;
	const char *name;
} other_compact[] = {
	{ 's', "Subject" },	   { 'a', "Accept-Contact" },
	{ 'j', "Reject-Contact" }, { 'd', "Request-Disposition" },
	{ 'u', "Allow-Events" },   { 'y', "Identity" },
	{ 'n', "Identity-Info" },
};

enum sip_method sip_method_parse(struct slice s)
{
	/* Method names are case-sensitive (RFC 3261 7.1). */
	for (unsigned i = SIP_INVITE; i < sizeof(methods) / sizeof(methods[0]); i++) {
		if (slice_eq(s, slice_of(methods[i])))
			return (enum sip_method)i;
	}
	return SIP_OTHER_METHOD;
}

const char *sip_method_str(enum sip_method m)
{
	if (m <= SIP_OTHER_METHOD || m >= sizeof(methods) / sizeof(methods[0]))
		return "OTHER";
	return methods[m];
}

const char *sip_hdr_name(enum sip_hdr_id id)
{
	return id < SIP_HDR_N ? headers[id].name : "";
}

static enum sip_hdr_id compact_find(char c, struct slice *name)
{
	for (unsigned i = SIP_HDR_OTHER + 1; i < SIP_HDR_N; i++) {
		if (headers[i].compact == c) {
			*name = (struct slice){ headers[i].name, headers[i].n };
			return (enum sip_hdr_id)i;
		}
	}
	for (size_t i = 0; i < sizeof(other_compact) / sizeof(other_compact[0]); i++) {
		if (other_compact[i].compact == c)
			*name = slice_of(other_compact[i].name);
	}
	return SIP_HDR_OTHER;
}

enum sip_hdr_id sip_hdr_find(struct slice *name)
{
	char first = name->n ? (char)(name->p[0] | 0x20) : 0;

	if (name->n == 1)
		return compact_find(first, name);
	for (unsigned i = SIP_HDR_OTHER + 1; i < SIP_HDR_N; i++) {
		if (headers[i].n == name->n && (headers[i].name[0] | 0x20) == first &&
		    strncasecmp(headers[i].name, name->p, name->n) == 0) {
			name->p = headers[i].name;
			return (enum sip_hdr_id)i;
		}
	}
	return SIP_HDR_OTHER;
}

static const struct {
	int status;
	const char *phrase;
} phrases[] = {
	{ 100, "Trying" },
	{ 180, "Ringing" },
	{ 181, "Call Is Being Forwarded" },
	{ 182, "Queued" },
	{ 183, "Session Progress" },
	{ 199, "Early Dialog Terminated" },
	{ 200, "OK" },
	{ 202, "Accepted" },
	{ 204, "No Notification" },
	{ 300, "Multiple Choices" },
	{ 301, "Moved Permanently" },
	{ 302, "Moved Temporarily" },
	{ 305, "Use Proxy" },
	{ 380, "Alternative Service" },
	{ 400, "Bad Request" },
	{ 401, "Unauthorized" },
	{ 402, "Payment Required" },
	{ 403, "Forbidden" },
	{ 404, "Not Found" },
	{ 405, "Method Not Allowed" },
	{ 406, "Not Acceptable" },
	{ 407, "Proxy Authentication Required" },
	{ 408, "Request Timeout" },
	{ 410, "Gone" },
	{ 412, "Conditional Request Failed" },
	{ 413, "Request Entity Too Large" },
	{ 414, "Request-URI Too Long" },
	{ 415, "Unsupported Media Type" },
	{ 416, "Unsupported URI Scheme" },
	{ 417, "Unknown Resource-Priority" },
	{ 420, "Bad Extension" },
	{ 421, "Extension Required" },
	{ 422, "Session Interval Too Small" },
	{ 423, "Interval Too Brief" },
	{ 428, "Use Identity Header" },
	{ 429, "Provide Referrer Identity" },
	{ 430, "Flow Failed" },
	{ 433, "Anonymity Disallowed" },
	{ 436, "Bad Identity Info" },
	{ 437, "Unsupported Credential" },
	{ 438, "Invalid Identity Header" },
	{ 439, "First Hop Lacks Outbound Support" },
	{ 440, "Max-Breadth Exceeded" },
	{ 469, "Bad Info Package" },
	{ 470, "Consent Needed" },
	{ 480, "Temporarily Unavailable" },
	{ 481, "Call/Transaction Does Not Exist" },
	{ 482, "Loop Detected" },
	{ 483, "Too Many Hops" },
	{ 484, "Address Incomplete" },
	{ 485, "Ambiguous" },
	{ 486, "Busy Here" },
	{ 487, "Request Terminated" },
	{ 488, "Not Acceptable Here" },
	{ 489, "Bad Event" },
	{ 491, "Request Pending" },
	{ 493, "Undecipherable" },
	{ 494, "Security Agreement Required" },
	{ 500, "Server Internal Error" },
	{ 501, "Not Implemented" },
	{ 502, "Bad Gateway" },
	{ 503, "Service Unavailable" },
	{ 504, "Server Time-out" },
	{ 505, "Version Not Supported" },
	{ 513, "Message Too Large" },
	{ 555, "Push Notification Service Not Supported" },
	{ 580, "Precondition Failure" },
	{ 600, "Busy Everywhere" },
	{ 603, "Decline" },
	{ 604, "Does Not Exist Anywhere" },
	{ 606, "Not Acceptable" },
	{ 607, "Unwanted" },
	{ 608, "Rejected" },
};

const char *sip_status_phrase(int status)
{
	for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++) {
		if (phrases[i].status == status)
			return phrases[i].phrase;
	}
	return "Unknown";
}
