/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of reading a log look at: a bit of everything that leaves a trace, always the same, in the working
 * directory. Two children: one runs this program again as "sample child" and ends with 3, one dies of SIGKILL.
 * It ends with 5.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void files(void)
{
	char data[100], back[200];
	struct stat st;
	memset(data, 'x', sizeof(data));
	int fd = openat(AT_FDCWD, "made", O_CREAT | O_RDWR, 0644);
	write(fd, data, sizeof(data));
	pwrite(fd, "\377\n\"", 3, 100);
	int copy = dup(fd);
	int high = fcntl(fd, F_DUPFD_CLOEXEC, 50);
	pread(copy, back, 40, 10);
	lseek(high, 0, SEEK_SET);
	read(high, back, sizeof(back));
	close(high);
	close(copy);
	fstat(fd, &st);
	close(fd);
	for (int i = 0; i < 3; i++)
		openat(AT_FDCWD, "missing", O_RDONLY);
	access("missing too", R_OK);
	mkdir("dir", 0755);
	int dir = openat(AT_FDCWD, "dir", O_RDONLY | O_DIRECTORY);
	fd = openat(dir, "inner", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	write(fd, "in", 2);
	close(fd);
	renameat(dir, "inner", AT_FDCWD, "outer");
	chdir("dir");
	openat(AT_FDCWD, "../outer", O_RDONLY);
	fchdir(dir);
	chdir("..");
	unlink("outer");
	stat("made", &st);
}

static void streams(void)
{
	int pipes[2], pair[2];
	char back[10];
	pipe(pipes);
	write(pipes[1], "abc", 3);
	read(pipes[0], back, sizeof(back));
	close(pipes[0]);
	close(pipes[1]);
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	send(pair[0], "hello", 5, 0);
	recv(pair[1], back, sizeof(back), 0);
	close(pair[0]);
	close(pair[1]);
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM, 0);
	bind(l, (struct sockaddr *)&a, sizeof(a));
	listen(l, 1);
	getsockname(l, (struct sockaddr *)&a, &len);
	int c = socket(AF_INET, SOCK_STREAM, 0);
	connect(c, (struct sockaddr *)&a, sizeof(a));
	int s = accept(l, NULL, NULL);
	send(c, "request", 7, 0);
	recv(s, back, sizeof(back), 0);
	close(s);
	close(c);
	close(l);
}

static void children(const char *self)
{
	int status;
	pid_t pid = fork();
	if (!pid) {
		execl(self, "sample", "child", "with a space", NULL);
		_exit(9);
	}
	waitpid(pid, &status, 0);
	pid = fork();
	if (!pid) {
		kill(getpid(), SIGKILL);
		_exit(9);
	}
	waitpid(pid, &status, 0);
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "child")) {
		getppid();
		return 3;
	}
	if (argc > 1 && !strcmp(argv[1], "slow")) { /* for --follow: goes on when there is a file "go" */
		write(2, "waiting\n", 8);
		while (access("go", F_OK))
			nanosleep(&(struct timespec){0, 20 * 1000 * 1000}, NULL);
		rmdir("last");
		return 0;
	}
	files();
	streams();
	if (argc < 2)
		children("/proc/self/exe");
	return 5;
}
