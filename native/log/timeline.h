/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What resolve.c keeps of a run: for every table of descriptors and every number in it a line of objects, each with the
 * moment from which on it was there; the processes that had these tables; the objects' names. Everything is added in
 * the order of time and looked up by halving.
 */
#ifndef LSCA_TIMELINE_H
#define LSCA_TIMELINE_H

#include "resolve.h"

enum { CLONE_FS_ = 0x200, CLONE_FILES_ = 0x400, CLONE_THREAD_ = 0x10000 };

struct map { /* from 64 bits to an index */
	uint64_t *keys;
	uint32_t *values; /* + 1; 0: free */
	size_t used, room;
};

struct span {
	const uint8_t *at;
	size_t len;
	uint64_t hash;
};

struct point { /* from when on */
	uint64_t at;
	uint32_t value;
};

struct line {
	struct point *points;
	uint32_t count, room;
};

struct object {
	struct line names; /* texts */
	uint32_t link, local, peer;
	uint32_t domain, type;
	uint32_t serial;
	uint8_t is_socket;
};

struct closed_range {
	uint64_t at;
	int32_t first, last;
};

struct table {
	uint32_t parent; /* + 1; 0: none */
	uint64_t since;
	uint32_t shared;
	struct closed_range *ranges;
	uint32_t range_count, range_room;
};

struct epoch { /* of a process number */
	uint64_t at;
	uint32_t files, fs; /* tables */
	int awaited;        /* made by a fork; its own first record is still to come */
};

struct holder {
	struct epoch *epochs;
	uint32_t count, room;
};

struct resolver {
	struct map lines_by_fd, holders_by_pid, texts_by_hash;
	struct line *lines;
	size_t line_count, line_room;
	struct object *objects; /* the first one is "closed" */
	size_t object_count, object_room;
	struct table *tables;
	size_t table_count, table_room;
	struct holder *holders;
	size_t holder_count, holder_room;
	struct span *texts; /* the first one is "not known" */
	size_t text_count, text_room;
	struct text scratch;
	uint32_t serial;
	int failed; /* no memory */
};

/* Room for one more element, cleared; NULL and `failed` without memory. `array` is the address of the array's pointer. */
void *timeline_push(struct resolver *r, void *array, size_t *count, size_t *room, size_t size);
void *timeline_push32(struct resolver *r, void *array, uint32_t *count, uint32_t *room, size_t size);
/* The number of a text, the same for the same bytes; 0 for none. */
uint32_t timeline_text(struct resolver *r, const uint8_t *at, size_t len);

void line_add(struct resolver *r, struct line *l, uint64_t at, uint32_t value);
/* The last point that is not after `at`, or NULL. */
const struct point *line_find(const struct line *l, uint64_t at);

void timeline_set(struct resolver *r, uint32_t table, int32_t fd, uint64_t at, uint32_t object);
/* The object, 0: closed, or none that is known of. */
uint32_t timeline_object(const struct resolver *r, uint32_t table, int32_t fd, uint64_t at);

/* Whoever had this process number then; NULL: nothing is known. */
const struct epoch *timeline_epoch(const struct resolver *r, uint32_t pid, uint64_t at);
/* The process as it is now; one of which nothing is known yet begins with nothing. NULL: no memory. */
struct epoch *timeline_now(struct resolver *r, uint32_t pid);
/* `awaited`: the child's own first record is still to come. */
void timeline_fork(struct resolver *r, uint32_t parent, uint32_t child, uint64_t at, uint32_t flags, int awaited);
/* A process's first record. */
void timeline_start(struct resolver *r, const struct change *c);
/* A process that shared its tables has its own from now on. */
void timeline_part(struct resolver *r, uint32_t pid, uint64_t at, uint32_t flags);

void timeline_free(struct resolver *r);

#endif
