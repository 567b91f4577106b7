/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Works without end, in three processes and some threads, until it is killed or a call fails: files, pipes, sockets,
 * forks, blocked reads. What the tests kill.
 */
#include "check.h"

#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

static void *stuck(void *argument)
{
	char byte;
	int p[2];

	MUST(pipe(p));
	MUST(read(p[0], &byte, 1));
	return argument;
}

static void work(int socket, int first)
{
	char data[2048], name[32];
	int fd, status;
	pid_t child;

	snprintf(name, sizeof name, "work-%d", first);
	if (first && write(socket, data, sizeof data) <= 0) /* the other one was killed before it began */
		exit(3);
	for (;;) {
		if (read(socket, data, sizeof data) <= 0 || write(socket, data, sizeof data) <= 0)
			exit(3);
		fd = MUST(open(name, O_CREAT | O_RDWR, 0600));
		MUST(write(fd, data, sizeof data));
		close(fd);
		MUST(unlink(name));
		child = (pid_t)MUST(fork());
		if (!child)
			_exit(access("/", F_OK));
		MUST(waitpid(child, &status, 0));
		if (status)
			exit(4);
	}
}

int main(void)
{
	pthread_t thread;
	int pair[2];

	begin();
	signal(SIGPIPE, SIG_IGN);
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	printf("working\n");
	if (!fork()) {
		close(pair[0]);
		work(pair[1], 0);
	}
	close(pair[1]);
	pthread_create(&thread, NULL, stuck, NULL);
	work(pair[0], 1);
	return 0;
}
