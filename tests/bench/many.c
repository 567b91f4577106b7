/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many connections of two processes, for streams.py. Printed is `NAME VALUE`: nanoseconds, but for `idle` and `memory`.
 *
 *	many requests CONNECTIONS SECONDS    each with a request of 64 bytes under way, epoll at both ends: one request
 *	many connect TRIPS SECONDS           connect, so many round trips of 64 bytes, close: one such connection
 *	many idle CONNECTIONS SECONDS        microseconds of CPU in a second of nothing to do, both ends together
 *	many memory CONNECTIONS              bytes of a connection, in use and after three seconds of nothing to do
 *	many cache CONNECTIONS SECONDS PORT  GET of 64 bytes from a memcached: one of them
 */
#define _GNU_SOURCE
#include "ends.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/resource.h>

enum { SIZE = 64, MOST = 1024, TRIPS = 10, KEY = 7 };

static const char *request = "", *answer = "";
static size_t request_size, answer_size;
static int all[MOST];

static int watch(int set, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
}

/* Until `connections` have come and gone. */
static void serve(const struct link *l, int connections)
{
	struct epoll_event events[64];
	int set = epoll_create1(0), gone = 0;
	char data[SIZE];

	if (set < 0 || watch(set, l->listener))
		die("epoll");
	while (gone < connections) {
		int n = epoll_wait(set, events, 64, -1);

		if (n < 0)
			die("epoll_wait");
		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;
			ssize_t got;

			if (fd == l->listener) {
				if (watch(set, link_accept(l)))
					die("epoll_ctl");
				continue;
			}
			got = read(fd, data, SIZE);
			if (got < 0)
				die("read");
			if (got)
				put_all(fd, data, got);
			else
				gone += !close(fd);
		}
	}
	_exit(0);
}

static pid_t begin(struct link *l, int connections)
{
	pid_t pid;

	*l = (struct link){.kind = "tcp"};
	link_listen(l, 512);
	pid = child();
	stay(!pid);
	if (!pid)
		serve(l, connections);
	return pid;
}

static void connect_all(const struct link *l, int connections)
{
	for (int i = 0; i < connections; i++)
		all[i] = link_connect(l);
}

static void round_trip(int fd)
{
	char back[512];

	put_all(fd, request, request_size);
	if (!take_all(fd, back, answer_size) || memcmp(answer, back, answer_size)) {
		fprintf(stderr, "many: that is not the answer\n");
		exit(1);
	}
}

static void end_all(int connections, pid_t pid)
{
	for (int i = 0; i < connections; i++)
		close(all[i]);
	if (pid)
		reap(pid);
}

/* One request of each connection is under way all the time. An answer comes in one piece. */
static uint64_t ask(int connections, double seconds)
{
	struct epoll_event events[64];
	int set = epoll_create1(0);
	uint64_t done = 0, start, until, now;
	char back[512];

	for (int i = 0; i < connections; i++) {
		for (int n = 0; n < TRIPS; n++)
			round_trip(all[i]);
		if (set < 0 || watch(set, all[i]))
			die("epoll");
	}
	for (int i = 0; i < connections; i++)
		put_all(all[i], request, request_size);
	start = now = now_ns();
	until = start + (uint64_t)(seconds * 1e9);
	while (now < until) {
		int n = epoll_wait(set, events, 64, 5000);

		if (n <= 0)
			die("epoll_wait");
		for (int i = 0; i < n; i++) {
			ssize_t got = read(events[i].data.fd, back, answer_size);

			if (got != (ssize_t)answer_size || memcmp(answer, back, answer_size)) {
				fprintf(stderr, "many: that is not the answer\n");
				exit(1);
			}
			put_all(events[i].data.fd, request, request_size);
		}
		done += n;
		now = now_ns();
	}
	for (int i = 0; i < connections; i++)
		if (!take_all(all[i], back, answer_size))
			die("the last answers");
	return (now - start) / done;
}

static void requests(int connections, double seconds)
{
	struct link l;
	pid_t pid = begin(&l, connections);

	connect_all(&l, connections);
	say("request", ask(connections, seconds));
	end_all(connections, pid);
}

