/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Make one call for the program. The request is a copy; what its pointers lead to is checked against the row, and
 * whatever the kernel would read twice or follow (strings, structures, message headers) is copied before it is used.
 * Only plain buffers are handed to the kernel where they lie in shared memory. Also here: the few places where "we"
 * and "the program" differ: /proc/self, process ids in credentials, the hidden descriptor, the terminal's stop signals.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "proxy.h"

/* Where one pointer argument ended up. */
struct place {
	struct shape shape;
	uint8_t *shared;  /* in the payload */
	uint8_t *copy;    /* what the kernel gets, if not `shared` */
	uint64_t len;
};

struct making {
	struct request *q;
	const struct call_row *row;
	struct worker *worker;
	uint64_t used; /* of the scratch */
	struct place places[CALL_ARGS];
	struct msghdr msg;
	struct iovec iov;
	uint8_t *flat; /* the shared flat_msg */
	struct flat_msg head;
	uint64_t args[CALL_ARGS];
};

static uint8_t *scratch(struct making *m, uint64_t n)
{
	uint8_t *p = m->worker->scratch + m->used;

	n = (n + 15) & ~15ull;
	if (n > SCRATCH - m->used)
		return 0;
	m->used += n;
	return p;
}

static uint32_t program_of(uint32_t proxy)
{
	for (uint32_t i = 0; proxy && i < PROCESSES; i++)
		if (session->processes[i].proxy == proxy)
			return session->processes[i].pid;
	return proxy;
}

/* /proc/self is the program's, but for its descriptors, which are ours; /proc/<pid>/fd the other way round. */
static uint8_t *path_for(struct making *m, uint8_t *path, uint64_t len)
{
	static const char *const selves[] = {"/proc/self", "/proc/thread-self"};
	char own[24];
	const char *p = (const char *)path;
	uint8_t *out;

	if (len < 6 || memcmp(p, "/proc/", 6))
		return path;
	snprintf(own, sizeof own, "/proc/%u", channel->pid);
	for (int i = 0; i < 2; i++) {
		size_t n = strlen(selves[i]);

		if (strncmp(p, selves[i], n) || (p[n] && p[n] != '/'))
			continue;
		if (!strncmp(p + n, "/fd", 3) && (!p[n + 3] || p[n + 3] == '/' || !strncmp(p + n + 3, "info", 4)))
			return path;
		out = scratch(m, len + sizeof own);
		if (!out)
			return path;
		snprintf((char *)out, len + sizeof own, "%s%s", own, p + n);
		return out;
	}
	{
		size_t n = strlen(own);

		if (!strncmp(p, own, n) && !strncmp(p + n, "/fd", 3) &&
		    (!p[n + 3] || p[n + 3] == '/' || !strncmp(p + n + 3, "info", 4))) {
			out = scratch(m, len + 16);
			if (!out)
				return path;
			snprintf((char *)out, len + 16, "/proc/self%s", p + n);
			return out;
		}
	}
	return path;
}

/* Whole, too: the first header's length is only what the program says. */
static int is_credentials(const struct making *m, const struct cmsghdr *c)
{
	uint64_t at = (uint64_t)c - (uint64_t)m->msg.msg_control;

	return c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS &&
	       c->cmsg_len >= CMSG_LEN(sizeof(struct ucred)) &&
	       at + CMSG_LEN(sizeof(struct ucred)) <= m->msg.msg_controllen;
}

static void credentials_out(struct making *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m->msg); c; c = CMSG_NXTHDR(&m->msg, c)) {
		struct ucred who;

		if (!is_credentials(m, c))
			continue;
		memcpy(&who, CMSG_DATA(c), sizeof who);
		if (who.pid == (pid_t)channel->pid) {
			who.pid = getpid();
			memcpy(CMSG_DATA(c), &who, sizeof who);
		}
	}
}

static void credentials_in(struct making *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m->msg); c; c = CMSG_NXTHDR(&m->msg, c)) {
		struct ucred who;

		if (!is_credentials(m, c))
			continue;
		memcpy(&who, CMSG_DATA(c), sizeof who);
		who.pid = (pid_t)program_of((uint32_t)who.pid);
		memcpy(CMSG_DATA(c), &who, sizeof who);
	}
}

