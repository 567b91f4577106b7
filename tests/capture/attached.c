/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What debuggers attach to: "blocked" waits in a read, "busy" makes calls until a line comes. Both say so first, and in
 * the end what they got; a debugger that came and went must not have changed that.
 */
#include "check.h"

#include <poll.h>
#include <pthread.h>

static volatile long turns;

static __attribute__((noinline)) void turn_around(struct pollfd *input)
{
	turns++;
	getppid();
	poll(input, 1, 0);
}

static void *beside(void *argument)
{
	struct pollfd nothing = {.fd = -1};

	while (*(volatile int *)argument) {
		turn_around(&nothing);
		sched_yield();
	}
	return argument;
}

static __attribute__((noinline)) long wait_for_a_line(char *line, size_t size)
{
	long got = read(0, line, size);

	return got;
}

int main(int argc, char **argv)
{
	struct pollfd input = {.fd = 0, .events = POLLIN};
	volatile int go_on = 1;
	pthread_t thread;
	char line[64];

	begin();
	if (argc > 1 && !strcmp(argv[1], "busy")) {
		pthread_create(&thread, NULL, beside, (void *)&go_on);
		printf("ready\n");
		while (!input.revents)
			turn_around(&input);
		go_on = 0;
		pthread_join(thread, NULL);
	} else {
		printf("ready\n");
	}
	report("read", wait_for_a_line(line, sizeof line));
	printf("%.5s", line);
	return 7;
}
