/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two captured programs of a user that are connected by a stream socket or a pipe move its bytes through a ring that
 * only these two map. The socket stays, and with it all that the kernel knows of it. Each direction (a "way") switches
 * by itself, at an offset: whoever sends says "from byte `from` on, in the ring"; whoever receives takes the kernel's
 * bytes up to there. From then on bytes in the socket are bells: they only wake who sleeps in the kernel, and are taken
 * out again by who reads. With `is_back` the way is the kernel's for good: first the ring's last bytes, then what is in
 * the socket behind its bells.
 *
 * How two ends find each other: the first one leaves its name (addresses, or inodes) among the user's meetings, the
 * second one makes the ring, as a file that exists until the first one has it. Copied, then checked, then used, as
 * everywhere: who has damaged a ring has damaged his own connection.
 */
#ifndef LSCA_STREAMS_H
#define LSCA_STREAMS_H

#include "ring.h"

enum {
	STREAM_ROOM = 65536, /* bytes of one way */
	STREAM_HEAD = 4096,
	STREAM_SIZE = STREAM_HEAD + 2 * STREAM_ROOM,
	STREAM_VERSION = 4,
};

/* Some 20 ns: it wraps, and what lies there for a minute may be shown late. */
static inline uint32_t stream_ticks(uint64_t ticks)
{
	return (uint32_t)(ticks >> 6);
}

#define STREAM_MAGIC 0x6c736373u /* "lscs" */

enum stream_joined { RING_ALONE, RING_SHARED, RING_REFUSED };

/*
 * What one side writes all the time has a cache line of its own, and so has each lock: while bytes go to and fro, only
 * `tail` and the bytes themselves go from one CPU to the other.
 */
struct stream_way {
	uint32_t tail;      /* bytes ever put into the ring; wraps */
	uint32_t put_at;    /* when the last ones were, stream_ticks(); for who shows several connections in order */
	uint32_t pad0[14];
	uint32_t head;      /* bytes ever taken out; futex of who waits for room */
	uint32_t pad1[15];
	/* rarely written: by who sends */
	uint32_t is_on, is_back;
	uint64_t from;
	uint32_t bells;     /* bytes sent to wake */
	uint32_t wants_room; /* senders that wait for some */
	uint32_t is_poured; /* what was in the ring is in the socket, behind the last bells */
	uint32_t has_room;  /* so many of its bytes, from the first one on, have memory */
	/* by who receives */
	uint64_t came;      /* the kernel's bytes so far, without bells */
	uint32_t bells_taken;
	uint32_t sleepers;  /* threads that wait in the kernel, or are about to */
	uint32_t nap;       /* 1: somebody naps, and who sets it to 0 is to post */
	uint32_t guard;     /* the semaphore for that, and 1 more; or why there is none (naps.c) */
	uint64_t pad3;
	uint32_t send_lock; /* tid */
	uint32_t pad4;
	uint64_t pad5[7];
	uint32_t read_lock;
	uint32_t pouring;   /* so much of the ring may be in the socket already: left behind by who was killed */
	uint64_t poured_from; /* as `from` and `head` were when that began: they go on together */
	uint32_t poured_head;
	uint32_t pad6[11];
};

_Static_assert(sizeof(struct stream_way) == 320, "stream_way");

struct stream_end {
	uint32_t pid;
	int32_t fd;      /* one of its descriptors */
	uint64_t inode;
	uint32_t doubt;  /* +1 when it closes or shuts down: the other one asks the kernel before it sends */
	uint32_t is_shut; /* it has said that it sends no more */
	uint32_t is_free;  /* it has closed, and would take the ring for another connection */
	uint32_t reset;    /* 0; 1: the other one closed before it had read all; 2: that was said */
	uint64_t pad0[4];  /* the other one looks at `doubt` whenever it sends */
	struct bell bell;
	uint64_t pad1[3];
};

_Static_assert(sizeof(struct stream_end) == 128, "stream_end");

/* Way i goes from end i to the other one. */
struct stream_ring {
	uint32_t magic, version;
	uint32_t joined; /* enum stream_joined */
	uint32_t launcher, maker, serial; /* whose file it is or was */
	uint32_t has_file;  /* it was made for this connection, and not used before */
	uint32_t is_forked; /* more than one process has it at one of its ends: it is not used again */
	uint64_t id;        /* of this connection, for logs; even */
	uint32_t is_whole;  /* its memory is there from the beginning, and stays */
	uint32_t pad[21];
	struct stream_way ways[2];
	struct stream_end ends[2];
};

_Static_assert(sizeof(struct stream_ring) <= STREAM_HEAD, "stream_ring");

/*
 * Where the two ends of a connection find each other, whatever run of the same user they belong to: a file that the
 * launchers hold a lock on, and the last one deletes.
 *   first end: FREE -> CLAIMED, its name, -> WAITS; the second one: WAITS -> TAKEN, makes a ring, -> MADE;
 *   the first one has it, or does not want it: -> FREE
 */
#define MEETINGS_PATH "/dev/shm/lsca-meetings-4-" /* STREAM_VERSION, since others cannot meet; and the user's number */
#define MEETINGS_MAGIC 0x6c73636du /* "lscm" */

enum { MEETINGS = 2047, NAPS = 1024 };
enum { SET_THERE = 3 };
enum meeting_state { MEETING_FREE, MEETING_CLAIMED, MEETING_WAITS, MEETING_TAKEN, MEETING_MADE };

struct meeting {
	uint32_t state;
	uint32_t pid;           /* the first end's; a dead one's entry may be had */
	uint32_t launcher, maker, serial; /* of the ring: its file is named after them */
	uint32_t pad[11];
	uint64_t name[8];       /* what kind and where; own address, the other's; ports */
};

_Static_assert(sizeof(struct meeting) == 128, "meeting");

struct meetings {
	uint32_t magic, version;
	uint32_t set_state;     /* SET_THERE: who sleeps for a moment has semaphores of System V */
	int32_t set;
	uint64_t set_namespace; /* of IPC */
	uint32_t pad[26];
	struct meeting at[MEETINGS];
	uint32_t naps[NAPS];    /* processes that have one each */
};

static inline uint8_t *stream_bytes(struct stream_ring *r, uint32_t way)
{
	return (uint8_t *)r + STREAM_HEAD + (uint64_t)way * STREAM_ROOM;
}

#endif
