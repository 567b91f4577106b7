/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals on their way to the program. The kernel lets every handler of the program's, and SIGSEGV and SIGBUS in any
 * case, arrive here, on a stack of the agent's and with all signals blocked. If the program was interrupted, the frame
 * is laid down anew where the kernel would have put it, and the program goes on in its handler: it never sees a program
 * counter or a stack of ours. If the agent was interrupted in the middle of a call, the signal is kept, the wait is
 * left, and the same is done when the call has come to its end, with the result or the restart that the kernel would
 * show.
 */
#include "agent.h"

static struct siginfo sys_waiting; /* a SIGSYS for the program, which blocks it, or is in the middle of a call */
static uint32_t sys_is_waiting;

static int in_wait(uint64_t pc)
{
	return pc >= (uint64_t)gate_wait_armed && pc < (uint64_t)gate_wait_end;
}

/* On the agent's own stack: in the middle of a call from a patched site. */
static int is_fast(const struct thread *t, uint64_t sp)
{
	return t && t->stack && sp <= t->stack && sp > t->stack - STACK_SIZE;
}

static int is_agent(uint64_t pc)
{
	return pc >= (uint64_t)__ehdr_start && pc < (uint64_t)_end;
}

static int has_own_stack(const struct thread *t, const struct ucontext *uc)
{
	uint64_t at = (uint64_t)uc;

	return t && t->stack && at < t->stack - STACK_SIZE + 8 && at >= t->stack - STACK_SIZE - ALT_SIZE + 8;
}

/* Raised by the instruction at hand, and not sent: it comes again by itself. */
static int is_fault(const struct siginfo *info)
{
	return info->code > 0;
}

static void queue_again(int sig, const struct siginfo *info)
{
	int64_t pid = GATE1(NR_getpid, 0), tid = GATE1(NR_gettid, 0);

	/* The queue may be full, and then there is no more to be had than the kernel itself would give. */
	if (GATE4(NR_rt_tgsigqueueinfo, pid, tid, sig, info))
		GATE3(NR_tgkill, pid, tid, sig);
}

/* There is no handler: what the kernel does then, as soon as we have left. */
static void by_default(int sig, const struct siginfo *info)
{
	if (signal_handler(sig)->handler == 1 && !is_fault(info))
		return;
	signal_unhandle(sig);
	if (!is_fault(info) || sig == SIGSYS_)
		queue_again(sig, info);
}

/* Leaving `uc` leads into the program's handler. `blocked`: the mask under which it was waiting. */
static void deliver(struct thread *t, int sig, const struct siginfo *info, struct ucontext *uc, uint64_t blocked)
{
	struct sigaction h = *signal_handler(sig);
	struct sigframe_stack *alt = &t->alternate;
	uint64_t sp = frame_sp(uc), top = sp - ARCH_RED_ZONE, floor = 0;
	uint64_t mask = (blocked | h.mask | (h.flags & ON_SIGNAL_NODEFER ? 0 : SIG_BIT(sig))) & ~SIG_BIT(SIGSYS_);

	if (h.handler <= 1) {
		by_default(sig, info);
		return;
	}
	if (signal_on_stack(alt, sp)) {
		floor = alt->sp;
	} else if (h.flags & ON_SIGNAL_ONSTACK && alt->size) {
		floor = alt->sp;
		top = alt->sp + alt->size;
	}
	if (t->sys_blocked)
		uc->sigmask |= SIG_BIT(SIGSYS_); /* as the program sees it */
	if (!frame_lay(uc, top, floor, sig, info, &h, alt)) {
		/* No room. The kernel says so with a SIGSEGV, and ends who cannot take that one either. */
		struct siginfo none = {.signo = SIGSEGV_, .code = 0x80};

		if (sig == SIGSEGV_)
			signal_handler(SIGSEGV_)->handler = 0;
		deliver(t, SIGSEGV_, &none, uc, blocked);
		if (signal_handler(SIGSEGV_)->handler <= 1)
			queue_again(SIGSEGV_, &none);
		return;
	}
	if (alt->flags & ON_STACK_AUTODISARM && floor)
		*alt = (struct sigframe_stack){.flags = ON_STACK_DISABLE};
	if (h.flags & ON_SIGNAL_RESETHAND)
		signal_reset(sig);
	uc->sigmask = mask;
	t->mask = mask;
	t->sys_blocked |= h.mask & SIG_BIT(SIGSYS_) || (sig == SIGSYS_ && !(h.flags & ON_SIGNAL_NODEFER));
}

/* No stack of our own yet: the handler runs where the kernel wanted it to. */
static void call_handler(int sig, struct siginfo *info, struct ucontext *uc)
{
	struct sigaction h = *signal_handler(sig);

	if (h.handler <= 1) {
		by_default(sig, info);
		return;
	}
	if (h.flags & ON_SIGNAL_RESETHAND)
		signal_reset(sig);
	signal_set_mask((uc->sigmask | h.mask) & ~SIG_BIT(SIGSYS_));
	((void (*)(int, struct siginfo *, struct ucontext *))h.handler)(sig, info, uc);
}

/* The agent is in the middle of a call: no further signal until it is over, but the one that ends it. */
static void keep(struct thread *t, int sig, const struct siginfo *info, struct ucontext *uc)
{
	t->kept = *info;
	t->kept_signal = (uint32_t)sig;
	t->restarts = !!(signal_handler(sig)->flags & ON_SIGNAL_RESTART);
	uc->sigmask |= MASK_FULL;
}

static int cut_wait(struct ucontext *uc)
{
	struct gate_wait *w = frame_wait(uc);

	if (!in_wait(frame_pc(uc)))
		return 0;
	if (frame_pc(uc) <= (uint64_t)gate_wait_insn)
		frame_leave_wait(uc, gate_wait_done, -ERESTART_);
	w->put_off = 1;
	return 1;
}

