/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls whose pointers lead nowhere, one argument after the other: the answer is EFAULT, or whatever the kernel finds
 * first; never a signal, whether the program handles SIGSEGV, ignores it, blocks it, or leaves it alone.
 */
#include "parts.h"

#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/uio.h>
#include <sys/utsname.h>

/* One call and the arguments with which it works; `pointers` are the places of those that are addresses. */
struct bad {
	const char *name;
	long number;
	unsigned pointers;
	long args[6];
};

static volatile sig_atomic_t signals;
static char room[4096] __attribute__((aligned(4096)));
static int file, ends[2], sockets[2], queue;

#define P(n) (1u << (n))
#define A(x) ((long)(uintptr_t)(x))

static void handler(int signal)
{
	(void)signal;
	signals++;
}

static long again(const struct bad *call, const long *args)
{
	long ret;

	if (call->number == SYS_recvfrom || call->number == SYS_recvmsg) { /* always one datagram to be had */
		while (recv(sockets[1], room + 256, 1, MSG_DONTWAIT) >= 0)
			;
		MUST(send(sockets[0], "x", 1, 0));
	}
	ret = syscall(call->number, args[0], args[1], args[2], args[3], args[4], args[5]);

	/* What a call has made by chance is not kept. */
	if (ret > 2 && (call->number == SYS_openat || call->number == SYS_dup || call->number == SYS_eventfd2))
		close((int)ret);
	return ret;
}

static void try(const struct bad *call)
{
	/* No page, NULL's page, the kernel's, the last byte, no address at all, above the stack, a read-only page. */
	static const long values[] = {0, 8, -4096, -1, 1L << 62, 0x7ffffffff000, 1};
	char *readonly = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long args[6];

	for (int at = 0; at < 6; at++) {
		if (!(call->pointers & P(at)))
			continue;
		printf("%s %d:", call->name, at);
		for (unsigned v = 0; v < sizeof values / sizeof *values; v++) {
			if (v == 6 && call->number == SYS_clone3)
				continue; /* a page of zeros is a fork */
			memcpy(args, call->args, sizeof args);
			args[at] = v == 0 ? A(nowhere()) : v == 6 ? A(readonly) : values[v];
			errno = 0;
			printf(" %s", again(call, args) < 0 ? error_name(errno) : "done");
		}
		printf("\n");
	}
	munmap(readonly, 4096);
}

