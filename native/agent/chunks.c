/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunks of the log area, leased by threads. A full one is left to the drainer and another one taken. Without a free
 * one the thread waits as long as there is somebody who drains (however slow the disk), unless the run is `lossy`;
 * only then is a record lost, and its number stays unused, so that the loss shows. Called by record.c and start.c.
 */
#include "agent.h"

enum { MADV_REMOVE_ = 9, MADV_POPULATE_WRITE_ = 23, MREMAP_MAYMOVE_ = 1, MREMAP_FIXED_ = 2, PAUSE_NS = 50000000,
       TRIES = 64 };
#define PAGE 4096ull

/*
 * A mapping of the area from AREA_LOST on; its size is counted with what lies before. A larger one comes beside it, not
 * in its place: others are writing there.
 */
static uint8_t *area;
static uint64_t area_size;
static uint32_t area_lock;
static uint32_t is_final; /* no more of it can be mapped: a filter of the program's may forbid the call */

/*
 * Less than the usual will do where the program's address space is limited; `all` where a filter would not let us map
 * more later.
 */
int64_t chunk_map_area(int64_t fd, int all)
{
	int64_t r = 0;

	is_final = !!all;
	for (uint64_t size = all ? AREA_SIZE : AREA_WINDOW; size >= AREA_AT(4); size /= 4) {
		uint64_t below = session ? (uint64_t)session : (uint64_t)__ehdr_start;

		r = GATE6(NR_mmap, (below - size) & ~4095ull, size - AREA_LOST, 3, 1, fd, AREA_LOST);
		if (r < 0 && r > -4096)
			continue;
		area = (uint8_t *)r - AREA_LOST;
		area_size = size;
		return 0;
	}
	return r;
}

/*
 * From no bytes to so many: another view of the same file, without its descriptor. Below the one that is there, not
 * next to the program's libraries, as the kernel would choose.
 */
static int64_t look_again(uint64_t bytes)
{
	uint64_t here = (uint64_t)area + AREA_LOST, wish = (here - bytes - AREA_LOST) & ~4095ull;
	int64_t room = GATE6(NR_mmap, wish, bytes, 0, 0x4022, -1, 0), r; /* PROT_NONE, MAP_NORESERVE */

	if (room < 0 && room > -4096)
		return room;
	r = GATE6(NR_mremap, here, 0, bytes, MREMAP_MAYMOVE_ | MREMAP_FIXED_, room, 0);
	if (r < 0 && r > -4096)
		GATE2(NR_munmap, room, bytes);
	return r;
}

static uint8_t *place_of(uint32_t i)
{
	uint64_t end = AREA_AT(i + 1), size, have = __atomic_load_n(&area_size, __ATOMIC_ACQUIRE);
	int64_t r;

	if (end <= have)
		return area + AREA_AT(i);
	if (!have || get_relaxed(&is_final))
		return 0;
	while (!swap_if(&area_lock, 0, 1))
		GATE1(NR_sched_yield, 0);
	have = area_size;
	for (size = have; size < end;)
		size *= 2;
	if (size > have)
		r = look_again(size - AREA_LOST);
	else
		r = (int64_t)area + AREA_LOST;
	if (r > 0 || r < -4095) {
		__atomic_store_n(&area, (uint8_t *)r - AREA_LOST, __ATOMIC_RELAXED);
		__atomic_store_n(&area_size, size, __ATOMIC_RELEASE); /* after where it is */
	}
	put_release(&area_lock, 0);
	return r > 0 || r < -4095 ? (uint8_t *)r - AREA_LOST + AREA_AT(i) : 0;
}

/* Before a filter of the program's is installed, which may forbid to map more. */
void chunk_map_all(void)
{
	uint32_t count = session ? get_relaxed(&session->chunk_count) : 0;

	if (count)
		place_of((count < CHUNK_COUNT ? count : CHUNK_COUNT) - 1);
	put_relaxed(&is_final, 1);
}

