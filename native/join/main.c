/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lsca-join LAUNCHER SESSION ERRORS COUNT PATH... -- ARGV...: becomes the program of the first PATH that can be
 * executed, within a session that is there already. It asks the session's launcher to be there at the exec, as an agent
 * would (native/agent/exec.c), and is gone with it: process, descriptors, directory, environment and signals are the
 * program's from the beginning. Started by src/lsca/joining.py in the place of a program; must never change what it
 * would hand on. Says what went wrong as Python's subprocess wants to hear it, on the descriptor ERRORS.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "joins.h"

enum { NOT_EXECUTABLE = 126, NOT_FOUND = 127 };

/* By way of the launcher, so that no descriptor has to be handed down. */
static struct session *session_open(const char *launcher, const char *number)
{
	char path[64];
	struct session *s = MAP_FAILED;
	struct stat st;
	int fd;

	snprintf(path, sizeof path, "/proc/%.10s/fd/%.10s", launcher, number);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	if (!fstat(fd, &st) && (uint64_t)st.st_size >= sizeof *s)
		s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (s == MAP_FAILED)
		return NULL;
	return s->magic == SESSION_MAGIC && s->version == ABI_VERSION ? s : NULL;
}

static void say(int fd, int error)
{
	char text[32];
	int n = snprintf(text, sizeof text, "OSError:%X:", (unsigned)error);

	if (fd < 0 || write(fd, text, (size_t)n) != n)
		fd = -1; /* nobody listens: the exit code says it */
}

int main(int argc, char **argv)
{
	struct joining j = {0};
	int errors, count, error;

	if (argc < 7) {
		dprintf(STDERR_FILENO, "lsca: lsca-join is started by lsca itself\n");
		return 125;
	}
	errors = atoi(argv[3]);
	count = atoi(argv[4]);
	if (count < 1 || argc < 7 + count)
		return 125;
	if (errors >= 0)
		fcntl(errors, F_SETFD, FD_CLOEXEC);
	j.session = session_open(argv[1], argv[2]);
	error = join_exec(&j, argv + 5, count, argv + 6 + count, environ);
	say(errors, error);
	return error == ENOENT ? NOT_FOUND : NOT_EXECUTABLE;
}
