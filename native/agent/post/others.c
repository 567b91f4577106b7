/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What other processes of the run have posted: a call that must find it in its file waits for the poster to write it,
 * but not for ever. Who writes to the file by an opening that it shares with who has posted, or looks for its position,
 * moves that to where it should be. Called by calls.c and exec.c before the call itself.
 */
#include "post.h"

enum {
	MAP_FD = 4, MAP_FLAGS = 3, MAP_ANONYMOUS_ = 0x20,
	F_SETFL_ = 4,
	PATIENCE = 1000, /* ms */
	GLOBAL_EXPEDITED_ = 2,
	COMPARE_FILES = 0, /* KCMP_FILE */
	FEW = 32, OFTEN = 64, /* see meets() */
	TURNS = 1000,
};

static struct post_file *file_at(uint32_t i)
{
	return (struct post_file *)((char *)post_head + POST_FILES_AT) + i;
}

static uint32_t file_end(void)
{
	uint32_t high = get_acquire(&post_head->high);

	return high < POST_FILES ? high : POST_FILES;
}

static int is_posted(const struct post_file *f)
{
	uint32_t state = get_acquire(&f->state);

	return state == POST_OPEN || state == POST_LEAVING;
}

static void await(struct post_file *f)
{
	uint64_t want = __atomic_load_n(&f->tail, __ATOMIC_ACQUIRE), done;
	uint32_t serial = get_relaxed(&f->serial);

	put_release(&f->wanted, 1);
	post_bell();
	for (int i = 0; i < PATIENCE; i++) {
		done = __atomic_load_n(&f->done, __ATOMIC_ACQUIRE);
		if ((int64_t)(want - done) <= 0 || get_relaxed(&f->serial) != serial || !is_posted(f))
			return;
		life_sleep((uint32_t *)&f->done, (uint32_t)done, 1);
	}
}

/*
 * A file that several write to costs more than it gains: each waits for what another has posted. If that has been
 * little, time and again, it is posted no more.
 */
static int meets(struct post_file *f)
{
	uint32_t at = (uint32_t)__atomic_load_n(&f->writes, __ATOMIC_RELAXED);
	uint32_t met = at - get_relaxed(&f->met_at) < FEW ? get_relaxed(&f->met) + 1 : 0;

	put_relaxed(&f->met_at, at);
	put_relaxed(&f->met, met);
	return met > OFTEN;
}

enum how { WAIT, WAIT_TO_WRITE, STOP /* it is to be posted no more by whoever does */ };

/* `same`: one file only, or NULL. */
static void await_others(const struct thread *t, const struct post_about *same, enum how how)
{
	uint32_t own = t->process == &process_main ? t->process->pid : 0;

	for (uint32_t i = 0, end = file_end(); i < end; i++) {
		struct post_file *f = file_at(i);

		if ((!is_posted(f) && !(how == STOP && get_acquire(&f->state) == POST_ASKED)) || (own && f->pid == own))
			continue;
		if (same && (f->ino != same->ino || f->dev != same->dev))
			continue;
		if (how == STOP || (how == WAIT_TO_WRITE && meets(f))) {
			__atomic_or_fetch(&f->attention, POST_STOP, __ATOMIC_ACQ_REL);
			GATE3(NR_membarrier, GLOBAL_EXPEDITED_, 0, 0); /* whoever has not seen it has posted before */
		}
		if (__atomic_load_n(&f->tail, __ATOMIC_ACQUIRE) != __atomic_load_n(&f->done, __ATOMIC_ACQUIRE))
			await(f);
	}
}

/* The opening's position is not behind what was appended, as it would be if the program had written that itself. */
static int is_behind(const struct post_file *f)
{
	return (f->flags & (POST_APPENDS | POST_SHARED)) == (POST_APPENDS | POST_SHARED) &&
	       __atomic_load_n(&f->placed, __ATOMIC_ACQUIRE) != __atomic_load_n(&f->done, __ATOMIC_ACQUIRE);
}

/* `fd` is maybe of the same opening. All is in the file; who has written it says where that ends, and then unlocks. */
static void place_others(const struct thread *t, int32_t fd, const struct post_about *same)
{
	uint32_t pid = t->process->pid;

	for (uint32_t i = 0, end = file_end(); i < end; i++) {
		struct post_file *f = file_at(i);
		uint64_t placed = __atomic_load_n(&f->placed, __ATOMIC_ACQUIRE), done;

		if (!is_posted(f) || f->pid == pid || f->ino != same->ino || f->dev != same->dev || !is_behind(f) ||
		    post_call(NR_kcmp, pid, f->pid, COMPARE_FILES, (uint64_t)fd, (uint64_t)f->fd))
			continue;
		for (int n = 0; n < TURNS && get_acquire(&f->lock); n++)
			GATE1(NR_sched_yield, 0);
		done = __atomic_load_n(&f->done, __ATOMIC_ACQUIRE);
		GATE3(NR_lseek, fd, f->end, 0);
		__atomic_compare_exchange_n(&f->placed, &placed, done, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
	}
}

static int others_have_some(const struct thread *t)
{
	uint32_t own = t->process == &process_main ? t->process->pid : 0;

	for (uint32_t i = 0, end = file_end(); i < end; i++) {
		const struct post_file *f = file_at(i);

		if (is_posted(f) && (!own || f->pid != own) &&
		    (__atomic_load_n(&f->tail, __ATOMIC_ACQUIRE) != __atomic_load_n(&f->done, __ATOMIC_ACQUIRE) ||
		     is_behind(f)))
			return 1;
	}
	return 0;
}

void post_abroad(struct thread *t, uint32_t posts, const uint64_t *args, const struct call_row *row)
{
	struct post_about about;
	enum how how = WAIT;

	if (get_relaxed(post_active) == (t->process == &process_main ? post_count : 0))
		return;
	if (sites_are_quiet()) { /* a filter may forbid to ask what a descriptor is */
		await_others(t, 0, WAIT);
		return;
	}
	switch (posts) {
	case POSTS_ENDS:
		await_others(t, 0, STOP);
		return;
	case POSTS_MESSAGES:
		return;
	case POSTS_ALL:
	case POSTS_OPENS:
		await_others(t, 0, WAIT);
		return;
	case POSTS_MAPS:
		if (!(args[MAP_FLAGS] & MAP_ANONYMOUS_) && post_about((int32_t)args[MAP_FD], &about) >= 0)
			await_others(t, &about, STOP);
		return;
	}
	if (row == &call_rows[NR_fcntl] && (uint32_t)args[1] == F_SETFL_)
		how = STOP; /* it may be O_APPEND of the same opening */
	else if (!others_have_some(t))
		return;
	else if (posts == POSTS_WRITES || posts == POSTS_GATHERS)
		how = WAIT_TO_WRITE;
	for (int i = 0; i < row->nargs; i++)
		if (row->args[i].kind == ARG_FD && post_about((int32_t)args[i], &about) >= 0 &&
		    POST_IS_FILE(about.mode)) {
			await_others(t, &about, how);
			if (posts >= POSTS_WRITES && posts <= POSTS_MOVES)
				place_others(t, (int32_t)args[i], &about);
		}
}
