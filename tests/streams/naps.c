/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first milliseconds of a sleep in a read: signals, other threads, time limits and a peer's end come as they do
 * natively. What depends on the moment is done many times, and the best counts.
 *
 *   naps tcp|unix|pipe signals|restarts|closes|shuts|limits|parts|forks|kills
 */
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "links.h"
#include "rings.h"

enum { SIZE = 16, WARM = 40, MOST = 4000, ROUNDS = 60, KILLS = 15, CLOSES = 5 };

static int fd, out; /* the same, but of pipes */
static volatile sig_atomic_t signals;

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void take(char *to, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = read(fd, to + done, size - done);

		must(n > 0 || (n < 0 && errno == EINTR), "read");
		done += n > 0 ? (size_t)n : 0;
	}
}

/* The other one answers after as many microseconds as the message says, and not at all if that is 0. */
static void answer(void)
{
	char data[SIZE];

	while (read(fd, data, SIZE) == SIZE) {
		if (atoi(data) < 0) { /* to be read by two */
			usleep((unsigned)-atoi(data));
			must(write(out, data, 2) == 2, "write");
		} else if (atoi(data)) {
			usleep((unsigned)atoi(data) - 1);
			must(write(out, data, SIZE) == SIZE, "write");
		}
	}
}

static void ask(int delay)
{
	char data[SIZE] = "";

	snprintf(data, SIZE, "%d", delay);
	must(write(out, data, SIZE) == SIZE, "write");
}

static int is_answered(int delay)
{
	char data[SIZE];

	take(data, SIZE);
	return atoi(data) == delay;
}

static void on_signal(int sig)
{
	(void)sig;
	signals++;
}

/* The signals end reads, or none does. */
static void signalled(int restarts)
{
	struct sigaction a = {.sa_handler = on_signal, .sa_flags = restarts ? SA_RESTART : 0};
	int ended = 0, wrong = 0;
	char data[SIZE];

	must(!sigaction(SIGALRM, &a, NULL), "sigaction");
	for (int i = 0; i < ROUNDS; i++) {
		struct itimerval soon = {.it_value.tv_usec = 200 + i * 30};
		ssize_t n;

		signals = 0;
		ask(20000);
		must(!setitimer(ITIMER_REAL, &soon, NULL), "setitimer");
		n = read(fd, data, SIZE);
		ended += n < 0 && errno == EINTR;
		wrong += signals != 1 || (n > 0 && n != SIZE);
		if (n < 0)
			take(data, SIZE);
		wrong += atoi(data) != 20000;
	}
	/* One or the other may come before its read. */
	printf("%s ended, %d wrong\n", !ended ? "none" : ended > ROUNDS / 2 ? "most" : "some", wrong);
}

static void *closer(void *what)
{
	usleep(2000);
	if (!strcmp(what, "closes"))
		close(fd);
	else
		shutdown(fd, SHUT_RD);
	return NULL;
}

/* It ends a read of another thread's at once. */
static void shut(void)
{
	pthread_t other;
	char data[SIZE] = "";
	uint64_t before;
	ssize_t n;

	ask(0);
	must(!pthread_create(&other, NULL, closer, "shuts"), "pthread_create");
	before = now_us();
	n = read(fd, data, SIZE);
	before = now_us() - before;
	pthread_join(other, NULL);
	printf("%zd, %s\n", n, before > 1000000 ? "late" : "in time");
}

/* A limit is kept to, and with one a signal ends a read, whatever its handler wants. */
static void limited(void)
{
	struct timeval limit = {.tv_usec = 6000};
	struct sigaction a = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	struct itimerval soon = {.it_value.tv_usec = 2000};
	uint64_t best = ~0ull;
	int wrong = 0, is_ended = 0;
	char data[SIZE];

	must(!setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), "SO_RCVTIMEO");
	for (int i = 0; i < ROUNDS / 4; i++) {
		uint64_t before = now_us(), took;
		ssize_t n = read(fd, data, SIZE);

		wrong += n != -1 || errno != EAGAIN;
		took = now_us() - before;
		best = took < best ? took : best;
	}
	must(!sigaction(SIGALRM, &a, NULL), "sigaction");
	for (int i = 0; i < ROUNDS && !is_ended; i++) { /* it may come before the read */
		must(!setitimer(ITIMER_REAL, &soon, NULL), "setitimer");
		is_ended = read(fd, data, SIZE) == -1 && errno == EINTR;
	}
	/* The kernel counts in ticks, of 10 ms at most. */
	printf("%d wrong, %s, %d ended\n", wrong, best < 5900 ? "early" : best > 30000 ? "late" : "in time", is_ended);
}

static void *byte_reader(void *got)
{
	*(ssize_t *)got = read(fd, (char[1]){0}, 1);
	return NULL;
}

/* Two threads read one byte each, and both come with one message. */
static void parted(void)
{
	int wrong = 0;

	for (int i = 0; i < ROUNDS; i++) {
		pthread_t readers[2];
		ssize_t got[2] = {0, 0};

		ask(-1000 - i * 20);
		for (int n = 0; n < 2; n++)
			must(!pthread_create(&readers[n], NULL, byte_reader, &got[n]), "pthread_create");
		for (int n = 0; n < 2; n++)
			must(!pthread_join(readers[n], NULL), "pthread_join");
		wrong += got[0] != 1 || got[1] != 1;
	}
	printf("%d wrong\n", wrong);
}

