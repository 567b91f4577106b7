/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One end writes garbage into the ring of its connection, and the other one goes on: whatever it gets, it neither dies
 * of it nor stays where a signal does not reach it.
 *
 *   vandal SEED
 */
#define _GNU_SOURCE

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rings.h"

static void on_alarm(int number)
{
	(void)number; /* it only interrupts */
}

static void must(int is_well, const char *what)
{
	if (is_well)
		return;
	perror(what);
	_exit(99);
}

/* Anything that a program may do with it; each call may wait, and is then interrupted. */
static void go_on(int fd)
{
	static char bytes[70000];
	struct sigaction sa = {.sa_handler = on_alarm};

	sigaction(SIGALRM, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < 12; i++) {
		ualarm(20000, 20000);
		if (i % 3 == 0)
			(void)!write(fd, bytes, sizeof bytes);
		else if (i % 3 == 1)
			(void)!read(fd, bytes, sizeof bytes);
		else
			recv(fd, bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT);
		ualarm(0, 0);
	}
	shutdown(fd, SHUT_WR);
	close(fd);
	_exit(0);
}

static void ruin(struct stream_ring *r)
{
	for (int i = 0; i < 2; i++) {
		r->ways[i].send_lock = (uint32_t)getpid();
		r->ways[i].read_lock = 0x7fffffff;
	}
	for (uint32_t *at = &r->joined; at < (uint32_t *)(r + 1); at++)
		if (rand() % 2)
			*at = rand() % 3 ? (uint32_t)rand() * 3u : (uint32_t)(rand() % 4);
}

int main(int argc, char **argv)
{
	struct stream_ring *ring;
	int pair[2], status, found;
	char byte = 1;
	pid_t other;

	must(argc > 1, "usage: vandal SEED");
	srand((unsigned)atoi(argv[1]));
	must(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "socketpair");
	other = fork();
	if (!other) {
		close(pair[0]);
		for (int i = 0; i < 12; i++)
			must(read(pair[1], &byte, 1) == 1 && write(pair[1], &byte, 1) == 1, "play");
		go_on(pair[1]);
	}
	close(pair[1]);
	for (int i = 0; i < 12; i++)
		must(write(pair[0], &byte, 1) == 1 && read(pair[0], &byte, 1) == 1, "play");
	found = find_rings(&ring, 1);
	for (int i = 0; found && waitpid(other, &status, WNOHANG) == 0 && i < 4000; i++) {
		ruin(ring);
		usleep(500);
		if (i == 3999) {
			printf("it hangs\n");
			kill(other, SIGKILL);
			waitpid(other, &status, 0);
		}
	}
	must(found, "there is no ring");
	if (WIFEXITED(status))
		printf("exit %d\n", WEXITSTATUS(status));
	else
		printf("signal %d\n", WTERMSIG(status));
	fflush(stdout);
	_exit(0);
}
