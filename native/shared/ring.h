/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory ordering and waiting: the few names through which agent, proxy and daemon touch words that the other side
 * writes. The wait rule looks at the CPU its peer runs on: elsewhere, spin for a while; here, give way once; then
 * sleep in the kernel. Spinning is an investment, so it needs a spare CPU (`spinners`) and stops where it has not
 * paid of late (`credit`).
 */
#ifndef LSCA_RING_H
#define LSCA_RING_H

#include "abi.h"
#include "machine.h"

/* Pairs with put_release: whatever was written before the release is seen after the acquire. */
static inline uint32_t get_acquire(const uint32_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static inline void put_release(uint32_t *p, uint32_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
}

static inline uint32_t get_relaxed(const uint32_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline void put_relaxed(uint32_t *p, uint32_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELAXED);
}

static inline int swap_if(uint32_t *p, uint32_t from, uint32_t to)
{
	return __atomic_compare_exchange_n(p, &from, to, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

static inline int swap_pointer_if(void **p, void *from, void *to)
{
	return __atomic_compare_exchange_n(p, &from, to, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

static inline uint32_t add_one(uint32_t *p)
{
	return __atomic_add_fetch(p, 1, __ATOMIC_ACQ_REL);
}

/* For marks that only rise. */
static inline void raise_to(uint32_t *p, uint32_t v)
{
	for (uint32_t was = get_relaxed(p); was < v; was = get_relaxed(p))
		swap_if(p, was, v);
}

/*
 * Both halves of "do not sleep past a post": the poster stores the word, then looks for a sleeper; the sleeper says
 * that it sleeps, then looks at the word once more. Each needs its store before its load, on every machine.
 */
static inline void store_before_load(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* What waiting has taught one waiter. Private to it. */
struct patience {
	int32_t credit;    /* > 0: spinning paid lately */
	uint32_t rest;     /* waits until spinning is tried again */
	uint32_t absent;   /* ticks of the last yield, if it took too long and nobody has said that it was worth it */
	uint32_t backoff;  /* of the last ones, about so many took too long */
	uint64_t no_yield; /* until then, in ticks */
	uint32_t spun, yielded, slept; /* since they were last added to the session's */
};

enum {
	CREDIT_MAX = 8,
	SPIN_REST = 16,
	TOO_LONG = 8,   /* budgets of a yield, about 400 us: somebody else wanted the CPU */
	WORTH = 2,      /* things that come by it, for each budget that it takes: then it was the peer who worked */
	YIELD_REST = 8, /* times as long as it took, and then to the next window */
	YIELD_WINDOWS = 24, /* ticks between them, as a power of two; twice that if it takes too long again */
	BACKOFF_MAX = 2,    /* so many times */
	WAITS_KEPT = 1024, /* until they are added up */
	SPIN_TICK = 1024,
	SPIN_STALE = 2000, /* budgets, about 100 ms: whoever has spun for so long is dead */
};

enum ring_turn { RING_READY, RING_SLEEP };

/*
 * One spinner more, if it may be. A thread that is killed while it spins stays counted, and nobody would spin any more:
 * when all places are taken, and nobody has begun for so long that each of them must have come to its end, they are
 * free. Whoever only stood still comes back to a count that is too low by one; below none is none.
 */
static inline int ring_may_spin(struct session *at, uint64_t budget)
{
	uint32_t n = __atomic_add_fetch(&at->spinners, 1, __ATOMIC_RELAXED);
	uint32_t now = (uint32_t)(arch_ticks() / SPIN_TICK);
	int is_wrong = (int32_t)n < 1;

	if ((int32_t)n > (int32_t)at->spare) {
		uint32_t stale = (uint32_t)(budget / SPIN_TICK + 1) * SPIN_STALE;

		if (!at->spare || now - get_relaxed(&at->spun_at) < stale)
			return 0;
		is_wrong = 1;
	}
	if (is_wrong && !swap_if(&at->spinners, n, 1) && (int32_t)n > (int32_t)at->spare)
		return 0;
	put_relaxed(&at->spun_at, now);
	return 1;
}

static inline void ring_add_up(struct patience *p, struct session *at)
{
	if (p->spun)
		__atomic_add_fetch(&at->waits.spun, p->spun, __ATOMIC_RELAXED);
	if (p->yielded)
		__atomic_add_fetch(&at->waits.yielded, p->yielded, __ATOMIC_RELAXED);
	if (p->slept)
		__atomic_add_fetch(&at->waits.slept, p->slept, __ATOMIC_RELAXED);
	p->spun = p->yielded = p->slept = 0;
}

static inline enum ring_turn ring_has_spun(struct bell *me, struct patience *p, struct session *at)
{
	me->spun++;
	if (++p->spun + p->yielded >= WAITS_KEPT)
		ring_add_up(p, at);
	return RING_READY;
}

static inline enum ring_turn ring_goes_to_sleep(struct patience *p, struct session *at)
{
	p->slept++;
	ring_add_up(p, at);
	return RING_SLEEP;
}

static inline void ring_woke(struct bell *me, struct session *at)
{
	me->woke++;
	__atomic_add_fetch(&at->waits.woke, 1, __ATOMIC_RELAXED);
}

/*
 * The last yield took too long. What is lost by yields is a small part of the time, whoever wants the CPU. Who gives
 * way among others that sleep instead has to wait for long: where there are many, all of them have to try it again
 * at the same time.
 */
static inline void ring_yields_less(struct patience *p)
{
	uint32_t window = YIELD_WINDOWS + p->backoff;

	p->no_yield = (((arch_ticks() + (uint64_t)p->absent * YIELD_REST) >> window) + 1) << window;
	p->backoff += p->backoff < BACKOFF_MAX;
	p->absent = 0;
}

/* So many things have come while we waited: a peer that works for many of us at a time needs time for that. */
static inline void ring_was_worth(struct patience *p, const struct session *at, uint32_t found)
{
	if (p->absent <= found * __atomic_load_n(&at->budget, __ATOMIC_RELAXED) / WORTH)
		p->absent = 0;
}

/*
 * Wait a little for `is_there(with)` without sleeping; `there`: the CPU of whoever is waited for. RING_SLEEP: it is
 * not, sleep in the kernel. `yield` gives the CPU away once.
 */
static inline __attribute__((always_inline)) enum ring_turn
ring_linger_for(int (*is_there)(void *), void *with, uint32_t there, struct bell *me, struct patience *p,
		struct session *at, void (*yield)(void))
{
	uint32_t here = arch_cpu();
	uint64_t budget = __atomic_load_n(&at->budget, __ATOMIC_RELAXED);

	if (get_relaxed(&me->cpu) != here) /* the peer reads this line */
		put_relaxed(&me->cpu, here);
	if (is_there(with))
		return RING_READY;
	if (here == CPU_UNKNOWN || here != there) {
		uint64_t end;

		if (!budget)
			return ring_goes_to_sleep(p, at);
		if (p->credit <= 0 && p->rest) {
			p->rest--;
			return ring_goes_to_sleep(p, at);
		}
		/* The peer may have been spinning for what we just posted, and takes a moment to notice. */
		for (int tries = 0; !ring_may_spin(at, budget); tries++) {
			__atomic_sub_fetch(&at->spinners, 1, __ATOMIC_RELAXED);
			for (int i = 0; i < 16; i++) {
				if (is_there(with)) {
					return ring_has_spun(me, p, at);
				}
				arch_relax();
			}
			if (tries == 8)
				return ring_goes_to_sleep(p, at);
		}
		end = arch_ticks() + budget;
		do {
			for (int i = 0; i < 16; i++) {
				if (is_there(with)) {
					__atomic_sub_fetch(&at->spinners, 1, __ATOMIC_RELAXED);
					p->credit += p->credit < CREDIT_MAX;
					return ring_has_spun(me, p, at);
				}
				arch_relax();
			}
		} while (arch_ticks() < end);
		__atomic_sub_fetch(&at->spinners, 1, __ATOMIC_RELAXED);
		if (p->credit > -CREDIT_MAX)
			p->credit -= 2;
		p->rest = SPIN_REST;
		return ring_goes_to_sleep(p, at);
	}
	if (p->absent)
		ring_yields_less(p);
	{
		uint64_t before = arch_ticks(), took;

		if (before < p->no_yield)
			return ring_goes_to_sleep(p, at);
		yield();
		took = arch_ticks() - before;
		me->yielded++;
		if (budget && took > TOO_LONG * budget)
			p->absent = took < ~0u ? (uint32_t)took : ~0u;
		else
			p->backoff -= p->backoff > 0;
	}
	if (!is_there(with))
		return ring_goes_to_sleep(p, at);
	if (++p->yielded + p->spun >= WAITS_KEPT)
		ring_add_up(p, at);
	return RING_READY;
}

struct ring_word {
	const uint32_t *word;
	uint32_t value;
};

static inline int ring_has_changed(void *with)
{
	const struct ring_word *w = (const struct ring_word *)with;

	return get_acquire(w->word) != w->value;
}

/* The same for *word to change from `value`. */
static inline enum ring_turn ring_linger(const uint32_t *word, uint32_t value, struct bell *me,
					 const struct bell *peer, struct patience *p, struct session *at,
					 void (*yield)(void))
{
	struct ring_word w = {word, value};

	return ring_linger_for(ring_has_changed, &w, get_relaxed(&peer->cpu), me, p, at, yield);
}

#endif
