/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent in a process that runs already. As a library, preloaded, or named when the program was linked: the dynamic
 * linker calls us; if LSCA_DAEMON names the socket of a daemon of our own user, it gives us a session's memory and from
 * then on this thread and what it starts are caught. In every other case the program runs as if we were not there:
 * without a daemon nobody could see what was caught, and whatever answers at that socket may be dead, stopped, or
 * somebody else. So nothing here waits without an end, and nothing is changed before a session is mapped. Or in the
 * child of a fork, which has been given a session's descriptors (native/daemon/launcher/enter.c).
 */
#include "agent.h"
#include "births.h"

#include "handler.h"
#include "outside.h"

enum {
	TRIES = 100, /* for a place in the daemon's queue, with PAUSE ns in between */
	PAUSE = 10000000,
	LOOKS = 15, /* at a daemon that does not answer, with LOOK ns in between */
	LOOK = 200000000,
	CLOEXEC_ = 02000000,
	NONBLOCK_ = 04000,
	AT_SECURE_ = 23,
	AT_HWCAP2_ = 26,
	PATH_SIZE = 108,
};

/* The only symbol from outside, and a weak one. */
extern char **environ __attribute__((weak, visibility("default")));

struct address {
	uint16_t family;
	char path[PATH_SIZE];
};

static const char *daemon_path(char **env)
{
	for (; env && *env; env++) {
		const char *want = "LSCA_DAEMON=", *have = *env;

		while (*want && *want == *have)
			want++, have++;
		if (!*want)
			return *have ? have : 0;
	}
	return 0;
}

/*
 * A program with more rights than its caller, who chose the environment? Not to be known counts as yes. The same list
 * says what the machine can do.
 */
static int is_privileged(uint32_t *flags)
{
	uint64_t vector[128];
	int64_t fd = GATE4(NR_openat, -100, "/proc/self/auxv", CLOEXEC_, 0), n;
	int secure = 1;

	if (fd < 0)
		return 1;
	n = GATE3(NR_read, fd, vector, sizeof vector);
	GATE1(NR_close, fd);
	for (int64_t i = 0; 16 * (i + 1) <= n && vector[2 * i]; i++)
		if (vector[2 * i] == AT_SECURE_)
			secure = vector[2 * i + 1] != 0;
		else if (vector[2 * i] == AT_HWCAP2_ && arch_keys_work(vector[2 * i + 1]))
			*flags = AGENT_KEYS;
	return secure;
}

/* To catch calls twice would be to see each one and those made for it. An agent says that it is there. */
static int is_caught(void)
{
	return gate(NR_prctl, 59, OWN_ASKED, 0, 0, 0, 0) == 1 || gate(NR_prctl, 59, 0, 0, 0, 0, 0) < 0;
}

/* A daemon that is slow is worth waiting for, on a busy machine; one that was stopped is not. */
static int is_stopped(uint32_t pid)
{
	char text[512], *p = text;
	int64_t fd, n;

	p = start_append(p, "/proc/");
	p = start_decimal(p, pid);
	p = start_append(p, "/stat");
	*p = 0;
	fd = GATE4(NR_openat, -100, text, CLOEXEC_, 0);
	if (fd < 0)
		return 0;
	n = GATE3(NR_read, fd, text, sizeof text);
	GATE1(NR_close, fd);
	for (n -= 3; n > 0; n--)
		if (text[n] == ')')
			return text[n + 2] == 'T';
	return 0;
}

static int64_t connected(int64_t fd, const char *path, uint32_t *pid)
{
	struct address to = {.family = 1};
	uint64_t pause[2] = {0, PAUSE};
	uint32_t peer[3], size = sizeof peer, length = 0;
	int64_t r = -EAGAIN_;

	for (; path[length]; length++) {
		if (length == PATH_SIZE - 1)
			return -ENAMETOOLONG_;
		to.path[length] = path[length];
	}
	for (int i = 0; r == -EAGAIN_ && i < TRIES; i++) {
		r = GATE3(NR_connect, fd, &to, sizeof to);
		if (r == -EAGAIN_)
			GATE2(NR_nanosleep, pause, 0);
	}
	if (r < 0)
		return r;
	r = GATE6(NR_getsockopt, fd, 1, 17, peer, &size, 0); /* SO_PEERCRED */
	if (r < 0)
		return r;
	*pid = peer[0];
	return !peer[1] || peer[1] == (uint32_t)GATE1(NR_geteuid, 0) ? 0 : -EPERM_;
}

