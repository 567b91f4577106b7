/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is sent to an end that sleeps, and what is sent right behind it, comes in order and is not lost: to who reads,
 * to two who read, to who polls, and to another program that is given the connection before it was read.
 *
 *   sleepers tcp|unix|pair|pipe reads|two|polls|gives
 */
#define _GNU_SOURCE

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "links.h"
#include "rings.h"

enum { SIZE = 16, ROUNDS = 300, MOST = 5 };

static int in, out;
static long sums[2], counts[2];

static void take(int fd, char *to, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = read(fd, to + done, size - done);

		must(n > 0, "read");
		done += (size_t)n;
	}
}

/* So that there is a ring. */
static void warm_up(int begins)
{
	char data[SIZE] = {0};

	for (int i = 0; i < 20; i++) {
		if (begins)
			must(write(out, data, SIZE) == SIZE, "write");
		take(in, data, SIZE);
		if (!begins)
			must(write(out, data, SIZE) == SIZE, "write");
	}
}

static void *reader(void *which)
{
	long i = (long)which;
	char data[SIZE];

	while (read(in, data, SIZE) == SIZE) {
		counts[i]++;
		sums[i] += atol(data);
	}
	return NULL;
}

static void receive(const char *how)
{
	pthread_t second;
	char data[SIZE];
	struct pollfd p = {in, POLLIN, 0};
	long last = -1;

	if (!strcmp(how, "gives")) {
		must(poll(&p, 1, -1) == 1, "poll");
		usleep(20000); /* more comes */
		dup2(in, 0);
		execlp("cat", "cat", (char *)NULL);
		_exit(99);
	}
	if (!strcmp(how, "two")) {
		pthread_create(&second, NULL, reader, (void *)1);
		reader(0);
		pthread_join(second, NULL);
		printf("%ld, %ld\n", counts[0] + counts[1], sums[0] + sums[1]);
		return;
	}
	while ((*how == 'r' || poll(&p, 1, -1) == 1) && read(in, data, 1) == 1) {
		take(in, data + 1, SIZE - 1);
		if (atol(data) != last + 1)
			printf("%ld after %ld\n", atol(data), last);
		last = atol(data);
	}
	printf("%ld\n", last);
}

static void until_given(pid_t child)
{
	char path[64], name[16] = "";

	snprintf(path, sizeof path, "/proc/%d/comm", (int)child);
	while (strcmp(name, "cat\n")) {
		FILE *f = fopen(path, "re");

		must(f && fgets(name, sizeof name, f), path);
		fclose(f);
		usleep(1000);
	}
}

int main(int argc, char **argv)
{
	int status, number = 0, is_given;
	char data[SIZE];
	pid_t child;

	must(argc > 2, "usage: sleepers KIND HOW");
	setvbuf(stdout, NULL, _IOLBF, 0);
	is_given = !strcmp(argv[2], "gives");
	child = connected(argv[1], &in, &out);
	warm_up(child != 0);
	if (!child) {
		close(out == in ? -1 : out);
		receive(argv[2]);
		say_rings(1);
		return 0;
	}
	srand(1);
	for (int round = 0; round < (is_given ? 1 : ROUNDS); round++) {
		usleep(is_given ? 20000 : rand() % 400);
		for (int n = is_given ? MOST : 1 + rand() % MOST; n; n--) {
			memset(data, 0, SIZE);
			snprintf(data, SIZE, "%d\n", number++);
			must(write(out, data, SIZE) == SIZE, "write");
		}
	}
	if (is_given)
		until_given(child);
	close(in);
	close(out);
	waitpid(child, &status, 0);
	say_rings(0);
	printf("status %d, %d sent\n", status, number);
	return 0;
}
