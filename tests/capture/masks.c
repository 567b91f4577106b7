/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Masks, queues and the order of signals: calls that wait under a mask of their own, waiting for signals instead of
 * handling them, real-time signals with values, nesting with SA_NODEFER, one-shot handlers, restarts.
 */
#include "parts.h"

#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/time.h>

static volatile sig_atomic_t count, at, depth, deepest, inside;
static int order[64], values[64];
static sigset_t none, usr1;

static void counting(int signal)
{
	(void)signal;
	count++;
}

static void noting(int signal, siginfo_t *info, void *context)
{
	(void)context;
	if (at < 64) {
		order[at] = signal;
		values[at] = info->si_code == SI_QUEUE ? info->si_value.sival_int : -1;
		at = at + 1;
	}
}

static void handle(int number, void (*handler)(int), int flags)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags};

	MUST(sigaction(number, &action, NULL));
}

static void note(int number, int flags)
{
	struct sigaction action = {.sa_sigaction = noting, .sa_flags = SA_SIGINFO | flags};

	sigfillset(&action.sa_mask);
	MUST(sigaction(number, &action, NULL));
}

static void show_order(const char *name)
{
	printf("%s:", name);
	for (int i = 0; i < at; i++)
		printf(" %d/%d", order[i] >= SIGRTMIN ? order[i] - SIGRTMIN + 100 : order[i], values[i]);
	printf("\n");
	at = 0;
}

static int is_blocked(int number)
{
	sigset_t now;

	sigprocmask(SIG_SETMASK, NULL, &now);
	return sigismember(&now, number);
}

/* Each of these calls, with a mask that lets SIGUSR1 in, which is blocked otherwise. */
static long wait_with(int way, const sigset_t *mask, long ms)
{
	struct timespec limit = {ms / 1000, ms % 1000 * 1000000};
	static int queue = -1;
	struct epoll_event event;

	switch (way) {
	case 0:
		return ppoll(NULL, 0, &limit, mask);
	case 1:
		return pselect(0, NULL, NULL, NULL, &limit, mask);
	case 2:
		if (queue < 0)
			queue = epoll_create1(0);
		return epoll_pwait(queue, &event, 1, (int)ms, mask);
	default:
		return sigsuspend(mask);
	}
}

static const char *const ways[] = {"ppoll", "pselect", "epoll_pwait", "sigsuspend"};

static void prepare(void)
{
	sigemptyset(&none);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	handle(SIGUSR1, counting, SA_RESTART);
}

static void pending(void)
{
	prepare();
	for (int way = 0; way < 4; way++)
		for (int i = 0; i < 100; i++) {
			count = 0;
			kill(getpid(), SIGUSR1);
			if (wait_with(way, &none, 10000) != -1 || errno != EINTR || count != 1 ||
			    !is_blocked(SIGUSR1)) {
				printf("%s: wrong, handled %d\n", ways[way], (int)count);
				break;
			}
		}
	printf("done\n");
}

static void during(void)
{
	struct itimerval soon = {{0, 0}, {0, 3000}};

	prepare();
	sigaddset(&usr1, SIGALRM);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	handle(SIGALRM, counting, SA_RESTART);
	for (int way = 0; way < 4; way++)
		for (int i = 0; i < 10; i++) {
			count = 0;
			setitimer(ITIMER_REAL, &soon, NULL);
			if (wait_with(way, &none, 10000) != -1 || errno != EINTR || count != 1 ||
			    !is_blocked(SIGALRM)) {
				printf("%s: wrong, handled %d\n", ways[way], (int)count);
				break;
			}
		}
	printf("done\n");
}

/* A signal that the mask still blocks does not end the wait, and is there afterwards. */
static void not_let_in(void)
{
	sigset_t both, now;

	prepare();
	both = usr1;
	for (int way = 0; way < 3; way++) {
		count = 0;
		kill(getpid(), SIGUSR1);
		printf("%s: %ld", ways[way], wait_with(way, &both, 20));
		sigpending(&now);
		printf(" handled %d pending %d", (int)count, sigismember(&now, SIGUSR1));
		sigprocmask(SIG_UNBLOCK, &usr1, NULL);
		printf(" then %d\n", (int)count);
		sigprocmask(SIG_BLOCK, &usr1, NULL);
	}
}

static void in_handler(int signal)
{
	(void)signal;
	count++;
	inside = is_blocked(SIGUSR1) * 4 + is_blocked(SIGUSR2) * 2 + is_blocked(SIGTERM);
}

/* In the handler the mask is that of the wait and the handler's, not the one outside. */
static void inside_handler(void)
{
	struct sigaction action = {.sa_handler = in_handler};
	sigset_t wait_mask;

	prepare();
	sigemptyset(&action.sa_mask);
	sigaddset(&action.sa_mask, SIGUSR2);
	MUST(sigaction(SIGUSR1, &action, NULL));
	sigemptyset(&wait_mask);
	sigaddset(&wait_mask, SIGTERM);
	for (int way = 0; way < 4; way++) {
		kill(getpid(), SIGUSR1);
		wait_with(way, &wait_mask, 10000);
		printf("%s: in the handler %d, outside SIGUSR1 %d SIGTERM %d\n", ways[way], (int)inside,
		       is_blocked(SIGUSR1), is_blocked(SIGTERM));
	}
}