/* {"op": "attach", "version": N, "pid": N} */
static int64_t ask(int64_t fd)
{
	char line[96], *p = line;

	p = start_append(p, "{\"op\": \"attach\", \"version\": ");
	p = start_decimal(p, ABI_VERSION);
	p = start_append(p, ", \"pid\": ");
	p = start_decimal(p, (uint32_t)GATE1(NR_getpid, 0));
	p = start_append(p, "}\n");
	return GATE6(NR_sendto, fd, line, p - line, 0x4040, 0, 0); /* MSG_NOSIGNAL, MSG_DONTWAIT */
}

/*
 * One message with the session's descriptor, and with that of the log's area if there is to be one, is an answer;
 * anything else is not, and is not waited for either.
 */
static int64_t answer(int64_t fd, uint32_t pid, int32_t given[2])
{
	struct {
		int32_t fd;
		int16_t events, came;
	} wait = {(int32_t)fd, 1, 0};
	uint64_t look[2], control[4] = {0}, bytes[8], iov[2] = {(uint64_t)bytes, sizeof bytes};
	struct {
		uint64_t name;
		uint32_t name_len, pad;
		uint64_t iov, iov_len, control, control_len;
		uint32_t flags, pad2;
	} m = {0, 0, 0, (uint64_t)iov, 1, (uint64_t)control, 24, 0, 0}; /* 24: room for two and no more */
	int32_t head[6];
	int64_t r = 0;

	for (int i = 0; r == 0 && i < LOOKS && !is_stopped(pid); i++) {
		look[0] = 0;
		look[1] = LOOK;
		r = GATE6(NR_ppoll, &wait, 1, look, 0, 8, 0);
	}
	if (r <= 0)
		return -EAGAIN_;
	r = GATE3(NR_recvmsg, fd, &m, 0x40000040); /* MSG_CMSG_CLOEXEC, MSG_DONTWAIT */
	memcpy(head, control, sizeof head);
	if (m.control_len < 20 || control[0] < 20 || head[2] != 1 || head[3] != 1) /* SOL_SOCKET, SCM_RIGHTS */
		return r < 0 ? r : -EIO_;
	given[0] = head[4];
	given[1] = control[0] >= 24 ? head[5] : -1;
	return 0;
}

/*
 * Its size is sealed, so that no access can end behind its end; what stands in it is the daemon's word. `kind` is the
 * flag of sessions that are entered like this.
 */
static struct session *mapped(int64_t fd, uint32_t kind)
{
	uint64_t about[32] = {0}, size;
	struct session *s;
	int64_t r = GATE3(NR_fcntl, fd, 1034, 0); /* F_GET_SEALS: only memory has an answer to that */

	if (r < 0 || !(r & 2)) /* F_SEAL_SHRINK */
		return 0;
	if (GATE6(NR_statx, fd, "", 0x1000, 0x200, about, 0) < 0) /* AT_EMPTY_PATH, STATX_SIZE */
		return 0;
	size = about[5];
	if (size < sizeof *s || size > 2 * sizeof *s + HANDLERS_SIZE)
		return 0;
	r = GATE6(NR_mmap, 0, size, 3, 1, fd, 0);
	if (r < 0 && r > -4096)
		return 0;
	s = (struct session *)r;
	if (s->magic == SESSION_MAGIC && s->version == ABI_VERSION && s->size == size && s->flags & kind)
		return s;
	GATE2(NR_munmap, s, size);
	return 0;
}

/* A file that is shorter than it should be would be a SIGBUS. Without the area, records are only counted. */
static void map_area(struct session *s, int64_t fd)
{
	uint64_t about[32] = {0};

	if (GATE6(NR_statx, fd, "", 0x1000, 0x200, about, 0) < 0 || s->chunk_count > CHUNK_COUNT ||
	    about[5] < AREA_AT(s->chunk_count))
		return;
	session = s;
	chunk_map_area(fd, 0);
}

static struct session *session_of_daemon(const char *path)
{
	struct session *s = 0;
	int64_t fd = GATE3(NR_socket, 1, 1 | CLOEXEC_ | NONBLOCK_, 0);
	int32_t given[2] = {-1, -1};
	uint32_t pid = 0;

