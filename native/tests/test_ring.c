/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handshake of a slot, a million times: two threads post and wait as agent (delegate.c) and proxy (serve.c) do,
 * on one CPU and on two, spinning, yielding and sleeping. A sleep that nobody ends within the limit is a lost wake-up;
 * an answer that does not belong to its request is a store that was seen too late.
 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "ring.h"

enum { MESSAGES = 1000000, SLOW_MESSAGES = 50000, LIMIT = 20 /* s */, OWNER = 4711 };

#define WORD_OWNER (OWNER | WORD_WAITERS)

struct setup {
	const char *name;
	int agent_cpu, proxy_cpu; /* -1: any */
	uint32_t spare, messages;
	int pauses; /* now and then somebody is slow, so that the other one goes to sleep */
};

static struct slot *slot;
static struct session *session;
static struct setup now;

static void die(const char *who, const char *what, uint64_t n)
{
	printf("test_ring: %s: %s, message %llu: %s (word %#x, asleep %u and %u)\n", now.name, who,
	       (unsigned long long)n, what, get_acquire(&slot->word), slot->agent.asleep, slot->proxy.asleep);
	exit(1);
}

static void yield(void)
{
	sched_yield();
}

static void nap(uint32_t *word, uint32_t value, const char *who, uint64_t n)
{
	struct timespec limit = {LIMIT, 0};

	if (syscall(SYS_futex, word, FUTEX_WAIT, value, &limit, 0, 0) && errno == ETIMEDOUT)
		die(who, "lost wake-up", n);
}

static void rouse(uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, 1, 0, 0, 0);
}

