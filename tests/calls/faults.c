/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGSEGV that nothing has raised but somebody sent: an ordinary signal, which interrupts a call that waits, is
 * ignored, or waits for whoever asks for it.
 */
#include "check.h"

#include <pthread.h>
#include <signal.h>

static int ends[2];
static volatile sig_atomic_t count;

static void answer(int signal)
{
	(void)signal;
	count++;
	(void)!write(ends[1], "x", 1);
}

static int sleeps(pid_t pid)
{
	char path[64], line[256] = "";
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	f = fopen(path, "r");
	if (f) {
		(void)!fgets(line, sizeof line, f);
		fclose(f);
	}
	return strstr(line, ") S ") != NULL;
}

/* Once the parent has been asleep for a while, which it is nowhere but in its call. */
static void wait_for_sleep(pid_t pid)
{
	for (int in_a_row = 0; in_a_row < 20; usleep(1000))
		in_a_row = sleeps(pid) ? in_a_row + 1 : 0;
}

/* `then`: the reader gets something to read afterwards. */
static void interrupt(const char *name, int then)
{
	pid_t me = getpid(), child = fork();
	char byte;

	if (!child) {
		wait_for_sleep(me);
		kill(me, SIGSEGV);
		if (then) {
			wait_for_sleep(me);
			(void)!write(ends[1], "y", 1);
		}
		_exit(0);
	}
	report(name, read(ends[0], &byte, 1));
	waitpid(child, NULL, 0);
	printf("handled: %d\n", (int)count);
}

static void *take(void *argument)
{
	struct timespec soon = {1, 0};
	sigset_t set;

	(void)argument;
	sigemptyset(&set);
	sigaddset(&set, SIGSEGV);
	report("another thread takes it", sigtimedwait(&set, NULL, &soon));
	return NULL;
}

/* Pending for the process, it stays so, whatever this thread does. */
static void blocked(void)
{
	pthread_t thread;
	sigset_t set;
	char byte;

	sigemptyset(&set);
	sigaddset(&set, SIGSEGV);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	kill(getpid(), SIGSEGV);
	for (int i = 0; i < 5; i++) {
		(void)!write(ends[1], "z", 1);
		(void)!read(ends[0], &byte, 1);
	}
	pthread_create(&thread, NULL, take, NULL);
	pthread_join(thread, NULL);
	printf("handled: %d\n", (int)count);
}

int main(void)
{
	struct sigaction action = {.sa_handler = answer, .sa_flags = SA_RESTART};

	begin();
	MUST(pipe(ends));
	sigaction(SIGSEGV, &action, NULL);
	for (int i = 0; i < 6; i++)
		interrupt("restarted", 0);
	blocked();
	signal(SIGSEGV, SIG_IGN);
	interrupt("ignored", 1);
	return 0;
}
