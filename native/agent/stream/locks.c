/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks that outlive their owners: in memory that others map, too, and may have been written by somebody who never was
 * one. A lock is nobody's if its owner is gone, or we, who have none, or sleeps for longer than anybody does with a
 * lock. What a dead one was about to do has not happened.
 *
 * An owner who was stopped is waited for as the kernel would let us wait for one who does not read: in a way that
 * signals and time limits end, and not at all where the program would not wait. One who runs for a second and does not
 * come to an end has not got it: that ring is not as it should be, and the connection ends.
 */
#include "stream.h"

enum {
	FUTEX_WAIT_ = 0,
	SPINS = 64,
	GIVES_WAY = 8,     /* session.budget, some 0.4 ms */
	ASLEEP = 80000,    /* session.budget, some 4 s: two claims of CLAIM_LEAVES, and more */
	LONG = 10000,      /* looks, one a millisecond */
	SOON = 400,        /* session.budget, some 20 ms */
	MOST = 20000,      /* the same, a second */
	SOL_SOCKET_ = 1, SO_RCVTIMEO_ = 20,
	RUNS_MOST = 100,   /* hundredths of a second */
	USED_FIELD = 14,   /* of /proc/PID/stat: and the next one */
	ECONNRESET_ = 104,
};

enum found { IS_BUSY, IS_STOPPED, IS_GONE, IS_WRONG };

/* What was seen of the owner. */
struct looks {
	uint32_t owner, n;
	uint64_t used, awake; /* in ticks: when it did not sleep */
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
	p = start_decimal(start_append(p, "/task/"), tid); /* its own time, not its process's */
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

/* By its cgroup: then it sleeps without being in a call. */
static int is_frozen(uint32_t tid)
{
	char text[64], *p = start_append(text, "/proc/");
	int64_t fd, n;

	p = start_decimal(p, tid);
	p = start_decimal(start_append(p, "/task/"), tid);
	*start_append(p, "/syscall") = 0;
	fd = GATE4(NR_openat, -100, text, 02000000, 0); /* O_CLOEXEC */
	if (fd < 0)
		return 0;
	n = GATE3(NR_read, fd, text, 2);
	GATE1(NR_close, fd);
	return n == 2 && text[0] == '-' && text[1] == '1';
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
		l->used = used;
		l->awake = arch_ticks();
	}
	if (state == '?') /* nobody says */
		return IS_BUSY;
	if (state != 'S')
		l->awake = arch_ticks();
	else if (is_frozen(owner))
		return IS_STOPPED;
	else if (arch_ticks() - l->awake > ASLEEP * session->budget)
		return IS_GONE;
	/* One who gets no CPU is no worse than one who was stopped. */
	return used - l->used > RUNS_MOST || ++l->n > LONG ? IS_WRONG : IS_BUSY;
}

/* The program's own call, as far as signals are concerned. */
static int64_t wait_as(struct call *c, uint32_t *word, uint32_t owner, uint32_t ms)
{
	uint64_t slice[2] = {0, ms * 1000000ull};
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

static int try_once(uint32_t *word, uint32_t self)
{
	uint32_t owner = get_relaxed(word);

	return (!owner || owner == self) && swap_if(word, owner, self);
}

/* 1: it is ours. */
static int take(uint32_t *word, uint32_t self)
{
	uint64_t until = arch_ticks() + GIVES_WAY * session->budget;

	for (uint32_t n = 0; n < 2 * SPINS || arch_ticks() < until; n++) {
		if (try_once(word, self))
			return 1;
		if (n < SPINS)
			arch_relax();
		else
			stream_yield();
	}
	return 0;
}

/* SO_RCVTIMEO ends a read that waits; who has a limit for what he sends has no ring. */
static int is_over(const struct call *c, const struct stream *s, const uint32_t *word, uint64_t begun)
{
	uint64_t limit[2] = {0, 0};
	uint32_t len = sizeof limit;

	if (stream_is_pipe(s) || word != &stream_in(s)->read_lock ||
	    GATE6(NR_getsockopt, c->args[0], SOL_SOCKET_, SO_RCVTIMEO_, limit, &len, 0))
		return 0;
	return (limit[0] || limit[1]) && stream_now() - begun >= limit[0] * 1000000000 + limit[1] * 1000;
}

/* That the owner was stopped, and somebody cannot wait for him, or not any more. */
static int64_t given_up(enum claim how, enum found found, uint64_t since)
{
	if (found != IS_STOPPED)
		return 0;
	if (how == CLAIM_NOW)
		return -EAGAIN_;
	return how == CLAIM_LEAVES && since > MOST * session->budget ? -EIO_ : 0;
}

static int64_t claim_slowly(struct call *c, struct stream *s, uint32_t *word, enum claim how)
{
	uint32_t self = own_tid();
	uint64_t begun = arch_ticks(), begun_at = how == CLAIM_WAITS ? stream_now() : 0;
	struct looks l = {0};
	int64_t r = 0;

	for (int is_taken = take(word, self); !is_taken; is_taken = try_once(word, self)) {
		uint32_t owner = get_relaxed(word), ms = arch_ticks() - begun > SOON * session->budget ? 10 : 1;
		enum found found;

		if (!owner)
			continue;
		found = look_at(owner, &l);
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
		r = given_up(how, found, arch_ticks() - begun);
		if (!r && how == CLAIM_WAITS && is_over(c, s, word, begun_at))
			r = -EAGAIN_;
		else if (!r && how == CLAIM_WAITS)
			r = wait_as(c, word, owner, ms);
		else if (!r)
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
	if (how == CLAIM_TRY)
		return take(word, own_tid()) ? 0 : -EAGAIN_;
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
