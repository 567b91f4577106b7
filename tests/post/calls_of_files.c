/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A random program of calls on a few files, the same one for the same seed: writes of all kinds between calls that look
 * at what was written, move the position, share descriptors with children, rename, map and cut files. Prints what each
 * call has returned, and what was read. Arguments: seed, number of calls.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FILES = 5, SMALL = 300, LARGE = 9000 };

static uint64_t state;
static int fds[FILES];
static char names[FILES][16];
static char bytes[LARGE * 2];
static FILE *out;
static void *volatile nowhere = (void *)16;

static uint32_t some(uint32_t below)
{
	state += 0x9e3779b97f4a7c15ull;
	uint64_t z = (state ^ state >> 30) * 0xbf58476d1ce4e5b9ull;

	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return (uint32_t)((z ^ z >> 31) >> 32) % below;
}

static uint32_t sum(const void *at, long n)
{
	uint32_t h = 2166136261u;

	for (long i = 0; i < n; i++)
		h = (h ^ ((const uint8_t *)at)[i]) * 16777619u;
	return h;
}

static void say(const char *what, long r)
{
	fprintf(out, "%s %ld %d\n", what, r, r < 0 ? errno : 0);
}

static void fill(long n)
{
	for (long i = 0; i < n; i++)
		bytes[i] = (char)('a' + some(26));
	if (n)
		bytes[n - 1] = '\n';
}

static void open_one(int i, int keep)
{
	int flags[] = {O_WRONLY, O_RDWR, O_WRONLY | O_APPEND, O_RDWR | O_APPEND, O_RDWR | O_SYNC};

	if (fds[i] >= 0)
		say("close", close(fds[i]));
	fds[i] = open(names[i], flags[some(5)] | O_CREAT | (keep ? 0 : O_TRUNC) | (some(2) ? O_CLOEXEC : 0), 0644);
	say("open", fds[i]);
}

static void small_writes(int fd, int count)
{
	for (int k = 0; k < count; k++) {
		long n = 1 + some(SMALL);

		fill(n);
		if (some(4)) {
			say("write", write(fd, bytes, (size_t)n));
		} else {
			struct iovec v[3] = {{bytes, (size_t)n / 3}, {bytes + n / 3, (size_t)n / 3},
					     {bytes + 2 * (n / 3), (size_t)(n - 2 * (n / 3))}};
			say("writev", writev(fd, v, 3));
		}
	}
}

static void in_a_child(int i, int executes)
{
	int status;
	pid_t pid;

	fflush(out);
	pid = fork();
	if (!pid) {
		if (executes) {
			execl("/bin/sh", "sh", "-c", "echo from a shell >>$0; wc -c <$0", names[i], NULL);
			_exit(1);
		}
		say("child lseek", lseek(fds[i], 0, SEEK_CUR));
		small_writes(fds[i], 5);
		say("child lseek", lseek(fds[i], 0, SEEK_CUR));
		fflush(out);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	say("child", status);
	say("lseek", lseek(fds[i], 0, SEEK_CUR));
}

/* A child with an open file of its own looks at what we have written, and writes. */
static void by_another(int i)
{
	int status, fd;
	struct stat st;
	pid_t pid;
	int go[2];

	if (pipe(go))
		return;
	fflush(out);
	pid = fork();
	if (!pid) {
		char c;

		fd = open(names[i], O_RDWR | O_APPEND);
		for (int k = 0; k < 3 && read(go[0], &c, 1) == 1; k++) {
			say("its fstat", fstat(fd, &st) ? -1 : st.st_size);
			say("its write", write(fd, "theirs\n", 7));
		}
		fflush(out);
		_exit(0);
	}
	close(go[0]);
	small_writes(fds[i], 30); /* posted by us, and the child is told after that */
	say("go", write(go[1], "123", 3));
	close(go[1]);
	waitpid(pid, &status, 0);
	say("stat", stat(names[i], &st) ? -1 : st.st_size);
	say("lseek", lseek(fds[i], 0, SEEK_CUR));
}

static void pass_it(int i)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {{0}};
	struct iovec one = {bytes, 1};
	struct msghdr m = {.msg_iov = &one, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	int pair[2], got;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		return;
	control.head.cmsg_level = SOL_SOCKET;
	control.head.cmsg_type = SCM_RIGHTS;
	control.head.cmsg_len = CMSG_LEN(sizeof got);
	memcpy(CMSG_DATA(&control.head), &fds[i], sizeof got);
	say("sendmsg", sendmsg(pair[0], &m, 0));
	say("recvmsg", recvmsg(pair[1], &m, 0));
	memcpy(&got, CMSG_DATA(&control.head), sizeof got);
	small_writes(got, 3);
	small_writes(fds[i], 3);
	say("lseek", lseek(got, 0, SEEK_CUR));
	close(got);
	close(pair[0]);
	close(pair[1]);
}

static void map_it(int i)
{
	struct stat st;
	char *at;

	if (fstat(fds[i], &st) || !st.st_size)
		return;
	at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fds[i], 0);
	say("mmap", at == MAP_FAILED ? -1 : 0);
	if (at == MAP_FAILED)
		return;
	fprintf(out, "mapped %08x\n", sum(at, st.st_size));
	small_writes(fds[i], 3);
	fprintf(out, "mapped %08x\n", sum(at, st.st_size));
	munmap(at, (size_t)st.st_size);
}

