/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reader that waits for edges and believes FIONREAD, as nginx does: after a full buffer it asks how much there is,
 * and takes that much and no more. What comes later is told by another edge.
 *
 * Most of what it is sent waits at the sender's, since there is little room at the receiver's, and FIONREAD does not
 * count it; what comes after that goes by a ring.
 */
#include "ready.h"
#include <sys/ioctl.h>
#include <sys/mman.h>

enum { CONNECTIONS = 20, BUFFER = 1024, ROOM = 8192, FIRST = 100000, LAST = 5000, PATIENCE = 3000 };

static volatile int *step; /* 1: a few were read, 2: the last ones are under way */
static char much[2 * FIRST];

/* Where it ends in the midst of what the receiver has counted is not always the same. */
static long first(int connection)
{
	return FIRST + connection * 1000;
}

static void until(int n)
{
	while (*step != n)
		usleep(500);
}

static void sends(const struct sockaddr_in *to)
{
	char c;

	for (int i = 0; i < CONNECTIONS; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		CHECK(!setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){8 * FIRST}, sizeof(int)));
		CHECK(!connect(fd, (const void *)to, sizeof *to));
		for (int n = 0; n < 5; n++)
			CHECK(write(fd, much, (size_t)first(i) / 5) == first(i) / 5);
		until(1);
		CHECK(write(fd, much, LAST) == LAST);
		*step = 2;
		CHECK(read(fd, &c, 1) == 1);
		close(fd);
	}
	exit(0);
}

/* Bytes that were there, in the order of things. */
static long takes(int fd, int most)
{
	int available = -1;
	long at = 0, n = BUFFER;

	while (most-- && n == BUFFER && available) {
		n = read(fd, much, BUFFER);
		if (n < 0) {
			CHECK(errno == EAGAIN);
			break;
		}
		CHECK(n > 0);
		at += n;
		if (available >= 0)
			available = available > n ? available - (int)n : 0;
		else if (n == BUFFER)
			CHECK(!ioctl(fd, FIONREAD, &available));
	}
	return at;
}

static void all(int set, int fd, long bytes)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLET | EPOLLRDHUP};
	long at, left;
	int there;

	CHECK(!epoll_ctl(set, EPOLL_CTL_ADD, fd, &e) && epoll_wait(set, &e, 1, PATIENCE) == 1);
	usleep(2000);
	at = takes(fd, 6);
	*step = 1;
	until(2);
	for (left = bytes - at; left; left -= takes(fd, 1 << 20))
		if (epoll_wait(set, &e, 1, PATIENCE) != 1) {
			CHECK(!ioctl(fd, FIONREAD, &there));
			printf("no edge, and %d of the last %ld bytes are there\n", there, left);
			exit(1);
		}
	*step = 0;
	CHECK(write(fd, "", 1) == 1);
}

int main(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof a;
	int l = socket(AF_INET, SOCK_STREAM, 0), set = epoll_create1(0), fd, status;

	step = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(l >= 0 && step != MAP_FAILED);
	CHECK(!setsockopt(l, SOL_SOCKET, SO_RCVBUF, &(int){ROOM}, sizeof(int)));
	CHECK(!bind(l, (void *)&a, sizeof a) && !listen(l, 5) && !getsockname(l, (void *)&a, &len));
	if (!fork())
		sends(&a);
	for (int i = 0; i < CONNECTIONS; i++) {
		fd = accept(l, 0, 0);
		CHECK(fd >= 0);
		fcntl(fd, F_SETFL, O_NONBLOCK);
		all(set, fd, first(i) + LAST);
		close(fd);
	}
	CHECK(wait(&status) > 0);
	printf("%d are right, status %d\n", CONNECTIONS, status);
	return 0;
}
