/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a call arrives that the SIGSYS of Syscall User Dispatch has caught: find out who calls what, look up its route,
 * have it completed there, leave the result in the frame. Calls that concern the frame itself, or the life of threads
 * and processes, go to signals.c and life.c. Calls from patched sites arrive in fast.c and join at dispatch_perform().
 */
#include "post.h"
#include "stream.h"

static const struct call_row row_unknown = {
	.nargs = 6, .runs = RUNS_PROGRAM, .flags = CALL_BLOCKS, .names = NAMES_UNKNOWN,
};

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
	case 91: case 122: case 125: case 132: case 147: case 158: case 159: case 160: case 162: case 199: case 200:
	case 201: case 202: case 209: case 211: case 224: case 240: case 252: case 265: case 266: case 270:
		return 1;
	}
	return 0;
}

int64_t dispatch_kernel_args(struct call *c, const uint64_t *given)
{
	struct gate_wait w = {.mask = c->thread->mask & ~SIG_BIT(SIGSYS_), .full = signal_full(c->thread), .nr = c->nr};
	uint64_t mask = 0, six[2] = {0, 0};
	uint32_t was = c->thread->sys_blocked;
	int masked = 0;

	if (!c->uc)
		return gate_fast(c->nr, given, &c->thread->put_off);

	for (int i = 0; i < CALL_ARGS; i++) {
		uint8_t kind = c->row->args[i].kind;

		w.args[i] = given[i];
		if (!given[i])
			continue;
		if (kind == ARG_SIGMASK || (c->nr == NR_rt_sigsuspend && i == 0)) {
			if (memory_read(&mask, given[i], 8) < 8)
				return -EFAULT_;
			w.args[i] = (uint64_t)&mask;
			masked = 1;
		} else if (kind == ARG_SIGMASK6) {
			if (memory_read(six, given[i], 16) < 16)
				return -EFAULT_;
			if (six[0]) {
				if (memory_read(&mask, six[0], 8) < 8)
					return -EFAULT_;
				six[0] = (uint64_t)&mask;
				masked = 1;
			}
			w.args[i] = (uint64_t)six;
		}
	}
	if (!(c->row->flags & CALL_BLOCKS) && !masked)
		return gate(w.nr, w.args[0], w.args[1], w.args[2], w.args[3], w.args[4], w.args[5]);
	if (!masked)
		return gate_wait(&w);
	c->thread->sys_blocked = !!(mask & SIG_BIT(SIGSYS_));
	mask &= ~SIG_BIT(SIGSYS_);
	w.ret = !c->thread->sys_blocked && signal_sys_pending() ? -EINTR_ : gate_wait(&w);
	c->thread->takes_sys = !c->thread->sys_blocked;
	c->thread->sys_blocked = was;
	if (w.put_off || w.ret == -EINTR_)
		signal_ended(c, mask);
	return w.ret;
}

int64_t dispatch_kernel(struct call *c)
{
	return dispatch_kernel_args(c, c->args);
}

static int64_t by_route(struct call *c)
{
	return c->route == ROUTE_PROXY ? borrow_route(c) : dispatch_kernel(c);
}

static int64_t as_usual(struct call *c)
{
	int64_t ret;

	if (stream_concerns(c->nr, c->args) && !stream_gives_up(c))
		return stream_call(c);
	if (c->row->known)
		return local_answer(c);
	if (c->row->flags & CALL_IDENTITY) {
		stream_leave_all(); /* as long as we may reach their other ends */
		ret = by_route(c);
		local_forget(c->thread);
		return ret;
	}
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
		if ((uint32_t)c->args[0] == 59) /* PR_SET_SYSCALL_USER_DISPATCH */
			return own_dispatch(c);
		if ((uint32_t)c->args[0] == 22 && c->args[1] == 1) /* PR_SET_SECCOMP, SECCOMP_MODE_STRICT */
			return filter_strict(c);
		if ((uint32_t)c->args[0] == 22) {
			stream_off();
			sites_quiet();
			if (c->args[1] == 2) /* SECCOMP_MODE_FILTER */
				return filter_install(c);
		}
		break;
	case NR_seccomp:
		if (!(uint32_t)c->args[0] && !(uint32_t)c->args[1] && !c->args[2]) /* SECCOMP_SET_MODE_STRICT */
			return filter_strict(c);
		stream_off();
		sites_quiet();
		if ((uint32_t)c->args[0] == 1) /* SECCOMP_SET_MODE_FILTER */
			return filter_install(c);
		break;
	case NR_mremap:
		sites_restore(c->args[0], c->args[1]);
		break;
	case NR_mprotect:
		if (c->args[2] & 2) /* PROT_WRITE: who rewrites a part of his code must find the rest as it was */
			sites_restore(c->args[0], c->args[1]);
		break;
	case NR_arch_prctl:
		ret = dispatch_kernel(c);
		if (arch_key() != c->thread->key)
			thread_rekey(c->thread);
		thread_admit(c->thread);
		return ret;
	}
	return by_route(c);
}

