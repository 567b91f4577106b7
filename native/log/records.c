/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See records.h. Threads hand in their records a chunk at a time, so that neighbouring blocks overlap in time: those
 * that may have the next record are decoded and merged, the others wait. A block that begins with a call that slept for
 * hours stays decoded as long.
 */
#include "records.h"

#include <stdlib.h>
#include <string.h>

struct waiting {
	uint64_t earliest;
	struct log_segment *s;
	size_t block;
};

struct active {
	struct decoded d;
	uint32_t *rows, *runs; /* in order of start; the run of each row of the block */
	uint64_t *seqs;
	uint32_t count, at;
};

struct records {
	struct logfile *l;
	struct record_filter filter;
	uint32_t *ids;
	struct waiting *waiting;
	size_t waiting_count, waiting_at;
	struct active **heap;
	size_t heap_count, heap_room;
};

static int by_earliest(const void *left, const void *right)
{
	const struct waiting *a = left, *b = right;

	if (a->earliest != b->earliest)
		return a->earliest < b->earliest ? -1 : 1;
	return a->block < b->block ? -1 : a->block > b->block;
}

static int by_number(const void *left, const void *right)
{
	uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;

	return a < b ? -1 : a > b;
}

/* ---- which rows ------------------------------------------------------------------------------------------------- */

static int shape_wanted(const struct records *r, const struct log_segment *s, const struct segment_shape *shape)
{
	if (shape->kind != RECORD_CALL)
		return r->filter.events;
	return decoded_plan(s, shape) ? r->filter.calls[shape->nr] : r->filter.others;
}

static int run_wanted(const struct records *r, const struct segment_run *run)
{
	return !r->ids || bsearch(&run->pid, r->ids, r->filter.id_count, sizeof *r->ids, by_number) ||
	       bsearch(&run->tid, r->ids, r->filter.id_count, sizeof *r->ids, by_number);
}

static int choose(struct records *r, struct active *a)
{
	const struct segment_block *b = &a->d.b;
	uint8_t *wanted = malloc(b->head->shapes);
	uint32_t row = 0, n = 0;

	if (!wanted)
		return -1;
	for (uint32_t i = 0; i < b->head->shapes; i++)
		wanted[i] = (uint8_t)shape_wanted(r, a->d.s, &b->shapes[i]);
	for (uint32_t k = 0; k < b->head->runs; k++) {
		const struct segment_run *run = &b->runs[k];
		int here = run_wanted(r, run);

		for (uint32_t i = 0; i < run->rows; i++, row++) {
			if (!here || !wanted[a->d.codes[row]])
				continue;
			if (decoded_shape(&a->d, row)->flags & RECORD_NO_RETURN &&
			    logfile_is_dropped(r->l, a->d.s->run, run->thread, run->first + i))
				continue;
			a->rows[n++] = row;
			a->runs[row] = k;
			a->seqs[row] = run->first + i;
		}
	}
	a->count = n;
	free(wanted);
	return 0;
}

static int in_order(const void *left, const void *right, void *context)
{
	const struct active *a = context;
	uint32_t x = *(const uint32_t *)left, y = *(const uint32_t *)right;

	if (a->d.starts[x] != a->d.starts[y])
		return a->d.starts[x] < a->d.starts[y] ? -1 : 1;
	return x < y ? -1 : x > y;
}

static void active_free(struct active *a)
{
	decoded_free(&a->d);
	free(a->rows);
	free(a->runs);
	free(a->seqs);
	free(a);
}

/* ---- the heap --------------------------------------------------------------------------------------------------- */

static uint64_t head_of(const struct active *a)
{
	return a->d.starts[a->rows[a->at]];
}

static void sink(struct records *r, size_t i)
{
	for (;;) {
		size_t least = i;
		struct active *moved = r->heap[i];

		for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < r->heap_count; child++)
			if (head_of(r->heap[child]) < head_of(r->heap[least]))
				least = child;
		if (least == i)
			return;
		r->heap[i] = r->heap[least];
		r->heap[least] = moved;
		i = least;
	}
}

static int enter(struct records *r, struct active *a)
{
	size_t i = r->heap_count;

	if (r->heap_count == r->heap_room) {
		size_t room = r->heap_room ? 2 * r->heap_room : 16;
		struct active **grown = realloc(r->heap, room * sizeof *grown);

		if (!grown)
			return -1;
		r->heap = grown;
		r->heap_room = room;
	}
	r->heap_count++;
	for (; i && head_of(r->heap[(i - 1) / 2]) > head_of(a); i = (i - 1) / 2)
		r->heap[i] = r->heap[(i - 1) / 2];
	r->heap[i] = a;
	return 0;
}