/* Returns 1 if the fault was one that the agent had to expect; it ends the program if it was our own mistake. */
static int own_fault(const struct thread *t, int sig, const struct siginfo *info, struct ucontext *uc)
{
	if (!is_fault(info))
		return 0;
	if (sites_fault(uc))
		return 1;
	if (!is_fast(t, frame_sp(uc)) && !is_agent(frame_pc(uc)))
		return 0;
	signal_unhandle(sig);
	return 1;
}

void signal_arrived(int sig, struct siginfo *info, struct ucontext *uc)
{
	struct thread *t = thread_self();
	int fault = !!(SIG_BIT(sig) & SIG_FAULTS), waits;

	sites_left(uc);
	if (fault && own_fault(t, sig, info, uc))
		return;
	if (fault && !is_fault(info) && signal_handler(sig)->handler == 1)
		return;
	waits = is_fast(t, frame_sp(uc)) || in_wait(frame_pc(uc));
	if (fault && (waits ? t->kept_signal : (uint32_t)is_agent(frame_pc(uc)))) {
		uint64_t it = SIG_BIT(sig);

		/*
		 * Somebody has sent one, and at the worst of moments: MASK_FULL does not hold it back, and unless it is
		 * blocked here, too, it would be back at once.
		 */
		GATE4(NR_rt_sigprocmask, 0, &it, 0, 8);
		queue_again(sig, info);
		uc->sigmask |= SIG_BIT(sig);
		if (t)
			t->no_fault = t->put_off = 1;
		return;
	}
	if (is_fast(t, frame_sp(uc))) {
		keep(t, sig, info, uc);
		t->put_off = 1;
		sites_cut(t, uc);
	} else if (in_wait(frame_pc(uc))) {
		keep(t, sig, info, uc);
		cut_wait(uc);
	} else if (has_own_stack(t, uc)) {
		if (sites_left(uc)) { /* to the end of a call, which comes first */
			keep(t, sig, info, uc);
			return;
		}
		sites_rewind(uc);
		deliver(t, sig, info, uc, uc->sigmask);
	} else {
		call_handler(sig, info, uc);
	}
}

/* A SIGSYS that no captured call has raised: somebody sent it, or a filter of the program's own. */
void signal_own(struct siginfo *info, struct ucontext *uc)
{
	struct thread *t = thread_self();
	int fast = is_fast(t, frame_sp(uc));

	sites_left(uc);
	if (signal_handler(SIGSYS_)->handler == 1 && !is_fault(info))
		return;
	if (t && (t->sys_blocked || fast || is_agent(frame_pc(uc)))) {
		if (t->sys_blocked && is_fault(info)) { /* the kernel ends who blocks what it must take */
			signal_unhandle(SIGSYS_);
			queue_again(SIGSYS_, info);
			return;
		}
		sys_waiting = *info;
		__atomic_store_n(&sys_is_waiting, 1, __ATOMIC_RELEASE);
		if (t->sys_blocked)
			return;
		t->restarts = !!(signal_handler(SIGSYS_)->flags & ON_SIGNAL_RESTART);
		t->put_off = 1;
		if (fast)
			sites_cut(t, uc);
		else
			cut_wait(uc);
		return;
	}
	if (has_own_stack(t, uc)) {
		sites_rewind(uc);
		deliver(t, SIGSYS_, info, uc, uc->sigmask);
	} else {
		call_handler(SIGSYS_, info, uc);
	}
}

/* A wait that had swapped the mask (sigsuspend, ppoll, ...) was cut short: deliver under `mask`, then go back. */
void signal_ended(struct call *c, uint64_t mask)
{
	c->thread->is_masked = 1;
	c->thread->wait_mask = mask & ~SIG_BIT(SIGSYS_);
}

/* The one that was kept is not to be delivered, and the call is to be made once more. */
void signal_unkeep(struct thread *t, int fast)
{
	t->kept_signal = 0;
	t->is_masked = 0;
	if (!fast)
		return;
	t->put_off = (uint32_t)signal_sys_pending();
	signal_set_mask(t->mask & ~SIG_BIT(SIGSYS_));
}

/* The call is over, and `uc` is as the program is to find it: now is the time for what came meanwhile. */
void signal_release(struct thread *t, struct ucontext *uc)
{
	uint64_t blocked = t->is_masked ? t->wait_mask : uc->sigmask;
	int sig = (int)t->kept_signal;

	int sys = !t->sys_blocked || t->takes_sys;

	t->is_masked = t->takes_sys = 0;
	t->kept_signal = 0;
	if (sig) {
		deliver(t, sig, &t->kept, uc, blocked);
		blocked = uc->sigmask;
	}
	if (sys && get_acquire(&sys_is_waiting) && swap_if(&sys_is_waiting, 1, 0)) {
		if (is_fault(&sys_waiting)) /* a filter's: the call was made by us, but it is the program's */
			sys_waiting.call_addr = frame_pc(uc);
		deliver(t, SIGSYS_, &sys_waiting, uc, blocked);
	}
}

int signal_sys_pending(void)
{
	return !!get_acquire(&sys_is_waiting);
}

int signal_sys_take(struct siginfo *info)
{
	if (!swap_if(&sys_is_waiting, 1, 0))
		return 0;
	*info = sys_waiting;
	return 1;
}

void signal_sys_queue(const struct thread *t, int back)
{
	if (!back)
		signal_set_mask(MASK_FULL | SIG_BIT(SIGSYS_));
	if (!back && t->sys_blocked && swap_if(&sys_is_waiting, 1, 0))
		queue_again(SIGSYS_, &sys_waiting);
	if (back)
		signal_set_mask(MASK_FULL);
}
