/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two ends of some connections go from hand to hand, by fork, vfork and exec, while bytes go from one to the other:
 *
 *   heirs SEED CONNECTIONS    prints a line for each end once all has gone through it
 *
 * Who has an end may hand it on for good, or lend it to a child and go on when that one is done. Where the bytes are
 * that a reader expects depends on nothing but SEED.
 */
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KINDS = 3, STEPS = 9, LOW = 20, HIGH = 200, PIECE = 5000, CHUNK = 20000 };

static char self[4096];

/* One end, and who has it. */
struct end {
	unsigned seed, name, writes, steps;
	int fd;
	unsigned long at, total; /* bytes */
};

static void must(int is_well, const char *what)
{
	if (is_well)
		return;
	fprintf(stderr, "heirs: %s: %s\n", what, strerror(errno));
	_exit(99);
}

static unsigned chance(struct end *e, unsigned n)
{
	e->seed = e->seed * 1103515245 + 12345;
	return (e->seed >> 16) % n;
}

static uint8_t byte_at(unsigned name, unsigned long i)
{
	return (uint8_t)((i * 2654435761u + name * 40503u) >> 13);
}

static void move_bytes(struct end *e, unsigned long n)
{
	uint8_t bytes[PIECE];

	if (n > e->total - e->at)
		n = e->total - e->at;
	while (n) {
		unsigned long part = 1 + chance(e, chance(e, 3) ? PIECE : 40);
		ssize_t r;

		part = part < n ? part : n;
		for (unsigned long i = 0; i < part && e->writes; i++)
			bytes[i] = byte_at(e->name, e->at + i);
		r = e->writes ? write(e->fd, bytes, part) : read(e->fd, bytes, part);
		must(r > 0, e->writes ? "write" : "read");
		for (ssize_t i = 0; i < r && !e->writes; i++)
			if (bytes[i] != byte_at(e->name, e->at + (unsigned long)i)) {
				fprintf(stderr, "heirs: %u: byte %lu is wrong\n", e->name, e->at + (unsigned long)i);
				_exit(98);
			}
		e->at += (unsigned long)r;
		n -= (unsigned long)r;
	}
}

/* ---- the next one ------------------------------------------------------------------------------------------------ */

struct words {
	char text[7][24];
	char *argv[10];
};

static char **words(struct words *w, const struct end *e, const char *verb)
{
	unsigned long values[7] = {e->seed, e->name, e->writes, e->steps, (unsigned long)e->fd, e->at, e->total};

	w->argv[0] = self;
	w->argv[1] = (char *)verb;
	for (int i = 0; i < 7; i++) {
		snprintf(w->text[i], sizeof w->text[i], "%lu", values[i]);
		w->argv[2 + i] = w->text[i];
	}
	w->argv[9] = NULL;
	return w->argv;
}

static int status_of(pid_t pid)
{
	int status = 0;

	must(waitpid(pid, &status, 0) == pid, "waitpid");
	return status;
}

static void ends_as(pid_t pid)
{
	int status = status_of(pid);

	if (WIFSIGNALED(status))
		fprintf(stderr, "heirs: signal %d\n", WTERMSIG(status));
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 97);
}

/* How many bytes a child moves who has it for a while: both know, since both have the same seed. */
static unsigned long lent(struct end *e)
{
	unsigned long n = 1 + chance(e, CHUNK);

	return n < e->total - e->at ? n : e->total - e->at;
}

static void *idle(void *argument)
{
	usleep(*(useconds_t *)argument);
	return NULL;
}

