/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the descriptors of a run's processes stood for, at any time. Built from the calls that change it (their plans say
 * how) and from what the agent told of descriptors that no call explains; processes inherit from the one that made them.
 */
#ifndef LSCA_RESOLVE_H
#define LSCA_RESOLVE_H

#include "logfile.h"
#include "words.h"

enum { FD_CWD = -100 }; /* the working directory, as if it were a descriptor: AT_FDCWD */

/* One row that changes something. changes.c finds them, resolve.c plays them in order. */
struct change {
	uint64_t at;      /* when, in ticks */
	uint32_t pid;
	int32_t fd;       /* the descriptor that is new or concerned; a fork's child */
	int32_t from;     /* what is copied or accepted from; a fork's parent */
	int32_t fd2;      /* of a pair */
	uint32_t flags;   /* of clone, close_range, unshare; domain of a socket */
	uint32_t type;    /* of a socket */
	uint8_t effect;   /* enum effect, or one of the events below */
	struct blob text; /* path, address or string; what readlink said */
	struct blob local, peer;
	const char *name; /* the plan's text */
};

enum { CHANGE_FD = 64, CHANGE_START, CHANGE_EXEC };

struct changes {
	struct change *at;
	size_t count, room;
};

/* All of a run, in no order. 0, or -1 without memory. */
int changes_gather(struct logfile *l, uint32_t run, struct changes *c);

struct resolver *resolver_new(struct logfile *l, uint32_t run);
void resolver_free(struct resolver *r);
/* A text in no particular encoding; NULL: not known, or not open. */
const uint8_t *resolver_text(const struct resolver *r, uint32_t pid, int32_t fd, uint64_t at, size_t *len);
/* A path argument as an absolute path. */
void resolver_path(const struct resolver *r, uint32_t pid, int32_t dir, uint64_t at, struct blob path, struct text *t);

#endif
