/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many processes that ask a handler at the same time, each at its own pace, and compare every answer with what only
 * this question can have been answered: for test_storm.py.
 *
 *	storm PROCESSES CALLS-EACH CALLS-A-SECOND OPENS-EACH
 *
 * CALLS-A-SECOND is that of all together. Prints how many answers came and how many were not the right ones.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { OWN = 100000 /* numbers that a process has to itself */ };

static struct {
	uint64_t right, wrong;
} *total;

static void pace(const struct timespec *start, double at)
{
	struct timespec until = {start->tv_sec + (time_t)at, start->tv_nsec + (long)((at - (double)(time_t)at) * 1e9)};

	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
		;
}

static void count(int is_right)
{
	__atomic_add_fetch(is_right ? &total->right : &total->wrong, 1, __ATOMIC_RELAXED);
}

static void ask(long own, long calls, double rate, long opens, const struct timespec *start)
{
	char path[64];

	for (long i = 0; i < calls; i++) {
		long number = own * OWN + i;

		pace(start, (double)i / rate);
		count(syscall(SYS_getpgid, number) == 2 * number + 1);
	}
	for (long i = 0; i < opens; i++) {
		long number = own * OWN + i;

		snprintf(path, sizeof path, "/storm/%ld", number);
		count(syscall(SYS_openat, AT_FDCWD, path, O_RDONLY) == number + 1000);
	}
}

int main(int argc, char **argv)
{
	long processes, calls, opens;
	struct timespec start;
	double rate;

	if (argc != 5)
		return 2;
	processes = atol(argv[1]);
	calls = atol(argv[2]);
	rate = atof(argv[3]) / (double)processes;
	opens = atol(argv[4]);
	total = mmap(NULL, sizeof *total, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (total == MAP_FAILED || calls > OWN || opens > OWN)
		return 2;
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (long own = 0; own < processes; own++) {
		pid_t pid = fork();

		if (pid < 0)
			return 2;
		if (!pid) {
			ask(own, calls, rate, opens, &start);
			_exit(0);
		}
	}
	while (wait(NULL) > 0)
		;
	printf("%llu right, %llu wrong\n", (unsigned long long)total->right, (unsigned long long)total->wrong);
	return 0;
}
