/* SPDX-License-Identifier: Apache-2.0 */
/* Calls on signals, processes, threads, memory and time: a part for each family. See proof.h. */
#include "proof.h"

#include <linux/futex.h>
#include <linux/mempolicy.h>
#include <linux/membarrier.h>
#include <linux/ptrace.h>
#include <sched.h>
#include <linux/sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <sys/uio.h>

static struct timespec soon = {0, 1000000};
static uint64_t usr = 1 << (SIGUSR1 - 1) | 1 << (SIGALRM - 1), empty;

static void on_signal(int sig)
{
	(void)sig;
}

__attribute__((naked)) static void restorer(void)
{
	__asm__("mov $15, %eax\n\tsyscall");
}

struct kernel_action {
	void (*handler)(int);
	unsigned long flags;
	void (*restorer)(void);
	uint64_t mask;
};

static void signals(void)
{
	static struct kernel_action action = {on_signal, 0x04000000 | SA_RESTART, restorer, 1 << (SIGUSR2 - 1)}, old;
	static siginfo_t info = {.si_code = SI_QUEUE};
	static stack_t stack = {.ss_size = 8192};
	static struct itimerval in = {{0, 0}, {0, 3000}};
	long pid = C(getpid);

	C(rt_sigaction, SIGUSR1, &action, &old, 8);
	C(rt_sigaction, SIGALRM, &action, NULL, 8);
	C(rt_sigaction, SIGUSR1, NULL, &old, 8);
	C(rt_sigaction, SIGKILL, &action, NULL, 8);
	C(rt_sigaction, SIGUSR1, &action, NULL, 7);
	C(rt_sigprocmask, SIG_BLOCK, &usr, M0, 8);
	C(rt_sigprocmask, 9, &usr, M0, 8);
	C(kill, pid, SIGUSR1);
	C(kill, 999999, SIGUSR1);
	C(kill, pid, 99);
	C(rt_sigpending, M0, 8);
	C(rt_sigpending, BAD, 8);
	C(rt_sigtimedwait, &usr, M0, &soon, 8);
	C(rt_sigtimedwait, &usr, M0, &soon, 8);
	C(tkill, C(gettid), SIGUSR1);
	C(tkill, 999999, SIGUSR1);
	C(rt_sigsuspend, &empty, 8);
	C(rt_sigsuspend, &empty, 7);
	C(tgkill, pid, pid, SIGUSR1);
	C(tgkill, pid, 999999, SIGRTMIN);
	C(rt_sigprocmask, SIG_UNBLOCK, &usr, NULL, 8);
	C(rt_sigprocmask, SIG_SETMASK, NULL, M0, 8);
	info.si_signo = SIGUSR1;
	info.si_value.sival_int = 5;
	C(rt_sigqueueinfo, pid, SIGUSR1, &info);
	C(rt_sigqueueinfo, 999999, SIGUSR1, &info);
	C(rt_tgsigqueueinfo, pid, pid, SIGUSR1, &info);
	C(rt_tgsigqueueinfo, pid, 999999, SIGUSR1, &info);
	C(setitimer, ITIMER_REAL, &in, NULL);
	C(pause);
	stack.ss_sp = M1;
	C(sigaltstack, &stack, M0);
	stack.ss_size = 1;
	C(sigaltstack, &stack, NULL);
	C(sigaltstack, NULL, M0);
	C(restart_syscall);
}

static void waits(void)
{
	static int status;
	static siginfo_t info;
	static struct rusage usage;
	long pid = C(fork);

	if (!pid)
		C(exit_group, 3);
	C(waitid, P_PID, pid, &info, WEXITED | WNOWAIT, &usage);
	C(wait4, pid, &status, 0, &usage);
	C(wait4, -1, &status, WNOHANG, NULL);
	C(wait4, 1, &status, WNOHANG | WUNTRACED, NULL);
	C(waitid, P_ALL, 0, &info, WEXITED, NULL);
	C(waitid, 99, 0, &info, WEXITED, NULL);
	pid = C(fork);
	if (!pid) {
		C(kill, C(getpid), SIGKILL);
		C(exit_group, 9);
	}
	C(wait4, pid, &status, 0, NULL);
	pid = C(fork);
	if (!pid)
		C(exit, 7);
	C(waitid, P_PID, pid, &info, WEXITED, NULL);
}

