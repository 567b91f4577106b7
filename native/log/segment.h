/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of a log. A segment is a header and then blocks; a block holds the records of some runs, a run being what
 * one thread wrote without a break. Within a block the records stand column by column, so that a question about names
 * and times reads names and times only. Everything is little endian; a varint is LEB128, a zigzag varint has its sign
 * in bit 0. docs/log-format.md tells the same in words.
 *
 *   segment_header | block_head payload | block_head payload | ...
 *   payload:   runs       head.runs x struct segment_run
 *              shapes     head.shapes x struct segment_shape
 *              columns    COLUMN_COUNT of them one after the other, as long as head.columns says
 *              blobs      head.blobs x (varint length, bytes): what pieces point to, numbered through the segment
 *              padding    zeros up to a multiple of 8
 *
 * What a record is, besides its numbers, is its shape: call, kind, route, flags, how many arguments, which pieces. The
 * columns hold, row by row:
 *   CODE    which shape: one byte, or two (little endian) if the block has more than 256 shapes
 *   START   zigzag varint: ticks since the start of the row before it in the same run; in a run's first row since
 *           head.ticks
 *   TOOK    varint: ticks from start to end
 *   RET     zigzag varint: difference to the result of the row before it of the same shape in this block, at first to 0
 *   ARG0..5 the same of an argument, for the rows whose shape has that many
 *   BLOB    for each piece of a row in turn a varint: 0 an empty piece; 1 the next blob that is not yet numbered; n + 1
 *           the blob n before that one
 *   FULL    for each piece with PIECE_CUT a varint: how many bytes there were
 */
#ifndef LSCA_SEGMENT_H
#define LSCA_SEGMENT_H

#include <stddef.h>
#include <stdint.h>

#include "abi.h"

#define SEGMENT_MAGIC "LSCALOG\n"
#define SEGMENT_VERSION 3u
#define SEGMENT_OLDEST 2u /* which has no kinds of records but the first six */
#define BLOCK_MAGIC 0x4b42534cu /* "LSBK" */

enum {
	SHAPE_PIECES = RECORD_PIECES,
	BLOCK_ROWS = 65536,      /* at so many a block is written */
	BLOCK_ROWS_MAX = 131072, /* more than that no block has */
	BLOCK_BYTES_MAX = 256 << 20,
	BLOBS_KNOWN = 1 << 20,   /* then the writer forgets them, and stores again what comes again */
};

enum column {
	COLUMN_CODE,
	COLUMN_START,
	COLUMN_TOOK,
	COLUMN_RET,
	COLUMN_ARG,
	COLUMN_BLOB = COLUMN_ARG + CALL_ARGS,
	COLUMN_FULL,
	COLUMN_COUNT,
};

struct segment_header {
	char magic[8];
	uint32_t version, machine; /* machine: ELF e_machine */
	uint64_t ticks0, mono0, real0; /* one moment on three clocks: ticks, CLOCK_MONOTONIC ns, CLOCK_REALTIME ns */
	double ns_per_tick; /* as it was known when the segment was begun; the end block has it better */
	uint64_t run[2];    /* of all segments of one run the same, and no other's */
	uint32_t number;    /* of this segment within the run, from 0 */
	uint32_t table;     /* a hash of the table of calls that named shapes and arguments */
	char boot_id[40];
	char host[64];
	uint8_t pad[80];
};

enum block_kind { BLOCK_RECORDS = 1, BLOCK_LAST = 2 };

struct block_head {
	uint32_t magic;
	uint32_t bytes;  /* of the payload */
	uint64_t check;  /* segment_check() of the rest of the head and of the payload */
	uint32_t kind;   /* enum block_kind */
	uint32_t rows, runs, shapes, blobs;
	uint32_t blobs_before; /* in this segment, before this block */
	uint64_t ticks;        /* of the first row's start */
	uint32_t columns[COLUMN_COUNT];
};

/* The payload of the last block. A segment without it was not finished: its writer was killed, or still writes. */
struct segment_end {
	uint64_t lost;        /* records that found no room */
	uint64_t undrained;   /* records that could not be written, or made no sense */
	uint32_t uncaught;    /* programs that ran without the agent */
	uint32_t is_last;     /* 0: the run goes on in the next segment */
	uint64_t ticks, mono; /* a second moment: the longer the baseline, the better the rate */
};

struct segment_run {
	uint64_t lease;   /* of the chunk: unique in the session */
	uint64_t thread;  /* serial number: thread ids are used again */
	uint64_t first;   /* sequence number of the first row: a gap is a loss */
	uint32_t pid, tid;
	uint32_t offset;  /* where in the chunk the run begins */
	uint32_t bytes;   /* of it in the chunk */
	uint32_t rows, pad;
};

