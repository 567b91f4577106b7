/* SPDX-License-Identifier: Apache-2.0 */
/*
 * On which CPU a thread of the handlers' server sleeps and works.
 *
 * Its caller wakes it and then waits, so the best place to sleep is the caller's CPU. The kernel cannot know that, and
 * likes to wake it on an idle one, which has to be got out of its own sleep first; in a virtual machine that takes
 * several times as long as all the rest. So a thread that was woken elsewhere binds itself to its caller's CPU for its
 * next sleeps. It is let go before anything else runs on it: what a handler starts would be bound as well. That costs
 * two calls, so it is tried again and again without.
 *
 * Who asks one question after the other is served better from another CPU, if there is one to spare. The kernel takes
 * its time to see that, so the thread goes there by itself, and comes back if it was no better.
 */
#define _GNU_SOURCE
#include "place.h"

#include <string.h>

#include "ring.h"

enum {
	SPAN_LEAST = 1,
	SPAN_MOST = 256,
	SPAN_GROWS = 4,
	STEADY = 2,    /* sleeps after which it is as if it had never been woken elsewhere */
	REST = 64,     /* sleeps. Who asks by the dozen and then sleeps wants the thread elsewhere from the start */
	QUICK = 64,    /* questions, which lose about as much time as a move to another CPU takes */
	TRIAL = 64,    /* questions on the other one */
	AGAIN = 1000,  /* budgets, about 50 ms, and twice that each time that it was no better */
	BACKOFF = 7,   /* and so often twice as many questions */
};

static int go_to(uint32_t cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof set, &set);
}

/* A cpuset may hold none of the CPUs any more: then all that it has. */
static void go_anywhere(const struct place *p)
{
	cpu_set_t all;

	if (!sched_setaffinity(0, sizeof p->own, &p->own))
		return;
	memset(&all, 0xff, sizeof all);
	sched_setaffinity(0, sizeof all, &all);
}

/* Whether there is a choice. Asked each time, as others may bind the thread as well. */
static int may_go_to(struct place *p, uint32_t cpu)
{
	return cpu < CPU_SETSIZE && !sched_getaffinity(0, sizeof p->own, &p->own) && CPU_COUNT(&p->own) > 1 &&
	       CPU_ISSET(cpu, &p->own);
}

static void is_no_better(struct place *p)
{
	p->trial = 0;
	p->no_spread = arch_ticks() + (AGAIN * p->budget << p->backoff);
	p->backoff += p->backoff < BACKOFF;
}

void place_sleeps(struct place *p, struct handlers *h)
{
	if (p->trial) /* it was not worth it */
		p->backoff += p->backoff < BACKOFF;
	p->trial = 0;
	p->was_bound = 0;
	p->quick = 0;
	if (p->rest) {
		p->rest--;
		return;
	}
	if (!p->left)
		return;
	p->left--;
	if (!may_go_to(p, p->caller) || go_to(p->caller))
		return;
	p->bound = p->caller;
	p->is_bound = p->was_bound = 1;
	put_relaxed(&h->server.cpu, p->bound);
}

void place_woke(struct place *p, int has_slept)
{
	cpu_set_t now;

	/* Not if somebody else has bound it meanwhile. */
	if (p->is_bound && !sched_getaffinity(0, sizeof now, &now) && CPU_COUNT(&now) == 1 &&
	    CPU_ISSET(p->bound, &now))
		go_anywhere(p);
	p->is_bound = 0;
	p->woken = has_slept;
}

static void was_woken(struct place *p, uint32_t here)
{
	if (p->was_bound)
		return;
	if (here == p->caller) {
		p->home += p->home < STEADY;
		return;
	}
	if (p->home >= STEADY || !p->span)
		p->span = SPAN_LEAST;
	else if (p->span < SPAN_MOST)
		p->span *= SPAN_GROWS;
	p->left = p->span;
	p->home = 0;
}

void place_found(struct place *p, const struct handlers *h)
{
	uint32_t here = arch_cpu();
	uint64_t now = arch_ticks();
	int at_once = !p->woken && now - p->last < p->budget;

	p->caller = get_relaxed(&h->client.cpu);
	if (here == CPU_UNKNOWN || p->caller == CPU_UNKNOWN)
		return;
	if (p->woken)
		was_woken(p, here);
	p->woken = 0;
	p->last = now;
	if (p->trial) {
		p->trial = here == p->caller ? 0 : p->trial + 1;
		return;
	}
	p->quick = at_once && here == p->caller ? p->quick + 1 : 0;
	if (!p->quick)
		p->since = now;
}

int place_moves(struct place *p, struct handlers *h)
{
	uint64_t now;
	cpu_set_t others;

	if (p->trial > TRIAL) {
		if ((p->last - p->since) / TRIAL < p->took) {
			p->trial = p->backoff = 0;
			return 0;
		}
		is_no_better(p);
		if (may_go_to(p, p->caller) && !go_to(p->caller))
			go_anywhere(p);
		return 0;
	}
	if (p->quick < (uint32_t)QUICK << p->backoff)
		return 0;
	now = arch_ticks();
	p->took = (p->last - p->since) / p->quick;
	p->quick = 0;
	p->since = p->last;
	if (now < p->no_spread || !may_go_to(p, p->caller))
		return 0;
	others = p->own;
	CPU_CLR(p->caller, &others);
	/* Nobody is to wait for it there any more. */
	put_relaxed(&h->server.cpu, CPU_UNKNOWN);
	if (sched_setaffinity(0, sizeof others, &others))
		return 0;
	go_anywhere(p);
	p->left = 0;
	p->rest = REST;
	p->trial = 1;
	p->since = p->last = arch_ticks();
	if (p->since - now <= TOO_LONG * p->budget)
		return 1;
	/* Somebody else works there. */
	is_no_better(p);
	if (!go_to(p->caller))
		go_anywhere(p);
	return 0;
}
