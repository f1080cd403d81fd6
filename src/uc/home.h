#ifndef UC_HOME_H
#define UC_HOME_H
/*
 * Sign-ins at the call managers: which cluster is the user's home, then the password there.
 *
 *   FIND --home named--> ASK --200--> yes, 401/403 of the home: no
 *     |  \--a known home from earlier begins at ASK; its "no" is checked by FIND once
 *     \--nobody knows the user--> unknown
 *
 * A node that gives no answer is passed over for the next one, of any cluster while finding, of the
 * home while asking. The time for one node is half of what is left, so that a silent one leaves
 * time for others. Whoever gave no answer may have been the home: then the end is UC_FAILED, never
 * a no.
 */
#include "base/idtab.h"
#include "turnpike/uc.h"
#include "uc/home_cache.h"
#include "uc/plan.h"
#include "uc/world.h"

#define UC_HOME_DEADLINE_MS 12000
#define UC_HOME_MAX_CHECKS  4096 /* at a time */

struct uc_home_ops {
	/* Fills the (empty) plan with the clusters of the domain. 0 or -ENOMEM. */
	int (*plan)(void *arg, struct slice domain, struct uc_plan *out);
	/* What a node did just now; why is NULL when it answered. */
	void (*heard)(void *arg, const char *cluster, const char *node, const char *why);
};

struct uc_home {
	const struct uc_world *world;
	const struct uc_home_ops *ops;
	void *arg;
	struct uc_home_cache cache;
	struct idtab checks;
	struct list live;
	uint64_t n_yes, n_no, n_unknown, n_failed;
};

/* 0 or -ENOMEM. */
int uc_home_init(struct uc_home *h, const struct uc_world *world, const struct uc_home_ops *ops,
		 void *arg, const uint8_t seed[16]);
/* Ends every check without callback. */
void uc_home_fini(struct uc_home *h);
/* As uc_ops.check and uc_ops.cancel. */
uint64_t uc_home_check(struct uc_home *h, struct slice domain, struct slice user,
		       struct slice password, uc_done done, void *arg);
void uc_home_cancel(struct uc_home *h, uint64_t id);

#endif
