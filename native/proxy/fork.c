/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program forks: so does its proxy, by the kernel's own rules for descriptors, offsets and limits. The child makes
 * a channel of its own and announces it on its parent's lifeline; until it has put away what it needed for that, it
 * makes no call for the program. Called by serve.c.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proxy.h"

enum { HEAD = offsetof(struct channel, rest) };

int64_t fork_send_line(int to, uint32_t op, int32_t value, const int *fds, int count)
{
	struct lifeline_message m = {op, value};
	struct iovec iov = {&m, sizeof m};
	union {
		char bytes[CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr align;
	} control = {.bytes = {0}};
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};

	if (count) {
		struct cmsghdr *c;

		h.msg_control = control.bytes;
		h.msg_controllen = CMSG_SPACE((unsigned)count * sizeof(int));
		c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN((unsigned)count * sizeof(int));
		memcpy(CMSG_DATA(c), fds, (unsigned)count * sizeof(int));
	}
	return sendmsg(to, &h, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Written rather than mapped: it is mapped once, by main_adopt. */
static int new_channel(void)
{
	const struct channel head = {.magic = CHANNEL_MAGIC, .version = ABI_VERSION, .slots = SLOT_COUNT,
				     .process = PROCESSES, .high = 1};
	const struct slot slot = {.lease = SLOT_TAKEN};
	struct rlimit lim, full;
	int fd = memfd_create("lsca-channel", MFD_CLOEXEC | MFD_ALLOW_SEALING), r;

	if (fd < 0)
		return -errno;
	getrlimit(RLIMIT_FSIZE, &lim);
	full = lim;
	full.rlim_cur = full.rlim_max;
	setrlimit(RLIMIT_FSIZE, &full);
	r = ftruncate(fd, (off_t)ARENA_AT(SLOT_COUNT));
	if (pwrite(fd, &head, HEAD, 0) != HEAD || pwrite(fd, &slot, sizeof slot, SLOT_SIZE) != sizeof slot)
		r = -1;
	setrlimit(RLIMIT_FSIZE, &lim);
	if (r < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0)
		goto fail;
	return fd;
fail:
	r = errno ? -errno : -EIO;
	close(fd);
	return r;
}

/* The new process's place in the session's list; the program fills in its number. PROCESSES: the list is full. */
static int enter_process(void)
{
	for (uint32_t i = 0; i < PROCESSES; i++) {
		struct process *e = &session->processes[i];
		uint32_t state = get_acquire(&e->state);

		if (state != PROCESS_FREE && state != PROCESS_GONE)
			continue;
		if (!swap_if(&e->state, state, PROCESS_CLAIMED))
			continue;
		e->pid = 0;
		e->proxy = (uint32_t)getpid();
		e->parent = 0;
		memset(e->calls, 0, sizeof e->calls);
		channel->process = i;
		put_release(&e->state, PROCESS_LIVE);
		return (int)i;
	}
	channel->process = PROCESSES;
	return PROCESSES;
}

/* In the child of a fork: a proxy of its own, announced to the program on its parent's lifeline. Never returns. */
static void forked(void)
{
	int pair[2], memfd, announced[2], parents, r;
	struct rlimit own, room;

	serve_hold();
	/* A program at its limit may still fork; what we need for a moment is not the program's. */
	getrlimit(RLIMIT_NOFILE, &own);
	room = own;
	room.rlim_cur = room.rlim_max;
	setrlimit(RLIMIT_NOFILE, &room);
	memfd = new_channel();
	if (memfd < 0 || hidden < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0) {
		fork_send_line(hidden, LINE_FORKED, memfd < 0 ? memfd : -errno, 0, 0);
		_exit(1);
	}
	parents = dup(hidden);
	announced[0] = pair[1];
	announced[1] = dup(memfd);
	if (parents < 0 || announced[1] < 0) {
		fork_send_line(hidden, LINE_FORKED, -errno, 0, 0);
		_exit(1);
	}
	r = main_adopt(pair[0], memfd);
	if (!r)
		r = enter_process();
	fork_send_line(parents, LINE_FORKED, r, announced, r < 0 ? 0 : 2);
	close(parents);
	close(announced[0]);
	close(announced[1]);
	setrlimit(RLIMIT_NOFILE, &own);
	if (r < 0)
		_exit(1);
	serve_go_on();
	main_listen();
}

/*
 * A fork that shares its directory is one that the C library has no function for. It would put right what threads may
 * have been in the middle of: nobody is in the middle of anything of the C library's.
 */
static pid_t fork_sharing(uint64_t flags)
{
	pid_t pid;

	serve_lock();
	pid = (pid_t)syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
	serve_unlock();
	return pid;
}

int64_t fork_proxy(uint64_t flags)
{
	pid_t pid = flags & CLONE_FS ? fork_sharing(CLONE_FS) : fork();

	if (!pid)
		forked();
	return pid < 0 ? -errno : pid;
}
