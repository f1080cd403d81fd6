/* Writing XML: what xml_doc.h declares behind "Writing". */
#include "proto/xml_doc.h"

#include <string.h>

#include "proto/xml_char.h"

void xml_write_start(struct xml_writer *w, struct buf *out)
{
	*w = (struct xml_writer){ .out = out };
	buf_add_str(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
}

static void end_tag(struct xml_writer *w)
{
	if (w->tag_open)
		buf_add_char(w->out, '>');
	w->tag_open = false;
}

void xml_write_open(struct xml_writer *w, const char *name)
{
	if (w->failed || w->n_open == XML_DOC_MAX_DEPTH || (w->n_open == 0 && w->root_done)) {
		w->failed = true;
		return;
	}
	end_tag(w);
	buf_add_char(w->out, '<');
	buf_add_str(w->out, name);
	w->open[w->n_open++] = name;
	w->tag_open = true;
	w->root_done = true;
}

/* What a reader would otherwise take for markup, or normalise away (XML 1.0 2.11, 3.3.3). */
static const char *reference(char c, bool in_attr)
{
	switch (c) {
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '&':
		return "&amp;";
	case '\r':
		return "&#13;";
	case '"':
		return in_attr ? "&quot;" : NULL;
	case '\t':
		return in_attr ? "&#9;" : NULL;
	case '\n':
		return in_attr ? "&#10;" : NULL;
	default:
		return NULL;
	}
}

static void add_escaped(struct xml_writer *w, struct slice s, bool in_attr)
{
	while (s.n && !w->failed) {
		size_t n = xml_char_length(s);
		const char *as = reference(s.p[0], in_attr);

		if (n == 0)
			w->failed = true;
		else if (as)
			buf_add_str(w->out, as);
		else
			buf_add(w->out, s.p, n);
		s.p += n;
		s.n -= n;
	}
}

void xml_write_attr(struct xml_writer *w, const char *name, struct slice value)
{
	if (w->failed || !w->tag_open) {
		w->failed = true;
		return;
	}
	buf_add_char(w->out, ' ');
	buf_add_str(w->out, name);
	buf_add_str(w->out, "=\"");
	add_escaped(w, value, true);
	buf_add_char(w->out, '"');
}

void xml_write_text(struct xml_writer *w, struct slice text)
{
	if (w->failed || w->n_open == 0) {
		w->failed = true;
		return;
	}
	if (text.n == 0)
		return;
	end_tag(w);
	add_escaped(w, text, false);
}

void xml_write_close(struct xml_writer *w)
{
	if (w->failed || w->n_open == 0) {
		w->failed = true;
		return;
	}
	w->n_open--;
	if (w->tag_open) {
		buf_add_str(w->out, "/>");
		w->tag_open = false;
		return;
	}
	buf_add_str(w->out, "</");
	buf_add_str(w->out, w->open[w->n_open]);
	buf_add_char(w->out, '>');
}

void xml_write_leaf(struct xml_writer *w, const char *name, struct slice text)
{
	xml_write_open(w, name);
	xml_write_text(w, text);
	xml_write_close(w);
}

bool xml_write_end(struct xml_writer *w)
{
	return !w->failed && w->n_open == 0 && w->root_done && !w->out->failed;
}
