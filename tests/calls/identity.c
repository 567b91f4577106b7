/* SPDX-License-Identifier: Apache-2.0 */
/* Where the kernel names a process to others: owners of locks, peers of sockets, senders, who gets SIGIO. */
#include "check.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

static volatile sig_atomic_t urgent;

static void on_io(int signal)
{
	(void)signal;
	urgent++;
}

static void of_locks(void)
{
	struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd = MUST(open("file", O_CREAT | O_RDWR, 0600)), p[2];
	pid_t child;
	char byte;

	MUST(pipe(p));
	child = fork();
	if (!child) {
		fcntl(fd, F_SETLK, &range);
		write(p[1], "x", 1);
		sleep_ms(100);
		_exit(0);
	}
	MUST(read(p[0], &byte, 1));
	report("F_GETLK", fcntl(fd, F_GETLK, &range));
	check("the child holds it", range.l_pid == child);
	reap("child", child);
	close(fd);
}

static void of_peers(void)
{
	struct ucred who = {0};
	socklen_t length = sizeof who;
	int p[2];

	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, p));
	report("SO_PEERCRED", getsockopt(p[0], SOL_SOCKET, SO_PEERCRED, &who, &length));
	check("peer is ourselves", who.pid == getpid() && who.uid == getuid());
	close(p[0]);
	close(p[1]);
}

static void of_messages(void)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(struct ucred))];
	} control = {.head = {.cmsg_len = CMSG_LEN(sizeof(struct ucred)), .cmsg_level = SOL_SOCKET,
			      .cmsg_type = SCM_CREDENTIALS}};
	struct ucred who = {getpid(), getuid(), getgid()};
	char byte = 'c';
	struct iovec data = {&byte, 1};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control,
				 .msg_controllen = sizeof control};
	int p[2], one = 1;

	MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, p));
	MUST(setsockopt(p[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof one));
	memcpy(CMSG_DATA(&control.head), &who, sizeof who);
	report("send our credentials", sendmsg(p[0], &message, 0));
	memset(&control, 0, sizeof control);
	message.msg_controllen = sizeof control;
	report("recvmsg", recvmsg(p[1], &message, MSG_DONTWAIT));
	memcpy(&who, CMSG_DATA(&control.head), sizeof who);
	check("sender is ourselves", who.pid == getpid());
	close(p[0]);
	close(p[1]);
}

static void of_notices(void)
{
	int p[2];

	signal(SIGIO, on_io);
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, p));
	report("F_SETOWN", fcntl(p[0], F_SETOWN, getpid()));
	check("F_GETOWN", fcntl(p[0], F_GETOWN) == getpid());
	report("O_ASYNC", fcntl(p[0], F_SETFL, O_ASYNC));
	MUST(write(p[1], "x", 1));
	for (int i = 0; i < 100 && !urgent; i++)
		sleep_ms(10);
	check("SIGIO came", urgent > 0);
}

int main(void)
{
	begin();
	of_locks();
	of_peers();
	of_messages();
	of_notices();
	return 0;
}
