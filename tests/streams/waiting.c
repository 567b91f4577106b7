/* SPDX-License-Identifier: Apache-2.0 */
/* Waits for a connection in every way there is; another process holds its other end, and does what it is told. */
#include "ready.h"

static int told; /* the pipe by which the other process is told, and the one by which it says that it has done so */
static int said;
static int with; /* our end */
static pid_t other;
static int stays_full; /* TCP of the kernel finds more room by itself, sooner or later */

enum { SLEEP = 20000 }; /* microseconds before it does something */

static void on_alarm(int sig)
{
	(void)sig;
}

/* w: writes a byte, W: and without a pause; d: takes all there is; s: shuts down; c: closes; k: kills itself */
static void serve(int orders, int answers, int fd)
{
	char c;

	while (read(orders, &c, 1) == 1) {
		if (c != 'W')
			usleep(SLEEP);
		switch (c) {
		case 'w':
		case 'W':
			CHECK(write(fd, "x", 1) == 1);
			break;
		case 'd':
			for (int i = 0; i < 50; i++, usleep(1000))
				drain(fd);
			CHECK(write(answers, "d", 1) == 1);
			break;
		case 's':
			shutdown(fd, SHUT_WR);
			break;
		case 'c':
			close(fd);
			break;
		case 'k':
			kill(getpid(), SIGKILL);
		}
	}
	exit(0);
}

static int socket_for(enum kind kind, struct sockaddr_storage *a, socklen_t *len)
{
	memset(a, 0, sizeof *a);
	if (kind == TCP) {
		struct sockaddr_in *in = (void *)a;

		in->sin_family = AF_INET;
		in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		*len = sizeof *in;
	} else {
		a->ss_family = AF_UNIX;
		*len = sizeof(sa_family_t); /* any name */
	}
	return socket(a->ss_family, SOCK_STREAM, 0);
}

static void start(enum kind kind)
{
	struct sockaddr_storage a;
	socklen_t len;
	int l = socket_for(kind, &a, &len), orders[2], answers[2];
	char c[8];

	CHECK(!bind(l, (void *)&a, len) && !listen(l, 5));
	len = sizeof a;
	CHECK(!getsockname(l, (void *)&a, &len) && !pipe(orders) && !pipe(answers));
	other = fork();
	if (!other) {
		int fd = socket(a.ss_family, SOCK_STREAM, 0);

		close(l);
		close(orders[1]);
		CHECK(!connect(fd, (void *)&a, len));
		for (int i = 0; i < 6; i++)
			CHECK(write(fd, "ab", 2) == 2 && read(fd, c, 8) == 3);
		fcntl(fd, F_SETFL, O_NONBLOCK);
		serve(orders[0], answers[1], fd);
	}
	close(orders[0]);
	close(answers[1]);
	told = orders[1];
	said = answers[0];
	with = accept(l, 0, 0);
	close(l);
	for (int i = 0; i < 6; i++)
		CHECK(read(with, c, 8) == 2 && write(with, "cde", 3) == 3);
	fcntl(with, F_SETFL, O_NONBLOCK);
}

static void end(void)
{
	int status;

	close(told);
	close(said);
	close(with);
	waitpid(other, &status, 0);
}

static void tell(char c)
{
	CHECK(write(told, &c, 1) == 1);
}

static const char *took(double begin, double least, double most)
{
	double t = seconds() - begin;

	return t < least - 0.0005 ? "too short" : t > most ? "too long" : "as long as it should";
}

enum way { POLL, PPOLL, SELECT, PSELECT, EPOLL, EPOLL_PWAIT, EPOLL_EDGE, WAYS };

static const char *way_names[] = {"poll", "ppoll", "select", "pselect", "epoll", "epoll_pwait", "epoll edge"};

