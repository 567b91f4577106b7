/* SPDX-License-Identifier: Apache-2.0 */
/* One call's arguments on their way through a slot: see packer.c. */
#ifndef LSCA_PACKER_H
#define LSCA_PACKER_H

#include "pack.h"
#include "agent.h"

/* What packing decided for one argument; kept for unpacking. */
struct plan {
	struct shape shape;
	uint64_t at, len;        /* in the payload */
	uint64_t iov;            /* payload offset of our copy of the program's iovec array */
	uint32_t iov_count;
};

struct packer {
	struct thread *thread;
	struct slot *slot;
	uint8_t *base;
	uint64_t used, room;
	struct plan plan[CALL_ARGS];
};

struct msghdr {
	uint64_t name;
	uint32_t name_len, pad;
	uint64_t iov, iov_len, control, control_len;
	uint32_t flags, pad2;
};

enum { IOV_LIMIT = 1024 };

static inline int packer_failed(int64_t r)
{
	return r < 0 && r > -4096;
}

/* Argument `i` in: 0, negative errno, or 1: the call must be made in the program, on borrowed descriptors. */
int64_t packer_in(struct call *c, struct packer *p, int i);
/* Argument `i` back: `ret`, a smaller count, or negative errno. */
int64_t packer_out(struct call *c, struct packer *p, int i, int64_t ret);
/* Give the memory of a grown arena back. */
void packer_trim(struct thread *t);

#endif
