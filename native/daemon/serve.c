/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handlers' side of a session: threads that take questions, have them answered, and give way to one another. One of
 * them at a time looks out for the next question (spinning, then asleep on the bell); before it turns to a question it
 * makes sure that another is there to look out, and only then is a handler that blocks its caller's business alone. The
 * first thread looks after the dead. What the slots say is the programs' word: it is copied, checked, then used.
 */
#define _GNU_SOURCE
#include "serve.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "launch.h"
#include "ring.h"

enum { THREADS_MOST = 512, STRANGER_POLLS = 30 /* without a beat, a thread of another pid namespace is dead */ };

struct server {
	struct session *session;
	struct handlers *handlers;
	struct server_work work;
	pthread_t guard;
	uint32_t most, count, idle, working, stopping, ready;
	uint64_t pids; /* number of our own pid namespace */
	uint32_t busy[ASK_SLOTS]; /* 1: one of us is at it */
	struct {
		uint32_t lease, beat, polls, idle_lease, idle_polls;
	} seen[ASK_SLOTS]; /* the guard's */
};

static void yield(void)
{
	sched_yield();
}

static void wake(uint32_t *word, int n)
{
	syscall(SYS_futex, word, FUTEX_WAKE, n, NULL, NULL, 0);
}

/* ---- what a handler may ask of the program ---------------------------------------------------------------------- */

/* The slot is ours again: its thread, or whoever had to speak for it, is gone. */
static void take_back(struct server *v, uint32_t i)
{
	struct ask *s = handler_slot(v->handlers, i);

	put_relaxed(&s->word, ASK_IDLE);
	put_release(&s->lease, 0);
	if (get_relaxed(&v->handlers->starved)) {
		add_one(&v->handlers->freed);
		wake(&v->handlers->freed, 1);
	}
}

static void speak(struct ask *s)
{
	store_before_load();
	if (get_relaxed(&s->agent.asleep)) {
		s->server.woke++;
		wake(&s->word, 1);
	}
}

int64_t serve_ask(struct question *q, uint32_t op, uint64_t a, uint64_t b)
{
	struct ask *s = q->slot;
	struct patience p = {.credit = 2};
	uint32_t word;

	if (q->gone || q->answered)
		return -ESRCH;
	s->op = op;
	s->a = a;
	s->b = b;
	/* What is asked stands there before the word does. */
	if (!swap_if(&s->word, q->turn, ASK_OP)) {
		q->gone = 1;
		return -ESRCH;
	}
	speak(s);
	for (;;) {
		word = get_acquire(&s->word);
		if (word != ASK_OP)
			break;
		if (ring_linger(&s->word, ASK_OP, &s->server, &s->agent, &p, q->server->session, yield) == RING_READY)
			continue;
		put_relaxed(&s->server.asleep, 1);
		store_before_load();
		if (get_acquire(&s->word) == ASK_OP) {
			s->server.slept++;
			futex_sleep(&s->word, ASK_OP, 1000);
		}
		put_relaxed(&s->server.asleep, 0);
	}
	q->turn = ASK_DONE;
	if (word == ASK_DONE)
		return s->ret;
	q->gone = 1;
	return op == ASK_PROCEED && word == ASK_EXECED ? 0 : -ESRCH;
}

void serve_answer(struct question *q, uint32_t answer, int64_t value)
{
	struct ask *s = q->slot;

	if (q->answered)
		return;
	q->answered = 1;
	s->answer = answer;
	s->ret = value;
	if (q->gone || !swap_if(&s->word, q->turn, ASK_ANSWERED)) {
		take_back(q->server, q->index);
		return;
	}
	/* From here on the slot may be another call's; a wake too many harms nobody. */
	speak(s);
}

int64_t serve_read(struct question *q, uint64_t addr, void *to, uint64_t n)
{
	uint64_t done = 0;

	while (done < n) {
		uint64_t part = n - done < ASK_MOVED ? n - done : ASK_MOVED;
		int64_t r = serve_ask(q, ASK_READ, addr + done, part);

		if (r < 0)
			return r;
		if ((uint64_t)r > part)
			return -EIO;
		memcpy((char *)to + done, q->slot->moved, (size_t)r);
		done += (uint64_t)r;
		if ((uint64_t)r < part)
			break;
	}
	return (int64_t)done;
}

