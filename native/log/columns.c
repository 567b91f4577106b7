/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The columns of `calls`, each filled from one decoded block. Called by arrow.c with the log's lock held. What is not
 * asked for costs nothing: its array has NULLs alone, in memory that all such arrays share.
 */
#include "array.h"

#include <stdlib.h>
#include <string.h>

#include "resolve.h"

enum { EBADF_ = 9, ERRNO_MAX_ = 4095, FLAT_MSG = 32 };

static uint64_t nothing[BLOCK_ROWS_MAX + 1]; /* no values, offsets, or valid bits */

/* ---- numbers ---------------------------------------------------------------------------------------------------- */

static int fill_times(struct selection *s, struct ArrowArray *a, int is_start)
{
	int64_t *to = array_values(a, sizeof *to);
	const struct decoded *d = s->d;
	int gaps = 0;

	if (!to)
		return -1;
	for (uint32_t k = 0; k < s->count; k++)
		to[k] = is_start ? logfile_real_ns(d->s, d->starts[s->rows[k]])
				 : logfile_ns(d->s, d->tooks[s->rows[k]]);
	for (uint32_t i = 0; !is_start && i < d->b.head->shapes; i++)
		gaps |= d->b.shapes[i].flags & RECORD_NO_RETURN;
	for (uint32_t k = 0; gaps && k < s->count; k++)
		if (decoded_shape(d, s->rows[k])->flags & RECORD_NO_RETURN && array_null(a, k))
			return -1;
	return 0;
}

static int fill_of_run(struct selection *s, struct ArrowArray *a, enum call_column column)
{
	const struct segment_run *runs = s->d->b.runs;
	int wide = column == CALLS_THREAD || column == CALLS_SEQ;
	void *to = array_values(a, wide ? 8 : 4);
	uint32_t last = ~0u, begun = 0;

	if (!to)
		return -1;
	for (uint32_t k = 0, r = 0; k < s->count; k++) {
		if (s->runs[k] != last) { /* rows before this run */
			for (last = s->runs[k]; r < last; r++)
				begun += runs[r].rows;
		}
		switch (column) {
		case CALLS_PID:
			((uint32_t *)to)[k] = runs[last].pid;
			break;
		case CALLS_TID:
			((uint32_t *)to)[k] = runs[last].tid;
			break;
		case CALLS_THREAD:
			((uint64_t *)to)[k] = runs[last].thread;
			break;
		case CALLS_SEQ:
			((uint64_t *)to)[k] = runs[last].first + (s->rows[k] - begun);
			break;
		default:
			((uint32_t *)to)[k] = s->d->s->run;
		}
	}
	return 0;
}

static int fill_ret(struct selection *s, struct ArrowArray *a, int only_bytes)
{
	int64_t *to = array_values(a, sizeof *to);

	if (!to)
		return -1;
	for (uint32_t k = 0; k < s->count; k++) {
		const struct segment_shape *shape = decoded_shape(s->d, s->rows[k]);
		int64_t ret = s->d->rets[s->rows[k]];
		int has = !(shape->flags & (RECORD_NO_RETURN | RECORD_RESTARTS));

		if (has && only_bytes) {
			const struct call_plan *plan = decoded_plan(s->d->s, shape);

			has = ret >= 0 && plan && plan->moves != MOVES_NOTHING;
		}
		to[k] = ret;
		if (!has && array_null(a, k))
			return -1;
	}
	return 0;
}

static int fill_error(struct selection *s, struct ArrowArray *a)
{
	int32_t *to = array_values(a, sizeof *to);

	if (!to || array_dictionary(a, s->words->errors))
		return -1;
	for (uint32_t k = 0; k < s->count; k++) {
		int64_t ret = s->d->rets[s->rows[k]];
		int failed = ret < 0 && ret >= -ERRNO_MAX_ &&
			     !(decoded_shape(s->d, s->rows[k])->flags & (RECORD_NO_RETURN | RECORD_RESTARTS));

		to[k] = failed ? s->words->error_of[-ret] : 0;
		if (!failed && array_null(a, k))
			return -1;
	}
	return 0;
}

