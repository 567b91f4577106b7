/* SPDX-License-Identifier: Apache-2.0 */
/* Says what poll, select and epoll say of a connection in each state that it can be in; one thread holds both ends. */
#include "ready.h"

static void show_select(int fd, const char *what)
{
	fd_set r, w, x;
	struct timeval none = {0, 0};
	struct timespec nothing = {0, 0};
	int n, in, out, ex;

	FD_ZERO(&r);
	FD_SET(fd, &r);
	w = x = r;
	n = select(fd + 1, &r, &w, &x, &none);
	in = FD_ISSET(fd, &r), out = FD_ISSET(fd, &w), ex = FD_ISSET(fd, &x);
	printf("  %s select %d: %d %d %d", what, n, in, out, ex);
	FD_ZERO(&r);
	FD_SET(fd, &r);
	n = pselect(fd + 1, &r, 0, 0, &nothing, 0);
	printf(", to read %d", n);
	FD_ZERO(&w);
	FD_SET(fd, &w);
	printf(", to write %d\n", select(fd + 1, 0, &w, 0, &none));
}

static void show_epoll(int fd, const char *what, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.u64 = 0x1234567890ull + (unsigned)fd}, got[4];
	int set = epoll_create1(0), n;

	CHECK(!epoll_ctl(set, EPOLL_CTL_ADD, fd, &e));
	printf("  %s epoll %s%s:", what, words(events & 0xffff), events & EPOLLET ? " edge" : "");
	for (int i = 0; i < 2; i++) {
		n = epoll_wait(set, got, 4, 0);
		printf(" %d %s%s", n, n > 0 ? words(got[0].events) : "",
		       n > 0 && got[0].data.u64 != e.data.u64 ? "?" : "");
	}
	puts("");
	close(set);
}

