#ifndef UC_UDS_H
#define UC_UDS_H
/*
 * UDS, the user data services of a call manager, as far as a sign-in needs it:
 *
 *   GET /cucm-uds/clusterUser?username=USER   whose home is where; asked without a password
 *       <clusterUser><result uri="https://NODE:8443/cucm-uds/user/USER" found="true"/>
 *                    <homeCluster serverUri="...">NODE</homeCluster></clusterUser>
 *   GET /cucm-uds/user/USER with Basic        200: the password is right; 401, 403: it is not
 *   GET /cucm-uds/version                     alive?
 */
#include "base/buf.h"
#include "uc/host.h"

#define UC_UDS_MAX_BYTES      (64 * 1024)
#define UC_UDS_MAX_USER_BYTES 128

enum uc_uds_home { UC_UDS_FOUND, UC_UDS_NOT_FOUND, UC_UDS_BAD };

/* home: the host that the answer names, "" when it names none. */
enum uc_uds_home uc_uds_home(struct slice body, char home[UC_HOST_BYTES]);
/* May it stand in front of ':' in Basic credentials (RFC 7617 2), is it of sane length? */
bool uc_uds_user_is_legal(struct slice user);
void uc_uds_cluster_user_path(struct buf *out, struct slice user);
void uc_uds_user_path(struct buf *out, struct slice user);
#define UC_UDS_VERSION_PATH "/cucm-uds/version"

#endif
