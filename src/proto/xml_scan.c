#include "proto/xml_scan.h"

static enum xml_scan_found ended(struct xml_scan *s, enum xml_scan_found what)
{
	*s = (struct xml_scan){ .state = XML_SCAN_TEXT };
	return what;
}

static enum xml_scan_found after_lt(struct xml_scan *s, char c)
{
	switch (c) {
	case '/':
		s->state = XML_SCAN_IN_CLOSE;
		return XML_SCAN_MORE;
	case '?':
		s->state = XML_SCAN_IN_PI;
		return XML_SCAN_MORE;
	case '!':
		s->state = XML_SCAN_BANG;
		return XML_SCAN_MORE;
	case '<':
	case '>':
		return XML_SCAN_BROKEN;
	default:
		s->state = XML_SCAN_TAG;
		s->last = c;
		return XML_SCAN_MORE;
	}
}

static enum xml_scan_found in_tag(struct xml_scan *s, char c)
{
	char before = s->last;

	s->last = c;
	switch (c) {
	case '"':
	case '\'':
		s->quote = c;
		s->state = XML_SCAN_VALUE;
		return XML_SCAN_MORE;
	case '<':
		return XML_SCAN_BROKEN;
	case '>':
		return ended(s, before == '/' ? XML_SCAN_EMPTY : XML_SCAN_OPEN);
	default:
		return XML_SCAN_MORE;
	}
}

static enum xml_scan_found after_bang(struct xml_scan *s, char c)
{
	static const char start[] = "[CDATA[";

	if (c != start[s->n_match])
		return s->n_match ? XML_SCAN_BROKEN : XML_SCAN_MARKUP;
	if (start[++s->n_match] == '\0')
		*s = (struct xml_scan){ .state = XML_SCAN_CDATA };
	return XML_SCAN_MORE;
}

static enum xml_scan_found in_cdata(struct xml_scan *s, char c)
{
	if (c == ']') {
		s->n_match = s->n_match < 2 ? s->n_match + 1 : 2;
		return XML_SCAN_MORE;
	}
	if (c == '>' && s->n_match == 2)
		return ended(s, XML_SCAN_CDATA_END);
	s->n_match = 0;
	return XML_SCAN_MORE;
}

static enum xml_scan_found step(struct xml_scan *s, char c)
{
	switch ((enum xml_scan_state)s->state) {
	case XML_SCAN_TEXT:
	case XML_SCAN_VALUE: /* they are jumped over */
		return XML_SCAN_MORE;
	case XML_SCAN_LT:
		return after_lt(s, c);
	case XML_SCAN_TAG:
		return in_tag(s, c);
	case XML_SCAN_IN_CLOSE:
		if (c == '<')
			return XML_SCAN_BROKEN;
		return c == '>' ? ended(s, XML_SCAN_CLOSED) : XML_SCAN_MORE;
	case XML_SCAN_IN_PI:
		if (c == '>' && s->n_match)
			return ended(s, XML_SCAN_PI);
		s->n_match = c == '?';
		return XML_SCAN_MORE;
	case XML_SCAN_BANG:
		return after_bang(s, c);
	case XML_SCAN_CDATA:
		return in_cdata(s, c);
	}
	return XML_SCAN_BROKEN;
}

/* Past the text or the value that s is in; false: it goes on behind the bytes. */
static bool jump(struct xml_scan *s, struct slice bytes, size_t *i)
{
	bool text = s->state == XML_SCAN_TEXT;
	struct slice rest = { bytes.p + *i, bytes.n - *i };
	size_t at = slice_find(rest, text ? '<' : s->quote);

	if (at == rest.n) {
		*i = bytes.n;
		return false;
	}
	*i += at + 1;
	s->state = text ? XML_SCAN_LT : XML_SCAN_TAG;
	return true;
}

enum xml_scan_found xml_scan(struct xml_scan *s, struct slice bytes, size_t *used)
{
	enum xml_scan_found found = XML_SCAN_MORE;
	size_t i = 0;

	while (i < bytes.n && found == XML_SCAN_MORE) {
		if (s->state == XML_SCAN_TEXT || s->state == XML_SCAN_VALUE) {
			if (!jump(s, bytes, &i))
				break;
			continue;
		}
		found = step(s, bytes.p[i++]);
	}
	*used = i;
	return found;
}
