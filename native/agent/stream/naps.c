/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first part of a sleep: who reads one stream naps for some milliseconds on a semaphore, and only then sleeps in
 * the kernel on the socket or pipe itself. An answer that comes soon costs two calls of semop, and no TCP. Called by
 * receive.c; who does what a sleeper must see calls nap_end(), move.c after each message.
 *
 * Why semaphores of System V: that the other end was killed must be seen at once, and a time limit so short costs more
 * than all the rest (a timer that is earlier than the kernel's next tick has to be set, and again when it is taken
 * back: 4 us in a virtual machine). The kernel undoes what a process has done to a semaphore when that process ends,
 * however it does: that is arranged to wake who naps, and he goes on to the socket. What else the kernel alone may know
 * he hears when the nap is over.
 *
 * A way's semaphore belongs to who sends, who gets it when somebody would nap there. A word says that somebody naps:
 * who sets it back posts, once. No naps where more than one process has one of the ends, or something has been closed.
 */
#include "stream.h"

enum {
	NAP = 6000000,   /* nanoseconds: later than the kernel's next tick, so that the timer costs nothing */
	REST = 16,       /* waits without one, after it was in vain */
	WANTED = ~0u, REFUSED = ~1u, /* in place of a semaphore */
	SET_NONE = 0, SET_BEGUN, SET_REFUSED,
	NOWAIT_ = 04000, UNDO_ = 010000, SETVAL_ = 16, FDCWD_ = -100,
	LOOKS = 16,      /* at owners of semaphores that may have been killed */
	SOL_SOCKET_ = 1, SO_RCVTIMEO_ = 20,
	PART_TRIES = 1000, SLEEP_TRIES = 100,
};

struct change {
	uint16_t place;
	int16_t by, flags;
};

static int32_t set = -1;
static uint32_t is_asked, next_place;

/* ---- semaphores -------------------------------------------------------------------------------------------------- */

/* One set for all runs of the user: the first who needs it makes it, and the last launcher removes it. */
static int find_set(void)
{
	struct meetings *m = stream_meetings();
	uint64_t here;

	if (get_acquire(&is_asked) || !m)
		return set >= 0;
	if (get_acquire(&m->set_state) == SET_BEGUN)
		return 0;
	here = stream_inode(FDCWD_, "/proc/self/ns/ipc");
	if (here && swap_if(&m->set_state, SET_NONE, SET_BEGUN)) {
		int64_t made = GATE3(NR_semget, 0, NAPS, 0600);

		m->set = (int32_t)made;
		m->set_namespace = here;
		put_release(&m->set_state, made < 0 ? (uint32_t)SET_REFUSED : (uint32_t)SET_THERE);
	}
	if (get_acquire(&m->set_state) == SET_BEGUN)
		return 0;
	if (m->set_state == SET_THERE && m->set_namespace == here)
		set = m->set;
	put_release(&is_asked, 1);
	return set >= 0;
}

static int64_t change(uint32_t place, int16_t by, int16_t flags)
{
	const struct change c = {(uint16_t)place, by, flags};

	return GATE3(NR_semop, set, &c, 1);
}

/* NAPS: there is none. One whose owner was killed may be had. */
static uint32_t take_place(struct meetings *m)
{
	uint32_t at = add_one(&next_place) + process_main.pid, looks = 0;

	for (uint32_t i = 0; i < NAPS; i++) {
		uint32_t *owner = &m->naps[(at + i) % NAPS], was = get_relaxed(owner);

		if (was && (looks == LOOKS || was == process_main.pid || (looks++, life_exists(was))))
			continue;
		if (swap_if(owner, was, process_main.pid))
			return (at + i) % NAPS;
	}
	return NAPS;
}

/* Our end, if it is not an orderly one, adds one to it. */
static void guard(struct stream *s)
{
	struct stream_way *w = stream_out(s);
	struct meetings *m = stream_meetings();
	uint32_t place;

	if (!find_set() && !get_acquire(&is_asked)) /* somebody is about to make it */
		return;
	if (!swap_if(&w->guard, WANTED, REFUSED) || set < 0 || s->place || process_main.elsewhere ||
	    get_acquire(&s->ring->is_forked))
		return;
	place = take_place(m);
	if (place == NAPS)
		return;
	if (GATE4(NR_semctl, set, place, SETVAL_, 0) || change(place, 1, 0) || change(place, -1, UNDO_ | NOWAIT_)) {
		put_release(&m->naps[place], 0);
		return;
	}
	s->place = place + 1;
	put_release(&w->guard, place + 1);
}

void nap_unguard(struct stream *s)
{
	uint32_t place = s->place - 1;

	if (!s->place)
		return;
	put_release(&stream_out(s)->guard, REFUSED); /* something has been closed, or it is back: nobody naps */
	change(place, 1, UNDO_);
	change(place, -1, NOWAIT_);
	s->place = 0;
	put_release(&stream_meetings()->naps[place], 0);
}

