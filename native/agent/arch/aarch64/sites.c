/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aarch64: no call site is patched yet, so no call comes by any other way than the signal. What is here lets the
 * machine-independent files be the same: a fault while the agent copies is mended, and all else has nothing to do.
 */
#include "agent.h"

extern char copy_try_insn[] HIDDEN, copy_try_out[] HIDDEN, string_try_fault[] HIDDEN;

void sites_hit(struct call *c)
{
	(void)c;
}

void sites_setup(uint32_t flags)
{
	(void)flags;
}

void sites_mapped(const struct call *c, int64_t ret)
{
	(void)c;
	(void)ret;
}

void sites_quiet(void)
{
}

int sites_are_quiet(void)
{
	return 0;
}

void sites_lock(int makes_thread)
{
	(void)makes_thread;
}

void sites_unlock(void)
{
}

void sites_restore(uint64_t from, uint64_t size)
{
	(void)from;
	(void)size;
}

uint64_t sites_slow(uint32_t index)
{
	return index;
}

int sites_finish(struct thread *t, struct ucontext *uc)
{
	(void)t;
	(void)uc;
	return 0;
}

uint64_t sites_number(uint64_t pc, uint64_t nr)
{
	(void)pc;
	return nr;
}

void sites_origin(struct ucontext *uc)
{
	(void)uc;
}

int sites_left(struct ucontext *uc)
{
	(void)uc;
	return 0;
}

void sites_rewind(struct ucontext *uc)
{
	(void)uc;
}

void sites_cut(struct thread *t, struct ucontext *uc)
{
	(void)t;
	(void)uc;
}

int sites_fault(struct ucontext *uc)
{
	uint64_t pc = frame_pc(uc);

	if (pc >= (uint64_t)copy_try_insn && pc < (uint64_t)copy_try_out)
		uc->pc = (uint64_t)copy_try_out;
	else if (pc >= (uint64_t)string_try && pc < (uint64_t)string_try_fault)
		uc->pc = (uint64_t)string_try_fault;
	else
		return 0;
	return 1;
}

/* No launcher lets go so early here. */
void alone_leave(const struct thread *t)
{
	(void)t;
	for (;;)
		launcher_stop(STOP_READY, &agent_config);
}
