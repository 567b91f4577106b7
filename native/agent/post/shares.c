/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors that are handed on: to children, to the next image, to us by whoever has started us, and copies. What a
 * birth or an exec hands on is posted no more before it happens, and may be posted again after it. From then on
 * somebody else may have the same opening, and its position: then the poster looks who has, unless all that anybody can
 * do is append. What is sent in messages could be anywhere, and is not posted again. Called by life.c, exec.c and
 * start.c.
 */
#include "post.h"

enum {
	HERE = -100,
	GET_FD_FLAGS = 1, GET_FLAGS = 3, /* F_GETFD, F_GETFL */
};

static uint64_t lent[POST_FDS / 64] COLD(4); /* candidates again once no birth is under way */
static uint64_t shared[POST_FDS / 64] COLD(4);

void post_share(uint64_t fd, int is_shared)
{
	if (is_shared)
		__atomic_or_fetch(&shared[fd / 64], 1ull << fd % 64, __ATOMIC_RELAXED);
	else if (post_is_shared(fd))
		__atomic_and_fetch(&shared[fd / 64], ~(1ull << fd % 64), __ATOMIC_RELAXED);
}

int post_is_shared(uint64_t fd)
{
	return __atomic_load_n(&shared[fd / 64], __ATOMIC_RELAXED) >> fd % 64 & 1;
}

/* ---- what we have from others ------------------------------------------------------------------------------------ */

static int32_t number_of(const char *name)
{
	int32_t n = *name >= '0' && *name <= '9' ? 0 : -1;

	for (; *name >= '0' && *name <= '9' && n < POST_FDS; name++)
		n = 10 * n + *name - '0';
	return n;
}

static void inherit(int32_t fd)
{
	struct post_about about;
	int64_t flags = GATE3(NR_fcntl, fd, GET_FLAGS, 0);

	if (flags < 0 || !(flags & 3) || post_about(fd, &about) < 0 || !POST_IS_FILE(about.mode))
		return;
	post_is_used = 1;
	post_marks[fd] = MARK_CANDIDATE;
	post_share((uint64_t)fd, 1);
}

/* A new image, before its first call. */
void post_inherit(void)
{
	int64_t dir = GATE4(NR_openat, (int64_t)HERE, "/proc/self/fd", 02200000, 0), n; /* O_DIRECTORY, O_CLOEXEC */
	char room[1024];

	while (dir >= 0 && (n = GATE3(NR_getdents64, dir, room, sizeof room)) > 0)
		for (int64_t at = 0; at < n; at += *(uint16_t *)(room + at + 16)) {
			int32_t fd = number_of(room + at + 19);

			if (fd >= 0 && fd < POST_FDS && fd != dir)
				inherit(fd);
		}
	if (dir >= 0)
		GATE1(NR_close, dir);
}

/* We are at both, so nobody posts them meanwhile; but they may have been asked about. */
void post_copied(uint64_t from, uint64_t to)
{
	if (from == to || (from >= POST_FDS && to >= POST_FDS))
		return;
	if (from >= POST_FDS || to >= POST_FDS) { /* one that is not known has a hand in it */
		post_forget(MARK_ASKED);
		post_drop(from < to ? from : to);
		return;
	}
	post_take(&post_lock);
	post_unask(from);
	post_unask(to);
	post_counts[to] = 0;
	post_marks[to] = post_frozen || post_is_off ? (uint8_t)MARK_NONE : post_marks[from];
	if (post_marks[to] != MARK_CANDIDATE)
		post_marks[to] = MARK_NONE;
	post_share(to, post_is_shared(from));
	post_give(&post_lock);
}

/* ---- births and ends --------------------------------------------------------------------------------------------- */

void post_forget(uint8_t mark)
{
	if (!post_is_used)
		return;
	post_take(&post_lock);
	for (uint32_t i = 0; i < POST_FDS; i++)
		if (post_marks[i] == mark) {
			if (mark == MARK_ASKED)
				post_cancel(i);
			post_marks[i] = MARK_NONE;
		}
	post_give(&post_lock);
}

void post_off(struct thread *t)
{
	put_relaxed(&post_is_off, 1);
	post_leave_all(t);
}

/* What an exec closes is shared with a child of vfork only until it executes something. */
static void lend(int is_vfork)
{
	for (uint32_t i = 0; post_is_used && i < POST_FDS; i++) {
		if (post_marks[i] && post_marks[i] < MARK_WATCHED)
			post_lend(i);
		if (lent[i / 64] >> i % 64 & 1 && !(is_vfork && GATE3(NR_fcntl, i, GET_FD_FLAGS, 0) & 1))
			post_share(i, 1);
	}
}

static void give_back(void)
{
	for (uint32_t i = 0; post_is_used && i < POST_FDS; i++)
		if (lent[i / 64] >> i % 64 & 1 && !post_marks[i]) {
			post_counts[i] = 0;
			post_marks[i] = MARK_CANDIDATE;
		}
	memset(lent, 0, sizeof lent);
}

/* Whoever is being born may have it as well, or not. */
void post_lend(uint64_t fd)
{
	__atomic_or_fetch(&lent[fd / 64], 1ull << fd % 64, __ATOMIC_RELAXED);
}

void post_closed(uint64_t first, uint64_t last)
{
	for (uint64_t i = first; i <= last && i < POST_FDS; i++)
		__atomic_and_fetch(&lent[i / 64], ~(1ull << i % 64), __ATOMIC_RELAXED);
}

void post_lent(uint64_t fd)
{
	if (fd < POST_FDS && lent[fd / 64] >> fd % 64 & 1)
		post_share(fd, 1);
}

void post_lent_all(int is_lost)
{
	for (uint32_t i = 0; post_is_used && i < POST_FDS / 64; i++) {
		if (is_lost)
			__atomic_store_n(&lent[i], 0, __ATOMIC_RELAXED);
		else
			__atomic_or_fetch(&shared[i], lent[i], __ATOMIC_RELAXED);
	}
}

/* Descriptors are about to be shared with another process, or with the next image. */
void post_begin_birth(struct thread *t, enum post_birth kind)
{
	if (kind == BIRTH_ODD) {
		post_off(t);
	} else if (kind != BIRTH_THREAD) {
		post_take(&post_lock);
		post_frozen++;
		lend(kind == BIRTH_VFORK && post_frozen == 1);
		post_give(&post_lock);
		post_leave_all(t);
	}
}

void post_end_birth(enum post_birth kind)
{
	if (kind == BIRTH_THREAD || kind == BIRTH_ODD)
		return;
	post_take(&post_lock);
	post_frozen -= post_frozen > 0;
	if (!post_frozen && !post_is_off)
		give_back();
	post_give(&post_lock);
}

void post_last(struct thread *t)
{
	if (t->process == &process_main)
		post_leave_all(t);
}

/* The child: nothing is its own yet, and nobody else is there. */
void post_forked(void)
{
	post_lock = post_frozen = 0;
	post_count = post_asks = 0;
	if (!post_is_used)
		return;
	memset(post_own, 0, sizeof post_own);
	memset(post_marks, 0, sizeof post_marks);
	post_alone();
	post_lent_all(0);
	give_back();
}