static void all(void)
{
	struct iovec *piece = (struct iovec *)(void *)(room + 512);
	struct msghdr *message = (struct msghdr *)(void *)(room + 1024);
	struct timespec *soon = (struct timespec *)(void *)(room + 2048);
	const struct bad calls[] = {
		{"read", SYS_read, P(1), {file, A(room), 1}},
		{"write", SYS_write, P(1), {file, A(room), 1}},
		{"pread64", SYS_pread64, P(1), {file, A(room), 1, 0}},
		{"readv", SYS_readv, P(1), {file, A(piece), 1}},
		{"writev", SYS_writev, P(1), {file, A(piece), 1}},
		{"openat", SYS_openat, P(1), {AT_FDCWD, A("/dev/null"), O_RDONLY, 0}},
		{"newfstatat", SYS_newfstatat, P(1) | P(2), {AT_FDCWD, A("/"), A(room + 3000), 0}},
		{"statx", SYS_statx, P(1) | P(4), {AT_FDCWD, A("/"), 0, 0, A(room + 3000)}},
		{"fstat", SYS_fstat, P(1), {file, A(room + 3000)}},
		{"faccessat", SYS_faccessat, P(1), {AT_FDCWD, A("/"), F_OK}},
		{"readlinkat", SYS_readlinkat, P(1) | P(2), {AT_FDCWD, A("/proc/self/exe"), A(room + 3000), 64}},
		{"getcwd", SYS_getcwd, P(0), {A(room + 3000), 1000}},
		{"getdents64", SYS_getdents64, P(1), {file, A(room), 100}},
		{"pipe2", SYS_pipe2, P(0), {A(nowhere()), 0}},
		{"fcntl lock", SYS_fcntl, P(2), {file, F_GETLK, A(room)}},
		{"ioctl", SYS_ioctl, P(2), {ends[0], 0x541b, A(room)}},
		{"ppoll", SYS_ppoll, P(0) | P(2) | P(3), {A(room + 3500), 1, A(soon), 0, 8}},
		{"pselect6", SYS_pselect6, P(1) | P(4) | P(5), {1, A(room + 3500), 0, 0, A(soon), 0}},
		{"epoll_ctl", SYS_epoll_ctl, P(3), {queue, EPOLL_CTL_MOD, ends[0], A(room)}},
		{"epoll_pwait", SYS_epoll_pwait, P(4), {queue, A(room), 4, 0, 0, 8}},
		{"sendto", SYS_sendto, P(1) | P(4), {sockets[0], A(room), 1, MSG_DONTWAIT, 0, 0}},
		{"recvfrom", SYS_recvfrom, P(1) | P(4), {sockets[1], A(room), 1, MSG_DONTWAIT, 0, 0}},
		{"sendmsg", SYS_sendmsg, P(1), {sockets[0], A(message), MSG_DONTWAIT}},
		{"recvmsg", SYS_recvmsg, P(1), {sockets[1], A(message), MSG_DONTWAIT}},
		{"getsockname", SYS_getsockname, P(1) | P(2), {sockets[0], A(room), A(room + 100)}},
		{"setsockopt", SYS_setsockopt, P(3), {sockets[0], SOL_SOCKET, SO_SNDBUF, A(room), 4}},
		{"getsockopt", SYS_getsockopt, P(3) | P(4), {sockets[0], SOL_SOCKET, SO_TYPE, A(room), A(room + 100)}},
		{"socketpair", SYS_socketpair, P(3), {AF_UNIX, SOCK_STREAM, 0, A(nowhere())}},
		{"rt_sigaction", SYS_rt_sigaction, P(1) | P(2), {SIGUSR1, 0, A(room), 8}},
		{"rt_sigprocmask", SYS_rt_sigprocmask, P(1) | P(2), {SIG_BLOCK, 0, A(room), 8}},
		{"rt_sigpending", SYS_rt_sigpending, P(0), {A(room), 8}},
		{"rt_sigtimedwait", SYS_rt_sigtimedwait, P(0) | P(2), {A(room + 3600), 0, A(soon), 8}},
		{"sigaltstack", SYS_sigaltstack, P(0) | P(1), {0, A(room)}},
		{"nanosleep", SYS_nanosleep, P(0), {A(soon), A(room)}},
		{"clock_gettime", SYS_clock_gettime, P(1), {0, A(room)}},
		{"gettimeofday", SYS_gettimeofday, P(0) | P(1), {A(room), 0}},
		{"getitimer", SYS_getitimer, P(1), {0, A(room)}},
		{"setitimer", SYS_setitimer, P(2), {ITIMER_PROF, A(room + 3700), A(room)}},
		{"uname", SYS_uname, P(0), {A(room)}},
		{"getrusage", SYS_getrusage, P(1), {RUSAGE_SELF, A(room)}},
		{"prlimit64", SYS_prlimit64, P(3), {0, RLIMIT_CPU, 0, A(room)}},
		{"times", SYS_times, P(0), {A(room)}},
		{"sysinfo", SYS_sysinfo, P(0), {A(room)}},
		{"getrandom", SYS_getrandom, P(0), {A(room), 16, 0}},
		{"getresuid", SYS_getresuid, P(0) | P(1) | P(2), {A(room), A(room + 8), A(room + 16)}},
		{"sched_getaffinity", SYS_sched_getaffinity, P(2), {0, 128, A(room)}},
		{"wait4", SYS_wait4, P(1), {-1, A(room), WNOHANG, 0}},
		{"futex", SYS_futex, P(0) | P(3), {A(room + 3800), 0, 1, A(soon)}},
		{"clone3", SYS_clone3, P(0), {A(nowhere()), 88}},
		{"execve", SYS_execve, P(0) | P(1) | P(2), {A("/nonexistent"), 0, 0}},
		{"unlinkat", SYS_unlinkat, P(1), {AT_FDCWD, A("missing"), 0}},
		{"renameat", SYS_renameat2, P(1) | P(3), {AT_FDCWD, A("missing"), AT_FDCWD, A("other"), 0}},
		{"utimensat", SYS_utimensat, P(1) | P(2), {AT_FDCWD, A("missing"), 0, 0}},
		{"setxattr", SYS_setxattr, P(0) | P(1) | P(2), {A("missing"), A("user.a"), A(room), 1, 0}},
		{"memfd_create", SYS_memfd_create, P(0), {A(nowhere()), 0}},
		{"process_vm_readv", SYS_process_vm_readv, P(1) | P(3), {getpid(), A(piece), 1, A(piece), 1, 0}},
		{"copy_file_range", SYS_copy_file_range, P(1) | P(3), {file, 0, file, 0, 1, 0}},
		{"sendfile", SYS_sendfile, P(2), {ends[1], file, A(room + 3900), 1}},
		{"signalfd4", SYS_signalfd4, P(1), {-1, A(nowhere()), 8, 0}},
		{"timer_settime", SYS_timer_settime, P(2), {77, 0, A(room), 0}},
		{"sched_setattr", SYS_sched_setattr, P(1), {0, A(nowhere()), 0}},
		{"readlink of /proc", SYS_readlinkat, P(2), {AT_FDCWD, A("/proc/self/cwd"), A(room), 1}},
	};

	for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++) {
		memset(room, 0, sizeof room);
		*piece = (struct iovec){room + 4000, 1};
		*message = (struct msghdr){.msg_iov = piece, .msg_iovlen = 1};
		*soon = (struct timespec){0, 1000};
		*(int *)(void *)(room + 100) = 4;
		MUST(lseek(file, 0, SEEK_SET));
		try(&calls[i]);
	}
	printf("signals: %d\n", (int)signals);
	check("alive", getppid() > 0);
}

