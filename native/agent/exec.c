/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program becomes another one. Capturing does not survive that, so the launcher is asked to be there when it happens;
 * what the next image inherits is put in order before. Called for execve and execveat, by trap() alone.
 */
#include "agent.h"

/*
 * A look at the file before the launcher is asked. A path that leads nowhere is an error here and now, as it would be
 * from execve, and shells try many: asking for each costs as much as a start. EPERM: a program whose identity the
 * kernel would change at exec, which it does not do under a tracer without privilege. Else 0.
 */
static int64_t exec_look(uint64_t nr, const uint64_t *args)
{
	struct {
		uint64_t dev, ino, nlink;
		uint32_t mode, uid, gid, pad;
		uint64_t rest[20];
	} st;
	int is_at = nr == NR_execveat;
	uint64_t flags = is_at ? args[4] : 0;
	int64_t r;

	if (flags & ~0x1100ull) /* AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW: the only ones that execveat knows */
		return 0;
	if (is_at)
		r = GATE4(NR_newfstatat, args[0], args[1], &st, flags);
	else
		r = GATE4(NR_newfstatat, -100, args[0], &st, 0);
	if (r == -ENOENT_ || r == -EACCES_ || r == -ENOTDIR_ || r == -ENAMETOOLONG_ || r == -ELOOP_)
		return r;
	if (r < 0)
		return 0;
	if (st.mode & 04000 && st.uid != (uint32_t)GATE1(NR_geteuid, 0))
		return -EPERM_;
	if ((st.mode & 02010) == 02010 && st.gid != (uint32_t)GATE1(NR_getegid, 0))
		return -EPERM_;
	return 0;
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
	struct gate_wait w = {.mask = mask, .full = MASK_FULL, .nr = c->nr};
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

	memcpy(args, c->args, sizeof args);
	record_last(c);
	if (p->channel && c->nr == NR_execveat && (int32_t)args[0] >= 0) {
		borrowed = delegate_borrow(c->thread, args[0]);
		if (borrowed < 0)
			return borrowed;
		args[0] = (uint64_t)borrowed;
	}
	if (session && !(session->flags & SESSION_PRELOAD)) {
		r = exec_look(c->nr, args);
		if (r < 0 && r != -EPERM_)
			goto out;
		if (!r)
			e = exec_ask(c->thread, &r);
		if (!e) {
			if (p->channel) /* without the agent it would have no descriptors at all */
				goto out;
			add_one(&session->uncaught);
		}
	}
	record_release(c->thread);
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
