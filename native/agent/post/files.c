/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files of this process are posted (shared/posts.h), from the write with which one begins to the call with which
 * it ends. A file begins to be posted once it has been written to a few times; the poster opens it, too, and says yes
 * or no. It ends with its descriptors, or with the first call after which somebody else could move its position.
 * Several descriptors may be of one opening (2>&1): they have one position, and are posted together. Called by calls.c
 * and shares.c; bring.c ends what has begun here.
 */
#include "post.h"

#include "handler.h"

enum {
	HERE = -100,
	GET_FLAGS = 3, /* F_GETFL */
	FLAGS_NEVER = 04000000 | 010000 | 040000 | 020000, /* __O_SYNC, O_DSYNC, O_DIRECT, O_ASYNC */
	FLAG_APPEND = 02000,
	LIMIT_FSIZE = 1,
	NAME_ROOM = 1024,
	STILL = 1000, /* turns */
	PATIENCE = 20, /* times 10 ms */
	TRIES = 20, /* of this image's, that may be refused: others may end, and copies be closed */
	LATER = 64, /* so many writes more before the next one, each time */
	REGISTER_GLOBAL_EXPEDITED_ = 4,
	MREMAP_MAYMOVE_ = 1, MADV_POPULATE_WRITE_ = 23,
	COMPARE_FILES = 0, /* KCMP_FILE */
};

#define POSITIONS (1ull << 43) /* no file is let grow beyond that without the kernel's word */

static const uint32_t no_active;
struct post_head *post_head;
const uint32_t *post_active = &no_active;
uint32_t post_count, post_asks;
uint8_t post_marks[POST_FDS] COLD(4);
uint16_t post_counts[POST_FDS] COLD(4);
static uint16_t users[POST_FDS] COLD(4); /* threads in calls with a candidate */
struct post_own post_own[POST_OWN] COLD(4);
static uint32_t refused;
uint32_t post_lock, post_frozen, post_is_off, post_is_used;

static struct post_file *file_at(uint32_t i)
{
	return (struct post_file *)((char *)post_head + POST_FILES_AT) + i;
}

/* Who is not told of posting does without. */
void post_map(int64_t fd)
{
	uint64_t below = (uint64_t)session;
	int64_t r = GATE6(NR_mmap, (below - POST_MAPPED - (8ull << 20)) & ~4095ull, POST_MAPPED, 3, 1, fd, 0);
	struct post_head *h = (struct post_head *)r;

	if (r < 0 && r > -4096)
		return;
	if (h->magic != POST_MAGIC || h->version != POST_VERSION) {
		GATE2(NR_munmap, h, POST_MAPPED);
		return;
	}
	post_active = &h->active;
	post_head = h;
}

int post_is_alive(void)
{
	uint32_t poster = get_acquire(&post_head->poster);

	return poster && !(poster & WORD_DIED);
}

void post_bell(void)
{
	put_relaxed(&post_head->asleep, 0);
	add_one(&post_head->bell);
	life_wake(&post_head->bell);
}

/* ---- beginning --------------------------------------------------------------------------------------------------- */

static int is_same(const struct post_file *f, const struct post_about *about)
{
	return f && f->ino == about->ino && f->dev == about->dev;
}

/* Every `*` and `?` of a pattern stays within a component of the path, `**` does not. */
static int is_wanted(const char *path, uint64_t len)
{
	uint32_t size = post_head->patterns;

	for (uint32_t at = 0, n; at < size && size <= POST_TEXT; at += n + 1) {
		for (n = 0; at + n < size && post_head->text[at + n]; n++)
			;
		if (rules_glob(post_head->text + at, n, path, len))
			return 1;
	}
	return 0;
}

static int has_wanted_name(int64_t fd)
{
	char link[40], *end = start_append(link, "/proc/thread-self/fd/"), name[NAME_ROOM];
	int64_t n;

	*start_decimal(end, (uint32_t)fd) = 0;
	n = GATE4(NR_readlinkat, (int64_t)HERE, link, name, sizeof name);
	return n > 0 && n < NAME_ROOM && is_wanted(name, (uint64_t)n);
}

static uint64_t size_limit(void)
{
	uint64_t limit[2];

	if (GATE4(NR_prlimit64, 0, LIMIT_FSIZE, 0, limit) || limit[0] > POSITIONS)
		return POSITIONS;
	return limit[0];
}

/* How far `tail` may go. Where others may append, too, nobody knows how near the limit is. */
void post_set_most(struct post_own *o)
{
	const struct post_file *f = o->file;
	uint64_t limit = size_limit();

	if (f->flags & POST_APPENDS)
		o->most = limit == POSITIONS ? ~0ull >> 1 : 0;
	else
		o->most = (int64_t)(limit - f->at) < 0 ? 0 : limit - f->at;
	o->limit = o->tail; /* the next write looks */
}

