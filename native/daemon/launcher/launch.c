/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The launcher: a process that starts the program, is there at every exec of it and of its descendants to put the agent
 * in, and lets go again at once. One loop over requests in the session's memory and over what waitpid has to say; it
 * sleeps on session.exec_bell, which SIGCHLD rings too, and waits for nobody in particular. It stays until the last
 * program process of the run is gone, in the background if the first one ends before.
 */
#include "launch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "handler.h"
#include "ring.h"

enum {
	TICK = 500,	  /* ms; nothing depends on it but the dead */
	AFTERWARDS = 100, /* the same, in the background */
	STARTING = 20,	  /* and while programs start by themselves */
	PROXY_END = 2000,
	BIRTH_GRACE = 100,
	PROXY_GRACE = 600,
	SERVED_GRACE = 30,
	REAP_GRACE = 200, /* by then it has closed everything */
};

static uint32_t *bell; /* for the signal handler */

static void on_child(int sig)
{
	(void)sig;
	add_one(bell); /* nobody to wake: the only one that sleeps on it is here */
}

static uint64_t now_ms(void)
{
	return clock_ns(CLOCK_MONOTONIC) / 1000000;
}

/* ---- what waitpid says ------------------------------------------------------------------------------------------ */

static void main_changed(struct launch *l, int status)
{
	if (WIFSTOPPED(status)) {
		tell(l, MESSAGE_STOPPED, WSTOPSIG(status), NULL);
	} else if (!WIFCONTINUED(status)) {
		l->main_ended = 1;
		l->main_status = status;
		l->ended_at = now_ms();
	}
}

static void changed(struct launch *l, pid_t pid, int status)
{
	if (trace_changed(l, pid, status))
		return;
	if (pid == l->main)
		main_changed(l, status);
	else if (pid == l->proxy && !WIFSTOPPED(status))
		l->proxy = 0;
}

static void listen_to(struct launch *l, pid_t pid, int options)
{
	pid_t got = 0;
	int status;

	while (pid > 0 && (got = waitpid(pid, &status, WNOHANG | __WALL | options)) > 0)
		changed(l, got, status);
	if (pid > 0 && got < 0 && errno == ECHILD)
		trace_lost(l, pid);
}

static void listen_to_all(struct launch *l)
{
	for (int i = 0; i < l->tracee_end; i++) {
		struct tracee *t = &l->tracees[i];
		pid_t tid = t->tid, pid = t->pid;

		if (!t->state || t->state == TRACEE_STARTS)
			continue;
		listen_to(l, tid, 0);
		if (pid != tid && pid != l->main)
			listen_to(l, pid, 0);
	}
	if (!l->main_ended)
		listen_to(l, l->main, WUNTRACED | WCONTINUED);
	listen_to(l, l->proxy, 0);
}

/* ---- beginning and end ------------------------------------------------------------------------------------------ */

static const char *begin_program(struct launch *l, const struct inherited *was, char *text)
{
	const struct plan *p = l->plan;
	int e;

	l->main = spawn_program(p, was, l->starting, l->lifeline, l->channel_fd);
	if (l->main < 0) {
		snprintf(text, TEXT_SIZE, "cannot start a process: %s", strerror(errno));
		return text;
	}
	if (l->channel) {
		l->channel->pid = (uint32_t)l->main;
		((struct slot *)((char *)l->channel + SLOT_SIZE))->tid = (uint32_t)l->main;
	}
	session_enter(l->session, (uint32_t)l->main, l->proxy > 0 ? (uint32_t)l->proxy : 0, (uint32_t)getpid());
	if (ptrace(PTRACE_SEIZE, l->main, 0, PTRACE_O_TRACEEXEC)) {
		e = errno;
		kill(l->main, SIGKILL);
		snprintf(text, TEXT_SIZE, "this machine does not let lsca trace the program that it starts: %s; "
			 "see `lsca doctor`", strerror(e));
		return text;
	}
	tracee_add(l, l->main, l->main, FIRST);
	return NULL;
}

