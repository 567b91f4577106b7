/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two blocking processes with a connection, for streams.py; the link is tcp, unix, socketpair or pipe. Printed is
 * `NAME NANOSECONDS`. Each end is on a CPU of its own if it may use two,
 * but for the four pairs.
 *
 *	pair echo LINK SECONDS          the median of round trips of 64 bytes
 *	pair mean LINK SECONDS          their mean; with somebody else about, a median tells nothing
 *	pair busy LINK SECONDS          the same, and a third process wants the CPU all the time
 *	pair idle LINK SECONDS          the same, and the process that answers is SCHED_IDLE
 *	pair sparse LINK SECONDS        a message a millisecond: round trips, p50 and p99
 *	pair chunks LINK SECONDS SIZE   one way, for each chunk
 *	pair four LINK SECONDS          four such pairs at a time: a round trip of one of them
 *	pair eight LINK SECONDS         eight of them
 *	pair count LINK ROUNDTRIPS      so many round trips: for who counts system calls
 *	pair kill LINK TIMES            from SIGKILL for one end to the other one's end of file, the median
 *	pair stop LINK TIMES            from SIGCONT for one end, which was stopped, to its answer, the median
 *	pair spin tcp SECONDS           as echo, by two processes that never sleep
 *	pair sockmap tcp SECONDS        as echo, by two sockets of a sockmap
 */
#define _GNU_SOURCE
#include "sockmap.h"

#include <sys/mman.h>

enum { SIZE = 64, WARM = 200, MOST = 200000, LARGE = 65536, AFTER = 10 };

static uint64_t times[MOST];
static int is_placed = 1; /* each end on a CPU of its own, if there are two */
static int is_idle;       /* who answers runs when nobody else wants to */
static int is_mapped;

static void serve(struct end e)
{
	char data[SIZE];

	while (take_all(e.in, data, SIZE))
		put_all(e.out, data, SIZE);
	_exit(0);
}

static uint64_t round_trip(struct end e, int number)
{
	char sent[SIZE], back[SIZE];
	uint64_t start = now_ns();

	memset(sent, 'a' + number % 26, SIZE);
	put_all(e.out, sent, SIZE);
	if (!take_all(e.in, back, SIZE) || memcmp(sent, back, SIZE)) {
		fprintf(stderr, "pair: message %d did not come back as it was\n", number);
		exit(1);
	}
	return now_ns() - start;
}

static struct end begin(const char *kind, pid_t *pid)
{
	struct link l = link_make(kind);
	struct sched_param none = {0};
	struct end e;
	int ready[2], map = is_mapped ? sockmap_make(ntohs(((struct sockaddr_in *)&l.address)->sin_port)) : -1;

	if (is_mapped && pipe(ready))
		die("pipe");
	*pid = child();
	if (is_placed)
		stay(!*pid);
	if (!*pid && is_idle && sched_setscheduler(0, SCHED_IDLE, &none))
		die("sched_setscheduler");
	e = *pid ? link_near(&l) : link_far(&l);
	if (is_mapped) { /* the first message needs both in the map */
		sockmap_add(map, *pid ? CLIENT : SERVER, e.in);
		if (*pid ? read(ready[0], &map, 1) != 1 : write(ready[1], "", 1) != 1)
			die("the other one is not ready");
	}
	if (!*pid)
		serve(e);
	return e;
}

static void echo(const char *kind, double seconds, int is_mean)
{
	pid_t pid;
	struct end e = begin(kind, &pid);
	int count = 0;
	uint64_t start, until;

	for (int i = 0; i < WARM; i++)
		round_trip(e, i);
	start = now_ns();
	until = start + (uint64_t)(seconds * 1e9);
	do
		{ times[count] = round_trip(e, count); count++; }
	while (count < MOST && (count < 20 || now_ns() < until));
	say("echo", is_mean ? (now_ns() - start) / count : percentile(times, count, 50));
	end_close(e);
	reap(pid);
}

