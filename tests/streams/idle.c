/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections that carried a lot and then say nothing: how much memory of their rings is in use, and whether all is
 * still as it should be when they speak again. The server waits by epoll or poll, for ever.
 *
 *   idle epoll|poll CONNECTIONS
 */
#define _GNU_SOURCE

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "rings.h"

enum { MOST = 64, SIZE = 5000, TURNS = 40, PATIENCE = 100 }; /* so much at a time goes by no socket */

static int ends[MOST], n;

static void must(int is_well, const char *what)
{
	if (is_well)
		return;
	perror(what);
	_exit(99);
}

static void move(ssize_t (*by)(int, void *, size_t), int fd, char *data)
{
	for (size_t done = 0; done < SIZE;) {
		ssize_t r = by(fd, data + done, SIZE - done);

		must(r > 0, "move");
		done += (size_t)r;
	}
}

static ssize_t put(int fd, void *data, size_t size)
{
	return write(fd, data, size);
}

static void serve(const char *how)
{
	struct pollfd p[MOST];
	struct epoll_event e;
	int set = epoll_create1(0), ended = 0;
	char data[SIZE];

	for (int i = 0; i < n; i++) {
		p[i] = (struct pollfd){ends[i], POLLIN, 0};
		e = (struct epoll_event){.events = EPOLLIN, .data.fd = i};
		must(!epoll_ctl(set, EPOLL_CTL_ADD, ends[i], &e), "epoll_ctl");
	}
	if (*how == 'p')
		close(set);
	while (ended < n) {
		int i = 0;

		if (*how == 'e') {
			must(epoll_wait(set, &e, 1, -1) == 1, "epoll_wait");
			i = e.data.fd;
		} else {
			must(poll(p, (nfds_t)n, -1) > 0, "poll");
			while (!p[i].revents)
				i++;
		}
		if (recv(ends[i], data, 1, MSG_PEEK) == 1) {
			move(read, ends[i], data);
			move(put, ends[i], data);
		} else {
			close(ends[i]);
			p[i].fd = -1;
			ended++;
		}
	}
	_exit(0);
}

static void talk(char seed)
{
	char data[SIZE], back[SIZE];

	for (int turn = 0; turn < TURNS; turn++)
		for (int i = 0; i < n; i++) {
			memset(data, seed + turn % 20, SIZE);
			move(put, ends[i], data);
			move(read, ends[i], back);
			must(!memcmp(data, back, SIZE), "what came back");
		}
}

/* KiB of the rings that are in memory, of this process: of nobody's if they were given back. */
static long in_use(void)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	char line[512];
	long sum = 0, kib;
	int is_ring = 0;

	while (fgets(line, sizeof line, f)) {
		if (line[0] < 'A' || line[0] > 'Z')
			is_ring = strstr(line, "/lsca-stream-") != NULL;
		else if (is_ring && sscanf(line, "Rss: %ld", &kib) == 1)
			sum += kib;
	}
	fclose(f);
	return sum;
}

int main(int argc, char **argv)
{
	int pair[2], status;
	long busy, idle;
	struct stream_ring *rings[MOST];

	must(argc > 2, "usage: idle HOW CONNECTIONS");
	n = atoi(argv[2]);
	for (int i = 0; i < n; i++) {
		must(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "socketpair");
		ends[i] = pair[0];
		ends[MOST - 1 - i] = pair[1];
	}
	if (!fork()) {
		for (int i = 0; i < n; i++) {
			close(ends[i]);
			ends[i] = ends[MOST - 1 - i];
		}
		serve(argv[1]);
	}
	for (int i = 0; i < n; i++)
		close(ends[MOST - 1 - i]);
	talk('a');
	busy = in_use();
	/* Each look is one second after the one before: it is given back by the third one. */
	for (int i = 0; i < PATIENCE && (idle = in_use()) > 8L * n; i++)
		nanosleep(&(struct timespec){0, 100000000}, NULL);
	talk('A');
	fprintf(stderr, "rings %d\nbusy %ld\nidle %ld\n", find_rings(rings, MOST), busy / n, idle / n);
	for (int i = 0; i < n; i++)
		close(ends[i]);
	wait(&status);
	printf("status %d\n", status);
	return 0;
}