int64_t serve_write(struct question *q, uint64_t addr, const void *from, uint64_t n)
{
	uint64_t done = 0;

	while (done < n) {
		uint64_t part = n - done < ASK_MOVED ? n - done : ASK_MOVED;
		int64_t r;

		if (q->gone || q->answered)
			return -ESRCH;
		memcpy(q->slot->moved, (const char *)from + done, part);
		r = serve_ask(q, ASK_WRITE, addr + done, part);
		if (r < 0)
			return r;
		if ((uint64_t)r > part)
			return -EIO;
		done += (uint64_t)r;
		if ((uint64_t)r < part)
			break;
	}
	return (int64_t)done;
}

int64_t serve_string(struct question *q, uint64_t addr, char *to, uint64_t room)
{
	int64_t r = serve_ask(q, ASK_STRING, addr, 0);

	if (r < 0)
		return r;
	if ((uint64_t)r >= room || r >= ASK_MOVED)
		return -ENAMETOOLONG;
	memcpy(to, q->slot->moved, (size_t)r);
	return r;
}

int64_t serve_place(struct question *q, const void *from, uint64_t n)
{
	const uint64_t least = 65536, step = (n + 15) & ~15ull;
	uint64_t at;
	int64_t r;

	if (q->room_left < step) {
		uint64_t size = n < least ? least : (n + 4095) & ~4095ull;


		r = serve_ask(q, ASK_ROOM, size, 0);
		if (r < 0 && r > -4096)
			return r;
		q->room = (uint64_t)r;
		q->room_left = size;
	}
	at = q->room;
	q->room += step;
	q->room_left -= step;
	/* The rest of the slot's own room needs no help. */
	if (at - (q->here + offsetof(struct ask, copies)) < ASK_INLINE) {
		if (q->gone || q->answered)
			return -ESRCH;
		memcpy(q->slot->copies + (at - q->here - offsetof(struct ask, copies)), from, n);
		return (int64_t)at;
	}
	r = serve_write(q, at, from, n);
	if (r != (int64_t)n)
		return r < 0 ? r : -EFAULT;
	return (int64_t)at;
}

int64_t serve_proceed(struct question *q, const uint64_t *args)
{
	int64_t r;

	if (q->gone || q->answered)
		return -ESRCH;
	memcpy(q->slot->given, args, sizeof q->slot->given);
	r = serve_ask(q, ASK_PROCEED, 0, 0);
	if (r == -512) /* a restart, which only the program's thread can bring about */
		r = -EINTR;
	q->made = 1;
	q->result = r;
	return r;
}

int64_t serve_open(struct question *q, int fd, int flags)
{
	if (q->gone || q->answered)
		return -ESRCH;
	snprintf((char *)q->slot->moved, 64, "/proc/%d/fd/%d", (int)getpid(), fd);
	return serve_ask(q, ASK_OPEN, (uint32_t)flags, 0);
}

int64_t serve_copy(const struct question *q, int i, const uint8_t **from)
{
	struct extent e = q->extents[i];

	if (e.len > ASK_INLINE || e.off > ASK_INLINE - e.len)
		return -1;
	*from = q->slot->copies + e.off;
	return e.len;
}

int serve_is_interrupted(const struct question *q)
{
	uint32_t word;

	if (q->gone || q->answered)
		return 1;
	word = get_acquire(&q->slot->word);
	return get_acquire(&q->slot->cancel) || (word != q->turn && word != ASK_OP);
}

int serve_wait(struct question *q, double seconds)
{
	uint64_t end = clock_ns(CLOCK_MONOTONIC) + (uint64_t)(seconds < 0 ? 0 : seconds > 1e9 ? 1e18 : seconds * 1e9);

	for (;;) {
		uint64_t now = clock_ns(CLOCK_MONOTONIC), left;

		if (serve_is_interrupted(q))
			return 1;
		if (now >= end)
			return 0;
		left = end - now;
		if (left > 1000000000) {
			futex_sleep(&q->slot->cancel, 0, 1000);
		} else {
			struct timespec t = {0, (long)(left < 999999999 ? left : 999999999)};

			syscall(SYS_futex, &q->slot->cancel, FUTEX_WAIT, 0, &t, NULL, 0);
		}
	}
}

int serve_denies(const struct question *q)
{
	uint32_t epoch = get_acquire(&q->server->session->rules_epoch);

	return !!(handler_rules(q->server->handlers, epoch)->flags & RULES_DENY);
}

/* ---- taking questions -------------------------------------------------------------------------------------------- */

