#include "proto/control_msg.h"

#include <errno.h>
#include <string.h>

#include "proto/json_strict.h"

#define LENGTH_BYTES 4
#define MIN_STATUS   (-4095) /* the range of errno in the kernel's own return values */

/* What a message of a type carries; a required member that is absent refuses the message. */
enum member {
	M_VERSION = 1 << 0,
	M_NAME = 1 << 1,
	M_SOFTWARE = 1 << 2,
	M_BOOT = 1 << 3,
	M_TIME = 1 << 4,
	M_N = 1 << 5,
	M_TABLE = 1 << 6,
	M_KEY = 1 << 7,
	M_ITEM = 1 << 8,
	M_ID = 1 << 9,
	M_METHOD = 1 << 10,
	M_PARAMS = 1 << 11, /* may be absent */
	M_STATUS = 1 << 12,
	M_VALUE = 1 << 13, /* may be absent */
};

static const struct schema {
	const char *name;
	unsigned members;
} schemas[] = {
	[CONTROL_HELLO] = { "hello", M_VERSION | M_NAME | M_SOFTWARE | M_BOOT | M_TIME },
	[CONTROL_PING] = { "ping", M_N | M_TIME },
	[CONTROL_PONG] = { "pong", M_N | M_TIME },
	[CONTROL_RESET] = { "reset", M_TABLE },
	[CONTROL_PUT] = { "put", M_TABLE | M_KEY | M_ITEM },
	[CONTROL_DEL] = { "del", M_TABLE | M_KEY },
	[CONTROL_SYNCED] = { "synced", M_TABLE },
	[CONTROL_CALL] = { "call", M_ID | M_METHOD | M_PARAMS },
	[CONTROL_RESULT] = { "result", M_ID | M_STATUS | M_VALUE },
	[CONTROL_BYE] = { "bye", 0 },
};
#define N_TYPES (sizeof(schemas) / sizeof(schemas[0]))

