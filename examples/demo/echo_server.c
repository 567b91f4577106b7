/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An ordinary echo server: sends back what it receives, over TCP, UDP or a Unix stream socket. One
 * thread per connection. It prints where it listens (port 0 lets the kernel choose) and, after
 * SIGTERM or SIGINT, what it served. It knows nothing of LSCA; `make demo` runs it natively and
 * captured.
 *
 *	echo_server tcp|udp ADDRESS:PORT | unix PATH
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static atomic_ulong served_connections, served_bytes;
static volatile sig_atomic_t stopping;

static void on_stop(int signal)
{
	(void)signal;
	stopping = 1;
}

static void die(const char *what)
{
	fprintf(stderr, "echo_server: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int send_all(int fd, const char *data, size_t size)
{
	while (size) {
		ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return -1;
		data += sent;
		size -= sent;
	}
	return 0;
}

static void *serve_connection(void *arg)
{
	int fd = (int)(intptr_t)arg;
	char data[16384];

	for (;;) {
		ssize_t got = recv(fd, data, sizeof data, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		/* Before the answer leaves: whoever has the answer finds it counted. */
		served_bytes += got;
		if (send_all(fd, data, got))
			break;
	}
	close(fd);
	return NULL;
}

static void accept_one(int listener, int tcp)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), on = 1;
	pthread_t thread;

	if (fd < 0) {
		if (errno != EINTR && errno != ECONNABORTED && errno != EAGAIN)
			die("accept");
		return;
	}
	if (tcp)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	served_connections++;
	errno = pthread_create(&thread, NULL, serve_connection, (void *)(intptr_t)fd);
	if (errno)
		die("pthread_create");
	pthread_detach(thread);
}

static void answer_datagram(int fd)
{
	struct sockaddr_storage peer;
	socklen_t length = sizeof peer;
	char data[65536];
	ssize_t got = recvfrom(fd, data, sizeof data, 0, (struct sockaddr *)&peer, &length);

	if (got < 0) {
		if (errno != EINTR && errno != EAGAIN)
			die("recvfrom");
		return;
	}
	served_connections++;
	served_bytes += got;
	if (sendto(fd, data, got, 0, (struct sockaddr *)&peer, length) < 0)
		die("sendto");
}

static int listen_inet(const char *where, int type)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t length = sizeof address;
	char host[64], *colon;
	int fd, on = 1;

	snprintf(host, sizeof host, "%s", where);
	colon = strrchr(host, ':');
	if (colon)
		*colon = 0;
	if (!colon || inet_pton(AF_INET, host, &address.sin_addr) != 1) {
		fprintf(stderr, "echo_server: '%s' is not ADDRESS:PORT\n", where);
		exit(2);
	}
	address.sin_port = htons(atoi(colon + 1));
	fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, (struct sockaddr *)&address, sizeof address))
		die(where);
	if (type == SOCK_STREAM && listen(fd, 128))
		die("listen");
	if (getsockname(fd, (struct sockaddr *)&address, &length))
		die("getsockname");
	printf("listening on %s:%d\n", host, ntohs(address.sin_port));
	return fd;
}

static int listen_unix(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket");
	if (strlen(path) >= sizeof address.sun_path) {
		errno = ENAMETOOLONG;
		die(path);
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 128))
		die(path);
	printf("listening on %s\n", path);
	return fd;
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_stop};
	sigset_t stops, waiting;
	int fd, udp, tcp;

	tcp = argc == 3 && !strcmp(argv[1], "tcp");
	udp = argc == 3 && !strcmp(argv[1], "udp");
	if (argc != 3 || (!tcp && !udp && strcmp(argv[1], "unix"))) {
		fprintf(stderr, "usage: echo_server tcp|udp ADDRESS:PORT | unix PATH\n");
		return 2;
	}

	/* Blocked but for ppoll, so that a stop cannot slip in between the look and the wait. */
	sigemptyset(&stops);
	sigaddset(&stops, SIGTERM);
	sigaddset(&stops, SIGINT);
	pthread_sigmask(SIG_BLOCK, &stops, &waiting);
	sigdelset(&waiting, SIGTERM);
	sigdelset(&waiting, SIGINT);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);

	if (tcp || udp)
		fd = listen_inet(argv[2], tcp ? SOCK_STREAM : SOCK_DGRAM);
	else
		fd = listen_unix(argv[2]);
	fflush(stdout);

	while (!stopping) {
		struct pollfd ready = {.fd = fd, .events = POLLIN};

		if (ppoll(&ready, 1, NULL, &waiting) < 0) {
			if (errno != EINTR)
				die("ppoll");
		} else if (udp) {
			answer_datagram(fd);
		} else {
			accept_one(fd, tcp);
		}
	}
	close(fd);
	if (!tcp && !udp)
		unlink(argv[2]);
	printf("served %lu %s, %lu bytes\n", served_connections, udp ? "datagrams" : "connections",
	       served_bytes);
	return 0;
}
