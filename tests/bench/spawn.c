/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time to start a program and wait for its end, for bench.py. Printed is the median in nanoseconds
 * as `spawn VALUE`.
 *
 *	spawn COUNT PROGRAM ARGUMENTS...
 */
#define _GNU_SOURCE
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

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

int main(int argc, char **argv)
{
	int count = argc > 2 ? atoi(argv[1]) : 0;
	uint64_t *times;

	if (count < 1) {
		fprintf(stderr, "usage: spawn COUNT PROGRAM ARGUMENTS...\n");
		return 2;
	}
	times = calloc(count, sizeof *times);
	if (!times)
		return 1;
	for (int i = -1; i < count; i++) { /* the first one fills the caches and is not counted */
		uint64_t start = now_ns();
		pid_t pid;
		int status, error = posix_spawnp(&pid, argv[2], NULL, NULL, argv + 2, environ);

		if (error) {
			fprintf(stderr, "spawn: %s: %s\n", argv[2], strerror(error));
			return 1;
		}
		if (waitpid(pid, &status, 0) != pid || status) {
			fprintf(stderr, "spawn: %s ended with status %#x\n", argv[2], status);
			return 1;
		}
		if (i >= 0)
			times[i] = now_ns() - start;
	}
	qsort(times, count, sizeof *times, compare);
	printf("spawn %llu\n", (unsigned long long)times[count / 2]);
	free(times);
	return 0;
}
