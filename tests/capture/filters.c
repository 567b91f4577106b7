/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs that filter their own calls: a filter that answers, kills or asks another process about calls which nobody
 * but the program makes; strict mode; filters across fork and exec; and asking whether all this is there.
 */
#include "parts.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>

enum { ODD = SYS_vhangup }; /* which nobody makes by chance */

static int install(int number, unsigned verdict, unsigned flags)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, verdict),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {4, code};

	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

static long odd(int number)
{
	return syscall(number, 0, 0, 0);
}

static void answered(void)
{
	report("install", install(ODD, SECCOMP_RET_ERRNO | ENOTNAM, 0));
	for (int i = 0; i < 300; i++)
		if (odd(ODD) != -1 || errno != ENOTNAM)
			printf("wrong\n");
	report("filtered", odd(ODD));
	report("a second one", install(SYS_getpriority, SECCOMP_RET_ERRNO | EXFULL, 0));
	report("filtered", odd(SYS_getpriority));
	printf("mode: %d\n", prctl(PR_GET_SECCOMP));
	report("everything else", access("/", F_OK));
}

/* A call on files, which need not be the program's own process's to make. */
static void files_filtered(void)
{
	char to[8];

	report("install", install(SYS_symlinkat, SECCOMP_RET_ERRNO | EXFULL, 0));
	report("filtered", symlinkat("to", AT_FDCWD, "link"));
	report("not made", readlink("link", to, sizeof to));
	unlink("link");
}

static void killed(void)
{
	static const unsigned verdicts[] = {SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_KILL_THREAD};
	struct rlimit no_core = {0, 0};

	setrlimit(RLIMIT_CORE, &no_core);
	for (int i = 0; i < 2; i++) {
		pid_t child = (pid_t)MUST(fork());

		if (!child) {
			signal(SIGSYS, SIG_IGN); /* does not help */
			install(ODD, verdicts[i], 0);
			getppid();
			odd(ODD);
			_exit(1);
		}
		reap("killed", child);
	}
}

static void *doing_odd(void *argument)
{
	odd(ODD);
	return argument;
}

static void *installing(void *argument)
{
	install(ODD, SECCOMP_RET_ERRNO | ENOTNAM, SECCOMP_FILTER_FLAG_TSYNC);
	return argument;
}

/* One thread dies and the others go on. */
static void thread_killed(void)
{
	pthread_t thread;
	pid_t child = (pid_t)MUST(fork());

	if (!child) {
		int alive = 2;

		install(ODD, SECCOMP_RET_KILL_THREAD, 0);
		pthread_create(&thread, NULL, doing_odd, NULL);
		for (int i = 0; i < 2000 && alive > 1; i++) {
			sleep_ms(1);
			alive = 1 + (syscall(SYS_tgkill, getpid(), getpid() + 1, 0) == 0);
		}
		printf("threads alive: %d\n", alive);
		_exit(7);
	}
	reap("the others go on", child);
	/* For all threads at once. */
	pthread_create(&thread, NULL, installing, NULL);
	pthread_join(thread, NULL);
	report("filtered here too", odd(ODD));
}

static void inherited(char *self)
{
	pid_t child;

	install(ODD, SECCOMP_RET_ERRNO | ENOTNAM, 0);
	child = (pid_t)MUST(fork());
	if (!child)
		_exit(odd(ODD) == -1 && errno == ENOTNAM ? 3 : 4);
	reap("fork", child);
	child = (pid_t)MUST(fork());
	if (!child) {
		execl(self, self, "image", (char *)NULL);
		_exit(99);
	}
	reap("exec", child);
	printf("shell: %d\n", system("exit 6") >> 8);
}

static void across_exec(void)
{
	inherited("/proc/self/exe");
}

static void strict(void)
{
	pid_t child = (pid_t)MUST(fork());
	int ends[2];
	char byte;

	if (!child) {
		MUST(pipe(ends));
		MUST(write(ends[1], "x", 1));
		if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
			_exit(1);
		/* From now on read, write, exit and sigreturn, and nothing else. */
		if (syscall(SYS_read, ends[0], &byte, 1) == 1)
			syscall(SYS_write, 1, "still here\n", 11);
		syscall(SYS_exit, 9);
	}
	reap("strict", child);
	child = (pid_t)MUST(fork());
	if (!child) {
		if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
			_exit(1);
		syscall(SYS_getppid);
		syscall(SYS_exit, 9);
	}
	reap("strict, and another call", child);
}

static char *unmapped;

static void strictly(void)
{
	MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
}

