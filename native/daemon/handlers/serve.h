/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that wait for a handler, taken from a session's memory: serve.c. Who answers them is the caller's business. */
#ifndef LSCA_SERVE_H
#define LSCA_SERVE_H

#include <pthread.h>

#include "handler.h"

struct server;

/* One question. What stands in the slot is the program's to change, so all that decides anything was copied. */
struct question {
	struct server *server;
	struct ask *slot;
	uint32_t index, lease;
	uint32_t turn; /* the word as it is while it is ours */
	uint32_t pid, tid, rule, flags;
	uint64_t nr, args[CALL_ARGS], here;
	struct extent extents[CALL_ARGS];
	uint64_t full[CALL_ARGS];
	uint64_t room, room_left; /* of the program's memory, for what takes the place of arguments */
	int64_t result;           /* of the call, if it was made */
	int made, gone, answered;
};

/* What answers; on a thread of the server's. It ends with question_answer(). */
struct server_work {
	void (*begin)(void *with); /* of a thread */
	void (*answer)(void *with, struct question *q);
	void (*end)(void *with);
	void *with;
};

struct server {
	struct session *session;
	struct handlers *handlers;
	struct server_work work;
	pthread_t guard;
	uint32_t most, count, idle, working, stopping, ready;
	uint32_t first; /* 1: one of those asleep is BELL_FIRST */
	uint64_t pids; /* number of our own pid namespace */
	uint32_t busy[ASK_SLOTS]; /* 1: one of us is at it */
	struct {
		uint32_t lease, beat, polls, idle_lease, idle_polls;
	} seen[ASK_SLOTS]; /* the guard's */
};

/* Starts answering: NULL with errno. At most `threads` questions at a time. */
struct server *serve_start(int session_fd, const struct server_work *work, uint32_t threads);
/*
 * No more questions are taken; waits until those that are being answered have been, at most `ms`. 0: all threads are
 * gone and the server with them; else the memory stays.
 */
int serve_stop(struct server *v, long ms);

int question_denies(const struct question *q); /* by the rules in force, a call without an answer fails */
/* question.c: what may be done with one, by whoever answers it */
void question_answer(struct question *q, uint32_t answer, int64_t value);
/* Negative errno: -ESRCH where nobody is left to do it. */
int64_t question_ask(struct question *q, uint32_t op, uint64_t a, uint64_t b);
int64_t question_read(struct question *q, uint64_t addr, void *to, uint64_t n);
int64_t question_write(struct question *q, uint64_t addr, const void *from, uint64_t n);
int64_t question_string(struct question *q, uint64_t addr, char *to, uint64_t room);
int64_t question_proceed(struct question *q, const uint64_t *args, uint32_t signal); /* 0: none comes meanwhile */
int64_t question_open(struct question *q, int fd, int flags);
/* `n` bytes into memory of the program's that nobody else uses; their address there. */
int64_t question_place(struct question *q, const void *from, uint64_t n);
/* The copy that came with the question: how many bytes `from` has; -1: none. */
int64_t question_copy(const struct question *q, int i, const uint8_t **from);
int question_is_interrupted(const struct question *q);
int question_wait(struct question *q, double seconds); /* 1: interrupted */

/* A slot whose thread is gone, if it still is that thread's. */
void question_take_back(struct server *v, uint32_t i, uint32_t lease);

/* Check rules and put them into force; NULL, or what is wrong with them. */
const char *serve_rules(int session_fd, const void *rules, uint64_t size);
void serve_execed(struct handlers *h, uint32_t pid); /* the launcher has seen it become another program */

#endif
