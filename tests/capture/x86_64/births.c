/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads and processes made by clone with every useful set of flags: what is shared and what is not (memory, files,
 * directory, handlers), whose child it is, ids written and cleared, pidfds, own and borrowed thread-local storage,
 * stacks of which next to nothing is left, and vfork, posix_spawn and clone3 beside them.
 */
#include "bare.h"
#include "parts.h"

#include <asm/prctl.h>
#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/auxv.h>

extern char **environ;

enum { STACK = 32768 };

static char stack[STACK] __attribute__((aligned(16)));
static volatile int shared, answers[8];
static int ids[2], ends[2];
static volatile sig_atomic_t handled;

static void handler(int signal)
{
	(void)signal;
	handled++;
}

/* What a child changes; the parent looks at what has come through to it. */
static int change(void *argument)
{
	struct sigaction action = {.sa_handler = SIG_IGN};
	long fd;

	(void)argument;
	shared = 1;
	fd = bare(SYS_openat, AT_FDCWD, (long)"/dev/null", O_RDONLY, 0);
	answers[0] = (int)fd;
	answers[1] = (int)bare(SYS_chdir, (long)"sub", 0, 0, 0);
	answers[2] = (int)bare(SYS_umask, 077, 0, 0, 0);
	answers[3] = (int)bare(SYS_rt_sigaction, SIGUSR1, (long)&action, 0, 8);
	answers[4] = (int)bare(SYS_getppid, 0, 0, 0, 0);
	bare(SYS_write, ends[1], (long)"x", 1, 0);
	return 23;
}

static void flags_tried(const char *name, unsigned long flags)
{
	struct sigaction action;
	char byte = 0, here[256];
	int status = -1, descriptor;

	mkdir("sub", 0755);
	MUST(pipe(ends));
	signal(SIGUSR1, handler);
	umask(022);
	descriptor = (int)MUST(open("/dev/null", O_RDONLY));
	close(descriptor);
	ids[0] = ids[1] = 7;
	long child = bare_clone(flags | SIGCHLD, flags & CLONE_VM ? stack + STACK : NULL, &ids[0], &ids[1], NULL,
				change, NULL);
	if (child < 0) {
		printf("%s: %s\n", name, error_name((int)-child));
		return;
	}
	MUST(read(ends[0], &byte, 1));
	MUST(waitpid((pid_t)child, &status, __WALL));
	getcwd(here, sizeof here);
	sigaction(SIGUSR1, NULL, &action);
	printf("%s: status %d, memory %d, files %d, directory %d, umask %o, handlers %d", name, status, shared,
	       fcntl(descriptor, F_GETFD) >= 0, strstr(here, "/sub") != NULL, umask(0),
	       action.sa_handler == SIG_IGN);
	printf(", parent's id %d, child's id %d", ids[0] == child, ids[1] == child ? 1 : ids[1]);
	if (flags & CLONE_VM)
		printf(", its descriptor %d, chdir %d, umask %o, its parent %d", answers[0] == descriptor, answers[1],
		       answers[2], answers[4] == getpid());
	printf("\n");
}

#define COMBINATIONS(of) \
	of(nothing, 0) \
	of(FILES, CLONE_FILES) \
	of(FS, CLONE_FS) \
	of(FS_FILES, CLONE_FS | CLONE_FILES) \
	of(VM, CLONE_VM) \
	of(VM_FILES, CLONE_VM | CLONE_FILES) \
	of(VM_FS, CLONE_VM | CLONE_FS) \
	of(VM_FS_FILES, CLONE_VM | CLONE_FS | CLONE_FILES) \
	of(VM_SIGHAND, CLONE_VM | CLONE_SIGHAND) \
	of(VM_FS_FILES_SIGHAND, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND) \
	of(VM_VFORK, CLONE_VM | CLONE_VFORK) \
	of(VM_VFORK_FILES, CLONE_VM | CLONE_VFORK | CLONE_FILES) \
	of(VFORK, CLONE_VFORK) \
	of(PARENT_SETTID, CLONE_PARENT_SETTID) \
	of(CHILD_SETTID, CLONE_CHILD_SETTID) \
	of(VM_CHILD_SETTID, CLONE_VM | CLONE_CHILD_SETTID) \
	of(VM_CHILD_CLEARTID, CLONE_VM | CLONE_CHILD_CLEARTID) \
	of(VM_PARENT_SETTID_CLEARTID, CLONE_VM | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID) \
	of(SIGHAND, CLONE_SIGHAND) \
	of(IO_SYSVSEM_UNTRACED, CLONE_IO | CLONE_SYSVSEM | CLONE_UNTRACED)

