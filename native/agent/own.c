/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Syscall User Dispatch of the program's own. The kernel has one per thread, and that one is the agent's, so the
 * program's is kept here: where calls pass, and the byte that says whether others do. trap() asks own_takes() about
 * each call before anything else happens to it; what the dispatch takes becomes the program's SIGSYS, and is no call.
 * A thread with a dispatch has all its calls looked at, by the signal. Nobody inherits one.
 */
#include "agent.h"

enum { SET_DISPATCH = 59, MODE_OFF = 0, MODE_ON = 1, MODE_INSIDE = 2, PASSES = 0, TAKEN = 1 };

/* prctl(PR_SET_SYSCALL_USER_DISPATCH, mode, offset, len, selector): the kernel says what it thinks of each argument. */
int64_t own_dispatch(struct call *c)
{
	static const uint8_t passes = PASSES;
	struct own_dispatch *own = &c->thread->own;
	uint64_t mode = c->args[1], offset = c->args[2], len = c->args[3], selector = c->args[4];
	int64_t r;

	if (mode == OWN_ASKED)
		return 1;
	r = gate(NR_prctl, SET_DISPATCH, mode, offset, len, mode == MODE_OFF ? selector : (uint64_t)&passes, 0);
	if (r)
		return r; /* and nothing has changed */
	if (mode != MODE_OFF)
		r = gate(NR_prctl, SET_DISPATCH, MODE_ON, (uint64_t)range_begin,
			 (uint64_t)(range_end - range_begin) + 1, selector, 0);
	start_capture();
	if (r)
		return r;
	if (own->is_on && mode == MODE_OFF)
		thread_unbar(c->thread);
	else if (!own->is_on && mode != MODE_OFF)
		thread_bar(c->thread);
	own->is_on = mode != MODE_OFF;
	own->selector = selector;
	own->offset = mode == MODE_INSIDE ? offset + len : offset;
	own->len = mode == MODE_INSIDE ? 0 - len : len;
	return 0;
}

/* Whatever the program has in mind for that signal. */
static void end(const struct thread *t, int sig)
{
	signal_unhandle(sig);
	signal_set_mask(MASK_FULL);
	GATE3(NR_tgkill, t->process->pid, t->tid, sig);
}

/* The call before `uc`'s program counter: 1 if it is the program's to handle, and leaving `uc` leads there. */
int own_takes(struct thread *t, const struct siginfo *info, struct ucontext *uc)
{
	const struct own_dispatch *own = &t->own;
	struct siginfo theirs = *info;
	uint8_t state = TAKEN;

	theirs.call_addr = frame_pc(uc);
	if (theirs.call_addr - own->offset < own->len)
		return 0;
	t->mask = uc->sigmask;
	if (own->selector && memory_read(&state, own->selector, 1) < 1)
		end(t, SIGSEGV_);
	if (state == PASSES)
		return 0;
	if (state != TAKEN)
		end(t, SIGSYS_);
	if ((uint32_t)info->nr >= CALL_LIMIT && info->arch == ARCH_AUDIT) {
		theirs.nr = (int32_t)sites_number(theirs.call_addr, (uint32_t)info->nr);
		if (theirs.nr != info->nr)
			frame_return(uc, theirs.nr); /* the number is where the result would be */
	}
	signal_own(&theirs, uc);
	return 1;
}
