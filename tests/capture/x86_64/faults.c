/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults of the program's own: handlers are told what and where, may repair and go on, or jump away; without a handler,
 * or where the signal is blocked or ignored, the program dies of the right signal. Calls are made all around them.
 */
#include "parts.h"

#include <setjmp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <ucontext.h>

enum { ROUNDS = 300 };

static volatile sig_atomic_t count, code, signo, on_stack;
static void *volatile address;
static sigjmp_buf escape;
static char *area, alternate[65536];
static volatile int skip;
static volatile long trap_number;

static void no_core(void)
{
	struct rlimit none = {0, 0};

	setrlimit(RLIMIT_CORE, &none);
}

static void note(int signal, siginfo_t *info, void *context)
{
	count++;
	signo = signal;
	code = info->si_code;
	address = info->si_addr;
	trap_number = ((ucontext_t *)context)->uc_mcontext.gregs[REG_TRAPNO];
	on_stack = (char *)&signal >= alternate && (char *)&signal < alternate + sizeof alternate;
	getppid();
}

static void jumping(int signal, siginfo_t *info, void *context)
{
	note(signal, info, context);
	siglongjmp(escape, 1);
}

static void skipping(int signal, siginfo_t *info, void *context)
{
	note(signal, info, context);
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += skip;
}

static void repairing(int signal, siginfo_t *info, void *context)
{
	note(signal, info, context);
	MUST(mprotect((void *)((uintptr_t)info->si_addr & ~4095ul), 4096, PROT_READ | PROT_WRITE));
}

static void handle(int number, void (*handler)(int, siginfo_t *, void *), int flags)
{
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};

	MUST(sigaction(number, &action, NULL));
}

static void told(const char *name, const void *expected)
{
	printf("%s: signal %d code %d trap %ld times %d, address %s\n", name, (int)signo, (int)code, trap_number,
	       (int)count, address == expected ? "right" : "WRONG");
	count = signo = code = 0;
}

