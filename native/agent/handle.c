/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that a rule may concern: dispatch.c comes here when the session has rules for the call's number. The rule that
 * fits is carried out: an answer at once, a delay, changed arguments, a question to the session's handler (ask.c); or
 * nothing, and the call goes its normal route. A call that a signal keeps from being made is made again by the program,
 * as after a restart of the kernel's, and then neither delayed nor asked for a second time.
 */
#include "handle.h"

enum { REFRESH_TRIES = 10000 };

static const uint32_t no_epoch;
struct handlers *handlers;
const uint32_t *handle_epoch = &no_epoch;
uint32_t handle_seen;

void handle_setup(void)
{
	uint64_t at = session ? session->handlers_at : 0;

	if (!at || at % 4096 || at > session->size || session->size - at < HANDLERS_SIZE)
		return;
	handlers = (struct handlers *)((char *)session + at);
	handle_epoch = &session->rules_epoch;
}

int handle_has_rules(uint64_t nr)
{
	uint32_t epoch = get_acquire(handle_epoch);

	return epoch && nr < CALL_LIMIT && handler_rules(handlers, epoch)->calls[nr].len;
}

int handle_is_there(void)
{
	return handlers != 0;
}

static uint32_t refreshing;

/*
 * entry.S completes no call by itself that has a rule. The table is as the rules want it before it is said to be; one
 * thread at a time writes it, and who finds another one at it looks his own call up and leaves the rest for later.
 */
static void refresh(void)
{
	uint32_t epoch = get_acquire(handle_epoch);

	dispatch_ways();
	put_release(&handle_seen, epoch);
	put_release(&refreshing, 0);
}

void handle_refresh(void)
{
	if (swap_if(&refreshing, 0, 1))
		refresh();
}

/*
 * Something else that the table rests on has changed, and holds when this returns. Whoever is at the table for longer
 * than anybody should be was killed there, with a memory that a child of vfork has left to its parent.
 */
void handle_table_changed(void)
{
	for (int tries = 0; !swap_if(&refreshing, 0, 1) && tries < REFRESH_TRIES; tries++)
		GATE1(NR_sched_yield, 0);
	refresh();
}

/* The child of a fork: it has its own counters, and no other thread that could be at the table. */
void handle_forked(void)
{
	refreshing = 0;
	rules_forked();
	names_forked();
}

int handle_interrupted(const struct thread *t)
{
	return t->kept_signal || t->put_off;
}

/* Wait in the kernel with the program's signals let in, until one has come. */
int64_t handle_sleep(struct call *c, uint64_t nr, uint64_t a, uint64_t b, uint64_t d, uint64_t e)
{
	struct thread *t = c->thread;
	struct gate_wait w = {.mask = t->mask & ~SIG_BIT(SIGSYS_), .full = signal_full(t), .nr = nr,
			      .args = {a, b, d, e}};

	/* What follows a signal's frame is the program as it was interrupted: no further one may come now. */
	if (handle_interrupted(t) || c->nr == NR_rt_sigreturn)
		return GATE4(nr, a, b, d, e);
	return c->uc ? gate_wait(&w) : gate_fast(nr, w.args, &t->put_off);
}

int64_t handle_make(struct call *c)
{
	int executes = c->nr == NR_execve || c->nr == NR_execveat;

	c->route = dispatch_route(c->thread->process, c->nr);
	/* Only one signal can be kept, and a wait would let in another. */
	if (c->uc && handle_interrupted(c->thread) && (executes || c->row->flags & CALL_BLOCKS))
		return -ERESTART_;
	return executes ? exec_call(c) : dispatch_normal(c);
}

/* Not the route's work: it was counted there when the call came in. */
static void decided(struct call *c)
{
	if (c->route != ROUTE_HANDLER)
		record_recount(c->thread, c->route, ROUTE_HANDLER);
	c->route = ROUTE_HANDLER;
}

/* ---- calls that come a second time ------------------------------------------------------------------------------- */

static uint64_t sum_of(const struct call *c)
{
	uint64_t sum = c->nr + 1;

	for (int i = 0; i < CALL_ARGS; i++)
		sum = (sum << 7 | sum >> 57) ^ c->args[i];
	return sum;
}

static void grant(const struct call *c)
{
	c->thread->granted_nr = (uint32_t)c->nr + 1;
	c->thread->granted_sum = sum_of(c);
}

