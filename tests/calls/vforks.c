/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Children that have their parent's memory, and their parent afterwards: it is still who it was, with the handlers it
 * had, and its threads do not meet on what a child has left behind.
 */
#include "check.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

enum { THREADS = 4, CALLS = 20000, TIMES = 20 };

static char stack[65536] __attribute__((aligned(16)));
static volatile int ran;

static int run(void *argument)
{
	(void)argument;
	ran = 1;
	syscall(SYS_exit, 0);
	return 0;
}

static void *ask(void *argument)
{
	pid_t parent = *(pid_t *)argument;
	long bad = 0;

	for (int i = 0; i < CALLS; i++) {
		bad += syscall(SYS_getppid) != parent;
		bad += syscall(SYS_lseek, -1, i, SEEK_SET) != -1;
	}
	return (void *)bad;
}

/* By the call that ends a thread, not a process. */
static void leave_by_exit(void)
{
	pthread_t threads[THREADS];
	pid_t parent = getppid(), child;
	void *bad;

	child = vfork();
	if (!child)
		syscall(SYS_exit, 7);
	reap("left by exit", child);
	for (int i = 0; i < THREADS; i++)
		pthread_create(threads + i, NULL, ask, &parent);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &bad);
		printf("wrong answers: %ld\n", (long)bad);
	}
}

/* A thread that its parent waits for. */
static void wait_for_thread(void)
{
	int flags = CLONE_VM | CLONE_VFORK | CLONE_THREAD | CLONE_SIGHAND | CLONE_FS | CLONE_FILES;

	attempt("a thread like a vfork", clone(run, stack + sizeof stack, flags, NULL));
	printf("it ran: %d\n", ran);
}

static int tell(void *argument)
{
	pid_t id = 0;

	(void)argument;
	for (int i = 0; i < TIMES; i++)
		id = (pid_t)syscall(SYS_getpid);
	return id == 1;
}

/* Such a child has another id here than there. */
static void in_a_namespace(void)
{
	int flags = CLONE_VM | CLONE_VFORK | CLONE_NEWUSER | CLONE_NEWPID | SIGCHLD, bad = 0;
	pid_t me = getpid(), child;

	for (int i = 0; i < TIMES; i++)
		bad += syscall(SYS_getpid) != me;
	child = clone(tell, stack + sizeof stack, flags, NULL);
	attempt("in a namespace", child);
	if (child > 0)
		reap("is the first there", child);
	for (int i = 0; i < TIMES; i++)
		bad += syscall(SYS_getpid) != me;
	printf("wrong ids: %d\n", bad);
}

static void on_signal(int signal)
{
	(void)signal;
}

/* What a child does with its handlers is its own business, and where it has none a bad address is still an error. */
static void handlers(void)
{
	struct sigaction old;
	pid_t child;

	signal(SIGSYS, on_signal);
	child = vfork();
	if (!child) {
		struct {
			uint64_t handler, flags, restorer, mask;
		} none = {0};
		long r;

		signal(SIGSYS, SIG_DFL);
		syscall(SYS_rt_sigaction, SIGSEGV, &none, NULL, 8);
		r = syscall(SYS_rt_sigprocmask, SIG_BLOCK, 8, NULL, 8);
		_exit(r == -1 && errno == EFAULT ? 3 : 4);
	}
	reap("an error", child);
	sigaction(SIGSYS, NULL, &old);
	check("SIGSYS has its handler", old.sa_handler == on_signal);
}

/* The next image ignores what its process did, of the signals that are the agent's as well. */
static void ignored(const char *name, int parent, void (*to)(int), int child_signal)
{
	pid_t child;

	signal(parent, SIG_IGN);
	child = vfork();
	if (!child) {
		signal(child_signal, to);
		execl("/proc/self/exe", "vforks", name, (char *)NULL);
		_exit(99);
	}
	reap(name, child);
	signal(parent, SIG_DFL);
}

static void tell_ignored(const char *name)
{
	const int signals[] = {SIGSEGV, SIGBUS, SIGSYS};
	struct sigaction old;

	for (int i = 0; i < 3; i++) {
		sigaction(signals[i], NULL, &old);
		printf("%s: %d ignored: %d\n", name, signals[i], old.sa_handler == SIG_IGN);
	}
}

int main(int argc, char **argv)
{
	begin();
	if (argc > 1) {
		tell_ignored(argv[1]);
		return 0;
	}
	handlers();
	ignored("both as they are", SIGSEGV, SIG_DFL, SIGUSR1);
	ignored("SIGSEGV again", SIGSEGV, SIG_DFL, SIGSEGV);
	ignored("SIGBUS still", SIGBUS, SIG_DFL, SIGSEGV);
	ignored("SIGSYS again", SIGSYS, SIG_DFL, SIGSYS);
	ignored("SIGSYS, too", SIGSEGV, SIG_IGN, SIGSYS);
	leave_by_exit();
	wait_for_thread();
	in_a_namespace();
	return 0;
}
