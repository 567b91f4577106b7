/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where every captured call arrives, from the SIGSYS that Syscall User Dispatch raises: find out who calls what, look
 * up its route, have it completed there, leave the result in the frame. Calls that concern the frame itself, or the
 * life of threads and processes, go to signals.c and life.c.
 */
#include "agent.h"

static const struct call_row row_unknown = {.nargs = 6, .runs = RUNS_PROGRAM, .flags = CALL_BLOCKS};

/* Calls of the i386 table that would leave us in a state of another machine: refused. Others are made. */
static int foreign_refused(uint64_t nr)
{
	switch (nr) {
	case 2: case 11: case 67: case 72: case 119: case 120: case 126: case 173: case 174: case 175:
	case 179: case 186: case 190: case 358: case 435:
		return 1;
	}
	return 0;
}

/* Those that concern neither descriptors nor paths, so that it does not matter who holds them. */
static int foreign_harmless(uint64_t nr)
{
	switch (nr) {
	case 1: case 13: case 20: case 24: case 37: case 45: case 47: case 49: case 50: case 64: case 65: case 78:
	case 91: case 122: case 125: case 132: case 147: case 158: case 162: case 199: case 200: case 201: case 202:
	case 224: case 240: case 252: case 265: case 270:
		return 1;
	}
	return 0;
}

int64_t dispatch_kernel_args(struct call *c, const uint64_t *given)
{
	struct gate_wait w = {.mask = c->uc->sigmask & ~SIG_BIT(SIGSYS_), .full = MASK_FULL, .nr = c->nr};
	uint64_t mask = 0, six[2] = {0, 0};
	int masked = 0;

	for (int i = 0; i < CALL_ARGS; i++) {
		uint8_t kind = c->row->args[i].kind;

		w.args[i] = given[i];
		if (!given[i])
			continue;
		if (kind == ARG_SIGMASK || (c->nr == NR_rt_sigsuspend && i == 0)) {
			if (memory_read(&mask, given[i], 8) < 8)
				return -EFAULT_;
			mask &= ~SIG_BIT(SIGSYS_);
			w.args[i] = (uint64_t)&mask;
			masked = 1;
		} else if (kind == ARG_SIGMASK6) {
			if (memory_read(six, given[i], 16) < 16)
				return -EFAULT_;
			if (six[0]) {
				if (memory_read(&mask, six[0], 8) < 8)
					return -EFAULT_;
				mask &= ~SIG_BIT(SIGSYS_);
				six[0] = (uint64_t)&mask;
				masked = 1;
			}
			w.args[i] = (uint64_t)six;
		}
	}
	if (!(c->row->flags & CALL_BLOCKS) && !masked)
		return gate(w.nr, w.args[0], w.args[1], w.args[2], w.args[3], w.args[4], w.args[5]);
	w.ret = gate_wait(&w);
	if (masked && w.put_off)
		signal_ended(c, mask);
	return w.ret;
}

int64_t dispatch_kernel(struct call *c)
{
	return dispatch_kernel_args(c, c->args);
}

static int64_t perform(struct call *c)
{
	switch (c->nr) {
	case NR_rt_sigaction:
		return signal_action(c);
	case NR_rt_sigprocmask:
		return signal_mask(c);
	case NR_rt_sigpending:
		return signal_pending(c);
	case NR_rt_sigtimedwait:
		return signal_await(c);
	case NR_sigaltstack:
		return signal_stack(c);
	case NR_wait4:
	case NR_waitid:
		return life_wait(c);
	case NR_ptrace:
		/* Each call of a traced thread is a signal that its tracer passes on; a vfork has stopped that one. */
		if (!c->args[0] && c->thread->process->vforked) { /* PTRACE_TRACEME */
			c->thread->process->traced_later = 1;
			return 0;
		}
		break;
	case NR_prctl:
		if (c->args[0] == 59) /* PR_SET_SYSCALL_USER_DISPATCH: taken */
			return -EINVAL_;
		break;
	}
	if (c->route == ROUTE_PROXY)
		return borrow_route(c);
	return dispatch_kernel(c);
}

static void foreign(struct call *c)
{
	uint64_t start;
	int64_t ret = -ENOSYS_;

	frame_foreign_args(c->uc, c->args);
	c->foreign = 1;
	record_begin(c, &start);
	/* Under the route `proxy` its descriptors would be ours; and some calls would change the frame. */
	if (c->thread->process->channel ? foreign_harmless(c->nr) : !foreign_refused(c->nr)) {
		ret = gate_foreign(c->nr, c->args[0], c->args[1], c->args[2], c->args[3], c->args[4], c->args[5]);
		ret = (int32_t)ret;
	}
	frame_return(c->uc, ret);
	record_end(c, start, ret);
}

void trap(int sig, struct siginfo *info, struct ucontext *uc)
{
	struct call c = {.uc = uc};
	uint64_t start;
	int64_t ret;
	int resumes = 0;

	(void)sig;
	if (info->code != 2) { /* SYS_USER_DISPATCH */
		signal_own(info, uc);
		return;
	}
	c.nr = (uint32_t)info->nr;
	if (c.nr == NR_rt_sigreturn && info->arch == ARCH_AUDIT) {
		frame_returning(uc)->sigmask &= ~SIG_BIT(SIGSYS_);
		leave_frame(frame_sp(uc));
	}
	c.thread = thread_self();
	if (!c.thread)
		c.thread = thread_add(&process_main);
	c.row = c.nr < CALL_LIMIT && call_rows[c.nr].flags & CALL_KNOWN ? &call_rows[c.nr] : &row_unknown;
	if (info->arch != ARCH_AUDIT) {
		foreign(&c);
		return;
	}
	frame_args(uc, c.args);
	c.route = c.thread->process->channel && c.nr < CALL_LIMIT ? session->routes[c.nr] : (uint8_t)ROUTE_KERNEL;
	record_begin(&c, &start);
	switch (c.nr) {
	case NR_exit:
	case NR_exit_group:
		record_last(&c);
		life_exit(&c);
		return;
	case NR_clone:
	case NR_clone3:
	case NR_fork:
	case NR_vfork:
		ret = life_birth(&c, start, &resumes);
		if (resumes)
			return;
		break;
	case NR_execve:
	case NR_execveat:
		ret = life_exec(&c);
		if (ret != -ERESTART_)
			frame_return(uc, ret);
		else
			frame_restart(uc, c.nr);
		record_after(&c, start, ret);
		return;
	default:
		ret = perform(&c);
	}
	if (ret == -ERESTART_)
		frame_restart(uc, c.nr);
	else
		frame_return(uc, ret);
	record_end(&c, start, ret);
}
