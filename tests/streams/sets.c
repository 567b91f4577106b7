/* SPDX-License-Identifier: Apache-2.0 */
/* What epoll sets of connections do that no single wait tells: edges, one-shots, threads, sets in sets, forks. */
#include "ready.h"

static int set;

static void add(int fd, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.fd = fd};

	CHECK(!epoll_ctl(set, EPOLL_CTL_ADD, fd, &e));
}

static void modify(int fd, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.fd = fd};

	CHECK(!epoll_ctl(set, EPOLL_CTL_MOD, fd, &e));
}

static void show(const char *what, int ms)
{
	struct epoll_event got[8];
	int n;

	settle();
	n = epoll_wait(set, got, 8, ms);
	printf("%s: %d", what, n);
	for (int i = 0; i < n; i++)
		printf(" %s", words(got[i].events));
	puts("");
}

static void put(int fd)
{
	CHECK(write(fd, "x", 1) == 1);
	settle();
}

static void get(int fd)
{
	char c[100];

	CHECK(read(fd, c, 100) > 0);
}

static void edges(enum kind kind)
{
	int fds[2];

	make_pair(kind, fds);
	set = epoll_create1(EPOLL_CLOEXEC);
	add(fds[1], EPOLLIN | EPOLLET);
	show("edge, nothing", 0);
	put(fds[0]);
	show("edge, a byte", 1000);
	show("edge, the same", 0);
	put(fds[0]);
	show("edge, another", 1000);
	get(fds[1]);
	show("edge, read", 0);
	put(fds[0]);
	get(fds[1]);
	show("edge, read before", 0);
	put(fds[0]);
	show("edge, again", 1000);
	modify(fds[1], EPOLLIN | EPOLLET);
	show("edge, changed to the same", 0);
	show("edge, and no more", 0);
	modify(fds[1], EPOLLOUT | EPOLLET);
	show("edge, to write", 0);
	show("edge, no more", 0);
	fill(fds[1]);
	show("edge, full", 0);
	drain(fds[0]);
	show("edge, room", 1000);
	fill_from_file(fds[1]);
	show("edge, full of a file", 0);
	drain(fds[0]);
	show("edge, room", 1000);
	get(fds[1]);
	modify(fds[1], EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP);
	show("edge, both", 0);
	put(fds[0]);
	show("edge, a byte shows both", 1000);
	show("edge, once", 0);
	show("edge, for a while", 20);
	shutdown(fds[0], SHUT_WR);
	show("edge, its end", 1000);
	show("edge, its end once", 0);
	get(fds[1]);
	show("edge, no more", 0);
	close(fds[0]);
	show("edge, closed", kind == TCP ? 0 : 1000);
	close(fds[1]);
	show("all closed", 0);
	close(set);
}

static void one_shots(enum kind kind)
{
	int fds[2];

	make_pair(kind, fds);
	set = epoll_create1(EPOLL_CLOEXEC);
	add(fds[1], EPOLLIN | EPOLLONESHOT);
	show("one-shot, nothing", 0);
	put(fds[0]);
	show("one-shot, a byte", 1000);
	show("one-shot, once", 0);
	put(fds[0]);
	show("one-shot, whatever comes", 20);
	modify(fds[1], EPOLLIN | EPOLLONESHOT);
	show("one-shot, armed", 0);
	get(fds[1]);
	modify(fds[1], EPOLLIN | EPOLLONESHOT);
	show("one-shot, armed too early", 20);
	put(fds[0]);
	show("one-shot, now", 1000);
	shutdown(fds[0], SHUT_WR);
	show("one-shot, and not at its end", 20);
	modify(fds[1], EPOLLIN | EPOLLRDHUP | EPOLLONESHOT | EPOLLET);
	show("one-shot, armed for its end", 1000);
	show("one-shot, once", 0);
	close(fds[1]);
	close(fds[0]);
	close(set);
}

