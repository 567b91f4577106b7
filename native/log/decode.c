/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the blocks of a segment, see segment.h. A file may come from anywhere: what a block's head says is checked
 * against its size when the block is entered, and every column against its end as it is read. No function here reads
 * outside of a block or trusts a number in it.
 */
#include "segment.h"

#include <stdlib.h>
#include <string.h>

#include "varint.h"

const char *segment_header_problem(const uint8_t *data, uint64_t size)
{
	const struct segment_header *h = (const struct segment_header *)data;

	if (size < sizeof h->magic || memcmp(h->magic, SEGMENT_MAGIC, sizeof h->magic))
		return "is not a log of lsca";
	if (size < sizeof *h)
		return "ends inside its header";
	if (h->version < SEGMENT_OLDEST || h->version > SEGMENT_VERSION)
		return "is a log of another format than this lsca reads";
	if (!(h->ns_per_tick > 0 && h->ns_per_tick < 1e6))
		return "has a damaged header: a tick of no possible length";
	return NULL;
}

/* ---- blocks ----------------------------------------------------------------------------------------------------- */

static const char *head_problem(const struct block_head *h, uint64_t left)
{
	if (h->magic != BLOCK_MAGIC || h->bytes % 8 || h->bytes > BLOCK_BYTES_MAX)
		return "what stands there is no block";
	if (h->bytes > left - sizeof *h)
		return "the file ends inside a block";
	if (h->kind == BLOCK_LAST)
		return h->bytes == sizeof(struct segment_end) ? NULL : "the end block has a wrong size";
	if (h->kind != BLOCK_RECORDS)
		return "the block is of an unknown kind";
	if (!h->rows || h->rows > BLOCK_ROWS_MAX || !h->runs || h->runs > h->rows || !h->shapes || h->shapes > 65536 ||
	    h->blobs > h->bytes || h->blobs > UINT32_MAX - 1 - h->blobs_before)
		return "the block's head makes no sense";
	return NULL;
}

static const char *payload_problem(struct segment_block *b)
{
	const struct block_head *h = b->head;
	const uint8_t *at = (const uint8_t *)(h + 1), *end = at + h->bytes;
	uint64_t need = (uint64_t)h->runs * sizeof *b->runs + (uint64_t)h->shapes * sizeof *b->shapes, rows = 0;

	for (int i = 0; i < COLUMN_COUNT; i++)
		need += h->columns[i];
	if (need > h->bytes)
		return "the block is shorter than its columns";
	b->runs = (const struct segment_run *)at;
	b->shapes = (const struct segment_shape *)(b->runs + h->runs);
	at = (const uint8_t *)(b->shapes + h->shapes);
	for (int i = 0; i < COLUMN_COUNT; i++) {
		b->column[i] = at;
		b->column_end[i] = at += h->columns[i];
	}
	b->blobs = at;
	b->blobs_end = end;
	for (uint32_t i = 0; i < h->runs; i++)
		rows += b->runs[i].rows;
	if (rows != h->rows || h->columns[COLUMN_CODE] != (uint64_t)h->rows * (h->shapes > 256 ? 2 : 1))
		return "the block's runs have not as many records as it has";
	for (uint32_t i = 0; i < h->shapes; i++) {
		const struct segment_shape *s = &b->shapes[i];

		/* A kind that is not known yet may be another writer's. */
		if (s->args > CALL_ARGS || s->pieces > SHAPE_PIECES || s->kind < RECORD_CALL)
			return "the block has a shape that makes no sense";
		for (int k = 0; k < s->pieces; k++)
			if (s->piece[k].arg >= CALL_ARGS)
				return "the block has a shape that makes no sense";
	}
	return NULL;
}

int segment_block_next(const uint8_t *data, uint64_t size, uint64_t *at, struct segment_block *b, int check,
		       const char **problem)
{
	const struct block_head *h = (const struct block_head *)(data + *at);

	if (*at >= size)
		return 0;
	memset(b, 0, sizeof *b);
	b->head = h;
	b->at = *at;
	*problem = size - *at < sizeof *h ? "the file ends inside a block" : head_problem(h, size - *at);
	if (!*problem && check && segment_check(h, h + 1) != h->check)
		*problem = "the block's check sum is wrong";
	if (!*problem && h->kind == BLOCK_RECORDS)
		*problem = payload_problem(b);
	if (*problem)
		return -1;
	*at += sizeof *h + h->bytes;
	return 1;
}

const struct segment_end *segment_block_end(const struct segment_block *b)
{
	return b->head->kind == BLOCK_LAST ? (const struct segment_end *)(b->head + 1) : NULL;
}

/* ---- columns ---------------------------------------------------------------------------------------------------- */

