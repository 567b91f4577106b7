/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is posted goes into its file, by the agent: because there is no room for more, because a call must find it
 * there, or because the file is to be posted no more. The poster may be at the same file, so all of it happens under
 * the lock of the file's entry; should it have died there, what it left is mended. Called by calls.c and files.c.
 */
#include "post.h"

enum {
	HERE = -100, SPINS = 200, PATIENCE = 50 /* times 10 ms, for the poster's word */,
	STANDS = 10, /* sleeps of 10 ms: whoever has a lock for so long may have been stopped */
	SIGCONT_ = 18,
};

/* ---- threads take turns ------------------------------------------------------------------------------------------ */

/* 0: free, 1: held, 2: and somebody sleeps on it. */
void post_take(uint32_t *word)
{
	for (int i = 0; i < SPINS; i++) {
		if (swap_if(word, 0, 1))
			return;
		arch_relax();
	}
	while (__atomic_exchange_n(word, 2, __ATOMIC_ACQ_REL))
		life_sleep(word, 2, 100);
}

void post_give(uint32_t *word)
{
	if (__atomic_exchange_n(word, 0, __ATOMIC_ACQ_REL) == 2)
		life_wake(word);
}

void post_hold(struct post_own *o)
{
	post_take(&o->lock);
}

void post_release(struct post_own *o)
{
	post_give(&o->lock);
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

/* Whoever had the lock and is dead has maybe appended some of it. */
static void mend(struct post_own *o)
{
	char link[40], *end = start_append(link, "/proc/thread-self/fd/");
	int64_t fd;

	*start_decimal(end, (uint32_t)o->fd) = 0;
	fd = GATE4(NR_openat, (int64_t)HERE, link, 02000000, 0);
	post_mend(o->file, o->ring, fd, o->fd);
	if (fd >= 0)
		GATE1(NR_close, fd);
}

/*
 * Nobody may break the lock of one that lives: it would go on where it was, and write what is old by then. So it must
 * go on now.
 */
static void wake_poster(struct thread *t)
{
	char text[64], wanted[64], *end;
	uint32_t keeper = get_relaxed(&post_head->keeper);
	int64_t fd, n;

	if (t->process->elsewhere) /* there it is another one's number */
		return;
	*start_append(start_decimal(start_append(text, "/proc/"), keeper), "/stat") = 0;
	end = start_append(start_decimal(wanted, keeper), " (lsca-poster) T");
	fd = GATE4(NR_openat, (int64_t)HERE, text, 02000000, 0); /* O_CLOEXEC */
	if (fd < 0)
		return;
	n = GATE3(NR_read, fd, text, sizeof text);
	GATE1(NR_close, fd);
	if (n >= end - wanted && !memcmp(text, wanted, (uint64_t)(end - wanted)))
		GATE2(NR_kill, keeper, SIGCONT_);
}

static void lock_file(struct thread *t, struct post_own *o)
{
	struct post_file *f = o->file;

	for (int i = 0; !post_try(f, t->tid); i++) {
		uint32_t poster = get_acquire(&post_head->poster), was = get_acquire(&f->lock);

		if (i < 100) {
			arch_relax();
			continue;
		}
		if (poster & WORD_DIED && was && (was & ~WORD_WAITERS) == get_relaxed(&post_head->keeper)) {
			if (swap_if(&f->lock, was, t->tid)) {
				mend(o);
				return;
			}
		} else if (was && (was & WORD_WAITERS || swap_if(&f->lock, was, was | WORD_WAITERS))) {
			life_sleep(&f->lock, was | WORD_WAITERS, 10);
			if (i % STANDS == STANDS - 1 && (was & ~WORD_WAITERS) == get_relaxed(&post_head->keeper))
				wake_poster(t);
		}
	}
}

void post_bring(struct thread *t, struct post_own *o)
{
	struct post_file *f = o->file;

	lock_file(t, o); /* even if all is done: whoever did it may not have said yet where that has ended */
	if (f->done != o->tail)
		post_flush(post_head, f, o->ring, o->fd);
	post_unlock(f);
}

void post_place(struct post_own *o)
{
	struct post_file *f = o->file;
	uint64_t at = f->flags & POST_APPENDS || f->error ? f->end : f->at + o->tail;

	if (__atomic_load_n(&f->placed, __ATOMIC_ACQUIRE) != o->tail && (o->tail || f->error))
		GATE3(NR_lseek, o->fd, at, 0);
	__atomic_store_n(&f->placed, o->tail, __ATOMIC_RELEASE);
}

void post_settle(struct post_own *o)
{
	int64_t at = GATE3(NR_lseek, o->fd, 0, 1);

	if (o->file->flags & POST_APPENDS || at < 0)
		return;
	if (o->file->at != (uint64_t)at - o->tail) {
		o->file->at = (uint64_t)at - o->tail;
		post_set_most(o);
	}
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

uint32_t post_twins(const struct post_own *o, uint16_t *fds)
{
	uint8_t mark = (uint8_t)(o - post_own + 1);
	uint32_t n = 0;

	if (o->fds == 1 && post_marks[o->fd] == mark) {
		*fds = (uint16_t)o->fd;
		return 1;
	}
	for (uint32_t i = 0; i < POST_FDS && n < o->fds; i++)
		if (post_marks[i] == mark)
			fds[n++] = (uint16_t)i;
	return n;
}

static void leave(struct post_own *o, uint8_t mark)
{
	struct post_file *f = o->file;
	int is_alive = post_is_alive();
	uint16_t twins[POST_TWINS];

	__atomic_add_fetch(&post_head->writes, f->writes, __ATOMIC_RELAXED);
	__atomic_add_fetch(&post_head->bytes, o->tail, __ATOMIC_RELAXED);
	__atomic_add_fetch(&post_head->calls, f->calls, __ATOMIC_RELAXED);
	__atomic_add_fetch(&post_head->files, 1, __ATOMIC_RELAXED);
	f->writes = f->calls = 0;
	for (uint32_t i = 0, n = post_twins(o, twins); i < n; i++) {
		if (mark == MARK_CANDIDATE)
			post_counts[twins[i]] = 0;
		__atomic_store_n(&post_marks[twins[i]], mark, __ATOMIC_RELEASE);
	}
	put_relaxed(&o->is_there, 0);
	__atomic_sub_fetch(&post_count, 1, __ATOMIC_RELAXED);
	GATE2(NR_munmap, o->ring, POST_RING);
	o->file = 0;
	put_release(&f->state, is_alive ? POST_LEAVING : POST_FREE);
	if (is_alive)
		post_bell();
}

void post_leave(struct post_own *o)
{
	leave(o, MARK_NONE);
}

/* A birth in another thread must not find it as if it had never been posted: who has it then is not known after it. */
void post_leave_again(struct post_own *o)
{
	leave(o, MARK_CANDIDATE);
}

void post_part(struct post_own *o, uint64_t fd)
{
	uint16_t twins[POST_TWINS];

	post_marks[(uint32_t)fd] = MARK_NONE;
	o->fds--;
	if (o->fd != (int32_t)fd || !post_twins(o, twins))
		return;
	o->fd = twins[0];
	put_release((uint32_t *)&o->file->fd, twins[0]); /* by which a new poster finds the file */
}

/* As long as the poster has it open, a file could not be executed. */
void post_await_closed(void)
{
	struct post_file *f = (struct post_file *)((char *)post_head + POST_FILES_AT);

	for (uint32_t i = 0; i < POST_FILES && i < get_acquire(&post_head->high); i++)
		for (int n = 0; n < PATIENCE && get_acquire(&f[i].state) == POST_LEAVING && post_is_alive(); n++)
			life_sleep(&f[i].state, POST_LEAVING, 10);
}

/* `leaves`: and is posted no more. */
static void bring_all(struct thread *t, int leaves)
{
	uint32_t left = get_relaxed(&post_count);

	for (uint32_t i = 0; i < POST_OWN && left; i++) {
		struct post_own *o = &post_own[i];

		left -= get_relaxed(&o->is_there);
		if (!get_acquire(&o->is_there) || (!leaves && __atomic_load_n(&o->file->done, __ATOMIC_RELAXED) ==
						   __atomic_load_n(&o->tail, __ATOMIC_RELAXED)))
			continue;
		post_hold(o);
		if (o->is_there) {
			post_bring(t, o);
			if (leaves) {
				post_place(o);
				post_leave(o);
			}
		}
		post_release(o);
	}
}

void post_bring_all(struct thread *t)
{
	bring_all(t, 0);
}

void post_leave_all(struct thread *t)
{
	post_forget(MARK_CANDIDATE);
	post_forget(MARK_ASKED);
	bring_all(t, 1);
	post_forget(MARK_WATCHED);
}

void post_leave_same(struct thread *t, int64_t fd)
{
	struct post_about about;

	if (post_about(fd, &about) < 0)
		return;
	for (uint32_t i = 0; i < POST_OWN; i++) {
		struct post_own *o = &post_own[i];

		if (!get_acquire(&o->is_there))
			continue;
		post_hold(o);
		if (o->is_there && o->file->ino == about.ino && o->file->dev == about.dev) {
			post_bring(t, o);
			post_place(o);
			post_leave(o);
		}
		post_release(o);
	}
}
