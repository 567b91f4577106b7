/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is posted gets into its file once and in order, however far the one before us has come: shared/posts.h on a real
 * file, with every kind of death played by hand.
 */
#include "poster.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ROUNDS = 400, MOST = 20000, OTHERS = 300 };

static uint8_t ring[POST_RING], expected[8 * MOST], got[8 * MOST];
static size_t length;
static uint64_t seed = 1;

static uint32_t some(uint32_t below)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33) % below;
}

static void expect(const void *bytes, size_t n)
{
	memcpy(expected + length, bytes, n);
	length += n;
}

static void others_append(int fd)
{
	uint8_t theirs[OTHERS];
	uint32_t n = some(OTHERS);

	for (uint32_t i = 0; i < n; i++)
		theirs[i] = (uint8_t)(128 + some(100)); /* never like ours */
	assert(write(fd, theirs, n) == (ssize_t)n);
	expect(theirs, n);
}

/* So many of the waiting bytes, as a write would have put them. */
static void ours(const struct post_file *f, uint64_t n, int fd, uint64_t at)
{
	for (uint64_t i = 0; i < n; i++) {
		uint8_t byte = ring[(f->done + i) % POST_RING];

		if (f->flags & POST_APPENDS)
			assert(write(fd, &byte, 1) == 1);
		else
			assert(pwrite(fd, &byte, 1, (off_t)(at + i)) == 1);
		expect(&byte, 1);
	}
}

static void check(int fd)
{
	ssize_t n = pread(fd, got, sizeof got, 0);

	assert((size_t)n == length && !memcmp(got, expected, length));
}

/* A death within an append: before it, behind it, or where a page ends; others append before and after that. */
static void appended(int fd, int can_read)
{
	static struct post_head head;
	struct post_file f = {.flags = POST_APPENDS, .tail = some(1u << 30)};
	uint64_t n = 1 + some(MOST), k, begin = f.tail;
	int kind = (int)some(3);

	f.done = f.tail;
	for (uint64_t i = 0; i < n; i++)
		ring[(f.tail + i) % POST_RING] = (uint8_t)('a' + some(26));
	f.tail += n;
	others_append(fd);
	f.size = length;
	f.intent = f.tail;
	if (can_read && some(2) && kind != 1)
		others_append(fd); /* between the look and the write */
	k = kind == 0 ? 0 : kind == 2 ? n : (4096 - length % 4096) % 4096;
	k = k < n ? k : n;
	ours(&f, k, fd, 0);
	if (can_read && some(2))
		others_append(fd);
	post_mend(&f, ring, can_read ? fd : -1, fd);
	assert(f.done == begin + k);
	for (uint64_t i = k; i < n; i++)
		expect(&ring[(begin + i) % POST_RING], 1);
	post_flush(&head, &f, ring, fd);
	assert(f.done == f.tail && !f.error && f.end == length && !head.lost);
	check(fd);
}

/* Elsewhere what has been written is written again. */
static void placed(int fd)
{
	static struct post_head head;
	struct post_file f = {.tail = some(1u << 30)};
	uint64_t n = 1 + some(MOST), k = some((uint32_t)n), begin = f.tail;

	f.done = f.tail;
	f.at = length - begin;
	for (uint64_t i = 0; i < n; i++)
		ring[(f.tail + i) % POST_RING] = (uint8_t)('a' + some(26));
	f.tail += n;
	ours(&f, k, fd, length);
	post_mend(&f, ring, fd, fd);
	assert(f.done == begin);
	for (uint64_t i = k; i < n; i++)
		expect(&ring[(begin + i) % POST_RING], 1);
	post_flush(&head, &f, ring, fd);
	assert(f.done == f.tail && f.end == length);
	check(fd);
}

/* A file that takes nothing: the error is kept, and nothing waits any more. */
static void refused(void)
{
	static struct post_head head;
	struct post_file f = {.tail = 100};
	int fd = open("/dev/full", O_WRONLY);

	if (fd < 0)
		return;
	f.flags = POST_APPENDS;
	post_flush(&head, &f, ring, fd);
	assert(f.error == ENOSPC && f.done == 100 && f.attention == POST_FAILED && head.lost == 100);
	f.tail += 50;
	post_flush(&head, &f, ring, fd);
	assert(f.error == ENOSPC && f.done == 150 && head.lost == 150);
	close(fd);
}

/* Numbers that make no sense are not believed. */
static void nonsense(int fd)
{
	static struct post_head head;
	struct post_file f = {.tail = 1ull << 40};

	post_flush(&head, &f, ring, fd);
	assert(f.error == EIO && f.done == f.tail);
	f = (struct post_file){.flags = POST_APPENDS, .tail = 10, .intent = 1ull << 50, .size = 0};
	post_mend(&f, ring, fd, fd);
	assert(!f.done);
	check(fd);
}

int main(void)
{
	for (int round = 0; round < ROUNDS; round++) {
		int appends = round % 3 != 2, fd = memfd_create("test", 0);

		assert(fd >= 0);
		if (appends)
			assert(!fcntl(fd, F_SETFL, O_APPEND));
		length = 0;
		for (int times = 0; times < 3; times++) {
			if (appends)
				appended(fd, round % 3);
			else
				placed(fd);
		}
		nonsense(fd);
		close(fd);
	}
	refused();
	printf("test_post: %d files\n", ROUNDS);
	return 0;
}
