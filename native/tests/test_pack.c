/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every row of the table under extreme arguments: what pack.h makes of them is bounded, never wraps, and what is
 * carried back never exceeds what was reserved. Also that the ioctl and fcntl rows can be searched as they are.
 */
#include <stdio.h>
#include <stdlib.h>

#include "pack.h"

#define MOST 0xffffffffull /* no length is larger: an extent has 32 bits */

static const uint64_t extremes[] = {
	0, 1, 7, 8, 63, 64, 65, 1024, 4096, 65536, 0x7ffffffe, 0x7fffffff, 0x80000000, 0x80000001, 0xffffffc1,
	0xffffffff, 0x100000000, 0x100000001, 1ull << 62, (1ull << 63) - 1, 1ull << 63, (1ull << 63) + 1,
	~0ull - 1, ~0ull, PACK_MAX - 1, PACK_MAX, PACK_MAX + 1, PACK_MAX / 8, PACK_MAX / 8 + 1, PACK_MAX / 16 + 1,
};
enum { EXTREMES = sizeof extremes / sizeof *extremes };

static unsigned long checks;

static void check(int ok, const char *what, unsigned nr, int arg, uint64_t value)
{
	checks++;
	if (ok)
		return;
	printf("test_pack: call %u argument %d with %#llx: %s\n", nr, arg, (unsigned long long)value, what);
	exit(1);
}

static void check_filled(unsigned nr, int i, const struct call_arg *arg, uint64_t len)
{
	for (int k = 0; k < EXTREMES; k++) {
		int64_t ret = (int64_t)extremes[k];
		uint64_t n = pack_filled(arg, len, ret);

		check(n <= len, "more comes back than there is room", nr, i, extremes[k]);
		if (ret < 0 && !(arg->flags & ARG_ON_ERROR))
			check(!n, "bytes of a failed call come back", nr, i, extremes[k]);
		if (ret >= 0 && !(arg->flags & ARG_FILLED))
			check(n == len, "a part comes back", nr, i, extremes[k]);
		if (arg->flags & ARG_FILLED && ret >= 0 && (uint64_t)ret < (1ull << 31)) {
			uint64_t want = (uint64_t)ret * (arg->size ? arg->size : 1);

			check(n == (want < len ? want : len), "the wrong number comes back", nr, i, extremes[k]);
		}
	}
}

/* The length by the row, in 128 bits; PACK_MAX stands for whatever is longer. */
static uint64_t expected(const struct call_arg *arg, uint64_t count, uint32_t deref)
{
	unsigned __int128 n = arg->size;

	switch (arg->length) {
	case LEN_ARG:
		n *= count;
		return n > PACK_MAX ? PACK_MAX : (uint64_t)n;
	case LEN_DEREF:
		return deref > 0x7fffffff ? 0 : deref;
	case LEN_FDSET:
		return (int32_t)(uint32_t)count < 0 ? 0 : ((uint64_t)(uint32_t)count + 63) / 64 * 8;
	}
	return (uint64_t)n;
}

static void check_arg(unsigned nr, const struct call_row *row, int i)
{
	const struct call_arg *arg = &row->args[i];

	check(arg->len_arg < CALL_ARGS, "its length is no argument", nr, i, arg->len_arg);
	for (int k = 0; k < EXTREMES; k++) {
		for (int d = 0; d < EXTREMES; d++) {
			uint64_t args[CALL_ARGS];
			uint32_t deref = (uint32_t)extremes[d];
			struct shape s;

			for (int j = 0; j < CALL_ARGS; j++)
				args[j] = extremes[(k + j) % EXTREMES];
			args[arg->len_arg] = extremes[k];
			s = pack_shape(row, i, args, deref);
			check(s.len <= MOST, "an extent cannot hold the length", nr, i, extremes[k]);
			check(s.kind != ARG_FCNTL && s.kind != ARG_IOCTL, "not resolved", nr, i, extremes[k]);
			if (arg->kind != ARG_FCNTL && arg->kind != ARG_IOCTL) {
				check(s.kind == arg->kind, "another kind than the row's", nr, i, extremes[k]);
				if (s.kind >= ARG_IN)
					check(s.len == expected(arg, extremes[k], deref), "wrong length", nr, i,
					      extremes[k]);
			}
			if (!d)
				check_filled(nr, i, arg, s.len);
			if (arg->length != LEN_DEREF)
				break;
		}
	}
}

static void check_rows(const struct ioctl_row *rows, uint32_t count, const struct ioctl_row *(*find)(uint32_t),
		       const char *what)
{
	for (uint32_t i = 0; i < count; i++) {
		check(!i || rows[i - 1].request < rows[i].request, what, i, 0, rows[i].request);
		check(find(rows[i].request) == &rows[i], what, i, 1, rows[i].request);
		for (uint32_t off = 0; off < 3; off++) {
			uint32_t near = rows[i].request - 1 + off;
			const struct ioctl_row *found = find(near);

			check(!found || found->request == near, what, i, 2, near);
		}
	}
	for (int k = 0; k < EXTREMES; k++) {
		const struct ioctl_row *found = find((uint32_t)extremes[k]);

		check(!found || found->request == (uint32_t)extremes[k], what, 0, 3, extremes[k]);
	}
}

int main(void)
{
	unsigned rows = 0;

	for (unsigned nr = 0; nr < CALL_LIMIT; nr++) {
		const struct call_row *row = &call_rows[nr];

		check(row->nargs <= CALL_ARGS, "too many arguments", nr, row->nargs, 0);
		if (!(row->flags & CALL_KNOWN))
			continue;
		rows++;
		for (int i = 0; i < CALL_ARGS; i++)
			check_arg(nr, row, i);
	}
	check(rows > 300, "most of the table is missing", rows, 0, 0);
	check_rows(ioctl_rows, ioctl_count, pack_ioctl, "ioctl rows");
	check_rows(fcntl_rows, fcntl_count, pack_fcntl, "fcntl rows");
	printf("test_pack: %u rows, %lu checks\n", rows, checks);
	return 0;
}
