/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Round trip of 64 bytes over TCP between two processes, for bench.py: the child sends back what
 * it receives. Printed is the median of the round trips in nanoseconds as `echo VALUE`.
 *
 *	echo SECONDS
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 64, WARM = 200, MOST = 100000 };

static void die(const char *what)
{
	fprintf(stderr, "echo: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void serve(int listener)
{
	int fd = accept(listener, NULL, NULL), on = 1;
	char data[SIZE];
	ssize_t got;

	if (fd < 0)
		die("accept");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	while ((got = recv(fd, data, sizeof data, MSG_WAITALL)) == SIZE)
		if (send(fd, data, got, 0) != got)
			die("send");
	_exit(got != 0);
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	static uint64_t times[MOST];
	socklen_t length = sizeof address;
	int listener, fd, on = 1, count = 0, status;
	char sent[SIZE], back[SIZE];
	uint64_t end;
	pid_t pid;

	if (argc != 2) {
		fprintf(stderr, "usage: echo SECONDS\n");
		return 2;
	}
	listener = socket(AF_INET, SOCK_STREAM, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) ||
	    listen(listener, 1) || getsockname(listener, (struct sockaddr *)&address, &length))
		die("listen");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0)
		serve(listener);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address))
		die("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	end = now_ns() + (uint64_t)(atof(argv[1]) * 1e9);
	for (int i = 0; count < MOST && (count < 20 || now_ns() < end); i++) {
		uint64_t start = now_ns();

		memset(sent, 'a' + i % 26, sizeof sent);
		if (send(fd, sent, SIZE, 0) != SIZE || recv(fd, back, SIZE, MSG_WAITALL) != SIZE)
			die("round trip");
		if (memcmp(sent, back, SIZE)) {
			fprintf(stderr, "echo: message %d came back changed\n", i);
			return 1;
		}
		if (i >= WARM)
			times[count++] = now_ns() - start;
	}
	close(fd);
	if (waitpid(pid, &status, 0) != pid || status)
		die("waitpid");
	qsort(times, count, sizeof *times, compare);
	printf("echo %llu\n", (unsigned long long)times[count / 2]);
	return 0;
}
