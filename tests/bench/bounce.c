/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far apart two CPUs are, for the head of bench.py's table: two threads, one on each, hand a
 * word to and fro in shared memory. Printed is the time of one round trip in nanoseconds as
 * `bounce VALUE`. Run natively only.
 *
 *	bounce CPU CPU
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROUNDS = 20000, BATCHES = 9 };

static atomic_uint word;

static uint64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static int pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof set, &set);
}

static void *answer(void *arg)
{
	if (pin(atoi(arg)))
		exit(1);
	for (unsigned i = 0; i < ROUNDS * BATCHES; i++) {
		while (atomic_load(&word) != 2 * i + 1)
			;
		atomic_store(&word, 2 * i + 2);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	uint64_t best = UINT64_MAX;
	pthread_t thread;

	if (argc != 3 || pin(atoi(argv[1])) || pthread_create(&thread, NULL, answer, argv[2]))
		return 2;
	/* The best batch: distance belongs to the machine, all above it is somebody's load. */
	for (unsigned batch = 0, i = 0; batch < BATCHES; batch++) {
		uint64_t start = now_ns(), took;

		for (unsigned end = i + ROUNDS; i < end; i++) {
			atomic_store(&word, 2 * i + 1);
			while (atomic_load(&word) != 2 * i + 2)
				;
		}
		took = (now_ns() - start) / ROUNDS;
		if (took < best)
			best = took;
	}
	pthread_join(thread, NULL);
	printf("bounce %llu\n", (unsigned long long)best);
	return 0;
}
