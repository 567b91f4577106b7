/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals. Every handler of the program is entered through signal_entry, so that one which interrupts the agent in the
 * middle of a wait can be put off: it is queued again, the wait is left, and the kernel delivers it when the call
 * returns to the program, on the program's own frame, with the result or the restart that the kernel would show.
 * SIGSYS is ours: the program's wish for it is kept here and never reaches the kernel.
 */
#include "agent.h"

static struct sigaction handlers[SIG_COUNT]; /* what the program asked for; valid where the kernel has signal_entry */
static uint64_t ignored;                     /* dispositions SIG_IGN */
static struct siginfo sys_waiting;           /* a SIGSYS for the program, which blocks it */
static uint32_t sys_is_waiting;
static uint32_t restoring;                   /* threads with a restore_mask */

#define UNBLOCKABLE (SIG_BIT(SIGSYS_) | SIG_BIT(SIGKILL_) | SIG_BIT(19))

static int in_wait(uint64_t pc)
{
	return pc >= (uint64_t)gate_wait_armed && pc < (uint64_t)gate_wait_end;
}

static void set_mask(uint64_t mask)
{
	GATE4(NR_rt_sigprocmask, 2, &mask, 0, 8);
}

/* Returns the handler to run now, or 0 when the signal was put off. */
uint64_t signal_arrived(int sig, struct siginfo *info, struct ucontext *uc)
{
	struct ucontext *at = uc;
	struct sigaction *h = &handlers[sig];

	/* Several at once: the kernel stacks their frames before any handler has run. Look at the lowest. */
	while (frame_pc(at) == (uint64_t)signal_entry)
		at = frame_below(at);
	if (in_wait(frame_pc(at))) {
		struct gate_wait *w = frame_wait(at);

		set_mask(MASK_FULL);
		if (!GATE4(NR_rt_tgsigqueueinfo, GATE1(NR_getpid, 0), GATE1(NR_gettid, 0), sig, info)) {
			if (frame_pc(at) <= (uint64_t)gate_wait_insn)
				frame_leave_wait(at, gate_wait_done, -ERESTART_);
			at->sigmask = MASK_FULL;
			uc->sigmask = MASK_FULL;
			w->put_off = 1;
			return 0;
		}
		/* No room to queue it: run the handler here, on top of the wait. */
		set_mask(uc->sigmask | h->mask | (h->flags & ON_SIGNAL_NODEFER ? 0 : SIG_BIT(sig)));
	}
	if (__atomic_load_n(&restoring, __ATOMIC_RELAXED)) {
		struct thread *t = thread_self();

		if (t && t->restore_pc && t->restore_pc == frame_pc(uc)) {
			uc->sigmask = t->restore_mask;
			t->restore_pc = 0;
			__atomic_sub_fetch(&restoring, 1, __ATOMIC_RELAXED);
		}
	}
	if (h->flags & ON_SIGNAL_RESETHAND) {
		struct sigaction none = *h; /* flags and mask stay, and can be read back */

		none.handler = 0;
		none.mask &= ~SIG_BIT(SIGSYS_);
		GATE4(NR_rt_sigaction, sig, &none, 0, 8);
	}
	return h->handler;
}

/* A wait that had swapped the mask (sigsuspend, ppoll, ...) was cut short: deliver under `mask`, then go back. */
void signal_ended(struct call *c, uint64_t mask)
{
	if (!c->thread->restore_pc)
		__atomic_add_fetch(&restoring, 1, __ATOMIC_RELAXED);
	c->thread->restore_mask = c->uc->sigmask;
	c->thread->restore_pc = frame_pc(c->uc);
	c->uc->sigmask = mask & ~SIG_BIT(SIGSYS_);
}

