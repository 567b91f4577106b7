/* SPDX-License-Identifier: Apache-2.0 */
/*
 * during CALL DISPOSITION [full] [warm]: makes one call while SIGUSR1 comes, which somebody else brings about, and says
 * what has become of both. What the call waits for happens once the handler has run, or after a while where none will;
 * "full": it need not wait. "warm": from a site that has made calls before.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int ran, code, go[2], ends[2], pair[2];
static pid_t pid;
static uint32_t *word;

static void handler(int sig, siginfo_t *info, void *context)
{
	(void)context;
	ran++;
	code = info->si_signo == sig;
	if (write(go[1], "g", 1) != 1)
		_exit(99);
}

/* Lets the call's wait come to an end: bytes, a wake, its own death. */
static void release(int patience)
{
	struct timeval most = {patience, 100000};
	struct timespec pause = {0, 30000000};
	fd_set told;

	close(go[1]); /* the end of who makes the call is an end of waiting, too */
	FD_ZERO(&told);
	FD_SET(go[0], &told);
	select(go[0] + 1, &told, NULL, NULL, &most);
	clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
	if (write(ends[1], "x", 1) != 1 || write(pair[1], "y", 1) != 1)
		_exit(1);
	__atomic_store_n(word, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
	_exit(0);
}

static long make(const char *name)
{
	static char byte;
	struct iovec io = {&byte, 1}, out = {(void *)"out\n", 4};
	struct timespec little = {0, 200000000}, left = {7, 7};
	struct pollfd polled = {.fd = ends[0], .events = POLLIN};
	struct epoll_event event = {.events = EPOLLIN};
	uint64_t none = 0;
	int epoll, status;

	if (!strcmp(name, "readv"))
		return syscall(SYS_readv, ends[0], &io, 1);
	if (!strcmp(name, "recvfrom"))
		return syscall(SYS_recvfrom, pair[0], &byte, 1, 0, NULL, NULL);
	if (!strcmp(name, "writev"))
		return syscall(SYS_writev, 1, &out, 1);
	if (!strcmp(name, "getppid"))
		return syscall(SYS_getppid) > 0;
	if (!strcmp(name, "nanosleep")) {
		long r = syscall(SYS_nanosleep, &little, &left);
		int error = errno;

		printf("left %s\n", left.tv_sec == 7 ? "untouched" : left.tv_nsec ? "some" : "nothing");
		errno = error;
		return r;
	}
	if (!strcmp(name, "pause"))
		return syscall(SYS_pause);
	if (!strcmp(name, "futex"))
		return syscall(SYS_futex, word, FUTEX_WAIT, 0, NULL, NULL, 0);
	if (!strcmp(name, "poll"))
		return syscall(SYS_poll, &polled, 1, -1);
	if (!strcmp(name, "ppoll")) /* with a mask under which everything may come */
		return syscall(SYS_ppoll, &polled, 1, NULL, &none, 8);
	if (!strcmp(name, "epoll_wait")) {
		epoll = epoll_create1(0);
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event))
			return -1;
		return syscall(SYS_epoll_wait, epoll, &event, 1, -1);
	}
	if (!strcmp(name, "wait4"))
		return syscall(SYS_wait4, pid, &status, 0, NULL) < 0 ? -1 : status == 0;
	exit(98);
}

int main(int argc, char **argv)
{
	const char *name = argc > 2 ? argv[1] : "", *how = argc > 2 ? argv[2] : "";
	int waits = !strcmp(how, "ignored") || !strcmp(how, "blocked") ? 0 : 20, full = 0, warm = 0;
	struct sigaction act = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
	sigset_t set;
	long r;

	for (int i = 3; i < argc; i++) {
		full |= !strcmp(argv[i], "full");
		warm |= !strcmp(argv[i], "warm");
	}
	setvbuf(stdout, NULL, _IONBF, 0);
	word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (word == MAP_FAILED || pipe(go) || pipe(ends) || socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		return 97;
	if (full && (write(ends[1], "f", 1) != 1 || write(pair[1], "f", 1) != 1))
		return 97;
	pid = fork();
	if (!pid)
		release(waits);
	if (!strcmp(how, "restart"))
		act.sa_flags |= SA_RESTART;
	if (!strcmp(how, "ignored"))
		act.sa_handler = SIG_IGN, act.sa_flags = 0;
	if (strcmp(how, "default"))
		sigaction(SIGUSR1, &act, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	if (!strcmp(how, "blocked"))
		sigprocmask(SIG_BLOCK, &set, NULL);
	for (int i = 0; warm && i < 8; i++)
		syscall(SYS_getpgrp);
	errno = 0;
	r = make(name);
	printf("%s %ld %s, handler %d %d", name, r, r < 0 ? strerrorname_np(errno) : "", ran, code);
	sigpending(&set);
	printf(", pending %d\n", sigismember(&set, SIGUSR1));
	kill(pid, SIGKILL);
	return 0;
}
