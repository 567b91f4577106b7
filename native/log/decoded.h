/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One block as its readers use it: which rows count, and those of its columns that were asked for, as plain arrays.
 */
#ifndef LSCA_DECODED_H
#define LSCA_DECODED_H

#include "logfile.h"

enum decoded_need {
	NEED_ARGS = (1 << CALL_ARGS) - 1, /* bit i: argument i */
	NEED_STARTS = 1 << 6,
	NEED_TOOKS = 1 << 7,
	NEED_RETS = 1 << 8,
	NEED_PIECES = 1 << 9,
	NEED_ALL = (1 << 10) - 1,
};

struct decoded {
	struct log_segment *s;
	size_t block;
	struct segment_block b;
	unsigned have;
	uint16_t *codes;
	uint64_t *starts, *tooks, *args[CALL_ARGS];
	int64_t *rets;
	uint32_t *first;
	struct block_piece *pieces;
};

/* All return 1; 0 if the block is damaged, which its segment knows then; -1 without memory. */
int decoded_open(struct log_segment *s, size_t block, struct decoded *d);
int decoded_get(struct decoded *d, unsigned need);
void decoded_free(struct decoded *d);

const struct segment_shape *decoded_shape(const struct decoded *d, uint32_t row);
/* NULL for an event, a call of another convention, and one that the table does not have. */
const struct call_plan *decoded_plan(const struct log_segment *s, const struct segment_shape *shape);
/* What argument `arg` of a row points to, as it was after the call if that is known, else before. NULL: neither is. */
const uint8_t *decoded_piece(struct decoded *d, uint32_t row, int arg, uint32_t *len);
int decoded_is_cut(const struct decoded *d, uint32_t row, int arg); /* there was more than that */

#endif