static const char *begin(struct launch *l, const struct inherited *was)
{
	static char text[TEXT_SIZE];
	const struct plan *p = l->plan;
	const char *wrong;
	int e;

	if (p->host_fd < 0 || !host_prepared(l)) {
		wrong = image_load(&l->image, p->agent);
		if (wrong) {
			snprintf(text, sizeof text, "%s %s", p->agent, wrong);
			return text;
		}
		image_share(&l->image);
	}
	if (p->strict)
		l->session->flags |= SESSION_STRICT;
	if (!p->is_proxy && spawn_grants())
		l->session->flags |= SESSION_GRANTS;
	if (p->is_proxy) {
		l->proxy = spawn_proxy(p, was, &l->lifeline, &l->channel_fd, &l->channel, text);
		if (l->proxy < 0)
			return text;
	}
	if (p->host_fd >= 0) {
		l->started = 1;
		trace_requests(l, 0); /* the first program is waiting, more often than not; its exec takes its time */
	} else {
		wrong = begin_program(l, was, text);
		if (wrong)
			return wrong;
	}
	if (p->log_fd >= 0) {
		e = drain_start(&l->drain, l->session, p->area_fd, p->log_fd, p->log_path, STDERR_FILENO);
		if (e) {
			if (l->main)
				kill(l->main, SIGKILL);
			snprintf(text, sizeof text, "%s: %s", p->log_path, strerror(-e));
			return text;
		}
		if (l->main)
			program_begins(&l->drain, (uint32_t)l->main, p->argv);
	}
	e = p->host_fd >= 0 ? host_start(l) : 0;
	if (e) {
		snprintf(text, sizeof text, "cannot start a thread: %s", strerror(-e));
		return text;
	}
	return NULL;
}

/* Now the program has all of this, and nobody else needs it. */
static void keep_little(struct launch *l)
{
	uint64_t before;

	if (l->lifeline >= 0)
		close(l->lifeline);
	if (l->channel)
		munmap(l->channel, CHANNEL_SIZE);
	if (l->channel_fd >= 0)
		close(l->channel_fd);
	file_limit_raise(&before); /* of the log; the program's own limit is the program's */
	drop_inherited(1);
}

static uint32_t count_alive(const struct launch *l)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < PROCESSES; i++) {
		const struct process *p = &l->session->processes[i];
		uint32_t state = get_acquire(&p->state);

		count += state == PROCESS_CLAIMED || (state == PROCESS_LIVE && process_alive(p->pid));
	}
	return count;
}

/* The first program is gone, and its proxy has closed what it held. */
static int is_settled(struct launch *l)
{
	struct process *first = &l->session->processes[0];

	if (!l->main_ended)
		return 0;
	if (first->pid != (uint32_t)l->main || get_acquire(&first->state) != PROCESS_LIVE)
		return 1;
	if (l->proxy > 0 && now_ms() - l->ended_at < PROXY_END)
		return 0;
	if (swap_if(&first->state, PROCESS_LIVE, PROCESS_FREE)) /* it was killed and could not say so */
		__atomic_sub_fetch(&l->session->live, 1, __ATOMIC_RELAXED);
	return 1;
}

static int is_last(struct launch *l)
{
	sigset_t child;
	int last;

	if (l->tracee_end) /* between two images it has no memory of ours */
		return 0;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL); /* its handler rings a bell in that memory */
	drain_pause(&l->drain);
	last = session_is_last(l->session, l->plan->session_fd);
	drain_resume(&l->drain);
	sigprocmask(SIG_UNBLOCK, &child, NULL);
	return last;
}

static void go_to_background(struct launch *l)
{
	sigset_t end;

	tell(l, MESSAGE_ENDED, l->main_status, NULL);
	if (l->pipe >= 0)
		close(l->pipe);
	l->pipe = -1;
	l->in_background = 1;
	l->drain.out.errors = -1;
	drop_inherited(0);
	setsid();
	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	sigprocmask(SIG_UNBLOCK, &end, NULL);
	if (chdir("/"))
		return;
}

/* These could not tell us about themselves. */
static void note_elsewhere(struct launch *l)
{
	if (get_acquire(&l->session->flags) & SESSION_ELSEWHERE)
		trace_note(l, "started in a pid namespace of its own", "lsca cannot follow there", 0);
}

/* How many programs did not run, in words. */
static uint32_t refusals(const struct launch *l, char *text)
{
	uint32_t n = get_acquire(&l->session->refused) + l->killed;

	snprintf(text, TEXT_SIZE, "%u program%s could not be captured and did not run%s%s%s", n, n > 1 ? "s" : "",
		 l->first[0] ? " (first: " : "", l->first, l->first[0] ? ")" : "");
	return n;
}