int64_t dispatch_made(struct call *c)
{
	struct moves *moves = c->row->names ? names_begin(c) : 0;
	int64_t ret = as_usual(c);

	if (moves)
		names_end(c, moves, ret);
	return ret;
}

int64_t dispatch_normal(struct call *c)
{
	return post_head && c->row->posts ? post_made(c) : dispatch_made(c);
}

int64_t dispatch_perform(struct call *c)
{
	return handle_has_rules(c->nr) ? handle_call(c) : dispatch_normal(c);
}

static void foreign(struct call *c)
{
	uint64_t start;
	int64_t ret = -ENOSYS_;

	frame_foreign_args(c->uc, c->args);
	c->foreign = 1;
	record_begin(c, &start);
	if (c->thread->strict && !filter_strict_allows(c->nr, 1))
		filter_strict_end(c);
	/* Under the route `proxy` its descriptors would be ours; and some calls would change the frame. */
	if (c->thread->process->channel ? foreign_harmless(c->nr) : !foreign_refused(c->nr)) {
		if (!foreign_harmless(c->nr)) {
			names_lost();
			if (post_head)
				post_off(c->thread);
			stream_off();
		}
		ret = gate_foreign(c->nr, c->args[0], c->args[1], c->args[2], c->args[3], c->args[4], c->args[5]);
		ret = (int32_t)ret;
	}
	local_forget(c->thread);
	frame_return(c->uc, ret);
	record_end(c, start, ret);
}

/* Has the row an argument that is a signal mask to wait under? Then the frame's mask may have to change. */
static int is_masked(const struct call_row *row)
{
	for (int i = 0; i < row->nargs; i++)
		if (row->args[i].kind == ARG_SIGMASK || row->args[i].kind == ARG_SIGMASK6)
			return 1;
	return 0;
}

/* pselect6 and its like with no mask are as common as select itself. */
int dispatch_unmasked(uint64_t nr, const uint64_t *args)
{
	const struct call_row *row = &call_rows[nr];
	uint64_t six[2];

	for (int i = 0; i < row->nargs; i++) {
		uint8_t kind = row->args[i].kind;

		if (kind == ARG_SIGMASK && args[i])
			return 0;
		if (kind == ARG_SIGMASK6 && args[i] && (memory_read(six, args[i], 16) < 16 || six[0]))
			return 0;
	}
	return is_masked(row);
}

uint8_t dispatch_way[CALL_LIMIT] HOT;

static void ways_without_rules(uint8_t *way)
{
	memcpy(way, call_ways, CALL_LIMIT);
	for (uint32_t nr = 0; local_is_off() && nr < CALL_LIMIT; nr++)
		if (call_rows[nr].known)
			way[nr] = WAY_PLAIN;
}

/* names.c is told of its calls as long as there could be a rule that wants to know; stream/ of what it wants. */
static int is_asked_about(uint32_t nr)
{
	return handle_has_rules(nr) || (handle_is_there() && call_rows[nr].names) || stream_wants(nr);
}

/* It closes another one, or sees to it that one stays open: that counts in a child of vfork, too, who posts nothing. */
static int keeps(uint64_t nr)
{
	return nr == NR_dup || nr == NR_dup2 || nr == NR_dup3 || nr == NR_fcntl || nr == NR_ioctl;
}

/* One whose only descriptor is its first argument is plain as long as that is not posted, nor is anything by others. */
static uint8_t way_of_posts(uint32_t nr)
{
	const struct call_row *row = &call_rows[nr];

	if (row->posts == POSTS_MESSAGES || row->args[0].kind != ARG_FD || keeps(nr))
		return WAY_SPECIAL;
	for (int i = 1; i < row->nargs; i++)
		if (row->args[i].kind == ARG_FD || row->args[i].flags & ARG_PATH)
			return WAY_SPECIAL;
	return ARCH_WAY_POSTS;
}

/* Other threads look at it meanwhile: each entry goes from its old value to its new one. */
void dispatch_ways(void)
{
	uint8_t way[CALL_LIMIT];

	ways_without_rules(way);
	for (uint32_t nr = 0; post_head && nr < CALL_LIMIT; nr++)
		if (call_rows[nr].posts && way[nr] == WAY_PLAIN)
			way[nr] = way_of_posts(nr);
	for (uint32_t nr = 0; nr < CALL_LIMIT; nr++)
		dispatch_way[nr] = way[nr] != WAY_SLOW && is_asked_about(nr) ? (uint8_t)WAY_SPECIAL : way[nr];
}

