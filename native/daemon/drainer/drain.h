/* SPDX-License-Identifier: Apache-2.0 */
/* Brings records from chunks into a log's segments: drain.c. */
#ifndef LSCA_DRAIN_H
#define LSCA_DRAIN_H

#include <linux/futex.h>
#include <pthread.h>

#include "output.h"

/* What is known of one chunk. A lease, once seen, stays known: `taken` of it never goes backwards. */
struct drained {
	uint64_t lease;
	uint32_t taken, rows; /* bytes, and the records in them, that are in the file or in the block to be written */
	uint8_t is_pending;   /* on the list of those that the block to be written has something of */
	uint8_t is_done;      /* FULL, and all of it taken */
};

/* A flight recorder's full chunk. */
struct flying {
	uint64_t lease;
	uint32_t chunk, rows;
};

struct drain {
	struct session *session; /* NULL: nobody is there any more, see recover.c */
	int area;
	struct output out;
	struct area_head head; /* what the area's first page says */
	struct segment_writer *writer;
	pthread_t thread;
	pthread_mutex_t lock; /* of the session's memory */
	int runs;
	uint32_t stop;
	struct robust_list_head robust; /* of that thread, with one entry: session.drains */
	struct robust_list entry;
	uint64_t undrained, brought; /* records that could not be written; that were taken in */
	uint64_t oldest; /* CLOCK_MONOTONIC ns when the first row of the block was taken; 0: it has none */
	uint64_t looked, undertook; /* the same clock, when all leased chunks were looked at, and their owners */
	uint32_t wrong;  /* passes in which the number of full chunks did not fit */
	struct drained chunks[CHUNK_COUNT];
	uint32_t pending[CHUNK_COUNT], pending_count;
	/* flight: full chunks in the order in which they were seen, a ring */
	struct flying fresh[CHUNK_COUNT], kept[CHUNK_COUNT];
	uint32_t fresh_count, kept_from, kept_count;
	uint64_t kept_total;
	uint32_t starved; /* how often threads had found no chunk, when it was last looked at */
	uint64_t serial, number; /* of the launcher as a thread that writes records of its own: program.c */
	uint8_t copy[CHUNK_SIZE];
};

int drain_start(struct drain *d, struct session *s, int area, int fd, const char *path, int errors);
/* The same where somebody else was killed over it. */
int drain_take_over(struct drain *d, struct session *s, int area, int fd, const char *path, int errors);
void drain_pause(struct drain *d); /* until drain_resume it does not touch the session */
void drain_resume(struct drain *d);
/* The last pass, and the block that says how complete the file is; the area is removed. */
void drain_finish(struct drain *d);

/* Parts, for recover.c and the tests. */
int drain_open(struct drain *d, struct session *s, int area, int fd, const char *path, int errors);
int drain_pass(struct drain *d, int leased, int undertake);
int drain_take(struct drain *d, uint32_t chunk); /* 1: there was something */
/* When all else of a chunk was taken, and its thread is gone: the call in which it died, as one without a return. */
void drain_take_begun(struct drain *d, uint32_t chunk);
void drain_flush(struct drain *d);
void drain_await(struct drain *d, uint32_t chunk); /* to be given back with the next block */
void drain_settle(struct drain *d);		   /* gives back what waits for that */
int drain_find(struct drain *d); /* what the segments that are there have already; the last one is open afterwards */
void drain_all(struct drain *d); /* every chunk of an area without a session, in the order of their leases */
struct segment_end drain_end(struct drain *d, int is_last);

/* flight.c: only the last calls are kept */
void flight_keep(struct drain *d, uint32_t chunk); /* it is full */
void flight_pass(struct drain *d);		   /* lets go of what is older than the last calls */

#endif
