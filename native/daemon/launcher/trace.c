/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs on their way through an exec. A program asks in the session's memory, is traced, calls execve, gets the
 * agent put in at the exec stop, and is let go: a tracer is there for a fraction of a millisecond. Called from the
 * launcher's loop with requests and with what waitpid says; waits for nobody, so any number of them may be under way.
 * What a request says is the program's word: it is copied and checked, and can at worst harm the program's own exec.
 */
#include "launch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ring.h"
#include "serve.h"

void tell(struct launch *l, int kind, int value, const char *text)
{
	struct message m = {.kind = kind, .value = value};

	if (text)
		snprintf(m.text, sizeof m.text, "%s", text);
	if (l->pipe >= 0 && write(l->pipe, &m, sizeof m) != sizeof m)
		l->pipe = -1; /* nobody listens any more; the program does not care */
}

/* ---- programs that are traced for the moment of their exec ------------------------------------------------------ */

static struct tracee *tracee_of(struct launch *l, pid_t tid)
{
	for (int i = 0; i < l->tracee_end; i++)
		if (l->tracees[i].state && l->tracees[i].tid == tid)
			return &l->tracees[i];
	return NULL;
}

struct tracee *tracee_add(struct launch *l, pid_t tid, pid_t pid, int request)
{
	for (int i = 0; i < TRACEES; i++) {
		struct tracee *t = &l->tracees[i];

		if (!t->state) {
			*t = (struct tracee){.state = TRACEE_WAITS, .tid = tid, .pid = pid, .request = request};
			if (i >= l->tracee_end)
				l->tracee_end = i + 1;
			return t;
		}
	}
	return NULL;
}

static int is_full(const struct launch *l)
{
	for (int i = 0; i < l->tracee_end; i++)
		if (!l->tracees[i].state)
			return 0;
	return l->tracee_end == TRACEES;
}

static int is_busy(const struct launch *l, pid_t pid)
{
	for (int i = 0; i < l->tracee_end; i++)
		if (l->tracees[i].state && l->tracees[i].pid == pid)
			return 1;
	return 0;
}

static void request_set(struct launch *l, int request, uint32_t state)
{
	struct exec_request *e;

	if (request < 0)
		return;
	e = &l->session->execs[request];
	if (state == EXEC_FREE) {
		put_release(&e->detached, 1);
		futex_call(&e->detached);
	}
	put_release(&e->state, state);
	futex_call(&e->state);
}

void tracee_over(struct launch *l, struct tracee *t)
{
	t->state = TRACEE_NONE;
	while (l->tracee_end && !l->tracees[l->tracee_end - 1].state)
		l->tracee_end--;
}

static void tracee_drop(struct launch *l, struct tracee *t)
{
	request_set(l, t->request, EXEC_FREE);
	tracee_over(l, t);
}

static void name_of(pid_t pid, char *to, size_t size)
{
	char path[40];
	ssize_t n;

	snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
	n = readlink(path, to, size - 1);
	if (n < 0)
		n = snprintf(to, size, "process %d", (int)pid);
	to[n] = 0;
}

void trace_note(struct launch *l, const char *name, const char *why, int error)
{
	if (!l->first[0])
		snprintf(l->first, sizeof l->first, "%s: %s%s%s", name, why, error ? ": " : "",
			 error ? strerror(-error) : "");
}

const char *trace_reason(const struct launch *l, uint32_t kind)
{
	if (kind != IMAGE_GAINS)
		return "it is not a 64-bit program of this machine";
	return l->plan->is_proxy ? "it gains privileges, which its proxy would not" :
				   "it gains privileges, and lsca has no CAP_SYS_PTRACE to follow it";
}

/*
 * It has not run yet. Without the agent it runs as it would without us, unless it must not, or has no descriptors. One
 * that was killed stays ours until it is dead: its parent hears of that only when we have.
 */
static void went_uncaught(struct launch *l, struct tracee *t)
{
	const struct injection *i = &t->injection;
	char name[100];

	if (i->error == -ESRCH) /* killed meanwhile: it does not run at all */
		return;
	name_of(t->pid, name, sizeof name);
	trace_note(l, name, i->why ? i->why : "unknown reason", i->error);
	if (l->plan->is_proxy || l->plan->strict) {
		l->killed++;
		t->state = TRACEE_KILLED;
		kill(t->pid, SIGKILL);
	} else {
		add_one(&l->session->uncaught);
	}
}

/*
 * One that cannot be detached has just been killed. Until we have heard of its death nobody else does, so its parent
 * would wait for ever.
 */
static void tracee_detach(struct launch *l, struct tracee *t, int failed)
{
	if (failed)
		t->state = TRACEE_LEAVES;
	else
		tracee_drop(l, t);
}

void trace_injected(struct launch *l, struct tracee *t, int result)
{
	if (!result)
		return;
	if (result < 0)
		went_uncaught(l, t);
	if (t->state == TRACEE_KILLED)
		return;
	tracee_detach(l, t, inject_end(&t->injection));
}

