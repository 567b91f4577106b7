/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors as numbers: the lowest free one, dup and its relatives, flags, ranges, ioctl, what survives exec, offsets
 * shared after fork. With "list" as argument the program prints which descriptors it has.
 */
#include "check.h"

#include <dirent.h>
#include <linux/close_range.h>
#include <sys/ioctl.h>

/* Only numbers below `end`: the directory that is being read has the next one. */
static void list(const char *name)
{
	DIR *dir = opendir("/proc/self/fd");
	char seen[64] = {0};

	printf("%s:", name);
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		int number = atoi(entry->d_name);

		if (entry->d_name[0] != '.' && number >= 0 && number < 64)
			seen[number] = number == dirfd(dir) ? 'd' : 'x';
	}
	for (int i = 0; i < 64; i++)
		if (seen[i])
			printf(" %d%s", i, seen[i] == 'd' ? "(itself)" : "");
	printf("\n");
	if (dir)
		closedir(dir);
}

static void numbers(void)
{
	int a, b;

	list("at the start");
	a = report("lowest", open("/dev/null", O_RDWR));
	b = report("next", open("/dev/null", O_RDWR));
	close(a);
	report("the gap", dup(b));
	report("dup", dup(b));
	report("dup EBADF", dup(77));
	report("dup2", dup2(b, 20));
	report("dup2 onto itself", dup2(b, b));
	report("dup2 closed onto itself", dup2(77, 77));
	report("dup2 negative", dup2(b, -1));
	report("dup2 beyond the limit", dup2(b, 1 << 30));
	report("dup3", dup3(b, 21, O_CLOEXEC));
	report("dup3 onto itself", dup3(b, b, 0));
	report("dup3 bad flag", dup3(b, 22, O_APPEND));
	report("F_DUPFD", fcntl(b, F_DUPFD, 10));
	report("F_DUPFD taken", fcntl(b, F_DUPFD, 10));
	report("F_DUPFD_CLOEXEC", fcntl(b, F_DUPFD_CLOEXEC, 30));
	report("F_DUPFD negative", fcntl(b, F_DUPFD, -1));
	report("F_GETFD of dup3", fcntl(21, F_GETFD));
	report("F_GETFD of dup2", fcntl(20, F_GETFD));
	list("after duplicating");
	report("close_range", close_range(10, 21, 0));
	report("close_range CLOEXEC", close_range(b, 40, CLOSE_RANGE_CLOEXEC));
	report("F_GETFD now", fcntl(b, F_GETFD));
	report("close_range wrong way", close_range(30, 20, 0));
	report("close_range bad flag", close_range(100, 200, 0x40));
	list("after closing a range");
	report("close_range all", close_range(3, ~0u, 0));
	list("after closing all");
	report("close negative", close(-1));
	report("close huge", close(1 << 30));
}

