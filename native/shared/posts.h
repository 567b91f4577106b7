/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Posted writes: the memory in which a program leaves small writes to a file, and how they get from there into it. It
 * is a file of its own, so that it outlives whoever is killed. Three parties write what is posted: the program's
 * agent, the poster (native/daemon/poster), and whoever finds the memory when all of them are dead. One of them at a
 * time, under the entry's lock; each may be killed at any moment, and who comes after it does the rest.
 *
 * Once and in order: bytes are numbered, `done` of them are in the file. A file that is not opened with O_APPEND is
 * written at positions that follow from these numbers, so that writing some bytes a second time changes nothing. For
 * one that is, the file's size is noted before, and post_mend() looks what has been appended since.
 *
 * Included by both sides, with `post_call` for making a call, which returns a negative errno.
 */
#ifndef LSCA_POST_H
#define LSCA_POST_H

#include "abi.h"
#include "ring.h"

#define POST_MAGIC 0x6c736370u
#define POST_VERSION 2u

enum {
	POST_FILES = 256,
	POST_RING = 65536,    /* bytes that wait for one file, at most */
	POST_MOST = 4096,     /* of one write; larger ones are made as they are */
	POST_TEXT = 15872,    /* of all patterns, each with its NUL */
	POST_PATH = 1024,
	POST_FIND = 65536,    /* how far others may have appended before our bytes are given up for not written */
};

enum post_flags { POST_SYNC = 1 };

/* The first page and those behind it, which all programs map, then the entries, which they map as well. */
struct post_head {
	uint32_t magic, version;
	uint32_t flags, after;  /* after: so many writes come before a file is posted */
	uint32_t poster;  /* tid of its thread, on its robust list: the kernel makes it WORD_DIED; 0: there is none */
	uint32_t keeper;  /* the tid of whoever is, or was, the poster: as in locks that it has left */
	uint32_t bell;    /* futex the poster sleeps on */
	uint32_t asleep;  /* 1: it looks at nothing until the bell rings */
	uint32_t active;  /* entries that are not free, the poster's word */
	uint32_t high;    /* entries from here on were never used */
	uint32_t sent;    /* descriptors have been sent in messages: they may be where nobody sees them */
	uint32_t pad[5];
	uint64_t writes, bytes, files, calls; /* that were posted, and the calls that have written them */
	uint64_t lost;    /* bytes that no room was found for, and whose program was told so or is dead */
	uint64_t recovered; /* bytes that were finished for programs that had died over them */
	uint64_t pad1[2];
	uint32_t patterns; /* how many bytes of text: the files that may be posted */
	uint8_t pad2[380];
	char text[POST_TEXT];
};

/*
 *   agent:  FREE -> CLAIMED (compare and swap), fills in, -> ASKED, rings the bell
 *   poster: opens the file by /proc/PID/fd, checks it, -> OPEN, or REFUSED
 *   agent:  posts and writes; all is written, -> LEAVING, rings
 *   poster: closes it, -> FREE. Without a poster the agent does that
 */
enum post_state { POST_FREE, POST_CLAIMED, POST_ASKED, POST_OPEN, POST_REFUSED, POST_LEAVING };

enum post_file_flags {
	POST_APPENDS = 1,
	POST_SHARED = 2, /* other processes may have the same open file, by birth: one opening, one position */
};

enum post_attention { POST_FAILED = 1, POST_STOP = 2 /* it is to be posted no more */ };

