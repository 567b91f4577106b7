/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the calls that handlers and rules are tried on: asks WHAT [ARGUMENT...] [+ WHAT ...]; prints what came of each,
 * a line each. Nothing in here knows that anybody listens.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t signals;

static void say(const char *what, long r)
{
	char line[400];
	int n = r < 0 ? snprintf(line, sizeof line, "%s: %s\n", what, strerrorname_np(errno)) :
			snprintf(line, sizeof line, "%s: %ld\n", what, r);

	syscall(SYS_write, 1, line, n);
}

static void show(const char *what, const char *text, long n)
{
	char line[400];

	if (n < 0)
		say(what, n);
	else
		syscall(SYS_write, 1, line, snprintf(line, sizeof line, "%s: [%.*s]\n", what, (int)n, text));
}

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void on_signal(int sig)
{
	(void)sig;
	signals = signals + 1;
}

static long raw_getppid(void)
{
#ifdef __x86_64__
	long r;

	__asm__ volatile("syscall" : "=a"(r) : "0"(SYS_getppid) : "rcx", "r11", "memory");
	return r;
#else
	return syscall(SYS_getppid);
#endif
}

static void print_file(const char *path)
{
	char text[200];
	int fd = open(path, O_RDONLY);

	if (fd < 0) {
		say("open", fd);
		return;
	}
	show("open", text, read(fd, text, sizeof text));
	close(fd);
}

static void vectors(const char *path)
{
	char a[4] = "", b[8] = "", c[20] = "";
	struct iovec out[3] = {{"one", 3}, {"", 0}, {"twothree", 8}}, in[3] = {{a, 4}, {b, 8}, {c, 20}};
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	long n;

	say("writev", writev(fd, out, 3));
	lseek(fd, 0, SEEK_SET);
	n = readv(fd, in, 3);
	say("readv", n);
	show("first", a, 4);
	show("second", b, strnlen(b, 8));
	show("third", c, strnlen(c, 20));
	close(fd);
}

static void messages(void)
{
	char a[5] = "", b[30] = "";
	struct iovec out[2] = {{"hello ", 6}, {"there", 5}}, in[2] = {{a, 5}, {b, 30}};
	struct msghdr send = {.msg_iov = out, .msg_iovlen = 2}, take = {.msg_iov = in, .msg_iovlen = 2};
	int fd[2];

	socketpair(AF_UNIX, SOCK_DGRAM, 0, fd);
	say("sendmsg", sendmsg(fd[0], &send, 0));
	say("recvmsg", recvmsg(fd[1], &take, MSG_DONTWAIT));
	show("first", a, strnlen(a, 5));
	show("second", b, strnlen(b, 30));
}

static void large(const char *path)
{
	long n = 1 << 20, sum = 0, r;
	unsigned char *data = malloc(n);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	for (long i = 0; i < n; i++)
		data[i] = (unsigned char)(i * 7 + i / 256);
	say("write", write(fd, data, n));
	memset(data, 0, n);
	r = pread(fd, data, n, 0);
	for (long i = 0; i < r; i++)
		sum += data[i] * (i % 1000 + 1);
	say("sum", sum);
	close(fd);
	free(data);
}

static void spawned(const char *self, int vforks)
{
	char *argv[] = {(char *)self, "ppid", NULL};
	int status = -1;
	pid_t pid = 0;

	if (vforks) {
		pid = vfork();
		if (!pid) {
			execv(self, argv);
			_exit(99);
		}
	} else if (posix_spawn(&pid, self, NULL, NULL, argv, environ)) {
		pid = -1;
	}
	if (pid < 0) {
		say("spawn", -1);
		return;
	}
	waitpid(pid, &status, 0);
	say("child", WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status));
}

static void *ask_token(void *token)
{
	return (void *)(uintptr_t)(syscall(SYS_getpgid, (long)(uintptr_t)token) == 2 * (long)(uintptr_t)token);
}

static void threads(long count)
{
	pthread_t id[256];
	long good = 0, began = now_ms();

	for (long i = 0; i < count; i++)
		pthread_create(&id[i], NULL, ask_token, (void *)(uintptr_t)(1000 + i));
	for (long i = 0; i < count; i++) {
		void *one;

		pthread_join(id[i], &one);
		good += (long)(uintptr_t)one;
	}
	say("right", good);
	say("quickly", now_ms() - began < 5000);
}

