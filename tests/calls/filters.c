/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seccomp filters of the program's own: a short list of what is allowed, as a sandbox has it, and a list of what is
 * not. The first must not kill us for what was not called here; the second holds for calls that the program makes.
 */
#include "check.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#if defined(__x86_64__)
#define MACHINE AUDIT_ARCH_X86_64
#else
#define MACHINE AUDIT_ARCH_AARCH64
#endif

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define FOR(call, action) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1), BPF_STMT(BPF_RET | BPF_K, action)
#define OTHERWISE(action) BPF_STMT(BPF_RET | BPF_K, action)
#define OURS LOAD(arch), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MACHINE, 1, 0), \
	OTHERWISE(SECCOMP_RET_KILL_PROCESS), LOAD(nr)
#define ERROR(number) (SECCOMP_RET_ERRNO | (number))
#define PROGRAM(list) {sizeof(list) / sizeof((list)[0]), list}

static volatile sig_atomic_t caught;

static void handler(int signal)
{
	caught = signal;
}

static void *thread(void *argument)
{
	return argument;
}

static void ended(const char *name, pid_t child)
{
	int status;

	waitpid(child, &status, 0);
	if (WIFSIGNALED(status))
		printf("%s: signal %s\n", name, sigabbrev_np(WTERMSIG(status)));
	else
		printf("%s: exit %d\n", name, WEXITSTATUS(status));
}

/* Ten calls and not one more; `more` is made as well, and kills. */
static int short_list(int more)
{
	struct sock_filter list[] = {
		OURS, FOR(read, SECCOMP_RET_ALLOW), FOR(write, SECCOMP_RET_ALLOW), FOR(ppoll, SECCOMP_RET_ALLOW),
		FOR(exit_group, SECCOMP_RET_ALLOW), FOR(tgkill, SECCOMP_RET_ALLOW), FOR(getpid, SECCOMP_RET_ALLOW),
		FOR(gettid, SECCOMP_RET_ALLOW), FOR(rt_sigprocmask, SECCOMP_RET_ALLOW),
		FOR(rt_sigreturn, SECCOMP_RET_ALLOW), FOR(sched_getaffinity, ERROR(ENOTUNIQ)),
		OTHERWISE(SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog program = PROGRAM(list);
	char text[] = "through a pipe\n", mask[128];
	struct pollfd p;
	int fds[2];

	signal(SIGUSR1, handler);
	if (pipe(fds))
		return 1;
	p = (struct pollfd){fds[0], POLLIN, 0};
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		return 2;
	for (int i = 0; i < 100; i++)
		if (write(fds[1], text, sizeof text - 1) < 0 || ppoll(&p, 1, NULL, NULL) != 1 ||
		    read(fds[0], text, sizeof text - 1) != sizeof text - 1)
			return 3;
	write(1, text, sizeof text - 1);
	raise(SIGUSR1);
	if (caught != SIGUSR1)
		return 4;
	if (syscall(SYS_sched_getaffinity, 0, sizeof mask, mask) != -1 || errno != ENOTUNIQ)
		return 5;
	if (more)
		getppid();
	return 0;
}

/* What it forbids are calls that nobody here makes, and one that is made. It holds after an exec, too. */
static int long_list(const char *self)
{
	struct sock_filter list[] = {
		OURS, FOR(process_vm_readv, ERROR(EPERM)), FOR(process_vm_writev, SECCOMP_RET_KILL_PROCESS),
		FOR(rt_tgsigqueueinfo, SECCOMP_RET_KILL_PROCESS), FOR(sched_yield, SECCOMP_RET_KILL_PROCESS),
		FOR(getpriority, ERROR(EXFULL)), OTHERWISE(SECCOMP_RET_ALLOW),
	};
	struct sock_filter second[] = {OURS, FOR(getppid, ERROR(EBADE)), OTHERWISE(SECCOMP_RET_ALLOW)};
	struct sock_fprog program = PROGRAM(list), another = PROGRAM(second);
	pthread_t t;

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	report("first", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
	report("second", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &another));
	report("mode", prctl(PR_GET_SECCOMP));
	report("thread", pthread_create(&t, NULL, thread, NULL) || pthread_join(t, NULL));
	report("child", system("exit 5"));
	execl(self, self, "after", NULL);
	return 9;
}

static int after(void)
{
	struct stat st;

	errno = 0;
	report("getpriority after exec", getpriority(PRIO_PROCESS, 0));
	report("getppid after exec", syscall(SYS_getppid));
	report("stat after exec", stat("/", &st));
	return 0;
}

int main(int argc, char **argv)
{
	struct sock_filter wrong[] = {BPF_STMT(0x77, 0)};
	struct sock_fprog program = {0, wrong};
	pid_t child;

	begin();
	if (argc > 1)
		return after();
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	report("nowhere", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, 8));
	report("empty", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
	program.len = 1;
	report("no instruction", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
	report("unknown flag", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 1 << 20, &program));
	program.filter = (struct sock_filter *)8;
	report("instructions nowhere", prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
	for (int more = 0; more < 2; more++) {
		child = fork();
		if (!child)
			_exit(short_list(more));
		ended(more ? "a call more" : "short list", child);
	}
	child = fork();
	if (!child)
		_exit(long_list(argv[0]));
	ended("long list", child);
	return 0;
}
