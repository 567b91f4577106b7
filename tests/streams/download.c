/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client that only reads; a server that waits for room, again and again:
 *
 *   download tcp|pair poll|level|edge BYTES
 *
 * Who reads has sent nothing since there was a ring, and has to wake who waits for room all the same.
 */
#include "ready.h"

enum { FEW = 8 };

static char much[100000];

static void wait_for_room(const char *how, int fd, int set)
{
	struct pollfd p = {fd, POLLOUT, 0};
	struct epoll_event got;

	CHECK((!strcmp(how, "poll") ? poll(&p, 1, 20000) : epoll_wait(set, &got, 1, 20000)) == 1);
}

static void serve(const char *how, int fd, long n)
{
	struct epoll_event out = {.events = EPOLLOUT | (strcmp(how, "edge") ? 0 : (uint32_t)EPOLLET)};
	int set = epoll_create1(0);

	fcntl(fd, F_SETFL, O_NONBLOCK);
	for (int i = 0; i < FEW; i++) /* so that it is the reader who makes the ring */
		CHECK(read(fd, much, 1) == -1 && errno == EAGAIN);
	for (int i = 0; i < FEW; i++, settle())
		CHECK(write(fd, "x", 1) == 1);
	CHECK(!epoll_ctl(set, EPOLL_CTL_ADD, fd, &out));
	for (long at = 0, r; at < n; at += r > 0 ? r : 0) {
		size_t len = n - at < (long)sizeof much ? (size_t)(n - at) : sizeof much;

		for (size_t i = 0; i < len; i++)
			much[i] = (char)((at + (long)i) * 2654435761u >> 20);
		r = write(fd, much, len);
		CHECK(r > 0 || errno == EAGAIN);
		if (r < (long)len)
			wait_for_room(how, fd, set);
	}
	exit(0);
}

int main(int argc, char **argv)
{
	long n, at = 0, r;
	int fds[2], status;
	double t;

	CHECK(argc == 4);
	n = atol(argv[3]);
	if (!strcmp(argv[1], "tcp"))
		tcp_pair(fds);
	else
		CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
	if (!fork()) {
		close(fds[0]);
		serve(argv[2], fds[1], n);
	}
	close(fds[1]);
	for (int i = 0; i < FEW; i++)
		CHECK(read(fds[0], much, 1) == 1);
	for (t = seconds(); (r = read(fds[0], much, sizeof much)) > 0; at += r, usleep(300))
		for (long i = 0; i < r; i++)
			if (much[i] != (char)((at + i) * 2654435761u >> 20)) {
				printf("wrong at %ld\n", at + i);
				return 1;
			}
	CHECK(!r && wait(&status) > 0);
	t = seconds() - t;
	printf("%ld bytes, status %d, %s\n", at, status, t < 2 ? "in time" : "too late");
	return 0;
}
