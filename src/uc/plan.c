#include "uc/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int add_cluster(struct uc_plan *p, const struct uc_cluster_conf *conf)
{
	struct uc_plan_cluster *v = realloc(p->clusters, (p->n_clusters + 1) * sizeof(*v));
	struct uc_plan_cluster *c;

	if (!v)
		return -ENOMEM;
	p->clusters = v;
	c = &v[p->n_clusters];
	*c = (struct uc_plan_cluster){ .verify = conf->verify,
				       .https = conf->url_scheme == 0,
				       .timeout_ms = conf->timeout_ms };
	slice_copy(c->name, sizeof(c->name), slice_of(conf->common.name));
	if (conf->tls) {
		c->tls = strdup(conf->tls);
		if (!c->tls)
			return -ENOMEM;
	}
	p->n_clusters++;
	return 0;
}

static int add_node(struct uc_plan *p, const struct uc_server *s)
{
	struct uc_plan_node *v = realloc(p->nodes, (p->n_nodes + 1) * sizeof(*v));

	if (!v)
		return -ENOMEM;
	p->nodes = v;
	v[p->n_nodes] = (struct uc_plan_node){ .port = s->uds_port,
					       .cluster = p->n_clusters - 1,
					       .alive = s->alive };
	memcpy(v[p->n_nodes].name, s->name, sizeof(s->name));
	p->n_nodes++;
	return 0;
}

int uc_plan_add(struct uc_plan *p, const struct uc_cluster_conf *conf,
		const struct uc_servers *servers, uint32_t random)
{
	unsigned n_taken = 0, pass;
	size_t i;
	int r = add_cluster(p, conf);

	for (pass = 0; pass < 2; pass++) {
		for (i = 0; r == 0 && i < servers->n && n_taken < UC_PLAN_MAX_NODES; i++) {
			const struct uc_server *s = &servers->v[(i + random) % servers->n];

			if (!(s->roles & UC_CALL_MANAGER) || s->alive != (pass == 0))
				continue;
			r = add_node(p, s);
			n_taken++;
		}
	}
	return r;
}

void uc_plan_fini(struct uc_plan *p)
{
	size_t i;

	for (i = 0; i < p->n_clusters; i++)
		free(p->clusters[i].tls);
	free(p->clusters);
	free(p->nodes);
	*p = (struct uc_plan){ 0 };
}
