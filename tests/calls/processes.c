/* SPDX-License-Identifier: Apache-2.0 */
/* fork, vfork, clone, clone3, posix_spawn and waiting: exit codes, shared memory of a vfork, signals, orphans. */
#include "check.h"

#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>

extern char **environ;

static volatile int shared;
static char child_stack[65536] __attribute__((aligned(16)));

static void forks(void)
{
	int good = 0, status;
	pid_t children[50];

	for (int i = 0; i < 150; i++) {
		pid_t child = fork();

		if (!child)
			_exit(i & 255);
		if (waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == (i & 255))
			good++;
	}
	for (int i = 0; i < 50; i++) {
		children[i] = fork();
		if (!children[i])
			_exit(access("/", F_OK) ? 1 : i);
	}
	for (int i = 0; i < 50; i++)
		if (waitpid(children[i], &status, 0) == children[i] && WIFEXITED(status) && WEXITSTATUS(status) == i)
			good++;
	printf("200 forks: %d good\n", good);
}

static void generations(void)
{
	pid_t child = fork();
	int p[2];

	if (!child) {
		for (int i = 0; i < 5; i++) {
			child = fork();
			if (child) {
				int status;

				waitpid(child, &status, 0);
				_exit(WEXITSTATUS(status) + 1);
			}
		}
		_exit(10);
	}
	reap("six generations", child);

	/* An orphan goes on with its descriptors when its parent has ended. */
	MUST(pipe(p));
	child = fork();
	if (!child) {
		if (!fork()) {
			sleep_ms(100);
			write(p[1], "orphan", 6);
		}
		_exit(0);
	}
	close(p[1]);
	reap("parent of the orphan", child);
	report("word of the orphan", read(p[0], child_stack, 16));
	report("end with the orphan's end", read(p[0], child_stack, 16));
	close(p[0]);
}

static void statuses(void)
{
	siginfo_t info;
	int status;
	pid_t child = fork();

	if (!child) {
		pause();
		_exit(1);
	}
	report("WNOHANG", waitpid(child, &status, WNOHANG));
	kill(child, SIGSTOP);
	check("WUNTRACED", waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status) &&
	      WSTOPSIG(status) == SIGSTOP);
	kill(child, SIGCONT);
	check("WCONTINUED", waitpid(child, &status, WCONTINUED) == child && WIFCONTINUED(status));
	kill(child, SIGTERM);
	check("WNOWAIT", waitid(P_PID, child, &info, WEXITED | WNOWAIT) == 0 && info.si_code == CLD_KILLED &&
	      info.si_status == SIGTERM);
	reap("terminated", child);
	report("wait without children", waitpid(-1, &status, 0));
	report("wait for a stranger", waitpid(1, &status, 0));
	child = fork();
	if (!child)
		_exit(300);
	reap("exit 300", child);
	child = fork();
	if (!child)
		abort();
	reap("abort", child);
	child = fork();
	if (!child)
		*(volatile int *)8 = 1;
	reap("stray pointer", child);
	child = fork();
	if (!child)
		__builtin_trap();
	reap("trap", child);
	report("wait status unmapped", (child = fork()) ? syscall(SYS_wait4, child, nowhere(), 0, NULL) :
			(_exit(0), 0));
	report("kill 0", kill(getpid(), 0));
	report("kill bad signal", kill(getpid(), 99));
}

static void vforks(void)
{
	pid_t child = vfork();

	if (!child) {
		shared = 5;
		_exit(4);
	}
	printf("written by the child: %d\n", shared);
	reap("vfork and exit", child);
	for (volatile int i = 0; i < 20; i++) {
		child = vfork();
		if (!child) {
			shared = 100 + i;
			execl("/bin/sh", "sh", "-c", "exit 3", (char *)NULL);
			_exit(1);
		}
		if (i == 19)
			reap("vfork and exec", child);
		else
			waitpid(child, NULL, 0);
	}
	printf("written by the child: %d\n", shared);
	child = vfork();
	if (!child) {
		execl("/nonexistent", "nonexistent", (char *)NULL);
		shared = errno;
		_exit(7);
	}
	printf("why exec failed: %s\n", error_name(shared));
	reap("vfork and failed exec", child);
}

