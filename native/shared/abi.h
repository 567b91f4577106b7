/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only description of the memory that the parts of LSCA share. The agent (inside the program), the proxy and the
 * daemon's C extension include it; Python never looks at it. Three kinds:
 *
 *   session  one per `lsca run`: routes, requests to the launcher, processes, who has which chunk of the log. All
 *            programs of a run map it.
 *   area     the chunks' bytes of a run with a log, in a file that outlives whoever is killed. All programs map it.
 *   channel  one per program process under the route `proxy`: its slots and their arenas. Only the program and its
 *            own proxy map it.
 *
 * Whoever reads a field that the other side writes copies it, then checks it, then uses the copy.
 */
#ifndef LSCA_ABI_H
#define LSCA_ABI_H

#include <stddef.h>
#include <stdint.h>

#include "calls.h"

#define ABI_VERSION 7u
#define SESSION_MAGIC 0x6c736361u /* "lsca" */
#define CHANNEL_MAGIC 0x6c736363u

enum route { ROUTE_KERNEL, ROUTE_PROXY, ROUTE_LOCAL, ROUTE_HANDLER, ROUTE_COUNT };

/* ---- session ----------------------------------------------------------------------------------------------------- */

enum {
	EXEC_REQUESTS = 64,
	PROCESSES = 4096,
	CHUNK_SIZE = 32768,
	CHUNK_COUNT = 16384,
	CHUNKS_AT_LEISURE = 64,   /* so many become full before the drainer is woken; it looks by itself, too */
	CHUNKS_BEHIND = 2048,     /* so many full ones, and nobody makes another before some are drained */
	KEEP_MOST = 8192,         /* of a plain buffer, at most */
	KEEP_FDS = 1024,          /* descriptors whose contents can be asked for one by one */
	LEADS = 24,
	LIBRARIES = 256,
	LIBRARY_SITES = 64,
	HELD = 8192,              /* ends of connections that programs of the session hold */
	HELD_PIDS = 7,
	HEIRS = 1024,
};

enum session_flags {
	SESSION_LOG = 1,     /* write records */
	SESSION_PROXY = 2,   /* route `proxy`: the program's process holds no descriptors of its own */
	SESSION_PRELOAD = 4, /* no launcher: children are caught by LD_PRELOAD only */
	SESSION_CLOSED = 8,  /* the launcher is gone or going: nobody injects any more */
	SESSION_STRICT = 16, /* an exec that cannot be caught is refused */
	SESSION_GRANTS = 32, /* programs that gain privileges keep them under this launcher's trace */
	SESSION_LOSSY = 64,  /* rather lose records, and count them, than wait for the drainer */
	SESSION_ELSEWHERE = 128, /* an exec could not be caught because its pid namespace is another one */
	SESSION_HOSTED = 256, /* its launcher is nobody's ancestor: programs have joined it */
	SESSION_STREAMS = 512, /* connections between programs go through shared memory: streams.h */
	SESSION_STREAMS_SURE = 1024, /* but only those of which nobody can tell: TCP within the session */
};

/*
 * A program that is about to call execve asks the launcher to be there at the exec stop:
 *   agent: FREE -> CLAIMED (compare and swap), fills in, -> ASKED, rings exec_bell
 *   launcher: seizes tid, -> READY (or REFUSED with `error`), wakes the agent
 *   agent: calls execve. On success the launcher sees the exec stop, puts the agent in, -> FREE. Or it lets go of the
 *   program before the agent is there, -> STARTS; the new agent: -> FREE. See enum agent_stop.
 *   On failure the agent sets FAILED and rings; the launcher detaches, -> FREE.
 * Exec stop of a thread other than the leader changes its tid to the pid.
 */
enum image_kind { IMAGE_PLAIN, IMAGE_GAINS /* privileges */, IMAGE_FOREIGN };
enum exec_state { EXEC_FREE, EXEC_CLAIMED, EXEC_ASKED, EXEC_READY, EXEC_REFUSED, EXEC_FAILED, EXEC_STARTS };

