/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Syscall User Dispatch of the program's own (prctl 59), as Wine and others use it: which calls it takes and what its
 * handler is told of them, by selector and by range, what is wrong with arguments, selectors and handlers, and that
 * neither children nor threads nor the next image have one. Also here: strict mode by int 0x80.
 *
 * The handler's calls, and the one it leaves by, lie in a page from which calls pass; those to be taken in another.
 */
#include "bare.h"
#include "parts.h"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <ucontext.h>

enum { DISPATCH = 59, OFF = 0, ON = 1, INSIDE = 2, PASSES = 0, TAKEN = 1, OFTEN = 50, RESTORER = 64 };
enum { GETPPID, GETPGID, ODD, FOREIGN, SITES }; /* sites of the outer page */

static const int numbers[SITES] = {SYS_getppid, SYS_getpgid, 777777};
static unsigned char *inner, *outer;
static __thread volatile char selector __attribute__((tls_model("initial-exec")));

struct kernel_action {
	void *handler;
	unsigned long flags;
	void *restorer;
	unsigned long mask;
};

static void build(void)
{
	inner = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	outer = inner + 4096;
	/* A call with four arguments. */
	memcpy(inner, "\x48\x89\xf8\x48\x89\xf7\x48\x89\xd6\x48\x89\xca\x4d\x89\xc2\x0f\x05\xc3", 18);
	memcpy(inner + RESTORER, "\x48\xc7\xc0\x0f\0\0\0\x0f\x05", 9);
	for (int i = 0; i < SITES; i++) {
		memcpy(outer + i * 64, "\xb8....\x0f\x05\xc3", 8);
		memcpy(outer + i * 64 + 1, &numbers[i], 4);
	}
	memcpy(outer + FOREIGN * 64, "\x89\xf8\xcd\x80\xc3", 5); /* mov %edi, %eax; int $0x80; ret */
	MUST(mprotect(inner, 8192, PROT_READ | PROT_EXEC));
}

/* From the inner page. */
static long in(long nr, long a, long b, long c, long d)
{
	return ((long (*)(long, long, long, long, long))inner)(nr, a, b, c, d);
}

static long out(int site)
{
	return ((long (*)(long))(outer + site * 64))(24 /* getuid of i386 */);
}

static void action(int signal, void *handler, unsigned long flags)
{
	struct kernel_action act = {handler, flags | SA_SIGINFO | 0x04000000, inner + RESTORER, 0};

	MUST(syscall(SYS_rt_sigaction, signal, &act, NULL, 8));
}

static long ask(long mode, unsigned long from, unsigned long len, unsigned long byte)
{
	return syscall(SYS_prctl, DISPATCH, mode, from, len, byte);
}

static volatile long seen[6], taken, wrong;

/* Answers by itself, or lets through from now on. */
static void answers(int signal, siginfo_t *info, void *context)
{
	greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;

	taken++;
	seen[0] = signal == SIGSYS && info->si_signo == SIGSYS && !info->si_errno ? info->si_code : -1;
	seen[1] = info->si_syscall;
	seen[2] = info->si_arch == AUDIT_ARCH_X86_64 ? 64 : info->si_arch == AUDIT_ARCH_I386 ? 32 : 0;
	seen[3] = (unsigned char *)info->si_call_addr - outer;
	if (seen[3] < 0 || seen[3] > 4096)
		seen[3] = -1;
	seen[4] = (long)g[REG_RIP] == (long)info->si_call_addr && g[REG_RCX] == g[REG_RIP] &&
		  (g[REG_R11] & 0x40cd5) == (g[REG_EFL] & 0x40cd5);
	seen[5] = g[REG_RAX];
	g[REG_RAX] = 4321;
}

static void tell(const char *name, long ret)
{
	printf("%s: %ld; taken %ld, code %ld, call %ld, of %ld, at %ld, registers %ld, rax %ld\n", name, ret, taken,
	       seen[0], seen[1], seen[2], seen[3], seen[2] == 64 ? seen[4] : 0, seen[5]);
	memset((void *)seen, 0, sizeof seen);
}

/* Around one call: nothing of libc's happens meanwhile. */
static long blocked(int site)
{
	long ret;

	selector = TAKEN;
	ret = out(site);
	selector = PASSES;
	return ret;
}

static void by_selector(void)
{
	long parent = getppid();

	for (int i = 0; i < OFTEN; i++)
		out(GETPPID);
	action(SIGSYS, answers, 0);
	report("on", ask(ON, (unsigned long)inner, 4096, (unsigned long)&selector));
	for (int i = 0; i < SITES; i++)
		for (int n = 0; n < OFTEN; n++) {
			long ret = blocked(i);

			if (n == 0 || n == OFTEN - 1)
				tell("taken", ret);
		}
	for (int n = 0; n < OFTEN; n++)
		wrong += out(GETPPID) != parent;
	printf("passed: wrong %ld, taken %ld\n", wrong, taken);
	report("off", ask(OFF, 0, 0, 0));
	selector = TAKEN;
	for (int n = 0; n < OFTEN; n++)
		wrong += out(GETPPID) != parent;
	printf("off: wrong %ld, taken %ld\n", wrong, taken);
}

