/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What patched sites jump to: one stub each (entry.S), and for some a jump to it at a place that the site dictates. And
 * who comes from there: signals.c and dispatch.c ask when they find a program counter, because the program must never
 * see one of ours. Knows nothing of how a site is found or patched (sites.c).
 */
#include "sites.h"

extern char site_stubs[] HIDDEN, site_stub_any[] HIDDEN, site_stub_slow[] HIDDEN; /* of the first one */
extern char fast_quick_armed[] HIDDEN, fast_quick_insn[] HIDDEN, fast_quick_bail[] HIDDEN;
extern char fast_quick_leave[] HIDDEN, fast_leave[] HIDDEN, fast_gone[] HIDDEN, fast_quick_gone[] HIDDEN;
extern char fast_finish_insn[] HIDDEN, fast_finished[] HIDDEN, birth_leave[] HIDDEN, birth_gone[] HIDDEN;
extern char gate_fast_armed[] HIDDEN, gate_fast_insn[] HIDDEN, gate_fast_bail[] HIDDEN;
extern char copy_try_insn[] HIDDEN, copy_try_out[] HIDDEN, string_try_fault[] HIDDEN;

struct site sites[SITES] WARM(".more");
uint32_t site_count;
const uint8_t sites_lead[] = {5, 0, 2};
static uint64_t pun_low = ~0ull, pun_high;

_Static_assert(sizeof(struct site) == 40 && SITES == 1024 && STUB_SIZE == 96, "entry.S");
_Static_assert(offsetof(struct site, resume) == 8 && offsetof(struct site, nr) == 24, "entry.S");

uint64_t stubs_at(uint32_t index)
{
	return (uint64_t)site_stubs + (uint64_t)index * STUB_SIZE;
}

int stubs_put(int64_t fd, uint64_t at, const void *from, uint64_t n)
{
	return GATE4(NR_pwrite64, fd, from, n, at) == (int64_t)n;
}

int stubs_make(int64_t fd, uint32_t index)
{
	/* jmp *0(%rip), and the address behind it */
	uint8_t code[PUN_SIZE] = {0xff, 0x25, 0, 0, 0, 0};
	const struct site *s = &sites[index];
	uint64_t to = stubs_at(index) + (s->shape == SHAPE_PUN ? (uint64_t)(site_stub_any - site_stubs) : 0);

	if (!s->pun)
		return 1;
	memcpy(code + 6, &to, 8);
	pun_low = s->pun < pun_low ? s->pun : pun_low;
	pun_high = s->pun > pun_high ? s->pun : pun_high;
	return stubs_put(fd, s->pun, code, sizeof code);
}

/* ---- who comes from where ---------------------------------------------------------------------------------------- */

uint64_t sites_slow(uint32_t index)
{
	return stubs_at(index) + (uint64_t)(site_stub_slow - site_stubs);
}

/* The site whose stub, or whose way to it, `pc` is in; SITES: none. */
static uint32_t site_of(uint64_t pc)
{
	uint32_t count = get_acquire(&site_count);

	if (pc - (uint64_t)site_stubs < (uint64_t)SITES * STUB_SIZE)
		return (uint32_t)((pc - (uint64_t)site_stubs) / STUB_SIZE);
	if (pc < pun_low || pc > pun_high)
		return SITES;
	for (uint32_t i = 0; i < count; i++)
		if (sites[i].pun == pc)
			return i;
	return SITES;
}

void sites_origin(struct ucontext *uc)
{
	uint32_t i = site_of(uc->rip);

	if (i < SITES)
		uc->rip = uc->rcx = sites[i].at + ARCH_SYSCALL_BYTES;
}

int sites_left(struct ucontext *uc)
{
	if (uc->rip == (uint64_t)fast_gone || uc->rip == (uint64_t)fast_quick_gone || uc->rip == (uint64_t)birth_gone)
		uc->rip = uc->rcx;
	return uc->rip == (uint64_t)fast_finish_insn;
}

void sites_rewind(struct ucontext *uc)
{
	uint32_t i = site_of(uc->rip);

	if (i < SITES)
		uc->rip = sites[i].at - sites_lead[sites[i].shape];
}

void sites_cut(struct thread *t, struct ucontext *uc)
{
	if (uc->rip >= (uint64_t)gate_fast_armed && uc->rip <= (uint64_t)gate_fast_insn) {
		uc->rip = (uint64_t)gate_fast_bail;
	} else if (uc->rip >= (uint64_t)fast_quick_armed && uc->rip <= (uint64_t)fast_quick_insn) {
		uc->rip = (uint64_t)fast_quick_bail;
	} else if ((uc->rip >= (uint64_t)fast_quick_leave && uc->rip < (uint64_t)fast_quick_gone) ||
		   (uc->rip >= (uint64_t)fast_leave && uc->rip < (uint64_t)fast_gone)) {
		uc->rip = (uint64_t)fast_leave;
		uc->rsp = t->stack - sizeof(struct fast);
	} else if (uc->rip >= (uint64_t)birth_leave && uc->rip < (uint64_t)birth_gone &&
		   uc->rcx != (uint64_t)fast_finish_insn) {
		t->resume = uc->rcx;
		uc->rcx = (uint64_t)fast_finish_insn;
	}
}

int sites_finish(struct thread *t, struct ucontext *uc)
{
	if (uc->rip != (uint64_t)fast_finished)
		return 0;
	uc->rip = uc->rcx = t->resume;
	sites_rewind(uc); /* not made, and to be made by the signal: from its beginning */
	uc->sigmask = t->mask;
	t->put_off = 0;
	return 1;
}

int sites_fault(struct ucontext *uc)
{
	if (uc->rip == (uint64_t)copy_try_insn)
		uc->rip = (uint64_t)copy_try_out;
	else if (uc->rip >= (uint64_t)string_try && uc->rip < (uint64_t)string_try_fault)
		uc->rip = (uint64_t)string_try_fault;
	else
		return 0;
	return 1;
}

/* A number that is half a jump: the one that stood there. */
uint64_t sites_number(uint64_t pc, uint64_t nr)
{
	uint32_t count = get_acquire(&site_count);

	for (uint32_t i = 0; i < count; i++) {
		uint32_t target = 0x2524 | i * 8 << 16;
		int fits = 1;

		if (sites[i].at != pc - ARCH_SYSCALL_BYTES || sites[i].shape != SHAPE_TABLE)
			continue;
		for (int byte = 0; byte < 32; byte += 8) {
			uint8_t now = (uint8_t)(nr >> byte);

			fits &= now == (uint8_t)(sites[i].nr >> byte) || now == (uint8_t)(target >> byte);
		}
		if (fits)
			return sites[i].nr;
	}
	return nr;
}
