/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stream of calls, see arrow.h. It has a list of its own of the blocks that there were when it was made; each
 * becomes one batch, decoded when it is asked for. Records of other kinds, and those that were replaced, are left out.
 * May be called in any thread: all it touches is behind the log's lock or its own.
 */
#include "arrow.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"

static const struct {
	const char *name, *format;
} columns[] = {
#define X(id, name, format) {name, format},
	CALL_COLUMNS(X)
#undef X
};

struct part { /* of the log, as much as was there */
	struct log_segment *s;
	size_t blocks;
};

struct stream {
	struct logfile *l;
	uint64_t wanted, there; /* columns: to be filled, and in the stream at all */
	struct part *parts;
	size_t part_count, part, block;
	struct words_of_calls words;
	const char *problem;
};

const char *arrow_column(int i)
{
	return i < CALLS_COLUMNS ? columns[i].name : NULL;
}

/* ---- the schema ------------------------------------------------------------------------------------------------- */

static void schema_release(struct ArrowSchema *s)
{
	for (int64_t i = 0; i < s->n_children; i++) {
		if (s->children[i] && s->children[i]->release)
			s->children[i]->release(s->children[i]);
		free(s->children[i]);
	}
	if (s->dictionary && s->dictionary->release)
		s->dictionary->release(s->dictionary);
	free(s->dictionary);
	free(s->children);
	s->release = NULL;
}

static void schema_begin(struct ArrowSchema *s, const char *format, const char *name)
{
	*s = (struct ArrowSchema){.format = format, .name = name, .flags = ARROW_NULLABLE, .release = schema_release};
}

static int has_words(int column)
{
	return column == CALLS_NAME || column == CALLS_ERROR || column == CALLS_FAMILY || column == CALLS_ROUTE;
}

static int stream_schema(struct ArrowArrayStream *stream, struct ArrowSchema *s)
{
	const struct stream *t = stream->private_data;

	schema_begin(s, "+s", "");
	s->flags = 0;
	s->children = calloc(CALLS_COLUMNS, sizeof(void *));
	if (!s->children)
		goto out;
	for (int i = 0; i < CALLS_COLUMNS; i++) {
		struct ArrowSchema *child;

		if (!(t->there >> i & 1))
			continue;
		child = s->children[s->n_children++] = calloc(1, sizeof *child);
		if (!child)
			goto out;
		schema_begin(child, columns[i].format, columns[i].name);
		if (!has_words(i))
			continue;
		child->dictionary = calloc(1, sizeof *child->dictionary);
		if (!child->dictionary)
			goto out;
		schema_begin(child->dictionary, "u", "");
	}
	return 0;
out:
	schema_release(s);
	return ENOMEM;
}

/* ---- words ------------------------------------------------------------------------------------------------------ */

uint32_t name_key(const struct log_segment *s, const struct segment_shape *shape)
{
	uint32_t kind = shape->flags & RECORD_FOREIGN ? 2 : logfile_plans(s) == plans_aarch64;

	return kind << 16 | shape->nr;
}

/* The names of all calls that the log's blocks have shapes of. */
static int find_names(struct stream *t)
{
	struct segment_block b;
	char made[32];

	t->words.name_of = malloc(NAME_KEYS * sizeof *t->words.name_of);
	if (!t->words.name_of)
		return -1;
	memset(t->words.name_of, 0xff, NAME_KEYS * sizeof *t->words.name_of);
	for (size_t p = 0; p < t->part_count; p++) {
		struct log_segment *s = t->parts[p].s;

		for (size_t i = 0; i < t->parts[p].blocks && i < s->count; i++) {
			uint64_t at = s->blocks[i].at;
			const char *problem;

			if (segment_block_next(s->data, s->size, &at, &b, 0, &problem) != 1)
				continue;
			for (uint32_t k = 0; k < b.head->shapes; k++) {
				const struct segment_shape *shape = &b.shapes[k];
				const struct call_plan *plan = decoded_plan(s, shape);
				int32_t *number = &t->words.name_of[name_key(s, shape)];

				if (shape->kind != RECORD_CALL || *number >= 0)
					continue;
				if (shape->flags & RECORD_FOREIGN)
					snprintf(made, sizeof made, "i386:%u", shape->nr);
				else
					snprintf(made, sizeof made, "syscall_0x%x", shape->nr);
				*number = lexicon_add(t->words.names, plan ? plan->name : made);
				if (*number < 0)
					return -1;
			}
		}
	}
	return 0;
}

