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

int main(void)
{
	begin();
	leave_by_exit();
	wait_for_thread();
	in_a_namespace();
	return 0;
}
