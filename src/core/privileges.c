#include "core/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

uint64_t privileges_raise_descriptors(uint64_t n)
{
	struct rlimit limit, wanted;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 0;
	if (limit.rlim_cur >= n)
		return limit.rlim_cur;
	wanted = limit;
	wanted.rlim_cur = n;
	if (wanted.rlim_max < n)
		wanted.rlim_max = n; /* allowed to root only */
	if (setrlimit(RLIMIT_NOFILE, &wanted) < 0) {
		wanted = limit;
		wanted.rlim_cur = limit.rlim_max < n ? limit.rlim_max : n;
		if (setrlimit(RLIMIT_NOFILE, &wanted) < 0)
			return limit.rlim_cur;
	}
	return wanted.rlim_cur;
}

int privileges_drop(const char *user, const char *owned)
{
	struct passwd *pw;

	if (!user || !user[0] || geteuid() != 0)
		return 0;
	errno = 0;
	pw = getpwnam(user);
	if (!pw)
		return errno ? -errno : -ENOENT;
	if (owned && chown(owned, pw->pw_uid, (gid_t)-1) < 0)
		return -errno;
	if (initgroups(user, pw->pw_gid) < 0 || setgid(pw->pw_gid) < 0 || setuid(pw->pw_uid) < 0)
		return -errno;
	/* If that could be undone, it was not done. */
	if (pw->pw_uid != 0 && setuid(0) == 0)
		return -EPERM;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return 0;
}
