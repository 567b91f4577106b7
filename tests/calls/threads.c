/* SPDX-License-Identifier: Apache-2.0 */
/* Threads: 500 of them at work, one that blocks delays no other, cancelling a blocked read, own masks and stacks. */
#include "check.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>

enum { MANY = 500, WORKERS = 8, ROUNDS = 200 };

static int blocked[2];
static volatile int cleaned, bad;
static volatile sig_atomic_t handled;
static char stack[65536];

static void join(pthread_t thread, void **result)
{
	if (pthread_join(thread, result)) {
		printf("join failed\n");
		exit(99);
	}
}

static pthread_t start(void *(*body)(void *), void *argument)
{
	pthread_attr_t attributes;
	pthread_t thread;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 1 << 16);
	if (pthread_create(&thread, &attributes, body, argument)) {
		printf("pthread_create failed\n");
		exit(99);
	}
	return thread;
}

static void *brief(void *argument)
{
	char name[32], text[32];
	long number = (long)argument;
	int fd;

	snprintf(name, sizeof name, "thread-%ld", number);
	fd = open(name, O_CREAT | O_RDWR, 0600);
	if (fd < 0 || write(fd, name, 8) != 8 || pread(fd, text, 8, 0) != 8 || memcmp(name, text, 8))
		bad++;
	close(fd);
	unlink(name);
	return (void *)(number * 2);
}

static void a_lot(void)
{
	pthread_t threads[MANY];
	void *result;
	long sum = 0;

	for (long i = 0; i < MANY; i++)
		threads[i] = start(brief, (void *)i);
	for (int i = 0; i < MANY; i++) {
		join(threads[i], &result);
		sum += (long)result;
	}
	printf("500 threads: sum %ld bad %d\n", sum, bad);
}

static void *all_at_once(void *argument)
{
	char byte;

	(void)argument;
	return (void *)read(blocked[0], &byte, 1);
}

/* 100 threads sit in read at the same time; each gets one byte. */
static void together(void)
{
	pthread_t threads[100];
	void *result;
	long sum = 0;

	MUST(pipe(blocked));
	for (int i = 0; i < 100; i++)
		threads[i] = start(all_at_once, NULL);
	sleep_ms(50);
	for (int i = 0; i < 100; i++)
		MUST(write(blocked[1], "x", 1));
	for (int i = 0; i < 100; i++) {
		join(threads[i], &result);
		sum += (long)result;
	}
	printf("100 blocked threads got %ld bytes\n", sum);
}

/* Each worker writes to its own pipe and reads back while another thread is stuck in a read for ever. */
static void *working(void *argument)
{
	unsigned seed = (unsigned)(long)argument;
	unsigned char data[600], back[600];
	int p[2];

	MUST(pipe(p));
	for (unsigned i = 0; i < ROUNDS; i++) {
		fill(data, sizeof data, seed + i);
		if (write(p[1], data, sizeof data) != sizeof data || read(p[0], back, sizeof back) != sizeof back ||
		    !filled(back, sizeof back, seed + i))
			bad++;
	}
	close(p[0]);
	close(p[1]);
	return NULL;
}

static void no_delay(void)
{
	pthread_t stuck = start(all_at_once, NULL), workers[WORKERS];
	void *result;

	sleep_ms(20);
	for (long i = 0; i < WORKERS; i++)
		workers[i] = start(working, (void *)(i * 1000));
	for (int i = 0; i < WORKERS; i++)
		join(workers[i], NULL);
	printf("workers beside a blocked read: bad %d\n", bad);
	MUST(write(blocked[1], "x", 1));
	join(stuck, &result);
	printf("blocked read: %ld\n", (long)result);
}

static void clean(void *argument)
{
	(void)argument;
	cleaned++;
	check("calls work in the clean-up", write(blocked[1], "", 0) == 0);
}

static void *to_be_cancelled(void *argument)
{
	char byte;

	pthread_cleanup_push(clean, NULL);
	if (argument)
		poll(NULL, 0, -1);
	else
		read(blocked[0], &byte, 1);
	pthread_cleanup_pop(0);
	return NULL;
}

static void *not_cancelled(void *argument)
{
	char byte;

	(void)argument;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	return (void *)(read(blocked[0], &byte, 1) + 10);
}

static void cancelling(void)
{
	pthread_t thread;
	void *result;

	for (long i = 0; i < 4; i++) {
		thread = start(to_be_cancelled, (void *)(i % 2));
		sleep_ms(30);
		pthread_cancel(thread);
		join(thread, &result);
		printf("cancelled: %d, cleaned: %d\n", result == PTHREAD_CANCELED, cleaned);
	}
	thread = start(not_cancelled, NULL);
	sleep_ms(30);
	pthread_cancel(thread);
	sleep_ms(30);
	MUST(write(blocked[1], "x", 1));
	join(thread, &result);
	printf("disabled: %ld\n", (long)result);
}

static void on_signal(int signal)
{
	(void)signal;
	handled++;
}

static void *own_state(void *argument)
{
	stack_t mine = {.ss_sp = stack, .ss_size = sizeof stack}, got;
	sigset_t set;

	(void)argument;
	sigaltstack(NULL, &got);
	check("thread begins without an alternate stack", got.ss_flags == SS_DISABLE);
	report("sigaltstack", sigaltstack(&mine, NULL));
	sigaltstack(NULL, &got);
	check("it stays set", got.ss_sp == stack && got.ss_size == sizeof stack);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	pthread_kill(pthread_self(), SIGUSR1);
	check("blocked here", !handled);
	pthread_kill(pthread_self(), SIGUSR2);
	check("not blocked here", handled == 1);
	return NULL;
}

static void state(void)
{
	struct sigaction action = {.sa_handler = on_signal};
	sigset_t set;
	stack_t got;

	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGUSR2, &action, NULL);
	join(start(own_state, NULL), NULL);
	pthread_sigmask(SIG_BLOCK, NULL, &set);
	check("mask of the main thread", !sigismember(&set, SIGUSR1));
	sigaltstack(NULL, &got);
	check("stack of the main thread", got.ss_flags == SS_DISABLE);
}

static void *forking(void *argument)
{
	int status;
	pid_t child = fork();

	(void)argument;
	if (!child)
		_exit(write(blocked[1], "x", 1) == 1 ? 9 : 1);
	waitpid(child, &status, 0);
	return (void *)(long)(WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

static void *leaving(void *argument)
{
	(void)argument;
	sleep_ms(50);
	printf("the last thread ends the process\n");
	exit(6);
}

int main(void)
{
	void *result;
	char byte;

	begin();
	a_lot();
	together();
	no_delay();
	cancelling();
	state();
	join(start(forking, NULL), &result);
	printf("fork in a thread: %ld\n", (long)result);
	report("its child's byte", read(blocked[0], &byte, 1));
	start(leaving, NULL);
	pthread_exit(NULL);
}
