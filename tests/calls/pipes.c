/* SPDX-License-Identifier: Apache-2.0 */
/* Pipes: end of file, broken pipes and their signal, capacity, non-blocking ends, named pipes, a lot of data. */
#include "check.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>

static volatile sig_atomic_t broken;

static void on_pipe(int signal)
{
	(void)signal;
	broken++;
}

static void ends(void)
{
	char buffer[8];
	int p[2], hold[2];
	pid_t child;

	MUST(pipe(p));
	report("write", write(p[1], "abc", 3));
	close(p[1]);
	report("read", read(p[0], buffer, 8));
	report("end of file", read(p[0], buffer, 8));
	report("end of file again", read(p[0], buffer, 8));
	close(p[0]);

	MUST(pipe(p));
	child = fork();
	if (!child) {
		close(p[0]);
		sleep_ms(50);
		_exit(write(p[1], "from the child", 14) != 14);
	}
	close(p[1]);
	report("read waits", read(p[0], buffer, 4));
	reap("child", child);
	report("the rest", read(p[0], buffer, 8));
	report("two more", read(p[0], buffer, 8));
	report("end when the child is gone", read(p[0], buffer, 8));
	close(p[0]);

	/* A child holds the write end: no end of file before it ends, however it ends. */
	MUST(pipe(p));
	MUST(pipe(hold));
	child = fork();
	if (!child) {
		close(hold[1]);
		read(hold[0], buffer, 1);
		_exit(0);
	}
	close(p[1]);
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	report("no end while the child holds it", read(p[0], buffer, 1));
	kill(child, SIGKILL);
	reap("killed child", child);
	report("end after the kill", read(p[0], buffer, 1));
	close(p[0]);
	close(hold[0]);
	close(hold[1]);
}

static void breaking(void)
{
	struct sigaction action = {.sa_handler = on_pipe};
	int p[2];
	pid_t child;

	MUST(pipe(p));
	close(p[0]);
	child = fork();
	if (!child) {
		write(p[1], "x", 1);
		_exit(0);
	}
	reap("SIGPIPE kills", child);
	signal(SIGPIPE, SIG_IGN);
	report("SIGPIPE ignored", write(p[1], "x", 1));
	sigaction(SIGPIPE, &action, NULL);
	report("SIGPIPE handled", write(p[1], "x", 1));
	printf("handler ran: %d\n", (int)broken);
	signal(SIGPIPE, SIG_DFL);
	close(p[1]);
}

static void capacity(void)
{
	static char data[1 << 17], buffer[1 << 17];
	struct pollfd poller;
	long total = 0, got;
	int p[2];

	MUST(pipe2(p, O_NONBLOCK));
	report("empty", read(p[0], buffer, 1));
	while ((got = write(p[1], data, PIPE_BUF)) > 0)
		total += got;
	report("full", got);
	printf("capacity: %ld\n", total);
	report("nothing fits", write(p[1], data, 1));
	report("read one byte", read(p[0], buffer, 1));
	report("an atomic write does not fit", write(p[1], data, PIPE_BUF));
	poller = (struct pollfd){.fd = p[1], .events = POLLOUT};
	report("poll for writing", poll(&poller, 1, 0));
	report("read a page", read(p[0], buffer, PIPE_BUF - 1));
	report("now it fits", write(p[1], data, PIPE_BUF));
	report("a larger one is cut", (report("read two pages", read(p[0], buffer, 2 * PIPE_BUF)),
				       write(p[1], data, sizeof data)));
	report("reading all at once", read(p[0], buffer, sizeof buffer));
	close(p[0]);
	close(p[1]);
}

/* One message of PIPE_BUF bytes is never torn, however many write. */
static void atomicity(void)
{
	unsigned char buffer[PIPE_BUF];
	int p[2], torn = 0;
	pid_t children[4];
	long got, messages = 0, at;

	MUST(pipe(p));
	for (int i = 0; i < 4; i++) {
		children[i] = fork();
		if (!children[i]) {
			memset(buffer, 'a' + i, sizeof buffer);
			for (int n = 0; n < 50; n++)
				write(p[1], buffer, sizeof buffer);
			_exit(0);
		}
	}
	close(p[1]);
	for (;;) {
		for (at = 0; at < PIPE_BUF; at += got)
			if ((got = read(p[0], buffer + at, PIPE_BUF - at)) <= 0)
				break;
		if (at < PIPE_BUF)
			break;
		messages++;
		for (int i = 1; i < PIPE_BUF; i++)
			torn |= buffer[i] != buffer[0];
	}
	for (int i = 0; i < 4; i++)
		reap("writer", children[i]);
	printf("messages: %ld, torn: %d\n", messages, torn);
	close(p[0]);
}

static void stream(void)
{
	enum { TOTAL = 100 << 20, PIECE = 1 << 20 };
	unsigned char *data = malloc(PIECE);
	long total = 0, got;
	int p[2], good = 1;
	pid_t child;

	MUST(pipe(p));
	child = fork();
	if (!child) {
		close(p[0]);
		for (long sent = 0; sent < TOTAL; sent += PIECE) {
			fill(data, PIECE, (unsigned)sent);
			for (long at = 0; at < PIECE; at += got)
				if ((got = write(p[1], data + at, PIECE - at)) <= 0)
					_exit(1);
		}
		_exit(0);
	}
	close(p[1]);
	while ((got = read(p[0], data, PIECE)) > 0) {
		good &= filled(data, got, (unsigned)total);
		total += got;
	}
	printf("streamed: %ld, intact: %d\n", total, good);
	reap("streamer", child);
	close(p[0]);
	free(data);
}

static void named(void)
{
	char buffer[16];
	pid_t child;
	int fd;

	MUST(mkfifo("fifo", 0600));
	child = fork();
	if (!child) {
		sleep_ms(50);
		fd = open("fifo", O_WRONLY);
		_exit(write(fd, "through a name", 14) != 14);
	}
	fd = report("open waits for the writer", open("fifo", O_RDONLY));
	report("read", read(fd, buffer, 16));
	report("end", read(fd, buffer, 16));
	reap("writer", child);
	close(fd);
}

int main(void)
{
	begin();
	ends();
	breaking();
	capacity();
	atomicity();
	stream();
	named();
	return 0;
}
