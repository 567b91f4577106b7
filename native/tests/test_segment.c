/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes into a block comes out of it, for records of every shape; records that make no sense end their run and
 * nothing else; and blocks with any bytes changed are either refused or read without leaving them:
 * test_segment [SEED [ROUNDS]].
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log/decode.c"
#include "log/encode.c"
#include "log/hash.c"

enum { ROUNDS = 300, RECORDS = 400, CHUNK = 32768 };

static uint64_t state, seed;

static void die(const char *what, uint64_t value)
{
	printf("test_segment: seed %llu: %s (%#llx)\n", (unsigned long long)seed, what, (unsigned long long)value);
	fflush(stdout);
	abort();
}

static uint64_t chance(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static uint64_t below(uint64_t n)
{
	return (chance() >> 11) % n;
}

/* Any number, small ones more often. */
static uint64_t number(void)
{
	return chance() >> below(64);
}

static size_t make(uint8_t *at, uint64_t *now)
{
	struct log_record *r = (struct log_record *)at;
	unsigned args = (unsigned)below(CALL_ARGS + 1), pieces = below(3) ? 0 : (unsigned)below(RECORD_PIECES + 1);
	uint8_t *to = at + sizeof *r + 8 * args;

	*r = (struct log_record){.nr = (uint16_t)below(450), .kind = (uint8_t)(1 + below(RECORD_WAITS)),
				 .route = (uint8_t)below(4),
				 .flags = (uint8_t)(chance() & 0x9f), .counts = (uint8_t)(args | pieces << 4),
				 .start = *now += below(5000), .took = (uint32_t)number(), .ret = (int32_t)number()};
	for (unsigned i = 0; i < args; i++)
		r->args[i] = number();
	for (unsigned i = 0; i < pieces; i++) {
		struct piece p = {.arg = (uint8_t)below(CALL_ARGS), .flags = (uint8_t)below(4),
				  .len = (uint16_t)below(40),
				  .full = (uint32_t)number()};
		uint8_t fill = (uint8_t)below(4); /* few of them, so that they come again */

		memcpy(to, &p, sizeof p);
		memset(to + sizeof p, fill, (p.len + 7u) & ~7u);
		to += sizeof p + ((p.len + 7u) & ~7u);
	}
	if (r->flags & RECORD_WIDE) {
		uint64_t wide[2] = {number(), number()};

		memcpy(to, wide, sizeof wide);
		to += sizeof wide;
	}
	r->words = (uint16_t)((size_t)(to - at) / 8);
	return (size_t)(to - at);
}

struct blobs {
	struct blob *at;
	uint32_t count;
};

static uint8_t *copies[100000]; /* of blocks: later ones refer to their blobs */
static size_t copy_count;

static uint8_t *copy_of(const uint8_t *block, size_t size)
{
	uint8_t *copy = malloc(size);

	if (copy_count == sizeof copies / sizeof *copies)
		die("too many rounds", copy_count);
	copies[copy_count++] = copy;
	memcpy(copy, block, size);
	return copy;
}

static void compare(const struct segment_block *b, struct blobs *blobs, uint8_t *const *given)
{
	uint32_t rows = b->head->rows, row = 0;
	uint16_t *codes = malloc(2 * rows + 1);
	uint64_t *starts = malloc(8 * rows), *tooks = malloc(8 * rows), *args[CALL_ARGS];
	int64_t *rets = malloc(8 * rows);
	uint32_t *first = malloc(4 * rows + 4);
	struct block_piece *pieces;

	if (block_codes(b, codes) || block_starts(b, starts) || block_tooks(b, tooks) || block_rets(b, codes, rets))
		die("a column is not read", rows);
	pieces = malloc(sizeof *pieces * block_piece_count(b, codes) + 1);
	if (b->head->blobs_before != blobs->count || block_pieces(b, codes, first, pieces))
		die("pieces are not read", rows);
	blobs->at = realloc(blobs->at, sizeof *blobs->at * (blobs->count + b->head->blobs + 1));
	if (block_blobs(b, blobs->at + blobs->count))
		die("blobs are not read", rows);
	blobs->count += b->head->blobs;
	for (int i = 0; i < CALL_ARGS; i++) {
		args[i] = malloc(8 * rows);
		if (block_args(b, codes, i, args[i]))
			die("an argument is not read", (uint64_t)i);
	}
	for (uint32_t k = 0; k < b->head->runs; k++) {
		const uint8_t *at = given[k];

		for (uint32_t i = 0; i < b->runs[k].rows; i++, row++) {
			const struct log_record *r = (const struct log_record *)at;
			const struct segment_shape *s = &b->shapes[codes[row]];
			const uint8_t *piece = at + sizeof *r + 8 * (r->counts & 15);
			uint64_t took = r->took;
			int64_t ret = r->ret;

			if (r->flags & RECORD_WIDE) {
				memcpy(&took, at + 8 * r->words - 16, 8);
				memcpy(&ret, at + 8 * r->words - 8, 8);
			}
			if (s->nr != r->nr || s->kind != r->kind || s->route != r->route ||
			    s->args != (r->counts & 15) || s->flags != (r->flags & 0x7f) || s->pieces != r->counts >> 4)
				die("another shape", row);
			if (starts[row] != r->start || tooks[row] != took || rets[row] != ret)
				die("another time or result", row);
			for (int a = 0; a < s->args; a++)
				if (args[a][row] != r->args[a])
					die("another argument", row);
			for (int p = 0; p < s->pieces; p++) {
				const struct block_piece *have = &pieces[first[row] + (uint32_t)p];
				struct piece want;

				memcpy(&want, piece, sizeof want);
				if (have->blob == NO_BLOB ? want.len : have->blob >= blobs->count ||
				    blobs->at[have->blob].len != want.len ||
				    memcmp(blobs->at[have->blob].bytes, piece + sizeof want, want.len))
					die("another piece", row);
				if (want.flags & PIECE_CUT ? have->full != want.full : have->full != ~0u)
					die("another full length", row);
				piece += sizeof want + ((want.len + 7u) & ~7u);
			}
			at += 8 * r->words;
		}
	}
	for (int i = 0; i < CALL_ARGS; i++)
		free(args[i]);
	free(codes);
	free(starts);
	free(tooks);
	free(rets);
	free(first);
	free(pieces);
}

static void read_anyhow(const uint8_t *data, size_t size)
{
	struct segment_block b;
	const char *problem;
	uint64_t at = 0;

	while (segment_block_next(data, size, &at, &b, 0, &problem) > 0) {
		uint32_t rows = b.head->rows;
		uint16_t *codes;
		uint64_t *values;
		uint32_t *first;
		struct block_piece *pieces;
		struct blob *blobs;

		if (segment_block_end(&b))
			continue;
		codes = malloc(2 * rows);
		values = malloc(8 * rows);
		first = malloc(4 * rows + 4);
		blobs = malloc(sizeof *blobs * b.head->blobs + 1);
		block_starts(&b, values);
		block_tooks(&b, values);
		block_blobs(&b, blobs);
		if (!block_codes(&b, codes)) {
			pieces = malloc(sizeof *pieces * block_piece_count(&b, codes) + 1);
			block_rets(&b, codes, (int64_t *)values);
			for (int i = 0; i < CALL_ARGS; i++)
				block_args(&b, codes, i, values);
			block_pieces(&b, codes, first, pieces);
			free(pieces);
		}
		free(codes);
		free(values);
		free(first);
		free(blobs);
	}
}

static void damage(const uint8_t *block, size_t size)
{
	for (int i = 0; i < 40; i++) {
		size_t some = below(4) ? size : 8 * below(size / 8);
		uint8_t *copy = malloc(some + 1); /* of its exact size: whoever reads further is caught */
		struct segment_block b;
		const char *problem;
		uint64_t at = 0;

		memcpy(copy, block, some);
		for (uint64_t n = 1 + below(4); some && n; n--)
			copy[below(2) ? below(some) : below(some < 400 ? some : 400)] = (uint8_t)chance();
		read_anyhow(copy, some);
		if (segment_block_next(copy, some, &at, &b, 1, &problem) > 0 && memcmp(copy, block, some))
			die("damage that the check sum does not see", i);
		free(copy);
	}
}

static void round_of(struct segment_writer *w, struct blobs *blobs)
{
	uint8_t *given[8];
	uint32_t runs = 1 + (uint32_t)below(8);
	struct segment_block b;
	const uint8_t *block;
	const char *problem;
	uint64_t at = 0, now = chance();
	uint8_t *copy;
	size_t size;

	for (uint32_t k = 0; k < runs; k++) {
		struct segment_run r = {.lease = k, .pid = 1, .tid = 2, .bytes = 0};
		uint32_t want = 0, rows = 0;

		given[k] = calloc(1, CHUNK);
		do {
			r.bytes += (uint32_t)make(given[k] + r.bytes, &now);
			rows++;
		} while (r.bytes < CHUNK - 2048 && below(RECORDS));
		want = r.bytes;
		if (!below(4)) { /* something that is none behind them */
			memset(given[k] + r.bytes, (int)below(2) * 255, 64);
			r.bytes += 64;
		}
		if (segment_writer_add(w, &r, given[k]) || r.bytes != want || r.rows != rows)
			die("records are not taken", r.rows);
	}
	block = segment_writer_block(w, &size);
	if (!block || size % 8)
		die("no block", size);
	copy = copy_of(block, size);
	if (segment_block_next(copy, size, &at, &b, 1, &problem) != 1)
		die(problem, size);
	if (at != size)
		die("another size", at);
	blobs->count = 0;
	blobs->count = b.head->blobs_before;
	blobs->at = realloc(blobs->at, sizeof *blobs->at * (blobs->count + 1));
	compare(&b, blobs, given);
	damage(copy, size);
	for (uint32_t k = 0; k < runs; k++)
		free(given[k]);
}

int main(int argc, char **argv)
{
	uint64_t rounds = argc > 2 ? strtoull(argv[2], NULL, 0) : ROUNDS;
	struct segment_end end = {.lost = 1};
	struct segment_end_block last;
	struct segment_block b;
	const char *problem;
	uint64_t at = 0;
	struct segment_writer *w;
	struct blobs blobs = {0};

	seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	state = seed * 0x9e3779b97f4a7c15u | 1;
	w = segment_writer_new(chance(), chance());
	for (uint64_t i = 0; i < rounds; i++) {
		if (!below(20)) {
			segment_writer_restart(w, 0);
			blobs.count = 0;
		}
		round_of(w, &blobs);
	}
	segment_end_block(&last, &end);
	if (segment_block_next((const uint8_t *)&last, sizeof last, &at, &b, 1, &problem) != 1 ||
	    !segment_block_end(&b) || segment_block_end(&b)->lost != 1)
		die("no end", at);
	segment_writer_free(w);
	free(blobs.at);
	while (copy_count)
		free(copies[--copy_count]);
	printf("test_segment: %llu blocks\n", (unsigned long long)rounds);
	return 0;
}
