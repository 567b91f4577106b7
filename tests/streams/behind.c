/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is sent to an end that sleeps and was stopped: as much as fits into the ring, and more by the kernel again, all
 * before it wakes. It reads them in that order.
 *
 *   behind pair|pipe
 */
#define _GNU_SOURCE

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rings.h"

enum { LINE = 8, AT_ONCE = 750, MOST = 20000, PATIENCE = 400 };

static void must(int is_well, const char *what)
{
	if (is_well)
		return;
	perror(what);
	_exit(99);
}

static void reads(int in, int out)
{
	static char data[3000];
	long next = 0, have = 0, r;
	char byte;

	for (int i = 0; i < 20; i++)
		must(read(in, &byte, 1) == 1 && write(out, &byte, 1) == 1, "play");
	while ((r = read(in, data + have, sizeof data - (size_t)have)) > 0) {
		long at = 0;

		for (have += r; have - at >= LINE; at += LINE, next++)
			if (atol(data + at) != next) {
				printf("%.7s in place of %ld\n", data + at, next);
				fflush(stdout);
				_exit(1);
			}
		memmove(data, data + at, (size_t)(have -= at));
	}
	say_rings(1);
	_exit(0);
}

int main(int argc, char **argv)
{
	int there[2], back[2], status, in, out, number = 0, full = 0;
	char byte = 'x', line[LINE + 1], lines[AT_ONCE * LINE + 1];
	pid_t child;

	must(argc > 1, "usage: behind KIND");
	if (!strcmp(argv[1], "pair"))
		must(!socketpair(AF_UNIX, SOCK_STREAM, 0, there), "socketpair");
	else
		must(!pipe(there) && !pipe(back), "pipe");
	child = fork();
	if (!strcmp(argv[1], "pair")) {
		in = out = there[!!child];
		close(there[!child]);
	} else {
		in = child ? back[0] : there[0];
		out = child ? there[1] : back[1];
		close(child ? there[0] : back[0]);
		close(child ? back[1] : there[1]);
	}
	if (!child)
		reads(in, out);
	for (int i = 0; i < 20; i++)
		must(write(out, &byte, 1) == 1 && read(in, &byte, 1) == 1, "play");
	usleep(30000); /* it sleeps now */
	kill(child, SIGSTOP);
	must(waitpid(child, &status, WUNTRACED) == child, "stop");
	fcntl(out, F_SETFL, O_NONBLOCK);
	while (number < MOST && full < PATIENCE) {
		/* The first one is short, the second one is for the ring. */
		int n = number == 1 ? AT_ONCE : 1;

		for (int i = 0; i < n; i++)
			snprintf(lines + i * LINE, LINE + 1, "%07d\n", number + i);
		if (write(out, lines, (size_t)n * LINE) == n * LINE) {
			number += n;
		} else {
			full++;
			usleep(1000);
		}
	}
	kill(child, SIGCONT);
	fcntl(out, F_SETFL, 0);
	for (int end = number + 1000; number < end; number++) {
		snprintf(line, sizeof line, "%07d\n", number);
		must(write(out, line, LINE) == LINE, "write");
	}
	close(in);
	close(out);
	waitpid(child, &status, 0);
	say_rings(0);
	printf("status %d\n", status);
	return 0;
}