static void show(const int *fds, const char *what)
{
	static const short asked[] = {POLLIN, POLLOUT, POLLIN | POLLOUT | POLLRDHUP | POLLPRI, 0, POLLRDHUP,
				      POLLRDNORM | POLLWRNORM | POLLWRBAND | POLLRDBAND};

	settle();
	printf("%s\n", what);
	for (int end = 0; end < 2; end++) {
		const char *name = end ? "b" : "a";

		if (fds[end] < 0)
			continue;
		for (unsigned i = 0; i < sizeof asked / sizeof *asked; i++) {
			struct pollfd p = {fds[end], asked[i], 0};
			struct timespec none = {0, 0};
			int n = i % 2 ? ppoll(&p, 1, &none, 0) : poll(&p, 1, 0);

			printf("  %s poll %s: %d %s\n", name, words((unsigned short)asked[i]), n,
			       words((unsigned short)p.revents));
		}
		show_select(fds[end], name);
		show_epoll(fds[end], name, EPOLLIN);
		show_epoll(fds[end], name, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
		show_epoll(fds[end], name, EPOLLIN | EPOLLOUT | EPOLLET);
		show_epoll(fds[end], name, EPOLLOUT | EPOLLONESHOT);
		show_epoll(fds[end], name, EPOLLRDHUP | EPOLLET);
	}
}

static void states(enum kind kind)
{
	char c[100];
	int fds[2], again;

	make_pair(kind, fds);
	show(fds, "idle");
	CHECK(write(fds[0], "hello", 5) == 5);
	show(fds, "five bytes for b");
	CHECK(read(fds[1], c, 2) == 2);
	show(fds, "three left");
	CHECK(recv(fds[1], c, 9, MSG_PEEK) == 3 && read(fds[1], c, 9) == 3);
	show(fds, "none left");
	fill(fds[0]);
	show(fds, "a is full");
	drain(fds[1]);
	show(fds, "drained");
	fill(fds[1]);
	show(fds, "b is full");
	drain(fds[0]);
	CHECK(write(fds[0], "x", 1) == 1);
	again = dup(fds[1]);
	close(fds[1]);
	fds[1] = again;
	show(fds, "b by another number");
	CHECK(write(fds[0], "yz", 2) == 2);
	CHECK(!shutdown(fds[0], SHUT_WR));
	show(fds, "a sends no more, and three bytes are left");
	CHECK(read(fds[1], c, 9) == 3);
	show(fds, "all is read");
	CHECK(read(fds[1], c, 9) == 0);
	CHECK(write(fds[1], "back", 4) == 4);
	show(fds, "b has answered");
	close(fds[1]);
	fds[1] = -1;
	show(fds, "b is closed");
	CHECK(read(fds[0], c, 9) == 4);
	show(fds, "its answer is read");
	close(fds[0]);

	make_pair(kind, fds);
	CHECK(write(fds[0], "unread", 6) == 6);
	close(fds[1]);
	fds[1] = -1;
	show(fds, "b is closed with bytes that it has not read");
	close(fds[0]);

	make_pair(kind, fds);
	CHECK(!shutdown(fds[1], SHUT_RD));
	show(fds, "b reads no more");
	CHECK(!shutdown(fds[1], SHUT_RDWR));
	show(fds, "and does not write either");
	close(fds[0]);
	fds[0] = -1;
	show(fds, "a is closed");
	close(fds[1]);
}

static void wrong_numbers(enum kind kind)
{
	struct epoll_event e = {.events = EPOLLIN}, got[2];
	struct pollfd p[4];
	struct timeval none = {0, 0}, bad = {-1, 0};
	struct timespec odd = {0, 1000000000};
	int fds[2], set = epoll_create(1), n;
	fd_set r;

	make_pair(kind, fds);
	CHECK(write(fds[0], "x", 1) == 1);
	settle();
	p[0] = (struct pollfd){fds[1], POLLIN, 0};
	p[1] = (struct pollfd){777, POLLIN, 0};
	p[2] = (struct pollfd){-5, POLLIN, 77};
	p[3] = p[0];
	n = poll(p, 4, -1);
	printf("closed ones: %d %s %s %s %s\n", n, words(p[0].revents), words(p[1].revents), words(p[2].revents),
	       words(p[3].revents));
	FD_ZERO(&r);
	FD_SET(fds[1], &r);
	FD_SET(fds[1] + 9, &r);
	n = select(fds[1] + 10, &r, 0, 0, &none);
	printf("select of one: %d %d\n", n, n < 0 ? errno : 0);
	n = select(-1, &r, 0, 0, &none);
	printf("select of none: %d %d\n", n, errno);
	FD_ZERO(&r);
	FD_SET(fds[1], &r);
	n = select(fds[1] + 1, &r, 0, 0, &bad);
	printf("no time: %d %d\n", n, errno);
	n = ppoll(p, 1, &odd, 0);
	printf("no time: %d %d\n", n, errno);
	n = (int)syscall(SYS_poll, (void *)8, 2, 0);
	printf("no memory: %d %d\n", n, errno);
	n = (int)syscall(SYS_select, fds[1] + 1, (void *)8, 0, 0, &none);
	printf("no memory: %d %d\n", n, errno);
	n = (int)syscall(SYS_poll, p, 1u << 30, 0);
	printf("too many: %d %d\n", n, errno);
	n = epoll_ctl(set, EPOLL_CTL_MOD, fds[1], &e);
	printf("MOD of none: %d %d\n", n, errno);
	n = epoll_ctl(set, EPOLL_CTL_DEL, fds[1], &e);
	printf("DEL of none: %d %d\n", n, errno);
	CHECK(!epoll_ctl(set, EPOLL_CTL_ADD, fds[1], &e));
	n = epoll_ctl(set, EPOLL_CTL_ADD, fds[1], &e);
	printf("ADD twice: %d %d\n", n, errno);
	CHECK(!epoll_ctl(set, EPOLL_CTL_DEL, fds[1], 0));
	n = epoll_ctl(set, EPOLL_CTL_DEL, fds[1], 0);
	printf("DEL twice: %d %d\n", n, errno);
	n = epoll_ctl(set, EPOLL_CTL_MOD, fds[1], &e);
	printf("MOD of a former one: %d %d\n", n, errno);
	n = epoll_wait(set, got, 2, 0);
	printf("of what is gone: %d\n", n);
	CHECK(!epoll_ctl(set, EPOLL_CTL_ADD, fds[1], &e));
	n = epoll_wait(set, got, 2, 0);
	printf("back again: %d %s\n", n, words(got[0].events));
	n = epoll_wait(set, got, 0, 0);
	printf("room for none: %d %d\n", n, errno);
	n = epoll_wait(set, (void *)8, 2, 0);
	printf("no memory: %d %d\n", n, errno);
	n = epoll_wait(fds[0], got, 2, 0);
	printf("not a set: %d %d\n", n, errno);
	n = epoll_ctl(set, EPOLL_CTL_ADD, 777, &e);
	printf("ADD of nothing: %d %d\n", n, errno);
	n = epoll_ctl(set, 9, fds[0], &e);
	printf("what: %d %d\n", n, errno);
	n = epoll_ctl(set, EPOLL_CTL_ADD, set, &e);
	printf("itself: %d %d\n", n, errno);
	close(fds[1]);
	n = epoll_wait(set, got, 2, 0);
	printf("closed: %d\n", n);
	close(fds[0]);
	close(set);
}

int main(void)
{
	for (int kind = 0; kind < KINDS; kind++) {
		printf("==== %s\n", kind_names[kind]);
		states(kind);
		wrong_numbers(kind);
	}
	return 0;
}