static void processes(void)
{
	static struct clone_args args = {.exit_signal = SIGCHLD};
	static char *argv[] = {"true", "an argument", "with \"quotes\"", NULL}, *envp[] = {"A=b", NULL};
	long pid, fd;

	waits();
	pid = C(clone, CLONE_CHILD_CLEARTID | SIGCHLD, NULL, NULL, M0, 0);
	if (!pid)
		C(exit_group, 0);
	C(wait4, pid, NULL, 0, NULL);
	C(clone, CLONE_THREAD, NULL, NULL, NULL, 0);
	pid = C(clone3, &args, sizeof args);
	if (!pid)
		C(exit_group, 0);
	C(wait4, pid, NULL, 0, NULL);
	C(clone3, &args, 3);
	C(clone3, BAD, sizeof args);
	CHILD(C(execve, "/bin/true", argv, envp));
	C(execve, "missing", argv, envp);
	C(execve, BAD, argv, envp);
	C(execve, "/bin/true", BAD, NULL);
	fd = C(open, "/bin/true", O_RDONLY | O_CLOEXEC);
	CHILD(C(execveat, fd, "", argv, envp, AT_EMPTY_PATH));
	C(execveat, AT_FDCWD, "missing", argv, envp, AT_SYMLINK_NOFOLLOW);
	pid = vfork();
	if (!pid)
		_exit(5);
	C(wait4, pid, NULL, 0, NULL);
	C(personality, 0xffffffff);
	C(prctl, PR_SET_NAME, "a name", 0, 0, 0);
	C(prctl, PR_GET_NAME, M0, 0, 0, 0);
	C(prctl, PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
	C(prctl, PR_GET_PDEATHSIG, M0, 0, 0, 0);
	C(prctl, PR_GET_DUMPABLE, 0, 0, 0, 0);
	C(prctl, PR_CAPBSET_READ, 5, 0, 0, 0);
	C(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	C(prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
	C(prctl, 7777, 1, 2, 3, 4);
	C(arch_prctl, 0x1003, M0);
	C(arch_prctl, 0x7777, 5);
	C(set_tid_address, M0);
	C(unshare, CLONE_FS | CLONE_FILES);
	C(unshare, 0x1);
	C(setns, NOFD, CLONE_NEWNET);
	fd = C(open, "/proc/self/ns/uts", O_RDONLY);
	C(setns, fd, CLONE_NEWUTS);
	C(setns, fd, CLONE_NEWNET);
}

static void threads(void)
{
	static int word = 5, policy;
	static struct sched_param param;
	static struct {
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t more[3];
	} attr = {48, 0, 0, 0, 0, {0}};
	static uint64_t cpus[16], head[3];
	static struct {
		uint64_t val, uaddr;
		uint32_t flags, reserved;
	} waitv[1];
	static struct robust_list_head *list;
	static size_t length;
	static unsigned cpu, node;

	C(sched_yield);
	C(sched_getparam, 0, &param);
	C(sched_getparam, 999999, &param);
	C(sched_setparam, 0, &param);
	C(sched_setparam, -1, &param);
	C(sched_getscheduler, 0);
	C(sched_getscheduler, 999999);
	C(sched_setscheduler, 0, SCHED_BATCH, &param);
	C(sched_setscheduler, 0, 77, &param);
	C(sched_setscheduler, 0, SCHED_OTHER | 0x40000000, &param);
	C(sched_get_priority_max, SCHED_FIFO);
	C(sched_get_priority_max, 77);
	C(sched_get_priority_min, SCHED_RR);
	C(sched_get_priority_min, -1);
	C(sched_rr_get_interval, 0, M0);
	C(sched_rr_get_interval, 999999, M0);
	C(sched_getaffinity, 0, sizeof cpus, cpus);
	C(sched_getaffinity, 0, 1, cpus);
	C(sched_setaffinity, 0, sizeof cpus, cpus);
	C(sched_setaffinity, 999999, 8, cpus);
	C(sched_getattr, 0, &attr, sizeof attr, 0);
	C(sched_getattr, 999999, &attr, sizeof attr, 0);
	C(sched_setattr, 0, &attr, 0);
	C(sched_setattr, 0, &attr, 5);
	C(futex, &word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0);
	C(futex, &word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 4, NULL, NULL, 0);
	C(futex, &word, FUTEX_WAIT, 5, &soon, NULL, 0);
	C(futex, &word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 5, &soon, NULL, -1);
	C(futex, &word, FUTEX_REQUEUE, 1, 2, &policy, 0);
	C(futex, &word, FUTEX_CMP_REQUEUE, 1, 2, &policy, 6);
	C(futex, &word, FUTEX_WAKE_OP, 1, 2, &policy, FUTEX_OP(FUTEX_OP_ADD, 1, FUTEX_OP_CMP_GT, 3));
	C(futex, &word, 77, 1, NULL, NULL, 0);
	C(futex, BAD, FUTEX_WAKE, 1, NULL, NULL, 0);
	waitv[0].val = 4;
	waitv[0].uaddr = (uint64_t)&word;
	waitv[0].flags = 2;
	C(futex_waitv, waitv, 1, 0, NULL, 0);
	C(futex_waitv, waitv, 1000, 0, NULL, 0);
	N(futex_wake, &word, ~0ul, 1, 2);
	N(futex_wake, &word, ~0ul, 1, 0x80);
	N(futex_wait, &word, 4, ~0ul, 2, NULL, 0);
	N(futex_requeue, waitv, 5, 1, 1);
	C(ioprio_get, 1, 0);
	C(ioprio_get, 9, 0);
	C(ioprio_set, 1, 0, 2 << 13 | 5);
	C(ioprio_set, 1, 0, 7 << 13);
	C(set_robust_list, head, 24);
	C(set_robust_list, head, 5);
	C(get_robust_list, 0, &list, &length);
	C(get_robust_list, 999999, &list, &length);
	C(getcpu, &cpu, &node, NULL);
	C(getcpu, BAD, NULL, NULL);
	C(membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
	C(membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
	C(membarrier, 0x7000, 0, 0);
	C(rseq, M0 + 32, 32, 0, 0x53053053);
	C(rseq, M0, 5, 7, 1);
}

static void memory(void)
{
	static uint64_t nodes;
	static int mode;
	char *at = (char *)0x20000000;
	long fd = C(open, "data", O_RDWR | O_CREAT, 0644);
	long key;

	C(ftruncate, fd, 8192);
	C(mmap, at, 8 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	C(mmap, at + 0x100000, 4096, PROT_NONE, MAP_SHARED | MAP_FIXED, fd, 4096);
	C(mmap, at + 0x100000, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	C(mmap, NULL, 0, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	C(mmap, NULL, 4096, PROT_READ, MAP_PRIVATE, NOFD, 0);
	C(mmap, NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_POPULATE | MAP_STACK, fd, 5);
	C(mprotect, at, 4096, PROT_READ | PROT_EXEC);
	C(mprotect, at + 1, 4096, PROT_READ);
	C(mremap, at + 4096, 4096, 8192, MREMAP_MAYMOVE | MREMAP_FIXED, at + 0x200000);
	C(mremap, at + 1, 4096, 8192, 0);
	C(msync, at + 0x100000, 4096, MS_SYNC);
	C(msync, at, 4096, MS_ASYNC | MS_INVALIDATE | MS_SYNC);
	C(mincore, at + 0x100000, 4096, M0);
	C(mincore, at + 1, 4096, M0);
	C(madvise, at + 8192, 4096, MADV_DONTNEED);
	C(madvise, at, 4096, 777);
	C(mlock, at, 4096);
	C(mlock, BAD, 4096);
	C(mlock2, at, 4096, 1);
	C(mlock2, at, 4096, 7);
	C(munlock, at, 4096);
	C(munlock, BAD, 4096);
	C(mlockall, 0);
	C(mlockall, MCL_CURRENT);
	C(munlockall);
	C(remap_file_pages, at, 4096, 0, 0, 0);
	C(brk, 0);
	C(brk, 16);
	C(mbind, at, 4096, MPOL_DEFAULT, NULL, 0, 0);
	C(mbind, at, 4096, MPOL_BIND | MPOL_F_STATIC_NODES, &nodes, 64, MPOL_MF_STRICT);
	C(set_mempolicy, MPOL_DEFAULT, NULL, 0);
	C(set_mempolicy, 77, &nodes, 64);
	C(get_mempolicy, &mode, NULL, 0, NULL, 0);
	C(get_mempolicy, &mode, &nodes, 1, at, 0x77);
	C(set_mempolicy_home_node, at, 4096, 0, 0);
	C(set_mempolicy_home_node, at, 4096, 99, 5);
	C(migrate_pages, 0, 64, &nodes, &nodes);
	C(migrate_pages, 999999, 64, &nodes, &nodes);
	C(move_pages, 0, 0, NULL, NULL, NULL, 0);
	C(move_pages, 999999, 0, NULL, NULL, NULL, 0);
	C(userfaultfd, O_CLOEXEC | O_NONBLOCK);
	C(userfaultfd, 5);
	key = C(pkey_alloc, 0, 0);
	C(pkey_alloc, 7, 0);
	C(pkey_mprotect, at, 4096, PROT_READ, -1);
	C(pkey_mprotect, at, 4096, PROT_READ, 99);
	C(pkey_free, key);
	C(pkey_free, 99);
	N(map_shadow_stack, 0, 4096, 0);
	N(mseal, at, 4096, 7);
	C(munmap, at, 4096);
	C(munmap, at + 1, 4096);
	N(mseal, at + 8192, 4096, 0);
	C(munmap, at + 8192, 4096);
}

static void clocks(void)
{
	static struct timespec at, bad = {1, -1};
	static struct timeval tv, wrong = {1, 2000000};
	static struct timezone tz;
	static struct itimerval in = {{0, 0}, {100, 5}};
	static struct itimerspec when = {{0, 0}, {100, 5}};
	static struct timex tx = {.modes = 0x8000};
	static struct sigevent event = {.sigev_notify = SIGEV_NONE};
	static int id;
	static long now;

	C(nanosleep, &soon, M0);
	C(nanosleep, &bad, NULL);
	C(clock_nanosleep, CLOCK_MONOTONIC, 0, &soon, NULL);
	C(clock_nanosleep, CLOCK_REALTIME, TIMER_ABSTIME, &soon, NULL);
	C(clock_nanosleep, 99, 0, &soon, NULL);
	C(setitimer, ITIMER_REAL, &in, M0);
	C(setitimer, ITIMER_VIRTUAL, &in, NULL);
	C(setitimer, 9, &in, NULL);
	C(getitimer, ITIMER_PROF, M0);
	C(getitimer, 9, M0);
	C(alarm, 0);
	C(gettimeofday, &tv, &tz);
	C(gettimeofday, BAD, NULL);
	C(settimeofday, &wrong, NULL);
	C(settimeofday, NULL, NULL);
	C(time, &now);
	C(time, BAD);
	C(clock_gettime, CLOCK_REALTIME, &at);
	C(clock_gettime, CLOCK_PROCESS_CPUTIME_ID, &at);
	C(clock_gettime, 99, &at);
	C(clock_settime, 99, &soon);
	C(clock_settime, CLOCK_REALTIME, &bad);
	C(clock_getres, CLOCK_MONOTONIC_COARSE, M0);
	C(clock_getres, 99, M0);
	C(clock_adjtime, 99, &tx);
	C(adjtimex, BAD);
	tx.modes = 0;
	C(adjtimex, &tx);
	tx.modes = 0;
	C(clock_adjtime, CLOCK_REALTIME, &tx);
	C(timer_create, CLOCK_MONOTONIC, &event, &id);
	C(timer_create, 99, NULL, &id);
	C(timer_settime, id, 0, &when, M0);
	C(timer_settime, 77, TIMER_ABSTIME, &when, NULL);
	C(timer_gettime, id, M0);
	C(timer_gettime, 77, M0);
	C(timer_getoverrun, id);
	C(timer_getoverrun, 77);
	C(timer_delete, id);
	C(timer_delete, 77);
}

int main(int argc, char **argv)
{
	static const struct part parts[] = {
		{"signals", signals}, {"processes", processes}, {"threads", threads},
		{"memory", memory},   {"clocks", clocks},	{},
	};

	return run_part(parts, argc, argv);
}
