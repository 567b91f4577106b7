/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads and processes come and go. Capturing is per thread and is lost at clone, fork and exec: the child of a clone
 * or fork comes out in birth_stub and arms itself before any of its own code runs; a program that calls exec first asks
 * the launcher to be there. Under the route `proxy` the proxy forks, makes threads and ends with the program.
 */
#include "births.h"
#include "post.h"
#include "stream.h"

#define FLAG_CLEAR_SIGHAND 0x100000000ull /* too wide for an enumeration */

enum {
	FLAG_VM = 0x100,
	FLAG_FS = 0x200,
	FLAG_FILES = 0x400,
	FLAG_NEWNS = 0x20000,
	FLAG_SIGHAND = 0x800,
	FLAG_PIDFD = 0x1000,
	FLAG_VFORK = 0x4000,
	FLAG_THREAD = 0x10000,
	FLAG_SETTLS = 0x80000,
};

enum { FUTEX_WAIT_ = 0, FUTEX_WAKE_ = 1 };

void life_sleep(uint32_t *word, uint32_t value, uint64_t ms)
{
	uint64_t timeout[2] = {ms / 1000, ms % 1000 * 1000000};

	GATE4(NR_futex, word, FUTEX_WAIT_, value, timeout);
}

void life_wake(uint32_t *word)
{
	GATE3(NR_futex, word, FUTEX_WAKE_, 1);
}

int life_exists(uint32_t pid)
{
	return pid && GATE2(NR_kill, pid, 0) != -ESRCH_;
}

/* Take an entry in the session's list of processes. One whose process is gone may be had again. */
void life_enter(struct process_self *p, uint32_t parent)
{
	p->entry = PROCESSES;
	if (!session || p->elsewhere) /* whoever looks at the list would take it for another one */
		return;
	for (int pass = 0; pass < 2; pass++) {
		for (uint32_t i = 0; i < PROCESSES; i++) {
			struct process *e = &session->processes[i];
			uint32_t state = get_acquire(&e->state);

			if (state == PROCESS_CLAIMED || (state == PROCESS_LIVE && (!pass || life_exists(e->pid))))
				continue;
			if (!swap_if(&e->state, state, PROCESS_CLAIMED))
				continue;
			e->pid = p->pid;
			e->proxy = 0;
			e->parent = parent;
			e->heirs = 0;
			memset(e->calls, 0, sizeof e->calls);
			put_release(&e->state, PROCESS_LIVE);
			p->entry = i;
			return;
		}
	}
}

/* Entries are taken from the front, and keep the number of their last process. */
uint32_t life_entry(uint32_t pid)
{
	for (uint32_t i = 0; session && i < PROCESSES; i++) {
		const struct process *p = &session->processes[i];
		uint32_t state = get_acquire(&p->state);

		if (state == PROCESS_LIVE && p->pid == pid)
			return i;
		if (state == PROCESS_FREE && !p->pid)
			break;
	}
	return PROCESSES;
}

static struct process *entry_of(uint32_t pid)
{
	uint32_t entry = life_entry(pid);

	return entry < PROCESSES ? &session->processes[entry] : 0;
}

/* ---- clone, clone3, fork, vfork --------------------------------------------------------------------------------- */

/* The child's private descriptors need numbers that the program's own limit allows. */
static int has_private_room(void)
{
	uint64_t limit[2];

	return GATE4(NR_prlimit64, 0, 7, 0, limit) || limit[0] > PRIVATE_SESSION + 4;
}

/* Processes that share descriptors, threads that do not, or other mounts: nothing is kept of what they stand for. */
static int names_are_shared(uint64_t flags)
{
	uint64_t all = FLAG_FILES | FLAG_FS;

	return flags & FLAG_NEWNS || (flags & FLAG_THREAD ? (flags & all) != all : !!(flags & FLAG_FILES));
}

static enum post_birth post_kind(uint64_t flags)
{
	if (names_are_shared(flags & ~(uint64_t)FLAG_NEWNS))
		return BIRTH_ODD;
	if (flags & FLAG_THREAD)
		return BIRTH_THREAD;
	return flags & FLAG_VFORK && flags & FLAG_VM ? BIRTH_VFORK : BIRTH_PROCESS;
}

