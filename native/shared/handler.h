/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of a session's memory by which calls reach a handler: a function in the server's process, which need not be
 * the launcher's. It is there when the session was made with handlers, behind everything else. A call takes a slot for
 * as long as it lasts, so nothing is left to a child, the next image or another thread. Whoever reads what the other
 * side writes copies it, checks it, then uses the copy; a program that breaks the rules spoils its own calls only.
 */
#ifndef LSCA_HANDLER_H
#define LSCA_HANDLER_H

#include "abi.h"
#include "rules.h"

enum {
	ASK_SLOTS = 1024,
	ASK_SLOT = 32768,
	ASK_HEAD = 512,
	ASK_INLINE = 15872, /* copies of arguments, behind the head */
	ASK_MOVED = 16384,  /* what is carried to and fro meanwhile, behind those */
	ASK_KEEP = 4096,    /* of a buffer, the copy that comes with the question */
	TALLIES = 8192,
	TALLY_BIRTH = CALL_LIMIT - 1, /* no call's number: which of those with its number the thread is */
	ASK_POLL = 100,     /* ms, after which whoever waits looks whether the other one is alive */
};

/*
 * ask.word, the handshake; one value for each side's turn:
 *   agent   ASK_POSTED    the question stands in the slot; the slot's bit in `pending` and the bell follow
 *   server  ASK_OP        the agent is to do ask.op; or ASK_ANSWERED: that was all
 *   agent   ASK_DONE      it is done, ask.ret says how
 * and from any of the server's turns:
 *   agent   ASK_LEFT      it could wait no more: the server takes the slot back when its handler has come to its end
 *   server  ASK_LEFT      the thread is dead. Likewise
 *   launcher ASK_EXECED   the thread is another program now; its exec has succeeded. Likewise
 */
enum ask_word { ASK_IDLE, ASK_POSTED, ASK_OP, ASK_DONE, ASK_ANSWERED, ASK_LEFT, ASK_EXECED };

enum ask_op {
	ASK_READ = 1, /* a: address, b: bytes (ASK_MOVED at most); ret: how many are there, `moved` has them */
	ASK_STRING,   /* a: address; ret: length without NUL, or negative errno */
	ASK_WRITE,    /* a: address, b: bytes in `moved`; ret: how many found room */
	ASK_ROOM,     /* a: bytes; ret: the address of as much memory, which is there until the answer */
	ASK_PROCEED,  /* make the call with `given`; ret: its result */
	ASK_OPEN,     /* a: flags; `moved` has a path; ret: the descriptor */
};

enum ask_answer { ANSWER_GO_ON, ANSWER_RETURN, ANSWER_KILL };

enum ask_flags { ASK_ASIDE = 1 /* it cannot be had made */, ASK_WATCHED = 2 /* nothing can be decided */ };

enum { ASK_ROOMS = 8 };

struct ask {
	uint32_t word;  /* futex: the agent waits on it, and the server for what it has asked for */
	uint32_t lease; /* 0: free; else its taker's, no two alike */
	uint32_t pid, tid;
	uint32_t cancel; /* futex: a signal has come, and the thread would like to go on */
	uint32_t beat;   /* +1 whenever the waiting agent looks around */
	uint32_t rule;   /* whose: struct rule.id */
	uint32_t flags;
	uint64_t pids; /* number of the thread's pid namespace; 0: not known */
	uint64_t pad0[3];
	struct bell agent;
	uint64_t pad1[3];
	struct bell server;
	uint64_t pad2[3];
	/* the question */
	uint64_t nr;
	uint64_t args[CALL_ARGS];
	uint64_t here; /* where the agent has this slot */
	struct extent extents[CALL_ARGS]; /* in the copies; len EXTENT_NULL, EXTENT_BAD: not to be had */
	uint64_t full[CALL_ARGS];         /* how long what was copied really is */
	/* while it is dealt with */
	uint32_t op, answer;
	uint64_t a, b;
	int64_t ret;
	uint64_t given[CALL_ARGS];
	/* Not in a line that the server looks at. 1: it may be among session.spinners, and is no more if it dies now */
	uint32_t lingers;
	uint8_t pad3[76];
	uint8_t copies[ASK_INLINE];
	uint8_t moved[ASK_MOVED];
};

