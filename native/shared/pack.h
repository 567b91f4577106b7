/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long an argument is: the one reading of a row that packing (agent) and checking (proxy) share. The agent asks
 * with the program's own numbers, the proxy with its copy of what the slot says.
 */
#ifndef LSCA_PACK_H
#define LSCA_PACK_H

#include "abi.h"

#define PACK_MAX 0x7ffff000ull /* the kernel moves at most this much in one call */
#define PACK_STRING 4096u      /* PATH_MAX; longer strings are refused as the kernel refuses them */

struct shape {
	uint8_t kind; /* ARG_FCNTL and ARG_IOCTL resolved; else the row's own */
	uint8_t runs; /* RUNS_BORROW: this one must be made in the program */
	uint64_t len; /* bytes for IN, OUT, INOUT; elements for vectors */
};

static inline const struct ioctl_row *pack_ioctl(uint32_t request)
{
	uint32_t lo = 0, hi = ioctl_count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (ioctl_rows[mid].request == request)
			return &ioctl_rows[mid];
		if (ioctl_rows[mid].request < request)
			lo = mid + 1;
		else
			hi = mid;
	}
	return 0;
}

static inline const struct ioctl_row *pack_fcntl(uint32_t command)
{
	for (uint32_t i = 0; i < fcntl_count; i++)
		if (fcntl_rows[i].request == command)
			return &fcntl_rows[i];
	return 0;
}

/* The shape of argument `i`. `deref` is what LEN_DEREF's pointer pointed to (the caller reads it). */
static inline struct shape pack_shape(const struct call_row *row, int i, const uint64_t *args, uint32_t deref)
{
	const struct call_arg *arg = &row->args[i];
	struct shape s = {.kind = arg->kind, .runs = RUNS_ANYWHERE, .len = arg->size};
	uint64_t count = arg->len_arg < CALL_ARGS ? args[arg->len_arg] : 0;

	if (arg->kind == ARG_FCNTL) {
		const struct ioctl_row *f = pack_fcntl((uint32_t)count);

		s.kind = f ? f->kind : (uint8_t)ARG_VALUE;
		s.len = f ? f->size : 0;
		return s;
	}
	if (arg->kind == ARG_IOCTL) {
		const struct ioctl_row *r = pack_ioctl((uint32_t)count);

		s.kind = r ? r->kind : (uint8_t)ARG_VALUE;
		s.runs = r ? r->runs : (uint8_t)RUNS_BORROW;
		s.len = r ? r->size : 0;
		return s;
	}
	switch (arg->length) {
	case LEN_CONST:
		break;
	case LEN_ARG:
		s.len = arg->size && count > PACK_MAX / arg->size ? PACK_MAX : count * arg->size;
		break;
	case LEN_DEREF:
		s.len = (int32_t)deref < 0 ? 0 : deref;
		break;
	case LEN_FDSET:
		count = (int32_t)count < 0 ? 0 : (uint32_t)count;
		s.len = (count + 63) / 64 * 8;
		break;
	}
	return s;
}

static inline int pack_is_pointer(uint8_t kind)
{
	return kind >= ARG_STRING;
}

/* Bytes of an OUT argument that are worth carrying back, given the call's result. */
static inline uint64_t pack_filled(const struct call_arg *arg, uint64_t len, int64_t ret)
{
	uint64_t n;

	if (ret < 0)
		return arg->flags & ARG_ON_ERROR ? len : 0;
	if (!(arg->flags & ARG_FILLED))
		return len;
	n = (uint64_t)ret * (arg->size ? arg->size : 1);
	return n < len ? n : len;
}

#endif
