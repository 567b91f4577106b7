/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a log has of its threads and whether anything is missing: every block is decoded, and the numbers of each thread's records are laid one
 * after the other. A number that no record has is a record that was lost; a number that two have was written twice.
 */
#include "logfile.h"

#include <stdlib.h>
#include <string.h>

#include "decoded.h"

struct stretch {
	uint64_t thread, first, end;
	uint32_t run, pid, tid;
};

static int in_order(const void *left, const void *right)
{
	const struct stretch *a = left, *b = right;

	if (a->run != b->run)
		return a->run < b->run ? -1 : 1;
	if (a->thread != b->thread)
		return a->thread < b->thread ? -1 : 1;
	return a->first < b->first ? -1 : a->first > b->first;
}

/* Room for one more, or NULL. */
static void *room_for(void **array, size_t count, size_t size)
{
	void *grown = *array;

	if (!(count & (count - 1))) /* a power of two: full */
		grown = realloc(*array, (count ? 2 * count : 1) * size);
	if (!grown)
		return NULL;
	*array = grown;
	return (char *)grown + count * size;
}

static int add_runs(const struct log_segment *s, const struct segment_block *b, struct stretch **all, size_t *count)
{
	for (uint32_t i = 0; i < b->head->runs; i++) {
		const struct segment_run *run = &b->runs[i];
		struct stretch *one;

		if (*count && (*all)[*count - 1].run == s->run && (*all)[*count - 1].thread == run->thread &&
		    (*all)[*count - 1].end == run->first) {
			(*all)[*count - 1].end += run->rows;
			continue;
		}
		one = room_for((void **)all, *count, sizeof *one);
		if (!one)
			return -1;
		*one = (struct stretch){run->thread, run->first, run->first + run->rows, s->run, run->pid, run->tid};
		++*count;
	}
	return 0;
}

/* Its runs' heads alone. */
static int skim(struct log_segment *s, size_t block, struct stretch **all, size_t *count)
{
	struct segment_block b;
	const char *problem;
	uint64_t at = s->blocks[block].at;

	return segment_block_next(s->data, s->size, &at, &b, 0, &problem) == 1 ? add_runs(s, &b, all, count) : 0;
}

static int read_all(struct logfile *l, int deep, struct stretch **all, size_t *count)
{
	for (size_t i = 0; i < logfile_segments(l); i++) {
		struct log_segment *s = logfile_segment(l, i);

		for (size_t k = 0; k < s->count; k++) {
			struct decoded d;
			int got;

			if (!deep) {
				if (skim(s, k, all, count))
					return -1;
				continue;
			}
			got = decoded_open(s, k, &d);
			if (got > 0)
				got = decoded_get(&d, NEED_ALL);
			if (got > 0 && add_runs(s, &d.b, all, count))
				got = -1;
			if (got > 0 && s->blocks[k].blobs)
				logfile_blob(s, s->blocks[k].blobs_before);
			decoded_free(&d);
			if (got < 0)
				return -1;
		}
	}
	return 0;
}

static int by_number(const void *left, const void *right)
{
	uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;

	return a < b ? -1 : a > b;
}

int logfile_pids(struct logfile *l, uint32_t **pids, size_t *count)
{
	size_t n = 0, kept = 0;

	*pids = NULL;
	*count = 0;
	for (size_t i = 0; i < logfile_segments(l); i++) {
		const struct log_segment *s = logfile_segment(l, i);

		for (size_t k = 0; k < s->count; k++) {
			struct segment_block b;
			const char *problem;
			uint64_t at = s->blocks[k].at;

			if (segment_block_next(s->data, s->size, &at, &b, 0, &problem) != 1)
				continue;
			for (uint32_t r = 0; r < b.head->runs; r++) {
				uint32_t *one = n && (*pids)[n - 1] == b.runs[r].pid ? *pids : NULL;

				if (one)
					continue;
				one = room_for((void **)pids, n, sizeof *one);
				if (!one) {
					free(*pids);
					return -1;
				}
				*one = b.runs[r].pid;
				n++;
			}
		}
	}
	if (n)
		qsort(*pids, n, sizeof **pids, by_number);
	for (size_t i = 0; i < n; i++)
		if (!kept || (*pids)[kept - 1] != (*pids)[i])
			(*pids)[kept++] = (*pids)[i];
	*count = kept;
	return 0;
}

int logfile_verify(struct logfile *l, int deep, struct log_gap **gaps, size_t *count)
{
	struct stretch *all = NULL;
	size_t stretches = 0;
	uint64_t next = 0;
	int e = -1;

	*gaps = NULL;
	*count = 0;
	if (read_all(l, deep, &all, &stretches))
		goto out;
	if (stretches)
		qsort(all, stretches, sizeof *all, in_order);
	for (size_t i = 0; i < stretches; i++) {
		const struct stretch *s = &all[i];
		struct log_gap *one;

		if (!i || all[i - 1].run != s->run || all[i - 1].thread != s->thread)
			next = 0;
		if (s->first != next) {
			one = room_for((void **)gaps, *count, sizeof *one);
			if (!one)
				goto out;
			*one = (struct log_gap){s->run, s->pid, s->tid, s->first < next, s->thread, next, s->first};
			if (s->first < next) {
				one->from = s->first;
				one->to = s->end < next ? s->end : next;
			}
			++*count;
		}
		next = s->end > next ? s->end : next;
	}
	e = 0;
out:
	free(all);
	if (e) {
		free(*gaps);
		*gaps = NULL;
	}
	return e;
}
