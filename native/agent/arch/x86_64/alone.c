/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a start without the launcher, which has let go at the exec stop (AGENT_ALONE in abi.h). What has brought
 * the agent here stands where the program has nothing, so all that is left to do is to leave: the program finds its
 * registers and its mask as execve has left them. Called by start.c.
 */
#include "sites.h"

enum {
	CODE_64 = 0x33, STACK_64 = 0x2b, /* segments */
	FLAGS_FRESH = 0x202,
	IS_64 = 2 | 4, /* UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS */
};

/* By a frame, which brings registers and mask at once: no signal finds us on our way. */
static __attribute__((noreturn)) void leave(const struct thread *t)
{
	struct ucontext uc = {.flags = IS_64, .rip = agent_config.entry, .rsp = agent_config.sp, .eflags = FLAGS_FRESH,
			      .segments = CODE_64 | (uint64_t)STACK_64 << 48, .sigmask = t->mask};

	uc.stack = signal_stack_ours(t);
	leave_frame((uint64_t)&uc);
}

static void put_back(int64_t memory, void *with)
{
	int *done = with;

	*done = 1;
	for (uint32_t i = 0; i < agent_config.lead_count; i++) {
		const struct lead *l = &agent_config.leads[i];
		uint64_t at = agent_config.entry + (uint64_t)(int64_t)l->offset - ARCH_LEAD;
		uint8_t bytes[ARCH_LEAD];

		arch_unlead(bytes + ARCH_LEAD, l->nr);
		*done &= stubs_put(memory, at, bytes, sizeof bytes);
	}
}

void alone_leave(const struct thread *t)
{
	int done = sites_begin();

	if (!done)
		sites_write(put_back, &done);
	while (!done) /* nor can we: the launcher does, and lets the program begin */
		launcher_stop(STOP_READY, &agent_config);
	put_release(&session->execs[agent_config.request % EXEC_REQUESTS].state, EXEC_FREE);
	leave(t);
}
