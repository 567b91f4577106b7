/* SPDX-License-Identifier: Apache-2.0 */
/* See decoded.h. Called with the log's lock held; decode.c checks what is read. */
#include "decoded.h"

#include <stdlib.h>
#include <string.h>

int decoded_open(struct log_segment *s, size_t block, struct decoded *d)
{
	memset(d, 0, sizeof *d);
	d->s = s;
	d->block = block;
	if (logfile_block(s, block, &d->b))
		return 0;
	d->codes = malloc(d->b.head->rows * sizeof *d->codes);
	if (!d->codes)
		return -1;
	if (!block_codes(&d->b, d->codes))
		return 1;
	logfile_damaged(s, block, "the block names shapes that it does not have");
	return 0;
}

static int get_pieces(struct decoded *d)
{
	uint32_t rows = d->b.head->rows;

	d->first = malloc((rows + 1ull) * sizeof *d->first);
	d->pieces = malloc(block_piece_count(&d->b, d->codes) * sizeof *d->pieces + 1);
	if (!d->first || !d->pieces)
		return -1;
	return !block_pieces(&d->b, d->codes, d->first, d->pieces);
}

static int get_column(struct decoded *d, unsigned what)
{
	uint64_t *to = what == NEED_PIECES ? NULL : malloc(d->b.head->rows * sizeof *to);

	if (what == NEED_PIECES)
		return get_pieces(d);
	if (!to)
		return -1;
	switch (what) {
	case NEED_STARTS:
		return !block_starts(&d->b, d->starts = to);
	case NEED_TOOKS:
		return !block_tooks(&d->b, d->tooks = to);
	case NEED_RETS:
		return !block_rets(&d->b, d->codes, d->rets = (int64_t *)to);
	}
	d->args[__builtin_ctz(what)] = to;
	return !block_args(&d->b, d->codes, __builtin_ctz(what), to);
}

int decoded_get(struct decoded *d, unsigned need)
{
	need &= NEED_ALL & ~d->have;
	for (unsigned what = 1; what <= need; what <<= 1) {
		int got = need & what ? get_column(d, what) : 1;

		if (!got)
			logfile_damaged(d->s, d->block, "a column of the block does not hold what it must");
		if (got <= 0)
			return got;
	}
	d->have |= need;
	return 1;
}

void decoded_free(struct decoded *d)
{
	free(d->codes);
	free(d->starts);
	free(d->tooks);
	free(d->rets);
	free(d->first);
	free(d->pieces);
	for (int i = 0; i < CALL_ARGS; i++)
		free(d->args[i]);
	memset(d, 0, sizeof *d);
}

const struct segment_shape *decoded_shape(const struct decoded *d, uint32_t row)
{
	return &d->b.shapes[d->codes[row]];
}

const struct call_plan *decoded_plan(const struct log_segment *s, const struct segment_shape *shape)
{
	const struct call_plan *plan;

	if (shape->kind != RECORD_CALL || shape->flags & RECORD_FOREIGN || shape->nr >= CALL_LIMIT)
		return NULL;
	plan = &logfile_plans(s)[shape->nr];
	return plan->name ? plan : NULL;
}

static int find(const struct segment_shape *shape, int arg)
{
	int found = -1;

	for (int k = 0; k < shape->pieces; k++)
		if (shape->piece[k].arg == arg && (found < 0 || shape->piece[k].flags & PIECE_OUT))
			found = k;
	return found;
}

int decoded_is_cut(const struct decoded *d, uint32_t row, int arg)
{
	const struct segment_shape *shape = decoded_shape(d, row);
	int found = find(shape, arg);

	return found >= 0 && shape->piece[found].flags & PIECE_CUT;
}

const uint8_t *decoded_piece(struct decoded *d, uint32_t row, int arg, uint32_t *len)
{
	int found = find(decoded_shape(d, row), arg);
	uint32_t blob = NO_BLOB;
	struct blob bytes;

	*len = 0;
	if (found < 0)
		return NULL;
	blob = d->pieces[d->first[row] + (uint32_t)found].blob;
	if (blob == NO_BLOB)
		return (const uint8_t *)"";
	bytes = logfile_blob(d->s, blob);
	*len = bytes.len;
	return bytes.bytes;
}