/* A child may be in a namespace of its own. */
void nap_forked(void)
{
	set = -1;
	is_asked = 0;
}

/* ---- naps -------------------------------------------------------------------------------------------------------- */

/* Nothing but what is put into the ring can be next, and whoever does that will look for us. */
static int may_nap(const struct stream *s)
{
	const struct stream_way *w = stream_in(s);

	return get_acquire(&w->guard) - 1 < NAPS && stream_source(w) == BY_RING && !get_acquire(&w->is_back) &&
	       get_acquire(&w->tail) == get_relaxed(&w->head) && !get_acquire(&s->ring->ends[!s->end].doubt) &&
	       !get_acquire(&s->ring->is_forked) && !get_acquire(&s->held->is_spoilt) && !get_acquire(&s->has_limit) &&
	       !get_acquire(&s->is_parting);
}

/* The program's own call, as far as signals are concerned. */
static int64_t wait_as(struct call *c, uint32_t place)
{
	const struct change down = {(uint16_t)place, -1, 0};
	const uint64_t limit[2] = {0, NAP};
	const uint64_t args[CALL_ARGS] = {(uint64_t)set, (uint64_t)&down, 1, (uint64_t)limit};
	struct call wait = *c;

	wait.nr = NR_semtimedop;
	wait.row = &call_rows[NR_semtimedop];
	memcpy(wait.args, args, sizeof args);
	return dispatch_kernel(&wait);
}

static void lie_down(struct call *c, struct stream *s, uint32_t place)
{
	struct stream_way *w = stream_in(s);
	int is_posted;
	int64_t r = -EINTR_;

	while (s->posts && !change(place, -1, NOWAIT_)) /* to naps that were over by then */
		s->posts--;
	put_release(&w->nap, 1);
	store_before_load();
	if (may_nap(s)) {
		s->ring->ends[s->end].bell.slept++;
		r = wait_as(c, place);
	}
	is_posted = !get_acquire(&w->nap) || !swap_if(&w->nap, 1, 0);
	if (r && is_posted)
		s->posts++;
	if (r == -EAGAIN_)
		s->nap_rest = REST;
	else if (!r && !is_posted && s->posts)
		s->posts--;
	else if ((!r && !is_posted) || (r != 0 && r != -EINTR_ && r != -ERESTART_)) /* who sends has come to an end */
		put_release(&w->guard, REFUSED);
}

int64_t nap(struct call *c, struct stream *s)
{
	struct stream_way *w = stream_in(s);
	uint32_t place = get_acquire(&w->guard) - 1, rest;

	if (place == ~0u)
		swap_if(&w->guard, 0, WANTED);
	if (place >= NAPS)
		return 0;
	rest = get_relaxed(&s->nap_rest);
	if (rest) {
		put_relaxed(&s->nap_rest, rest - 1);
		return 0;
	}
	if (!may_nap(s) || !find_set() || !swap_if(&s->is_napping, 0, 1))
		return 0;
	lie_down(c, s, place);
	put_release(&s->is_napping, 0);
	return c->thread->kept_signal || c->thread->put_off ? stream_interrupted(c) : 0;
}

int nap_end(struct stream_way *w)
{
	uint32_t place;

	store_before_load();
	if (!get_acquire(&w->nap))
		return 0;
	place = get_acquire(&w->guard) - 1;
	return place < NAPS && find_set() && swap_if(&w->nap, 1, 0) && !change(place, 1, 0);
}

void nap_sent(struct stream *s)
{
	struct stream_way *w = stream_out(s);

	if (nap_end(w))
		ring_woke(&s->ring->ends[s->end].bell, session);
	if (get_relaxed(&w->guard) == WANTED)
		guard(s);
}

/*
 * One of its descriptors is about to be closed. Another thread of ours that naps shall be in the kernel by then, which
 * lets him read on.
 */
void nap_part(struct stream *s)
{
	const uint64_t moment[2] = {0, 50000};

	if (!get_acquire(&s->is_napping))
		return;
	put_release(&s->is_parting, 1);
	for (int tries = 0; tries < PART_TRIES && get_acquire(&s->is_napping); tries++) {
		nap_end(stream_in(s));
		stream_yield();
	}
	for (int tries = 0; tries < SLEEP_TRIES && !get_acquire(&stream_in(s)->sleepers) && !stream_pending(s); tries++)
		GATE2(NR_nanosleep, moment, 0);
	GATE2(NR_nanosleep, moment, 0); /* said is not done */
	put_release(&s->is_parting, 0);
}

/* How long it may take is the kernel's to say. */
void nap_introduced(struct stream *s, int32_t fd)
{
	uint64_t limit[2] = {0, 0};
	uint32_t len = sizeof limit;

	if (!stream_is_pipe(s) &&
	    (GATE6(NR_getsockopt, fd, SOL_SOCKET_, SO_RCVTIMEO_, limit, &len, 0) || limit[0] || limit[1]))
		put_release(&s->has_limit, 1);
}
