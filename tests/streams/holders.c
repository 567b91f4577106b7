/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many at one socket. Prints what went wrong, and sums that depend on nothing but what was sent.
 *
 *   holders threads          threads read and write both ends of one connection at once
 *   holders forks N          a server forks for each of N connections
 *   holders prefork N        N connections come to servers that were forked before
 *   holders turns N          N connections one after the other, in two processes; nothing piles up
 */
#define _GNU_SOURCE

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RECORD = 64, EACH = 2000, CROWD = 3, ROUNDS = 20 };

static void must(int is_well, const char *what)
{
	if (is_well)
		return;
	fprintf(stderr, "crowd: %s: %s\n", what, strerror(errno));
	_exit(99);
}

static int all(int fd, char *bytes, size_t n, int writes)
{
	for (size_t done = 0; done < n;) {
		ssize_t r = writes ? write(fd, bytes + done, n - done) : read(fd, bytes + done, n - done);

		if (r <= 0)
			return 0;
		done += (size_t)r;
	}
	return 1;
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

struct worker {
	pthread_t thread;
	int fd, writes;
	uint64_t sum, count;
};

/* Bytes of several may mix; none is lost, and none comes twice. */
static void *work(void *argument)
{
	struct worker *w = argument;
	uint8_t bytes[777];

	if (w->writes) {
		for (int i = 0; i < EACH; i++) {
			int n = 1 + (i * 7 + w->fd) % (int)sizeof bytes;

			for (int k = 0; k < n; k++)
				w->sum += bytes[k] = (uint8_t)(i + k);
			must(all(w->fd, (char *)bytes, (size_t)n, 1), "write");
			w->count += (uint64_t)n;
		}
		return NULL;
	}
	for (ssize_t r; (r = read(w->fd, bytes, sizeof bytes)) > 0; w->count += (uint64_t)r)
		for (ssize_t k = 0; k < r; k++)
			w->sum += bytes[k];
	return NULL;
}

static void crowd(int fd, uint64_t *out, uint64_t *in)
{
	struct worker w[2 * CROWD];

	memset(w, 0, sizeof w);
	for (int i = 0; i < 2 * CROWD; i++) {
		w[i].fd = fd;
		w[i].writes = i < CROWD;
		must(!pthread_create(&w[i].thread, NULL, work, &w[i]), "thread");
	}
	for (int i = 0; i < CROWD; i++)
		pthread_join(w[i].thread, NULL);
	shutdown(fd, SHUT_WR);
	for (int i = CROWD; i < 2 * CROWD; i++)
		pthread_join(w[i].thread, NULL);
	for (int i = 0; i < 2 * CROWD; i++) {
		uint64_t *to = w[i].writes ? out : in;

		to[0] += w[i].sum;
		to[1] += w[i].count;
	}
}

static void threads(void)
{
	uint64_t(*sums)[4] = mmap(NULL, 4096, 3, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	for (int round = 0; round < ROUNDS; round++) {
		int pair[2];

		memset(sums, 0, 4096);
		must(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "socketpair");
		if (!fork()) {
			close(pair[0]);
			crowd(pair[1], sums[1], sums[1] + 2);
			_exit(0);
		}
		close(pair[1]);
		crowd(pair[0], sums[0], sums[0] + 2);
		close(pair[0]);
		wait(NULL);
		if (memcmp(sums[0], sums[1] + 2, 16) || memcmp(sums[1], sums[0] + 2, 16))
			printf("round %d: not what was sent\n", round);
	}
	printf("%llu %llu\n", (unsigned long long)sums[0][0], (unsigned long long)sums[0][1]);
}

/* ---- servers ----------------------------------------------------------------------------------------------------- */

static void serve(int fd)
{
	char record[RECORD];

	while (all(fd, record, RECORD, 0)) {
		for (int i = 1; i < RECORD; i++)
			record[i] ^= record[0];
		if (!all(fd, record, RECORD, 1))
			break;
	}
	close(fd);
}

static int visit(const struct sockaddr_in *at, int number)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), wrong = 0;
	char record[RECORD], answer[RECORD];

	must(!connect(fd, (const void *)at, sizeof *at), "connect");
	for (int turn = 0; turn < 20; turn++) {
		for (int i = 0; i < RECORD; i++)
			record[i] = (char)(number * 31 + turn * 7 + i + 1);
		must(all(fd, record, RECORD, 1) && all(fd, answer, RECORD, 0), "visit");
		for (int i = 1; i < RECORD; i++)
			wrong += answer[i] != (char)(record[i] ^ record[0]);
	}
	close(fd);
	return wrong;
}

static int listens(struct sockaddr_in *at)
{
	socklen_t len = sizeof *at;
	int l = socket(AF_INET, SOCK_STREAM, 0);

	*at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	must(!bind(l, (void *)at, len) && !listen(l, 64) && !getsockname(l, (void *)at, &len), "listen");
	return l;
}

static int lines_of_maps(pid_t pid)
{
	char path[64];
	FILE *f;
	int n = 0, c;

	snprintf(path, sizeof path, "/proc/%d/maps", pid);
	f = fopen(path, "r");
	must(f != NULL, path);
	while ((c = getc(f)) != EOF)
		n += c == '\n';
	fclose(f);
	return n;
}

static void servers(const char *how, int n)
{
	struct sockaddr_in at;
	int l = listens(&at), wrong = 0, forks = !strcmp(how, "forks"), several = !strcmp(how, "prefork") ? 4 : 1;
	int own = 0, other = 0;
	pid_t pids[4];

	for (int i = 0; i < several; i++) {
		pids[i] = fork();
		if (pids[i])
			continue;
		for (;;) {
			int fd = accept(l, NULL, NULL);

			must(fd >= 0, "accept");
			if (forks && fork()) {
				close(fd);
				while (waitpid(-1, NULL, WNOHANG) > 0)
					continue;
				continue;
			}
			serve(fd);
			if (forks)
				_exit(0);
		}
	}
	close(l);
	for (int i = 0; i < n; i++) {
		wrong += visit(&at, i);
		if (i == 100) { /* by then what is kept is there */
			own = lines_of_maps(getpid());
			other = lines_of_maps(pids[0]);
		}
	}
	if (n > 100 && (lines_of_maps(getpid()) > own + 8 || lines_of_maps(pids[0]) > other + 8))
		printf("mappings pile up: %d then %d, %d then %d\n", own, lines_of_maps(getpid()), other,
		       lines_of_maps(pids[0]));
	for (int i = 0; i < several; i++)
		kill(pids[i], SIGKILL);
	while (wait(NULL) > 0)
		continue;
	printf("%d visits, %d wrong\n", n, wrong);
}

int main(int argc, char **argv)
{
	must(argc > 1, "usage: holders threads|forks|prefork|turns N");
	if (!strcmp(argv[1], "threads"))
		threads();
	else
		servers(argv[1], argc > 2 ? atoi(argv[2]) : 1);
	return 0;
}