struct exec_request {
	uint32_t state; /* futex: the agent waits on it */
	uint32_t pid, tid;
	int32_t error;
	int32_t lifeline, channel, session; /* the agent's descriptors that survive the exec; -1: none */
	uint32_t slot;                      /* the calling thread's slot */
	uint32_t detached;                  /* launcher: let go after a FAILED (futex, the agent waits) */
	uint32_t kind;                      /* enum image_kind; not plain: nothing to trace, to be noted and refused */
	uint64_t path;                      /* the program's pointer to it, for the report; 0: none */
	uint32_t flags;                     /* enum agent_flags that the next image is to know */
	uint32_t joins;                     /* the parent of a process from outside; 0: it is of the session */
	uint32_t pad[2];
};

enum process_state { PROCESS_FREE, PROCESS_CLAIMED, PROCESS_LIVE, PROCESS_GONE };

/* One per program process. GONE (proxy: "I closed everything") lets the parent's wait return. */
struct process {
	uint32_t state; /* futex */
	uint32_t pid;   /* the program's */
	uint32_t proxy; /* pid of its proxy, 0: none */
	uint32_t parent;
	uint64_t calls[ROUTE_COUNT];
	uint32_t heirs; /* what its next image is to know: the first one's place in session.heirs, and 1 more */
	uint32_t pad;
};

/*
 * Who has a chunk. Its bytes are in the area, where they outlive all of this.
 *   agent: FREE -> LEASED (compare and swap), then pid and tid; -> FULL when it takes another one
 *   drainer: LEASED -> FULL for a thread that is gone; FULL -> FREE once all of it is in the file
 */
enum chunk_state { CHUNK_FREE, CHUNK_LEASED, CHUNK_FULL };

struct chunk {
	uint32_t state;
	uint32_t pid, tid; /* 0: not known yet */
	uint32_t pad;
};

/* A site in the image that the kernel has started, patched before it runs: see native/daemon/launcher/known.c. */
struct lead {
	int32_t offset; /* of its `syscall` instruction, from the image's entry */
	uint32_t nr;
};

/* A site in a library, as a place in its file: see the agent's arch/x86_64/leads.c. */
struct library_site {
	uint32_t at;   /* 0: none */
	uint32_t call; /* number plus 1; 0: not known yet */
	uint32_t without, saves; /* programs that had it not patched beforehand; what that would have saved them */
};

/* A file, as one program uses it; session.library_files says which. */
struct library {
	struct library_site sites[LIBRARY_SITES];
};

/* What all processes agree on that hold one end of a connection: see the agent's stream/held.c. */
struct stream_held {
	uint32_t holders;   /* processes, or more: who was killed has not left */
	uint32_t is_spoilt; /* somebody holds it whom we do not know */
	uint32_t is_nonblocking;
	uint32_t taker;     /* pid of who is about to take the entry; nobody else does */
	uint64_t sent, received;
	uint32_t pids[HELD_PIDS]; /* the holders, as far as there is room; 0: none */
	uint32_t is_crowded;      /* not all of them are there */
};

/* A descriptor that the next image of a process has: see stream/inherit.c. */
struct stream_heir {
	uint32_t pid;  /* 0: free */
	uint32_t next; /* as process.heirs */
	int32_t fd;    /* -1: it is closed by the exec */
	uint32_t held;
	uint32_t family, writes; /* as in the agent's struct stream */
	uint64_t inode, other;
};

/* How waits of all sides have ended: see ring.h. */
struct waits {
	uint64_t spun, yielded, slept, woke; /* `woke`: sleepers of others */
};

