/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flight recorder: a log of the last calls only. The drainer leaves full chunks where they are, in the order in
 * which they were begun, and frees the oldest as soon as those after it hold enough.
 */
#include "drain.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launch.h"
#include "ring.h"

void flight_keep(struct drain *d, uint32_t i)
{
	struct chunk_head h;
	uint32_t rows = 0;

	d->chunks[i].is_done = 1;
	if (pread(d->area, d->copy, CHUNK_SIZE, (off_t)AREA_AT(i)) != CHUNK_SIZE)
		memset(d->copy, 0, sizeof h);
	memcpy(&h, d->copy, sizeof h);
	for (uint32_t at = 0, words; h.used <= CHUNK_ROOM && at < h.used; at += 8 * words, rows++) {
		words = ((const struct log_record *)(d->copy + sizeof h + at))->words;
		if (!words)
			break;
	}
	d->chunks[i].lease = h.lease;
	d->chunks[i].taken = 0;
	d->fresh[d->fresh_count++] = (struct flying){h.lease, i, rows};
}

static int by_begin(const void *a, const void *b)
{
	const struct flying *x = a, *y = b;

	return x->lease < y->lease ? -1 : x->lease > y->lease;
}

/* Takes in those that have become full since the last pass, in the order in which they were begun. */
void flight_pass(struct drain *d)
{
	uint32_t freed = 0, starved = get_relaxed(&d->session->starved), spare = 0;

	/* There is no memory for so many: a program is not to wait for what nobody would give back. */
	if (starved != d->starved)
		spare = (d->kept_count + d->fresh_count) / 16 + 1;
	d->starved = starved;
	qsort(d->fresh, d->fresh_count, sizeof *d->fresh, by_begin);
	for (uint32_t n = 0; n < d->fresh_count; n++) {
		d->kept[(d->kept_from + d->kept_count++) % CHUNK_COUNT] = d->fresh[n];
		d->kept_total += d->fresh[n].rows;
	}
	d->fresh_count = 0;
	/* The oldest one is kept until those that came after it have enough. */
	for (; d->kept_count > (spare ? 0 : 1); freed++) {
		struct flying *oldest = &d->kept[d->kept_from];

		if (freed >= spare && d->kept_total - oldest->rows < d->head.options.flight &&
		    d->kept_count <= d->head.options.chunks / 2)
			break;
		d->kept_total -= oldest->rows;
		d->kept_from = (d->kept_from + 1) % CHUNK_COUNT;
		d->kept_count--;
		d->chunks[oldest->chunk].taken = CHUNK_ROOM;
		drain_await(d, oldest->chunk);
	}
	if (freed)
		drain_settle(d);
}
