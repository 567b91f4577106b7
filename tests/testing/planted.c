/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program with mistakes, for `lsca explore` to find: argv[1] says which. It copies in.txt to out.txt in upper case,
 * and without any fault does that rightly.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is(char **argv, const char *name)
{
	return argv[1] && !strcmp(argv[1], name);
}

static int copy(char **argv, const char *to)
{
	int in = open("in.txt", O_RDONLY), out;
	char text[64];
	ssize_t n;

	if (in < 0 && is(argv, "crash"))
		abort();
	if (in < 0)
		return 1;
	n = read(in, text, sizeof text);
	while (n < 0 && is(argv, "hang"))
		pause();
	if (n < 0)
		return 1;
	for (ssize_t i = 0; i < n; i++)
		text[i] = (char)toupper((unsigned char)text[i]);
	out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (out < 0)
		return 1;
	if (write(out, text, (size_t)n) != n && !is(argv, "silent")) {
		if (!is(argv, "leak"))
			unlink(to);
		return 1;
	}
	if (fsync(out) && !is(argv, "promise"))
		return 1;
	return close(out) && !is(argv, "promise");
}

int main(int argc, char **argv)
{
	int bad;

	(void)argc;
	bad = copy(argv, "new.txt");
	if (!bad && rename("new.txt", "out.txt") < 0) {
		bad = 1;
		unlink("new.txt");
	}
	if (bad && !is(argv, "leak"))
		unlink("new.txt");
	if (bad)
		fprintf(stderr, "planted: %s\n", strerror(errno));
	return bad;
}
