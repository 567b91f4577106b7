/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns the records of chunks into blocks of a segment, see segment.h. Used by the drainer and by whoever brings a
 * killed run's chunks into its file. Records come from memory that a program wrote: each is checked before it is taken,
 * and what makes no sense ends its run.
 */
#include "segment.h"

#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "varint.h"

struct buffer {
	uint8_t *at;
	size_t used, room;
};

struct known_blob {
	uint64_t hash[2];
	uint32_t number; /* + 1; 0: this place is free */
	uint32_t pad;
};

enum { SHAPE_PLACES = 1 << 17, SHAPES_MAX = 65536, QUICK_SHAPES = 1024, LONGEST = 10, ROW_NUMBERS = 3 + CALL_ARGS };

struct quick_shape {
	uint64_t key;
	uint32_t shape; /* + 1 */
};

struct last {
	int64_t ret;
	uint64_t args[CALL_ARGS];
};

struct segment_writer {
	uint64_t key[2];
	struct buffer columns[COLUMN_COUNT], blobs, runs, shapes, lasts, block;
	uint32_t rows, new_blobs, blobs_before;
	uint64_t ticks;
	uint32_t *shape_places; /* hash table of shapes, + 1 */
	struct quick_shape quick[QUICK_SHAPES];
	struct known_blob *known;
	size_t known_room, known_used;
};

/* Room for `n` more bytes, or NULL. */
static uint8_t *buffer_more(struct buffer *b, size_t n)
{
	size_t room = b->room ? b->room : 4096;
	uint8_t *at;

	if (b->room - b->used >= n)
		return b->at + b->used;
	while (room - b->used < n)
		room *= 2;
	at = realloc(b->at, room);
	if (!at)
		return NULL;
	b->at = at;
	b->room = room;
	return at + b->used;
}

static int buffer_add(struct buffer *b, const void *from, size_t n)
{
	uint8_t *to = buffer_more(b, n);

	if (!to)
		return -1;
	memcpy(to, from, n);
	b->used += n;
	return 0;
}

static void put(struct segment_writer *w, int column, uint64_t value)
{
	struct buffer *b = &w->columns[column];

	b->used = (size_t)(varint_put(b->at + b->used, value) - b->at);
}

/* ---- shapes ----------------------------------------------------------------------------------------------------- */

static uint32_t shape_find(struct segment_writer *w, const struct segment_shape *s)
{
	static const uint64_t key[2] = {0x243f6a8885a308d3u, 0x13198a2e03707344u};
	uint64_t hash[2];
	uint32_t count = (uint32_t)(w->shapes.used / sizeof *s), place;
	struct last none = {0, {0}};

	hash_bytes(key, (const uint8_t *)s, sizeof *s, hash);
	for (place = (uint32_t)hash[0] % SHAPE_PLACES; w->shape_places[place]; place = (place + 1) % SHAPE_PLACES) {
		uint32_t index = w->shape_places[place] - 1;

		if (!memcmp(w->shapes.at + index * sizeof *s, s, sizeof *s))
			return index;
	}
	if (count == SHAPES_MAX || buffer_add(&w->shapes, s, sizeof *s))
		return SHAPES_MAX;
	if (buffer_add(&w->lasts, &none, sizeof none)) {
		w->shapes.used -= sizeof *s;
		return SHAPES_MAX;
	}
	w->shape_places[place] = count + 1;
	return count;
}

/* A record's first word without its size: all there is to the shape of one without pieces. */
static uint64_t quick_key(const struct log_record *r)
{
	uint64_t key;

	memcpy(&key, r, sizeof key);
	return (key & ~(0xffffull | (uint64_t)RECORD_WIDE << 48)) | 1;
}

