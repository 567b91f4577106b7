/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs that start by themselves: at the exec stop they are let go with all that they need (alone.c), and nobody
 * traces them. What the launcher hears of them next is that their request is free again; who is not heard of for a
 * while is traced once more, to see whether it waits for help. Called by trace.c and by the launcher's loop.
 */
#include "launch.h"

#include <sys/ptrace.h>
#include <sys/wait.h>

#include "ring.h"

enum { PATIENCE = 20000000, PATIENCE_MOST = 500000000 }; /* ns */

static int is_starting(const struct launch *l, const struct tracee *t)
{
	const struct exec_request *e = &l->session->execs[t->request];

	return get_acquire(&e->state) == EXEC_STARTS && e->pid == (uint32_t)t->pid;
}

static void free_request(struct launch *l, struct tracee *t)
{
	if (is_starting(l, t))
		put_release(&l->session->execs[t->request].state, EXEC_FREE);
	t->request = FIRST;
}

void starting_over(struct launch *l, struct tracee *t)
{
	free_request(l, t);
	l->starting_count--;
	tracee_over(l, t);
}

/* It is dead, and ours until we have heard of that: its parent hears of it only then. */
static void leaves(struct launch *l, struct tracee *t)
{
	free_request(l, t);
	l->starting_count--;
	t->state = TRACEE_LEAVES;
}

/* 0: it must not. */
int starting_begin(struct launch *l, struct tracee *t, struct agent_config *c)
{
	struct exec_request *e = t->request < 0 ? NULL : &l->session->execs[t->request];
	int r;

	if (!e || l->plan->hide_vdso || l->image.fd < 0 || !l->image.alone || c->flags & (AGENT_QUIET | AGENT_APART))
		return 0;
	c->request = (uint32_t)t->request;
	put_release(&e->state, EXEC_STARTS); /* before the agent can say that it is over */
	r = inject_alone(&t->injection, &l->image, &l->known, t->pid, l->plan->session_fd, c);
	if (!r)
		return 0;
	t->state = TRACEE_STARTS;
	t->looked = clock_ns(CLOCK_MONOTONIC);
	t->patience = PATIENCE;
	l->starting_count++;
	if (r < 0)
		leaves(l, t);
	return 1;
}

void starting_look(struct launch *l)
{
	uint64_t now = l->starting_count ? clock_ns(CLOCK_MONOTONIC) : 0;

	for (int i = 0; l->starting_count && i < l->tracee_end; i++) {
		struct tracee *t = &l->tracees[i];

		if (t->state != TRACEE_STARTS)
			continue;
		if (!is_starting(l, t)) {
			starting_over(l, t);
		} else if (now - t->looked >= t->patience) {
			if (ptrace(PTRACE_SEIZE, t->pid, 0, 0))
				starting_over(l, t);
			else if (ptrace(PTRACE_INTERRUPT, t->pid, 0, 0))
				leaves(l, t);
			else
				t->state = TRACEE_LOOKED_AT;
		}
	}
}

void starting_stopped(struct launch *l, struct tracee *t, int status)
{
	struct injection *i = &t->injection;
	int r;

	if (status >> 16 != PTRACE_EVENT_STOP) { /* a signal of its own; ours is still to come */
		ptrace(PTRACE_CONT, t->pid, 0, WSTOPSIG(status));
		return;
	}
	r = is_starting(l, t) ? inject_look(i) : NEEDS_NOBODY;
	if (r == NEEDS_NOBODY) {
		t->state = TRACEE_STARTS;
		t->looked = clock_ns(CLOCK_MONOTONIC);
		t->patience *= t->patience < PATIENCE_MOST ? 2 : 1;
		if (ptrace(PTRACE_DETACH, t->pid, 0, 0))
			leaves(l, t);
		return;
	}
	free_request(l, t);
	l->starting_count--;
	t->state = TRACEE_INJECTED;
	trace_injected(l, t, r);
}
