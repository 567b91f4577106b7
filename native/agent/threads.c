/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is calling: a small hash from thread id to what the agent keeps for the thread. There is no thread-local storage
 * to use (the program may not have set its own up yet), so the kernel is asked for the id, unless the thread has shown
 * up before with a key (x86-64: the fs base) that no other has. Entries come from pages that are kept; a lock guards
 * the lists, with signals blocked or put off for every caller.
 *
 * A thread's key is its own as long as it began with one of its own. One that was made without (a vfork child, the
 * threads of Go) has its parent's until it sets one: meanwhile neither of the two is known by it.
 */
#include "agent.h"

enum { BUCKETS = 128, ROOM = 4096, FIRST_ROOM = 1088 /* what most processes need, on a page that is touched anyway */ };

struct thread *thread_keys[KEY_SLOTS] COLD(2);
static struct thread *buckets[BUCKETS] HOT;
static struct thread *free_threads;
static struct process_self *free_processes;
static struct birth *free_births;
static uint32_t list_lock, first_used, stack_used, is_crowded;
static char first_room[FIRST_ROOM] HOT __attribute__((aligned(16)));
static char first_stack[ALT_SIZE + STACK_SIZE] COLD(1) __attribute__((aligned(16)));
struct process_self process_main HOT;

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

/* Take one from a list of free ones, each of which begins with the pointer to the next. Its contents are anything. */
static void *take(void **list, uint32_t size)
{
	void *one = *list;

	if (!one && first_used + size <= FIRST_ROOM) {
		one = first_room + first_used;
		first_used += size;
		return one;
	}
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
	return one;
}

static void give(void **list, void *one)
{
	*(void **)one = *list;
	*list = one;
}

static struct thread *by_tid(uint32_t tid)
{
	struct thread *t = buckets[tid % BUCKETS];

	while (t && t->tid != tid)
		t = t->next;
	return t;
}

struct thread *thread_self(void)
{
	struct thread *t = thread_here();
	uint32_t tid;

	if (t)
		return t;
	tid = (uint32_t)GATE1(NR_gettid, 0);
	lock();
	t = by_tid(tid);
	unlock();
	return t;
}

/*
 * A struct that a thread has left behind comes with its stack. The thread may still be on its way out, on that stack:
 * then it is not to be had yet.
 */
static struct thread *take_thread(void)
{
	struct thread **at = &free_threads, *t, *fresh = 0;

	for (int tries = 0; *at && tries < 4; tries++, at = (struct thread **)*at) {
		t = *at;
		if (t->tid && GATE3(NR_tgkill, process_main.pid, t->tid, 0) != -ESRCH_)
			continue;
		*at = *(struct thread **)t;
		return t;
	}
	t = take((void **)&fresh, sizeof *t);
	while (fresh) {
		struct thread *next = *(struct thread **)fresh;

		give((void **)&free_threads, fresh);
		fresh = next;
	}
	return t;
}

struct thread *thread_make(uint64_t stack)
{
	struct thread *t;

	lock();
	t = take_thread();
	unlock();
	if (!t)
		return 0;
	if (!stack)
		stack = t->stack;
	memset(t, 0, sizeof *t);
	t->stack = stack;
	t->key = NO_KEY;
	t->minus_key = 0 - NO_KEY;
	t->slot = SLOT_COUNT;
	t->patience.credit = 2;
	local_forget(t);
	if (!t->stack) {
		char *pages = swap_if(&stack_used, 0, 1) ? first_stack : memory_pages(ALT_SIZE + STACK_SIZE);

		if (pages) /* entry.S wants it so that a call finds it aligned */
			t->stack = (uint64_t)pages + ALT_SIZE + STACK_SIZE - 8;
	}
	return t;
}

void thread_unmake(struct thread *t)
{
	lock();
	give((void **)&free_threads, t);
	unlock();
}

void thread_enter(struct thread *t, struct process_self *process)
{
	t->tid = (uint32_t)GATE1(NR_gettid, 0);
	t->process = process;
	lock();
	t->next = buckets[t->tid % BUCKETS];
	buckets[t->tid % BUCKETS] = t;
	unlock();
}

struct thread *thread_add(struct process_self *process)
{
	struct thread *t = thread_make(0);

	if (t)
		thread_enter(t, process);
	return t;
}

/* With the lock. */
static void forget_key(struct thread *t)
{
	t->minus_key = 0 - NO_KEY;
	if (t->key != NO_KEY && thread_keys[KEY_SLOT(t->key)] == t)
		thread_keys[KEY_SLOT(t->key)] = 0;
	t->key = NO_KEY;
}

