/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The poster: a process that writes into their files what programs have posted (shared/posts.h): after a moment of
 * quiet, when somebody waits for it, and when a program has died. It stands beside the launcher, so that it stays
 * when that one is killed; the front starts another one should it be killed itself.
 */
#ifndef LSCA_POSTER_H
#define LSCA_POSTER_H

#include <errno.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

enum {
	NR_statx = SYS_statx,
	NR_writev = SYS_writev,
	NR_pwritev = SYS_pwritev,
	NR_pread64 = SYS_pread64,
	NR_lseek = SYS_lseek,
	NR_futex = SYS_futex,
};

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include "posts.h"

static int64_t post_call(uint64_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e)
{
	int64_t r = syscall((long)nr, a, b, c, d, e);

	return r < 0 ? -errno : r;
}
#pragma GCC diagnostic pop

/* What we have of an entry. `fd` -1: nothing. */
struct held {
	int fd;
	int can_read;
	uint32_t serial;
	pid_t pid;
	uint64_t seen, synced;
	uint32_t age; /* ticks since there was something first */
};

struct watched {
	pid_t pid; /* 0: none */
	int pidfd;
};

struct poster {
	struct post_head *head;
	struct post_file *files;
	int fd; /* of the memory */
	int lifeline; /* nobody has its other end any more: the run is over. -1: it is over already */
	uint32_t me;
	struct held held[POST_FILES];
	struct watched watched[POST_FILES];
};

#define POST_NAME "lsca-post"

/* memory.c */
int post_create(const char *text, uint32_t size, uint32_t flags, uint32_t after); /* descriptor or negative errno */
struct post_head *post_open(int fd); /* mapped, or NULL */
void post_close(struct post_head *h);
void post_remove(int fd); /* its name */
uint64_t post_waiting(const struct post_head *h, int dead_only); /* bytes */
void post_totals(const struct post_head *h, uint64_t *writes, uint64_t *bytes, uint64_t *files); /* with open ones */

static inline struct post_file *post_files(struct post_head *h)
{
	return (struct post_file *)((char *)h + POST_FILES_AT);
}

static inline uint8_t *post_ring(struct post_head *h, uint32_t i)
{
	return (uint8_t *)h + POST_RING_AT(i);
}

static inline struct post_place *post_place(struct post_head *h, uint32_t i)
{
	return (struct post_place *)((char *)h + POST_PLACES_AT) + i;
}

static inline uint32_t post_end(const struct post_head *h)
{
	uint32_t high = get_acquire(&h->high);

	return high < POST_FILES ? high : POST_FILES;
}

/* open.c */
int poster_watch(struct poster *p, pid_t pid); /* 0: it is dead already */
int poster_is_dead(const struct poster *p, pid_t pid);
void poster_answer(struct poster *p, uint32_t i);
void poster_adopt(struct poster *p, uint32_t i);
void poster_count(struct poster *p);

/* poster.c */
pid_t poster_start(int fd, int lifeline);
int poster_finish(int fd); /* for whoever finds the memory and nobody else: 1: all is written */

/* recover.c: what is left of runs of which nobody is left */
struct post_left {
	uint64_t bytes, lost;
	int is_done;
	char name[64];
};
int post_recover(struct post_left *to, int most);

#endif