int64_t life_birth(struct call *c, uint64_t start, int *resumes)
{
	struct process_self *p = c->thread->process;
	uint64_t flags, pidfd = 0, tls = 0, head[8];
	struct birth *b;
	int64_t r = 0;

	switch (c->nr) {
	case NR_clone:
		flags = c->args[0];
		pidfd = c->args[2];
		tls = c->args[CLONE_TLS_ARG];
		break;
	case NR_clone3:
		if (c->args[1] < 64 || memory_read(head, c->args[0], sizeof head) < sizeof head)
			return dispatch_kernel(c); /* which fails */
		flags = head[0];
		pidfd = head[1];
		tls = head[7];
		break;
	case NR_vfork:
		flags = FLAG_VM | FLAG_VFORK;
		break;
	default:
		flags = 0;
	}
	/* Two processes have two proxies, which may share a directory, but not descriptors: each hides one of them. */
	if (p->channel && flags & FLAG_FILES && !(flags & (FLAG_THREAD | FLAG_VFORK)))
		return -EINVAL_;
	if (names_are_shared(flags)) {
		names_lost();
		stream_off();
	}
	b = birth_new();
	if (!b)
		return -ENOMEM_;
	b->parent_stack = b->child_stack = c->thread->stack;
	/* Unless it waits for a child that comes out in its place. */
	if (flags & FLAG_VM && (!(flags & FLAG_VFORK) || flags & FLAG_THREAD)) {
		b->child = thread_make(0);
		b->child_stack = b->child ? b->child->stack : 0;
	}
	if (!b->child_stack || !b->parent_stack) {
		b->refs = 1;
		birth_drop(b);
		return -ENOMEM_;
	}
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
			r = delegate_fork(c->thread, flags & FLAG_FS, &b->lifeline, &b->channel, &b->entry);
		if (r < 0) {
			if (b->child)
				thread_unmake(b->child);
			b->refs = 1;
			birth_drop(b);
			return r;
		}
	}
	if (post_head && p == &process_main)
		post_begin_birth(c->thread, post_kind(flags));
	else if (post_head)
		post_lent_all(0);
	if (b->shares_memory && (!(flags & FLAG_SETTLS) || tls == arch_key())) {
		b->twin_of = c->thread->twin_of ? c->thread->twin_of : c->thread->tid;
		thread_doubt(b->twin_of);
	}
	if (b->shares_memory && b->is_thread) {
		p->threaded = 1;
		add_one(&p->others);
	}
	if (b->child)
		thread_crowd(c->thread);
	if (session && !b->is_thread)
		add_one(&session->births);
	stream_before_birth(b, !!(flags & FLAG_VFORK));
	sites_lock(b->is_thread);
	if (b->shares_memory)
		sites_unlock();
	b->kept = frame_birth(c->uc, birth_stub, c->nr, b);
	c->uc->sigmask = signal_full(c->thread);
	*resumes = 1;
	return 0;
}