static void copy_question(struct server *v, uint32_t i, struct question *q)
{
	const struct ask *s = handler_slot(v->handlers, i);
	uint32_t used = 0;

	q->server = v;
	q->slot = handler_slot(v->handlers, i);
	q->index = i;
	q->turn = ASK_POSTED;
	q->pid = s->pid;
	q->tid = s->tid;
	q->rule = s->rule;
	q->flags = s->flags;
	q->nr = s->nr;
	memcpy(q->args, s->args, sizeof q->args);
	q->here = s->here;
	memcpy(q->extents, s->extents, sizeof q->extents);
	memcpy(q->full, s->full, sizeof q->full);
	q->result = 0;
	q->made = q->gone = q->answered = 0;
	for (int k = 0; k < CALL_ARGS; k++)
		if (q->extents[k].len <= ASK_INLINE && q->extents[k].off <= ASK_INLINE - q->extents[k].len)
			used = q->extents[k].off + q->extents[k].len > used ? q->extents[k].off + q->extents[k].len : used;
	used = (used + 15) & ~15u;
	q->room = q->here + offsetof(struct ask, copies) + used;
	q->room_left = ASK_INLINE - (used < ASK_INLINE ? used : ASK_INLINE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* A question's slot, which from now on is ours; ASK_SLOTS: there is none. */
static uint32_t take(struct server *v)
{
	uint32_t high = get_acquire(&v->handlers->high);

	for (uint32_t w = 0; w < ASK_SLOTS / 64 && w * 64 < high; w++) {
		uint64_t *word = &v->handlers->pending[w], bits = __atomic_load_n(word, __ATOMIC_ACQUIRE);

		for (; bits; bits &= bits - 1) {
			uint64_t bit = bits & -bits;
			uint32_t i = w * 64 + (uint32_t)__builtin_ctzll(bits);

			/* Ours before it is pending no more, or the guard would think that nobody wants it. */
			if (!swap_if(&v->busy[i], 0, 1))
				continue;
			if (__atomic_fetch_and(word, ~bit, __ATOMIC_ACQ_REL) & bit)
				return i;
			put_release(&v->busy[i], 0);
		}
	}
	return ASK_SLOTS;
}

static int is_pending(struct server *v)
{
	for (uint32_t w = 0; w < ASK_SLOTS / 64; w++)
		if (__atomic_load_n(&v->handlers->pending[w], __ATOMIC_ACQUIRE))
			return 1;
	return 0;
}

static void *work(void *arg);

static void add_thread(struct server *v)
{
	pthread_attr_t attr;
	pthread_t id;

	if (__atomic_add_fetch(&v->count, 1, __ATOMIC_ACQ_REL) > v->most) {
		__atomic_sub_fetch(&v->count, 1, __ATOMIC_ACQ_REL);
		return;
	}
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&id, &attr, work, v))
		__atomic_sub_fetch(&v->count, 1, __ATOMIC_ACQ_REL);
	pthread_attr_destroy(&attr);
}

/* Somebody is to look out while we are busy: an idle thread, which is asleep unless it is on its way, or a new one. */
static void hand_over(struct server *v)
{
	store_before_load();
	if (!get_acquire(&v->idle))
		add_thread(v);
	else if (is_pending(v)) {
		add_one(&v->handlers->bell);
		wake(&v->handlers->bell, 1);
	}
}

/* Until the bell is not `seen` any more. Only one spins, and none while a handler may be about to end: its CPU is wanted. */
static void look_out(struct server *v, uint32_t seen, struct patience *p)
{
	struct handlers *h = v->handlers;

	if (!get_relaxed(&v->working) && swap_if(&h->spinning, 0, 1)) {
		enum ring_turn turn = ring_linger(&h->bell, seen, &h->server, &h->client, p, v->session, yield);

		put_release(&h->spinning, 0);
		store_before_load();
		if (turn == RING_READY)
			return;
	}
	add_one(&h->asleep);
	store_before_load();
	if (get_acquire(&h->bell) == seen && !get_acquire(&v->stopping)) {
		h->server.slept++;
		futex_sleep(&h->bell, seen, 1000);
	}
	__atomic_sub_fetch(&h->asleep, 1, __ATOMIC_ACQ_REL);
}

