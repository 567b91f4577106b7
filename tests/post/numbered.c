/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes numbered lines to files, and notes in memory of its own how many were acknowledged: whoever kills it knows
 * what must be there. A file for each thread. Arguments: counters, lines, pause in us, then how each file is opened
 * (a, w) and its name; or i and the number of a descriptor that is there already, j: and its copy, in turn.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES = 16, PAD = 90, EVERY = 997 };

static uint64_t *counters;
static long lines, pause_us;
static char **names;

static void *writes(void *arg)
{
	long which = (long)arg;
	char how = names[which][0];
	int fd, other;
	char line[PAD + 16], pad[PAD + 1];
	struct stat st;

	if (how == 'i' || how == 'j')
		fd = atoi(names[which] + 1);
	else
		fd = open(names[which] + 1, O_RDWR | O_CREAT | (how == 'a' ? O_APPEND : 0), 0644);
	other = how == 'j' ? dup(fd) : fd;
	memset(pad, 'x', sizeof pad);
	for (long i = 0; i < lines; i++) {
		int n = snprintf(line, sizeof line, "%08ld %.*s\n", i, (int)(i * 7 % PAD), pad);

		if (write(i % 3 ? fd : other, line, (size_t)n) != n)
			exit(3);
		__atomic_store_n(&counters[which], (uint64_t)i + 1, __ATOMIC_RELEASE);
		if (i % EVERY == EVERY - 1 && (fstat(fd, &st) || lseek(fd, 0, SEEK_CUR) < 0))
			exit(4);
		if (pause_us)
			usleep((useconds_t)pause_us);
	}
	if (other != fd && close(other))
		exit(5);
	return close(fd) ? arg : NULL;
}

int main(int argc, char **argv)
{
	int fd = open(argv[1], O_RDWR);
	pthread_t threads[FILES];

	counters = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	lines = atol(argv[2]);
	pause_us = atol(argv[3]);
	names = argv + 4;
	if (argc == 5)
		return writes((void *)0) != NULL;
	for (long i = 0; i < argc - 4; i++)
		pthread_create(&threads[i], NULL, writes, (void *)i);
	for (long i = 0; i < argc - 4; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
