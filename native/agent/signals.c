/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals. Every handler of the program is entered through signal_entry, with all signals blocked at first, so that one
 * which interrupts the agent can be put off: it is queued again, the wait is left, and the kernel delivers it when the
 * call returns to the program, on the program's own frame, with the result or the restart that the kernel would show.
 * SIGSYS is ours: the program's wish for it is kept here and never reaches the kernel. SIGSEGV and SIGBUS always lead
 * to us, too, because the agent may run into an address that the program gave it; what is not of that kind goes on to
 * the program's handler, or does what it would have done without us.
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

/* Flags and mask stay, as the kernel leaves them. */
static void unhandle(int sig)
{
	struct sigaction none = handlers[sig];

	none.handler = 0;
	none.flags |= ON_SIGNAL_RESTORER;
	if (!none.restorer)
		none.restorer = (uint64_t)trap_restorer;
	GATE4(NR_rt_sigaction, sig, &none, 0, 8);
}

static void queue_again(int sig, struct siginfo *info)
{
	int64_t pid = GATE1(NR_getpid, 0), tid = GATE1(NR_gettid, 0);

	/* The queue may be full, and then there is no more to be had than the kernel itself would give. */
	if (GATE4(NR_rt_tgsigqueueinfo, pid, tid, sig, info))
		GATE3(NR_tgkill, pid, tid, sig);
}

/* Raised by the instruction at hand, and not sent: it comes again by itself. */
static int is_fault(const struct siginfo *info)
{
	return info->code > 0;
}

/* SIGSEGV or SIGBUS that the program has no handler for. */
static void default_fault(int sig, struct siginfo *info)
{
	if (handlers[sig].handler == 1 && !is_fault(info))
		return;
	unhandle(sig);
	if (!is_fault(info))
		queue_again(sig, info);
}

/* The agent was interrupted outside of its waits, by something that cannot be blocked beforehand. */
static int is_agent(uint64_t pc)
{
	return pc >= (uint64_t)__ehdr_start && pc < (uint64_t)_end;
}

/* On the agent's own stack: in the middle of a call from a patched site. */
static int is_fast(const struct thread *t, uint64_t sp)
{
	return t && t->stack && sp <= t->stack && sp > t->stack - STACK_SIZE;
}

static void put_off(struct thread *t, int sig, struct siginfo *info, struct ucontext *uc)
{
	queue_again(sig, info);
	/* Not SIGSYS, by which a call from a patched site ends when it has been interrupted. */
	uc->sigmask |= (MASK_FULL & ~SIG_BIT(SIGSYS_)) | SIG_BIT(sig);
	if (t && SIG_BIT(sig) & SIG_FAULTS)
		t->no_fault = 1;
}

