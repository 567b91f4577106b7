/* SPDX-License-Identifier: Apache-2.0 */
/* What all parts need from an x86-64: a tick counter, the current CPU, a spin hint, which programs are foreign. */
#ifndef LSCA_MACHINE_H
#define LSCA_MACHINE_H

#include <stdint.h>

#define MACHINE_NAME "x86_64"
#define CPU_UNKNOWN 0xffffffffu

static inline uint64_t arch_ticks(void)
{
	uint32_t lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (uint64_t)hi << 32 | lo;
}

/* Linux keeps the CPU's number in the limit of a segment (the vDSO's getcpu reads it the same way). */
static inline uint32_t arch_cpu(void)
{
	uint32_t limit = 0;

	__asm__("lsl %1, %0" : "+r"(limit) : "r"(0x7bu) : "cc");
	return limit & 0xfff;
}

static inline void arch_relax(void)
{
	__asm__ volatile("pause");
}

/* Of 32-bit programs, by e_machine: those that the kernel runs itself, and that hold no agent. */
static inline int arch_runs_foreign(uint16_t machine)
{
	return machine == 3 || machine == 62; /* EM_386, and EM_X86_64 with short pointers */
}

/*
 * A call site of the form mov $nr,%eax; syscall, which becomes a jump through the table of the agent (its
 * arch/x86_64/sites.c). `at` is the `syscall`; the bytes before it are there.
 */
enum { ARCH_LEAD = 5 /* bytes before it that change */, ARCH_LEAD_BEFORE = 3 /* and before those, to be looked at */ };

/*
 * The five bytes may be the end of a longer instruction: one with a REX prefix, or one that ends with 32 bits of its
 * own behind a displacement of 0xb8.
 */
static inline int arch_is_lead(const uint8_t *at, uint32_t nr)
{
	const uint8_t *b = at - ARCH_LEAD;

	if (at[0] != 0x0f || at[1] != 0x05 || b[0] != 0xb8 || (b[-1] & 0xf0) == 0x40)
		return 0;
	for (int i = 0; i < 4; i++)
		if (b[1 + i] != (uint8_t)(nr >> 8 * i))
			return 0;
	for (int i = 2; i <= 3; i++)
		if (b[-i] == 0x81 || b[-i] == 0xc7 || b[-i] == 0x69 || b[-i] == 0xf7)
			return 0;
	return 1;
}

/* What it becomes, and what it was. */
static inline void arch_lead(uint8_t *at, uint32_t index)
{
	uint8_t *b = at - ARCH_LEAD;

	b[0] = 0xff, b[1] = 0x24, b[2] = 0x25; /* jmp *table(, index, 8): the address ends with the old instruction */
	b[3] = (uint8_t)(index * 8), b[4] = (uint8_t)(index * 8 >> 8);
}

static inline void arch_unlead(uint8_t *at, uint32_t nr)
{
	uint8_t *b = at - ARCH_LEAD;

	b[0] = 0xb8;
	for (int i = 0; i < 4; i++)
		b[1 + i] = (uint8_t)(nr >> 8 * i);
}

#endif
