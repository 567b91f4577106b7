// SPDX-License-Identifier: Apache-2.0
/*
 * A client as programs are: one way to connect or send, by its first argument, to the address that follows; prints what
 * came back and whom it believes to talk to. Used by test_connections.py, linked dynamically and statically.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

union address {
	struct sockaddr any;
	struct sockaddr_in four;
	struct sockaddr_in6 six;
	struct sockaddr_un path;
};

static socklen_t address_of(union address *a, const char *host, const char *port)
{
	memset(a, 0, sizeof *a);
	if (host[0] == '/') {
		a->path.sun_family = AF_UNIX;
		strcpy(a->path.sun_path, host);
		return sizeof a->path;
	}
	if (strchr(host, ':')) {
		a->six.sin6_family = AF_INET6;
		a->six.sin6_port = htons(atoi(port));
		inet_pton(AF_INET6, host, &a->six.sin6_addr);
		return sizeof a->six;
	}
	a->four.sin_family = AF_INET;
	a->four.sin_port = htons(atoi(port));
	inet_pton(AF_INET, host, &a->four.sin_addr);
	return sizeof a->four;
}

static void show(const char *what, const union address *a, socklen_t len)
{
	char text[INET6_ADDRSTRLEN] = "";

	if (a->any.sa_family == AF_UNIX)
		printf("%s %s\n", what, a->path.sun_path);
	else if (a->any.sa_family == AF_INET6)
		printf("%s [%s]:%d %d\n", what, inet_ntop(AF_INET6, &a->six.sin6_addr, text, sizeof text),
		       ntohs(a->six.sin6_port), len);
	else
		printf("%s %s:%d %d\n", what, inet_ntop(AF_INET, &a->four.sin_addr, text, sizeof text),
		       ntohs(a->four.sin_port), len);
}

static int failed(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	return 1;
}

static int talk(int fd, int greet)
{
	char text[4096];
	union address peer;
	socklen_t len = sizeof peer;
	ssize_t n, total = 0;

	if (getpeername(fd, &peer.any, &len))
		return failed("getpeername");
	show("peer", &peer, len);
	if (greet && send(fd, "hello\n", 6, 0) != 6)
		return failed("send");
	shutdown(fd, SHUT_WR);
	while ((n = recv(fd, text + total, sizeof text - 1 - total, 0)) > 0)
		total += n;
	if (n < 0)
		return failed("recv");
	text[total] = 0;
	printf("got %s", text);
	return 0;
}

static int waiting(union address *a, socklen_t len)
{
	int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0), error = 0, poll = epoll_create1(0);
	struct epoll_event event = {.events = EPOLLOUT};
	socklen_t size = sizeof error;

	if (connect(fd, &a->any, len) && errno != EINPROGRESS)
		return failed("connect");
	epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
	epoll_wait(poll, &event, 1, 5000);
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
	if (error) {
		errno = error;
		return failed("connect");
	}
	fcntl(fd, F_SETFL, 0);
	return talk(fd, 1);
}

static int datagrams(union address *a, socklen_t len, int message)
{
	int fd = socket(a->any.sa_family, SOCK_DGRAM, 0);
	struct timeval patience = {.tv_sec = 5};
	char text[512];
	union address from;
	socklen_t size = sizeof from;
	struct iovec part = {"ping", 4}, room = {text, sizeof text - 1};
	struct msghdr out = {.msg_name = a, .msg_namelen = len, .msg_iov = &part, .msg_iovlen = 1};
	struct msghdr in = {.msg_name = &from, .msg_namelen = size, .msg_iov = &room, .msg_iovlen = 1};
	ssize_t n;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	if ((message ? sendmsg(fd, &out, 0) : sendto(fd, "ping", 4, 0, &a->any, len)) < 0)
		return failed("send");
	show("to", a, len);
	n = message ? recvmsg(fd, &in, 0) : recvfrom(fd, text, sizeof text - 1, 0, &from.any, &size);
	if (n < 0)
		return failed("recv");
	text[n] = 0;
	show("from", &from, message ? in.msg_namelen : size);
	printf("got %s\n", text);
	return 0;
}

int main(int argc, char **argv)
{
	union address a;
	socklen_t len = address_of(&a, argv[2], argc > 3 ? argv[3] : "0");
	int fd;

	setvbuf(stdout, 0, _IOLBF, 0);
	if (!strcmp(argv[1], "epoll"))
		return waiting(&a, len);
	if (!strcmp(argv[1], "sendto") || !strcmp(argv[1], "sendmsg"))
		return datagrams(&a, len, argv[1][4] == 'm');
	fd = socket(a.any.sa_family, SOCK_STREAM, 0);
	if (!strcmp(argv[1], "bind"))
		return bind(fd, &a.any, len) ? failed("bind") : puts("bound") < 0;
	if (!strcmp(argv[1], "fastopen")) {
		if (sendto(fd, "hello\n", 6, MSG_FASTOPEN, &a.any, len) < 0)
			return failed("sendto");
		return talk(fd, 0);
	}
	if (connect(fd, &a.any, len))
		return failed("connect");
	return talk(fd, 1);
}