int block_codes(const struct segment_block *b, uint16_t *codes)
{
	const uint8_t *at = b->column[COLUMN_CODE];
	uint32_t rows = b->head->rows, shapes = b->head->shapes, highest = 0;

	if (shapes > 256)
		memcpy(codes, at, 2ull * rows);
	else
		for (uint32_t i = 0; i < rows; i++)
			codes[i] = at[i];
	for (uint32_t i = 0; i < rows; i++)
		highest = codes[i] > highest ? codes[i] : highest;
	return highest < shapes ? 0 : -1;
}

int block_starts(const struct segment_block *b, uint64_t *ticks)
{
	const uint8_t *at = b->column[COLUMN_START], *end = b->column_end[COLUMN_START];

	for (uint32_t r = 0; r < b->head->runs; r++) {
		uint64_t now = b->head->ticks, step;

		for (uint32_t i = 0; i < b->runs[r].rows; i++) {
			at = varint_get(at, end, &step);
			if (!at)
				return -1;
			now += (uint64_t)unzigzag(step);
			*ticks++ = now;
		}
	}
	return at == end ? 0 : -1;
}

int block_tooks(const struct segment_block *b, uint64_t *ticks)
{
	const uint8_t *at = b->column[COLUMN_TOOK], *end = b->column_end[COLUMN_TOOK];

	for (uint32_t i = 0; i < b->head->rows; i++) {
		at = varint_get(at, end, &ticks[i]);
		if (!at)
			return -1;
	}
	return at == end ? 0 : -1;
}

/* Each number as a difference to the one before it of the same shape; `arg` -1: the result, which every row has. */
static int by_shape(const struct segment_block *b, const uint16_t *codes, int arg, uint64_t *values)
{
	int column = arg < 0 ? COLUMN_RET : COLUMN_ARG + arg;
	const uint8_t *at = b->column[column], *end = b->column_end[column];
	uint64_t few[256] = {0}, *last = few, step;
	int e = -1;

	if (b->head->shapes > 256 && !(last = calloc(b->head->shapes, sizeof *last)))
		return -1;
	for (uint32_t i = 0; i < b->head->rows; i++) {
		if (b->shapes[codes[i]].args <= arg) {
			values[i] = 0;
			continue;
		}
		at = varint_get(at, end, &step);
		if (!at)
			goto out;
		values[i] = last[codes[i]] += (uint64_t)unzigzag(step);
	}
	e = at == end ? 0 : -1;
out:
	if (last != few)
		free(last);
	return e;
}

int block_rets(const struct segment_block *b, const uint16_t *codes, int64_t *rets)
{
	return by_shape(b, codes, -1, (uint64_t *)rets);
}

int block_args(const struct segment_block *b, const uint16_t *codes, int arg, uint64_t *args)
{
	return by_shape(b, codes, arg, args);
}

/* ---- pieces ----------------------------------------------------------------------------------------------------- */

size_t block_piece_count(const struct segment_block *b, const uint16_t *codes)
{
	size_t n = 0;

	for (uint32_t i = 0; i < b->head->rows; i++)
		n += b->shapes[codes[i]].pieces;
	return n;
}

int block_pieces(const struct segment_block *b, const uint16_t *codes, uint32_t *first, struct block_piece *pieces)
{
	const uint8_t *at = b->column[COLUMN_BLOB], *end = b->column_end[COLUMN_BLOB];
	const uint8_t *full = b->column[COLUMN_FULL], *full_end = b->column_end[COLUMN_FULL];
	uint64_t next = b->head->blobs_before, known = next + b->head->blobs, code;
	uint32_t count = 0;

	for (uint32_t i = 0; i < b->head->rows; i++) {
		const struct segment_shape *s = &b->shapes[codes[i]];

		first[i] = count;
		for (int k = 0; k < s->pieces; k++) {
			struct block_piece *p = &pieces[count++];

			at = varint_get(at, end, &code);
			if (!at || (code == 1 && next == known) || (code > 1 && code - 1 > next))
				return -1;
			p->blob = !code ? NO_BLOB : (uint32_t)(code == 1 ? next++ : next - (code - 1));
			p->full = ~0u;
			if (!(s->piece[k].flags & PIECE_CUT))
				continue;
			full = varint_get(full, full_end, &code);
			if (!full)
				return -1;
			p->full = (uint32_t)code;
		}
	}
	first[b->head->rows] = count;
	return at == end && full == full_end && next == known ? 0 : -1;
}

int block_blobs(const struct segment_block *b, struct blob *blobs)
{
	const uint8_t *at = b->blobs;
	uint64_t len;

	for (uint32_t i = 0; i < b->head->blobs; i++) {
		at = varint_get(at, b->blobs_end, &len);
		if (!at || len > (uint64_t)(b->blobs_end - at))
			return -1;
		blobs[i] = (struct blob){at, (uint32_t)len};
		at += len;
	}
	return b->blobs_end - at < 8 ? 0 : -1;
}
