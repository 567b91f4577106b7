/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One scene after the other of what could go wrong with a file that is written to in small pieces: limits and full
 * disks, threads, children that spawn, die and look. Prints what calls have returned. Arguments: a scene, the file.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 4, LINES = 3000, CHILDREN = 20 };

extern char **environ;
static const char *path;
static int file;

static void say(const char *what, long r)
{
	printf("%s %ld %s\n", what, r, r < 0 ? strerrorname_np(errno) : "");
}

static int lines(int fd, const char *who, int from, int to)
{
	char text[80];

	for (int i = from; i < to; i++) {
		int n = snprintf(text, sizeof text, "%s %06d and some more\n", who, i);

		if (write(fd, text, (size_t)n) != n)
			return i;
	}
	return to;
}

static int opened(int more)
{
	file = open(path, O_RDWR | O_CREAT | O_CLOEXEC | more, 0755);
	return file;
}

static void on_limit(int sig)
{
	(void)sig;
	say("SIGXFSZ", 0);
}

/* The call that passes the limit is the one that fails, and it says so. */
static void limit(int more)
{
	struct rlimit r = {100000, 100000};
	long last;

	signal(SIGXFSZ, on_limit);
	lines(opened(more), "before", 0, 100);
	say("setrlimit", setrlimit(RLIMIT_FSIZE, &r));
	last = lines(file, "until", 0, 10000);
	say("until", last);
	say("write", write(file, "one more line\n", 14));
	say("lseek", lseek(file, 0, SEEK_CUR));
	say("close", close(file));
}

/* What does not fit is said at the latest by fsync or close; and then no more. */
static void full(void)
{
	int failed = lines(opened(0), "line", 0, 100000) < 100000;
	struct stat st;

	if (fsync(file))
		failed = 1;
	say("failed", failed);
	say("fsync", fsync(file));
	fstat(file, &st);
	say("whole", st.st_size > 100000);
	say("unlink", unlink(path));
	say("close", close(file));
}

static void *from_a_thread(void *arg)
{
	char who[16];

	snprintf(who, sizeof who, "thread%ld", (long)arg);
	lines(file, who, 0, LINES);
	return NULL;
}

static void threads(int more)
{
	pthread_t t[THREADS];

	opened(more);
	for (long i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, from_a_thread, (void *)i);
	for (long i = 0; i < 10; i++) {
		struct stat st;

		fstat(file, &st);
		usleep(500);
	}
	for (long i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	say("lseek", lseek(file, 0, SEEK_CUR));
	say("close", close(file));
}

/* Others spawn and fork while there is writing. */
static void births(void)
{
	char *argv[] = {"true", NULL};
	pthread_t t;
	int status;
	pid_t pid;

	opened(O_APPEND);
	pthread_create(&t, NULL, from_a_thread, (void *)0);
	for (int i = 0; i < CHILDREN; i++) {
		if (i % 2) {
			pid = fork();
			if (!pid) {
				if (write(file, "child\n", 6) != 6)
					_exit(1);
				_exit(0);
			}
		} else if (posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ)) {
			pid = -1;
		}
		waitpid(pid, &status, 0);
		say("child", status);
	}
	pthread_join(t, NULL);
	say("close", close(file));
}

static void *by_both(void *arg)
{
	char who[16];

	snprintf(who, sizeof who, "thread%ld", (long)arg);
	for (int i = 0; i < LINES; i++)
		lines(1 + i % 2, who, i, i + 1);
	return NULL;
}

