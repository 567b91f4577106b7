/* SPDX-License-Identifier: Apache-2.0 */
/* On which CPU a thread of the handlers' server sleeps and works: place.c. Private to it. */
#ifndef LSCA_PLACE_H
#define LSCA_PLACE_H

#include <sched.h>

#include "handler.h"

struct place {
	uint64_t budget; /* ticks, of a spin */
	cpu_set_t own;   /* where it may run, while it is bound */
	uint32_t bound;  /* to this CPU */
	uint32_t caller; /* CPU of the last question's thread */
	int is_bound, was_bound, woken;
	/* Sleeps. */
	uint32_t home; /* times that it was woken as it liked, and on its caller's CPU, since it was not */
	uint32_t span; /* sleeps for which it was bound the last time */
	uint32_t left; /* of them */
	uint32_t rest; /* sleeps until it may be bound again */
	/* Questions one after the other, without a sleep. */
	uint32_t quick;    /* on one CPU with their caller; the last one was at `last`, the first one at `since` */
	uint32_t trial;    /* on another one, of those that tell whether that is better */
	uint32_t backoff;  /* it was no better, so often */
	uint64_t last, since, took; /* ticks; `took`: for a question, on one CPU */
	uint64_t no_spread;
};

/* Around each sleep on the bell. */
void place_sleeps(struct place *p, struct handlers *h);
void place_woke(struct place *p, int has_slept);
/* A question was taken. */
void place_found(struct place *p, const struct handlers *h);
/* Before it looks out for the next one without a sleep. 1: it is on another CPU than its caller now. */
int place_moves(struct place *p, struct handlers *h);

#endif