int64_t signal_action(struct call *c)
{
	uint64_t sig = c->args[0];
	struct sigaction act, old, was, out;
	int64_t r;

	if (c->args[3] != 8)
		return -EINVAL_;
	if (sig < 1 || sig >= SIG_COUNT)
		return -EINVAL_;
	if (c->args[1] && memory_read(&act, c->args[1], sizeof act) < sizeof act)
		return -EFAULT_;
	was = handlers[sig];
	if (sig == SIGSYS_) {
		if (c->args[1])
			handlers[sig] = act;
		out = was;
		goto answer;
	}
	if (!c->args[1]) {
		r = GATE4(NR_rt_sigaction, sig, 0, &old, 8);
	} else if (act.handler > 1 && !c->thread->process->raw) {
		struct sigaction ours = act;

		ours.handler = (uint64_t)signal_entry;
		ours.flags = (act.flags | ON_SIGNAL_SIGINFO) & ~ON_SIGNAL_RESETHAND;
		ours.mask &= ~SIG_BIT(SIGSYS_);
		handlers[sig] = act;
		r = GATE4(NR_rt_sigaction, sig, &ours, &old, 8);
		if (r < 0)
			handlers[sig] = was;
	} else {
		struct sigaction ours = act;

		ours.mask &= ~SIG_BIT(SIGSYS_);
		r = GATE4(NR_rt_sigaction, sig, &ours, &old, 8);
	}
	if (r < 0)
		return r;
	if (c->args[1] && !c->thread->process->raw) {
		if (act.handler == 1)
			__atomic_or_fetch(&ignored, SIG_BIT(sig), __ATOMIC_RELAXED);
		else
			__atomic_and_fetch(&ignored, ~SIG_BIT(sig), __ATOMIC_RELAXED);
	}
	out = old;
	if (old.handler == (uint64_t)signal_entry)
		out = was;
answer:
	if (c->args[2] && memory_write(c->args[2], &out, sizeof out) < sizeof out)
		return -EFAULT_;
	return 0;
}

/* The mask to change is the one that leaving the frame will restore. */
int64_t signal_mask(struct call *c)
{
	uint64_t old = c->uc->sigmask, set = 0;
	uint32_t *hidden = &c->thread->sys_blocked;

	if (*hidden)
		old |= SIG_BIT(SIGSYS_);
	if (c->args[3] != 8)
		return -EINVAL_;
	if (c->args[1]) {
		uint64_t now = old;

		if (memory_read(&set, c->args[1], 8) < 8)
			return -EFAULT_;
		switch ((uint32_t)c->args[0]) {
		case 0:
			now |= set;
			break;
		case 1:
			now &= ~set;
			break;
		case 2:
			now = set;
			break;
		default:
			return -EINVAL_;
		}
		*hidden = !!(now & SIG_BIT(SIGSYS_));
		/* Blocked in truth as long as we are here: delivered when this frame is left. */
		if (!*hidden && __atomic_exchange_n(&sys_is_waiting, 0, __ATOMIC_ACQ_REL))
			GATE4(NR_rt_tgsigqueueinfo, c->thread->process->pid, c->thread->tid, SIGSYS_, &sys_waiting);
		c->uc->sigmask = now & ~UNBLOCKABLE;
	}
	if (c->args[2] && memory_write(c->args[2], &old, 8) < 8)
		return -EFAULT_;
	return 0;
}

int64_t signal_pending(struct call *c)
{
	uint64_t set;
	int64_t r = dispatch_kernel(c);

	if (r || !get_acquire(&sys_is_waiting) || memory_read(&set, c->args[0], 8) < 8)
		return r;
	set |= SIG_BIT(SIGSYS_);
	return memory_write(c->args[0], &set, 8) < 8 ? -EFAULT_ : 0;
}

int64_t signal_await(struct call *c)
{
	uint64_t set;

	if (get_acquire(&sys_is_waiting) && memory_read(&set, c->args[0], 8) == 8 && set & SIG_BIT(SIGSYS_) &&
	    __atomic_exchange_n(&sys_is_waiting, 0, __ATOMIC_ACQ_REL)) {
		if (c->args[1] && memory_write(c->args[1], &sys_waiting, 128) < 128)
			return -EFAULT_;
		return SIGSYS_;
	}
	return dispatch_kernel(c);
}