static uint32_t shape_of(struct segment_writer *w, const struct log_record *r, const uint8_t *pieces)
{
	unsigned args = r->counts & 15, count = r->counts >> 4;
	struct quick_shape *q = NULL;
	struct segment_shape s;
	uint32_t shape;

	if (!count) {
		uint64_t key = quick_key(r);

		q = &w->quick[(key * 0x9e3779b97f4a7c15u) >> 54];
		if (q->key == key && q->shape)
			return q->shape - 1;
		q->key = key;
	}
	memset(&s, 0, sizeof s);
	s.nr = r->nr;
	s.kind = r->kind;
	s.route = r->route;
	s.flags = r->flags & (uint8_t)~RECORD_WIDE;
	s.args = (uint8_t)args;
	s.pieces = (uint8_t)count;
	for (unsigned i = 0; i < count; i++) {
		struct piece p;

		memcpy(&p, pieces, sizeof p);
		s.piece[i].arg = p.arg;
		s.piece[i].flags = p.flags;
		pieces += sizeof p + ((p.len + 7u) & ~7u);
	}
	shape = shape_find(w, &s);
	if (q)
		q->shape = shape == SHAPES_MAX ? 0 : shape + 1;
	return shape;
}

/* ---- blobs ------------------------------------------------------------------------------------------------------ */

static void known_forget(struct segment_writer *w)
{
	if (w->known)
		memset(w->known, 0, w->known_room * sizeof *w->known);
	w->known_used = 0;
}

static int known_grow(struct segment_writer *w)
{
	size_t room = w->known_room ? 2 * w->known_room : 1024;
	struct known_blob *to;

	if (w->known_used >= BLOBS_KNOWN) {
		known_forget(w);
		return 0;
	}
	to = calloc(room, sizeof *to);
	if (!to)
		return -1;
	for (size_t i = 0; i < w->known_room; i++) {
		struct known_blob *k = &w->known[i];
		size_t place = k->hash[0] % room;

		if (!k->number)
			continue;
		while (to[place].number)
			place = (place + 1) % room;
		to[place] = *k;
	}
	free(w->known);
	w->known = to;
	w->known_room = room;
	return 0;
}

/* What stands in the column BLOB for these bytes; new ones are taken in. -1 without memory. */
static int64_t blob_code(struct segment_writer *w, const uint8_t *at, uint32_t n)
{
	uint32_t next = w->blobs_before + w->new_blobs;
	uint64_t hash[2];
	uint8_t *to;
	size_t place;

	if (!n)
		return 0;
	hash_bytes(w->key, at, n, hash);
	if (2 * w->known_used >= w->known_room && known_grow(w))
		return -1;
	for (place = hash[0] % w->known_room; w->known[place].number; place = (place + 1) % w->known_room)
		if (w->known[place].hash[0] == hash[0] && w->known[place].hash[1] == hash[1])
			return (int64_t)(next - (w->known[place].number - 1)) + 1;
	to = buffer_more(&w->blobs, n + LONGEST);
	if (!to)
		return -1;
	to = varint_put(to, n);
	memcpy(to, at, n);
	w->blobs.used = (size_t)(to + n - w->blobs.at);
	w->known[place] = (struct known_blob){{hash[0], hash[1]}, next + 1, 0};
	w->known_used++;
	w->new_blobs++;
	return 1;
}

/* What is to stand in the columns BLOB and FULL. Blobs that no row refers to must not be left behind. */
static int pieces_prepare(struct segment_writer *w, unsigned count, const uint8_t *at, uint64_t *codes)
{
	size_t used = w->blobs.used;
	uint32_t blobs = w->new_blobs;

	if (count && (!buffer_more(&w->columns[COLUMN_BLOB], count * LONGEST) ||
		      !buffer_more(&w->columns[COLUMN_FULL], count * LONGEST)))
		return -1;
	for (unsigned i = 0; i < count; i++) {
		struct piece p;
		int64_t code;

		memcpy(&p, at, sizeof p);
		code = blob_code(w, at + sizeof p, p.len);
		if (code < 0) {
			w->blobs.used = used;
			w->new_blobs = blobs;
			known_forget(w);
			return -1;
		}
		codes[i] = (uint64_t)code;
		at += sizeof p + ((p.len + 7u) & ~7u);
	}
	return 0;
}

static void pieces_put(struct segment_writer *w, unsigned count, const uint8_t *at, const uint64_t *codes)
{
	for (unsigned i = 0; i < count; i++) {
		struct piece p;

		memcpy(&p, at, sizeof p);
		put(w, COLUMN_BLOB, codes[i]);
		if (p.flags & PIECE_CUT)
			put(w, COLUMN_FULL, p.full);
		at += sizeof p + ((p.len + 7u) & ~7u);
	}
}

