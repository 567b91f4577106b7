/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many records the drainer brings to disk in a second: chunks full of records of getppid, read and openat are made
 * as programs make them, drained into FILE, and made again. drained FILE SECONDS prints records per second of the
 * drainer's own time, and bytes of FILE per record.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "daemon/drainer/area.c"
#include "daemon/drainer/drain.c"
#include "daemon/drainer/flight.c"
#include "daemon/drainer/output.c"
#include "daemon/drainer/recover.c"
#include "log/decode.c"
#include "log/encode.c"
#include "log/hash.c"
#include "tests/drain_alone.h"

enum { CHUNKS = 64, THREADS = 4 };

static uint64_t sequence[THREADS + 1], leases, now = 1000;

uint64_t clock_ns(int clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static size_t add(uint8_t *to, uint16_t nr, int32_t ret, uint8_t args, uint64_t n)
{
	struct log_record *r = (struct log_record *)to;
	static const char path[24] = "src/module/file.c";
	size_t size = sizeof *r + 8u * args;

	memset(r, 0, size);
	r->nr = nr;
	r->kind = RECORD_CALL;
	r->counts = args;
	r->start = now += 300 + n * 7 % 50;
	r->took = (uint32_t)(120 + n * 13 % 60);
	r->ret = ret;
	for (int i = 0; i < args; i++)
		r->args[i] = i ? 0x7f0000001000 : 3 + n % 5;
	if (nr == 257) {
		struct piece *p = (struct piece *)(to + size);

		*p = (struct piece){.arg = 1, .len = 17, .full = 17};
		memcpy(p + 1, path, sizeof path);
		size += sizeof *p + sizeof path;
		r->counts |= 1 << 4;
	}
	r->words = (uint16_t)(size / 8);
	return size;
}

/* Records as threads make them that read much and open now and then. */
static void fill(uint8_t *chunk, uint32_t thread)
{
	struct chunk_head *h = (struct chunk_head *)chunk;
	uint32_t used = 0;
	uint64_t n = 0;

	for (; used + 128 <= CHUNK_ROOM; n++) {
		uint8_t *to = (uint8_t *)(h + 1) + used;

		if (n % 50 == 0)
			used += (uint32_t)add(to, 257, 3, 4, n);
		else if (n % 3)
			used += (uint32_t)add(to, 0, 1, 3, n);
		else
			used += (uint32_t)add(to, 110, 1234, 0, n);
	}
	*h = (struct chunk_head){.used = used, .pid = 1, .tid = thread, .lease = ++leases, .thread = thread,
				 .first = sequence[thread]};
	sequence[thread] += n;
}

int main(int argc, char **argv)
{
	struct session *s = calloc(1, sizeof *s);
	struct drain *d = calloc(1, sizeof *d);
	struct log_options options = {0};
	struct stat st;
	uint64_t spent = 0, limit = argc == 3 ? (uint64_t)(atof(argv[2]) * 1e9) : 0;
	int named, area = limit ? area_create("", &options, &named) : -1;
	int fd = limit ? open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600) : -1;
	uint8_t *bytes = MAP_FAILED;

	if (area >= 0)
		bytes = mmap(NULL, AREA_AT(CHUNKS), PROT_READ | PROT_WRITE, MAP_SHARED, area, 0);
	if (!s || !d || fd < 0 || bytes == MAP_FAILED || drain_open(d, s, area, fd, argv[1], 2))
		return 2;
	area_remove(area);
	output_header(&d->out.header);
	output_begin(&d->out);
	s->full_limit = CHUNKS_BEHIND;
	s->chunk_high = CHUNKS;
	while (spent < limit) {
		uint64_t begun;

		for (uint32_t i = 0; i < CHUNKS; i++) {
			fill(bytes + AREA_AT(i), 1 + i % THREADS);
			s->chunks[i].state = CHUNK_FULL;
		}
		s->full = CHUNKS;
		begun = clock_ns(CLOCK_MONOTONIC);
		do
			drain_pass(d, 0, 0);
		while (drain_flush(d), s->full);
		spent += clock_ns(CLOCK_MONOTONIC) - begun;
	}
	fstat(fd, &st);
	printf("rate %.0f\nbytes %.2f\n", (double)d->brought * 1e9 / (double)spent,
	       (double)st.st_size / (double)d->brought);
	return d->undrained != 0;
}
