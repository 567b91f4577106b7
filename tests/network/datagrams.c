// SPDX-License-Identifier: Apache-2.0
/*
 * What a client can do with sockets for datagrams, in order, and what it sees: sent to an echo that answers "pong " and
 * what came. Used by test_datagrams.py, natively and with everything that LSCA does to a network.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define MANY 8

static union address {
	struct sockaddr any;
	struct sockaddr_in four;
	struct sockaddr_in6 six;
} to;
static socklen_t to_len;

static int said(const char *what, long result)
{
	if (result < 0)
		printf("%s: %s\n", what, strerror(errno));
	else
		printf("%s: %ld\n", what, result);
	return result;
}

static void show(const char *what, const union address *a, socklen_t len)
{
	char text[INET6_ADDRSTRLEN] = "";
	int six = a->any.sa_family == AF_INET6;

	inet_ntop(a->any.sa_family, six ? (void *)&a->six.sin6_addr : (void *)&a->four.sin_addr,
		  text, sizeof text);
	printf("%s %s %d, %d bytes\n", what, text, ntohs(a->four.sin_port), len);
}

static int readable(int fd, int wait)
{
	struct pollfd one = {.fd = fd, .events = POLLIN};
	int n = poll(&one, 1, wait);

	return n < 0 ? n : one.revents;
}

static void unconnected(int fd)
{
	union address from;
	socklen_t len = sizeof from;
	char text[64] = "";
	int n;

	said("nothing yet", recv(fd, text, sizeof text, MSG_DONTWAIT));
	said("sendto", sendto(fd, "one", 3, 0, &to.any, to_len));
	said("poll", readable(fd, -1));
	said("ioctl", ioctl(fd, FIONREAD, &n));
	said("there are", n);
	said("peek", recvfrom(fd, text, sizeof text, MSG_PEEK, &from.any, &len));
	show("from", &from, len);
	said("cut", recv(fd, text, 4, MSG_PEEK | MSG_TRUNC));
	len = 4;
	said("recvfrom", recvfrom(fd, text, 4, 0, &from.any, &len));
	printf("%.4s, %d bytes of address\n", text, len);
	said("no more", recv(fd, text, sizeof text, MSG_DONTWAIT));
	said("empty", sendto(fd, "", 0, 0, &to.any, to_len));
	said("recv", recv(fd, text, sizeof text, 0));
	said("no port", sendto(fd, "x", 1, 0, &to.any, 3));
	said("no address", send(fd, "x", 1, 0));
}

static void messages(int fd)
{
	union address from[MANY];
	struct iovec part[MANY], room[MANY];
	struct mmsghdr out[MANY] = {0}, in[MANY] = {0};
	char text[MANY][16] = {0}, control[64], word[MANY][3];

	for (int i = 0; i < MANY; i++) {
		snprintf(word[i], sizeof word[i], "m%c", '0' + i);
		part[i] = (struct iovec){word[i], 2};
		room[i] = (struct iovec){text[i], i == 3 ? 5 : sizeof text[i]};
		out[i].msg_hdr = (struct msghdr){&to, to_len, part + i, 1, 0, 0, 0};
		in[i].msg_hdr = (struct msghdr){from + i, sizeof from[i], room + i, 1, 0, 0, 0};
	}
	in[1].msg_hdr.msg_control = control;
	in[1].msg_hdr.msg_controllen = sizeof control;
	in[2].msg_hdr.msg_name = NULL;
	in[4].msg_hdr.msg_namelen = 6;
	said("sendmsg", sendmsg(fd, &out[0].msg_hdr, 0));
	said("recvmsg", recvmsg(fd, &in[0].msg_hdr, 0));
	show(text[0], from, in[0].msg_hdr.msg_namelen);
	said("sendmmsg", sendmmsg(fd, out, MANY, 0));
	printf("lengths %d %d\n", out[0].msg_len, out[MANY - 1].msg_len);
	for (int got = 0, n; got < MANY; got += n) {
		n = recvmmsg(fd, in + got, MANY - got, MSG_WAITFORONE, NULL);
		if (n < 0)
			exit(said("recvmmsg", n));
		for (int i = got; i < got + n; i++) {
			printf("%d %.7s %x %d\n", in[i].msg_len, text[i],
			       in[i].msg_hdr.msg_flags & MSG_TRUNC, in[i].msg_hdr.msg_namelen);
			if (i != 2 && i != 4)
				show("from", from + i, in[i].msg_hdr.msg_namelen);
		}
	}
	said("recvmmsg", recvmmsg(fd, in, MANY, MSG_DONTWAIT, NULL));
}

static void connected(int fd)
{
	union address peer;
	socklen_t len = sizeof peer;
	struct sockaddr nobody = {.sa_family = AF_UNSPEC};
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET}, got;
	char text[64] = "";
	int poll = epoll_create1(0), n;

	said("connect", connect(fd, &to.any, to_len));
	said("getpeername", getpeername(fd, &peer.any, &len));
	show("peer", &peer, len);
	said("getsockname", getsockname(fd, &peer.any, &len));
	peer.four.sin_port = 0;
	show("own", &peer, len);
	epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
	said("epoll", epoll_wait(poll, &got, 1, -1));
	printf("%x\n", got.events);
	said("write", write(fd, "two", 3));
	do
		n = epoll_wait(poll, &got, 1, -1);
	while (n > 0 && !(got.events & EPOLLIN)); /* that there is room may be told again */
	said("epoll", n);
	said("readable", readable(fd, -1));
	said("read", read(fd, text, sizeof text));
	printf("%s\n", text);
	said("sendto", sendto(fd, "three", 5, 0, &to.any, to_len));
	len = sizeof peer;
	said("recvfrom", recvfrom(fd, text, sizeof text, 0, &peer.any, &len));
	show(text, &peer, len);
	said("disconnect", connect(fd, &nobody, sizeof nobody));
	said("getpeername", getpeername(fd, &peer.any, &len));
	said("sendto", sendto(fd, "four", 4, 0, &to.any, to_len));
	said("recv", recv(fd, text, sizeof text, 0));
}

