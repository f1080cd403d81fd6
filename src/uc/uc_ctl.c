#include "uc/uc_ctl.h"

#include "core/iso_time.h"

static json_t *text_or_null(const char *text)
{
	return text && text[0] ? json_string(text) : json_null();
}

static json_t *roles_json(unsigned roles)
{
	static const char *const names[] = { "call-manager", "tftp", "presence", "voicemail" };
	json_t *a = json_array();
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (roles & 1u << i)
			json_array_append_new(a, json_string(names[i]));
	return a;
}

static json_t *server_json(const struct uc_server *s)
{
	json_t *o = json_object();

	json_object_set_new(o, "name", json_string(s->name));
	json_object_set_new(o, "roles", roles_json(s->roles));
	json_object_set_new(o, "uds_port", json_integer(s->uds_port));
	json_object_set_new(o, "alive", json_boolean(s->alive));
	json_object_set_new(o, "why", text_or_null(s->why));
	json_object_set_new(o, "tcp_zone", text_or_null(s->tcp_zone));
	json_object_set_new(o, "tls_zone", text_or_null(s->tls_zone));
	return o;
}

static json_t *names_json(const struct conf_names *names)
{
	json_t *a = json_array();
	size_t i;

	for (i = 0; i < names->n; i++)
		json_array_append_new(a, json_string(names->v[i]));
	return a;
}

static json_t *time_json(int64_t wall_s)
{
	char text[ISO_TIME_BYTES];

	if (!wall_s)
		return json_null();
	iso_time_s(wall_s, text);
	return json_string(text);
}

static json_t *cluster_json(const struct uc_cluster *c)
{
	static const char *const ways[] = { "static", "srv", "axl" };
	json_t *o = json_object(), *servers = json_array();
	size_t i;

	for (i = 0; i < c->servers.n; i++)
		json_array_append_new(servers, server_json(&c->servers.v[i]));
	json_object_set_new(o, "name", json_string(c->name));
	json_object_set_new(o, "domains", names_json(&c->conf->domains));
	json_object_set_new(o, "discovery", json_string(ways[c->conf->discovery]));
	json_object_set_new(o, "running", json_boolean(uc_discovery_runs(&c->discovery)));
	json_object_set_new(o, "discovered", time_json(c->found_wall_s));
	json_object_set_new(o, "error", text_or_null(c->error));
	json_object_set_new(o, "note", text_or_null(c->note));
	json_object_set_new(o, "version", text_or_null(c->version));
	json_object_set_new(o, "security", json_string(c->mixed ? "mixed" : "non-secure"));
	json_object_set_new(o, "nodes", servers);
	return o;
}

static int run_uc(void *self, const struct ctl_request *r, json_t **out)
{
	const struct uc *uc = self;
	json_t *clusters = json_array();

	LIST_FOREACH (it, &uc->clusters)
		json_array_append_new(clusters,
				      cluster_json(CONTAINER_OF(it, struct uc_cluster, node)));
	*out = json_pack("{s:o, s:I}", "clusters", clusters, "homes_known",
			 (json_int_t)uc->home.cache.n);
	return *out ? 200 : ctl_fail(out, 500, "out of memory");
}

static int run_refresh(void *self, const struct ctl_request *r, json_t **out)
{
	struct uc *uc = self;
	const char *name = r->param(r, "cluster");
	json_int_t n = 0;

	if (name && !uc_cluster_find(uc, name))
		return ctl_fail(out, 404, "there is no [uc-cluster %.63s]", name);
	LIST_FOREACH (it, &uc->clusters) {
		struct uc_cluster *c = CONTAINER_OF(it, struct uc_cluster, node);

		if (name && c != uc_cluster_find(uc, name))
			continue;
		uc_cluster_refresh(c);
		n++;
	}
	*out = json_pack("{s:I}", "started", n);
	return *out ? 200 : ctl_fail(out, 500, "out of memory");
}

const struct ctl_command uc_ctl_commands[] = {
	{ "uc", false, run_uc },
	{ "uc-refresh", true, run_refresh },
	{ 0 },
};
