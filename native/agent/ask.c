/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bring a call before the session's handler: put it into a slot (shared/handler.h), wait, do what the handler asks for
 * meanwhile, take its answer. Called by handle.c for a rule that says so. The program's signals are let in while the
 * thread sleeps; one that comes is kept for the end of the call, and the handler is told. Never waits for a dead
 * server, and not for ever for a living one once a signal has come.
 */
#include "handle.h"

#include "outside.h"

enum {
	FUTEX_WAIT_ = 0,
	FUTEX_WAKE_ = 1,
	FUTEX_WAKE_BITSET_ = 10,
	EOPNOTSUPP_ = 95,
	PARTS = 16,      /* buffers of a vector that are copied with the question */
	AWAITED = 50,    /* polls for a server that has not come yet */
	GRACE = 20,      /* polls for an answer after a signal */
	ROOM_MOST = 1 << 30,
};

/* One question. */
struct asking {
	struct call *call;
	struct ruling *ruling;
	struct ask *slot;
	uint32_t lease, round;
	uint64_t used; /* of the copies */
	struct {
		void *at;
		uint64_t size;
	} rooms[ASK_ROOMS];
	uint32_t room_count;
};

static void yield(void)
{
	GATE1(NR_sched_yield, 0);
}

static void wake(uint32_t *word)
{
	GATE3(NR_futex, word, FUTEX_WAKE_, 1);
}

/* One poll; the program's signals may come. */
static int64_t wait(struct call *c, uint32_t *word, uint32_t value)
{
	uint64_t timeout[2] = {0, ASK_POLL * 1000000};

	return handle_sleep(c, NR_futex, (uint64_t)word, FUTEX_WAIT_, value, (uint64_t)timeout);
}

/* ---- the server -------------------------------------------------------------------------------------------------- */

static int is_served(uint32_t round)
{
	uint32_t alive = get_acquire(&handlers->alive);

	return get_acquire(&handlers->state) == SERVER_HERE && alive && !(alive & WORD_DIED) &&
	       get_acquire(&handlers->round) == round;
}

/* It comes a moment after the program, whose first call may be sooner. */
static int await_server(struct call *c)
{
	for (int i = 0; i < AWAITED && get_acquire(&handlers->state) == SERVER_AWAITED; i++)
		if (wait(c, &handlers->state, SERVER_AWAITED) && handle_interrupted(c->thread))
			break;
	/* Nobody else need wait so long. */
	if (!handle_interrupted(c->thread))
		swap_if(&handlers->state, SERVER_AWAITED, SERVER_GONE);
	return get_acquire(&handlers->state) == SERVER_HERE;
}

/* ---- slots ------------------------------------------------------------------------------------------------------- */

static struct ask *take_slot(struct asking *q)
{
	struct thread *t = q->call->thread;
	uint32_t hint = t->asked % ASK_SLOTS;

	for (uint32_t n = 0; n < ASK_SLOTS; n++) {
		uint32_t i = (hint + n) % ASK_SLOTS;
		struct ask *s = handler_slot(handlers, i);

		raise_to(&handlers->high, i + 1);
		if (get_relaxed(&s->lease))
			continue;
		do
			q->lease = add_one(&handlers->leases);
		while (!q->lease);
		if (!swap_if(&s->lease, 0, q->lease))
			continue;
		t->asked = i;
		return s;
	}
	return 0;
}

static struct ask *lease(struct asking *q)
{
	struct ask *s;

	for (;;) {
		uint32_t seen = get_acquire(&handlers->freed);

		s = take_slot(q);
		if (s || !is_served(q->round) || handle_interrupted(q->call->thread))
			return s;
		add_one(&handlers->starved);
		wait(q->call, &handlers->freed, seen);
		__atomic_sub_fetch(&handlers->starved, 1, __ATOMIC_RELAXED);
	}
}

static void give_back(struct asking *q)
{
	put_relaxed(&q->slot->word, ASK_IDLE);
	if (!swap_if(&q->slot->lease, q->lease, 0))
		return;
	if (get_relaxed(&handlers->starved)) {
		add_one(&handlers->freed);
		wake(&handlers->freed);
	}
}

/* ---- the question ------------------------------------------------------------------------------------------------ */

