/* SPDX-License-Identifier: Apache-2.0 */
/* Files by name: opening with every important flag, making, renaming, linking and removing them, cutting them. */
#include "check.h"

#include <linux/openat2.h>

static void opening(void)
{
	char buffer[32];
	int fd;

	report("open ENOENT", open(tail_string("missing"), O_RDONLY));
	fd = report("open O_CREAT", open(tail_string("one"), O_CREAT | O_RDWR, 0640));
	report("write", write(fd, tail_copy("hello", 5), 5));
	report("lseek", lseek(fd, 1, SEEK_SET));
	report("read", read(fd, buffer, sizeof buffer));
	check("read what was written", !memcmp(buffer, "ello", 4));
	report("read at the end", read(fd, buffer, sizeof buffer));
	report("close", close(fd));
	report("close twice", close(fd));
	report("O_EXCL on an existing file", open("one", O_CREAT | O_EXCL | O_RDWR, 0600));
	report("O_DIRECTORY on a file", open("one", O_DIRECTORY | O_RDONLY));
	report("path through a file", open("one/two", O_RDONLY));
	report("open empty name", open(tail_string(""), O_RDONLY));
	report("directory for writing", open(".", O_WRONLY));

	fd = report("O_APPEND", open("one", O_APPEND | O_WRONLY));
	report("append", write(fd, " world", 6));
	report("position after append", lseek(fd, 0, SEEK_CUR));
	report("pwrite with O_APPEND", pwrite(fd, "!", 1, 0));
	report("read from a write-only file", read(fd, buffer, 1));
	close(fd);
	fd = report("O_RDONLY", open("one", O_RDONLY));
	report("write to a read-only file", write(fd, "x", 1));
	report("pread", pread(fd, tail_alloc(12), 12, 0));
	report("pread beyond the end", pread(fd, buffer, 5, 100));
	report("pread negative offset", pread(fd, buffer, 5, -1));
	report("lseek SEEK_END", lseek(fd, -2, SEEK_END));
	report("lseek negative", lseek(fd, -1, SEEK_SET));
	report("lseek bad whence", lseek(fd, 0, 99));
	close(fd);
	fd = report("O_TRUNC", open("one", O_TRUNC | O_RDWR));
	report("length after O_TRUNC", lseek(fd, 0, SEEK_END));
	close(fd);
	fd = report("O_PATH", open("one", O_PATH));
	report("read O_PATH", read(fd, buffer, 1));
	close(fd);
	fd = attempt("O_TMPFILE", open(".", O_TMPFILE | O_RDWR, 0600));
	close(fd);
	report("creat", fd = creat(tail_string("made"), 0604));
	close(fd);
}

static void relative(void)
{
	struct open_how how = {.flags = O_CREAT | O_RDWR, .mode = 0600, .resolve = RESOLVE_BENEATH};
	int dir, fd;

	report("mkdir", mkdir(tail_string("dir"), 0755));
	report("mkdir EEXIST", mkdir("dir", 0755));
	dir = report("open a directory", open("dir", O_RDONLY | O_DIRECTORY));
	fd = report("openat", openat(dir, tail_string("inner"), O_CREAT | O_WRONLY, 0600));
	close(fd);
	report("openat on a bad descriptor", openat(77, "inner", O_RDONLY));
	fd = report("openat absolute on a bad descriptor", openat(77, "/dev/null", O_RDONLY));
	close(fd);
	fd = report("openat on a file", open("one", O_RDONLY));
	report("openat below a file", openat(fd, "inner", O_RDONLY));
	close(fd);
	fd = report("openat2", syscall(SYS_openat2, dir, tail_string("second"),
				       tail_copy(&how, sizeof how), sizeof how));
	close(fd);
	report("openat2 above the directory", syscall(SYS_openat2, dir, "../one", &how, sizeof how));
	report("openat2 short structure", syscall(SYS_openat2, dir, "inner", &how, 8));
	how.flags |= 1ull << 50;
	report("openat2 unknown flag", syscall(SYS_openat2, dir, "inner", &how, sizeof how));
	report("unlinkat", unlinkat(dir, "second", 0));
	report("unlinkat AT_REMOVEDIR on a file", unlinkat(dir, "inner", AT_REMOVEDIR));
	report("rmdir not empty", rmdir("dir"));
	report("mkdirat", mkdirat(dir, "deep", 0700));
	report("unlinkat AT_REMOVEDIR", unlinkat(dir, "deep", AT_REMOVEDIR));
	report("faccessat", faccessat(dir, "inner", R_OK, 0));
	close(dir);
}