#define COMBINATION(name, flags)                                                                                      \
	static void with_##name(void)                                                                                 \
	{                                                                                                             \
		flags_tried(#name, flags);                                                                            \
	}
#define LISTED(name, flags) {#name, with_##name},
COMBINATIONS(COMBINATION)

static volatile int going_on;

static void *nothing_much(void *argument)
{
	close(open("/dev/null", O_RDONLY));
	return argument;
}

static void *come_and_go(void *argument)
{
	pthread_t thread;

	while (going_on)
		if (!pthread_create(&thread, NULL, nothing_much, NULL))
			pthread_join(thread, NULL);
	return argument;
}

static int enter_and_leave(void *argument)
{
	static int running = 1;
	static char place[4096];
	long good;

	(void)argument;
	good = bare(SYS_chdir, (long)"sub", 0, 0, 0);
	good |= bare_clone(BARE_THREAD | CLONE_CHILD_CLEARTID, place + sizeof place - 64, NULL, &running, NULL,
			   change, NULL) < 0;
	bare_join(&running);
	good |= bare(SYS_chdir, (long)"../..", 0, 0, 0);
	return good ? 1 : 23;
}

/* While threads come and go, in the maker as well as in the child. */
static void busy_sharing(void)
{
	pthread_t threads[3];
	int good = 0, status;
	char here[256], there[256];

	MUST(pipe(ends));
	mkdir("sub", 0755);
	mkdir("sub/sub", 0755);
	getcwd(here, sizeof here);
	going_on = 1;
	for (int i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, come_and_go, NULL);
	for (int i = 0; i < 40; i++) {
		long child = bare_clone(CLONE_FS | SIGCHLD, NULL, NULL, NULL, NULL, enter_and_leave, NULL);

		if (child > 0 && waitpid((pid_t)child, &status, 0) == child)
			good += status == 23 << 8;
		getcwd(there, sizeof there);
		good += !strcmp(here, there);
	}
	going_on = 0;
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	printf("good: %d, umask %o\n", good, umask(0));
}

static int ending(void *argument)
{
	return (int)(long)argument;
}

/* A child of one's parent, and ends of which nobody is told, or by another signal. */
static void relations(void)
{
	pid_t child = (pid_t)MUST(fork());
	siginfo_t info;
	int status;

	if (!child) {
		long sibling = bare_clone(CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL, ending, (void *)31);

		_exit(sibling > 0 && waitpid((pid_t)sibling, &status, 0) == -1 && errno == ECHILD ? 5 : 6);
	}
	reap("maker", child);
	child = wait(&status);
	printf("sibling: %s %d\n", child > 0 ? "ours" : "not ours", WEXITSTATUS(status));
	signal(SIGUSR2, handler);
	child = (pid_t)bare_clone(SIGUSR2, NULL, NULL, NULL, NULL, ending, (void *)32);
	report("wait without __WALL", waitpid(child, &status, 0));
	printf("with it: %d status %d\n", waitpid(child, &status, __WALL) == child, WEXITSTATUS(status));
	printf("told by SIGUSR2: %d\n", (int)handled);
	child = (pid_t)bare_clone(0, NULL, NULL, NULL, NULL, ending, (void *)33);
	printf("without a signal: %d status %d\n", waitpid(child, &status, __WCLONE) == child, WEXITSTATUS(status));
	signal(SIGCHLD, SIG_IGN);
	child = (pid_t)bare_clone(SIGCHLD, NULL, NULL, NULL, NULL, ending, (void *)34);
	report("ignored children leave no trace", waitid(P_PID, (id_t)child, &info, WEXITED));
}

static void handles(void)
{
	struct clone_args args = {.exit_signal = SIGCHLD, .flags = CLONE_PIDFD};
	struct pollfd poller = {.events = POLLIN};
	siginfo_t info;
	int handle = -1;
	long child;

	MUST(pipe(ends));
	child = bare_clone(CLONE_PIDFD | SIGCHLD, NULL, &handle, NULL, NULL, ending, (void *)41);

	poller.fd = handle;
	report("poll", poll(&poller, 1, 5000));
	report("waitid", waitid(P_PIDFD, (id_t)handle, &info, WEXITED));
	printf("child %d status %d, close on exec %d\n", info.si_pid == child, info.si_status,
	       fcntl(handle, F_GETFD));
	report("signal to the dead", syscall(SYS_pidfd_send_signal, handle, 0, NULL, 0));
	close(handle);
	args.pidfd = (uint64_t)(uintptr_t)&handle;
	child = syscall(SYS_clone3, &args, sizeof args);
	if (!child)
		_exit(42);
	report("clone3", child > 0);
	report("waitid", waitid(P_PIDFD, (id_t)handle, &info, WEXITED));
	printf("status %d\n", info.si_status);
	close(handle);
	args = (struct clone_args){.exit_signal = SIGCHLD};
	args.flags = CLONE_CLEAR_SIGHAND;
	signal(SIGUSR1, handler);
	child = syscall(SYS_clone3, &args, sizeof args);
	if (!child) {
		struct sigaction old;

		sigaction(SIGUSR1, NULL, &old);
		_exit(old.sa_handler == SIG_DFL ? 44 : 45);
	}
	reap("clone3, handlers cleared", (pid_t)child);
	/* As posix_spawn of newer C libraries does it. */
	args.flags = CLONE_CLEAR_SIGHAND | CLONE_VM | CLONE_VFORK;
	args.stack = (uint64_t)(uintptr_t)stack;
	args.stack_size = STACK;
	shared = 0;
	reap("clone3 as in posix_spawn", (pid_t)bare_clone3(&args, sizeof args, change, NULL));
	printf("memory: %d\n", shared);
	args = (struct clone_args){.exit_signal = SIGCHLD};
	args.exit_signal = 200;
	report("bad signal", syscall(SYS_clone3, &args, sizeof args));
	report("short", syscall(SYS_clone3, &args, 8));
}

/* A thread whose stack has a few hundred bytes left when it makes its calls; Go's system stacks are like that. */
static int with_little(void *argument)
{
	long good = 0;

	for (int i = 0; i < 300; i++)
		good += bare(SYS_getppid, 0, 0, 0, 0) > 0 && bare(SYS_getpgid, 0x7ca5ca, 0, 0, 0) == -ESRCH;
	*(volatile long *)argument = good;
	return 0;
}

static __attribute__((naked, noinline)) void on_stack(void *top, int (*body)(void *), void *argument)
{
	(void)top, (void)body, (void)argument;
	__asm__("push %rbx\n"
		"mov %rsp, %rbx\n"
		"mov %rdi, %rsp\n"
		"mov %rdx, %rdi\n"
		"call *%rsi\n"
		"mov %rbx, %rsp\n"
		"pop %rbx\n"
		"ret\n");
}

/* The end of a page below which there is nothing, so that `left` bytes are all there is. */
static char *little_of(size_t left)
{
	char *area = mmap(NULL, 3 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	MUST(mprotect(area + 4096, 4096, PROT_READ | PROT_WRITE));
	return area + 4096 + left;
}

static void little(void)
{
	volatile long good = -1;
	int running = 1;

	MUST(bare_clone(BARE_THREAD | CLONE_CHILD_CLEARTID, little_of(512), NULL, &running, NULL, with_little,
			(void *)&good));
	bare_join(&running);
	printf("good: %ld\n", good);
}

static char signal_stack[65536];
static char *little_top;

static int with_another(void *argument)
{
	stack_t alternate = {.ss_sp = signal_stack, .ss_size = sizeof signal_stack};

	bare(SYS_sigaltstack, (long)&alternate, 0, 0, 0);
	on_stack(little_top, with_little, argument);
	return 0;
}

static void little_with_alternate(void)
{
	volatile long good = -1;
	int running = 1;

	little_top = little_of(512);
	MUST(bare_clone(BARE_THREAD | CLONE_CHILD_CLEARTID, stack + STACK, NULL, &running, NULL, with_another,
			(void *)&good));
	bare_join(&running);
	printf("good: %ld\n", good);
}

/* Threads that use their maker's thread-local storage, at the same time as their maker. */
static int sharing(void *argument)
{
	long good = 0;

	for (int i = 0; i < 500; i++)
		good += bare(SYS_getpgid, 0x7ca5ca, 0, 0, 0) == -ESRCH && bare(SYS_gettid, 0, 0, 0, 0) > 0 &&
			bare(SYS_fcntl, 0x7ca5, F_GETFD, 0, 0) == -EBADF;
	*(volatile long *)argument = good;
	return 0;
}

static void shared_storage(void)
{
	static char stacks[8][STACK] __attribute__((aligned(16)));
	static volatile long good[9];
	static int running[8];
	long sum = 0;

	for (int i = 0; i < 8; i++) {
		running[i] = 1;
		MUST(bare_clone(BARE_THREAD | CLONE_CHILD_CLEARTID, stacks[i] + STACK, NULL, &running[i], NULL, sharing,
				(void *)&good[i]));
	}
	sharing((void *)&good[8]);
	for (int i = 0; i < 8; i++)
		bare_join(&running[i]);
	for (int i = 0; i < 9; i++)
		sum += good[i];
	printf("good: %ld\n", sum);
}

/* A thread that moves its fs base about, to places that are no thread control block at all. */
static int moving(void *argument)
{
	static uint64_t block[64];
	uint64_t found = 0, good = 0;

	for (int i = 0; i < 300; i++) {
		bare(SYS_arch_prctl, ARCH_SET_FS, i % 3 == 2 ? 0 : (long)&block[i % 3], 0, 0);
		good += bare(SYS_getppid, 0, 0, 0, 0) > 0;
		bare(SYS_arch_prctl, ARCH_GET_FS, (long)&found, 0, 0);
		good += found == (i % 3 == 2 ? 0 : (uint64_t)(uintptr_t)&block[i % 3]);
		bare(SYS_arch_prctl, ARCH_SET_GS, (long)&block[7], 0, 0);
		bare(SYS_arch_prctl, ARCH_GET_GS, (long)&found, 0, 0);
		good += found == (uint64_t)(uintptr_t)&block[7];
	}
	*(volatile long *)argument = (long)good;
	return 0;
}

static void moved_storage(void)
{
	volatile long good = 0;
	int running = 1;

	MUST(bare_clone(BARE_THREAD | CLONE_CHILD_CLEARTID, stack + STACK, NULL, &running, NULL, moving,
			(void *)&good));
	bare_join(&running);
	printf("good: %ld\n", good);
}

static void spawns(void)
{
	static char *argv[] = {"sh", "-c", "kill -USR1 $$; exit 3", NULL};
	posix_spawnattr_t attributes;
	sigset_t set;
	pid_t child;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
	sigemptyset(&set);
	posix_spawnattr_setsigmask(&attributes, &set);
	printf("spawn: %d\n", posix_spawn(&child, "/bin/sh", NULL, &attributes, argv, environ));
	check("its own group", getpgid(child) == child);
	reap("mask is empty", child);
	posix_spawnattr_setflags(&attributes, 0);
	printf("spawn: %d\n", posix_spawn(&child, "/bin/sh", NULL, &attributes, argv, environ));
	reap("mask is inherited", child);
	for (int i = 0; i < 20; i++) {
		posix_spawn(&child, "/bin/true", NULL, NULL, argv, environ);
		waitpid(child, NULL, 0);
	}
	report("no children left", waitpid(-1, NULL, 0));
}

int main(int argc, char **argv)
{
	static const struct part parts[] = {
		COMBINATIONS(LISTED) {"sharing beside threads", busy_sharing}, {"relations", relations},
		{"handles", handles}, {"little stack", little},
		{"little stack and an alternate one", little_with_alternate}, {"shared storage", shared_storage},
		{"moved storage", moved_storage}, {"spawns", spawns},
	};

	return RUN_PARTS(parts, argc, argv);
}
