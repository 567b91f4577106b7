/* SPDX-License-Identifier: Apache-2.0 */
/* See array.h. Arrays are released by whoever has them last, in any thread: no lock is held then, and no log needed. */
#include "array.h"

#include <stdlib.h>
#include <string.h>

static void array_release(struct ArrowArray *a)
{
	struct column_memory *m = a->private_data;

	if (a->dictionary) {
		if (a->dictionary->release)
			a->dictionary->release(a->dictionary);
		free(a->dictionary);
	}
	for (int i = 0; i < 3; i++)
		free(m->own[i]);
	if (m->lexicon)
		lexicon_drop(m->lexicon);
	free(m);
	a->release = NULL;
}

struct column_memory *array_begin(struct ArrowArray *a, int64_t length, int buffers)
{
	struct column_memory *m = calloc(1, sizeof *m);

	memset(a, 0, sizeof *a);
	if (!m)
		return NULL;
	a->length = length;
	a->n_buffers = buffers;
	a->buffers = m->buffers;
	a->private_data = m;
	a->release = array_release;
	return m;
}

int array_dictionary(struct ArrowArray *a, struct lexicon *x)
{
	struct ArrowArray *d = calloc(1, sizeof *d);
	struct column_memory *m = d ? array_begin(d, x->count, 3) : NULL;

	if (!m) {
		free(d);
		return -1;
	}
	__atomic_add_fetch(&x->keepers, 1, __ATOMIC_RELAXED);
	m->lexicon = x;
	m->buffers[1] = x->ends;
	m->buffers[2] = x->bytes.at ? x->bytes.at : (const uint8_t *)"";
	a->dictionary = d;
	return 0;
}

void *array_values(struct ArrowArray *a, size_t size)
{
	struct column_memory *m = a->private_data;

	m->own[1] = malloc((size_t)a->length * size + 8);
	return (void *)(m->buffers[1] = m->own[1]);
}

int array_null(struct ArrowArray *a, uint32_t k)
{
	struct column_memory *m = a->private_data;

	if (!m->own[0]) {
		size_t n = ((size_t)a->length + 7) / 8;

		m->own[0] = malloc(n + 8);
		if (!m->own[0])
			return -1;
		memset(m->own[0], 0xff, n + 8);
		m->buffers[0] = m->own[0];
	}
	((uint8_t *)m->own[0])[k / 8] &= (uint8_t)~(1u << k % 8);
	a->null_count++;
	return 0;
}

struct lexicon *lexicon_new(void)
{
	struct lexicon *x = calloc(1, sizeof *x);

	if (!x)
		return NULL;
	x->keepers = 1;
	x->room = 64;
	x->ends = calloc(x->room + 1, sizeof *x->ends);
	if (!x->ends) {
		free(x);
		return NULL;
	}
	return x;
}

int lexicon_add(struct lexicon *x, const char *word)
{
	if (x->count == x->room) {
		int32_t *grown = realloc(x->ends, (2ull * x->room + 1) * sizeof *grown);

		if (!grown)
			return -1;
		x->ends = grown;
		x->room *= 2;
	}
	text_say(&x->bytes, word);
	x->ends[++x->count] = (int32_t)x->bytes.used;
	return x->bytes.failed ? -1 : (int)x->count - 1;
}

void lexicon_drop(struct lexicon *x)
{
	if (!x || __atomic_sub_fetch(&x->keepers, 1, __ATOMIC_ACQ_REL))
		return;
	free(x->bytes.at);
	free(x->ends);
	free(x);
}
