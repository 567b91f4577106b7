/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads and processes come and go. Capturing is per thread and is lost at clone, fork and exec: the child of a clone
 * or fork comes out in birth_stub and arms itself before any of its own code runs; a program that calls exec first asks
 * the launcher to be there. Under the route `proxy` the proxy forks, makes threads and ends with the program.
 */
#include "agent.h"

#define FLAG_CLEAR_SIGHAND 0x100000000ull /* too wide for an enumeration */

enum {
	FLAG_VM = 0x100,
	FLAG_FS = 0x200,
	FLAG_FILES = 0x400,
	FLAG_SIGHAND = 0x800,
	FLAG_PIDFD = 0x1000,
	FLAG_VFORK = 0x4000,
	FLAG_THREAD = 0x10000,
	FUTEX_WAIT_ = 0,
	FUTEX_WAKE_ = 1,
};

static void futex_wait(uint32_t *word, uint32_t value, uint64_t ms)
{
	uint64_t timeout[2] = {ms / 1000, ms % 1000 * 1000000};

	GATE4(NR_futex, word, FUTEX_WAIT_, value, timeout);
}

static void futex_wake(uint32_t *word)
{
	GATE3(NR_futex, word, FUTEX_WAKE_, 1);
}

static int is_alive(uint32_t pid)
{
	return pid && GATE2(NR_kill, pid, 0) != -ESRCH_;
}

/* Take an entry in the session's list of processes. One whose process is gone may be had again. */
void life_enter(struct process_self *p, uint32_t parent)
{
	p->entry = PROCESSES;
	if (!session)
		return;
	for (int pass = 0; pass < 2; pass++) {
		for (uint32_t i = 0; i < PROCESSES; i++) {
			struct process *e = &session->processes[i];
			uint32_t state = get_acquire(&e->state);

			if (state == PROCESS_CLAIMED || (state == PROCESS_LIVE && (!pass || is_alive(e->pid))))
				continue;
			if (!swap_if(&e->state, state, PROCESS_CLAIMED))
				continue;
			e->pid = p->pid;
			e->proxy = 0;
			e->parent = parent;
			memset(e->calls, 0, sizeof e->calls);
			put_release(&e->state, PROCESS_LIVE);
			p->entry = i;
			return;
		}
	}
}

static struct process *entry_of(uint32_t pid)
{
	for (uint32_t i = 0; session && i < PROCESSES; i++)
		if (session->processes[i].pid == pid && get_acquire(&session->processes[i].state) == PROCESS_LIVE)
			return &session->processes[i];
	return 0;
}

/* ---- clone, clone3, fork, vfork --------------------------------------------------------------------------------- */

/* The child's private descriptors need numbers that the program's own limit allows. */
static int has_private_room(void)
{
	uint64_t limit[2];

	return GATE4(NR_prlimit64, 0, 7, 0, limit) || limit[0] > PRIVATE_SESSION + 4;
}

int64_t life_birth(struct call *c, uint64_t start, int *resumes)
{
	struct process_self *p = c->thread->process;
	uint64_t flags, pidfd = 0, head[2];
	struct birth *b;
	int64_t r = 0;

	switch (c->nr) {
	case NR_clone:
		flags = c->args[0];
		pidfd = c->args[2];
		break;
	case NR_clone3:
		if (c->args[1] < 64 || memory_read(head, c->args[0], 16) < 16)
			return dispatch_kernel(c); /* which fails */
		flags = head[0];
		pidfd = head[1];
		break;
	case NR_vfork:
		flags = FLAG_VM | FLAG_VFORK;
		break;
	default:
		flags = 0;
	}
	/* Two processes have two proxies, which share neither descriptors nor directory. */
	if (p->channel && flags & (FLAG_FS | FLAG_FILES) && !(flags & (FLAG_THREAD | FLAG_VFORK)))
		return -EINVAL_;
	b = birth_new();
	if (!b)
		return -ENOMEM_;
	b->is_thread = !!(flags & FLAG_THREAD);
	b->shares_memory = !!(flags & FLAG_VM);
	b->refs = b->shares_memory ? 2 : 1;
	b->flags = flags;
	b->resume = frame_pc(c->uc);
	b->mask = c->uc->sigmask & ~SIG_BIT(SIGSYS_);
	b->call = *c;
	b->started = start;
	b->parent = p;
	b->slot = SLOT_COUNT;
	b->entry = PROCESSES;
	b->sys_blocked = c->thread->sys_blocked;
	b->lifeline = b->channel = -1;
	b->pidfd_at = p->channel && flags & FLAG_PIDFD ? pidfd : 0;
	if (p->channel) {
		if (b->is_thread)
			r = delegate_thread(c->thread, &b->slot);
		else if (!has_private_room())
			r = -EMFILE_;
		else
			r = delegate_fork(c->thread, &b->lifeline, &b->channel, &b->entry);
		if (r < 0) {
			b->refs = 1;
			birth_drop(b);
			return r;
		}
	}
	b->kept = frame_birth(c->uc, birth_stub, c->nr, b);
	c->uc->sigmask = MASK_FULL;
	*resumes = 1;
	return 0;
}

