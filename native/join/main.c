/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lsca-join LAUNCHER SESSION ERRORS COUNT PATH... -- ARGV...: becomes the program of the first PATH that can be
 * executed, within a session that is there already. It asks the session's launcher to be there at the exec, as an agent
 * would (native/agent/exec.c), and is gone with it: process, descriptors, directory, environment and signals are the
 * program's from the beginning. Started by src/lsca/joining.py in the place of a program; must never change what it
 * would hand on. Says what went wrong as Python's subprocess wants to hear it, on the descriptor ERRORS.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "ring.h"

enum {
	NR_openat = SYS_openat,
	NR_read = SYS_read,
	NR_close = SYS_close,
	NR_statx = SYS_statx,
	NR_faccessat2 = SYS_faccessat2,
	NR_getxattr = SYS_getxattr,
	NR_fstatfs = SYS_fstatfs,
	NR_prctl = SYS_prctl,
	NR_getuid = SYS_getuid,
	NR_geteuid = SYS_geteuid,
	NR_getgid = SYS_getgid,
	NR_getegid = SYS_getegid,
};

#include "inspect.h"

enum {
	TRIES = 1000, /* for a request, with PAUSE_NS in between */
	PAUSE_NS = 2000000,
	LOOK_MS = 100,
	DETACH_LOOKS = 50,
	START_LOOKS = 100,
	NOT_EXECUTABLE = 126,
	NOT_FOUND = 127,
};

static struct session *session; /* NULL: it cannot be had, and nobody catches us */

static int64_t inspect_call(uint64_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e)
{
	int64_t r = syscall((long)nr, a, b, c, d, e);

	return r < 0 ? -errno : r;
}

static void sleep_on(uint32_t *word, uint32_t value)
{
	const struct timespec t = {LOOK_MS / 1000, LOOK_MS % 1000 * 1000000};

	syscall(SYS_futex, word, FUTEX_WAIT, value, &t, NULL, 0);
}

static void ring(void)
{
	add_one(&session->exec_bell);
	syscall(SYS_futex, &session->exec_bell, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* It may have to start first, but not for ever. */
static int launcher_is_there(void)
{
	static int looks;

	if (!get_acquire(&session->launcher) && looks++ > START_LOOKS)
		return 0;
	return !(get_acquire(&session->flags) & SESSION_CLOSED) &&
	       (!kill((pid_t)session->launcher, 0) || errno == EPERM);
}

/* By way of the launcher, so that no descriptor has to be handed down. */
static struct session *session_open(const char *launcher, const char *number)
{
	char path[64];
	struct session *s = MAP_FAILED;
	struct stat st;
	int fd;

	snprintf(path, sizeof path, "/proc/%.10s/fd/%.10s", launcher, number);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	if (!fstat(fd, &st) && (uint64_t)st.st_size >= sizeof *s)
		s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (s == MAP_FAILED)
		return NULL;
	return s->magic == SESSION_MAGIC && s->version == ABI_VERSION ? s : NULL;
}

static struct exec_request *request_claim(void)
{
	const struct timespec pause = {0, PAUSE_NS};

	for (int tries = 0; tries < TRIES && launcher_is_there(); tries++) {
		for (int i = 0; i < EXEC_REQUESTS; i++)
			if (swap_if(&session->execs[i].state, EXEC_FREE, EXEC_CLAIMED))
				return &session->execs[i];
		nanosleep(&pause, NULL);
	}
	return NULL;
}

static uint32_t kind_of(const char *path)
{
	uint32_t kind = inspect_image(AT_FDCWD, path, 0), flags = get_acquire(&session->flags);

	if (kind == IMAGE_GAINS && flags & SESSION_GRANTS)
		return IMAGE_PLAIN;
	if (kind == IMAGE_FOREIGN && !(flags & SESSION_STRICT))
		return IMAGE_PLAIN; /* the launcher will see it, and say so */
	return kind;
}

/* NULL: the launcher will not be there. */
static struct exec_request *request_ask(const char *path)
{
	struct exec_request *e = request_claim();

	if (!e)
		return NULL;
	e->pid = e->tid = (uint32_t)getpid();
	e->error = 0;
	e->detached = 0;
	e->lifeline = e->channel = e->session = -1;
	e->slot = 0;
	e->kind = kind_of(path);
	e->flags = 0;
	e->path = (uint64_t)(uintptr_t)path;
	e->joins = (uint32_t)getppid();
	put_release(&e->state, EXEC_ASKED);
	ring();
	while (get_acquire(&e->state) == EXEC_ASKED) {
		sleep_on(&e->state, EXEC_ASKED);
		if (!launcher_is_there())
			return NULL;
	}
	if (get_acquire(&e->state) == EXEC_READY)
		return e;
	e->joins = 0;
	put_release(&e->state, EXEC_FREE);
	return NULL;
}

/* It stays, so the launcher has to let go of us. */
static void request_undo(struct exec_request *e)
{
	e->joins = 0;
	put_release(&e->state, EXEC_FAILED);
	ring();
	for (int i = 0; i < DETACH_LOOKS && get_acquire(&e->state) == EXEC_FAILED; i++) {
		sleep_on(&e->state, EXEC_FAILED);
		if (!launcher_is_there())
			return;
	}
}

/* errno of a path that could not be executed. */
static int try_exec(const char *path, char **argv)
{
	struct exec_request *e = NULL;
	int error;

	if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS))
		return errno;
	if (session) {
		e = request_ask(path);
		if (!e && get_acquire(&session->flags) & SESSION_STRICT) {
			add_one(&session->refused);
			return EPERM;
		}
		if (!e)
			add_one(&session->uncaught);
	}
	execv(path, argv);
	error = errno;
	if (e)
		request_undo(e);
	else if (session)
		__atomic_sub_fetch(&session->uncaught, 1, __ATOMIC_RELAXED);
	return error;
}

static void say(int fd, int error)
{
	char text[32];
	int n = snprintf(text, sizeof text, "OSError:%X:", (unsigned)error);

	if (fd < 0 || write(fd, text, (size_t)n) != n)
		fd = -1; /* nobody listens: the exit code says it */
}

int main(int argc, char **argv)
{
	int errors, count, error = 0, last = ENOENT;

	if (argc < 7) {
		dprintf(STDERR_FILENO, "lsca: lsca-join is started by lsca itself\n");
		return 125;
	}
	errors = atoi(argv[3]);
	count = atoi(argv[4]);
	if (count < 1 || argc < 7 + count)
		return 125;
	if (errors >= 0)
		fcntl(errors, F_SETFD, FD_CLOEXEC);
	session = session_open(argv[1], argv[2]);
	if (session)
		prctl(PR_SET_PTRACER, (unsigned long)session->launcher, 0, 0, 0); /* for Yama; else an error */
	for (int i = 0; i < count; i++) {
		last = try_exec(argv[5 + i], argv + 6 + count);
		if (last != ENOENT && last != ENOTDIR && !error)
			error = last;
	}
	error = error ? error : last;
	say(errors, error);
	return error == ENOENT ? NOT_FOUND : NOT_EXECUTABLE;
}
