/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poll, ppoll, select and pselect6 of sets in which there is a stream with a ring. All four are made to one list; the
 * rings are asked first, the kernel now and then, and whoever has found nothing waits as everywhere (ring.h), and then
 * sleeps in the kernel, by ppoll and under the program's own mask. What wakes him there is a bell.
 */
#include "poll.h"

/* ---- answers ----------------------------------------------------------------------------------------------------- */

/* Of an entry that select has asked for, only this is of interest. */
static uint32_t shows(const struct wait *w, uint32_t events)
{
	if (!w->is_select)
		return ~0u;
	return (events & READ_SET ? (uint32_t)READ_SHOWS : 0) | (events & OUT_EVENTS ? (uint32_t)WRITE_SHOWS : 0) |
	       (events & POLLPRI_) | NVAL_;
}

/* By the rings alone. */
static uint32_t look(struct wait *w)
{
	uint32_t found = 0, others = w->n - w->count;

	for (uint32_t i = 0; i < w->n; i++)
		w->set[i].revents = 0;
	for (uint32_t i = 0; i < w->count; i++) {
		struct member *m = &w->members[i];
		struct entry *e = &w->set[m->at];
		uint32_t domain = stream_has_ring(m->s) ? stream_domain(m->s) : 0;

		if (domain)
			e->revents = (uint16_t)(stream_says(m->s, e->events) & domain);
		found += e->revents != 0;
		others += (e->events & (IN_EVENTS | OUT_EVENTS) & ~domain) != 0;
	}
	w->c->thread->calm.others = others;
	return found;
}

/* By what the kernel says, and the rings. */
static uint32_t merge(struct wait *w)
{
	uint32_t found = 0;

	for (uint32_t i = 0; i < w->n; i++)
		w->set[i].revents = w->asked[i].revents;
	for (uint32_t i = 0; i < w->count; i++) {
		struct entry *e = &w->set[w->members[i].at];
		struct stream *s = w->members[i].s;

		if (stream_has_ring(s))
			e->revents = (uint16_t)stream_merge(s, e->fd, e->events, e->revents);
	}
	for (uint32_t i = 0; i < w->n; i++) {
		uint32_t shown = w->set[i].revents & shows(w, w->set[i].events);

		/* An end that select does not tell of would wake us for ever. */
		if (w->is_select && w->set[i].revents && !shown && w->set[i].fd >= 0) {
			w->asked[i].fd = -1;
			w->slice = SLICE_BELL;
		}
		w->set[i].revents = (uint16_t)shown;
		found += shown != 0;
	}
	return found;
}

/* What is asked of the kernel about a stream. Its end shows as RDHUP, and bells as IN. */
static uint32_t asked_of(const struct stream *s, uint32_t events)
{
	uint32_t domain = stream_has_ring(s) ? stream_domain(s) : 0;

	return (events & ~domain) | (domain & events & IN_EVENTS ? (uint32_t)POLLRDHUP_ : 0);
}

static void ask_again(struct wait *w)
{
	for (uint32_t i = 0; i < w->n; i++)
		w->asked[i] = w->set[i];
	for (uint32_t i = 0; i < w->count; i++) {
		struct entry *e = &w->asked[w->members[i].at];

		if (e->fd >= 0)
			e->events = (uint16_t)asked_of(w->members[i].s, e->events);
	}
}

/* Without waiting. */
static int64_t look_at_kernel(struct wait *w)
{
	uint64_t none[2] = {0, 0};
	int64_t r;

	ask_again(w);
	r = GATE6(NR_ppoll, w->asked, w->n, none, 0, 8, 0);
	if (r < 0)
		return r;
	/* The rings' part of it may have changed since, and does not count. */
	for (uint32_t i = 0; r && i < w->count; i++)
		r -= w->asked[w->members[i].at].revents == POLLIN_;
	calm_looked(&w->c->thread->calm, r > 0);
	return merge(w);
}

/* ---- waiting ----------------------------------------------------------------------------------------------------- */

static int is_there(void *with)
{
	struct wait *w = with;

	for (uint32_t i = 0; i < w->count; i++) {
		const struct member *m = &w->members[i];

		if (stream_has_ring(m->s) && stream_says(m->s, w->set[m->at].events) & stream_domain(m->s))
			return 1;
	}
	if (!w->c->thread->calm.others || arch_ticks() - w->c->thread->calm.looked < session->budget / 5)
		return 0;
	w->came = look_at_kernel(w) > 0;
	return (int)w->came;
}

