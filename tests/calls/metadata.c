/* SPDX-License-Identifier: Apache-2.0 */
/* What is known about files: the stat family, modes, times, owners, access, file systems, extended attributes. */
#include "check.h"

#include <sys/statvfs.h>
#include <sys/time.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

static void show(const char *name, const struct stat *st)
{
	printf("%s: type %o mode %o links %lu size %lld\n", name, st->st_mode & S_IFMT, st->st_mode & 07777,
	       (unsigned long)st->st_nlink, (long long)st->st_size);
}

static void stats(void)
{
	struct stat st, other;
	struct statx *x = tail_alloc(sizeof *x);
	int fd;

	make_file("file", "12345");
	MUST(symlink("file", "soft"));
	MUST(link("file", "hard"));
	MUST(mkdir("dir", 0751));
	if (!report("stat", stat("file", &st)))
		show("stat", &st);
	if (!report("lstat", lstat("soft", &other)))
		show("lstat", &other);
	if (!report("stat through the link", stat("soft", &other)))
		check("same file", st.st_ino == other.st_ino && st.st_dev == other.st_dev);
	fd = MUST(open("hard", O_RDONLY));
	if (!report("fstat", fstat(fd, &other)))
		check("same file by descriptor", st.st_ino == other.st_ino);
	if (!report("fstatat AT_SYMLINK_NOFOLLOW", fstatat(AT_FDCWD, "soft", &other, AT_SYMLINK_NOFOLLOW)))
		show("fstatat", &other);
	if (!report("fstatat AT_EMPTY_PATH", fstatat(fd, tail_string(""), &other, AT_EMPTY_PATH)))
		show("by descriptor", &other);
	report("fstatat bad flag", fstatat(AT_FDCWD, "file", &other, 0x40000000));
	if (!report("stat a directory", stat("dir", &other)))
		printf("dir mode %o\n", other.st_mode & 07777);
	report("stat ENOENT", stat("missing", &st));
	report("stat ENOTDIR", stat("file/x", &st));
	report("fstat EBADF", fstat(77, &st));

	report("statx", statx(AT_FDCWD, "file", AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, x));
	printf("statx: mode %o size %llu links %u\n", x->stx_mode & 07777, (unsigned long long)x->stx_size,
	       x->stx_nlink);
	report("statx EBADF", statx(77, "file", 0, STATX_SIZE, x));
	report("statx by descriptor", statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, x));
	report("statx unmapped", statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, nowhere()));
	report("statx NULL path", syscall(SYS_statx, AT_FDCWD, nowhere(), 0, STATX_SIZE, x));
	close(fd);
	if (!report("stat /dev/null", stat("/dev/null", &st)))
		check("it is a device", S_ISCHR(st.st_mode) && st.st_rdev == 0x103);
}

static void modes(void)
{
	struct stat st;
	int fd = MUST(open("file", O_RDWR));

	report("chmod", chmod(tail_string("file"), 0604));
	stat("file", &st);
	printf("mode %o\n", st.st_mode & 07777);
	report("fchmod", fchmod(fd, 04711));
	fstat(fd, &st);
	printf("mode %o\n", st.st_mode & 07777);
	report("fchmodat", fchmodat(AT_FDCWD, "file", 0444, 0));
	report("chmod ENOENT", chmod("missing", 0600));
	report("fchmod EBADF", fchmod(77, 0600));
	report("chown to ourselves", chown("file", getuid(), getgid()));
	report("lchown", lchown("soft", -1, -1));
	report("fchown", fchown(fd, -1, -1));
	report("fchownat", fchownat(AT_FDCWD, "soft", -1, -1, AT_SYMLINK_NOFOLLOW));
	report("access F_OK", access(tail_string("file"), F_OK));
	report("access X_OK", access("file", X_OK));
	report("access bad mode", access("file", 0x80));
	report("access ENOENT", access("missing", F_OK));
	report("faccessat AT_EACCESS", faccessat(AT_FDCWD, "file", R_OK, AT_EACCESS));
	umask(077);
	close(MUST(open("narrow", O_CREAT | O_WRONLY, 0666)));
	MUST(mkdir("narrowdir", 0777));
	report("umask back", umask(022));
	stat("narrow", &st);
	printf("mode under umask 077: %o\n", st.st_mode & 07777);
	close(fd);
}

