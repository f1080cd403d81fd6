#ifndef PROTO_XML_SCAN_H
#define PROTO_XML_SCAN_H
/*
 * Finds where the tags of a stream end, nothing more: the parser gets whole tags only and never
 * reads a byte twice, and the one who feeds it knows where an element ends before the parser sees
 * what is behind. What is well-formed is scanned exactly; of the rest the parser is the judge.
 *
 *   TEXT --'<'--> LT --name--> TAG <--quotes--> VALUE; --'>'--> TEXT
 *                 LT --'/'--> CLOSE --'>'--> TEXT
 *                 LT --'?'--> PI --"?>"--> TEXT
 *                 LT --'!'--> BANG --"[CDATA["--> CDATA --"]]>"--> TEXT
 */
#include <stdint.h>

#include "base/slice.h"

enum xml_scan_state {
	XML_SCAN_TEXT,
	XML_SCAN_LT,
	XML_SCAN_TAG,
	XML_SCAN_VALUE,
	XML_SCAN_IN_CLOSE,
	XML_SCAN_IN_PI,
	XML_SCAN_BANG,
	XML_SCAN_CDATA,
};

/* Zeroed: in text. */
struct xml_scan {
	uint8_t state;
	uint8_t n_match; /* bytes of "[CDATA[", "]]>", "?>" that are there */
	char quote;
	char last; /* of a tag */
};

enum xml_scan_found {
	XML_SCAN_MORE,	    /* all bytes are used */
	XML_SCAN_OPEN,	    /* <a> */
	XML_SCAN_EMPTY,	    /* <a/> */
	XML_SCAN_CLOSED,    /* </a> */
	XML_SCAN_PI,	    /* <?...?>, the XML declaration too */
	XML_SCAN_CDATA_END, /* a whole CDATA section */
	XML_SCAN_MARKUP,    /* a comment, a document type */
	XML_SCAN_BROKEN,    /* '<' inside a tag, "<!" and nothing known */
};

/* Goes to the end of the next tag or of the bytes. *used: what was looked at, with that tag. After
 * MARKUP and BROKEN it is of no use any more. */
enum xml_scan_found xml_scan(struct xml_scan *s, struct slice bytes, size_t *used);

#endif
