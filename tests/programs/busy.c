/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program of the kind that people link in many ways: threads, children, pipes, signals, files, TCP. It is built with
 * glibc and musl, dynamically and statically. `busy storm N` is the same program as a fork and exec stress: a tree of
 * processes, each of which starts others and adds up what they say.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static long turn, sum;
static volatile sig_atomic_t alarms;

static void *worker(void *argument)
{
	long own = (long)argument;

	for (int i = 0; i < 200; i++) {
		pthread_mutex_lock(&lock);
		while (turn % 4 != own)
			pthread_cond_wait(&changed, &lock);
		turn++;
		sum += own * i;
		pthread_cond_broadcast(&changed);
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

static void threads(void)
{
	pthread_t t[4];

	for (long i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, worker, (void *)i);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	printf("threads: %ld turns, sum %ld\n", turn, sum);
}

static void on_alarm(int sig)
{
	(void)sig;
	alarms++;
}

static void signals(void)
{
	struct itimerval each = {{0, 2000}, {0, 2000}}, none = {{0, 0}, {0, 0}};
	sigset_t blocked, before;

	signal(SIGALRM, on_alarm);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGALRM);
	sigprocmask(SIG_BLOCK, &blocked, &before);
	setitimer(ITIMER_REAL, &each, NULL);
	while (alarms < 20)
		sigsuspend(&before);
	setitimer(ITIMER_REAL, &none, NULL);
	sigprocmask(SIG_SETMASK, &before, NULL);
	puts("signals: twenty alarms");
}

static void *echo(void *argument)
{
	int listener = *(int *)argument, fd;
	char buffer[4096];
	ssize_t n;

	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		while ((n = read(fd, buffer, sizeof buffer)) > 0)
			if (write(fd, buffer, (size_t)n) != n)
				return NULL;
		close(fd);
	}
	return NULL;
}

static void network(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof a;
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	pthread_t t;
	long good = 0;

	bind(listener, (struct sockaddr *)&a, sizeof a);
	listen(listener, 10);
	getsockname(listener, (struct sockaddr *)&a, &len);
	pthread_create(&t, NULL, echo, &listener);
	for (int i = 0; i < 30; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		char out[100], in[100];

		connect(fd, (struct sockaddr *)&a, sizeof a);
		memset(out, i, sizeof out);
		good += write(fd, out, sizeof out) == 100 && recv(fd, in, sizeof in, MSG_WAITALL) == 100 &&
			!memcmp(in, out, sizeof in);
		close(fd);
	}
	shutdown(listener, SHUT_RDWR);
	pthread_join(t, NULL);
	close(listener);
	printf("network: %ld of 30\n", good);
}

static void files(void)
{
	FILE *f = fopen("made", "w+");
	char line[40], *map;
	long total = 0;
	struct stat st;
	DIR *here;
	int n = 0;

	for (int i = 0; i < 5000; i++)
		fprintf(f, "%d\n", i);
	fflush(f);
	fstat(fileno(f), &st);
	map = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(f), 0);
	map[0] = '7';
	msync(map, (size_t)st.st_size, MS_SYNC);
	munmap(map, (size_t)st.st_size);
	rewind(f);
	while (fgets(line, sizeof line, f))
		total += atol(line);
	fclose(f);
	here = opendir(".");
	while (readdir(here))
		n++;
	closedir(here);
	printf("files: %ld in %ld bytes, %d names\n", total, (long)st.st_size, n);
}

/* The answer of `busy storm DEPTH`: one for itself, and what its children say; started in three ways. */
static long storm(const char *self, int depth)
{
	long volatile answer = 1; /* kept over a vfork */
	long said;
	char next[12];
	char *argv[] = {(char *)self, "storm", next, NULL};

	if (!depth)
		return 1;
	snprintf(next, sizeof next, "%d", depth - 1);
	for (int way = 0; way < 3; way++) {
		posix_spawn_file_actions_t actions;
		int fds[2], status;
		FILE *f;
		pid_t pid;

		if (pipe(fds))
			return -1;
		if (way == 0) {
			posix_spawn_file_actions_init(&actions);
			posix_spawn_file_actions_adddup2(&actions, fds[1], 1);
			posix_spawn(&pid, self, &actions, NULL, argv, environ);
			posix_spawn_file_actions_destroy(&actions);
		} else if (!(pid = way == 1 ? fork() : vfork())) {
			dup2(fds[1], 1);
			execv(self, argv);
			_exit(9);
		}
		close(fds[1]);
		f = fdopen(fds[0], "r");
		if (fscanf(f, "%ld", &said) == 1)
			answer += said;
		fclose(f);
		waitpid(pid, &status, 0);
		answer += status ? 1000000 : 0;
	}
	return answer;
}

int main(int argc, char **argv)
{
	int status;

	if (argc > 2) {
		printf("%ld\n", storm(argv[0], atoi(argv[2])));
		return 0;
	}
	threads();
	signals();
	network();
	files();
	fflush(stdout);
	if (!fork()) {
		raise(SIGTERM);
		_exit(1);
	}
	wait(&status);
	printf("child: signal %d; shell: %d\n", WTERMSIG(status), system("exit 3") >> 8);
	return 6;
}
