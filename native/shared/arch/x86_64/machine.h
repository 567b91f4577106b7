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

#endif
