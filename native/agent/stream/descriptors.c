/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which descriptors of this process are streams: known from the calls that make, copy, hand on and close them. What has
 * come in another way (by an exec, in a message) is nobody's, and stays the kernel's. Called by calls.c, and around
 * births and ends by life.c and exec.c.
 */
#include "stream.h"

enum { AF_UNIX_ = 1, AF_INET_ = 2, AF_INET6_ = 10, F_GETFD_ = 1, HELD = 16384 };

uint32_t stream_rings;

static uint8_t is_on;
static uint16_t at[DESCRIPTORS] COLD(3); /* number in `streams`, and 1 more */
static struct stream streams[STREAMS] COLD(3);
static uint32_t high, top; /* streams and descriptors from here on were never used */
static uint32_t table_lock;
static struct held *held;  /* shared with our children */
static uint32_t *held_next;

void stream_setup(void)
{
	is_on = session && session->flags & SESSION_STREAMS && !process_main.channel && !sites_are_quiet();
	if (is_on)
		calls_setup();
}

int stream_is_on(void)
{
	return is_on;
}

/* Everything that may be one: TCP, and unless only what is sure to behave as the kernel does, all else. */
int stream_is_wanted(uint32_t family)
{
	return family == AF_INET_ || family == AF_INET6_ ||
	       (!(session->flags & SESSION_STREAMS_SURE) && (family == AF_UNIX_ || family == STREAM_PIPE));
}