void post_limits(void)
{
	for (uint32_t i = 0; i < POST_OWN; i++) {
		struct post_own *o = &post_own[i];

		if (!get_relaxed(&o->is_there))
			continue;
		post_hold(o);
		if (o->is_there)
			post_set_most(o);
		post_release(o);
	}
}

/* The entry's ring, and nothing else of the file: another view of what we have, cut to it. */
static uint8_t *map_ring(uint32_t i)
{
	uint64_t before = POST_RING_AT(i);
	int64_t r = GATE4(NR_mremap, post_head, 0, before + POST_RING, MREMAP_MAYMOVE_), e;

	if (r < 0 && r > -4096)
		return 0;
	GATE2(NR_munmap, r, before);
	e = GATE3(NR_madvise, r + (int64_t)before, POST_RING, MADV_POPULATE_WRITE_);
	if (e < 0 && e != -EINVAL_) { /* EINVAL: before Linux 5.14. Else there is no memory for it */
		GATE2(NR_munmap, r + (int64_t)before, POST_RING);
		return 0;
	}
	return (uint8_t *)r + before;
}

static struct post_file *claim(uint32_t *index)
{
	for (uint32_t i = 0; i < POST_FILES; i++) {
		struct post_file *f = file_at(i);

		if (get_relaxed(&f->state) == POST_FREE && swap_if(&f->state, POST_FREE, POST_CLAIMED)) {
			raise_to(&post_head->high, i + 1);
			*index = i;
			return f;
		}
	}
	return 0;
}

/* The candidates that are of the same opening as `fd`. POST_TWINS: there may be more. */
static uint32_t find_twins(const struct thread *t, int64_t fd, const struct post_about *about, uint16_t *to)
{
	struct post_about its;
	uint32_t n = 0;

	for (uint32_t i = 0; i < POST_FDS && n < POST_TWINS; i++)
		if (post_marks[i] == MARK_CANDIDATE && i != fd && post_about(i, &its) >= 0 && its.ino == about->ino &&
		    its.dev == about->dev &&
		    !post_call(NR_kcmp, t->process->pid, t->process->pid, COMPARE_FILES, (uint64_t)fd, i))
			to[n++] = (uint16_t)i;
	return n;
}

/* Who shares one of them shares the position of all. */
static int is_shared(int64_t fd, const uint16_t *twins, uint32_t n)
{
	int found = post_is_shared((uint64_t)fd);

	for (uint32_t i = 0; i < n && !found; i++)
		found = post_is_shared(twins[i]);
	return found;
}

/* The poster is asked whether it may be, and has opened it by the time it says yes. Nobody waits for that. */
static uint8_t ask(struct thread *t, int64_t fd, struct post_own *o)
{
	struct post_about about;
	uint16_t twins[POST_TWINS];
	struct post_file *f;
	int64_t flags;
	uint32_t i, n;

	flags = GATE3(NR_fcntl, fd, GET_FLAGS, 0);
	if (flags < 0 || !(flags & 3) || (flags & FLAGS_NEVER) || post_about(fd, &about) < 0 ||
	    !POST_IS_FILE(about.mode) || !has_wanted_name(fd))
		return MARK_NONE;
	for (i = 0; i < POST_OWN; i++)
		if (is_same(post_own[i].file, &about)) /* by a twin, which is about to begin */
			return post_own[i].is_there ? MARK_WATCHED : MARK_CANDIDATE;
	n = find_twins(t, fd, &about, twins);
	f = n < POST_TWINS ? claim(&i) : 0;
	if (!f)
		return MARK_NONE;
	f->pid = t->process->pid;
	f->fd = (int32_t)fd;
	f->flags = flags & FLAG_APPEND ? POST_APPENDS : 0;
	if (is_shared(fd, twins, n))
		f->flags |= POST_SHARED;
	f->fds = n + 1;
	f->serial++;
	f->dev = about.dev;
	f->ino = about.ino;
	f->tail = f->done = f->writes = f->calls = f->end = f->intent = f->placed = 0;
	f->error = 0;
	f->attention = f->lock = f->wanted = f->met = f->met_at = 0;
	post_hold(o); /* somebody may still be about to see that it is not what it was */
	o->file = f;
	o->entry = i;
	o->fd = (int32_t)fd;
	o->poster = get_relaxed(&post_head->poster);
	o->tail = 0;
	o->fds = 1;
	post_release(o);
	post_marks[fd] = MARK_ASKED;
	post_asks++;
	GATE3(NR_membarrier, REGISTER_GLOBAL_EXPEDITED_, 0, 0); /* so that the poster may rely on what it sees of us */
	put_release(&f->state, POST_ASKED);
	post_bell();
	return MARK_ASKED;
}