void dispatch_setup(void)
{
	stream_setup();
	handle_setup();
	handle_refresh();
}

static void caught(struct thread *t, struct siginfo *info, struct ucontext *uc)
{
	struct call c = {.uc = uc, .thread = t};
	uint64_t start;
	int64_t ret;
	int resumes = 0;

	c.nr = (uint32_t)info->nr;
	if (c.nr >= CALL_LIMIT && info->arch == ARCH_AUDIT)
		c.nr = sites_number(frame_pc(uc), c.nr);
	c.row = c.nr < CALL_LIMIT && call_rows[c.nr].flags & CALL_KNOWN ? &call_rows[c.nr] : &row_unknown;
	if (info->arch != ARCH_AUDIT) {
		foreign(&c);
		return;
	}
	frame_args(uc, c.args);
	if (!t->strict && !t->own.is_on)
		sites_hit(&c);
	c.route = dispatch_route(t->process, c.nr);
	record_begin(&c, &start);
	if (t->strict && !filter_strict_allows(c.nr, 0))
		filter_strict_end(&c);
	switch (c.nr) {
	case NR_exit:
	case NR_exit_group:
		if (handle_has_rules(c.nr))
			handle_before(&c, &ret);
		if (post_head && (c.nr == NR_exit_group || !t->process->threaded))
			post_last(t);
		record_last(&c);
		life_exit(&c);
		return;
	case NR_clone:
	case NR_clone3:
	case NR_fork:
	case NR_vfork:
		if (handle_has_rules(c.nr) && handle_before(&c, &ret))
			break;
		ret = life_birth(&c, start, &resumes);
		if (resumes)
			return;
		break;
	case NR_execve:
	case NR_execveat:
		ret = handle_has_rules(c.nr) ? handle_call(&c) : exec_call(&c);
		if (!c.replaces)
			break;
		if (ret != -ERESTART_)
			frame_return(uc, ret);
		else
			frame_restart(uc, c.nr);
		record_after(&c, start, ret);
		return;
	default:
		ret = dispatch_perform(&c);
	}
	if (ret == -ERESTART_)
		frame_restart(uc, c.nr);
	else
		frame_return(uc, ret);
	record_end(&c, start, ret);
	if (c.nr == NR_mmap)
		sites_mapped(&c, ret);
}

/* Nobody returns from it, and what it gives back is the result of whatever the signal has interrupted. */
static void record_sigreturn(struct thread *t, struct ucontext *uc, const struct ucontext *back)
{
	struct call c = {.nr = NR_rt_sigreturn, .row = &call_rows[NR_rt_sigreturn], .uc = uc, .thread = t};
	uint64_t start;

	record_begin(&c, &start);
	record_end(&c, start, frame_result(back));
}

/* A thread from before our time. */
static struct thread *unknown(struct ucontext *uc)
{
	struct thread *t = thread_add(&process_main);

	thread_crowd(t);
	add_one(&process_main.others);
	signal_return(t, uc); /* takes the stack that comes with it, and leaves ours */
	return t;
}

/* Nothing is let in and nothing decided: the frame that is about to be left is all that there is of the program. */
static void watch_return(struct thread *t, struct ucontext *uc)
{
	struct call c = {.nr = NR_rt_sigreturn, .row = &call_rows[NR_rt_sigreturn], .thread = t, .uc = uc};
	int64_t ret;

	handle_before(&c, &ret);
}

void trap(int sig, struct siginfo *info, struct ucontext *uc)
{
	struct thread *t;

	(void)sig;
	if (info->code != 2) { /* SYS_USER_DISPATCH */
		signal_own(info, uc);
		return;
	}
	t = thread_self();
	if (!t)
		t = unknown(uc);
	if (!sites_finish(t, uc)) {
		sites_origin(uc);
		if (t->own.is_on && own_takes(t, info, uc))
			goto release;
		if ((uint32_t)info->nr == NR_rt_sigreturn && info->arch == ARCH_AUDIT) {
			struct ucontext *back = frame_returning(uc);

			if (handle_has_rules(NR_rt_sigreturn))
				watch_return(t, uc);
			record_sigreturn(t, uc, back);
			signal_return(t, back);
			thread_admit(t);
			leave_frame(frame_sp(uc));
		}
		t->mask = uc->sigmask;
		thread_admit(t);
		caught(t, info, uc);
	}
release:
	t->no_fault = 0;
	t->mask = uc->sigmask;
	if (frame_pc(uc) != (uint64_t)birth_stub) {
		t->put_off = 0;
		signal_release(t, uc);
	}
}
