/* SPDX-License-Identifier: Apache-2.0 */
/* What epoll.c knows of a set of this process, and waits.c waits for. */
#ifndef LSCA_AGENT_EPOLL_H
#define LSCA_AGENT_EPOLL_H

#include "stream.h"

enum {
	SETS = 250, /* of one process; more are the kernel's */
	MEMBERS = 8192,
	HINTS = 1024,
	CTL_ADD = 1, CTL_DEL = 2, CTL_MOD = 3,
};

#define EPOLL_ET (1u << 31)
#define EPOLL_ONESHOT (1u << 30)
#define EPOLL_EXCLUSIVE (1u << 28)

struct member {
	struct stream *s; /* NULL: it is another descriptor, or the kernel's for good */
	uint64_t data;
	uint32_t events, asked; /* as the program wants it, and as the kernel has it now */
	int32_t fd;
	uint32_t tail, fulls, missed; /* of the stream when an edge was shown last */
	uint32_t serial;        /* the wait that has dealt with it */
	uint32_t watches;
	uint8_t is_fresh, is_armed, wants_room;
	uint8_t is_gone;  /* for the program: the kernel has not heard of it yet */
	uint8_t room_by_ring; /* whether there is room was the ring's to say when we last looked */
	uint8_t is_asked; /* the kernel has shown nothing of it since it was asked */
};

/* Behind `lock` but for the first line. */
struct set {
	uint32_t is_used, descriptors, users, pid; /* the process that has made it */
	uint32_t lock, is_plain; /* the kernel's for good */
	uint32_t count, streams;
	uint32_t asleep; /* threads in the kernel, or about to be: members are watched then */
	uint32_t cursor, serial;
	int32_t fd;      /* one of its numbers */
	struct calm calm;
	struct patience patience;
	struct stream_held *held; /* is_spoilt: another process uses it */
	struct member *members;
	uint16_t *index;   /* by descriptor, and 1 more */
	uint16_t *hints;   /* by data */
};

#pragma GCC visibility push(hidden)

/* sets.c */
struct set *set_get(uint32_t fd); /* NULL: not one of ours; else give it back by set_put() */
void set_put(struct set *e);

/* epoll.c */
int set_is_usable(struct set *e);
/* The lock is held for these, but where it is said. */
struct member *set_find(struct set *e, uint64_t data); /* NULL: not one that we know */
void set_ask(struct set *e, struct member *m, uint32_t events); /* of the kernel */
void set_bury(struct set *e); /* those that are gone */
void set_make_plain(struct set *e); /* takes the lock */
void set_free_room(struct set *e);
void set_closed(struct set *e, struct stream *s, int32_t fd, int is_last);
void set_joined(struct set *e, struct stream *s);
void set_watch(struct set *e); /* one thread more sleeps */
void set_unwatch(struct set *e);

static inline int member_has_ring(const struct member *m)
{
	return m->s && stream_has_ring(m->s);
}

#pragma GCC visibility pop
#endif
