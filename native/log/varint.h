/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers of few bytes: seven bits in each, the lowest first, the top bit set in all but the last (LEB128). A signed
 * number is folded first, so that small ones of either sign stay small. At most ten bytes.
 */
#ifndef LSCA_VARINT_H
#define LSCA_VARINT_H

#include <stdint.h>

static inline uint64_t zigzag(int64_t n)
{
	return (uint64_t)n << 1 ^ (uint64_t)(n >> 63);
}

static inline int64_t unzigzag(uint64_t n)
{
	return (int64_t)(n >> 1 ^ (0 - (n & 1)));
}

static inline uint8_t *varint_put(uint8_t *to, uint64_t n)
{
	for (; n >= 0x80; n >>= 7)
		*to++ = (uint8_t)(n | 0x80);
	*to++ = (uint8_t)n;
	return to;
}

/* Behind the number, or NULL: it does not end before `end`, or is longer than any. */
static inline const uint8_t *varint_get(const uint8_t *at, const uint8_t *end, uint64_t *n)
{
	uint64_t value = 0;

	for (unsigned shift = 0; at < end && shift < 70; shift += 7) {
		uint8_t byte = *at++;

		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*n = value;
			return at;
		}
	}
	return 0;
}

#endif
