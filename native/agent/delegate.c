/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The route `proxy`: carry a call to the proxy that holds the program's descriptors, wait, bring the answer back. What
 * the arguments point to is packed into the thread's slot (or its arena, when it is large) as the row says, so a call
 * that the kernel would do at once stays one call. A signal that cuts the wait short interrupts the proxy's call too.
 */
#include "packer.h"

static struct slot *slot_of(struct process_self *p, uint32_t i)
{
	return (struct slot *)((char *)p->channel + (uint64_t)SLOT_SIZE * (1 + i));
}

/* Map the channel and take our place in it. */
int64_t delegate_attach(struct process_self *p, struct thread *t, int32_t lifeline, int32_t channel, uint32_t slot)
{
	/* Beside the agent: above the program's libraries it would lie where the jumps of patched sites want to go. */
	uint64_t beside = ((uint64_t)_end + (1 << 20)) & ~4095ull;
	int64_t r = GATE6(NR_mmap, beside, CHANNEL_SIZE, 3, 1, channel, 0);

	if (packer_failed(r))
		return r;
	GATE3(NR_madvise, r, CHANNEL_SIZE, 10); /* MADV_DONTFORK */
	p->channel = (struct channel *)r;
	p->lifeline = lifeline;
	p->channel_fd = channel; /* PRIVATE_CHANNEL, but for a child that shares our descriptors */
	p->dead = 0;
	p->lock = 0;
	if (slot >= SLOT_COUNT)
		return -EINVAL_;
	t->slot = slot;
	slot_of(p, slot)->tid = t->tid;
	return 0;
}

/* ---- the exchange ------------------------------------------------------------------------------------------------ */

static void yield(void)
{
	GATE1(NR_sched_yield, 0);
}

/* Wait for the end that another thread is bringing about. */
static void park(struct process_self *p)
{
	for (;;)
		GATE4(NR_futex, &p->exiting, 0, 1, 0);
}

static void send_line(struct process_self *p, uint32_t op, int32_t value)
{
	struct lifeline_message m = {op, value};
	uint64_t iov[2] = {(uint64_t)&m, sizeof m};
	struct msghdr h = {.iov = (uint64_t)iov, .iov_len = 1};

	GATE3(NR_sendmsg, p->lifeline, &h, 0x4000); /* MSG_NOSIGNAL */
}

/* Sleep until the word changes, with the program's signals let in. */
static void sleep(const struct call *c, uint64_t mask, struct slot *s, uint32_t owner, uint64_t *put_off)
{
	struct gate_wait w = {.mask = mask, .full = signal_full(c->thread), .nr = NR_futex,
			      .args = {(uint64_t)&s->word, 0, owner}};

	if (c->uc) {
		gate_wait(&w);
		*put_off = w.put_off;
	} else {
		gate_fast(NR_futex, w.args, &c->thread->put_off);
		*put_off = c->thread->put_off;
	}
}

/*
 * Post what is in the slot and wait for the answer. With `c`, the program's signals are let in while we sleep, under
 * `mask`. Returns the call's result, or -ERESTART_ where a signal's handler says to make it again.
 */
