/* SPDX-License-Identifier: Apache-2.0 */
/* What the launcher knows of the images that the kernel starts (known.c). */
#ifndef LSCA_KNOWN_H
#define LSCA_KNOWN_H

#include <sys/types.h>

#include "leads.h"

enum { KNOWN_IMAGES = 8, KNOWN_ALIGN = 16, KNOWN_ROOM = 64, KNOWN_BEFORE = 16 };

struct known_image {
	int is_there;
	uint64_t used; /* the higher, the later */
	uint64_t head[LEAD_HEAD / 8]; /* its first instructions */
	int64_t room; /* from these; 0: there is none */
	uint8_t before[KNOWN_BEFORE]; /* what stands before the room */
	uint32_t looked; /* session.library_news at that time */
	uint32_t count, library;
	struct lead leads[LEADS];
	uint64_t others[LIBRARY_SITES / 64]; /* of the library's sites, those that are not among these */
};

struct known {
	struct session *session;
	uint64_t clock;
	struct known_image *last;
	struct known_image images[KNOWN_IMAGES];
};

/*
 * The image that stands at `entry` in this program, or, most likely the same, the one that was there last. NULL: it has
 * no room. What is there is to be checked.
 */
const struct known_image *known_last(struct known *k, uint64_t entry);
const struct known_image *known_find(struct known *k, pid_t pid, uint64_t entry);

/* One more program goes without a patch of its other sites. */
void known_used(const struct known *k, const struct known_image *m);

#endif
