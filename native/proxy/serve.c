/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread per slot: wait for a request, take a copy of it, do it, answer. A thread that blocks in a call blocks only
 * its own slot. Its robust list names the slot's word, so the kernel tells the program if the thread dies.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "cancel.h"
#include "proxy.h"

#define SIG_CANCEL 64

struct worker workers[SLOT_COUNT];
static uint32_t worker_high; /* from here on, none was ever used */

static int taken_fd = -1; /* came over the lifeline, not yet asked for */
static uint32_t taken_bell;
static uint32_t unsettled; /* 1: a forked proxy still holds what is not the program's; no call is made yet */

static uint32_t house; /* the tid of whoever is in the middle of something of the C library's */

static long futex(uint32_t *word, int op, uint32_t value, const struct timespec *timeout)
{
	return syscall(SYS_futex, word, op, value, timeout, 0, 0);
}

/* A thread's end is the C library's, too, and leaves no room for a word of ours: it ends with the lock. */
void serve_lock(void)
{
	uint32_t own = (uint32_t)syscall(SYS_gettid);

	while (!swap_if(&house, 0, own)) {
		uint32_t owner = get_acquire(&house);

		if (owner && syscall(SYS_tgkill, getpid(), owner, 0) < 0 && errno == ESRCH &&
		    swap_if(&house, owner, own))
			return;
		sched_yield();
	}
}

void serve_unlock(void)
{
	put_release(&house, 0);
}

struct slot *slot_at(uint32_t i)
{
	return (struct slot *)((char *)channel + (uint64_t)SLOT_SIZE * (1 + i));
}

static void yield(void)
{
	sched_yield();
}

/*
 * SA_RESTART: the program counter then tells a call that may be made again from one that must say EINTR. A call that
 * has not been made is made: it may not have to wait, and if it does, serve_insist() interrupts it again.
 */
static void on_cancel(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	uint64_t pc = (uint64_t)CONTEXT_PC(uc);

	(void)sig;
	(void)info;
	if (pc == (uint64_t)cancellable_insn && CONTEXT_RESTARTS(uc))
		CONTEXT_PC(uc) = (long long)cancellable_again;
}

void serve_setup(void)
{
	struct sigaction sa = {.sa_sigaction = on_cancel, .sa_flags = SA_SIGINFO | SA_RESTART};
	sigset_t all;

	mallopt(M_ARENA_MAX, 1); /* a thread that reads one directory needs no heap of its own */
	sigfillset(&all);
	sigaction(SIG_CANCEL, &sa, 0);
	signal(SIGCHLD, SIG_IGN); /* proxies of children need no waiting for */
	signal(SIGTTIN, SIG_DFL);
	signal(SIGTTOU, SIG_DFL);
	sigprocmask(SIG_SETMASK, &all, 0);
}

void serve_interrupt(uint32_t i)
{
	if (get_acquire(&workers[i].active) && get_acquire(&slot_at(i)->cancel))
		syscall(SYS_tgkill, getpid(), workers[i].tid, SIG_CANCEL);
}

/* Interrupt once more whoever should have stopped waiting and has not answered. How many there are. */
int serve_insist(void)
{
	int left = 0;

	for (uint32_t i = 0; i < SLOT_COUNT; i++)
		if (get_acquire(&workers[i].active) && get_acquire(&slot_at(i)->cancel) &&
		    get_acquire(&slot_at(i)->word) == get_acquire(&slot_at(i)->owner)) {
			serve_interrupt(i);
			left++;
		}
	return left;
}

/* End all threads but one and wait until they are gone; a call in hand is interrupted. Bounded: half a second. */
void serve_end_others(uint32_t but)
{
	for (int tries = 0; tries < 500; tries++) {
		int left = 0;

		for (uint32_t i = 0; i < get_acquire(&worker_high); i++) {
			if (i == but || !get_acquire(&workers[i].active))
				continue;
			left++;
			put_release(&workers[i].ending, 1);
			put_release(&slot_at(i)->cancel, 1);
			syscall(SYS_tgkill, getpid(), workers[i].tid, SIG_CANCEL);
			/* It may be asleep between two requests, a wait that the signal only restarts. */
			futex(&slot_at(i)->word, FUTEX_WAKE, 1, 0);
		}
		if (!left)
			return;
		if (tries < 20)
			sched_yield();
		else
			usleep(1000);
	}
}