static void large(int fd)
{
	static char text[70000];
	int size = 1 << 20;

	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	memset(text, 'x', sizeof text);
	said("large", sendto(fd, text, 65000, 0, &to.any, to_len));
	said("large", recv(fd, text, sizeof text, 0));
	said("too large", sendto(fd, text, sizeof text, 0, &to.any, to_len));
}

static void refused(int fd, int port)
{
	socklen_t len;
	int error = 0;
	char text[8];

	to.four.sin_port = htons(port);
	said("connect", connect(fd, &to.any, to_len));
	said("send", send(fd, "x", 1, 0));
	printf("poll %x\n", readable(fd, -1) & (POLLIN | POLLERR));
	len = sizeof error;
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
	printf("error %s\n", strerror(error));
	said("send", send(fd, "x", 1, 0));
	said("recv", recv(fd, text, sizeof text, 0));
}

int main(int argc, char **argv)
{
	int six = !!strchr(argv[1], ':'), fd;

	setvbuf(stdout, 0, _IOLBF, 0);
	to.any.sa_family = six ? AF_INET6 : AF_INET;
	inet_pton(to.any.sa_family, argv[1],
		  six ? (void *)&to.six.sin6_addr : (void *)&to.four.sin_addr);
	to.four.sin_port = htons(atoi(argv[2]));
	to_len = six ? sizeof to.six : sizeof to.four;
	fd = socket(to.any.sa_family, SOCK_DGRAM, 0);
	unconnected(fd);
	messages(fd);
	connected(fd);
	large(fd);
	close(fd);
	if (argc > 3)
		refused(socket(to.any.sa_family, SOCK_DGRAM, 0), atoi(argv[3]));
	return 0;
}
