/* SPDX-License-Identifier: Apache-2.0 */
/* The sums by which a segment's writer knows bytes again, and its reader sees damage. */
#include "hash.h"

#include <string.h>

#include "segment.h"

static uint64_t mix(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Two independent keyed sums: whoever does not know the keys finds no two inputs with the same pair. */
void hash_bytes(const uint64_t key[2], const uint8_t *at, size_t n, uint64_t out[2])
{
	uint64_t a = mix(key[0] ^ n, 0xd6e8feb86659fd93u), b = mix(key[1] + n, 0xa0761d6478bd642fu), word;

	for (; n >= 8; at += 8, n -= 8) {
		memcpy(&word, at, 8);
		a = mix(a ^ word, key[1] | 1);
		b = mix(b + word, key[0] | 1);
	}
	word = 0;
	memcpy(&word, at, n);
	out[0] = mix(a ^ word, 0x9e3779b97f4a7c15u ^ key[1]);
	out[1] = mix(b + word, 0xc2b2ae3d27d4eb4fu ^ key[0]);
}

/* Against damage, not against intent: four sums side by side, since one multiplication waits for the one before it. */
uint64_t segment_check(const struct block_head *h, const void *payload)
{
	const uint64_t odd = 0x9e3779b97f4a7c15u;
	struct block_head head = *h;
	uint64_t sum[4] = {1, 2, 3, 4}, word;
	const uint8_t *at = (const uint8_t *)&head;
	size_t n = sizeof head;

	head.check = 0;
	for (int part = 0; part < 2; part++) {
		for (; n >= 32; at += 32, n -= 32)
			for (int i = 0; i < 4; i++) {
				memcpy(&word, at + 8 * i, 8);
				sum[i] = (sum[i] ^ word) * odd;
				sum[i] ^= sum[i] >> 29;
			}
		for (; n >= 8; at += 8, n -= 8) {
			memcpy(&word, at, 8);
			sum[0] = (sum[0] ^ word) * odd;
			sum[0] ^= sum[0] >> 29;
		}
		at = payload;
		n = h->bytes;
	}
	return mix(sum[0] ^ sum[1], sum[2] ^ odd) ^ sum[3];
}
