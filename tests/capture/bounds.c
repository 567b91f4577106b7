/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs near their limits, and programs that look at themselves: large and small stacks, little address space, few
 * descriptors, thousands of threads, everything closed, a daemon that leaves its terminal and parent, and what stands
 * in /proc about descriptors, threads and memory.
 */
#include "parts.h"

#include <dirent.h>
#include <limits.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static char self[PATH_MAX];

static void listed(const char *name, const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	int numbers[64], count = 0;

	if (!dir) {
		printf("%s: %s\n", name, error_name(errno));
		return;
	}
	while ((entry = readdir(dir)) && count < 64)
		if (entry->d_name[0] != '.')
			numbers[count++] = atoi(entry->d_name);
	printf("%s: %d", name, count);
	for (int i = 0; i < count && strstr(path, "fd"); i++)
		printf(" %d%s", numbers[i], numbers[i] == dirfd(dir) ? " (itself)" : "");
	printf("\n");
	closedir(dir);
}

static void *doing_nothing(void *argument)
{
	return argument;
}

static void *calling(void *argument)
{
	long good = 0;

	for (int i = 0; i < 20; i++)
		good += getppid() > 0 && access("/", F_OK) == 0;
	return good == 20 ? argument : NULL;
}

static int frames(int depth)
{
	volatile char frame[16384];

	frame[0] = (char)depth;
	getppid();
	return depth ? frames(depth - 1) + frame[0] : 0;
}

static int deep_image(int depth)
{
	struct rlimit limit;

	getrlimit(RLIMIT_STACK, &limit);
	printf("limit %ld, depth %d: %d\n", limit.rlim_cur == RLIM_INFINITY ? -1L : (long)limit.rlim_cur, depth,
	       frames(depth) != INT_MIN);
	return 0;
}

static void with_stack(rlim_t bytes, const char *depth)
{
	pid_t child;

	fflush(stdout);
	child = (pid_t)MUST(fork());
	if (!child) {
		struct rlimit limit = {bytes, RLIM_INFINITY};

		MUST(setrlimit(RLIMIT_STACK, &limit));
		execl(self, self, "deep", depth, (char *)NULL);
		_exit(99);
	}
	reap("image", child);
}

static void stacks(void)
{
	with_stack(RLIM_INFINITY, "1000"); /* also the old layout of the address space */
	with_stack(1 << 30, "2000");
	with_stack(256 << 10, "5");
	with_stack(96 << 10, "1");
	with_stack(32 << 10, "0");
}

/* Threads with the least stack that glibc grants; others grant less than the frame of a signal. */
static void small_threads(void)
{
	long least = sysconf(_SC_THREAD_STACK_MIN);
	pthread_attr_t attributes;
	pthread_t thread;
	void *result;
	int good = 0;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, (size_t)(least > 16384 ? least : 16384));
	for (int i = 0; i < 50; i++) {
		if (pthread_create(&thread, &attributes, calling, self))
			break;
		pthread_join(thread, &result);
		good += result == self;
	}
	printf("good %d\n", good);
}

static void in_turn(void)
{
	pthread_t thread;
	void *result;
	int good = 0;

	for (int i = 0; i < 10000; i++) {
		if (pthread_create(&thread, NULL, i % 100 ? doing_nothing : calling, self))
			break;
		pthread_join(thread, &result);
		good += result == self;
	}
	printf("10000 threads: %d\n", good);
	listed("threads left", "/proc/self/task");
}

static pthread_barrier_t barrier;

static void *together(void *argument)
{
	pthread_barrier_wait(&barrier);
	argument = calling(argument);
	pthread_barrier_wait(&barrier);
	return argument;
}

static void at_once(void)
{
	enum { MANY = 200 };
	pthread_t threads[MANY];
	void *result;
	int good = 0;

	pthread_barrier_init(&barrier, NULL, MANY + 1);
	for (int i = 0; i < MANY; i++)
		if (pthread_create(&threads[i], NULL, together, self))
			exit(98);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < MANY; i++) {
		pthread_join(threads[i], &result);
		good += result == self;
	}
	printf("200 at once: %d\n", good);
}

