/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the programs share that are compared with strace call by call: they do the same in every run, down to the
 * addresses of their memory, which is all static or mapped where they want it. No result is looked at here: what counts
 * is what strace says of it, and what the log says.
 */
#ifndef PROOF_H
#define PROOF_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Newer than the headers may be. */
enum {
	SYS_cachestat_ = 451,
	SYS_fchmodat2_,
	SYS_map_shadow_stack_,
	SYS_futex_wake_,
	SYS_futex_wait_,
	SYS_futex_requeue_,
	SYS_statmount_,
	SYS_listmount_,
	SYS_lsm_get_self_attr_,
	SYS_lsm_set_self_attr_,
	SYS_lsm_list_modules_,
	SYS_mseal_,
	SYS_setxattrat_,
	SYS_getxattrat_,
	SYS_listxattrat_,
	SYS_removexattrat_,
	SYS_open_tree_attr_,
	SYS_file_getattr_,
	SYS_file_setattr_,
};

/* The kernel's answer as it is; all from one place. */
__attribute__((noinline)) static long call(long nr, const long a[6])
{
	register long r10 __asm__("r10") = a[3];
	register long r8 __asm__("r8") = a[4];
	register long r9 __asm__("r9") = a[5];
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

#define L0() 0
#define L1(a) (long)(a)
#define L2(a, ...) (long)(a), L1(__VA_ARGS__)
#define L3(a, ...) (long)(a), L2(__VA_ARGS__)
#define L4(a, ...) (long)(a), L3(__VA_ARGS__)
#define L5(a, ...) (long)(a), L4(__VA_ARGS__)
#define L6(a, ...) (long)(a), L5(__VA_ARGS__)
#define PICK(a0, a1, a2, a3, a4, a5, a6, it, ...) it
#define LONGS(...) PICK(_, ##__VA_ARGS__, L6, L5, L4, L3, L2, L1, L0)(__VA_ARGS__)
#define C(name, ...) call(SYS_##name, (long[6]){LONGS(__VA_ARGS__)})
#define N(name, ...) call(SYS_##name##_, (long[6]){LONGS(__VA_ARGS__)}) /* a name of ours: see above */

static char buffer[8][8192] __attribute__((aligned(4096)));
#define M0 buffer[0]
#define M1 buffer[1]
#define M2 buffer[2]
#define M3 buffer[3]
#define BAD ((char *)16) /* nothing is mapped there */
#define NOFD 999

/* In a child that ends at once; its parent waits. */
#define CHILD(...)                                            \
	do {                                                  \
		long pid_ = C(fork);                          \
		if (!pid_) {                                  \
			__VA_ARGS__;                          \
			C(exit_group, 0);                     \
		}                                             \
		C(wait4, pid_, NULL, 0, NULL);                \
	} while (0)

struct part {
	const char *name;
	void (*run)(void);
};

static inline int run_part(const struct part *parts, int argc, char **argv)
{
	C(umask, 022);
	for (const struct part *p = parts; p->name; p++)
		if (argc > 1 && !strcmp(p->name, argv[1])) {
			p->run();
			return 0;
		}
	return 2;
}

#endif
