/* SPDX-License-Identifier: Apache-2.0 */
/* Signals that come at any moment: long jumps out of blocked reads, timers during reads and writes of checked data. */
#include "check.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/time.h>

static sigjmp_buf escape;
static volatile sig_atomic_t count;

static void jumping(int signal)
{
	siglongjmp(escape, signal);
}

static void counting(int signal)
{
	(void)signal;
	count++;
	getppid();
}

static void timer(long first, long every)
{
	struct itimerval value = {{0, every}, {0, first}};

	setitimer(ITIMER_REAL, &value, NULL);
}

static void jumps(void)
{
	struct pollfd poller;
	volatile int n, came_back = 0;
	char byte;
	int p[2];

	MUST(pipe(p));
	signal(SIGALRM, jumping);
	for (n = 0; n < 200; n++) {
		if (!sigsetjmp(escape, 1)) {
			timer(500, 0);
			read(p[0], &byte, 1);
			came_back++;
		}
	}
	printf("jumps out of read: %d, came back: %d\n", n, came_back);
	poller = (struct pollfd){.fd = p[0], .events = POLLIN};
	for (n = 0; n < 50; n++) {
		if (!sigsetjmp(escape, 1)) {
			timer(500, 0);
			poll(&poller, 1, -1);
			came_back++;
		}
	}
	printf("jumps out of poll: %d, came back: %d\n", n, came_back);
	report("write still works", write(p[1], "x", 1));
	report("read still works", read(p[0], &byte, 1));
	close(p[0]);
	close(p[1]);
}

/* A stream whose two ends are hit all the time: nothing is lost or doubled, whether calls restart or not. */
static void stream(const char *name, int flags)
{
	enum { TOTAL = 8 << 20, PIECE = 10000 };
	struct sigaction action = {.sa_handler = counting, .sa_flags = flags};
	static unsigned char data[PIECE];
	long total = 0, got;
	int p[2], good = 1;
	pid_t child;

	sigaction(SIGALRM, &action, NULL);
	MUST(pipe(p));
	child = fork();
	if (!child) {
		close(p[0]);
		timer(300, 300);
		for (long sent = 0; sent < TOTAL; sent += got) {
			fill(data, PIECE, (unsigned)sent);
			got = write(p[1], data, TOTAL - sent < PIECE ? TOTAL - sent : PIECE);
			if (got < 0 && errno == EINTR)
				got = 0;
			if (got < 0)
				_exit(1);
		}
		_exit(0);
	}
	close(p[1]);
	timer(250, 250);
	for (;;) {
		got = read(p[0], data, PIECE);
		if (got < 0 && errno == EINTR && !(flags & SA_RESTART))
			continue;
		if (got <= 0)
			break;
		good &= filled(data, got, (unsigned)total);
		total += got;
	}
	timer(0, 0);
	printf("%s: %ld bytes, last %ld, intact %d\n", name, total, got, good);
	check("signals came", count > 0);
	reap("writer", child);
	close(p[0]);
}

static void files(void)
{
	static unsigned char data[4096], back[4096];
	int fd = MUST(open("file", O_CREAT | O_RDWR, 0600)), bad = 0;

	signal(SIGALRM, counting);
	count = 0;
	timer(200, 200);
	for (int i = 0; i < 3000; i++) {
		fill(data, sizeof data, i);
		bad += pwrite(fd, data, sizeof data, (i % 16) * 4096) != sizeof data;
		bad += pread(fd, back, sizeof back, (i % 16) * 4096) != sizeof back;
		bad += memcmp(data, back, sizeof data) != 0;
	}
	timer(0, 0);
	printf("file under a storm: %d bad\n", bad);
	check("signals came", count > 0);
	close(fd);
}

/* Children are made and die while signals arrive. */
static void forks(void)
{
	int good = 0, status;
	pid_t child;

	signal(SIGALRM, counting);
	timer(1000, 1000);
	for (int i = 0; i < 30; i++) {
		child = fork();
		if (!child)
			_exit(i);
		while (waitpid(child, &status, 0) == -1 && errno == EINTR)
			;
		good += WIFEXITED(status) && WEXITSTATUS(status) == i;
	}
	timer(0, 0);
	printf("forks under a storm: %d\n", good);
}

int main(void)
{
	begin();
	jumps();
	stream("restarted", SA_RESTART);
	stream("interrupted", 0);
	files();
	forks();
	return 0;
}