static void parent_done(int64_t ret, struct birth *b)
{
	struct process_self *p = b->parent;

	b->call.thread = thread_self();
	if (b->lifeline >= 0) {
		GATE1(NR_close, b->lifeline);
		GATE1(NR_close, b->channel);
	}
	if (ret < 0) {
		if (b->slot < SLOT_COUNT) {
			struct slot *s = (struct slot *)((char *)p->channel + (uint64_t)SLOT_SIZE * (1 + b->slot));

			s->op = OP_LEAVE;
			put_release(&s->word, s->owner);
			futex_wake(&s->word);
		}
		if (b->shares_memory)
			b->refs = 1;
	} else if (b->entry < PROCESSES) {
		/* Known before anybody can wait for the child, however soon it dies. */
		session->processes[b->entry].pid = (uint32_t)ret;
	}
	if (ret > 0 && b->pidfd_at) {
		int32_t fd = -1;

		if (memory_read(&fd, b->pidfd_at, 4) == 4 && fd >= 0) {
			fd = (int32_t)delegate_handover(b->call.thread, fd, 1);
			memory_write(b->pidfd_at, &fd, 4);
		}
	}
	record_end(&b->call, b->started, ret);
}

static void child_process(struct birth *b)
{
	struct process_self *p = &process_main;
	uint32_t parent = b->parent->pid;
	struct thread *t;

	if (b->shares_memory) {
		p = process_new();
		p->raw = !(b->flags & FLAG_SIGHAND);
		p->vforked = !!(b->flags & FLAG_VFORK);
	} else {
		thread_only();
		memset(p, 0, sizeof *p);
	}
	p->pid = (uint32_t)GATE1(NR_getpid, 0); /* before anything touches the program's memory */
	p->entry = PROCESSES;
	p->lifeline = -1;
	t = thread_add(p);
	t->sys_blocked = b->sys_blocked;
	if (session)
		add_one(&session->live);
	if (b->lifeline >= 0) {
		if (!(b->flags & FLAG_FILES)) {
			/* The same private numbers in every process; nothing else of the parent's survives. */
			GATE3(NR_dup3, b->lifeline, PRIVATE_LIFELINE, 0);
			GATE3(NR_dup3, b->channel, PRIVATE_CHANNEL, 0);
			GATE3(NR_close_range, 0, PRIVATE_LIFELINE - 1, 0);
			GATE3(NR_close_range, PRIVATE_SESSION + 1, ~0u, 0);
			b->lifeline = PRIVATE_LIFELINE;
			b->channel = PRIVATE_CHANNEL;
		}
		delegate_attach(p, t, b->lifeline, b->channel, 0);
	}
	if (p->channel) {
		p->channel->pid = p->pid;
		p->entry = b->entry;
		if (p->entry < PROCESSES) {
			session->processes[p->entry].pid = p->pid;
			session->processes[p->entry].parent = parent;
		}
	} else {
		life_enter(p, parent);
	}
	if (b->flags & FLAG_CLEAR_SIGHAND)
		signal_cleared(p);
	start_capture();
	record_event(t, RECORD_START, parent, 0);
}

