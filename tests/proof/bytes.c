/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that move bytes, and open and close what holds them: a part for each family. See proof.h. */
#include "proof.h"

#include <linux/fs.h>
#include <linux/if.h>
#include <linux/openat2.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <termios.h>

static struct iovec iov[3];

static void transfer(void)
{
	int fds[2], more[2];
	long fd = C(open, "data", O_RDWR | O_CREAT, 0644);
	off_t *at = (off_t *)M3;

	for (int i = 0; i < 200; i++)
		M0[i] = (char)(i * 7);
	C(write, fd, "hello, world\n\t\"quoted\" \\ and \001\0012", 34);
	C(write, fd, M0, 200);
	C(write, fd, M0, 0);
	C(write, NOFD, "x", 1);
	C(write, fd, BAD, 5);
	C(lseek, fd, 0, SEEK_SET);
	C(read, fd, M1, 13);
	C(read, fd, M1, 100);
	C(read, fd, M1, 1000);
	C(read, fd, M1, 10);
	C(read, NOFD, M1, 10);
	C(read, fd, BAD, 10);
	C(pread64, fd, M1, 20, 5);
	C(pread64, fd, M1, 20, -5);
	C(pread64, NOFD, M1, 20, 5);
	C(pwrite64, fd, "somewhere", 9, 10000000000);
	C(pwrite64, fd, "x", 1, -1);
	iov[0] = (struct iovec){"first", 5};
	iov[1] = (struct iovec){M0, 50};
	iov[2] = (struct iovec){"", 0};
	C(writev, fd, iov, 3);
	C(writev, NOFD, iov, 2);
	C(writev, fd, BAD, 2);
	C(writev, fd, iov, -1);
	C(pwritev, fd, iov, 3, 0, 0);
	C(pwritev, NOFD, iov, 3, 0, 0);
	C(pwritev2, fd, iov, 2, 100, 0, 0);
	C(pwritev2, fd, iov, 2, 100, 0, 0x7000);
	iov[0] = (struct iovec){M1, 5};
	iov[1] = (struct iovec){M2, 60};
	C(lseek, fd, 0, SEEK_SET);
	C(readv, fd, iov, 2);
	C(readv, NOFD, iov, 2);
	C(preadv, fd, iov, 2, 1, 0);
	C(preadv, fd, iov, 2, -1, -1);
	C(preadv2, fd, iov, 2, 3, 0, RWF_NOWAIT);
	C(preadv2, NOFD, iov, 2, 3, 0, 0);
	*at = 3;
	C(sendfile, 1, fd, at, 20);
	C(sendfile, 1, fd, NULL, 5);
	C(sendfile, NOFD, fd, at, 20);
	C(pipe, fds);
	C(pipe, more);
	*at = 0;
	C(splice, fd, at, fds[1], NULL, 30, SPLICE_F_MOVE);
	C(tee, fds[0], more[1], 10, SPLICE_F_NONBLOCK);
	C(tee, fd, more[1], 10, 0);
	C(splice, fds[0], NULL, 1, NULL, 30, 0);
	C(splice, fd, BAD, fds[1], NULL, 30, 0);
	iov[0] = (struct iovec){"given", 5};
	C(vmsplice, fds[1], iov, 1, SPLICE_F_GIFT);
	C(vmsplice, fd, iov, 1, 0);
	long other = C(open, "other", O_RDWR | O_CREAT, 0600);
	*at = 1;
	C(copy_file_range, fd, at, other, NULL, 40, 0);
	C(copy_file_range, fd, NULL, other, NULL, 40, 0);
	C(copy_file_range, fd, NULL, fds[1], NULL, 40, 0);
	C(copy_file_range, fd, NULL, other, NULL, 40, 5);
	C(close, fd);
}