struct post_file {
	uint32_t state; /* futex */
	uint32_t pid;
	int32_t fd; /* in the program */
	uint32_t flags;
	uint32_t serial; /* +1 with every claim */
	uint32_t keeper; /* poster that has it open */
	uint64_t dev, ino;
	uint64_t at; /* position in the file of the byte with number 0; it may wrap. Not of one that appends */
	uint64_t placed; /* the position of the program's descriptor is right after so many bytes */
	uint32_t fds;    /* so many descriptors of the program's are this one */
	uint32_t pad0;
	/* the program's, for every write */
	uint64_t tail; /* bytes posted; store-release after them */
	uint64_t writes;
	uint64_t pad1[6];
	/* under the lock */
	uint32_t lock; /* tid of who writes, with WORD_WAITERS if somebody sleeps on it */
	int32_t error; /* a positive errno, until the program is told */
	uint64_t done; /* bytes in the file */
	uint64_t end;  /* where the last of them ends */
	uint64_t intent, size; /* before appending: up to which number, and how large the file is */
	uint64_t calls;
	uint32_t wanted; /* somebody waits for what is posted now */
	uint32_t met;    /* so often have others written to the file soon after each other */
	uint32_t met_at; /* and so much was posted by then */
	uint32_t pad2;
	/* for the program, which looks at every write */
	uint32_t attention;
	uint32_t pad3[15];
};

_Static_assert(sizeof(struct post_head) == 16384, "post_head");
_Static_assert(sizeof(struct post_file) == 256 && offsetof(struct post_file, tail) == 64 &&
	       offsetof(struct post_file, lock) == 128 && offsetof(struct post_file, attention) == 192, "post_file");

/* Where the poster has found the file, for whoever comes after it. Programs do not map this. */
struct post_place {
	uint64_t dev, ino;
	uint32_t serial, len;
	char path[POST_PATH - 24];
};

_Static_assert(sizeof(struct post_place) == POST_PATH, "post_place");

#define POST_FILES_AT sizeof(struct post_head)
#define POST_MAPPED (POST_FILES_AT + sizeof(struct post_file) * POST_FILES)
#define POST_PLACES_AT POST_MAPPED
#define POST_RINGS_AT (POST_PLACES_AT + (uint64_t)POST_PATH * POST_FILES)
#define POST_RING_AT(i) (POST_RINGS_AT + (uint64_t)(i) * POST_RING)
#define POST_SIZE POST_RING_AT(POST_FILES)

static int64_t post_call(uint64_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e);

/* ---- about files ------------------------------------------------------------------------------------------------- */

struct post_about {
	uint64_t dev, ino, size;
	uint32_t mode;
};

/* 0 or a negative errno. By statx, whose structure is the same on all machines. */
static int64_t post_about(int64_t fd, struct post_about *to)
{
	uint64_t raw[32];
	int64_t r = post_call(NR_statx, (uint64_t)fd, (uint64_t)"", 0x1000, 0x7ff, (uint64_t)raw); /* AT_EMPTY_PATH */

	if (r < 0)
		return r;
	to->mode = (uint32_t)(raw[3] >> 32) & 0xffff;
	to->ino = raw[4];
	to->size = raw[5];
	to->dev = raw[17];
	return 0;
}

#define POST_IS_FILE(mode) (((mode) & 0170000) == 0100000)

/* ---- the lock ---------------------------------------------------------------------------------------------------- */

static inline int post_try(struct post_file *f, uint32_t me)
{
	return swap_if(&f->lock, 0, me);
}

static inline uint32_t post_owner(const struct post_file *f)
{
	return get_acquire(&f->lock) & ~WORD_WAITERS;
}

