/* The module's command on E: turn. */
#include <string.h>

#include "turn/edge_side.h"

/* `turn` lists; with id it shows one, permissions and channels too. */
static int ctl_turn(void *self, const struct ctl_request *r, json_t **out)
{
	struct turn_edge *e = self;
	const char *id = r->param(r, "id"), *user = r->param(r, "user");
	json_t *all = e->server ? turn_server_json(e->server) : json_array(), *one, *picked;
	char full[CONN_ID_BYTES];
	const struct conn *c = id ? conn_find(e->env->conns, slice_of(id)) : NULL;
	size_t i;

	/* The bare hex form is as good. */
	if (c)
		id = conn_id_str(c, full);
	if (!id && !user) {
		*out = json_pack("{s:o}", "allocations", all);
		return 200;
	}
	picked = json_array();
	json_array_foreach(all, i, one)
	{
		const char *has_id = json_string_value(json_object_get(one, "id"));
		const char *has_user = json_string_value(json_object_get(one, "user"));

		if ((!id || (has_id && strcmp(has_id, id) == 0)) &&
		    (!user || (has_user && strcmp(has_user, user) == 0)))
			json_array_append(picked, one);
	}
	json_decref(all);
	if (id && json_array_size(picked) == 0) {
		json_decref(picked);
		return ctl_fail(out, 404, "there is no allocation %.60s", id);
	}
	/* Said apart, so that a listing which happens to have one row is not mistaken for it. */
	*out = json_pack("{s:o,s:b}", "allocations", picked, "one", id != NULL);
	return 200;
}

const struct ctl_command turn_edge_commands[] = {
	{ "turn", false, ctl_turn },
	{ NULL, false, NULL },
};