static void one_call(void)
{
	int i = (int)some(FILES), fd = fds[i], other;
	struct stat st;
	char name[32];
	long n;
	int v;

	switch (some(34)) {
	case 0: case 1: case 2: case 3: case 4: case 5: case 6: case 7: case 8:
		small_writes(fd, 1 + (int)some(40));
		break;
	case 9:
		fill(n = some(LARGE));
		say("write", write(fd, bytes, (size_t)n));
		break;
	case 10:
		say("lseek", lseek(fd, some(2000), SEEK_SET));
		break;
	case 11:
		say("lseek", lseek(fd, -(long)some(50), SEEK_CUR));
		break;
	case 12:
		say("lseek", lseek(fd, 0, SEEK_END));
		break;
	case 13:
		n = read(fd, bytes, some(1000));
		say("read", n);
		fprintf(out, "%08x\n", sum(bytes, n));
		break;
	case 14:
		n = pread(fd, bytes, 500, some(1000));
		say("pread", n);
		fprintf(out, "%08x\n", sum(bytes, n));
		break;
	case 15:
		fill(n = some(200));
		say("pwrite", pwrite(fd, bytes, (size_t)n, some(3000)));
		break;
	case 16:
		say("fstat", fstat(fd, &st) ? -1 : st.st_size);
		break;
	case 17:
		say("stat", stat(names[i], &st) ? -1 : st.st_size);
		break;
	case 18:
		say("ftruncate", ftruncate(fd, some(5000)));
		break;
	case 19:
		say("truncate", truncate(names[i], some(5000)));
		break;
	case 20:
		say("fsync", some(2) ? fsync(fd) : fdatasync(fd));
		break;
	case 21:
		other = dup(fd);
		small_writes(other, 3);
		small_writes(fd, 3);
		say("lseek", lseek(other, 0, SEEK_CUR));
		say("close", close(other));
		break;
	case 22:
		open_one(i, (int)some(2));
		break;
	case 23:
		other = open(names[i], O_RDWR);
		n = read(other, bytes, 700);
		say("its read", n);
		fprintf(out, "%08x\n", sum(bytes, n));
		small_writes(fd, 3);
		say("its fstat", fstat(other, &st) ? -1 : st.st_size);
		small_writes(other, 2);
		small_writes(fd, 2);
		close(other);
		break;
	case 24:
		snprintf(name, sizeof name, "%s.old", names[i]);
		say("rename", rename(names[i], name));
		small_writes(fd, 4);
		open_one(i, 1);
		break;
	case 25:
		in_a_child(i, (int)some(2));
		break;
	case 26:
		by_another(i);
		break;
	case 27:
		map_it(i);
		break;
	case 28:
		v = fcntl(fd, F_GETFL);
		say("fcntl", fcntl(fd, F_SETFL, v ^ O_APPEND));
		small_writes(fd, 3);
		break;
	case 29:
		other = (int)some(FILES);
		lseek(fds[other], 0, SEEK_SET);
		say("sendfile", sendfile(fd, fds[other], NULL, 500));
		break;
	case 30:
		say("unlink", unlink(names[i]));
		small_writes(fd, 3);
		say("fstat", fstat(fd, &st) ? -1 : st.st_size);
		open_one(i, 1);
		break;
	case 31:
		pass_it(i);
		break;
	case 32:
		say("flock", flock(fd, LOCK_EX));
		small_writes(fd, 2);
		say("flock", flock(fd, LOCK_UN));
		break;
	case 33:
		say("bad", write(fd, nowhere, 10));
		say("none", write(fd, bytes, 0));
		break;
	}
}

int main(int argc, char **argv)
{
	state = strtoull(argv[1], NULL, 10);
	(void)argc;
	out = stdout;
	for (int i = 0; i < FILES; i++) {
		fds[i] = -1;
		snprintf(names[i], sizeof names[i], "file%d", i);
		open_one(i, 0);
		small_writes(fds[i], 10);
	}
	for (int n = atoi(argv[2]); n > 0; n--)
		one_call();
	if (some(2))
		for (int i = 0; i < FILES; i++)
			say("close", close(fds[i]));
	fflush(out);
	if (some(8) == 0)
		kill(getpid(), SIGKILL);
	return 0;
}
