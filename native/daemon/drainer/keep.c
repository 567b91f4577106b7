/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper of a session that has no launcher, because its program came with the agent in it: a child of the daemon
 * that drains the log and sees the end of the last program. A process of its own, so that neither the daemon's death
 * nor its sleep costs a record. It holds the session, the log, and nothing else of the daemon's: a socket that it kept
 * open would make a dead daemon look like a silent one.
 */
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ring.h"

enum { SESSION_FD = 3, LOG_FD = 4, AREA_FD = 5, SHORTEST = 10, LONGEST = 200 }; /* ms between two looks */

/* All of its threads are gone. One that only the first thread has left is not over, and a zombie is. */
static int is_over(uint32_t pid)
{
	struct pollfd end = {.events = POLLIN};
	int over;

	end.fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (end.fd < 0)
		return errno == ESRCH;
	over = poll(&end, 1, 0) == 1;
	close(end.fd);
	return over;
}

/* The killed could not leave by themselves, and their numbers will be given to others. */
static uint32_t sweep(struct session *s)
{
	uint32_t alive = 0;

	for (uint32_t i = 0; i < PROCESSES && !session_unused(&s->processes[i]); i++) {
		struct process *p = &s->processes[i];

		if (get_acquire(&p->state) != PROCESS_LIVE)
			continue;
		if (!is_over(p->pid))
			alive++;
		else if (swap_if(&p->state, PROCESS_LIVE, PROCESS_FREE))
			__atomic_sub_fetch(&s->live, 1, __ATOMIC_RELAXED);
	}
	return alive;
}

/* A program between two images has no memory of ours, but it is on the list. A newborn child is not, but has it. */
static int is_last(struct session *s, struct drain *d)
{
	int last;

	if (sweep(s))
		return 0;
	drain_pause(d);
	last = session_is_last(s, SESSION_FD);
	drain_resume(d);
	return last;
}

static void keep_little(int session_fd, int area_fd, int log_fd)
{
	int null = open("/dev/null", O_RDWR);
	struct sigaction normal = {.sa_handler = SIG_DFL};
	sigset_t all;

	session_fd = fcntl(session_fd, F_DUPFD, 10);
	log_fd = log_fd < 0 ? -1 : fcntl(log_fd, F_DUPFD, 10);
	area_fd = area_fd < 0 ? -1 : fcntl(area_fd, F_DUPFD, 10);
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	dup2(session_fd, SESSION_FD);
	if (log_fd >= 0) {
		dup2(log_fd, LOG_FD);
		dup2(area_fd, AREA_FD);
	}
	syscall(SYS_close_range, log_fd < 0 ? LOG_FD : AREA_FD + 1, ~0u, 0);
	setsid();
	prctl(PR_SET_NAME, "lsca-keeper");
	sigaction(SIGTERM, &normal, NULL);
	sigfillset(&all);
	sigdelset(&all, SIGTERM);
	sigprocmask(SIG_SETMASK, &all, NULL);
	if (chdir("/"))
		return;
}

static void keep(int has_log, const char *log_path, int take_over)
{
	struct drain *d = calloc(1, sizeof *d);
	struct session *s = d ? session_map(SESSION_FD, 1) : NULL;
	uint64_t before;
	long wait = SHORTEST;

	if (!s)
		return;
	file_limit_raise(&before);
	if (has_log && (take_over ? drain_take_over(d, s, AREA_FD, LOG_FD, log_path, -1) :
				     drain_start(d, s, AREA_FD, LOG_FD, log_path, -1)))
		close(LOG_FD);
	while (!is_last(s, d)) {
		poll(NULL, 0, (int)wait);
		wait = wait * 2 < LONGEST ? wait * 2 : LONGEST;
	}
	drain_finish(d);
}

pid_t keep_start(int session_fd, int area_fd, int log_fd, const char *log_path, int take_over)
{
	pid_t pid = fork();

	if (pid)
		return pid < 0 ? -errno : pid;
	keep_little(session_fd, area_fd, log_fd);
	keep(log_fd >= 0, log_path, take_over);
	_exit(0);
}
