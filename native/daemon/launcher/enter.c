/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts the agent into this very process, which its parent, whom nobody catches, has just forked: as the launcher would
 * (inject.c), but there is no exec at which it could, and nobody needs to trace anybody. Called by joining.py in the
 * child, whose only thread this is. A process that cannot be entered is left as it was, and counted.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "launch.h"
#include "ring.h"

enum { LOOKS = 2500, LOOK_NS = 2000000 }; /* at a launcher that is about to start: five seconds */

typedef int64_t enter(int32_t session, int32_t area);

/* Its bytes where they may run, never writable and executable at once. NULL: no memory for it. */
static uint8_t *place(const struct image *image)
{
	uint8_t *base = mmap(NULL, image->span, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int e;

	if (base == MAP_FAILED)
		return NULL;
	memcpy(base, image->bytes, image->size);
	for (uint32_t i = 0; i < image->relocation_count; i++) {
		uint64_t value = (uint64_t)base + image->relocations[i].addend;

		memcpy(base + image->relocations[i].at, &value, sizeof value);
	}
	e = mprotect(base, image->span, PROT_READ);
	for (uint32_t i = 0; i < image->segment_count; i++) {
		const struct image_segment *s = &image->segments[i];

		e |= mprotect(base + s->at, s->size, s->prot);
	}
	if (!e)
		return base;
	munmap(base, image->span);
	return NULL;
}

/* Where it has got halfway, handlers of the process's lead to it: it stays. */
static int64_t start(const char *agent, int session_fd, int area_fd)
{
	struct image image;
	uint8_t *base = NULL;
	int64_t r = -ENOEXEC;

	if (!image_load(&image, agent) && image.enter) {
		base = place(&image);
		r = base ? ((enter *)(base + image.enter))(session_fd, area_fd) : -ENOMEM;
	}
	free(image.bytes);
	free(image.relocations);
	return r;
}

/* Programs that it starts would find nobody, otherwise. */
static int has_launcher(const struct session *s)
{
	const struct timespec pause = {0, LOOK_NS};

	for (int i = 0; i < LOOKS && !get_acquire(&s->launcher); i++)
		nanosleep(&pause, NULL);
	return !(get_acquire(&s->flags) & SESSION_CLOSED) && process_alive(s->launcher);
}

int64_t enter_session(const char *agent, int session_fd, int area_fd)
{
	struct session *s = session_map(session_fd, 1);
	int64_t r;

	if (!s)
		return -errno;
	r = has_launcher(s) ? start(agent, session_fd, area_fd) : -ESRCH;
	if (r)
		add_one(&s->uncaught);
	session_unmap(s);
	return r;
}
