/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the launcher share. `lsca run` is two processes: the front, which the shell knows (front.c:
 * signals, job control, exit status), and the launcher, its child and the program's parent (launch.c), which stays as
 * long as any program of the run lives. The front learns what it must know through a pipe.
 */
#ifndef LSCA_LAUNCH_H
#define LSCA_LAUNCH_H

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/types.h>

#include "drain.h"
#include "inject.h"

enum { TEXT_SIZE = 400, EXIT_OWN_FAILURE = 125, EXIT_NOT_EXECUTABLE = 126, EXIT_NOT_FOUND = 127 };

/* What the caller wants; all of it stays valid while the run lasts. */
struct plan {
	int session_fd, log_fd, area_fd; /* log_fd -1: no log, and no area */
	int post_fd; /* -1, or the memory of posted writes: poster/poster.h */
	int post_tells; /* a line at the end says how many */
	char **argv, **env;
	const char *agent, *proxy; /* paths */
	const char *log_path;
	int is_proxy, hide_vdso;
	int unpatched; /* call sites stay as they are */
	int strict; /* what cannot be caught does not run, and the run has failed */
	int host_fd; /* -1, or instead of a first program: host.c */
	int drop; /* the front lets go of descriptors that only the program should hold */
	void (*forked)(void *); /* called in the front once the launcher is there; or NULL */
	void *forked_with;
};

/* How the run ended, for the caller. */
struct outcome {
	int code;   /* exit code; -1: see signal */
	int signal; /* the program's death */
	char text[TEXT_SIZE]; /* own failure: what happened; else empty */
};

enum message_kind { MESSAGE_STARTED = 1, MESSAGE_STOPPED, MESSAGE_ENDED, MESSAGE_FAILED };

/* launcher -> front; smaller than PIPE_BUF, so never in parts */
struct message {
	int kind, value; /* STARTED pid, STOPPED signal, ENDED wait status, FAILED exit code */
	char text[TEXT_SIZE];
};

/* What lsca run had before it changed anything: the program gets that. */
struct inherited {
	sigset_t mask;
	struct sigaction child; /* SIGCHLD */
};

/* Shared with the program's process until it calls execve. */
struct starting {
	uint32_t go;    /* futex: 1 go on, 2 give up, 3 go on untraced */
	int32_t error;  /* errno of execve */
	uint32_t kind;  /* enum image_kind; not plain: it was refused, or, with `alone`, is not to be traced */
	uint32_t alone;
	uint32_t *bell; /* the launcher's */
	char path[200];
};

/* session.c */
enum { STREAMS_NONE, STREAMS_SURE, STREAMS_ALL };

/* memfd or negative errno; log NULL: there is none; preloaded: a program that has its agent already, or 0 */
int session_create(int is_proxy, const struct log_options *log, uint32_t preloaded, int has_handlers,
		   uint32_t streams);
struct session *session_map(int fd, int writable);
struct handlers;
struct handlers *session_handlers(struct session *s, int fd);
void session_private(struct session *s); /* children of ours do not have it */
void session_unmap(struct session *s);
int session_is_last(struct session *s, int fd);
void session_tune(struct session *s); /* spare, budget: once the clock has run for a while */
uint32_t session_enter(struct session *s, uint32_t pid, uint32_t proxy, uint32_t parent);
int session_unused(const struct process *p); /* neither this entry nor any after it was ever taken */
int session_has(int fd, uint32_t pid);
int process_alive(uint32_t pid); /* and not a zombie */
uint64_t clock_ns(int clock);
int futex_sleep(uint32_t *word, uint32_t value, long ms);
void futex_call(uint32_t *word);
double ticks_rate(uint64_t ticks0, uint64_t mono0); /* ns per tick since then */
double session_rate(void);
void session_baseline(void); /* for it: from now on */

/* spawn.c */
int above_standard(int fd);
int file_limit_raise(uint64_t *before);
void file_limit_restore(uint64_t before);
int spawn_grants(void); /* a program that gains privileges keeps them under our trace */
pid_t spawn_program(const struct plan *p, const struct inherited *was, struct starting *starting, int lifeline,
		    int channel);
/* Starts the proxy and waits until it is ready: its pid, or -1 with a text. */
struct channel;
pid_t spawn_proxy(const struct plan *p, const struct inherited *was, int *lifeline, int *channel_fd,
		  struct channel **channel, char *text);
