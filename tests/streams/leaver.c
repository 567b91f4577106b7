/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One end of a connection is killed while the other one waits for it, sends to it without being read, or plays ball:
 *
 *   leaver tcp|unix reads|writes|plays ROUNDS
 *
 * Prints what the survivor saw of each kill; to standard error how long that took him, in the middle and at most.
 */
#define _GNU_SOURCE

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "rings.h"

struct shared {
	volatile int64_t killed, seen; /* ns */
	volatile int is_ready, has_ring, result, error;
};

static struct shared *shared;
static volatile int broken;

static void must(int is_well, const char *what)
{
	if (is_well)
		return;
	perror(what);
	_exit(99);
}

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static void on_pipe(int number)
{
	(void)number;
	broken++;
}

static void connection(int is_tcp, int *pair)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof a;
	int l, one = 1;

	if (!is_tcp) {
		must(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "socketpair");
		return;
	}
	l = socket(AF_INET, SOCK_STREAM, 0);
	must(!bind(l, (void *)&a, len) && !listen(l, 1) && !getsockname(l, (void *)&a, &len), "listen");
	pair[0] = socket(AF_INET, SOCK_STREAM, 0);
	must(!connect(pair[0], (void *)&a, len), "connect");
	pair[1] = accept(l, NULL, NULL);
	setsockopt(pair[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	setsockopt(pair[1], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	close(l);
}

/* Until there is a ring, where there can be one. */
static void play(int fd, int begins, int rounds)
{
	char byte = 1;

	while (rounds--) {
		if (begins)
			must(write(fd, &byte, 1) == 1, "play");
		must(read(fd, &byte, 1) == 1, "play");
		if (!begins)
			must(write(fd, &byte, 1) == 1, "play");
	}
}

static void victim(int fd, const char *how)
{
	char byte;

	play(fd, 0, 12);
	for (; *how == 'p';)
		if (read(fd, &byte, 1) != 1 || write(fd, &byte, 1) != 1)
			_exit(1);
	for (;;)
		pause();
}

static void survivor(int fd, const char *how)
{
	struct stream_ring *rings[1];
	static char bytes[100000];
	ssize_t r;

	play(fd, 1, 12);
	shared->has_ring = find_rings(rings, 1);
	shared->is_ready = 1;
	do {
		if (*how == 'r')
			r = read(fd, bytes, 1);
		else if (*how == 'w')
			r = write(fd, bytes, sizeof bytes);
		else if ((r = write(fd, bytes, 1)) == 1)
			r = read(fd, bytes, 1);
	} while (r > 0);
	shared->seen = now();
	shared->error = r < 0 ? errno : 0;
	shared->result = (int)r;
	_exit(0);
}

static int by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_handler = on_pipe};
	int64_t took[1000];
	int with_ring = 0, rounds = argc == 4 ? atoi(argv[3]) : 0;

	must(rounds > 0 && rounds <= 1000, "usage: leaver tcp|unix reads|writes|plays ROUNDS");
	sigaction(SIGPIPE, &sa, NULL);
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	srand(1);
	for (int i = 0; i < rounds; i++) {
		int pair[2];
		pid_t dies, stays;
		struct timespec t = {0, rand() % 3000000};

		memset((void *)shared, 0, sizeof *shared);
		connection(argv[1][0] == 't', pair);
		dies = fork();
		if (!dies) {
			close(pair[0]);
			victim(pair[1], argv[2]);
		}
		close(pair[1]);
		stays = fork();
		if (!stays)
			survivor(pair[0], argv[2]);
		close(pair[0]);
		while (!shared->is_ready)
			sched_yield();
		nanosleep(&t, NULL);
		shared->killed = now();
		kill(dies, SIGKILL);
		for (int64_t end = now() + 5000000000; !shared->seen && now() < end;)
			sched_yield();
		if (!shared->seen)
			kill(stays, SIGKILL);
		waitpid(dies, NULL, 0);
		waitpid(stays, NULL, 0);
		with_ring += shared->has_ring;
		took[i] = shared->seen - shared->killed;
		printf("%s\n", !shared->seen ? "nothing" : shared->result ? strerrorname_np(shared->error) : "end");
	}
	qsort(took, (size_t)rounds, sizeof *took, by_size);
	fprintf(stderr, "%lld %lld us, %d with a ring\n", (long long)took[rounds / 2] / 1000,
		(long long)took[rounds - 1] / 1000, with_ring);
	return 0;
}
