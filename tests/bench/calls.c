/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time per system call, for bench.py. Each call runs in batches of about a millisecond; printed is
 * the median of the batches' means in nanoseconds, one `name value` a line.
 *
 *	calls SECONDS-PER-CALL FILE-TO-OPEN [THREADS]
 *
 * With threads, each of them makes the same call at the same time, on a CPU of its own if there are so many; printed is
 * the mean of what they found.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { BATCHES = 2000, BATCH_NS = 1000000, THREADS_MAX = 64 };

static int null_fd, zero_fd;
static const char *path;

static void die(const char *what)
{
	fprintf(stderr, "calls: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static void do_getppid(void)
{
	if (syscall(SYS_getppid) < 0)
		die("getppid");
}

static void do_getpid(void)
{
	if (syscall(SYS_getpid) < 0)
		die("getpid");
}

static void do_write(void)
{
	if (write(null_fd, "x", 1) != 1)
		die("write");
}

static void do_read(void)
{
	char byte;

	if (read(zero_fd, &byte, 1) != 1)
		die("read");
}

static void do_open(void)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || close(fd))
		die(path);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static uint64_t batch_ns(void (*call)(void), uint64_t count)
{
	uint64_t start = now_ns();

	for (uint64_t i = 0; i < count; i++)
		call();
	return now_ns() - start;
}

static double measure(void (*call)(void), double seconds)
{
	static __thread double means[BATCHES];
	uint64_t count = 1, took, end;
	int done = 0;

	/* Doubling until a batch is long enough also warms up: first calls may cost more. */
	while ((took = batch_ns(call, count)) < BATCH_NS / 2)
		count *= 2;
	end = now_ns() + (uint64_t)(seconds * 1e9);
	while (done < BATCHES && (done < 5 || now_ns() < end))
		means[done++] = (double)batch_ns(call, count) / count;
	qsort(means, done, sizeof *means, compare);
	return means[done / 2];
}

static const struct {
	const char *name;
	void (*call)(void);
} rows[] = {
	{"getppid", do_getppid}, {"getpid", do_getpid}, {"write", do_write}, {"read", do_read}, {"open", do_open},
};
enum { ROWS = sizeof rows / sizeof *rows };

static double seconds, found[THREADS_MAX][ROWS];
static pthread_barrier_t together;

/* On the n-th of the CPUs that are allowed, if there are so many. */
static void move_to(long n)
{
	cpu_set_t all, one;

	sched_getaffinity(0, sizeof all, &all);
	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &all) && !n--) {
			CPU_SET(cpu, &one);
			sched_setaffinity(0, sizeof one, &one);
		}
}

static void *run(void *argument)
{
	long n = (long)argument;

	move_to(n);
	for (size_t i = 0; i < ROWS; i++) {
		pthread_barrier_wait(&together);
		found[n][i] = measure(rows[i].call, seconds);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[THREADS_MAX];
	long count = argc > 3 ? atol(argv[3]) : 0;

	if (argc < 3 || count < 0 || count > THREADS_MAX) {
		fprintf(stderr, "usage: calls SECONDS-PER-CALL FILE-TO-OPEN [THREADS]\n");
		return 2;
	}
	seconds = atof(argv[1]);
	path = argv[2];
	null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	zero_fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	if (null_fd < 0 || zero_fd < 0)
		die("/dev");
	pthread_barrier_init(&together, NULL, count ? (unsigned)count : 1);
	for (long n = 0; n < count; n++)
		if (pthread_create(&threads[n], NULL, run, (void *)n))
			die("pthread_create");
	for (long n = 0; n < count; n++)
		pthread_join(threads[n], NULL);
	for (size_t i = 0; i < ROWS; i++) {
		double sum = count ? 0 : measure(rows[i].call, seconds);

		for (long n = 0; n < count; n++)
			sum += found[n][i] / (double)count;
		printf("%s %.1f\n", rows[i].name, sum);
	}
	return 0;
}
