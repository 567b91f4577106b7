/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGSYS is the program's: sent to it in every way, raised by its own filters with the number and address of the call,
 * blocked, ignored, waited for, kept or reset, on an alternate stack, left by a jump; and by whatever an exec inherits.
 */
#include "parts.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>

enum { TRAPPED = SYS_getpgid };

extern char trapped_end[];

static volatile sig_atomic_t count, depth, deepest;
static siginfo_t last;
static volatile long at_rip, rax_seen, answer;
static sigjmp_buf escape;
static char stack[65536];
static volatile int on_stack;

static void handler(int signal, siginfo_t *info, void *context)
{
	greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)signal;
	count++;
	last = *info;
	on_stack = (char *)&signal >= stack && (char *)&signal < stack + sizeof stack;
	at_rip = g[REG_RIP];
	rax_seen = g[REG_RAX];
	if (answer)
		g[REG_RAX] = answer;
}

static void handle(void (*action)(int, siginfo_t *, void *), int flags)
{
	struct sigaction wanted = {.sa_sigaction = action, .sa_flags = SA_SIGINFO | flags};

	MUST(sigaction(SIGSYS, &wanted, NULL));
}

static void show(const char *name)
{
	printf("%s: %d times, code %d, sender ourselves %d, value %d\n", name, (int)count, last.si_code,
	       last.si_pid == getpid() && last.si_uid == getuid(), last.si_value.sival_int);
	memset(&last, 0, sizeof last);
}

static void sent(void)
{
	union sigval value = {.sival_int = 77};
	pid_t child;

	handle(handler, 0);
	kill(getpid(), SIGSYS);
	show("kill");
	syscall(SYS_tgkill, getpid(), gettid(), SIGSYS);
	show("tgkill");
	syscall(SYS_tkill, gettid(), SIGSYS);
	show("tkill");
	sigqueue(getpid(), SIGSYS, value);
	show("sigqueue");
	raise(SIGSYS);
	show("raise");
	pthread_kill(pthread_self(), SIGSYS);
	show("pthread_kill");
	child = (pid_t)MUST(fork());
	if (!child) {
		kill(getppid(), SIGSYS);
		_exit(0);
	}
	reap("child", child);
	printf("from a child: %d times, code %d, sender the child %d\n", (int)count, last.si_code,
	       last.si_pid == child);
}

static void nesting(int signal, siginfo_t *info, void *context)
{
	sigset_t mask;

	(void)info, (void)context;
	depth++;
	if (depth > deepest)
		deepest = depth;
	sigprocmask(SIG_SETMASK, NULL, &mask);
	printf("in the handler: blocked SIGSYS %d SIGUSR1 %d\n", sigismember(&mask, SIGSYS),
	       sigismember(&mask, SIGUSR1));
	if (count++ < 2)
		raise(signal);
	depth--;
}

/* A signal is blocked in its own handler, unless SA_NODEFER; calls in the handler work all the same. */
static void nested(void)
{
	struct sigaction old;

	handle(nesting, 0);
	raise(SIGSYS);
	printf("one after the other: %d, deepest %d\n", (int)count, (int)deepest);
	count = deepest = 0;
	handle(nesting, SA_NODEFER);
	raise(SIGSYS);
	printf("SA_NODEFER: %d, deepest %d\n", (int)count, (int)deepest);
	count = 0;
	handle(handler, SA_RESETHAND);
	raise(SIGSYS);
	sigaction(SIGSYS, NULL, &old);
	printf("SA_RESETHAND: %d, default %d\n", (int)count, old.sa_handler == SIG_DFL);
}

static void stacks(void)
{
	stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};

	MUST(sigaltstack(&alternate, NULL));
	handle(handler, 0);
	raise(SIGSYS);
	printf("without SA_ONSTACK on it: %d\n", on_stack);
	handle(handler, SA_ONSTACK);
	raise(SIGSYS);
	printf("with SA_ONSTACK on it: %d\n", on_stack);
}

static void jumping(int signal, siginfo_t *info, void *context)
{
	(void)info, (void)context;
	siglongjmp(escape, signal);
}

static void jumps(void)
{
	volatile int jumped = 0;
	sigset_t mask;

	handle(jumping, 0);
	for (volatile int i = 0; i < 100; i++) {
		if (!sigsetjmp(escape, 1))
			raise(SIGSYS);
		else
			jumped++;
	}
	sigprocmask(SIG_SETMASK, NULL, &mask);
	printf("jumped %d times, blocked %d\n", jumped, sigismember(&mask, SIGSYS));
	/* A jump that does not restore the mask leaves it blocked. */
	if (!sigsetjmp(escape, 0))
		raise(SIGSYS);
	sigprocmask(SIG_SETMASK, NULL, &mask);
	printf("still blocked %d\n", sigismember(&mask, SIGSYS));
	handle(handler, 0);
	raise(SIGSYS);
	printf("delivered while blocked: %d\n", (int)count);
	sigemptyset(&mask);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	printf("delivered afterwards: %d\n", (int)count);
}

