/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads and processes made by a bare clone, without a libc's help: their code shares the maker's thread-local storage
 * unless CLONE_SETTLS says otherwise, so it makes its calls with `bare`, which touches neither errno nor a lock.
 */
#ifndef BARE_H
#define BARE_H

#include "check.h"

#include <linux/futex.h>
#include <sched.h>

enum { BARE_THREAD = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM };

static inline __attribute__((always_inline)) long bare(long nr, long a, long b, long c, long d)
{
	register long r10 __asm__("r10") = d;
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
	return ret;
}

/* Call eax; the parent returns, the child runs rbx(rbp) on its own stack or its caller's, and exits. */
#define BARE_BIRTH \
	"syscall\n" \
	"test %rax, %rax\n" \
	"jnz 1f\n" \
	"mov %rbp, %rdi\n" \
	"xor %ebp, %ebp\n" \
	"and $-16, %rsp\n" \
	"call *%rbx\n" \
	"mov %eax, %edi\n" \
	"mov $60, %eax\n" \
	"syscall\n" \
	"1: pop %rbp\n pop %rbx\n" \
	"ret\n"

/* clone(2) whose child runs body(argument) on that stack (top, or NULL: the caller's) and ends with what it returns. */
static __attribute__((naked, noinline, used)) long bare_clone(unsigned long flags, void *stack, int *parent_tid,
							       int *child_tid, void *tls, int (*body)(void *),
							       void *argument)
{
	(void)flags, (void)stack, (void)parent_tid, (void)child_tid, (void)tls, (void)body, (void)argument;
	__asm__("push %rbx\n push %rbp\n"
		"mov %r9, %rbx\n"
		"mov 24(%rsp), %rbp\n"
		"mov %rcx, %r10\n"
		"mov $56, %eax\n"
		BARE_BIRTH);
}

/* clone3(2) in the same way; the stack stands in `args`, and the child may not return. */
static __attribute__((naked, noinline, used)) long bare_clone3(const void *args, unsigned long size,
								int (*body)(void *), void *argument)
{
	(void)args, (void)size, (void)body, (void)argument;
	__asm__("push %rbx\n push %rbp\n"
		"mov %rdx, %rbx\n"
		"mov %rcx, %rbp\n"
		"mov $435, %eax\n"
		BARE_BIRTH);
}

/* Until the kernel has cleared the word given with CLONE_CHILD_CLEARTID. */
static inline void bare_join(int *word)
{
	int now;

	while ((now = __atomic_load_n(word, __ATOMIC_ACQUIRE)))
		bare(SYS_futex, (long)word, FUTEX_WAIT, now, 0);
}

#endif
