/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One end holds both locks of both ways: stopped in the middle of a call, as a correct one may be, or for ever. The
 * other one is never kept from its signals, would rather not wait where it may not, and finds what was sent when the
 * first one goes on; it can close. One that runs on with the locks loses the connection.
 *
 *   locked pair|tcp|pipe stopped|closes|runs
 */
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "links.h"
#include "rings.h"

static int in, out;
static struct stream_ring *rings[2];
static int found;

static void on_alarm(int number)
{
	(void)number; /* it only interrupts */
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void hold(uint32_t who)
{
	for (int i = 0; i < found; i++)
		for (int way = 0; way < 2; way++) {
			rings[i]->ways[way].read_lock = who;
			rings[i]->ways[way].send_lock = who;
		}
}

static void bad_end(int is_stopped)
{
	char byte = 'x';

	for (int i = 0; i < 20; i++)
		must(read(in, &byte, 1) == 1 && write(out, &byte, 1) == 1, "play");
	found = find_rings(rings, 2);
	must(found, "there is no ring");
	usleep(50000); /* the other one sleeps, and is woken, and waits for the lock then */
	hold((uint32_t)getpid());
	if (!is_stopped)
		for (;;)
			hold((uint32_t)getpid());
	raise(SIGSTOP);
	hold(0);
	must(write(out, "abc", 3) == 3, "write");
	must(read(in, &byte, 1) == 1 && byte == 'y', "read");
	_exit(0);
}

/* What a call did that a signal comes to every 50 ms, or that may not wait. */
static void say(const char *what, int64_t r, double took, double most)
{
	printf("%s: %s, %s\n", what, r < 0 ? strerror(errno) : "done", took < most ? "in time" : "too late");
}

/* Who has been told to come again is told when, by whatever way he waits. */
static void waits_for_edges(void)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};
	int set = epoll_create1(0);
	char byte;

	must(!epoll_ctl(set, EPOLL_CTL_ADD, in, &event), "epoll_ctl");
	for (int i = 0; i < 2; i++) {
		must(epoll_wait(set, &event, 1, 1000) == 1, "an edge");
		must(read(in, &byte, 1) < 0 && errno == EAGAIN, "read");
	}
	close(set);
}

static void has_a_limit(void)
{
	const struct timeval limit = {0, 200000}, none = {0, 0};
	double t = seconds();
	char byte;
	ssize_t r;

	if (setsockopt(in, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit))
		return; /* a pipe has none */
	r = read(in, &byte, 1);
	must(r < 0 && errno == EAGAIN && seconds() - t < 10, "read with a limit");
	setsockopt(in, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof none);
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_handler = on_alarm};
	const struct itimerval soon = {{0, 50000}, {0, 50000}}, never = {{0, 0}, {0, 0}};
	char bytes[8];
	int status, is_stopped;
	pid_t other;
	double t;
	ssize_t r;

	must(argc > 2, "usage: locked KIND HOW");
	is_stopped = strcmp(argv[2], "runs") != 0;
	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGALRM, &sa, NULL);
	other = connected(argv[1], &in, &out);
	if (!other)
		bad_end(is_stopped);
	for (int i = 0; i < 20; i++)
		must(write(out, "x", 1) == 1 && read(in, bytes, 1) == 1, "play");
	found = find_rings(rings, 2);
	must(found, "there is no ring");
	while (!*(volatile uint32_t *)&rings[0]->ways[0].read_lock)
		usleep(1000);
	if (is_stopped)
		must(waitpid(other, &status, WUNTRACED) == other && WIFSTOPPED(status), "stop");
	if (!strcmp(argv[2], "closes")) {
		t = seconds();
		r = close(out);
		say("close", r, seconds() - t, 5);
		kill(other, SIGKILL);
		return 0;
	}
	/* Something is there, but who has the lock may be about to take it. */
	for (int i = 0; i < found; i++)
		for (int way = 0; way < 2; way++)
			rings[i]->ways[way].head--;
	setitimer(ITIMER_REAL, &soon, NULL);
	t = seconds();
	r = read(in, bytes, 1);
	say("read", r, seconds() - t, 10);
	setitimer(ITIMER_REAL, &soon, NULL);
	t = seconds();
	r = write(out, "y", 1);
	say("write", r, seconds() - t, 10);
	setitimer(ITIMER_REAL, &never, NULL);
	fcntl(in, F_SETFL, O_NONBLOCK);
	t = seconds();
	r = read(in, bytes, 1);
	say("read, without waiting", r, seconds() - t, 20);
	if (is_stopped)
		waits_for_edges();
	fcntl(in, F_SETFL, 0);
	if (is_stopped)
		has_a_limit();
	for (int i = 0; i < found; i++)
		for (int way = 0; way < 2; way++)
			rings[i]->ways[way].head++;
	if (is_stopped) {
		kill(other, SIGCONT);
		for (size_t n = 0; n < 3; n += (size_t)r)
			must((r = read(in, bytes + n, 3 - n)) > 0, "read");
		must(write(out, "y", 1) == 1, "write");
		printf("%.3s\n", bytes);
	} else {
		t = seconds();
		r = write(out, "y", 1);
		say("write", r, seconds() - t, 20);
		kill(other, SIGKILL);
	}
	waitpid(other, &status, 0);
	printf("status %x\n", status);
	fflush(stdout);
	return 0;
}