uint64_t birth_done(int64_t ret, struct birth *b, uint64_t *kept)
{
	uint64_t resume = b->resume, mask = b->mask;
	struct process_self parent = *b->parent;

	*kept = b->kept;
	if (ret) {
		parent_done(ret, b);
		if (ret > 0 && b->flags & FLAG_VFORK && b->shares_memory && !b->is_thread)
			thread_forget((uint32_t)ret);
		birth_drop(b);
	} else if (b->is_thread) {
		struct thread *t = thread_add(b->parent);

		t->slot = b->slot;
		t->sys_blocked = b->sys_blocked;
		if (t->slot < SLOT_COUNT) {
			struct slot *s =
				(struct slot *)((char *)b->parent->channel + (uint64_t)SLOT_SIZE * (1 + t->slot));

			s->tid = t->tid;
		}
		start_capture();
		birth_drop(b);
	} else {
		struct birth copy = *b;

		copy.parent = &parent;
		if (b->shares_memory)
			birth_drop(b);
		child_process(&copy);
	}
	GATE4(NR_rt_sigprocmask, 2, &mask, 0, 8);
	return resume;
}

/* ---- exec ------------------------------------------------------------------------------------------------------- */

/* A program whose identity the kernel would change at exec, which it does not do under a tracer without privilege. */
static int changes_identity(const struct call *c)
{
	struct {
		uint64_t dev, ino, nlink;
		uint32_t mode, uid, gid, pad;
		uint64_t rest[20];
	} st;
	int64_t r;

	if (c->nr == NR_execve)
		r = GATE4(NR_newfstatat, -100, c->args[0], &st, 0);
	else
		r = GATE4(NR_newfstatat, c->args[0], c->args[1], &st, c->args[4]);
	if (r < 0)
		return 0;
	if (st.mode & 04000 && st.uid != (uint32_t)GATE1(NR_geteuid, 0))
		return 1;
	return (st.mode & 02010) == 02010 && st.gid != (uint32_t)GATE1(NR_getegid, 0);
}

static struct exec_request *exec_ask(struct thread *t, int64_t *error)
{
	struct process_self *p = t->process;
	struct exec_request *e = 0;

	for (int tries = 0; !e && tries < 1000; tries++) {
		for (uint32_t i = 0; i < EXEC_REQUESTS && !e; i++)
			if (swap_if(&session->execs[i].state, EXEC_FREE, EXEC_CLAIMED))
				e = &session->execs[i];
		if (!e) {
			if (!is_alive(session->launcher))
				break;
			uint64_t ms[2] = {0, 2000000};

			GATE2(NR_nanosleep, ms, 0);
		}
	}
	if (!e) {
		*error = -EAGAIN_;
		return 0;
	}
	e->pid = p->pid;
	e->tid = t->tid;
	e->error = 0;
	e->detached = 0;
	e->lifeline = p->channel ? PRIVATE_LIFELINE : -1;
	e->channel = p->channel ? PRIVATE_CHANNEL : -1;
	e->session = p->channel ? PRIVATE_SESSION : -1;
	e->slot = t->slot;
	put_release(&e->state, EXEC_ASKED);
	add_one(&session->exec_bell);
	futex_wake(&session->exec_bell);
	while (get_acquire(&e->state) == EXEC_ASKED) {
		futex_wait(&e->state, EXEC_ASKED, 100);
		if (session->flags & SESSION_CLOSED || !is_alive(session->launcher)) {
			*error = -EIO_;
			return 0;
		}
	}
	if (get_acquire(&e->state) == EXEC_READY)
		return e;
	*error = e->error < 0 ? e->error : -EPERM_;
	put_release(&e->state, EXEC_FREE);
	return 0;
}

static void exec_failed(struct exec_request *e)
{
	put_release(&e->state, EXEC_FAILED);
	add_one(&session->exec_bell);
	futex_wake(&session->exec_bell);
	for (int i = 0; i < 50 && get_acquire(&e->state) == EXEC_FAILED; i++) {
		futex_wait(&e->state, EXEC_FAILED, 100);
		if (!is_alive(session->launcher))
			return;
	}
}

