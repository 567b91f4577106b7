/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file that holds a log's chunks: /dev/shm/lsca-UID-XXXXXX, which outlives program, proxy, launcher and daemon. Its
 * first page tells whoever comes after them whose it is and where its records were to go. Who is responsible for it
 * holds a lock on it: one that nobody holds is an orphan. All behind that page was written by programs.
 */
#ifndef LSCA_AREA_H
#define LSCA_AREA_H

#include "segment.h"

#define AREA_MAGIC "LSCAREA\n"
#define AREA_VERSION 1u

enum log_sync { SYNC_CLOSE, SYNC_SEGMENT, SYNC_INTERVAL, SYNC_NEVER };

struct log_options {
	uint64_t rotate_size; /* bytes of a segment; 0: there is only one */
	uint64_t rotate_age;  /* seconds, the same */
	uint64_t flight;      /* how many last calls are kept, and written at the end; 0: all are written */
	uint32_t sync;        /* enum log_sync */
	uint32_t keep_bytes, lossy, chunks; /* chunks: how many there is room for; area_create says */
	uint64_t keep_read[KEEP_FDS / 64], keep_write[KEEP_FDS / 64];
};

struct area_head {
	char magic[8];
	uint32_t version, chunk_size, chunk_count, chunks_at;
	uint32_t launcher, program; /* process ids; 0: not yet */
	uint64_t lost, uncaught, undrained; /* as in struct segment_end, when a block was last written */
	struct log_options options;
	struct segment_header header; /* of the segment that is being written */
	char output[2048];            /* absolute path of the run's first segment; empty: it is no file */
};

_Static_assert(sizeof(struct area_head) <= AREA_LOST, "area_head");

enum { AREA_NAME = 64 };

/* Descriptor or negative errno. `named` 0: there is no place for it, and it dies with the run. */
int area_create(const char *output, struct log_options *o, int *named);
/* Read and checked: 0, or what is wrong with it. */
const char *area_read(int fd, struct area_head *h);
int area_write(int fd, const struct area_head *h);
int area_lock(int fd);    /* 0: now it is ours; -EWOULDBLOCK: somebody's */
uint64_t area_lost(int fd, uint64_t known); /* records, by the agents' own count or by `known` */
void area_remove(int fd); /* its name */
/* The next name of an area of ours in `dir` (a DIR *): 1, or 0 at the end. */
int area_next(void *dir, char name[AREA_NAME]);
extern const char area_directory[];

#endif
