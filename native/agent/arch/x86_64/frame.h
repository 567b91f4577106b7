/* SPDX-License-Identifier: Apache-2.0 */
/* x86-64: what the agent must know of the kernel's numbers and of the frame it lays down for a signal. */
#ifndef LSCA_FRAME_H
#define LSCA_FRAME_H

#include <stdint.h>

#define ARCH_AUDIT 0xc000003eu /* AUDIT_ARCH_X86_64 */
#define CLONE_TLS_ARG 4        /* of clone */
#define ARCH_RED_ZONE 128
#define ARCH_RELATIVE 8 /* R_X86_64_RELATIVE */
#define ARCH_WAY_POSTS WAY_POSTS /* entry.S looks whether a descriptor is posted */
#define ARCH_SYSCALL_BYTES 2   /* of the instruction, to make a call again */

enum {
	NR_read = 0,
	NR_write = 1,
	NR_brk = 12,
	NR_mremap = 25,
	NR_mprotect = 10,
	NR_pread64 = 17,
	NR_pwrite64 = 18,
	NR_arch_prctl = 158,
	NR_membarrier = 324,
	NR_preadv2 = 327,
	NR_pwritev2 = 328,
	NR_pselect6 = 270,
	NR_close = 3,
	NR_readv = 19,
	NR_dup = 32,
	NR_epoll_wait = 232,
	NR_mmap = 9,
	NR_munmap = 11,
	NR_rt_sigaction = 13,
	NR_rt_sigprocmask = 14,
	NR_rt_sigreturn = 15,
	NR_sched_yield = 24,
	NR_dup2 = 33,
	NR_madvise = 28,
	NR_nanosleep = 35,
	NR_semget = 64, NR_semop = 65, NR_semctl = 66, NR_semtimedop = 220,
	NR_getpid = 39,
	NR_socketpair = 53,
	NR_sendmsg = 46,
	NR_recvmsg = 47,
	NR_clone = 56,
	NR_fork = 57,
	NR_vfork = 58,
	NR_execve = 59,
	NR_exit = 60,
	NR_wait4 = 61,
	NR_kill = 62,
	NR_fcntl = 72,
	NR_fchdir = 81,
	NR_setrlimit = 160,
	NR_setpgid = 109,
	NR_setsid = 112,
	NR_pivot_root = 155,
	NR_prlimit64 = 302,
	NR_epoll_ctl = 233,
	NR_poll = 7,
	NR_rt_sigpending = 127,
	NR_rt_sigtimedwait = 128,
	NR_setns = 308,
	NR_landlock_restrict_self = 446,
	NR_rt_sigsuspend = 130,
	NR_sigaltstack = 131,
	NR_geteuid = 107,
	NR_getegid = 108,
	NR_ptrace = 101,
	NR_prctl = 157,
	NR_gettid = 186,
	NR_futex = 202,
	NR_exit_group = 231,
	NR_waitid = 247,
	NR_openat = 257,
	NR_newfstatat = 262,
	NR_ppoll = 271,
	NR_epoll_pwait = 281,
	NR_signalfd = 282,
	NR_fallocate = 285,
	NR_ftruncate = 77,
	NR_signalfd4 = 289,
	NR_dup3 = 292,
	NR_clock_gettime = 228,
	NR_rt_tgsigqueueinfo = 297,
	NR_recvmmsg = 299,
	NR_sendmmsg = 307,
	NR_process_vm_readv = 310,
	NR_process_vm_writev = 311,
	NR_seccomp = 317,
	NR_execveat = 322,
	NR_tgkill = 234,
	NR_clone3 = 435,
	NR_close_range = 436,
	NR_epoll_pwait2 = 441,
};

struct sigframe_stack {
	uint64_t sp;
	uint32_t flags, pad;
	uint64_t size;
};

struct ucontext {
	uint64_t flags;
	uint64_t link;
	struct sigframe_stack stack;
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
	uint64_t segments, err, trapno, oldmask, cr2;
	uint64_t fpstate, reserved[8];
	uint64_t sigmask;
};

_Static_assert(__builtin_offsetof(struct ucontext, sigmask) == 0x128, "uc_sigmask");

static inline void frame_args(const struct ucontext *uc, uint64_t *a)
{
	a[0] = uc->rdi, a[1] = uc->rsi, a[2] = uc->rdx, a[3] = uc->r10, a[4] = uc->r8, a[5] = uc->r9;
}

static inline void frame_foreign_args(const struct ucontext *uc, uint64_t *a)
{
	a[0] = (uint32_t)uc->rbx, a[1] = (uint32_t)uc->rcx, a[2] = (uint32_t)uc->rdx;
	a[3] = (uint32_t)uc->rsi, a[4] = (uint32_t)uc->rdi, a[5] = (uint32_t)uc->rbp;
}

static inline void frame_return(struct ucontext *uc, int64_t ret)
{
	uc->rax = (uint64_t)ret;
}

static inline int64_t frame_result(const struct ucontext *uc)
{
	return (int64_t)uc->rax;
}

static inline uint64_t frame_pc(const struct ucontext *uc)
{
	return uc->rip;
}

static inline uint64_t frame_sp(const struct ucontext *uc)
{
	return uc->rsp;
}

/* The call is made again once this frame is left, as the kernel restarts one. */
static inline void frame_restart(struct ucontext *uc, uint64_t nr)
{
	uc->rip -= ARCH_SYSCALL_BYTES;
	uc->rax = nr;
}

/* The frame that rt_sigreturn, called in `uc`, is about to leave. */
static inline struct ucontext *frame_returning(const struct ucontext *uc)
{
	return (struct ucontext *)uc->rsp;
}

/* In gate_wait: its argument. */
static inline void *frame_wait(const struct ucontext *uc)
{
	return (void *)uc->rbx;
}

/* Out of the wait: go on at `pc` as if the call had returned `ret`. */
static inline void frame_leave_wait(struct ucontext *uc, const char *pc, int64_t ret)
{
	uc->rip = (uint64_t)pc;
	uc->rax = (uint64_t)ret;
}

/* Go on in `stub`, which makes call `nr`, with `birth` in the register that no clone or fork uses; its old value. */
static inline uint64_t frame_birth(struct ucontext *uc, const char *stub, uint64_t nr, void *birth)
{
	uint64_t kept = uc->r9;

	uc->r9 = (uint64_t)birth;
	uc->rip = (uint64_t)stub;
	uc->rax = nr;
	return kept;
}

/*
 * What tells threads apart: the fs base, which every libc makes a thread's own. NO_KEY, no address: not to be had.
 * arch_has_key is set once the machine is known to allow the instruction.
 */
#define NO_KEY (~0ull)
extern uint8_t arch_has_key __attribute__((visibility("hidden")));

/* The kernel says whether programs may read the fs base; rorx, which the stubs use, is BMI2's. */
static inline int arch_keys_work(uint64_t hwcap2)
{
	uint32_t a = 7, b, c = 0, d;

	if (!(hwcap2 & 2)) /* HWCAP2_FSGSBASE */
		return 0;
	__asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	return b >> 8 & 1;
}

static inline uint64_t arch_key(void)
{
	uint64_t key = NO_KEY;

	if (arch_has_key)
		__asm__ volatile("rdfsbase %0" : "=r"(key));
	return key;
}

/* memcpy without the vector registers, which are the program's. */
static inline void arch_copy(void *to, const void *from, unsigned long n)
{
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}

static inline void arch_fill(void *to, int c, unsigned long n)
{
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(c) : "memory");
}

#endif