struct session {
	uint32_t magic, version;
	uint64_t size; /* of the whole area */
	uint32_t launcher; /* pid of the launcher */
	uint32_t flags;
	uint32_t exec_bell;  /* futex the launcher sleeps on; +1 at every request or child event */
	uint32_t log_bell;   /* futex the drainer sleeps on; +1 when a chunk is full */
	uint32_t chunk_bell; /* futex an agent sleeps on when no chunk is free; +1 when one was freed */
	uint32_t live;       /* program processes alive, as far as the agents know */
	uint32_t drainer;    /* pid of the drainer; 0: nobody drains, records are counted as lost */
	uint32_t uncaught;   /* execs that went on without the agent */
	uint64_t lost;       /* records that found no room and nobody to make some */
	uint64_t leases;   /* counts them; the number of the last one */
	uint64_t threads;  /* the same of threads that have written */
	uint32_t chunk_hint;
	uint32_t spinners; /* threads spinning right now, of all sides */
	uint32_t spare;    /* how many may: CPUs - 1 */
	uint32_t spun_at;  /* when one began last: ticks / SPIN_TICK, and it wraps */
	uint64_t budget;   /* ticks one may spin: about 50 us */
	uint32_t chunk_high; /* chunks from here on were never leased */
	uint32_t refused;  /* execs that were refused because they would have gone on without the agent */
	uint32_t full;     /* chunks that are FULL; a killed thread may have left it wrong, for a while */
	uint32_t full_limit; /* at so many the agents wait for the drainer */
	uint32_t chunk_count; /* how many the area has room for, no more than CHUNK_COUNT */
	uint32_t keep_bytes; /* of plain buffers */
	uint64_t keep_read[KEEP_FDS / 64], keep_write[KEEP_FDS / 64]; /* all of what goes through these descriptors */
	uint32_t library_news; /* +1 when something new is in `libraries` */
	uint32_t rules_epoch; /* of the rules in force (handler.h); +1 when they change. 0: there never were any */
	uint64_t handlers_at; /* offset of a struct handlers; 0: a session without */
	uint32_t starved; /* times that a thread has found no chunk: a flight recorder then lets go of some */
	uint32_t drains; /* tid of the drainer's thread, on its robust list: the kernel adds WORD_DIED */
	/* Processes that were about to be born, and those that are on the list or never came to be. */
	uint32_t births, births_over;
	uint32_t filled; /* chunks that have become full, ever; it wraps */
	uint32_t pad[3];
	uint8_t routes[CALL_LIMIT]; /* enum route by call number */
	uint32_t library_files[LIBRARIES]; /* what file, and whose use; 0: none */
	struct exec_request execs[EXEC_REQUESTS];
	struct process processes[PROCESSES]; /* the first ones lie near the pages that all look at anyway */
	struct chunk chunks[CHUNK_COUNT];
	struct library libraries[LIBRARIES];
	/* What became of connections, and bytes that went through rings, of which threads tell now and then. */
	uint64_t streams_joined, streams_back, stream_bytes;
	struct waits waits;
	uint32_t held_next, heirs_next; /* where one looks first */
	uint32_t streams_after; /* calls after which a socket is worth a ring; 0: not learnt yet */
	uint32_t pad2;
	struct stream_held held[HELD];
	struct stream_heir heirs[HEIRS];
};

/* ---- the area: log records in chunks ----------------------------------------------------------------------------- */

/*
 * The area begins with a page that is the drainer's (daemon/drainer/area.h) and that no program maps, then comes one in
 * which agents count lost records, for when the session is gone, too; then the chunks. Programs map a part of that, and
 * more when they lease a chunk that lies further on.
 */
#define AREA_LOST 4096u
#define AREA_HEAD 8192u
#define AREA_AT(chunk) (AREA_HEAD + (uint64_t)(chunk)*CHUNK_SIZE)
#define AREA_SIZE AREA_AT(CHUNK_COUNT)
#define AREA_WINDOW (4ull << 20)

/* The first bytes of a chunk. The records of one thread, numbered without a gap, follow. */
struct chunk_head {
	uint32_t used;    /* bytes of whole records after the head; store-release after the bytes */
	uint32_t pid, tid;
	uint32_t drained; /* so many of them are in the file: the drainer's word for who comes after it */
	uint64_t lease, thread, first; /* counted up in the session; first: number of the first record in its thread */
	uint64_t begun; /* number of the record at `used`, plus 1, when its call is made: all but its end is there */
	uint64_t pad[2];
};

#define CHUNK_ROOM (CHUNK_SIZE - 64u)

enum record_kind {
	RECORD_CALL = 1,
	RECORD_START = 2,   /* a process or image begins: args[0] parent pid, args[1] 1 if by exec */
	RECORD_EXIT = 3,    /* a process ends */
	RECORD_FD = 4,      /* what descriptor args[0] (or AT_FDCWD) is; pieces: 0 text, 1 local, 2 peer address */
	RECORD_PROGRAM = 5, /* the launcher's, of the first program: piece 0 its argv */
	RECORD_STATUS = 6,  /* the launcher's, of the first program: args[0] its wait status */
	/*
	 * A connection goes by memory: id (of its two ends one has the last bit), descriptor, AF_* (0: a pipe), the
	 * other's pid, inode, the other's (0: not known).
	 */
	RECORD_STREAM = 7,  /* pieces: 1 local, 2 peer address */
	/* Not any more. id, by which call (or enum stream_by), enum stream_ways, bytes so far: sent, received. */
	RECORD_STREAM_BACK = 8,
	/* It is over here. id, by which call, bytes by memory: sent, received; by the kernel before: the same. */
	RECORD_STREAM_END = 9, /* again, if that was an exec that failed: what comes last counts */
	RECORD_WAITS = 10,  /* the launcher's, at the end: struct waits of all programs */
};

