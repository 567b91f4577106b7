/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a shell's pipeline takes, for streams.py: `pipeline bytes|lines SECONDS` prints nanoseconds for 64 KiB, or for a
 * line. Starting the programs is part of it, and SECONDS only says about how long the rest may take.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int main(int argc, char **argv)
{
	int is_bytes = argc > 1 && !strcmp(argv[1], "bytes");
	double seconds = argc > 2 ? atof(argv[2]) : 0.2, took;
	long n = (long)(seconds * (is_bytes ? 10000 : 1000000));
	char command[200];
	struct timespec from, to;

	if (is_bytes)
		snprintf(command, sizeof command, "head -c %ld /dev/zero | cat | cat | wc -c > /dev/null", n * 65536);
	else
		snprintf(command, sizeof command, "seq %ld | grep --line-buffered . | wc -l > /dev/null", n);
	clock_gettime(CLOCK_MONOTONIC, &from);
	if (system(command))
		return 1;
	clock_gettime(CLOCK_MONOTONIC, &to);
	took = (double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec);
	printf("%s %.1f\n", is_bytes ? "bytes" : "lines", took / (double)n);
	return 0;
}