/* Each call carries a number and must get its double back. */
static void tokens(long processes, long calls)
{
	long wrong = 0;

	for (long p = 0; p < processes; p++) {
		if (fork())
			continue;
		for (long i = 0; i < calls; i++) {
			long token = p * 100000 + i + 1;
			struct timespec pause = {0, 1000000};

			if (syscall(SYS_getpgid, token) != 2 * token)
				_exit(1);
			if (i % 20 == 19)
				nanosleep(&pause, NULL);
		}
		_exit(0);
	}
	for (int status; wait(&status) > 0;)
		wrong += status != 0;
	say("wrong", wrong);
}

static void opens(const char *path, long count)
{
	long failed = 0;

	for (long i = 0; i < count; i++) {
		int fd = open(path, O_RDONLY);

		failed += fd < 0 && errno == ENOANO;
		if (fd >= 0)
			close(fd);
	}
	say("failed", failed);
}

static void interrupted(int restart)
{
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = restart ? SA_RESTART : 0};
	long began = now_ms();

	sigaction(SIGALRM, &sa, NULL);
	ualarm(200000, 0);
	signals = 0;
	say("getppid", syscall(SYS_getppid) > 0);
	say("signals", signals);
	say("soon", now_ms() - began < 6000);
}

static void connects(int port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)}, peer;
	socklen_t n = sizeof peer;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
	say("connect", connect(fd, (struct sockaddr *)&to, sizeof to));
	if (!getpeername(fd, (struct sockaddr *)&peer, &n))
		say("peer", ntohs(peer.sin_port));
	close(fd);
}

static char **one(char *self, char **arg)
{
	const char *what = *arg++;

	if (!strcmp(what, "ppid")) {
		say("getppid", syscall(SYS_getppid) == 42 ? 42 : 1);
	} else if (!strcmp(what, "raw")) {
		say("raw", raw_getppid() == 42 ? 42 : 1);
	} else if (!strcmp(what, "many")) { /* of a site that has become a jump by then */
		long n = 0;

		for (long i = atol(*arg++); i > 0; i--)
			n += syscall(SYS_getppid) == 42;
		say("many", n);
	} else if (!strcmp(what, "pid")) {
		say("getpid", syscall(SYS_getpid) == 42 ? 42 : 1);
	} else if (!strcmp(what, "print")) {
		print_file(*arg++);
	} else if (!strcmp(what, "chdir")) {
		say("chdir", chdir(*arg++));
	} else if (!strcmp(what, "write")) {
		int fd = open(*arg++, O_WRONLY | O_CREAT | O_APPEND, 0600);

		say("write", write(fd, *arg, strlen(*arg)));
		arg++;
		close(fd);
	} else if (!strcmp(what, "rename")) {
		say("rename", rename(arg[0], arg[1]));
		arg += 2;
	} else if (!strcmp(what, "vectors")) {
		vectors(*arg++);
	} else if (!strcmp(what, "messages")) {
		messages();
	} else if (!strcmp(what, "large")) {
		large(*arg++);
	} else if (!strcmp(what, "spawn")) {
		spawned(self, 0);
	} else if (!strcmp(what, "vfork")) {
		spawned(self, 1);
	} else if (!strcmp(what, "threads")) {
		threads(atol(*arg++));
	} else if (!strcmp(what, "tokens")) {
		tokens(atol(arg[0]), atol(arg[1]));
		arg += 2;
	} else if (!strcmp(what, "opens")) {
		opens(arg[0], atol(arg[1]));
		arg += 2;
	} else if (!strcmp(what, "fork")) {
		pid_t pid = fork();

		if (!pid)
			_exit(0);
		say("fork", pid < 0 ? pid : 1);
		if (pid > 0)
			waitpid(pid, NULL, 0);
	} else if (!strcmp(what, "unshared")) {
		if (unshare(CLONE_NEWPID))
			say("unshare", -1);
		if (!fork()) {
			say("pid", syscall(SYS_getpid));
			one(self, (char *[]){"many", "5", NULL});
			_exit(0);
		}
		wait(NULL);
	} else if (!strcmp(what, "exec")) {
		execl(*arg, *arg, "ppid", NULL);
		say("exec", -1);
		arg++;
	} else if (!strcmp(what, "interrupted")) {
		interrupted(atoi(*arg++));
	} else if (!strcmp(what, "alarm")) {
		ualarm(300000, 0);
		say("getppid", syscall(SYS_getppid) > 0);
	} else if (!strcmp(what, "connect")) {
		connects(atoi(*arg++));
	} else if (!strcmp(what, "until")) { /* until the answer is another one */
		while (syscall(SYS_getppid) != 42)
			;
		say("until", 42);
	} else {
		say(what, (errno = EINVAL, -1));
	}
	return arg;
}

int main(int argc, char **argv)
{
	(void)argc;
	for (char **arg = argv + 1; *arg; arg += *arg && !strcmp(*arg, "+"))
		arg = one(argv[0], arg);
	return 0;
}