static void files(void)
{
	static struct open_how how = {.flags = O_RDONLY | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS};
	long fd = C(creat, "made", 0640);

	C(creat, "missing/file", 0640);
	C(ftruncate, fd, 5000);
	C(ftruncate, NOFD, 5000);
	C(ftruncate, fd, -1);
	C(close, fd);
	C(close, fd);
	C(close, -1);
	fd = C(open, "made", O_RDWR | O_APPEND | O_NONBLOCK | O_DSYNC);
	C(open, "made", O_RDWR | O_CREAT | O_EXCL, 0666);
	C(open, "missing", O_RDONLY);
	C(open, "", O_WRONLY | O_TRUNC | O_NOFOLLOW);
	C(open, BAD, O_RDONLY);
	C(open, NULL, O_RDONLY);
	C(open, ".", O_RDWR | O_TMPFILE, 0600);
	C(open, "a name with \"quotes\", a \\ and \303\244\n", O_RDONLY | O_SYNC | O_NOATIME);
	memset(M0, 'l', 5000);
	C(open, M0, O_PATH);
	C(open, "/", O_RDONLY | O_DIRECTORY | 0x40000000);
	C(openat, AT_FDCWD, "made", O_RDONLY);
	C(openat, 3, "made", O_ASYNC | O_RDWR);
	C(openat, NOFD, "made", O_RDONLY | O_LARGEFILE);
	C(openat2, AT_FDCWD, "made", &how, sizeof how);
	C(openat2, AT_FDCWD, "missing", &how, sizeof how);
	how.resolve = 0x1000;
	C(openat2, AT_FDCWD, "made", &how, sizeof how);
	C(openat2, AT_FDCWD, "made", &how, 3);
	C(lseek, fd, 100, SEEK_SET);
	C(lseek, fd, -1, SEEK_CUR);
	C(lseek, fd, 0, SEEK_END);
	C(lseek, fd, 0, SEEK_HOLE);
	C(lseek, fd, 0, SEEK_DATA);
	C(lseek, fd, 0, 77);
	C(lseek, 1000, 0, SEEK_SET);
	C(fsync, fd);
	C(fsync, NOFD);
	C(fdatasync, fd);
	C(fdatasync, NOFD);
	C(truncate, "made", 100);
	C(truncate, "missing", 100);
	C(truncate, "made", -100);
	C(sync);
	C(syncfs, fd);
	C(syncfs, NOFD);
	C(readahead, fd, 0, 4096);
	C(readahead, NOFD, 10, 4096);
	C(fadvise64, fd, 0, 100, POSIX_FADV_WILLNEED);
	C(fadvise64, fd, 0, 100, 99);
	C(sync_file_range, fd, 0, 100, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE);
	C(sync_file_range, fd, 0, 100, 0x80);
	C(fallocate, fd, 0, 0, 10000);
	C(fallocate, fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, 4096);
	C(fallocate, NOFD, 0, 0, 10);
	C(memfd_create, "a memfd", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	C(memfd_create, BAD, 0);
	C(memfd_create, "x", 0x800);
	C(memfd_secret, 0);
	C(memfd_secret, 5);
	C(close_range, 100, 200, 0);
	C(close_range, 200, 100, 0);
	C(close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC);
	C(close_range, 3, 10, 0x80);
	C(close_range, 3, ~0u, 0);
}

static void descriptors(void)
{
	static int fds[2];
	static struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 5, .l_len = 10};
	static struct f_owner_ex owner = {F_OWNER_PID, 0};
	long fd = C(open, "data", O_RDWR | O_CREAT, 0644);

	C(pipe, fds);
	C(pipe2, fds, O_CLOEXEC | O_NONBLOCK);
	C(pipe2, fds, O_DIRECT);
	C(pipe2, fds, 0x80000001);
	C(dup, fd);
	C(dup, NOFD);
	C(dup2, fd, 50);
	C(dup2, fd, fd);
	C(dup2, NOFD, 50);
	C(dup2, fd, -1);
	C(dup3, fd, 51, O_CLOEXEC);
	C(dup3, fd, fd, 0);
	C(dup3, fd, 52, 1);
	C(fcntl, fd, F_DUPFD, 60);
	C(fcntl, fd, F_DUPFD_CLOEXEC, 60);
	C(fcntl, fd, F_DUPFD, -1);
	C(fcntl, fd, F_GETFD);
	C(fcntl, fd, F_SETFD, FD_CLOEXEC);
	C(fcntl, fd, F_GETFD);
	C(fcntl, fd, F_SETFD, 2);
	C(fcntl, fd, F_GETFL);
	C(fcntl, fd, F_SETFL, O_APPEND | O_NONBLOCK);
	C(fcntl, fd, F_GETFL);
	C(fcntl, NOFD, F_GETFL);
	C(fcntl, fd, F_GETLK, &lock);
	C(fcntl, fd, F_SETLK, &lock);
	C(fcntl, fd, F_SETLKW, &lock);
	lock.l_type = F_UNLCK;
	C(fcntl, fd, F_SETLK, &lock);
	C(fcntl, fd, F_OFD_SETLK, &lock);
	C(fcntl, fd, F_OFD_GETLK, &lock);
	C(fcntl, fd, F_SETLK, BAD);
	C(fcntl, NOFD, F_SETLK, &lock);
	C(fcntl, fd, F_GETOWN);
	C(fcntl, fd, F_SETOWN, 0);
	C(fcntl, fd, F_SETOWN_EX, &owner);
	C(fcntl, fd, F_GETOWN_EX, &owner);
	C(fcntl, fd, F_SETSIG, SIGUSR1);
	C(fcntl, fd, F_GETSIG);
	C(fcntl, fd, F_SETLEASE, F_RDLCK);
	C(fcntl, fd, F_GETLEASE);
	C(fcntl, fd, F_NOTIFY, DN_ACCESS);
	C(fcntl, fds[1], F_SETPIPE_SZ, 8192);
	C(fcntl, fds[1], F_GETPIPE_SZ);
	C(fcntl, fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL);
	C(fcntl, fd, F_GET_SEALS);
	C(fcntl, fd, F_GET_RW_HINT, M0);
	C(fcntl, fd, 5555, 7);
	C(flock, fd, LOCK_EX | LOCK_NB);
	C(flock, fd, LOCK_UN);
	C(flock, fd, 99);
	C(flock, NOFD, LOCK_SH);
	C(ioctl, fds[0], FIONREAD, M0);
	C(ioctl, fds[0], FIONREAD, BAD);
	C(ioctl, fd, FIONREAD, M0);
	*(int *)M0 = 1;
	C(ioctl, fds[0], FIONBIO, M0);
	C(ioctl, fd, FIOCLEX, 0);
	C(ioctl, fd, FIONCLEX, 0);
	C(ioctl, NOFD, FIOCLEX, 0);
	C(ioctl, fd, FS_IOC_GETFLAGS, M0);
	C(ioctl, fd, FS_IOC_SETFLAGS, BAD);
	C(ioctl, fd, FIGETBSZ, M0);
	C(ioctl, fd, 0x12345678, M0);
	C(pipe, BAD);
	C(dup, fd);
}