static void *work(void *arg)
{
	struct server *v = arg;
	struct patience p = {.credit = 2};
	struct question q;

	v->work.begin(v->work.with);
	add_one(&v->idle);
	while (!get_acquire(&v->stopping)) {
		uint32_t seen = get_acquire(&v->handlers->bell), i = take(v);

		if (i == ASK_SLOTS) {
			look_out(v, seen, &p);
			continue;
		}
		__atomic_sub_fetch(&v->idle, 1, __ATOMIC_ACQ_REL);
		add_one(&v->working);
		hand_over(v);
		copy_question(v, i, &q);
		if (get_acquire(&q.slot->word) == ASK_POSTED) {
			put_relaxed(&q.slot->server.cpu, arch_cpu());
			v->work.answer(v->work.with, &q);
		}
		/* An answer lets go of the slot at once, so it is not looked at after. */
		if (!q.answered)
			take_back(v, i);
		put_release(&v->busy[i], 0);
		__atomic_sub_fetch(&v->working, 1, __ATOMIC_ACQ_REL);
		add_one(&v->idle);
	}
	__atomic_sub_fetch(&v->idle, 1, __ATOMIC_ACQ_REL);
	v->work.end(v->work.with);
	__atomic_sub_fetch(&v->count, 1, __ATOMIC_ACQ_REL);
	return NULL;
}

/* ---- the guard --------------------------------------------------------------------------------------------------- */

static uint64_t own_namespace(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) ? 0 : (uint64_t)st.st_ino;
}

static int is_dead(struct server *v, uint32_t i, const struct ask *s)
{
	uint32_t pid = s->pid, tid = s->tid, lease = get_relaxed(&s->lease), beat = get_relaxed(&s->beat);

	if (!pid || !tid || pid > INT32_MAX || tid > INT32_MAX)
		return 0;
	if (!syscall(SYS_tgkill, pid, tid, 0) || errno != ESRCH)
		return 0;
	if (s->pids == v->pids && v->pids)
		return 1;
	/* Its numbers mean nothing here: while it waits, it moves; while it does something for us, it may not. */
	if (v->seen[i].lease != lease || v->seen[i].beat != beat || get_relaxed(&s->word) == ASK_OP)
		v->seen[i].polls = 0;
	v->seen[i].lease = lease;
	v->seen[i].beat = beat;
	return ++v->seen[i].polls > STRANGER_POLLS;
}

/* One that was taken and not yet filled in may still have another thread's number. */
static int is_old(struct server *v, uint32_t i, const struct ask *s)
{
	uint32_t lease = get_relaxed(&s->lease);

	if (get_acquire(&s->word) != ASK_IDLE)
		return 1;
	if (v->seen[i].idle_lease != lease)
		v->seen[i].idle_polls = 0;
	v->seen[i].idle_lease = lease;
	return ++v->seen[i].idle_polls > STRANGER_POLLS;
}

/* A dead thread's slot: whoever is at it is told, or it is free again. */
static void bury(struct server *v, uint32_t i, struct ask *s)
{
	uint64_t bit = 1ull << i % 64;
	uint32_t word;

	if (swap_if(&v->busy[i], 0, 1)) {
		__atomic_fetch_and(&v->handlers->pending[i / 64], ~bit, __ATOMIC_ACQ_REL);
		take_back(v, i);
		put_release(&v->busy[i], 0);
		return;
	}
	word = get_acquire(&s->word);
	if (word == ASK_POSTED || word == ASK_OP || word == ASK_DONE)
		swap_if(&s->word, word, ASK_LEFT);
	put_release(&s->cancel, 1);
	wake(&s->cancel, 1);
	wake(&s->word, 1);
}

static void *guard(void *arg)
{
	struct server *v = arg;
	struct handlers *h = v->handlers;
	struct {
		struct robust_list_head head;
		struct robust_list alive;
	} robust;
	uint32_t tid = (uint32_t)syscall(SYS_gettid);

	robust.head.list.next = &robust.alive;
	robust.alive.next = &robust.head.list;
	robust.head.futex_offset = (long)((char *)&h->alive - (char *)&robust.alive);
	robust.head.list_op_pending = NULL;
	syscall(SYS_set_robust_list, &robust.head, sizeof robust.head);
	put_release(&h->alive, tid);
	h->pid = (uint32_t)getpid();
	add_one(&h->round);
	put_release(&h->state, SERVER_HERE);
	wake(&h->state, INT32_MAX);
	put_release(&v->ready, 1);
	wake(&v->ready, 1);
	while (!get_acquire(&v->stopping)) {
		uint32_t high = get_acquire(&h->high);

		futex_sleep(&v->stopping, 0, ASK_POLL);
		for (uint32_t i = 0; i < high && i < ASK_SLOTS; i++) {
			struct ask *s = handler_slot(h, i);

			if (get_relaxed(&s->lease) && is_old(v, i, s) && is_dead(v, i, s))
				bury(v, i, s);
		}
	}
	put_release(&h->state, SERVER_GONE);
	put_release(&h->alive, 0);
	for (uint32_t i = 0; i < get_acquire(&h->high) && i < ASK_SLOTS; i++)
		wake(&handler_slot(h, i)->word, INT32_MAX);
	syscall(SYS_set_robust_list, NULL, sizeof robust.head);
	return NULL;
}