static int64_t message(struct making *m, int i, struct extent e, int in)
{
	uint64_t need = sizeof m->head;

	if (e.len < need)
		return -EFAULT;
	m->flat = m->q->payload + e.off;
	memcpy(&m->head, m->flat, sizeof m->head);
	need += (uint64_t)m->head.name_len + m->head.control_len + m->head.data_len;
	if (need > e.len || m->head.control_len > 65536 || m->head.name_len > 128)
		return -EFAULT;
	memset(&m->msg, 0, sizeof m->msg);
	if (m->head.has_name) {
		m->msg.msg_name = scratch(m, 128);
		if (!m->msg.msg_name)
			return -ENOBUFS;
		m->msg.msg_namelen = m->head.name_len;
		if (in)
			memcpy(m->msg.msg_name, m->flat + sizeof m->head, m->head.name_len);
	}
	if (m->head.has_control) {
		m->msg.msg_control = scratch(m, m->head.control_len);
		if (!m->msg.msg_control)
			return -ENOBUFS;
		m->msg.msg_controllen = m->head.control_len;
		if (in) {
			memcpy(m->msg.msg_control, m->flat + sizeof m->head + m->head.name_len,
			       m->head.control_len);
			credentials_out(m);
		}
	}
	m->iov.iov_base = m->flat + sizeof m->head + m->head.name_len + m->head.control_len;
	m->iov.iov_len = m->head.data_len;
	m->msg.msg_iov = &m->iov;
	m->msg.msg_iovlen = 1;
	m->args[i] = (uint64_t)&m->msg;
	return 0;
}

static void message_back(struct making *m)
{
	struct flat_msg head = m->head;
	uint8_t *to = m->flat + sizeof head;

	credentials_in(m);
	if (head.has_name) {
		uint32_t n = m->msg.msg_namelen < head.name_len ? m->msg.msg_namelen : head.name_len;

		memcpy(to, m->msg.msg_name, n);
	}
	if (head.has_control)
		memcpy(to + head.name_len, m->msg.msg_control, m->msg.msg_controllen);
	head.name_len = m->msg.msg_namelen;
	head.control_len = (uint32_t)m->msg.msg_controllen;
	head.flags = (uint32_t)m->msg.msg_flags;
	memcpy(m->flat, &head, sizeof head);
}

/* Check argument `i` against its row and give the kernel something it may trust to stay as it is. */
static int64_t place(struct making *m, int i)
{
	const struct call_arg *arg = &m->row->args[i];
	struct extent e = m->q->extents[i];
	struct place *p = &m->places[i];
	uint32_t deref = 0;

	m->args[i] = m->q->args[i];
	if (arg->kind == ARG_FD && (int)m->args[i] == hidden)
		return -EBADF;
	if (arg->kind >= ARG_STRING && arg->length == LEN_DEREF && e.len < EXTENT_BAD) {
		struct extent l = m->q->extents[arg->len_arg];

		if (l.len < 4 || l.len >= EXTENT_BAD || (uint64_t)l.off + 4 > m->q->room)
			return -EFAULT;
		memcpy(&deref, m->q->payload + l.off, 4);
	}
	p->shape = pack_shape(m->row, i, m->q->args, deref);
	if (p->shape.runs == RUNS_BORROW)
		return -ENOTTY;
	if (!pack_is_pointer(p->shape.kind))
		return 0;
	if (e.len == EXTENT_NULL || p->shape.kind == ARG_SIGMASK || p->shape.kind == ARG_SIGMASK6) {
		m->args[i] = 0;
		p->shape.kind = ARG_NONE;
		return 0;
	}
	if (e.len == EXTENT_BAD) {
		m->args[i] = 1; /* as good as any address that leads nowhere */
		p->shape.kind = ARG_NONE;
		return 0;
	}
	if ((uint64_t)e.off + e.len > m->q->room)
		return -EFAULT;
	p->shared = m->q->payload + e.off;
	p->len = p->shape.len;
	switch (p->shape.kind) {
	case ARG_STRING:
		if (!e.len || e.len > PACK_STRING)
			return -EFAULT;
		p->copy = scratch(m, e.len);
		if (!p->copy)
			return -ENOMEM;
		memcpy(p->copy, p->shared, e.len);
		p->copy[e.len - 1] = 0;
		if (arg->flags & ARG_PATH)
			p->copy = path_for(m, p->copy, e.len);
		m->args[i] = (uint64_t)p->copy;
		return 0;
	case ARG_IN:
	case ARG_OUT:
	case ARG_INOUT:
		if (e.len < p->len)
			return -EFAULT;
		m->args[i] = (uint64_t)p->shared;
		/* A size in the arguments is fixed by now; everything else could change while the kernel reads. */
		if (arg->length != LEN_ARG && p->len <= 65536) {
			p->copy = scratch(m, p->len);
			if (!p->copy)
				return -ENOMEM;
			if (p->shape.kind != ARG_OUT)
				memcpy(p->copy, p->shared, p->len);
			m->args[i] = (uint64_t)p->copy;
			if (arg->length == LEN_CONST && p->len == 4 && p->shape.kind == ARG_INOUT) {
				/* A length read for LEN_DEREF a moment ago must be the one the kernel sees. */
				for (int k = 0; k < i; k++)
					if (m->row->args[k].length == LEN_DEREF &&
					    m->row->args[k].len_arg == i && m->places[k].shape.kind != ARG_NONE) {
						uint32_t len = (uint32_t)m->places[k].len;

						memcpy(p->copy, &len, 4);
					}
			}
		}
		return 0;
	case ARG_IOV_IN:
	case ARG_IOV_OUT:
		m->iov.iov_base = p->shared;
		m->iov.iov_len = e.len;
		m->args[i] = (uint64_t)&m->iov;
		m->args[arg->len_arg] = 1;
		return 0;
	case ARG_MSG_IN:
	case ARG_MSG_OUT:
		return message(m, i, e, p->shape.kind == ARG_MSG_IN);
	}
	return -EFAULT;
}

