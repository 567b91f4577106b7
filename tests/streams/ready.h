/* SPDX-License-Identifier: Apache-2.0 */
/* Connected pairs of stream sockets that have seen enough bytes to be worth a ring, and words for what is ready. */
#ifndef READY_H
#define READY_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(x) do { if (!(x)) { printf("line %d: %s: %s\n", __LINE__, #x, strerror(errno)); exit(9); } } while (0)

enum kind { TCP, PAIR, KINDS };

__attribute__((unused)) static const char *kind_names[] = {"tcp", "pair"};

__attribute__((unused)) static void tcp_pair(int *fds)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof a;
	int l = socket(AF_INET, SOCK_STREAM, 0);

	CHECK(!bind(l, (void *)&a, sizeof a) && !listen(l, 5) && !getsockname(l, (void *)&a, &len));
	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(!connect(fds[0], (void *)&a, sizeof a));
	fds[1] = accept(l, 0, 0);
	CHECK(fds[1] >= 0);
	for (int i = 0; i < 2; i++)
		CHECK(!setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)));
	close(l);
}

/* As many calls as it takes both ends to have a ring. */
__attribute__((unused)) static void warm_up(const int *fds)
{
	char c[8];

	for (int i = 0; i < 6; i++) {
		CHECK(write(fds[0], "ab", 2) == 2 && read(fds[1], c, 8) == 2);
		CHECK(write(fds[1], "cde", 3) == 3 && read(fds[0], c, 8) == 3);
	}
}

__attribute__((unused)) static void make_pair(enum kind kind, int *fds)
{
	if (kind == TCP)
		tcp_pair(fds);
	else
		CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
	warm_up(fds);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	fcntl(fds[1], F_SETFL, O_NONBLOCK);
}

/* What was sent has come. */
static void settle(void)
{
	usleep(3000);
}

/* Until nothing moves any more in the kernel either. */
__attribute__((unused)) static void fill(int fd)
{
	static char much[30000];

	for (int quiet = 0; quiet < 5; settle()) {
		for (quiet++; write(fd, much, sizeof much) > 0;)
			quiet = 0;
		CHECK(errno == EAGAIN);
	}
}

/* The same from a file, which is a call of its own. */
__attribute__((unused)) static void fill_from_file(int fd)
{
	int from = memfd_create("much", MFD_CLOEXEC);
	off_t at = 0;

	CHECK(from >= 0 && !ftruncate(from, 30000));
	for (int quiet = 0; quiet < 5; settle()) {
		for (quiet++; sendfile(fd, from, &at, 30000) > 0; at = 0)
			quiet = 0;
		CHECK(errno == EAGAIN);
	}
	close(from);
}

__attribute__((unused)) static void drain(int fd)
{
	static char much[100000];

	while (read(fd, much, sizeof much) > 0)
		;
}

__attribute__((unused)) static const char *words(uint32_t events)
{
	static char text[8][200];
	static int next;
	static const struct {
		uint32_t bit;
		const char *name;
	} names[] = {{POLLIN, "IN"}, {POLLPRI, "PRI"}, {POLLOUT, "OUT"}, {POLLERR, "ERR"}, {POLLHUP, "HUP"},
		     {POLLNVAL, "NVAL"}, {POLLRDNORM, "RDNORM"}, {POLLRDBAND, "RDBAND"}, {POLLWRNORM, "WRNORM"},
		     {POLLWRBAND, "WRBAND"}, {POLLRDHUP, "RDHUP"}};
	char *to = text[next++ % 8];

	*to = 0;
	for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
		if (events & names[i].bit)
			sprintf(to + strlen(to), "%s%s", *to ? "+" : "", names[i].name);
	return *to ? to : "-";
}

__attribute__((unused)) static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

#endif
