/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Enters a piece of code with every register, the flags and the red zone set as wished, and shows them as they are
 * when the code has jumped back. The code ends with what `code_end` writes. May be used by several threads at once.
 */
#ifndef ENTER_H
#define ENTER_H

#include "check.h"

enum { RAX, RBX, RCX, RDX, RSI, RDI, RBP, R8, R9, R10, R11, R12, R13, R14, R15, FLAGS, ZONE, STATE = ZONE + 16 };

/* Carry, parity, adjust, zero, sign, direction, overflow. */
enum { FLAGS_SEEN = 0xcd5, FLAGS_FIXED = 0x202 };

extern char enter_back[];

static __attribute__((naked, noinline)) void enter(uint64_t *state, const void *code)
{
	(void)state, (void)code;
	__asm__("push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n"
		"push %rdi\n"
		"sub $32, %rsp\n"
		"mov %rsi, (%rsp)\n"
		"xor %ecx, %ecx\n"
		"1: mov 128(%rdi,%rcx,8), %rax\n"
		"mov %rax, -128(%rsp,%rcx,8)\n"
		"inc %ecx\n cmp $16, %ecx\n jb 1b\n"
		"lea -128(%rsp), %rsp\n pushq 120(%rdi)\n popfq\n lea 128(%rsp), %rsp\n"
		"mov 0(%rdi), %rax\n mov 8(%rdi), %rbx\n mov 16(%rdi), %rcx\n mov 24(%rdi), %rdx\n"
		"mov 32(%rdi), %rsi\n mov 48(%rdi), %rbp\n mov 56(%rdi), %r8\n mov 64(%rdi), %r9\n"
		"mov 72(%rdi), %r10\n mov 80(%rdi), %r11\n mov 88(%rdi), %r12\n mov 96(%rdi), %r13\n"
		"mov 104(%rdi), %r14\n mov 112(%rdi), %r15\n mov 40(%rdi), %rdi\n"
		"jmp *(%rsp)\n"
		".globl enter_back\n"
		"enter_back:\n"
		"mov %rax, 8(%rsp)\n mov %rcx, 16(%rsp)\n"
		"lea -128(%rsp), %rsp\n pushfq\n pop %rcx\n cld\n lea 128(%rsp), %rsp\n"
		"mov 32(%rsp), %rax\n"
		"mov %rcx, 120(%rax)\n"
		"mov %rbx, 8(%rax)\n mov %rdx, 24(%rax)\n mov %rsi, 32(%rax)\n mov %rdi, 40(%rax)\n"
		"mov %rbp, 48(%rax)\n mov %r8, 56(%rax)\n mov %r9, 64(%rax)\n mov %r10, 72(%rax)\n"
		"mov %r11, 80(%rax)\n mov %r12, 88(%rax)\n mov %r13, 96(%rax)\n mov %r14, 104(%rax)\n"
		"mov %r15, 112(%rax)\n"
		"mov 8(%rsp), %rcx\n mov %rcx, 0(%rax)\n mov 16(%rsp), %rcx\n mov %rcx, 16(%rax)\n"
		"xor %ecx, %ecx\n"
		"2: mov -128(%rsp,%rcx,8), %rdx\n"
		"mov %rdx, 128(%rax,%rcx,8)\n"
		"inc %ecx\n cmp $16, %ecx\n jb 2b\n"
		"add $40, %rsp\n"
		"pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n"
		"ret\n");
}

/* jmp *0(%rip), and where to: changes no register and no flag. Returns what follows. */
static inline unsigned char *code_end(unsigned char *at)
{
	uint64_t back = (uint64_t)(uintptr_t)enter_back;

	memcpy(at, "\xff\x25\0\0\0\0", 6);
	memcpy(at + 6, &back, 8);
	return at + 14;
}

/* Values by which each register and each word of the red zone is known again. */
static inline void state_fill(uint64_t *state, uint64_t flags)
{
	for (int i = 0; i < STATE; i++)
		state[i] = 0x7ca5c00000 + (uint64_t)i;
	state[FLAGS] = FLAGS_FIXED | flags;
}

/*
 * What is not as it was, as bits of the enumeration above. After a call rcx is the address behind it and r11 the flags;
 * the code may have changed rax, and `flags` are those that it leaves alone. Without `behind` rcx and r11 may be
 * anything.
 */
static inline uint32_t state_lost(const uint64_t *before, const uint64_t *after, const void *behind, uint64_t flags)
{
	uint32_t lost = 0;

	for (int i = RBX; i < FLAGS; i++)
		if (i != RCX && i != R11 && before[i] != after[i])
			lost |= 1u << i;
	for (int i = ZONE; i < STATE; i++)
		if (before[i] != after[i])
			lost |= 1u << ZONE;
	if ((before[FLAGS] ^ after[FLAGS]) & flags)
		lost |= 1u << FLAGS;
	if (behind && after[RCX] != (uint64_t)(uintptr_t)behind)
		lost |= 1u << RCX;
	if (behind && (after[R11] ^ before[FLAGS]) & (flags | FLAGS_FIXED))
		lost |= 1u << R11;
	return lost;
}

/* The names of what is lost; "nothing" is a fixed word too. */
static inline const char *state_names(uint32_t lost)
{
	static const char *const names[] = {"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8", "r9", "r10", "r11",
					    "r12", "r13", "r14", "r15", "flags", "red-zone"};
	static __thread char text[128];

	text[0] = 0;
	for (int i = 0; i <= ZONE; i++)
		if (lost & 1u << i)
			strcat(strcat(text, text[0] ? " " : ""), names[i]);
	return text[0] ? text : "nothing";
}

#endif
