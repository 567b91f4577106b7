/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starts the two kinds of process that the launcher starts: the program, just as lsca run was started (descriptors,
 * signals, terminal, directory), and under the route `proxy` the program's proxy, which then holds all of that while
 * the program's own process keeps three private descriptors.
 */
#include "launch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "inspect_libc.h"
#include "ring.h"

enum { HIGH = 200, PRIVATE_LIFELINE = 3, PRIVATE_CHANNEL = 4, PRIVATE_SESSION = 5, PROXY_PATIENCE = 5000 };

/* A memfd counts as a file: `ulimit -f` must not be in its way. */
int file_limit_raise(uint64_t *before)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_FSIZE, &r))
		return -errno;
	*before = r.rlim_cur;
	r.rlim_cur = r.rlim_max;
	return setrlimit(RLIMIT_FSIZE, &r) ? -errno : 0;
}

void file_limit_restore(uint64_t before)
{
	struct rlimit r;

	if (!getrlimit(RLIMIT_FSIZE, &r)) {
		r.rlim_cur = before;
		setrlimit(RLIMIT_FSIZE, &r);
	}
}

/* Python ignores SIGPIPE and SIGXFSZ for itself; that is not to be inherited. */
static void give_back_signals(const struct inherited *was)
{
	struct sigaction normal = {.sa_handler = SIG_DFL};

	sigaction(SIGPIPE, &normal, NULL);
	sigaction(SIGXFSZ, &normal, NULL);
	sigaction(SIGCHLD, &was->child, NULL);
	sigprocmask(SIG_SETMASK, &was->mask, NULL);
}

static const char *environment(char **env, const char *name)
{
	size_t n = strlen(name);

	for (; *env; env++)
		if (!strncmp(*env, name, n) && (*env)[n] == '=')
			return *env + n + 1;
	return NULL;
}

/* Being traced by whom may trace anybody takes no privileges away. */
int spawn_grants(void)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];

	return !syscall(SYS_capget, &head, data) && data[0].effective >> CAP_SYS_PTRACE & 1;
}

/* The launcher traces us for the moment of the exec. If that would change what the program is, better not. */
static int exec_checked(const struct plan *p, struct starting *s, const char *path)
{
	uint32_t kind = inspect_image(AT_FDCWD, path, 0);
	int must = p->is_proxy || p->strict;

	if (kind == IMAGE_GAINS && !p->is_proxy && spawn_grants())
		kind = IMAGE_PLAIN;
	if (kind == IMAGE_FOREIGN && !must)
		kind = IMAGE_PLAIN; /* the launcher will see it, and say so */
	if (kind != IMAGE_PLAIN) {
		s->kind = kind;
		snprintf(s->path, sizeof s->path, "%s", path);
		if (must)
			return EPERM;
		put_release(&s->alone, 1);
		add_one(s->bell);
		futex_call(s->bell);
		while (get_acquire(&s->go) == 1)
			futex_sleep(&s->go, 1, 1000);
		if (s->go != 3)
			_exit(EXIT_OWN_FAILURE);
	}
	execve(path, p->argv, p->env);
	return errno;
}

/* execvp's search, without its habit to hand what it does not know to a shell. */
static int find_and_exec(const struct plan *p, struct starting *starting)
{
	const char *name = p->argv[0], *dir = environment(p->env, "PATH");
	char path[4096];
	int denied = 0, e;

	if (!*name)
		return ENOENT;
	if (strchr(name, '/'))
		return exec_checked(p, starting, name);
	for (dir = dir ? dir : "/bin:/usr/bin"; dir; dir = strchr(dir, ':') ? strchr(dir, ':') + 1 : NULL) {
		int n = (int)strcspn(dir, ":");

		if (snprintf(path, sizeof path, "%.*s%s%s", n, dir, n ? "/" : "", name) >= (int)sizeof path)
			continue;
		e = exec_checked(p, starting, path);
		if (e == EACCES)
			denied = 1;
		else if (e != ENOENT && e != ENOTDIR && e != ENAMETOOLONG && e != ELOOP && e != ENODEV &&
			 e != ETIMEDOUT && e != ESTALE)
			return e;
	}
	return denied ? EACCES : ENOENT;
}

/* Only private descriptors stay, at numbers that every process of the run uses. */
static void keep_private(int lifeline, int channel, int session)
{
	lifeline = fcntl(lifeline, F_DUPFD_CLOEXEC, 10);
	channel = fcntl(channel, F_DUPFD_CLOEXEC, 10);
	session = fcntl(session, F_DUPFD_CLOEXEC, 10);
	dup2(lifeline, PRIVATE_LIFELINE);
	dup2(channel, PRIVATE_CHANNEL);
	dup2(session, PRIVATE_SESSION);
	for (int fd = 0; fd < PRIVATE_LIFELINE; fd++)
		close(fd);
	syscall(SYS_close_range, PRIVATE_SESSION + 1, ~0u, 0);
}

pid_t spawn_program(const struct plan *p, const struct inherited *was, struct starting *starting, int lifeline,
		    int channel)
{
	pid_t launcher = getpid(), pid = fork();

	if (pid)
		return pid;
	while (get_acquire(&starting->go) == 0) {
		futex_sleep(&starting->go, 0, 1000);
		if (getppid() != launcher)
			_exit(EXIT_OWN_FAILURE);
	}
	if (starting->go != 1)
		_exit(EXIT_OWN_FAILURE);
	if (lifeline >= 0)
		keep_private(lifeline, channel, p->session_fd);
	give_back_signals(was);
	starting->error = find_and_exec(p, starting);
	_exit(EXIT_NOT_FOUND);
}