/* Returns the handler to run now, or 0 when there is none to run, or not now. */
uint64_t signal_arrived(int sig, struct siginfo *info, struct ucontext *uc)
{
	struct sigaction *h = &handlers[sig];
	struct thread *t = thread_self();
	uint64_t mask;

	if (SIG_BIT(sig) & SIG_FAULTS) {
		if (is_fault(info) && sites_fault(uc))
			return 0;
		if (is_fault(info) && (is_fast(t, frame_sp(uc)) || is_agent(frame_pc(uc)))) {
			unhandle(sig); /* our own mistake */
			return 0;
		}
	}
	if (is_fast(t, frame_sp(uc))) {
		put_off(t, sig, info, uc);
		t->put_off = 1;
		t->restarts = !!(h->flags & ON_SIGNAL_RESTART);
		sites_cut(t, uc);
		return 0;
	}
	if (in_wait(frame_pc(uc))) {
		struct gate_wait *w = frame_wait(uc);

		put_off(t, sig, info, uc);
		if (frame_pc(uc) <= (uint64_t)gate_wait_insn)
			frame_leave_wait(uc, gate_wait_done, -ERESTART_);
		w->put_off = 1;
		return 0;
	}
	if (SIG_BIT(sig) & SIG_FAULTS && is_agent(frame_pc(uc))) {
		put_off(t, sig, info, uc);
		return 0;
	}
	sites_rewind(uc);
	mask = uc->sigmask | h->mask | (h->flags & ON_SIGNAL_NODEFER ? 0 : SIG_BIT(sig));
	mask &= ~SIG_BIT(SIGSYS_);
	if (__atomic_load_n(&restoring, __ATOMIC_RELAXED) && t && t->restore_pc && t->restore_pc == frame_pc(uc)) {
		uc->sigmask = t->restore_mask;
		t->restore_pc = 0;
		__atomic_sub_fetch(&restoring, 1, __ATOMIC_RELAXED);
	}
	if (h->handler <= 1) {
		if (SIG_BIT(sig) & SIG_FAULTS)
			default_fault(sig, info);
		return 0;
	}
	if (t) {
		t->mask = mask;
		/* On the alternate stack a signal must find the kernel's idea of where we are true. */
		if (signal_on_stack(&uc->stack, (uint64_t)uc))
			thread_bar(t);
	}
	{
		uint64_t handler = h->handler;

		if (h->flags & ON_SIGNAL_RESETHAND) {
			if (SIG_BIT(sig) & SIG_FAULTS)
				h->handler = 0;
			else
				unhandle(sig);
		}
		set_mask(mask);
		return handler;
	}
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

/*
 * What the kernel is told. Handlers lead to signal_entry; for SIGSEGV and SIGBUS, so does everything. All signals are
 * blocked until signal_arrived() knows what was interrupted, and the mask that was asked for is set after that.
 */
static int64_t install(int sig, const struct sigaction *act, struct sigaction *old)
{
	struct sigaction ours = *act;

	if (act->handler > 1 || SIG_BIT(sig) & SIG_FAULTS) {
		ours.handler = (uint64_t)signal_entry;
		ours.flags = ((act->handler > 1 ? act->flags : 0) | ON_SIGNAL_SIGINFO | ON_SIGNAL_RESTORER) &
			     ~ON_SIGNAL_RESETHAND;
		if (!(act->handler > 1 && act->flags & ON_SIGNAL_RESTORER))
			ours.restorer = (uint64_t)trap_restorer;
		ours.mask = ~0ull;
	} else {
		ours.mask &= ~SIG_BIT(SIGSYS_);
	}
	return GATE4(NR_rt_sigaction, sig, &ours, old, 8);
}

void signal_faults(void)
{
	for (int sig = 1; sig < SIG_COUNT; sig++)
		if (SIG_BIT(sig) & SIG_FAULTS)
			install(sig, &handlers[sig], 0);
}

int64_t signal_action(struct call *c)
{
	uint64_t sig = c->args[0];
	struct sigaction act, old = {0}, was, out;
	int64_t r = 0;

	if (c->args[3] != 8)
		return -EINVAL_;
	if (sig < 1 || sig >= SIG_COUNT)
		return -EINVAL_;
	if (c->args[1] && memory_read(&act, c->args[1], sizeof act) < sizeof act)
		return -EFAULT_;
	was = handlers[sig];
	out = was;
	if (sig == SIGSYS_) {
		if (c->args[1])
			handlers[sig] = act;
		goto answer;
	}
	if (c->thread->process->raw) { /* a process with handlers of its own, and memory of another's */
		r = GATE4(NR_rt_sigaction, sig, c->args[1] ? &act : 0, &old, 8);
	} else if (!c->args[1]) {
		r = GATE4(NR_rt_sigaction, sig, 0, &old, 8);
	} else {
		if (act.handler > 1 || SIG_BIT(sig) & SIG_FAULTS)
			handlers[sig] = act;
		r = install((int)sig, &act, &old);
		if (r < 0)
			handlers[sig] = was;
		else if (act.handler == 1)
			__atomic_or_fetch(&ignored, SIG_BIT(sig), __ATOMIC_RELAXED);
		else
			__atomic_and_fetch(&ignored, ~SIG_BIT(sig), __ATOMIC_RELAXED);
	}
	if (r < 0)
		return r;
	if (old.handler != (uint64_t)signal_entry)
		out = old;
answer:
	if (c->args[2] && memory_write(c->args[2], &out, sizeof out) < sizeof out)
		return -EFAULT_;
	return 0;
}

/* The mask to change is the one that leaving the frame will restore; without a frame, the kernel's own. */
int64_t signal_mask(struct call *c)
{
	uint64_t old = c->thread->mask, set = 0;
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
		signal_release(c->thread);
		c->thread->mask = now & ~UNBLOCKABLE;
		if (c->uc)
			c->uc->sigmask = c->thread->mask;
		else if (!c->thread->put_off)
			set_mask(c->thread->mask);
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

int signal_on_stack(const struct sigframe_stack *s, uint64_t sp)
{
	return s->size && !(s->flags & 0x80000000u) && sp > s->sp && sp - s->sp <= s->size;
}

/*
 * Leaving the frame restores uc_stack too, so a change made by a call of ours would be undone. Nor is changing uc_stack
 * enough: where the frame itself lies on an alternate stack, the kernel keeps that one.
 */
int64_t signal_stack(struct call *c)
{
	struct sigframe_stack *kept = &c->uc->stack, now, old;
	uint64_t sp = frame_sp(c->uc);
	int on = signal_on_stack(kept, sp);
	int64_t r;

	if (c->args[0] && memory_read(&now, c->args[0], sizeof now) < sizeof now)
		return -EFAULT_;
	old.sp = kept->sp;
	old.size = kept->size;
	old.flags = !kept->size ? 2 : (kept->flags & 0x80000000u) | (on ? 1 : 0);
	old.pad = 0;
	if (c->args[0]) {
		r = on ? -EPERM_ : gate_stack(sp, &now);
		if (r)
			return r;
		if ((now.flags & 0x7fffffffu) == 2) {
			now.sp = 0;
			now.size = 0;
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
	uint64_t mask;

	if (h->handler == 1)
		return;
	if (t && (t->sys_blocked || is_fast(t, frame_sp(uc)))) {
		sys_waiting = *info;
		__atomic_store_n(&sys_is_waiting, 1, __ATOMIC_RELEASE);
		if (!t->sys_blocked) {
			t->put_off = 1;
			t->restarts = !!(h->flags & ON_SIGNAL_RESTART);
			sites_cut(t, uc);
		}
		return;
	}
	if (h->handler == 0) {
		unhandle(SIGSYS_);
		signal_raise(SIGSYS_);
		return; /* delivered, and deadly, when this frame is left */
	}
	sites_rewind(uc);
	mask = (uc->sigmask | h->mask) & ~SIG_BIT(SIGSYS_);
	if (t) {
		t->mask = mask;
		if (signal_on_stack(&uc->stack, (uint64_t)uc))
			thread_bar(t);
	}
	set_mask(mask);
	((void (*)(int, struct siginfo *, struct ucontext *))h->handler)(SIGSYS_, info, uc);
	if (t)
		t->mask = uc->sigmask;
}

/* A SIGSYS that came at the wrong moment: it is blocked while we are here, and comes when this frame is left. */
void signal_release(struct thread *t)
{
	if (!t->sys_blocked && __atomic_exchange_n(&sys_is_waiting, 0, __ATOMIC_ACQ_REL))
		GATE4(NR_rt_tgsigqueueinfo, t->process->pid, t->tid, SIGSYS_, &sys_waiting);
}

void signal_raise(int sig)
{
	GATE3(NR_tgkill, GATE1(NR_getpid, 0), GATE1(NR_gettid, 0), sig);
}

/* Which of SIGTTIN and SIGTTOU would not stop the caller. */
uint32_t signal_ttystop(const struct call *c)
{
	uint64_t off = c->thread->mask | __atomic_load_n(&ignored, __ATOMIC_RELAXED);

	return (off & SIG_BIT(SIGTTIN_) ? 1 : 0) | (off & SIG_BIT(SIGTTOU_) ? 2 : 0);
}

/* Tell the next image, by the kernel's own means, which of the signals that are ours the program ignores. */
void signal_leave(int over)
{
	struct sigaction ignore = {1, ON_SIGNAL_RESTORER, (uint64_t)trap_restorer, 0};

	for (int sig = 1; sig < SIG_COUNT; sig++) {
		if (!(SIG_BIT(sig) & (SIG_FAULTS | SIG_BIT(SIGSYS_))) || handlers[sig].handler != 1)
			continue;
		if (over)
			GATE4(NR_rt_sigaction, sig, &ignore, 0, 8);
		else if (sig == SIGSYS_)
			start_sigsys();
		else
			install(sig, &handlers[sig], 0);
	}
}

void signal_cleared(const struct process_self *p)
{
	for (int sig = 1; !p->raw && sig < SIG_COUNT; sig++)
		if (SIG_BIT(sig) & (SIG_FAULTS | SIG_BIT(SIGSYS_)) && handlers[sig].handler != 1)
			handlers[sig].handler = 0;
	if (!p->raw)
		signal_faults();
	start_sigsys();
}

/* SIG_IGN survives an exec. */
void signal_inherit(void)
{
	const uint64_t ours = SIG_FAULTS | SIG_BIT(SIGSYS_);
	const uint64_t wanted = ours | SIG_BIT(SIGTTIN_) | SIG_BIT(SIGTTOU_);

	for (int sig = 1; sig < SIG_COUNT; sig++) {
		struct sigaction old;

		if (!(SIG_BIT(sig) & wanted) || GATE4(NR_rt_sigaction, sig, 0, &old, 8))
			continue;
		if (SIG_BIT(sig) & ours)
			handlers[sig] = old;
		if (old.handler == 1)
			ignored |= SIG_BIT(sig);
	}
	signal_faults();
}
