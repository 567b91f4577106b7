/* SPDX-License-Identifier: Apache-2.0 */
/* Calls on names, what files are, and where file systems stand: a part for each family. See proof.h. */
#include "proof.h"

#include <linux/fs.h>
#include <linux/mount.h>
#include <stdio.h>
#include <linux/sched.h>
#include <sys/quota.h>
#include <sys/statfs.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <utime.h>

enum { MNT_DETACH = 2, UMOUNT_NOFOLLOW = 8 }; /* <sys/mount.h> quarrels with <linux/mount.h> */

static long made(const char *path)
{
	long fd = C(open, path, O_RDWR | O_CREAT, 0644);

	C(write, fd, "contents", 8);
	return fd;
}

static void paths(void)
{
	static struct {
		struct file_handle h;
		unsigned char more[128];
	} handle;
	static int id;
	long fd = made("file"), dir;

	C(access, "file", R_OK | W_OK);
	C(access, "missing", F_OK);
	C(faccessat, AT_FDCWD, "file", R_OK);
	C(faccessat, AT_FDCWD, "file", X_OK);
	C(faccessat, AT_FDCWD, "missing", R_OK);
	C(faccessat2, AT_FDCWD, "file", R_OK, AT_EACCESS | AT_SYMLINK_NOFOLLOW);
	C(faccessat2, NOFD, "file", 77, 0x10);
	C(getcwd, M0, 4096);
	C(getcwd, M0, 2);
	C(mkdir, "dir", 0755);
	C(mkdir, "dir", 0700);
	C(mkdirat, AT_FDCWD, "dir/inner", 01777);
	C(mkdirat, NOFD, "x", 0);
	dir = C(open, "dir", O_RDONLY | O_DIRECTORY);
	C(getdents64, dir, M0, 4096);
	C(getdents64, dir, M0, 4096);
	C(getdents64, fd, M0, 4096);
	C(lseek, dir, 0, SEEK_SET);
	C(getdents, dir, M0, 4096);
	C(getdents, dir, M0, 4096);
	C(getdents, NOFD, M0, 4096);
	C(chdir, "dir");
	C(chdir, "missing");
	C(fchdir, dir);
	C(fchdir, NOFD);
	C(chdir, "..");
	C(link, "file", "linked");
	C(link, "missing", "linked2");
	C(linkat, dir, "../file", AT_FDCWD, "linked3", AT_SYMLINK_FOLLOW);
	C(linkat, NOFD, "a", dir, "b", AT_EMPTY_PATH);
	C(symlink, "file", "soft");
	C(symlink, "file", "soft");
	C(symlinkat, "a target", dir, "soft");
	C(symlinkat, "a target", NOFD, "soft");
	C(readlink, "soft", M0, 100);
	C(readlink, "file", M0, 100);
	C(readlinkat, dir, "soft", M0, 3);
	C(readlinkat, AT_FDCWD, "missing", M0, 3);
	C(rename, "linked", "renamed");
	C(rename, "missing", "renamed");
	C(renameat, AT_FDCWD, "renamed", dir, "moved");
	C(renameat, dir, "missing", dir, "moved");
	C(renameat2, dir, "moved", AT_FDCWD, "file", RENAME_EXCHANGE);
	C(renameat2, dir, "moved", AT_FDCWD, "file", RENAME_NOREPLACE);
	C(mknod, "fifo", S_IFIFO | 0600);
	C(mknod, "fifo", S_IFIFO | 0600);
	C(mknodat, dir, "device", S_IFREG | 0644, 0);
	C(mknodat, NOFD, "device", S_IFCHR | 0644, 0x105);
	handle.h.handle_bytes = 0;
	C(name_to_handle_at, AT_FDCWD, "file", &handle, &id, 0);
	handle.h.handle_bytes = 128;
	C(name_to_handle_at, AT_FDCWD, "file", &handle, &id, AT_SYMLINK_FOLLOW);
	C(open_by_handle_at, AT_FDCWD, &handle, O_RDONLY);
	C(open_by_handle_at, NOFD, &handle, O_RDWR);
	C(unlink, "soft");
	C(unlink, "soft");
	C(unlinkat, dir, "inner", AT_REMOVEDIR);
	C(unlinkat, dir, "missing", 0);
	C(rmdir, "dir");
	C(mkdir, "empty", 0755);
	C(rmdir, "empty");
	C(rmdir, "missing");
	C(chroot, "missing");
	CHILD(C(chroot, "dir"));
}

