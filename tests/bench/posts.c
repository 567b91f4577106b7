/* SPDX-License-Identifier: Apache-2.0 */
/* Writes 64 bytes to a file again and again: ns for each. Arguments: seconds, the file, a for O_APPEND or a number. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 64, BEFORE = 2000, TURN = 20000 };

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void some(int fd, long n)
{
	static char bytes[SIZE];

	for (; n; n--)
		if (write(fd, bytes, SIZE) != SIZE)
			exit(1);
}

int main(int argc, char **argv)
{
	const char *how = argc > 3 ? "append" : "write";
	double seconds = atof(argv[1]), begun, end;
	int fd = argc > 3 ? atoi(argv[3]) : 0;
	long done = 0;

	if (fd)
		how = "inherited";
	else
		fd = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | (argc > 3 ? O_APPEND : 0), 0644);
	if (fd < 0)
		return 1;
	some(fd, BEFORE);
	usleep(20000); /* by now it is posted, if it is to be */
	begun = now();
	do {
		some(fd, TURN);
		done += TURN;
		end = now();
	} while (end - begun < seconds);
	printf("%s %.2f\n", how, (end - begun) * 1e9 / (double)done);
	close(fd);
	unlink(argv[2]);
	return 0;
}
