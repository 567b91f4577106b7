/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the proxy. One process per program process; its descriptors are the program's, but for one, which it hides. */
#ifndef LSCA_PROXY_H
#define LSCA_PROXY_H

#include <stdint.h>

#include "pack.h"
#include "ring.h"

enum { SCRATCH = 256 * 1024, NOT_MADE = 512 };

/* One thread of the proxy; serves one slot. */
struct worker {
	uint32_t active, ending; /* ending: leave as soon as the call in hand is over */
	uint32_t tid;
	uint32_t terminal; /* which of SIGTTIN (1), SIGTTOU (2) are let in */
	uint8_t *scratch;  /* copies of what must not change under the kernel's eyes */
	struct patience patience;
};

/* A request as it was at one moment; what the program does to the slot afterwards changes nothing here. */
struct request {
	uint16_t nr, op;
	uint32_t arena, ttystop;
	uint64_t args[CALL_ARGS];
	struct extent extents[CALL_ARGS];
	uint8_t *payload;
	uint64_t room;
};

extern struct session *session;
extern struct channel *channel;
extern struct worker workers[SLOT_COUNT];
extern int hidden; /* the number of the lifeline: not the program's */

/* main.c */
int main_adopt(int lifeline, int memfd); /* a forked child becomes a proxy of its own */
int main_listen(void) __attribute__((noreturn));
void main_close_all(void);

/* serve.c */
void serve_setup(void);
int serve_start(uint32_t slot); /* a thread for it; returns when it is ready, 0 or negative errno */
void serve_end_others(uint32_t but);
void serve_forget(void);
void serve_interrupt(uint32_t slot);
void serve_hold(void);   /* requests wait until serve_go_on() */
void serve_go_on(void);
void serve_lock(void); /* around what takes locks of the C library's: a fork that it does not know of must find none */
void serve_unlock(void);
int serve_insist(void); /* interrupt again; how many have not stopped waiting */
int serve_taken(int fd); /* a descriptor came over the lifeline */
struct slot *slot_at(uint32_t i);

/* fork.c */
int64_t fork_proxy(uint64_t flags); /* 0, or CLONE_FS: one directory, root and umask with the child */
int64_t fork_send_line(int to, uint32_t op, int32_t value, const int *fds, int count);

/* execute.c */
int64_t execute_call(struct request *q, struct worker *w, const uint32_t *cancel);
/* arch */
int64_t cancellable(uint64_t nr, const uint64_t *args);
extern char cancellable_insn[], cancellable_again[];

#endif
