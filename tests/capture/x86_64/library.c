/* SPDX-License-Identifier: Apache-2.0 */
/* A library that makes a call of its own; cover.c loads it when it has long been running. */
#include <sys/syscall.h>

long call(long mark)
{
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(SYS_getpgid), "D"(mark) : "rcx", "r11", "memory");
	return ret;
}