static char *protected_pages(int number)
{
	char *at = mmap(NULL, (size_t)number * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		exit(99);
	return at;
}

static void reads_and_writes(void)
{
	handle(SIGSEGV, jumping, 0);
	area = protected_pages(2);
	if (!sigsetjmp(escape, 1))
		(void)*(volatile char *)(area + 123);
	told("read", area + 123);
	if (!sigsetjmp(escape, 1))
		*(volatile char *)(area + 4097) = 1;
	told("write", area + 4097);
	MUST(mprotect(area, 4096, PROT_READ));
	if (!sigsetjmp(escape, 1))
		*(volatile char *)(area + 7) = 1;
	told("write where one may read", area + 7);
	if (!sigsetjmp(escape, 1))
		((void (*)(void))(uintptr_t)(area + 16))();
	told("run", area + 16);
	munmap(area, 8192);
	if (!sigsetjmp(escape, 1))
		(void)*(volatile char *)(area + 5);
	told("unmapped", area + 5);
	if (!sigsetjmp(escape, 1))
		(void)*(volatile char *)(uintptr_t)0x8000000000000000;
	told("no address at all", NULL);
	if (!sigsetjmp(escape, 1))
		__asm__ volatile("hlt");
	told("instruction of the kernel", NULL);
	for (volatile int i = 0; i < ROUNDS; i++)
		if (!sigsetjmp(escape, 1)) {
			getppid();
			(void)*(volatile char *)8;
		}
	told("many", (void *)8);
}

static void repaired(void)
{
	unsigned long sum = 0;

	handle(SIGSEGV, repairing, 0);
	area = protected_pages(ROUNDS);
	for (int i = 0; i < ROUNDS; i++) {
		area[i * 4096 + 9] = (char)i;
		sum += (unsigned char)area[i * 4096 + 9] + (unsigned)(getppid() > 0);
	}
	printf("sum %lu\n", sum);
	told("written after repair", area + (ROUNDS - 1) * 4096 + 9);
}

static void other_faults(void)
{
	int fd = MUST(open("short", O_CREAT | O_RDWR, 0600));
	char *view;

	handle(SIGBUS, jumping, 0);
	MUST(ftruncate(fd, 100));
	view = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (!sigsetjmp(escape, 1))
		(void)*(volatile char *)(view + 4096);
	told("beyond the end of a file", view + 4096);
	handle(SIGFPE, jumping, 0);
	if (!sigsetjmp(escape, 1))
		__asm__ volatile("xor %%edx, %%edx\n xor %%ecx, %%ecx\n idiv %%ecx" : : : "rax", "rcx", "rdx");
	printf("division: signal %d code %d\n", (int)signo, (int)code);
	handle(SIGILL, skipping, 0);
	skip = 2;
	count = 0;
	for (int i = 0; i < ROUNDS; i++)
		__asm__ volatile("ud2");
	printf("invalid instruction: signal %d code %d trap %ld times %d\n", (int)signo, (int)code, trap_number,
	       (int)count);
	handle(SIGTRAP, skipping, 0);
	skip = 0;
	count = 0;
	for (int i = 0; i < ROUNDS; i++)
		__asm__ volatile("int3");
	printf("int3: signal %d code %d trap %ld times %d\n", (int)signo, (int)code, trap_number, (int)count);
	/* One step at a time through a call. */
	count = 0;
	__asm__ volatile("pushf\n orq $0x100, (%%rsp)\n popf\n nop\n nop\n nop\n pushf\n andq $~0x100, (%%rsp)\n popf\n"
			 : : : "memory", "cc");
	printf("single steps: signal %d code %d, %s\n", (int)signo, (int)code, count >= 4 ? "several" : "few");
}

static int overflow(volatile char *above)
{
	volatile char frame[4096];

	frame[0] = above ? above[0] : 0;
	return frame[0] == 55 ? 0 : overflow(frame) + frame[0]; /* never 55 */
}

static void overflows(void)
{
	stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
	struct rlimit limit = {1 << 20, RLIM_INFINITY};
	volatile int good = 0;

	setrlimit(RLIMIT_STACK, &limit);
	MUST(sigaltstack(&stack, NULL));
	handle(SIGSEGV, jumping, SA_ONSTACK);
	for (volatile int i = 0; i < 5; i++) {
		if (!sigsetjmp(escape, 1))
			overflow(NULL);
		else
			good += signo == SIGSEGV && on_stack;
	}
	printf("handled on the alternate stack: %d\n", good);
	sigaltstack(NULL, &stack);
	printf("flags afterwards: %d\n", stack.ss_flags);
}

static void die(int way)
{
	sigset_t set;

	no_core();
	sigfillset(&set);
	switch (way) {
	case 0:
		*(volatile int *)NULL = 1;
		break;
	case 1:
		abort();
	case 2:
		kill(getpid(), SIGQUIT);
		break;
	case 3:
		signal(SIGSEGV, SIG_IGN);
		*(volatile int *)8 = 1;
		break;
	case 4:
		sigprocmask(SIG_SETMASK, &set, NULL);
		handle(SIGSEGV, note, 0);
		*(volatile int *)8 = 1;
		break;
	case 5:
		__asm__ volatile("ud2");
		break;
	case 6:
		signal(SIGSEGV, SIG_DFL);
		overflow(NULL);
		break;
	case 7:
		handle(SIGABRT, note, 0);
		abort();
	case 8:
		signal(SIGABRT, SIG_IGN);
		abort();
	case 9:
		raise(SIGRTMIN + 3);
		break;
	case 10:
		raise(SIGXCPU);
		break;
	case 11:
		((void (*)(void))8)();
		break;
	case 12:
		raise(SIGTRAP);
		break;
	case 13:
		__asm__ volatile("xor %rsp, %rsp\n push %rax");
		break;
	case 14: /* a call while the stack pointer leads nowhere: only the kernel's stack is needed for it */
		__asm__ volatile("mov %%rsp, %%rbx\n mov $39, %%eax\n mov $64, %%esp\n syscall\n mov %%rbx, %%rsp\n"
				 : : : "rax", "rbx", "rcx", "r11", "memory");
		_exit(14);
	default:
		break;
	}
	_exit(0);
}

static void deaths(void)
{
	char name[16];

	for (int way = 0; way < 14; way++) {
		pid_t child = (pid_t)MUST(fork());

		if (!child)
			die(way);
		snprintf(name, sizeof name, "death %d", way);
		reap(name, child);
	}
}

static void without_stack(void)
{
	pid_t child = (pid_t)MUST(fork());

	if (!child)
		die(14);
	reap("call without a stack", child);
}

/* The flag of the status says whether a core was dumped: as the limit and PR_SET_DUMPABLE say. */
static void cores(void)
{
	struct rlimit some = {1 << 16, RLIM_INFINITY}, old;
	pid_t child;

	getrlimit(RLIMIT_CORE, &old);
	for (int way = 0; way < 3; way++) {
		child = (pid_t)MUST(fork());
		if (!child) {
			if (old.rlim_max < some.rlim_cur)
				some.rlim_cur = some.rlim_max = old.rlim_max;
			else
				some.rlim_max = old.rlim_max;
			setrlimit(RLIMIT_CORE, &some);
			if (way == 1)
				prctl(PR_SET_DUMPABLE, 0);
			if (way == 2)
				no_core();
			abort();
		}
		reap("abort", child);
	}
	unlink("core");
}

int main(int argc, char **argv)
{
	static const struct part parts[] = {
		{"reads and writes", reads_and_writes}, {"repaired", repaired}, {"other faults", other_faults},
		{"stack overflow", overflows}, {"deaths", deaths}, {"cores", cores},
		{"call without a stack", without_stack},
	};

	return RUN_PARTS(parts, argc, argv);
}