static void naming(void)
{
	char buffer[16];
	int fd;

	report("rename", rename(tail_string("made"), tail_string("renamed")));
	report("rename ENOENT", rename("made", "other"));
	make_file("target", "target");
	report("rename onto a file", rename("renamed", "target"));
	make_file("other", "other");
	report("RENAME_NOREPLACE", renameat2(AT_FDCWD, "other", AT_FDCWD, "target", RENAME_NOREPLACE));
	report("RENAME_EXCHANGE", renameat2(AT_FDCWD, "other", AT_FDCWD, "target", RENAME_EXCHANGE));
	report("rename a directory onto a file", rename("dir", "target"));
	report("rename into itself", rename("dir", "dir/sub"));
	report("link", link(tail_string("target"), tail_string("hard")));
	report("link EEXIST", link("target", "hard"));
	report("link to a directory", link("dir", "dirlink"));
	report("symlink", symlink(tail_string("target"), tail_string("soft")));
	report("symlink EEXIST", symlink("target", "soft"));
	memset(buffer, '.', sizeof buffer);
	report("readlink", readlink("soft", buffer, sizeof buffer));
	check("readlink writes no NUL", !memcmp(buffer, "target..", 8));
	memset(buffer, '.', sizeof buffer);
	report("readlink short buffer", readlink("soft", buffer, 3));
	check("readlink keeps the rest", !memcmp(buffer, "tar...", 6));
	report("readlink exact buffer", readlink("soft", tail_alloc(6), 6));
	report("readlink size 0", readlink("soft", buffer, 0));
	report("readlink on a file", readlink("target", buffer, sizeof buffer));
	report("O_NOFOLLOW", open("soft", O_RDONLY | O_NOFOLLOW));
	fd = report("through the link", open("soft", O_RDONLY));
	close(fd);
	report("loop", symlink("loop", "loop"));
	report("open a loop", open("loop", O_RDONLY));
	report("unlink the loop", unlink("loop"));
	report("unlink ENOENT", unlink("loop"));
	attempt("unlink a directory", unlink("dir"));
	fd = MUST(open("hard", O_RDWR));
	report("unlink while open", unlink("hard"));
	report("write afterwards", write(fd, "still", 5));
	close(fd);
	report("mknod a fifo", mknod("fifo", S_IFIFO | 0600, 0));
	report("O_NONBLOCK writer without a reader", open("fifo", O_WRONLY | O_NONBLOCK));
}

static void lengths(void)
{
	int fd = MUST(open("cut", O_CREAT | O_RDWR, 0600));

	MUST(write(fd, "0123456789", 10));
	report("truncate", truncate(tail_string("cut"), 4));
	report("ftruncate longer", ftruncate(fd, 20));
	report("length", lseek(fd, 0, SEEK_END));
	report("ftruncate negative", ftruncate(fd, -1));
	report("truncate ENOENT", truncate("missing", 0));
	report("truncate a directory", truncate("dir", 0));
	report("fallocate", fallocate(fd, 0, 0, 8192));
	report("fallocate nothing", fallocate(fd, 0, 0, 0));
	report("SEEK_HOLE", lseek(fd, 0, SEEK_HOLE) >= 0);
	report("fsync", fsync(fd));
	report("fdatasync", fdatasync(fd));
	report("fsync EBADF", fsync(77));
	report("posix_fadvise", posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM));
	close(fd);
	fd = MUST(open("cut", O_RDONLY));
	report("ftruncate read-only", ftruncate(fd, 0));
	close(fd);
}

int main(void)
{
	begin();
	opening();
	relative();
	naming();
	lengths();
	return 0;
}
