/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals as a program sees them: actions and masks read back as they were set, EINTR, restarts, waiting for signals,
 * nested handlers, alternate stacks, one-shot handlers.
 */
#include "check.h"

#include <signal.h>
#include <sys/time.h>

static volatile sig_atomic_t count, order[8], at, on_stack, info_ok, nested_mask;
static char stack[65536];

static void counting(int signal)
{
	(void)signal;
	count++;
}

static void action_is(const char *name, int number, void (*handler)(int), int flags)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags};

	sigemptyset(&action.sa_mask);
	sigaddset(&action.sa_mask, SIGUSR2);
	sigaddset(&action.sa_mask, SIGSYS);
	report(name, sigaction(number, &action, NULL));
}

static void actions(void)
{
	struct sigaction old;

	action_is("set", SIGUSR1, counting, SA_RESTART | SA_NODEFER);
	report("get", sigaction(SIGUSR1, NULL, &old));
	check("handler", old.sa_handler == counting);
	printf("flags: %x\n", old.sa_flags);
	printf("mask: SIGUSR2 %d SIGSYS %d SIGINT %d\n", sigismember(&old.sa_mask, SIGUSR2),
	       sigismember(&old.sa_mask, SIGSYS), sigismember(&old.sa_mask, SIGINT));
	report("SIGKILL", sigaction(SIGKILL, &old, NULL));
	report("signal 0", sigaction(0, &old, NULL));
	report("signal 65", syscall(SYS_rt_sigaction, 65, NULL, NULL, 8));
	report("unmapped", syscall(SYS_rt_sigaction, SIGUSR1, nowhere(), NULL, 8));
	report("old unmapped", syscall(SYS_rt_sigaction, SIGUSR1, NULL, nowhere(), 8));
	report("wrong size", syscall(SYS_rt_sigaction, SIGUSR1, NULL, NULL, 4));
}

static void mask_is(const char *name)
{
	sigset_t mask;

	syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, 8);
	printf("%s: %016lx\n", name, *(unsigned long *)&mask);
}

static void masks(void)
{
	sigset_t all, set, pending;
	pid_t child;

	mask_is("mask at first");
	sigfillset(&all);
	report("block all", sigprocmask(SIG_SETMASK, &all, NULL));
	mask_is("mask");
	check("calls still work", getppid() > 0 && access("/", F_OK) == 0);
	kill(getpid(), SIGUSR1);
	sigpending(&pending);
	printf("pending: SIGUSR1 %d\n", sigismember(&pending, SIGUSR1));
	child = fork();
	if (!child) {
		mask_is("child inherits");
		sigpending(&pending);
		printf("child has pending: %d\n", sigismember(&pending, SIGUSR1));
		_exit(0);
	}
	reap("child", child);
	signal(SIGUSR1, counting);
	count = 0;
	sigemptyset(&set);
	report("unblock", sigprocmask(SIG_SETMASK, &set, NULL));
	printf("delivered: %d\n", (int)count);
	report("bad how", sigprocmask(99, &set, NULL));
	report("unmapped", syscall(SYS_rt_sigprocmask, SIG_BLOCK, nowhere(), NULL, 8));
	report("wrong size", syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, NULL, 16));
}

static void interrupting(void)
{
	struct itimerval soon = {{0, 0}, {0, 30000}}, often = {{0, 5000}, {0, 5000}}, off = {0};
	struct timespec wait = {2, 0}, left;
	int p[2];
	pid_t child;
	char byte;

	MUST(pipe(p));
	count = 0;
	action_is("without SA_RESTART", SIGALRM, counting, 0);
	setitimer(ITIMER_REAL, &soon, NULL);
	report("read", read(p[0], &byte, 1));
	setitimer(ITIMER_REAL, &soon, NULL);
	report("nanosleep", nanosleep(&wait, &left));
	check("time left", left.tv_sec == 1);
	setitimer(ITIMER_REAL, &soon, NULL);
	report("pause", pause());
	setitimer(ITIMER_REAL, &soon, NULL);
	child = fork();
	if (!child) {
		sleep_ms(300);
		_exit(0);
	}
	report("waitpid", waitpid(child, NULL, 0));
	reap("child", child);
	printf("handled: %d\n", (int)count);

	action_is("with SA_RESTART", SIGALRM, counting, SA_RESTART);
	count = 0;
	child = fork();
	if (!child) {
		sleep_ms(200);
		_exit(write(p[1], "x", 1) != 1);
	}
	setitimer(ITIMER_REAL, &often, NULL);
	report("read", read(p[0], &byte, 1));
	check("handled often", count >= 5);
	reap("child", child);
	child = fork();
	if (!child) {
		sleep_ms(200);
		_exit(5);
	}
	reap("wait is restarted", child);
	report("nanosleep is not", nanosleep(&wait, &left));
	setitimer(ITIMER_REAL, &off, NULL);
	close(p[0]);
	close(p[1]);
}

