/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images that the kernel starts, the dynamic linker above all: where they have room for a few instructions of ours, and
 * which of their call sites are worth a patch before they run. Nearly all calls of a program's start come from there,
 * and each would cost a signal in every program.
 *
 * The room is what the last page of the code has behind its end: nothing but zeros. That is looked up once, in a
 * program that has the image; from then on it is known by its first instructions and by what stands before the room.
 * Sites are the agents' word (session.libraries): it is checked against each program's memory. Called by alone.c.
 */
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "known.h"
#include "ring.h"

enum { PROGRAM_HEADERS = 16, LINE = 512 };

static int read_memory(pid_t pid, uint64_t at, void *to, size_t n)
{
	struct iovec ours = {to, n}, theirs = {(void *)(uintptr_t)at, n};

	return process_vm_readv(pid, &ours, 1, &theirs, 1, 0) == (ssize_t)n ? 0 : -1;
}

struct mapping {
	uint64_t from, to, offset, inode;
};

static int next_mapping(FILE *maps, struct mapping *m)
{
	char line[LINE], prot[8], device[16];
	unsigned long long from, to, offset, inode;

	if (!fgets(line, sizeof line, maps) ||
	    sscanf(line, "%llx-%llx %7s %llx %15s %llu", &from, &to, prot, &offset, device, &inode) != 6)
		return 0;
	while (!strchr(line, '\n') && fgets(line, sizeof line, maps))
		;
	*m = (struct mapping){from, to, offset, inode};
	return 1;
}

/* Where the file begins that the mapping with `entry` is of; 0: it is not known, or the program's own. */
static uint64_t file_begin(pid_t pid, uint64_t entry)
{
	struct mapping all[PROGRAM_HEADERS * 2], *found = NULL;
	char path[40];
	uint64_t begin = 0;
	FILE *maps;
	int n = 0;

	snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
	maps = fopen(path, "re");
	if (!maps)
		return 0;
	while (n < PROGRAM_HEADERS * 2 && next_mapping(maps, &all[n]))
		n++;
	fclose(maps);
	for (int i = 0; i < n; i++)
		if (entry >= all[i].from && entry < all[i].to)
			found = &all[i];
	if (!found || !found->inode || found->inode == all[0].inode)
		return 0;
	for (int i = 0; i < n; i++)
		if (all[i].inode == found->inode && !all[i].offset)
			begin = all[i].from;
	return begin;
}

/* The end of the code that `entry` is in, if the rest of its page has room. */
static uint64_t find_room(pid_t pid, uint64_t entry)
{
	uint64_t begin = file_begin(pid, entry), end, room = 0;
	Elf64_Ehdr h;
	Elf64_Phdr ph[PROGRAM_HEADERS];

	if (!begin || read_memory(pid, begin, &h, sizeof h) || memcmp(h.e_ident, ELFMAG, SELFMAG) ||
	    h.e_phentsize != sizeof *ph || h.e_phnum > PROGRAM_HEADERS ||
	    read_memory(pid, begin + h.e_phoff, ph, h.e_phnum * sizeof *ph))
		return 0;
	for (int i = 0; i < h.e_phnum; i++) {
		end = begin + ph[i].p_vaddr + ph[i].p_filesz;
		if (ph[i].p_type != PT_LOAD || ph[i].p_filesz != ph[i].p_memsz || !(ph[i].p_flags & PF_X) ||
		    entry < begin + ph[i].p_vaddr || entry >= end)
			continue;
		room = (end + KNOWN_ALIGN - 1) & ~(uint64_t)(KNOWN_ALIGN - 1);
		if ((room + KNOWN_ROOM - 1) / LEAD_PAGE != (end - 1) / LEAD_PAGE)
			room = 0;
	}
	return room;
}

/* In the place of the one that nobody has needed for longest. */
static struct known_image *learn(struct known *k, pid_t pid, uint64_t entry, const uint64_t *head)
{
	struct known_image *m = &k->images[0];
	uint64_t room = find_room(pid, entry);

	for (int i = 1; i < KNOWN_IMAGES; i++)
		if (k->images[i].used < m->used)
			m = &k->images[i];
	memset(m, 0, sizeof *m);
	memcpy(m->head, head, sizeof m->head);
	m->is_there = 1;
	m->looked = ~k->session->library_news;
	m->library = LIBRARIES;
	if (room && !read_memory(pid, room - sizeof m->before, m->before, sizeof m->before))
		m->room = (int64_t)(room - entry);
	return m;
}

static struct known_image *image_of(struct known *k, const uint64_t *head)
{
	for (int i = 0; i < KNOWN_IMAGES; i++)
		if (k->images[i].is_there && !memcmp(k->images[i].head, head, sizeof k->images[i].head))
			return &k->images[i];
	return NULL;
}

static uint32_t library_of(const struct session *s, uint32_t file)
{
	uint32_t i = 0;

	while (i < LIBRARIES && s->library_files[i] != file)
		i = s->library_files[i] ? i + 1 : LIBRARIES;
	return i;
}

static void note_others(struct known_image *m, const struct library *l, const struct lead_candidates *c)
{
	memset(m->others, 0, sizeof m->others);
	for (uint32_t n = 0; n < LIBRARY_SITES && l->sites[n].at; n++)
		for (uint32_t i = 0; i < c->count; i++)
			if (c->of[i].place == l->sites[n].at && !c->of[i].is_chosen)
				m->others[n / 64] |= 1ull << n % 64;
}

/* What there is to know of its sites by now. */
static void choose(const struct known *k, struct known_image *m, uint64_t entry)
{
	uint32_t news = get_acquire(&k->session->library_news), last = 0;
	struct lead_candidates c;

	m->looked = news;
	m->count = 0;
	m->library = library_of(k->session, lead_image(m->head));
	if (m->library == LIBRARIES)
		return;
	lead_collect(&c, &k->session->libraries[m->library], 0, 2 * LEAD_REACH);
	lead_choose(&c, 0);
	for (uint32_t i = 0; i < c.count; i++) {
		c.of[i].is_chosen &= m->count < LEADS && (!m->count || c.of[i].place >= last + LEAD_APART);
		if (!c.of[i].is_chosen)
			continue;
		last = c.of[i].place;
		m->leads[m->count++] = (struct lead){(int32_t)(last - LEAD_REACH - entry % LEAD_PAGE), c.of[i].nr};
	}
	note_others(m, &k->session->libraries[m->library], &c);
}

void known_used(const struct known *k, const struct known_image *m)
{
	if (m->library == LIBRARIES)
		return;
	for (uint32_t n = 0; n < LIBRARY_SITES; n++)
		if (m->others[n / 64] >> n % 64 & 1)
			lead_count(&k->session->libraries[m->library].sites[n].without, 1);
}

static const struct known_image *use(struct known *k, struct known_image *m, uint64_t entry)
{
	if (!m->room)
		return NULL;
	m->used = ++k->clock;
	k->last = m;
	if (m->looked != get_acquire(&k->session->library_news))
		choose(k, m, entry);
	return m;
}

const struct known_image *known_last(struct known *k, uint64_t entry)
{
	return k->last ? use(k, k->last, entry) : NULL;
}

const struct known_image *known_find(struct known *k, pid_t pid, uint64_t entry)
{
	uint64_t head[LEAD_HEAD / 8];
	struct known_image *m;

	if (read_memory(pid, entry, head, sizeof head))
		return NULL;
	m = image_of(k, head);
	if (!m)
		m = learn(k, pid, entry, head);
	return use(k, m, entry);
}