static void say_what_was_missed(struct launch *l)
{
	uint32_t n = get_acquire(&l->session->uncaught);
	char text[TEXT_SIZE];

	if (l->in_background)
		return;
	note_elsewhere(l);
	if (refusals(l, text)) {
		fprintf(stderr, "lsca: %s\n", text);
		return;
	}
	if (n)
		fprintf(stderr, "lsca: %u program%s ran uncaught%s%s%s\n", n, n > 1 ? "s" : "",
			l->first[0] ? " (first: " : "", l->first, l->first[0] ? ")" : "");
}

/* Somebody who looks on wants to know whether his connections were any. */
static void say_streams(const struct launch *l)
{
	const struct session *s = l->session;

	if (s->streams_joined && !l->in_background && isatty(STDERR_FILENO))
		fprintf(stderr, "lsca: %llu connection%s went through memory, %llu bytes%s\n",
			(unsigned long long)s->streams_joined, s->streams_joined > 1 ? "s" : "",
			(unsigned long long)s->stream_bytes,
			s->streams_back ? "; some went back to the kernel" : "");
}

/* With --strict the run has failed then, whatever the program has made of it. */
static int failed_strictly(struct launch *l)
{
	char text[TEXT_SIZE], all[TEXT_SIZE + 100];

	if (!l->plan->strict || l->in_background)
		return 0;
	note_elsewhere(l);
	if (!refusals(l, text))
		return 0;
	snprintf(all, sizeof all, "%s; %s", text,
		 l->plan->is_proxy ? "--route kernel without --strict lets it run uncaught" :
				     "without --strict it runs uncaught");
	tell(l, MESSAGE_FAILED, EXIT_OWN_FAILURE, all);
	return 1;
}

/* A first program that must not be traced: it is let go before its exec, and runs as it would without us. */
static void let_run_alone(struct launch *l)
{
	struct starting *s = l->starting;

	if (!get_acquire(&s->alone) || l->started || !trace_leave(l, l->main))
		return;
	l->started = 1;
	add_one(&l->session->uncaught);
	s->path[sizeof s->path - 1] = 0;
	trace_note(l, s->path, trace_reason(l, s->kind), 0);
	tell(l, MESSAGE_STARTED, l->main, NULL);
	put_release(&s->go, 3);
	futex_call(&s->go);
}

static void finish(struct launch *l)
{
	uint64_t end = now_ms() + REAP_GRACE;
	char text[TEXT_SIZE];
	int e = l->starting->error, code = e == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE;

	__atomic_or_fetch(&l->session->flags, SESSION_CLOSED, __ATOMIC_ACQ_REL);
	host_keep(l);
	meetings_close(l->meetings);
	if (l->main_ended && l->main)
		program_ended(&l->drain, (uint32_t)l->main, l->main_status);
	drain_finish(&l->drain);
	while (l->proxy > 0 && now_ms() < end) {
		uint32_t seen = get_acquire(bell);

		listen_to(l, l->proxy, 0);
		if (l->proxy > 0)
			futex_sleep(bell, seen, 20);
	}
	if (l->main_ended && l->started && !e) {
		if (failed_strictly(l))
			return;
		say_what_was_missed(l);
		say_streams(l);
		tell(l, MESSAGE_ENDED, l->main_status, NULL);
		return;
	}
	if (l->starting->kind && e == EPERM && !l->started) {
		snprintf(text, sizeof text, "%.150s cannot be captured: %s; %s", l->starting->path,
			 trace_reason(l, l->starting->kind),
			 l->plan->is_proxy ? "--route kernel without --strict lets it run uncaught" :
					     "without --strict it runs uncaught");
		tell(l, MESSAGE_FAILED, EXIT_OWN_FAILURE, text);
		return;
	}
	if (e == ENOENT && !strchr(l->plan->argv[0], '/'))
		snprintf(text, sizeof text, "%.200s: command not found", l->plan->argv[0]);
	else if (e == ENOEXEC)
		snprintf(text, sizeof text, "%.200s: not a program that the kernel can run (no #! line?)",
			 l->plan->argv[0]);
	else if (e)
		snprintf(text, sizeof text, "%.200s: %s", l->plan->argv[0], strerror(e));
	else if (l->main_ended) {
		tell(l, MESSAGE_ENDED, l->main_status, NULL);
		return;
	}
	tell(l, MESSAGE_FAILED, code, text);
}

