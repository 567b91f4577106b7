/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The route `proxy` for calls that are not the proxy's alone: some must be made in the program although the proxy has
 * the descriptors (they are borrowed for the time of the call), some return a descriptor that is then moved to the
 * proxy, some change state that both must have. A signalfd hands out the signals of whoever reads it, so it is read,
 * and waited for, in the program ("at home").
 */
#include "agent.h"

enum {
	HOME_LIMIT = 4096,
	POLL_LIMIT = 64,
	MAP_ANONYMOUS_ = 0x20,
	CLOEXEC_ = 02000000,
	EPOLL_CTL_ADD_ = 1,
	F_DUPFD_ = 0,
	F_DUPFD_CLOEXEC_ = 1030,
};

static uint64_t home[HOME_LIMIT / 64]; /* descriptors that the program's own process must use */

static int is_home(uint64_t fd)
{
	return fd < HOME_LIMIT && __atomic_load_n(&home[fd / 64], __ATOMIC_RELAXED) >> fd % 64 & 1;
}

static void set_home(uint64_t fd, int on)
{
	if (fd >= HOME_LIMIT)
		return;
	if (on)
		__atomic_or_fetch(&home[fd / 64], 1ull << fd % 64, __ATOMIC_RELAXED);
	else
		__atomic_and_fetch(&home[fd / 64], ~(1ull << fd % 64), __ATOMIC_RELAXED);
}

/* In the program, each descriptor among the arguments replaced by a borrowed one. */
int64_t borrow_call(struct call *c)
{
	uint64_t args[CALL_ARGS];
	int64_t lent[CALL_ARGS], r = 0;

	c->route = ROUTE_KERNEL;
	memcpy(args, c->args, sizeof args);
	for (int i = 0; i < CALL_ARGS; i++)
		lent[i] = -1;
	for (int i = 0; i < c->row->nargs && r >= 0; i++) {
		if (c->row->args[i].kind != ARG_FD || (int32_t)args[i] < 0)
			continue;
		if (c->nr == NR_mmap && args[3] & MAP_ANONYMOUS_)
			continue;
		lent[i] = r = delegate_borrow(c->thread, args[i]);
		args[i] = (uint64_t)lent[i];
	}
	if (r >= 0)
		r = dispatch_kernel_args(c, args);
	for (int i = 0; i < CALL_ARGS; i++)
		if (lent[i] >= 0)
			GATE1(NR_close, lent[i]);
	return r;
}

/* In the program, and the new descriptor moved to the proxy. */
static int64_t borrow_handover(struct call *c)
{
	int64_t r = dispatch_kernel(c);

	c->route = ROUTE_KERNEL;
	if (r < 0)
		return r;
	/* Where the flags are differs; the kernel knows what became of them. */
	return delegate_handover(c->thread, (int32_t)r, GATE2(NR_fcntl, r, 1) & 1);
}

static int begins(const char *text, const char *with)
{
	while (*with)
		if (*text++ != *with++)
			return 0;
	return 1;
}

/*
 * What /proc says of the caller by its own name, but for its descriptors. The proxy asks for it as another process,
 * which the kernel refuses if who the program is has changed; the program itself is never refused that.
 */
int borrow_is_self(const char *path)
{
	int n = begins(path, "/proc/self/") ? 11 : begins(path, "/proc/thread-self/") ? 18 : 0;

	return n && !begins(path + n, "fd");
}

/* By the program itself; what it opens goes to the proxy. */
int64_t borrow_self(struct call *c)
{
	return c->row->flags & CALL_NEW_FD ? borrow_handover(c) : borrow_call(c);
}

/*
 * Paths that mean the caller: /dev/tty is its controlling terminal, the link /proc/self its number, and a thread's name
 * may be written by its own process only. 1: done here.
 */
int borrow_path(struct call *c, const char *path, uint64_t len, int64_t *ret)
{
	int opens = c->row->flags & CALL_NEW_FD, own;

	if (len < 9 || (path[1] != 'p' && path[1] != 'd'))
		return 0;
	own = begins(path, "/proc/self") || begins(path, "/proc/thread-self");
	if (own && (len == sizeof "/proc/self" || len == sizeof "/proc/thread-self") && !opens) {
		*ret = dispatch_kernel(c);
		return 1;
	}
	if (!opens || (!begins(path, "/dev/tty") && !(own && begins(path + len - 6, "/comm"))))
		return 0;
	if (!own && len != sizeof "/dev/tty")
		return 0;
	*ret = borrow_handover(c);
	if (own && *ret >= 0)
		set_home((uint64_t)*ret, 1);
	return 1;
}

/* ---- signalfd ---------------------------------------------------------------------------------------------------- */

static int64_t new_signalfd(struct call *c)
{
	int64_t r;

	if ((int32_t)c->args[0] >= 0) { /* another mask for an old one */
		r = borrow_call(c);
		return r < 0 ? r : (int64_t)c->args[0];
	}
	r = borrow_handover(c);
	if (r >= 0)
		set_home((uint64_t)r, 1);
	return r;
}

struct pollfd {
	int32_t fd;
	int16_t events, revents;
};

