/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Alternate stacks: as small as the kernel allows, one per thread, set, queried and refused at the right moments,
 * handlers nested on them and left by jumps, with calls made there; and a stack that disarms itself.
 */
#include "parts.h"

#include <pthread.h>
#include <setjmp.h>
#include <sys/auxv.h>
#include <sys/time.h>

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1u << 31)
#endif

static __thread char *base;
static __thread size_t size;
static volatile sig_atomic_t count, on, flags_inside, refused, nested_on;
static sigjmp_buf escape;

static int is_on(const void *address)
{
	return (const char *)address >= base && (const char *)address < base + size;
}

static void use(size_t wanted)
{
	size = wanted;
	base = tail_alloc(wanted);
	MUST(sigaltstack(&(stack_t){.ss_sp = base, .ss_size = size}, NULL));
}

static void handle(int number, void (*handler)(int), int flags)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags};

	MUST(sigaction(number, &action, NULL));
}

static size_t least(void)
{
	size_t kernel = getauxval(AT_MINSIGSTKSZ);

	return kernel > 2048 ? kernel : 2048;
}

static void noting(int signal)
{
	(void)signal;
	on += is_on(&signal);
	count++;
}

static void calling(int signal)
{
	stack_t now;

	(void)signal;
	on += is_on(&now);
	sigaltstack(NULL, &now);
	flags_inside = now.ss_flags;
	refused = sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL) == -1 ? errno : 0;
	getppid();
	access("/", F_OK);
	count++;
}

/* Room for one frame of the kernel and a handler that does next to nothing. */
static void tiny(void)
{
	use(least() + 512);
	handle(SIGUSR1, noting, SA_ONSTACK);
	for (int i = 0; i < 300; i++)
		raise(SIGUSR1);
	printf("handled %d, on it %d\n", (int)count, (int)on);
}

static void call_on_it(void)
{
	handle(SIGUSR1, calling, SA_ONSTACK);
	for (int i = 0; i < 300; i++)
		raise(SIGUSR1);
	printf("handled %d, on it %d, flags %d, refused %s\n", (int)count, (int)on, (int)flags_inside,
	       error_name(refused));
}

/* The same, and the handler makes calls: natively they need no stack at all. */
static void tiny_with_calls(void)
{
	use(least() + 1024);
	call_on_it();
}

/* What Go and Rust reserve. */
static void usual(void)
{
	use(least() + 16384);
	call_on_it();
}

static void limits(void)
{
	char *area = tail_alloc(65536);
	stack_t old;

	report("query none", sigaltstack(NULL, &old));
	printf("flags %d\n", old.ss_flags);
	report("0", sigaltstack(&(stack_t){.ss_sp = area, .ss_size = 0}, NULL));
	report("2047", sigaltstack(&(stack_t){.ss_sp = area, .ss_size = 2047}, NULL));
	report("bad flags", sigaltstack(&(stack_t){.ss_sp = area, .ss_size = 65536, .ss_flags = 77}, NULL));
	report("SS_ONSTACK", sigaltstack(&(stack_t){.ss_sp = area, .ss_size = 65536, .ss_flags = SS_ONSTACK}, &old));
	sigaltstack(NULL, &old);
	printf("flags %d, same %d\n", old.ss_flags, old.ss_sp == area && old.ss_size == 65536);
	report("unmapped", syscall(SYS_sigaltstack, nowhere(), NULL));
	report("old unmapped", syscall(SYS_sigaltstack, NULL, nowhere()));
	report("old unmapped, new set", syscall(SYS_sigaltstack, &(stack_t){.ss_flags = SS_DISABLE}, nowhere()));
	sigaltstack(NULL, &old);
	printf("flags %d, size %zu\n", old.ss_flags, old.ss_size);
}

/* No frame fits into it, and none is ever laid there. */
static void smaller_than_a_frame(void)
{
	char *area = tail_alloc(2048);
	stack_t old;

	report("2048", sigaltstack(&(stack_t){.ss_sp = area, .ss_size = 2048}, NULL));
	for (int i = 0; i < 300; i++)
		getppid();
	report("query", sigaltstack(NULL, &old));
	printf("flags %d size %zu\n", old.ss_flags, old.ss_size);
}

static void inner(int signal)
{
	(void)signal;
	nested_on += is_on(&signal);
}

static void outer(int signal)
{
	(void)signal;
	on += is_on(&signal);
	raise(SIGUSR2);
	raise(SIGTERM);
}