static void blocked(void)
{
	struct timespec soon = {0, 10000000};
	union sigval value = {.sival_int = 5};
	sigset_t set, pending;
	siginfo_t info;
	pid_t child;

	handle(handler, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGSYS);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (int i = 0; i < 300; i++)
		getppid();
	kill(getpid(), SIGSYS);
	kill(getpid(), SIGSYS);
	sigpending(&pending);
	printf("pending %d, handled %d\n", sigismember(&pending, SIGSYS), (int)count);
	child = (pid_t)MUST(fork());
	if (!child) {
		sigpending(&pending);
		sigprocmask(SIG_SETMASK, NULL, &set);
		printf("child: pending %d, blocked %d\n", sigismember(&pending, SIGSYS), sigismember(&set, SIGSYS));
		_exit(0);
	}
	reap("child", child);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	printf("two became one: %d\n", (int)count);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigqueue(getpid(), SIGSYS, value);
	report("sigwaitinfo", sigwaitinfo(&set, &info));
	printf("code %d value %d\n", info.si_code, info.si_value.sival_int);
	report("nothing more", sigtimedwait(&set, &info, &soon));
	child = (pid_t)MUST(fork());
	if (!child) {
		sleep_ms(20);
		kill(getppid(), SIGSYS);
		_exit(0);
	}
	report("sigwaitinfo that waits", sigwaitinfo(&set, &info));
	check("sender", info.si_pid == child && info.si_code == SI_USER);
	reap("child", child);
	child = (pid_t)MUST(fork());
	if (!child) {
		sleep_ms(20);
		kill(getppid(), SIGSYS);
		_exit(0);
	}
	sigemptyset(&set);
	count = 0;
	report("sigsuspend", sigsuspend(&set));
	printf("handled %d\n", (int)count);
	reap("child", child);
	sigaddset(&set, SIGSYS);
	kill(getpid(), SIGSYS);
	signal(SIGSYS, SIG_IGN);
	sigpending(&pending);
	printf("ignoring drops what is pending: %d\n", !sigismember(&pending, SIGSYS));
}

static int child_image(void)
{
	struct sigaction old;
	sigset_t mask, pending;

	sigaction(SIGSYS, NULL, &old);
	sigprocmask(SIG_SETMASK, NULL, &mask);
	sigpending(&pending);
	printf("image: ignored %d default %d blocked %d pending %d\n", old.sa_handler == SIG_IGN,
	       old.sa_handler == SIG_DFL, sigismember(&mask, SIGSYS), sigismember(&pending, SIGSYS));
	kill(getpid(), SIGSYS);
	printf("alive\n");
	return 0;
}

static void after_exec(const char *name)
{
	pid_t child = (pid_t)MUST(fork());

	if (!child) {
		execl("/proc/self/exe", "own_sigsys", "image", (char *)NULL);
		_exit(99);
	}
	reap(name, child);
}

static void execs(void)
{
	sigset_t set;
	pid_t child;

	after_exec("default");
	signal(SIGSYS, SIG_IGN);
	after_exec("ignored");
	handle(handler, 0);
	after_exec("handled");
	sigemptyset(&set);
	sigaddset(&set, SIGSYS);
	sigprocmask(SIG_BLOCK, &set, NULL);
	after_exec("blocked");
	child = (pid_t)MUST(fork());
	if (!child) {
		kill(getpid(), SIGSYS);
		execl("/proc/self/exe", "own_sigsys", "image", (char *)NULL);
		_exit(99);
	}
	reap("blocked and pending", child);
	signal(SIGSYS, SIG_IGN);
	after_exec("blocked and ignored");
}

static void filter(unsigned verdict)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TRAPPED, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, verdict),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {4, code};

	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

static __attribute__((naked, noinline)) long trapped(long argument)
{
	(void)argument;
	__asm__("mov $121, %eax\n" /* getpgid */
		"syscall\n"
		"trapped_end: ret\n");
}

/* What a filter's RET_TRAP tells: which call, from where, and the filter's own number. */
static void traps(void)
{
	long ret = 0;

	handle(handler, 0);
	filter(SECCOMP_RET_TRAP | 99);
	for (int i = 0; i < 300; i++)
		ret = trapped(0x7ca5ca);
	printf("handled %d, code %d, number %d, errno %d, architecture %d\n", (int)count, last.si_code,
	       last.si_syscall == TRAPPED, last.si_errno, last.si_arch == AUDIT_ARCH_X86_64);
	check("address of the call", (char *)last.si_call_addr == trapped_end);
	check("rip in the frame", (char *)at_rip == trapped_end);
	check("number in rax", rax_seen == TRAPPED);
	printf("result without an answer: %ld\n", ret);
	answer = 4242;
	printf("result that the handler gives: %ld\n", trapped(0x7ca5ca));
	answer = 0;
	count = 0;
	raise(SIGSYS);
	printf("sent: %d, code %d\n", (int)count, last.si_code);
}

static void traps_deadly(void)
{
	sigset_t set;
	pid_t child;

	filter(SECCOMP_RET_TRAP);
	child = (pid_t)MUST(fork());
	if (!child) {
		trapped(0);
		_exit(1);
	}
	reap("default", child);
	child = (pid_t)MUST(fork());
	if (!child) {
		signal(SIGSYS, SIG_IGN);
		trapped(0);
		_exit(1);
	}
	reap("ignored: forced", child);
	child = (pid_t)MUST(fork());
	if (!child) {
		handle(handler, 0);
		sigemptyset(&set);
		sigaddset(&set, SIGSYS);
		sigprocmask(SIG_BLOCK, &set, NULL);
		trapped(0);
		_exit(1);
	}
	reap("blocked: forced", child);
}

int main(int argc, char **argv)
{
	static const struct part parts[] = {
		{"sent", sent}, {"nested", nested}, {"stacks", stacks}, {"jumps", jumps}, {"blocked", blocked},
		{"execs", execs}, {"traps", traps}, {"deadly traps", traps_deadly},
	};

	if (argc > 1 && !strcmp(argv[1], "image")) {
		begin();
		return child_image();
	}
	return RUN_PARTS(parts, argc, argv);
}
