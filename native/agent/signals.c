/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the program has asked of signals: handlers, masks, its alternate stack. What the kernel hears of it differs:
 * handlers lead to signal_arrived() in deliver.c; SIGSYS is ours altogether; SIGSEGV and SIGBUS always lead to us,
 * because the agent may run into an address that the program gave it; the kernel's alternate stack is the agent's.
 */
#include "agent.h"

static struct sigaction handlers[SIG_COUNT] HOT; /* valid where the kernel has signal_arrived */
static uint64_t ignored;                     /* dispositions SIG_IGN */

enum { STACK_LEAST = 2048 };

#define UNBLOCKABLE (SIG_BIT(SIGSYS_) | SIG_BIT(SIGKILL_) | SIG_BIT(19))

void signal_set_mask(uint64_t mask)
{
	GATE4(NR_rt_sigprocmask, 2, &mask, 0, 8);
}

struct sigaction *signal_handler(int sig)
{
	return &handlers[sig];
}

/* Flags and mask stay, as the kernel leaves them. */
void signal_unhandle(int sig)
{
	struct sigaction none = handlers[sig];

	none.handler = 0;
	none.flags |= ON_SIGNAL_RESTORER;
	if (!none.restorer)
		none.restorer = (uint64_t)trap_restorer;
	GATE4(NR_rt_sigaction, sig, &none, 0, 8);
}

/* SA_RESETHAND */
void signal_reset(int sig)
{
	if (SIG_BIT(sig) & (SIG_FAULTS | SIG_BIT(SIGSYS_)))
		handlers[sig].handler = 0;
	else
		signal_unhandle(sig);
}