static int find_families(struct words_of_calls *w)
{
	const struct call_plan *plans[] = {plans_x86_64, plans_aarch64};
	const char *names[CALL_LIMIT];
	int count = 0;

	for (int m = 0; m < 2; m++)
		for (int nr = 0; nr < CALL_LIMIT; nr++) {
			int i = 0;

			w->family_of[m][nr] = -1;
			if (!plans[m][nr].name)
				continue;
			while (i < count && strcmp(names[i], plans[m][nr].family) != 0)
				i++;
			if (i == count) {
				names[count++] = plans[m][nr].family;
				if (lexicon_add(w->families, plans[m][nr].family) < 0)
					return -1;
			}
			w->family_of[m][nr] = i;
		}
	return 0;
}

static int find_words(struct stream *t)
{
	struct words_of_calls *w = &t->words;

	if (w->names) /* a first attempt had not enough memory */
		return -1;
	w->names = lexicon_new();
	w->errors = lexicon_new();
	w->families = lexicon_new();
	w->routes = lexicon_new();
	if (!w->names || !w->errors || !w->families || !w->routes || lexicon_add(w->errors, "unknown") < 0)
		return -1;
	for (uint32_t i = 0; i < plan_error_count; i++)
		if (plan_errors[i].number > 0 && plan_errors[i].number < 4096)
			w->error_of[plan_errors[i].number] = lexicon_add(w->errors, plan_errors[i].name);
	if (lexicon_add(w->routes, "kernel") < 0 || lexicon_add(w->routes, "proxy") < 0 ||
	    lexicon_add(w->routes, "local") < 0 || lexicon_add(w->routes, "handler") < 0 || w->errors->bytes.failed)
		return -1;
	return find_families(w) || find_names(t) ? -1 : 0;
}

/* ---- batches ---------------------------------------------------------------------------------------------------- */

static void batch_release(struct ArrowArray *a)
{
	for (int64_t i = 0; i < a->n_children; i++) {
		if (a->children[i] && a->children[i]->release)
			a->children[i]->release(a->children[i]);
		free(a->children[i]);
	}
	free(a->children);
	free(a->private_data);
	a->release = NULL;
}

/* The rows that count, and their runs. */
static uint32_t select_rows(struct logfile *l, const struct decoded *d, uint32_t *rows, uint32_t *runs)
{
	uint8_t has = d->s->blocks[d->block].has;
	uint32_t count = 0, row = 0;

	for (uint32_t r = 0; r < d->b.head->runs; r++) {
		const struct segment_run *run = &d->b.runs[r];

		for (uint32_t i = 0; i < run->rows; i++, row++) {
			const struct segment_shape *shape = has ? decoded_shape(d, row) : NULL;

			if (has && (shape->kind != RECORD_CALL ||
				    (shape->flags & RECORD_NO_RETURN &&
				     logfile_is_dropped(l, d->s->run, run->thread, run->first + i))))
				continue;
			rows[count] = row;
			runs[count++] = r;
		}
	}
	return count;
}