static void metadata(void)
{
	static struct stat st;
	static struct statfs fs;
	static struct utimbuf times = {5, 6};
	static struct timeval tv[2] = {{1, 2}, {3, 4}};
	static struct timespec ts[2] = {{1700000000, 123456789}, {0, UTIME_OMIT}};
	static struct timespec now[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}};
	static struct {
		uint64_t from, size;
	} range = {0, 100};
	static uint64_t attributes[3];
	long fd = made("file");

	C(symlink, "file", "soft");
	C(mkdir, "dir", 0711);
	C(stat, "file", &st);
	C(stat, "dir", &st);
	C(stat, "/dev/null", &st);
	C(stat, "missing", &st);
	C(stat, "file", BAD);
	C(stat, BAD, &st);
	C(lstat, "soft", &st);
	C(lstat, "missing", &st);
	C(fstat, fd, &st);
	C(fstat, 0, &st);
	C(fstat, NOFD, &st);
	C(newfstatat, AT_FDCWD, "soft", &st, AT_SYMLINK_NOFOLLOW);
	C(newfstatat, fd, "", &st, AT_EMPTY_PATH);
	C(newfstatat, NOFD, "file", &st, 0);
	C(statx, AT_FDCWD, "file", AT_STATX_SYNC_AS_STAT, STATX_BASIC_STATS | STATX_BTIME, M0);
	C(statx, AT_FDCWD, "missing", AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_ALL, M0);
	C(statx, AT_FDCWD, "file", AT_STATX_DONT_SYNC, STATX_SIZE, M0);
	C(chmod, "file", 0600);
	C(chmod, "missing", 04755);
	C(fchmod, fd, 0644);
	C(fchmod, NOFD, 0);
	C(fchmodat, AT_FDCWD, "file", 0640);
	C(fchmodat, NOFD, "file", 0640);
	N(fchmodat2, AT_FDCWD, "file", 0600, AT_SYMLINK_NOFOLLOW);
	N(fchmodat2, AT_FDCWD, "missing", 0600, 0);
	C(chown, "file", -1, -1);
	C(chown, "missing", 5, 6);
	C(fchown, fd, 0, -1);
	C(fchown, NOFD, 0, 0);
	C(lchown, "soft", 0, 0);
	C(lchown, "missing", 0, 0);
	C(fchownat, AT_FDCWD, "soft", 0, 0, AT_SYMLINK_NOFOLLOW);
	C(fchownat, NOFD, "soft", 0, 0, 0x40);
	C(umask, 077);
	C(umask, 022);
	C(utime, "file", &times);
	C(utime, "file", NULL);
	C(utime, "missing", &times);
	C(utimes, "file", tv);
	C(utimes, "missing", NULL);
	C(futimesat, AT_FDCWD, "file", tv);
	C(futimesat, NOFD, "file", tv);
	C(utimensat, AT_FDCWD, "file", ts, 0);
	C(utimensat, fd, NULL, now, 0);
	C(utimensat, AT_FDCWD, "missing", NULL, AT_SYMLINK_NOFOLLOW);
	C(ustat, st.st_dev, M0);
	C(ustat, 0xfffff, M0);
	C(statfs, "/proc", &fs);
	C(statfs, "missing", &fs);
	C(fstatfs, 0, &fs);
	C(fstatfs, NOFD, &fs);
	N(cachestat, fd, &range, M0, 0);
	N(cachestat, NOFD, &range, M0, 0);
	N(file_getattr, AT_FDCWD, "file", attributes, 24, 0);
	N(file_getattr, AT_FDCWD, "missing", attributes, 24, 0);
	N(file_setattr, AT_FDCWD, "missing", attributes, 24, 0);
}

