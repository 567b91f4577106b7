/* SPDX-License-Identifier: Apache-2.0 */
/* Locks on files: of processes, of open files, flock; who sees whose, what a fork or a close gives up. */
#include "check.h"

#include <sys/file.h>

static int lock(int fd, int command, short type, long start, long length)
{
	struct flock range = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};

	return fcntl(fd, command, tail_copy(&range, sizeof range));
}

static void show_holder(const char *name, int fd, int command)
{
	struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	if (!attempt(name, fcntl(fd, command, &range)))
		printf("%s: type %d start %ld length %ld\n", name, range.l_type, (long)range.l_start,
				(long)range.l_len);
}

static void of_processes(void)
{
	int fd = MUST(open("file", O_CREAT | O_RDWR, 0600)), other;
	long before;
	pid_t child;

	report("F_SETLK", lock(fd, F_SETLK, F_WRLCK, 10, 20));
	show_holder("own lock does not hinder", fd, F_GETLK);
	child = fork();
	if (!child) {
		show_holder("child sees it", fd, F_GETLK);
		report("child F_SETLK", lock(fd, F_SETLK, F_RDLCK, 15, 1));
		report("child beside it", lock(fd, F_SETLK, F_WRLCK, 100, 1));
		_exit(0);
	}
	reap("child", child);
	show_holder("child's lock went with it", fd, F_GETLK);
	report("F_UNLCK in the middle", lock(fd, F_SETLK, F_UNLCK, 15, 5));
	child = fork();
	if (!child) {
		report("child gets the middle", lock(fd, F_SETLK, F_WRLCK, 15, 5));
		report("child not more", lock(fd, F_SETLK, F_WRLCK, 15, 6));
		_exit(0);
	}
	reap("child", child);
	other = MUST(open("file", O_RDWR));
	close(other);
	child = fork();
	if (!child) {
		report("closing any descriptor dropped all", lock(fd, F_SETLK, F_WRLCK, 0, 0));
		sleep_ms(200);
		_exit(0);
	}
	sleep_ms(100);
	before = now_ms();
	report("F_SETLKW waits for the child", lock(fd, F_SETLKW, F_WRLCK, 0, 0));
	check("it did wait", now_ms() - before >= 50);
	reap("child", child);
	report("bad type", lock(fd, F_SETLK, 99, 0, 0));
	report("lock unmapped", fcntl(fd, F_SETLK, nowhere()));
	report("EBADF", lock(77, F_SETLK, F_WRLCK, 0, 0));
	close(fd);
	fd = MUST(open("file", O_RDONLY));
	report("write lock on a read-only file", lock(fd, F_SETLK, F_WRLCK, 0, 0));
	close(fd);
}

static void of_open_files(void)
{
	int fd = MUST(open("file", O_RDWR)), other = MUST(open("file", O_RDWR));
	pid_t child;

	report("F_OFD_SETLK", lock(fd, F_OFD_SETLK, F_WRLCK, 0, 5));
	report("second opening is refused", lock(other, F_OFD_SETLK, F_WRLCK, 0, 5));
	show_holder("second opening sees it", other, F_OFD_GETLK);
	child = fork();
	if (!child) {
		report("child shares the opening", lock(fd, F_OFD_SETLK, F_RDLCK, 0, 5));
		_exit(0);
	}
	reap("child", child);
	report("now a read lock", lock(other, F_OFD_SETLK, F_RDLCK, 0, 5));
	close(fd);
	report("free after the close", lock(other, F_OFD_SETLK, F_WRLCK, 0, 0));
	close(other);
}

static void whole_files(void)
{
	int fd = MUST(open("file", O_RDWR)), other = MUST(open("file", O_RDWR)), twin = dup(fd);
	pid_t child;

	report("flock LOCK_EX", flock(fd, LOCK_EX));
	report("flock of another opening", flock(other, LOCK_EX | LOCK_NB));
	report("flock of the duplicate", flock(twin, LOCK_EX | LOCK_NB));
	close(fd);
	report("still held by the duplicate", flock(other, LOCK_SH | LOCK_NB));
	child = fork();
	if (!child) {
		sleep_ms(200);
		_exit(0);
	}
	close(twin);
	report("still held by the child", flock(other, LOCK_SH | LOCK_NB));
	report("flock waits for the child's end", flock(other, LOCK_SH));
	reap("child", child);
	report("flock bad operation", flock(other, 99));
	close(other);
}

int main(void)
{
	begin();
	of_processes();
	of_open_files();
	whole_files();
	return 0;
}
