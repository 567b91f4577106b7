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
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "launch.h"
#include "place.h"
#include "ring.h"

enum { THREADS_MOST = 512, STRANGER_POLLS = 30 /* without a beat, a thread of another pid namespace is dead */ };

static void yield(void)
{
	sched_yield();
}

static void wake(uint32_t *word, int n)
{
	syscall(SYS_futex, word, FUTEX_WAKE, n, NULL, NULL, 0);
}

/* ---- taking questions -------------------------------------------------------------------------------------------- */

static void copy_question(struct server *v, uint32_t i, struct question *q)
{
	const struct ask *s = handler_slot(v->handlers, i);
	uint32_t used = 0;

	q->server = v;
	q->slot = handler_slot(v->handlers, i);
	q->index = i;
	q->lease = s->lease;
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
	for (int k = 0; k < CALL_ARGS; k++) {
		struct extent e = q->extents[k];

		if (e.len <= ASK_INLINE && e.off <= ASK_INLINE - e.len && e.off + e.len > used)
			used = e.off + e.len;
	}
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

/* One of them, who has worked last, is the first to be woken: what it needs is still near its CPU. */
static int sleep_on_bell(struct server *v, uint32_t seen)
{
	uint32_t who = swap_if(&v->first, 0, 1) ? BELL_FIRST : BELL_OTHERS;
	struct timespec end;
	int woken;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec++;
	woken = !syscall(SYS_futex, &v->handlers->bell, FUTEX_WAIT_BITSET, seen, &end, NULL, who);
	if (who == BELL_FIRST)
		put_release(&v->first, 0);
	return woken;
}

/* Until the bell is not `seen` any more. Only one spins, and none while a handler is at work, whose CPU it might be. */
static void look_out(struct server *v, uint32_t seen, struct patience *p, struct place *place)
{
	struct handlers *h = v->handlers;
	int has_slept = 0;

	if (!get_relaxed(&v->working) && swap_if(&h->spinning, 0, 1)) {
		enum ring_turn turn;

		if (place_moves(place, h) && p->credit < 1)
			p->credit = 1; /* what it has learnt of spinning is no longer true */
		turn = ring_linger(&h->bell, seen, &h->server, &h->client, p, v->session, yield);
		put_release(&h->spinning, 0);
		store_before_load();
		if (turn == RING_READY)
			return;
	}
	place_sleeps(place, h);
	add_one(&h->asleep);
	store_before_load();
	if (get_acquire(&h->bell) == seen && !get_acquire(&v->stopping)) {
		h->server.slept++;
		has_slept = sleep_on_bell(v, seen);
	}
	__atomic_sub_fetch(&h->asleep, 1, __ATOMIC_ACQ_REL);
	place_woke(place, has_slept);
}

static void *work(void *arg)
{
	struct server *v = arg;
	struct patience p = {.credit = 2};
	struct place place = {.budget = v->session->budget, .caller = CPU_UNKNOWN};
	struct question q;

	v->work.begin(v->work.with);
	add_one(&v->idle);
	while (!get_acquire(&v->stopping)) {
		uint32_t seen = get_acquire(&v->handlers->bell), i = take(v);

		if (i == ASK_SLOTS) {
			look_out(v, seen, &p, &place);
			continue;
		}
		__atomic_sub_fetch(&v->idle, 1, __ATOMIC_ACQ_REL);
		add_one(&v->working);
		hand_over(v);
		place_found(&place, v->handlers);
		copy_question(v, i, &q);
		if (get_acquire(&q.slot->word) == ASK_POSTED) {
			if (get_relaxed(&q.slot->server.cpu) != arch_cpu())
				put_relaxed(&q.slot->server.cpu, arch_cpu());
			v->work.answer(v->work.with, &q);
		}
		/* An answer lets go of the slot at once, so it is not looked at after. */
		if (!q.answered)
			question_take_back(v, i, q.lease);
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

/* Left by its thread, and nobody has it in hand or will take it: it was an earlier server's. */
static int is_left(struct server *v, uint32_t i, const struct ask *s)
{
	return get_acquire(&s->word) == ASK_LEFT && !get_acquire(&v->busy[i]) &&
	       !(__atomic_load_n(&v->handlers->pending[i / 64], __ATOMIC_ACQUIRE) >> i % 64 & 1);
}

/* A dead thread's slot: whoever is at it is told, or it is free again. */
static void bury(struct server *v, uint32_t i, struct ask *s, uint32_t lease)
{
	uint64_t bit = 1ull << i % 64;
	uint32_t word;

	if (get_acquire(&s->lease) != lease)
		return;
	/* Nobody would spin any more if the dead were counted for ever. */
	if (is_dead(v, i, s) && swap_if(&s->lingers, 1, 0) && get_relaxed(&v->session->spinners))
		__atomic_sub_fetch(&v->session->spinners, 1, __ATOMIC_RELAXED);
	if (swap_if(&v->busy[i], 0, 1)) {
		__atomic_fetch_and(&v->handlers->pending[i / 64], ~bit, __ATOMIC_ACQ_REL);
		question_take_back(v, i, lease);
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

			uint32_t lease = get_acquire(&s->lease);

			/* What is said of it afterwards concerns this lease and no later one. */
			if (lease && is_old(v, i, s) && (is_left(v, i, s) || is_dead(v, i, s)))
				bury(v, i, s, lease);
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

/* From now on threads say when they are born; what belongs to one set of rules only begins anew. */
static void count_by_thread(struct handlers *h, const struct rules *rules)
{
	struct tally *all = handler_tallies(h);

	for (uint32_t i = 0; i < rules->count; i++)
		if (rules->rule[i].conditions & RULE_PER_THREAD)
			put_release(&h->per_thread, 1);
	for (uint32_t i = 0; get_relaxed(&h->per_thread) && i < TALLIES; i++)
		if ((all[i].key >> 9 & 1023) >= RULE_LIMIT)
			put_relaxed(&all[i].n, 0);
}

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
		count_by_thread(h, rules);
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