static void changes(enum kind kind)
{
	struct epoll_event got[4];
	int fds[2], two[2], n, other;

	make_pair(kind, fds);
	make_pair(kind, two);
	set = epoll_create1(EPOLL_CLOEXEC);
	add(fds[1], EPOLLIN);
	for (int i = 0; i < 3; i++) {
		CHECK(!epoll_ctl(set, EPOLL_CTL_DEL, fds[1], 0));
		add(fds[1], EPOLLOUT);
		show("out", 0);
		modify(fds[1], EPOLLIN | EPOLLOUT);
		show("in and out", 0);
		CHECK(!epoll_ctl(set, EPOLL_CTL_DEL, fds[1], 0));
		put(fds[0]);
		show("taken out", 0);
		add(fds[1], EPOLLIN);
		show("put in", 0);
		modify(fds[1], 0);
		show("nothing asked for", 0);
		modify(fds[1], EPOLLIN);
		get(fds[1]);
		show("in", 20);
	}
	add(two[1], EPOLLIN);
	put(fds[0]);
	put(two[0]);
	show("two", 0);
	n = epoll_wait(set, got, 1, 0);
	other = got[0].data.fd;
	n += epoll_wait(set, got, 1, 0);
	printf("one after the other: %d %s\n", n, other != got[0].data.fd ? "different" : "the same");
	get(fds[1]);
	show("one", 0);
	other = dup(two[1]);
	close(two[1]);
	show("by a number that is closed", 0);
	close(other);
	show("closed", 0);
	CHECK(!epoll_ctl(set, EPOLL_CTL_DEL, fds[1], 0));
	close(fds[1]);
	(void)!write(fds[0], "x", 1);
	show("nothing", 0);
	other = epoll_create1(EPOLL_CLOEXEC);
	CHECK(dup2(other, set) == set);
	close(two[0]);
	close(fds[0]);
	make_pair(kind, fds);
	add(fds[1], EPOLLIN);
	put(fds[0]);
	show("another set", 0);
	close(set);
	set = other;
	show("by its first number", 0);
	close(set);
	close(fds[0]);
	close(fds[1]);
}

/* Members that cannot be told apart by their data. */
static void alike(enum kind kind)
{
	struct epoll_event e = {.events = EPOLLIN}, got[4];
	int fds[2], two[2], pipes[2], n;

	make_pair(kind, fds);
	make_pair(kind, two);
	CHECK(!pipe(pipes));
	set = epoll_create1(EPOLL_CLOEXEC);
	CHECK(!epoll_ctl(set, EPOLL_CTL_ADD, fds[1], &e));
	put(fds[0]);
	CHECK(!epoll_ctl(set, EPOLL_CTL_ADD, pipes[0], &e));
	CHECK(!epoll_ctl(set, EPOLL_CTL_ADD, two[1], &e));
	n = epoll_wait(set, got, 4, 100);
	printf("alike: %d", n);
	put(pipes[1]);
	n = epoll_wait(set, got, 4, 100);
	printf(" %d", n);
	get(fds[1]);
	n = epoll_wait(set, got, 4, 100);
	printf(" %d", n);
	get(pipes[0]);
	n = epoll_wait(set, got, 4, 20);
	printf(" %d", n);
	put(two[0]);
	n = epoll_wait(set, got, 4, 100);
	printf(" %d\n", n);
	for (int i = 0; i < 2; i++) {
		close(fds[i]);
		close(two[i]);
		close(pipes[i]);
	}
	close(set);
}