/* Who answers is a child that the other one has forked while we slept: each message is answered once. */
static void forking(void)
{
	char data[SIZE];

	while (read(fd, data, SIZE) == SIZE) {
		pid_t child = fork();

		if (!child) {
			usleep(1000);
			must(write(out, data, SIZE) == SIZE, "write");
			_exit(0);
		}
		waitpid(child, NULL, 0);
	}
}

/* For how many ways of our rings somebody may nap; -1: there is no ring. */
static int guards(void)
{
	struct stream_ring *rings[8];
	int n = find_rings(rings, 8), found = 0;

	for (int i = 0; i < n; i++)
		for (int way = 0; way < 2; way++)
			found += rings[i]->ways[way].guard - 1 < NAPS;
	return n ? found : -1;
}

/* As long as no read has to wait there is no nap. To standard error, which is not compared: guards(). */
static void warm_up(void)
{
	for (int i = 0; i < WARM || (i < MOST && !guards()); i++) {
		ask(i % 2 ? 1 : 300);
		must(is_answered(i % 2 ? 1 : 300), "that is not the answer");
	}
	fprintf(stderr, "guards %d\n", guards());
}

/* It has neither end: who forks with one would nap no more. */
static pid_t killer_of(const int *orders, const int *said)
{
	pid_t killer = fork(), whom;
	uint64_t then;

	if (killer)
		return killer;
	close(orders[1]);
	while (read(orders[0], &whom, sizeof whom) == sizeof whom) {
		usleep(1500);
		then = now_us();
		kill(whom, SIGKILL);
		must(write(said[1], &then, sizeof then) == sizeof then, "write");
	}
	_exit(0);
}

/* From the death of the other one, who has answered just before, to its end as a read shows it. */
static void killed(const char *kind)
{
	int orders[2], said[2], soon = 0;
	pid_t killer;

	must(!pipe2(orders, O_CLOEXEC) && !pipe2(said, O_CLOEXEC), "pipe2");
	killer = killer_of(orders, said);
	for (int i = 0; i < KILLS; i++) {
		pid_t other = connected(kind, &fd, &out);
		uint64_t then, took;
		char data[SIZE];
		ssize_t n;

		if (!other) {
			close(orders[1]);
			answer();
			_exit(0);
		}
		warm_up();
		must(write(orders[1], &other, sizeof other) == sizeof other, "write");
		n = read(fd, data, SIZE);
		took = now_us();
		must(n <= 0 && read(said[0], &then, sizeof then) == sizeof then, "more came");
		took -= then < took ? then : took;
		soon += took < 3000;
		close(fd);
		close(fd == out ? -1 : out);
		waitpid(other, NULL, 0);
	}
	close(orders[1]);
	waitpid(killer, NULL, 0);
	printf("seen %s\n", soon > KILLS / 3 ? "at once" : "late");
}

/*
 * A read goes on when another thread closes what it reads, until something comes; what it is given then is another
 * matter. Who has not begun to wait by then has nothing to read: one of some has.
 */
static void closed(const char *kind)
{
	int waited = 0;

	for (int i = 0; i < CLOSES; i++) {
		pid_t child = connected(kind, &fd, &out);
		pthread_t other;
		char data[SIZE];
		uint64_t before;
		ssize_t n;

		if (!child) {
			signal(SIGPIPE, SIG_IGN);
			answer();
			_exit(0);
		}
		warm_up();
		ask(30000);
		must(!pthread_create(&other, NULL, closer, "closes"), "pthread_create");
		before = now_us();
		n = read(fd, data, SIZE);
		waited += (n < 0 || n == SIZE) && now_us() - before > 20000;
		pthread_join(other, NULL);
		close(fd == out ? -1 : out);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	printf("%s\n", waited ? "waited" : "early");
}

int main(int argc, char **argv)
{
	const char *how = argc > 2 ? argv[2] : "";
	int status = 0, is_forking = !strcmp(how, "forks");
	pid_t child;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!strcmp(how, "kills") || !strcmp(how, "closes")) {
		(*how == 'k' ? killed : closed)(argv[1]);
		return 0;
	}
	child = connected(argv[1], &fd, &out);
	if (!child) {
		if (is_forking)
			forking();
		else
			answer();
		return 0;
	}
	if (!is_forking)
		warm_up();
	if (!strcmp(how, "signals") || !strcmp(how, "restarts"))
		signalled(*how == 'r');
	else if (!strcmp(how, "shuts"))
		shut();
	else if (!strcmp(how, "limits"))
		limited();
	else if (!strcmp(how, "parts"))
		parted();
	for (int i = 0; is_forking && i < ROUNDS; i++) {
		ask(i);
		must(is_answered(i), "that is not the answer");
	}
	close(fd);
	close(fd == out ? -1 : out);
	waitpid(child, &status, 0);
	printf("status %d\n", status);
	return 0;
}