/* ---- beginning and end ------------------------------------------------------------------------------------------- */

static int is_taken(const struct handlers *h)
{
	uint32_t alive = get_acquire(&h->alive);

	return alive && !(alive & FUTEX_OWNER_DIED) && get_acquire(&h->state) == SERVER_HERE;
}

struct server *serve_start(int session_fd, const struct server_work *work, uint32_t threads)
{
	struct server *v = calloc(1, sizeof *v);
	sigset_t all, before;
	int e = 0;

	if (!v)
		return NULL;
	v->session = session_map(session_fd, 1);
	v->handlers = v->session ? session_handlers(v->session, session_fd) : NULL;
	if (!v->session)
		e = errno;
	else if (!v->handlers)
		e = EOPNOTSUPP;
	else if (is_taken(v->handlers))
		e = EBUSY;
	if (e)
		goto fail;
	session_private(v->session); /* a child that a handler starts is no business of the session's */
	v->work = *work;
	v->most = threads < 1 ? 1 : threads < THREADS_MOST ? threads : THREADS_MOST;
	v->pids = own_namespace();
	put_relaxed(&v->handlers->spinning, 0);
	put_relaxed(&v->handlers->asleep, 0);
	for (int w = 0; w < ASK_SLOTS / 64; w++) /* another server's, for which nobody waits any more */
		__atomic_store_n(&v->handlers->pending[w], 0, __ATOMIC_RELAXED);
	if (!v->session->budget)
		session_tune(v->session);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	e = pthread_create(&v->guard, NULL, guard, v);
	if (!e)
		add_thread(v);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (e)
		goto fail;
	while (!get_acquire(&v->ready))
		futex_sleep(&v->ready, 0, 100);
	return v;
fail:
	session_unmap(v->session);
	free(v);
	errno = e;
	return NULL;
}

int serve_stop(struct server *v, long ms)
{
	uint64_t end = clock_ns(CLOCK_MONOTONIC) + (uint64_t)ms * 1000000;

	put_release(&v->stopping, 1);
	wake(&v->stopping, INT32_MAX);
	pthread_join(v->guard, NULL);
	while (get_acquire(&v->count)) {
		add_one(&v->handlers->bell);
		wake(&v->handlers->bell, INT32_MAX);
		if (clock_ns(CLOCK_MONOTONIC) >= end)
			return -1;
		usleep(200);
	}
	session_unmap(v->session);
	free(v);
	return 0;
}

/* ---- rules ------------------------------------------------------------------------------------------------------- */

const char *serve_rules(int session_fd, const void *rules, uint64_t size)
{
	struct session *s;
	struct handlers *h;
	const char *wrong = size < sizeof(struct rules) ? "no rules" : rules_problem(rules, size);
	uint32_t epoch;

	if (wrong)
		return wrong;
	s = session_map(session_fd, 1);
	if (!s)
		return strerror(errno);
	h = session_handlers(s, session_fd);
	if (!h)
		wrong = "the session was made without handlers";
	else {
		epoch = get_acquire(&s->rules_epoch);
		memcpy(handler_rules(h, epoch + 1), rules, size);
		memset(&h->counts[RULE_LIMIT], 0, (RULE_COUNTERS - RULE_LIMIT) * sizeof *h->counts);
		/* 0 is for none at all; two steps keep the halves in turn. */
		put_release(&s->rules_epoch, epoch + 1 ? epoch + 1 : 2);
	}
	session_unmap(s);
	return wrong;
}

static int executes(uint64_t nr)
{
	int is = 0;

	for (int i = 0; nr < CALL_LIMIT && i < call_rows[nr].nargs; i++)
		is |= call_rows[nr].args[i].kind == ARG_STRINGS;
	return is;
}

void serve_execed(struct handlers *h, uint32_t pid)
{
	uint32_t high = get_acquire(&h->high);

	for (uint32_t i = 0; i < high && i < ASK_SLOTS; i++) {
		struct ask *s = handler_slot(h, i);

		uint32_t word = get_acquire(&s->word);
		int has = word == ASK_POSTED || word == ASK_OP || word == ASK_DONE;

		/* Its other threads have ended. */
		if (s->pid != pid || !get_acquire(&s->lease) || !has)
			continue;
		swap_if(&s->word, word, word == ASK_OP && executes(s->nr) ? ASK_EXECED : ASK_LEFT);
		wake(&s->word, 1);
		put_release(&s->cancel, 1);
		wake(&s->cancel, 1);
	}
}