/* What was found, or minus an error. */
static int wait_by(enum way way, int fd, uint32_t events, int ms, const sigset_t *mask)
{
	struct pollfd p = {fd, (short)events, 0};
	struct timespec ts = {ms / 1000, ms % 1000 * 1000000};
	struct timeval tv = {ms / 1000, ms % 1000 * 1000};
	struct epoll_event e = {.events = events | (way == EPOLL_EDGE ? EPOLLET : 0)}, got = {0};
	fd_set r, w;
	int n, set;

	FD_ZERO(&r);
	FD_ZERO(&w);
	if (events & POLLIN)
		FD_SET(fd, &r);
	if (events & POLLOUT)
		FD_SET(fd, &w);
	switch (way) {
	case POLL:
	case PPOLL:
		n = way == POLL ? poll(&p, 1, ms) : ppoll(&p, 1, ms < 0 ? 0 : &ts, mask);
		return n < 0 ? -errno : n ? p.revents : 0;
	case SELECT:
	case PSELECT:
		n = way == SELECT ? select(fd + 1, &r, &w, 0, ms < 0 ? 0 : &tv) :
				    pselect(fd + 1, &r, &w, 0, ms < 0 ? 0 : &ts, mask);
		return n < 0 ? -errno : n ? (FD_ISSET(fd, &r) ? POLLIN : 0) | (FD_ISSET(fd, &w) ? POLLOUT : 0) : 0;
	default:
		set = epoll_create1(0);
		CHECK(!epoll_ctl(set, EPOLL_CTL_ADD, fd, &e));
		n = way == EPOLL_PWAIT ? epoll_pwait(set, &got, 1, ms, mask) : epoll_wait(set, &got, 1, ms);
		n = n < 0 ? -errno : n ? (int)got.events : 0;
		close(set);
		return n;
	}
}

static const char *found(int n)
{
	return n < 0 ? strerror(-n) : words((uint32_t)n);
}

static void waits(enum way way)
{
	char c[8];
	double t;
	int n;

	for (int i = 0; i < 3; i++) {
		t = seconds();
		tell('w');
		n = wait_by(way, with, POLLIN, i ? 5000 : -1, 0);
		printf("%s: a byte: %s, %s\n", way_names[way], found(n), took(t, SLEEP * 1e-6, 2));
		CHECK(read(with, c, 8) == 1);
	}
	t = seconds();
	n = wait_by(way, with, POLLIN, 30, 0);
	printf("%s: none: %s, %s\n", way_names[way], found(n), took(t, 0.03, 2));
	fill(with);
	n = wait_by(way, with, POLLOUT, 0, 0);
	if (stays_full)
		printf("%s: full: %s\n", way_names[way], found(n));
	t = seconds();
	n = wait_by(way, with, POLLOUT | POLLIN, 20, 0);
	if (stays_full)
		printf("%s: still full: %s, %s\n", way_names[way], found(n), took(t, 0.02, 2));
	t = seconds();
	tell('d');
	n = wait_by(way, with, POLLOUT, 5000, 0);
	printf("%s: room: %s, %s\n", way_names[way], found(n), took(t, 0, 2));
	/* A byte that is not asked for. */
	CHECK(read(said, c, 1) == 1);
	tell('W');
	CHECK(wait_by(POLL, with, POLLIN, 5000, 0) == POLLIN);
	fill(with);
	t = seconds();
	n = wait_by(way, with, POLLOUT, 20, 0);
	if (stays_full)
		printf("%s: full, and a byte: %s, %s\n", way_names[way], found(n), took(t, 0.02, 2));
	tell('d');
	n = wait_by(way, with, POLLOUT, 5000, 0);
	printf("%s: room: %s\n", way_names[way], found(n));
	CHECK(read(said, c, 1) == 1 && read(with, c, 8) == 1);
}

