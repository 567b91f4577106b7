/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two processes and what connects them, for pair.c and many.c: over TCP, a Unix socket, a socketpair or two pipes.
 * Nobody waits for ever: each process has an alarm, and a child ends with its parent.
 */
#ifndef LSCA_BENCH_ENDS_H
#define LSCA_BENCH_ENDS_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE = 30 };

static int is_spinning; /* whoever takes asks again and again, and never sleeps */

struct end {
	int in, out;
};

/* Made before the fork. */
struct link {
	const char *kind;
	int listener;
	struct sockaddr_storage address;
	socklen_t length;
	struct end near, far;
};

static void die(const char *what)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
	exit(1);
}

static inline uint64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static inline int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Of so many times, sorted. */
static inline uint64_t percentile(uint64_t *times, int count, int percent)
{
	qsort(times, count, sizeof *times, compare);
	return times[(size_t)count * percent / 100];
}

static inline void say(const char *name, uint64_t value)
{
	printf("%s %llu\n", name, (unsigned long long)value);
}

/* 0 in the child, which ends with its parent. */
static inline pid_t child(void)
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		die("fork");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		alarm(PATIENCE);
	}
	return pid;
}

/* Stays on the first or the second CPU of those that it may use, if there are two. */
static inline void stay(int number)
{
	cpu_set_t all, one;

	if (sched_getaffinity(0, sizeof all, &all))
		die("sched_getaffinity");
	if (CPU_COUNT(&all) < 2)
		return;
	CPU_ZERO(&one);
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &all) && !number--)
			CPU_SET(i, &one);
	if (sched_setaffinity(0, sizeof one, &one))
		die("sched_setaffinity");
}

static inline void reap(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || status) {
		fprintf(stderr, "%s: the other process ended with %d\n", program_invocation_short_name, status);
		exit(1);
	}
}

static inline void at_once(int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* of a Unix socket it is refused */
}

static inline void link_listen(struct link *l, int backlog)
{
	struct sockaddr_in *inet = (struct sockaddr_in *)&l->address;

	if (strcmp(l->kind, "unix")) {
		inet->sin_family = AF_INET;
		inet->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		l->length = sizeof *inet;
	} else { /* the kernel chooses an abstract name */
		l->address.ss_family = AF_UNIX;
		l->length = sizeof(sa_family_t);
	}
	l->listener = socket(l->address.ss_family, SOCK_STREAM, 0);
	if (l->listener < 0 || bind(l->listener, (struct sockaddr *)&l->address, l->length) ||
	    listen(l->listener, backlog))
		die("listen");
	l->length = sizeof l->address;
	if (getsockname(l->listener, (struct sockaddr *)&l->address, &l->length))
		die("getsockname");
}

static inline int link_connect(const struct link *l)
{
	int fd = socket(l->address.ss_family, SOCK_STREAM, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)&l->address, l->length))
		die("connect");
	at_once(fd);
	return fd;
}

static inline int link_accept(const struct link *l)
{
	int fd = accept(l->listener, NULL, NULL);

	if (fd < 0)
		die("accept");
	at_once(fd);
	return fd;
}

static inline struct link link_make(const char *kind)
{
	struct link l = {.kind = kind, .listener = -1};
	int one[2], two[2];

	if (!strcmp(kind, "pipe")) {
		if (pipe(one) || pipe(two))
			die("pipe");
		l.near = (struct end){two[0], one[1]};
		l.far = (struct end){one[0], two[1]};
	} else if (!strcmp(kind, "socketpair")) {
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, one))
			die("socketpair");
		l.near = (struct end){one[0], one[0]};
		l.far = (struct end){one[1], one[1]};
	} else {
		link_listen(&l, 16);
	}
	return l;
}

static inline void end_close(struct end e)
{
	close(e.in);
	if (e.out != e.in)
		close(e.out);
}

/* The child's end, and the parent's; each closes the other one. */
static inline struct end link_far(const struct link *l)
{
	int fd;

	if (l->listener < 0) {
		end_close(l->near);
		return l->far;
	}
	fd = link_accept(l);
	return (struct end){fd, fd};
}

static inline struct end link_near(const struct link *l)
{
	int fd;

	if (l->listener < 0) {
		end_close(l->far);
		return l->near;
	}
	fd = link_connect(l);
	return (struct end){fd, fd};
}

/* 0: the other end has closed. */
static inline int take_all(int fd, char *data, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t got = is_spinning ? recv(fd, data + done, size - done, MSG_DONTWAIT) :
					    read(fd, data + done, size - done);

		if (got < 0 && is_spinning && errno == EAGAIN)
			continue;
		if (got < 0)
			die("read");
		if (!got)
			return 0;
		done += got;
	}
	return 1;
}

static inline void put_all(int fd, const char *data, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t put = write(fd, data + done, size - done);

		if (put < 0)
			die("write");
		done += put;
	}
}

#endif
