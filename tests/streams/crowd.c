/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crowd KIND WAY CONNECTIONS BYTES MOST SEED: two processes send each other so many bytes by each of so many
 * connections, at random, at most MOST at once, and look at every byte; both wait by WAY. A wait of 10 s is too long.
 */
#include "ready.h"

enum way { POLL, SELECT, LEVEL, CHANGING, EDGE, ONE_SHOT, REMOVING, THREADS };

static const char *way_names[] = {"poll", "select", "level", "changing", "edge", "one-shot", "removing", "threads"};

enum { MOST_CONNECTIONS = 200, THREAD_COUNT = 3 };

static struct connection {
	int fd, number;
	long sent, received;
	int wants_out;
	pthread_mutex_t lock;
} all[MOST_CONNECTIONS];

static int count, set, side, left;
static long bytes;
static unsigned most, seed;
static enum way way;

static unsigned char byte_at(int number, int from, long at)
{
	return (unsigned char)((at * 7 + at / 251 + number * 31 + from * 101) & 0xff);
}

static unsigned next_random(void)
{
	static __thread unsigned state;

	if (!state)
		state = seed * 2654435761u + (unsigned)gettid();
	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return state;
}

static unsigned chunk(void)
{
	return 1 + (next_random() % 3 ? next_random() % (most / 10 + 1) : next_random() % most);
}

static int is_done(const struct connection *c)
{
	return c->sent == bytes && c->received == bytes;
}

static uint32_t wants(const struct connection *c)
{
	return (c->received < bytes ? EPOLLIN : 0) | (c->sent < bytes ? EPOLLOUT : 0);
}

/* 0: it would block. */
static int sends(struct connection *c)
{
	static __thread unsigned char much[300000];
	long n = (long)chunk();
	ssize_t r;

	if (c->sent == bytes)
		return 0;
	n = n < bytes - c->sent ? n : bytes - c->sent;
	for (long i = 0; i < n; i++)
		much[i] = byte_at(c->number, side, c->sent + i);
	r = write(c->fd, much, (size_t)n);
	if (r < 0) {
		CHECK(errno == EAGAIN);
		return 0;
	}
	c->sent += r;
	return 1;
}

static int receives(struct connection *c)
{
	static __thread unsigned char much[300000];
	ssize_t r;

	if (c->received == bytes)
		return 0;
	r = read(c->fd, much, chunk());
	if (r < 0) {
		CHECK(errno == EAGAIN);
		return 0;
	}
	CHECK(r > 0);
	for (long i = 0; i < r; i++)
		CHECK(much[i] == byte_at(c->number, !side, c->received + i));
	c->received += r;
	return 1;
}

static void stuck(const char *where)
{
	printf("side %d: stuck in %s\n", side, where);
	for (int i = 0; i < count; i++)
		printf("  %d: sent %ld, received %ld\n", i, all[i].sent, all[i].received);
	_exit(7);
}

static void act(struct connection *c, uint32_t events)
{
	if (events & EPOLLIN)
		receives(c);
	if (events & EPOLLOUT && next_random() % 4)
		sends(c);
}

static void by_poll(void)
{
	struct pollfd p[MOST_CONNECTIONS];

	while (left) {
		for (int i = 0; i < count; i++)
			p[i] = (struct pollfd){wants(&all[i]) ? all[i].fd : -1, (short)wants(&all[i]), 0};
		if (poll(p, (nfds_t)count, 10000) <= 0)
			stuck("poll");
		for (int i = 0; i < count; i++) {
			int was = is_done(&all[i]);

			act(&all[i], (uint32_t)p[i].revents);
			left -= !was && is_done(&all[i]);
		}
	}
}

static void by_select(void)
{
	while (left) {
		struct timeval t = {10, 0};
		fd_set r, w;

		FD_ZERO(&r);
		FD_ZERO(&w);
		for (int i = 0; i < count; i++) {
			if (wants(&all[i]) & EPOLLIN)
				FD_SET(all[i].fd, &r);
			if (wants(&all[i]) & EPOLLOUT)
				FD_SET(all[i].fd, &w);
		}
		if (select(1024, &r, &w, 0, &t) <= 0)
			stuck("select");
		for (int i = 0; i < count; i++) {
			int was = is_done(&all[i]);

			act(&all[i], (FD_ISSET(all[i].fd, &r) ? EPOLLIN : 0u) |
					     (FD_ISSET(all[i].fd, &w) ? EPOLLOUT : 0u));
			left -= !was && is_done(&all[i]);
		}
	}
}

static void control(int op, const struct connection *c, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.ptr = (void *)c};

	CHECK(!epoll_ctl(set, op, c->fd, &e));
}