static int activate(struct records *r, const struct waiting *w)
{
	struct active *a = calloc(1, sizeof *a);
	uint32_t rows;
	int got = a ? decoded_open(w->s, w->block, &a->d) : -1;

	if (got > 0)
		got = decoded_get(&a->d, NEED_STARTS);
	if (got <= 0)
		goto out;
	rows = a->d.b.head->rows;
	a->rows = malloc(rows * sizeof *a->rows);
	a->runs = malloc(rows * sizeof *a->runs);
	a->seqs = malloc(rows * sizeof *a->seqs);
	got = a->rows && a->runs && a->seqs && !choose(r, a) ? 1 : -1;
	if (got > 0 && a->count)
		got = decoded_get(&a->d, NEED_ALL);
	if (got <= 0 || !a->count)
		goto out;
	qsort_r(a->rows, a->count, sizeof *a->rows, in_order, a);
	if (!enter(r, a))
		return 0;
	got = -1;
out:
	if (a)
		active_free(a);
	return got < 0 ? -1 : 0;
}

/* ---- from outside ----------------------------------------------------------------------------------------------- */

/* 1, or 0 for a damaged block. */
static int find_earliest(struct log_segment *s, size_t block, uint64_t *earliest)
{
	struct decoded d;
	int got = decoded_open(s, block, &d);

	if (got > 0)
		got = decoded_get(&d, NEED_STARTS);
	*earliest = ~0ull;
	for (uint32_t i = 0; got > 0 && i < d.b.head->rows; i++)
		*earliest = d.starts[i] < *earliest ? d.starts[i] : *earliest;
	decoded_free(&d);
	return got;
}

struct records *records_new(struct logfile *l, const struct record_filter *f, const uint64_t *after, size_t after_count)
{
	struct records *r = calloc(1, sizeof *r);
	size_t room = 0;

	if (!r)
		return NULL;
	r->l = l;
	logfile_keep(l);
	r->filter = *f;
	for (size_t i = 0; i < logfile_segments(l); i++)
		room += logfile_segment(l, i)->count;
	r->waiting = malloc((room + 1) * sizeof *r->waiting);
	if (!r->waiting)
		goto out;
	if (f->ids) {
		r->ids = malloc((f->id_count + 1) * sizeof *r->ids);
		if (!r->ids)
			goto out;
		memcpy(r->ids, f->ids, f->id_count * sizeof *r->ids);
		qsort(r->ids, f->id_count, sizeof *r->ids, by_number);
	}
	for (size_t i = 0; i < logfile_segments(l); i++) {
		struct log_segment *s = logfile_segment(l, i);

		for (size_t k = i < after_count ? after[i] : 0; k < s->count; k++) {
			struct waiting *w = &r->waiting[r->waiting_count];
			int got = find_earliest(s, k, &w->earliest);

			if (got < 0)
				goto out;
			w->s = s;
			w->block = k;
			r->waiting_count += got > 0;
		}
	}
	qsort(r->waiting, r->waiting_count, sizeof *r->waiting, by_earliest);
	return r;
out:
	records_free(r);
	return NULL;
}

int records_next(struct records *r, struct record_view *v)
{
	struct active *a;
	uint32_t row;

	while (r->waiting_at < r->waiting_count &&
	       (!r->heap_count || r->waiting[r->waiting_at].earliest <= head_of(r->heap[0])))
		if (activate(r, &r->waiting[r->waiting_at++]))
			return -1;
	if (!r->heap_count)
		return 0;
	a = r->heap[0];
	row = a->rows[a->at++];
	v->s = a->d.s;
	v->run = &a->d.b.runs[a->runs[row]];
	v->shape = decoded_shape(&a->d, row);
	v->seq = a->seqs[row];
	v->start = a->d.starts[row];
	v->took = a->d.tooks[row];
	v->ret = a->d.rets[row];
	for (int i = 0; i < CALL_ARGS; i++)
		v->args[i] = a->d.args[i][row];
	for (int k = 0; k < v->shape->pieces; k++) {
		const struct block_piece *p = &a->d.pieces[a->d.first[row] + (uint32_t)k];

		v->pieces[k] = p->blob == NO_BLOB ? (struct blob){(const uint8_t *)"", 0} : logfile_blob(v->s, p->blob);
		v->full[k] = p->full == ~0u ? v->pieces[k].len : p->full;
	}
	if (a->at < a->count) {
		sink(r, 0);
		return 1;
	}
	r->heap[0] = r->heap[--r->heap_count];
	if (r->heap_count)
		sink(r, 0);
	active_free(a); /* what the view points to is the file's */
	return 1;
}

void records_free(struct records *r)
{
	for (size_t i = 0; i < r->heap_count; i++)
		active_free(r->heap[i]);
	free(r->heap);
	free(r->waiting);
	free(r->ids);
	logfile_drop(r->l);
	free(r);
}