/* All that a thread in strict mode may do, and often. */
static void reads_and_writes(int from, int to)
{
	char byte = 'a';
	long good = 0;

	for (int i = 0; i < 500; i++)
		good += syscall(SYS_write, to, &byte, 1) == 1 && syscall(SYS_read, from, &byte, 1) == 1;
	good += syscall(SYS_read, -1, &byte, 1) == -1 && errno == EBADF;
	good += syscall(SYS_write, to, unmapped, 1) == -1 && errno == EFAULT;
	byte = good == 502 ? 'y' : 'n';
	syscall(SYS_write, 1, &byte, 1);
}

static volatile sig_atomic_t told;

static void strictly_told(int signal)
{
	syscall(SYS_write, 1, signal == SIGALRM ? "!" : "?", 1);
	told++;
}

enum {
	READS, HANDLES, HANDLES_ONCE, INTERRUPTED, RESTARTED, FAULTS, FAULT_HANDLED, EXIT_GROUP, MAPS, KILLS,
	STRICT_ENDS,
};

static void *strict_end(void *which)
{
	struct itimerval soon = {{0, 0}, {0, 50000}};
	struct sigaction action = {.sa_handler = strictly_told};
	int what = (int)(long)which, ends[2];
	char byte;

	MUST(pipe(ends));
	unmapped = nowhere();
	if (what == HANDLES_ONCE)
		action.sa_flags = SA_RESETHAND;
	if (what == RESTARTED)
		action.sa_flags = SA_RESTART;
	sigaction(SIGALRM, &action, NULL);
	if (what == FAULT_HANDLED) {
		action.sa_flags = SA_RESETHAND; /* and once more, and then no more */
		sigaction(SIGSEGV, &action, NULL);
	}
	if (what == HANDLES || what == HANDLES_ONCE || what == INTERRUPTED || what == RESTARTED)
		setitimer(ITIMER_REAL, &soon, NULL);
	if (what == RESTARTED && !MUST(fork())) {
		sleep_ms(200);
		_exit(write(ends[1], "z", 1) != 1);
	}
	strictly();
	switch (what) {
	case READS:
		reads_and_writes(ends[0], ends[1]);
		syscall(SYS_exit, 3);
		break;
	case HANDLES:
	case HANDLES_ONCE:
		while (!told)
			;
		reads_and_writes(ends[0], ends[1]);
		syscall(SYS_exit, 4);
		break;
	case INTERRUPTED:
		syscall(SYS_exit, syscall(SYS_read, ends[0], &byte, 1) == -1 && errno == EINTR ? 5 : 55);
		break;
	case RESTARTED:
		syscall(SYS_exit, syscall(SYS_read, ends[0], &byte, 1) == 1 && byte == 'z' && told ? 6 : 66);
		break;
	case FAULTS:
	case FAULT_HANDLED:
		*(volatile char *)unmapped = 1;
		break;
	case EXIT_GROUP:
		syscall(SYS_exit_group, 8);
		break;
	case MAPS:
		mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		break;
	case KILLS:
		kill(0, 0);
	}
	syscall(SYS_write, 1, "NO", 2);
	return NULL;
}

