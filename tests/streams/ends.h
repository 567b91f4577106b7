/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of ends.c share: the order of steps, what has gone each way, and where results are written. */
#ifndef LSCA_TEST_ENDS_H
#define LSCA_TEST_ENDS_H

#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

/* Slots 0 to 4 are one end's, 5 to 9 the other one's; those 20 higher are for pipes, to send by. */
#define SOCKET(slot) (100 + (slot))
#define WAY_OUT(slot) ((slot) % 20 >= 5)
#define WAY_IN(slot) ((slot) % 20 < 5)

enum { ACTORS = 8, STEPS = 400, SHARED_FD = 90, MAIL = 60, MOST = 4 << 20 };

struct shared {
	uint32_t turn; /* the step that is to be made */
	uint32_t ready;
	struct {
		uint64_t sent, received;
	} ways[2];
	int32_t pids[ACTORS];
	int32_t killed[ACTORS];
	char results[STEPS][96];
};

struct step {
	int actor, is_async;
	char op[16], how[8], flags[8];
	long a, b; /* in `send 0 100 v D` 0 and 100 */
};

extern struct shared *shared;
extern int are_pipes; /* in place of a socket at each end */

/* The byte at that place of that way. */
static inline uint8_t byte_at(int way, uint64_t at)
{
	return (uint8_t)((at * 2654435761u >> 11) ^ (at >> 8) ^ (way ? 0x5a : 0));
}

/* operations.c: makes the step, and says in `result` what came of it. */
void operate(const struct step *s, char *result, size_t room);

static inline void must(int is_well, const char *what)
{
	if (is_well)
		return;
	fprintf(stderr, "ends: %s: %s\n", what, strerror(errno));
	_exit(99);
}

#endif
