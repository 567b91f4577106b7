/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the rows of a run that change what descriptors stand for: first by the shapes of a block, so that blocks and
 * columns without any are left alone. See resolve.h.
 */
#include "resolve.h"

#include <stdlib.h>
#include <string.h>

#include "decoded.h"

enum { F_DUPFD_ = 0, F_DUPFD_CLOEXEC_ = 1030, EBADF_ = 9, EINPROGRESS_ = 115 };

static int shape_matters(const struct log_segment *s, const struct segment_shape *shape)
{
	const struct call_plan *plan = decoded_plan(s, shape);

	if (!plan)
		return shape->kind == RECORD_START || shape->kind == RECORD_FD;
	return plan->effect != EFFECT_NONE && !(shape->flags & (RECORD_NO_RETURN | RECORD_RESTARTS));
}

static struct blob piece_of(struct decoded *d, uint32_t row, int arg)
{
	struct blob found;

	found.bytes = decoded_piece(d, row, arg, &found.len);
	return found.bytes ? found : (struct blob){(const uint8_t *)"", 0};
}

static int keep(struct changes *all, const struct change *one)
{
	if (all->count == all->room) {
		size_t room = all->room ? all->room * 2 : 1024;
		struct change *grown = realloc(all->at, room * sizeof *grown);

		if (!grown)
			return -1;
		all->at = grown;
		all->room = room;
	}
	all->at[all->count++] = *one;
	return 0;
}

static void add_event(struct decoded *d, uint32_t row, struct change *one)
{
	one->at = d->starts[row];
	if (decoded_shape(d, row)->kind == RECORD_START) {
		one->effect = d->args[1][row] ? CHANGE_EXEC : CHANGE_START;
		one->from = (int32_t)d->args[0][row];
		return;
	}
	one->effect = CHANGE_FD;
	one->fd = (int32_t)d->args[0][row];
	one->text = piece_of(d, row, 0);
	one->local = piece_of(d, row, 1);
	one->peer = piece_of(d, row, 2);
}

static uint64_t argument(const struct decoded *d, const struct call_plan *plan, int i, uint32_t row)
{
	return plan->args[i] < 0 ? 0 : d->args[(int)plan->args[i]][row];
}

static int is_fork(uint8_t effect)
{
	return effect == EFFECT_FORKS || effect == EFFECT_CLONES || effect == EFFECT_CLONES_3;
}

