/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets of every kind: streams, datagrams and packets, names, options, timeouts, shutdown, half-open ends. */
#include "check.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct sockaddr_in loopback(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	return address;
}

/* A listening socket on a port that the kernel chooses; its address is filled in. */
static int listener(struct sockaddr_in *address)
{
	socklen_t length = sizeof *address;
	int fd = MUST(socket(AF_INET, SOCK_STREAM, 0)), one = 1;

	*address = loopback();
	MUST(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one));
	MUST(bind(fd, (struct sockaddr *)address, sizeof *address));
	MUST(listen(fd, 8));
	MUST(getsockname(fd, (struct sockaddr *)address, &length));
	return fd;
}

static void tcp(void)
{
	struct sockaddr_in address, *peer = tail_alloc(sizeof *peer);
	socklen_t length = sizeof *peer;
	int server = listener(&address), client, end, one = 1, pending = 0;
	char buffer[64];

	client = report("socket", socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	report("close-on-exec", fcntl(client, F_GETFD));
	report("connect", connect(client, tail_copy(&address, sizeof address), sizeof address));
	end = report("accept", accept(server, (struct sockaddr *)peer, tail_copy(&length, sizeof length)));
	check("peer is local", peer->sin_family == AF_INET && peer->sin_addr.s_addr == htonl(INADDR_LOOPBACK));
	length = 4;
	memset(peer, 0x55, sizeof *peer);
	report("getpeername with a short length", getpeername(client, (struct sockaddr *)peer, &length));
	printf("full length: %u\n", length);
	check("only so much written", peer->sin_port == address.sin_port && peer->sin_addr.s_addr == 0x55555555);
	length = 0;
	report("getpeername with length 0", getpeername(client, NULL, &length));
	length = (socklen_t)-1;
	report("getpeername negative length", getpeername(client, (struct sockaddr *)peer, &length));
	length = sizeof *peer;
	report("getpeername unmapped", getpeername(client, nowhere(), &length));
	report("getpeername length unmapped", getpeername(client, (struct sockaddr *)peer, nowhere()));

	report("send", send(client, tail_copy("hello", 5), 5, 0));
	report("MSG_PEEK", recv(end, buffer, 3, MSG_PEEK));
	report("FIONREAD", ioctl(end, FIONREAD, &pending));
	printf("pending: %d\n", pending);
	report("recv", recv(end, tail_alloc(5), 5, MSG_WAITALL));
	report("MSG_DONTWAIT", recv(end, buffer, 1, MSG_DONTWAIT));
	report("TCP_NODELAY", setsockopt(client, IPPROTO_TCP, TCP_NODELAY, tail_copy(&one, 4), 4));
	report("write", write(end, "answer", 6));
	report("read", read(client, buffer, 64));
	report("connect twice", connect(client, (struct sockaddr *)&address, sizeof address));
	report("sendto on a connection", sendto(client, "x", 1, 0, NULL, 0));
	report("urgent", send(client, "!", 1, MSG_OOB));
	report("shutdown SHUT_WR", shutdown(client, SHUT_WR));
	report("write after shutdown", send(client, "x", 1, MSG_NOSIGNAL));
	report("the one byte", read(end, buffer, 64));
	report("then end of file", read(end, buffer, 64));
	report("other direction", write(end, "late", 4));
	report("still read", read(client, buffer, 64));
	report("shutdown bad how", shutdown(end, 99));
	close(end);
	report("end", read(client, buffer, 64));
	report("shutdown not connected", (close(client), client = socket(AF_INET, SOCK_STREAM, 0),
					  shutdown(client, SHUT_WR)));
	report("recv not connected", recv(client, buffer, 1, 0));
	report("getpeername not connected", getpeername(client, (struct sockaddr *)peer, &length));
	close(server);
	report("connection refused", connect(client, (struct sockaddr *)&address, sizeof address));
	close(client);
}

static void accepting(void)
{
	struct sockaddr_in address;
	int server = listener(&address), client, end, value = 0;
	socklen_t length = sizeof value;
	struct pollfd poller;

	fcntl(server, F_SETFL, O_NONBLOCK);
	report("nothing to accept", accept(server, NULL, NULL));
	client = MUST(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
	value = connect(client, (struct sockaddr *)&address, sizeof address);
	check("non-blocking connect", value == 0 || errno == EINPROGRESS);
	poller = (struct pollfd){.fd = client, .events = POLLOUT};
	report("poll", poll(&poller, 1, 5000));
	report("SO_ERROR", getsockopt(client, SOL_SOCKET, SO_ERROR, &value, &length));
	printf("error: %d\n", value);
	poller = (struct pollfd){.fd = server, .events = POLLIN};
	report("poll the listener", poll(&poller, 1, 5000));
	end = report("accept4", accept4(server, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
	report("flags", fcntl(end, F_GETFD));
	printf("non-blocking: %d\n", !!(fcntl(end, F_GETFL) & O_NONBLOCK));
	report("accept on a connection", accept(end, NULL, NULL));
	report("accept4 bad flag", accept4(server, NULL, NULL, 0x1));
	report("accept unmapped", accept(server, nowhere(), &length));
	close(end);
	close(client);

	/* A server that ends and starts anew on its port, with a connection still open. */
	client = MUST(socket(AF_INET, SOCK_STREAM, 0));
	MUST(connect(client, (struct sockaddr *)&address, sizeof address));
	fcntl(server, F_SETFL, 0);
	end = MUST(accept(server, NULL, NULL));
	close(end);
	close(server);
	server = MUST(socket(AF_INET, SOCK_STREAM, 0));
	value = 1;
	report("SO_REUSEADDR", setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &value, sizeof value));
	report("bind again", bind(server, (struct sockaddr *)&address, sizeof address));
	report("listen again", listen(server, 1));
	end = MUST(socket(AF_INET, SOCK_STREAM, 0));
	report("bind a taken port", bind(end, (struct sockaddr *)&address, sizeof address));
	report("bind twice", bind(server, (struct sockaddr *)&address, sizeof address));
	close(end);
	close(server);
	close(client);
}

static void options(void)
{
	struct timeval timeout = {0, 100000}, *got = tail_alloc(sizeof *got);
	int fd = MUST(socket(AF_INET, SOCK_DGRAM, 0)), value = 0;
	struct linger linger = {1, 3};
	socklen_t length = sizeof value;
	long before;
	char byte;

	report("SO_TYPE", getsockopt(fd, SOL_SOCKET, SO_TYPE, tail_alloc(4), tail_copy(&length, 4)));
	getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &length);
	printf("type: %d length: %u\n", value, length);
	length = 1;
	report("getsockopt one byte", getsockopt(fd, SOL_SOCKET, SO_TYPE, tail_alloc(1), &length));
	printf("length: %u\n", length);
	length = sizeof value;
	report("getsockopt unmapped", getsockopt(fd, SOL_SOCKET, SO_TYPE, nowhere(), &length));
	report("getsockopt unknown", getsockopt(fd, SOL_SOCKET, 9999, &value, &length));
	report("getsockopt on a file", getsockopt(0, SOL_SOCKET, SO_TYPE, &value, &length));
	report("setsockopt short", setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &value, 2));
	report("setsockopt unmapped", setsockopt(fd, SOL_SOCKET, SO_BROADCAST, nowhere(), 4));
	report("SO_LINGER", setsockopt(fd, SOL_SOCKET, SO_LINGER, tail_copy(&linger, sizeof linger), sizeof linger));
	value = 10000;
	report("SO_SNDBUF", setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &value, sizeof value));
	getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &value, &length);
	printf("doubled: %d\n", value);
	report("SO_RCVTIMEO", setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout));
	length = sizeof *got;
	report("SO_RCVTIMEO back", getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, got, &length));
	printf("timeout: %ld s %ld ms\n", (long)got->tv_sec, (long)got->tv_usec / 1000);
	before = now_ms();
	report("recv times out", recv(fd, &byte, 1, 0));
	check("after its time", now_ms() - before >= 90);
	close(fd);
	report("socket bad family", socket(9999, SOCK_STREAM, 0));
	report("socket bad type", socket(AF_INET, 99, 0));
	report("bind EBADF", bind(77, NULL, 0));
	report("bind a file", bind(1, tail_alloc(16), 16));
	report("bind unmapped", (fd = socket(AF_INET, SOCK_STREAM, 0), bind(fd, nowhere(), 16)));
	report("bind short", bind(fd, tail_alloc(2), 2));
	report("bind long", bind(fd, tail_alloc(200), 200));
	report("connect unmapped", connect(fd, nowhere(), 16));
	close(fd);
}