static uint32_t get_u32(const char *p)
{
	const unsigned char *u = (const unsigned char *)p;

	return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

static bool is_identifier(const char *s)
{
	for (; *s; s++) {
		if (!(*s >= 'a' && *s <= 'z') && !(*s >= '0' && *s <= '9') && *s != '-' &&
		    *s != '.')
			return false;
	}
	return true;
}

static bool is_printable(const char *s)
{
	for (; *s; s++) {
		if (*s < 0x20 || *s == 0x7f)
			return false;
	}
	return true;
}

static bool is_ascii_word(const char *s)
{
	for (; *s; s++) {
		if (*s <= 0x20 || *s >= 0x7f)
			return false;
	}
	return true;
}

static bool is_key(const char *s)
{
	for (; *s; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return false;
	}
	return true;
}

static bool is_hex(const char *s)
{
	return strspn(s, "0123456789abcdef") == strlen(s);
}

/* A string of 1 to size-1 bytes that `legal` accepts. */
static bool take_string(const json_t *root, const char *key, char *out, size_t size,
			bool (*legal)(const char *s))
{
	const json_t *v = json_object_get(root, key);
	size_t n = json_string_length(v);
	const char *s = json_string_value(v);

	if (!s || n == 0 || n >= size || !legal(s))
		return false;
	memcpy(out, s, n + 1);
	return true;
}

static bool take_int(const json_t *root, const char *key, int64_t min, int64_t max, int64_t *out)
{
	const json_t *v = json_object_get(root, key);
	int64_t i = json_integer_value(v);

	if (!json_is_integer(v) || i < min || i > max)
		return false;
	*out = i;
	return true;
}

static bool fits_item(const json_t *v)
{
	return json_dumpb(v, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY) <= CONTROL_MAX_ITEM_BYTES;
}

/* item, params: objects of bounded size; value: anything. whole: bytes of the message. */
static const char *take_value(const json_t *root, unsigned members, size_t whole, json_t **out)
{
	const char *key = members & M_ITEM ? "item" : members & M_PARAMS ? "params" : "value";
	json_t *v = json_object_get(root, key);

	if (!v)
		return members & M_ITEM ? "item is missing" : NULL;
	if (!(members & M_VALUE)) {
		if (!json_is_object(v))
			return members & M_ITEM ? "item is not an object"
						: "params is not an object";
		if (whole > CONTROL_MAX_ITEM_BYTES && !fits_item(v))
			return members & M_ITEM ? "item too long" : "params too long";
	}
	*out = json_incref(v);
	return NULL;
}

/* NULL, or what is wrong. */
static const char *take_members(const json_t *root, unsigned members, size_t whole,
				struct control_msg *m)
{
	int64_t i;

	if (members & M_VERSION) {
		if (!take_int(root, "version", 1, INT32_MAX, &i))
			return "bad version";
		m->version = (int)i;
	}
	if ((members & M_NAME) &&
	    !take_string(root, "name", m->name, sizeof(m->name), is_ascii_word))
		return "bad name";
	if ((members & M_SOFTWARE) &&
	    !take_string(root, "software", m->software, sizeof(m->software), is_printable))
		return "bad software";
	if ((members & M_BOOT) && !take_string(root, "boot", m->boot, sizeof(m->boot), is_hex))
		return "bad boot";
	if ((members & M_TIME) && !take_int(root, "time", 0, INT64_MAX, &m->wall_ms))
		return "bad time";
	if (members & M_N) {
		if (!take_int(root, "n", 0, INT64_MAX, &i))
			return "bad n";
		m->n = (uint64_t)i;
	}
	if ((members & M_TABLE) &&
	    !take_string(root, "table", m->table, sizeof(m->table), is_identifier))
		return "bad table";
	if ((members & M_KEY) && !take_string(root, "key", m->key, sizeof(m->key), is_key))
		return "bad key";
	if (members & M_ID) {
		if (!take_int(root, "id", 1, INT64_MAX, &i))
			return "bad id";
		m->id = (uint64_t)i;
	}
	if ((members & M_METHOD) &&
	    !take_string(root, "method", m->method, sizeof(m->method), is_identifier))
		return "bad method";
	if (members & M_STATUS) {
		if (!take_int(root, "status", MIN_STATUS, 0, &i))
			return "bad status";
		m->status = (int)i;
	}
	if (members & (M_ITEM | M_PARAMS | M_VALUE))
		return take_value(root, members, whole, &m->value);
	return NULL;
}

/* The type, or N_TYPES. */
static size_t find_type(const char *name)
{
	size_t i;

	for (i = 0; i < N_TYPES; i++) {
		if (strcmp(schemas[i].name, name) == 0)
			break;
	}
	return i;
}

/* NULL, or what is wrong; *known false: the type alone is. */
static const char *decode_object(const json_t *root, size_t whole, struct control_msg *m)
{
	const char *name = json_string_value(json_object_get(root, "type"));
	size_t type;

	if (!json_is_object(root))
		return "not an object";
	if (!name)
		return "type is missing";
	type = find_type(name);
	if (type == N_TYPES)
		return "unknown type";
	m->type = (enum control_type)type;
	return take_members(root, schemas[type].members, whole, m);
}

int control_msg_decode(struct slice bytes, struct control_msg *out, size_t *used, const char **why)
{
	struct slice json;
	json_t *root;
	uint32_t n;

	memset(out, 0, sizeof(*out));
	*used = 0;
	*why = NULL;
	if (bytes.n < LENGTH_BYTES)
		return 0;
	n = get_u32(bytes.p);
	if (n > CONTROL_MAX_BYTES) {
		*why = "message too long";
		return -EPROTO;
	}
	if (bytes.n - LENGTH_BYTES < n)
		return 0;
	*used = LENGTH_BYTES + n;
	json = (struct slice){ bytes.p + LENGTH_BYTES, n };
	root = json_strict_parse(json, CONTROL_MAX_DEPTH, why);
	if (root)
		*why = decode_object(root, n, out);
	json_decref(root);
	if (!*why)
		return 1;
	control_msg_fini(out);
	return -EPROTO;
}

void control_msg_fini(struct control_msg *m)
{
	json_decref(m->value);
	m->value = NULL;
}

/* --- the way out --- */

static int set_new(json_t *root, const char *key, json_t *value)
{
	return json_object_set_new(root, key, value);
}

static json_t *build(const struct control_msg *m, unsigned members)
{
	json_t *root = json_object();
	int bad = 0;

	if (!root)
		return NULL;
	bad |= set_new(root, "type", json_string(schemas[m->type].name));
	if (members & M_VERSION)
		bad |= set_new(root, "version", json_integer(m->version));
	if (members & M_NAME)
		bad |= set_new(root, "name", json_string(m->name));
	if (members & M_SOFTWARE)
		bad |= set_new(root, "software", json_string(m->software));
	if (members & M_BOOT)
		bad |= set_new(root, "boot", json_string(m->boot));
	if (members & M_TIME)
		bad |= set_new(root, "time", json_integer(m->wall_ms));
	if (members & M_N)
		bad |= set_new(root, "n", json_integer((json_int_t)m->n));
	if (members & M_TABLE)
		bad |= set_new(root, "table", json_string(m->table));
	if (members & M_KEY)
		bad |= set_new(root, "key", json_string(m->key));
	if (members & M_ID)
		bad |= set_new(root, "id", json_integer((json_int_t)m->id));
	if (members & M_METHOD)
		bad |= set_new(root, "method", json_string(m->method));
	if (members & M_STATUS)
		bad |= set_new(root, "status", json_integer(m->status));
	if (m->value && (members & (M_ITEM | M_PARAMS | M_VALUE)))
		bad |= json_object_set(root,
				       members & M_ITEM	    ? "item"
				       : members & M_PARAMS ? "params"
							    : "value",
				       m->value);
	if (bad) {
		json_decref(root);
		return NULL;
	}
	return root;
}

bool control_msg_encode(struct buf *out, const struct control_msg *m)
{
	unsigned members = schemas[m->type].members;
	json_t *root;
	char *text;
	size_t n, before = out->n;

	if (m->value && (members & (M_ITEM | M_PARAMS)) && !fits_item(m->value))
		return false;
	root = build(m, members);
	text = root ? json_dumps(root, JSON_COMPACT) : NULL;
	json_decref(root);
	if (!text)
		return false;
	n = strlen(text);
	if (n <= CONTROL_MAX_BYTES && !out->failed && out->n + LENGTH_BYTES + n <= out->max) {
		buf_add_u32(out, (uint32_t)n);
		buf_add(out, text, n);
	}
	explicit_bzero(text, n); /* passwords go this way */
	free(text);
	if (out->n != before + LENGTH_BYTES + n) {
		out->n = before;
		return false;
	}
	return true;
}