static void handle(struct connection *c, uint32_t events)
{
	int was = is_done(c);

	switch (way) {
	case EDGE: /* until it would block, in both directions, since an edge may show one of them only */
		while (events & EPOLLIN && receives(c))
			;
		while (sends(c))
			;
		break;
	case CHANGING: /* as many servers do: to write is asked for when it is needed */
		if (events & EPOLLIN)
			receives(c);
		while (sends(c))
			;
		if (c->wants_out != (c->sent < bytes)) {
			c->wants_out = c->sent < bytes;
			control(EPOLL_CTL_MOD, c, EPOLLIN | (c->wants_out ? EPOLLOUT : 0u));
		}
		break;
	case REMOVING:
		act(c, events);
		control(EPOLL_CTL_DEL, c, 0);
		if (wants(c))
			control(EPOLL_CTL_ADD, c, wants(c));
		break;
	case ONE_SHOT:
	case THREADS:
		act(c, events);
		if (wants(c))
			control(EPOLL_CTL_MOD, c, wants(c) | EPOLLONESHOT);
		break;
	default:
		act(c, events);
		if (is_done(c) && !was)
			control(EPOLL_CTL_DEL, c, 0);
		else if (next_random() % 8 == 0 && !is_done(c))
			control(EPOLL_CTL_MOD, c, wants(c));
	}
	if (is_done(c) && !was)
		__atomic_sub_fetch(&left, 1, __ATOMIC_SEQ_CST);
}

static void *by_epoll(void *arg)
{
	struct epoll_event got[10];

	(void)arg;
	for (double since = seconds(); __atomic_load_n(&left, __ATOMIC_SEQ_CST);) {
		int n = epoll_wait(set, got, 1 + (int)(next_random() % 10), way == THREADS ? 100 : 10000);

		if (n <= 0 && (way != THREADS || seconds() - since > 10))
			stuck("epoll_wait");
		if (n > 0)
			since = seconds();
		for (int i = 0; i < n; i++) {
			struct connection *c = got[i].data.ptr;

			pthread_mutex_lock(&c->lock); /* for who was told just before by another thread */
			handle(c, got[i].events);
			pthread_mutex_unlock(&c->lock);
		}
	}
	return 0;
}

static void run(void)
{
	pthread_t threads[THREAD_COUNT];
	uint32_t first = way == EDGE ? EPOLLIN | EPOLLOUT | EPOLLET : way == CHANGING ? EPOLLIN : EPOLLIN | EPOLLOUT;

	left = count;
	if (way == POLL || way == SELECT) {
		if (way == POLL)
			by_poll();
		else
			by_select();
		return;
	}
	set = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 0; i < count; i++)
		control(EPOLL_CTL_ADD, &all[i], first | (way == ONE_SHOT || way == THREADS ? EPOLLONESHOT : 0));
	for (int i = 0; way == CHANGING && i < count; i++)
		handle(&all[i], 0);
	if (way != THREADS) {
		by_epoll(0);
		return;
	}
	for (int i = 0; i < THREAD_COUNT; i++)
		pthread_create(&threads[i], 0, by_epoll, 0);
	for (int i = 0; i < THREAD_COUNT; i++)
		pthread_join(threads[i], 0);
}

static void add_connection(int fd)
{
	struct connection *c = &all[count];

	CHECK(fd >= 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	*c = (struct connection){.fd = fd, .number = count};
	pthread_mutex_init(&c->lock, 0);
	count++;
}

int main(int argc, char **argv)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_storage a = {.ss_family = AF_UNIX};
	socklen_t len = sizeof(sa_family_t);
	int connections, l, status;
	char c;

	CHECK(argc == 7);
	for (way = 0; strcmp(way_names[way], argv[2]);)
		CHECK(++way <= THREADS);
	connections = atoi(argv[3]);
	bytes = atol(argv[4]);
	most = (unsigned)atoi(argv[5]);
	seed = (unsigned)atoi(argv[6]);
	if (!strcmp(argv[1], "tcp")) {
		memcpy(&a, &in, sizeof in);
		len = sizeof in;
	}
	l = socket(a.ss_family, SOCK_STREAM, 0);
	CHECK(!bind(l, (void *)&a, len) && !listen(l, MOST_CONNECTIONS));
	len = sizeof a;
	CHECK(!getsockname(l, (void *)&a, &len));
	side = !fork();
	for (int i = 0; i < connections; i++)
		if (side) {
			int fd = socket(a.ss_family, SOCK_STREAM, 0);

			CHECK(!connect(fd, (void *)&a, len));
			add_connection(fd);
			CHECK(write(fd, &c, 1) == 1); /* so that both count alike */
		} else {
			int fd = accept(l, 0, 0);

			CHECK(read(fd, &c, 1) == 1);
			add_connection(fd);
		}
	run();
	for (int i = 0; side && i < count; i++)
		shutdown(all[i].fd, SHUT_WR);
	for (int i = 0; i < count; i++) {
		fcntl(all[i].fd, F_SETFL, 0);
		CHECK(side || read(all[i].fd, &c, 1) == 0);
		close(all[i].fd);
	}
	if (side)
		return 0;
	CHECK(wait(&status) > 0);
	printf("%s by %s: %d connections, status %d\n", argv[1], argv[2], connections, status);
	return status != 0;
}
