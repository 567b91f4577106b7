/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cancelling threads that are blocked in a read, or just about to be: the read ends, clean-up handlers run, data that
 * was taken before is all there, and the pipe works on for the next one.
 */
#include "check.h"

#include <pthread.h>

static int feed[2];
static volatile int cleaned;
static volatile long taken;

static void clean(void *argument)
{
	(void)argument;
	__atomic_add_fetch(&cleaned, 1, __ATOMIC_SEQ_CST);
}

static void *reader(void *argument)
{
	char byte;

	pthread_cleanup_push(clean, NULL);
	for (;;)
		if (read(feed[0], &byte, 1) == 1)
			__atomic_add_fetch(&taken, 1, __ATOMIC_SEQ_CST);
	pthread_cleanup_pop(0);
	return argument;
}

int main(void)
{
	enum { ROUNDS = 60, PIECES = 20 };
	int cancelled = 0;
	long given = 0;
	pthread_t thread;
	void *result;

	begin();
	MUST(pipe(feed));
	for (int round = 0; round < ROUNDS; round++) {
		if (pthread_create(&thread, NULL, reader, NULL))
			return 1;
		for (int i = 0; i < PIECES; i++)
			given += write(feed[1], "x", 1);
		while (taken < given)
			sched_yield();
		if (round % 3)
			sleep_ms(round % 5);
		pthread_cancel(thread);
		pthread_join(thread, &result);
		cancelled += result == PTHREAD_CANCELED;
	}
	printf("cancelled: %d cleaned: %d\n", cancelled, cleaned);
	printf("taken: %ld\n", taken);
	return 0;
}