enum stream_by { STREAM_BY_PEER = CALL_LIMIT, STREAM_BY_NOBODY /* that is known */, STREAM_BY_FULL }; /* or a call */
enum stream_ways { STREAM_SENDS = 1, STREAM_RECEIVES = 2 };

enum record_flags {
	RECORD_NO_RETURN = 1, /* written before the call: exit, exit_group, execve that succeeds */
	RECORD_REPLACES = 2,  /* the thread's last NO_RETURN record did return after all; this is what it returned */
	RECORD_FOREIGN = 4,   /* entered by another machine's convention (int 0x80): nr is i386's */
	RECORD_RESTARTS = 8,  /* a signal came first: the call is made again after the handler; ret means nothing */
	RECORD_TRAPPED = 16,  /* caught by a signal, not by a patched site */
	RECORD_WIDE = 128,    /* took and ret are the last two words of the record */
};

/*
 * One call, or one event, within a chunk: this head, then the arguments, then the pieces, then with RECORD_WIDE two
 * words more. Who made it stands in the chunk's head.
 */
struct log_record {
	uint16_t words; /* of 8 bytes, all of it */
	uint16_t nr;
	uint8_t kind, route, flags;
	uint8_t counts; /* arguments | pieces << 4 */
	uint64_t start; /* ticks (arch_ticks: TSC, CNTVCT) */
	uint32_t took;  /* ticks */
	int32_t ret;
	uint64_t args[];
};

enum { RECORD_PIECES = 12 };

enum piece_flags {
	PIECE_OUT = 1, /* as it was after the call; else before */
	PIECE_CUT = 2, /* `len` bytes of `full` are kept */
};

/* What a pointer argument pointed to. Bytes follow, padded to 8. */
struct piece {
	uint8_t arg, flags;
	uint16_t len;
	uint32_t full;
};

/* ---- channel ----------------------------------------------------------------------------------------------------- */

enum {
	SLOT_SIZE = 8192,
	SLOT_COUNT = 1024,
	PIECES = 8,
};

#define ARENA_SPAN (1ull << 32) /* file range that each slot may use for large buffers, sparse */
#define ARENA_KEEP (1u << 20)   /* an arena larger than this gives its memory back after the call */

enum slot_op {
	OP_CALL = 1,   /* execute nr(args) */
	OP_FORK,       /* fork; the child proxy announces itself on the lifeline; args[0]: 0, or CLONE_FS */
	OP_THREAD,     /* args[0]: slot of a new program thread; start a thread for it */
	OP_LEAVE,      /* this program thread is over: end your thread (no answer) */
	OP_LENT,       /* args[0]: descriptor; send a copy over the lifeline */
	OP_TAKE,       /* receive a descriptor from the lifeline, install it; args[0]: 1 for close-on-exec */
	OP_EXECED,     /* a new image runs: close what is close-on-exec, end all other threads */
	OP_EXIT,       /* the program ends: close everything, then answer */
};

/*
 * slot.word is the handshake. While a call is pending it holds the proxy thread's `owner` value: its tid with
 * FUTEX_WAITERS set, and the word is on that thread's robust list. So if the thread dies, the kernel itself sets
 * FUTEX_OWNER_DIED and wakes the program: nobody waits for the dead.
 * `owner` is on the list too, before `word`: a thread that died between two calls is seen there after posting.
 *   agent: writes the request, word = owner (release), wakes the proxy if it sleeps
 *   proxy: writes the answer, word = WORD_ANSWER (release), wakes the agent if it sleeps
 *   agent: reads the answer, word = WORD_IDLE
 */
#define WORD_IDLE 0u
#define WORD_ANSWER 1u
#define WORD_DIED 0x40000000u /* FUTEX_OWNER_DIED */
#define WORD_WAITERS 0x80000000u

enum slot_lease { SLOT_FREE, SLOT_TAKEN, SLOT_ENDING };

