/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the test programs share. They are ordinary programs that print one line per check, the same lines in every run
 * on one machine: the tests run them natively and captured and compare. A result that differs from run to run
 * (a pid, an inode, a time) is therefore never printed, only whether it is as it should be.
 */
#ifndef CHECK_H
#define CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Lines leave one by one, so that a fork does not print them twice and a crash shows how far it came. */
static inline void begin(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	umask(022);
}

#ifndef __GLIBC__
#define strerrorname_np strerror /* other C libraries have only a text for it */
#endif

static inline const char *error_name(int error)
{
	const char *name = strerrorname_np(error);

	return name ? name : "?";
}

/* `name: 5`, or `name: -1 ENOENT`. Returns what it was given. */
static inline long report(const char *name, long ret)
{
	if (ret == -1)
		printf("%s: -1 %s\n", name, error_name(errno));
	else
		printf("%s: %ld\n", name, ret);
	return ret;
}

/* For results whose number means nothing: `name: done`, or `name: -1 ENOENT`. */
static inline long attempt(const char *name, long ret)
{
	if (ret == -1)
		printf("%s: -1 %s\n", name, error_name(errno));
	else
		printf("%s: done\n", name);
	return ret;
}

static inline void check(const char *name, int holds)
{
	printf("%s: %s\n", name, holds ? "yes" : "NO");
}

/* A call that the test itself depends on. */
static inline long must(long ret, const char *what)
{
	if (ret == -1) {
		printf("%s failed: %s\n", what, error_name(errno));
		exit(99);
	}
	return ret;
}

#define MUST(call) must((call), #call)

/* Memory whose last byte is the last one before a page that is not mapped: reading or writing one byte more faults. */
static inline void *tail_alloc(size_t size)
{
	size_t page = 4096, whole = (size + page - 1) / page * page;
	char *area = mmap(NULL, whole + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (area == MAP_FAILED || munmap(area + whole, page)) {
		printf("no memory\n");
		exit(99);
	}
	/* Kept free by a mapping without any rights: another mapping could come to lie there. */
	mmap(area + whole, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	return area + whole - size;
}

static inline void *tail_copy(const void *data, size_t size)
{
	return memcpy(tail_alloc(size), data, size);
}

static inline char *tail_string(const char *text)
{
	return tail_copy(text, strlen(text) + 1);
}

/* A string without its end: the NUL would be the first byte of the unmapped page. */
static inline char *endless_string(const char *text)
{
	return tail_copy(text, strlen(text));
}

static inline void *nowhere(void)
{
	return (char *)tail_alloc(1) + 1;
}

static inline void fill(unsigned char *data, size_t size, unsigned seed)
{
	for (size_t i = 0; i < size; i++)
		data[i] = (unsigned char)((i + seed) * 2654435761u >> 13);
}

static inline int filled(const unsigned char *data, size_t size, unsigned seed)
{
	for (size_t i = 0; i < size; i++)
		if (data[i] != (unsigned char)((i + seed) * 2654435761u >> 13))
			return 0;
	return 1;
}

static inline long now_ms(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static inline void sleep_ms(long ms)
{
	struct timespec time = {ms / 1000, ms % 1000 * 1000000};

	while (nanosleep(&time, &time) && errno == EINTR)
		;
}

/* A file of that content, made anew. */
static inline void make_file(const char *path, const char *text)
{
	int fd = MUST(open(path, O_CREAT | O_TRUNC | O_WRONLY, 0644));

	MUST(write(fd, text, strlen(text)));
	close(fd);
}

/* Waits for the child and prints how it ended. */
static inline void reap(const char *name, pid_t child)
{
	int status = 0;
	pid_t got;

	while ((got = waitpid(child, &status, 0)) == -1 && errno == EINTR)
		;
	if (got != child)
		printf("%s: wait failed %s\n", name, error_name(errno));
	else if (WIFEXITED(status))
		printf("%s: exit %d\n", name, WEXITSTATUS(status));
	else
		printf("%s: signal %d%s\n", name, WTERMSIG(status), WCOREDUMP(status) ? " core" : "");
}

#endif