static void waiting(void)
{
	struct timespec soon = {0, 20000000};
	sigset_t set, none;
	siginfo_t info;
	pid_t child;

	sigemptyset(&none);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	report("sigtimedwait nothing", sigtimedwait(&set, &info, &soon));
	kill(getpid(), SIGUSR1);
	report("sigtimedwait", sigtimedwait(&set, &info, &soon));
	check("sender", info.si_pid == getpid() && info.si_code == SI_USER);
	count = 0;
	child = fork();
	if (!child) {
		sleep_ms(50);
		kill(getppid(), SIGUSR1);
		_exit(0);
	}
	report("sigsuspend", sigsuspend(&none));
	printf("handled: %d\n", (int)count);
	mask_is("mask after it");
	reap("child", child);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void outer(int signal)
{
	sigset_t mask;

	(void)signal;
	order[at++] = 1;
	sigprocmask(SIG_BLOCK, NULL, &mask);
	nested_mask = sigismember(&mask, SIGUSR1) && sigismember(&mask, SIGUSR2) && !sigismember(&mask, SIGTERM);
	raise(SIGTERM);
	raise(SIGUSR2);
	order[at++] = 2;
}

static void inner(int signal)
{
	order[at++] = signal == SIGTERM ? 3 : 4;
}

static void with_info(int signal, siginfo_t *info, void *context)
{
	(void)context;
	on_stack = (char *)&signal >= stack && (char *)&signal < stack + sizeof stack;
	info_ok = info->si_signo == signal && info->si_pid == getpid();
}

static void handlers(void)
{
	struct sigaction action = {.sa_sigaction = with_info, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESETHAND};
	stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack}, old;

	signal(SIGUSR2, inner);
	signal(SIGTERM, inner);
	action_is("nesting", SIGUSR1, outer, 0);
	raise(SIGUSR1);
	printf("order: %d %d %d %d\n", (int)order[0], (int)order[1], (int)order[2], (int)order[3]);
	check("mask in the handler", nested_mask);
	mask_is("mask after it");

	report("sigaltstack none", sigaltstack(NULL, &old));
	check("disabled", old.ss_flags == SS_DISABLE);
	report("sigaltstack", sigaltstack(&alternate, NULL));
	report("get", sigaltstack(NULL, &old));
	check("as set", old.ss_sp == stack && old.ss_size == sizeof stack && !old.ss_flags);
	alternate.ss_size = 100;
	report("too small", sigaltstack(&alternate, NULL));
	sigaction(SIGUSR1, &action, NULL);
	raise(SIGUSR1);
	check("ran on it", on_stack);
	check("information", info_ok);
	sigaction(SIGUSR1, NULL, &action);
	check("SA_RESETHAND", action.sa_handler == SIG_DFL);
	alternate.ss_flags = SS_DISABLE;
	report("disable", sigaltstack(&alternate, NULL));
}

static void deaths(void)
{
	static const int numbers[] = {SIGTERM, SIGKILL, SIGSEGV, SIGSYS, SIGUSR1};
	pid_t child;

	for (int i = 0; i < 5; i++) {
		child = fork();
		if (!child) {
			signal(numbers[i], SIG_DFL);
			raise(numbers[i]);
			_exit(1);
		}
		reap("died by", child);
	}
}

int main(void)
{
	begin();
	actions();
	masks();
	interrupting();
	waiting();
	handlers();
	deaths();
	return 0;
}