void chunk_lost(void)
{
	__atomic_add_fetch(&session->lost, 1, __ATOMIC_RELAXED);
	if (area_size)
		__atomic_add_fetch((uint64_t *)(area + AREA_LOST), 1, __ATOMIC_RELAXED);
}

/* In the child of a fork: the lock may have been held by a thread that is not there. */
void chunk_forked(void)
{
	area_lock = 0;
}

static void bell(uint32_t *word)
{
	add_one(word);
	GATE3(NR_futex, word, 1, 1);
}

static void full_add(uint32_t i)
{
	put_release(&session->chunks[i].state, CHUNK_FULL);
	add_one(&session->full); /* until its records are in the file, which is later than when they were taken */
	if (!(add_one(&session->filled) % CHUNKS_AT_LEISURE))
		bell(&session->log_bell);
}

void chunk_release(struct thread *t)
{
	record_counts(t);
	if (!t->head)
		return;
	full_add(t->chunk);
	t->head = 0;
	t->at = t->end = 0;
}

/*
 * Where chunks are full, the drainer will free some. Where there are none left although none is full, it is hopeless:
 * more threads than chunks, or no memory. And a program that brought its agent along owes nobody its progress. It is
 * waited for once, then, and not at every record.
 */
static uint32_t given_up;

enum { WAITS_HOPELESS = 10, WAITS_PRELOADED = 20, WAITS_UNSEEN = 600, WAITS_DIED = 100 };

/* Seen from another pid namespace it is believed to be there, for half a minute. */
static int has_drainer(const struct process_self *p)
{
	uint32_t drainer = get_relaxed(&session->drainer);

	return drainer && (p->elsewhere || GATE2(NR_kill, drainer, 0) != -ESRCH_);
}

/* `waits`: those that ended without anybody's chunk becoming free. */
static int has_patience(const struct process_self *p, int waits)
{
	if (session->flags & SESSION_LOSSY)
		return 0;
	if (session->flags & SESSION_PRELOAD)
		return !get_relaxed(&given_up) && waits < WAITS_PRELOADED;
	/* It may be dead and yet have a number, as long as nobody has waited for it; somebody may be about to go on. */
	if (get_relaxed(&session->drains) & WORD_DIED && (get_relaxed(&given_up) || waits >= WAITS_DIED))
		return 0;
	if (p->elsewhere && (get_relaxed(&given_up) || waits >= WAITS_UNSEEN))
		return 0;
	return get_relaxed(&session->full) || (!get_relaxed(&given_up) && waits < WAITS_HOPELESS);
}

static uint64_t whole_pages(uint64_t size)
{
	return (size + PAGE - 1) & ~(PAGE - 1);
}

/* Without memory it would be a SIGBUS later. */
static int populate(uint8_t *at, uint64_t size)
{
	int64_t r = GATE3(NR_madvise, at, size, MADV_POPULATE_WRITE_);

	return r >= 0 || r == -EINVAL_; /* EINVAL: before Linux 5.14 */
}

/*
 * The next `need` bytes can be written, if there is memory. Most programs write a page or two, and each page costs them
 * more than a call; from one that writes more there is always more to come.
 */
int chunk_reach(struct thread *t, uint64_t need)
{
	uint8_t *head = (uint8_t *)t->head;
	uint64_t have = (uint64_t)(t->end - head), want = (uint64_t)(t->at - head) + need;

	if (want <= have)
		return 1;
	want = want < 2 * have ? 2 * have : whole_pages(want);
	want = want < CHUNK_SIZE ? want : CHUNK_SIZE;
	if (want > have && populate(t->end, want - have))
		t->end = head + want;
	return t->end - t->at >= (int64_t)need;
}