static void post_unlock(struct post_file *f)
{
	if (__atomic_exchange_n(&f->lock, 0, __ATOMIC_ACQ_REL) & WORD_WAITERS)
		post_call(NR_futex, (uint64_t)&f->lock, 1, 0x7fffffff, 0, 0);
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static uint32_t post_parts(const uint8_t *ring, uint64_t from, uint64_t n, uint64_t iov[2][2])
{
	uint64_t at = from % POST_RING, first = POST_RING - at < n ? POST_RING - at : n;

	iov[0][0] = (uint64_t)(ring + at);
	iov[0][1] = first;
	iov[1][0] = (uint64_t)ring;
	iov[1][1] = n - first;
	return n > first ? 2 : 1;
}

/* What could not be written will not be: its program is told at its next call, as of what the page cache loses. */
static void post_fail(struct post_head *h, struct post_file *f, int64_t error, uint64_t to)
{
	__atomic_add_fetch(&h->lost, to - f->done, __ATOMIC_RELAXED);
	if (!f->error)
		f->error = (int32_t)error;
	f->intent = 0;
	__atomic_store_n(&f->done, to, __ATOMIC_RELEASE);
	__atomic_or_fetch(&f->attention, POST_FAILED, __ATOMIC_RELEASE);
}

/*
 * All that is posted, under the lock. `fd` may be the program's own or another one of the same file; for one that
 * appends it has O_APPEND, too.
 */
static void post_flush(struct post_head *h, struct post_file *f, const uint8_t *ring, int64_t fd)
{
	enum { PATIENCE = 100, EINTR__ = 4, EAGAIN__ = 11, EIO__ = 5, ENOSPC__ = 28 };
	uint64_t to = __atomic_load_n(&f->tail, __ATOMIC_ACQUIRE), from = f->done, iov[2][2];
	int appends = f->flags & POST_APPENDS, tries = 0;

	if (to - from > POST_RING || f->error) {
		post_fail(h, f, f->error ? f->error : EIO__, to);
		return;
	}
	while (from != to) {
		uint32_t parts = post_parts(ring, from, to - from, iov);
		int64_t r;

		if (appends) {
			struct post_about about;

			r = post_about(fd, &about);
			if (r < 0) {
				post_fail(h, f, -r, to);
				return;
			}
			f->size = about.size;
			__atomic_store_n(&f->intent, to, __ATOMIC_SEQ_CST); /* before the file changes */
			r = post_call(NR_writev, (uint64_t)fd, (uint64_t)iov, parts, 0, 0);
		} else {
			r = post_call(NR_pwritev, (uint64_t)fd, (uint64_t)iov, parts, f->at + from, 0);
		}
		if ((r == -EINTR__ || r == -EAGAIN__) && tries++ < PATIENCE)
			continue;
		if (r <= 0) {
			if (!appends)
				f->end = f->at + from;
			post_fail(h, f, r ? -r : ENOSPC__, to);
			return;
		}
		from += (uint64_t)r;
		f->calls++;
		__atomic_store_n(&f->done, from, __ATOMIC_RELEASE);
	}
	f->intent = 0;
	if (!appends) {
		f->end = f->at + from;
	} else {
		int64_t end = post_call(NR_lseek, (uint64_t)fd, 0, 1, 0, 0);

		f->end = end < 0 ? 0 : (uint64_t)end;
	}
}

/* How many of the bytes from number `from` on the file has at `at`; *ends: it has no more. */
static uint64_t post_match(const uint8_t *ring, uint64_t from, uint64_t n, int64_t fd, uint64_t at, int *ends)
{
	uint8_t some[512];
	uint64_t same = 0;

	*ends = 0;
	while (same < n) {
		uint64_t want = n - same < sizeof some ? n - same : sizeof some;
		int64_t r = post_call(NR_pread64, (uint64_t)fd, (uint64_t)some, want, at + same, 0);

		if (r <= 0) {
			*ends = 1;
			break;
		}
		for (int64_t i = 0; i < r; i++, same++)
			if (some[i] != ring[(from + same) % POST_RING])
				return same;
	}
	return same;
}

/*
 * Whoever held the lock is dead, and the lock is ours: has it appended what it wanted to? `fd` can be read, or is -1:
 * then the file's size (of `writer`) must do. A write that is killed ends where a page does.
 */
static void post_mend(struct post_file *f, const uint8_t *ring, int64_t fd, int64_t writer)
{
	uint64_t n = f->intent - f->done, at = f->size;
	struct post_about about;

	if (!(f->flags & POST_APPENDS) || !f->intent || !n || n > POST_RING || post_about(writer, &about) < 0 ||
	    about.size <= at)
		return;
	if (fd < 0) {
		f->done += about.size - at < n ? about.size - at : n;
		return;
	}
	for (uint64_t end = at + POST_FIND; at < about.size && at < end; at++) {
		int ends;
		uint64_t same = post_match(ring, f->done, n, fd, at, &ends);

		if (same == n || ((ends || at == f->size) && same && !((at + same) % 512))) {
			f->done += same;
			return;
		}
	}
}

#endif
