/* SPDX-License-Identifier: Apache-2.0 */
/* A program that Python's subprocess starts, and that is to join a session: start.c. */
#ifndef LSCA_START_H
#define LSCA_START_H

#include <sys/types.h>

/* Arguments of _posixsubprocess.fork_exec; descriptors are -1 where there are none. */
struct session;

struct start {
	struct session *session; /* mapped, and no child of a fork has it */
	char **argv, **paths, **env; /* env NULL: ours */
	int path_count;
	int close_fds;
	const int *keep; /* sorted */
	int keep_count;
	const char *directory; /* NULL: ours */
	int in[2], out[2], err[2], errors[2]; /* pipes: end to read from, end to write to */
	int restore_signals, new_session;
	pid_t group; /* -1: ours */
	int mask;    /* -1: ours */
};

/*
 * The child's process id once it has executed something, or is gone; or negative errno, and nothing was started. What
 * went wrong in the child is said on errors[1].
 */
int start_program(const struct start *s);

#endif
