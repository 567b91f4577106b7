/* SPDX-License-Identifier: Apache-2.0 */
/* SIGSYS as an ordinary signal of the program: handled, ignored, blocked and pending, waited for, inherited. */
#include "check.h"

#include <signal.h>

static volatile sig_atomic_t count, code;

static void counting(int signal, siginfo_t *info, void *context)
{
	(void)signal, (void)context;
	count++;
	code = info->si_code;
}

static void handle(void)
{
	struct sigaction action = {.sa_sigaction = counting, .sa_flags = SA_SIGINFO}, old;

	report("set", sigaction(SIGSYS, &action, &old));
	report("get", sigaction(SIGSYS, NULL, &old));
	check("as set", old.sa_sigaction == counting && old.sa_flags & SA_SIGINFO);
}

int main(void)
{
	struct timespec soon = {0, 20000000};
	struct sigaction old;
	sigset_t set, pending;
	pid_t child;

	begin();
	report("at first", sigaction(SIGSYS, NULL, &old));
	check("default", old.sa_handler == SIG_DFL);
	signal(SIGSYS, SIG_IGN);
	sigaction(SIGSYS, NULL, &old);
	check("ignored", old.sa_handler == SIG_IGN);
	kill(getpid(), SIGSYS);
	handle();
	kill(getpid(), SIGSYS);
	printf("handled: %d code %d\n", (int)count, (int)code);
	raise(SIGSYS);
	printf("handled: %d code %d\n", (int)count, (int)code);
	child = fork();
	if (!child) {
		raise(SIGSYS);
		_exit(count);
	}
	reap("child has the handler", child);
	sigemptyset(&set);
	sigaddset(&set, SIGSYS);
	report("block", sigprocmask(SIG_BLOCK, &set, NULL));
	kill(getpid(), SIGSYS);
	printf("handled: %d\n", (int)count);
	sigpending(&pending);
	printf("pending: %d\n", sigismember(&pending, SIGSYS));
	report("unblock", sigprocmask(SIG_UNBLOCK, &set, NULL));
	printf("handled: %d\n", (int)count);
	sigprocmask(SIG_BLOCK, &set, NULL);
	kill(getpid(), SIGSYS);
	report("sigtimedwait", sigtimedwait(&set, NULL, &soon));
	report("sigtimedwait again", sigtimedwait(&set, NULL, &soon));
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	signal(SIGSYS, SIG_DFL);
	child = fork();
	if (!child) {
		kill(getpid(), SIGSYS);
		_exit(1);
	}
	reap("default kills", child);
	return 0;
}