static int in_clone(void *argument)
{
	shared = *(int *)argument;
	if (access("/", F_OK))
		return 1;
	close(1);
	return 8;
}

static void clones(void)
{
	struct clone_args args = {.exit_signal = SIGCHLD, .flags = CLONE_PIDFD};
	int value = 77, handle = -1;
	struct pollfd poller;
	siginfo_t info;
	pid_t child;

	child = clone(in_clone, child_stack + sizeof child_stack, SIGCHLD, &value);
	reap("clone as fork", child);
	printf("memory is its own: %d\n", shared != 77);
	child = clone(in_clone, child_stack + sizeof child_stack, CLONE_VM | CLONE_VFORK | SIGCHLD, &value);
	reap("clone as vfork", child);
	printf("memory is ours: %d\n", shared == 77);
	report("descriptors are not", write(1, "", 0));
	args.pidfd = (uint64_t)(uintptr_t)&handle;
	child = (pid_t)syscall(SYS_clone3, &args, sizeof args);
	if (!child)
		_exit(12);
	if (child == -1 && errno == ENOSYS) {
		child = fork(); /* some systems have no clone3; a captured program may not see it either */
		if (!child)
			_exit(12);
	}
	if (handle >= 0) {
		poller = (struct pollfd){.fd = handle, .events = POLLIN};
		if (poll(&poller, 1, 5000) != 1 || waitid(P_PIDFD, handle, &info, WEXITED | WNOWAIT))
			printf("pidfd does not work\n");
		close(handle);
	}
	reap("clone3", child);
	report("clone bad flags", syscall(SYS_clone, CLONE_THREAD | SIGCHLD, NULL, NULL, NULL, NULL));
	report("clone with shared memory and no stack", clone(in_clone, NULL, CLONE_VM | SIGCHLD, &value));
}

static void spawns(void)
{
	posix_spawn_file_actions_t actions;
	char *argv[] = {"sh", "-c", "echo spawned $NAME; exit 11", NULL},
			*env[] = {"NAME=with-its-own-environment", NULL};
	char buffer[64];
	pid_t child;
	int p[2];
	long got;

	MUST(pipe(p));
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, p[1], 1);
	posix_spawn_file_actions_addclose(&actions, p[0]);
	printf("posix_spawn: %d\n", posix_spawn(&child, "/bin/sh", &actions, NULL, argv, env));
	close(p[1]);
	got = read(p[0], buffer, sizeof buffer - 1);
	buffer[got < 0 ? 0 : got] = 0;
	printf("%s", buffer);
	reap("spawned", child);
	printf("posix_spawn ENOENT: %s\n", error_name(posix_spawn(&child, "/nonexistent", NULL, NULL, argv, env)));
	printf("system: %d\n", system("exit 7") >> 8);
	close(p[0]);
}

static void ends(void)
{
	int p[2];
	char byte;
	pid_t child;

	MUST(pipe(p));
	child = fork();
	if (!child) {
		setpgid(0, 0);
		if (!fork())
			pause();
		write(p[1], "x", 1);
		pause();
	}
	MUST(read(p[0], &byte, 1));
	report("kill a group", kill(-child, SIGTERM));
	reap("leader", child);
	close(p[1]);
	report("all ends of its pipe are gone", read(p[0], &byte, 1));
	report("getpgid", getpgid(0) > 0);
	child = fork();
	if (!child)
		_exit(setsid() == getpid() && getsid(0) == getpid() && getpgrp() == getpid() ? 0 : 1);
	reap("setsid", child);
}

int main(void)
{
	struct rlimit no_core = {0, 0};

	begin();
	setrlimit(RLIMIT_CORE, &no_core);
	forks();
	generations();
	statuses();
	vforks();
	clones();
	spawns();
	ends();
	return 0;
}