/* 1: there is something now. */
static int linger(struct wait *w)
{
	struct stream *first = 0;
	uint32_t here = arch_cpu(), there = here;

	w->came = 0;
	for (uint32_t i = 0; i < w->count; i++) {
		struct stream *s = w->members[i].s;
		struct stream_end *ends;

		if (!stream_has_ring(s))
			continue;
		first = first ? first : s;
		ends = s->ring->ends;
		if (get_relaxed(&ends[s->end].bell.cpu) != here)
			put_relaxed(&ends[s->end].bell.cpu, here);
		if (get_relaxed(&ends[!s->end].bell.cpu) != here)
			there = get_relaxed(&ends[!s->end].bell.cpu);
	}
	w->patience = first ? &first->patience : 0;
	return first && ring_linger_for(is_there, w, there, &first->ring->ends[first->end].bell, &first->patience,
					session, stream_yield) == RING_READY;
}

static void watch(struct wait *w)
{
	ask_again(w);
	for (uint32_t i = 0; i < w->count; i++) {
		struct member *m = &w->members[i];
		struct entry *e = &w->asked[m->at];
		uint32_t events = w->set[m->at].events;

		if (!stream_has_ring(m->s)) {
			if (process_main.threaded)
				stream_watch(m->s, &m->watches);
			continue;
		}
		if (get_relaxed(&stream_in(m->s)->has_room))
			idle_begins();
		m->wants_room = events & OUT_EVENTS && stream_is_ours(m->s, POLLOUT_) && stream_is_full(m->s);
		if (m->wants_room) {
			add_one(&stream_out(m->s)->wants_room);
			w->slice = SLICE_ROOM;
		}
		if (!(events & IN_EVENTS) && !m->wants_room)
			continue;
		if (stream_quiet(m->s, e->fd, 0)) /* it would be readable all the time */
			w->slice = SLICE_BELL;
		else
			e->events |= POLLIN_;
		stream_watch(m->s, &m->watches);
	}
	store_before_load();
}

static void unwatch(struct wait *w)
{
	for (uint32_t i = 0; i < w->count; i++) {
		struct member *m = &w->members[i];

		if (m->watches)
			stream_unwatch(m->s, m->watches);
		if (m->wants_room)
			__atomic_sub_fetch(&stream_out(m->s)->wants_room, 1, __ATOMIC_ACQ_REL);
		m->watches = m->wants_room = 0;
	}
}

/* As the kernel would: entries that are ready; 0: the time is over; or an error. -EAGAIN_: look again. */
static int64_t sleep(struct wait *w)
{
	uint64_t left = ~0ull, spec[2];
	struct call wait = *w->c;
	int64_t r;

	idle_look();
	w->slice = 0;
	watch(w);
	if (!w->slice)
		w->slice = idle_slice();
	if (look(w)) {
		unwatch(w);
		return -EAGAIN_;
	}
	if (w->timeout != ~0ull) {
		uint64_t now = stream_now();

		if (!w->end)
			w->end = now + w->timeout;
		left = w->end > now ? w->end - now : 0;
	}
	if (w->slice && w->slice < left)
		left = w->slice;
	else
		w->slice = 0;
	spec[0] = left / 1000000000;
	spec[1] = left % 1000000000;
	wait.nr = NR_ppoll;
	wait.row = &call_rows[NR_ppoll];
	memcpy(wait.args,
	       (const uint64_t[CALL_ARGS]){(uint64_t)w->asked, w->n, left == ~0ull ? 0 : (uint64_t)spec, w->mask,
					   w->mask_size},
	       sizeof wait.args);
	w->c->route = ROUTE_KERNEL;
	r = dispatch_kernel(&wait);
	unwatch(w);
	if (r < 0)
		return r;
	if (!r && !w->slice)
		return look(w);
	r = merge(w);
	return r ? r : -EAGAIN_;
}

int64_t poll_wait(struct wait *w)
{
	int64_t r;

	for (int is_first = 1;; is_first = 0) {
		r = look(w);
		if (r && !calm_is_over(&w->c->thread->calm)) {
			if (is_first)
				w->c->route = ROUTE_LOCAL;
			return r;
		}
		if (r || !w->timeout || (w->c->thread->calm.others && calm_is_over(&w->c->thread->calm))) {
			r = look_at_kernel(w);
			if (r || !w->timeout)
				return r;
		}
		if (is_first && linger(w)) {
			if (w->came)
				return merge(w);
			r = look(w);
			ring_was_worth(w->patience, session, (uint32_t)r);
			w->c->route = ROUTE_LOCAL;
			if (r)
				return r;
		}
		/* Only one signal can be kept, and it ends the wait. */
		if (!is_first && (w->c->thread->kept_signal || w->c->thread->put_off))
			return -EINTR_;
		r = sleep(w);
		if (r == -ERESTART_ && !is_first)
			return -EINTR_;
		if (r != -EAGAIN_)
			return r;
	}
}