static uint32_t parent_of(const struct launch *l, pid_t pid)
{
	for (uint32_t i = 0; i < PROCESSES && !session_unused(&l->session->processes[i]); i++)
		if (l->session->processes[i].pid == (uint32_t)pid &&
		    get_acquire(&l->session->processes[i].state) == PROCESS_LIVE)
			return l->session->processes[i].parent;
	return 0;
}

/* The threads of the image that is no more cannot say that their chunks are done, nor take back other requests. */
static void clear_old_image(struct launch *l, pid_t pid, int request)
{
	uint32_t high = get_acquire(&l->session->chunk_high);

	for (uint32_t i = 0; i < CHUNK_COUNT && i < high; i++) {
		struct chunk *k = &l->session->chunks[i];

		if (k->pid == (uint32_t)pid)
			if (swap_if(&k->state, CHUNK_LEASED, CHUNK_FULL))
				add_one(&l->session->full);
	}
	for (int i = 0; i < EXEC_REQUESTS; i++) {
		struct exec_request *e = &l->session->execs[i];
		uint32_t state = get_acquire(&e->state);

		if (i != request && state != EXEC_FREE && state != EXEC_CLAIMED && e->pid == (uint32_t)pid)
			put_release(&e->state, EXEC_FREE);
	}
}

static void on_exec(struct launch *l, struct tracee *t)
{
	struct agent_config c = {
		.version = ABI_VERSION,
		.launcher = (uint32_t)getpid(),
		.remote = l->plan->session_fd,
		.area = l->plan->log_fd >= 0 ? l->plan->area_fd : -1,
		.post = l->plan->post_fd,
		.session_size = l->session->size,
		.session_fd = -1,
		.lifeline = -1,
		.channel = -1,
		.by_exec = t->request != FIRST,
		.flags = machine_has_keys() && !l->plan->unpatched ? AGENT_KEYS : 0,
		.parent = t->request == FIRST ? (uint32_t)getpid() : parent_of(l, t->pid),
	};

	if (t->request != FIRST) {
		const struct exec_request *e = &l->session->execs[t->request];

		c.flags |= e->flags & (AGENT_QUIET | AGENT_APART | AGENT_FEW);
		c.session_fd = e->session;
		c.lifeline = e->lifeline;
		c.channel = e->channel;
		c.slot = e->slot;
		if (e->joins) {
			c.by_exec = 0;
			c.parent = e->joins;
			c.flags |= AGENT_JOINED;
		}
	} else {
		l->started = 1;
		tell(l, MESSAGE_STARTED, t->pid, NULL);
		if (l->plan->is_proxy) {
			c.lifeline = 3;
			c.channel = 4;
			c.session_fd = 5;
		}
	}
	clear_old_image(l, t->pid, t->request);
	if (l->handlers)
		serve_execed(l->handlers, (uint32_t)t->pid);
	t->tid = t->pid;
	if (starting_begin(l, t, &c))
		return;
	request_set(l, t->request, EXEC_FREE);
	t->request = FIRST;
	t->state = TRACEE_INJECTED;
	trace_injected(l, t,
		 inject_begin(&t->injection, &l->image, t->tid, l->plan->session_fd, &c, l->plan->hide_vdso));
}

static int is_group_stop(int status)
{
	int sig = WSTOPSIG(status);

	return status >> 16 == PTRACE_EVENT_STOP &&
	       (sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU);
}

static void tracee_stopped(struct launch *l, struct tracee *t, int status)
{
	int event = status >> 16, sig = WSTOPSIG(status), pass = event ? 0 : sig;

	if (t->state == TRACEE_INJECTED) {
		trace_injected(l, t, inject_step(&t->injection, status));
		return;
	}
	if (t->state == TRACEE_LOOKED_AT) {
		starting_stopped(l, t, status);
		return;
	}
	if (t->state == TRACEE_KILLED)
		return;
	if (event == PTRACE_EVENT_EXEC) {
		on_exec(l, t);
		return;
	}
	if (is_group_stop(status) && t->pid == l->main)
		tell(l, MESSAGE_STOPPED, sig, NULL);
	if (t->state == TRACEE_LEAVES) {
		tracee_detach(l, t, ptrace(PTRACE_DETACH, t->tid, 0, pass) != 0);
	} else if (is_group_stop(status)) {
		ptrace(PTRACE_LISTEN, t->tid, 0, 0);
	} else {
		ptrace(PTRACE_CONT, t->tid, 0, pass);
	}
}

static void tracee_died(struct launch *l, struct tracee *t)
{
	if (t->state == TRACEE_INJECTED || t->state == TRACEE_KILLED)
		inject_gone(&t->injection);
	if (t->state == TRACEE_STARTS || t->state == TRACEE_LOOKED_AT)
		starting_over(l, t);
	else
		tracee_drop(l, t);
}