struct segment_shape {
	uint16_t nr;
	uint8_t kind, route; /* enum record_kind, enum route */
	uint8_t flags;       /* enum record_flags, without RECORD_WIDE */
	uint8_t args, pieces;
	uint8_t pad;
	struct {
		uint8_t arg, flags; /* enum piece_flags */
	} piece[SHAPE_PIECES];
};

_Static_assert(sizeof(struct segment_header) == 256, "segment_header");
_Static_assert(sizeof(struct block_head) == 96, "block_head");
_Static_assert(sizeof(struct segment_end) == 40, "segment_end");
_Static_assert(sizeof(struct segment_run) == 48, "segment_run");
_Static_assert(sizeof(struct segment_shape) == 32, "segment_shape");

/* ---- both directions -------------------------------------------------------------------------------------------- */

uint64_t segment_check(const struct block_head *h, const void *payload);

/* ---- writing: encode.c ------------------------------------------------------------------------------------------ */

struct segment_writer; /* collects the rows of one block */

/* What the blobs' hashes are keyed with: a program must not be able to choose two blobs that count as one. */
struct segment_writer *segment_writer_new(uint64_t key0, uint64_t key1);
void segment_writer_free(struct segment_writer *w);
/* The next block belongs to a segment that has so many blobs already (0: a new one), none of which is known. */
void segment_writer_restart(struct segment_writer *w, uint32_t blobs);
/*
 * Takes in the records of a run: `r->bytes` bytes at `bytes`, which nobody changes meanwhile, but which a program
 * wrote. Stops before a record that makes no sense; sets r->rows and r->bytes to what was taken. 0, or -1 without
 * memory.
 */
int segment_writer_add(struct segment_writer *w, struct segment_run *r, const uint8_t *bytes);
size_t segment_writer_rows(const struct segment_writer *w);
size_t segment_writer_bytes(const struct segment_writer *w); /* about what the block will take */
/* The block as it is to be written, with its head; NULL without rows or memory. The writer's until the next call. */
const uint8_t *segment_writer_block(struct segment_writer *w, size_t *size);

/* The block that ends a segment, ready to be written. */
struct segment_end_block {
	struct block_head head;
	struct segment_end end;
};
void segment_end_block(struct segment_end_block *b, const struct segment_end *end);

/* ---- reading: decode.c ------------------------------------------------------------------------------------------ */

/* One block, checked: no function below reads outside of it, whatever stands in it. */
struct segment_block {
	const struct block_head *head;
	const struct segment_run *runs;
	const struct segment_shape *shapes;
	const uint8_t *blobs, *blobs_end;
	const uint8_t *column[COLUMN_COUNT], *column_end[COLUMN_COUNT];
	uint64_t at; /* of its head, in the file */
};

/* NULL, or what is wrong with the header in words. `data` is aligned to 8 bytes, here and below. */
const char *segment_header_problem(const uint8_t *data, uint64_t size);
/*
 * The block at `*at` (at first sizeof(struct segment_header)), which is moved behind it: 1; 0 at the end of the data;
 * -1 for damage, and then `*problem` says what. With `check` the check sum is compared too, which reads all of it.
 */
int segment_block_next(const uint8_t *data, uint64_t size, uint64_t *at, struct segment_block *b, int check,
		       const char **problem);
const struct segment_end *segment_block_end(const struct segment_block *b); /* NULL unless kind is BLOCK_LAST */

/*
 * Columns of a block, as many elements as it has rows. 0, or -1 if the column does not hold what it must. `codes` comes
 * from block_codes; an argument that a row does not have is 0.
 */
int block_codes(const struct segment_block *b, uint16_t *codes);
int block_starts(const struct segment_block *b, uint64_t *ticks);
int block_tooks(const struct segment_block *b, uint64_t *ticks);
int block_rets(const struct segment_block *b, const uint16_t *codes, int64_t *rets);
int block_args(const struct segment_block *b, const uint16_t *codes, int arg, uint64_t *args);

/* Pieces of all rows, one after the other; `first[row]` is where a row's begin, first[rows] how many there are. */
struct block_piece {
	uint32_t blob; /* number within the segment, from 0; NO_BLOB: empty */
	uint32_t full; /* bytes that there were; ~0: as many as the blob has */
};
#define NO_BLOB 0xffffffffu
size_t block_piece_count(const struct segment_block *b, const uint16_t *codes);
int block_pieces(const struct segment_block *b, const uint16_t *codes, uint32_t *first, struct block_piece *pieces);

struct blob {
	const uint8_t *bytes;
	uint32_t len;
};
/* The block's own new blobs, in order: head->blobs of them. 0 or -1. */
int block_blobs(const struct segment_block *b, struct blob *blobs);

#endif
