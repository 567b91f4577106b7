/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a handler finds in its ucontext when it has interrupted a system call: rip at the program's own instruction, or
 * right behind it, with the registers of that place; rax = -EINTR, or the number of a call that will be made again.
 * What it changes there counts: it may send the program elsewhere, or give the call another result.
 */
#include "bare.h"
#include "parts.h"

#include <poll.h>
#include <sys/time.h>
#include <ucontext.h>

enum { SAME = 0x7ca5c0 };

extern char read_at[], read_end[], elsewhere[];

static volatile sig_atomic_t before, after, restarts, wrong, stray, code_seen, mask_seen, redirect, answer, stack_wrong;
static volatile uint64_t found[NGREG];
static uint64_t entered_with;
static int ends[2];

/* read(rdi, rsi, rdx) with known values in the registers that a call keeps. */
static __attribute__((naked, noinline)) long marked_read(int fd, void *data, unsigned long size, uint64_t *stack)
{
	(void)fd, (void)data, (void)size, (void)stack;
	__asm__("push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n"
		"mov %rsp, (%rcx)\n"
		"mov $0x7ca5c1, %ebx\n mov $0x7ca5c2, %ebp\n mov $0x7ca5c3, %r12d\n mov $0x7ca5c4, %r13d\n"
		"mov $0x7ca5c5, %r14d\n mov $0x7ca5c6, %r15d\n mov $0x7ca5c7, %r8d\n mov $0x7ca5c8, %r9d\n"
		"mov $0x7ca5c9, %r10d\n"
		"movq $0x7ca5ca, -8(%rsp)\n" /* the red zone */
		"xor %eax, %eax\n"
		"read_at: syscall\n"
		"read_end: nop\n"
		"cmpq $0x7ca5ca, -8(%rsp)\n"
		"je 1f\n"
		"mov $-1000, %rax\n"
		"1: pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n"
		"ret\n"
		"elsewhere: mov $4321, %eax\n"
		"jmp 1b\n");
}

static void handler(int signal, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	greg_t *g = uc->uc_mcontext.gregs;
	char *rip = (char *)(uintptr_t)g[REG_RIP];

	code_seen |= info->si_signo == signal ? 1 : 2;
	if (rip != read_at && rip != read_end) {
		stray++; /* the timer came while the program did something else */
		return;
	}
	if (g[REG_RBX] != 0x7ca5c1 || g[REG_RBP] != 0x7ca5c2 || g[REG_R12] != 0x7ca5c3 || g[REG_R13] != 0x7ca5c4 ||
	    g[REG_R14] != 0x7ca5c5 || g[REG_R15] != 0x7ca5c6 || g[REG_R8] != 0x7ca5c7 || g[REG_R9] != 0x7ca5c8 ||
	    g[REG_R10] != 0x7ca5c9 || g[REG_RDI] != ends[0] || g[REG_RDX] != 1)
		wrong++;
	if ((uint64_t)g[REG_RSP] != entered_with)
		stack_wrong++;
	if (rip == read_end && g[REG_RAX] == -EINTR && g[REG_RCX] == (greg_t)(uintptr_t)read_end)
		after++;
	else if (rip == read_at && g[REG_RAX] == SYS_read)
		restarts++;
	else if (rip == read_end && (g[REG_RAX] == 1 || (answer && g[REG_RAX] == answer)))
		before++; /* it had read already, or the one before has just left */
	else
		wrong++;
	mask_seen = sigismember(&uc->uc_sigmask, SIGUSR1) && !sigismember(&uc->uc_sigmask, SIGALRM) &&
		    !sigismember(&uc->uc_sigmask, SIGSYS);
	for (int i = 0; i < NGREG; i++)
		found[i] = (uint64_t)g[i];
	if (redirect)
		g[REG_RIP] = (greg_t)(uintptr_t)elsewhere;
	if (answer && rip == read_end)
		g[REG_RAX] = answer;
}

static void timer(long every)
{
	struct itimerval value = {{0, every}, {0, every}};

	setitimer(ITIMER_REAL, &value, NULL);
}

static void prepare(int flags)
{
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	MUST(pipe(ends));
	MUST(sigaction(SIGALRM, &action, NULL));
}

static void shown(void)
{
	timer(0);
	check("registers of that place", !wrong);
	check("stack of that place", !stack_wrong);
	check("information", code_seen == 1);
	check("mask", mask_seen);
	check("flags", (found[REG_EFL] & 0x202) == 0x202);
}

static void interrupted(void)
{
	long ret;
	char byte;

	prepare(0);
	timer(5000);
	for (int i = 0; i < 20;) {
		ret = marked_read(ends[0], &byte, 1, &entered_with);
		if (ret != -EINTR)
			printf("returned %ld\n", ret);
		i = after;
	}
	check("seen behind the instruction", after >= 20);
	shown();
}

static int writer(void *argument)
{
	uint64_t alarms = 1ull << (SIGALRM - 1);

	/* The timer's signals are the process's: whoever is about to return from the kernel may take them. */
	bare(SYS_rt_sigprocmask, SIG_BLOCK, (long)&alarms, 0, sizeof alarms);
	/* The byte comes when the handler has seen the call ten times. */
	while (restarts < 10)
		bare(SYS_sched_yield, 0, 0, 0, 0);
	return bare(SYS_write, ends[1], (long)argument, 1, 0) != 1;
}

static void restarted(void)
{
	static char stack[16384] __attribute__((aligned(16)));
	static int running = 1;
	char byte = 0;

	prepare(SA_RESTART);
	MUST(bare_clone(BARE_THREAD | CLONE_CHILD_CLEARTID, stack + sizeof stack, NULL, &running, NULL, writer, "x"));
	timer(3000);
	check("read", marked_read(ends[0], &byte, 1, &entered_with) == 1 && byte == 'x');
	bare_join(&running);
	check("seen at the instruction", restarts >= 10 && !after);
	shown();
}

static void redirected(void)
{
	char byte;

	prepare(0);
	redirect = 1;
	timer(5000);
	for (int i = 0; i < 5; i++)
		report("sent elsewhere", marked_read(ends[0], &byte, 1, &entered_with));
	shown();
}

static void answered(void)
{
	char byte;
	long ret;

	prepare(0);
	answer = 1234;
	timer(5000);
	for (int i = 0; i < 5;) {
		ret = marked_read(ends[0], &byte, 1, &entered_with);
		i += ret == 1234;
		if (ret != 1234)
			printf("returned %ld\n", ret);
	}
	shown();
}

/* A call that is never restarted, and one that is by another call of the kernel's own. */
static void sleeping(void)
{
	struct timespec two = {0, 30000000}, left = {0};
	struct pollfd none = {-1, 0, 0};
	long began;

	prepare(SA_RESTART);
	timer(1000);
	report("poll", poll(&none, 1, 10000));
	report("nanosleep", nanosleep(&two, &left));
	check("time is left", left.tv_nsec > 0);
	timer(0);
	/* Stopped and continued: nanosleep and poll go on by themselves, for the time that is left. */
	began = now_ms();
	if (!fork()) {
		kill(getppid(), SIGSTOP);
		kill(getppid(), SIGCONT);
		_exit(0);
	}
	report("nanosleep over a stop", nanosleep(&two, NULL));
	report("poll over a stop", poll(&none, 1, 30));
	check("as long as wanted", now_ms() - began >= 59);
}

int main(int argc, char **argv)
{
	static const struct part parts[] = {
		{"interrupted", interrupted}, {"restarted", restarted}, {"redirected", redirected},
		{"answered", answered}, {"sleeping", sleeping},
	};

	return RUN_PARTS(parts, argc, argv);
}
