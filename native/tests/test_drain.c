/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The drainer, and who comes after it, with areas and files that hold nonsense: test_drain [SEED [ROUNDS]]. Whatever
 * chunks claim about their length, their lease and their records, whatever stands in the area's first page and in the
 * file, and however short either is cut: nothing outside of them is touched, each full chunk is freed, and a file that
 * was written to by us alone is whole blocks only. What is in order comes through: all of it, once, in its order.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "log/hash.c"
#include "log/encode.c"
#include "log/decode.c"
#include "daemon/drainer/area.c"
#include "daemon/drainer/output.c"
#include "daemon/drainer/drain.c"
#include "daemon/drainer/flight.c"
#include "daemon/drainer/recover.c"
#include "tests/drain_alone.h"

enum { ROUNDS = 4000, TOUCHED = 6 };

static uint64_t state, seed, blocks, records, recovered;

static void die(const char *what, uint64_t value)
{
	printf("test_drain: seed %llu: %s (%#llx)\n", (unsigned long long)seed, what, (unsigned long long)value);
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
	return n ? (chance() >> 11) % n : 0;
}

uint64_t clock_ns(int clock)
{
	static uint64_t now;

	(void)clock;
	return now += 1000000;
}

/* ---- what programs may write ------------------------------------------------------------------------------------- */

static uint32_t any_used(void)
{
	switch (below(6)) {
	case 0:
		return (uint32_t)chance();
	case 1:
		return CHUNK_ROOM - 1 + (uint32_t)below(3);
	case 2:
		return ~0u - (uint32_t)below(100);
	default:
		return 8 * (uint32_t)below(CHUNK_ROOM / 8 + 1);
	}
}

/* Records that follow each other; with `faults`, some that are none. Bytes of the good ones before the first fault. */
static uint32_t write_records(uint8_t *bytes, int faults, uint32_t *count)
{
	uint32_t at = 0, good = CHUNK_ROOM;

	for (*count = 0; at + 600 < CHUNK_ROOM; ++*count) {
		struct log_record *r = (struct log_record *)(bytes + at);
		uint32_t args = (uint32_t)below(7), pieces = below(4) ? 0 : (uint32_t)below(3);

		*r = (struct log_record){.words = (uint16_t)(3 + args), .nr = (uint16_t)below(400), .kind = RECORD_CALL,
					 .counts = (uint8_t)args, .start = 1000000 + chance() % 100000,
					 .took = (uint32_t)chance(), .ret = (int32_t)chance()};
		for (uint32_t i = 0; i < args; i++)
			r->args[i] = chance();
		for (uint32_t i = 0; i < pieces; i++) {
			struct piece *p = (struct piece *)((uint64_t *)r + r->words);

			*p = (struct piece){(uint8_t)i, 0, (uint16_t)below(60), 0};
			memset(p + 1, (int)below(4), (p->len + 7u) & ~7u);
			r->words = (uint16_t)(r->words + 1 + (p->len + 7) / 8);
			r->counts = (uint8_t)(r->counts + 16);
		}
		at += 8u * r->words;
		if (faults && !below(40)) {
			((uint8_t *)r)[below(24)] = (uint8_t)chance();
			good = good < at ? good : at;
		}
	}
	return at;
}

static int new_area(uint8_t **bytes)
{
	struct area_head h = {.magic = AREA_MAGIC, .version = AREA_VERSION, .chunk_size = CHUNK_SIZE,
			      .chunk_count = CHUNK_COUNT, .chunks_at = AREA_HEAD, .output = "/dev/null/log"};
	int fd = memfd_create("area", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)AREA_SIZE) || area_write(fd, &h))
		die("no area", 0);
	*bytes = mmap(NULL, AREA_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (*bytes == MAP_FAILED)
		die("no mapping", 0);
	return fd;
}

static struct chunk_head *head_of(uint8_t *bytes, uint32_t i)
{
	return (struct chunk_head *)(bytes + AREA_AT(i));
}

