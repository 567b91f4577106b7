/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time per call for handled.py: a call that a handler may answer, one that a path rule may concern, and a call after a
 * pause in which everybody has gone to sleep, or the program has worked. Prints `name nanoseconds`, the median of many
 * batches or calls.
 *
 *	handled SECONDS-PER-CALL
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 20000, BATCH = 200, PAUSES = 200, PAUSE_US = 2000, WORK_US = 1000 };

static double taken[MOST];

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void do_getppid(void)
{
	syscall(SYS_getppid);
}

static void do_write(void)
{
	static int fd;

	fd = fd ? fd : open("/dev/null", O_WRONLY);
	syscall(SYS_write, fd, "x", 1);
}

/* There is no such file, so that all that is done with it is to look for it. */
static void do_open(void)
{
	syscall(SYS_openat, AT_FDCWD, "/tmp/no-such-directory/data.wal", O_RDONLY);
}

static void do_open_other(void)
{
	syscall(SYS_openat, AT_FDCWD, "/tmp/no-such-directory/data.txt", O_RDONLY);
}

static double batches(void (*call)(void), double seconds)
{
	double end = now_ns() + seconds * 1e9;
	int done = 0;

	while (done < MOST && (done < 20 || now_ns() < end)) {
		double start = now_ns();

		for (int i = 0; i < BATCH; i++)
			call();
		taken[done++] = (now_ns() - start) / BATCH;
	}
	qsort(taken, done, sizeof *taken, compare);
	return taken[done / 2];
}

static void sleep_a_while(void)
{
	usleep(PAUSE_US);
}

static void work_a_while(void)
{
	double end = now_ns() + WORK_US * 1e3;

	while (now_ns() < end)
		;
}

static double after_pauses(void (*pause)(void))
{
	for (int i = 0; i < PAUSES; i++) {
		double start;

		pause();
		start = now_ns();
		do_getppid();
		taken[i] = now_ns() - start;
	}
	qsort(taken, PAUSES, sizeof *taken, compare);
	return taken[PAUSES / 2];
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 0.1;

	printf("getppid %.0f\n", batches(do_getppid, seconds));
	printf("write %.0f\n", batches(do_write, seconds));
	printf("open %.0f\n", batches(do_open, seconds));
	printf("open-other %.0f\n", batches(do_open_other, seconds));
	printf("asleep %.0f\n", after_pauses(sleep_a_while));
	printf("working %.0f\n", after_pauses(work_a_while));
	return 0;
}