/* What the kernel is told: for SIGSEGV and SIGBUS, everything leads to us. */
static int64_t install(int sig, const struct sigaction *act, struct sigaction *old)
{
	const uint64_t kept = ON_SIGNAL_RESTART | ON_SIGNAL_NOCLDSTOP | ON_SIGNAL_NOCLDWAIT;
	int is_fault = !!(SIG_BIT(sig) & SIG_FAULTS);
	struct sigaction ours = *act;

	if (act->handler > 1 || is_fault) {
		ours.handler = (uint64_t)signal_arrived;
		ours.flags = (act->handler > 1 ? act->flags & kept : ON_SIGNAL_RESTART) | ON_SIGNAL_SIGINFO |
			     ON_SIGNAL_RESTORER | ON_SIGNAL_ONSTACK | (is_fault ? ON_SIGNAL_NODEFER : 0);
		ours.restorer = (uint64_t)trap_restorer;
		ours.mask = MASK_FULL;
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

/*
 * Of a process with handlers of its own, and memory of another's. Copying for it may be a matter of the kernel
 * (memory.c), and posix_spawn asks this for every signal there is, twice: so the kernel gets the program's pointers,
 * and what it has copied we may look at.
 */
static int64_t raw_action(struct call *c, uint64_t sig)
{
	const struct sigaction *act = (const struct sigaction *)c->args[1];
	struct sigaction *old = (struct sigaction *)c->args[2];
	uint64_t handler = 0;
	int64_t r;

	if (act && old && memory_read(&handler, c->args[1], 8) < 8) /* they may be the same */
		return -EFAULT_;
	r = GATE4(NR_rt_sigaction, sig, act, old, 8);
	if (r < 0)
		return r;
	if (act && !old)
		handler = act->handler;
	/* Such a handler does not come by us, and may find anything: also the agent on a stack of its own. */
	if (handler > 1)
		thread_bar(c->thread);
	if (act && SIG_BIT(sig) & SIG_FAULTS)
		c->thread->process->no_fault |= (uint32_t)SIG_BIT(sig);
	if (old && old->handler == (uint64_t)signal_arrived)
		*old = handlers[sig];
	return 0;
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
	if (c->thread->process->raw && sig != SIGSYS_)
		return raw_action(c, sig);
	if (c->args[1] && memory_read(&act, c->args[1], sizeof act) < sizeof act)
		return -EFAULT_;
	was = handlers[sig];
	out = was;
	if (sig == SIGSYS_) {
		struct process_self *p = c->thread->process;
		struct sigaction *at = p->raw ? &p->sys : &handlers[sig];
		struct siginfo dropped;

		out = *at;
		if (c->args[1])
			*at = act;
		if (c->args[1] && act.handler == 1 && !p->raw)
			signal_sys_take(&dropped);
		goto answer;
	}
	if (!c->args[1]) {
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
	if (old.handler != (uint64_t)signal_arrived)
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
		if (!*hidden && signal_sys_pending())
			c->thread->put_off |= !c->uc; /* delivered when the call is over */
		c->thread->mask = now & ~UNBLOCKABLE;
		if (c->uc)
			c->uc->sigmask = c->thread->mask;
		else /* not once one has come: another would, and only one is kept */
			gate_fast(NR_rt_sigprocmask, (uint64_t[]){2, (uint64_t)&c->thread->mask, 0, 8, 0, 0},
				  &c->thread->put_off);
	}
	if (c->args[2] && memory_write(c->args[2], &old, 8) < 8)
		return -EFAULT_;
	return 0;
}

int64_t signal_pending(struct call *c)
{
	uint64_t set;
	int64_t r = dispatch_kernel(c);

	if (r || !signal_sys_pending() || memory_read(&set, c->args[0], 8) < 8)
		return r;
	set |= SIG_BIT(SIGSYS_);
	return memory_write(c->args[0], &set, 8) < 8 ? -EFAULT_ : 0;
}

int64_t signal_await(struct call *c)
{
	struct siginfo info;
	uint64_t set;

	if (signal_sys_pending() && memory_read(&set, c->args[0], 8) == 8 && set & SIG_BIT(SIGSYS_) &&
	    signal_sys_take(&info)) {
		if (c->args[1] && memory_write(c->args[1], &info, sizeof info) < sizeof info)
			return -EFAULT_;
		return SIGSYS_;
	}
	return dispatch_kernel(c);
}

/* As the kernel sees it: one that disarms itself is never in use. */
int signal_on_stack(const struct sigframe_stack *s, uint64_t sp)
{
	return s->size && !(s->flags & ON_STACK_AUTODISARM) && sp > s->sp && sp - s->sp <= s->size;
}

/* The program's alternate stack is only ours to know. The kernel checks what is asked for by taking it for a moment. */
int64_t signal_stack(struct call *c)
{
	struct sigframe_stack *kept = &c->thread->alternate, now, old = *kept;
	uint64_t sp = frame_sp(c->uc);
	int on = signal_on_stack(kept, sp);

	if (c->args[0] && memory_read(&now, c->args[0], sizeof now) < sizeof now)
		return -EFAULT_;
	old.flags = !kept->size ? ON_STACK_DISABLE : (kept->flags & ON_STACK_AUTODISARM) | (on ? 1 : 0);
	old.pad = 0;
	if (c->args[0]) {
		int same = now.sp == kept->sp && now.size == kept->size && now.flags == kept->flags;
		int64_t r = on ? -EPERM_ : 0;

		if (!r && !same) {
			/* Not even a signal that always comes may come while our own stack is not the kernel's. */
			signal_set_mask(~0ull);
			r = gate_stack(sp, &now);
			signal_own_stack(c->thread, sp);
			signal_set_mask(signal_full(c->thread));
		}
		if (r)
			return r;
		if ((now.flags & ~ON_STACK_AUTODISARM) == ON_STACK_DISABLE)
			now.sp = now.size = 0;
		*kept = now;
	}
	if (c->args[1] && memory_write(c->args[1], &old, sizeof old) < sizeof old)
		return -EFAULT_;
	return 0;
}

struct sigframe_stack signal_stack_ours(const struct thread *t)
{
	return (struct sigframe_stack){.sp = t->stack + 8 - STACK_SIZE - ALT_SIZE, .size = ALT_SIZE};
}

/* Signals arrive on the agent's stack. The kernel changes no stack that is in use: called from `sp`, or from here. */
void signal_own_stack(const struct thread *t, uint64_t sp)
{
	struct sigframe_stack own = signal_stack_ours(t);

	if (t->stack && sp)
		gate_stack(sp, &own);
	else if (t->stack)
		GATE2(NR_sigaltstack, &own, 0);
}

/* What the kernel would not take, it leaves alone. */
static void take_stack(struct thread *t, const struct sigframe_stack *s, uint64_t sp)
{
	uint32_t mode = s->flags & ~ON_STACK_AUTODISARM;

	if (signal_on_stack(&t->alternate, sp) || mode > 2 || (mode != ON_STACK_DISABLE && s->size < STACK_LEAST))
		return;
	t->alternate = *s;
	if (mode == ON_STACK_DISABLE)
		t->alternate.sp = t->alternate.size = 0;
}

/* The program leaves a handler by `back`, which brings mask and alternate stack with it; the kernel gets ours. */
void signal_return(struct thread *t, struct ucontext *back)
{
	struct siginfo waiting;

	t->sys_blocked = !!(back->sigmask & SIG_BIT(SIGSYS_));
	back->sigmask &= ~SIG_BIT(SIGSYS_);
	t->mask = back->sigmask;
	if (t->stack) {
		take_stack(t, &back->stack, frame_sp(back));
		back->stack = signal_stack_ours(t);
	}
	if (!t->sys_blocked && signal_sys_take(&waiting)) { /* comes as soon as `back` has been left for */
		signal_set_mask(MASK_FULL | SIG_BIT(SIGSYS_));
		GATE4(NR_rt_tgsigqueueinfo, t->process->pid, t->tid, SIGSYS_, &waiting);
	}
}

void signal_raise(int sig)
{
	GATE3(NR_tgkill, GATE1(NR_getpid, 0), GATE1(NR_gettid, 0), sig);
}

/*
 * Would it cut a wait of this thread's short? One that ends the program as well: it arrives at us, then, who let the
 * call come to an end first. One that only stops the program, or does nothing, leaves the wait as it is.
 */
int signal_cuts(const struct thread *t, int sig)
{
	const uint64_t harmless = SIG_BIT(17) | SIG_BIT(18) | SIG_BIT(23) | SIG_BIT(28); /* CHLD, CONT, URG, WINCH */
	const uint64_t stops = SIG_BIT(19) | SIG_BIT(20) | SIG_BIT(SIGTTIN_) | SIG_BIT(SIGTTOU_);
	struct sigaction now, ours = {(uint64_t)signal_arrived,
				      ON_SIGNAL_SIGINFO | ON_SIGNAL_ONSTACK | ON_SIGNAL_RESTORER,
				      (uint64_t)trap_restorer, MASK_FULL};

	if (sig == SIGKILL_ || t->mask & SIG_BIT(sig) || GATE4(NR_rt_sigaction, sig, 0, &now, 8))
		return 0;
	if (now.handler == (uint64_t)signal_arrived)
		now = handlers[sig];
	else
		handlers[sig] = now;
	if (now.handler)
		return now.handler != 1;
	if ((harmless | stops) & SIG_BIT(sig))
		return 0;
	if (!(SIG_BIT(sig) & SIG_FAULTS))
		GATE4(NR_rt_sigaction, sig, &ours, 0, 8);
	return 1;
}

/* Which of SIGTTIN and SIGTTOU would not stop the caller. */
uint32_t signal_ttystop(const struct call *c)
{
	uint64_t off = c->thread->mask | __atomic_load_n(&ignored, __ATOMIC_RELAXED);

	return (off & SIG_BIT(SIGTTIN_) ? 1 : 0) | (off & SIG_BIT(SIGTTOU_) ? 2 : 0);
}

/* Tell the next image, by the kernel's own means, which of the signals that are ours the program ignores. */
void signal_leave(const struct process_self *p, int over)
{
	struct sigaction ignore = {1, ON_SIGNAL_RESTORER, (uint64_t)trap_restorer, 0};

	for (int sig = 1; sig < SIG_COUNT; sig++) {
		const struct sigaction *now = p->raw && sig == SIGSYS_ ? &p->sys : &handlers[sig];

		if (!(SIG_BIT(sig) & (SIG_FAULTS | SIG_BIT(SIGSYS_))) || now->handler != 1)
			continue;
		if (p->no_fault & SIG_BIT(sig)) /* the kernel has it as it is to be */
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

/* As if the program had asked us for them: whoever started the agent as a library may have been there before it. */
void signal_takeover(void)
{
	for (int sig = 1; sig < SIG_COUNT; sig++) {
		struct sigaction old;

		if (GATE4(NR_rt_sigaction, sig, 0, &old, 8))
			continue;
		if (old.handler == 1)
			ignored |= SIG_BIT(sig);
		handlers[sig] = old;
		if (sig != SIGSYS_ && (old.handler > 1 || SIG_BIT(sig) & SIG_FAULTS))
			install(sig, &old, 0);
	}
}
