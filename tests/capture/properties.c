/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What programs rely on across system calls, one part per property: interrupted calls, jumps out of handlers, alternate
 * stacks, masks, a SIGSYS of their own, threads, forks, vfork and exec, cancelled threads. docs/capture.md shows them.
 */
#include "parts.h"

#include <pthread.h>
#include <setjmp.h>
#include <sys/time.h>

static volatile sig_atomic_t count, on_stack;
static sigjmp_buf escape;
static char stack[65536];
static int ends[2];

static void counting(int signal)
{
	(void)signal;
	count++;
}

static void timer(long first, long every)
{
	struct itimerval value = {{0, every}, {0, first}};

	setitimer(ITIMER_REAL, &value, NULL);
}

static void handle(int number, void (*handler)(int), int flags)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags};

	MUST(sigaction(number, &action, NULL));
}

static void restarted(void)
{
	pid_t child;
	char byte;

	MUST(pipe(ends));
	handle(SIGALRM, counting, SA_RESTART);
	timer(2000, 2000);
	child = (pid_t)MUST(fork());
	if (!child) {
		sleep_ms(60);
		_exit(write(ends[1], "x", 1) != 1);
	}
	check("the byte came", read(ends[0], &byte, 1) == 1);
	timer(0, 0);
	check("signals came", count > 0);
	reap("writer", child);
}

static void interrupted(void)
{
	char byte;

	MUST(pipe(ends));
	handle(SIGALRM, counting, 0);
	timer(10000, 10000);
	for (int i = 0; i < 5; i++)
		check("EINTR", read(ends[0], &byte, 1) == -1 && errno == EINTR);
	timer(0, 0);
}

static void jumping(int signal)
{
	siglongjmp(escape, signal);
}

static void jumps(void)
{
	volatile int n, came_back = 0;
	char byte;

	MUST(pipe(ends));
	handle(SIGALRM, jumping, 0);
	for (n = 0; n < 200; n++)
		if (!sigsetjmp(escape, 1)) {
			timer(300, 0);
			read(ends[0], &byte, 1);
			came_back++;
		}
	check("200 jumps", n == 200 && !came_back);
	check("write", write(ends[1], "x", 1) == 1);
	check("read", read(ends[0], &byte, 1) == 1);
}

static void on_alternate(int signal)
{
	on_stack = (char *)&signal >= stack && (char *)&signal < stack + sizeof stack;
	getppid();
}

static void alternate(void)
{
	stack_t wanted = {.ss_sp = stack, .ss_size = sizeof stack}, old;

	MUST(sigaltstack(&wanted, NULL));
	handle(SIGUSR2, on_alternate, SA_ONSTACK);
	raise(SIGUSR2);
	check("ran on it", on_stack);
	sigaltstack(NULL, &old);
	check("still set", old.ss_sp == stack && !old.ss_flags);
}

static void blocked(void)
{
	sigset_t all, old, now;

	sigfillset(&all);
	MUST(sigprocmask(SIG_SETMASK, &all, &old));
	for (int i = 0; i < 300; i++)
		getppid();
	sigprocmask(SIG_SETMASK, NULL, &now);
	check("SIGSYS reads as blocked", sigismember(&now, SIGSYS));
	check("SIGTERM reads as blocked", sigismember(&now, SIGTERM));
	check("SIGKILL does not", !sigismember(&now, SIGKILL));
	kill(getpid(), SIGTERM);
	check("alive", getppid() > 0);
	signal(SIGTERM, SIG_IGN);
	sigprocmask(SIG_SETMASK, &old, NULL);
}

static void own_sigsys(void)
{
	handle(SIGSYS, counting, 0);
	kill(getpid(), SIGSYS);
	check("handled", count == 1);
	for (int i = 0; i < 300; i++)
		raise(SIGSYS);
	check("handled 301 times", count == 301);
}

static void *brief(void *argument)
{
	for (int i = 0; i < 50; i++)
		if (syscall(SYS_gettid) <= 0)
			return NULL;
	return argument;
}

static void threads(void)
{
	pthread_t some[16];
	void *result;
	int good = 0;

	for (int round = 0; round < 50; round++) {
		for (int i = 0; i < 16; i++)
			if (pthread_create(&some[i], NULL, brief, some))
				return;
		for (int i = 0; i < 16; i++) {
			pthread_join(some[i], &result);
			good += result == some;
		}
	}
	check("800 threads", good == 800);
}

static void forks(void)
{
	int good = 0, status;

	for (int i = 0; i < 50; i++) {
		pid_t child = (pid_t)MUST(fork());

		if (!child)
			_exit(i & 7);
		good += waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == (i & 7);
	}
	check("50 forks", good == 50);
}

static void vforks(void)
{
	volatile int good = 0;
	int status;

	for (volatile int i = 0; i < 20; i++) {
		pid_t child = vfork();

		if (!child) {
			execl("/bin/true", "true", (char *)NULL);
			_exit(1);
		}
		good += waitpid(child, &status, 0) == child && !status;
	}
	check("20 vforks and execs", good == 20);
}

static void clean(void *argument)
{
	(void)argument;
	count++;
}

static void *reader(void *argument)
{
	char byte;

	pthread_cleanup_push(clean, argument);
	for (;;)
		read(ends[0], &byte, 1);
	pthread_cleanup_pop(0);
	return NULL;
}

static void cancelled(void)
{
	pthread_t thread;
	void *result;
	int good = 0;

	MUST(pipe(ends));
	for (int i = 0; i < 20; i++) {
		pthread_create(&thread, NULL, reader, NULL);
		sleep_ms(i % 3);
		pthread_cancel(thread);
		pthread_join(thread, &result);
		good += result == PTHREAD_CANCELED && count == i + 1;
	}
	check("20 cancelled and cleaned up", good == 20);
}

int main(int argc, char **argv)
{
	static const struct part parts[] = {
		{"SA_RESTART", restarted}, {"EINTR", interrupted}, {"siglongjmp", jumps}, {"SA_ONSTACK", alternate},
		{"all signals blocked", blocked}, {"own SIGSYS handler", own_sigsys}, {"800 threads", threads},
		{"50 forks", forks}, {"vfork and exec", vforks}, {"cancelled read", cancelled},
	};

	return RUN_PARTS(parts, argc, argv);
}