static void xattrs(void)
{
	static struct {
		uint64_t value;
		uint32_t size, flags;
	} at = {0, 8, 0}, into = {0, 100, 0};
	long fd = made("file");

	at.value = (uint64_t)"at value";
	into.value = (uint64_t)M1;
	C(symlink, "file", "soft");
	C(setxattr, "file", "user.one", "value \001", 7, XATTR_CREATE);
	C(setxattr, "file", "user.one", "value", 5, XATTR_CREATE);
	C(setxattr, "missing", "user.one", "value", 5, XATTR_REPLACE);
	C(lsetxattr, "soft", "trusted.two", "", 0, 0);
	C(lsetxattr, "soft", "user.two", "v", 1, 0);
	C(fsetxattr, fd, "user.three", "a value that is longer than thirty-two bytes", 44, 0);
	C(fsetxattr, NOFD, "user.three", "a", 1, 7);
	C(getxattr, "file", "user.one", M0, 100);
	C(getxattr, "file", "user.one", M0, 2);
	C(getxattr, "file", "user.one", NULL, 0);
	C(getxattr, "file", "user.none", M0, 100);
	C(lgetxattr, "soft", "trusted.two", M0, 100);
	C(lgetxattr, "missing", "user.two", M0, 100);
	C(fgetxattr, fd, "user.three", M0, 100);
	C(fgetxattr, NOFD, "user.three", M0, 100);
	C(listxattr, "file", M0, 100);
	C(listxattr, "file", NULL, 0);
	C(listxattr, "missing", M0, 100);
	C(llistxattr, "file", M0, 100);
	C(llistxattr, "missing", M0, 100);
	C(flistxattr, fd, M0, 3);
	C(flistxattr, fd, M0, 100);
	C(flistxattr, NOFD, M0, 3);
	N(setxattrat, AT_FDCWD, "file", 0, "user.at", &at, sizeof at);
	N(setxattrat, AT_FDCWD, "missing", 0, "user.at", &at, sizeof at);
	N(getxattrat, AT_FDCWD, "file", 0, "user.at", &into, sizeof into);
	N(getxattrat, AT_FDCWD, "missing", 0, "user.at", &at, sizeof at);
	N(listxattrat, AT_FDCWD, "file", 0, M0, 100);
	N(listxattrat, NOFD, "file", 0, M0, 100);
	N(removexattrat, AT_FDCWD, "file", 0, "user.at");
	N(removexattrat, AT_FDCWD, "file", 0, "user.at");
	C(removexattr, "file", "user.one");
	C(removexattr, "file", "user.one");
	C(lremovexattr, "soft", "trusted.two");
	C(lremovexattr, "missing", "trusted.two");
	C(fremovexattr, fd, "user.three");
	C(fremovexattr, NOFD, "user.three");
}

static void mounts(void)
{
	static struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID};
	static uint64_t request[4] = {32, ~0ull, 0, 0};
	long fs, fd;

	C(mkdir, "dir", 0755);
	C(mount, "none", "missing", "tmpfs", MS_NOSUID | MS_NODEV, "size=1m");
	C(mount, "none", "missing", "nosuchfs", 0, NULL);
	C(mount, NULL, "missing", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL);
	C(umount2, "missing", MNT_DETACH | UMOUNT_NOFOLLOW);
	C(umount2, "dir", 0);
	C(pivot_root, "missing", "missing/old");
	C(swapon, "missing", 0x8001);
	C(swapoff, "missing");
	C(quotactl, QCMD(Q_SYNC, USRQUOTA), NULL, 0, NULL);
	C(quotactl, QCMD(Q_GETQUOTA, GRPQUOTA), "missing", 5, M0);
	C(quotactl_fd, NOFD, QCMD(Q_GETINFO, USRQUOTA), 0, M0);
	fd = C(open_tree, AT_FDCWD, "dir", OPEN_TREE_CLOEXEC);
	C(open_tree, AT_FDCWD, "missing", OPEN_TREE_CLONE | AT_RECURSIVE);
	C(move_mount, NOFD, "", AT_FDCWD, "missing", MOVE_MOUNT_F_EMPTY_PATH);
	fs = C(fsopen, "tmpfs", FSOPEN_CLOEXEC);
	C(fsopen, "nosuchfs", 0);
	C(fsconfig, fs, FSCONFIG_SET_STRING, "size", "1m", 0);
	C(fsconfig, fs, FSCONFIG_SET_FLAG, "ro", NULL, 0);
	C(fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
	C(fsconfig, NOFD, FSCONFIG_SET_FD, "source", NULL, 5);
	C(fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV);
	C(fsmount, NOFD, 0, 0);
	C(fspick, AT_FDCWD, "/proc", FSPICK_CLOEXEC);
	C(fspick, AT_FDCWD, "missing", FSPICK_NO_AUTOMOUNT);
	C(mount_setattr, AT_FDCWD, "missing", AT_RECURSIVE, &attr, sizeof attr);
	C(mount_setattr, fd, "", AT_EMPTY_PATH, &attr, 3);
	N(statmount, request, M0, 4096, 0);
	N(listmount, request, M0, 16, 0);
	N(listmount, request, M0, 16, 77);
	N(open_tree_attr, AT_FDCWD, "missing", 0, &attr, sizeof attr);
	CHILD(C(unshare, CLONE_NEWNS);
	      C(mount, NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	      C(mount, "none", "dir", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=1m");
	      C(umount2, "dir", MNT_DETACH));
}

int main(int argc, char **argv)
{
	static const struct part parts[] = {
		{"paths", paths}, {"metadata", metadata}, {"xattrs", xattrs}, {"mounts", mounts}, {},
	};

	return run_part(parts, argc, argv);
}
