/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory of rings. A new one is a file that the other end opens by its name and deletes; one that both ends have
 * let go of is kept for the next connection of the same two processes, which costs a tenth. Called by meet.c.
 */
#include "stream.h"

enum {
	OPEN_NEW = 02 | 0100 | 0200 | 02000000 | 0400000, /* O_RDWR, CREAT, EXCL, CLOEXEC, NOFOLLOW */
	OPEN_OLD = 02 | 02000000 | 0400000,
	STATX_UID_SIZE_ = 0x208, AT_EMPTY_PATH_ = 0x1000, FDCWD_ = -100,
	DONTFORK_ = 10, DOFORK_ = 11,
	MADV_REMOVE_ = 9, MADV_POPULATE_WRITE_ = 23,
	STEP = 16384, /* bytes of a way that get memory at a time */
	SPARES = 32,
};

static uint32_t serials;
static struct stream_ring *spares[SPARES] COLD(3);
static uint32_t spare_lock, spare_next;

static void path_of(char *to, uint32_t launcher, uint32_t maker, uint32_t serial)
{
	char *p = start_append(to, "/dev/shm/lsca-stream-");

	p = start_decimal(p, launcher);
	*p++ = '-';
	p = start_decimal(p, maker);
	*p++ = '-';
	*start_decimal(p, serial) = 0;
}

static struct stream_ring *map(int64_t fd)
{
	uint64_t near = ((uint64_t)session - (1ull << 30)) & ~4095ull;
	int64_t at = GATE6(NR_mmap, near, STREAM_SIZE, 3, 1, fd, 0);

	return at < 0 && at > -4096 ? 0 : (struct stream_ring *)at;
}

int ring_grow(struct stream_ring *r, uint32_t way, uint32_t from, uint32_t n)
{
	struct stream_way *w = &r->ways[way];
	uint32_t at = from % STREAM_ROOM, need = at + n > STREAM_ROOM ? STREAM_ROOM : at + n;

	for (uint32_t has; (has = get_relaxed(&w->has_room) / STEP * STEP) < need;) {
		if (GATE3(NR_madvise, stream_bytes(r, way) + has, STEP, MADV_POPULATE_WRITE_))
			return 0;
		put_relaxed(&w->has_room, has + STEP);
		idle_begins();
	}
	return 1;
}

void ring_trim(struct stream_ring *r, uint32_t way)
{
	struct stream_way *w = &r->ways[way];

	if (r->is_whole || get_acquire(&w->tail) != get_acquire(&w->head) || !get_relaxed(&w->has_room))
		return;
	put_relaxed(&w->has_room, 0);
	GATE3(NR_madvise, stream_bytes(r, way), STREAM_ROOM, MADV_REMOVE_);
}

static struct stream_ring *make_new(void)
{
	uint32_t serial = add_one(&serials);
	uint64_t limit[2];
	char path[80];
	struct stream_ring *r = 0;
	int64_t fd;

	/* A limit on the size of files would be a signal. */
	if (GATE4(NR_prlimit64, 0, 1, 0, limit) || limit[0] < STREAM_SIZE)
		return 0;
	path_of(path, session->launcher, process_main.pid, serial);
	fd = GATE4(NR_openat, FDCWD_, path, OPEN_NEW, 0600);
	if (fd < 0)
		return 0;
	/* A file system that is full shows here, and not as a SIGBUS later; the rest comes when it is needed. */
	if (!GATE4(NR_fallocate, fd, 0, 0, STREAM_HEAD) && !GATE2(NR_ftruncate, fd, STREAM_SIZE))
		r = map(fd);
	/* Before Linux 5.14 that cannot be had without a SIGBUS. */
	if (r && GATE3(NR_madvise, r, STREAM_HEAD, MADV_POPULATE_WRITE_) == -EINVAL_) {
		if (GATE4(NR_fallocate, fd, 0, 0, STREAM_SIZE)) {
			ring_drop(r);
			r = 0;
		} else {
			r->is_whole = 1;
			r->ways[0].has_room = r->ways[1].has_room = STREAM_ROOM;
		}
	}
	GATE1(NR_close, fd);
	if (!r) {
		GATE3(NR_unlinkat, FDCWD_, path, 0);
		return 0;
	}
	r->magic = STREAM_MAGIC;
	r->version = STREAM_VERSION;
	r->launcher = session->launcher;
	r->maker = process_main.pid;
	r->serial = serial;
	r->has_file = 1;
	return r;
}