/* The vector's length is fixed up before its own argument is placed over it. */
static int64_t place_all(struct making *m)
{
	int64_t r = 0;

	for (int i = 0; i < m->row->nargs && r >= 0; i++) {
		uint64_t kept = m->args[i];
		int vector = 0;

		for (int k = 0; k < i; k++)
			vector |= (m->places[k].shape.kind == ARG_IOV_IN || m->places[k].shape.kind == ARG_IOV_OUT) &&
				  m->row->args[k].len_arg == i;
		r = place(m, i);
		if (vector)
			m->args[i] = kept;
	}
	return r;
}

static void hand_back(struct making *m, int64_t ret)
{
	for (int i = 0; i < m->row->nargs; i++) {
		struct place *p = &m->places[i];
		uint64_t n;

		if (p->shape.kind == ARG_MSG_OUT) {
			if (ret >= 0)
				message_back(m);
			continue;
		}
		if ((p->shape.kind != ARG_OUT && p->shape.kind != ARG_INOUT) || !p->copy)
			continue;
		n = pack_filled(&m->row->args[i], p->len, ret);
		memcpy(p->shared, p->copy, n);
	}
}

/* ---- where the proxy is not the program ------------------------------------------------------------------------- */

/* A background process that touches its terminal is stopped, unless it blocks or ignores the signal: so are we. */
static void terminal_stops(struct making *m)
{
	uint32_t want = ~m->q->ttystop & 3;
	sigset_t in, out;

	if (want == m->worker->terminal)
		return;
	m->worker->terminal = want;
	sigemptyset(&in);
	sigemptyset(&out);
	sigaddset(want & 1 ? &in : &out, SIGTTIN);
	sigaddset(want & 2 ? &in : &out, SIGTTOU);
	pthread_sigmask(SIG_UNBLOCK, &in, 0);
	pthread_sigmask(SIG_BLOCK, &out, 0);
}

/* The program wants the number that the lifeline has: move it out of the way. */
static int move_hidden(void)
{
	int to = fcntl(hidden, F_DUPFD, hidden > 64 ? hidden - 32 : hidden + 32), old = hidden;

	if (to < 0)
		return -errno;
	hidden = to;
	close(old);
	return 0;
}

static int is_fd_directory(int fd)
{
	char link[32], path[64];
	struct statfs fs;
	ssize_t n;

	if (fstatfs(fd, &fs) || fs.f_type != 0x9fa0) /* PROC_SUPER_MAGIC */
		return 0;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof path - 1);
	if (n < 0)
		return 0;
	path[n] = 0;
	return (n > 3 && !strcmp(path + n - 3, "/fd")) || (n > 7 && !strcmp(path + n - 7, "/fdinfo"));
}

