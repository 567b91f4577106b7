/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of ends.c that move pages between files, pipes and memory. */
#ifndef LSCA_TEST_PAGES_H
#define LSCA_TEST_PAGES_H

#include "operations.h"

static void spliced_in(const struct step *s, char *result, size_t room)
{
	int p[2], slot = (int)s->a, way = WAY_OUT(slot), broken = pipes_broken;
	uint8_t *b = buffer();
	long r;

	must(!pipe2(p, O_CLOEXEC), "pipe");
	for (long i = 0; i < s->b; i++)
		b[i] = byte_at(way, shared->ways[way].sent + (uint64_t)i);
	must(write(p[1], b, (size_t)s->b) == s->b, "pipe");
	r = splice(p[0], NULL, SOCKET(slot), NULL, (size_t)s->b, 0);
	if (r > 0)
		__atomic_add_fetch(&shared->ways[way].sent, (uint64_t)r, __ATOMIC_SEQ_CST);
	say(result, room, r, broken);
	close(p[0]);
	close(p[1]);
}

/* Out of it by splice, or by tee, which leaves there what it copies. */
static void spliced_out(const struct step *s, int tees, char *result, size_t room)
{
	int p[2], slot = (int)s->a, way = WAY_IN(slot), broken = pipes_broken;
	uint8_t *b = buffer();
	long r;

	must(!pipe2(p, O_CLOEXEC), "pipe");
	r = tees ? tee(SOCKET(slot), p[1], (size_t)s->b, SPLICE_F_NONBLOCK) :
		   splice(SOCKET(slot), NULL, p[1], NULL, (size_t)s->b, SPLICE_F_NONBLOCK);
	if (r > 0) {
		must(read(p[0], b, (size_t)r) == r, "pipe");
		is_wrong = !is_right(way, b, r);
		if (!tees)
			__atomic_add_fetch(&shared->ways[way].received, (uint64_t)r, __ATOMIC_SEQ_CST);
	}
	say(result, room, r, broken);
	close(p[0]);
	close(p[1]);
}

/* The memory is the pipe's from now on, and nobody else's. */
static void from_memory(const struct step *s, char *result, size_t room)
{
	int slot = (int)s->a, way = WAY_OUT(slot), broken = pipes_broken;
	uint8_t *b = mmap(NULL, (size_t)s->b, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iovec v = {b, (size_t)s->b};
	long r;

	must(b != MAP_FAILED, "mmap");
	for (long i = 0; i < s->b; i++)
		b[i] = byte_at(way, shared->ways[way].sent + (uint64_t)i);
	r = vmsplice(SOCKET(slot), &v, 1, SPLICE_F_GIFT);
	if (r > 0)
		__atomic_add_fetch(&shared->ways[way].sent, (uint64_t)r, __ATOMIC_SEQ_CST);
	say(result, room, r, broken);
	munmap(b, (size_t)s->b);
}

#endif
