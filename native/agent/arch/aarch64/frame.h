/* SPDX-License-Identifier: Apache-2.0 */
/* aarch64: what the agent must know of the kernel's numbers and of the frame it lays down for a signal. */
#ifndef LSCA_FRAME_H
#define LSCA_FRAME_H

#include <stdint.h>

#define ARCH_AUDIT 0xc00000b7u /* AUDIT_ARCH_AARCH64 */
#define CLONE_TLS_ARG 3 /* of clone */
#define ARCH_RED_ZONE 0
#define ARCH_RELATIVE 1027 /* R_AARCH64_RELATIVE */
#define ARCH_WAY_POSTS WAY_SPECIAL /* no site is patched here */
#define ARCH_SYSCALL_BYTES 4   /* of the instruction, to make a call again */

/* Calls that are not there: a number read from a frame has 32 bits. */
#define NR_NONE(i) ((1ull << 32) + (i))

enum {
	NR_read = 63,
	NR_write = 64,
	NR_close = 57,
	NR_readv = 65,
	NR_dup = 23,
	NR_epoll_wait = NR_NONE(0),
	NR_mmap = 222,
	NR_munmap = 215,
	NR_rt_sigaction = 134,
	NR_rt_sigprocmask = 135,
	NR_rt_sigreturn = 139,
	NR_sched_yield = 124,
	NR_dup2 = NR_NONE(1),
	NR_madvise = 233,
	NR_preadv2 = 286,
	NR_pwritev2 = 287,
	NR_nanosleep = 101,
	NR_semget = 190, NR_semop = 193, NR_semctl = 191, NR_semtimedop = 192,
	NR_getpid = 172,
	NR_socketpair = 199,
	NR_sendmsg = 211,
	NR_recvmsg = 212,
	NR_clone = 220,
	NR_fork = NR_NONE(2),
	NR_vfork = NR_NONE(3),
	NR_execve = 221,
	NR_exit = 93,
	NR_wait4 = 260,
	NR_kill = 129,
	NR_fcntl = 25,
	NR_fchdir = 50,
	NR_setrlimit = 164,
	NR_setpgid = 154,
	NR_setsid = 157,
	NR_pivot_root = 41,
	NR_prlimit64 = 261,
	NR_epoll_ctl = 21,
	NR_poll = NR_NONE(4),
	NR_rt_sigpending = 136,
	NR_setns = 268,
	NR_landlock_restrict_self = 446,
	NR_rt_sigtimedwait = 137,
	NR_rt_sigsuspend = 133,
	NR_sigaltstack = 132,
	NR_geteuid = 175,
	NR_getegid = 177,
	NR_ptrace = 117,
	NR_prctl = 167,
	NR_gettid = 178,
	NR_futex = 98,
	NR_arch_prctl = NR_NONE(7),
	NR_mremap = 216,
	NR_mprotect = 226,
	NR_pselect6 = 72,
	NR_exit_group = 94,
	NR_waitid = 95,
	NR_openat = 56,
	NR_newfstatat = 79,
	NR_ppoll = 73,
	NR_epoll_pwait = 22,
	NR_signalfd = NR_NONE(6),
	NR_fallocate = 47,
	NR_ftruncate = 46,
	NR_signalfd4 = 74,
	NR_dup3 = 24,
	NR_clock_gettime = 113,
	NR_rt_tgsigqueueinfo = 240,
	NR_recvmmsg = 243,
	NR_sendmmsg = 269,
	NR_process_vm_readv = 270,
	NR_process_vm_writev = 271,
	NR_seccomp = 277,
	NR_execveat = 281,
	NR_tgkill = 131,
	NR_clone3 = 435,
	NR_close_range = 436,
	NR_epoll_pwait2 = 441,
};

struct sigframe_stack {
	uint64_t sp;
	uint32_t flags, pad;
	uint64_t size;
};

/* Floating point and vector state follow, in records that the agent leaves alone. */
struct ucontext {
	uint64_t flags;
	uint64_t link;
	struct sigframe_stack stack;
	uint64_t sigmask;
	uint8_t unused[120];
	uint64_t align;
	uint64_t fault_address, regs[31], sp, pc, pstate;
};

