/* SPDX-License-Identifier: Apache-2.0 */
/* Calls on sockets, queues, and what is waited for: a part for each family. See proof.h. */
#include "proof.h"

#include <arpa/inet.h>
#include <mqueue.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>

static struct timespec time_left, none;

/* Calls leave in it what is left of it. */
static struct timespec *soon(void)
{
	time_left = (struct timespec){0, 1000000};
	return &time_left;
}

static void names(void)
{
	static struct sockaddr_in a = {.sin_family = AF_INET};
	static struct sockaddr_in6 a6 = {.sin6_family = AF_INET6};
	static struct sockaddr_un u = {AF_UNIX, "a socket"};
	static socklen_t length = sizeof a;
	static int one = 1, pair[2];
	static struct linger linger = {1, 5};
	static struct timeval tv = {1, 2};

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	long l = C(socket, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP), c, s;
	C(socket, AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	C(socket, AF_INET6, SOCK_DGRAM, IPPROTO_UDP);
	C(socket, AF_NETLINK, SOCK_RAW, 0);
	C(socket, 77, SOCK_STREAM, 0);
	C(socket, AF_INET, SOCK_STREAM, 99);
	C(setsockopt, l, SOL_SOCKET, SO_REUSEADDR, &one, 4);
	C(setsockopt, l, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
	C(setsockopt, l, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
	C(setsockopt, l, IPPROTO_TCP, TCP_NODELAY, &one, 4);
	C(setsockopt, l, IPPROTO_IP, 999, &one, 4);
	C(setsockopt, l, SOL_SOCKET, SO_KEEPALIVE, &one, 1);
	C(setsockopt, NOFD, SOL_SOCKET, SO_BROADCAST, &one, 4);
	length = 4;
	C(getsockopt, l, SOL_SOCKET, SO_TYPE, M0, &length);
	C(getsockopt, l, SOL_SOCKET, SO_ERROR, M0, &length);
	length = 8;
	C(getsockopt, l, SOL_SOCKET, SO_LINGER, M0, &length);
	length = 16;
	C(getsockopt, l, SOL_SOCKET, SO_RCVTIMEO, M0, &length);
	C(getsockopt, l, IPPROTO_TCP, TCP_NODELAY, M0, &length);
	C(getsockopt, l, IPPROTO_TCP, 999, M0, &length);
	C(getsockopt, NOFD, SOL_SOCKET, SO_TYPE, M0, &length);
	C(bind, l, &a, sizeof a);
	C(bind, l, &a, sizeof a);
	C(bind, NOFD, &a6, sizeof a6);
	C(bind, l, &a, 3);
	C(bind, l, BAD, 16);
	C(listen, l, 5);
	C(listen, NOFD, 5);
	length = sizeof a;
	C(getsockname, l, &a, &length);
	length = 8;
	C(getsockname, l, M0, &length);
	C(getsockname, NOFD, &a, &length);
	c = C(socket, AF_INET, SOCK_STREAM, 0);
	C(connect, c, &a, sizeof a);
	C(connect, c, &a, sizeof a);
	C(connect, NOFD, &u, sizeof u);
	length = sizeof a;
	s = C(accept, l, M0, &length);
	C(getpeername, s, M0, &length);
	C(getpeername, l, M0, &length);
	C(accept, NOFD, NULL, NULL);
	long c2 = C(socket, AF_INET, SOCK_STREAM, 0);
	C(connect, c2, &a, sizeof a);
	C(accept4, l, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	C(accept4, l, NULL, NULL, 1);
	C(shutdown, c, SHUT_WR);
	C(shutdown, NOFD, SHUT_RDWR);
	C(shutdown, c, 9);
	C(socketpair, AF_UNIX, SOCK_SEQPACKET, 0, pair);
	C(socketpair, AF_INET, SOCK_STREAM, 0, pair);
	u.sun_path[0] = 0;
	C(bind, 4, &u, 2 + 9);
	C(bind, 4, &u, sizeof u);
	long p = C(socket, AF_UNIX, SOCK_STREAM, 0);
	memcpy(u.sun_path, "path", 5);
	C(bind, p, &u, sizeof u);
	C(connect, 4, &u, 2 + 5);
}

static void messages(void)
{
	static int pair[2], stream[2];
	static struct iovec iov[2] = {{"a message", 9}, {" in parts", 9}}, in[2] = {{M0, 5}, {M1, 100}};
	static union {
		struct cmsghdr h;
		char room[CMSG_SPACE(2 * sizeof(int))];
	} control;
	static struct msghdr out = {.msg_iov = iov, .msg_iovlen = 2}, back = {.msg_iov = in, .msg_iovlen = 2};
	static struct mmsghdr many[2], backs[3];
	static struct sockaddr_in a = {.sin_family = AF_INET};
	static socklen_t length = sizeof a;

	C(socketpair, AF_UNIX, SOCK_DGRAM, 0, pair);
	C(socketpair, AF_UNIX, SOCK_STREAM, 0, stream);
	C(sendto, pair[0], "hello", 5, MSG_NOSIGNAL, NULL, 0);
	C(sendto, NOFD, "hello", 5, MSG_OOB | MSG_DONTWAIT, &a, sizeof a);
	C(sendto, pair[0], BAD, 5, 0, NULL, 0);
	C(recvfrom, pair[1], M0, 100, MSG_PEEK, NULL, NULL);
	C(recvfrom, pair[1], M0, 100, 0, NULL, NULL);
	C(recvfrom, pair[1], M0, 100, MSG_DONTWAIT, NULL, NULL);
	C(sendmsg, pair[0], &out, 0);
	C(recvmsg, pair[1], &back, MSG_TRUNC);
	C(sendmsg, NOFD, &out, MSG_NOSIGNAL);
	C(recvmsg, NOFD, &back, 0);
	C(sendmsg, pair[0], BAD, 0);
	control.h = (struct cmsghdr){CMSG_LEN(2 * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
	memcpy(CMSG_DATA(&control.h), pair, sizeof pair);
	out.msg_control = back.msg_control = &control;
	out.msg_controllen = back.msg_controllen = sizeof control;
	C(sendmsg, pair[0], &out, 0);
	C(recvmsg, pair[1], &back, MSG_CMSG_CLOEXEC);
	C(recvmsg, pair[1], &back, MSG_DONTWAIT);
	out.msg_control = NULL;
	out.msg_controllen = 0;
	many[0].msg_hdr = out;
	many[1].msg_hdr = out;
	C(sendmmsg, pair[0], many, 2, 0);
	C(sendmmsg, NOFD, many, 2, 0);
	for (int i = 0; i < 3; i++) {
		backs[i].msg_hdr = (struct msghdr){.msg_iov = &in[1], .msg_iovlen = 1};
	}
	C(recvmmsg, pair[1], backs, 3, MSG_DONTWAIT, NULL);
	C(recvmmsg, NOFD, backs, 3, 0, soon());
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	long one = C(socket, AF_INET, SOCK_DGRAM, 0), two = C(socket, AF_INET, SOCK_DGRAM, 0);
	C(bind, one, &a, sizeof a);
	C(getsockname, one, &a, &length);
	C(sendto, two, "datagram", 8, 0, &a, sizeof a);
	length = sizeof a;
	C(recvfrom, one, M0, 100, 0, &a, &length);
	C(shutdown, stream[1], SHUT_RD);
	C(sendto, stream[0], "x", 1, MSG_NOSIGNAL, NULL, 0);
}

static void sockets(void)
{
	names();
	messages();
}

static void waiting(void)
{
	static struct epoll_event e = {EPOLLIN | EPOLLET, {.u64 = 77}}, got[4];
	static fd_set in, out;
	static struct timeval tv = {0, 1000};
	static struct itimerspec when = {{0, 0}, {100, 5}};
	static uint64_t mask = 1 << (SIGUSR1 - 1);
	static struct {
		uint64_t *set, size;
	} both = {&mask, 8};
	static int p[2];
	static struct pollfd fds[3];
	long ep = C(epoll_create1, EPOLL_CLOEXEC), t, w;

	C(pipe, p);
	C(write, p[1], "x", 1);
	fds[0] = (struct pollfd){p[0], POLLIN | POLLPRI, 0};
	fds[1] = (struct pollfd){p[1], POLLOUT, 0};
	fds[2] = (struct pollfd){NOFD, POLLIN, 0};
	C(poll, fds, 3, -1);
	C(poll, fds, 1, 0);
	C(poll, fds + 2, 0, 1);
	C(poll, BAD, 1, 0);
	C(ppoll, fds, 2, soon(), &mask, 8);
	C(ppoll, fds, 0, soon(), NULL, 8);
	C(ppoll, BAD, 1, soon(), NULL, 8);
	FD_SET(p[0], &in);
	FD_SET(p[1], &out);
	C(select, p[1] + 1, &in, &out, NULL, &tv);
	FD_ZERO(&in);
	C(select, p[1] + 1, &in, NULL, NULL, &tv);
	C(select, -1, &in, NULL, NULL, &tv);
	FD_SET(NOFD, &in);
	C(select, NOFD + 1, &in, NULL, NULL, &tv);
	FD_ZERO(&in);
	FD_SET(p[0], &in);
	C(pselect6, p[0] + 1, &in, NULL, NULL, soon(), &both);
	C(pselect6, -1, NULL, NULL, NULL, soon(), NULL);
	C(epoll_create, 5);
	C(epoll_create, 0);
	C(epoll_create1, 5);
	C(epoll_ctl, ep, EPOLL_CTL_ADD, p[0], &e);
	C(epoll_ctl, ep, EPOLL_CTL_ADD, p[0], &e);
	C(epoll_ctl, ep, EPOLL_CTL_MOD, p[0], &e);
	C(epoll_ctl, ep, EPOLL_CTL_DEL, NOFD, NULL);
	C(epoll_wait, ep, got, 4, -1);
	C(epoll_wait, ep, got, 4, 1);
	C(epoll_wait, NOFD, got, 4, 1);
	C(epoll_pwait, ep, got, 4, 1, &mask, 8);
	C(epoll_pwait, ep, got, 0, 1, NULL, 8);
	C(epoll_pwait2, ep, got, 4, soon(), NULL, 8);
	C(epoll_pwait2, NOFD, got, 4, NULL, NULL, 8);
	C(epoll_ctl, ep, EPOLL_CTL_DEL, p[0], NULL);
	C(eventfd, 5);
	w = C(eventfd2, 7, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
	C(read, w, M0, 8);
	C(eventfd2, 7, 5);
	w = C(signalfd, -1, &mask, 8);
	C(signalfd, NOFD, &mask, 8);
	C(signalfd4, w, &mask, 8, SFD_NONBLOCK | SFD_CLOEXEC);
	C(signalfd4, -1, &mask, 8, 5);
	t = C(timerfd_create, CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	C(timerfd_create, 99, 0);
	C(timerfd_settime, t, 0, &when, M0);
	C(timerfd_settime, t, TFD_TIMER_ABSTIME, &when, NULL);
	C(timerfd_settime, NOFD, 0, &when, NULL);
	C(timerfd_gettime, t, M0);
	C(timerfd_gettime, NOFD, M0);
	C(inotify_init);
	w = C(inotify_init1, IN_NONBLOCK | IN_CLOEXEC);
	C(inotify_init1, 5);
	C(inotify_add_watch, w, ".", IN_CREATE | IN_DELETE | IN_ONLYDIR);
	C(inotify_add_watch, w, "missing", IN_ALL_EVENTS);
	C(mkdir, "dir", 0755);
	C(read, w, M0, 100);
	C(inotify_rm_watch, w, 1);
	C(inotify_rm_watch, w, 7);
	w = C(fanotify_init, FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK, O_RDONLY | O_LARGEFILE);
	C(fanotify_init, 0x80000000, 0);
	C(fanotify_mark, w, FAN_MARK_ADD | FAN_MARK_ONLYDIR, FAN_OPEN | FAN_EVENT_ON_CHILD, AT_FDCWD, "dir");
	C(fanotify_mark, w, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, "missing");
	C(fanotify_mark, NOFD, FAN_MARK_FLUSH | FAN_MARK_MOUNT, 0, AT_FDCWD, NULL);
}

static void ipc(void)
{
	static struct {
		long type;
		char text[40];
	} message = {5, "a message of some words"};
	static struct sembuf ops[2] = {{0, 3, SEM_UNDO}, {1, -1, IPC_NOWAIT}};
	static unsigned short values[2] = {1, 2};
	static struct mq_attr attr = {.mq_maxmsg = 4, .mq_msgsize = 64};
	static struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	static unsigned priority;
	static char *where = (char *)0x30000000;
	long shm = C(shmget, IPC_PRIVATE, 4096, IPC_CREAT | 0600), sem, msg, mq;

	C(shmget, 0x7777, 10, 0600);
	C(shmget, IPC_PRIVATE, 0, IPC_CREAT | IPC_EXCL | 0600);
	C(shmat, shm, where, 0);
	C(shmat, shm, (char *)5, SHM_RDONLY);
	C(shmctl, shm, IPC_STAT, M0);
	C(shmctl, shm, IPC_RMID, NULL);
	C(shmctl, 123456, IPC_STAT, M0);
	C(shmdt, where);
	C(shmdt, (char *)4096);
	sem = C(semget, IPC_PRIVATE, 2, IPC_CREAT | 0600);
	C(semget, 0x7777, 1, 0);
	C(semctl, sem, 0, SETALL, values);
	C(semctl, sem, 0, GETALL, values);
	C(semctl, sem, 1, SETVAL, 4);
	C(semctl, sem, 1, GETVAL, 0);
	C(semctl, sem, 0, IPC_STAT, M0);
	C(semctl, sem, 9, GETVAL, 0);
	C(semop, sem, ops, 2);
	ops[1].sem_op = -100;
	C(semop, sem, ops, 2);
	C(semop, 123456, ops, 1);
	C(semtimedop, sem, ops, 1, soon());
	ops[0].sem_op = -100;
	C(semtimedop, sem, ops, 1, soon());
	C(semctl, sem, 0, IPC_RMID);
	msg = C(msgget, IPC_PRIVATE, IPC_CREAT | 0600);
	C(msgget, 0x7777, 0600);
	C(msgsnd, msg, &message, 20, IPC_NOWAIT);
	C(msgsnd, 123456, &message, 20, 0);
	C(msgrcv, msg, M0, 100, 5, MSG_NOERROR);
	C(msgrcv, msg, M0, 100, -5, IPC_NOWAIT);
	C(msgctl, msg, IPC_STAT, M0);
	C(msgctl, msg, IPC_RMID, NULL);
	C(msgctl, msg, IPC_RMID, NULL);
	C(mq_unlink, "proof-of-log");
	mq = C(mq_open, "proof-of-log", O_CREAT | O_RDWR | O_NONBLOCK, 0600, &attr);
	C(mq_open, "proof-missing", O_RDONLY, 0, NULL);
	C(mq_timedsend, mq, "queued", 6, 3, NULL);
	C(mq_timedsend, mq, M0, 1000, 3, soon());
	C(mq_timedreceive, mq, M0, 64, &priority, NULL);
	C(mq_timedreceive, mq, M0, 64, &priority, &none);
	C(mq_notify, mq, &event);
	C(mq_notify, mq, NULL);
	C(mq_notify, NOFD, NULL);
	C(mq_getsetattr, mq, NULL, M0);
	C(mq_getsetattr, mq, &attr, M0);
	C(mq_getsetattr, NOFD, NULL, M0);
	C(mq_unlink, "proof-of-log");
}

int main(int argc, char **argv)
{
	static const struct part parts[] = {{"sockets", sockets}, {"waiting", waiting}, {"ipc", ipc}, {}};

	return run_part(parts, argc, argv);
}
