/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first call of a new process: it finds the descriptors and limits of its parent and nothing else, however soon it
 * comes. Several parents at once, so that some children run while others are still being made.
 */
#include "check.h"

#include <sys/resource.h>

enum { PARENTS = 4, CHILDREN = 60 };

/* 0 when the child's first new descriptor is the lowest free one, and its limit is ours. */
static int child_differs(int expected)
{
	pid_t child = fork();
	int status;

	if (!child) {
		int fd = dup(0);

		_exit(fd == expected && fcntl(0, F_DUPFD, 20) == -1 && errno == EINVAL ? 0 : 1);
	}
	waitpid(child, &status, 0);
	return status != 0;
}

int main(void)
{
	struct rlimit limit = {20, 20};
	int status, bad = 0, expected;

	begin();
	setrlimit(RLIMIT_NOFILE, &limit);
	expected = dup(0);
	close(expected);
	for (int i = 0; i < PARENTS; i++)
		if (!fork()) {
			for (int n = 0; n < CHILDREN; n++)
				bad += child_differs(expected);
			_exit(bad);
		}
	while (wait(&status) > 0)
		bad += WEXITSTATUS(status);
	printf("children that saw something else: %d\n", bad);
	return 0;
}
