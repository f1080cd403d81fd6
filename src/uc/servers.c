#include "uc/servers.h"

#include <stdlib.h>
#include <string.h>

struct uc_server *uc_servers_find(const struct uc_servers *s, struct slice name)
{
	size_t i;

	for (i = 0; i < s->n; i++)
		if (slice_caseeq(slice_of(s->v[i].name), name))
			return &s->v[i];
	return NULL;
}

static bool grow(struct uc_servers *s)
{
	const size_t size = s->size ? s->size * 2 : 8;
	struct uc_server *v;

	if (s->n < s->size)
		return true;
	v = realloc(s->v, size * sizeof(*v));
	if (!v)
		return false;
	s->v = v;
	s->size = size;
	return true;
}

struct uc_server *uc_servers_add(struct uc_servers *s, struct slice name, unsigned roles,
				 uint16_t uds_port)
{
	struct uc_server *server = uc_servers_find(s, name);

	if (server) {
		server->roles |= roles;
		return server;
	}
	if (s->n == UC_MAX_SERVERS || !grow(s))
		return NULL;
	server = &s->v[s->n++];
	*server = (struct uc_server){ .roles = roles, .uds_port = uds_port, .alive = true };
	slice_copy(server->name, sizeof(server->name), name);
	return server;
}

static void keep_life(struct uc_server *to, const struct uc_server *from)
{
	to->alive = from->alive;
	to->alarmed = from->alarmed;
	to->n_failed = from->n_failed;
	memcpy(to->why, from->why, sizeof(to->why));
}

bool uc_servers_replace(struct uc_servers *s, struct uc_servers *next)
{
	bool changed = s->n != next->n;
	size_t i;

	for (i = 0; i < next->n; i++) {
		struct uc_server *new = &next->v[i];
		const struct uc_server *old = uc_servers_find(s, slice_of(new->name));

		if (old)
			keep_life(new, old);
		if (!old || old->roles != new->roles || old->uds_port != new->uds_port ||
		    old->port != new->port)
			changed = true;
	}
	free(s->v);
	*s = *next;
	*next = (struct uc_servers){ 0 };
	return changed;
}

void uc_servers_fini(struct uc_servers *s)
{
	free(s->v);
	*s = (struct uc_servers){ 0 };
}
