/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes in a pid namespace of their own call slowly, so that each keeps its chunk of the log for long; their
 * numbers there mean others, or nobody, outside. Arguments: processes, calls of each. Exits with 77 where this is not
 * allowed.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { UNUSED = 3000 }; /* numbers that are passed over: nobody outside has those that follow, usually */

static void call(int calls)
{
	for (int i = 0; i < calls; i++) {
		syscall(SYS_getppid);
		if (i % 20 == 0)
			usleep(1000);
	}
	_exit(0);
}

static void inside(int processes, int calls)
{
	for (int i = 0; i < UNUSED; i++) {
		pid_t child = vfork();

		if (!child)
			_exit(0);
		waitpid(child, NULL, 0);
	}
	for (int i = 0; i < processes; i++)
		if (!fork())
			call(calls);
	while (wait(NULL) > 0)
		;
	_exit(0);
}

int main(int argc, char **argv)
{
	pid_t child;

	if (argc < 3 || unshare(CLONE_NEWPID))
		return 77;
	child = fork();
	if (!child)
		inside(atoi(argv[1]), atoi(argv[2]));
	return child < 0 || waitpid(child, NULL, 0) != child;
}
