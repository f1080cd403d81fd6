/* Trees of elements: looking, making, changing. */
#include "proto/xml_node.h"

#include <errno.h>
#include <string.h>

static struct xml_node *named(struct xml_node *e, const char *ns, const char *name)
{
	for (; e; e = e->next) {
		if (e->name && (!ns || strcmp(e->ns, ns) == 0) &&
		    (!name || strcmp(e->name, name) == 0))
			return e;
	}
	return NULL;
}

struct xml_node *xml_node_child(const struct xml_node *e, const char *ns, const char *name)
{
	return e ? named(e->first, ns, name) : NULL;
}

struct xml_node *xml_node_again(const struct xml_node *e, const char *ns, const char *name)
{
	return e ? named(e->next, ns, name) : NULL;
}

const char *xml_node_attr_ns(const struct xml_node *e, const char *ns, const char *name)
{
	const struct xml_node_attr *a;

	for (a = e ? e->attrs : NULL; a; a = a->next) {
		if (strcmp(a->name, name) == 0 && strcmp(a->ns, ns) == 0)
			return a->value;
	}
	return NULL;
}

const char *xml_node_attr(const struct xml_node *e, const char *name)
{
	return xml_node_attr_ns(e, "", name);
}

const char *xml_node_text(struct xml_arena *a, const struct xml_node *e)
{
	const struct xml_node *t;
	size_t n = 0;
	char *text;

	for (t = e ? e->first : NULL; t; t = t->next)
		n += t->name ? 0 : t->text.n;
	if (n == 0)
		return "";
	text = xml_arena_take(a, n + 1);
	if (!text)
		return NULL;
	n = 0;
	for (t = e->first; t; t = t->next) {
		if (t->name || t->text.n == 0)
			continue;
		memcpy(text + n, t->text.p, t->text.n);
		n += t->text.n;
	}
	text[n] = '\0';
	return text;
}

void xml_node_append(struct xml_node *parent, struct xml_node *e)
{
	e->parent = parent;
	e->next = NULL;
	if (parent->last)
		parent->last->next = e;
	else
		parent->first = e;
	parent->last = e;
}

void xml_node_remove(struct xml_node *e)
{
	struct xml_node *up = e->parent, *before = NULL, *at;

	if (!up)
		return;
	for (at = up->first; at && at != e; at = at->next)
		before = at;
	if (before)
		before->next = e->next;
	else
		up->first = e->next;
	if (up->last == e)
		up->last = before;
	e->parent = NULL;
	e->next = NULL;
}

struct xml_node *xml_node_new(struct xml_arena *a, struct xml_node *parent, const char *ns,
			      const char *name)
{
	struct xml_node *e = xml_arena_take(a, sizeof(*e));

	if (!e)
		return NULL;
	*e = (struct xml_node){ .name = name, .ns = ns };
	if (parent)
		xml_node_append(parent, e);
	return e;
}

static struct xml_node_attr **find_attr(struct xml_node *e, const char *ns, const char *name)
{
	struct xml_node_attr **at = &e->attrs;

	while (*at && (strcmp((*at)->name, name) != 0 || strcmp((*at)->ns, ns) != 0))
		at = &(*at)->next;
	return at;
}

int xml_node_set(struct xml_arena *a, struct xml_node *e, const char *name, struct slice value)
{
	struct xml_node_attr **at = find_attr(e, "", name), *attr;
	const char *copy;

	if (!value.p) {
		if (*at)
			*at = (*at)->next;
		return 0;
	}
	copy = xml_arena_text(a, value);
	if (!copy)
		return -ENOMEM;
	if (!*at) {
		attr = xml_arena_take(a, sizeof(*attr));
		if (!attr)
			return -ENOMEM;
		*attr = (struct xml_node_attr){ .ns = "", .name = name };
		*at = attr;
	}
	(*at)->value = copy;
	return 0;
}

static struct xml_node *copy_text(struct xml_arena *a, struct slice text, struct xml_node *parent)
{
	const char *copy = xml_arena_text(a, text);
	struct xml_node *t = copy ? xml_arena_take(a, sizeof(*t)) : NULL;

	if (!t)
		return NULL;
	*t = (struct xml_node){ .ns = "", .text = { copy, text.n } };
	xml_node_append(parent, t);
	return t;
}

int xml_node_add_text(struct xml_arena *a, struct xml_node *e, struct slice text)
{
	return text.n == 0 || copy_text(a, text, e) ? 0 : -ENOMEM;
}

/* --- whole trees --- */

/* The next node of root's tree in the order of the document; NULL behind the last one. */
static struct xml_node *walk(const struct xml_node *root, struct xml_node *at)
{
	if (at->first)
		return at->first;
	while (at != root && !at->next)
		at = at->parent;
	return at == root ? NULL : at->next;
}

static const char *copy_ns(struct xml_arena *a, const struct xml_node *e,
			   const struct xml_node *parent)
{
	if (parent && strcmp(parent->ns, e->ns) == 0)
		return parent->ns;
	return xml_arena_text(a, slice_of(e->ns));
}

static bool copy_attrs(struct xml_arena *a, const struct xml_node *from, struct xml_node *to)
{
	struct xml_node_attr **end = &to->attrs, *copy;
	const struct xml_node_attr *attr;

	for (attr = from->attrs; attr; attr = attr->next) {
		copy = xml_arena_take(a, sizeof(*copy));
		if (!copy)
			return false;
		*copy = (struct xml_node_attr){
			.ns = xml_arena_text(a, slice_of(attr->ns)),
			.name = xml_arena_text(a, slice_of(attr->name)),
			.value = xml_arena_text(a, slice_of(attr->value)),
		};
		if (!copy->ns || !copy->name || !copy->value)
			return false;
		*end = copy;
		end = &copy->next;
	}
	return true;
}

static struct xml_node *copy_one(struct xml_arena *a, const struct xml_node *e,
				 struct xml_node *parent)
{
	struct xml_node *copy;

	if (!e->name)
		return copy_text(a, e->text, parent);
	copy = xml_node_new(a, NULL, copy_ns(a, e, parent), xml_arena_text(a, slice_of(e->name)));
	if (!copy || !copy->name || !copy->ns || !copy_attrs(a, e, copy))
		return NULL;
	if (parent)
		xml_node_append(parent, copy);
	return copy;
}

struct xml_node *xml_node_copy(struct xml_arena *a, const struct xml_node *e)
{
	struct xml_node *root = copy_one(a, e, NULL), *up = root, *copy;
	const struct xml_node *at = e->first;

	/* up: the copy of at's parent. */
	while (root && at) {
		copy = copy_one(a, at, up);
		if (!copy)
			return NULL;
		if (at->first) {
			at = at->first;
			up = copy;
			continue;
		}
		while (at != e && !at->next) {
			at = at->parent;
			up = up->parent;
		}
		at = at == e ? NULL : at->next;
	}
	return root;
}

void xml_node_rename(struct xml_node *e, const char *from, const char *to)
{
	struct xml_node *at;

	for (at = e; at; at = walk(e, at)) {
		if (at->name && strcmp(at->ns, from) == 0)
			at->ns = to;
	}
}
