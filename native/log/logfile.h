/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A log as its readers see it: segment files of one or several runs, mapped, with an index of their blocks. Opening one
 * hops from head to head; what a block holds is checked and decoded when somebody asks. What follows the first damage
 * of a segment is left out. Whoever calls any of this holds the log's lock, logfile_lock(). A file that somebody makes
 * shorter while it is read ends the process, as with everything that is mapped.
 */
#ifndef LSCA_LOGFILE_H
#define LSCA_LOGFILE_H

#include "plan.h"
#include "segment.h"

struct resolver;

enum block_has { HAS_REPLACES = 1, HAS_NO_RETURN = 2, HAS_EVENTS = 4 /* rows that are no calls */, HAS_STARTS = 8 };

struct log_block {
	uint64_t at;      /* of its head, in the file */
	uint64_t ticks;   /* of its first row */
	uint32_t rows, blobs, blobs_before;
	uint8_t has;      /* enum block_has */
	uint8_t checked;
	struct blob *blob; /* NULL: not yet looked at */
};

struct log_segment {
	char *path;
	int fd;
	uint32_t run;    /* in the order in which runs were met */
	const struct segment_header *header;
	const uint8_t *data; /* stays where it is */
	uint64_t size, mapped;
	uint64_t next; /* where the next block will be */
	struct log_block *blocks;
	size_t count, room;
	uint64_t rows;
	int has_end;
	struct segment_end end;
	const char *problem; /* NULL: none */
	uint64_t problem_at;
	double ns_per_tick;
	void **old; /* mappings that were outgrown; pointers into them are still about */
	size_t *old_sizes, olds;
};

/* A record that another one replaces. */
struct log_drop {
	uint64_t thread, seq;
	uint32_t run;
};

struct log_gap {
	uint32_t run, pid, tid;
	int32_t twice;             /* 1: these records are there twice; 0: they are missing */
	uint64_t thread, from, to; /* numbers, the last one not included */
};

struct logfile;

struct logfile *logfile_new(void);
void logfile_keep(struct logfile *l);
void logfile_drop(struct logfile *l); /* with the last one who keeps it, it goes */
void logfile_lock(struct logfile *l);
void logfile_unlock(struct logfile *l);

/* One more file. 0; a negative errno; or 1 for a file that is no log, and then `*problem` says why. */
int logfile_add(struct logfile *l, const char *path, const char **problem);
/* Looks whether the files have grown; 1 if one has, else 0. */
int logfile_refresh(struct logfile *l);

size_t logfile_segments(const struct logfile *l);
struct log_segment *logfile_segment(struct logfile *l, size_t i); /* by run and number */
uint32_t logfile_runs(const struct logfile *l);
uint64_t logfile_rows(const struct logfile *l);
size_t logfile_drops(const struct logfile *l);
const struct call_plan *logfile_plans(const struct log_segment *s);

/* A block of a segment, its check sum compared; 0, or -1: it is damaged, and the segment now ends before it. */
int logfile_block(struct log_segment *s, size_t i, struct segment_block *b);
/* What is known of a block turned out wrong when it was decoded: the segment ends before it. */
void logfile_damaged(struct log_segment *s, size_t i, const char *problem);
/* Its bytes; empty if there is no such blob. */
struct blob logfile_blob(struct log_segment *s, uint32_t number);
int logfile_is_dropped(struct logfile *l, uint32_t run, uint64_t thread, uint64_t seq);

int64_t logfile_real_ns(const struct log_segment *s, uint64_t ticks);
int64_t logfile_ns(const struct log_segment *s, uint64_t ticks); /* of a duration */

/* Compares the sequence of each thread; with `deep`, reads everything else, too. 0 or -1 without memory. The gaps are the caller's. */
int logfile_verify(struct logfile *l, int deep, struct log_gap **gaps, size_t *count);

/* The process numbers of all runs in all blocks, each once. 0 or -1 without memory. They are the caller's. */
int logfile_pids(struct logfile *l, uint32_t **pids, size_t *count);

/* What descriptors stood for in a run: made at the first question, and anew when the log has grown. NULL: no memory. */
struct resolver *logfile_resolver(struct logfile *l, uint32_t run);

#endif
