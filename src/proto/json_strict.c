#include "proto/json_strict.h"

#include <stdbool.h>

/* The parser recurses: depth is bounded before it sees a byte. */
static bool too_deep(struct slice json, unsigned max)
{
	unsigned depth = 0;
	bool in_string = false;

	for (size_t i = 0; i < json.n; i++) {
		char c = json.p[i];

		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
		} else if (c == '"') {
			in_string = true;
		} else if (c == '{' || c == '[') {
			if (++depth > max)
				return true;
		} else if ((c == '}' || c == ']') && depth > 0) {
			depth--;
		}
	}
	return false;
}

json_t *json_strict_parse(struct slice text, unsigned max_depth, const char **why)
{
	json_error_t error;
	json_t *root;

	*why = "nested too deeply";
	if (too_deep(text, max_depth))
		return NULL;
	root = json_loadb(text.p ? text.p : "", text.n, JSON_REJECT_DUPLICATES, &error);
	*why = root ? "not an object" : "not JSON";
	if (!root && json_error_code(&error) == json_error_duplicate_key)
		*why = "duplicate members";
	if (json_is_object(root))
		return root;
	json_decref(root);
	return NULL;
}
