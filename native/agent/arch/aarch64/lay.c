/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aarch64: a signal's frame laid down anew on a stack of the program's, as the kernel would have done it, from the one
 * that it laid down on ours. Called by deliver.c. Records that the kernel keeps outside of the frame (large vector
 * registers) are not moved: nothing starts here yet that could need it.
 */
#include "agent.h"

enum { RECORDS = 4096 };

struct kernel_frame {
	struct siginfo info;
	struct ucontext uc;
	uint8_t records[RECORDS];
	uint64_t frame[2]; /* frame pointer and return address of who was interrupted */
};

int frame_lay(struct ucontext *uc, uint64_t top, uint64_t floor, int sig, const struct siginfo *info,
	      const struct sigaction *h, const struct sigframe_stack *alternate)
{
	uint64_t at = (top - sizeof(struct kernel_frame)) & ~15ull;
	uint64_t uc_at = at + __builtin_offsetof(struct kernel_frame, uc);
	uint64_t link_at = at + __builtin_offsetof(struct kernel_frame, frame);
	uint64_t link[2] = {uc->regs[29], uc->regs[30]};

	if (at > top || (floor && at < floor))
		return 0;
	if (memory_write(at, info, sizeof *info) < sizeof *info ||
	    memory_write(uc_at, uc, sizeof *uc + RECORDS) < sizeof *uc + RECORDS ||
	    memory_write(uc_at + __builtin_offsetof(struct ucontext, stack), alternate, sizeof *alternate) <
		    sizeof *alternate ||
	    memory_write(link_at, link, sizeof link) < sizeof link)
		return 0;
	uc->pc = h->handler;
	uc->sp = at;
	uc->regs[0] = (uint64_t)sig;
	uc->regs[1] = at;
	uc->regs[2] = uc_at;
	uc->regs[29] = link_at;
	uc->regs[30] = h->flags & ON_SIGNAL_RESTORER ? h->restorer : (uint64_t)trap_restorer;
	return 1;
}