/* In the child of a fork: all threads but the caller's are the parent's. */
void serve_forget(void)
{
	memset(workers, 0, worker_high * sizeof *workers);
	worker_high = 0;
	house = 0;
}

void serve_hold(void)
{
	unsettled = 1;
}

void serve_go_on(void)
{
	put_release(&unsettled, 0);
	futex(&unsettled, FUTEX_WAKE, 1, 0);
}

int serve_taken(int fd)
{
	if (__atomic_load_n(&taken_fd, __ATOMIC_ACQUIRE) >= 0)
		return -1;
	__atomic_store_n(&taken_fd, fd, __ATOMIC_RELEASE);
	add_one(&taken_bell);
	futex(&taken_bell, FUTEX_WAKE, 1, 0);
	return 0;
}

/* ---- operations -------------------------------------------------------------------------------------------------- */

static int64_t take(int cloexec)
{
	for (int tries = 0; tries < 100; tries++) {
		uint32_t seen = get_acquire(&taken_bell);
		int fd = __atomic_exchange_n(&taken_fd, -1, __ATOMIC_ACQ_REL);
		struct timespec t = {0, 20000000};

		if (fd >= 0) {
			if (cloexec)
				fcntl(fd, F_SETFD, FD_CLOEXEC);
			return fd;
		}
		futex(&taken_bell, FUTEX_WAIT, seen, &t);
	}
	return -EIO;
}

static void close_on_exec(void)
{
	struct dirent *d;
	DIR *dir;

	serve_lock();
	dir = opendir("/proc/self/fd");
	while (dir && (d = readdir(dir))) {
		int fd = atoi(d->d_name), flags;

		if (d->d_name[0] == '.' || fd == dirfd(dir) || fd == hidden)
			continue;
		flags = fcntl(fd, F_GETFD);
		if (flags >= 0 && flags & FD_CLOEXEC)
			close(fd);
	}
	if (dir)
		closedir(dir);
	serve_unlock();
}

static int64_t execed(uint32_t own)
{
	uint32_t high = get_acquire(&channel->high);

	serve_end_others(own);
	for (uint32_t i = 0; i < high && i < SLOT_COUNT; i++)
		if (i != own)
			put_release(&slot_at(i)->lease, SLOT_FREE);
	close_on_exec();
	return 0;
}

static int64_t ended(uint32_t own)
{
	uint32_t i = channel->process;

	serve_end_others(own);
	main_close_all();
	if (i < PROCESSES && session->processes[i].proxy == (uint32_t)getpid()) {
		put_release(&session->processes[i].state, PROCESS_GONE);
		futex(&session->processes[i].state, FUTEX_WAKE, 1 << 30, 0);
	}
	return 0;
}

static int64_t perform(uint32_t i, struct request *q)
{
	struct slot *s = slot_at(i);
	int fd = (int)q->args[0];

	switch (q->op) {
	case OP_CALL:
		return execute_call(q, &workers[i], &s->cancel);
	case OP_FORK:
		return fork_proxy(q->args[0]);
	case OP_THREAD:
		return q->args[0] < SLOT_COUNT && !workers[q->args[0]].active ? serve_start((uint32_t)q->args[0])
									      : -EINVAL;
	case OP_LENT:
		return fd == hidden ? -EBADF : fork_send_line(hidden, LINE_FD, 0, &fd, 1);
	case OP_TAKE:
		return take((int)q->args[0]);
	case OP_EXECED:
		return execed(i);
	case OP_EXIT:
		return ended(i);
	}
	return -EINVAL;
}

/* ---- the thread -------------------------------------------------------------------------------------------------- */

static void copy_request(const struct slot *s, uint32_t i, struct request *q)
{
	q->nr = s->nr;
	q->op = s->op;
	q->arena = s->arena;
	q->ttystop = s->ttystop;
	memcpy(q->args, s->args, sizeof q->args);
	memcpy(q->extents, s->extents, sizeof q->extents);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (q->arena) {
		q->payload = (uint8_t *)channel + ARENA_AT(i);
		q->room = q->arena;
	} else {
		q->payload = (uint8_t *)s->payload;
		q->room = SLOT_INLINE;
	}
}

/*
 * A broken pipe or a file too large raises a signal in whoever made the call:
 * that was us, it is meant for the program.
 */
static uint32_t signals_meant(int64_t ret)
{
	struct timespec none = {0, 0};
	sigset_t set;
	int sig = ret == -EPIPE ? SIGPIPE : ret == -EFBIG ? SIGXFSZ : 0;

	if (!sig)
		return 0;
	sigemptyset(&set);
	sigaddset(&set, sig);
	if (sigtimedwait(&set, 0, &none) != sig)
		return 0;
	return sig == SIGPIPE ? 1 : 2;
}

