/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a write of 64 bytes costs by a plain call and by the kernel's own ring (io_uring, raw calls, no library): alone,
 * in batches, and with a thread of the kernel's that polls (SQPOLL). Printed are medians in nanoseconds a write, one
 * line each; a way that this kernel forbids is left out.
 *
 * uring SECONDS FILE
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 64, ENTRIES = 256, ROUNDS = 4096, SPAN = 1 << 20 };

struct ring {
	int fd, polls;
	unsigned *head, *tail, *flags, *done_head, *done_tail, mask, done_mask;
	struct io_uring_sqe *entries;
	struct io_uring_cqe *done;
	unsigned *array;
};

static char data[SIZE];
static int file;
static uint64_t at;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "uring: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int open_ring(struct ring *r, unsigned flags)
{
	struct io_uring_params p = {.flags = flags, .sq_thread_idle = 100};
	size_t size, done_size;
	char *sq, *cq;

	r->fd = (int)syscall(SYS_io_uring_setup, ENTRIES, &p);
	if (r->fd < 0)
		return 0;
	size = p.sq_off.array + p.sq_entries * sizeof(unsigned);
	done_size = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
	sq = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_SQ_RING);
	cq = mmap(NULL, done_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_CQ_RING);
	r->entries = mmap(NULL, p.sq_entries * sizeof *r->entries, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || r->entries == MAP_FAILED)
		die("mmap");
	r->polls = !!(flags & IORING_SETUP_SQPOLL);
	r->head = (unsigned *)(sq + p.sq_off.head);
	r->tail = (unsigned *)(sq + p.sq_off.tail);
	r->flags = (unsigned *)(sq + p.sq_off.flags);
	r->mask = *(unsigned *)(sq + p.sq_off.ring_mask);
	r->array = (unsigned *)(sq + p.sq_off.array);
	r->done_head = (unsigned *)(cq + p.cq_off.head);
	r->done_tail = (unsigned *)(cq + p.cq_off.tail);
	r->done_mask = *(unsigned *)(cq + p.cq_off.ring_mask);
	r->done = (struct io_uring_cqe *)(cq + p.cq_off.cqes);
	return 1;
}

/* `n` writes, one behind the other in the file, and all of them done. */
static void write_by(struct ring *r, unsigned n)
{
	unsigned tail = *r->tail, seen = *r->done_head;

	for (unsigned i = 0; i < n; i++) {
		unsigned slot = (tail + i) & r->mask;
		struct io_uring_sqe *e = &r->entries[slot];

		memset(e, 0, sizeof *e);
		e->opcode = IORING_OP_WRITE;
		e->fd = file;
		e->addr = (uint64_t)(uintptr_t)data;
		e->len = SIZE;
		e->off = at % SPAN;
		at += SIZE;
		r->array[slot] = slot;
	}
	__atomic_store_n(r->tail, tail + n, __ATOMIC_RELEASE);
	if (r->polls) {
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (__atomic_load_n(r->flags, __ATOMIC_RELAXED) & IORING_SQ_NEED_WAKEUP &&
		    syscall(SYS_io_uring_enter, r->fd, 0, 0, IORING_ENTER_SQ_WAKEUP, NULL, 0) < 0)
			die("io_uring_enter");
		while (__atomic_load_n(r->done_tail, __ATOMIC_ACQUIRE) - seen < n)
			;
	} else if (syscall(SYS_io_uring_enter, r->fd, n, n, IORING_ENTER_GETEVENTS, NULL, 0) < 0) {
		die("io_uring_enter");
	}
	for (unsigned i = 0; i < n; i++)
		if (r->done[(seen + i) & r->done_mask].res != SIZE) {
			errno = -r->done[(seen + i) & r->done_mask].res;
			die("a write");
		}
	__atomic_store_n(r->done_head, seen + n, __ATOMIC_RELEASE);
}

static void write_plainly(struct ring *r, unsigned n)
{
	(void)r;
	for (unsigned i = 0; i < n; i++, at += SIZE)
		if (pwrite(file, data, SIZE, (off_t)(at % SPAN)) != SIZE)
			die("pwrite");
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void measure(const char *name, void (*by)(struct ring *, unsigned), struct ring *r, unsigned batch,
		    double seconds)
{
	static double values[ROUNDS];
	uint64_t end = now_ns() + (uint64_t)(seconds * 1e9), begun;
	unsigned n = 0, repeats = 256 / batch;

	by(r, batch);
	while (n < ROUNDS && (n < 5 || now_ns() < end)) {
		begun = now_ns();
		for (unsigned i = 0; i < repeats; i++)
			by(r, batch);
		values[n++] = (double)(now_ns() - begun) / (repeats * batch);
	}
	qsort(values, n, sizeof *values, compare);
	printf("%s %.0f\n", name, values[n / 2]);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	double seconds = argc == 3 ? atof(argv[1]) : 0;
	struct ring ring, polled;

	if (argc != 3) {
		fprintf(stderr, "usage: uring SECONDS FILE\n");
		return 2;
	}
	file = open(argv[2], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (file < 0 || ftruncate(file, SPAN))
		die(argv[2]);
	measure("plain", write_plainly, NULL, 1, seconds);
	if (open_ring(&ring, 0)) {
		measure("ring-1", write_by, &ring, 1, seconds);
		measure("ring-64", write_by, &ring, 64, seconds);
	}
	if (open_ring(&polled, IORING_SETUP_SQPOLL)) {
		measure("poll-1", write_by, &polled, 1, seconds);
		measure("poll-64", write_by, &polled, 64, seconds);
	}
	unlink(argv[2]);
	return 0;
}