int stream_are_there(void)
{
	return top != 0;
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

struct stream *stream_known(uint32_t fd)
{
	uint32_t i = fd < DESCRIPTORS ? __atomic_load_n(&at[fd], __ATOMIC_ACQUIRE) : 0;

	return i ? &streams[i - 1] : 0;
}

struct stream *stream_get(uint32_t fd)
{
	struct stream *s = stream_known(fd);

	if (!s)
		return 0;
	add_one(&s->users);
	if (stream_known(fd) == s)
		return s;
	stream_put(s);
	return 0;
}

struct stream *stream_number(uint32_t i)
{
	return &streams[i];
}

uint32_t stream_count(void)
{
	return high;
}

static int is_used(const struct stream *s)
{
	uint32_t state = get_acquire(&s->state);

	return state != STREAM_FREE && state != STREAM_OVER;
}

/* The last one out. */
static void free_stream(struct stream *s)
{
	int has_news = 0;

	if (!swap_if(&s->users, 0, 1)) /* so that there is one who does it */
		return;
	if (get_acquire(&s->descriptors)) {
		stream_put(s);
		return;
	}
	if (!is_used(s)) { /* somebody looked at it while it became so */
		__atomic_sub_fetch(&s->users, 1, __ATOMIC_ACQ_REL);
		return;
	}
	if (s->ring) {
		__atomic_sub_fetch(&stream_rings, 1, __ATOMIC_RELAXED);
		has_news = tell_is_over(s, tell_by());
		ring_add_up(&s->patience, session);
		ring_release(s->ring, s->end);
		s->ring = 0;
	}
	if (!__atomic_sub_fetch(&s->held->holders, 1, __ATOMIC_ACQ_REL))
		s->held->is_spoilt = ~0u; /* it may be had again */
	s->held = 0;
	put_release(&s->state, has_news ? STREAM_OVER : STREAM_FREE);
	__atomic_sub_fetch(&s->users, 1, __ATOMIC_ACQ_REL); /* somebody may be about to see that it is not his */
	if (has_news)
		tell_over(s);
}

void stream_put(struct stream *s)
{
	if (!__atomic_sub_fetch(&s->users, 1, __ATOMIC_ACQ_REL) && !get_acquire(&s->descriptors))
		free_stream(s);
}

/* One of its numbers, or -1. */
static int stream_descriptor(const struct stream *s)
{
	for (uint32_t fd = 0; fd < top; fd++)
		if (at[fd] == (uint32_t)(s - streams) + 1)
			return (int)fd;
	return -1;
}

/* A place in the memory that this process shares with those that it forks, and was forked from. */
struct held *stream_held(void)
{
	int64_t r;
	uint32_t i;

	if (!held) {
		uint64_t near = ((uint64_t)session - (1ull << 31)) & ~4095ull;

		r = GATE6(NR_mmap, near, 64 + HELD * sizeof *held, 3, 0x21, -1, 0); /* MAP_SHARED, ANONYMOUS */
		if (r < 0 && r > -4096)
			return 0;
		held_next = (uint32_t *)r;
		held = (struct held *)(r + 64);
	}
	for (uint32_t tries = 0; tries < HELD; tries++) {
		i = add_one(held_next) % HELD;
		if (get_relaxed(&held[i].is_spoilt) == ~0u || !held[i].is_spoilt) {
			uint32_t was = get_relaxed(&held[i].is_spoilt);

			if (!get_acquire(&held[i].holders) && swap_if(&held[i].holders, 0, 1)) {
				held[i].sent = held[i].received = held[i].is_nonblocking = 0;
				swap_if(&held[i].is_spoilt, was, 0);
				return &held[i];
			}
		}
	}
	return 0;
}

static void lock_table(void)
{
	stream_lock(&table_lock);
}

struct stream *stream_born(uint32_t fd, uint32_t family)
{
	struct stream *s = 0;
	int is_first;

	if (fd >= DESCRIPTORS)
		return 0;
	stream_drop(fd); /* there was a close that we have not seen */
	is_first = !stream_are_there();
	lock_table();
	for (uint32_t i = 0; i < STREAMS && !s; i++) {
		if (streams[i].state != STREAM_FREE || !swap_if(&streams[i].users, 0, 1))
			continue;
		s = &streams[i];
		memset((char *)s + 16, 0, sizeof *s - 16);
		s->held = stream_held();
		if (!s->held) {
			put_release(&s->users, 0);
			s = 0;
			break;
		}
		raise_to(&high, i + 1);
		s->family = family;
		s->busy = 0;
		put_release(&s->descriptors, 1);
		put_release(&s->state, STREAM_YOUNG);
		raise_to(&top, fd + 1);
		__atomic_store_n(&at[fd], (uint16_t)(i + 1), __ATOMIC_RELEASE);
	}
	stream_unlock(&table_lock);
	if (s)
		stream_put(s);
	if (is_first && s)
		handle_table_changed(); /* calls that move bytes are of concern now */
	return s;
}

void stream_copied(uint32_t from, uint32_t to)
{
	struct stream *s;

	if (from == to || to >= DESCRIPTORS)
		return;
	s = stream_get(from);
	stream_drop(to);
	if (!s)
		return;
	lock_table();
	add_one(&s->descriptors);
	raise_to(&top, to + 1);
	__atomic_store_n(&at[to], (uint16_t)(s - streams + 1), __ATOMIC_RELEASE);
	stream_unlock(&table_lock);
	stream_put(s);
}

/* The other end shall ask the kernel before it sends more. */
void stream_doubt(struct stream *s)
{
	if (s->ring)
		add_one(&s->ring->ends[s->end].doubt);
}

/* The descriptor is about to be closed, or was. */
void stream_drop(uint32_t fd)
{
	struct stream *s = stream_get(fd);
	int is_last;

	if (!s)
		return;
	epoll_closed(s, (int32_t)fd, get_acquire(&s->descriptors) == 1);
	lock_table();
	is_last = stream_known(fd) == s;
	if (is_last) {
		__atomic_store_n(&at[fd], 0, __ATOMIC_RELEASE);
		is_last = !__atomic_sub_fetch(&s->descriptors, 1, __ATOMIC_ACQ_REL);
	}
	stream_unlock(&table_lock);
	if (is_last) {
		stream_withdraw(s);
		stream_doubt(s);
	} else if (s->ring && s->ring->ends[s->end].pid == process_main.pid &&
		   s->ring->ends[s->end].fd == (int32_t)fd) {
		s->ring->ends[s->end].fd = stream_descriptor(s);
	}
	stream_put(s);
}

void stream_drop_range(uint32_t from, uint32_t to)
{
	epoll_drop_range(from, to);
	for (uint32_t fd = from; fd <= to && fd < top; fd++)
		if (at[fd])
			stream_drop(fd);
}

int64_t stream_leave_number(uint32_t fd)
{
	struct stream *s = stream_get(fd);
	int64_t r = 0;

	if (epoll_known(fd))
		epoll_give_up(fd);

	if (s) {
		r = stream_leave(s, (int32_t)fd);
		stream_put(s);
	}
	return r;
}

void stream_leave_all(void)
{
	for (uint32_t fd = 0; is_on && fd < top; fd++)
		if (at[fd])
			stream_leave_number(fd);
}

void stream_off(void)
{
	stream_leave_all();
	is_on = 0;
}

/* ---- processes --------------------------------------------------------------------------------------------------- */

void stream_before_fork(void)
{
	epoll_before_fork(0);
	for (uint32_t i = 0; i < high; i++) {
		struct stream *s = &streams[i];

		if (!is_used(s))
			continue;
		add_one(&s->held->holders);
		if (s->ring)
			put_release(&s->ring->is_forked, 1);
		/* Nobody has both ends of the ring yet, and now there would be three. */
		if (s->state == STREAM_MADE && get_acquire(&s->ring->joined) != RING_SHARED)
			stream_withdraw(s);
	}
}

void stream_not_forked(void)
{
	epoll_before_fork(1);
	for (uint32_t i = 0; i < high; i++)
		if (is_used(&streams[i]))
			__atomic_sub_fetch(&streams[i].held->holders, 1, __ATOMIC_ACQ_REL);
}

void stream_forked(void)
{
	table_lock = stream_news = 0;
	ring_forked();
	epoll_forked();
	for (uint32_t i = 0; i < high; i++) {
		struct stream *s = &streams[i];

		s->users = s->busy = 0;
		tell_forked(s);
		if (s->state == STREAM_WAITS) { /* that is our parent's */
			s->state = STREAM_YOUNG;
			s->calls = 0;
		}
	}
}

/* A descriptor that may be one of a pipe's, which is known by its inode. */
void stream_reopened(int32_t fd)
{
	uint64_t inode = stream_inode(fd, "");

	for (uint32_t i = 0; i < top; i++) {
		const struct stream *s = stream_known(i);

		if (s && stream_is_pipe(s) && s->inode / 2 == inode)
			stream_leave_number(i);
	}
}

int stream_survives_exec(uint32_t fd)
{
	int64_t flags = GATE2(NR_fcntl, fd, F_GETFD_);

	return flags >= 0 && !(flags & 1);
}

/* What the next image inherits is the kernel's again. A child of vfork has descriptors of its own by these numbers. */
int64_t stream_before_exec(const struct process_self *p)
{
	if (is_on && p == &process_main)
		epoll_before_exec();
	for (uint32_t fd = 0; is_on && fd < top; fd++) {
		int64_t r;

		if (!at[fd] || !stream_survives_exec(fd))
			continue;
		if (p != &process_main) {
			const struct stream *s = stream_known(fd);
			uint64_t inode = stream_inode((int32_t)fd, "");

			if (s->inode && inode != s->inode >> stream_is_pipe(s))
				continue;
		}
		r = stream_leave_number(fd);
		if (r)
			return r;
	}
	return 0;
}

void stream_ending(struct thread *t)
{
	for (uint32_t i = 0; is_on && i < high; i++) {
		if (streams[i].state == STREAM_WAITS || streams[i].state == STREAM_MADE)
			stream_withdraw(&streams[i]);
		if (streams[i].state != STREAM_JOINED)
			continue;
		stream_part(&streams[i], stream_descriptor(&streams[i]));
		stream_doubt(&streams[i]);
		ring_add_up(&streams[i].patience, session);
	}
	tell_end(t);
}
