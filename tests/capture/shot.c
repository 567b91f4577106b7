/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Children that are killed somewhere between their fork and the end of the program that they exec: each of them must be
 * had by wait, whoever else was looking at it at that moment.
 *
 *	shot COUNT
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int count = argc > 1 ? atoi(argv[1]) : 1, odd = 0;
	char *args[] = {(char *)"/bin/true", NULL};

	for (int i = 0; i < count; i++) {
		struct timespec moment = {0, (i * 7919L) % 1500 * 1000};
		pid_t child = fork();
		int status;

		if (child < 0) {
			perror("fork");
			return 1;
		}
		if (!child) {
			execv(args[0], args);
			_exit(9);
		}
		nanosleep(&moment, NULL);
		kill(child, SIGKILL);
		if (waitpid(child, &status, 0) != child) {
			perror("waitpid");
			return 1;
		}
		odd += status && !(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}
	printf("%d children, %d of them ended oddly\n", count, odd);
	return odd ? 1 : 0;
}
