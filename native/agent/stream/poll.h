/* SPDX-License-Identifier: Apache-2.0 */
/* What poll.c waits for, and select.c has it wait for. */
#ifndef LSCA_AGENT_POLL_H
#define LSCA_AGENT_POLL_H

#include "stream.h"

enum {
	FEW = 32, MANY = 65536, /* entries that have room on the stack; more than that are the kernel's */
	NVAL_ = 0x20,
	READ_SET = 0xc1, WRITE_SET = OUT_EVENTS, EXCEPT_SET = POLLPRI_, /* what select asks for */
	READ_SHOWS = READ_SET | POLLHUP_ | POLLERR_, WRITE_SHOWS = WRITE_SET | POLLERR_,
};

struct entry {
	int32_t fd;
	uint16_t events, revents;
};

struct member {
	struct stream *s;
	uint32_t at; /* its entry */
	uint32_t watches, wants_room;
};

struct wait {
	struct call *c;
	struct entry *set, *asked; /* the program's, with the answer; and what the kernel is asked */
	struct member *members;
	uint32_t n, count;
	uint32_t is_select, came; /* as the kernel has said while we lingered */
	uint64_t timeout, end; /* in nanoseconds; ~0: none */
	uint64_t mask, mask_size;
	struct patience *patience; /* of the first one that has a ring, since we lingered */
	uint64_t slice; /* look again after so long at the latest; 0: no need */
	void *pages;
	uint64_t pages_size;
};

#pragma GCC visibility push(hidden)

/* poll.c */
int poll_make_room(struct wait *w, struct entry *few, struct member *members);
uint32_t poll_find_members(struct wait *w); /* 0: there is none that would concern us */
int64_t poll_wait(struct wait *w); /* entries that have something to show; or an error */
void poll_done(struct wait *w);
int poll_read_timeout(struct wait *w, uint64_t at, uint64_t unit); /* 0: it is wrong, and the kernel shall say so */
void poll_write_timeout(const struct wait *w, uint64_t at, uint64_t unit); /* what is left of it */

/* select.c */
int64_t poll_select(struct call *c, struct wait *w);

#pragma GCC visibility pop
#endif
