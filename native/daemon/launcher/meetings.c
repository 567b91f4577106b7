/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file in which the ends of a user's connections find each other (shared/streams.h). Every launcher of a session
 * with streams holds a lock on it for as long as it lives; who finds at its end that nobody else does deletes it.
 * Called by launch.c.
 */
#include "launch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sem.h>
#include <sys/stat.h>
#include <unistd.h>

#include "streams.h"

enum { TRIES = 100 };

static const char directory[] = "/dev/shm";

static void path_of(char *to, size_t size)
{
	snprintf(to, size, "%s%u", MEETINGS_PATH, (unsigned)geteuid());
}

/* It may be deleted between our opening and our lock. */
static int is_there(int fd, const char *path)
{
	struct stat here, there;

	return !fstat(fd, &here) && !lstat(path, &there) && here.st_ino == there.st_ino &&
	       here.st_dev == there.st_dev && S_ISREG(here.st_mode) && here.st_uid == geteuid();
}

static int has_head(int fd)
{
	struct meetings head;
	struct stat st;

	return !fstat(fd, &st) && st.st_size == (off_t)sizeof head && pread(fd, &head, 8, 0) == 8 &&
	       head.magic == MEETINGS_MAGIC && head.version == STREAM_VERSION;
}

/* The semaphores that agents have made: they would outlive everybody. */
static void remove_set(int fd)
{
	struct meetings head;
	struct semid_ds is = {0};
	struct stat here;
	const size_t size = offsetof(struct meetings, pad);

	if (pread(fd, &head, size, 0) != (ssize_t)size || head.magic != MEETINGS_MAGIC ||
	    head.version != STREAM_VERSION || head.set_state != SET_THERE)
		return;
	if (stat("/proc/self/ns/ipc", &here) || here.st_ino != head.set_namespace)
		return;
	if (!semctl(head.set, 0, IPC_STAT, &is) && is.sem_nsems == NAPS && is.sem_perm.uid == geteuid())
		semctl(head.set, 0, IPC_RMID);
}

/* A new one, or what a crash or another version has left; not what somebody else uses: 0. -1: there is no room. */
static int make_head(int fd, const char *path)
{
	const uint32_t head[2] = {MEETINGS_MAGIC, STREAM_VERSION};

	if (flock(fd, LOCK_EX | LOCK_NB))
		return 0;
	remove_set(fd);
	if (!ftruncate(fd, 0) && !ftruncate(fd, sizeof(struct meetings)) &&
	    pwrite(fd, head, sizeof head, 0) == sizeof head)
		return !flock(fd, LOCK_SH);
	unlink(path);
	return -1;
}

int meetings_open(void)
{
	char path[64];
	uint64_t limit = 0;
	int fd = -1, is_made = 0;

	path_of(path, sizeof path);
	file_limit_raise(&limit);
	for (int tries = 0; tries < TRIES && is_made >= 0; tries++) {
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0)
			break;
		if (!flock(fd, LOCK_SH) && is_there(fd, path)) {
			is_made = has_head(fd) ? 1 : make_head(fd, path);
			if (is_made > 0)
				break;
		}
		close(fd);
		fd = -1;
		usleep(1000); /* another one is at it */
	}
	file_limit_restore(limit);
	return fd < 0 ? -1 : above_standard(fd);
}

/* Rings whose other end never came, and whose maker was killed. */
static void remove_rings(void)
{
	DIR *dir = opendir(directory);
	struct dirent *e;
	char path[320];
	unsigned launcher;

	while (dir && (e = readdir(dir))) {
		if (sscanf(e->d_name, "lsca-stream-%u-", &launcher) != 1)
			continue;
		if (launcher != (unsigned)getpid() && (!kill((pid_t)launcher, 0) || errno != ESRCH))
			continue;
		snprintf(path, sizeof path, "%s/%s", directory, e->d_name);
		unlink(path);
	}
	if (dir)
		closedir(dir);
}

static int is_shaped(struct nlmsghdr *m, int loopback)
{
	struct tcmsg *q = NLMSG_DATA(m);
	struct rtattr *a = TCA_RTA(q);
	int left = (int)TCA_PAYLOAD(m);

	if (m->nlmsg_type != RTM_NEWQDISC || q->tcm_ifindex != loopback)
		return 0;
	for (; RTA_OK(a, left); a = RTA_NEXT(a, left))
		if (a->rta_type == TCA_KIND)
			return strcmp(RTA_DATA(a), "noqueue") != 0;
	return 0;
}

int loopback_is_shaped(void)
{
	struct {
		struct nlmsghdr head;
		struct tcmsg q;
	} ask = {.head = {sizeof ask, RTM_GETQDISC, NLM_F_REQUEST | NLM_F_DUMP, 0, 0}};
	char text[16384] __attribute__((aligned(NLMSG_ALIGNTO)));
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), loopback = (int)if_nametoindex("lo");
	int found = 0, is_done = fd < 0 || send(fd, &ask, sizeof ask, 0) != sizeof ask;

	while (!is_done) {
		int n = (int)recv(fd, text, sizeof text, 0);

		is_done = n <= 0;
		for (struct nlmsghdr *m = (void *)text; !is_done && NLMSG_OK(m, n); m = NLMSG_NEXT(m, n)) {
			is_done = m->nlmsg_type == NLMSG_DONE || m->nlmsg_type == NLMSG_ERROR;
			found |= !is_done && is_shaped(m, loopback);
		}
	}
	if (fd >= 0)
		close(fd);
	return found;
}

void meetings_close(int fd)
{
	char path[64];

	if (fd < 0)
		return;
	remove_rings();
	path_of(path, sizeof path);
	if (!flock(fd, LOCK_EX | LOCK_NB) && is_there(fd, path)) {
		unlink(path);
		remove_set(fd);
	}
	close(fd);
}

/* For a launcher that was killed. */
void meetings_clear(void)
{
	char path[64];

	path_of(path, sizeof path);
	meetings_close(open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW));
}