static void parent_done(int64_t ret, struct birth *b)
{
	struct process_self *p = b->parent;

	if (!b->shares_memory)
		sites_unlock();
	stream_after_birth(b, ret);
	/* Not whom the key leads to: a vfork child has had it until a moment ago. */
	b->call.thread->mask = b->mask;
	if (b->twin_of && ret < 0)
		thread_alone(b->twin_of);
	if (b->child && ret < 0)
		thread_unmake(b->child);
	if (b->lifeline >= 0) {
		GATE1(NR_close, b->lifeline);
		GATE1(NR_close, b->channel);
	}
	if (post_head && p == &process_main)
		post_end_birth(post_kind(b->flags));
	if (session && ret < 0 && !b->is_thread)
		add_one(&session->births_over);
	if (ret < 0 && b->shares_memory && b->is_thread)
		__atomic_sub_fetch(&p->others, 1, __ATOMIC_RELAXED);
	if (ret < 0) {
		if (b->slot < SLOT_COUNT) {
			struct slot *s = (struct slot *)((char *)p->channel + (uint64_t)SLOT_SIZE * (1 + b->slot));

			s->op = OP_LEAVE;
			put_release(&s->word, s->owner);
			life_wake(&s->word);
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

/*
 * Nobody of lsca's is to be seen from here, nor who has made us: they may be dead, but hardly all of them. Asked by a
 * call that filters of the program's let through.
 */
static int is_elsewhere(uint32_t parent)
{
	return session && session->launcher && !life_exists(session->launcher) &&
	       !life_exists(get_relaxed(&session->drainer)) && !life_exists(parent);
}

static void child_process(struct birth *b, struct thread **known)
{
	struct process_self *p = &process_main;
	struct thread *t, *was = b->call.thread; /* who called; not to be found any more, and yet there */
	uint32_t parent = b->parent->pid, elsewhere = b->parent->elsewhere;

	if (b->shares_memory) {
		p = process_new();
		p->raw = !(b->flags & FLAG_SIGHAND);
		p->sys = b->parent->raw ? b->parent->sys : *signal_handler(SIGSYS_);
		p->vforked = !!(b->flags & FLAG_VFORK);
	} else {
		struct siginfo parents;

		signal_sys_take(&parents);
		handle_forked();
		post_forked();
		stream_forked();
		sites_unlock();
		thread_only();
		chunk_forked();
		memset(p, 0, sizeof *p);
	}
	p->pid = (uint32_t)GATE1(NR_getpid, 0); /* before anything touches the program's memory */
	p->elsewhere = elsewhere || is_elsewhere(parent);
	stream_child(b, p);
	p->entry = PROCESSES;
	p->lifeline = -1;
	t = b->child ? b->child : thread_make(was->stack);
	thread_enter(t, p);
	*known = t;
	handle_born(t);
	if (b->child) /* the kernel's rule, too: it begins without an alternate stack */
		signal_own_stack(t, 0);
	else
		t->alternate = was->alternate;
	t->mask = b->mask;
	t->sys_blocked = b->sys_blocked;
	t->twin_of = b->twin_of;
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
	if (session)
		add_one(&session->births_over);
	if (!b->shares_memory)
		thread_was(was);
	if (b->flags & FLAG_CLEAR_SIGHAND)
		signal_cleared(p);
	start_capture();
	record_event(t, RECORD_START, 2, parent, 0);
}

struct birth_end birth_done(int64_t ret, struct birth *b, uint64_t *kept)
{
	uint64_t resume = b->resume, mask = b->mask;
	struct process_self parent = *b->parent;
	struct thread *t;

	*kept = b->kept;
	if (ret) {
		/* First: it has our key, and who asks who we are would be told that we are it. */
		if (ret > 0 && b->flags & FLAG_VFORK && b->shares_memory && !b->is_thread)
			thread_forget(b->vforked);
		parent_done(ret, b);
		birth_drop(b);
	} else if (b->is_thread) {
		t = b->child;
		thread_enter(t, b->parent);
		signal_own_stack(t, 0);
		t->mask = mask;
		t->slot = b->slot;
		t->sys_blocked = b->sys_blocked;
		t->twin_of = b->twin_of;
		handle_born(t);
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
		child_process(&copy, &b->vforked);
		birth_drop(b);
	}
	t = thread_self();
	gate_fast(NR_rt_sigprocmask, (uint64_t[]){2, (uint64_t)&mask, 0, 8, 0, 0}, &t->put_off);
	return (struct birth_end){resume, t};
}

/* ---- exit and wait ---------------------------------------------------------------------------------------------- */

void life_exit(struct call *c)
{
	struct thread *t = c->thread;
	struct process_self *p = t->process;

	if (c->nr == NR_exit_group || !p->threaded) { /* whose only thread ends, too */
		if (p == &process_main)
			stream_ending(t);
		record_event(t, RECORD_EXIT, 0, 0, 0);
		chunk_release(t);
		if (p->channel)
			delegate_exit(t);
		else if (p->entry < PROCESSES)
			put_release(&session->processes[p->entry].state, PROCESS_FREE);
		if (session)
			__atomic_sub_fetch(&session->live, 1, __ATOMIC_RELAXED);
		gate(c->nr, c->args[0], 0, 0, 0, 0, 0);
	}
	if (!__atomic_fetch_sub(&p->others, 1, __ATOMIC_ACQ_REL)) { /* the last one */
		p->others = 0;
		if (p == &process_main)
			stream_ending(t);
		record_event(t, RECORD_EXIT, 0, 0, 0);
	}
	chunk_release(t);
	if (p->channel)
		delegate_op(t, OP_LEAVE, 0, 0);
	if (!p->vforked || t->tid != p->pid) /* that one's stack is its parent's, who forgets it: thread_forget() */
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
		life_sleep(&e->state, PROCESS_LIVE, 50);
		if (!life_exists(e->proxy))
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