/* The mask is inherited by the new image, so the call is made with the program's own. */
static int64_t exec_now(struct call *c, const uint64_t *args)
{
	struct gate_wait w = {.mask = c->uc->sigmask & ~SIG_BIT(SIGSYS_), .full = MASK_FULL, .nr = c->nr};

	for (int i = 0; i < CALL_ARGS; i++)
		w.args[i] = args[i];
	return gate_wait(&w);
}

int64_t life_exec(struct call *c)
{
	struct process_self *p = c->thread->process;
	struct exec_request *e = 0;
	uint64_t args[CALL_ARGS];
	int64_t r = 0, borrowed = -1;

	memcpy(args, c->args, sizeof args);
	record_last(c);
	if (p->channel && c->nr == NR_execveat && (int32_t)args[0] >= 0) {
		borrowed = delegate_borrow(c->thread, args[0]);
		if (borrowed < 0)
			return borrowed;
		args[0] = (uint64_t)borrowed;
	}
	if (session && !(session->flags & SESSION_PRELOAD)) {
		if (changes_identity(c) || p->traced_later) /* the launcher cannot trace it too */
			r = -EPERM_;
		else
			e = exec_ask(c->thread, &r);
		if (!e) {
			if (p->channel) /* without the agent it would have no descriptors at all */
				goto out;
			add_one(&session->uncaught);
		}
	}
	record_release(c->thread);
	if (p->traced_later)
		GATE1(NR_ptrace, 0);
	signal_leave(1);
	r = exec_now(c, args);
	signal_leave(0);
	if (e)
		exec_failed(e);
out:
	if (borrowed >= 0)
		GATE1(NR_close, borrowed);
	return r;
}

/* ---- exit and wait ---------------------------------------------------------------------------------------------- */

void life_exit(struct call *c)
{
	struct thread *t = c->thread;
	struct process_self *p = t->process;

	if (c->nr == NR_exit_group) {
		record_event(t, RECORD_EXIT, c->args[0], 0);
		record_release(t);
		if (p->channel)
			delegate_exit(t);
		else if (p->entry < PROCESSES)
			put_release(&session->processes[p->entry].state, PROCESS_FREE);
		if (session)
			__atomic_sub_fetch(&session->live, 1, __ATOMIC_RELAXED);
		gate(NR_exit_group, c->args[0], 0, 0, 0, 0, 0);
	}
	record_release(t);
	if (p->channel)
		delegate_op(t, OP_LEAVE, 0, 0);
	thread_remove(t);
	gate(NR_exit, c->args[0], 0, 0, 0, 0, 0);
}

/* A child's descriptors are its proxy's: gone for the parent only once the proxy has closed them. */
static void wait_for_proxy(uint32_t pid)
{
	struct process *e = entry_of(pid);

	if (!e || !e->proxy)
		return;
	for (int i = 0; i < 40 && get_acquire(&e->state) == PROCESS_LIVE && e->pid == pid; i++) {
		futex_wait(&e->state, PROCESS_LIVE, 50);
		if (!is_alive(e->proxy))
			break;
	}
}

int64_t life_wait(struct call *c)
{
	uint64_t args[CALL_ARGS];
	int32_t status = 0;
	int64_t r, borrowed = -1;

	if (!c->thread->process->channel)
		return dispatch_kernel(c);
	memcpy(args, c->args, sizeof args);
	if (c->nr == NR_wait4) {
		args[1] = (uint64_t)&status;
		r = dispatch_kernel_args(c, args);
		if (r <= 0)
			return r;
		if ((status & 0xff) != 0x7f && status != 0xffff)
			wait_for_proxy((uint32_t)r);
		if (c->args[1] && memory_write(c->args[1], &status, 4) < 4)
			return -EFAULT_;
		return r;
	}
	if (args[0] == 3) { /* P_PIDFD */
		borrowed = delegate_borrow(c->thread, args[1]);
		if (borrowed < 0)
			return borrowed;
		args[1] = (uint64_t)borrowed;
	}
	r = dispatch_kernel_args(c, args);
	if (!r && args[2]) {
		struct siginfo info;

		if (memory_read(&info, args[2], 20) == 20 && info.code >= 1 && info.code <= 3)
			wait_for_proxy((uint32_t)info.call_addr);
	}
	if (borrowed >= 0)
		GATE1(NR_close, borrowed);
	return r;
}
