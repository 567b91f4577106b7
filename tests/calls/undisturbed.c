/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals without SA_RESTART, many a millisecond, during calls that have no reason to wait: none may say EINTR. The
 * kernel interrupts only a call that sleeps; one that has not begun when the signal comes is simply made afterwards.
 */
#include "check.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>

enum { ROUNDS = 1500 };

static volatile sig_atomic_t came;
static int interrupted;

static void count(int signal)
{
	(void)signal;
	came++;
}

static long noted(long ret)
{
	interrupted += ret == -1 && errno == EINTR;
	return ret;
}

/* A child that sends them while the parent works. */
static void storm(const char *name, void (*work)(void))
{
	pid_t parent = getpid(), child = fork();
	int status;

	if (!child) {
		while (getppid() == parent && !kill(parent, SIGUSR1))
			usleep(20);
		_exit(0);
	}
	while (!came)
		usleep(10);
	came = interrupted = 0;
	work();
	check("signals came", came > 0);
	kill(child, SIGKILL);
	while (waitpid(child, &status, 0) < 0)
		continue;
	printf("%s: %d interrupted\n", name, interrupted);
	came = 0;
}

static void descriptors(void)
{
	for (int i = 0; i < ROUNDS; i++) {
		int fd = (int)noted(open("file", O_RDWR | O_CREAT, 0600)), fds[2];

		noted(close((int)noted(dup(fd))));
		noted(fcntl(fd, F_SETFD, FD_CLOEXEC));
		noted(close(fd));
		if (noted(pipe(fds)))
			exit(1);
		noted(close(fds[0]));
		noted(close(fds[1]));
	}
	/* Were a close lost, this number would be higher. */
	report("next descriptor", dup(0));
	close(3);
}

static void data(void)
{
	char buffer[64] = "";
	int pair[2], fd = open("file", O_RDWR);

	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	for (int i = 0; i < ROUNDS; i++) {
		noted(pwrite(fd, buffer, sizeof buffer, 0));
		noted(pread(fd, buffer, sizeof buffer, 0));
		noted(write(pair[0], buffer, sizeof buffer));
		noted(read(pair[1], buffer, sizeof buffer));
		noted(ftruncate(fd, i));
		noted(fsync(pair[0]) < 0 && errno == EINTR ? -1 : 0);
	}
	close(fd);
	close(pair[0]);
	close(pair[1]);
}

static void names(void)
{
	struct stat st;

	for (int i = 0; i < ROUNDS; i++) {
		noted(mkdir("directory", 0700));
		noted(rename("directory", "moved"));
		noted(stat("moved", &st));
		noted(rmdir("moved"));
	}
	check("nothing is left", access("moved", F_OK) == -1 && access("directory", F_OK) == -1);
}

int main(void)
{
	struct sigaction act = {.sa_handler = count};

	begin();
	sigaction(SIGUSR1, &act, NULL);
	storm("descriptors", descriptors);
	storm("data", data);
	storm("names", names);
	return 0;
}