/* Its size is at 40 of struct statx, its owner at 20. */
int64_t stream_open(const char *path, uint64_t size)
{
	int64_t fd = GATE4(NR_openat, FDCWD_, path, OPEN_OLD, 0);
	uint64_t st[32];

	if (fd < 0)
		return fd;
	memset(st, 0, sizeof st);
	if (!GATE6(NR_statx, fd, "", AT_EMPTY_PATH_, STATX_UID_SIZE_, st, 0) && st[5] == size &&
	    (uint32_t)(st[2] >> 32) == (uint32_t)GATE1(NR_geteuid, 0))
		return fd;
	GATE1(NR_close, fd);
	return -EACCES_;
}

/* The other end's. From here on it has no name any more. */
static struct stream_ring *fetch_new(uint32_t launcher, uint32_t maker, uint32_t serial)
{
	struct stream_ring *r;
	char path[80];
	int64_t fd;

	path_of(path, launcher, maker, serial);
	fd = stream_open(path, STREAM_SIZE);
	if (fd < 0)
		return 0;
	GATE3(NR_unlinkat, FDCWD_, path, 0);
	r = map(fd);
	GATE1(NR_close, fd);
	if (r && (r->magic != STREAM_MAGIC || r->version != STREAM_VERSION)) {
		GATE2(NR_munmap, r, STREAM_SIZE);
		r = 0;
	}
	return r;
}

/* ---- those that have been used ----------------------------------------------------------------------------------- */

/* Two processes that connect once often do so again. */
static struct stream_ring *spare(uint32_t i)
{
	return __atomic_load_n(&spares[i], __ATOMIC_RELAXED);
}

static struct stream_ring *unspare(uint32_t i)
{
	struct stream_ring *r = spare(i);

	spares[i] = 0;
	GATE3(NR_madvise, r, STREAM_SIZE, DOFORK_);
	return r;
}

static int is_free(const struct stream_ring *r)
{
	return get_acquire(&r->ends[0].is_free) && get_acquire(&r->ends[1].is_free);
}

/* The other end may want it for another connection at the same time: one of us has it. */
static struct stream_ring *make_again(uint32_t other)
{
	struct stream_ring *found = 0;

	stream_lock(&spare_lock);
	for (uint32_t i = 0; i < SPARES && !found; i++) {
		struct stream_ring *r = spare(i);

		if (r && (r->ends[0].pid == other || r->ends[1].pid == other) && is_free(r) &&
		    swap_if(&r->joined, RING_SHARED, RING_ALONE))
			found = unspare(i);
	}
	stream_unlock(&spare_lock);
	if (found) {
		uint32_t room[2] = {found->ways[0].has_room, found->ways[1].has_room};

		memset(found->ways, 0, sizeof found->ways);
		found->ways[0].has_room = room[0];
		found->ways[1].has_room = room[1];
		memset(found->ends, 0, sizeof found->ends);
	}
	return found;
}

static struct stream_ring *fetch_again(uint32_t maker, uint32_t serial)
{
	struct stream_ring *found = 0;

	stream_lock(&spare_lock);
	for (uint32_t i = 0; i < SPARES && !found; i++)
		if (spare(i) && spare(i)->maker == maker && spare(i)->serial == serial)
			found = unspare(i);
	stream_unlock(&spare_lock);
	if (found && get_acquire(&found->joined) != RING_ALONE) {
		GATE2(NR_munmap, found, STREAM_SIZE);
		return 0;
	}
	return found;
}

struct stream_ring *ring_make(uint32_t other)
{
	struct stream_ring *r = make_again(other);

	return r ? r : make_new();
}

struct stream_ring *ring_fetch(uint32_t launcher, uint32_t maker, uint32_t serial)
{
	struct stream_ring *r = fetch_again(maker, serial);

	return r ? r : fetch_new(launcher, maker, serial);
}

/* The other end did not come for it. */
void ring_forget(struct stream_ring *r)
{
	char path[80];

	if (!r->has_file)
		return;
	path_of(path, r->launcher, r->maker, r->serial);
	GATE3(NR_unlinkat, FDCWD_, path, 0);
}

void ring_drop(struct stream_ring *r)
{
	GATE2(NR_munmap, r, STREAM_SIZE);
}

void ring_release(struct stream_ring *r, uint32_t end)
{
	struct stream_ring *old;

	if (get_acquire(&r->joined) != RING_SHARED || get_acquire(&r->is_forked)) {
		ring_drop(r);
		return;
	}
	GATE3(NR_madvise, r, STREAM_SIZE, DONTFORK_);
	stream_lock(&spare_lock);
	spare_next = (spare_next + 1) % SPARES;
	old = spares[spare_next];
	spares[spare_next] = r;
	put_release(&r->ends[end].is_free, 1);
	stream_unlock(&spare_lock);
	if (old)
		ring_drop(old);
}

void ring_forked(void)
{
	spare_lock = 0;
	idle_forked();
	nap_forked();
	memset(spares, 0, sizeof spares);
}