/* ---- records ---------------------------------------------------------------------------------------------------- */

/* The size of the record at `at` if it and all in it lies within `n` bytes and makes sense, else 0. */
static size_t sound(const uint8_t *at, size_t n)
{
	const struct log_record *r = (const struct log_record *)at;
	size_t size, end, used;
	unsigned args, pieces;

	if (n < sizeof *r)
		return 0;
	size = 8u * (size_t)r->words;
	args = r->counts & 15;
	pieces = r->counts >> 4;
	end = size - (r->flags & RECORD_WIDE ? 16 : 0);
	used = sizeof *r + 8 * args;
	if (size > n || size < used || end < used || end > size || args > CALL_ARGS || pieces > RECORD_PIECES)
		return 0;
	if (r->kind < RECORD_CALL || r->kind > RECORD_WAITS || r->nr >= 4096)
		return 0;
	for (; pieces; pieces--) {
		struct piece p;

		if (end - used < sizeof p)
			return 0;
		memcpy(&p, at + used, sizeof p);
		used += sizeof p;
		if (p.arg >= CALL_ARGS || end - used < ((p.len + 7u) & ~7u))
			return 0;
		used += (p.len + 7u) & ~7u;
	}
	return used == end ? size : 0;
}

/* Whatever may fail comes first: a row stands in all columns or in none. */
static int row_add(struct segment_writer *w, const uint8_t *at, size_t size, uint64_t *before)
{
	const struct log_record *r = (const struct log_record *)at;
	unsigned args = r->counts & 15, count = r->counts >> 4;
	const uint8_t *pieces = at + sizeof *r + 8 * args;
	uint64_t codes[RECORD_PIECES], took = r->took;
	int64_t ret = r->ret;
	struct last *last;
	uint32_t shape;

	for (int i = 0; i < COLUMN_BLOB; i++)
		if (!buffer_more(&w->columns[i], LONGEST))
			return -1;
	shape = shape_of(w, r, pieces);
	if (shape == SHAPES_MAX || pieces_prepare(w, count, pieces, codes))
		return -1;
	pieces_put(w, count, pieces, codes);
	if (r->flags & RECORD_WIDE) {
		memcpy(&took, at + size - 16, 8);
		memcpy(&ret, at + size - 8, 8);
	}
	last = (struct last *)w->lasts.at + shape;
	/* Two bytes for now: whether one is enough is known at the end. */
	memcpy(w->columns[COLUMN_CODE].at + w->columns[COLUMN_CODE].used, &(uint16_t){(uint16_t)shape}, 2);
	w->columns[COLUMN_CODE].used += 2;
	put(w, COLUMN_START, zigzag((int64_t)(r->start - *before)));
	*before = r->start;
	put(w, COLUMN_TOOK, took);
	put(w, COLUMN_RET, zigzag((int64_t)((uint64_t)ret - (uint64_t)last->ret)));
	last->ret = ret;
	for (unsigned i = 0; i < args; i++) {
		put(w, COLUMN_ARG + (int)i, zigzag((int64_t)(r->args[i] - last->args[i])));
		last->args[i] = r->args[i];
	}
	w->rows++;
	return 0;
}

int segment_writer_add(struct segment_writer *w, struct segment_run *r, const uint8_t *bytes)
{
	uint32_t used = 0, rows = w->rows;
	uint64_t before;
	size_t size;
	int e = 0;

	if (r->bytes >= sizeof(struct log_record) && !w->rows)
		w->ticks = ((const struct log_record *)bytes)->start;
	before = w->ticks;
	while (!e && w->rows < BLOCK_ROWS_MAX && (size = sound(bytes + used, r->bytes - used))) {
		e = row_add(w, bytes + used, size, &before);
		if (!e)
			used += (uint32_t)size;
	}
	r->bytes = used;
	r->rows = w->rows - rows;
	if (r->rows && buffer_add(&w->runs, r, sizeof *r))
		e = -1;
	return e;
}

