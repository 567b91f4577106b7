/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What sites.c (which sites, and how), leads.c (which ones beforehand) and stubs.c (what they jump to, and who comes
 * from there) share.
 */
#ifndef LSCA_SITES_H
#define LSCA_SITES_H

#include "agent.h"

enum {
	SITES = 1024,
	STUB_SIZE = 96, /* entry.S */
	PUN_SIZE = 14,
	SITE_TABLE = 0x050f0000,
};

enum shape { SHAPE_TABLE, SHAPE_PUN, SHAPE_PUN_XOR };

struct site {
	uint64_t at;  /* the `syscall` instruction */
	uint64_t resume; /* behind it */
	uint64_t pun; /* where the jump leads, unless through the table */
	uint32_t nr;
	uint8_t shape, dead; /* dead: other code stands there now */
	uint8_t old[5];      /* what stood where the jump is */
};

extern struct site sites[SITES] HIDDEN;
extern uint32_t site_count HIDDEN;
extern const uint8_t sites_lead[3] HIDDEN; /* by shape: bytes before the `syscall` that the jump takes */

/* The bytes around a site; what cannot be read is 0. */
struct around {
	uint8_t before[8], at[8];
};

extern uint32_t sites_off HIDDEN; /* no site is patched any more */

/* 0: it cannot be had. */
HIDDEN int sites_table(void);
/* Has `write` write to code, with /proc/self/mem; the lock is the caller's. */
HIDDEN void sites_write(void (*write)(int64_t fd, void *with), void *with);
/*
 * Within sites_write(), for a site that has not run here: 1 if it is patched as soon as `bytes`, which are what stands
 * there with eight more before, are written.
 */
HIDDEN int sites_follow(int64_t fd, uint64_t at, uint32_t nr, uint8_t *bytes);
/* Before the program runs, with the sites that the launcher has patched. 0: there is no table for them. */
HIDDEN int sites_begin(void);

/* What has come of a site: its first call by a signal, one more, a patch. */
enum lead_news { LEAD_FIRST, LEAD_HIT, LEAD_PATCH };
HIDDEN void lead_tell(uint64_t at, uint32_t nr, enum lead_news news);
/* With the lock, when the first call has come, unless the launcher has patched what it knows: then what is told is. */
HIDDEN void lead_first(void);
HIDDEN int lead_know(void);

/* Both write through `fd`, /proc/self/mem; 0: it failed. A site needs no stub made but for the jump of a pun. */
HIDDEN int stubs_put(int64_t fd, uint64_t at, const void *from, uint64_t n);
HIDDEN int stubs_make(int64_t fd, uint32_t index);
HIDDEN uint64_t stubs_at(uint32_t index);

/* entry.S */
HIDDEN int64_t gate_apart(void (*body)(void *), void *with, void *stack, uint32_t *running);

#endif
