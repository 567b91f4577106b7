/* SPDX-License-Identifier: Apache-2.0 */
/* A write that waits for room, and a signal: whether it goes on is what the signal's handler wants. */
#include "ready.h"

static volatile sig_atomic_t rang;

static void on_alarm(int sig)
{
	(void)sig;
	rang = 1;
}

static void connect_by(const char *kind, int *fds)
{
	char c[8];

	if (strcmp(kind, "pipe")) {
		make_pair(strcmp(kind, "tcp") ? PAIR : TCP, fds);
		fcntl(fds[0], F_SETFL, 0);
		fcntl(fds[1], F_SETFL, 0);
		return;
	}
	CHECK(!pipe(fds));
	for (int i = 0; i < 12; i++)
		CHECK(write(fds[1], "ab", 2) == 2 && read(fds[0], c, 8) == 2);
}

int main(int argc, char **argv)
{
	static char bytes[1000];
	struct sigaction alarmed = {.sa_handler = on_alarm};
	struct itimerval soon = {.it_value.tv_usec = 30000};
	/* So few that they go at once or not at all. */
	size_t n;
	int fds[2], status;
	ssize_t r;
	pid_t child;

	CHECK(argc == 3);
	n = strcmp(argv[1], "unix") ? sizeof bytes : 1;
	alarmed.sa_flags = strcmp(argv[2], "restarts") ? 0 : SA_RESTART;
	connect_by(argv[1], fds);
	child = fork();
	if (!child) {
		close(fds[1]);
		usleep(400000);
		while (read(fds[0], bytes, sizeof bytes) > 0)
			;
		return 0;
	}
	close(fds[0]);
	/* However busy the machine is, it is full by then. */
	fcntl(fds[1], F_SETFL, O_NONBLOCK);
	while (write(fds[1], bytes, n) > 0)
		;
	fcntl(fds[1], F_SETFL, 0);
	CHECK(!sigaction(SIGALRM, &alarmed, 0) && !setitimer(ITIMER_REAL, &soon, 0));
	do
		r = write(fds[1], bytes, n);
	while (!rang && r == (ssize_t)n);
	/* Of TCP a part of it may have gone. */
	puts(r == (ssize_t)n ? "went on" : r > 0 || errno == EINTR ? "interrupted" : "wrong");
	close(fds[1]);
	CHECK(waitpid(child, &status, 0) == child && !status);
	return 0;
}
