/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files of this process are posted (shared/posts.h), from the write with which one begins to the call with which
 * it ends. A file begins to be posted once it has been written to a few times by a descriptor that this process has
 * opened and that nobody shares; the poster opens it, too, and says yes or no. It ends with the descriptor, or with
 * the first call after which somebody else could move its position. Called by life.c and exec.c, and by calls.c
 * for all other calls; bring.c ends what has begun here.
 */
#include "post.h"

#include "handler.h"

enum {
	HERE = -100,
	GET_FD_FLAGS = 1, GET_FLAGS = 3, /* F_GETFD, F_GETFL */
	FLAGS_NEVER = 04000000 | 010000 | 040000 | 020000, /* __O_SYNC, O_DSYNC, O_DIRECT, O_ASYNC */
	FLAG_APPEND = 02000,
	LIMIT_FSIZE = 1,
	NAME_ROOM = 1024,
	STILL = 1000, /* turns */
	PATIENCE = 20, /* times 10 ms */
	REGISTER_GLOBAL_EXPEDITED_ = 4,
	MREMAP_MAYMOVE_ = 1, MADV_POPULATE_WRITE_ = 23,
};

#define POSITIONS (1ull << 43) /* no file is let grow beyond that without the kernel's word */

static const uint32_t no_active;
struct post_head *post_head;
const uint32_t *post_active = &no_active;
uint32_t post_count;
uint8_t post_marks[POST_FDS] COLD(4);
static uint16_t counts[POST_FDS] COLD(4);
static uint16_t users[POST_FDS] COLD(4); /* threads in calls with a candidate */
struct post_own post_own[POST_OWN] COLD(4);
static uint32_t lock;   /* of the marks, and of what begins and ends */
static uint32_t frozen; /* births and execs under way: nothing begins */
static uint32_t is_off, is_used;
static uint64_t lent[POST_FDS / 64] COLD(4);

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

/* The poster is asked whether it may be, and has opened it by the time it says yes. Nobody waits for that. */
static void ask(struct thread *t, int64_t fd, struct post_own *o)
{
	struct post_about about;
	struct post_file *f;
	int64_t flags;
	uint32_t i;

	flags = GATE3(NR_fcntl, fd, GET_FLAGS, 0);
	if (flags < 0 || !(flags & 3) || (flags & FLAGS_NEVER) || post_about(fd, &about) < 0 ||
	    !POST_IS_FILE(about.mode) || !has_wanted_name(fd) || !(f = claim(&i)))
		return;
	f->pid = t->process->pid;
	f->fd = (int32_t)fd;
	f->flags = flags & FLAG_APPEND ? POST_APPENDS : 0;
	f->serial++;
	f->dev = about.dev;
	f->ino = about.ino;
	f->tail = f->done = f->writes = f->calls = f->end = f->intent = 0;
	f->error = 0;
	f->attention = f->lock = f->wanted = 0;
	post_hold(o); /* somebody may still be about to see that it is not what it was */
	o->file = f;
	o->entry = i;
	o->fd = (int32_t)fd;
	o->poster = get_relaxed(&post_head->poster);
	o->tail = o->placed = 0;
	post_release(o);
	post_marks[fd] = MARK_ASKED;
	add_one(&post_count);
	GATE3(NR_membarrier, REGISTER_GLOBAL_EXPEDITED_, 0, 0); /* so that the poster may rely on what it sees of us */
	put_release(&f->state, POST_ASKED);
	post_bell();
}

/* What was asked for is not wanted any more, or was refused. */
static void cancel(struct post_own *o)
{
	put_release(&o->file->state, post_is_alive() ? POST_LEAVING : POST_FREE);
	o->file = 0;
	__atomic_sub_fetch(&post_count, 1, __ATOMIC_RELAXED);
	post_bell();
}

static struct post_own *asked(int64_t fd)
{
	for (uint32_t i = 0; i < POST_OWN; i++)
		if (post_own[i].file && !post_own[i].is_there && post_own[i].fd == fd)
			return &post_own[i];
	return 0;
}