/* A set with a descriptor that is at home: all of the set is borrowed. */
static int64_t poll_home(struct call *c, int *handled)
{
	struct pollfd theirs[POLL_LIMIT], ours[POLL_LIMIT];
	uint64_t args[CALL_ARGS], count = c->args[1], any = 0;
	int64_t r = 0;

	*handled = 0;
	if (!count || count > POLL_LIMIT || memory_read(theirs, c->args[0], count * sizeof *theirs) < count * 8)
		return 0;
	for (uint64_t i = 0; i < count; i++)
		any |= theirs[i].fd >= 0 && is_home((uint64_t)theirs[i].fd);
	if (!any)
		return 0;
	*handled = 1;
	memcpy(ours, theirs, sizeof ours);
	for (uint64_t i = 0; i < count; i++) {
		if (theirs[i].fd < 0)
			continue;
		r = delegate_borrow(c->thread, (uint64_t)theirs[i].fd);
		ours[i].fd = r < 0 ? 0x7fffffff : (int32_t)r; /* POLLNVAL, as it should be */
	}
	memcpy(args, c->args, sizeof args);
	args[0] = (uint64_t)ours;
	r = dispatch_kernel_args(c, args);
	for (uint64_t i = 0; i < count; i++) {
		theirs[i].revents = ours[i].revents;
		if (ours[i].fd >= 0 && ours[i].fd != 0x7fffffff)
			GATE1(NR_close, ours[i].fd);
	}
	if (r >= 0 && memory_write(c->args[0], theirs, count * sizeof *theirs) < count * sizeof *theirs)
		return -EFAULT_;
	return r;
}

/* Keep track of what a number stands for. */
static void follow_home(struct call *c, int64_t r)
{
	switch (c->nr) {
	case NR_close:
		set_home(c->args[0], 0);
		return;
	case NR_dup:
	case NR_dup2:
	case NR_dup3:
		break;
	case NR_fcntl:
		if (c->args[1] == F_DUPFD_ || c->args[1] == F_DUPFD_CLOEXEC_)
			break;
		return;
	default: /* a new one; borrow_path() has marked its own */
		return;
	}
	if (r >= 0)
		set_home((uint64_t)r, is_home(c->args[0]));
}

static int64_t anywhere(struct call *c)
{
	int64_t r;
	int handled;

	switch (c->nr) {
	case NR_sendmmsg:
	case NR_recvmmsg:
		return delegate_messages(c, c->nr == NR_sendmmsg);
	case NR_poll:
	case NR_ppoll:
		r = poll_home(c, &handled);
		if (handled)
			return r;
		break;
	case NR_epoll_ctl:
		if (is_home(c->args[2])) {
			if (c->args[1] == EPOLL_CTL_ADD_)
				set_home(c->args[0], 1);
			return borrow_call(c);
		}
		break;
	case NR_read:
	case NR_readv:
	case NR_write:
	case NR_epoll_wait:
	case NR_epoll_pwait:
	case NR_epoll_pwait2:
		if (is_home(c->args[0]))
			return borrow_call(c);
		break;
	}
	r = delegate_anywhere(c);
	follow_home(c, r);
	return r;
}

/* ---- state that both sides have ---------------------------------------------------------------------------------- */

static int is_own(struct call *c, uint64_t pid)
{
	return !pid || (uint32_t)pid == c->thread->process->pid;
}

/* Limits that the proxy's work must obey as well; the others concern the program's own memory and threads. */
static int limit_of_proxy(uint64_t resource)
{
	return resource == 7 || resource == 1 || resource == 10 || resource == 12; /* NOFILE FSIZE LOCKS MSGQUEUE */
}

/* exec and fork take it from the program, calls on descriptors and paths from the proxy. */
static int64_t both(struct call *c)
{
	struct call other = *c;
	int64_t r;

	switch (c->nr) {
	case NR_pivot_root: /* moves every process of the namespace */
		return delegate_anywhere(c);
	case NR_fchdir:
	case NR_setns:
	case NR_landlock_restrict_self:
		r = delegate_anywhere(c);
		return r < 0 ? r : borrow_call(c);
	case NR_prlimit64:
		r = dispatch_kernel(c);
		if (r >= 0 && is_own(c, c->args[0]) && limit_of_proxy(c->args[1]) && c->args[2]) {
			other.args[0] = 0;
			other.args[3] = 0;
			delegate_anywhere(&other);
		}
		return r;
	case NR_setrlimit:
		r = dispatch_kernel(c);
		if (r >= 0 && limit_of_proxy(c->args[0]))
			delegate_anywhere(c);
		return r;
	case NR_setpgid: /* the group exists once the program has made it */
		r = dispatch_kernel(c);
		if (r >= 0 && is_own(c, c->args[0])) {
			other.args[0] = 0;
			other.args[1] = c->args[1] ? c->args[1] : c->thread->process->pid;
			delegate_anywhere(&other);
		}
		return r;
	case NR_setsid:
		r = dispatch_kernel(c);
		if (r >= 0)
			delegate_anywhere(c);
		return r;
	}
	r = delegate_anywhere(c);
	return r < 0 ? r : dispatch_kernel(c);
}

int64_t borrow_route(struct call *c)
{
	if (c->thread->slot >= SLOT_COUNT)
		return c->row->runs == RUNS_PROGRAM ? dispatch_kernel(c) : -EIO_;
	switch (c->nr) {
	case NR_signalfd:
	case NR_signalfd4:
		return new_signalfd(c);
	}
	switch (c->row->runs) {
	case RUNS_ANYWHERE:
		return anywhere(c);
	case RUNS_BOTH:
		return both(c);
	case RUNS_BORROW:
		return borrow_call(c);
	case RUNS_HANDOVER:
		return borrow_handover(c);
	case RUNS_NOWHERE:
		return -ENOSYS_;
	}
	return dispatch_kernel(c);
}
