/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arguments that are addresses: NULL, unmapped, strings that run into an unmapped page, names
 * that are too long, buffers
 * that end where the page ends, buffers that are only partly there. And the working directory.
 */
#include "check.h"

#include <limits.h>
#include <sys/uio.h>
#include <sys/vfs.h>

static void bad_names(void)
{
	char *long_name = malloc(PATH_MAX + 100);
	struct stat st;

	report("open NULL", open(NULL, O_RDONLY));
	report("open unmapped", open(nowhere(), O_RDONLY));
	report("open endless string", open(endless_string("abc"), O_RDONLY));
	report("open address -1", open((char *)-1, O_RDONLY));
	report("stat NULL", syscall(SYS_newfstatat, AT_FDCWD, NULL, &st, 0));
	report("stat endless string", syscall(SYS_newfstatat, AT_FDCWD, endless_string("."), &st, 0));
	report("unlink NULL", unlink(nowhere()));
	report("rename second name", rename("a", nowhere()));
	report("symlink second name", symlink("a", nowhere()));
	report("mkdir unmapped", mkdir(nowhere(), 0700));
	report("chdir unmapped", chdir(nowhere()));
	report("access unmapped", access(nowhere(), F_OK));

	memset(long_name, 'n', PATH_MAX + 99);
	long_name[PATH_MAX + 99] = 0;
	report("path beyond PATH_MAX", open(long_name, O_RDONLY));
	long_name[PATH_MAX] = 0;
	report("path of PATH_MAX", open(long_name, O_RDONLY));
	long_name[PATH_MAX - 1] = 0;
	report("path of PATH_MAX - 1", open(tail_string(long_name), O_RDONLY));
	long_name[256] = 0;
	report("name of 256", open(long_name, O_CREAT | O_RDWR, 0600));
	long_name[255] = 0;
	attempt("name of 255", open(tail_string(long_name), O_CREAT | O_RDWR, 0600));
	report("unlink it", unlink(long_name));
	for (int i = 0; i < PATH_MAX - 1; i++)
		long_name[i] = i % 2 ? '/' : '.';
	long_name[PATH_MAX - 1] = 0;
	report("longest path that works", access(tail_string(long_name), F_OK));
	free(long_name);
}

static void bad_buffers(void)
{
	char *edge = tail_alloc(10);
	struct stat *st = tail_alloc(sizeof *st);
	struct iovec vector[2] = {{edge, 10}, {nowhere(), 10}};
	int fd, pipes[2];

	make_file("data", "0123456789abcdefghij");
	fd = MUST(open("data", O_RDWR));
	report("read into NULL", read(fd, NULL, 5));
	report("position after it", lseek(fd, 0, SEEK_CUR));
	report("read into unmapped", read(fd, nowhere(), 5));
	report("read nothing into unmapped", read(fd, nowhere(), 0));
	report("read to the edge", read(fd, edge, 10));
	check("it is there", !memcmp(edge, "0123456789", 10));
	report("write from the edge", pwrite(fd, edge, 10, 10));
	report("write from NULL", write(fd, NULL, 5));
	report("write nothing from NULL", write(fd, NULL, 0));
	report("write from unmapped", write(fd, nowhere(), 5));
	report("write into read-only memory is no read", pread(fd, (void *)"constant", 4, 0));
	report("writev second buffer bad", pwritev(fd, vector, 2, 0) > 0);
	report("readv list unmapped", readv(fd, nowhere(), 1));
	report("pwrite EBADF before EFAULT", pwrite(77, nowhere(), 1, 0));
	report("fstat at the edge", fstat(fd, st));
	report("fstat one byte beyond", syscall(SYS_fstat, fd, (char *)st + 1));
	report("fstat NULL", syscall(SYS_fstat, fd, NULL));
	report("pipe unmapped", pipe(nowhere()));
	report("pipe at the edge", pipe(tail_alloc(8)));
	report("readlink unmapped", readlink("/proc/self/exe", nowhere(), 20));
	report("statfs unmapped", syscall(SYS_statfs, ".", nowhere()));
	report("huge length", read(fd, edge, SIZE_MAX));
	MUST(pipe(pipes));
	report("pipe write to come", write(pipes[1], "abc", 3));
	report("pipe read into unmapped", read(pipes[0], nowhere(), 3));
	report("then into memory", read(pipes[0], edge, 3));
	close(fd);
}

static void working_directory(void)
{
	char here[PATH_MAX], now[PATH_MAX], *end;
	int dir;

	MUST(syscall(SYS_getcwd, here, sizeof here));
	report("getcwd too short", syscall(SYS_getcwd, now, 1));
	report("getcwd size 0", syscall(SYS_getcwd, now, 0));
	report("getcwd unmapped", syscall(SYS_getcwd, nowhere(), PATH_MAX));
	end = tail_alloc(strlen(here) + 1);
	check("getcwd exact", syscall(SYS_getcwd, end, strlen(here) + 1) == (long)strlen(here) + 1);
	report("getcwd one too short", syscall(SYS_getcwd, now, strlen(here)));
	MUST(mkdir("sub", 0755));
	report("chdir", chdir(tail_string("sub")));
	check("getcwd follows", getcwd(now, sizeof now) && !strcmp(now + strlen(here), "/sub"));
	make_file("below", "x");
	report("chdir ENOENT", chdir("missing"));
	report("chdir to a file", chdir("below"));
	dir = MUST(open("..", O_RDONLY | O_DIRECTORY));
	report("fchdir", fchdir(dir));
	check("back again", getcwd(now, sizeof now) && !strcmp(now, here));
	report("fchdir EBADF", fchdir(77));
	close(dir);
	dir = MUST(open("sub/below", O_RDONLY));
	report("fchdir to a file", fchdir(dir));
	report("the file is where it was made", access("sub/below", F_OK));
	MUST(mkdir("doomed", 0700));
	MUST(chdir("doomed"));
	report("rmdir the directory below us", rmdir("../doomed"));
	report("getcwd of a directory that is gone", syscall(SYS_getcwd, now, sizeof now));
	report("make a file in it", open("file", O_CREAT | O_RDWR, 0600));
	report("back by the absolute path", chdir(here));
}

int main(void)
{
	begin();
	bad_names();
	bad_buffers();
	working_directory();
	return 0;
}