static void on_cpu(int cpu)
{
	cpu_set_t set;

	if (cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET((unsigned)cpu, &set);
	if (sched_setaffinity(0, sizeof set, &set))
		die("setup", "sched_setaffinity", (uint64_t)cpu);
}

static uint32_t next(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

static void pause_sometimes(uint32_t *state)
{
	uint32_t n = next(state);

	if (!now.pauses || n % 8)
		return;
	if (n % 64)
		for (uint64_t end = arch_ticks() + session->budget * (n / 64 % 4) / 2; arch_ticks() < end;)
			arch_relax();
	else
		sched_yield();
}

static void *proxy(void *arg)
{
	struct patience patience = {.credit = 2};
	uint32_t random = 2;
	uint64_t n = 0;

	(void)arg;
	on_cpu(now.proxy_cpu);
	while (n < now.messages) {
		uint32_t word = get_acquire(&slot->word);

		if (word != WORD_OWNER) {
			if (ring_linger(&slot->word, word, &slot->proxy, &slot->agent, &patience, session, yield) ==
			    RING_READY)
				continue;
			put_relaxed(&slot->proxy.asleep, 1);
			store_before_load();
			if (get_acquire(&slot->word) == word) {
				slot->proxy.slept++;
				nap(&slot->word, word, "proxy", n);
			}
			put_relaxed(&slot->proxy.asleep, 0);
			continue;
		}
		if (slot->args[0] != n || slot->args[5] != ~n)
			die("proxy", "another request than was posted", n);
		pause_sometimes(&random);
		slot->ret = (int64_t)(n * 3 + 1);
		n++;
		put_release(&slot->word, WORD_ANSWER);
		store_before_load();
		if (get_relaxed(&slot->agent.asleep)) {
			slot->proxy.woke++;
			rouse(&slot->word);
		}
	}
	return 0;
}

static void agent(void)
{
	struct patience patience = {.credit = 2};
	uint32_t random = 1;

	for (uint64_t n = 0; n < now.messages; n++) {
		slot->args[0] = n;
		slot->args[5] = ~n;
		put_release(&slot->word, WORD_OWNER);
		store_before_load();
		if (get_relaxed(&slot->proxy.asleep)) {
			slot->agent.woke++;
			rouse(&slot->word);
		}
		while (ring_linger(&slot->word, WORD_OWNER, &slot->agent, &slot->proxy, &patience, session,
				   yield) != RING_READY) {
			put_relaxed(&slot->agent.asleep, 1);
			store_before_load();
			if (get_acquire(&slot->word) == WORD_OWNER) {
				slot->agent.slept++;
				nap(&slot->word, WORD_OWNER, "agent", n);
			}
			put_relaxed(&slot->agent.asleep, 0);
		}
		if (get_acquire(&slot->word) != WORD_ANSWER)
			die("agent", "no answer", n);
		if (slot->ret != (int64_t)(n * 3 + 1))
			die("agent", "the answer to another request", n);
		put_relaxed(&slot->word, WORD_IDLE);
		pause_sometimes(&random);
	}
}

static void run(struct setup setup)
{
	pthread_t id;
	cpu_set_t before;
	uint64_t start = arch_ticks();

	now = setup;
	memset(slot, 0, SLOT_SIZE);
	slot->agent.cpu = slot->proxy.cpu = ~0u;
	session->spare = now.spare;
	sched_getaffinity(0, sizeof before, &before);
	if (pthread_create(&id, 0, proxy, 0))
		die("setup", "pthread_create", 0);
	on_cpu(now.agent_cpu);
	agent();
	pthread_join(id, 0);
	sched_setaffinity(0, sizeof before, &before);
	if (session->spinners)
		die("end", "spinners are left", session->spinners);
	printf("test_ring: %-22s %7u messages, %6.0f ticks each; spun %llu, yielded %llu, slept %llu\n", now.name,
	       now.messages, (double)(arch_ticks() - start) / now.messages,
	       (unsigned long long)(slot->agent.spun + slot->proxy.spun),
	       (unsigned long long)(slot->agent.yielded + slot->proxy.yielded),
	       (unsigned long long)(slot->agent.slept + slot->proxy.slept));
}

/* Answers whoever spins. */
static uint32_t answered, learned;

static void *prompt(void *arg)
{
	(void)arg;
	while (!get_acquire(&learned))
		if (get_acquire(&session->spinners))
			put_release(&answered, 1);
	return 0;
}

/* A waiter that gave up spinning tries it again, and takes to it once it pays. */
static void learn(void)
{
	struct patience patience = {.credit = 2};
	struct bell me = {.cpu = 0}, peer = {.cpu = ~0u};
	time_t end = time(0) + LIMIT;
	pthread_t id;

	now.name = "learning";
	session->spare = 1;
	for (int i = 0; i < 200; i++)
		ring_linger(&answered, 0, &me, &peer, &patience, session, yield);
	if (patience.credit > 0)
		die("waiter", "spins although it never pays", 0);
	if (pthread_create(&id, 0, prompt, 0))
		die("setup", "pthread_create", 0);
	while (patience.credit <= 0) {
		put_relaxed(&answered, 0);
		ring_linger(&answered, 0, &me, &peer, &patience, session, yield);
		if (time(0) > end)
			die("waiter", "never spins again", me.spun);
	}
	put_release(&learned, 1);
	pthread_join(id, 0);
}

/* 50 us, as the launcher sets it. */
static uint64_t measure_budget(void)
{
	struct timespec t = {0, 10000000};
	uint64_t start = arch_ticks();

	nanosleep(&t, 0);
	return (arch_ticks() - start) / 200 + 1;
}

/* Threads that were killed while they spun: for a moment nobody else may, and then somebody does. */
static void test_dead_spinners(void)
{
	uint32_t nothing = 0;
	struct bell me = {.cpu = 0}, peer = {.cpu = CPU_UNKNOWN - 1};
	struct patience patience = {.credit = 8};
	uint64_t budget = session->budget, end;

	session->spare = 1;
	session->spinners = 3;
	session->spun_at = (uint32_t)(arch_ticks() / SPIN_TICK);
	if (ring_may_spin(session, budget) || session->spinners != 4)
		die("dead spinners", "a place that is taken was given away", session->spinners);
	session->spinners = 3;
	end = arch_ticks() + (budget + SPIN_TICK) * (SPIN_STALE + 10ull);
	while (arch_ticks() < end)
		;
	patience.credit = 8;
	ring_linger(&nothing, 0, &me, &peer, &patience, session, yield);
	if (session->spinners || patience.credit == 8)
		die("dead spinners", "the dead are counted for ever", session->spinners);
	session->spinners = (uint32_t)-2; /* they were not dead */
	if (!ring_may_spin(session, budget) || session->spinners != 1)
		die("dead spinners", "fewer than none", session->spinners);
	session->spinners = 0;
}

static uint32_t brought;

/* Somebody else has the CPU for longer than a yield should take; or it is the peer, and has much to do. */
static void yield_long(void)
{
	for (uint64_t end = arch_ticks() + session->budget * (TOO_LONG + 2); arch_ticks() < end;)
		arch_relax();
	add_one(&brought);
}

/* How often who waits twice gives way, if so many things have come by the first time. */
static uint64_t yields_after(uint32_t found)
{
	struct patience patience = {.credit = 8};
	struct bell me = {.cpu = 0}, peer = {.cpu = arch_cpu()};

	for (int i = 0; i < 2; i++) {
		ring_linger(&brought, brought, &me, &peer, &patience, session, yield_long);
		ring_was_worth(&patience, session, found);
	}
	return me.yielded;
}

static void test_long_yields(int cpu)
{
	if (arch_cpu() == CPU_UNKNOWN)
		return;
	now.name = "long yields";
	on_cpu(cpu);
	if (yields_after(1) != 1)
		die("waiter", "gives way although it takes too long", 1);
	if (yields_after(1u << 30) != 2)
		die("waiter", "does not give way to a peer that works for many", 1u << 30);
}

int main(void)
{
	int cpus[2], count = 0;
	cpu_set_t set;

	setvbuf(stdout, 0, _IOLBF, 0);
	slot = aligned_alloc(SLOT_SIZE, SLOT_SIZE);
	session = calloc(1, sizeof *session);
	session->budget = measure_budget();
	sched_getaffinity(0, sizeof set, &set);
	for (int i = 0; i < CPU_SETSIZE && count < 2; i++)
		if (CPU_ISSET((unsigned)i, &set))
			cpus[count++] = i;
	test_long_yields(cpus[0]);
	sched_setaffinity(0, sizeof set, &set);
	run((struct setup){"one CPU", cpus[0], cpus[0], (uint32_t)count - 1, MESSAGES, 0});
	run((struct setup){"one CPU, never spin", cpus[0], cpus[0], 0, SLOW_MESSAGES, 1});
	if (count < 2) {
		printf("test_ring: one CPU only: the rest is left out\n");
		return 0;
	}
	learn();
	test_dead_spinners();
	run((struct setup){"two CPUs", cpus[0], cpus[1], 1, MESSAGES, 0});
	run((struct setup){"two CPUs, pauses", cpus[0], cpus[1], 1, SLOW_MESSAGES, 1});
	run((struct setup){"two CPUs, never spin", cpus[0], cpus[1], 0, SLOW_MESSAGES, 1});
	run((struct setup){"any CPU", -1, -1, 1, SLOW_MESSAGES, 1});
	free(session);
	free(slot);
	return 0;
}
