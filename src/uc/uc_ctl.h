#ifndef UC_UC_CTL_H
#define UC_UC_CTL_H
/* Commands of the control socket:
 *
 *   GET  uc                      the clusters with their servers
 *   POST uc-refresh[?cluster=C]  discovers again, all clusters or that one; answers at once
 */
#include "core/ctl.h"
#include "uc/clusters.h"

/* Ends with name NULL; self is the struct uc. */
extern const struct ctl_command uc_ctl_commands[];

#endif
