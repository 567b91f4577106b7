/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program becomes another one. Capturing does not survive that, so the launcher is asked to be there when it happens;
 * what the next image inherits is put in order before. Called for execve and execveat, by trap() alone.
 */
#include "births.h"
#include "post.h"
#include "stream.h"

static int64_t inspect_call(uint64_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e)
{
	return gate(nr, a, b, c, d, e, 0);
}

#include "inspect.h"

/* Under the route `proxy` a program without the agent would have no descriptors at all. */
static int exec_must_be_caught(const struct process_self *p)
{
	return p->channel || session->flags & SESSION_STRICT;
}

static uint32_t exec_kind(const struct call *c, const uint64_t *args)
{
	int is_at = c->nr == NR_execveat;
	uint64_t path = args[is_at ? 1 : 0];
	const struct process_self *p = c->thread->process;
	struct moves *moves;
	uint32_t kind;
	char first = 0;

	if (memory_read(&first, path, 1) < 1)
		return IMAGE_PLAIN; /* EFAULT */
	if (!first && !(is_at && args[4] & 0x1000)) /* AT_EMPTY_PATH */
		return IMAGE_PLAIN; /* ENOENT */
	/* It takes a descriptor for a moment, which is no other thread's to be judged by. */
	moves = p == &process_main && p->threaded ? names_begin_all() : 0;
	kind = inspect_image(is_at ? (int32_t)args[0] : INSPECT_HERE, (const char *)path, !first);
	if (moves)
		names_end(c, moves, 0);
	if (kind == IMAGE_GAINS && session->flags & SESSION_GRANTS)
		return IMAGE_PLAIN;
	/* A foreign image may run; it is the launcher that sees it go. */
	if (kind == IMAGE_FOREIGN && !exec_must_be_caught(c->thread->process))
		return IMAGE_PLAIN;
	return kind;
}

/*
 * A path that leads nowhere is an error here and now, as it would be from execve, and shells try many: asking the
 * launcher for each costs as much as a start.
 */
static int64_t exec_look(uint64_t nr, const uint64_t *args)
{
	uint64_t st[32], flags = nr == NR_execveat ? args[4] : 0;
	int64_t r;

	if (flags & ~0x1100ull) /* AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW: the only ones that execveat knows */
		return 0;
	if (nr == NR_execveat)
		r = GATE4(NR_newfstatat, args[0], args[1], st, flags);
	else
		r = GATE4(NR_newfstatat, -100, args[0], st, 0);
	return r == -ENOENT_ || r == -EACCES_ || r == -ENOTDIR_ || r == -ENAMETOOLONG_ || r == -ELOOP_ ? r : 0;
}

static struct exec_request *exec_ask(struct thread *t, uint32_t kind, uint64_t path, int64_t *error)
{
	struct process_self *p = t->process;
	struct exec_request *e = 0;

	for (int tries = 0; !e && tries < 1000; tries++) {
		for (uint32_t i = 0; i < EXEC_REQUESTS && !e; i++)
			if (swap_if(&session->execs[i].state, EXEC_FREE, EXEC_CLAIMED))
				e = &session->execs[i];
		if (!e) {
			if (!life_exists(session->launcher))
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
	e->kind = kind;
	e->flags = (sites_are_quiet() ? AGENT_QUIET : 0u) | (agent_config.flags & AGENT_APART);
	e->path = path;
	e->joins = 0;
	/* Yama lets only ancestors trace, and whom one names. */
	if (session->flags & SESSION_HOSTED && !sites_are_quiet())
		GATE2(NR_prctl, 0x59616d61, session->launcher);
	put_release(&e->state, EXEC_ASKED);
	add_one(&session->exec_bell);
	life_wake(&session->exec_bell);
	while (get_acquire(&e->state) == EXEC_ASKED) {
		life_sleep(&e->state, EXEC_ASKED, 100);
		if (session->flags & SESSION_CLOSED || !life_exists(session->launcher)) {
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
	life_wake(&session->exec_bell);
	for (int i = 0; i < 50 && get_acquire(&e->state) == EXEC_FAILED; i++) {
		life_sleep(&e->state, EXEC_FAILED, 100);
		if (!life_exists(session->launcher))
			return;
	}
}

/* The mask is inherited by the new image, so the call is made with the program's own. */
static int64_t exec_now(struct call *c, const uint64_t *args)
{
	const struct thread *t = c->thread;
	uint64_t mask = t->mask | (t->sys_blocked ? SIG_BIT(SIGSYS_) : 0);
	struct gate_wait w = {.mask = mask, .full = signal_full(t), .nr = c->nr};
	int64_t r;

	memcpy(w.args, args, sizeof w.args);
	signal_sys_queue(t, 0);
	r = gate_wait(&w);
	signal_sys_queue(t, 1);
	return r;
}

int64_t exec_call(struct call *c)
{
	struct process_self *p = c->thread->process;
	struct exec_request *e = 0;
	uint64_t args[CALL_ARGS];
	int64_t r = 0, borrowed = -1;
	int uncaught = 0;

	memcpy(args, c->args, sizeof args);
	stream_tell_exec(c);
	record_last(c);
	if (post_head) {
		post_abroad(c->thread, POSTS_ALL, args, c->row);
		if (p == &process_main)
			post_begin_birth(c->thread, BIRTH_PROCESS);
		post_await_closed();
	}
	if (p->channel && c->nr == NR_execveat && (int32_t)args[0] >= 0) {
		borrowed = delegate_borrow(c->thread, args[0]);
		if (borrowed < 0)
			return borrowed;
		args[0] = (uint64_t)borrowed;
	}
	if (session && !(session->flags & SESSION_PRELOAD)) {
		r = exec_look(c->nr, args);
		if (r < 0)
			goto out;
		if (!p->traced_later && !p->elsewhere) /* the launcher cannot trace it, too, or not find it */
			e = exec_ask(c->thread, exec_kind(c, args), args[c->nr == NR_execveat ? 1 : 0], &r);
		else
			r = -EPERM_;
		if (p->elsewhere)
			__atomic_or_fetch(&session->flags, SESSION_ELSEWHERE, __ATOMIC_RELAXED);
		if (!e && exec_must_be_caught(p)) {
			add_one(&session->refused);
			goto out;
		}
		uncaught = !e;
		if (uncaught)
			add_one(&session->uncaught);
	}
	r = stream_before_exec(p, !!e);
	if (r < 0) {
		if (e)
			exec_failed(e);
		if (uncaught)
			__atomic_sub_fetch(&session->uncaught, 1, __ATOMIC_RELAXED);
		goto out;
	}
	if (!e && c->thread->question && !exec_look(c->nr, args))
		handle_leaving(c->thread);
	chunk_release(c->thread);
	if (p->traced_later)
		GATE1(NR_ptrace, 0);
	signal_leave(p, 1);
	r = exec_now(c, args);
	signal_leave(p, 0);
	stream_exec_failed(p);
	if (e)
		exec_failed(e);
	if (uncaught)
		__atomic_sub_fetch(&session->uncaught, 1, __ATOMIC_RELAXED);
out:
	if (post_head && p == &process_main)
		post_end_birth(BIRTH_PROCESS);
	if (borrowed >= 0)
		GATE1(NR_close, borrowed);
	return r;
}