static void interrupted(enum way way)
{
	const struct itimerval soon = {.it_value = {0, SLEEP}};
	sigset_t alarm, none;
	double t = seconds();
	char c[8];
	int n, is_masked = way == PPOLL || way == PSELECT || way == EPOLL_PWAIT;

	sigemptyset(&none);
	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	setitimer(ITIMER_REAL, &soon, 0);
	n = wait_by(way, with, POLLIN, 5000, 0);
	printf("%s: a signal: %s, %s\n", way_names[way], found(n), took(t, SLEEP * 1e-6, 2));
	if (!is_masked)
		return;
	sigprocmask(SIG_BLOCK, &alarm, 0);
	t = seconds();
	setitimer(ITIMER_REAL, &soon, 0);
	n = wait_by(way, with, POLLIN, 5000, &none);
	printf("%s: a signal that is let in: %s, %s\n", way_names[way], found(n), took(t, SLEEP * 1e-6, 2));
	raise(SIGALRM);
	n = wait_by(way, with, POLLIN, 5000, &none);
	printf("%s: one that has waited: %s\n", way_names[way], found(n));
	raise(SIGALRM);
	tell('W');
	CHECK(wait_by(POLL, with, POLLIN, 5000, 0) == POLLIN);
	n = wait_by(way, with, POLLIN, 5000, &none);
	printf("%s: and a byte: %s\n", way_names[way], found(n));
	CHECK(read(with, c, 8) == 1);
	n = wait_by(way, with, POLLIN, 5000, &none);
	printf("%s: then it: %s\n", way_names[way], found(n));
	sigprocmask(SIG_UNBLOCK, &alarm, 0);
}

static void what_is_left(void)
{
	struct timeval tv = {5, 0};
	struct { long s, ns; } ts = {5, 0};
	struct pollfd p = {with, POLLIN, 0};
	char c[8];
	fd_set r;
	int n;

	FD_ZERO(&r);
	FD_SET(with, &r);
	tell('w');
	n = select(with + 1, &r, 0, 0, &tv);
	printf("select %d: %s is left\n", n, tv.tv_sec == 4 && tv.tv_usec < 985000 ? "less" : "too much");
	CHECK(read(with, c, 8) == 1);
	tell('w');
	n = (int)syscall(SYS_ppoll, &p, 1, &ts, 0, 8);
	printf("ppoll %d: %s is left\n", n, ts.s == 4 && ts.ns < 985000000 ? "less" : "too much");
	CHECK(read(with, c, 8) == 1);
	tv = (struct timeval){0, 10000};
	n = select(with + 1, &r, 0, 0, &tv);
	printf("select %d: %ld %ld is left, set %d\n", n, (long)tv.tv_sec, (long)tv.tv_usec, FD_ISSET(with, &r));
}

static void ends(enum kind kind, enum way way, char how)
{
	double t;
	char c[8];
	int n;

	start(kind);
	t = seconds();
	tell(how);
	n = wait_by(way, with, POLLIN | POLLRDHUP, 5000, 0);
	printf("%s: %c: %s, %s", way_names[way], how, found(n), took(t, SLEEP * 1e-6, 2));
	n = (int)read(with, c, 8);
	printf(", %d %s\n", n, n < 0 ? strerror(errno) : "");
	end();
}

int main(void)
{
	setvbuf(stdout, 0, _IONBF, 0);
	sigaction(SIGALRM, &(struct sigaction){.sa_handler = on_alarm, .sa_flags = SA_RESTART}, 0);
	signal(SIGPIPE, SIG_IGN);
	for (enum kind kind = 0; kind < KINDS; kind++) {
		printf("==== %s\n", kind_names[kind]);
		stays_full = kind != TCP;
		start(kind);
		for (enum way way = 0; way < WAYS; way++)
			waits(way);
		for (enum way way = 0; way < WAYS; way++)
			interrupted(way);
		what_is_left();
		end();
		for (enum way way = 0; way < WAYS; way++)
			for (const char *how = "sck"; *how; how++)
				ends(kind, way, *how);
	}
	return 0;
}