/* The list has one offset from its nodes to their words, so the nodes lie as far apart as word and owner do. */
struct robust {
	struct robust_list_head head;
	struct robust_list word, gap, owner;
};

_Static_assert(offsetof(struct robust, owner) - offsetof(struct robust, word) ==
		       offsetof(struct slot, owner) - offsetof(struct slot, word),
	       "robust");

static void *work(void *arg)
{
	uint32_t i = (uint32_t)(uintptr_t)arg;
	struct worker *w = &workers[i];
	struct slot *s = slot_at(i);
	struct robust robust;
	struct request q;
	uint32_t owner;
	sigset_t cancel;

	w->tid = (uint32_t)syscall(SYS_gettid);
	owner = w->tid | WORD_WAITERS;
	w->patience.credit = 2;
	robust.head.list.next = &robust.owner;
	robust.owner.next = &robust.word;
	robust.word.next = &robust.head.list;
	robust.head.futex_offset = (long)((char *)&s->word - (char *)&robust.word);
	robust.head.list_op_pending = 0;
	syscall(SYS_set_robust_list, &robust.head, sizeof robust.head);
	sigemptyset(&cancel);
	sigaddset(&cancel, SIG_CANCEL);
	put_relaxed(&s->word, WORD_IDLE);
	pthread_sigmask(SIG_UNBLOCK, &cancel, 0);
	put_release(&s->owner, owner);
	futex(&s->owner, FUTEX_WAKE, 1 << 30, 0);
	while (get_acquire(&unsettled))
		futex(&unsettled, FUTEX_WAIT, 1, 0);
	while (!get_acquire(&w->ending)) {
		uint32_t word = get_acquire(&s->word);

		if (word != owner) {
			if (ring_linger(&s->word, word, &s->proxy, &s->agent, &w->patience, session,
					yield) == RING_READY)
				continue;
			put_relaxed(&s->proxy.asleep, 1);
			store_before_load();
			if (get_acquire(&s->word) == word && !get_acquire(&w->ending)) {
				s->proxy.slept++;
				futex(&s->word, FUTEX_WAIT, word, 0);
			}
			put_relaxed(&s->proxy.asleep, 0);
			continue;
		}
		copy_request(s, i, &q);
		if (q.op == OP_LEAVE)
			break;
		s->ret = perform(i, &q);
		/* The program's thread is gone or about to go: it must not come out of its call. */
		if (get_acquire(&w->ending))
			break;
		s->signals = q.op == OP_CALL ? signals_meant(s->ret) : 0;
		/* The answer is written before the word that announces it. */
		put_release(&s->word, WORD_ANSWER);
		store_before_load();
		if (get_relaxed(&s->agent.asleep)) {
			ring_woke(&s->proxy, session);
			futex(&s->word, FUTEX_WAKE, 1, 0);
		}
	}
	syscall(SYS_set_robust_list, 0, 0);
	if (!get_acquire(&w->ending)) {
		put_relaxed(&s->owner, 0);
		put_relaxed(&s->word, WORD_IDLE);
	}
	munmap(w->scratch, SCRATCH);
	w->scratch = 0;
	w->ending = 0;
	put_release(&w->active, 0);
	put_release(&s->lease, SLOT_FREE);
	serve_lock(); /* for good */
	return 0;
}

int serve_start(uint32_t i)
{
	struct worker *w = &workers[i];
	struct slot *s = slot_at(i);
	pthread_attr_t attr;
	pthread_t id;
	int r;

	raise_to(&worker_high, i + 1);
	memset(w, 0, sizeof *w);
	w->scratch = mmap(0, SCRATCH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (w->scratch == MAP_FAILED)
		return -ENOMEM;
	s->owner = 0;
	w->active = 1;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 128 * 1024);
	serve_lock();
	r = pthread_create(&id, &attr, work, (void *)(uintptr_t)i);
	serve_unlock();
	pthread_attr_destroy(&attr);
	if (r) {
		munmap(w->scratch, SCRATCH);
		w->active = 0;
		return -r;
	}
	while (!get_acquire(&s->owner) && get_acquire(&w->active)) {
		struct timespec t = {0, 10000000};

		futex(&s->owner, FUTEX_WAIT, 0, &t);
	}
	return 0;
}
