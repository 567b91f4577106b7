/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes a log of so many calls, as a handful of threads would make them that open, read, write, ask and close: what
 * tests/bench/log.py measures readers with. Arguments: file, number of calls.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "segment.h"

enum { THREADS = 8, CHUNK = 32768, AT_FDCWD_ = -100 };

static uint64_t random_state = 88172645463325252u;

static uint32_t random_below(uint32_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 33) % n;
}

struct maker {
	uint8_t bytes[CHUNK];
	size_t used;
	uint64_t now, seq;
	uint32_t tid, step, file;
};

static void add(struct maker *m, uint16_t nr, int32_t ret, int count, const uint64_t *args, int path)
{
	struct log_record *r = (struct log_record *)(m->bytes + m->used);
	char name[64];

	memset(r, 0, sizeof *r);
	r->nr = nr;
	r->kind = RECORD_CALL;
	r->counts = (uint8_t)(count | (path >= 0) << 4);
	m->now += 500 + random_below(3000);
	r->start = m->now;
	r->took = 200 + random_below(random_below(50) ? 800 : 100000);
	m->now += r->took;
	r->ret = ret;
	memcpy(r->args, args, (size_t)count * 8);
	m->used += sizeof *r + (size_t)count * 8;
	if (path >= 0) {
		struct piece *p = (struct piece *)(m->bytes + m->used);
		int n = snprintf(name, sizeof name, "src/lib%u/module%u/file%u.c", m->file % 7, m->file % 31,
				 m->file % 5000);

		*p = (struct piece){.arg = (uint8_t)path, .len = (uint16_t)n, .full = (uint32_t)n};
		memset(p + 1, 0, ((size_t)n + 7) & ~7ull);
		memcpy(p + 1, name, (size_t)n);
		m->used += sizeof *p + (((size_t)n + 7) & ~7ull);
	}
	r->words = (uint16_t)((m->bytes + m->used - (uint8_t *)r) / 8);
}

/* Some fifty calls for each file, most of them reads and writes. */
static void one_call(struct maker *m)
{
	uint64_t fd = 3 + m->tid % 5, cwd = (uint64_t)(int64_t)AT_FDCWD_, buffer = 0x7f0000001000u + m->tid * 65536u;
	uint32_t bytes = 1 + random_below(4096);

	switch (m->step++ % 50) {
	case 0:
		m->file = random_below(100000);
		add(m, 262, -2, 4, (uint64_t[]){cwd, buffer, buffer, 0}, 1);
		break;
	case 1:
		add(m, 257, (int32_t)fd, 4, (uint64_t[]){cwd, buffer, 0, 0}, 1);
		break;
	case 2:
		add(m, 5, 0, 2, (uint64_t[]){fd, buffer}, -1);
		break;
	case 49:
		add(m, 3, 0, 1, (uint64_t[]){fd}, -1);
		break;
	default:
		if (random_below(3))
			add(m, 0, (int32_t)bytes, 3, (uint64_t[]){fd, buffer, 4096}, -1);
		else
			add(m, 1, (int32_t)bytes, 3, (uint64_t[]){1, buffer, bytes}, -1);
	}
}

static void write_block(struct segment_writer *w, FILE *f)
{
	size_t size;
	const uint8_t *block = segment_writer_block(w, &size);

	if (block && fwrite(block, 1, size, f) != size)
		exit(1);
}

int main(int argc, char **argv)
{
	static struct maker makers[THREADS];
	struct segment_writer *w = segment_writer_new(1, 2);
	struct segment_header h = {.magic = SEGMENT_MAGIC, .version = SEGMENT_VERSION, .machine = 62, .ticks0 = 1000,
				   .mono0 = 1000, .real0 = 1700000000000000000u, .ns_per_tick = 0.4, .run = {1, 2}};
	struct segment_end end = {.is_last = 1};
	struct segment_end_block last;
	uint64_t calls, made = 0, lease = 0;
	FILE *f = argc == 3 ? fopen(argv[1], "w") : NULL;

	if (!f || !w)
		return 2;
	calls = strtoull(argv[2], NULL, 10);
	fwrite(&h, sizeof h, 1, f);
	for (uint32_t i = 0; i < THREADS; i++)
		makers[i] = (struct maker){.now = 1000 + i, .tid = 100 + i, .step = i * 7};
	while (made < calls) {
		struct maker *m = &makers[made / 500 % THREADS];
		struct segment_run run = {.lease = ++lease, .thread = m->tid, .first = m->seq, .pid = 100 + m->tid % 2,
					  .tid = m->tid};

		for (m->used = 0; m->used < CHUNK - 256 && made < calls; made++)
			one_call(m);
		run.bytes = (uint32_t)m->used;
		if (segment_writer_add(w, &run, m->bytes))
			return 1;
		m->seq += run.rows;
		if (segment_writer_rows(w) >= BLOCK_ROWS)
			write_block(w, f);
	}
	if (segment_writer_rows(w))
		write_block(w, f);
	segment_end_block(&last, &end);
	fwrite(&last, sizeof last, 1, f);
	return fclose(f);
}