static void part_from_twin(struct thread *t)
{
	struct thread *other = t->twin_of ? by_tid(t->twin_of) : 0;

	if (other && other->twins)
		other->twins--;
	t->twin_of = 0;
}

void thread_alone(uint32_t tid)
{
	struct thread *t;

	lock();
	t = by_tid(tid);
	if (t && t->twins)
		t->twins--;
	unlock();
}

void thread_doubt(uint32_t tid)
{
	struct thread *t;

	lock();
	t = by_tid(tid);
	if (t) {
		forget_key(t);
		t->twins++;
	}
	unlock();
}

void thread_rekey(struct thread *t)
{
	lock();
	forget_key(t);
	part_from_twin(t);
	unlock();
}

void thread_bar(struct thread *t)
{
	lock();
	t->minus_key = 0 - NO_KEY;
	t->twins++;
	unlock();
}

void thread_unbar(struct thread *t)
{
	lock();
	t->twins--;
	unlock();
}

void thread_admit(struct thread *t)
{
	uint64_t key = arch_key();
	struct thread **slot = &thread_keys[KEY_SLOT(key)];

	if (key == NO_KEY || (!key && is_crowded) || !t->stack || t->twins)
		return;
	/* A vfork child has its parent's key, too, and may use it: the parent stands still until it is gone. */
	if (!t->process->vforked && (t->twin_of || t->process != &process_main))
		return;
	if (t->key != key) {
		lock();
		forget_key(t);
		if (swap_pointer_if((void **)slot, 0, t)) /* a write from the first: one fault, not two */
			t->key = key;
		unlock();
		if (t->key != key)
			return;
	}
	t->minus_key = 0 - key;
}

void thread_remove(struct thread *t)
{
	lock();
	forget_key(t);
	part_from_twin(t);
	for (struct thread **p = &buckets[t->tid % BUCKETS]; *p; p = &(*p)->next) {
		if (*p == t) {
			*p = t->next;
			give((void **)&free_threads, t);
			break;
		}
	}
	unlock();
}

int thread_is_last(const struct thread *t)
{
	int others = 0;

	lock();
	for (int i = 0; i < BUCKETS; i++)
		for (const struct thread *other = buckets[i]; other; other = other->next)
			others |= other != t && other->process == t->process;
	unlock();
	return !others;
}

static void process_drop(struct process_self *p)
{
	lock();
	give((void **)&free_processes, p);
	unlock();
}

void thread_forget(struct thread *t)
{
	if (!t)
		return;
	if (t->process != &process_main) {
		if (t->process->channel)
			GATE2(NR_munmap, t->process->channel, CHANNEL_SIZE);
		process_drop(t->process);
	}
	if (t->arena)
		GATE2(NR_munmap, t->arena, t->arena_size);
	t->stack = 0; /* it was its parent's */
	thread_remove(t);
}

/* In the child of a fork: the others' entries are copies of what no longer runs, and the lock may be one of theirs. */
void thread_only(void)
{
	if (is_crowded) {
		free_threads = 0;
		free_processes = 0;
		free_births = 0;
	}
	list_lock = 0;
	for (int i = 0; i < BUCKETS; i++) {
		for (struct thread *t = buckets[i]; t; t = t->next)
			forget_key(t);
		buckets[i] = 0;
	}
}

/* What the child of a fork was in its parent. Its stack has found another owner. */
void thread_was(struct thread *t)
{
	t->tid = 0;
	t->stack = 0;
	thread_unmake(t);
}

/*
 * There will be others in this memory. A thread without a key of its own (0, before a libc has set one) is known by
 * that only as long as it is alone: others may come to have none in ways that nobody tells us.
 */
void thread_crowd(struct thread *t)
{
	put_release(&is_crowded, 1);
	lock();
	if (!t->key)
		forget_key(t);
	unlock();
}

int thread_is_alone(void)
{
	return !get_acquire(&is_crowded);
}

struct process_self *process_new(void)
{
	struct process_self *p;

	lock();
	p = take((void **)&free_processes, sizeof *p);
	unlock();
	if (p)
		memset(p, 0, sizeof *p);
	return p;
}

struct birth *birth_new(void)
{
	struct birth *b;

	lock();
	b = take((void **)&free_births, sizeof *b);
	unlock();
	if (b)
		memset(b, 0, sizeof *b);
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