	if (fd < 0)
		return 0;
	if (connected(fd, path, &pid) >= 0 && ask(fd) > 0)
		answer(fd, pid, given);
	if (given[0] >= 0) {
		s = mapped(given[0], SESSION_PRELOAD);
		GATE1(NR_close, given[0]);
	}
	if (given[1] >= 0) {
		if (s)
			map_area(s, given[1]);
		GATE1(NR_close, given[1]);
	}
	GATE1(NR_close, fd);
	return s;
}

/* The daemon has entered us, or the image before an exec has. What that one could not finish is done for it. */
static int take_entry(struct process_self *p)
{
	struct process *e;

	p->entry = life_entry(p->pid);
	if (p->entry == PROCESSES)
		return 0;
	chunk_inherit(p->pid);
	e = &session->processes[p->entry];
	return e->calls[ROUTE_KERNEL] != 0;
}

/* Who loads the agent late may have threads by then. They are not caught, but run the same code. */
static uint32_t is_threaded(void)
{
	uint64_t about[32] = {0};

	if (GATE6(NR_statx, -100, "/proc/self/task", 0, 4, about, 0) < 0) /* STATX_NLINK */
		return 1;
	return (uint32_t)about[2] > 3; /* two, and one for each thread */
}

/* Signals are blocked. 0, or why calls cannot be caught. */
static int64_t begin(uint64_t mask, uint32_t flags)
{
	struct process_self *p = &process_main;
	uint32_t parent = (uint32_t)GATE1(NR_getppid, 0);
	struct thread *t;
	int by_exec;

	p->pid = (uint32_t)GATE1(NR_getpid, 0);
	p->entry = PROCESSES;
	p->lifeline = -1;
	p->threaded = is_threaded();
	t = thread_add(p);
	if (!t)
		return -ENOMEM_;
	GATE2(NR_sigaltstack, 0, &t->alternate);
	signal_own_stack(t, 0);
	t->mask = mask;
	dispatch_setup();
	sites_setup(flags);
	by_exec = take_entry(p);
	if (p->entry == PROCESSES)
		life_enter(p, parent);
	else
		session->processes[p->entry].parent = parent;
	stream_begun(p, 1);
	signal_takeover();
	t->sys_blocked = !!(mask & SIG_BIT(SIGSYS_));
	start_sigsys();
	record_event(t, RECORD_START, 2, parent, (uint64_t)by_exec);
	event_all(t, 0);
	return start_capture();
}

__attribute__((constructor)) static void join_daemon(int argc, char **argv, char **env)
{
	uint64_t full = MASK_FULL, mask;
	const char *path;
	uint32_t flags = 0;

	(void)argc;
	(void)argv;
	/* Some C libraries hand no arguments to a constructor; others have not set their own up yet. */
	path = daemon_path(&environ && environ ? environ : env);
	if (!path || is_caught() || is_privileged(&flags))
		return;
	if (GATE4(NR_rt_sigprocmask, 2, &full, &mask, 8))
		return;
	session = session_of_daemon(path);
	if (session && !begin(mask, flags))
		mask &= ~SIG_BIT(SIGSYS_);
	GATE4(NR_rt_sigprocmask, 2, &mask, 0, 8);
}

/*
 * Called in a child whose parent is not caught, by whoever has mapped us there. 0, or why its calls are not caught: it
 * is as it was then.
 */
__attribute__((visibility("default"))) int64_t agent_enter(int32_t fd, int32_t area)
{
	uint64_t full = MASK_FULL, mask;
	uint32_t flags = 0;
	int64_t r;

	if (is_caught())
		return -EBUSY_;
	is_privileged(&flags); /* nobody's environment has brought us here: only the machine is asked about */
	r = GATE4(NR_rt_sigprocmask, 2, &full, &mask, 8);
	if (r)
		return r;
	session = mapped(fd, SESSION_HOSTED);
	if (session && area >= 0)
		map_area(session, area);
	r = session ? begin(mask, flags) : -EINVAL_;
	if (!r) {
		add_one(&session->live);
		event_program(thread_self());
		mask &= ~SIG_BIT(SIGSYS_);
	}
	GATE4(NR_rt_sigprocmask, 2, &mask, 0, 8);
	return r;
}