/* 0: there is no address space for it, or no memory. */
static int begin(struct thread *t, uint32_t i, uint64_t need)
{
	struct chunk *k = &session->chunks[i];
	struct chunk_head *h = (struct chunk_head *)place_of(i);
	uint64_t size = whole_pages(sizeof *h + need + PAGE / 2);

	if (t->number || size > CHUNK_SIZE)
		size = CHUNK_SIZE;
	if (!h || !populate((uint8_t *)h, size)) {
		if (h) /* the part of it that was to be had; nothing in it that is not in the file */
			GATE3(NR_madvise, h, CHUNK_SIZE, MADV_REMOVE_);
		put_release(&k->state, CHUNK_FREE);
		return 0;
	}
	if (!t->serial)
		t->serial = __atomic_add_fetch(&session->threads, 1, __ATOMIC_RELAXED);
	/* Whoever looks after our death must not take the last owner's records for ours. */
	put_release(&h->used, 0);
	h->begun = 0;
	h->pid = t->process->pid;
	h->tid = t->tid;
	h->drained = 0;
	h->thread = t->serial;
	h->first = t->number;
	__atomic_store_n(&h->lease, __atomic_add_fetch(&session->leases, 1, __ATOMIC_RELAXED), __ATOMIC_RELEASE);
	/* Nobody is to think that we are dead because there is no such number where he is. */
	put_relaxed(&k->pid, t->process->elsewhere ? 0 : h->pid);
	put_relaxed(&k->tid, h->tid);
	put_relaxed(&session->chunk_hint, i + 1);
	put_relaxed(&given_up, 0);
	t->chunk = i;
	t->head = h;
	t->at = (uint8_t *)(h + 1);
	t->end = (uint8_t *)h + size;
	return 1;
}

/* One that was used before, if there is one: its memory is there. Otherwise a new one, while there is memory. */
static int take(struct thread *t, uint64_t need)
{
	uint32_t high = get_acquire(&session->chunk_high), hint = get_relaxed(&session->chunk_hint);
	uint32_t count = get_relaxed(&session->chunk_count);

	if (get_relaxed(&session->full) >= get_relaxed(&session->full_limit))
		return 0;
	count = count < CHUNK_COUNT ? count : CHUNK_COUNT;
	high = high < count ? high : count;
	hint = hint < high ? hint : 0;
	for (uint32_t n = 0, tries = 0; n < high && tries < TRIES; n++) {
		uint32_t i = hint + n < high ? hint + n : hint + n - high;

		if (get_relaxed(&session->chunks[i].state) != CHUNK_FREE ||
		    !swap_if(&session->chunks[i].state, CHUNK_FREE, CHUNK_LEASED))
			continue;
		if (begin(t, i, need))
			return 1;
		tries++;
		count = high;
	}
	for (; high < count; high++) {
		raise_to(&session->chunk_high, high + 1);
		if (swap_if(&session->chunks[high].state, CHUNK_FREE, CHUNK_LEASED))
			return begin(t, high, need);
	}
	return 0;
}

int chunk_lease(struct thread *t, uint64_t need)
{
	for (int waits = 0;;) {
		uint32_t seen = get_acquire(&session->chunk_bell);
		uint64_t timeout[2] = {0, PAUSE_NS};
		int64_t r;

		if (take(t, need))
			return 1;
		add_one(&session->starved);
		if (!area_size || !has_drainer(t->process))
			return 0;
		if (!has_patience(t->process, waits)) {
			put_relaxed(&given_up, 1);
			return 0;
		}
		bell(&session->log_bell);
		/* Woken, or too late to sleep, is not waited in vain: one was freed, though others were faster. */
		r = GATE4(NR_futex, &session->chunk_bell, 0, seen, timeout);
		waits += r && r != -EAGAIN_;
	}
}

/* What an image or a process that is no more has left; the process is this one. */
void chunk_inherit(uint32_t pid)
{
	uint32_t high = get_acquire(&session->chunk_high);

	for (uint32_t i = 0; i < CHUNK_COUNT && i < high; i++)
		if (session->chunks[i].pid == pid && swap_if(&session->chunks[i].state, CHUNK_LEASED, CHUNK_FULL))
			add_one(&session->full);
}