/* ---- what the program has asked for ------------------------------------------------------------------------------ */

int poll_make_room(struct wait *w, struct entry *few, struct member *members)
{
	int64_t r;

	w->set = few;
	w->asked = few + FEW;
	w->members = members;
	if (w->n <= FEW)
		return 1;
	w->pages_size = (w->n * (2 * sizeof *few + sizeof *members) + 4095) & ~4095ull;
	r = GATE6(NR_mmap, 0, w->pages_size, 3, 0x22, -1, 0);
	if (r < 0 && r > -4096)
		return 0;
	w->pages = (void *)r;
	w->members = w->pages;
	w->set = (struct entry *)(w->members + w->n);
	w->asked = w->set + w->n;
	return 1;
}

/* 0: there is none that would concern us. */
uint32_t poll_find_members(struct wait *w)
{
	uint32_t rings = 0;

	for (uint32_t i = 0; i < w->n; i++) {
		int32_t fd = w->set[i].fd;
		struct stream *s;

		if (fd < 0)
			continue;
		if (epoll_known((uint32_t)fd)) /* readable if one of its own streams is: not for us to say */
			epoll_give_up((uint32_t)fd);
		s = stream_get((uint32_t)fd);
		if (!s)
			continue;
		if (get_acquire(&s->state) == STREAM_PLAIN) {
			stream_put(s);
			continue;
		}
		w->members[w->count++] = (struct member){.s = s, .at = i};
		rings += (uint32_t)stream_has_ring(s) || process_main.threaded;
	}
	return rings;
}

void poll_done(struct wait *w)
{
	for (uint32_t i = 0; i < w->count; i++)
		stream_put(w->members[i].s);
	if (w->pages)
		GATE2(NR_munmap, w->pages, w->pages_size);
}

/* Nanoseconds from what a call brings; 0: it is not as it should be, and the kernel shall say so. */
int poll_read_timeout(struct wait *w, uint64_t at, uint64_t unit)
{
	uint64_t t[2];

	w->timeout = ~0ull;
	if (!at)
		return 1;
	if (memory_read(t, at, sizeof t) < sizeof t || (int64_t)t[0] < 0 || (int64_t)t[1] < 0)
		return 0;
	if (unit == 1 && t[1] >= 1000000000)
		return 0;
	t[1] *= unit;
	if (t[0] < 1ull << 32 && t[1] < 1ull << 60)
		w->timeout = t[0] * 1000000000 + t[1];
	return 1;
}

void poll_write_timeout(const struct wait *w, uint64_t at, uint64_t unit)
{
	uint64_t now, left, t[2];

	if (!at || !w->timeout || !w->end)
		return; /* next to nothing of it is gone */
	now = stream_now();
	left = w->end > now ? w->end - now : 0;
	t[0] = left / 1000000000;
	t[1] = left % 1000000000 / unit;
	memory_write(at, t, sizeof t);
}

static int64_t by_poll(struct call *c, struct wait *w)
{
	struct entry few[2 * FEW];
	struct member members[FEW];
	uint64_t size = c->args[1] * sizeof(struct entry);
	int64_t r;

	w->n = (uint32_t)c->args[1];
	if (c->nr == NR_poll) {
		w->timeout = (int32_t)c->args[2] < 0 ? ~0ull : (uint64_t)(uint32_t)c->args[2] * 1000000;
	} else {
		if (!poll_read_timeout(w, c->args[2], 1))
			return dispatch_kernel(c);
		w->mask = c->args[3];
		w->mask_size = c->args[4];
	}
	if (!w->n || w->n > MANY || (w->mask && w->mask_size != 8) || !poll_make_room(w, few, members))
		return dispatch_kernel(c);
	if (memory_read(w->set, c->args[0], size) < size || !poll_find_members(w)) {
		poll_done(w);
		return dispatch_kernel(c);
	}
	r = poll_wait(w);
	if (r >= 0 && memory_write(c->args[0], w->set, size) < size)
		r = -EFAULT_;
	poll_done(w);
	if (r != -ERESTART_ && c->nr == NR_ppoll)
		poll_write_timeout(w, c->args[2], 1);
	return r;
}

int64_t stream_poll(struct call *c)
{
	struct wait w = {.c = c};

	return c->nr == NR_poll || c->nr == NR_ppoll ? by_poll(c, &w) : poll_select(c, &w);
}