static void nested(enum kind kind)
{
	struct epoll_event e = {.events = EPOLLIN};
	int fds[2], outer, inner;
	struct pollfd p;

	make_pair(kind, fds);
	inner = epoll_create1(EPOLL_CLOEXEC);
	outer = epoll_create1(EPOLL_CLOEXEC);
	e.data.fd = fds[1];
	CHECK(!epoll_ctl(inner, EPOLL_CTL_ADD, fds[1], &e));
	put(fds[0]);
	e.data.fd = inner;
	CHECK(!epoll_ctl(outer, EPOLL_CTL_ADD, inner, &e));
	set = outer;
	show("outer", 100);
	set = inner;
	show("inner", 100);
	get(fds[1]);
	set = outer;
	show("outer, read", 0);
	p = (struct pollfd){inner, POLLIN, 0};
	printf("polled: %d\n", poll(&p, 1, 0));
	put(fds[0]);
	printf("polled: %d\n", poll(&p, 1, 100));
	show("outer, again", 100);
	close(inner);
	close(outer);
	close(fds[0]);
	close(fds[1]);
	/* And one that was never more than polled. */
	make_pair(kind, fds);
	set = epoll_create1(EPOLL_CLOEXEC);
	add(fds[1], EPOLLIN);
	p.fd = set;
	printf("polled: %d", poll(&p, 1, 0));
	put(fds[0]);
	printf(" %d\n", poll(&p, 1, 100));
	show("and waited for", 100);
	close(set);
	close(fds[0]);
	close(fds[1]);
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

enum { WAITERS = 3 };

static int woken, shown;

static void *waiter(void *arg)
{
	struct epoll_event got;
	int n = epoll_wait(set, &got, 1, (int)(intptr_t)arg);

	__atomic_add_fetch(&woken, n == 1, __ATOMIC_SEQ_CST);
	if (n == 1)
		__atomic_store_n(&shown, got.events, __ATOMIC_SEQ_CST);
	return 0;
}

static void with_waiters(const char *what, int n, int ms, void (*act)(const int *fds), const int *fds)
{
	pthread_t threads[WAITERS];

	settle();
	woken = shown = 0;
	for (int i = 0; i < n; i++)
		pthread_create(&threads[i], 0, waiter, (void *)(intptr_t)ms);
	usleep(30000);
	act(fds);
	for (int i = 0; i < n; i++)
		pthread_join(threads[i], 0);
	printf("%s: %d %s\n", what, woken, words((uint32_t)shown));
}

static void act_put(const int *fds)
{
	put(fds[0]);
}

static void act_add(const int *fds)
{
	add(fds[1], EPOLLIN);
}

static void act_arm(const int *fds)
{
	modify(fds[1], EPOLLIN | EPOLLONESHOT);
}

static void act_write(const int *fds)
{
	modify(fds[1], EPOLLIN | EPOLLOUT);
}

static void act_close(const int *fds)
{
	close(fds[0]);
}

static void act_warm(const int *fds)
{
	char c[8];

	for (int i = 0; i < 6; i++) {
		CHECK(write(fds[1], "cde", 3) == 3 && read(fds[0], c, 8) == 3);
		if (i < 5)
			continue;
		CHECK(write(fds[0], "ab", 2) == 2);
	}
}

static void threads(enum kind kind)
{
	int fds[2];

	make_pair(kind, fds);
	set = epoll_create1(EPOLL_CLOEXEC);
	add(fds[1], EPOLLIN);
	with_waiters("a thread", 1, 5000, act_put, fds);
	get(fds[1]);
	with_waiters("threads, level", WAITERS, 5000, act_put, fds);
	get(fds[1]);
	modify(fds[1], EPOLLIN | EPOLLET);
	with_waiters("threads, edge", WAITERS, 300, act_put, fds);
	get(fds[1]);
	modify(fds[1], EPOLLIN | EPOLLONESHOT);
	with_waiters("threads, one-shot", WAITERS, 300, act_put, fds);
	with_waiters("armed meanwhile", 1, 5000, act_arm, fds);
	get(fds[1]);
	with_waiters("armed meanwhile, with nothing", 1, 50, act_arm, fds);
	with_waiters("changed meanwhile", 1, 5000, act_write, fds);
	CHECK(!epoll_ctl(set, EPOLL_CTL_DEL, fds[1], 0));
	put(fds[0]);
	with_waiters("added meanwhile", 1, 5000, act_add, fds);
	get(fds[1]);
	with_waiters("closed meanwhile", 1, 5000, act_close, fds);
	close(fds[1]);
	/* One that has no ring yet when the wait begins. */
	if (kind == TCP)
		tcp_pair(fds);
	else
		CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
	add(fds[1], EPOLLIN);
	with_waiters("young", 1, 5000, act_warm, fds);
	close(fds[0]);
	close(fds[1]);
	close(set);
}

static void *poller(void *arg)
{
	struct pollfd p = {*(int *)arg, POLLIN, 0};

	woken = poll(&p, 1, 5000);
	shown = p.revents;
	return 0;
}

static void young_poll(enum kind kind)
{
	pthread_t t;
	int fds[2];

	if (kind == TCP)
		tcp_pair(fds);
	else
		CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
	pthread_create(&t, 0, poller, &fds[1]);
	usleep(30000);
	act_warm(fds);
	pthread_join(t, 0);
	printf("young, polled: %d %s\n", woken, words((uint32_t)shown));
	close(fds[0]);
	close(fds[1]);
}

/* ---- processes --------------------------------------------------------------------------------------------------- */

static void forks(enum kind kind)
{
	int fds[2], status, orders[2];
	char c;

	make_pair(kind, fds);
	CHECK(!pipe(orders));
	set = epoll_create1(0);
	add(fds[1], EPOLLIN);
	fflush(stdout);
	if (!fork()) {
		CHECK(read(orders[0], &c, 1) == 1);
		show("the child", 5000);
		get(fds[1]);
		show("the child, read", 20);
		exit(0);
	}
	put(fds[0]);
	show("the parent", 5000);
	fflush(stdout);
	CHECK(write(orders[1], "x", 1) == 1);
	wait(&status);
	show("the parent, read by its child", 20);
	put(fds[0]);
	show("the parent, again", 5000);
	get(fds[1]);
	fflush(stdout);
	if (!fork()) {
		usleep(30000);
		put(fds[0]);
		exit(0);
	}
	show("sent by a child", 5000);
	wait(&status);
	get(fds[1]);
	show("read", 20);
	close(set);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	for (enum kind kind = 0; kind < KINDS; kind++) {
		printf("==== %s\n", kind_names[kind]);
		edges(kind);
		one_shots(kind);
		changes(kind);
		alike(kind);
		nested(kind);
		threads(kind);
		young_poll(kind);
		forks(kind);
	}
	return 0;
}
