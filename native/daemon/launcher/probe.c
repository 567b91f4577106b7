/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this machine allows, found out by trying: each probe does the real thing once, in a process of its own, so that
 * neither a setting left behind nor a crash can reach lsca itself. Called for `lsca doctor`.
 */
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SUD = 59, SUD_OFF = 0, SUD_ON = 1, IO_URING_SETUP = 425, PIDFD_GETFD = 438 };

static int in_child(int (*probe)(void))
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return errno;
	if (!pid)
		_exit(probe());
	if (waitpid(pid, &status, 0) != pid)
		return errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EFAULT;
}

/* The allowed range is everything, so that nothing is caught before we are gone. */
static int sud(void)
{
	return prctl(SUD, SUD_ON, 0, -1ul, 0) ? errno : 0;
}

static int sud_probe(void)
{
	return in_child(sud);
}

static pid_t sleeper(void)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		pause();
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, __WALL);
}

static int ptrace_probe(void)
{
	pid_t pid = sleeper();
	struct user_regs_struct regs;
	int e = 0, status;

	if (pid < 0)
		return errno;
	if (ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACEEXEC) || ptrace(PTRACE_INTERRUPT, pid, 0, 0))
		e = errno;
	else if (waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status))
		e = EIO;
	else
		e = -machine_get(pid, &regs);
	end(pid);
	return e;
}

static int pidfd_getfd_probe(void)
{
	pid_t pid = sleeper();
	int e = 0, got = -1, pidfd;

	if (pid < 0)
		return errno;
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0 || (got = (int)syscall(PIDFD_GETFD, pidfd, 0, 0)) < 0)
		e = errno == EBADF ? 0 : errno; /* it has no standard input; that is an answer, too */
	if (got >= 0)
		close(got);
	if (pidfd >= 0)
		close(pidfd);
	end(pid);
	return e;
}

static int vm_readv_probe(void)
{
	char from[8] = "abcdefg", to[8];
	struct iovec here = {to, sizeof to}, there = {from, sizeof from};

	return process_vm_readv(getpid(), &here, 1, &there, 1, 0) == sizeof to ? 0 : errno;
}

static int unotify(void)
{
	struct sock_filter allow = {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW};
	struct sock_fprog program = {1, &allow};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return errno;
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program) < 0)
		return errno;
	return 0;
}

static int unotify_probe(void)
{
	return in_child(unotify);
}

static int sealing_probe(void)
{
	int fd = memfd_create("lsca-probe", MFD_CLOEXEC | MFD_ALLOW_SEALING), e = 0;

	if (fd < 0)
		return errno;
	if (ftruncate(fd, 4096) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW))
		e = errno;
	close(fd);
	return e;
}

static int io_uring_probe(void)
{
	char params[120] = {0};
	long fd = syscall(IO_URING_SETUP, 1, params);

	if (fd < 0)
		return errno;
	close((int)fd);
	return 0;
}

static int execmem(void)
{
	void *at = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return at == MAP_FAILED ? errno : 0;
}

/* What tells a thread that comes from a patched site. */
static int keys_probe(void)
{
	return machine_has_keys() ? 0 : EOPNOTSUPP;
}

/* Code that nobody may write is written all the same, as a debugger would: a newer kernel can forbid it. */
static int code_write(void)
{
	char *code = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);

	if (code == MAP_FAILED || fd < 0)
		return errno;
	if (pwrite(fd, "x", 1, (off_t)(uintptr_t)code) != 1)
		return errno;
	return *(volatile char *)code == 'x' ? 0 : EIO;
}

static int code_write_probe(void)
{
	return in_child(code_write);
}

const struct probe probes[] = {
	{"sud", sud_probe},
	{"ptrace", ptrace_probe},
	{"pidfd_getfd", pidfd_getfd_probe},
	{"process_vm_readv", vm_readv_probe},
	{"seccomp_unotify", unotify_probe},
	{"memfd_sealing", sealing_probe},
	{"executable_memory", execmem},
	{"keys", keys_probe},
	{"code_write", code_write_probe},
	{"io_uring", io_uring_probe},
	{NULL, NULL},
};