/* What was asked for is not wanted any more, or was refused. */
static void cancel(struct post_own *o)
{
	put_release(&o->file->state, post_is_alive() ? POST_LEAVING : POST_FREE);
	o->file = 0;
	post_asks--;
	post_bell();
}

static struct post_own *asked(int64_t fd)
{
	for (uint32_t i = 0; i < POST_OWN; i++)
		if (post_own[i].file && !post_own[i].is_there && post_own[i].fd == fd)
			return &post_own[i];
	return 0;
}


/*
 * Other threads may be in the middle of a call that moves its position. They say so before they look at the mark, and
 * we mark it before we look whether they do.
 */
int post_enter(struct thread *t, uint64_t fd)
{
	if (!t->process->threaded || (uint32_t)fd >= POST_FDS)
		return 0;
	for (fd = (uint32_t)fd;; post_await()) {
		__atomic_add_fetch(&users[fd], 1, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&post_marks[fd], __ATOMIC_SEQ_CST) != MARK_BEGINS)
			return 1;
		post_exit(fd);
	}
}

void post_exit(uint64_t fd)
{
	__atomic_sub_fetch(&users[(uint32_t)fd], 1, __ATOMIC_RELEASE);
}

void post_alone(void)
{
	memset(users, 0, sizeof users);
}

void post_await(void)
{
	post_take(&post_lock);
	post_give(&post_lock);
}

/* Nobody but us, `ours`, is at it, and whoever comes waits. If others stay, it is no file, or another time will do. */
static int is_still(struct thread *t, int64_t fd, uint32_t ours)
{
	if (!t->process->threaded)
		return 1;
	__atomic_store_n(&post_marks[fd], MARK_BEGINS, __ATOMIC_SEQ_CST);
	for (int i = 0; i < STILL; i++) {
		if (__atomic_load_n(&users[fd], __ATOMIC_SEQ_CST) == ours)
			return 1;
		GATE1(NR_sched_yield, 0);
	}
	return 0;
}

static void mark_all(const uint16_t *fds, uint32_t n, uint8_t mark)
{
	for (uint32_t i = 0; i < n; i++)
		__atomic_store_n(&post_marks[fds[i]], mark, __ATOMIC_SEQ_CST);
}

/* With its twins, which must be those that it was asked for with: what it is posted as now, a mark. */
static uint8_t begin(struct thread *t, struct post_own *o)
{
	struct post_file *f = o->file;
	struct post_about about;
	uint16_t twins[POST_TWINS];
	int64_t at, flags;
	uint8_t mark = (uint8_t)(o - post_own + 1);
	uint32_t n;

	if (post_about(o->fd, &about) < 0 || !is_same(f, &about))
		return MARK_NONE;
	n = find_twins(t, o->fd, &about, twins);
	/* One may have been closed, or be no candidate any more: it would move the position, and nobody would know. */
	if (n + 1 != f->fds || (!(f->flags & POST_SHARED) && is_shared(o->fd, twins, n)))
		return MARK_CANDIDATE;

	for (uint32_t i = 0; i < n; i++)
		if (!is_still(t, twins[i], 0)) {
			mark_all(twins, i + 1, MARK_CANDIDATE);
			return MARK_ASKED;
		}
	at = GATE3(NR_lseek, o->fd, 0, 1);
	flags = GATE3(NR_fcntl, o->fd, GET_FLAGS, 0);
	if (at < 0 || flags < 0 || flags & FLAGS_NEVER ||
	    !!(flags & FLAG_APPEND) != !!(f->flags & POST_APPENDS)) /* set by a twin meanwhile */
		o->ring = 0;
	else
		o->ring = map_ring(o->entry);
	if (!o->ring) {
		mark_all(twins, n, MARK_CANDIDATE);
		return MARK_NONE;
	}
	f->at = (uint64_t)at;
	o->fds = n + 1;
	post_set_most(o);
	post_asks--;
	post_hold(o); /* whoever ends it by a twin ends it for all */
	add_one(&post_count); /* the poster has counted it before it said yes */
	put_release(&o->is_there, 1);
	mark_all(twins, n, mark);
	__atomic_store_n(&post_marks[o->fd], mark, __ATOMIC_SEQ_CST);
	post_release(o);
	return mark;
}