static void strict_ends(void)
{
	struct rlimit no_core = {0, 0};

	setrlimit(RLIMIT_CORE, &no_core);
	for (int what = 0; what < STRICT_ENDS; what++) {
		pid_t child = (pid_t)MUST(fork());

		if (!child)
			strict_end((void *)(long)what);
		reap(" strict", child);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}

static volatile pid_t strict_ids[4];

/* Not every libc can join a thread that has ended by the bare call. */
static int strict_join(long slot)
{
	int tries = 0;

	while (!strict_ids[slot] || !syscall(SYS_tgkill, getpid(), strict_ids[slot], 0))
		if (sleep_ms(1), ++tries > 10000)
			return 0;
	strict_ids[slot] = 0;
	return 1;
}

static void *strict_thread(void *which)
{
	long what = (long)which % 4, slot = (long)which / 4;

	strict_ids[slot] = (pid_t)syscall(SYS_gettid);
	strictly();
	if (!what)
		getppid();
	if (what == 1)
		syscall(SYS_futex, &what, 1, 1, NULL, NULL, 0);
	syscall(SYS_exit, 0);
	return NULL;
}

/* It is one thread's: the others go on, whether it ends as it may or is killed. */
static void strict_threads(void)
{
	for (long what = 0; what < 3; what++) {
		pid_t child = (pid_t)MUST(fork());

		if (!child) {
			pthread_t thread;

			pthread_create(&thread, NULL, strict_thread, (void *)what);
			check("ended", strict_join(0));
			printf("mode here: %d, %s\n", prctl(PR_GET_SECCOMP), getppid() > 0 ? "alive" : "NO");
			fflush(stdout);
			_exit(7);
		}
		reap("beside a strict thread", child);
	}
}

/* While others come and go, a hundred strict ones: half of them make a call too many. */
static void strict_storm(void)
{
	pthread_t threads[4];
	int good = 0;

	for (int round = 0; round < 25; round++) {
		for (long i = 0; i < 4; i++)
			pthread_create(&threads[i], NULL, strict_thread, (void *)(4 * i + i % 2 + 1));
		for (int i = 0; i < 4; i++)
			good += strict_join(i);
	}
	printf("ended %d, mode %d\n", good, prctl(PR_GET_SECCOMP));
}

static void strict_asked(void)
{
	for (int way = 0; way < 6; way++) {
		pid_t child = (pid_t)MUST(fork());

		if (!child) {
			long ret = 0;

			if (way == 4)
				install(ODD, SECCOMP_RET_ERRNO | ENOTNAM, 0);
			if (way == 5)
				install(SYS_prctl, SECCOMP_RET_ERRNO | EXFULL, 0);
			switch (way) {
			case 0:
				ret = syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 0, NULL);
				break;
			case 1:
				ret = syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 1, NULL);
				break;
			case 2:
				ret = syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 0, &ret);
				break;
			default:
				ret = prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 1, 2, 3);
			}
			if (!ret)
				syscall(SYS_exit, 77);
			printf("way %d: %s\n", way, error_name(errno));
			syscall(SYS_exit_group, 78);
		}
		reap("asked", child);
	}
}

/* Another process answers: what user notification is for. */
static void asked(void)
{
	struct seccomp_notif_sizes sizes;
	struct seccomp_notif *notice;
	struct seccomp_notif_resp *answer;
	int handle, status;
	pid_t child;

	report("sizes", syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes));
	notice = calloc(1, sizes.seccomp_notif);
	answer = calloc(1, sizes.seccomp_notif_resp);
	handle = install(ODD, SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER);
	check("listener", handle >= 0);
	child = (pid_t)MUST(fork());
	if (!child) {
		long ret = odd(ODD);

		_exit(ret == 321 ? 11 : 12);
	}
	if (handle < 0 || ioctl(handle, SECCOMP_IOCTL_NOTIF_RECV, notice)) {
		printf("receive: %s\n", error_name(errno));
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
		return;
	}
	printf("asked for %d by %s\n", notice->data.nr, (pid_t)notice->pid == child ? "the child" : "another");
	answer->id = notice->id;
	answer->val = 321;
	report("answer", ioctl(handle, SECCOMP_IOCTL_NOTIF_SEND, answer));
	reap("child", child);
	close(handle);
}

static void questions(void)
{
	unsigned action = SECCOMP_RET_USER_NOTIF, unknown = 0x12340000;
	struct sock_fprog none = {0, NULL};

	report("mode", prctl(PR_GET_SECCOMP));
	report("known action", syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action));
	report("unknown action", syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &unknown));
	report("unknown operation", syscall(SYS_seccomp, 99, 0, NULL));
	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	report("empty program", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &none));
	report("unmapped program", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, nowhere()));
	report("no new privileges", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
}

static volatile sig_atomic_t dispatched;
static char selector;

static void on_dispatch(int signal)
{
	(void)signal;
	selector = 0; /* let through */
	dispatched++;
}

/* A program that uses Syscall User Dispatch itself, as Wine does. */
static void dispatches(void)
{
	signal(SIGSYS, on_dispatch);
	report("on", prctl(59, 1, 0, 0, &selector)); /* PR_SET_SYSCALL_USER_DISPATCH */
	selector = 1;
	syscall(SYS_getppid);
	printf("dispatched %d\n", (int)dispatched);
	report("off", prctl(59, 0, 0, 0, 0));
}

int main(int argc, char **argv)
{
	static const struct part parts[] = {
		{"answered", answered}, {"files", files_filtered}, {"killed", killed}, {"thread killed", thread_killed},
		{"across exec", across_exec}, {"strict", strict}, {"strict ends", strict_ends},
		{"strict threads", strict_threads}, {"strict storm", strict_storm}, {"strict asked for", strict_asked},
		{"asked", asked}, {"questions", questions},
		{"own dispatch", dispatches},
	};

	if (argc > 1 && !strcmp(argv[1], "image"))
		return odd(ODD) == -1 && errno == ENOTNAM ? 5 : 4;
	return RUN_PARTS(parts, argc, argv);
}