/* ---- the proxy -------------------------------------------------------------------------------------------------- */

/* Away from the standard descriptors, should those be closed. */
int above_standard(int fd)
{
	int to = fd < 0 || fd > 2 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (to != fd)
		close(fd);
	return to;
}

static int channel_create(struct channel **channel)
{
	int fd = above_standard(memfd_create("lsca-channel", MFD_CLOEXEC | MFD_ALLOW_SEALING));
	uint64_t limit = 0;
	struct slot *slot;
	int e = 0;

	if (fd < 0)
		return -errno;
	file_limit_raise(&limit);
	if (ftruncate(fd, (off_t)ARENA_AT(SLOT_COUNT)) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW))
		e = -errno;
	file_limit_restore(limit);
	*channel = e ? MAP_FAILED : mmap(NULL, CHANNEL_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (*channel == MAP_FAILED) {
		e = e ? e : -errno;
		close(fd);
		return e;
	}
	(*channel)->magic = CHANNEL_MAGIC;
	(*channel)->version = ABI_VERSION;
	(*channel)->slots = SLOT_COUNT;
	(*channel)->high = 1;
	slot = (struct slot *)((char *)*channel + SLOT_SIZE);
	put_release(&slot->lease, SLOT_TAKEN);
	return fd;
}

/* Away from the low numbers, which may be the program's. Inheritable, unlike everything else that is ours. */
static int high(int fd)
{
	int to = fcntl(fd, F_DUPFD, HIGH);

	return to < 0 ? fcntl(fd, F_DUPFD, 10) : to;
}

static void exec_proxy(const struct plan *p, const struct inherited *was, int lifeline, int channel)
{
	char numbers[3][16];
	char *argv[] = {(char *)"lsca-proxy", numbers[0], numbers[1], numbers[2], NULL};
	char *none[] = {NULL}; /* LD_PRELOAD and the like are the program's business */

	snprintf(numbers[0], sizeof numbers[0], "%d", high(lifeline));
	snprintf(numbers[1], sizeof numbers[1], "%d", high(channel));
	snprintf(numbers[2], sizeof numbers[2], "%d", high(p->session_fd));
	give_back_signals(was);
	execve(p->proxy, argv, none);
	_exit(EXIT_OWN_FAILURE);
}

static int wait_until_ready(struct channel *channel, pid_t pid, char *text)
{
	struct slot *slot = (struct slot *)((char *)channel + SLOT_SIZE);
	uint64_t end = clock_ns(CLOCK_MONOTONIC) + PROXY_PATIENCE * 1000000ull;
	int status;

	while (!get_acquire(&channel->proxy) || !get_acquire(&slot->owner)) {
		if (waitpid(pid, &status, WNOHANG) == pid) {
			snprintf(text, TEXT_SIZE, "the proxy ended at once (wait status 0x%x)", (unsigned)status);
			return -1;
		}
		if (clock_ns(CLOCK_MONOTONIC) > end) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			snprintf(text, TEXT_SIZE, "the proxy did not start within %d s", PROXY_PATIENCE / 1000);
			return -1;
		}
		futex_sleep(&slot->owner, 0, get_acquire(&slot->owner) ? 0 : 5);
	}
	return 0;
}

pid_t spawn_proxy(const struct plan *p, const struct inherited *was, int *lifeline, int *channel_fd,
		  struct channel **channel, char *text)
{
	int pair[2];
	pid_t pid;

	*channel_fd = channel_create(channel);
	if (*channel_fd < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
		snprintf(text, TEXT_SIZE, "no memory for the channel: %s",
			 strerror(*channel_fd < 0 ? -*channel_fd : errno));
		return -1;
	}
	pair[0] = above_standard(pair[0]);
	pair[1] = above_standard(pair[1]);
	pid = fork();
	if (!pid)
		exec_proxy(p, was, pair[1], *channel_fd);
	close(pair[1]);
	*lifeline = pair[0];
	if (pid < 0) {
		snprintf(text, TEXT_SIZE, "the proxy cannot be started: %s", strerror(errno));
		return -1;
	}
	return wait_until_ready(*channel, pid, text) ? -1 : pid;
}

/*
 * Whoever waits for end-of-file on something of the program's must not wait for us: every inheritable descriptor goes,
 * and the standard ones lead nowhere. stderr stays where own words may have to be said.
 */
void drop_inherited(int keep_stderr)
{
	int null = above_standard(open("/dev/null", O_RDWR | O_CLOEXEC));
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		int fd = atoi(entry->d_name);

		if (fd > 2 && fd != dirfd(dir) && !(fcntl(fd, F_GETFD) & FD_CLOEXEC))
			close(fd);
	}
	if (dir)
		closedir(dir);
	for (int fd = 0; fd < (keep_stderr ? 2 : 3) && null >= 0; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			dup2(null, fd);
	/* One that was closed is not to become something that gets our words by mistake. */
	for (int fd = 0; fd < 3 && null >= 0; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			dup2(null, fd);
	if (null >= 0)
		close(null);
}