/* Address space for what is there and a little more: calls work, and so does failing to get memory. */
static void little_space(void)
{
	struct rlimit limit;
	char *area, line[256];
	long pages = 0;
	FILE *file = fopen("/proc/self/statm", "r");
	pid_t child;

	if (!file || !fgets(line, sizeof line, file) || sscanf(line, "%ld", &pages) != 1)
		exit(98);
	fclose(file);
	limit = (struct rlimit){(rlim_t)(pages + 64) * 4096, RLIM_INFINITY};
	MUST(setrlimit(RLIMIT_AS, &limit));
	area = mmap(NULL, 64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	printf("64 MiB: %s\n", area == MAP_FAILED ? error_name(errno) : "done");
	for (int i = 0; i < 300; i++)
		getppid();
	report("write", write(open("file", O_CREAT | O_RDWR, 0600), "12345", 5));
	child = (pid_t)MUST(fork());
	if (!child)
		_exit(access("file", F_OK) ? 1 : 8);
	reap("fork", child);
}

/* The limit is inherited: the next image starts with it. */
static void image_within(rlim_t bytes)
{
	struct rlimit limit = {bytes, RLIM_INFINITY};
	pid_t child = (pid_t)MUST(fork());

	if (!child) {
		MUST(setrlimit(RLIMIT_AS, &limit));
		execl(self, self, "deep", "1", (char *)NULL);
		_exit(99);
	}
	reap("image", child);
}

static void little_space_for_an_image(void)
{
	image_within(32 << 20);
}

static void some_space_for_an_image(void)
{
	image_within(256 << 20);
}

static void few_descriptors(void)
{
	struct rlimit limit = {16, 16};
	int last = -1, fd, p[2];
	pid_t child;

	MUST(setrlimit(RLIMIT_NOFILE, &limit));
	while ((fd = open("/dev/null", O_RDONLY)) >= 0)
		last = fd;
	printf("last %d, then %s\n", last, error_name(errno));
	report("pipe", pipe(p));
	child = (pid_t)MUST(fork());
	if (!child) {
		close(10);
		execl("/bin/sh", "sh", "-c", "exec 5</dev/null; exit 4", (char *)NULL);
		_exit(99);
	}
	reap("shell", child);
	syscall(SYS_close_range, 3, ~0u, 0);
	limit = (struct rlimit){3, 16};
	MUST(setrlimit(RLIMIT_NOFILE, &limit));
	report("no more", open("/dev/null", O_RDONLY));
	report("one of the three", (close(0), open("/dev/null", O_RDONLY)));
}

static void closing(void)
{
	int fd, output = MUST(dup(1)), p[2];
	pid_t child;

	MUST(pipe(p));
	for (int i = 0; i < 1024; i++)
		if (i != output && i != 1)
			close(i);
	fd = open("/dev/null", O_RDONLY);
	printf("first free: %d\n", fd);
	listed("left", "/proc/self/fd");
	report("close_range", syscall(SYS_close_range, 3, ~0u, 0));
	listed("left", "/proc/self/fd");
	child = (pid_t)MUST(fork());
	if (!child) {
		report("close everything", syscall(SYS_close_range, 0, ~0u, 0));
		fd = open("file", O_CREAT | O_RDWR, 0600);
		_exit(fd == 0 && write(fd, "x", 1) == 1 && open("file", O_RDONLY) == 1 ? 5 : 6);
	}
	reap("without any", child);
	report("CLOSE_RANGE_CLOEXEC", syscall(SYS_close_range, 0, 0, 4));
	printf("flag %d\n", fcntl(0, F_GETFD));
	/* A shell for its part starts with nothing. */
	child = (pid_t)MUST(fork());
	if (!child) {
		syscall(SYS_close_range, 0, ~0u, 0);
		execl("/bin/sh", "sh", "-c", "echo x 2> file; exit 9", (char *)NULL);
		_exit(99);
	}
	reap("shell without any", child);
}

static void looking(void)
{
	pthread_t thread;
	char line[512];
	int mine = 0, threads = 0;
	FILE *file;

	listed("descriptors", "/proc/self/fd");
	listed("information", "/proc/self/fdinfo");
	listed("threads", "/proc/self/task");
	pthread_barrier_init(&barrier, NULL, 2);
	pthread_create(&thread, NULL, together, self);
	listed("threads with one more", "/proc/self/task");
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	pthread_join(thread, NULL);
	file = fopen("/proc/self/status", "r");
	while (file && fgets(line, sizeof line, file)) {
		if (!strncmp(line, "Threads:", 8))
			threads = atoi(line + 8);
		if (!strncmp(line, "SigIgn:", 7) || !strncmp(line, "Seccomp:", 8) ||
		    !strncmp(line, "NoNewPrivs:", 11) || !strncmp(line, "TracerPid:", 10))
			printf("%s", line);
	}
	fclose(file);
	file = fopen("/proc/self/maps", "r");
	while (file && fgets(line, sizeof line, file))
		mine += strstr(line, self) != NULL;
	fclose(file);
	printf("threads %d, maps of the program %s\n", threads, mine > 2 ? "there" : "missing");
}

static void masks(void)
{
	FILE *file = fopen("/proc/self/status", "r");
	char line[512];

	while (file && fgets(line, sizeof line, file))
		if (!strncmp(line, "Sig", 3) && strncmp(line, "SigQ", 4))
			printf("%s", line);
	fclose(file);
}

static void daemonised(void)
{
	int ends[2], status;
	char byte = 0;
	pid_t child;

	MUST(pipe(ends));
	child = (pid_t)MUST(fork());
	if (!child) {
		if (setsid() != getpid())
			_exit(1);
		if (fork())
			_exit(0);
		umask(0);
		MUST(chdir("/"));
		close(0);
		close(1);
		close(2);
		while (getppid() == child || kill(getsid(0), 0) == 0) /* until the leader is gone */
			sleep_ms(1);
		MUST(write(ends[1], getsid(0) != getpid() ? "s" : "l", 1));
		_exit(0);
	}
	MUST(waitpid(child, &status, 0));
	printf("leader: %d\n", status);
	close(ends[1]);
	report("word of the daemon", read(ends[0], &byte, 1));
	printf("%c\n", byte);
	report("its end", read(ends[0], &byte, 1));
}

int main(int argc, char **argv)
{
	static const struct part parts[] = {
		{"stacks", stacks}, {"small threads", small_threads}, {"in turn", in_turn}, {"at once", at_once},
		{"little space", little_space}, {"little space for an image", little_space_for_an_image},
		{"some space for an image", some_space_for_an_image}, {"masks in /proc", masks},
		{"few descriptors", few_descriptors}, {"closing", closing}, {"looking", looking},
		{"daemonised", daemonised},
	};

	if (argc > 2 && !strcmp(argv[1], "deep")) {
		begin();
		return deep_image(atoi(argv[2]));
	}
	if (!realpath(argv[0], self))
		return 99;
	return RUN_PARTS(parts, argc, argv);
}