static void flags(void)
{
	int fd = MUST(open("file", O_CREAT | O_RDWR | O_APPEND, 0600)), one = 1, zero = 0, pending = -1, pipes[2];

	printf("F_GETFL: %o\n", fcntl(fd, F_GETFL) & ~0100000);
	report("F_SETFL", fcntl(fd, F_SETFL, O_NONBLOCK));
	printf("F_GETFL: %o\n", fcntl(fd, F_GETFL) & ~0100000);
	report("F_SETFD", fcntl(fd, F_SETFD, FD_CLOEXEC));
	report("F_GETFD", fcntl(fd, F_GETFD));
	report("fcntl unknown", fcntl(fd, 9999));
	report("fcntl EBADF", fcntl(77, F_GETFL));
	report("FIOCLEX", ioctl(fd, FIOCLEX));
	report("FIONCLEX", ioctl(fd, FIONCLEX));
	report("F_GETFD", fcntl(fd, F_GETFD));
	report("ioctl on a file", ioctl(fd, TIOCGWINSZ, tail_alloc(8)));
	report("isatty", isatty(fd));
	report("ioctl EBADF", ioctl(77, FIONREAD, &pending));
	report("ioctl unknown", ioctl(fd, 0x5a5a5a5a, &pending));
	close(fd);

	MUST(pipe(pipes));
	MUST(write(pipes[1], "12345", 5));
	report("FIONREAD", ioctl(pipes[0], FIONREAD, tail_copy(&pending, sizeof pending)));
	ioctl(pipes[0], FIONREAD, &pending);
	printf("pending: %d\n", pending);
	report("FIONREAD unmapped", ioctl(pipes[0], FIONREAD, nowhere()));
	report("FIONBIO", ioctl(pipes[0], FIONBIO, &one));
	printf("O_NONBLOCK: %d\n", !!(fcntl(pipes[0], F_GETFL) & O_NONBLOCK));
	report("FIONBIO off", ioctl(pipes[0], FIONBIO, &zero));
	printf("O_NONBLOCK: %d\n", !!(fcntl(pipes[0], F_GETFL) & O_NONBLOCK));
	report("F_SETPIPE_SZ", fcntl(pipes[0], F_SETPIPE_SZ, 8192));
	report("F_GETPIPE_SZ", fcntl(pipes[1], F_GETPIPE_SZ));
	close(pipes[0]);
	close(pipes[1]);
	report("pipe2", pipe2(pipes, O_CLOEXEC | O_NONBLOCK));
	report("both close-on-exec", fcntl(pipes[0], F_GETFD) & fcntl(pipes[1], F_GETFD));
	report("pipe2 bad flag", pipe2(pipes, 0x40));
	close(pipes[0]);
	close(pipes[1]);
}

static void sharing(void)
{
	int fd = MUST(open("shared", O_CREAT | O_TRUNC | O_RDWR, 0600)), twin, own;
	char buffer[8];
	pid_t child;

	MUST(write(fd, "0123456789", 10));
	lseek(fd, 0, SEEK_SET);
	twin = dup(fd);
	own = MUST(open("shared", O_RDONLY));
	child = fork();
	if (!child) {
		_exit(read(fd, buffer, 4) == 4 && close(fd) == 0 && close(1) == 0 ? 7 : 1);
	}
	reap("child that reads and closes", child);
	report("offset of the parent", lseek(fd, 0, SEEK_CUR));
	report("offset of the duplicate", lseek(twin, 0, SEEK_CUR));
	report("offset of the second opening", lseek(own, 0, SEEK_CUR));
	child = fork();
	if (!child) {
		lseek(twin, 9, SEEK_SET);
		fcntl(fd, F_SETFL, O_APPEND);
		fcntl(fd, F_SETFD, FD_CLOEXEC);
		_exit(0);
	}
	reap("child that moves and sets", child);
	report("offset moved by the child", lseek(fd, 0, SEEK_CUR));
	printf("status flag of the child is ours: %d\n", !!(fcntl(fd, F_GETFL) & O_APPEND));
	report("descriptor flag of the child is not", fcntl(fd, F_GETFD));
	close(fd);
	close(twin);
	close(own);
}

static void across_exec(char *self)
{
	char *argv[] = {self, "list", NULL};
	pid_t child;

	MUST(open("/dev/null", O_RDWR));
	MUST(open("/dev/null", O_RDWR | O_CLOEXEC));
	MUST(open("/dev/null", O_RDWR));
	MUST(fcntl(5, F_DUPFD_CLOEXEC, 40));
	MUST(fcntl(5, F_DUPFD, 50));
	list("before exec");
	child = fork();
	if (!child) {
		execv(self, argv);
		_exit(1);
	}
	reap("after exec", child);
	child = fork();
	if (!child) {
		close(0);
		execv(self, argv);
		_exit(1);
	}
	reap("after exec without stdin", child);
	list("after both");
}

int main(int argc, char **argv)
{
	begin();
	if (argc > 1 && !strcmp(argv[1], "list")) {
		list("exec'ed");
		return 0;
	}
	numbers();
	flags();
	sharing();
	across_exec(argv[0]);
	return 0;
}
