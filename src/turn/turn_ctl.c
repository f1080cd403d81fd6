/* The module's command on E: turn. */
#include "turn/edge_side.h"

/* `turn` lists; with id it shows one, permissions and channels too. */
static int ctl_turn(void *self, const struct ctl_request *r, json_t **out)
{
	struct turn_edge *e = self;
	const char *id = r->param(r, "id"), *user = r->param(r, "user");
	const struct conn *c = id ? conn_find(e->env->conns, slice_of(id)) : NULL;
	json_t *found;

	if (e->server && (!id || (c && c->kind == CONN_ALLOCATION)))
		found = turn_server_json(e->server, c ? c->id : 0, user);
	else
		found = json_array();
	if (id && json_array_size(found) == 0) {
		json_decref(found);
		return ctl_fail(out, 404, "there is no allocation %.60s", id);
	}
	/* Said apart, so that a listing which happens to have one row is not mistaken for it. */
	*out = id || user ? json_pack("{s:o,s:b}", "allocations", found, "one", id != NULL)
			  : json_pack("{s:o}", "allocations", found);
	return 200;
}

const struct ctl_command turn_edge_commands[] = {
	{ "turn", false, ctl_turn },
	{ NULL, false, NULL },
};