static int fill_batch(struct stream *t, struct selection *s, struct ArrowArray *a)
{
	static const void *no_buffers[1] = {NULL};

	memset(a, 0, sizeof *a);
	a->length = s->count;
	a->n_buffers = 1;
	a->buffers = no_buffers;
	a->release = batch_release;
	a->children = calloc(CALLS_COLUMNS, sizeof(void *));
	if (!a->children)
		goto out;
	for (int i = 0; i < CALLS_COLUMNS; i++) {
		struct ArrowArray *child;

		if (!(t->there >> i & 1))
			continue;
		child = a->children[a->n_children++] = calloc(1, sizeof *child);
		if (!child || column_fill(s, (enum call_column)i, t->wanted >> i & 1, child))
			goto out;
	}
	return 1;
out:
	batch_release(a);
	return -1;
}

/* 1: a batch; 0: the block has no calls, or is damaged; -1: no memory. */
static int make_batch(struct stream *t, struct log_segment *s, size_t block, struct ArrowArray *a)
{
	struct decoded d;
	uint32_t *rows = NULL, *runs = NULL;
	int e = decoded_open(s, block, &d);
	struct selection select = {.d = &d, .l = t->l, .words = &t->words};

	if (e <= 0)
		goto out;
	select.rows = rows = malloc(d.b.head->rows * sizeof *rows);
	select.runs = runs = malloc(d.b.head->rows * sizeof *runs);
	e = -1;
	if (!rows || !runs)
		goto out;
	select.count = select_rows(t->l, &d, rows, runs);
	e = select.count > 0;
	for (int i = 0; e > 0 && i < CALLS_COLUMNS; i++)
		if (t->wanted >> i & 1)
			e = decoded_get(&d, column_needs(&select, (enum call_column)i));
	if (e > 0)
		e = fill_batch(t, &select, a);
out:
	free(rows);
	free(runs);
	decoded_free(&d);
	return e;
}

static int stream_next(struct ArrowArrayStream *stream, struct ArrowArray *a)
{
	struct stream *t = stream->private_data;
	int got = 0;

	memset(a, 0, sizeof *a);
	logfile_lock(t->l);
	if (!t->words.name_of && find_words(t)) /* many a stream is only asked for its schema */
		got = -1;
	while (!got && t->part < t->part_count) {
		struct part *p = &t->parts[t->part];

		if (t->block < p->blocks && t->block < p->s->count) {
			got = make_batch(t, p->s, t->block++, a);
			continue;
		}
		t->part++;
		t->block = 0;
	}
	logfile_unlock(t->l);
	t->problem = got < 0 ? "there is not enough memory for the log's columns" : NULL;
	return got < 0 ? ENOMEM : 0;
}

static const char *stream_problem(struct ArrowArrayStream *stream)
{
	return ((struct stream *)stream->private_data)->problem;
}

static void stream_free(struct stream *t)
{
	lexicon_drop(t->words.names);
	lexicon_drop(t->words.errors);
	lexicon_drop(t->words.families);
	lexicon_drop(t->words.routes);
	free(t->words.name_of);
	free(t->parts);
	logfile_drop(t->l);
	free(t);
}

static void stream_release(struct ArrowArrayStream *stream)
{
	stream_free(stream->private_data);
	stream->release = NULL;
}

int arrow_stream(struct logfile *l, uint64_t wanted, int only, struct ArrowArrayStream *stream)
{
	struct stream *t = calloc(1, sizeof *t);

	if (!t)
		return -1;
	logfile_keep(l);
	t->l = l;
	t->wanted = wanted;
	t->there = only ? wanted : ~0ull;
	logfile_lock(l);
	t->part_count = logfile_segments(l);
	t->parts = malloc((t->part_count + 1) * sizeof *t->parts);
	for (size_t i = 0; t->parts && i < t->part_count; i++) {
		t->parts[i].s = logfile_segment(l, i);
		t->parts[i].blocks = t->parts[i].s->count;
	}
	logfile_unlock(l);
	if (!t->parts) {
		stream_free(t);
		return -1;
	}
	*stream = (struct ArrowArrayStream){stream_schema, stream_next, stream_problem, stream_release, t};
	return 0;
}