static void times(void)
{
	struct timespec both[2] = {{1000000000, 123456789}, {1100000000, 987654321}};
	struct timespec omit[2] = {{0, UTIME_OMIT}, {0, UTIME_NOW}};
	struct timespec bad[2] = {{0, 2000000000}, {0, 0}};
	struct timeval old[2] = {{900000000, 5}, {900000001, 6}};
	struct stat st;
	int fd = MUST(open("file", O_RDONLY));

	report("utimensat", utimensat(AT_FDCWD, tail_string("file"), tail_copy(both, sizeof both), 0));
	stat("file", &st);
	check("access time", st.st_atim.tv_sec == 1000000000);
	check("modification time", st.st_mtim.tv_sec == 1100000000 && st.st_mtim.tv_nsec == 987654321);
	report("futimens UTIME_OMIT", futimens(fd, omit));
	stat("file", &st);
	check("access time kept", st.st_atim.tv_sec == 1000000000);
	check("modification time is now", st.st_mtim.tv_sec > 1500000000);
	report("utimensat NULL", utimensat(AT_FDCWD, "file", NULL, 0));
	report("utimensat bad nanoseconds", utimensat(AT_FDCWD, "file", bad, 0));
	report("utimensat unmapped times", utimensat(AT_FDCWD, "file", nowhere(), 0));
	report("utimensat of a link", utimensat(AT_FDCWD, "soft", both, AT_SYMLINK_NOFOLLOW));
	lstat("soft", &st);
	check("time of the link", st.st_mtim.tv_sec == 1100000000);
	report("utimes", utimes("file", tail_copy(old, sizeof old)));
	stat("file", &st);
	check("utimes set it", st.st_mtim.tv_sec == 900000001 && st.st_mtim.tv_nsec == 6000);
	close(fd);
}

static void file_systems(void)
{
	struct statfs *fs = tail_alloc(sizeof *fs);
	int fd = MUST(open(".", O_RDONLY));

	report("statfs", statfs(tail_string("/proc"), fs));
	check("proc", fs->f_type == 0x9fa0);
	report("fstatfs", fstatfs(fd, fs));
	check("block size", fs->f_bsize > 0);
	report("statfs ENOENT", statfs("missing", fs));
	report("fstatfs EBADF", fstatfs(77, fs));
	close(fd);
}

static void attributes(void)
{
	char value[64], *list;
	int fd = MUST(open("dir", O_RDONLY));

	if (attempt("setxattr", setxattr("file", "user.colour", tail_copy("green", 5), 5, 0)) == -1)
		goto out; /* the file system has none: same answer in every run */
	report("setxattr XATTR_CREATE", setxattr("file", "user.colour", "red", 3, XATTR_CREATE));
	report("setxattr XATTR_REPLACE", setxattr("file", "user.none", "red", 3, XATTR_REPLACE));
	report("getxattr", getxattr("file", tail_string("user.colour"), value, sizeof value));
	check("value", !memcmp(value, "green", 5));
	report("getxattr size", getxattr("file", "user.colour", NULL, 0));
	report("getxattr too short", getxattr("file", "user.colour", value, 2));
	report("getxattr at the edge", getxattr("file", "user.colour", tail_alloc(5), 5));
	report("getxattr missing", getxattr("file", "user.none", value, sizeof value));
	report("fsetxattr", fsetxattr(fd, "user.shape", "round", 5, 0));
	report("fgetxattr", fgetxattr(fd, "user.shape", value, sizeof value));
	list = tail_alloc(12);
	report("listxattr", listxattr("file", list, 12));
	check("list", !memcmp(list, "user.colour", 12));
	report("listxattr too short", listxattr("file", list, 3));
	report("llistxattr", llistxattr("soft", list, 12));
	report("flistxattr", flistxattr(fd, NULL, 0));
	report("removexattr", removexattr("file", "user.colour"));
	report("removexattr again", removexattr("file", "user.colour"));
	report("lgetxattr", lgetxattr("soft", "user.colour", value, sizeof value));
out:
	close(fd);
}

int main(void)
{
	begin();
	stats();
	modes();
	times();
	file_systems();
	attributes();
	return 0;
}
