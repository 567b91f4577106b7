/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calls of a log as a stream of Arrow's C data interface, one batch per block. The structures are that interface's
 * own; their layout is fixed by it.
 */
#ifndef LSCA_ARROW_H
#define LSCA_ARROW_H

#include "decoded.h"
#include "words.h"

struct ArrowSchema {
	const char *format, *name, *metadata;
	int64_t flags, n_children;
	struct ArrowSchema **children, *dictionary;
	void (*release)(struct ArrowSchema *);
	void *private_data;
};

struct ArrowArray {
	int64_t length, null_count, offset, n_buffers, n_children;
	const void **buffers;
	struct ArrowArray **children, *dictionary;
	void (*release)(struct ArrowArray *);
	void *private_data;
};

struct ArrowArrayStream {
	int (*get_schema)(struct ArrowArrayStream *, struct ArrowSchema *);
	int (*get_next)(struct ArrowArrayStream *, struct ArrowArray *);
	const char *(*get_last_error)(struct ArrowArrayStream *);
	void (*release)(struct ArrowArrayStream *);
	void *private_data;
};

enum { ARROW_NULLABLE = 2 };

/* The columns of `calls`, in their order. */
#define CALL_COLUMNS(X) \
	X(START, "start", "tsn:") X(DURATION, "duration_ns", "l") X(PID, "pid", "i") X(TID, "tid", "i") \
	X(NAME, "name", "i") X(RET, "ret", "l") X(ERROR, "error", "i") X(PATH, "path", "u") X(PATH2, "path2", "u") \
	X(FD, "fd", "i") X(FILE, "file", "u") X(BYTES, "bytes", "l") X(ADDRESS, "address", "u") X(ARGV, "argv", "u") \
	X(FAMILY, "family", "i") X(ROUTE, "route", "i") X(TRAPPED, "trapped", "b") X(NR, "nr", "s") \
	X(ARG0, "arg0", "L") X(ARG1, "arg1", "L") X(ARG2, "arg2", "L") X(ARG3, "arg3", "L") X(ARG4, "arg4", "L") \
	X(ARG5, "arg5", "L") X(THREAD, "thread", "l") X(SEQ, "seq", "l") X(RUN, "run", "i")

enum call_column {
#define X(id, name, format) CALLS_##id,
	CALL_COLUMNS(X)
#undef X
	CALLS_COLUMNS,
};

/* Words that a column's values are numbers of. Kept by each array that refers to it. */
struct lexicon {
	int keepers;
	uint32_t count;
	struct text bytes;
	int32_t *ends; /* count + 1 offsets */
	uint32_t room;
};

struct lexicon *lexicon_new(void);
int lexicon_add(struct lexicon *x, const char *word); /* its number, -1 without memory */
void lexicon_drop(struct lexicon *x);

/* What the stream's columns have in common. */
struct words_of_calls {
	struct lexicon *names, *errors, *families, *routes;
	int32_t *name_of;        /* by the key of name_key() */
	int32_t error_of[4096];  /* by errno */
	int32_t family_of[2][CALL_LIMIT];
};

/* Of each machine and convention the numbers. */
enum { NAME_KEYS = 3 << 16 };
uint32_t name_key(const struct log_segment *s, const struct segment_shape *shape);

/* One column of a block's rows, or of none but NULLs if it is not `wanted`. 0 or -1 without memory. */
struct selection {
	struct decoded *d;
	struct logfile *l;
	const struct words_of_calls *words;
	const uint32_t *rows, *runs; /* of each selected row: its number, and its run's */
	uint32_t count;
};
int column_fill(struct selection *s, enum call_column column, int wanted, struct ArrowArray *a);
unsigned column_needs(const struct selection *s, enum call_column column); /* enum decoded_need */

/*
 * A stream of the columns whose bits are set in `wanted`; the others are there, and NULL, unless it shall have these
 * `only`. 0 or -1 without memory.
 */
int arrow_stream(struct logfile *l, uint64_t wanted, int only, struct ArrowArrayStream *stream);
const char *arrow_column(int i); /* its name; NULL behind the last one */

#endif
