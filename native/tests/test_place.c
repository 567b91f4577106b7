/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a thread of the handlers' server sleeps and works, on a machine with four CPUs that is made up: which one it is
 * bound to while it sleeps, that it is free whenever anything else runs, when it leaves its caller's CPU, when it comes
 * back.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ring.h"

static uint32_t on_cpu; /* the thread's CPU */
static uint64_t ticks; /* ticks */
static uint64_t queued; /* of them, until it runs on another CPU */
static cpu_set_t allowed;
static int moves; /* calls that changed `allowed` */

static int set_affinity(const cpu_set_t *set)
{
	allowed = *set;
	moves++;
	if (CPU_ISSET(on_cpu, set))
		return 0;
	for (on_cpu = 0; !CPU_ISSET(on_cpu, set); on_cpu++)
		;
	ticks += queued;
	return 0;
}

#define arch_cpu() on_cpu
#define arch_ticks() ticks
#define sched_setaffinity(pid, size, set) set_affinity(set)
#define sched_getaffinity(pid, size, set) (*(set) = allowed, 0)
#include "daemon/handlers/place.c"

enum { BUDGET = 1000, CPUS = 4 };

static struct handlers *shared;
static struct place place;

#define CHECK(what) \
	do { \
		if (!(what)) { \
			printf("test_place: line %d: %s\n", __LINE__, #what); \
			exit(1); \
		} \
	} while (0)

static void begin(void)
{
	place = (struct place){.budget = BUDGET, .caller = CPU_UNKNOWN};
	CPU_ZERO(&allowed);
	for (uint32_t i = 0; i < CPUS; i++)
		CPU_SET(i, &allowed);
	moves = 0;
	queued = 0;
}

static int is_free(void)
{
	return CPU_COUNT(&allowed) == CPUS;
}

/* A sleep, and a question of a thread on `caller` that ends it; the kernel would have it on `idle`. 1: it was bound. */
static int ask_asleep(uint32_t caller, uint32_t idle)
{
	int was_bound;

	place_sleeps(&place, shared);
	was_bound = !is_free();
	if (was_bound)
		CHECK(CPU_COUNT(&allowed) == 1 && CPU_ISSET(on_cpu, &allowed) && shared->server.cpu == on_cpu);
	else
		on_cpu = idle;
	ticks += 100 * BUDGET;
	place_woke(&place, 1);
	CHECK(is_free());
	shared->client.cpu = caller;
	place_found(&place, shared);
	return was_bound;
}

static void ask_awake(uint32_t caller, uint64_t after)
{
	place_moves(&place, shared);
	CHECK(is_free());
	ticks += after;
	shared->client.cpu = caller;
	place_found(&place, shared);
}

static void test_sleeps(void)
{
	int bound = 0;

	begin();
	for (int i = 0; i < 50; i++)
		CHECK(!ask_asleep(2, 2)); /* where it is wanted */
	CHECK(!moves);
	CHECK(!ask_asleep(2, 1));
	for (int i = 0; i < SPAN_LEAST; i++)
		CHECK(ask_asleep(2, 1) && on_cpu == 2);
	/* Tried without; it is no better, and bound for longer. */
	CHECK(!ask_asleep(2, 1));
	for (int i = 0; i < SPAN_LEAST * SPAN_GROWS; i++)
		CHECK(ask_asleep(2, 1) && on_cpu == 2);
	for (int i = 0; i < 4000; i++)
		bound += ask_asleep(2, 1);
	CHECK(bound >= 3900 && bound < 4000);
	/* To its caller's CPU as that was the last time. */
	while (!ask_asleep(2, 1))
		;
	ask_asleep(3, 1);
	CHECK(ask_asleep(3, 1) && on_cpu == 3);
	/* The kernel does it right by itself again: all is forgotten. */
	while (ask_asleep(3, 3))
		;
	for (int i = 0; i < STEADY; i++)
		CHECK(!ask_asleep(3, 3));
	CHECK(!ask_asleep(3, 1));
	for (int i = 0; i < SPAN_LEAST; i++)
		CHECK(ask_asleep(3, 1));
	CHECK(!ask_asleep(3, 3));
}

static void test_others_bind_it(void)
{
	begin();
	ask_asleep(2, 1);
	place_sleeps(&place, shared);
	CHECK(CPU_COUNT(&allowed) == 1);
	CPU_ZERO(&allowed);
	CPU_SET(0, &allowed);
	CPU_SET(2, &allowed);
	place_woke(&place, 1);
	CHECK(CPU_COUNT(&allowed) == 2);
	/* There is no choice: it is left alone. */
	CPU_CLR(2, &allowed);
	moves = 0;
	for (int i = 0; i < 20; i++) {
		on_cpu = 0;
		place_sleeps(&place, shared);
		place_woke(&place, 1);
		place_found(&place, shared);
	}
	CHECK(!moves);
}

static void test_quick_callers(void)
{
	begin();
	ask_asleep(1, 1);
	for (int i = 0; i < 10 * QUICK; i++)
		ask_awake(1, 2 * BUDGET); /* it would hardly wait for them */
	CHECK(!moves && on_cpu == 1);
	for (int i = 0; i < QUICK + 1; i++)
		ask_awake(1, BUDGET / 2);
	CHECK(on_cpu != 1);
	moves = 0;
	for (int i = 0; i < 10 * TRIAL; i++)
		ask_awake(1, BUDGET / 4);
	CHECK(!moves && on_cpu != 1);
	/* After that it is not brought back to its caller for some sleeps. */
	for (int i = 0; i < REST; i++)
		CHECK(!ask_asleep(1, 0));
	CHECK(ask_asleep(1, 0));
}

/* How many questions it answered on its caller's CPU. */
static int until_it_moves(void)
{
	int n = 0;

	for (; on_cpu == 1 && n < 1 << 20; n++)
		ask_awake(1, BUDGET / 2);
	return n;
}

static void test_no_better(void)
{
	int n, before;

	begin();
	ask_asleep(1, 1);
	before = until_it_moves();
	for (int i = 0; i < TRIAL + 2 && on_cpu != 1; i++)
		ask_awake(1, BUDGET * 3 / 4);
	CHECK(on_cpu == 1);
	n = until_it_moves();
	CHECK(n > 10 * before && n < 1 << 20);
	/* Somebody else works there: it is back at once. */
	begin();
	ask_asleep(1, 1);
	queued = 20 * BUDGET;
	for (int i = 0; i < 2 * QUICK; i++)
		ask_awake(1, BUDGET / 2);
	CHECK(on_cpu == 1 && moves == 4);
	/* A few questions and then a sleep, again and again: that is not worth a move. */
	begin();
	for (int i = 0; i < 100; i++) {
		ask_asleep(1, 1);
		for (int k = 0; k < QUICK * 3 / 2; k++)
			ask_awake(1, BUDGET / 2);
	}
	CHECK(moves == 2);
}

int main(void)
{
	shared = calloc(1, sizeof *shared);
	CHECK(shared);
	test_sleeps();
	test_others_bind_it();
	test_quick_callers();
	test_no_better();
	free(shared);
	puts("places are as they should be");
	return 0;
}
