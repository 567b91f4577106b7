/* SPDX-License-Identifier: Apache-2.0 */
/* Signals read from a descriptor: own ones, a child's, with poll and epoll, and the mask that goes with it. */
#include "check.h"

#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

int main(void)
{
	struct signalfd_siginfo *info = tail_alloc(sizeof *info);
	struct epoll_event event = {.events = EPOLLIN};
	union sigval value = {.sival_int = 42};
	struct pollfd poller;
	sigset_t mask;
	int fd, queue;
	pid_t child;

	begin();
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	sigaddset(&mask, SIGCHLD);
	sigaddset(&mask, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	fd = report("signalfd", signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC));
	report("nothing", read(fd, info, sizeof *info));
	kill(getpid(), SIGUSR1);
	poller = (struct pollfd){.fd = fd, .events = POLLIN};
	report("poll", poll(&poller, 1, 1000));
	report("read", read(fd, info, sizeof *info));
	check("SIGUSR1 from ourselves", info->ssi_signo == SIGUSR1 && info->ssi_pid == (uint32_t)getpid());
	report("nothing left", read(fd, info, sizeof *info));
	sigqueue(getpid(), SIGRTMIN, value);
	sigqueue(getpid(), SIGRTMIN, value);
	report("queued", read(fd, info, sizeof *info));
	check("value", info->ssi_int == 42);
	report("queued twice", read(fd, info, sizeof *info));
	queue = MUST(epoll_create1(0));
	MUST(epoll_ctl(queue, EPOLL_CTL_ADD, fd, &event));
	child = fork();
	if (!child)
		_exit(3);
	report("epoll", epoll_wait(queue, &event, 1, 5000));
	report("read", read(fd, info, sizeof *info));
	check("the child's end", info->ssi_signo == SIGCHLD && info->ssi_pid == (uint32_t)child &&
	      info->ssi_status == 3);
	reap("child", child);
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR2);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	report("change the mask", signalfd(fd, &mask, 0) == fd ? 0 : -1);
	kill(getpid(), SIGUSR2);
	report("read the other", read(fd, info, sizeof *info));
	check("SIGUSR2", info->ssi_signo == SIGUSR2);
	report("short buffer", read(fd, info, 4));
	report("mask unmapped", signalfd(-1, nowhere(), 0));
	report("not a signalfd", signalfd(0, &mask, 0));
	fcntl(fd, F_SETFL, 0);
	child = fork();
	if (!child) {
		sleep_ms(50);
		kill(getppid(), SIGUSR2);
		_exit(0);
	}
	report("read waits for a signal from outside", read(fd, info, sizeof *info));
	check("from the child", info->ssi_signo == SIGUSR2 && info->ssi_pid == (uint32_t)child);
	reap("child", child);
	return 0;
}
