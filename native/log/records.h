/* SPDX-License-Identifier: Apache-2.0 */
/* Records one after the other, in the order of their start over all threads of all files. */
#ifndef LSCA_RECORDS_H
#define LSCA_RECORDS_H

#include "decoded.h"

struct records;

/* What is left out costs little: it is not put together. */
struct record_filter {
	uint8_t calls[CALL_LIMIT]; /* 1: these are wanted */
	int others;                /* calls that the table does not have, or of another convention */
	int events;                /* what is no call */
	const uint32_t *ids;       /* process or thread numbers; NULL: all */
	size_t id_count;
};

struct record_view {
	struct log_segment *s;
	const struct segment_run *run;
	const struct segment_shape *shape;
	uint64_t seq, start, took;
	int64_t ret;
	uint64_t args[CALL_ARGS];
	struct blob pieces[SHAPE_PIECES]; /* what they are of says the shape */
	uint32_t full[SHAPE_PIECES];
};

/*
 * Those of the blocks from `after` on, of each segment in the order in which logfile_segment() has them; NULL: all. The
 * lock is held for this and for records_next(). NULL without memory.
 */
struct records *records_new(struct logfile *l, const struct record_filter *f, const uint64_t *after, size_t after_count);
/* 1; 0 at the end; -1 without memory. */
int records_next(struct records *r, struct record_view *v);
void records_free(struct records *r);

#endif