static void connects(int trips, double seconds)
{
	struct link l = {.kind = "tcp"};
	pid_t pid;
	uint64_t start, until, done = 0;

	link_listen(&l, 512);
	pid = child();
	while (!pid) {
		int fd = link_accept(&l);
		char data[SIZE];

		while (take_all(fd, data, SIZE))
			put_all(fd, data, SIZE);
		close(fd);
	}
	start = now_ns();
	until = start + (uint64_t)(seconds * 1e9);
	do {
		int fd = link_connect(&l);

		for (int i = 0; i < trips; i++)
			round_trip(fd);
		close(fd);
		done++;
	} while (now_ns() < until);
	say("connect", (now_ns() - start) / done);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static uint64_t cpu_of(pid_t pid)
{
	struct timespec time;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &time))
		die("clock_getcpuclockid");
	return time.tv_sec * 1000000ull + time.tv_nsec / 1000;
}

/* `set` waits for connections that say nothing, as the server's does. */
static void idle(int connections, double seconds)
{
	struct link l;
	struct epoll_event event;
	pid_t pid = begin(&l, connections);
	int set = epoll_create1(0);
	uint64_t before;

	connect_all(&l, connections);
	for (int i = 0; i < connections; i++) {
		for (int n = 0; n < TRIPS; n++)
			round_trip(all[i]);
		watch(set, all[i]);
	}
	epoll_wait(set, &event, 1, 100); /* whoever still hopes for more */
	before = cpu_of(pid) + cpu_of(getpid());
	if (epoll_wait(set, &event, 1, (int)(seconds * 1000)))
		die("something came");
	say("idle", (cpu_of(pid) + cpu_of(getpid()) - before) / seconds);
	end_all(connections, pid);
}

/* A process's share of what it has mapped. */
static uint64_t memory_of(pid_t pid)
{
	char path[64], line[256];
	unsigned long long found = 0;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
	file = fopen(path, "r");
	if (!file)
		die(path);
	while (fgets(line, sizeof line, file) && sscanf(line, "Pss: %llu", &found) != 1)
		;
	fclose(file);
	return found * 1024;
}

/* Both ways of each connection carry 64 KiB and more before its memory is counted. */
static void memory(int connections)
{
	static char data[2048];
	struct timespec pause = {3, 0};
	struct link l;
	pid_t pid = begin(&l, connections);
	uint64_t before, first, after;

	all[0] = link_connect(&l);
	for (int n = 0; n < TRIPS; n++)
		round_trip(all[0]);
	before = memory_of(pid) + memory_of(getpid());
	for (int i = 0; i < connections; i++) {
		if (i)
			all[i] = link_connect(&l);
		for (int n = 0; n < 50; n++) {
			put_all(all[i], data, sizeof data);
			if (!take_all(all[i], data, sizeof data))
				die("the server left");
		}
	}
	first = memory_of(pid) + memory_of(getpid());
	nanosleep(&pause, NULL);
	after = memory_of(pid) + memory_of(getpid());
	say("memory", first > before ? (first - before) / (connections - 1) : 0);
	say("after", after > before ? (after - before) / (connections - 1) : 0);
	end_all(connections, pid);
}

static void cache(int connections, double seconds, int port)
{
	static char found[128], set[128];
	struct link l = {.kind = "tcp", .length = sizeof(struct sockaddr_in)};
	struct sockaddr_in *to = (struct sockaddr_in *)&l.address;

	to->sin_family = AF_INET;
	to->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	to->sin_port = htons(port);
	connect_all(&l, connections);
	request = set;
	request_size = snprintf(set, sizeof set, "set k 0 0 64\r\n%064d\r\n", KEY);
	answer = "STORED\r\n";
	answer_size = strlen(answer);
	round_trip(all[0]);
	request = "get k\r\n";
	request_size = strlen(request);
	answer = found;
	answer_size = snprintf(found, sizeof found, "VALUE k 0 64\r\n%064d\r\nEND\r\n", KEY);
	say("get", ask(connections, seconds));
	end_all(connections, 0);
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";
	int number = argc > 2 ? atoi(argv[2]) : 0;
	double seconds = argc > 3 ? atof(argv[3]) : 1;

	alarm(PATIENCE);
	if (number < 1 || number > MOST)
		return 2;
	request = answer = "0123456789012345678901234567890123456789012345678901234567890123";
	request_size = answer_size = SIZE;
	if (!strcmp(what, "requests"))
		requests(number, seconds);
	else if (!strcmp(what, "connect"))
		connects(number, seconds);
	else if (!strcmp(what, "idle"))
		idle(number, seconds);
	else if (!strcmp(what, "memory"))
		memory(number);
	else if (!strcmp(what, "cache") && argc == 5)
		cache(number, seconds, atoi(argv[4]));
	else
		return 2;
	return 0;
}