static void step(struct end *e)
{
	struct words w;
	struct end own = *e;
	char *none[] = {"none", NULL};
	unsigned long n;
	useconds_t moment = 2000;
	pthread_t t;
	pid_t pid;
	int fd;

	e->steps--;
	switch (chance(e, 14)) {
	case 0:
		move_bytes(e, 1 + chance(e, CHUNK));
		return;
	case 1:
		fd = fcntl(e->fd, chance(e, 2) ? F_DUPFD : F_DUPFD_CLOEXEC, LOW + chance(e, HIGH));
		must(fd >= 0 && !close(e->fd), "dup");
		e->fd = fd;
		return;
	case 2: /* another image */
		fcntl(e->fd, F_SETFD, 0);
		execv(self, words(&w, e, "go"));
		must(0, "exec");
		return;
	case 3: /* a child */
		pid = fork();
		if (!pid)
			return;
		close(e->fd);
		ends_as(pid);
		return;
	case 4: /* a child for a while */
		n = lent(e);
		own.seed = e->seed;
		if (!(pid = fork())) {
			move_bytes(&own, n);
			_exit(0);
		}
		must(!status_of(pid), "child");
		e->at += n;
		return;
	case 5: /* another program, at another number */
		own.seed = e->seed;
		own.steps = e->steps;
		own.fd = (int)(LOW + HIGH + chance(e, 20));
		own.fd += own.fd == e->fd;
		words(&w, &own, "go");
		pid = vfork();
		if (!pid) {
			dup2(e->fd, own.fd);
			close(e->fd);
			execv(self, w.argv);
			must(0, "exec in a child");
		}
		close(e->fd);
		ends_as(pid);
		return;
	case 6: /* that cannot be */
		execv("/nowhere/to/be/found", none);
		execv("/proc/self/maps", none);
		execv("heirs-garbage", none);
		must(errno == ENOEXEC, "exec of garbage");
		return;
	case 7: /* another program for a while; that it is the only one who has the end it cannot know */
		n = lent(e);
		own.seed = e->seed;
		own.total = e->at + n;
		fcntl(e->fd, F_SETFD, 0);
		words(&w, &own, "lent");
		pid = chance(e, 2) ? fork() : vfork();
		if (!pid) {
			execv("heirs-garbage", none);
			execv(self, w.argv);
			must(0, "exec in a child");
		}
		must(!status_of(pid), "program");
		e->at += n;
		return;
	case 8: /* one that has it, and does nothing */
	case 9:
		fcntl(e->fd, F_SETFD, chance(e, 2) ? FD_CLOEXEC : 0);
		words(&w, e, "nothing");
		pid = chance(e, 2) ? fork() : vfork();
		if (!pid) {
			execv(self, w.argv);
			must(0, "exec in a child");
		}
		must(!status_of(pid), "nothing");
		return;
	case 10:
		pthread_create(&t, NULL, idle, &moment);
		if (chance(e, 2)) { /* an exec that other threads do not survive */
			fcntl(e->fd, F_SETFD, 0);
			execv(self, words(&w, e, "go"));
		}
		pthread_join(t, NULL);
		return;
	case 11: /* killed, as far as it has come */
		n = lent(e);
		own.seed = e->seed;
		if (!(pid = fork())) {
			move_bytes(&own, n);
			kill(getpid(), SIGKILL);
		}
		status_of(pid);
		e->at += n;
		return;
	case 12: /* a child of vfork that only looks about */
		pid = vfork();
		if (!pid) {
			fd = dup(e->fd);
			fcntl(fd, F_DUPFD, LOW);
			close(e->fd);
			_exit(0);
		}
		must(!status_of(pid), "vfork");
		return;
	case 13:
		n = lent(e);
		n = n < 300 ? n : 300;
		pid = vfork();
		if (!pid) { /* or that moves bytes by another number */
			own.fd = dup(e->fd);
			move_bytes(&own, n);
			_exit(0);
		}
		must(!status_of(pid), "vfork that moves");
		e->at += n;
	}
}

static void go(struct end *e)
{
	char line[80], more;
	int n;

	while (e->steps)
		step(e);
	move_bytes(e, e->total);
	if (!e->writes)
		must(read(e->fd, &more, 1) == 0, "the end");
	n = snprintf(line, sizeof line, "%u %s %lu\n", e->name, e->writes ? "wrote" : "read", e->at);
	must(write(1, line, (size_t)n) == n, "stdout");
	_exit(0);
}

/* ---- connections ------------------------------------------------------------------------------------------------- */

static void connected(int *pair)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof at;
	int l = socket(AF_INET, SOCK_STREAM, 0);

	must(!bind(l, (void *)&at, len) && !listen(l, 1) && !getsockname(l, (void *)&at, &len), "listen");
	pair[1] = socket(AF_INET, SOCK_STREAM, 0);
	must(!connect(pair[1], (void *)&at, len), "connect");
	pair[0] = accept(l, NULL, NULL);
	must(pair[0] >= 0, "accept");
	close(l);
}

static void begin(struct end *e, int other)
{
	if (fork())
		return;
	close(other);
	go(e);
}

int main(int argc, char **argv)
{
	struct end e = {0};
	int failed = 0, status;

	must(argc > 2 && readlink("/proc/self/exe", self, sizeof self - 1) > 0, "usage: heirs SEED CONNECTIONS");
	if (argc == 9) {
		e = (struct end){(unsigned)atol(argv[2]), (unsigned)atol(argv[3]), (unsigned)atol(argv[4]),
				 (unsigned)atol(argv[5]), atoi(argv[6]), strtoul(argv[7], NULL, 10),
				 strtoul(argv[8], NULL, 10)};
		if (!strcmp(argv[1], "go"))
			go(&e);
		if (!strcmp(argv[1], "lent"))
			move_bytes(&e, e.total);
		return 0;
	}
	status = open("heirs-garbage", O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0700);
	must(status >= 0 && write(status, "garbage\n", 8) == 8 && !close(status), "garbage");
	e.seed = (unsigned)atol(argv[1]);
	for (e.name = 0; e.name < (unsigned)atol(argv[2]); e.name++) {
		unsigned kind = chance(&e, KINDS);
		int pair[2];

		if (kind == 2)
			connected(pair);
		else
			must(!(kind ? socketpair(AF_UNIX, SOCK_STREAM, 0, pair) : pipe(pair)), "pair");
		e.total = 1 + chance(&e, chance(&e, 2) ? 300000 : 3000);
		for (e.writes = 0; e.writes < 2; e.writes++) {
			e.steps = chance(&e, STEPS);
			e.fd = pair[e.writes];
			begin(&e, pair[!e.writes]);
		}
		close(pair[0]);
		close(pair[1]);
	}
	while (wait(&status) > 0)
		failed += status != 0;
	return failed;
}
