/* SPDX-License-Identifier: Apache-2.0 */
/* What all parts need from an aarch64: a tick counter, the current CPU, a spin hint, which programs are foreign. */
#ifndef LSCA_MACHINE_H
#define LSCA_MACHINE_H

#include <stdint.h>

#define MACHINE_NAME "aarch64"
#define CPU_UNKNOWN 0xffffffffu

static inline uint64_t arch_ticks(void)
{
	uint64_t t;

	__asm__ volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(t));
	return t;
}

/* There is no register for it that a program may read; the wait rule then spins as if the peer were elsewhere. */
static inline uint32_t arch_cpu(void)
{
	return CPU_UNKNOWN;
}

static inline void arch_relax(void)
{
	__asm__ volatile("yield");
}

/* Of 32-bit programs, by e_machine: those that the kernel runs itself, and that hold no agent. */
static inline int arch_runs_foreign(uint16_t machine)
{
	return machine == 40; /* EM_ARM */
}

/* No call site is patched yet. */
enum { ARCH_LEAD = 4, ARCH_LEAD_BEFORE = 4 };

static inline int arch_is_lead(const uint8_t *at, uint32_t nr)
{
	(void)at;
	(void)nr;
	return 0;
}

static inline void arch_lead(uint8_t *at, uint32_t index)
{
	(void)at;
	(void)index;
}

static inline void arch_unlead(uint8_t *at, uint32_t nr)
{
	(void)at;
	(void)nr;
}

#endif
