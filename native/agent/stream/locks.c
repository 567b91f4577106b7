/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks that outlive their owners: in memory that others map, too, and may have been written by somebody who never was
 * one. A lock is nobody's if its owner is gone, or we, who have none, or sleeps, which nobody does with a lock. What a
 * dead one was about to do has not happened.
 *
 * An owner who was stopped is waited for as the kernel would let us wait for one who does not read: in a way that
 * signals end, and not at all where the program would not wait. One who runs for a second and does not come to an end
 * has not got it: that ring is not as it should be, and the connection ends.
 */
#include "stream.h"

enum {
	FUTEX_WAIT_ = 0,
	SPINS = 64,
	GIVES_WAY = 8,     /* session.budget, some 0.4 ms */
	ASLEEP = 16,       /* looks, one a millisecond */
	LONG = 10000,      /* the same */
	SHORT = 400,       /* session.budget, some 20 ms */
	RUNS_MOST = 100,   /* hundredths of a second */
	USED_FIELD = 14,   /* of /proc/PID/stat: and the next one */
	EPIPE_ = 32, ECONNRESET_ = 104,
};

enum found { IS_BUSY, IS_STOPPED, IS_GONE, IS_WRONG };

/* What was seen of the owner. */
struct looks {
	uint32_t owner, asleep, n;
	uint64_t used;
};

void stream_yield(void)
{
	GATE1(NR_sched_yield, 0);
}

/* As /proc has it; 0: there is no such thread. `used`: its time in hundredths of a second. */
static char state_of(uint32_t tid, uint64_t *used)
{
	char text[512], *p = start_append(text, "/proc/");
	int64_t fd, n, i;
	char state;

	*used = 0;
	p = start_decimal(p, tid);
	*start_append(p, "/stat") = 0;
	fd = GATE4(NR_openat, -100, text, 02000000, 0); /* O_CLOEXEC */
	if (fd < 0)
		return life_exists(tid) ? '?' : 0;
	n = GATE3(NR_read, fd, text, sizeof text);
	GATE1(NR_close, fd);
	for (i = n - 3; i > 0 && text[i] != ')'; i--) /* behind the name, which may be anything */
		;
	if (i <= 0)
		return '?';
	state = text[i + 2];
	for (int field = 2; ++i < n && field <= USED_FIELD + 1;) {
		uint64_t value = 0;

		if (text[i] != ' ')
			continue;
		field++;
		for (int64_t k = i + 1; field >= USED_FIELD && k < n && text[k] >= '0' && text[k] <= '9'; k++)
			value = value * 10 + (uint64_t)(text[k] - '0');
		if (field == USED_FIELD || field == USED_FIELD + 1)
			*used += value;
	}
	return state;
}

static enum found look_at(uint32_t owner, struct looks *l)
{
	uint64_t used;
	char state = state_of(owner, &used);

	if (!state || state == 'Z' || state == 'X')
		return IS_GONE;
	if (state == 'T' || state == 't')
		return IS_STOPPED;
	if (owner != l->owner) {
		l->owner = owner;
		l->asleep = 0;
		l->used = used;
	}
	l->asleep = state == 'S' ? l->asleep + 1 : 0;
	if (l->asleep == ASLEEP)
		return IS_GONE;
	/* One who gets no CPU is no worse than one who was stopped. */
	return used - l->used > RUNS_MOST || ++l->n > LONG ? IS_WRONG : IS_BUSY;
}

/* The program's own call, as far as signals are concerned. */
static int64_t wait_as(struct call *c, uint32_t *word, uint32_t owner)
{
	uint64_t slice[2] = {0, 1000000};
	const uint64_t args[CALL_ARGS] = {(uint64_t)word, FUTEX_WAIT_, owner, (uint64_t)slice};
	struct call wait = *c;
	int64_t r;

	if (c->thread->kept_signal || c->thread->put_off)
		return stream_interrupted(c);
	wait.nr = NR_futex;
	wait.row = &call_rows[NR_futex];
	memcpy(wait.args, args, sizeof args);
	r = dispatch_kernel(&wait);
	return r == -EINTR_ || r == -ERESTART_ ? stream_interrupted(c) : 0;
}

static uint32_t own_tid(void)
{
	const struct thread *t = thread_here();

	return t ? t->tid : process_main.pid;
}

/* 1: it is ours. */
static int take(uint32_t *word, uint32_t self)
{
	uint64_t until = arch_ticks() + GIVES_WAY * session->budget;

	for (uint32_t n = 0; n < 2 * SPINS || arch_ticks() < until; n++) {
		uint32_t owner = get_relaxed(word);

		if ((!owner || owner == self) && swap_if(word, owner, self))
			return 1;
		if (n < SPINS)
			arch_relax();
		else
			stream_yield();
	}
	return 0;
}

static int64_t claim_slowly(struct call *c, struct stream *s, uint32_t *word, enum claim how)
{
	uint32_t self = own_tid();
	const struct thread *t = thread_here();
	uint64_t begun = arch_ticks();
	struct looks l = {0};

	while (!take(word, self)) {
		uint32_t owner = get_relaxed(word);
		int is_long = arch_ticks() - begun > SHORT * session->budget;
		enum found found = owner ? look_at(owner, &l) : IS_BUSY;
		int64_t r = 0;

		if (found == IS_GONE) {
			swap_if(word, owner, 0);
			continue;
		}
		if (found == IS_WRONG && how != CLAIM_OWN) {
			put_release(&s->is_damaged, 1);
			return -EIO_;
		}
		if (found == IS_WRONG)
			swap_if(word, owner, 0);
		if (found == IS_STOPPED && (how == CLAIM_NOW || (how == CLAIM_SHORT && is_long)))
			return -EAGAIN_;
		if (how == CLAIM_WAITS)
			r = wait_as(c, word, owner);
		else if (how == CLAIM_LONG && t && (t->put_off || t->kept_signal) && is_long)
			r = -EINTR_;
		else
			life_sleep(word, owner, 1);
		if (r)
			return r;
	}
	return 0;
}

int64_t stream_claim(struct call *c, struct stream *s, uint32_t *word, enum claim how)
{
	if (swap_if(word, 0, own_tid()))
		return 0;
	return claim_slowly(c, s, word, how);
}

void stream_lock(uint32_t *word)
{
	stream_claim(0, 0, word, CLAIM_OWN);
}

void stream_unlock(uint32_t *word)
{
	put_release(word, 0);
}

int64_t stream_damaged(struct stream *s, int32_t fd)
{
	if (stream_is_pipe(s))
		return -EIO_;
	GATE2(NR_shutdown, fd, 2); /* whoever waits in the kernel shall know */
	return -ECONNRESET_;
}
