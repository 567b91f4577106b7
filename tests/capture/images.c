/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What runs after an exec, and how it got there: from a thread that does not lead, with an empty environment or none,
 * through scripts and scripts of scripts, with a static interpreter, by vfork, out of a handler; and what of the old
 * image is gone: threads, handlers, alternate stack, timers, and what stays: ignored signals, mask, limits, ids.
 */
#include "parts.h"

#include <dirent.h>
#include <limits.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>

extern char **environ;

static char self[PATH_MAX], *argv_image[] = {self, "image", "one", NULL}, *none[] = {NULL};
static pid_t parent;

static int entries(const char *path)
{
	DIR *dir = opendir(path);
	int found = 0;

	while (dir && readdir(dir))
		found++;
	if (dir)
		closedir(dir);
	return found - 2;
}

/* The new image tells what it finds. */
static int image(int argc, char **argv)
{
	struct itimerval timer;
	struct sigaction action;
	struct rlimit limit;
	sigset_t mask;
	char name[16];
	stack_t stack;

	printf("image: %d arguments, environment of %d, argv[0] %s", argc, (int)(environ[0] != NULL),
	       argc && strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : "without a path");
	printf(", threads %d, main thread %d", entries("/proc/self/task"), gettid() == getpid());
	sigaltstack(NULL, &stack);
	sigaction(SIGUSR1, NULL, &action);
	printf(", alternate stack %d, SIGUSR1 default %d", stack.ss_flags != SS_DISABLE, action.sa_handler == SIG_DFL);
	sigaction(SIGUSR2, NULL, &action);
	sigprocmask(SIG_SETMASK, NULL, &mask);
	printf(", SIGUSR2 ignored %d, SIGTERM blocked %d", action.sa_handler == SIG_IGN, sigismember(&mask, SIGTERM));
	getitimer(ITIMER_REAL, &timer);
	getrlimit(RLIMIT_NOFILE, &limit);
	prctl(PR_GET_NAME, name);
	printf(", timer %d, limit %d, name %s\n", timer.it_value.tv_sec > 0, (int)limit.rlim_cur, name);
	return 20;
}

static void become(const char *path, char **argv, char **env)
{
	execve(path, argv, env);
	printf("execve: %s\n", error_name(errno));
	_exit(50);
}

static pid_t start(void)
{
	fflush(stdout);
	return (pid_t)MUST(fork());
}

static void handler(int signal)
{
	(void)signal;
}

static void *forever(void *argument)
{
	for (;;)
		pause();
	return argument;
}

static void *becoming(void *argument)
{
	(void)argument;
	become(self, argv_image, none);
	return NULL;
}

static char stack[65536];

static void prepared(void)
{
	struct itimerval later = {{0, 0}, {1000, 0}};
	struct rlimit limit = {100, 200};
	sigset_t set;

	signal(SIGUSR1, handler);
	signal(SIGUSR2, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
	setitimer(ITIMER_REAL, &later, NULL);
	MUST(setrlimit(RLIMIT_NOFILE, &limit));
}

static void kept_and_gone(void)
{
	pid_t child = start();

	if (!child) {
		prepared();
		become(self, argv_image, none);
	}
	reap("process", child);
	child = start();
	if (!child) {
		pthread_t thread;

		prepared();
		for (int i = 0; i < 3; i++)
			pthread_create(&thread, NULL, forever, NULL);
		pthread_create(&thread, NULL, becoming, NULL);
		forever(NULL);
	}
	reap("thread that does not lead", child);
	child = vfork();
	if (!child) {
		execve(self, argv_image, none);
		_exit(50);
	}
	reap("vfork", child);
}

/* Two threads at once: one of them wins, and the process is the image's. */
static void race(void)
{
	for (int i = 0; i < 10; i++) {
		pthread_t thread;
		pid_t child = start();

		if (!child) {
			pthread_create(&thread, NULL, becoming, NULL);
			pthread_create(&thread, NULL, becoming, NULL);
			becoming(NULL);
		}
		reap("three at once", child);
	}
}

static void on_signal(int signal)
{
	(void)signal;
	become(self, argv_image, none);
}

static void in_a_handler(void)
{
	pid_t child = start();

	if (!child) {
		struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};

		sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
		sigaction(SIGUSR1, &action, NULL);
		raise(SIGUSR1);
		_exit(51);
	}
	reap("in a handler on an alternate stack", child);
}

static void script(const char *name, const char *text)
{
	make_file(name, text);
	MUST(chmod(name, 0755));
}

static void scripts(void)
{
	static const char *const names[] = {"plain", "nested", "deep", "static", "image", "loop", "space", "endless"};
	char text[PATH_MAX + 64], *argv[] = {"name", "argument", NULL};

	script("plain", "#!/bin/sh\necho \"plain $1 $0\"\nexit 4\n");
	script("nested", "#!plain of nested\n");
	script("deep", "#!nested\n");
	snprintf(text, sizeof text, "#!%s image\n", self);
	script("image", text);
	script("static", "#!/bin/busybox sh\necho \"busybox $1\"\nexit 5\n");
	script("loop", "#!loop\n");
	script("space", "#!  /bin/sh   -e  \nfalse\nexit 6\n");
	memset(text, 'x', sizeof text);
	memcpy(text, "#!/", 3);
	text[400] = 0;
	script("endless", text);
	for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
		pid_t child;

		if (!strcmp(names[i], "static") && access("/bin/busybox", X_OK))
			continue;
		child = start();
		if (!child)
			become(names[i], argv, none);
		reap(names[i], child);
	}
	for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
		unlink(names[i]);
}

/* A NULL vector of arguments or environment stands for an empty one; the kernel adds an empty name. */
static void nothing_at_all(void)
{
	pid_t child = start();

	if (!child)
		become("/bin/true", none, none);
	reap("no arguments", child);
	child = start();
	if (!child)
		become("/bin/true", NULL, NULL);
	reap("no vectors", child);
}

static void generations(void)
{
	for (int i = 0; i < 30; i++) {
		pid_t child = start();
		int status;

		if (!child)
			become("/bin/true", (char *[]){"true", NULL}, i % 2 ? environ : none);
		if (waitpid(child, &status, 0) != child || status)
			printf("wrong %d\n", status);
	}
	parent = getpid();
	printf("done %d\n", parent == getpid());
}

/* Signals arrive while the image changes; none of them hurts the new one, which ignores them. */
static void under_fire(void)
{
	for (int i = 0; i < 20; i++) {
		pid_t child;
		int status;

		signal(SIGUSR2, SIG_IGN);
		child = start();
		if (!child)
			become("/bin/true", (char *[]){"true", NULL}, none);
		while (!waitpid(child, &status, WNOHANG))
			kill(child, SIGUSR2);
		if (status)
			printf("wrong: %d\n", status);
	}
	printf("done\n");
}

int main(int argc, char **argv)
{
	static const struct part parts[] = {
		{"kept and gone", kept_and_gone}, {"race", race}, {"in a handler", in_a_handler}, {"scripts", scripts},
		{"nothing at all", nothing_at_all}, {"generations", generations}, {"under fire", under_fire},
	};

	if (argc > 1 && !strcmp(argv[1], "image")) {
		begin();
		return image(argc, argv);
	}
	if (!realpath(argv[0], self))
		return 99;
	return RUN_PARTS(parts, argc, argv);
}