/* The number of our pid namespace, so that the server knows whether it can see us by our ids. */
uint64_t ask_namespace(const struct process_self *p)
{
	static uint64_t number;
	static uint32_t whose;
	char text[32];
	int64_t n;

	if (whose == p->pid)
		return number;
	number = 0;
	n = GATE4(NR_readlinkat, -100, "/proc/self/ns/pid", text, sizeof text);
	for (int64_t i = 0; i < n && i < (int64_t)sizeof text; i++)
		if (text[i] >= '0' && text[i] <= '9')
			number = number * 10 + (uint64_t)(text[i] - '0');
	whose = p->pid;
	return number;
}

static uint64_t room_left(const struct asking *q)
{
	return ASK_INLINE - q->used;
}

static void keep(struct asking *q, int i, uint64_t len, uint64_t full)
{
	struct ask *s = q->slot;

	s->extents[i].off = (uint32_t)q->used;
	s->extents[i].len = (uint32_t)len;
	s->full[i] = full;
	q->used += (len + 7) & ~7ull;
	if (q->used > ASK_INLINE)
		q->used = ASK_INLINE;
}

static void keep_vector(struct asking *q, int i, uint64_t at, uint64_t count)
{
	uint64_t iov[PARTS][2], total = 0, want;
	uint64_t n = count < PARTS ? count : PARTS;

	if (memory_read(iov, at, 16 * n) < 16 * n)
		return;
	for (uint64_t k = 0; k < n; k++) {
		if (iov[k][1] > PACK_MAX)
			return;
		total += iov[k][1];
	}
	want = total < ASK_KEEP ? total : ASK_KEEP;
	if (want > room_left(q))
		return;
	want = memory_gather(q->slot->copies + q->used, (const uint64_t(*)[2])iov, (uint32_t)n, want);
	keep(q, i, want, count > n ? ~0ull : total); /* ~0: nobody has added it up */
}

static void copy_argument(struct asking *q, int i)
{
	struct call *c = q->call;
	const struct call_arg *arg = &c->row->args[i];
	uint64_t at = c->args[i], want;
	uint32_t deref = 0;
	struct shape shape;
	uint64_t head[7];
	int64_t n;

	if (!at || !(pack_is_pointer(arg->kind) || arg->kind >= ARG_FCNTL))
		return;
	q->slot->extents[i].len = EXTENT_BAD;
	if (arg->length == LEN_DEREF && memory_read(&deref, c->args[arg->len_arg], 4) < 4)
		return;
	shape = pack_shape(c->row, i, c->args, deref);
	switch (shape.kind) {
	case ARG_STRING:
		want = room_left(q) < PACK_STRING ? room_left(q) : PACK_STRING;
		n = memory_string((char *)q->slot->copies + q->used, at, want);
		if (n >= 0)
			keep(q, i, (uint64_t)n, (uint64_t)n);
		return;
	case ARG_SIGMASK:
		shape.len = 8;
		/* fall through */
	case ARG_IN:
	case ARG_INOUT:
		want = shape.len < ASK_KEEP ? shape.len : ASK_KEEP;
		if (want <= room_left(q) && memory_read(q->slot->copies + q->used, at, want) == want)
			keep(q, i, want, shape.len);
		return;
	case ARG_IOV_IN:
		keep_vector(q, i, at, shape.len);
		return;
	case ARG_MSG_IN:
		if (memory_read(head, at, sizeof head) == sizeof head)
			keep_vector(q, i, head[2], head[3]);
		return;
	}
}

/*
 * A thread asks about the same kind of call again and again, from the same slot. What stands there already is left
 * alone: each line of memory that is written must come over from the server's CPU, and go back there.
 */
#define SET(field, value) \
	do { \
		if ((field) != (value)) \
			(field) = (value); \
	} while (0)