static void udp(void)
{
	struct sockaddr_in address = loopback(), from;
	socklen_t length = sizeof address;
	int a = MUST(socket(AF_INET, SOCK_DGRAM, 0)), b = MUST(socket(AF_INET, SOCK_DGRAM, 0));
	char buffer[16];

	MUST(bind(a, (struct sockaddr *)&address, sizeof address));
	MUST(getsockname(a, (struct sockaddr *)&address, &length));
	report("sendto", sendto(b, tail_copy("datagram", 8), 8, 0, tail_copy(&address, sizeof address),
			sizeof address));
	report("empty datagram", sendto(b, NULL, 0, 0, (struct sockaddr *)&address, sizeof address));
	report("too long", sendto(b, tail_alloc(70000), 70000, 0, (struct sockaddr *)&address, sizeof address));
	length = sizeof from;
	report("recvfrom cut", recvfrom(a, buffer, 4, MSG_TRUNC, (struct sockaddr *)&from, &length));
	printf("address length: %u\n", length);
	check("from loopback", from.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
	report("empty one", recvfrom(a, buffer, 16, 0, NULL, NULL));
	report("none left", recvfrom(a, buffer, 16, MSG_DONTWAIT, NULL, NULL));
	report("answer", sendto(a, "back", 4, 0, (struct sockaddr *)&from, sizeof from));
	report("connect", connect(b, (struct sockaddr *)&address, sizeof address));
	report("recv", recv(b, buffer, 16, 0));
	report("send on the connected", send(b, "x", 1, 0));
	report("sendto without a name", sendto(a, "x", 1, 0, NULL, 0));
	close(a);
	send(b, "x", 1, 0);
	report("refused comes back", recv(b, buffer, 1, 0));
	close(b);
}

static void local(void)
{
	static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
	static const char *const names[] = {"stream", "dgram", "seqpacket"};
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"}, got;
	socklen_t length, size = offsetof(struct sockaddr_un, sun_path) + 7;
	char buffer[32];
	int p[2], a, b, end;

	for (int i = 0; i < 3; i++) {
		printf("-- %s\n", names[i]);
		report("socketpair", socketpair(AF_UNIX, types[i], 0, p));
		report("write", write(p[0], "first", 5));
		report("write again", write(p[0], "second", 6));
		report("read", read(p[1], buffer, 3));
		report("read the rest or the next", recv(p[1], buffer, 32, MSG_DONTWAIT));
		report("one more", recv(p[1], buffer, 32, MSG_DONTWAIT));
		close(p[0]);
		report("other end gone", send(p[1], "x", 1, MSG_NOSIGNAL));
		report("read from it", recv(p[1], buffer, 1, MSG_DONTWAIT));
		close(p[1]);
		a = MUST(socket(AF_UNIX, types[i], 0));
		b = MUST(socket(AF_UNIX, types[i], 0));
		report("bind", bind(a, tail_copy(&address, size), size));
		report("bind again", bind(b, (struct sockaddr *)&address, size));
		if (types[i] == SOCK_DGRAM) {
			report("sendto", sendto(b, "by name", 7, 0, (struct sockaddr *)&address, size));
			length = sizeof got;
			report("recvfrom", recvfrom(a, buffer, 32, 0, (struct sockaddr *)&got, &length));
			printf("nameless: %u\n", length);
		} else {
			MUST(listen(a, 1));
			report("connect", connect(b, (struct sockaddr *)&address, size));
			length = sizeof got;
			end = report("accept", accept(a, (struct sockaddr *)&got, &length));
			printf("nameless: %u\n", length);
			length = sizeof got;
			report("getpeername", getpeername(b, (struct sockaddr *)&got, &length));
			printf("name: %s\n", got.sun_path);
			close(end);
		}
		close(a);
		report("connect to a closed one", connect(b, (struct sockaddr *)&address, size));
		close(b);
		MUST(unlink("socket"));
	}
	report("socketpair of TCP", socketpair(AF_INET, SOCK_STREAM, 0, p));
	report("socketpair unmapped", socketpair(AF_UNIX, SOCK_STREAM, 0, nowhere()));
	a = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
	report("connect to nobody", connect(a, (struct sockaddr *)&address, size));
	close(a);
}

int main(void)
{
	begin();
	signal(SIGPIPE, SIG_IGN);
	tcp();
	accepting();
	options();
	udp();
	local();
	return 0;
}