static uint8_t mark_after(struct thread *t, int64_t fd)
{
	uint8_t mark = post_marks[fd];
	struct post_own *o = mark == MARK_ASKED ? asked(fd) : 0;

	if (mark == MARK_CANDIDATE) {
		if (post_is_off || sites_are_quiet() || !post_is_alive())
			return MARK_NONE;
		for (uint32_t i = 0; i < POST_OWN; i++)
			if (!post_own[i].file)
				return ask(t, fd, &post_own[i]);
		return MARK_NONE;
	}
	if (!o || get_acquire(&o->file->state) == POST_ASKED)
		return mark;
	if (get_acquire(&o->file->state) == POST_OPEN && post_is_alive()) {
		mark = is_still(t, fd, 1) ? begin(t, o) : mark;
		if (mark != MARK_NONE && mark != MARK_CANDIDATE)
			return mark;
	}
	if (mark == MARK_CANDIDATE || (get_acquire(&o->file->state) == POST_REFUSED && refused++ < TRIES)) {
		post_counts[fd] = 0;
		mark = MARK_CANDIDATE;
	} else {
		mark = MARK_NONE;
	}
	cancel(o);
	return mark;
}

/* One that has begun may have ended by now. */
static void go_on(struct thread *t, int64_t fd)
{
	uint8_t mark = mark_after(t, fd);

	if (mark == MARK_NONE || mark > POST_OWN)
		__atomic_store_n(&post_marks[fd], mark, __ATOMIC_RELEASE);
}

/* For those who want a file posted at once. */
static void await_word(int64_t fd)
{
	struct post_own *o = post_marks[fd] == MARK_ASKED ? asked(fd) : 0;

	for (int i = 0; o && i < PATIENCE && get_acquire(&o->file->state) == POST_ASKED && post_is_alive(); i++)
		life_sleep(&o->file->state, POST_ASKED, 10);
}

void post_wrote(struct thread *t, int64_t fd)
{
	uint32_t first = get_relaxed(&post_head->after), after = first + LATER * get_relaxed(&refused);

	if (after > UINT16_MAX)
		after = UINT16_MAX;
	if (post_counts[fd] < after && ++post_counts[fd] < after)
		return;
	/* Whoever has it may be waiting for us to be out of this call. */
	if (!swap_if(&post_lock, 0, 1))
		return;
	if (!post_frozen && (post_marks[fd] == MARK_CANDIDATE || post_marks[fd] == MARK_ASKED))
		go_on(t, fd);
	if (first <= 1 && !post_frozen && post_marks[fd] == MARK_ASKED) {
		await_word(fd);
		go_on(t, fd);
	}
	post_give(&post_lock);
}

void post_drop(uint64_t fd)
{
	uint8_t mark = (uint32_t)fd < POST_FDS ? post_marks[(uint32_t)fd] : (uint8_t)MARK_NONE;

	if (mark == MARK_NONE || mark <= POST_OWN)
		return;
	post_take(&post_lock);
	if (post_marks[(uint32_t)fd] == MARK_ASKED)
		post_cancel((int32_t)fd);
	if (post_marks[(uint32_t)fd] > POST_OWN)
		post_marks[(uint32_t)fd] = MARK_NONE;
	post_give(&post_lock);
}

void post_cancel(int64_t fd)
{
	cancel(asked(fd));
}

void post_unask(uint64_t fd)
{
	if (post_marks[fd] != MARK_ASKED)
		return;
	post_cancel((int64_t)fd);
	post_counts[fd] = 0;
	post_marks[fd] = MARK_CANDIDATE;
}

void post_withdraw(uint64_t fd)
{
	if ((uint32_t)fd >= POST_FDS || post_marks[(uint32_t)fd] != MARK_ASKED)
		return;
	post_take(&post_lock);
	post_unask((uint32_t)fd);
	post_give(&post_lock);
}

void post_opened(int64_t fd)
{
	uint8_t mark = MARK_NONE;
	int64_t flags;

	if (fd >= POST_FDS || post_is_off)
		return;
	if (get_relaxed(&post_count) || get_relaxed(&post_asks)) {
		struct post_about about;

		if (post_about(fd, &about) < 0)
			return;
		for (uint32_t i = 0; i < POST_OWN; i++)
			if (is_same(post_own[i].file, &about))
				mark = MARK_WATCHED;
	}
	flags = mark || !post_is_alive() ? 0 : GATE3(NR_fcntl, fd, GET_FLAGS, 0);
	if (flags > 0 && flags & 3)
		mark = MARK_CANDIDATE;
	post_take(&post_lock);
	post_is_used |= mark;
	post_counts[fd] = 0;
	post_marks[fd] = mark == MARK_CANDIDATE && post_frozen ? (uint8_t)MARK_NONE : mark;
	post_share((uint64_t)fd, mark == MARK_CANDIDATE && post_frozen);
	if (mark == MARK_CANDIDATE && post_frozen)
		post_lend((uint64_t)fd);
	post_give(&post_lock);
}
