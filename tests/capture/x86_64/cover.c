/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A marked call through every way a program has to make one. The mark is the argument of a getpgid that always fails;
 * the test looks for all marks in the log. With "child N" the program makes the call marked N and ends.
 */
#include "bare.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>

enum { MARK = 0x7ca500 }; /* beyond the largest process id */

enum channel {
	PREINIT, CONSTRUCTOR, LIBC, LIBC_SYSCALL, RAW, JIT_TWO_STEPS, JIT_RWX, JIT_STRADDLING, LIBRARY, THREAD, HANDLER,
	FORK, VFORK, SPAWN, SPAWN_EMPTY, SPAWN_STATIC, SHELL, FOREIGN, BARE_THREAD_, EXEC_OF_THREAD,
};

extern char **environ;

static long early, constructed, in_thread;
static volatile long in_handler;

static inline __attribute__((always_inline)) long raw(int channel)
{
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(SYS_getpgid), "D"(MARK + channel) : "rcx", "r11", "memory");
	return ret;
}

/* i386's getpgid by the i386 entry. */
static long foreign(int channel)
{
	long ret;

	__asm__ volatile("int $0x80" : "=a"(ret) : "a"(132), "b"(MARK + channel)
			 : "r8", "r9", "r10", "r11", "memory");
	return (int)ret;
}

static void before_constructors(void)
{
	early = raw(PREINIT);
}

__attribute__((section(".preinit_array"), used)) static void (*const first)(void) = before_constructors;

__attribute__((constructor)) static void construct(void)
{
	constructed = raw(CONSTRUCTOR);
}

static void show(const char *name, long ret)
{
	if (ret == -1)
		ret = -errno;
	printf("%s: %s\n", name, ret < 0 ? error_name((int)-ret) : "answered");
}

static void *thread(void *argument)
{
	in_thread = raw(THREAD);
	return argument;
}

static void handler(int signal)
{
	(void)signal;
	in_handler = raw(HANDLER);
}

/* Code made at run time: `mov $nr,%eax; mov $mark,%edi; syscall; ret`. */
static long generated(int channel, int prot, long offset)
{
	unsigned char code[] = {0xb8, SYS_getpgid, 0, 0, 0, 0xbf, channel, (MARK >> 8) & 255, MARK >> 16, 0,
				0x0f, 0x05, 0xc3};
	char *area = mmap(NULL, 8192, prot | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memcpy(area + offset, code, sizeof code);
	MUST(mprotect(area, 8192, prot | PROT_EXEC));
	return ((long (*)(void))(area + offset))();
}

static int in_bare_thread(void *answer)
{
	*(long *)answer = raw(BARE_THREAD_);
	return 0;
}

static void bare_thread(void)
{
	static char stack[8192] __attribute__((aligned(16)));
	static int running = 1;
	long answer = 0;

	MUST(bare_clone(BARE_THREAD | CLONE_CHILD_CLEARTID, stack + sizeof stack, NULL, &running, NULL, in_bare_thread,
			&answer));
	bare_join(&running);
	show("thread without libc", answer);
}

static void *exec_in_thread(void *path)
{
	char number[8];

	snprintf(number, sizeof number, "%d", EXEC_OF_THREAD);
	execle(path, path, "child", number, NULL, (char *[]){NULL});
	return NULL;
}

static void spawn(const char *name, int channel, char *path, char **env)
{
	char number[8], *argv[] = {path, "child", number, NULL};
	pid_t child;
	int error;

	snprintf(number, sizeof number, "%d", channel);
	error = posix_spawn(&child, path, NULL, NULL, argv, env);
	if (error)
		printf("%s: %s\n", name, error_name(error));
	else
		reap(name, child);
}

int main(int argc, char **argv)
{
	char *none[] = {NULL}, *library = getenv("COVER_LIBRARY"), *other = getenv("COVER_STATIC"), line[4096];
	struct timespec now;
	pthread_t worker;
	pid_t child;

	if (argc > 2 && !strcmp(argv[1], "child"))
		return raw(atoi(argv[2])) == -ESRCH ? 42 : 43;
	begin();
	show("before constructors", early);
	show("constructor", constructed);
	show("libc", getpgid(MARK + LIBC));
	show("libc's syscall", syscall(SYS_getpgid, MARK + LIBC_SYSCALL));
	show("raw instruction", raw(RAW));
	show("generated code", generated(JIT_TWO_STEPS, PROT_READ, 0));
	show("writable generated code", generated(JIT_RWX, PROT_READ | PROT_WRITE, 0));
	show("instruction across two pages", generated(JIT_STRADDLING, PROT_READ, 4096 - 11));
	if (library) {
		void *handle = dlopen(library, RTLD_NOW);
		long (*call)(long) = handle ? (long (*)(long))(uintptr_t)dlsym(handle, "call") : NULL;

		show("library loaded later", call ? call(MARK + LIBRARY) : 0);
	}
	pthread_create(&worker, NULL, thread, NULL);
	pthread_join(worker, NULL);
	show("thread", in_thread);
	signal(SIGUSR1, handler);
	raise(SIGUSR1);
	show("signal handler", in_handler);
	child = fork();
	if (!child)
		_exit(raw(FORK) == -ESRCH ? 42 : 43);
	reap("fork", child);
	child = vfork();
	if (!child)
		_exit(raw(VFORK) == -ESRCH ? 42 : 43);
	reap("vfork", child);
	spawn("spawn", SPAWN, argv[0], environ);
	spawn("spawn, empty environment", SPAWN_EMPTY, argv[0], none);
	spawn("spawn, static", SPAWN_STATIC, other ? other : argv[0], none);
	snprintf(line, sizeof line, "env -i %s child %d", argv[0], SHELL);
	printf("through a shell: %d\n", system(line) >> 8);
	show("i386 entry", foreign(FOREIGN));
	bare_thread();
	child = fork();
	if (!child) {
		pthread_create(&worker, NULL, exec_in_thread, argv[0]);
		for (;;)
			pause();
	}
	reap("exec from a thread", child);
	check("libc's clock", clock_gettime(CLOCK_TAI, &now) == 0); /* by the vDSO: the only call with that clock */
	return 0;
}
