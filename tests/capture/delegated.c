/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Has the kernel kill this very process at the first call on files, descriptors and sockets that it makes, and then
 * makes them all. Natively it dies at once. It lives only if another process executes them. The one exception: messages
 * on descriptor 3, which the captured process may use to talk to that other process.
 */
#include "check.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

static const int forbidden[] = {
	SYS_openat, SYS_openat2, SYS_read, SYS_write, SYS_close, SYS_pread64, SYS_pwrite64, SYS_readv, SYS_writev,
	SYS_preadv, SYS_pwritev, SYS_lseek, SYS_newfstatat, SYS_fstat, SYS_statx, SYS_statfs, SYS_getdents64,
	SYS_unlinkat, SYS_mkdirat, SYS_renameat2, SYS_linkat, SYS_symlinkat, SYS_readlinkat, SYS_fchmod, SYS_fchmodat,
	SYS_faccessat, SYS_utimensat, SYS_truncate, SYS_ftruncate, SYS_fsync, SYS_dup, SYS_dup3, SYS_fcntl, SYS_ioctl,
	SYS_pipe2, SYS_socket, SYS_socketpair, SYS_bind, SYS_listen, SYS_accept, SYS_accept4, SYS_connect,
	SYS_getsockname, SYS_getpeername, SYS_setsockopt, SYS_getsockopt, SYS_shutdown, SYS_ppoll, SYS_pselect6,
	SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait, SYS_eventfd2, SYS_sendfile, SYS_splice, SYS_copy_file_range,
	SYS_flock, SYS_getxattr,
#ifdef SYS_open /* calls of which newer machines have only the more general form */
	SYS_open, SYS_stat, SYS_lstat, SYS_access, SYS_unlink, SYS_mkdir, SYS_rmdir, SYS_rename, SYS_link, SYS_symlink,
	SYS_readlink, SYS_chmod, SYS_creat, SYS_dup2, SYS_pipe, SYS_poll, SYS_select, SYS_epoll_create, SYS_epoll_wait,
#endif
};
static const int messages[] = {SYS_sendto, SYS_recvfrom, SYS_sendmsg, SYS_recvmsg};

enum { COUNT = sizeof forbidden / sizeof *forbidden, MESSAGES = sizeof messages / sizeof *messages };

static void forbid(void)
{
	struct sock_filter code[4 + 2 * COUNT + MESSAGES + 8];
	struct sock_fprog filter = {.filter = code};
	int n = 0;

	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (int i = 0; i < COUNT; i++) {
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)forbidden[i], 0, 1);
		code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	}
	for (int i = 0; i < MESSAGES; i++)
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)messages[i],
							 MESSAGES - i, 0);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0]));
	code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 3, 0, 1);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	filter.len = (unsigned short)n;
	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter));
}

static void files(void)
{
	char buffer[4096];
	struct iovec piece = {buffer, 10};
	struct stat st;
	int fd = attempt("openat", open("file", O_CREAT | O_RDWR, 0600)), twin;

	report("write", write(fd, "0123456789", 10));
	report("pread64", pread(fd, buffer, 5, 2));
	report("lseek", lseek(fd, 0, SEEK_SET));
	report("read", read(fd, buffer, 10));
	report("pwritev", pwritev(fd, &piece, 1, 10));
	report("fstat", fstat(fd, &st));
	report("newfstatat", stat("file", &st));
	report("fcntl", fcntl(fd, F_GETFD));
	twin = attempt("dup", dup(fd));
	report("ftruncate", ftruncate(twin, 5));
	report("fsync", fsync(fd));
	report("close", close(twin));
	report("linkat", link("file", "hard"));
	report("symlinkat", symlink("file", "soft"));
	report("readlinkat", readlink("soft", buffer, sizeof buffer));
	report("renameat2", rename("hard", "other"));
	report("faccessat", access("other", F_OK));
	report("fchmodat", chmod("other", 0640));
	report("unlinkat", unlink("other"));
	report("mkdirat", mkdir("directory", 0700));
	twin = attempt("open a directory", open(".", O_RDONLY | O_DIRECTORY));
	attempt("getdents64", syscall(SYS_getdents64, twin, buffer, sizeof buffer));
	report("sendfile", sendfile(fd, fd, NULL, 0));
	close(twin);
	close(fd);
}

static void sockets(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof address;
	struct epoll_event event = {.events = EPOLLIN};
	struct pollfd poller = {.events = POLLIN};
	int server = attempt("socket", socket(AF_INET, SOCK_STREAM, 0)), client, end, pending, queue, p[2];
	char buffer[16];

	report("bind", bind(server, (struct sockaddr *)&address, sizeof address));
	report("listen", listen(server, 1));
	report("getsockname", getsockname(server, (struct sockaddr *)&address, &length));
	client = (int)attempt("socket", socket(AF_INET, SOCK_STREAM, 0));
	report("connect", connect(client, (struct sockaddr *)&address, sizeof address));
	end = (int)attempt("accept", accept(server, NULL, NULL));
	report("send", send(client, "hello", 5, 0));
	poller.fd = end;
	report("poll", poll(&poller, 1, 5000));
	queue = (int)attempt("epoll_create1", epoll_create1(0));
	report("epoll_ctl", epoll_ctl(queue, EPOLL_CTL_ADD, end, &event));
	report("epoll_wait", epoll_wait(queue, &event, 1, 5000));
	report("ioctl", ioctl(end, FIONREAD, &pending));
	report("recv", recv(end, buffer, sizeof buffer, 0));
	report("shutdown", shutdown(client, SHUT_RDWR));
	attempt("eventfd2", eventfd(0, 0));
	report("pipe2", pipe(p));
	report("socketpair", socketpair(AF_UNIX, SOCK_STREAM, 0, p));
	close(end);
	close(client);
	close(server);
}

static void *thread(void *argument)
{
	printf("in a thread\n");
	files();
	return argument;
}

int main(void)
{
	pthread_t worker;

	begin();
	printf("from now on such calls kill\n");
	forbid();
	printf("alive\n");
	files();
	sockets();
	MUST(rmdir("directory"));
	MUST(unlink("soft"));
	pthread_create(&worker, NULL, thread, NULL);
	pthread_join(worker, NULL);
	printf("made them all\n");
	return 0;
}