enum { FRAME_SIGINFO = 128, FRAME_BIRTH = 5, FRAME_WAIT = 19 };

_Static_assert(__builtin_offsetof(struct ucontext, sigmask) == 40, "uc_sigmask");
_Static_assert(__builtin_offsetof(struct ucontext, fault_address) == 176, "uc_mcontext");
_Static_assert(__builtin_offsetof(struct ucontext, pc) == 440, "uc_mcontext.pc");

static inline void frame_args(const struct ucontext *uc, uint64_t *a)
{
	for (int i = 0; i < 6; i++)
		a[i] = uc->regs[i];
}

/* A 64-bit program has no way into another machine's calls here; gate_foreign answers ENOSYS. */
static inline void frame_foreign_args(const struct ucontext *uc, uint64_t *a)
{
	for (int i = 0; i < 6; i++)
		a[i] = (uint32_t)uc->regs[i];
}

static inline void frame_return(struct ucontext *uc, int64_t ret)
{
	uc->regs[0] = (uint64_t)ret;
}

static inline int64_t frame_result(const struct ucontext *uc)
{
	return (int64_t)uc->regs[0];
}

static inline uint64_t frame_pc(const struct ucontext *uc)
{
	return uc->pc;
}

static inline uint64_t frame_sp(const struct ucontext *uc)
{
	return uc->sp;
}

/* The call is made again once this frame is left, as the kernel restarts one; x0 still is the first argument. */
static inline void frame_restart(struct ucontext *uc, uint64_t nr)
{
	uc->pc -= ARCH_SYSCALL_BYTES;
	uc->regs[8] = nr;
}

/* The frame that rt_sigreturn, called in `uc`, is about to leave. */
static inline struct ucontext *frame_returning(const struct ucontext *uc)
{
	return (struct ucontext *)(uc->sp + FRAME_SIGINFO);
}

/* In gate_wait: its argument. */
static inline void *frame_wait(const struct ucontext *uc)
{
	return (void *)uc->regs[FRAME_WAIT];
}

/* Out of the wait: go on at `pc` as if the call had returned `ret`. */
static inline void frame_leave_wait(struct ucontext *uc, const char *pc, int64_t ret)
{
	uc->pc = (uint64_t)pc;
	uc->regs[0] = (uint64_t)ret;
}

/*
 * Go on in `stub`, which makes call `nr`, with `birth` in a register that no clone uses; returns its
 * old value.
 */
static inline uint64_t frame_birth(struct ucontext *uc, const char *stub, uint64_t nr, void *birth)
{
	uint64_t kept = uc->regs[FRAME_BIRTH];

	uc->regs[FRAME_BIRTH] = (uint64_t)birth;
	uc->pc = (uint64_t)stub;
	uc->regs[8] = nr;
	return kept;
}

/* The thread pointer could tell threads apart here; nothing is patched yet that would want to know. */
static inline int arch_keys_work(uint64_t hwcap2)
{
	(void)hwcap2;
	return 0;
}

#define NO_KEY (~0ull)

static inline uint64_t arch_key(void)
{
	return NO_KEY;
}

/* memcpy without the vector registers, which are the program's. In assembly, or gcc would make it a call to memcpy. */
static inline void arch_copy(void *to, const void *from, unsigned long n)
{
	uint64_t a, b;

	for (; n >= 16; n -= 16)
		__asm__ volatile("ldp %2, %3, [%1], #16\n\tstp %2, %3, [%0], #16"
				 : "+r"(to), "+r"(from), "=&r"(a), "=&r"(b)
				 :
				 : "memory");
	for (; n; n--)
		__asm__ volatile("ldrb %w2, [%1], #1\n\tstrb %w2, [%0], #1"
				 : "+r"(to), "+r"(from), "=&r"(a)
				 :
				 : "memory");
}

static inline void arch_fill(void *to, int c, unsigned long n)
{
	for (; n; n--)
		__asm__ volatile("strb %w1, [%0], #1" : "+r"(to) : "r"(c) : "memory");
}

#endif
