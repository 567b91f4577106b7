/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An ordinary client for an echo server: several connections in one poll loop, each with one
 * message under way. It checks every byte that comes back. Standard output is the transcript, the
 * same in every run; times go to the file of -t. With -k it stays connected until its standard
 * input ends. It knows nothing of LSCA.
 *
 *	echo_client [-c CONNECTIONS] [-m MESSAGES] [-s BYTES] [-t FILE] [-k] tcp|udp|unix ADDRESS
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { SHOWN = 2, PATIENCE_MS = 5000 };

struct connection {
	int fd;
	unsigned done; /* messages answered */
	size_t got;    /* bytes of the answer under way */
	uint64_t hash; /* FNV-1a of all that came back */
	uint64_t sent_at;
	char *sent, *back;
};

static unsigned connections = 1, messages = 10, size = 64;
static uint64_t *times;
static size_t time_count;

static void die(const char *what)
{
	fprintf(stderr, "echo_client: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static int connect_to(const char *kind, const char *where)
{
	struct sockaddr_un path = {.sun_family = AF_UNIX};
	struct sockaddr_in inet = {.sin_family = AF_INET};
	int local = !strcmp(kind, "unix"), udp = !strcmp(kind, "udp"), on = 1, fd;
	char host[64], *colon;

	fd = socket(local ? AF_UNIX : AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
	if (fd < 0)
		die("socket");
	if (local) {
		snprintf(path.sun_path, sizeof path.sun_path, "%s", where);
		if (connect(fd, (struct sockaddr *)&path, sizeof path))
			die(where);
		return fd;
	}
	snprintf(host, sizeof host, "%s", where);
	colon = strrchr(host, ':');
	if (colon)
		*colon = 0;
	if (!colon || inet_pton(AF_INET, host, &inet.sin_addr) != 1) {
		fprintf(stderr, "echo_client: '%s' is not ADDRESS:PORT\n", where);
		exit(2);
	}
	inet.sin_port = htons(atoi(colon + 1));
	if (connect(fd, (struct sockaddr *)&inet, sizeof inet))
		die(where);
	if (!udp)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	return fd;
}

static void send_next(struct connection *c, unsigned number)
{
	int head = snprintf(c->sent, size, "client %u message %u ", number, c->done);
	size_t done = 0;

	for (unsigned i = head; i + 1 < size; i++)
		c->sent[i] = 'a' + (i + number + c->done) % 26;
	c->sent[size - 1] = '\n';
	c->got = 0;
	c->sent_at = now_ns();
	while (done < size) {
		ssize_t sent = send(c->fd, c->sent + done, size - done, MSG_NOSIGNAL);

		if (sent < 0 && errno != EINTR)
			die("send");
		if (sent > 0)
			done += sent;
	}
}

/* Takes what has come. A whole message is checked and counted, and the next one leaves. */
static void receive_some(struct connection *c, unsigned number)
{
	ssize_t got = recv(c->fd, c->back + c->got, size - c->got, 0);

	if (got < 0 && errno == EINTR)
		return;
	if (got < 0)
		die("recv");
	if (got == 0) {
		fprintf(stderr, "echo_client: the server closed connection %u\n", number);
		exit(1);
	}
	c->got += got;
	if (c->got < size)
		return;
	times[time_count++] = now_ns() - c->sent_at;
	if (memcmp(c->sent, c->back, size)) {
		fprintf(stderr, "echo_client: connection %u, message %u came back changed\n",
			number, c->done);
		exit(1);
	}
	for (unsigned i = 0; i < size; i++)
		c->hash = (c->hash ^ (unsigned char)c->back[i]) * 0x100000001b3ull;
	if (number == 0 && c->done < SHOWN)
		printf("> %.*s< %.*s", (int)size, c->sent, (int)size, c->back);
	if (++c->done < messages)
		send_next(c, number);
}

static void talk(struct connection *all)
{
	struct pollfd *set = calloc(connections, sizeof *set);
	unsigned busy = connections;

	if (!set)
		die("memory");
	for (unsigned i = 0; i < connections; i++) {
		set[i] = (struct pollfd){.fd = all[i].fd, .events = POLLIN};
		send_next(&all[i], i);
	}
	while (busy) {
		int ready = poll(set, connections, PATIENCE_MS);

		if (ready < 0 && errno != EINTR)
			die("poll");
		if (ready == 0) {
			fprintf(stderr, "echo_client: no answer for %d ms\n", PATIENCE_MS);
			exit(1);
		}
		for (unsigned i = 0; ready > 0 && i < connections; i++) {
			if (!set[i].revents)
				continue;
			receive_some(&all[i], i);
			if (all[i].done == messages) {
				set[i].fd = -1;
				busy--;
			}
		}
	}
	free(set);
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void write_times(const char *path, uint64_t elapsed)
{
	FILE *file = fopen(path, "w");

	if (!file)
		die(path);
	qsort(times, time_count, sizeof *times, compare);
	fprintf(file, "round_trips %zu\nmean_ns %llu\nmedian_ns %llu\n", time_count,
		(unsigned long long)(elapsed / time_count),
		(unsigned long long)times[time_count / 2]);
	fclose(file);
}

static void __attribute__((noreturn)) usage(void)
{
	fprintf(stderr, "usage: echo_client [-c CONNECTIONS] [-m MESSAGES] [-s BYTES] [-t FILE] "
			"[-k] tcp|udp|unix ADDRESS\n");
	exit(2);
}

int main(int argc, char **argv)
{
	const char *times_path = NULL;
	struct connection *all;
	int option, keep = 0;
	uint64_t start, elapsed;
	char rest[256];

	while ((option = getopt(argc, argv, "c:m:s:t:k")) != -1) {
		switch (option) {
		case 'c': connections = atoi(optarg); break;
		case 'm': messages = atoi(optarg); break;
		case 's': size = atoi(optarg); break;
		case 't': times_path = optarg; break;
		case 'k': keep = 1; break;
		default: usage();
		}
	}
	if (argc - optind != 2 || !connections || !messages || size < 48 || size > 60000)
		usage();
	all = calloc(connections, sizeof *all);
	times = calloc((size_t)connections * messages, sizeof *times);
	if (!all || !times)
		die("memory");
	for (unsigned i = 0; i < connections; i++) {
		all[i].fd = connect_to(argv[optind], argv[optind + 1]);
		all[i].hash = 0xcbf29ce484222325ull;
		all[i].sent = malloc(size);
		all[i].back = malloc(size);
		if (!all[i].sent || !all[i].back)
			die("memory");
	}
	start = now_ns();
	talk(all);
	elapsed = now_ns() - start;
	for (unsigned i = 0; i < connections; i++)
		printf("connection %u: %u messages of %u bytes came back unchanged, hash %016llx\n",
		       i, all[i].done, size, (unsigned long long)all[i].hash);
	if (times_path)
		write_times(times_path, elapsed);
	printf("done\n");
	fflush(stdout);
	while (keep && read(0, rest, sizeof rest) > 0)
		;
	for (unsigned i = 0; i < connections; i++) {
		close(all[i].fd);
		free(all[i].sent);
		free(all[i].back);
	}
	free(all);
	free(times);
	return 0;
}
