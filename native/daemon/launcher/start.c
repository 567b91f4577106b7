/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starts a program for Python's subprocess that joins a session at its exec: what _posixsubprocess.fork_exec does, in
 * the same order, and one question to the launcher in between. Without it the child would have to execute lsca-join
 * first, which costs as much as many a program. The child is one of vfork: it has the memory and the stack of the
 * thread that called, which sleeps meanwhile, so it changes nothing there. Called by module.c.
 */
#include "start.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "joins.h"
#include "launch.h"

enum { FAILED = 255, FDS_MOST = 1 << 20 };

static int set_inheritable(int fd, int yes)
{
	int flags = fcntl(fd, F_GETFD);

	return flags < 0 ? -1 : fcntl(fd, F_SETFD, yes ? flags & ~FD_CLOEXEC : flags | FD_CLOEXEC);
}

/* Out of the way of the standard descriptors that are still to be put in place. */
static int move_away(int *fd, int below)
{
	while (*fd >= 0 && *fd < below) {
		*fd = dup(*fd);
		if (*fd < 0 || set_inheritable(*fd, 0))
			return -1;
	}
	return 0;
}

static int put(int fd, int number)
{
	if (fd == number)
		return set_inheritable(fd, 1);
	return fd < 0 || dup2(fd, number) >= 0 ? 0 : -1;
}

static int close_ours(const struct start *s)
{
	const int ours[] = {s->in[1], s->out[0], s->err[0]};

	for (int i = 0; i < 3; i++)
		if (ours[i] >= 0 && close(ours[i]))
			return -1;
	return close(s->errors[0]);
}

static int place_standard(const struct start *s)
{
	int out = s->out[1], err = s->err[1];

	/* stdout's is not to be lost to stdin, nor stderr's to either. */
	if (move_away(&out, out == 0) || move_away(&err, 2))
		return -1;
	return put(s->in[0], 0) || put(out, 1) || put(err, 2) ? -1 : 0;
}

/* No handler of Python's may run here; the kernel will reset those of signals that stay blocked. */
static void reset_handlers(const sigset_t *mask)
{
	const struct sigaction normal = {.sa_handler = SIG_DFL};
	struct sigaction now;

	for (int sig = 1; sig < _NSIG; sig++)
		if (sig != SIGKILL && sig != SIGSTOP && sigismember(mask, sig) != 1 && !sigaction(sig, NULL, &now) &&
		    (now.sa_flags & SA_SIGINFO || (now.sa_handler != SIG_IGN && now.sa_handler != SIG_DFL)))
			sigaction(sig, &normal, NULL);
}

static void restore_signals(void)
{
	const struct sigaction normal = {.sa_handler = SIG_DFL};

	sigaction(SIGPIPE, &normal, NULL);
	sigaction(SIGXFSZ, &normal, NULL);
}

static void close_between(unsigned from, unsigned to)
{
	struct rlimit most;

	if (from > to || !syscall(SYS_close_range, from, to, 0))
		return;
	if (getrlimit(RLIMIT_NOFILE, &most) || most.rlim_cur > FDS_MOST)
		most.rlim_cur = FDS_MOST;
	for (unsigned fd = from; fd <= to && fd < most.rlim_cur; fd++)
		close((int)fd);
}

static void close_others(const struct start *s)
{
	int from = 3;

	for (int i = 0; i < s->keep_count; i++) {
		if (s->keep[i] < from)
			continue;
		close_between((unsigned)from, (unsigned)s->keep[i] - 1);
		from = s->keep[i] + 1;
	}
	close_between((unsigned)from, ~0u);
}

/* 0, or -1 with errno. */
static int prepare(const struct start *s, const sigset_t *mask)
{
	for (int i = 0; i < s->keep_count; i++)
		if (s->keep[i] != s->errors[1] && set_inheritable(s->keep[i], 1))
			return -1;
	if (close_ours(s) || place_standard(s))
		return -1;
	if (s->directory && chdir(s->directory))
		return -1;
	if (s->mask >= 0)
		umask((mode_t)s->mask);
	if (s->restore_signals)
		restore_signals();
	reset_handlers(mask);
	errno = pthread_sigmask(SIG_SETMASK, mask, NULL);
	if (errno)
		return -1;
	if (s->new_session && setsid() < 0)
		return -1;
	return s->group >= 0 && setpgid(0, s->group) ? -1 : 0;
}

/* Async-signal-safe, and as subprocess wants to hear it. */
static void say(int fd, int error, int is_early)
{
	char text[32] = "OSError:", *to = text + strlen(text);
	const char *rest = is_early ? ":noexec" : ":";
	int shift = 28;

	while (shift && !(error >> shift))
		shift -= 4;
	for (; shift >= 0; shift -= 4)
		*to++ = "0123456789abcdef"[error >> shift & 15];
	while (*rest)
		*to++ = *rest++;
	while (write(fd, text, (size_t)(to - text)) < 0 && errno == EINTR)
		;
}

/* Of those above the standard ones, only one that is closed at the exec. */
static int has_few(const struct start *s)
{
	for (int i = 0; i < s->keep_count; i++)
		if (s->keep[i] > 2 && s->keep[i] != s->errors[1])
			return 0;
	return s->close_fds;
}

static __attribute__((noinline, noreturn)) void become(const struct start *s, const sigset_t *mask)
{
	struct joining j = {.session = s->session, .flags = has_few(s) ? AGENT_FEW : 0};

	if (prepare(s, mask)) {
		say(s->errors[1], errno, 1);
		_exit(FAILED);
	}
	if (s->close_fds)
		close_others(s);
	say(s->errors[1], join_exec(&j, s->paths, s->path_count, s->argv, s->env ? s->env : environ), 0);
	_exit(FAILED);
}

/* In a frame of its own: the child's goes on in it. */
static __attribute__((noinline)) pid_t fork_and_become(const struct start *s, const sigset_t *mask)
{
	pid_t pid = vfork();

	if (!pid)
		become(s, mask);
	return pid;
}

int start_program(const struct start *s)
{
	sigset_t all, before;
	pid_t pid;
	int e;

	/* Who may not be traced would stay so until its exec. */
	if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 1)
		return -EPERM;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid = fork_and_become(s, &before);
	e = pid < 0 ? -errno : 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return e ? e : pid;
}