struct bell {
	uint32_t cpu;    /* where its owner runs; ~0: unknown */
	uint32_t asleep; /* 1: its owner waits in the kernel and must be woken */
	uint64_t spun, yielded, slept, woke;
};

struct extent {
	uint32_t off, len; /* within the slot's payload */
};

enum { SLOT_HEAD = 320, SLOT_INLINE = SLOT_SIZE - SLOT_HEAD };

struct slot {
	uint32_t word;  /* futex, see above */
	uint32_t lease; /* enum slot_lease */
	uint32_t tid;   /* the program's thread */
	uint32_t pad;
	uint32_t owner; /* the value of `word` while a call is pending; 0: no proxy thread yet (futex) */
	uint32_t pad_owner;
	uint64_t pad0[5];
	struct bell agent;
	uint64_t pad1[3];
	struct bell proxy;
	uint64_t pad2[3];
	/* request */
	uint16_t nr, op;
	uint32_t cancel;  /* the program's thread was interrupted: stop waiting */
	uint32_t ttystop; /* bit 0: SIGTTIN, bit 1: SIGTTOU do not stop the program (blocked, ignored) */
	uint32_t arena;   /* bytes of arena in use; 0: the payload is inline */
	uint64_t args[CALL_ARGS];
	/* answer */
	int64_t ret;
	uint32_t signals; /* bit 0: SIGPIPE, bit 1: SIGXFSZ is to be raised in the program */
	uint32_t pad3;
	struct extent extents[CALL_ARGS]; /* payload of pointer arguments; len ~0: the pointer is NULL */
	uint8_t payload[];
};

#define EXTENT_NULL 0xffffffffu
#define EXTENT_BAD 0xfffffffeu /* leads nowhere: the kernel shall say what that means for this call */

struct channel {
	uint32_t magic, version;
	uint32_t pid;      /* the program's */
	uint32_t proxy;    /* the proxy's */
	uint32_t slots;    /* SLOT_COUNT */
	uint32_t process;  /* index into session.processes */
	uint32_t high;     /* slots from here on were never taken: memory that nobody has touched, nor should */
	uint32_t pad[9];
	uint8_t rest[SLOT_SIZE - 64];
	/* then SLOT_COUNT slots of SLOT_SIZE, then SLOT_COUNT arenas of ARENA_SPAN */
};

#define CHANNEL_SIZE ((uint64_t)SLOT_SIZE * (1 + SLOT_COUNT))
#define ARENA_AT(slot) (((CHANNEL_SIZE + 0xfffff) & ~0xfffffull) + (uint64_t)(slot)*ARENA_SPAN)

/* Flat form of a msghdr in a slot: head, name, control, data. */
struct flat_msg {
	uint32_t name_len, control_len;
	uint32_t data_len, flags;
	uint32_t has_name, has_control;
	uint32_t result, pad; /* mmsghdr's msg_len */
};

/* Lifeline: a SOCK_SEQPACKET socket between a program and its proxy. End of file on it: the other one is gone. */
enum lifeline_op {
	LINE_FORKED = 1, /* proxy -> program: descriptors {lifeline, channel}, value = entry in session.processes */
	LINE_FD,         /* either way: one descriptor */
	LINE_CANCEL,     /* program -> proxy: value = slot whose call is to be interrupted */
};

struct lifeline_message {
	uint32_t op;
	int32_t value;
};

/* ---- what the launcher tells an agent that it has put in --------------------------------------------------------- */