/* stdout and stderr are one opening; there are copies of it for a while, and children that have it, too. */
static void twins(void)
{
	pthread_t t[THREADS];
	char who[16];

	for (long i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, by_both, (void *)i);
	for (int i = 0; i < 200; i++) {
		int copy = dup(1 + i % 2);

		lines(copy, "copy", 2 * i, 2 * i + 1);
		fcntl(copy, F_SETFL, fcntl(copy, F_GETFL) ^ O_NONBLOCK);
		lines(2 - i % 2, "copy", 2 * i + 1, 2 * i + 2);
		close(copy);
		if (i % 20 == 10 && !fork()) {
			snprintf(who, sizeof who, "child%d", i);
			lines(1, who, 0, 20);
			lines(2, who, 20, 40);
			_exit(0);
		}
		usleep(100);
	}
	for (long i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	while (wait(NULL) > 0)
		;
	lines(1, "copy", 400, 4000);
	usleep(50000); /* by now it is posted */
	lines(1, "copy", 4000, 20000);
}

static void dead_child(void)
{
	char text[64];
	int status;
	pid_t pid;

	for (int i = 0; i < CHILDREN; i++) {
		pid = fork();
		if (!pid) {
			lines(opened(O_TRUNC), "last words", 0, 50 + i);
			kill(getpid(), SIGKILL);
		}
		waitpid(pid, &status, 0);
		opened(0);
		say("size", lseek(file, 0, SEEK_END));
		say("pread", pread(file, text, 20, 31));
		printf("%.20s\n", text);
		close(file);
	}
}

/* Two that write to one log in turn, each with a descriptor of its own. */
static void turns(void)
{
	int to[2], back[2], status;
	pid_t pid;
	char c;

	if (pipe(to) || pipe(back))
		return;
	pid = fork();
	if (!pid) {
		close(to[1]);
		opened(O_APPEND);
		for (int i = 0; read(to[0], &c, 1) == 1; i++) {
			lines(file, "child", i, i + 1);
			if (write(back[1], "x", 1) != 1)
				break;
		}
		_exit(0);
	}
	opened(O_APPEND);
	for (int i = 0; i < 500; i++) {
		lines(file, "parent", i, i + 1 + i % 3);
		if (write(to[1], "x", 1) != 1 || read(back[0], &c, 1) != 1)
			break;
	}
	close(to[1]);
	waitpid(pid, &status, 0);
	say("close", close(file));
}

/* A file that is written and then executed is open for writing nowhere. */
static void executed(void)
{
	char *argv[] = {(char *)path, NULL};
	int status;
	pid_t pid;

	for (int i = 0; i < CHILDREN; i++) {
		opened(O_TRUNC);
		if (write(file, "#!/bin/sh\n", 10) != 10)
			return;
		for (int k = 0; k < 20; k++)
			if (write(file, "echo line\n", 10) != 10)
				return;
		close(file);
		fflush(stdout);
		status = posix_spawn(&pid, path, NULL, NULL, argv, environ);
		say("spawn", status);
		waitpid(pid, &status, 0);
		say("status", status);
	}
}

/* Another process has the file mapped, and is told through a pipe what is there. */
static void mapped(void)
{
	int to[2], back[2], status;
	struct stat st;
	pid_t pid;
	char c;

	if (pipe(to) || pipe(back))
		return;
	opened(O_TRUNC);
	lines(file, "first", 0, 100);
	pid = fork();
	if (!pid) {
		char *at = MAP_FAILED;

		close(to[1]);
		for (int i = 0; read(to[0], &c, 1) == 1; i++) {
			int own = open(path, O_RDONLY);

			fstat(own, &st);
			at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, own, 0);
			printf("%ld %.30s\n", (long)st.st_size, at + st.st_size - 31);
			munmap(at, (size_t)st.st_size);
			close(own);
			if (write(back[1], "x", 1) != 1)
				break;
		}
		fflush(stdout);
		_exit(0);
	}
	close(file);
	opened(O_APPEND);
	for (int i = 0; i < 50; i++) {
		lines(file, "later", 10 * i, 10 * i + 10);
		if (write(to[1], "x", 1) != 1 || read(back[0], &c, 1) != 1)
			break;
	}
	close(to[1]);
	waitpid(pid, &status, 0);
}

/* In small pieces, with a pause at the end in which somebody looks. */
static void paused(void)
{
	opened(O_TRUNC);
	lines(file, "line", 0, 500);
	fputs("written\n", stdout);
	fflush(stdout);
	getchar();
}

/* By a handler, in the middle of whatever there is. */
static void on_alarm(int sig)
{
	(void)sig;
	if (write(file, "alarm\n", 6) != 6)
		_exit(1);
}

static void alarms(void)
{
	struct itimerval every = {{0, 300}, {0, 300}}, none = {{0, 0}, {0, 0}};

	opened(O_APPEND);
	signal(SIGALRM, on_alarm);
	setitimer(ITIMER_REAL, &every, NULL);
	say("lines", lines(file, "line", 0, 50000));
	setitimer(ITIMER_REAL, &none, NULL);
	say("close", close(file));
}

int main(int argc, char **argv)
{
	const char *scene = argv[1];

	(void)argc;
	path = argv[2];
	if (!strcmp(scene, "limit"))
		limit(0);
	else if (!strcmp(scene, "limit-append"))
		limit(O_APPEND);
	else if (!strcmp(scene, "full"))
		full();
	else if (!strcmp(scene, "threads"))
		threads(0);
	else if (!strcmp(scene, "threads-append"))
		threads(O_APPEND);
	else if (!strcmp(scene, "twins"))
		twins();
	else if (!strcmp(scene, "births"))
		births();
	else if (!strcmp(scene, "dead-child"))
		dead_child();
	else if (!strcmp(scene, "turns"))
		turns();
	else if (!strcmp(scene, "executed"))
		executed();
	else if (!strcmp(scene, "mapped"))
		mapped();
	else if (!strcmp(scene, "alarms"))
		alarms();
	else
		paused();
	return 0;
}