/* What is the same for all rows of a shape: a word's number, or -1 for none. */
static int32_t of_shape(struct selection *s, enum call_column column, const struct segment_shape *shape)
{
	const struct call_plan *plan = decoded_plan(s->d->s, shape);

	switch (column) {
	case CALLS_NAME:
		return s->words->name_of[name_key(s->d->s, shape)];
	case CALLS_FAMILY:
		return plan ? s->words->family_of[logfile_plans(s->d->s) == plans_aarch64][shape->nr] : -1;
	case CALLS_ROUTE:
		return shape->route < ROUTE_COUNT ? shape->route : -1;
	case CALLS_TRAPPED:
		return !!(shape->flags & RECORD_TRAPPED);
	default:
		return shape->nr;
	}
}

static int fill_of_shape(struct selection *s, struct ArrowArray *a, enum call_column column)
{
	uint32_t shapes = s->d->b.head->shapes, bits = 0;
	int32_t *of = malloc(shapes * sizeof *of);
	void *to = array_values(a, sizeof(int32_t));
	int e = -1, gaps = 0;

	if (!of || !to)
		goto out;
	if ((column == CALLS_NAME && array_dictionary(a, s->words->names)) ||
	    (column == CALLS_FAMILY && array_dictionary(a, s->words->families)) ||
	    (column == CALLS_ROUTE && array_dictionary(a, s->words->routes)))
		goto out;
	for (uint32_t i = 0; i < shapes; i++)
		gaps |= (of[i] = of_shape(s, column, &s->d->b.shapes[i])) < 0;
	for (uint32_t k = 0; k < s->count; k++) {
		int32_t value = of[s->d->codes[s->rows[k]]];

		if (column == CALLS_NR)
			((int16_t *)to)[k] = (int16_t)value;
		else if (column != CALLS_TRAPPED)
			((int32_t *)to)[k] = value < 0 ? 0 : value;
		else {
			bits |= (uint32_t)value << k % 8;
			((uint8_t *)to)[k / 8] = (uint8_t)bits;
			bits = k % 8 == 7 ? 0 : bits;
		}
	}
	for (uint32_t k = 0; gaps && k < s->count; k++)
		if (of[s->d->codes[s->rows[k]]] < 0 && array_null(a, k))
			goto out;
	e = 0;
out:
	free(of);
	return e;
}

static int fill_arg(struct selection *s, struct ArrowArray *a, int arg)
{
	uint64_t *to = array_values(a, sizeof *to);

	if (!to)
		return -1;
	for (uint32_t k = 0; k < s->count; k++)
		to[k] = s->d->args[arg][s->rows[k]];
	return 0;
}

/* ---- descriptors and texts -------------------------------------------------------------------------------------- */

/* The descriptor that a row is about; negative: none. */
static int32_t fd_of(const struct decoded *d, const struct call_plan *plan, uint32_t row)
{
	if (!plan || plan->fd == PLAN_NONE)
		return -1;
	if (plan->fd != PLAN_RESULT)
		return (int32_t)d->args[plan->fd][row];
	return decoded_shape(d, row)->flags & (RECORD_NO_RETURN | RECORD_RESTARTS) ? -1 : (int32_t)d->rets[row];
}

static int fill_fd(struct selection *s, struct ArrowArray *a)
{
	int32_t *to = array_values(a, sizeof *to);

	if (!to)
		return -1;
	for (uint32_t k = 0; k < s->count; k++) {
		to[k] = fd_of(s->d, decoded_plan(s->d->s, decoded_shape(s->d, s->rows[k])), s->rows[k]);
		if (to[k] < 0 && array_null(a, k))
			return -1;
	}
	return 0;
}

/* Adds what a descriptor stood for; 1 if that is known. */
static int say_file(struct selection *s, const struct resolver *r, uint32_t k, int32_t fd, int is_result,
		    struct text *t)
{
	uint32_t row = s->rows[k];
	uint64_t at = s->d->starts[row] + (is_result ? s->d->tooks[row] : 0);
	size_t len;
	const uint8_t *text;

