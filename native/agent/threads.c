/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is calling: a small hash from thread id to what the agent keeps for the thread. There is no thread-local storage
 * to use (the program may not have set its own up yet), so the kernel is asked for the id. Entries come from pages that
 * are kept; a lock guards the lists, with signals blocked by every caller.
 */
#include "agent.h"

enum { BUCKETS = 256, ROOM = 4096 /* all of it is touched at once, by every process */ };

static struct thread *buckets[BUCKETS];
static struct thread *free_threads;
static struct process_self *free_processes;
static struct birth *free_births;
static uint32_t list_lock;
struct process_self process_main;

static void lock(void)
{
	for (uint32_t n = 0; !swap_if(&list_lock, 0, 1); n++) {
		arch_relax();
		if (n > 200)
			GATE1(NR_sched_yield, 0);
	}
}

static void unlock(void)
{
	put_release(&list_lock, 0);
}

/* Take one from a list of free ones, each of which begins with the pointer to the next. */
static void *take(void **list, uint32_t size)
{
	void *one = *list;

	if (!one) {
		char *page = memory_pages(ROOM);

		if (!page)
			return 0;
		for (uint32_t at = 0; at + size <= ROOM; at += size) {
			*(void **)(page + at) = *list;
			*list = page + at;
		}
		one = *list;
	}
	*list = *(void **)one;
	memset(one, 0, size);
	return one;
}

static void give(void **list, void *one)
{
	*(void **)one = *list;
	*list = one;
}

struct thread *thread_self(void)
{
	uint32_t tid = (uint32_t)GATE1(NR_gettid, 0);
	struct thread *t;

	lock();
	for (t = buckets[tid % BUCKETS]; t && t->tid != tid; t = t->next)
		;
	unlock();
	return t;
}

struct thread *thread_add(struct process_self *process)
{
	struct thread *t;
	uint32_t tid = (uint32_t)GATE1(NR_gettid, 0);

	lock();
	t = take((void **)&free_threads, sizeof *t);
	if (t) {
		t->tid = tid;
		t->process = process;
		t->slot = SLOT_COUNT;
		t->chunk = CHUNK_COUNT;
		t->patience.credit = 2;
		t->next = buckets[tid % BUCKETS];
		buckets[tid % BUCKETS] = t;
	}
	unlock();
	return t;
}

void thread_remove(struct thread *t)
{
	lock();
	for (struct thread **p = &buckets[t->tid % BUCKETS]; *p; p = &(*p)->next) {
		if (*p == t) {
			*p = t->next;
			give((void **)&free_threads, t);
			break;
		}
	}
	unlock();
}

void thread_forget(uint32_t tid)
{
	struct thread *t;

	lock();
	for (t = buckets[tid % BUCKETS]; t && t->tid != tid; t = t->next)
		;
	unlock();
	if (!t)
		return;
	if (t->process != &process_main) {
		if (t->process->channel)
			GATE2(NR_munmap, t->process->channel, CHANNEL_SIZE);
		process_drop(t->process);
	}
	if (t->arena)
		GATE2(NR_munmap, t->arena, t->arena_size);
	thread_remove(t);
}

/* In the child of a fork: the others' entries are copies of what no longer runs, and the lock may be one of theirs. */
void thread_only(void)
{
	free_threads = 0;
	free_processes = 0;
	free_births = 0;
	list_lock = 0;
	for (int i = 0; i < BUCKETS; i++)
		buckets[i] = 0;
}

struct process_self *process_new(void)
{
	struct process_self *p;

	lock();
	p = take((void **)&free_processes, sizeof *p);
	unlock();
	return p;
}

void process_drop(struct process_self *p)
{
	lock();
	give((void **)&free_processes, p);
	unlock();
}

struct birth *birth_new(void)
{
	struct birth *b;

	lock();
	b = take((void **)&free_births, sizeof *b);
	unlock();
	return b;
}

void birth_drop(struct birth *b)
{
	if (__atomic_sub_fetch(&b->refs, 1, __ATOMIC_ACQ_REL))
		return;
	lock();
	give((void **)&free_births, b);
	unlock();
}
