#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/ctl_private.h"

#define BACKLOG	       64
#define MAX_GROUP_BUFS (64 * 1024)

static int make_address(const char *path, struct sockaddr_un *sun)
{
	*sun = (struct sockaddr_un){ .sun_family = AF_UNIX };
	return slice_copy(sun->sun_path, sizeof(sun->sun_path), slice_of(path)) ? 0 : -ENAMETOOLONG;
}

static int new_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

/* Removes what a daemon that was killed left behind; -EADDRINUSE when one is there. */
static int remove_dead(const char *path, const struct sockaddr_un *sun)
{
	struct stat st;
	int fd, r = 0;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = new_socket();
	if (fd < 0)
		return fd;
	/* EAGAIN: its queue is full, so somebody listens. */
	if (connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) == 0 || errno == EAGAIN)
		r = -EADDRINUSE;
	else if (errno != ECONNREFUSED)
		r = -errno;
	close(fd);
	if (r == 0 && unlink(path) < 0)
		r = -errno;
	return r;
}

static int find_group(const char *name, gid_t *gid)
{
	struct group g, *found = NULL;
	char *names = malloc(MAX_GROUP_BUFS);
	int r;

	if (!names)
		return -ENOMEM;
	r = getgrnam_r(name, &g, names, MAX_GROUP_BUFS, &found);
	if (found)
		*gid = g.gr_gid;
	free(names);
	return r ? -r : found ? 0 : -EINVAL;
}

int ctl_socket_own(const char *path, const char *group)
{
	gid_t gid = (gid_t)-1;
	int r = group && group[0] ? find_group(group, &gid) : 0;

	if (r < 0)
		return r;
	if (gid != (gid_t)-1 && chown(path, (uid_t)-1, gid) < 0)
		return -errno;
	return chmod(path, 0660) < 0 ? -errno : 0;
}

int ctl_socket_listen(const char *path, const char *group)
{
	struct sockaddr_un sun;
	bool bound = false;
	int fd, r = make_address(path, &sun);

	if (r == 0)
		r = remove_dead(path, &sun);
	if (r < 0)
		return r;
	fd = new_socket();
	if (fd < 0)
		return fd;
	/* Linux gives the socket file the mode of the descriptor: no moment in which others get in,
	 * and no umask to change under other threads. */
	if (fchmod(fd, 0600) < 0 || bind(fd, (const struct sockaddr *)&sun, sizeof(sun)) < 0) {
		r = -errno;
		goto out;
	}
	bound = true;
	r = ctl_socket_own(path, group);
	if (r == 0 && listen(fd, BACKLOG) < 0)
		r = -errno;
out:
	if (r == 0)
		return fd;
	if (bound)
		unlink(path);
	close(fd);
	return r;
}

long ctl_socket_peer_uid(int fd)
{
	struct ucred cred;
	socklen_t n = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0)
		return -1;
	return (long)cred.uid;
}
