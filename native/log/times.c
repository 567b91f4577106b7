/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From ticks to nanoseconds. A segment's header has one moment on all clocks and a rate, its end block a second moment.
 * All of it may be nonsense: a time is then nonsense, too, but never undefined.
 */
#include "logfile.h"

#include <math.h>

/* The longer the baseline, the better the rate; but only if the end block makes sense. */
void logfile_settle_rate(struct log_segment *s)
{
	const struct segment_header *h = s->header;
	double ticks = (double)(int64_t)(s->end.ticks - h->ticks0), ns = (double)(int64_t)(s->end.mono - h->mono0);

	s->ns_per_tick = h->ns_per_tick;
	if (s->has_end && ticks > 0 && ns > 0 && fabs(ns / ticks / h->ns_per_tick - 1) < 0.01)
		s->ns_per_tick = ns / ticks;
}

static int64_t to_ns(double ns)
{
	return ns >= 9.2e18 ? INT64_MAX : ns <= -9.2e18 ? INT64_MIN : (int64_t)ns;
}

int64_t logfile_real_ns(const struct log_segment *s, uint64_t ticks)
{
	int64_t ns = to_ns((double)(int64_t)(ticks - s->header->ticks0) * s->ns_per_tick), real;

	return __builtin_add_overflow((int64_t)s->header->real0, ns, &real) ? INT64_MAX : real;
}

int64_t logfile_ns(const struct log_segment *s, uint64_t ticks)
{
	return to_ns((double)ticks * s->ns_per_tick);
}