static int64_t exchange(struct thread *t, struct slot *s, const struct call *c, uint64_t mask, uint64_t *put_off)
{
	struct process_self *p = t->process;
	uint32_t owner = get_acquire(&s->owner), word;
	int64_t ret;
	int interrupted = 0;

	if (get_acquire(&p->exiting) && s->op != OP_EXIT)
		park(p);
	if (p->dead || !owner || owner & WORD_DIED)
		return -EIO_;
	s->cancel = 0;
	/* The request is written before the word that announces it. */
	put_release(&s->word, owner);
	store_before_load();
	if (get_relaxed(&s->owner) != owner) { /* died before it could see the word */
		p->dead = 1;
		return -EIO_;
	}
	if (get_relaxed(&s->proxy.asleep)) {
		ring_woke(&s->agent, session);
		GATE3(NR_futex, &s->word, 1, 1);
	}
	for (;;) {
		if (ring_linger(&s->word, owner, &s->agent, &s->proxy, &t->patience, session, yield) == RING_READY)
			break;
		put_relaxed(&s->agent.asleep, 1);
		store_before_load();
		if (get_acquire(&s->word) == owner) {
			s->agent.slept++;
			if (c && !interrupted)
				sleep(c, mask, s, owner, put_off);
			else
				GATE4(NR_futex, &s->word, 0, owner, 0);
		}
		put_relaxed(&s->agent.asleep, 0);
		if (*put_off && !interrupted) {
			interrupted = 1;
			if (get_acquire(&s->word) == owner) {
				put_relaxed(&s->cancel, 1);
				send_line(p, LINE_CANCEL, (int32_t)t->slot);
			}
		}
	}
	word = get_acquire(&s->word);
	if (get_acquire(&p->exiting) && s->op != OP_EXIT)
		park(p);
	if (word != WORD_ANSWER) { /* the proxy's thread died in the middle of it */
		p->dead = 1;
		return -EIO_;
	}
	ret = s->ret;
	if (s->signals & 1)
		signal_raise(SIGPIPE_);
	if (s->signals & 2)
		signal_raise(SIGXFSZ_);
	put_relaxed(&s->word, WORD_IDLE);
	/* It has waited, and nothing was done. */
	if (ret == -ERESTART_ && !t->restarts)
		ret = -EINTR_;
	return ret;
}

int64_t delegate_op(struct thread *t, uint32_t op, uint64_t arg0, uint64_t arg1)
{
	struct slot *s;
	uint64_t none = 0;

	if (t->slot >= SLOT_COUNT)
		return -EIO_;
	s = slot_of(t->process, t->slot);
	s->op = (uint16_t)op;
	s->args[0] = arg0;
	s->args[1] = arg1;
	s->arena = 0;
	if (op == OP_LEAVE) {
		put_release(&s->word, get_acquire(&s->owner));
		GATE3(NR_futex, &s->word, 1, 1);
		return 0;
	}
	return exchange(t, s, 0, 0, &none);
}

/* ---- the lifeline: descriptors --------------------------------------------------------------------------------- */

static void line_lock(struct process_self *p)
{
	while (!swap_if(&p->lock, 0, 1))
		yield();
}

static void line_unlock(struct process_self *p)
{
	put_release(&p->lock, 0);
}

/* Receive one message and `want` descriptors. `sender`: a process that is to send it and may be killed before; or 0. */
static int64_t receive_line(struct process_self *p, uint32_t op, int32_t *fds, uint32_t want, int64_t sender)
{
	struct lifeline_message m;
	uint64_t control[6], iov[2] = {(uint64_t)&m, sizeof m}, patience[2];
	struct {
		int32_t fd;
		int16_t events, came;
	} wait = {p->lifeline, 1, 0};
	struct msghdr h = {.iov = (uint64_t)iov, .iov_len = 1, .control = (uint64_t)control,
			   .control_len = sizeof control};
	int64_t r;

	/* The message is there or comes at once, unless whoever was to send it has been killed. */
	for (int tries = 0; tries < 200; tries++) {
		patience[0] = 0; /* ppoll leaves the rest of it here */
		patience[1] = 50000000;
		r = gate(NR_ppoll, (uint64_t)&wait, 1, (uint64_t)patience, 0, 8, 0);
		if (r == -EINTR_) /* a signal, put off by now */
			continue;
		if (r)
			break;
		if (sender && GATE2(NR_kill, sender, 0) == -ESRCH_ &&
		    !gate(NR_ppoll, (uint64_t)&wait, 1, (uint64_t)patience, 0, 8, 0))
			return -EIO_;
	}
	if (r > 0)
		r = GATE3(NR_recvmsg, p->lifeline, &h, 0x40); /* MSG_DONTWAIT */
	if (r < (int64_t)sizeof m || m.op != op) {
		p->dead = 1;
		return -EIO_;
	}
	if (m.value < 0)
		return m.value;
	if (h.control_len < 16 + 4ull * want || control[0] < 16 + 4ull * want)
		return -EMFILE_; /* the program's own limit leaves no room for them */
	memcpy(fds, &control[2], 4ull * want);
	return m.value;
}

