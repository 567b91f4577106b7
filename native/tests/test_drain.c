/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The drainer and programs that write nonsense into the session: test_drain [SEED [ROUNDS]]. Whatever chunks claim
 * about their length, their records and where they are, nothing outside them is read, each full chunk is freed, and
 * the file holds blocks of whole records only.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "daemon/drain.c"

enum { ROUNDS = 20000, TOUCHED = 8 };

const uint32_t machine_elf = 0;
static uint64_t state, seed, written, records;

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

/* session.c's part, without a session that others see */
uint64_t clock_ns(int clock)
{
	(void)clock;
	return 0;
}

int futex_sleep(uint32_t *word, uint32_t value, long ms)
{
	(void)word;
	(void)value;
	(void)ms;
	return 0;
}

void futex_call(uint32_t *word)
{
	(void)word;
}

double ticks_rate(uint64_t ticks0, uint64_t mono0)
{
	return (double)(ticks0 + mono0);
}

double session_rate(void)
{
	return 1;
}

static uint32_t any_used(void)
{
	switch (below(6)) {
	case 0:
		return (uint32_t)chance();
	case 1:
		return CHUNK_SIZE - 1 + (uint32_t)below(3);
	case 2:
		return ~0u - (uint32_t)below(100);
	default:
		return (uint32_t)below(CHUNK_SIZE + 1);
	}
}

/* Records that mostly follow each other, with sizes that mostly are true. */
static void write_chunk(uint8_t *bytes)
{
	for (uint32_t at = 0; at + 4 <= CHUNK_SIZE;) {
		uint32_t size = sizeof(struct record) + 8 * (uint32_t)below(40);

		if (!below(60))
			size = below(2) ? (uint32_t)chance() : (uint32_t)below(200);
		if (!below(200))
			size = 0 - (uint32_t)below(2) * at;
		memcpy(bytes + at, &size, sizeof size);
		if (size < 4 || size > CHUNK_SIZE)
			break;
		at += size;
	}
}

/* What was written since `from`, in blocks that add up. */
static off_t check_file(int fd, off_t from)
{
	static uint8_t block[CHUNK_SIZE];
	struct file_block head;
	uint32_t size;

	while (pread(fd, &head, sizeof head, from) == sizeof head) {
		from += (off_t)sizeof head;
		if (!head.bytes || head.bytes > CHUNK_SIZE || head.offset + (uint64_t)head.bytes > CHUNK_SIZE)
			die("a block that is no part of a chunk", head.bytes);
		if (pread(fd, block, head.bytes, from) != (ssize_t)head.bytes)
			die("a block that is cut off", head.bytes);
		for (uint32_t at = 0; at < head.bytes; at += size, records++) {
			if (head.bytes - at < sizeof(struct record))
				die("half a record", at);
			memcpy(&size, block + at, sizeof size);
			if (size < sizeof(struct record) || size % 8 || size > head.bytes - at)
				die("a record of a false size", size);
		}
		from += head.bytes;
		written++;
	}
	return from;
}

int main(int argc, char **argv)
{
	uint64_t rounds = argc > 2 ? strtoull(argv[2], 0, 0) : ROUNDS;
	uint64_t at = (sizeof(struct session) + 63) & ~63ull;
	struct session *s = calloc(1, at + (uint64_t)CHUNK_COUNT * CHUNK_SIZE);
	struct drain *d = calloc(1, sizeof *d);
	int fd = memfd_create("log", 0);
	off_t seen = 0;

	seed = argc > 1 ? strtoull(argv[1], 0, 0) : 1;
	state = seed * 0x9e3779b97f4a7c15ull + 1;
	if (!s || !d || fd < 0)
		die("no memory", 0);
	*d = (struct drain){.session = s, .chunks = (uint8_t *)s + at, .fd = fd, .errors = -1, .path = "log"};
	s->chunks_at = at;
	for (uint64_t n = 0; n < rounds; n++) {
		/* The first and the last ones: next to them is what must not be read. */
		uint32_t i = (uint32_t)below(TOUCHED);
		struct chunk *k = &s->chunks[i < TOUCHED / 2 ? i : CHUNK_COUNT - 1 - (i - TOUCHED / 2)];

		write_chunk((uint8_t *)s + at + (uint64_t)(k - s->chunks) * CHUNK_SIZE);
		k->used = any_used();
		k->state = (uint32_t)below(4) ? (uint32_t)below(3) : (uint32_t)chance();
		k->lease = chance();
		s->chunk_high = CHUNK_COUNT + (uint32_t)below(3) * 0x10000000u;
		if (!below(8))
			s->chunks_at = chance();
		if (n % 4 == 3) {
			uint32_t was = k->state;

			pass(d, 0);
			if (was == CHUNK_FULL && k->state != CHUNK_FREE)
				die("a full chunk stays", k->state);
			seen = check_file(fd, seen);
		}
		if (n % 512 == 511) {
			if (ftruncate(fd, 0))
				die("ftruncate", 0);
			lseek(fd, 0, SEEK_SET);
			seen = 0;
		}
	}
	if (d->broken)
		die("the drainer gave up", 0);
	printf("test_drain: seed %llu: %llu blocks, %llu records, %llu faults counted\n", (unsigned long long)seed,
	       (unsigned long long)written, (unsigned long long)records, (unsigned long long)d->lost);
	close(fd);
	free(d);
	free(s);
	return 0;
}
