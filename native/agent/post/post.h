/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Posted writes in the agent: what files.c (which files), shares.c (descriptors that are handed on), write.c (writes),
 * calls.c (all other calls) and others.c (what others have posted) share, and what the rest of the agent asks of them.
 * See shared/posts.h.
 */
#ifndef LSCA_AGENT_POST_H
#define LSCA_AGENT_POST_H

#include "agent.h"
#include "outside.h"

static inline int64_t post_call(uint64_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e)
{
	return gate(nr, a, b, c, d, e, 0);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include "posts.h"
#pragma GCC diagnostic pop

enum {
	POST_FDS = 4096, /* higher ones are never posted; entry.S knows it */
	POST_OWN = 64,   /* files of one process */
	MARK_NONE = 0,   /* nothing that concerns us; 1 to POST_OWN: it is posted */
	MARK_ASKED = 252,     /* a candidate of which the poster was told */
	MARK_BEGINS = 253,    /* a candidate that is being looked at */
	MARK_CANDIDATE = 254, /* opened for writing, and not looked at yet */
	MARK_WATCHED = 255,   /* the same file as one that is posted */
	POST_TWINS = 16,      /* descriptors of one opening */
};

#define POST_NOT (-600) /* no result of a call: it is to be made as usual */

/* A file that this process posts. All under `lock`, which threads take for each write. */
struct post_own {
	struct post_file *file; /* NULL: none. Without `is_there`: the poster was asked about it */
	uint8_t *ring;
	uint64_t tail;  /* as in the file's entry */
	uint64_t limit; /* so far it may go before somebody looks */
	uint64_t most;  /* and so far it may go at all: there is a limit on the size of files */
	uint32_t poster; /* who writes them if we do not */
	uint32_t lock;
	uint32_t is_there, entry;
	int32_t fd;
	uint32_t fds; /* all that lead there, `fd` among them: their marks say so */
};

#pragma GCC visibility push(hidden)

/* files.c */
extern struct post_head *post_head; /* NULL: a session that posts nothing */
extern uint8_t post_marks[POST_FDS];
extern struct post_own post_own[POST_OWN];
extern uint32_t post_count;           /* files that this process posts */
extern uint32_t post_asks;            /* and has asked about; under post_lock */
extern const uint32_t *post_active;   /* and those that the session does */
extern uint32_t post_lock;   /* of the marks, and of what begins and ends */
extern uint32_t post_frozen; /* births and execs under way: nothing begins */
extern uint32_t post_is_off, post_is_used;
extern uint16_t post_counts[POST_FDS]; /* of small writes, until it is asked about */

void post_map(int64_t fd);
void post_opened(int64_t fd);
void post_wrote(struct thread *t, int64_t fd); /* a candidate, a small write */
void post_drop(uint64_t fd); /* it is no candidate any more */
void post_cancel(int64_t fd); /* under post_lock: it was asked about, and that is not wanted any more */
void post_withdraw(uint64_t fd);  /* it was asked about: it is a candidate again */
void post_unask(uint64_t fd);     /* the same, under post_lock */
int post_enter(struct thread *t, uint64_t fd); /* a call with a candidate; 1: post_exit() follows */
void post_exit(uint64_t fd);
void post_await(void); /* whatever is being looked at */
void post_alone(void); /* nobody is in a call: we are new */
void post_limits(void);
void post_set_most(struct post_own *o); /* held: how far it may go */
void post_forget(uint8_t mark);
void post_bell(void);
int post_is_alive(void); /* there is a poster */

/* bring.c */
void post_take(uint32_t *lock); /* among the threads of this process */
void post_give(uint32_t *lock);
void post_hold(struct post_own *o);
void post_release(struct post_own *o);
void post_bring(struct thread *t, struct post_own *o); /* held: all of it into the file */
void post_place(struct post_own *o);                   /* and the descriptor to where it should be */
void post_settle(struct post_own *o);                  /* the descriptor was moved */
void post_leave(struct post_own *o);                   /* it is posted no more; all of it is in the file */
void post_leave_again(struct post_own *o);             /* the same, but it stays a candidate */
uint32_t post_twins(const struct post_own *o, uint16_t *fds); /* held: which ones lead there */
void post_part(struct post_own *o, uint64_t fd);       /* one of several descriptors is about to be closed */
void post_bring_all(struct thread *t);
void post_await_closed(void); /* files that are posted no more */
void post_leave_all(struct thread *t);
void post_leave_same(struct thread *t, int64_t fd); /* those that are the same file as this one */

/* shares.c */
enum post_birth { BIRTH_THREAD, BIRTH_VFORK, BIRTH_PROCESS, BIRTH_ODD /* it shares what nobody could follow */ };

void post_begin_birth(struct thread *t, enum post_birth kind);
void post_end_birth(enum post_birth kind);
void post_lent(uint64_t fd); /* the child has given it away */
void post_lent_all(int is_lost); /* or all; `is_lost`: to nobody knows whom */
void post_lend(uint64_t fd); /* opened while a birth is under way; under post_lock */
void post_closed(uint64_t first, uint64_t last); /* many, while a birth is under way */
void post_share(uint64_t fd, int is_shared);
int post_is_shared(uint64_t fd); /* other processes may have the same opening */
void post_copied(uint64_t from, uint64_t to); /* by dup */
void post_inherit(void);
void post_forked(void);
void post_last(struct thread *t); /* the process ends */
void post_off(struct thread *t); /* nothing any more in this process */

/* write.c */
int64_t post_write(struct thread *t, uint64_t fd, uint64_t buf, uint64_t n);
int64_t post_gather(struct thread *t, uint64_t fd, uint64_t iov, uint64_t count);

/* calls.c: a call whose row says that it may concern posted files */
int64_t post_made(struct call *c);

/* others.c */
void post_abroad(struct thread *t, uint32_t posts, const uint64_t *args, const struct call_row *row);

/* Is the descriptor's file posted by this process? */
static inline int post_is_own(uint64_t fd)
{
	return (uint32_t)fd < POST_FDS && (uint8_t)(post_marks[(uint32_t)fd] - 1) < POST_OWN;
}

/* Is a call with this descriptor, and no other, nothing to us? */
static inline int post_is_nothing(uint64_t fd)
{
	return (uint32_t)fd < POST_FDS && !post_marks[(uint32_t)fd] && get_relaxed(post_active) == post_count;
}

#pragma GCC visibility pop
#endif