/* Leaving the frame restores uc_stack too, so a change made by a call of ours would be undone. */
int64_t signal_stack(struct call *c)
{
	struct sigframe_stack *kept = &c->uc->stack, now, old;
	uint64_t sp = frame_sp(c->uc);
	int on = kept->size && !(kept->flags & 0x80000000u) && sp > kept->sp && sp - kept->sp <= kept->size;

	if (c->args[0] && memory_read(&now, c->args[0], sizeof now) < sizeof now)
		return -EFAULT_;
	old.sp = kept->sp;
	old.size = kept->size;
	old.flags = !kept->size ? 2 : (kept->flags & 0x80000000u) | (on ? 1 : 0);
	old.pad = 0;
	if (c->args[0]) {
		uint32_t mode = now.flags & 0x7fffffffu;

		if (on)
			return -EPERM_;
		if (mode > 2)
			return -EINVAL_;
		if (mode == 2) {
			now.sp = 0;
			now.size = 0;
		} else if (now.size < 2048) {
			return -ENOMEM_;
		}
		kept->sp = now.sp;
		kept->size = now.size;
		kept->flags = now.flags;
	}
	if (c->args[1] && memory_write(c->args[1], &old, sizeof old) < sizeof old)
		return -EFAULT_;
	return 0;
}

/* A SIGSYS that no captured call has raised: somebody sent it, or a filter of the program's own. */
void signal_own(struct siginfo *info, struct ucontext *uc)
{
	struct sigaction *h = &handlers[SIGSYS_];
	struct thread *t = thread_self();

	if (h->handler == 1)
		return;
	if (t && t->sys_blocked) {
		sys_waiting = *info;
		__atomic_store_n(&sys_is_waiting, 1, __ATOMIC_RELEASE);
		return;
	}
	if (h->handler == 0) {
		struct sigaction none = {0, ON_SIGNAL_RESTORER, (uint64_t)trap_restorer, 0};

		GATE4(NR_rt_sigaction, SIGSYS_, &none, 0, 8);
		signal_raise(SIGSYS_);
		return; /* delivered, and deadly, when this frame is left */
	}
	set_mask((uc->sigmask | h->mask) & ~SIG_BIT(SIGSYS_));
	((void (*)(int, struct siginfo *, struct ucontext *))h->handler)(SIGSYS_, info, uc);
}

void signal_raise(int sig)
{
	GATE3(NR_tgkill, GATE1(NR_getpid, 0), GATE1(NR_gettid, 0), sig);
}

/* Which of SIGTTIN and SIGTTOU would not stop the caller. */
uint32_t signal_ttystop(const struct call *c)
{
	uint64_t off = c->uc->sigmask | __atomic_load_n(&ignored, __ATOMIC_RELAXED);

	return (off & SIG_BIT(SIGTTIN_) ? 1 : 0) | (off & SIG_BIT(SIGTTOU_) ? 2 : 0);
}

/* Tell the next image, by the kernel's own means, that the program ignores SIGSYS. */
void signal_leave(int over)
{
	struct sigaction ignore = {1, ON_SIGNAL_RESTORER, (uint64_t)trap_restorer, 0};

	if (handlers[SIGSYS_].handler != 1)
		return;
	if (over)
		GATE4(NR_rt_sigaction, SIGSYS_, &ignore, 0, 8);
	else
		start_sigsys();
}

/* SIG_IGN survives an exec. */
void signal_inherit(void)
{
	struct sigaction sys;

	if (!GATE4(NR_rt_sigaction, SIGSYS_, 0, &sys, 8) && sys.handler == 1)
		handlers[SIGSYS_].handler = 1;
	for (int sig = SIGTTIN_; sig <= SIGTTOU_; sig++) {
		struct sigaction old;

		if (!GATE4(NR_rt_sigaction, sig, 0, &old, 8) && old.handler == 1)
			ignored |= SIG_BIT(sig);
	}
}

/* As if the program had asked us for them: whoever started the agent as a library may have been there before it. */
void signal_takeover(void)
{
	for (int sig = 1; sig < SIG_COUNT; sig++) {
		struct sigaction old, ours;

		if (GATE4(NR_rt_sigaction, sig, 0, &old, 8))
			continue;
		if (old.handler == 1)
			ignored |= SIG_BIT(sig);
		if (sig == SIGSYS_)
			handlers[sig] = old;
		if (sig == SIGSYS_ || old.handler <= 1)
			continue;
		handlers[sig] = ours = old;
		ours.handler = (uint64_t)signal_entry;
		ours.flags = (old.flags | ON_SIGNAL_SIGINFO) & ~ON_SIGNAL_RESETHAND;
		ours.mask &= ~SIG_BIT(SIGSYS_);
		GATE4(NR_rt_sigaction, sig, &ours, 0, 8);
	}
}
