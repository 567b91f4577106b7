/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lsca-hosts LINE AGENT: forks a launcher without a program (launcher/host.c) for each message on the socket LINE,
 * which is a session's switches, joined by commas, and after a NUL the path of its log; with it come the descriptors of
 * the session, of a pipe for what went wrong, of the host's socket and, where there is a log, of its file and memory.
 * One launcher is always there ahead of its message. A program of its own because it is small: to start it, to fork it
 * twice for each session, and to end what was forked is most of what a session costs. Started by src/lsca/hosting.py,
 * and ends when the other end of the line is closed.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "launch.h"

enum {
	TEXT = 1 << 16,
	FDS = 5,
	DEATHS = 10, /* one after the other */
	PAUSE = 5,   /* ms */
};

enum { FD_SESSION, FD_STATUS, FD_HOST, FD_LOG, FD_AREA };

static int take(int line, char *text, int fds[FDS])
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(FDS * sizeof(int))];
	} control;
	struct iovec io = {text, TEXT - 1};
	struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = &control,
			   .msg_controllen = sizeof control};
	const size_t most = CMSG_LEN(FDS * sizeof(int));
	const struct cmsghdr *c;
	ssize_t n;

	do
		n = recvmsg(line, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return 0;
	text[n] = 0;
	for (int i = 0; i < FDS; i++)
		fds[i] = -1;
	c = CMSG_FIRSTHDR(&m);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len <= most)
		memcpy(fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
	return fds[FD_HOST] >= 0;
}

static int has(const char *switches, const char *one)
{
	size_t n = strlen(one);

	for (; *switches; switches += strcspn(switches, ","), switches += *switches == ',')
		if (!strncmp(switches, one, n) && (switches[n] == ',' || !switches[n]))
			return 1;
	return 0;
}

static __attribute__((noreturn)) void host(int line, int used, const char *agent)
{
	static char text[TEXT];
	char *none[] = {NULL};
	struct plan plan = {.argv = none, .env = none, .agent = agent, .proxy = "", .post_fd = -1};
	struct outcome out;
	int fds[FDS];

	if (!take(line, text, fds) || write(used, "!", 1) != 1)
		_exit(0);
	close(used);
	close(line);
	plan.session_fd = fds[FD_SESSION];
	plan.host_fd = fds[FD_HOST];
	plan.log_fd = fds[FD_LOG];
	plan.area_fd = fds[FD_AREA];
	plan.log_path = text + strlen(text) + 1; /* behind a text without one there are zeros */
	plan.strict = has(text, "strict");
	plan.hide_vdso = has(text, "hide_vdso");
	plan.unpatched = has(text, "unpatched");
	/* The front's alone: whoever goes on in the background closes what is inheritable. */
	fcntl(fds[FD_STATUS], F_SETFD, 0);
	front_run(&plan, &out);
	if (out.text[0])
		dprintf(fds[FD_STATUS], "%d %s", out.code, out.text);
	_exit(out.code & 0xff);
}

static int is_over(int line)
{
	char byte;

	return recv(line, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* 0: it was killed before it had anything to do. */
static int is_used(int fd)
{
	ssize_t n;
	char byte;

	do
		n = read(fd, &byte, 1);
	while (n < 0 && errno == EINTR);
	return n == 1;
}

static int serve(int line, const char *agent)
{
	int deaths = 0;

	while (deaths < DEATHS) {
		struct pollfd next = {.fd = line, .events = POLLIN};
		int pipe[2];
		pid_t pid;

		if (pipe2(pipe, O_CLOEXEC) || (pid = fork()) < 0) {
			fprintf(stderr, "lsca: cannot start a process: %s\n", strerror(errno));
			return EXIT_FAILURE;
		}
		if (!pid) {
			close(pipe[0]);
			signal(SIGCHLD, SIG_DFL);
			host(line, pipe[1], agent);
		}
		close(pipe[1]);
		if (is_used(pipe[0])) {
			deaths = 0;
			poll(&next, 1, PAUSE); /* it has work to do, and the next one is hardly wanted yet */
		} else if (is_over(line)) {
			return EXIT_SUCCESS;
		} else {
			deaths++;
		}
		close(pipe[0]);
	}
	fputs("lsca: launchers are killed before they are used\n", stderr);
	return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	int line = argc == 3 ? atoi(argv[1]) : -1;
	const char *wrong;

	if (line < 0) {
		fputs("usage: lsca-hosts LINE AGENT\n", stderr);
		return EXIT_FAILURE;
	}
	fcntl(line, F_SETFD, FD_CLOEXEC);
	signal(SIGINT, SIG_IGN); /* the terminal's, and meant for the tests */
	signal(SIGCHLD, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	wrong = host_prepare(argv[2]);
	if (wrong) {
		fprintf(stderr, "lsca: %s %s\n", argv[2], wrong);
		return EXIT_FAILURE;
	}
	return serve(line, argv[2]);
}
