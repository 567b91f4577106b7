/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two processes of which each sends more than a ring holds, and less than the kernel's buffers do, before it reads what
 * the other one has sent. Kind of the connection, how it waits for room, and how many bytes.
 */
#include "ready.h"

static uint8_t byte_at(size_t i, int of)
{
	return (uint8_t)(i * 7 + i / 251 + (size_t)of * 13);
}

static void wait_for_room(const char *how, int fd)
{
	struct pollfd p = {fd, POLLOUT, 0};
	struct epoll_event e = {.events = POLLOUT};
	fd_set w;
	int set;

	FD_ZERO(&w);
	FD_SET(fd, &w);
	if (!strcmp(how, "poll")) {
		CHECK(poll(&p, 1, -1) == 1);
	} else if (!strcmp(how, "select")) {
		CHECK(select(fd + 1, 0, &w, 0, 0) == 1);
	} else if (!strcmp(how, "looking")) {
		while (!poll(&p, 1, 0))
			usleep(1000);
	} else if (!strcmp(how, "epoll") || !strcmp(how, "edge") || !strcmp(how, "epoll-looking")) {
		int ms = strcmp(how, "epoll-looking") ? -1 : 0;

		e.events |= strcmp(how, "edge") ? 0 : EPOLLET;
		set = epoll_create1(0);
		CHECK(set >= 0 && !epoll_ctl(set, EPOLL_CTL_ADD, fd, &e));
		while (!epoll_wait(set, &e, 1, ms))
			usleep(1000);
		close(set);
	} else { /* tries again */
		usleep(1000);
	}
}

static void send_all(const char *how, int fd, size_t n, int of)
{
	static uint8_t bytes[50000];

	for (size_t done = 0; done < n;) {
		size_t part = n - done < sizeof bytes ? n - done : sizeof bytes;
		ssize_t r;

		for (size_t i = 0; i < part; i++)
			bytes[i] = byte_at(done + i, of);
		r = write(fd, bytes, part);
		if (r < 0)
			wait_for_room(how, fd);
		else
			done += (size_t)r;
	}
}

static int takes_all(int fd, size_t n, int of)
{
	static uint8_t bytes[30000];

	for (size_t done = 0; done < n;) {
		struct pollfd p = {fd, POLLIN, 0};
		ssize_t r = read(fd, bytes, n - done < sizeof bytes ? n - done : sizeof bytes);

		if (!r)
			return 0;
		if (r < 0)
			CHECK(poll(&p, 1, -1) == 1);
		for (ssize_t i = 0; i < r; i++, done++)
			if (bytes[i] != byte_at(done, of))
				return 0;
	}
	return 1;
}

int main(int argc, char **argv)
{
	size_t n = argc > 3 ? strtoul(argv[3], 0, 10) : 0;
	int fds[2], status;
	pid_t child;

	CHECK(argc == 4);
	make_pair(strcmp(argv[1], "tcp") ? PAIR : TCP, fds);
	if (!strcmp(argv[2], "blocking"))
		for (int i = 0; i < 2; i++)
			fcntl(fds[i], F_SETFL, 0);
	child = fork();
	for (int i = 0; i < 2; i++) {
		int of = !child;

		if (i)
			usleep(400000); /* nobody reads before both have sent all */
		else
			close(fds[!of]);
		if (!i)
			send_all(argv[2], fds[of], n, of);
		else
			CHECK(takes_all(fds[of], n, !of));
	}
	if (!child)
		return 0;
	CHECK(waitpid(child, &status, 0) == child);
	printf("status %d\n", status);
	return 0;
}
