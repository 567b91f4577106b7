/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes calls and says how many: what a log is compared with. counted MODE COUNT CALLS [FILE]
 *
 *	threads     COUNT threads make CALLS calls each
 *	processes   COUNT processes, every third of which begins again by exec, and half of which fork once more
 *	blocked     COUNT threads make CALLS calls each, and stay in another call until all have done so
 *	endless     COUNT processes of two threads each count in FILE what has returned, until they are killed
 *	dies        waits in pause() with one thread, and kills itself with the other after CALLS calls
 *	read        reads CALLS bytes from descriptor 0 in one call, COUNT times
 */
#include "check.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

struct place {
	uint32_t pid, tid;
	uint64_t returned;
};

static long count, calls;
static const char *self;
static struct place *places;
static int gate[2];
static uint32_t done;

static void make(void)
{
	for (long i = 0; i < calls; i++)
		syscall(SYS_getppid);
}

static void *thread(void *argument)
{
	make();
	return argument;
}

static void *blocked(void *argument)
{
	char byte;

	make();
	__atomic_add_fetch(&done, 1, __ATOMIC_RELEASE);
	if (read(gate[0], &byte, 1))
		abort();
	return argument;
}

static void threads(void *(*run)(void *))
{
	pthread_t *all = calloc((size_t)count, sizeof *all);
	pthread_attr_t small;

	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 65536);
	MUST(pipe(gate));
	for (long i = 0; i < count; i++)
		if (pthread_create(&all[i], &small, run, NULL))
			abort();
	while (run == blocked && __atomic_load_n(&done, __ATOMIC_ACQUIRE) < (uint32_t)count)
		usleep(1000);
	close(gate[1]);
	for (long i = 0; i < count; i++)
		pthread_join(all[i], NULL);
	free(all);
}

static void *pauses(void *argument)
{
	__atomic_store_n(&done, (uint32_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
	syscall(SYS_pause);
	return argument;
}

static int sleeps(uint32_t tid)
{
	char path[64], text[128] = "";
	FILE *f;

	snprintf(path, sizeof path, "/proc/self/task/%u/stat", tid);
	f = fopen(path, "r");
	if (!f || !fgets(text, sizeof text, f))
		abort();
	fclose(f);
	return strstr(text, ") S ") != NULL;
}

static void die(void)
{
	pthread_t other;

	if (pthread_create(&other, NULL, pauses, NULL))
		abort();
	while (!__atomic_load_n(&done, __ATOMIC_ACQUIRE) || !sleeps(done))
		sched_yield();
	make();
	syscall(SYS_kill, getpid(), SIGKILL);
}

static void processes(void)
{
	char number[32];

	snprintf(number, sizeof number, "%ld", calls);
	for (long i = 0; i < count; i++) {
		pid_t pid = fork();

		if (pid < 0)
			abort();
		if (pid)
			continue;
		make();
		if (i % 3 == 0)
			execl(self, self, "threads", "1", number, NULL);
		if (i % 2 && !fork())
			make();
		while (wait(NULL) > 0)
			;
		_exit(0);
	}
	while (wait(NULL) > 0)
		;
}

static void *endless(void *argument)
{
	struct place *p = argument;

	p->pid = (uint32_t)getpid();
	p->tid = (uint32_t)syscall(SYS_gettid);
	for (uint64_t n = 1;; n++) {
		syscall(SYS_getppid);
		__atomic_store_n(&p->returned, n, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void endlessly(const char *path)
{
	size_t size = (size_t)(2 * count) * sizeof *places;
	int fd = open(path, O_RDWR | O_CREAT, 0600);
	pthread_t other;

	MUST(ftruncate(fd, (off_t)size));
	places = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (places == MAP_FAILED)
		abort();
	close(fd);
	for (long i = 1; i < count; i++)
		if (!fork()) {
			places += 2 * i;
			break;
		}
	if (pthread_create(&other, NULL, endless, places + 1))
		abort();
	endless(places);
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	self = argv[0];
	count = atol(argv[2]);
	calls = atol(argv[3]);
	if (!strcmp(argv[1], "threads"))
		threads(thread);
	else if (!strcmp(argv[1], "processes"))
		processes();
	else if (!strcmp(argv[1], "blocked"))
		threads(blocked);
	else if (!strcmp(argv[1], "endless") && argc > 4)
		endlessly(argv[4]);
	else if (!strcmp(argv[1], "dies"))
		die();
	else if (!strcmp(argv[1], "read")) {
		char *room = malloc((size_t)calls + 1);

		for (long i = 0; i < count; i++)
			MUST(read(0, room, (size_t)calls));
		free(room);
	} else
		return 2;
	return 0;
}
