/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors that several processes share, each used by one after the other: a random program, the same one for the
 * same seed, of writes and of calls that look where a file's position is, copy descriptors, give birth and execute.
 * Prints on stderr what calls have returned. The first file is stdout, from whoever has started us.
 *
 * Arguments: seed, number of steps. Or, of a worker that has executed itself: -, who, state, count, two pipes, the
 * files and the copies.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FILES = 4, WORKERS = 3, SMALL = 190, LARGE = 6000 };

static const int flags[FILES] = {0, O_WRONLY | O_APPEND, O_WRONLY, O_RDWR | O_APPEND};
static const char *const names[FILES] = {"", "file1", "file2", "file3"};
static const char *self;
static uint64_t state;
static int who, count, from, to, fds[FILES], copies[FILES];

static uint32_t some(uint32_t below)
{
	state += 0x9e3779b97f4a7c15ull;
	uint64_t z = (state ^ state >> 30) * 0xbf58476d1ce4e5b9ull;

	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return (uint32_t)((z ^ z >> 31) >> 32) % below;
}

static void say(const char *what, long r)
{
	dprintf(2, "%d %s %ld %d\n", who, what, r, r < 0 ? errno : 0);
}

static void lines(int fd, int n)
{
	char line[SMALL + 80];
	long done = 0;

	for (int i = 0; i < n; i++) {
		int length = snprintf(line, sizeof line, "%d %06d %.*s\n", who, count++, (int)some(SMALL),
				      "................................................................"
				      "................................................................"
				      "................................................................");

		done += write(fd, line, (size_t)length);
	}
	say("lines", done);
}

static void in_a_child(int fd, int executes)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		who += 10;
		if (executes) {
			dup2(fd, 1);
			execl("/bin/sh", "sh", "-c", "echo one; echo two; /bin/echo three", NULL);
			_exit(1);
		}
		lines(fd, 3);
		say("lseek", lseek(fd, 0, SEEK_CUR));
		lines(fd, 2);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	say("child", status);
	count += 10;
}

static void become_ourselves(void)
{
	char words[6 + 2 * FILES][24];
	char *argv[8 + 2 * FILES] = {(char *)self, "-"};
	int n = 0;

	snprintf(words[n++], sizeof *words, "%d", who);
	snprintf(words[n++], sizeof *words, "%llu", (unsigned long long)state);
	snprintf(words[n++], sizeof *words, "%d", count);
	snprintf(words[n++], sizeof *words, "%d", from);
	snprintf(words[n++], sizeof *words, "%d", to);
	for (int i = 0; i < FILES; i++)
		snprintf(words[n++], sizeof *words, "%d", fds[i]);
	for (int i = 0; i < FILES; i++)
		snprintf(words[n++], sizeof *words, "%d", copies[i]);
	for (int i = 0; i < n; i++)
		argv[2 + i] = words[i];
	execv(self, argv);
	say("execv", -1);
}

static void one_call(void)
{
	int i = (int)some(FILES), fd = copies[i] >= 0 && some(2) ? copies[i] : fds[i];
	char bytes[LARGE];
	struct stat st;

	switch (some(24)) {
	case 0: case 1: case 2: case 3: case 4: case 5: case 6: case 7:
		lines(fd, 1 + (int)some(30));
		break;
	case 8: case 9:
		say("lseek", lseek(fd, 0, SEEK_CUR));
		break;
	case 10:
		say("lseek", lseek(fd, some(3) ? 0 : -(long)some(100), SEEK_END));
		break;
	case 11:
		memset(bytes, 'A' + who, sizeof bytes);
		say("write", write(fd, bytes, 1 + some(LARGE)));
		break;
	case 12:
		say("fstat", fstat(fd, &st) ? -1 : st.st_size);
		break;
	case 13: case 14:
		if (copies[i] < 0)
			say("dup", copies[i] = dup(fd));
		lines(fds[i], 3);
		lines(copies[i], 3);
		lines(fds[i], 3);
		break;
	case 15:
		if (copies[i] >= 0)
			say("close", close(copies[i]));
		copies[i] = -1;
		break;
	case 16: /* the other one stays */
		if (copies[i] < 0)
			break;
		say("close", close(fds[i]));
		fds[i] = copies[i];
		copies[i] = -1;
		lines(fds[i], 2);
		break;
	case 17:
		if (some(4))
			break;
		say("fcntl", fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) ^ O_APPEND));
		lines(fd, 3);
		break;
	case 18: /* one of its own, from now on */
		if (!i || some(3))
			break;
		say("close", close(fds[i]));
		fds[i] = open(names[i], flags[i] | (some(2) ? O_CLOEXEC : 0), 0644);
		fcntl(fds[i], F_SETFD, 0);
		lines(fds[i], 5);
		break;
	case 19:
		in_a_child(fd, (int)some(2));
		break;
	case 20:
		lines(fd, 3);
		become_ourselves();
		break;
	case 21:
		say("read", i == 3 ? read(fd, bytes, some(500)) : 0);
		break;
	case 22:
		if (copies[i] >= 0)
			say("dup2", dup2(fds[i], copies[i]));
		break;
	case 23:
		say("ftruncate", some(3) ? 0 : ftruncate(fd, some(4000)));
		break;
	}
}

/* A byte for each step, and one back when it is done. */
static void work(void)
{
	char c;

	while (read(from, &c, 1) == 1) {
		one_call();
		if (write(to, "x", 1) != 1)
			break;
	}
	_exit(0);
}

/* The next image goes on where the one before it was: with the end of a step. */
static void resumed(char **argv)
{
	int n = 2;

	who = atoi(argv[n++]);
	state = strtoull(argv[n++], NULL, 10);
	count = atoi(argv[n++]);
	from = atoi(argv[n++]);
	to = atoi(argv[n++]);
	for (int i = 0; i < FILES; i++)
		fds[i] = atoi(argv[n++]);
	for (int i = 0; i < FILES; i++)
		copies[i] = atoi(argv[n++]);
	lines(fds[some(FILES)], 2);
	if (write(to, "x", 1) == 1)
		work();
}

int main(int argc, char **argv)
{
	int go[WORKERS][2], back[WORKERS][2], status;
	char c;

	(void)argc;
	self = "/proc/self/exe";
	if (!strcmp(argv[1], "-")) {
		resumed(argv);
		return 1;
	}
	state = strtoull(argv[1], NULL, 10);
	fds[0] = 1;
	for (int i = 0; i < FILES; i++) {
		copies[i] = -1;
		if (i)
			fds[i] = open(names[i], flags[i] | O_CREAT | O_TRUNC, 0644);
		lines(fds[i], 3);
	}
	for (who = 1; who <= WORKERS; who++) {
		if (pipe(go[who - 1]) || pipe(back[who - 1]))
			return 1;
		state += 1000;
		if (!fork()) {
			from = go[who - 1][0];
			to = back[who - 1][1];
			for (int i = 0; i < who; i++)
				close(go[i][1]);
			work();
		}
	}
	who = 0;
	for (int n = atoi(argv[2]); n > 0; n--) {
		int k = (int)some(WORKERS + 1);

		if (k == WORKERS) {
			lines(fds[some(FILES)], 1 + (int)some(5));
			continue;
		}
		if (write(go[k][1], "x", 1) != 1 || read(back[k][0], &c, 1) != 1)
			return 2;
	}
	for (int k = 0; k < WORKERS; k++)
		close(go[k][1]);
	for (int k = 0; k < WORKERS; k++)
		wait(&status);
	for (int i = 0; i < FILES; i++)
		say("lseek", lseek(fds[i], 0, SEEK_CUR));
	return 0;
}