/* The first and the last ones: next to them is what must not be read. */
static uint32_t any_chunk(void)
{
	uint32_t i = (uint32_t)below(TOUCHED);

	return i < TOUCHED / 2 ? i : CHUNK_COUNT - 1 - (i - TOUCHED / 2);
}

/* Whole blocks, and how many records; the file is ours alone. */
static uint64_t check_file(int fd, uint64_t *end)
{
	struct stat st;
	struct segment_block b;
	const char *problem = NULL;
	uint64_t at = sizeof(struct segment_header), rows = 0;
	uint8_t *data;
	int r;

	if (fstat(fd, &st))
		die("fstat", 0);
	data = mmap(NULL, (size_t)st.st_size + 1, PROT_READ, MAP_PRIVATE, fd, 0);
	if (segment_header_problem(data, (uint64_t)st.st_size))
		die("the header is wrong", 0);
	while ((r = segment_block_next(data, (uint64_t)st.st_size, &at, &b, 1, &problem)) > 0) {
		blocks++;
		rows += b.head->kind == BLOCK_RECORDS ? b.head->rows : 0;
		*end += b.head->kind == BLOCK_LAST;
	}
	if (r < 0) {
		printf("%s\n", problem);
		die("a block is damaged", at);
	}
	munmap(data, (size_t)st.st_size + 1);
	return rows;
}

static struct drain *new_drain(struct session *s, int area, int fd)
{
	struct drain *d = calloc(1, sizeof *d);

	if (!d || drain_open(d, s, area, fd, "log", -1))
		die("no drainer", 0);
	d->out.path = "log";
	return d;
}

