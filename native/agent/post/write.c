/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small write to a posted file: its bytes go into the ring, and that is all. What does not fit there at once (no
 * room, an error to be told, a poster that is gone, memory that may not be there) is not for here, but for
 * calls.c. Called for every such write, so everything else has been thought over before.
 */
#include "post.h"

static inline int may_fault(const struct thread *t)
{
	return !t->no_fault && !t->process->no_fault && !(t->mask & SIG_FAULTS);
}

/* 0: all of it is there, in front of where others look. */
static inline uint64_t put(struct post_own *o, uint64_t tail, uint64_t from, uint64_t n)
{
	uint64_t at = tail % POST_RING, first = POST_RING - at;

	if (__builtin_expect(n <= first, 1))
		return copy_try(o->ring + at, (const void *)from, n);
	return copy_try(o->ring + at, (const void *)from, first) ||
	       copy_try(o->ring, (const void *)(from + first), n - first);
}

/* May as many bytes be posted now? */
static inline int has_room(struct post_own *o, uint64_t n)
{
	uint64_t room;

	if (get_relaxed(&o->file->attention) || get_relaxed(&post_head->poster) != o->poster)
		return 0;
	if (__builtin_expect(o->tail + n <= o->limit, 1))
		return 1;
	room = __atomic_load_n(&o->file->done, __ATOMIC_ACQUIRE) + POST_RING;
	o->limit = room < o->most ? room : o->most;
	return o->tail + n <= o->limit;
}

static inline void publish(struct post_own *o, uint64_t tail)
{
	o->tail = tail;
	o->file->writes++;
	__atomic_store_n(&o->file->tail, tail, __ATOMIC_RELEASE);
	if (__builtin_expect(get_relaxed(&post_head->asleep), 0))
		post_bell();
}

static inline int leads_to(uint64_t fd, const struct post_own *o)
{
	return __atomic_load_n(&post_marks[(uint32_t)fd], __ATOMIC_RELAXED) == (uint8_t)(o - post_own + 1);
}

/* Threads take turns. It may have ended, and have become another one, since its mark was seen. */
static inline int hold(struct thread *t, struct post_own *o, uint64_t fd)
{
	if (!t->process->threaded)
		return o->is_there;
	post_hold(o);
	return o->is_there && leads_to(fd, o);
}

static inline void release(struct thread *t, struct post_own *o)
{
	if (t->process->threaded)
		post_release(o);
}

static inline struct post_own *own(struct thread *t, uint64_t fd)
{
	uint8_t mark = (uint8_t)(post_marks[(uint32_t)fd] - 1);

	return mark < POST_OWN && t->process == &process_main && may_fault(t) ? &post_own[mark] : 0;
}

int64_t post_write(struct thread *t, uint64_t fd, uint64_t buf, uint64_t n)
{
	struct post_own *o = own(t, fd);
	int64_t ret = POST_NOT;

	if (!o || n - 1 >= POST_MOST)
		return POST_NOT;
	if (hold(t, o, fd) && has_room(o, n) && !put(o, o->tail, buf, n)) {
		publish(o, o->tail + n);
		ret = (int64_t)n;
	}
	release(t, o);
	return ret;
}

int64_t post_gather(struct thread *t, uint64_t fd, uint64_t at, uint64_t count)
{
	enum { PARTS = 16 };
	struct post_own *o = own(t, fd);
	uint64_t iov[PARTS][2], n = 0, tail;
	int64_t ret = POST_NOT;

	if (!o || count - 1 >= PARTS || memory_read(iov, at, 16 * count) < 16 * count)
		return POST_NOT;
	for (uint64_t i = 0; i < count; i++) {
		if (iov[i][1] > POST_MOST)
			return POST_NOT;
		n += iov[i][1];
	}
	if (n - 1 >= POST_MOST)
		return POST_NOT;
	if (hold(t, o, fd) && has_room(o, n)) {
		tail = o->tail;
		for (uint64_t i = 0; i < count; i++) {
			if (iov[i][1] && put(o, tail, iov[i][0], iov[i][1]))
				break;
			tail += iov[i][1];
		}
		if (tail == o->tail + n) {
			publish(o, tail);
			ret = (int64_t)n;
		}
	}
	release(t, o);
	return ret;
}
