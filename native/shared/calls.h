/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shape of one generated row. src/lsca/codegen.py writes `call_rows` (one array per machine, indexed by the
 * machine's own call number) and `ioctl_rows` into the build directory; agent and proxy link them. Nothing else in C
 * knows how many arguments a call has, which of them are pointers, or how long what they point to is.
 */
#ifndef LSCA_CALLS_H
#define LSCA_CALLS_H

#include <stdint.h>

enum { CALL_ARGS = 6, CALL_LIMIT = 512 };

/* Where a call may be completed. */
enum call_runs {
	RUNS_PROGRAM,  /* only in the program: address space, threads, signals, ids */
	RUNS_ANYWHERE, /* by the proxy, which holds the descriptors */
	RUNS_BOTH,     /* state kept on both sides: first the proxy, then the program */
	RUNS_BORROW,   /* in the program, on descriptors fetched from the proxy for the time of the call */
	RUNS_HANDOVER, /* in the program; the descriptor it returns is then moved to the proxy */
	RUNS_NOWHERE,  /* not under the route `proxy`: answered ENOSYS there */
};

/* What an argument is. Everything from ARG_STRING on is a pointer. */
enum arg_kind {
	ARG_NONE,
	ARG_VALUE,    /* a number, passed as it is (descriptors too: N is N) */
	ARG_FD,       /* a descriptor; differs from ARG_VALUE only where one must be checked or borrowed */
	ARG_STRING,   /* NUL-terminated, read */
	ARG_IN,       /* bytes, read */
	ARG_OUT,      /* bytes, written */
	ARG_INOUT,    /* bytes, read and written */
	ARG_IOV_IN,   /* struct iovec[args[len_arg]], gathered */
	ARG_IOV_OUT,  /* struct iovec[args[len_arg]], scattered */
	ARG_MSG_IN,   /* struct msghdr of sendmsg */
	ARG_MSG_OUT,  /* struct msghdr of recvmsg */
	ARG_MMSG_IN,  /* struct mmsghdr[args[len_arg]] of sendmmsg */
	ARG_MMSG_OUT, /* struct mmsghdr[args[len_arg]] of recvmmsg */
	ARG_FCNTL,    /* third argument of fcntl: meaning depends on args[len_arg] */
	ARG_IOCTL,    /* third argument of ioctl: meaning depends on args[len_arg], see ioctl_rows */
	ARG_SIGMASK,  /* signal set in force while the call waits; stays in the program */
	ARG_SIGMASK6, /* pselect6's pair {set, size}; stays in the program */
	ARG_POINTER,  /* an address that only the program's own process can use */
	ARG_STRINGS,  /* argv or envp: NULL-terminated array of strings (the log reads it) */
};

/* How long what it points to is. */
enum arg_length {
	LEN_CONST, /* size bytes */
	LEN_ARG,   /* args[len_arg] * size bytes */
	LEN_DEREF, /* the 32-bit number that args[len_arg] points to, at entry */
	LEN_FDSET, /* a select set of args[len_arg] descriptors */
};

enum arg_flags {
	ARG_FILLED = 1,   /* on return only `return value * size` bytes are valid */
	ARG_PATH = 2,     /* a path: /proc/self means the program */
	ARG_ON_ERROR = 4, /* valid on failure too (a remaining time) */
	ARG_WHOLE = 8,    /* has a structure: the log keeps all of it, not just a beginning */
	ARG_ADDRESS = 16, /* a struct sockaddr */
	ARG_DIR = 32,     /* a descriptor that the relative path behind it starts from */
};

struct call_arg {
	uint8_t kind, length, len_arg, flags;
	uint32_t size;
};

enum call_flags {
	CALL_KNOWN = 1,    /* the machine has this number */
	CALL_BLOCKS = 2,   /* may wait: signals are let in while it runs */
	CALL_NEW_FD = 4,   /* a non-negative result is a new descriptor */
	CALL_TERMINAL = 8, /* job control of the terminal may stop its caller */
	CALL_IDENTITY = 16, /* may change what is known of its caller */
	CALL_ASIDE = 32,    /* made in the program's own context: a handler is asked before, and cannot have it made */
	CALL_WATCHED = 64,  /* does not return to its caller: a handler is told of it, and decides nothing */
};

/* What the agent may know, and answer without the kernel. */
enum call_known {
	KNOWN_NOTHING,
	KNOWN_PID, KNOWN_TID, /* a word each, and a thread's own */
	KNOWN_UID, KNOWN_EUID, KNOWN_SUID,
	KNOWN_GID, KNOWN_EGID, KNOWN_SGID,
	KNOWN_END,
	KNOWN_RESUID = KNOWN_END, KNOWN_RESGID, /* three of these words, by pointers */
	KNOWN_RESOLUTION, KNOWN_PRIORITY_MIN, KNOWN_PRIORITY_MAX, /* the machine's, for the first argument */
};

/* Of what a call may change the name, by which /proc/PID/fd shows a descriptor: native/agent/names.c. */
enum call_names {
	NAMES_STAY,
	NAMES_OF_ARG, /* + i: of the descriptor args[i], which it closes or replaces */
	NAMES_OF_ALL = NAMES_OF_ARG + CALL_ARGS, /* of any, in any process: it renames, deletes, mounts */
	NAMES_UNKNOWN, /* if it succeeds, nobody knows any more when they change */
};

/* What a call means for files whose writes are posted: native/agent/post/calls.c. */
enum call_posts {
	POSTS_NOTHING,
	POSTS_WRITES, POSTS_GATHERS, /* write and writev, which are posted */
	POSTS_MOVES,    /* it uses the descriptor's position, and leaves another */
	POSTS_LOOKS,    /* it looks at the file, or changes it elsewhere */
	POSTS_SYNCS,    /* and says what became of what was written */
	POSTS_CLOSES,
	POSTS_FCNTL,
	POSTS_ALL,      /* it looks at files by their paths, or at all */
	POSTS_OPENS,
	POSTS_PASSES,   /* it may do anything with the descriptor: the file is posted no more */
	POSTS_MAPS,
	POSTS_MESSAGES, /* which may carry descriptors */
	POSTS_LIMITS,
	POSTS_RANGES,   /* it closes many */
	POSTS_ENDS,     /* from now on nothing is posted */
};

/* How a call from a patched site is completed in the route `kernel`; the agent's entry.S knows. */
enum call_way {
	WAY_PLAIN,   /* it is just made */
	WAY_SPECIAL, /* by dispatch_perform() */
	WAY_SLOW,    /* it needs a signal frame: by trap() */
	WAY_KNOWN,   /* and what follows: + enum call_known, answered from what the thread knows */
	WAY_POSTS = WAY_KNOWN + KNOWN_END, /* as plain, unless its first argument is one that post/files.c knows */
};

struct call_row {
	uint8_t nargs, runs;
	uint8_t flags, known;
	uint8_t names, posts;
	struct call_arg args[CALL_ARGS];
};

struct ioctl_row {
	uint32_t request;
	uint8_t kind; /* ARG_VALUE, ARG_IN, ARG_OUT, ARG_INOUT */
	uint8_t runs; /* RUNS_ANYWHERE or RUNS_BORROW */
	uint16_t size;
};

extern const struct call_row call_rows[CALL_LIMIT];
extern const uint8_t call_ways[CALL_LIMIT]; /* enum call_way, where nothing is known to have changed it */
extern const struct ioctl_row ioctl_rows[]; /* ascending by request */
extern const uint32_t ioctl_count;
extern const struct ioctl_row fcntl_rows[]; /* the commands of fcntl whose third argument is a pointer */
extern const uint32_t fcntl_count;

#endif