	if (fd < 0 || (s->d->rets[row] == -EBADF_ && !is_result))
		return 0;
	text = resolver_text(r, s->d->b.runs[s->runs[k]].pid, fd, at, &len);
	if (text)
		text_clean(t, text, len);
	return text != NULL;
}

static int say_path(struct selection *s, const struct resolver *r, uint32_t k, int arg, int dir, int raw,
		    struct text *t)
{
	uint32_t row = s->rows[k], len;
	const uint8_t *piece = decoded_piece(s->d, row, arg, &len);
	int32_t from = dir == PLAN_NONE ? FD_CWD : (int32_t)s->d->args[dir][row];
	struct text made = {0};

	if (!piece)
		return 0;
	if (raw) {
		text_clean(t, piece, strnlen((const char *)piece, len));
		return 1;
	}
	resolver_path(r, s->d->b.runs[s->runs[k]].pid, from, s->d->starts[row], (struct blob){piece, len}, &made);
	text_clean(t, made.at, made.used);
	t->failed |= made.failed;
	free(made.at);
	return 1;
}

static int say_address(struct selection *s, uint32_t row, const struct call_plan *plan, struct text *t)
{
	struct text made = {0};
	uint32_t len, name_len = 0, has_name = 0;
	const uint8_t *piece = plan->address < 0 ? NULL : decoded_piece(s->d, row, plan->address, &len);

	if (!piece)
		return 0;
	if (plan->message) { /* struct flat_msg, and the name right behind it */
		if (len < FLAT_MSG)
			return 0;
		memcpy(&name_len, piece, sizeof name_len);
		memcpy(&has_name, piece + 16, sizeof has_name);
		piece += FLAT_MSG;
		len -= FLAT_MSG;
		len = !has_name ? 0 : name_len < len ? name_len : len;
	}
	words_address(&made, piece, len);
	text_clean(t, made.at, made.used);
	t->failed |= made.failed;
	free(made.at);
	return made.used > 0;
}

static int say_argv(struct selection *s, uint32_t row, const struct call_plan *plan, struct text *t)
{
	struct text made = {0};
	uint32_t len;
	const uint8_t *piece = plan->argv < 0 ? NULL : decoded_piece(s->d, row, plan->argv, &len);

	if (!piece)
		return 0;
	words_argv(&made, piece, len);
	if (decoded_is_cut(s->d, row, plan->argv))
		text_say(&made, " ...");
	text_clean(t, made.at, made.used);
	t->failed |= made.failed;
	free(made.at);
	return 1;
}

static int say(struct selection *s, const struct resolver *r, enum call_column column, uint32_t k, struct text *t)
{
	uint32_t row = s->rows[k];
	const struct call_plan *plan = decoded_plan(s->d->s, decoded_shape(s->d, row));

	if (!plan)
		return 0;
	switch (column) {
	case CALLS_PATH:
		if (plan->path != PLAN_NONE)
			return say_path(s, r, k, plan->path, plan->dir, 0, t);
		break;
	case CALLS_PATH2:
		if (plan->path2 != PLAN_NONE)
			return say_path(s, r, k, plan->path2, plan->dir2, plan->raw2, t);
		return plan->fd2 != PLAN_NONE && say_file(s, r, k, (int32_t)s->d->args[plan->fd2][row], 0, t);
	case CALLS_ADDRESS:
		return say_address(s, row, plan, t);
	case CALLS_ARGV:
		return say_argv(s, row, plan, t);
	default:
		break;
	}
	return say_file(s, r, k, fd_of(s->d, plan, row), plan->fd == PLAN_RESULT, t);
}

