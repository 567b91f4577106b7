/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program finds when it begins, started by a shell or by itself: its words, signal mask, pending signals, and
 * which descriptors are open.
 *
 *	begun TIMES   executes itself so often, each time with another mask
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void say(const char *what, const sigset_t *set)
{
	printf("%s:", what);
	for (int sig = 1; sig < NSIG; sig++)
		if (sigismember(set, sig) == 1)
			printf(" %d", sig);
	puts("");
}

int main(int argc, char **argv)
{
	int times = argc > 1 ? atoi(argv[1]) : 0;
	char next[16], *words[] = {argv[0], next, NULL};
	sigset_t mask, pending;

	sigprocmask(SIG_SETMASK, NULL, &mask);
	sigpending(&pending);
	printf("%d words, %d left\n", argc, times);
	say("mask", &mask);
	say("pending", &pending);
	for (int fd = 0; fd < 20; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			printf("descriptor %d\n", fd);
	fflush(stdout);
	if (!times)
		return 0;
	sigaddset(&mask, SIGUSR1 + times % 3);
	sigaddset(&mask, SIGSYS);
	sigaddset(&mask, SIGSEGV);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	raise(SIGUSR1 + times % 3);
	snprintf(next, sizeof next, "%d", times - 1);
	execv(argv[0], words);
	return 1;
}
