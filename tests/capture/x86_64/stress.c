/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many threads run the same few call sites for the first time at once, again and again, while a timer's handler makes
 * calls at sites of its own and at theirs, children are forked, and all code is generated anew at the same addresses
 * between rounds. Every result, register, flag and red zone is checked; what is printed are counts of what was wrong.
 */
#include "enter.h"
#include "parts.h"

#include <pthread.h>
#include <sys/time.h>

enum { THREADS = 8, SITES = 40, ROUNDS = 10, TIMES = 40, PAGES = 6, NOBODY = 0x7ca5ca, CHILDREN = 3 };

static const struct {
	int number, error;
} calls[] = {
	{SYS_getpgid, ESRCH}, {SYS_close, EBADF}, {SYS_getsid, ESRCH}, {100000, ENOSYS}, {SYS_fchdir, EBADF},
};

struct site {
	unsigned char *entry, *behind;
	uint64_t flags; /* that it leaves alone */
	int error;
};

static struct site sites[SITES], fixed[4];
static unsigned char *area;
static pthread_barrier_t barrier;
static volatile int rounds_left;
static int bad, lost, in_handler_bad, good_children;
static volatile sig_atomic_t signals;
static __thread int in_handler;

/* One of the shapes that compilers and libraries use, at `at`; returns where the next one may begin. */
static unsigned char *write_site(struct site *site, unsigned char *at, int shape, int which)
{
	static const struct {
		const char *before, *after;
		int before_length, after_length, own_flags;
	} shapes[] = {
		{"", "", 0, 0, 0},
		{"", "\x48\x3d\x01\xf0\xff\xff", 0, 6, 1}, /* cmp $-4095, %rax */
		{"\x90\x90\x90", "\x90", 3, 1, 0},
		{"\x48\x8d\x3f", "\x48\x8d\x00", 3, 3, 0}, /* lea (%rdi), %rdi; lea (%rax), %rax */
		{"", "\x0f\x1f\x40\x00\x0f\x1f\x40\x00", 0, 8, 0},
	};

	site->entry = at;
	site->error = calls[which].error;
	site->flags = shapes[shape].own_flags ? 0 : FLAGS_SEEN;
	*at++ = 0xb8; /* mov $nr, %eax */
	memcpy(at, &calls[which].number, 4);
	at = (unsigned char *)memcpy(at + 4, shapes[shape].before, (size_t)shapes[shape].before_length) +
	     shapes[shape].before_length;
	memcpy(at, "\x0f\x05", 2);
	site->behind = at + 2;
	memcpy(at + 2, shapes[shape].after, (size_t)shapes[shape].after_length);
	return code_end(at + 2 + shapes[shape].after_length);
}

/* All sites at new shapes, calls and, in part, places; several of them straddle lines and pages. */
static void generate(int round)
{
	unsigned char *at;

	if (round % 3 == 2) /* new memory in the same place */
		area = mmap(area, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	else
		MUST(mprotect(area, PAGES * 4096, PROT_READ | PROT_WRITE));
	at = area + round % 2 * 5;
	for (int i = 0; i < SITES; i++) {
		if (i % 10 == 9)
			at = area + (i / 10 + 1) * 4096 - 6 - i % 3; /* across a page */
		else if (i % 4 == 3)
			at = area + ((at - area) | 63) + 64 - 5; /* across a line */
		at = write_site(&sites[i], at, (i + round) % 5, (i * 3 + round) % 5);
	}
	MUST(mprotect(area, PAGES * 4096, PROT_READ | PROT_EXEC));
}

static void run(const struct site *site, int turn, int *counter)
{
	uint64_t given[STATE], now[STATE];
	uint32_t gone;

	state_fill(given, turn % 2 ? FLAGS_SEEN : 0);
	given[RDI] = NOBODY;
	given[RBX] += (uint64_t)turn;
	memcpy(now, given, sizeof given);
	enter(now, site->entry);
	gone = state_lost(given, now, site->behind, site->flags);
	if (!site->flags)
		gone &= ~(1u << R11);
	if (gone)
		__atomic_or_fetch(&lost, (int)gone, __ATOMIC_RELAXED);
	if (now[RAX] != (uint64_t)-site->error)
		__atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
}

static void handler(int signal)
{
	static volatile int turn;

	(void)signal;
	signals++;
	if (in_handler)
		return;
	in_handler = 1;
	for (int i = 0; i < 4; i++)
		run(&fixed[i], turn + i, &in_handler_bad);
	turn++;
	in_handler = 0;
}

static void all_sites(int times)
{
	for (int i = 0; i < SITES; i++)
		for (int n = 0; n < times; n++)
			run(&sites[i], n, &bad);
}

static void *worker(void *argument)
{
	while (pthread_barrier_wait(&barrier), rounds_left) {
		all_sites(TIMES);
		pthread_barrier_wait(&barrier);
	}
	return argument;
}

/* Children run the sites too, some of which their parent's threads have just begun with. */
static void *forker(void *argument)
{
	while (pthread_barrier_wait(&barrier), rounds_left) {
		for (int i = 0; i < CHILDREN; i++) {
			int status = 0, before = bad;
			pid_t child = fork();

			if (!child) {
				bad = before = 0;
				all_sites(3);
				_exit(bad != before);
			}
			while (waitpid(child, &status, 0) == -1 && errno == EINTR)
				;
			good_children += status == 0;
		}
		pthread_barrier_wait(&barrier);
	}
	return argument;
}

/* Threads come and go, so that stacks and ids of the dead are used again. */
static void *brief(void *argument)
{
	for (int i = 0; i < SITES; i++)
		run(&sites[i], i, &bad);
	return argument;
}

static void *maker(void *argument)
{
	while (pthread_barrier_wait(&barrier), rounds_left) {
		for (int i = 0; i < 10; i++) {
			pthread_t thread;

			if (pthread_create(&thread, NULL, brief, NULL))
				bad++;
			else
				pthread_join(thread, NULL);
		}
		pthread_barrier_wait(&barrier);
	}
	return argument;
}

static unsigned char *pages(void)
{
	unsigned char *at = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		exit(99);
	return at;
}

static void storm(void *(*extra)(void *), int with_signals)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
	struct itimerval often = {{0, 250}, {0, 250}}, off = {0};
	pthread_t threads[THREADS], other;
	unsigned char *at = pages();

	for (int i = 0; i < 4; i++)
		write_site(&fixed[i], at + i * 64 + i, i, i);
	MUST(mprotect(at, PAGES * 4096, PROT_READ | PROT_EXEC));
	area = pages();
	sigaction(SIGALRM, &action, NULL);
	pthread_barrier_init(&barrier, NULL, THREADS + 1 + (extra != NULL));
	rounds_left = ROUNDS;
	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, worker, NULL))
			exit(99);
	if (extra && pthread_create(&other, NULL, extra, NULL))
		exit(99);
	if (with_signals)
		setitimer(ITIMER_REAL, &often, NULL);
	for (; rounds_left; rounds_left--) {
		generate(ROUNDS - rounds_left);
		pthread_barrier_wait(&barrier);
		pthread_barrier_wait(&barrier);
	}
	setitimer(ITIMER_REAL, &off, NULL);
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	if (extra)
		pthread_join(other, NULL);
	printf("bad results %d, in handlers %d, lost %s\n", bad, in_handler_bad, state_names((uint32_t)lost));
	if (with_signals)
		check("signals came", signals > 10);
}