static void prepare(void)
{
	file = (int)MUST(open("file", O_CREAT | O_RDWR, 0600));
	MUST(write(file, "0123456789", 10));
	MUST(pipe(ends));
	MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, sockets));
	queue = (int)MUST(epoll_create1(0));
	MUST(epoll_ctl(queue, EPOLL_CTL_ADD, ends[0], &(struct epoll_event){.events = EPOLLIN}));
	signal(SIGPIPE, SIG_IGN);
}

static void left_alone(void)
{
	prepare();
	all();
}

static void handled(void)
{
	prepare();
	signal(SIGSEGV, handler);
	signal(SIGBUS, handler);
	all();
}

static void ignored(void)
{
	prepare();
	signal(SIGSEGV, SIG_IGN);
	signal(SIGBUS, SIG_IGN);
	all();
}

static void blocked(void)
{
	sigset_t set;

	prepare();
	sigfillset(&set);
	sigprocmask(SIG_SETMASK, &set, NULL);
	all();
}

/* Where there is nothing to write, the kernel still refuses an address that could never be a program's. */
static void never_written(void)
{
	struct epoll_event *kernel = (struct epoll_event *)(uintptr_t)-4096L;

	prepare();
	report("epoll_wait", syscall(SYS_epoll_wait, queue, kernel, 4, 0));
}

int main(int argc, char **argv)
{
	static const struct part parts[] = {
		{"left alone", left_alone}, {"handled", handled}, {"ignored", ignored}, {"blocked", blocked},
		{"never written", never_written},
	};

	return RUN_PARTS(parts, argc, argv);
}
