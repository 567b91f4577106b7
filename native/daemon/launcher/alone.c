/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An injection without a second stop. At the exec stop the program gets a few instructions that map the agent, in a
 * place that it has no use for (known.c), what the agent must know below all that execve has laid on its stack, and the
 * call sites that are known to be worth it are patched; then it is let go. One that cannot have the files or memory
 * that it needs waits, turning in a loop; whoever is not heard of for a while is looked at again (starting.c), and if
 * it waits, helped on by inject.c. Nothing here waits.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <unistd.h>

#include "inject.h"

enum { BELOW = 512, ALIGN = 64, AROUND = 8, WORD = sizeof(long) };

/* What the instructions take with them. */
struct luggage {
	struct agent_config config;
	char path[40];
};

/* As it is, and what it is to be. */
struct site {
	uint64_t word_at;
	uint8_t before[AROUND], at[AROUND];
	long was, word;
};

struct place {
	uint64_t head[LEAD_HEAD / 8];
	uint8_t before[KNOWN_BEFORE], room[KNOWN_ROOM];
	struct site sites[LEADS];
};

static void *there(uint64_t at)
{
	return (void *)(uintptr_t)at;
}

/* All of it by one call. */
static int read_place(pid_t pid, uint64_t entry, const struct known_image *m, uint32_t count, struct place *p)
{
	const size_t around = sizeof p->before + sizeof p->room;
	struct iovec ours[2 + LEADS] = {{p->head, sizeof p->head}, {p->before, around}};
	struct iovec theirs[2 + LEADS] = {{there(entry), sizeof p->head},
					  {there(entry + (uint64_t)m->room - sizeof p->before), around}};
	size_t n = sizeof p->head + around;

	for (uint32_t i = 0; i < count; i++) {
		uint64_t at = entry + (uint64_t)(int64_t)m->leads[i].offset;

		ours[2 + i] = (struct iovec){p->sites[i].before, 2 * AROUND};
		theirs[2 + i] = (struct iovec){there(at - AROUND), 2 * AROUND};
		n += 2 * AROUND;
	}
	return process_vm_readv(pid, ours, 2 + count, theirs, 2 + count, 0) == (ssize_t)n ? 0 : -1;
}

static int is_room(const struct known_image *m, const struct place *p)
{
	uint8_t any = 0;

	for (int i = 0; i < KNOWN_ROOM; i++)
		any |= p->room[i];
	return !any && !memcmp(p->before, m->before, sizeof m->before) && !memcmp(p->head, m->head, sizeof m->head);
}

/* What stands there, and what it is known for; NULL: it is not. */
static const struct known_image *find(struct known *k, pid_t pid, const struct agent_config *c, struct place *p)
{
	const int patches = !!(c->flags & AGENT_KEYS);
	const struct known_image *m = known_last(k, c->entry);

	if (m && !read_place(pid, c->entry, m, patches ? m->count : 0, p) && is_room(m, p))
		return m;
	m = known_find(k, pid, c->entry);
	return m && !read_place(pid, c->entry, m, patches ? m->count : 0, p) && is_room(m, p) ? m : NULL;
}

static int poke(pid_t pid, uint64_t at, long word)
{
	return ptrace(PTRACE_POKEDATA, pid, at, word) ? -1 : 0;
}

/* Code is nobody's to write but a tracer's; for a few words that is cheaper than to open its memory. */
static int write_room(pid_t pid, uint64_t at)
{
	uint8_t code[KNOWN_ROOM] = {0};

	memcpy(code, machine_alone, machine_alone_size);
	for (uint32_t i = 0; i < machine_alone_size; i += WORD) {
		long word;

		memcpy(&word, code + i, WORD);
		if (poke(pid, at + i, word))
			return -1;
	}
	return 0;
}

/* Of the sites in question, those that are ones: their words, and what the agent is told. */
static void take_sites(struct agent_config *c, const struct known_image *m, struct place *p)
{
	for (uint32_t i = 0; i < m->count; i++) {
		struct site s = p->sites[i];
		uint8_t *first = s.at - ARCH_LEAD;

		if (!arch_is_lead(s.at, m->leads[i].nr))
			continue;
		s.word_at = c->entry + (uint64_t)(int64_t)m->leads[i].offset - ARCH_LEAD;
		memcpy(&s.was, first, WORD);
		arch_lead(s.at, c->lead_count);
		memcpy(&s.word, first, WORD);
		p->sites[c->lead_count] = s;
		c->leads[c->lead_count++] = m->leads[i];
	}
}

static int write_sites(pid_t pid, const struct place *p, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (poke(pid, p->sites[i].word_at, p->sites[i].word)) {
			while (i--)
				poke(pid, p->sites[i].word_at, p->sites[i].was);
			return -1;
		}
	return 0;
}

int inject_alone(struct injection *i, const struct image *image, struct known *known, pid_t tid, int session,
		 const struct agent_config *config)
{
	struct luggage luggage = {.config = *config};
	struct agent_config *c = &luggage.config;
	const struct known_image *m;
	struct user_regs_struct regs;
	struct place place;
	uint64_t at;

	memset(i, 0, sizeof *i);
	i->image = image;
	i->tid = tid;
	i->session = session;
	i->memory = -1;
	if (machine_get(tid, &i->saved))
		return 0;
	machine_fresh(&i->saved);
	c->flags |= AGENT_ALONE;
	c->entry = machine_pc(&i->saved);
	c->sp = machine_sp(&i->saved);
	m = find(known, tid, c, &place);
	if (!m)
		return 0;
	if (c->flags & AGENT_KEYS)
		take_sites(c, m, &place);
	i->code_at = c->entry + (uint64_t)m->room;
	i->code_size = KNOWN_ROOM;
	i->config = *c;
	snprintf(luggage.path, sizeof luggage.path, "/proc/%u/fd/%d", config->launcher, image->fd);
	at = (c->sp - BELOW - sizeof luggage) & ~(uint64_t)(ALIGN - 1);
	regs = i->saved;
	machine_start_alone(&regs, image, i->code_at, at + offsetof(struct luggage, path), at, inject_wish(c->entry));
	if (process_vm_writev(tid, &(struct iovec){&luggage, sizeof luggage}, 1,
			      &(struct iovec){there(at), sizeof luggage}, 1, 0) != sizeof luggage)
		return 0;
	if (write_room(tid, i->code_at) || write_sites(tid, &place, c->lead_count))
		return 0;
	known_used(known, m);
	if (machine_set(tid, &regs)) /* it is dead */
		return inject_fail(i, "its registers cannot be set", -ESRCH);
	return ptrace(PTRACE_DETACH, tid, 0, 0) ? inject_fail(i, "cannot be let go", -ESRCH) : 1;
}

static int is_in(uint64_t pc, uint64_t from, uint64_t to)
{
	return pc >= from && pc <= to;
}

int inject_look(struct injection *i)
{
	const struct image *m = i->image;
	struct user_regs_struct regs;
	uint64_t pc, base;

	if (machine_get(i->tid, &regs))
		return NEEDS_NOBODY;
	pc = machine_pc(&regs);
	if (is_in(pc, i->code_at + machine_alone_waits, i->code_at + i->code_size))
		return inject_return(i, NULL);
	base = machine_config(&regs) - m->config;
	return is_in(pc, base + m->waits, base + m->waits_end) ? inject_return(i, &regs) : NEEDS_NOBODY;
}