static void threads(void)
{
	storm(NULL, 0);
}

static void threads_and_signals(void)
{
	storm(NULL, 1);
}

static void threads_and_forks(void)
{
	storm(forker, 0);
	printf("good children %d\n", good_children);
}

static void all_together(void)
{
	storm(forker, 1);
	printf("good children %d\n", good_children);
}

static void threads_that_come_and_go(void)
{
	storm(maker, 1);
}

/* ---- what nobody may notice -------------------------------------------------------------------------------------- */

static volatile int fresh_done;

/* Sites that have never run, five times each, page after page. */
static void *fresh_sites(void *argument)
{
	for (int page = 0; page < 12; page++) {
		unsigned char *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		for (int i = 0; i < 32; i++) {
			memcpy(code + i * 64, "\xb8....\x0f\x05\xc3", 8);
			memcpy(code + i * 64 + 1, &(int){SYS_getppid}, 4);
		}
		mprotect(code, 4096, PROT_READ | PROT_EXEC);
		for (int i = 0; i < 32; i++)
			for (int n = 0; n < 5; n++)
				((long (*)(void))(code + i * 64))();
		if (page % 2) /* and all is as it was */
			mprotect(code, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
	}
	fresh_done = 1;
	return argument;
}

/* A thread opens and duplicates files while another's sites change: the lowest number is always the same. */
static void lowest_numbers(void)
{
	int first = (int)MUST(dup(0)), wrong = 0, fd;
	pthread_t thread;

	close(first);
	pthread_create(&thread, NULL, fresh_sites, NULL);
	while (!fresh_done) {
		fd = dup(0);
		wrong += fd != first;
		close(fd);
		wrong += fcntl(first, F_GETFD) != -1 || fcntl(first + 1, F_GETFD) != -1;
	}
	pthread_join(thread, NULL);
	printf("wrong numbers: %d\n", wrong);
}

/* The same for who waits for anybody at all: a thread that comes and goes is nobody's child. */
static void nobodys_children(void)
{
	int wrong = 0, status;
	pthread_t thread;

	fresh_done = 0;
	pthread_create(&thread, NULL, fresh_sites, NULL);
	while (!fresh_done)
		wrong += waitpid(-1, &status, __WALL | WNOHANG) != -1 || errno != ECHILD;
	pthread_join(thread, NULL);
	printf("children: %d\n", wrong);
}

int main(int argc, char **argv)
{
	static const struct part parts[] = {
		{"threads", threads}, {"threads and signals", threads_and_signals},
		{"threads and forks", threads_and_forks}, {"all together", all_together},
		{"threads that come and go", threads_that_come_and_go}, {"lowest numbers", lowest_numbers},
		{"nobody's children", nobodys_children},
	};

	return RUN_PARTS(parts, argc, argv);
}