/* A second handler continues on the same stack, whether it asks for it or not. */
static void nested(void)
{
	use(least() * 3 + 32768);
	handle(SIGUSR1, outer, SA_ONSTACK);
	handle(SIGUSR2, inner, SA_ONSTACK);
	handle(SIGTERM, inner, 0);
	for (int i = 0; i < 100; i++)
		raise(SIGUSR1);
	printf("on it %d, nested %d\n", (int)on, (int)nested_on);
}

static void jumping(int signal)
{
	on += is_on(&signal);
	siglongjmp(escape, 1);
}

static void jumps(void)
{
	struct itimerval soon = {{0, 0}, {0, 500}};
	volatile int n;
	stack_t now;
	char byte;
	int p[2];

	use(least() * 2 + 16384);
	handle(SIGUSR1, jumping, SA_ONSTACK);
	handle(SIGALRM, jumping, SA_ONSTACK);
	for (n = 0; n < 200; n++)
		if (!sigsetjmp(escape, 1))
			raise(SIGUSR1);
	printf("%d jumps, on it %d\n", n, (int)on);
	MUST(pipe(p));
	for (n = 0; n < 100; n++)
		if (!sigsetjmp(escape, 1)) {
			setitimer(ITIMER_REAL, &soon, NULL);
			read(p[0], &byte, 1);
		}
	printf("%d jumps out of read, on it %d\n", n, (int)on);
	sigaltstack(NULL, &now);
	printf("flags afterwards %d\n", now.ss_flags);
	report("may be changed", sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL));
}

static void reading_and_setting(int signal)
{
	stack_t now;

	(void)signal;
	on += is_on(&now);
	sigaltstack(NULL, &now);
	flags_inside = now.ss_flags;
	refused = sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL) == -1 ? errno : 0;
}

/* A handler that runs elsewhere may set the stack; whether that lasts is the kernel's business. */
static void set_in_a_handler(int signal)
{
	(void)signal;
	use(65536);
}

static void changed_in_handlers(void)
{
	stack_t now;

	handle(SIGUSR1, set_in_a_handler, 0);
	raise(SIGUSR1);
	sigaltstack(NULL, &now);
	printf("set in a handler: flags %d size %zu\n", now.ss_flags, now.ss_size);
	use(65536); /* another one, at another place */
	handle(SIGUSR2, reading_and_setting, SA_ONSTACK);
	raise(SIGUSR2);
	printf("on it %d, flags %d, refused %s\n", (int)on, (int)flags_inside, error_name(refused));
	MUST(sigaltstack(&(stack_t){.ss_sp = base, .ss_size = size, .ss_flags = (int)SS_AUTODISARM}, NULL));
	on = 0;
	raise(SIGUSR2);
	printf("SS_AUTODISARM: on it %d, flags %d, refused %s\n", (int)on, (int)flags_inside, error_name(refused));
	sigaltstack(NULL, &now);
	printf("afterwards: flags %x, same %d\n", (unsigned)now.ss_flags, now.ss_sp == base);
}

static void *thread(void *argument)
{
	stack_t now;

	sigaltstack(NULL, &now);
	if (now.ss_flags != SS_DISABLE)
		return NULL;
	use(least() + 16384);
	for (int i = 0; i < 100; i++)
		pthread_kill(pthread_self(), SIGUSR1);
	sigaltstack(NULL, &now);
	return now.ss_sp == base && now.ss_size == size ? argument : NULL;
}

static void threads(void)
{
	pthread_t some[8];
	void *result;
	int good = 0;
	pid_t child;
	stack_t now;

	use(65536);
	handle(SIGUSR1, calling, SA_ONSTACK);
	for (int i = 0; i < 8; i++)
		pthread_create(&some[i], NULL, thread, some);
	for (int i = 0; i < 8; i++) {
		pthread_join(some[i], &result);
		good += result == some;
	}
	printf("threads with their own: %d\n", good);
	child = (pid_t)MUST(fork());
	if (!child) {
		sigaltstack(NULL, &now);
		_exit(now.ss_sp == base ? 5 : 6);
	}
	reap("a child inherits it", child);
	child = vfork();
	if (!child)
		_exit(7);
	reap("vfork", child);
	sigaltstack(NULL, &now);
	printf("still set: %d\n", now.ss_sp == base && !now.ss_flags);
}

int main(int argc, char **argv)
{
	static const struct part parts[] = {
		{"tiny", tiny}, {"tiny, with calls", tiny_with_calls}, {"usual", usual}, {"limits", limits},
		{"smaller than a frame", smaller_than_a_frame},
		{"nested", nested}, {"jumps", jumps}, {"changed in handlers", changed_in_handlers},
		{"threads", threads},
	};

	return RUN_PARTS(parts, argc, argv);
}