static int is_granted(const struct call *c)
{
	struct thread *t = c->thread;

	if (t->granted_nr != (uint32_t)c->nr + 1 || t->granted_sum != sum_of(c))
		return 0;
	t->granted_nr = 0;
	return 1;
}

/* ---- delays ------------------------------------------------------------------------------------------------------ */

static uint64_t now_ns(void)
{
	uint64_t now[2] = {0, 0};

	GATE2(NR_clock_gettime, 1, now);
	return now[0] * 1000000000 + now[1];
}

/* Until `end`, or a signal: 0. */
static int sleep_until(struct call *c, uint64_t end)
{
	for (uint64_t now = now_ns(); now < end; now = now_ns()) {
		uint64_t left[2] = {(end - now) / 1000000000, (end - now) % 1000000000};

		if (handle_interrupted(c->thread))
			return 0;
		handle_sleep(c, NR_nanosleep, (uint64_t)left, 0, 0, 0);
	}
	return 1;
}

/* What is left of a delay that a signal has cut short is made up for when the call comes again. */
static int delay_before(struct call *c, uint64_t ns)
{
	struct thread *t = c->thread;
	uint64_t end = t->delayed_nr == (uint32_t)c->nr + 1 ? t->delayed_until : now_ns() + ns;

	t->delayed_nr = 0;
	if (sleep_until(c, end))
		return 1;
	t->delayed_nr = (uint32_t)c->nr + 1;
	t->delayed_until = end;
	return 0;
}

/* ---- changed arguments ------------------------------------------------------------------------------------------- */

/* A copy of the beginning of a vector that moves `cut` bytes; 0: as it is. */
static uint32_t cut_vector(uint64_t at, uint64_t count, uint64_t cut, uint64_t (*iov)[2])
{
	uint32_t n = count < RULE_CUT_PARTS ? (uint32_t)count : RULE_CUT_PARTS;

	if (memory_read(iov, at, 16ull * n) < 16ull * n)
		return 0;
	for (uint32_t i = 0; i < n; i++) {
		if (iov[i][1] >= cut) {
			iov[i][1] = cut;
			return i + 1;
		}
		cut -= iov[i][1];
	}
	return 0;
}

/* What the changed call's arguments point to meanwhile. */
struct changed {
	uint64_t iov[RULE_CUT_PARTS][2];
	uint64_t message[7];
};

static void cut_short(struct call *c, uint64_t cut, struct changed *m)
{
	for (int i = 0; i < c->row->nargs; i++) {
		const struct call_arg *a = &c->row->args[i];
		uint32_t n;

		switch (a->kind) {
		case ARG_IN:
		case ARG_OUT:
			if (a->length != LEN_ARG || a->size != 1 || a->flags & ARG_ADDRESS)
				continue;
			if (c->args[a->len_arg] > cut)
				c->args[a->len_arg] = cut;
			return;
		case ARG_IOV_IN:
		case ARG_IOV_OUT:
			n = cut_vector(c->args[i], c->args[a->len_arg], cut, m->iov);
			if (n) {
				c->args[i] = (uint64_t)m->iov;
				c->args[a->len_arg] = n;
			}
			return;
		case ARG_MSG_IN:
			if (memory_read(m->message, c->args[i], sizeof m->message) < sizeof m->message)
				return;
			n = cut_vector(m->message[2], m->message[3], cut, m->iov);
			if (n) {
				m->message[2] = (uint64_t)m->iov;
				m->message[3] = n;
				c->args[i] = (uint64_t)m->message;
			}
			return;
		}
	}
}

static void change_address(struct call *c, const struct ruling *r, struct changed *m)
{
	const struct call_arg *a = &c->row->args[r->address_arg];

	if (a->kind == ARG_IN) {
		c->args[r->address_arg] = (uint64_t)r->address;
		c->args[a->len_arg] = r->address_len;
		return;
	}
	if (c->args[r->address_arg] != (uint64_t)m->message) {
		if (memory_read(m->message, c->args[r->address_arg], sizeof m->message) < sizeof m->message)
			return;
		c->args[r->address_arg] = (uint64_t)m->message;
	}
	m->message[0] = (uint64_t)r->address;
	m->message[1] = r->address_len;
}

