/* SPDX-License-Identifier: Apache-2.0 */
/* Arrays of Arrow's C data interface whose memory is their own, and the words that some are numbers of. */
#ifndef LSCA_ARRAY_H
#define LSCA_ARRAY_H

#include "arrow.h"

struct column_memory {
	const void *buffers[3];
	void *own[3];
	struct lexicon *lexicon;
};

/* A zeroed array; NULL without memory. Its release frees whatever is in `own`. */
struct column_memory *array_begin(struct ArrowArray *a, int64_t length, int buffers);
int array_dictionary(struct ArrowArray *a, struct lexicon *x);
/* Room for values of this size; all are valid as long as nothing else is said. */
void *array_values(struct ArrowArray *a, size_t size);
/* Row `k` has no value. 0 or -1 without memory. */
int array_null(struct ArrowArray *a, uint32_t k);

#endif
