/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of a log, as their writer has them: a segment that is being written, and when it is to be followed by the
 * next one. See native/log/segment.h for what stands in them.
 */
#ifndef LSCA_OUTPUT_H
#define LSCA_OUTPUT_H

#include "area.h"

struct output {
	int fd, errors;   /* the segment; where to say that writing has failed, -1: nowhere */
	const char *path; /* the first segment's */
	struct log_options options;
	struct segment_header header;
	int broken, seekable;
	int ended, is_last; /* a segment that was found has its last block, and is the run's last one */
	uint64_t good;          /* bytes of whole blocks in the file */
	uint64_t end_at;        /* where the block is by which it has ended */
	uint64_t began, synced; /* CLOCK_MONOTONIC ns */
	uint32_t blobs;         /* of the segment, where it was found unfinished */
};

/* What the blocks of a found segment hold: called for each run. */
typedef void output_visit(void *context, const struct segment_run *r);

void output_header(struct segment_header *h); /* clocks, machine, a run of its own */
void output_path(const char *first, uint32_t number, char *to, size_t size);
int output_open(struct output *o);  /* the segment that the header names, made if need be: 0 or -errno */
int output_begin(struct output *o); /* writes the header: 0 or -errno */
void output_block(struct output *o, const uint8_t *block, size_t size);
int output_is_due(const struct output *o); /* time for the next segment */
int output_rotate(struct output *o, const struct segment_end *end);
void output_end(struct output *o, const struct segment_end *end);
void output_sync(struct output *o);
void output_give_up(struct output *o);
/*
 * Goes on with the segment in o->fd where somebody was killed: visits the runs of its whole blocks and cuts off what
 * follows them. One that has ended, but not as the last one, is left for the next. 0, or -errno; -EBADMSG: it is not of
 * run `o->header.run`.
 */
int output_resume(struct output *o, output_visit *visit, void *context);
/* The runs of an earlier segment, which is left as it is. */
int output_look(const char *path, const uint64_t run[2], output_visit *visit, void *context);

#endif
