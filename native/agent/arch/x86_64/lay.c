/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x86-64: a signal's frame laid down anew on a stack of the program's, as the kernel would have done it, from the one
 * that it laid down on ours. Called by deliver.c. The vector state goes along as it is, whatever it consists of.
 */
#include "agent.h"

enum { MAGIC1 = 0x46505853, LEGACY_SIZE = 512, MAGIC_AT = 464, MXCSR_AT = 24, XSTATE_AT = 512, MXCSR_START = 0x1f80 };

struct kernel_frame {
	uint64_t restorer;
	struct ucontext uc;
	struct siginfo info;
};

_Static_assert(sizeof(struct kernel_frame) == 8 + 304 + 128, "rt_sigframe");

/* The kernel leaves a note of its own in the legacy area: how much there is of the rest. */
static uint64_t state_size(const uint8_t *state)
{
	uint32_t magic, size;

	if (!state)
		return 0;
	memcpy(&magic, state + MAGIC_AT, 4);
	memcpy(&size, state + MAGIC_AT + 4, 4);
	return magic == MAGIC1 && size >= LEGACY_SIZE && size < ALT_SIZE / 2 ? size : LEGACY_SIZE;
}

/* A handler begins with the state that a program begins with. */
static void state_start(uint8_t *state, uint64_t size)
{
	const uint32_t mxcsr = MXCSR_START;
	const uint16_t control = 0x37f;

	if (!state)
		return;
	if (size > LEGACY_SIZE)
		memset(state + XSTATE_AT, 0, 8);
	memcpy(state, &control, 2);
	memcpy(state + MXCSR_AT, &mxcsr, 4);
}

int frame_lay(struct ucontext *uc, uint64_t top, uint64_t floor, int sig, const struct siginfo *info,
	      const struct sigaction *h, const struct sigframe_stack *alternate)
{
	uint8_t *state = (uint8_t *)uc->fpstate;
	uint64_t size = state_size(state), state_at = (top - size) & ~63ull;
	uint64_t at = ((state_at - sizeof(struct kernel_frame)) & ~15ull) - 8;
	struct kernel_frame f;

	if (at > top || (floor && at < floor))
		return 0;
	f.restorer = h->restorer;
	memcpy(&f.uc, uc, sizeof f.uc);
	memcpy(&f.info, info, sizeof f.info);
	f.uc.stack = *alternate;
	if (state)
		f.uc.fpstate = state_at;
	if (memory_write(state_at, state, size) < size || memory_write(at, &f, sizeof f) < sizeof f)
		return 0;
	state_start(state, size);
	uc->rip = h->handler;
	uc->rsp = at;
	uc->rdi = (uint64_t)sig;
	uc->rsi = at + __builtin_offsetof(struct kernel_frame, info);
	uc->rdx = at + __builtin_offsetof(struct kernel_frame, uc);
	uc->rax = 0;
	uc->eflags &= ~0x10500ull; /* RF, DF, TF */
	return 1;
}
