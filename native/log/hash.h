/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LSCA_HASH_H
#define LSCA_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Two independent keyed sums: whoever does not know the keys finds no two inputs with the same pair. */
void hash_bytes(const uint64_t key[2], const uint8_t *at, size_t n, uint64_t out[2]);

#endif
