/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Call sites that are patched before a program runs: those of the dynamic linker that have run in a program before it.
 * Nearly all calls of a program's start come from one page of it, and each would cost a signal in every program.
 *
 * Agents say where calls have come from (session.leads). From the first program whose code agrees we keep the page as
 * it is in the file and as it is with its sites patched; a program gets the second only where it has the first, byte by
 * byte. What agents say may be anything: it is copied and checked, and can at worst patch an instruction that has the
 * form of a site and has never run. Called by inject.c, which reads and writes the program's memory.
 */
#include <string.h>
#include <unistd.h>

#include "inject.h"
#include "ring.h"

enum { WORTH = 4 /* sites: a page that is written to is a page more for the program */ };

static int is_near(int64_t offset)
{
	return offset > -(1 << 24) && offset < 1 << 24;
}

static struct lead_page *page_of(struct leads *leads, const uint8_t *head, int64_t offset)
{
	for (uint32_t i = 0; i < LEAD_PAGES; i++)
		if (leads->pages[i].count && leads->pages[i].offset == offset &&
		    !memcmp(leads->pages[i].head, head, LEAD_HEAD))
			return &leads->pages[i];
	return NULL;
}

/* In the place of the one that nobody has needed for longest. */
static struct lead_page *page_new(struct leads *leads, int memory, uint64_t at)
{
	struct lead_page *p = &leads->pages[0];

	for (uint32_t i = 1; i < LEAD_PAGES; i++)
		if (leads->pages[i].used < p->used)
			p = &leads->pages[i];
	memset(p, 0, sizeof *p);
	if (pread(memory, p->before, LEAD_PAGE, (off_t)at) != LEAD_PAGE)
		return NULL;
	memcpy(p->after, p->before, LEAD_PAGE);
	p->used = ++leads->clock;
	return p;
}

static void add_site(struct leads *leads, struct lead_page *p, uint32_t at, uint32_t nr)
{
	uint32_t from = at - ARCH_LEAD;

	if (p->count == LEADS || from < ARCH_LEAD_BEFORE || at > LEAD_PAGE - 2 || !arch_is_lead(p->before + at, nr))
		return;
	for (uint32_t i = 0; i < p->count; i++)
		if (p->sites[i].at < at + 8 && at < p->sites[i].at + 8u)
			return;
	arch_lead(p->after + at, p->count);
	p->serial = ++leads->clock;
	p->sites[p->count++] = (struct lead_site){(uint16_t)at, (uint16_t)nr};
}

/* What the agents have said since we last asked. `head`: the program's first instructions, which stand at `entry`. */
static void learn(struct leads *leads, int memory, uint64_t entry, const uint8_t *head)
{
	uint32_t end = get_acquire(&leads->session->lead_end);

	if (end - leads->seen > LEAD_CLAIMS)
		leads->seen = end - LEAD_CLAIMS;
	for (; leads->seen != end; leads->seen++) {
		struct lead_claim c = leads->session->leads[leads->seen % LEAD_CLAIMS];
		uint64_t at = entry + (uint64_t)(int64_t)c.offset, page = at & ~(uint64_t)(LEAD_PAGE - 1);
		int64_t offset = (int64_t)(page - entry);
		struct lead_page *p = page_of(leads, head, offset);

		if (!p && is_near(c.offset))
			p = page_new(leads, memory, page);
		if (!p)
			continue;
		memcpy(p->head, head, LEAD_HEAD);
		p->offset = offset;
		add_site(leads, p, (uint32_t)(at - page), c.nr);
	}
}

const struct lead_page *lead_find(struct leads *leads, int memory, uint64_t entry, const uint8_t *head,
				  struct agent_config *config)
{
	uint8_t now[LEAD_PAGE];

	if (get_acquire(&leads->session->lead_end) != leads->seen)
		learn(leads, memory, entry, head);
	for (uint32_t i = 0; i < LEAD_PAGES; i++) {
		struct lead_page *p = &leads->pages[i];
		uint64_t at = entry + (uint64_t)p->offset;

		if (p->count < WORTH || at % LEAD_PAGE || memcmp(p->head, head, LEAD_HEAD) ||
		    pread(memory, now, LEAD_PAGE, (off_t)at) != LEAD_PAGE || memcmp(now, p->before, LEAD_PAGE))
			continue;
		p->used = ++leads->clock;
		config->lead_page = at;
		config->lead_count = p->count;
		memcpy(config->leads, p->sites, p->count * sizeof *p->sites);
		return p;
	}
	return NULL;
}

int lead_write(const struct lead_page *p, uint32_t serial, int memory, uint64_t at)
{
	/* It may have changed since the agent was told. Should the write fail, the sites are found as they were. */
	return p->serial == serial && pwrite(memory, p->after, LEAD_PAGE, (off_t)at) == LEAD_PAGE;
}
