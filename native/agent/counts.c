/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many calls each process has made, by route, in the session's memory: `lsca top` shows it while it runs. A thread
 * counts for itself and adds that up now and then. Called by record.c and fast.c for every call.
 */
#include "agent.h"

enum { QUICK = 256 };

static void add(const struct thread *t, uint8_t route, uint32_t made)
{
	if (made && t->process && t->process->entry < PROCESSES && session)
		__atomic_add_fetch(&session->processes[t->process->entry].calls[route], made, __ATOMIC_RELAXED);
}

static uint32_t made_by(int32_t left, int32_t before)
{
	int32_t made = before - (left > 0 ? left : 0);

	return made > 0 ? (uint32_t)made : 0;
}

void record_counts(struct thread *t)
{
	t->made[ROUTE_KERNEL] += made_by(t->quick, t->made_quick);
	t->made[ROUTE_LOCAL] += made_by(t->known, t->made_known);
	t->made_quick = t->quick;
	t->made_known = t->known;
	for (uint8_t route = 0; route < ROUTE_COUNT; route++) {
		add(t, route, t->made[route]);
		t->made[route] = 0;
	}
	t->uncounted = 0;
	if (t->streamed && session)
		__atomic_add_fetch(&session->stream_bytes, t->streamed, __ATOMIC_RELAXED);
	t->streamed = 0;
	if (session)
		ring_add_up(&t->patience, session);
}

/* Between two looks entry.S may complete calls by itself, where each would only be made, or is answered already. */
void record_count(struct thread *t, uint8_t route)
{
	int32_t more = record_is_on() ? 0 : QUICK;
	/* Whoever is at it with shared memory shall not wait for that of the session each time. */
	int is_busy = t->is_recounted && t->quick > 0 && t->known > 0;

	t->is_recounted = 0;
	t->made[route]++;
	if (++t->uncounted < QUICK && (!more || is_busy))
		return;
	record_counts(t);
	t->quick = t->made_quick = t->process->channel ? 0 : more;
	t->known = t->made_known = more;
}

/* A call that was counted there when it came in has been completed elsewhere. */
void record_recount(struct thread *t, uint8_t from, uint8_t to)
{
	if (t->made[from])
		t->made[from]--;
	else if (t->process->entry < PROCESSES)
		__atomic_sub_fetch(&session->processes[t->process->entry].calls[from], 1, __ATOMIC_RELAXED);
	t->made[to]++;
	t->is_recounted = 1;
}