static void busy(const char *kind, double seconds)
{
	volatile int on = 1;
	pid_t pid = child();

	if (!pid)
		while (on)
			;
	echo(kind, seconds, 1);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void sparse(const char *kind, double seconds)
{
	pid_t pid;
	struct end e = begin(kind, &pid);
	int count = 0;
	struct timespec at;

	for (int i = 0; i < WARM; i++)
		round_trip(e, i);
	clock_gettime(CLOCK_MONOTONIC, &at);
	while (count < MOST && count < seconds * 1000) {
		at.tv_nsec += 1000000;
		if (at.tv_nsec >= 1000000000) {
			at.tv_nsec -= 1000000000;
			at.tv_sec++;
		}
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
		{ times[count] = round_trip(e, count); count++; }
	}
	say("p50", percentile(times, count, 50));
	say("p99", percentile(times, count, 99));
	end_close(e);
	reap(pid);
}

/* Until all of it has been read. */
static void chunks(const char *kind, double seconds, size_t size)
{
	static char data[LARGE];
	struct link l = link_make(kind);
	pid_t pid = child();
	struct end e;
	uint64_t start, until, count = 0;

	stay(!pid);
	if (!pid) {
		e = link_far(&l);
		while (read(e.in, data, size) > 0)
			;
		_exit(0);
	}
	e = link_near(&l);
	for (int i = 0; i < WARM; i++)
		put_all(e.out, data, size);
	start = now_ns();
	until = start + (uint64_t)(seconds * 1e9);
	do
		for (int i = 0; i < 16; i++, count++)
			put_all(e.out, data, size);
	while (now_ns() < until);
	end_close(e);
	reap(pid);
	say("chunk", (now_ns() - start) / count);
}

static void many_pairs(const char *kind, double seconds, int pairs, const char *name)
{
	uint64_t *counts = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), all = 0;
	pid_t pids[16];

	is_placed = 0;
	for (int i = 0; i < pairs; i++) {
		pids[i] = child();
		if (!pids[i]) {
			pid_t pid;
			struct end e = begin(kind, &pid);
			uint64_t until;

			for (int n = 0; n < WARM; n++)
				round_trip(e, n);
			until = now_ns() + (uint64_t)(seconds * 1e9);
			while (now_ns() < until)
				round_trip(e, counts[i]++);
			end_close(e);
			reap(pid);
			_exit(0);
		}
	}
	for (int i = 0; i < pairs; i++) {
		reap(pids[i]);
		all += counts[i];
	}
	say(name, seconds * 1e9 * pairs / all);
}

static void count(const char *kind, int round_trips)
{
	pid_t pid;
	struct end e = begin(kind, &pid);

	for (int i = 0; i < WARM + round_trips; i++)
		round_trip(e, i);
	end_close(e);
	reap(pid);
}

static void killed(const char *kind, int most)
{
	uint64_t *killed_at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	for (int i = 0; i < most; i++) {
		struct timespec pause = {0, AFTER * 1000000};
		struct end e;
		pid_t pid, killer;
		char byte;

		e = begin(kind, &pid);
		for (int n = 0; n < WARM; n++)
			round_trip(e, n);
		killer = child();
		if (!killer) {
			end_close(e);
			nanosleep(&pause, NULL);
			*killed_at = now_ns();
			kill(pid, SIGKILL);
			_exit(0);
		}
		if (read(e.in, &byte, 1) > 0)
			die("more came");
		times[i] = now_ns() - *killed_at;
		end_close(e);
		reap(killer);
		waitpid(pid, NULL, 0);
	}
	say("kill", percentile(times, most, 50));
}

/* It is stopped when its message comes. */
static void stopped(const char *kind, int most)
{
	uint64_t *gone_on_at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct timespec pause = {0, AFTER * 1000000};
	char data[SIZE] = "";
	pid_t pid, waker;
	struct end e = begin(kind, &pid);
	int status;

	for (int i = 0; i < most; i++) {
		for (int n = 0; n < WARM; n++)
			round_trip(e, n);
		kill(pid, SIGSTOP);
		if (waitpid(pid, &status, WUNTRACED) != pid || !WIFSTOPPED(status))
			die("it does not stop");
		waker = child();
		if (!waker) {
			nanosleep(&pause, NULL);
			*gone_on_at = now_ns();
			kill(pid, SIGCONT);
			_exit(0);
		}
		put_all(e.out, data, SIZE);
		if (!take_all(e.in, data, SIZE))
			die("it has gone");
		times[i] = now_ns() - *gone_on_at;
		reap(waker);
	}
	end_close(e);
	reap(pid);
	say("stop", percentile(times, most, 50));
}

int main(int argc, char **argv)
{
	const char *what = argc > 3 ? argv[1] : "";
	double seconds = argc > 3 ? atof(argv[3]) : 0;

	alarm(PATIENCE);
	signal(SIGPIPE, SIG_IGN);
	is_idle = !strcmp(what, "idle");
	is_spinning = !strcmp(what, "spin");
	is_mapped = !strcmp(what, "sockmap");
	if (!strcmp(what, "echo") || !strcmp(what, "mean") || is_idle || is_spinning || is_mapped)
		echo(argv[2], seconds, *what == 'm' || is_idle);
	else if (!strcmp(what, "busy"))
		busy(argv[2], seconds);
	else if (!strcmp(what, "sparse"))
		sparse(argv[2], seconds);
	else if (!strcmp(what, "chunks") && argc == 5)
		chunks(argv[2], seconds, atoi(argv[4]) < LARGE ? atoi(argv[4]) : LARGE);
	else if (!strcmp(what, "four"))
		many_pairs(argv[2], seconds, 4, what);
	else if (!strcmp(what, "eight"))
		many_pairs(argv[2], seconds, 8, what);
	else if (!strcmp(what, "stop"))
		stopped(argv[2], seconds);
	else if (!strcmp(what, "count"))
		count(argv[2], seconds);
	else if (!strcmp(what, "kill"))
		killed(argv[2], seconds);
	else
		return 2;
	return 0;
}
