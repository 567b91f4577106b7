/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which call sites are worth a patch before they run. Used by the agent, for libraries (arch/x86_64/leads.c), and by
 * the launcher, for the image that the kernel starts (known.c). What the session says of a site may be anything.
 *
 * For each site there is what it would have saved programs that have gone without, and how many these are. Whether that
 * is worth anything is a matter of whole pages: each that is written to is one more that the program has for itself,
 * whatever is written.
 */
#ifndef LSCA_LEADS_H
#define LSCA_LEADS_H

#include "abi.h"
#include "ring.h"

enum {
	LEAD_HEAD = 64,     /* bytes by which images are known that the kernel starts */
	LEAD_REACH = 1 << 19, /* of those, in both directions from the page of their entry */
	LEAD_PAGE = 4096,
	LEAD_BEFORE = 24,   /* enough for the number of a call */
	LEAD_BEHIND = 8,
	LEAD_APART = 7,     /* two patches do not meet, */
	LEAD_APART_PUN = 12, /* and what a pun has borrowed from the code behind it stays as it is */
	/* All costs are in parts of a signal's. */
	LEAD_SIGNAL = 16,
	LEAD_PAGE_COST = 20,
	LEAD_SITE_LEAST = 6,
	LEAD_SCORE_MOST = 1 << 14, /* counted no further */
};

struct lead_candidate {
	uint32_t place; /* in its file, or from LEAD_REACH before the image's entry */
	uint16_t nr, gain;
	uint8_t is_chosen;
};

struct lead_candidates {
	uint32_t count;
	struct lead_candidate of[LIBRARY_SITES]; /* in the order of their places */
};

static inline uint64_t lead_mixed(uint64_t id, uint64_t word)
{
	return (id ^ word) * 0x9e3779b97f4a7c15ull;
}

/* Of an image that the kernel starts, by its first instructions; never 0. */
static inline uint32_t lead_image(const uint64_t *head)
{
	uint64_t id = 0;

	for (int i = 0; i < LEAD_HEAD / 8; i++)
		id = lead_mixed(id, head[i]);
	return (uint32_t)(id >> 32) | 1;
}

static inline void lead_count(uint32_t *score, uint32_t by)
{
	if (get_relaxed(score) < LEAD_SCORE_MOST)
		__atomic_fetch_add(score, by, __ATOMIC_RELAXED);
}

static inline uint16_t lead_gain(const struct library_site *s)
{
	uint32_t without = get_relaxed(&s->without), gain;

	gain = without ? get_relaxed(&s->saves) * LEAD_SIGNAL / without : 0;
	return gain < LEAD_PAGE ? (uint16_t)gain : LEAD_PAGE;
}

/* Those between two places. */
static inline void lead_collect(struct lead_candidates *c, const struct library *l, uint64_t from, uint64_t to)
{
	c->count = 0;
	for (const struct library_site *s = l->sites; s < l->sites + LIBRARY_SITES; s++) {
		uint32_t place = get_acquire(&s->at), call = get_acquire(&s->call), i = c->count;

		if (!place)
			break;
		/* A patch is not to touch two pages. */
		if (!call || call > CALL_LIMIT || place < from + LEAD_BEFORE || place + LEAD_BEHIND > to ||
		    place % LEAD_PAGE < LEAD_BEHIND || place % LEAD_PAGE > LEAD_PAGE - LEAD_BEHIND)
			continue;
		for (; i && c->of[i - 1].place > place; i--)
			c->of[i] = c->of[i - 1];
		c->of[i] = (struct lead_candidate){place, (uint16_t)(call - 1), lead_gain(s), 0};
		c->count++;
	}
}

/* The first candidate behind this one that is on another page. */
static inline uint32_t lead_page_end(const struct lead_candidates *c, uint32_t i)
{
	uint32_t page = c->of[i].place / LEAD_PAGE;

	while (i < c->count && c->of[i].place / LEAD_PAGE == page)
		i++;
	return i;
}

/* What it is worth altogether; `cost`: what it takes in any case. */
static inline int lead_choose(struct lead_candidates *c, int cost)
{
	int gains = -cost;

	for (uint32_t i = 0, end; i < c->count; i = end) {
		int gain = -LEAD_PAGE_COST;

		end = lead_page_end(c, i);
		for (uint32_t n = i; n < end; n++)
			gain += c->of[n].gain;
		if (gain <= 0)
			continue;
		gains += gain;
		for (uint32_t n = i; n < end; n++)
			c->of[n].is_chosen = c->of[n].gain >= LEAD_SITE_LEAST;
	}
	for (uint32_t i = 0; gains <= 0 && i < c->count; i++)
		c->of[i].is_chosen = 0;
	return gains > 0;
}

#endif