/* ioctls has no calls of its own: its rows are requests. */
static void ioctls(void)
{
	static struct ifreq interface = {.ifr_name = "lo"};
	static struct winsize size = {40, 100, 1, 2};
	static struct termios term;
	long s = C(socket, 2, SOCK_DGRAM | SOCK_CLOEXEC, 0), master = C(open, "/dev/ptmx", O_RDWR | O_NOCTTY);

	C(ioctl, master, TIOCSPTLCK, &(int){0});
	C(ioctl, master, TIOCGPTN, M0);
	C(ioctl, master, TCGETS, &term);
	term.c_lflag = 0;
	C(ioctl, master, TCSETS, &term);
	C(ioctl, master, TCSETSW, &term);
	C(ioctl, master, TCSETSF, BAD);
	C(ioctl, master, TIOCSWINSZ, &size);
	C(ioctl, master, TIOCGWINSZ, &size);
	C(ioctl, master, TIOCGPGRP, M0);
	C(ioctl, master, TIOCGSID, M0);
	C(ioctl, master, TIOCOUTQ, M0);
	C(ioctl, master, TCFLSH, TCIFLUSH);
	C(ioctl, master, TCSBRK, 1);
	C(ioctl, master, TCXONC, 9);
	C(ioctl, s, TCGETS, &term);
	C(ioctl, 0, TIOCGWINSZ, &size);
	C(ioctl, s, SIOCGIFINDEX, &interface);
	C(ioctl, s, SIOCGIFFLAGS, &interface);
	C(ioctl, s, SIOCGIFMTU, &interface);
	C(ioctl, s, SIOCGIFADDR, &interface);
	C(ioctl, s, SIOCGIFNETMASK, &interface);
	strcpy(interface.ifr_name, "nosuch0");
	C(ioctl, s, SIOCGIFINDEX, &interface);
	C(ioctl, s, SIOCGIFADDR, BAD);
}

int main(int argc, char **argv)
{
	static const struct part parts[] = {
		{"transfer", transfer}, {"files", files}, {"descriptors", descriptors}, {"ioctls", ioctls}, {},
	};

	return run_part(parts, argc, argv);
}