static void fill(struct asking *q, uint32_t rule, uint32_t flags)
{
	struct thread *t = q->call->thread;
	struct ask *s = q->slot;

	SET(s->pid, t->process->pid);
	SET(s->tid, t->tid);
	SET(s->pids, ask_namespace(t->process));
	SET(s->cancel, 0);
	SET(s->rule, rule);
	SET(s->flags, flags);
	SET(s->nr, q->call->nr);
	SET(s->here, (uint64_t)s);
	for (int i = 0; i < CALL_ARGS; i++) {
		uint64_t arg = i < q->call->row->nargs ? q->call->args[i] : 0; /* the others are what a register held */

		SET(s->args[i], arg);
		SET(s->extents[i].off, 0);
		SET(s->extents[i].len, EXTENT_NULL);
		SET(s->full[i], 0);
	}
	for (int i = 0; i < q->call->row->nargs; i++)
		copy_argument(q, i);
	SET(s->server.cpu, get_relaxed(&handlers->server.cpu));
}

static void wake_server(void)
{
	if (!GATE6(NR_futex, &handlers->bell, FUTEX_WAKE_BITSET_, 1, 0, 0, BELL_FIRST))
		wake(&handlers->bell);
}

static void post(struct asking *q)
{
	uint32_t i = (uint32_t)(((char *)q->slot - (char *)handler_slot(handlers, 0)) / ASK_SLOT);

	SET(handlers->client.cpu, arch_cpu());
	if (get_relaxed(&q->slot->lease) != q->lease)
		return; /* we stood still for so long that it was given to another */
	/* The question before its word, the word before the bit that leads to it, the bit before the bell. */
	put_release(&q->slot->word, ASK_POSTED);
	__atomic_fetch_or(&handlers->pending[i / 64], 1ull << i % 64, __ATOMIC_ACQ_REL);
	add_one(&handlers->bell);
	store_before_load();
	if (!get_relaxed(&handlers->spinning) && get_relaxed(&handlers->asleep))
		wake_server();
}

/* ---- waiting ----------------------------------------------------------------------------------------------------- */

/* Until the word is no more `from`. 0: there is nobody to wait for, or it has been left. */
static int await(struct asking *q, uint32_t from)
{
	struct thread *t = q->call->thread;
	struct ask *s = q->slot;
	int grace = GRACE;

	for (;;) {
		enum ring_turn turn;
		int64_t r = 0;

		put_relaxed(&s->lingers, 1);
		turn = ring_linger(&s->word, from, &s->agent, &s->server, &t->asking, session, yield);
		put_relaxed(&s->lingers, 0);
		if (turn == RING_READY)
			return 1;
		if (handle_interrupted(t) && !s->cancel) {
			put_release(&s->cancel, 1);
			wake(&s->cancel);
		}
		put_relaxed(&s->agent.asleep, 1);
		store_before_load();
		if (get_acquire(&s->word) == from) {
			s->agent.slept++;
			r = wait(q->call, &s->word, from);
		}
		put_relaxed(&s->agent.asleep, 0);
		if (r != -110) /* ETIMEDOUT */
			continue;
		s->beat++;
		if (get_relaxed(&s->lease) != q->lease)
			return 0;
		if (is_served(q->round) && !(s->cancel && grace-- <= 0))
			continue;
		if (swap_if(&s->word, from, ASK_LEFT))
			return 0;
	}
}

/* ---- what a handler asks for ------------------------------------------------------------------------------------- */

static int64_t make_room(struct asking *q, uint64_t size)
{
	void *at;

	if (q->room_count >= ASK_ROOMS || !size || size > ROOM_MOST)
		return -ENOMEM_;
	at = memory_pages(size);
	if (!at)
		return -ENOMEM_;
	q->rooms[q->room_count].at = at;
	q->rooms[q->room_count++].size = size;
	return (int64_t)at;
}

/* A descriptor of the server's, opened once more in the program, or by its proxy. */
static int64_t open_here(struct asking *q, uint64_t flags)
{
	struct call open = *q->call;
	char path[64];

	memcpy(path, q->slot->moved, sizeof path);
	path[sizeof path - 1] = 0;
	if (!q->call->thread->process->channel)
		return GATE4(NR_openat, -100, path, flags, 0);
	open.nr = NR_openat;
	open.row = &call_rows[NR_openat];
	open.args[0] = (uint64_t)-100ll;
	open.args[1] = (uint64_t)path;
	open.args[2] = flags;
	open.args[3] = 0;
	return delegate_anywhere(&open);
}