/* libc's own way of leaving a handler is taken, too, unless the selector says otherwise by then. */
static void lets_go(int signal, siginfo_t *info, void *context)
{
	answers(signal, info, context);
	selector = PASSES;
}

static void by_libc(void)
{
	struct sigaction act = {.sa_sigaction = lets_go, .sa_flags = SA_SIGINFO};
	static char stack[65536];
	stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};

	for (int on = 0; on < 2; on++) {
		MUST(sigaltstack(&alternate, NULL));
		act.sa_flags |= on ? SA_ONSTACK : 0;
		MUST(sigaction(SIGSYS, &act, NULL));
		report("on", ask(ON, 0, 0, (unsigned long)&selector));
		for (int i = 0; i < OFTEN; i++) {
			selector = TAKEN;
			getppid();
		}
		tell("getppid", 0);
	}
}

static void by_range(void)
{
	long parent = getppid();

	action(SIGSYS, answers, 0);
	wrong = ask(ON, (unsigned long)inner, 4096, 0);
	/* From here on libc may call nothing. */
	for (int n = 0; n < OFTEN; n++)
		wrong += out(GETPPID) != 4321;
	wrong += in(SYS_getppid, 0, 0, 0, 0) != parent;
	in(SYS_prctl, DISPATCH, OFF, 0, 0);
	tell("range", wrong);
}

/* Since Linux 6.16 the range may also be what is looked at. */
static void by_inner_range(void)
{
	long parent = getppid(), is_there;

	action(SIGSYS, answers, 0);
	is_there = attempt("on", ask(INSIDE, (unsigned long)outer, 64, 0));
	for (int n = 0; n < OFTEN && !is_there; n++)
		wrong += out(GETPPID) != 4321 || out(GETPGID) == 4321 || getppid() != parent;
	tell("inner range", wrong);
}

static void arguments(void)
{
	struct rlimit no_core = {0, 0};

	static const unsigned long tried[][4] = {
		{OFF, 1, 0, 0}, {OFF, 0, 1, 0}, {OFF, 0, 0, 1}, {3, 0, 0, 0}, {4, 0, 0, 0}, {-1ul, 0, 0, 0},
		{ON, 1, 0, 0}, {ON, 4096, 4096, 1}, {ON, -1ul, 1, 0}, {ON, 1, -1ul, 0}, {ON, 0, 0, -1ul},
		{ON, 0, 0, 1ul << 63}, {ON, 0, -1ul, 0x7ffffffff000}, {ON, 0, -1ul, 0x7fffffffe000},
		{INSIDE, 0, 0, 0}, {INSIDE, 4096, 0, 0}, {INSIDE, -1ul, 1, 0}, {INSIDE, 4096, 1, -1ul},
		{1ul << 32, 0, 0, 0}, {ON | 1ul << 32, 0, 0, 0}, {OFF, 0, 0, 0},
	};

	setrlimit(RLIMIT_CORE, &no_core);
	for (unsigned i = 0; i < sizeof tried / sizeof *tried; i++) {
		pid_t child = (pid_t)MUST(fork());

		if (!child) {
			if (ask((long)tried[i][0], tried[i][1], tried[i][2], tried[i][3]))
				_exit(errno);
			_exit(0); /* unless this one is taken */
		}
		printf("%u ", i);
		reap("asked", child);
	}
}

/* ---- ends -------------------------------------------------------------------------------------------------------- */

enum { UNMAPPED, NO_BYTE, WRONG_BYTE, BLOCKED, IGNORED, DEFAULT, NESTED, ENDS };

static void forgets(int signal, siginfo_t *info, void *context)
{
	(void)signal, (void)info, (void)context;
	selector = TAKEN;
	out(GETPPID); /* while SIGSYS is blocked */
}

static void one_end(int what)
{
	unsigned long byte = (unsigned long)&selector;
	sigset_t set;

	action(SIGSYS, what == NESTED ? forgets : answers, 0);
	action(SIGSEGV, answers, 0);
	sigemptyset(&set);
	sigaddset(&set, what == BLOCKED ? SIGSYS : SIGSEGV);
	if (what == BLOCKED || what == NO_BYTE)
		sigprocmask(SIG_BLOCK, &set, NULL);
	if (what == IGNORED || what == DEFAULT)
		signal(SIGSYS, what == IGNORED ? SIG_IGN : SIG_DFL);
	if (what == UNMAPPED || what == NO_BYTE)
		byte = (unsigned long)nowhere();
	MUST(ask(ON, 0, 0, byte));
	selector = what == WRONG_BYTE ? 2 : TAKEN;
	out(GETPPID);
	selector = PASSES;
	_exit(1);
}