int64_t delegate_borrow(struct thread *t, uint64_t fd)
{
	struct process_self *p = t->process;
	int32_t got = -1;
	int64_t r;

	line_lock(p);
	r = delegate_op(t, OP_LENT, fd, 0);
	if (r >= 0)
		r = receive_line(p, LINE_FD, &got, 1, 0);
	line_unlock(p);
	return r < 0 ? r : got;
}

/* Move a descriptor of this process to the proxy; its number there. */
int64_t delegate_handover(struct thread *t, int32_t fd, int cloexec)
{
	struct process_self *p = t->process;
	struct lifeline_message m = {LINE_FD, 0};
	uint64_t control[3] = {20, 0, 0}, iov[2] = {(uint64_t)&m, sizeof m};
	struct msghdr h = {.iov = (uint64_t)iov, .iov_len = 1, .control = (uint64_t)control, .control_len = 24};
	int64_t r;

	((int32_t *)control)[2] = 1; /* SOL_SOCKET, SCM_RIGHTS */
	((int32_t *)control)[3] = 1;
	((int32_t *)control)[4] = fd;
	line_lock(p);
	r = GATE3(NR_sendmsg, p->lifeline, &h, 0x4000);
	if (r >= 0)
		r = delegate_op(t, OP_TAKE, (uint64_t)cloexec, 0);
	line_unlock(p);
	GATE1(NR_close, fd);
	return r;
}

/* `flags`: of clone, as far as they are the proxy's to obey: see OP_FORK. */
int64_t delegate_fork(struct thread *t, uint64_t flags, int32_t *lifeline, int32_t *channel, uint32_t *entry)
{
	struct process_self *p = t->process;
	int32_t fds[2];
	int64_t r;

	line_lock(p);
	r = delegate_op(t, OP_FORK, flags, 0);
	if (r >= 0)
		r = receive_line(p, LINE_FORKED, fds, 2, r);
	line_unlock(p);
	if (r < 0)
		return r;
	*lifeline = fds[0];
	*channel = fds[1];
	*entry = (uint32_t)r < PROCESSES ? (uint32_t)r : PROCESSES;
	return 0;
}

int64_t delegate_thread(struct thread *t, uint32_t *slot)
{
	struct process_self *p = t->process;
	int64_t r;

	for (uint32_t i = 0; i < SLOT_COUNT; i++) {
		raise_to(&p->channel->high, i + 1);
		if (!swap_if(&slot_of(p, i)->lease, SLOT_FREE, SLOT_TAKEN))
			continue;
		r = delegate_op(t, OP_THREAD, i, 0);
		if (r < 0) {
			put_release(&slot_of(p, i)->lease, SLOT_FREE);
			return r;
		}
		*slot = i;
		return 0;
	}
	return -EAGAIN_;
}

int64_t delegate_exit(struct thread *t)
{
	if (!swap_if(&t->process->exiting, 0, 1))
		park(t->process);
	return t->process->dead ? 0 : delegate_op(t, OP_EXIT, 0, 0);
}

/* The mask a wait is to be made under: the program's, or the one the call brings. */
static int64_t wait_mask(struct call *c, uint64_t *mask, int *masked)
{
	uint64_t six[2];

	*mask = c->thread->mask;
	*masked = 0;
	for (int i = 0; i < c->row->nargs; i++) {
		uint8_t kind = c->row->args[i].kind;
		uint64_t from = c->args[i];

		if (kind != ARG_SIGMASK && kind != ARG_SIGMASK6)
			continue;
		if (from && kind == ARG_SIGMASK6) {
			if (memory_read(six, from, 16) < 16)
				return -EFAULT_;
			from = six[0];
		}
		if (!from)
			continue;
		if ((kind == ARG_SIGMASK6 ? six[1] : c->args[i + 1]) != 8)
			return -EINVAL_;
		if (memory_read(mask, from, 8) < 8)
			return -EFAULT_;
		*masked = 1;
	}
	*mask &= ~SIG_BIT(SIGSYS_);
	return 0;
}

