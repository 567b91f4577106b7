/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time of a fork whose child ends at once, and of a thread that does, each with the wait for it, for bench.py. Printed
 * are the medians in nanoseconds as `fork VALUE` and `thread VALUE`.
 *
 *	births COUNT
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int one_fork(void)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(0);
	return waitpid(pid, &status, 0) == pid && !status;
}

static void *nothing(void *argument)
{
	return argument;
}

static int one_thread(void)
{
	pthread_t thread;

	return !pthread_create(&thread, NULL, nothing, NULL) && !pthread_join(thread, NULL);
}

static void measure(const char *name, int (*birth)(void), uint64_t *times, int count)
{
	for (int i = -1; i < count; i++) { /* the first one fills the caches and is not counted */
		uint64_t start = now_ns();

		if (!birth()) {
			fprintf(stderr, "births: no %s\n", name);
			exit(1);
		}
		if (i >= 0)
			times[i] = now_ns() - start;
	}
	qsort(times, count, sizeof *times, compare);
	printf("%s %llu\n", name, (unsigned long long)times[count / 2]);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	int count = argc > 1 ? atoi(argv[1]) : 0;
	uint64_t *times = count > 0 ? calloc(count, sizeof *times) : NULL;

	if (!times) {
		fprintf(stderr, "usage: births COUNT\n");
		return 2;
	}
	measure("fork", one_fork, times, count);
	measure("thread", one_thread, times, count);
	free(times);
	return 0;
}