static void instead(void)
{
	struct timespec soon = {0, 20000000}, now = {0, 0};
	siginfo_t info;
	sigset_t set;
	pid_t child;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	report("nothing", sigtimedwait(&set, &info, &now));
	report("nothing in time", sigtimedwait(&set, &info, &soon));
	for (int i = 0; i < 3; i++)
		sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 10 + i});
	kill(getpid(), SIGUSR2);
	for (int i = 0; i < 4; i++) {
		int got = sigwaitinfo(&set, &info);

		printf("got %s %d code %d\n", got == SIGUSR2 ? "SIGUSR2" : "SIGRTMIN",
		       got == SIGUSR2 ? 0 : info.si_value.sival_int, info.si_code);
	}
	handle(SIGUSR1, counting, SA_RESTART);
	child = (pid_t)MUST(fork());
	if (!child) {
		sleep_ms(20);
		kill(getppid(), SIGUSR1);
		_exit(0);
	}
	/* By itself: some C libraries wait on. */
	report("interrupted by another", syscall(SYS_rt_sigtimedwait, &set, &info, NULL, 8));
	printf("handled %d\n", (int)count);
	reap("child", child);
	report("unmapped set", syscall(SYS_rt_sigtimedwait, nowhere(), NULL, &now, 8));
	kill(getpid(), SIGUSR2);
	report("unmapped information", syscall(SYS_rt_sigtimedwait, &set, nowhere(), &now, 8));
	report("it is gone", sigtimedwait(&set, &info, &now));
}

/* Pending together: lower numbers first, real-time ones in the order they were sent, all of them. */
static void queued(void)
{
	sigset_t all, old, pending;

	for (int i = 0; i < 4; i++)
		note(SIGRTMIN + i, 0);
	note(SIGUSR1, 0);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	for (int i = 0; i < 12; i++)
		sigqueue(getpid(), SIGRTMIN + 3 - i % 4, (union sigval){.sival_int = i});
	for (int i = 0; i < 3; i++)
		sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 50 + i});
	sigpending(&pending);
	printf("pending: %d %d\n", sigismember(&pending, SIGUSR1), sigismember(&pending, SIGRTMIN + 3));
	sigprocmask(SIG_SETMASK, &old, NULL);
	show_order("delivered");
	for (int i = 0; i < 20; i++)
		sigqueue(getpid(), SIGRTMIN + i % 2, (union sigval){.sival_int = i});
	show_order("one by one");
}

static int feed[2];

static void *sender(void *argument)
{
	for (int i = 0; i < 20; i++) {
		siginfo_t info = {.si_code = SI_QUEUE, .si_value.sival_int = i};

		MUST(syscall(SYS_rt_tgsigqueueinfo, getpid(), *(pid_t *)argument, SIGRTMIN, &info));
	}
	write(feed[1], "x", 1);
	return NULL;
}

/* Signals that interrupt a blocked read keep their order and their values, however often it is interrupted. */
static void queued_in_a_read(void)
{
	pid_t self = (pid_t)syscall(SYS_gettid);
	pthread_t thread;
	int lost = 0, disorder = 0;
	char byte;

	MUST(pipe(feed));
	note(SIGRTMIN, SA_RESTART);
	for (int round = 0; round < 20; round++) {
		pthread_create(&thread, NULL, sender, &self);
		if (read(feed[0], &byte, 1) != 1)
			printf("read failed\n");
		pthread_join(thread, NULL);
		lost += at != 20;
		for (int i = 0; i < at; i++)
			disorder += values[i] != i;
		at = 0;
	}
	check("none is lost", !lost);
	check("all in their order", !disorder);
}

static void nesting(int signal)
{
	depth++;
	if (depth > deepest)
		deepest = depth;
	if (count++ < 20)
		raise(signal);
	depth--;
}

static void nested(void)
{
	struct sigaction old;

	handle(SIGUSR1, nesting, SA_NODEFER);
	raise(SIGUSR1);
	printf("SA_NODEFER: %d, deepest %d\n", (int)count, (int)deepest);
	count = deepest = 0;
	handle(SIGUSR1, nesting, 0);
	raise(SIGUSR1);
	printf("without: %d, deepest %d\n", (int)count, (int)deepest);
	count = 0;
	handle(SIGUSR2, counting, SA_RESETHAND);
	raise(SIGUSR2);
	sigaction(SIGUSR2, NULL, &old);
	printf("SA_RESETHAND: %d, default %d, flags %x\n", (int)count, old.sa_handler == SIG_DFL,
	       (unsigned)old.sa_flags & ~0x04000000u);
	handle(SIGUSR2, nesting, SA_RESETHAND | SA_NODEFER);
	count = 20;
	raise(SIGUSR2);
	sigaction(SIGUSR2, NULL, &old);
	printf("both: default %d\n", old.sa_handler == SIG_DFL);
}

static void resetting_reads(void)
{
	struct itimerval soon = {{0, 0}, {0, 5000}};
	struct sigaction old;
	char byte;

	MUST(pipe(feed));
	handle(SIGALRM, counting, SA_RESETHAND);
	setitimer(ITIMER_REAL, &soon, NULL);
	report("read", read(feed[0], &byte, 1));
	sigaction(SIGALRM, NULL, &old);
	printf("handled %d, default %d\n", (int)count, old.sa_handler == SIG_DFL);
	setitimer(ITIMER_REAL, &soon, NULL);
	report("the next one is deadly", read(feed[0], &byte, 1));
}

static void deadly_part(void)
{
	pid_t child = (pid_t)MUST(fork());

	if (!child) {
		resetting_reads();
		_exit(0);
	}
	reap("one-shot handler of a read", child);
}

int main(int argc, char **argv)
{
	static const struct part parts[] = {
		{"pending at a wait", pending}, {"during a wait", during}, {"not let in", not_let_in},
		{"mask in the handler", inside_handler}, {"waited for", instead}, {"queued", queued},
		{"queued in a read", queued_in_a_read}, {"nested", nested}, {"one-shot", deadly_part},
	};

	return RUN_PARTS(parts, argc, argv);
}
