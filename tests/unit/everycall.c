/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes every system call once, without arguments and without effect: a filter answers each with ENOSYS, and strace
 * has seen it before. test_classes.py runs it under strace to learn what belongs to which class. No libc, whose own
 * calls would be seen too. It ends by an illegal instruction, since no call is left to end by.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { LAST = 470 };

static long call(long nr, long a, long b, long c)
{
	register long r10 __asm__("r10") = 0, r8 __asm__("r8") = 0, r9 __asm__("r9") = 0;
	long ret;
	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

void _start(void)
{
	struct sock_filter filter[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 38)};
	struct sock_fprog program = {1, filter};
	call(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0);
	if (!call(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, (long)&program))
		for (long nr = 0; nr < LAST; nr++)
			if (nr != 335 && nr != 336) /* uretprobe and uprobe: the kernel kills whoever makes them */
				call(nr, 0, 0, 0);
	__builtin_trap();
}