size_t segment_writer_rows(const struct segment_writer *w)
{
	return w->rows;
}

size_t segment_writer_bytes(const struct segment_writer *w)
{
	size_t n = sizeof(struct block_head) + w->runs.used + w->shapes.used + w->blobs.used;

	for (int i = 0; i < COLUMN_COUNT; i++)
		n += w->columns[i].used;
	return n;
}

/* ---- blocks ----------------------------------------------------------------------------------------------------- */

static void begin(struct segment_writer *w)
{
	for (int i = 0; i < COLUMN_COUNT; i++)
		w->columns[i].used = 0;
	memset(w->shape_places, 0, SHAPE_PLACES * sizeof *w->shape_places);
	memset(w->quick, 0, sizeof w->quick);
	w->blobs.used = w->runs.used = w->shapes.used = w->lasts.used = 0;
	w->blobs_before += w->new_blobs;
	w->rows = w->new_blobs = 0;
}

const uint8_t *segment_writer_block(struct segment_writer *w, size_t *size)
{
	struct block_head h = {.magic = BLOCK_MAGIC, .kind = BLOCK_RECORDS, .rows = w->rows, .blobs = w->new_blobs,
			       .blobs_before = w->blobs_before, .ticks = w->ticks};
	const uint8_t zeros[8] = {0};
	struct buffer *b = &w->block;
	int e;

	if (!w->rows)
		return NULL;
	h.runs = (uint32_t)(w->runs.used / sizeof(struct segment_run));
	h.shapes = (uint32_t)(w->shapes.used / sizeof(struct segment_shape));
	if (h.shapes <= 256) {
		for (uint32_t i = 0; i < w->rows; i++)
			w->columns[COLUMN_CODE].at[i] = w->columns[COLUMN_CODE].at[2 * i];
		w->columns[COLUMN_CODE].used = w->rows;
	}
	b->used = 0;
	e = buffer_add(b, &h, sizeof h) || buffer_add(b, w->runs.at, w->runs.used) ||
	    buffer_add(b, w->shapes.at, w->shapes.used);
	for (int i = 0; i < COLUMN_COUNT; i++) {
		h.columns[i] = (uint32_t)w->columns[i].used;
		if (w->columns[i].used)
			e = e || buffer_add(b, w->columns[i].at, w->columns[i].used);
	}
	if (w->blobs.used)
		e = e || buffer_add(b, w->blobs.at, w->blobs.used);
	if (e || buffer_add(b, zeros, (size_t)-b->used % 8))
		return NULL;
	h.bytes = (uint32_t)(b->used - sizeof h);
	h.check = segment_check(&h, b->at + sizeof h);
	memcpy(b->at, &h, sizeof h);
	begin(w);
	*size = b->used;
	return b->at;
}

void segment_end_block(struct segment_end_block *b, const struct segment_end *end)
{
	memset(b, 0, sizeof *b);
	b->head.magic = BLOCK_MAGIC;
	b->head.kind = BLOCK_LAST;
	b->head.bytes = sizeof *end;
	b->end = *end;
	b->head.check = segment_check(&b->head, &b->end);
}

struct segment_writer *segment_writer_new(uint64_t key0, uint64_t key1)
{
	struct segment_writer *w = calloc(1, sizeof *w);

	if (!w)
		return NULL;
	w->key[0] = key0;
	w->key[1] = key1;
	w->shape_places = calloc(SHAPE_PLACES, sizeof *w->shape_places);
	if (!w->shape_places) {
		free(w);
		return NULL;
	}
	return w;
}

void segment_writer_restart(struct segment_writer *w, uint32_t blobs)
{
	known_forget(w);
	w->blobs_before = blobs;
}

void segment_writer_free(struct segment_writer *w)
{
	if (!w)
		return;
	for (int i = 0; i < COLUMN_COUNT; i++)
		free(w->columns[i].at);
	free(w->blobs.at);
	free(w->runs.at);
	free(w->shapes.at);
	free(w->lasts.at);
	free(w->block.at);
	free(w->shape_places);
	free(w->known);
	free(w);
}