/*
 * Programs that are alive, and whether all of them are on the list (2: maybe not). Only a birth that began and ended
 * before the list was looked at, with no other one begun meanwhile, is surely on it. One that was killed on its way is
 * never over: then we have to wait, as ever.
 */
static int count_all(struct launch *l, int *is_sure)
{
	uint32_t over = get_acquire(&l->session->births_over), births = get_acquire(&l->session->births);
	int alive = count_alive(l) != 0;

	store_before_load();
	*is_sure = births == over && births == get_acquire(&l->session->births);
	return alive;
}

static int is_served(const struct launch *l)
{
	return l->handlers && get_acquire(&l->handlers->state) == SERVER_HERE && process_alive(l->handlers->pid);
}

static long pause_of(const struct launch *l)
{
	if (l->main_ended && !l->in_background)
		return 2;
	return l->starting_count ? STARTING : l->in_background ? AFTERWARDS : TICK;
}

static void loop(struct launch *l)
{
	uint64_t swept = now_ms(), looked = 0;

	for (;;) {
		uint32_t seen = get_acquire(bell);
		int sweep = now_ms() - swept >= TICK;

		if (sweep)
			swept = now_ms();
		listen_to_all(l);
		starting_look(l);
		if (l->plan->host_fd >= 0 && !l->main_ended && get_acquire(&l->host_ended)) {
			l->main_ended = 1;
			l->ended_at = now_ms();
		}
		trace_requests(l, sweep);
		let_run_alone(l);
		/* Looking at every process is for once in a while, not for every exec in the background. */
		if (is_settled(l) && (!l->in_background || now_ms() - looked >= AFTERWARDS)) {
			int is_sure, others = count_all(l, &is_sure) ? 1 : is_last(l) == 0 ? 2 : 0;
			int served = is_served(l);
			uint64_t grace = l->plan->is_proxy ? PROXY_GRACE : BIRTH_GRACE;

			if (served)
				grace = is_sure && !l->plan->is_proxy ? 0 : SERVED_GRACE;
			looked = now_ms();
			if (!others)
				return;
			/* Not yet on the list: just born, or a proxy that is about to end. */
			if (others == 2 && now_ms() - l->ended_at < grace)
				others = 0;
			else if (others == 2 && served) /* who answers has the memory, too, and waits for our word */
				return;
			if (others && !l->in_background)
				go_to_background(l);
		}
		futex_sleep(bell, seen, pause_of(l));
	}
}

void launch(const struct plan *p, const struct inherited *was, int pipe)
{
	struct sigaction child = {.sa_handler = on_child, .sa_flags = SA_RESTART};
	struct launch *l = calloc(1, sizeof *l);
	sigset_t mask;
	const char *wrong;

	if (!l)
		_exit(EXIT_OWN_FAILURE);
	l->plan = p;
	l->pipe = pipe;
	l->lifeline = l->channel_fd = -1;
	l->session = session_map(p->session_fd, 1);
	l->starting = mmap(NULL, sizeof *l->starting, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!l->session || l->starting == MAP_FAILED) {
		if (p->area_fd >= 0)
			area_remove(p->area_fd);
		tell(l, MESSAGE_FAILED, EXIT_OWN_FAILURE, "no memory for the session");
		_exit(0);
	}
	if (p->host_fd >= 0)
		l->session->flags |= SESSION_HOSTED;
	put_release(&l->session->launcher, (uint32_t)getpid()); /* after how it is to be asked */
	l->known.session = l->session;
	l->handlers = session_handlers(l->session, p->session_fd);
	bell = l->starting->bell = &l->session->exec_bell;
	sigaction(SIGCHLD, &child, NULL);
	sigfillset(&mask); /* all that the terminal sends is for the program and the front */
	sigdelset(&mask, SIGCHLD);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	if (l->session->flags & SESSION_STREAMS_SURE && loopback_is_shaped())
		l->session->flags &= ~(uint32_t)SESSION_STREAMS;
	l->meetings = l->session->flags & SESSION_STREAMS ? meetings_open() : -1;
	wrong = begin(l, was);
	session_tune(l->session);
	if (wrong) {
		if (p->area_fd >= 0)
			area_remove(p->area_fd);
		tell(l, MESSAGE_FAILED, EXIT_OWN_FAILURE, wrong);
		_exit(0);
	}
	put_release(&l->starting->go, 1);
	futex_call(&l->starting->go);
	keep_little(l);
	loop(l);
	finish(l);
	_exit(0);
}