/* Made by the proxy; or in the program, when an argument turns out to be of the kind that needs it. */
int64_t delegate_anywhere(struct call *c)
{
	struct thread *t = c->thread;
	struct packer p = {.thread = t, .slot = slot_of(t->process, t->slot)};
	struct slot *s = p.slot;
	uint64_t mask, put_off = 0;
	int64_t ret, r;
	int masked, is_self = 0;

	if (t->process->dead)
		return -EIO_;
	p.base = s->payload;
	p.room = SLOT_INLINE;
	r = wait_mask(c, &mask, &masked);
	if (r < 0)
		return r;
	memcpy(s->args, c->args, sizeof s->args);
	for (int i = 0; i < c->row->nargs; i++) {
		r = packer_in(c, &p, i);
		if (r < 0)
			return r;
		if (r)
			return borrow_call(c);
	}
	for (int i = 0; i < c->row->nargs; i++) {
		const char *path = (const char *)p.base + p.plan[i].at;

		if (p.plan[i].shape.kind != ARG_STRING || p.plan[i].len >= PACK_STRING)
			continue;
		if (borrow_path(c, path, p.plan[i].len, &ret))
			return ret;
		is_self |= borrow_is_self(path);
	}
	for (int i = 0; i < CALL_ARGS; i++) {
		s->extents[i].off = (uint32_t)p.plan[i].at;
		s->extents[i].len = (uint32_t)p.plan[i].len;
	}
	s->nr = (uint16_t)c->nr;
	s->op = OP_CALL;
	s->arena = p.base == s->payload ? 0 : (uint32_t)t->arena_size;
	s->ttystop = c->row->flags & CALL_TERMINAL ? signal_ttystop(c) : 0;
	ret = exchange(t, s, c, mask, &put_off);
	if (masked && put_off) {
		if (ret == -ERESTART_)
			ret = -EINTR_;
		signal_ended(c, mask);
	}
	if (is_self && c->row->runs != RUNS_BOTH && (ret == -EACCES_ || ret == -EPERM_))
		return borrow_self(c);
	if (ret != -ERESTART_ && ret != -EIO_)
		for (int i = 0; i < c->row->nargs; i++) {
			r = packer_out(c, &p, i, ret);
			if (ret >= 0 && r != ret)
				ret = r; /* less has arrived than came */
		}
	packer_trim(t);
	return ret;
}

/* sendmmsg and recvmmsg: one message after the other, as the kernel does it. */
int64_t delegate_messages(struct call *c, int in)
{
	struct call one = *c;
	uint64_t count = (uint32_t)c->args[2], flags = c->args[3], now[2], end[2] = {0, 0};
	uint32_t done;
	int64_t r = 0;

	if (count > IOV_LIMIT)
		count = IOV_LIMIT;
	one.nr = in ? NR_sendmsg : NR_recvmsg;
	one.row = &call_rows[one.nr];
	memset(one.args, 0, sizeof one.args);
	one.args[0] = c->args[0];
	if (!in && c->args[4]) {
		if (memory_read(end, c->args[4], 16) < 16)
			return -EFAULT_;
		if ((int64_t)end[0] < 0 || end[1] >= 1000000000)
			return -EINVAL_;
		GATE2(NR_clock_gettime, 1, now);
		end[0] += now[0];
		end[1] += now[1];
	}
	for (done = 0; done < count; done++) {
		uint64_t at = c->args[1] + 64ull * done;
		uint32_t len;

		one.args[1] = at;
		one.args[2] = flags & ~0x10000ull; /* MSG_WAITFORONE is not for recvmsg */
		if (!in && done && flags & 0x10000)
			one.args[2] |= 0x40; /* MSG_DONTWAIT */
		r = delegate_anywhere(&one);
		if (r < 0)
			break;
		len = (uint32_t)r;
		if (memory_write(at + 56, &len, 4) < 4) {
			r = -EFAULT_;
			break;
		}
		if (!in && c->args[4]) {
			GATE2(NR_clock_gettime, 1, now);
			if (now[0] > end[0] || (now[0] == end[0] && now[1] >= end[1])) {
				done++;
				break;
			}
		}
	}
	return done ? (int64_t)done : r;
}
