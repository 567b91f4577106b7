/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A test program that consists of parts: each runs in a process of its own, below a heading, and its end is shown, so
 * that a part that crashes or hangs takes no other one along. `program NAME` runs that part alone, in the first
 * process; `program -NAME` all but that one.
 */
#ifndef PARTS_H
#define PARTS_H

#include "check.h"

#include <signal.h>

enum { PART_SECONDS = 40 };

struct part {
	const char *name;
	void (*run)(void);
};

static pid_t part_running;

static inline void part_overdue(int signal)
{
	(void)signal;
	kill(part_running, SIGKILL);
}

static inline void part_run(const struct part *part)
{
	int status = 0;

	printf("== %s\n", part->name);
	part_running = (pid_t)MUST(fork());
	if (!part_running) {
		signal(SIGALRM, SIG_DFL);
		part->run();
		fflush(stdout);
		_exit(0);
	}
	alarm(PART_SECONDS);
	while (waitpid(part_running, &status, 0) == -1 && errno == EINTR)
		;
	alarm(0);
	if (WIFEXITED(status))
		printf("end: exit %d\n", WEXITSTATUS(status));
	else
		printf("end: signal %d\n", WTERMSIG(status));
}

static inline int run_parts(const struct part *parts, int count, int argc, char **argv)
{
	struct sigaction overdue = {.sa_handler = part_overdue};
	int found = 0;

	begin();
	for (int i = 0; i < count && argc > 1; i++)
		if (!strcmp(argv[1], parts[i].name)) {
			alarm(PART_SECONDS);
			parts[i].run();
			return 0;
		}
	sigaction(SIGALRM, &overdue, NULL);
	for (int i = 0; i < count; i++) {
		int without = 0;

		for (int j = 1; j < argc; j++)
			without |= argv[j][0] == '-' && !strcmp(argv[j] + 1, parts[i].name);
		found += without;
		if (!without)
			part_run(&parts[i]);
	}
	if (found != argc - 1)
		printf("unknown part\n");
	return found != argc - 1;
}

#define RUN_PARTS(parts, argc, argv) run_parts(parts, sizeof(parts) / sizeof *(parts), argc, argv)

#endif
