/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may be done with a question (serve.c) until it is answered: read and write its program's memory, have the call
 * made, open a descriptor there, wait. Called by whoever answers it, on a thread of the server's. The slot is shared
 * with the program, which may write anything into it at any time: what comes from there is bounded before it is used.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "launch.h"
#include "ring.h"
#include "serve.h"

static void yield(void)
{
	sched_yield();
}

static void wake(uint32_t *word, int n)
{
	syscall(SYS_futex, word, FUTEX_WAKE, n, NULL, NULL, 0);
}

/* The slot is ours again: its thread, or whoever had to speak for it, is gone. */
void question_take_back(struct server *v, uint32_t i, uint32_t lease)
{
	struct ask *s = handler_slot(v->handlers, i);

	if (!lease || get_acquire(&s->lease) != lease)
		return;
	put_relaxed(&s->word, ASK_IDLE);
	if (swap_if(&s->lease, lease, 0) && get_relaxed(&v->handlers->starved)) {
		add_one(&v->handlers->freed);
		wake(&v->handlers->freed, 1);
	}
}

/* One of an earlier server's may have gone on without us, and its slot to another. */
static int is_ours(struct question *q)
{
	if (get_acquire(&q->slot->lease) != q->lease)
		q->gone = 1;
	return !q->gone && !q->answered;
}

static void speak(struct ask *s, struct session *at)
{
	store_before_load();
	if (get_relaxed(&s->agent.asleep)) {
		ring_woke(&s->server, at);
		wake(&s->word, 1);
	}
}

/*
 * A function may have renamed files before the program goes on: no less than a program of the session's, and so no
 * agent goes by what it knew before of what descriptors stand for.
 */
static void names_moved(struct handlers *h)
{
	add_one(&h->names.begun);
	add_one(&h->names.ended);
}

int64_t question_ask(struct question *q, uint32_t op, uint64_t a, uint64_t b)
{
	struct ask *s = q->slot;
	struct patience p = {.credit = 2};
	uint32_t word;

	if (!is_ours(q))
		return -ESRCH;
	names_moved(q->server->handlers);
	s->op = op;
	s->a = a;
	s->b = b;
	/* What is asked stands there before the word does. */
	if (!swap_if(&s->word, q->turn, ASK_OP)) {
		q->gone = 1;
		return -ESRCH;
	}
	speak(s, q->server->session);
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

void question_answer(struct question *q, uint32_t answer, int64_t value)
{
	struct ask *s = q->slot;

	if (q->answered)
		return;
	if (!is_ours(q)) {
		q->answered = 1;
		question_take_back(q->server, q->index, q->lease);
		return;
	}
	q->answered = 1;
	names_moved(q->server->handlers);
	s->answer = answer;
	s->ret = value;
	if (!swap_if(&s->word, q->turn, ASK_ANSWERED)) {
		question_take_back(q->server, q->index, q->lease);
		return;
	}
	/* From here on the slot may be another call's; a wake too many harms nobody. */
	speak(s, q->server->session);
}

int64_t question_read(struct question *q, uint64_t addr, void *to, uint64_t n)
{
	uint64_t done = 0;

	while (done < n) {
		uint64_t part = n - done < ASK_MOVED ? n - done : ASK_MOVED;
		int64_t r = question_ask(q, ASK_READ, addr + done, part);

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

int64_t question_write(struct question *q, uint64_t addr, const void *from, uint64_t n)
{
	uint64_t done = 0;

	while (done < n) {
		uint64_t part = n - done < ASK_MOVED ? n - done : ASK_MOVED;
		int64_t r;

		if (q->gone || q->answered)
			return -ESRCH;
		memcpy(q->slot->moved, (const char *)from + done, part);
		r = question_ask(q, ASK_WRITE, addr + done, part);
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

int64_t question_string(struct question *q, uint64_t addr, char *to, uint64_t room)
{
	int64_t r = question_ask(q, ASK_STRING, addr, 0);

	if (r < 0)
		return r;
	if ((uint64_t)r >= room || r >= ASK_MOVED)
		return -ENAMETOOLONG;
	memcpy(to, q->slot->moved, (size_t)r);
	return r;
}

int64_t question_place(struct question *q, const void *from, uint64_t n)
{
	const uint64_t least = 65536, step = (n + 15) & ~15ull;
	uint64_t at;
	int64_t r;

	if (q->room_left < step) {
		uint64_t size = n < least ? least : (n + 4095) & ~4095ull;


		r = question_ask(q, ASK_ROOM, size, 0);
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
	r = question_write(q, at, from, n);
	if (r != (int64_t)n)
		return r < 0 ? r : -EFAULT;
	return (int64_t)at;
}

int64_t question_proceed(struct question *q, const uint64_t *args, uint32_t signal)
{
	int64_t r;

	if (q->gone || q->answered)
		return -ESRCH;
	memcpy(q->slot->given, args, sizeof q->slot->given);
	r = question_ask(q, ASK_PROCEED, signal, 0);
	if (r == -512) /* a restart, which only the program's thread can bring about */
		r = -EINTR;
	q->made = 1;
	q->result = r;
	return r;
}

int64_t question_open(struct question *q, int fd, int flags)
{
	if (q->gone || q->answered)
		return -ESRCH;
	snprintf((char *)q->slot->moved, 64, "/proc/%d/fd/%d", (int)getpid(), fd);
	return question_ask(q, ASK_OPEN, (uint32_t)flags, 0);
}

int64_t question_copy(const struct question *q, int i, const uint8_t **from)
{
	struct extent e = q->extents[i];

	if (e.len > ASK_INLINE || e.off > ASK_INLINE - e.len)
		return -1;
	*from = q->slot->copies + e.off;
	return e.len;
}

int question_is_interrupted(const struct question *q)
{
	uint32_t word;

	if (q->gone || q->answered)
		return 1;
	word = get_acquire(&q->slot->word);
	return get_acquire(&q->slot->cancel) || (word != q->turn && word != ASK_OP);
}

int question_wait(struct question *q, double seconds)
{
	uint64_t end = clock_ns(CLOCK_MONOTONIC) + (uint64_t)(seconds < 0 ? 0 : seconds > 1e9 ? 1e18 : seconds * 1e9);

	for (;;) {
		uint64_t now = clock_ns(CLOCK_MONOTONIC), left;

		if (question_is_interrupted(q))
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

int question_denies(const struct question *q)
{
	uint32_t epoch = get_acquire(&q->server->session->rules_epoch);

	return !!(handler_rules(q->server->handlers, epoch)->flags & RULES_DENY);
}
