/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often a thread has made a call that a rule counts by thread: a table in the session's memory (handler.h), asked
 * by rules.c. Only the thread itself writes what it has counted. What the dead have left is used again when there is
 * no other room, and never taken for one's own.
 */
#include "handle.h"

#include "outside.h"

enum { PROBES = 64 };

static uint32_t place_of(uint64_t key)
{
	return (uint32_t)((key * 0x9e3779b97f4a7c15ull) >> 32) % TALLIES;
}

static int take_over(struct tally *t, uint64_t from, uint64_t key)
{
	return __atomic_compare_exchange_n(&t->key, &from, key, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

static uint32_t tid_of(uint64_t key)
{
	return key >> 19 & 0x3fffff;
}

/* The entry of a key, which is made if `make` says so; 0: there is none. `is_new`: it tells nothing yet. */
static struct tally *find(uint64_t key, int make, int *is_new)
{
	struct tally *all = handler_tallies(handlers), *t;
	uint32_t at = place_of(key);

	*is_new = 0;
	for (uint32_t i = 0; i < PROBES; i++) {
		uint64_t has = __atomic_load_n(&all[(at + i) % TALLIES].key, __ATOMIC_ACQUIRE);

		if (has == key)
			return &all[(at + i) % TALLIES];
		if (!has)
			break;
	}
	*is_new = 1;
	for (uint32_t i = 0; make && i < PROBES; i++) {
		t = &all[(at + i) % TALLIES];
		if (!t->key && take_over(t, 0, key))
			return t;
	}
	for (uint32_t i = 0; make && i < PROBES; i++) {
		uint64_t has = (t = &all[(at + i) % TALLIES])->key;

		/* Only who shares our pid namespace can be asked after. */
		if (has >> 41 == key >> 41 && tid_of(has) != tid_of(key) && !life_exists(tid_of(has)) &&
		    take_over(t, has, key))
			return t;
	}
	return 0;
}

void handle_born(struct thread *t)
{
	struct tally *birth;
	int is_new;

	if (!handlers || !get_relaxed(&handlers->per_thread))
		return;
	birth = find(tally_key(ask_namespace(t->process), t->tid, 0, TALLY_BIRTH), 1, &is_new);
	if (birth)
		birth->n = add_one(&handlers->births);
}

uint32_t tally_next(struct call *c, uint32_t counter)
{
	uint64_t pids = ask_namespace(c->thread->process);
	uint32_t tid = c->thread->tid, now;
	struct tally *birth, *t;
	int is_new;

	birth = find(tally_key(pids, tid, 0, TALLY_BIRTH), 0, &is_new);
	now = birth ? birth->n : 0;
	t = find(tally_key(pids, tid, counter, c->nr), 1, &is_new);
	if (!t)
		return 0;
	if (is_new || t->birth != now)
		t->n = 0;
	t->birth = now;
	return ++t->n;
}