static int64_t proceed(struct asking *q, uint64_t signal, int64_t *ret, int *made)
{
	uint64_t given[CALL_ARGS];

	if (q->slot->flags & (ASK_ASIDE | ASK_WATCHED))
		return -EOPNOTSUPP_;
	memcpy(given, q->slot->given, sizeof given);
	if (signal && signal < SIG_COUNT)
		q->ruling->signal = (uint32_t)signal;
	*ret = handle_changed(q->call, q->ruling, given);
	*made = 1;
	return *ret;
}

static int64_t obey(struct asking *q, int64_t *ret, int *made)
{
	struct ask *s = q->slot;
	uint64_t n = s->b < ASK_MOVED ? s->b : ASK_MOVED;

	switch (s->op) {
	case ASK_READ:
		return (int64_t)memory_read(s->moved, s->a, n);
	case ASK_STRING:
		return memory_string((char *)s->moved, s->a, ASK_MOVED);
	case ASK_WRITE:
		return (int64_t)memory_write(s->a, s->moved, n);
	case ASK_ROOM:
		return make_room(q, s->a);
	case ASK_PROCEED:
		return proceed(q, s->a, ret, made);
	case ASK_OPEN:
		return open_here(q, s->a);
	}
	return -EINVAL_;
}

static enum asked answered(const struct asking *q, int64_t *ret, int made)
{
	const struct thread *t = q->call->thread;
	int64_t given = q->slot->ret;

	switch (q->slot->answer) {
	case ANSWER_RETURN:
		/* The handler was told of an interrupted call as of any other, and passes it on. */
		if (!(made && *ret == -ERESTART_ && given == -EINTR_ && t->restarts))
			*ret = given;
		return ASKED_RETURN;
	case ANSWER_KILL:
		*ret = given > 0 && given < SIG_COUNT ? given : SIGKILL_;
		return ASKED_KILL;
	}
	return ASKED_GO_ON;
}

static enum asked exchange(struct asking *q, int64_t *ret, int *made)
{
	struct ask *s = q->slot;
	uint32_t from = ASK_POSTED;

	while (await(q, from)) {
		uint32_t word = get_acquire(&s->word);
		enum asked result;
		int64_t done;

		if (word == ASK_ANSWERED) {
			result = answered(q, ret, *made);
			give_back(q);
			return result;
		}
		if (word != ASK_OP) /* taken for dead: we come from another pid namespace, and stood still for long */
			return ASKED_NOBODY;
		done = obey(q, ret, made);
		s->ret = done;
		/* What it did and says is written before the word. */
		if (!swap_if(&s->word, ASK_OP, ASK_DONE))
			return ASKED_NOBODY;
		from = ASK_DONE;
		store_before_load();
		if (get_relaxed(&s->server.asleep)) {
			ring_woke(&s->agent, session);
			wake(&s->word);
		}
	}
	if (!is_served(q->round)) {
		if (!is_served(get_acquire(&handlers->round)))
			give_back(q); /* nobody else will; a new server may be at it already, and does */
		return ASKED_NOBODY;
	}
	if (*made)
		return ASKED_GO_ON;
	*ret = q->call->thread->restarts ? -ERESTART_ : -EINTR_;
	return ASKED_RETURN;
}

/* An exec that the launcher will not see: whoever waits for its result is told beforehand that there will be none. */
void handle_leaving(struct thread *t)
{
	if (swap_if(&t->question->word, ASK_OP, ASK_EXECED))
		wake(&t->question->word);
}

enum asked ask_handler(struct call *c, struct ruling *r, uint32_t flags, int64_t *ret, int *made)
{
	struct asking q = {.call = c, .ruling = r};
	enum asked result;

	*made = 0;
	if (!await_server(c))
		return ASKED_NOBODY;
	q.round = get_acquire(&handlers->round);
	if (!is_served(q.round))
		return ASKED_NOBODY;
	q.slot = lease(&q);
	if (!q.slot && handle_interrupted(c->thread)) {
		*ret = -ERESTART_;
		return ASKED_RETURN;
	}
	if (!q.slot)
		return ASKED_NOBODY;
	fill(&q, r->id, flags);
	post(&q);
	c->thread->question = q.slot;
	result = exchange(&q, ret, made);
	c->thread->question = 0;
	for (uint32_t i = 0; i < q.room_count; i++)
		GATE2(NR_munmap, q.rooms[i].at, q.rooms[i].size);
	return result;
}