/* Leave the hidden descriptor out of a listing of /proc/self/fd. */
static int64_t hide_entry(uint8_t *buf, int64_t n)
{
	char name[16];

	snprintf(name, sizeof name, "%d", hidden);
	for (int64_t at = 0; at + 19 < n;) {
		uint16_t len;

		memcpy(&len, buf + at + 16, 2);
		if (len < 20 || at + len > n)
			break;
		if (!strncmp((char *)buf + at + 19, name, len - 19u)) {
			memmove(buf + at, buf + at + len, (size_t)(n - at - len));
			return n - len;
		}
		at += len;
	}
	return n;
}

static int64_t close_range_around(uint64_t first, uint64_t last, uint64_t flags)
{
	int64_t r = 0;
	uint32_t lo = (uint32_t)first, hi = (uint32_t)last, h = (uint32_t)hidden;

	if (lo > hi || flags & ~(uint64_t)6)
		return -EINVAL;
	flags &= ~2ull; /* CLOSE_RANGE_UNSHARE: the table belongs to all threads of the proxy */
	if (h < lo || h > hi)
		return syscall(SYS_close_range, lo, hi, flags) < 0 ? -errno : 0;
	if (h > lo)
		r = syscall(SYS_close_range, lo, h - 1, flags);
	if (r >= 0 && h < hi)
		r = syscall(SYS_close_range, h + 1, hi, flags);
	return r < 0 ? -errno : 0;
}

/*
 * The program's own process has the limit as it was set. Here only the soft one counts: a proxy that forks needs a file
 * and some descriptors for itself, and must be able to raise the limit for that moment.
 */
static void keep_hard_limit(struct making *m)
{
	int i = m->q->nr == SYS_setrlimit ? 1 : 2;
	struct rlimit now, *wanted = (struct rlimit *)m->places[i].copy;

	if (!wanted || getrlimit((int)m->q->args[i - 1], &now))
		return;
	if (wanted->rlim_max < now.rlim_max)
		wanted->rlim_max = now.rlim_max;
}

int64_t execute_call(struct request *q, struct worker *w, const uint32_t *cancel)
{
	struct making m = {.q = q, .worker = w};
	int64_t r;
	int limit = 0;

	if (q->nr >= CALL_LIMIT || !(call_rows[q->nr].flags & CALL_KNOWN))
		return -ENOSYS;
	m.row = &call_rows[q->nr];
	if (m.row->runs != RUNS_ANYWHERE && m.row->runs != RUNS_BOTH)
		return -ENOSYS;
	memcpy(m.args, q->args, sizeof m.args);
	switch (q->nr) {
#ifdef SYS_dup2
	case SYS_dup2:
#endif
	case SYS_dup3:
		if ((int)q->args[1] == hidden && (r = move_hidden()) < 0)
			return r;
		break;
	case SYS_close_range:
		return close_range_around(q->args[0], q->args[1], q->args[2]);
	case SYS_setrlimit:
	case SYS_prlimit64:
		limit = 1;
		break;
	case SYS_unshare:
		q->args[0] &= ~0x400ull; /* CLONE_FILES: see close_range */
		m.args[0] = q->args[0];
		break;
	}
	r = place_all(&m);
	if (r < 0)
		return r;
	if (limit)
		keep_hard_limit(&m);
	if (m.row->flags & CALL_TERMINAL)
		terminal_stops(&m);
	do
		r = cancellable(q->nr, m.args);
	while ((r == -EINTR || r == -512) && !get_acquire(cancel)); /* a late signal, meant for an earlier call */
	if (q->nr == SYS_getdents64 && r > 0 && is_fd_directory((int)q->args[0]))
		r = hide_entry((uint8_t *)m.args[1], r);
	if (q->nr == SYS_fcntl && r >= 0 && m.places[2].copy && m.places[2].len >= 28 &&
	    (q->args[1] == F_GETLK || q->args[1] == F_OFD_GETLK)) {
		struct flock *f = (struct flock *)m.places[2].copy;

		if (f->l_pid > 0)
			f->l_pid = (pid_t)program_of((uint32_t)f->l_pid);
	}
	if (q->nr == SYS_getsockopt && !r && q->args[1] == SOL_SOCKET && q->args[2] == SO_PEERCRED &&
	    m.places[3].copy && m.places[3].len >= sizeof(struct ucred)) {
		struct ucred *who = (struct ucred *)m.places[3].copy;

		who->pid = (pid_t)program_of((uint32_t)who->pid);
	}
	hand_back(&m, r);
	return r;
}
