/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The route `local`: calls whose answer the agent knows for certain. A thread keeps what the kernel said when it was
 * asked last, and forgets it at every call of its own that may change it; users and groups belong to a thread, as the
 * kernel has them. A child begins with nothing. What the machine says of itself (the resolution of its clocks, the
 * range of its priorities) is kept by the process, and never changes. What somebody else may change at any time (the
 * parent, the process group, limits, names) is never kept, and nothing is once the program has a filter of its own,
 * which may have another answer in mind. entry.S answers by itself from struct thread; the first time, and where there
 * is a log, or something is to be written to memory, by local_answer(). An address that leads nowhere is the kernel's
 * to judge.
 */
#include "agent.h"

enum { OVERFLOW_ID = 65534, CLOCKS = 12, POLICIES = 8, COARSE = 1 << 5 | 1 << 6 };

/* REALTIME, MONOTONIC, its RAW, the two COARSE ones, BOOTTIME, TAI: no other is always there, or always the same. */
enum { STEADY = 1 << 0 | 1 << 1 | 1 << 4 | COARSE | 1 << 7 | 1 << 11 };

static uint8_t is_off;
static uint32_t resolutions[CLOCKS];     /* in nanoseconds; 0: the kernel is to be asked */
static uint32_t priorities[2][POLICIES]; /* lowest and highest, and 1 more; 0 as above */

void local_forget(struct thread *t)
{
	for (int i = 0; i < KNOWN_END; i++)
		t->answers[i] = NO_ANSWER;
}

void local_off(void)
{
	is_off = 1;
	dispatch_ways();
}

int local_is_off(void)
{
	return is_off;
}

static int64_t word(struct call *c)
{
	uint32_t *answer = &c->thread->answers[c->row->known];
	int64_t ret;

	if (*answer != NO_ANSWER) {
		c->route = ROUTE_LOCAL;
		return *answer;
	}
	ret = dispatch_kernel(c);
	/* A user that has no number here may get one, once somebody writes the map of its namespace. */
	if (ret >= 0 && ret != OVERFLOW_ID)
		*answer = (uint32_t)ret;
	return ret;
}

/* Real, effective and saved. */
static int64_t three(struct call *c, enum call_known first)
{
	uint32_t *answers = &c->thread->answers[first], now[3];

	for (int i = 0; i < 3; i++) {
		if (answers[i] != NO_ANSWER)
			continue;
		if (GATE3(c->nr, &now[0], &now[1], &now[2]))
			return dispatch_kernel(c);
		for (int k = 0; k < 3; k++)
			if (now[k] != OVERFLOW_ID)
				answers[k] = now[k];
		if (answers[i] == NO_ANSWER)
			return dispatch_kernel(c);
	}
	for (int i = 0; i < 3; i++)
		if (memory_write(c->args[i], &answers[i], 4) < 4)
			return dispatch_kernel(c);
	c->route = ROUTE_LOCAL;
	return 0;
}

static int64_t resolution(struct call *c)
{
	uint32_t clock = (uint32_t)c->args[0];
	uint32_t *kept;
	uint64_t spec[2];

	if (clock >= CLOCKS || !(STEADY >> clock & 1))
		return dispatch_kernel(c);
	kept = &resolutions[clock];
	if (!get_relaxed(kept)) {
		if (GATE2(c->nr, clock, spec) || spec[0])
			return dispatch_kernel(c);
		/* A machine that has only just been started has coarser timers, and finer ones for ever after. */
		if (spec[1] != 1 && !(COARSE >> clock & 1))
			return dispatch_kernel(c);
		put_relaxed(kept, (uint32_t)spec[1]);
	}
	spec[0] = 0;
	spec[1] = get_relaxed(kept);
	if (c->args[1] && memory_write(c->args[1], spec, sizeof spec) < sizeof spec)
		return dispatch_kernel(c);
	c->route = ROUTE_LOCAL;
	return 0;
}

static int64_t priority(struct call *c, int highest)
{
	uint32_t policy = (uint32_t)c->args[0], kept;
	int64_t ret;

	if (policy >= POLICIES)
		return dispatch_kernel(c);
	kept = get_relaxed(&priorities[highest][policy]);
	if (kept) {
		c->route = ROUTE_LOCAL;
		return kept - 1;
	}
	ret = dispatch_kernel(c);
	if (ret >= 0)
		put_relaxed(&priorities[highest][policy], (uint32_t)ret + 1);
	return ret;
}

int64_t local_answer(struct call *c)
{
	if (is_off)
		return dispatch_kernel(c);
	switch (c->row->known) {
	case KNOWN_PRIORITY_MIN:
	case KNOWN_PRIORITY_MAX:
		return priority(c, c->row->known == KNOWN_PRIORITY_MAX);
	case KNOWN_RESUID:
	case KNOWN_RESGID:
	case KNOWN_RESOLUTION:
		if (!memory_may_fault()) /* it would take another call to write there */
			return dispatch_kernel(c);
		if (c->row->known == KNOWN_RESOLUTION)
			return resolution(c);
		return three(c, c->row->known == KNOWN_RESUID ? KNOWN_UID : KNOWN_GID);
	}
	return word(c);
}
