/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lsca-proxy LIFELINE CHANNEL SESSION: holds the descriptors of one program process and makes its calls. Started by the
 * launcher with the descriptors, directory, mask and limits that the program is to have; forks when the program forks.
 * The main thread only listens on the lifeline: end of file there means that the program is gone.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proxy.h"

struct session *session;
struct channel *channel;
int hidden = -1;

static void *map(int fd, uint64_t size)
{
	void *p = mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);

	return p == MAP_FAILED ? 0 : p;
}

/* Serve the channel in `memfd` (closed here) for the program at the other end of `lifeline` (which gets hidden). */
int main_adopt(int lifeline, int memfd)
{
	if (channel)
		munmap(channel, ARENA_AT(SLOT_COUNT));
	serve_forget();
	channel = map(memfd, ARENA_AT(SLOT_COUNT));
	close(memfd);
	if (!channel)
		return -ENOMEM;
	if (channel->magic != CHANNEL_MAGIC || channel->version != ABI_VERSION)
		return -EINVAL;
	if (hidden < 0) {
		struct rlimit lim;
		int at = 1023;

		if (!getrlimit(RLIMIT_NOFILE, &lim) && lim.rlim_cur <= (rlim_t)at)
			at = (int)lim.rlim_cur - 1;
		while ((hidden = fcntl(lifeline, F_DUPFD, at)) < 0 && at > 0)
			at /= 2;
		if (hidden < 0)
			return -errno;
		close(lifeline);
	} else if (lifeline != hidden) {
		if (dup2(lifeline, hidden) < 0)
			return -errno;
		close(lifeline);
	}
	channel->proxy = (uint32_t)getpid();
	return serve_start(0);
}

/* Everything the program had open, at once and for certain. */
void main_close_all(void)
{
	if (hidden > 0)
		syscall(SYS_close_range, 0u, (unsigned)hidden - 1, 0);
	syscall(SYS_close_range, (unsigned)hidden + 1, ~0u, 0);
}

static void gone(void)
{
	uint32_t i = channel->process;

	serve_end_others(SLOT_COUNT);
	main_close_all();
	if (session && i < PROCESSES && session->processes[i].proxy == (uint32_t)getpid()) {
		put_release(&session->processes[i].state, PROCESS_GONE);
		syscall(SYS_futex, &session->processes[i].state, FUTEX_WAKE, 1 << 30, 0, 0, 0);
	}
	_exit(0);
}

int main_listen(void)
{
	int waiting = 0; /* calls that should have been interrupted and still go on */

	for (;;) {
		struct lifeline_message m = {0, 0};
		struct iovec iov = {&m, sizeof m};
		union {
			char bytes[CMSG_SPACE(sizeof(int))];
			struct cmsghdr align;
		} control;
		struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
				   .msg_controllen = sizeof control.bytes};
		struct pollfd line = {hidden, POLLIN, 0};
		struct cmsghdr *c;
		ssize_t n;

		/* The signal may have come before the call had begun to wait. */
		while (waiting && !poll(&line, 1, 1)) {
			waiting = serve_insist();
			line.fd = hidden; /* it may have had to make room */
		}
		n = recvmsg(hidden, &h, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			gone();
		c = CMSG_FIRSTHDR(&h);
		if (c && c->cmsg_type == SCM_RIGHTS && c->cmsg_len >= CMSG_LEN(sizeof(int))) {
			int fd;

			memcpy(&fd, CMSG_DATA(c), sizeof fd);
			if (serve_taken(fd))
				close(fd);
		}
		if (n == sizeof m && m.op == LINE_CANCEL && (uint32_t)m.value < SLOT_COUNT) {
			serve_interrupt((uint32_t)m.value);
			waiting = 1;
		}
	}
}

int main(int argc, char **argv)
{
	struct rlimit lim;
	int session_fd;

	if (argc < 4)
		return 125;
	if (!getrlimit(RLIMIT_AS, &lim)) {
		lim.rlim_cur = lim.rlim_max; /* the arenas are address space, not memory */
		setrlimit(RLIMIT_AS, &lim);
	}
	session_fd = atoi(argv[3]);
	session = map(session_fd, sizeof *session);
	close(session_fd);
	if (!session || session->magic != SESSION_MAGIC || session->version != ABI_VERSION)
		return 125;
	serve_setup();
	if (main_adopt(atoi(argv[1]), atoi(argv[2])) < 0)
		return 125;
	main_listen();
}
