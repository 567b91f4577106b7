/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A signal that is sent the moment somebody is about to wait: it ends the wait. Programs that only set a flag in their
 * handler live by that, although a signal may come just before the call; so it may be missed, but hardly ever.
 */
#include "check.h"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

enum { ROUNDS = 1000 };

static volatile sig_atomic_t came;

static void handler(int signal)
{
	(void)signal;
	came = 1;
}

/* Says that it is about to wait, and waits; over and over. */
static void waiter(int line, int reads)
{
	struct sigaction act = {.sa_handler = handler};
	struct pollfd p = {line, POLLIN, 0};
	char byte;

	sigaction(SIGUSR1, &act, NULL);
	for (int i = 0; i < ROUNDS; i++) {
		long r;

		came = 0;
		write(line, "w", 1);
		while (!came) {
			r = reads ? read(line, &byte, 1) : poll(&p, 1, 30000);
			if (r != -1 || errno != EINTR)
				_exit(1);
		}
	}
	_exit(0);
}

static void round_trips(const char *name, int reads)
{
	int pair[2], status, missed = 0, rounds = 0;
	struct pollfd p;
	pid_t child;
	char byte;

	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	child = fork();
	if (!child)
		waiter(pair[1], reads);
	close(pair[1]);
	p = (struct pollfd){pair[0], POLLIN, 0};
	while (read(pair[0], &byte, 1) == 1) {
		rounds++;
		for (volatile int spin = rounds % 50 * 100; spin > 0; spin--) /* up to some 20 us */
			;
		kill(child, SIGUSR1);
		/* Natively, too, it may come between the look at the flag and the call. */
		while (!poll(&p, 1, 100)) {
			missed++;
			kill(child, SIGUSR1);
		}
	}
	waitpid(child, &status, 0);
	printf("%s: %d rounds, status %d\n", name, rounds, status);
	check("hardly any was missed", missed < ROUNDS / 50);
	close(pair[0]);
}

int main(void)
{
	begin();
	round_trips("poll", 0);
	round_trips("read", 1);
	return 0;
}
