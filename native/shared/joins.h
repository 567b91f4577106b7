/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that nobody catches becomes a program that is: it asks the launcher of a session to be there at the exec,
 * as an agent would (native/agent/exec.c). Used by lsca-join (native/join), and by the extension in a child of vfork,
 * which has its parent's memory: nothing here allocates, or writes to anything but the session and what it is given.
 * What it finds in the session may be anything.
 */
#ifndef LSCA_JOINS_H
#define LSCA_JOINS_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "inspect_libc.h"
#include "ring.h"

enum {
	JOIN_TRIES = 1000, /* for a request, with JOIN_PAUSE in between */
	JOIN_PAUSE = 2000000, /* ns */
	JOIN_LOOK = 100, /* ms */
	JOIN_START = 100, /* looks at a launcher that is not there yet */
	JOIN_ANSWER = 600, /* at one that is */
	JOIN_DETACH = 50,
};

struct joining {
	struct session *session; /* NULL: it cannot be had, and nobody catches us */
	uint32_t flags; /* enum agent_flags */
	int looks;
};

static void join_sleep(uint32_t *word, uint32_t value)
{
	const struct timespec t = {JOIN_LOOK / 1000, JOIN_LOOK % 1000 * 1000000};

	syscall(SYS_futex, word, FUTEX_WAIT, value, &t, NULL, 0);
}

static void join_ring(struct session *s)
{
	add_one(&s->exec_bell);
	syscall(SYS_futex, &s->exec_bell, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* It may have to start first, but not for ever. */
static int join_is_served(struct joining *j)
{
	uint32_t launcher = get_acquire(&j->session->launcher);

	if (!launcher && j->looks++ > JOIN_START)
		return 0;
	return !(get_acquire(&j->session->flags) & SESSION_CLOSED) && launcher <= INT_MAX &&
	       (!launcher || !kill((pid_t)launcher, 0) || errno == EPERM);
}

static struct exec_request *join_claim(struct joining *j)
{
	const struct timespec pause = {0, JOIN_PAUSE};

	for (int tries = 0; tries < JOIN_TRIES && join_is_served(j); tries++) {
		for (int i = 0; i < EXEC_REQUESTS; i++)
			if (swap_if(&j->session->execs[i].state, EXEC_FREE, EXEC_CLAIMED))
				return &j->session->execs[i];
		nanosleep(&pause, NULL);
	}
	return NULL;
}

static uint32_t join_kind(const struct joining *j, const char *path)
{
	uint32_t kind = inspect_image(AT_FDCWD, path, 0), flags = get_acquire(&j->session->flags);

	if (kind == IMAGE_GAINS && flags & SESSION_GRANTS)
		return IMAGE_PLAIN;
	if (kind == IMAGE_FOREIGN && !(flags & SESSION_STRICT))
		return IMAGE_PLAIN; /* the launcher will see it, and say so */
	return kind;
}

/* NULL: the launcher will not be there. */
static struct exec_request *join_ask(struct joining *j, const char *path)
{
	struct exec_request *e = join_claim(j);
	uint32_t launcher;

	if (!e)
		return NULL;
	e->pid = e->tid = (uint32_t)getpid();
	e->error = 0;
	e->detached = 0;
	e->lifeline = e->channel = e->session = -1;
	e->slot = 0;
	e->kind = join_kind(j, path);
	e->flags = j->flags;
	e->path = (uint64_t)(uintptr_t)path;
	e->joins = (uint32_t)getppid();
	launcher = get_acquire(&j->session->launcher);
	if (launcher)
		prctl(PR_SET_PTRACER, (unsigned long)launcher, 0, 0, 0); /* for Yama; else an error */
	put_release(&e->state, EXEC_ASKED);
	join_ring(j->session);
	for (int looks = 0; get_acquire(&e->state) == EXEC_ASKED; looks++) {
		join_sleep(&e->state, EXEC_ASKED);
		if (!join_is_served(j) || looks > JOIN_ANSWER)
			return NULL;
		if (!launcher && (launcher = get_acquire(&j->session->launcher)))
			prctl(PR_SET_PTRACER, (unsigned long)launcher, 0, 0, 0);
	}
	if (get_acquire(&e->state) == EXEC_READY)
		return e;
	e->joins = 0;
	put_release(&e->state, EXEC_FREE);
	return NULL;
}

/* It stays, so the launcher has to let go of us. */
static void join_undo(struct joining *j, struct exec_request *e)
{
	e->joins = 0;
	put_release(&e->state, EXEC_FAILED);
	join_ring(j->session);
	for (int i = 0; i < JOIN_DETACH && get_acquire(&e->state) == EXEC_FAILED; i++) {
		join_sleep(&e->state, EXEC_FAILED);
		if (!join_is_served(j))
			return;
	}
}

/* errno of a path that could not be executed. */
static int join_try(struct joining *j, const char *path, char *const *argv, char *const *env)
{
	struct session *s = j->session;
	struct exec_request *e = NULL;
	int error;

	if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS))
		return errno;
	if (s) {
		e = join_ask(j, path);
		if (!e && get_acquire(&s->flags) & SESSION_STRICT) {
			add_one(&s->refused);
			return EPERM;
		}
		if (!e)
			add_one(&s->uncaught);
	}
	execve(path, argv, env);
	error = errno;
	if (e)
		join_undo(j, e);
	else if (s)
		__atomic_sub_fetch(&s->uncaught, 1, __ATOMIC_RELAXED);
	return error;
}

/* The first of these paths that can be executed, as os.execvpe goes through them; or the errno that it would give. */
static int join_exec(struct joining *j, char *const *paths, int count, char *const *argv, char *const *env)
{
	int error = 0, last = ENOENT;

	for (int i = 0; i < count; i++) {
		last = join_try(j, paths[i], argv, env);
		if (last != ENOENT && last != ENOTDIR && !error)
			error = last;
	}
	return error ? error : last;
}

#endif
