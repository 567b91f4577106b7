/* SPDX-License-Identifier: Apache-2.0 */
/* What finding the rule for a call (rules.c), carrying it out (handle.c) and asking a handler (ask.c) share. */
#ifndef LSCA_HANDLE_H
#define LSCA_HANDLE_H

#include "handler.h"
#include "pack.h"
#include "agent.h"

enum { RULING_TALLIES = 4, ADDRESS_ROOM = 128 };

/* What is to be done with one call. */
struct ruling {
	uint32_t any; /* anything at all */
	uint32_t verdict, id;
	int64_t value;
	uint32_t deny; /* what it is when nobody answers */
	uint32_t signal; /* 0: none, or it has been sent */
	uint64_t before, behind; /* delays in ns */
	uint64_t cut;
	uint32_t has_cut;
	uint32_t tallies, tally[RULING_TALLIES]; /* counters of bytes, << 1; lowest bit: the process's own */
	uint32_t too_long;
	uint32_t kept; /* bit k: path k stays, whatever later rules say */
	int path_arg[2];
	uint64_t path_len[2]; /* 0: as it is */
	int address_arg;
	uint64_t address_len; /* 0: as it is */
	uint8_t address[ADDRESS_ROOM];
	char path[2][PACK_STRING];
};

extern struct handlers *handlers HIDDEN; /* NULL: this session has none */

/* rules.c */
HIDDEN void rules_find(struct call *c, struct ruling *r);
HIDDEN void rules_forked(void); /* a new process counts from the beginning */

/* names.c: what a descriptor of the program's stands for, as readlink has it */
HIDDEN int64_t names_descriptor(struct call *c, int32_t fd, char *to, uint64_t room);

/* tally.c: this call's number among the thread's with this counter; 0: there is no room to count */
HIDDEN uint32_t tally_next(struct call *c, uint32_t counter);

HIDDEN void rules_tally(const struct ruling *r, int64_t ret); /* the call has moved as many bytes */

/* handle.c */
HIDDEN int64_t handle_make(struct call *c); /* by its normal route */
/* The same, with what a rule changes; `given`: a handler's arguments, of which a rule changes what is the program's. */
HIDDEN int64_t handle_changed(struct call *c, struct ruling *r, const uint64_t *given);
HIDDEN int64_t handle_during(struct call *c, int sig); /* by its normal route, while a signal comes: during.c */
HIDDEN int handle_interrupted(const struct thread *t); /* a signal waits for the end of the call */
HIDDEN int64_t handle_sleep(struct call *c, uint64_t nr, uint64_t a, uint64_t b, uint64_t d, uint64_t e);

/* ask.c */
HIDDEN uint64_t ask_namespace(const struct process_self *p); /* the number of its pid namespace */
enum asked { ASKED_NOBODY, ASKED_GO_ON, ASKED_RETURN, ASKED_KILL };

/*
 * Bring the call before the session's handler. `made`: it has been made meanwhile, and *ret is its result; with
 * ASKED_RETURN *ret is what the program gets, with ASKED_KILL the signal.
 */
HIDDEN enum asked ask_handler(struct call *c, struct ruling *r, uint32_t flags, int64_t *ret, int *made);

#endif
