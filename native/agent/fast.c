/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call from a patched site: arch/entry.S has moved to the agent's own stack and laid down a struct fast; it goes back
 * by what we leave there. Signals are as the program has them; one that comes meanwhile is put off by signal_arrived(),
 * which may only be because every wait in here is made by gate_fast(). Calls that need a signal frame are sent on to
 * trap() by way of the site's own `syscall` instruction.
 */
#include "agent.h"

static int64_t just_make(struct thread *t, struct fast *f)
{
	record_count(t, ROUTE_KERNEL);
	return gate_fast(f->nr, f->args, &t->put_off);
}

static int64_t by_dispatch(struct thread *t, struct fast *f, uint8_t route)
{
	struct call c = {.nr = f->nr, .row = &call_rows[f->nr], .thread = t, .route = route};
	uint64_t start;
	int64_t ret;

	memcpy(c.args, f->args, sizeof c.args);
	record_begin(&c, &start);
	ret = dispatch_perform(&c);
	record_end(&c, start, ret);
	return ret;
}

void fast_call(struct thread *t, struct fast *f)
{
	uint8_t route;
	int64_t ret;

	if (get_relaxed(handle_epoch) != get_relaxed(&handle_seen))
		handle_refresh();
	if (f->nr >= CALL_LIMIT || (dispatch_way[f->nr] == WAY_SLOW && !dispatch_unmasked(f->nr, f->args))) {
		f->resume = sites_slow((uint32_t)f->site);
		return;
	}
	route = dispatch_route(t->process, f->nr);
	if (route == ROUTE_PROXY && call_rows[f->nr].runs == RUNS_BOTH) {
		/* Done in two places: no signal may come between them and have it made again. */
		f->resume = sites_slow((uint32_t)f->site);
		return;
	}
	if (route == ROUTE_KERNEL && dispatch_way[f->nr] == WAY_PLAIN && !record_is_on() && !handle_has_rules(f->nr))
		ret = just_make(t, f);
	else
		ret = by_dispatch(t, f, route);
	if (ret == -ERESTART_)
		f->resume -= ARCH_SYSCALL_BYTES; /* and the number is there already */
	else
		f->nr = (uint64_t)ret;
}