/* 1: from now on it is posted. */
static int begin(struct post_own *o)
{
	struct post_file *f = o->file;
	int64_t at = GATE3(NR_lseek, o->fd, 0, 1);

	o->ring = at < 0 ? 0 : map_ring(o->entry);
	if (!o->ring)
		return 0;
	f->at = (uint64_t)at;
	post_set_most(o);
	put_release(&o->is_there, 1);
	return 1;
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

void post_await(void)
{
	post_take(&lock);
	post_give(&lock);
}

/* Nobody but us is at it, and whoever comes waits. If others stay, it is no file, or another time will do. */
static int is_still(struct thread *t, int64_t fd)
{
	if (!t->process->threaded)
		return 1;
	__atomic_store_n(&post_marks[fd], MARK_BEGINS, __ATOMIC_SEQ_CST);
	for (int i = 0; i < STILL; i++) {
		if (__atomic_load_n(&users[fd], __ATOMIC_SEQ_CST) == 1)
			return 1;
		GATE1(NR_sched_yield, 0);
	}
	return 0;
}

static uint8_t mark_after(struct thread *t, int64_t fd)
{
	uint8_t mark = post_marks[fd];
	struct post_own *o = mark == MARK_ASKED ? asked(fd) : 0;

	if (mark == MARK_CANDIDATE) {
		if (is_off || sites_are_quiet() || !post_is_alive())
			return MARK_NONE;
		post_marks[fd] = MARK_NONE;
		for (uint32_t i = 0; i < POST_OWN; i++)
			if (!post_own[i].file) {
				ask(t, fd, &post_own[i]);
				break;
			}
		return post_marks[fd];
	}
	if (!o || get_acquire(&o->file->state) == POST_ASKED)
		return mark;
	if (get_acquire(&o->file->state) == POST_OPEN && post_is_alive()) {
		if (!is_still(t, fd))
			return mark;
		if (begin(o))
			return (uint8_t)(o - post_own + 1);
	}
	cancel(o);
	return MARK_NONE;
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
	uint32_t after = get_relaxed(&post_head->after);

	if (counts[fd] < after && ++counts[fd] < after)
		return;
	/* Whoever has it may be waiting for us to be out of this call. */
	if (!swap_if(&lock, 0, 1))
		return;
	if (!frozen && (post_marks[fd] == MARK_CANDIDATE || post_marks[fd] == MARK_ASKED))
		__atomic_store_n(&post_marks[fd], mark_after(t, fd), __ATOMIC_RELEASE);
	if (after <= 1 && !frozen && post_marks[fd] == MARK_ASKED) {
		await_word(fd);
		__atomic_store_n(&post_marks[fd], mark_after(t, fd), __ATOMIC_RELEASE);
	}
	post_give(&lock);
}

void post_drop(uint64_t fd)
{
	uint8_t mark = (uint32_t)fd < POST_FDS ? post_marks[(uint32_t)fd] : (uint8_t)MARK_NONE;

	if (mark == MARK_NONE || mark <= POST_OWN)
		return;
	post_take(&lock);
	if (post_marks[(uint32_t)fd] == MARK_ASKED)
		cancel(asked((int32_t)fd));
	if (post_marks[(uint32_t)fd] > POST_OWN)
		post_marks[(uint32_t)fd] = MARK_NONE;
	post_give(&lock);
}

static int is_same(const struct post_file *f, const struct post_about *about)
{
	return f && f->ino == about->ino && f->dev == about->dev;
}

void post_opened(int64_t fd)
{
	uint8_t mark = MARK_NONE;
	int64_t flags;

	if (fd >= POST_FDS || is_off)
		return;
	if (get_relaxed(&post_count)) {
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
	post_take(&lock);
	if (mark != MARK_CANDIDATE || !frozen) {
		is_used |= mark;
		counts[fd] = 0;
		post_marks[fd] = mark;
	}
	post_give(&lock);
}

/* ---- births and ends --------------------------------------------------------------------------------------------- */

void post_forget(uint8_t mark)
{
	if (!is_used)
		return;
	post_take(&lock);
	for (uint32_t i = 0; i < POST_FDS; i++)
		if (post_marks[i] == mark) {
			if (mark == MARK_ASKED)
				cancel(asked(i));
			post_marks[i] = MARK_NONE;
		}
	post_give(&lock);
}

void post_off(struct thread *t)
{
	put_relaxed(&is_off, 1);
	post_leave_all(t);
}

/* What an exec closes is shared with a child of vfork until it executes something: then it may be posted again. */
static void lend(void)
{
	for (uint32_t i = 0; is_used && i < POST_FDS; i++)
		if (post_marks[i] && post_marks[i] < MARK_WATCHED && GATE3(NR_fcntl, i, GET_FD_FLAGS, 0) & 1)
			lent[i / 64] |= 1ull << i % 64;
}

static void give_back(void)
{
	for (uint32_t i = 0; is_used && i < POST_FDS; i++)
		if (lent[i / 64] >> i % 64 & 1 && !post_marks[i]) {
			counts[i] = 0;
			post_marks[i] = MARK_CANDIDATE;
		}
	memset(lent, 0, sizeof lent);
}

void post_lent(uint64_t fd)
{
	if (fd < POST_FDS)
		__atomic_and_fetch(&lent[fd / 64], ~(1ull << fd % 64), __ATOMIC_RELAXED);
}

void post_lent_all(void)
{
	for (uint32_t i = 0; i < POST_FDS / 64; i++)
		__atomic_store_n(&lent[i], 0, __ATOMIC_RELAXED);
}

/* Descriptors are about to be shared with another process, or with the next image. */
void post_begin_birth(struct thread *t, enum post_birth kind)
{
	if (kind == BIRTH_ODD) {
		post_off(t);
	} else if (kind != BIRTH_THREAD) {
		post_take(&lock);
		frozen++;
		if (kind == BIRTH_VFORK && frozen == 1)
			lend();
		else
			post_lent_all();
		post_give(&lock);
		post_leave_all(t);
	}
}

void post_end_birth(enum post_birth kind)
{
	if (kind == BIRTH_THREAD || kind == BIRTH_ODD)
		return;
	post_take(&lock);
	frozen -= frozen > 0;
	if (!frozen && !is_off)
		give_back();
	post_give(&lock);
}

void post_last(struct thread *t)
{
	if (t->process == &process_main)
		post_leave_all(t);
}

/* The child: nothing is its own, and nobody else is there. */
void post_forked(void)
{
	lock = frozen = 0;
	if (is_used)
		memset(lent, 0, sizeof lent);
	post_count = 0;
	for (uint32_t i = 0; is_used && i < POST_OWN; i++)
		post_own[i] = (struct post_own){0};
	if (is_used)
		memset(post_marks, 0, sizeof post_marks);
	if (is_used)
		memset(users, 0, sizeof users);
	is_used = 0;
}