void drop_inherited(int keep_stderr);

/* enter.c: this process, a child of a fork. 0, or a negative errno: it is not caught. */
int64_t enter_session(const char *agent, int session_fd, int area_fd);

/* program.c: the launcher's own records, of the program `pid`: what it inherits, and how it ends */
void program_begins(struct drain *d, uint32_t pid, char **argv);
void program_ended(struct drain *d, uint32_t pid, int status);

/*
 * keep.c: a process that stays with a session that has no launcher (any more: `take_over`), until its last program
 * ends: its pid or -errno.
 */
pid_t keep_start(int session_fd, int area_fd, int log_fd, const char *log_path, int take_over);

/* ---- the launcher's own --------------------------------------------------------------------------------------- */

enum {
	TRACEES = 256, /* a request is free again before its program is through */
	FIRST = -1, /* instead of a request: the run's first image */
};

/* Nobody traces one that STARTS by itself, or (LOOKED_AT) not for long. */
enum tracee_state { TRACEE_NONE, TRACEE_WAITS, TRACEE_LEAVES, TRACEE_INJECTED, TRACEE_KILLED, TRACEE_STARTS,
		    TRACEE_LOOKED_AT };

struct tracee {
	enum tracee_state state;
	pid_t tid, pid;
	int request;
	uint64_t looked, patience; /* ns: when it was looked at last, and after how long it will be again */
	struct injection injection;
};

struct launch {
	const struct plan *plan;
	struct session *session;
	struct handlers *handlers; /* NULL: a session without */
	struct image image;
	struct known known;
	struct drain drain;
	struct starting *starting;
	struct tracee tracees[TRACEES];
	int tracee_end; /* none from here on: they are too large to be looked through at every turn */
	int starting_count; /* of those that start by themselves */
	int pipe, lifeline, channel_fd;
	int meetings; /* -1: a session without streams */
	struct channel *channel;
	pid_t main, proxy;
	int started, main_ended, main_status, in_background;
	uint32_t host_ended;
	uint64_t ended_at;
	uint32_t killed;
	char first[200]; /* the first program that ran without the agent, and why */
};

/* meetings.c */
int meetings_open(void); /* -1: it cannot be had, and every connection is the kernel's */
void meetings_close(int fd);
void meetings_clear(void);
int loopback_is_shaped(void); /* by tc(8): somebody wants its packets delayed, lost or looked at */

/* trace.c: programs on their way through an exec */
void tell(struct launch *l, int kind, int value, const char *text);
struct tracee *tracee_add(struct launch *l, pid_t tid, pid_t pid, int request);
/* What waitpid says: 1 if it was only about a tracee, 0 if a process is gone or changed that may be a child of ours. */
void trace_lost(struct launch *l, pid_t tid); /* nothing to be heard of it any more */
int trace_changed(struct launch *l, pid_t pid, int status);
void trace_requests(struct launch *l, int sweep);
int trace_leave(struct launch *l, pid_t pid); /* 1: nobody traces it; 0: soon */
void trace_note(struct launch *l, const char *name, const char *why, int error); /* what was missed first */
const char *trace_reason(const struct launch *l, uint32_t kind);

void tracee_over(struct launch *l, struct tracee *t);
void trace_injected(struct launch *l, struct tracee *t, int result); /* of a step of its injection */

/* starting.c */
int starting_begin(struct launch *l, struct tracee *t, struct agent_config *c); /* 0: it cannot */
void starting_look(struct launch *l); /* how they get on */
void starting_stopped(struct launch *l, struct tracee *t, int status);
void starting_over(struct launch *l, struct tracee *t);

/* launch.c, front.c */
void launch(const struct plan *p, const struct inherited *was, int pipe) __attribute__((noreturn));
void front_run(const struct plan *p, struct outcome *out);

/* host.c */
enum { HOST_END = 'q' };
const char *host_prepare(const char *agent); /* for all launchers that this process forks: NULL, or what is wrong */
int host_prepared(struct launch *l); /* 0: nothing is */
void host_keep(const struct launch *l); /* what it has learned, for those that begin after it */
int host_start(struct launch *l);

/* probe.c: 0 it works, else errno */
struct probe {
	const char *name;
	int (*run)(void);
};
extern const struct probe probes[]; /* ends with a NULL name */

#endif
