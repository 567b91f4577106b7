/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which descriptors of this process are streams: known from the calls that make, copy, hand on and close them, and from
 * the image before an exec. What has come in another way (from outside, in a message) is nobody's, and stays the
 * kernel's. Called by calls.c, inherit.c, vforked.c, sets.c and tell.c, and by dispatch.c and life.c.
 */
#include "stream.h"

enum { AF_UNIX_ = 1, AF_INET_ = 2, AF_INET6_ = 10 };

uint32_t stream_rings;

static uint8_t is_on;
static uint16_t at[DESCRIPTORS] COLD(3); /* number in `streams`, and 1 more */
static struct stream streams[STREAMS] COLD(3);
static uint32_t high, top; /* streams and descriptors from here on were never used */
static uint32_t table_lock;

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

struct stream *stream_next(uint32_t *fd)
{
	for (; *fd < top; ++*fd) {
		struct stream *s = stream_get(*fd);

		if (s)
			return s;
	}
	return 0;
}

int stream_is_used(const struct stream *s)
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
	if (!stream_is_used(s)) { /* somebody looked at it while it became so */
		__atomic_sub_fetch(&s->users, 1, __ATOMIC_ACQ_REL);
		return;
	}
	stream_learn(s);
	if (s->ring) {
		__atomic_sub_fetch(&stream_rings, 1, __ATOMIC_RELAXED);
		has_news = tell_is_over(s, tell_by());
		ring_add_up(&s->patience, session);
		nap_unguard(s);
		ring_release(s->ring, s->end);
		s->ring = 0;
	}
	held_leave(s->held, held_self());
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

int32_t stream_descriptor(const struct stream *s)
{
	for (uint32_t fd = 0; fd < top; fd++)
		if (at[fd] == (uint32_t)(s - streams) + 1)
			return (int32_t)fd;
	return -1;
}

struct stream *stream_numbered(uint32_t i)
{
	return i < get_acquire(&high) ? &streams[i] : 0;
}

uint32_t stream_top(void)
{
	return get_acquire(&top);
}

static void lock_table(void)
{
	stream_lock(&table_lock);
}

struct stream *stream_enter(uint32_t fd, uint32_t family, struct stream_held *h)
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
		s->held = h;
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

struct stream *stream_born(uint32_t fd, uint32_t family)
{
	struct stream_held *h = fd < DESCRIPTORS ? held_take() : 0;
	struct stream *s = h ? stream_enter(fd, family, h) : 0;

	if (h && !s)
		held_leave(h, held_self());
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
	if (!s->ring)
		return;
	add_one(&s->ring->ends[s->end].doubt);
	nap_end(stream_out(s));
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
		if (at[fd]) {
			struct stream *s = stream_get(fd);

			if (s) {
				nap_part(s);
				stream_put(s);
			}
			stream_drop(fd);
		}
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
	if (vforked_is_there()) { /* whose numbers are not ours */
		vforked_leave();
		return;
	}
	for (uint32_t fd = 0; is_on && fd < top; fd++)
		if (at[fd])
			stream_leave_number(fd);
}

void stream_off(void)
{
	stream_leave_all();
	is_on = is_on && vforked_is_there(); /* what its parent has goes on */
}

/* A descriptor that may be one of a pipe's, which is known by its inode. */
void stream_reopened(int32_t fd)
{
	uint64_t inode = stream_inode(fd, "");

	for (uint32_t i = 0; i < high; i++) {
		struct stream *s = &streams[i];

		if (!stream_is_used(s) || !stream_is_pipe(s) || s->inode / 2 != inode)
			continue;
		add_one(&s->users);
		stream_leave(s, vforked_is_there() ? fd : stream_descriptor(s));
		stream_put(s);
	}
}

/* The child of a fork. */
void stream_forked_table(void)
{
	table_lock = stream_news = 0;
	for (uint32_t i = 0; i < high; i++) {
		struct stream *s = &streams[i];

		s->users = s->busy = s->place = s->is_napping = 0;
		tell_forked(s);
		if (s->state == STREAM_WAITS) { /* that is our parent's */
			s->state = STREAM_YOUNG;
			s->calls = 0;
		}
	}
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
	if (is_on)
		stream_left();
}
