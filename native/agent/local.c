/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The route `local`: calls whose answer the agent knows for certain. A thread keeps what the kernel said when it was
 * asked last, and forgets it at every call of its own that may change it; users and groups belong to a thread, as the
 * kernel has them. A child begins with nothing. What somebody else may change at any time (the parent, the process
 * group, limits, names) is never kept, and nothing is once the program has a filter of its own, which may have another
 * answer in mind. entry.S answers by itself from struct thread; the first time, and where there is a log, by
 * local_answer().
 */
#include "agent.h"

enum { OVERFLOW_ID = 65534 };

static uint8_t is_off;

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

int64_t local_answer(struct call *c)
{
	uint32_t *answer = &c->thread->answers[c->row->known];
	int64_t ret;

	if (*answer != NO_ANSWER && !is_off) {
		c->route = ROUTE_LOCAL;
		return *answer;
	}
	ret = dispatch_kernel(c);
	/* A user that has no number here may get one, once somebody writes the map of its namespace. */
	if (ret >= 0 && ret != OVERFLOW_ID)
		*answer = (uint32_t)ret;
	return ret;
}