static void free_drain(struct drain *d)
{
	segment_writer_free(d->writer);
	free(d);
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static void nonsense(uint64_t rounds)
{
	struct session *s = calloc(1, sizeof *s);
	uint8_t *bytes;
	int area = new_area(&bytes), fd = memfd_create("log", 0);
	struct drain *d = new_drain(s, area, fd);
	uint64_t end = 0;

	s->full_limit = CHUNKS_BEHIND;
	output_header(&d->out.header);
	output_begin(&d->out);
	for (uint64_t n = 0; n < rounds; n++) {
		uint32_t i = any_chunk(), count;
		struct chunk *k = &s->chunks[i];
		struct chunk_head *h = head_of(bytes, i);

		write_records((uint8_t *)(h + 1), 1, &count);
		h->used = any_used();
		h->lease = below(3) ? h->lease : below(20);
		h->first = chance();
		h->begun = below(2) ? h->first + count + below(2) : chance();
		h->thread = below(4);
		k->state = (uint32_t)below(4) ? (uint32_t)below(3) : (uint32_t)chance();
		s->chunk_high = CHUNK_COUNT + (uint32_t)below(3) * 0x10000000u;
		s->full = (uint32_t)below(4) ? 1 : (uint32_t)chance();
		if (n % 64 == 63 && ftruncate(area, (off_t)(AREA_AT(CHUNK_COUNT - 2) + below(CHUNK_SIZE))))
			die("ftruncate", 0);
		if (n % 4 == 3) {
			uint32_t was = k->state;

			drain_pass(d, 1, 0);
			drain_flush(d);
			if (was == CHUNK_FULL && k->state != CHUNK_FREE)
				die("a full chunk stays", k->state);
		}
		if (n % 64 == 63 && ftruncate(area, (off_t)AREA_SIZE))
			die("ftruncate", 0);
	}
	if (d->out.broken)
		die("the drainer gave up", 0);
	records += check_file(fd, &end);
	free_drain(d);
	munmap(bytes, AREA_SIZE);
	close(area);
	close(fd);
	free(s);
}

/* Killed at any byte of its file, and at any moment between two of its steps; then recovered twice. */
static void killed(int damage)
{
	uint8_t *bytes;
	int area = new_area(&bytes), fd = memfd_create("log", 0), again;
	uint32_t chunks = 1 + (uint32_t)below(12), count;
	uint64_t written = 0, rows, end = 0;
	struct segment_header header;
	struct drain *d = new_drain(NULL, area, fd);

	output_header(&d->out.header);
	header = d->out.header;
	d->head.header = header;
	area_write(area, &d->head);
	output_begin(&d->out);
	for (uint32_t i = 0; i < chunks; i++) {
		struct chunk_head *h = head_of(bytes, i);

		h->used = write_records((uint8_t *)(h + 1), 0, &count);
		h->lease = 1 + i;
		h->thread = 1;
		h->first = written;
		written += count;
	}
	for (uint32_t i = 0; i < chunks && below(8); i++) {
		drain_take(d, i);
		if (!below(3))
			drain_flush(d);
	}
	if (below(2)) { /* in the middle of a block, whose chunks it has not marked yet */
		uint64_t whole = d->out.good;

		drain_flush(d);
		for (uint32_t i = 0; i < chunks; i++)
			head_of(bytes, i)->drained = 0;
		if (ftruncate(fd, (off_t)(whole + below(d->out.good - whole + 1))))
			die("ftruncate", 0);
	}
	free_drain(d);
	if (damage) {
		for (uint32_t n = 0; n < 20; n++)
			bytes[AREA_AT(below(chunks)) + below(CHUNK_SIZE)] = (uint8_t)chance();
		for (uint32_t n = 0; n < 8; n++) {
			uint8_t byte = (uint8_t)chance();
			off_t size = lseek(fd, 0, SEEK_END);

			if (pwrite(fd, &byte, 1, (off_t)(sizeof header + below((uint64_t)size))) != 1)
				die("pwrite", 0);
		}
	}
	for (again = 0; again < 2; again++) {
		struct segment_end last = {0};
		int e;

		d = new_drain(NULL, area, fd);
		d->out.header = header;
		lseek(fd, 0, SEEK_SET);
		e = drain_find(d);
		if (e && !damage)
			die("not found", (uint64_t)-e);
		if (!e) {
			drain_all(d);
			drain_flush(d);
			recovered += d->brought;
			if (again && d->brought && !damage)
				die("something comes twice", d->brought);
			if (again && !d->out.ended)
				put_end(&d->out, &last);
		}
		free_drain(d);
	}
	if (!damage) {
		rows = check_file(fd, &end);
		if (rows != written || end != 1)
			die("not as many records as were written", rows);
	}
	munmap(bytes, AREA_SIZE);
	close(area);
	close(fd);
}

/* An area's first page may say anything. */
static void pages(uint64_t rounds)
{
	struct area_head h;
	uint8_t *bytes;
	int area = new_area(&bytes);

	for (uint64_t n = 0; n < rounds; n++) {
		bytes[below(n % 2 ? sizeof h : 40)] = (uint8_t)chance();
		if (!area_read(area, &h) && memchr(h.output, 0, sizeof h.output) == NULL)
			die("a path without an end", 0);
		if (n % 16 == 15) {
			munmap(bytes, AREA_SIZE);
			close(area);
			area = new_area(&bytes);
		}
	}
	munmap(bytes, AREA_SIZE);
	close(area);
}

int main(int argc, char **argv)
{
	uint64_t rounds = argc > 2 ? strtoull(argv[2], 0, 0) : ROUNDS;

	seed = argc > 1 ? strtoull(argv[1], 0, 0) : 1;
	state = seed * 0x9e3779b97f4a7c15ull + 1;
	nonsense(rounds);
	for (uint64_t n = 0; n < rounds / 20; n++)
		killed(n % 3 == 2);
	pages(rounds);
	printf("test_drain: seed %llu: %llu blocks, %llu records, %llu recovered\n", (unsigned long long)seed,
	       (unsigned long long)blocks, (unsigned long long)records, (unsigned long long)recovered);
	return 0;
}