int64_t handle_changed(struct call *c, struct ruling *r, const uint64_t *given)
{
	struct call other = *c;
	struct changed m;
	int64_t ret;

	if (r->too_long)
		return -ENAMETOOLONG_;
	if (given)
		memcpy(other.args, given, sizeof other.args);
	for (int i = 0; i < 2; i++)
		if (r->path_len[i] && other.args[r->path_arg[i]] == c->args[r->path_arg[i]])
			other.args[r->path_arg[i]] = (uint64_t)r->path[i];
	if (r->has_cut)
		cut_short(&other, r->cut, &m);
	if (r->address_len && other.args[r->address_arg] == c->args[r->address_arg])
		change_address(&other, r, &m);
	ret = r->signal ? handle_during(&other, (int)r->signal) : handle_make(&other);
	r->signal = 0;
	c->route = other.route;
	c->record = other.record; /* that of an exec is written by now */
	c->replaces = other.replaces;
	return ret;
}

/* ---- the rule ---------------------------------------------------------------------------------------------------- */

static int64_t ask(struct call *c, struct ruling *r)
{
	int64_t ret = 0;
	int made = 0;

	switch (ask_handler(c, r, 0, &ret, &made)) {
	case ASKED_NOBODY:
		if (made)
			return ret;
		if (!r->deny)
			return handle_changed(c, r, 0);
		decided(c);
		return -EPERM_;
	case ASKED_GO_ON:
		if (made)
			return ret;
		ret = handle_changed(c, r, 0);
		if (ret == -ERESTART_)
			grant(c);
		return ret;
	case ASKED_RETURN:
		if (ret != -ERESTART_)
			decided(c);
		return ret;
	case ASKED_KILL:
		decided(c);
		GATE2(NR_kill, GATE1(NR_getpid, 0), ret);
	}
	return -EINTR_;
}

int64_t handle_call(struct call *c)
{
	struct ruling r;
	int64_t ret;

	if (is_granted(c))
		return handle_make(c);
	rules_find(c, &r);
	if (!r.any)
		return handle_make(c);
	if (r.before && !delay_before(c, r.before))
		return -ERESTART_;
	switch (r.verdict) {
	case VERDICT_RETURN:
		decided(c);
		ret = r.value;
		break;
	case VERDICT_KILL:
		decided(c);
		GATE2(NR_kill, GATE1(NR_getpid, 0), r.value);
		ret = -EINTR_;
		break;
	case VERDICT_ASK:
		ret = ask(c, &r);
		break;
	default:
		ret = handle_changed(c, &r, 0);
	}
	if (ret == -ERESTART_)
		return ret;
	rules_tally(&r, ret);
	if (r.behind)
		sleep_until(c, now_ns() + r.behind);
	/* There was no call during which it could come. */
	if (r.signal)
		signal_raise((int)r.signal);
	return ret;
}

/*
 * A call that cannot be made from here: fork and its like come out in the program's own context, exit does not come
 * back. 1: it is decided, with *ret.
 */
int handle_before(struct call *c, int64_t *ret)
{
	int watched = c->row->flags & CALL_WATCHED, made = 0;
	struct ruling r;

	if (is_granted(c))
		return 0;
	rules_find(c, &r);
	if (r.before && !delay_before(c, r.before) && !watched)
		return *ret = -ERESTART_, 1;
	if (r.signal)
		signal_raise((int)r.signal);
	*ret = r.value;
	switch (r.verdict) {
	case VERDICT_RETURN:
		if (!watched)
			decided(c);
		return !watched;
	case VERDICT_KILL:
		break;
	case VERDICT_ASK:
		switch (ask_handler(c, &r, watched ? ASK_WATCHED : ASK_ASIDE, ret, &made)) {
		case ASKED_NOBODY:
			if (watched || !r.deny)
				goto go_on;
			*ret = -EPERM_;
			decided(c);
			return 1;
		case ASKED_RETURN:
			if (!watched && *ret != -ERESTART_)
				decided(c);
			return !watched;
		case ASKED_GO_ON:
			goto go_on;
		case ASKED_KILL:
			break;
		}
		break;
	default:
		goto go_on;
	}
	GATE2(NR_kill, GATE1(NR_getpid, 0), *ret);
	if (!watched)
		decided(c);
	*ret = -EINTR_;
	return !watched;
go_on:
	/* A signal that is kept is for the parent, and is delivered before there is a child. */
	if (watched || !handle_interrupted(c->thread))
		return 0;
	grant(c);
	*ret = -ERESTART_;
	return 1;
}