static int fill_text(struct selection *s, struct ArrowArray *a, enum call_column column)
{
	struct column_memory *m = a->private_data;
	int resolves = column == CALLS_PATH || column == CALLS_PATH2 || column == CALLS_FILE;
	const struct resolver *r = resolves ? logfile_resolver(s->l, s->d->s->run) : NULL;
	int32_t *ends = m->own[1] = malloc((s->count + 1ull) * sizeof *ends);
	struct text t = {0};

	if (!ends || (resolves && !r))
		return -1;
	ends[0] = 0;
	for (uint32_t k = 0; k < s->count; k++) {
		size_t before = t.used;
		int has = say(s, r, column, k, &t);

		if (t.used > INT32_MAX) { /* more than an array may hold */
			t.used = before;
			has = 0;
		}
		ends[k + 1] = (int32_t)t.used;
		if (!has && array_null(a, k))
			break;
	}
	m->own[2] = t.at;
	m->buffers[1] = ends;
	m->buffers[2] = t.at ? t.at : (const uint8_t *)"";
	return t.failed || (a->null_count && !m->own[0]) ? -1 : 0;
}

/* ---- one column ------------------------------------------------------------------------------------------------- */

static int is_text(enum call_column column)
{
	return column == CALLS_PATH || column == CALLS_PATH2 || column == CALLS_FILE || column == CALLS_ADDRESS ||
	       column == CALLS_ARGV;
}

static struct lexicon *lexicon_of(const struct words_of_calls *w, enum call_column column)
{
	return column == CALLS_NAME     ? w->names
	       : column == CALLS_ERROR  ? w->errors
	       : column == CALLS_FAMILY ? w->families
	       : column == CALLS_ROUTE  ? w->routes
					: NULL;
}

unsigned column_needs(const struct selection *s, enum call_column column)
{
	unsigned need = 0;

	if (column >= CALLS_ARG0 && column <= CALLS_ARG5)
		return 1u << (column - CALLS_ARG0);
	switch (column) {
	case CALLS_START:
		return NEED_STARTS;
	case CALLS_DURATION:
		return NEED_TOOKS;
	case CALLS_RET:
	case CALLS_ERROR:
	case CALLS_BYTES:
		return NEED_RETS;
	case CALLS_ADDRESS:
	case CALLS_ARGV:
		return NEED_PIECES;
	case CALLS_PATH:
	case CALLS_PATH2:
		need = NEED_PIECES | NEED_STARTS | NEED_TOOKS;
		break;
	case CALLS_FILE:
		need = NEED_STARTS | NEED_TOOKS;
		break;
	case CALLS_FD:
		break;
	default:
		return 0;
	}
	need |= NEED_RETS;
	for (uint32_t i = 0; i < s->d->b.head->shapes; i++) {
		const struct call_plan *plan = decoded_plan(s->d->s, &s->d->b.shapes[i]);
		const int8_t args[] = {plan ? plan->fd : -1, plan ? plan->fd2 : -1, plan ? plan->dir : -1,
				       plan ? plan->dir2 : -1};

		for (int k = 0; k < 4; k++)
			if (args[k] >= 0 && args[k] < CALL_ARGS)
				need |= 1u << args[k];
	}
	return need;
}

static int fill(struct selection *s, enum call_column column, struct ArrowArray *a)
{
	if (is_text(column))
		return fill_text(s, a, column);
	if (column >= CALLS_ARG0 && column <= CALLS_ARG5)
		return fill_arg(s, a, column - CALLS_ARG0);
	switch (column) {
	case CALLS_START:
	case CALLS_DURATION:
		return fill_times(s, a, column == CALLS_START);
	case CALLS_RET:
	case CALLS_BYTES:
		return fill_ret(s, a, column == CALLS_BYTES);
	case CALLS_ERROR:
		return fill_error(s, a);
	case CALLS_FD:
		return fill_fd(s, a);
	case CALLS_NAME:
	case CALLS_FAMILY:
	case CALLS_ROUTE:
	case CALLS_TRAPPED:
	case CALLS_NR:
		return fill_of_shape(s, a, column);
	default:
		return fill_of_run(s, a, column);
	}
}

int column_fill(struct selection *s, enum call_column column, int wanted, struct ArrowArray *a)
{
	struct column_memory *m = array_begin(a, s->count, is_text(column) ? 3 : 2);
	struct lexicon *x = lexicon_of(s->words, column);

	if (!m)
		return -1;
	if (wanted)
		return fill(s, column, a);
	m->buffers[0] = m->buffers[1] = m->buffers[2] = nothing;
	a->null_count = s->count;
	return x ? array_dictionary(a, x) : 0;
}