/* 0: this row changes nothing after all. */
static int add_call(struct decoded *d, const struct call_plan *plan, uint32_t row, struct change *one)
{
	uint64_t a = argument(d, plan, 0, row), b = argument(d, plan, 1, row), c = argument(d, plan, 2, row);
	uint64_t start = d->starts[row], end = start + d->tooks[row];
	int64_t ret = d->rets[row];
	struct blob pair;

	if (!ret && is_fork(plan->effect)) /* the child's own return */
		return 0;
	if (ret < 0 && !(plan->effect == EFFECT_PEER && ret == -EINPROGRESS_) &&
	    !(plan->effect == EFFECT_CLOSES && ret != -EBADF_))
		return 0;
	one->effect = plan->effect;
	one->at = end;
	one->fd = (int32_t)ret;
	one->name = plan->text;
	switch (plan->effect) {
	case EFFECT_OPENS:
	case EFFECT_CHDIR:
		one->text = piece_of(d, row, plan->path);
		one->from = plan->dir < 0 ? FD_CWD : (int32_t)d->args[(int)plan->dir][row];
		if (plan->effect == EFFECT_CHDIR)
			one->fd = FD_CWD;
		break;
	case EFFECT_MAKES:
		if (plan->args[0] >= 0)
			one->text = piece_of(d, row, plan->args[0]);
		break;
	case EFFECT_SOCKET:
		one->flags = (uint32_t)a;
		one->type = (uint32_t)b;
		break;
	case EFFECT_PIPE:
	case EFFECT_SOCKETPAIR:
		pair = piece_of(d, row, plan->args[0]);
		if (pair.len < 8)
			return 0;
		memcpy(&one->fd, pair.bytes, 4);
		memcpy(&one->fd2, pair.bytes + 4, 4);
		one->flags = (uint32_t)b;
		one->type = (uint32_t)c;
		break;
	case EFFECT_ACCEPTS:
		one->peer = piece_of(d, row, plan->args[1]);
		one->from = (int32_t)a;
		break;
	case EFFECT_FCNTL:
		if ((uint32_t)b != F_DUPFD_ && (uint32_t)b != F_DUPFD_CLOEXEC_)
			return 0;
		one->effect = EFFECT_DUPLICATES;
		one->from = (int32_t)a;
		break;
	case EFFECT_DUPLICATES:
		one->from = (int32_t)a;
		break;
	case EFFECT_FCHDIR:
		one->effect = EFFECT_DUPLICATES;
		one->fd = FD_CWD;
		one->from = (int32_t)a;
		break;
	case EFFECT_CLOSES: /* the call itself still knows what it closes */
		one->at = start + 1;
		one->fd = (int32_t)a;
		break;
	case EFFECT_CLOSES_RANGE:
		one->at = start + 1;
		one->fd = (int32_t)a;
		one->fd2 = b > INT32_MAX ? INT32_MAX : (int32_t)b;
		one->flags = (uint32_t)c;
		break;
	case EFFECT_LOCAL:
	case EFFECT_PEER:
		one->fd = (int32_t)a;
		one->text = piece_of(d, row, plan->args[1]);
		break;
	case EFFECT_CLONES_3:
		pair = piece_of(d, row, plan->args[0]);
		if (pair.len >= 4)
			memcpy(&one->flags, pair.bytes, 4);
		one->effect = EFFECT_FORKS;
		one->at = start;
		break;
	case EFFECT_CLONES:
	case EFFECT_FORKS:
		one->flags = (uint32_t)a;
		one->effect = EFFECT_FORKS;
		one->at = start;
		break;
	case EFFECT_UNSHARES:
		one->flags = (uint32_t)a;
		break;
	}
	return 1;
}

static int gather_rows(struct decoded *d, const uint8_t *matters, struct changes *all)
{
	uint32_t row = 0;

	for (uint32_t r = 0; r < d->b.head->runs; r++) {
		for (uint32_t end = row + d->b.runs[r].rows; row < end; row++) {
			const struct call_plan *plan;
			struct change one = {.pid = d->b.runs[r].pid};

			if (!matters[d->codes[row]])
				continue;
			plan = decoded_plan(d->s, decoded_shape(d, row));
			if (!plan)
				add_event(d, row, &one);
			else if (!add_call(d, plan, row, &one))
				continue;
			if (keep(all, &one))
				return -1;
		}
	}
	return 0;
}

static int gather_block(struct log_segment *s, size_t i, struct changes *all)
{
	struct decoded d;
	uint8_t *matters = NULL;
	int any = 0, e = decoded_open(s, i, &d);

	if (e <= 0)
		goto out;
	matters = malloc(d.b.head->shapes);
	if (!matters) {
		e = -1;
		goto out;
	}
	for (uint32_t k = 0; k < d.b.head->shapes; k++)
		any |= matters[k] = (uint8_t)shape_matters(s, &d.b.shapes[k]);
	if (any && (e = decoded_get(&d, NEED_ALL)) > 0)
		e = gather_rows(&d, matters, all);
out:
	free(matters);
	decoded_free(&d);
	return e < 0 ? -1 : 0;
}

int changes_gather(struct logfile *l, uint32_t run, struct changes *c)
{
	for (size_t i = 0; i < logfile_segments(l); i++) {
		struct log_segment *s = logfile_segment(l, i);

		for (size_t k = 0; s->run == run && k < s->count; k++)
			if (gather_block(s, k, c))
				return -1;
	}
	return 0;
}
