/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings that nobody uses give their memory back. Whoever waits for several descriptors wakes once a second as long as
 * there is some to give, and looks at all rings of this process: the other end may have none who does. Who waits for
 * one only looks before he does. Called by poll.c, waits.c and receive.c; rings.c says when there is something to do.
 */
#include "stream.h"

enum {
	SECOND = 20000, /* session.budget */
	SLICE = 1000000000,
};

static uint32_t is_dirty, is_looking;
static uint64_t looked; /* in ticks */

void idle_begins(void)
{
	put_relaxed(&is_dirty, 1);
}

uint64_t idle_slice(void)
{
	return get_relaxed(&is_dirty) && session->budget ? SLICE : 0;
}

void idle_forked(void)
{
	put_relaxed(&is_looking, 0);
}

static int try_lock(uint32_t *word, uint32_t self)
{
	return swap_if(word, 0, self);
}

/* 1: it has memory. */
static int look_at_way(struct stream *s, uint32_t way, uint32_t self)
{
	struct stream_way *w = &s->ring->ways[way];
	uint32_t tail = get_acquire(&w->tail);

	if (!get_relaxed(&w->has_room))
		return 0;
	if (tail != s->tails[way] || tail != get_acquire(&w->head)) {
		s->tails[way] = tail;
		return 1;
	}
	/* As everywhere: first who reads, then who sends. Who has one of them is about to use it. */
	if (try_lock(&w->read_lock, self)) {
		if (try_lock(&w->send_lock, self)) {
			ring_trim(s->ring, way);
			stream_unlock(&w->send_lock);
		}
		stream_unlock(&w->read_lock);
	}
	return get_relaxed(&w->has_room) != 0;
}

void idle_look(void)
{
	const struct thread *t = thread_here();
	uint32_t self = t ? t->tid : process_main.pid, left = 0;
	struct stream *s;

	if (!get_relaxed(&is_dirty) || arch_ticks() - looked < SECOND * session->budget || !swap_if(&is_looking, 0, 1))
		return;
	looked = arch_ticks();
	put_relaxed(&is_dirty, 0);
	for (uint32_t fd = 0; (s = stream_next(&fd)); fd++) {
		if (get_acquire(&s->state) == STREAM_JOINED)
			for (uint32_t way = 0; way < 2; way++)
				left += (uint32_t)look_at_way(s, way, self);
		stream_put(s);
	}
	if (left)
		idle_begins();
	put_release(&is_looking, 0);
}