/*
 * A few instructions of the launcher's map the agent and start `agent_entry`, which traps (int3, brk) whenever it needs
 * the launcher, with STOP_* in the first argument register (rdi, x0) and the address of `agent_config` in the second,
 * and goes on when continued. After STOP_READY the launcher restores the program's instructions and registers and
 * detaches. STOP_FAILED: see `error`. The agent's memory comes in one of two ways, tried in this order:
 *
 *   /proc/launcher/fd/image   a memfd with the agent as its file has it; what is not written to is shared by all
 *                             programs. agent_entry gets a pointer to the launcher's agent_config, and relocates itself
 *   anonymous memory          (STOP_REFUSED: the file cannot be had) which the launcher fills in, `agent_config`
 *                             included; agent_entry gets NULL
 *
 * The session's memory reaches the program in one of three ways, tried in this order:
 *   session_fd >= 0           the program already has the descriptor (inherited); the agent closes it unless keep_fds
 *   /proc/launcher/fd/remote  opened by the agent
 *   STOP_SOCKET               the agent made a socketpair; `socket` is the launcher's end, to be had with pidfd_getfd;
 *                             the launcher sends the descriptor with SCM_RIGHTS into it, then continues
 *
 * That of the area in one of the last two; the socket brings both.
 *
 * AGENT_ALONE: the same without a stop, where there is a place for a few instructions that the program has no use for.
 * The launcher lets go as soon as they stand there; they start `agent_alone`, which says in the exec_request when it is
 * done and leaves for the program by itself. Whoever needs the launcher turns in a loop, with the same words in the
 * same registers, until that one comes by: it looks after those that have not been heard of for a while.
 */
enum agent_stop { STOP_READY = 1, STOP_FAILED = 2, STOP_SOCKET = 3, STOP_REFUSED = 4 };

struct agent_config {
	uint32_t version;
	uint32_t launcher;           /* its pid */
	int32_t remote;              /* number of the session's descriptor in the launcher */
	int32_t area;                /* number of the area's descriptor in the launcher; -1: no log */
	int32_t post;                /* the same of what is posted (post.h); -1: nothing */
	int32_t session_fd;          /* number in the program, or -1 */
	int32_t lifeline, channel;   /* in the program, -1 without a proxy */
	uint32_t slot;               /* SLOT of the thread that called exec, 0 at first */
	uint32_t by_exec;            /* 0: first image of the run */
	uint32_t parent;
	int32_t socket;              /* agent -> launcher, with STOP_SOCKET */
	int32_t error;               /* agent -> launcher, with STOP_FAILED: negative errno */
	uint32_t where;              /* agent -> launcher: line that failed */
	uint32_t flags;              /* enum agent_flags */
	uint32_t request;            /* with AGENT_ALONE: index in session.execs */
	uint64_t session_size;
	uint64_t entry;              /* of the image, where we are */
	uint64_t sp, mask; /* the program's, as execve has left them; with AGENT_ALONE the mask is the agent's to say */
	/* With AGENT_ALONE, sites that are patched already: without a table for them they are to be restored. */
	uint32_t lead_count, lead_pad;
	struct lead leads[LEADS];
};

enum agent_flags {
	AGENT_KEYS = 1,        /* the instructions are there by which patched sites tell threads apart */
	AGENT_QUIET = 2,       /* no calls of the agent's own beyond what must be: no site is patched */
	AGENT_JOINED = 4,      /* what its descriptors are, nobody has told the log yet */
	AGENT_ALONE = 8,       /* the launcher has let go already */
	AGENT_FEW = 32,        /* with AGENT_JOINED: the program has no descriptors but the standard ones */
	AGENT_APART = 16,      /* the launcher's files cannot be had from where the program is: it is to stay */
};

_Static_assert(sizeof(struct exec_request) == 64, "exec_request");
_Static_assert(sizeof(struct process) == 56, "process");
_Static_assert(sizeof(struct stream_held) == 64, "stream_held");
_Static_assert(sizeof(struct stream_heir) == 40, "stream_heir");
_Static_assert(sizeof(struct chunk) == 16, "chunk");
_Static_assert(sizeof(struct chunk_head) == 64, "chunk_head");
_Static_assert(sizeof(struct log_record) == 24, "log_record");
_Static_assert(sizeof(struct waits) == 4 * 8, "waits");
_Static_assert(sizeof(struct piece) == 8, "piece");
_Static_assert(sizeof(struct bell) == 40, "bell");
_Static_assert(offsetof(struct slot, owner) == 16, "slot.owner");
_Static_assert(offsetof(struct slot, agent) == 64, "slot.agent");
_Static_assert(offsetof(struct slot, proxy) == 128, "slot.proxy");
_Static_assert(offsetof(struct slot, nr) == 192, "slot.nr");
_Static_assert(offsetof(struct slot, payload) == SLOT_HEAD, "slot.payload");
_Static_assert(sizeof(struct channel) == SLOT_SIZE, "channel");
_Static_assert(sizeof(struct flat_msg) == 32, "flat_msg");
_Static_assert(sizeof(struct lifeline_message) == 8, "lifeline_message");

#endif