static void ends(void)
{
	struct rlimit no_core = {0, 0};

	setrlimit(RLIMIT_CORE, &no_core);
	for (int what = 0; what < ENDS; what++) {
		pid_t child = (pid_t)MUST(fork());

		if (!child)
			one_end(what);
		printf("%d ", what);
		reap("ended", child);
	}
}

/* ---- children ---------------------------------------------------------------------------------------------------- */

static volatile int made;

static void *beside(void *other)
{
	while (!made)
		;
	*(volatile char *)other = TAKEN;
	*(long *)&wrong += out(GETPPID) != getppid();
	return NULL;
}

static void births(void)
{
	long parent = getppid(), ret;
	pthread_t thread;
	pid_t child;

	action(SIGSYS, answers, 0);
	MUST(ask(ON, (unsigned long)inner, 4096, (unsigned long)&selector));
	child = (pid_t)MUST(fork());
	if (!child) {
		selector = TAKEN;
		_exit(out(GETPPID) == 4321 || out(GETPPID) != getppid());
	}
	reap("fork", child);
	child = vfork();
	if (!child) {
		selector = TAKEN;
		_exit(out(GETPPID) == 4321 || out(GETPPID) != getppid());
	}
	selector = PASSES;
	reap("vfork", child);
	pthread_create(&thread, NULL, beside, (void *)&selector);
	made = 1;
	while (selector != TAKEN)
		;
	ret = out(GETPPID);
	selector = PASSES;
	tell("and here", ret);
	pthread_join(thread, NULL);
	printf("thread: %ld\n", wrong);
	child = (pid_t)MUST(fork());
	if (!child) {
		MUST(ask(ON, 0, 0, (unsigned long)&selector));
		execl("/proc/self/exe", "dispatch", "after exec", (char *)NULL);
		_exit(97);
	}
	reap("exec", child);
	tell("still", blocked(GETPPID));
	printf("parent %d\n", getppid() == parent);
}

static void after_exec(void)
{
	for (int n = 0; n < OFTEN; n++)
		wrong += out(GETPPID) != getppid();
	printf("new image: %ld\n", wrong);
}

/* ---- many -------------------------------------------------------------------------------------------------------- */

static __thread volatile long mine __attribute__((tls_model("initial-exec")));

static void counts(int signal, siginfo_t *info, void *context)
{
	(void)signal, (void)info;
	mine++;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RAX] = -7;
}

/* Leaves the selector as it finds it, and makes calls that pass. */
static void ticks(int signal, siginfo_t *info, void *context)
{
	(void)signal, (void)info, (void)context;
	if (in(SYS_getpid, 0, 0, 0, 0) <= 0)
		wrong++;
}

static void *storm_thread(void *argument)
{
	long good = 0, process = getpgid(0), rounds = (long)argument;

	if (ask(ON, (unsigned long)inner, 4096, (unsigned long)&selector))
		return NULL;
	for (long i = 0; i < rounds; i++) {
		selector = TAKEN;
		good += out(GETPPID) == -7 && in(SYS_getpid, 0, 0, 0, 0) > 0;
		selector = PASSES;
		good += ((long (*)(long))(outer + GETPGID * 64))(0) == process;
		if (i % 100 == 99) {
			ask(OFF, 0, 0, 0);
			selector = TAKEN;
			good += ((long (*)(long))(outer + GETPGID * 64))(0) == process;
			selector = PASSES;
			ask(ON, (unsigned long)inner, 4096, (unsigned long)&selector);
		}
	}
	good += mine == rounds;
	return (void *)good;
}

static void storm(void)
{
	struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
	pthread_t threads[4];
	long sum = 0;
	void *good;

	action(SIGSYS, counts, 0);
	action(SIGALRM, ticks, SA_RESTART);
	setitimer(ITIMER_REAL, &often, NULL);
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, storm_thread, (void *)1000l);
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], &good);
		sum += (long)good;
	}
	setitimer(ITIMER_REAL, &never, NULL);
	printf("good %ld, wrong %ld\n", sum, wrong);
}

/* ---- strict mode by the other door ------------------------------------------------------------------------------- */

static long i386(int nr, long a, long b, long c)
{
	int ret;

	__asm__ volatile("int $0x80"
			 : "=a"(ret) : "a"(nr), "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
	return ret;
}

static void strict_i386(void)
{
	char *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

	for (int what = 0; what < 2; what++) {
		pid_t child = (pid_t)MUST(fork());

		if (!child) {
			memcpy(low, "four\n", 5);
			MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
			if (what)
				i386(20, 0, 0, 0);
			i386(4, -1, (long)low, 5);
			i386(1, 5, 0, 0);
		}
		reap("strict", child);
	}
}

int main(int argc, char **argv)
{
	static const struct part parts[] = {
		{"by selector", by_selector}, {"by libc", by_libc}, {"by range", by_range},
		{"by inner range", by_inner_range}, {"arguments", arguments}, {"ends", ends}, {"births", births},
		{"after exec", after_exec}, {"storm", storm}, {"strict by int 0x80", strict_i386},
	};

	build();
	return RUN_PARTS(parts, argc, argv);
}