/* ---- requests --------------------------------------------------------------------------------------------------- */

static int is_gone(const struct exec_request *e)
{
	return syscall(SYS_tgkill, e->pid, e->tid, 0) && errno == ESRCH;
}

static void read_name(pid_t pid, uint64_t at, char *to, size_t room)
{
	while (room) { /* page by page: the next one may not be there */
		size_t part = 4096 - at % 4096 < room ? 4096 - at % 4096 : room;
		struct iovec ours = {to, part}, theirs = {(void *)(uintptr_t)at, part};
		ssize_t n = process_vm_readv(pid, &ours, 1, &theirs, 1, 0);

		if (n <= 0 || memchr(to, 0, (size_t)n))
			return;
		to += n;
		at += (uint64_t)n;
		room -= (size_t)n;
	}
}

/* What the program itself has found to be out of reach. The name is the program's word, and only shown. */
static void note_kind(struct launch *l, const struct exec_request *e)
{
	char name[100] = "";

	read_name((pid_t)e->pid, e->path, name, sizeof name - 1);
	for (char *c = name; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 127)
			*c = '?';
	if (!name[0])
		snprintf(name, sizeof name, "started by process %u", e->pid);
	trace_note(l, name, trace_reason(l, e->kind), 0);
}

static void ask(struct launch *l, int index)
{
	struct exec_request *e = &l->session->execs[index];
	pid_t tid = (pid_t)e->tid, pid = (pid_t)e->pid;
	char name[60];

	if (e->kind != IMAGE_PLAIN) {
		note_kind(l, e);
		e->error = -EPERM;
		request_set(l, index, EXEC_REFUSED);
		return;
	}
	/* Of two threads that exec at once, one ends the other. Tracing both could stop us and them for good. */
	if (tid <= 0 || pid <= 0 || is_busy(l, pid) || is_full(l))
		return; /* asked again at the next turn */
	if (ptrace(PTRACE_SEIZE, tid, 0, PTRACE_O_TRACEEXEC)) {
		e->error = -errno;
		if (is_gone(e)) {
			request_set(l, index, EXEC_FREE);
			return;
		}
		snprintf(name, sizeof name, "started by process %d", (int)pid);
		trace_note(l, name, "which cannot be traced", e->error);
		request_set(l, index, EXEC_REFUSED);
		return;
	}
	tracee_add(l, tid, pid, index);
	request_set(l, index, EXEC_READY);
}

static void let_go(struct launch *l, int index)
{
	for (int i = 0; i < l->tracee_end; i++) {
		struct tracee *t = &l->tracees[i];

		if (t->state == TRACEE_WAITS && t->request == index) {
			t->state = TRACEE_LEAVES;
			ptrace(PTRACE_INTERRUPT, t->tid, 0, 0); /* fails if it is dead, of which we shall hear */
		}
	}
}

int trace_leave(struct launch *l, pid_t pid)
{
	struct tracee *t = tracee_of(l, pid);

	if (t && t->state == TRACEE_WAITS) {
		t->state = TRACEE_LEAVES;
		if (ptrace(PTRACE_INTERRUPT, t->tid, 0, 0))
			tracee_drop(l, t);
	}
	return !tracee_of(l, pid);
}

void trace_requests(struct launch *l, int sweep)
{
	for (int i = 0; i < EXEC_REQUESTS; i++) {
		struct exec_request *e = &l->session->execs[i];
		uint32_t state = get_acquire(&e->state);

		if (state == EXEC_ASKED)
			ask(l, i);
		else if (state == EXEC_FAILED)
			let_go(l, i);
		if (sweep && (state == EXEC_ASKED || state == EXEC_REFUSED) && is_gone(e))
			swap_if(&e->state, state, EXEC_FREE);
	}
}

void trace_lost(struct launch *l, pid_t tid)
{
	struct tracee *t = tracee_of(l, tid);

	if (t && t->state == TRACEE_LEAVES)
		tracee_drop(l, t);
	if (t && t->state == TRACEE_LOOKED_AT)
		starting_over(l, t);
}

int trace_changed(struct launch *l, pid_t pid, int status)
{
	struct tracee *t = tracee_of(l, pid);

	/* An exec of a thread that does not lead arrives under the leader's number; of those only one is traced. */
	if (!t && WIFSTOPPED(status) && status >> 16 == PTRACE_EVENT_EXEC) {
		unsigned long former = 0;

		ptrace(PTRACE_GETEVENTMSG, pid, 0, &former);
		if (former && tracee_of(l, (pid_t)former))
			t = tracee_of(l, (pid_t)former);
	}
	if (!t || (t->state == TRACEE_STARTS && WIFSTOPPED(status)))
		return 0;
	if (WIFSTOPPED(status)) {
		tracee_stopped(l, t, status);
		return 1;
	}
	if (!WIFCONTINUED(status))
		tracee_died(l, t);
	return 0;
}