/* Calls that may change what a descriptor stands for: how many have begun, and how many are over. */
struct moves {
	uint32_t begun, ended;
};

/* Who sleeps on the bell, by futex's bits: the one that had better be woken, and any other. */
enum bell_bits { BELL_FIRST = 1, BELL_OTHERS = 2 };

enum server_state { SERVER_AWAITED, SERVER_HERE, SERVER_GONE };

struct handlers {
	/*
	 * The id of the server's first thread, on whose robust list it is: the kernel itself marks it when the server
	 * dies, however that comes about (a zombie still has a number, so asking for its process is no good).
	 */
	uint32_t alive;
	uint32_t state; /* enum server_state */
	uint32_t pid;
	uint32_t round; /* +1 with every server: who asked another one need not wait any more */
	uint32_t bell;  /* futex of idle server threads; +1 with every question */
	uint32_t spinning, asleep; /* of them */
	uint32_t pad0[9];
	struct bell server, client;
	/* Not where the server looks while it spins. */
	uint32_t high;  /* slots from here on were never taken */
	uint32_t leases;
	uint32_t freed; /* futex of agents that found no slot; +1 when one was given back */
	uint32_t starved; /* how many such */
	uint32_t per_thread; /* there is, or was, a rule that counts by thread */
	uint32_t births;     /* of threads since then */
	uint64_t pad1[3];
	uint64_t pending[ASK_SLOTS / 64];
	struct {
		uint64_t calls, bytes;
	} counts[RULE_COUNTERS];
	uint64_t pad2[512 - 24 - 8 - ASK_SLOTS / 64]; /* up to a page */
	struct moves names; /* of what any process's descriptors stand for; alone in its line, which all read */
	uint64_t pad3[7];
	/* then two sets of rules, the epoch's lowest bit says which; then tallies; then the slots */
};

/*
 * What a rule has counted of one call in one thread. It is here and not in the program because it outlives an exec. A
 * thread's number may be used again: `birth` says by whom.
 */
struct tally {
	uint64_t key; /* tally_key(); 0: free */
	uint32_t birth, n;
};

/* 22 bits are a thread's number, 23 tell its pid namespace from others. */
static inline uint64_t tally_key(uint64_t pids, uint32_t tid, uint32_t counter, uint64_t nr)
{
	uint64_t who = (pids & 0x7fffff) << 22 | (tid & 0x3fffff);

	return who << 19 | ((uint64_t)counter & 1023) << 9 | (nr & 511);
}

#define RULES_AT(half) (sizeof(struct handlers) + (uint64_t)RULES_ROOM * (half))
#define TALLIES_AT (sizeof(struct handlers) + 2ull * RULES_ROOM)
#define ASK_AT(i) (TALLIES_AT + TALLIES * sizeof(struct tally) + (uint64_t)ASK_SLOT * (i))
#define HANDLERS_SIZE ASK_AT(ASK_SLOTS)

_Static_assert(sizeof(struct handlers) == 20480 && offsetof(struct handlers, server) == 64, "handlers");
_Static_assert(offsetof(struct handlers, names) % 64 == 0, "handlers.names");
_Static_assert(sizeof(struct ask) == ASK_SLOT, "ask");
_Static_assert(offsetof(struct ask, copies) == ASK_HEAD, "ask.copies");
_Static_assert(offsetof(struct ask, agent) == 64 && offsetof(struct ask, server) == 128, "ask bells");

static inline struct rules *handler_rules(struct handlers *h, uint32_t epoch)
{
	return (struct rules *)((char *)h + RULES_AT(epoch & 1));
}

static inline struct tally *handler_tallies(struct handlers *h)
{
	return (struct tally *)((char *)h + TALLIES_AT);
}

static inline struct ask *handler_slot(struct handlers *h, uint32_t i)
{
	return (struct ask *)((char *)h + ASK_AT(i));
}

#endif
