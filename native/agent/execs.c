/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an exec will lead to, as far as that can be known before it is made: whether the launcher can put the agent into
 * the new image, and whether the run goes on without it if not. Called by life.c.
 */
#include "agent.h"

#include "outside.h"

static int64_t inspect_call(uint64_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e)
{
	return gate(nr, a, b, c, d, e, 0);
}

#include "inspect.h"

uint32_t exec_kind(const struct call *c, const uint64_t *args)
{
	int is_at = c->nr == NR_execveat;
	uint64_t path = args[is_at ? 1 : 0];
	uint32_t kind;
	char first = 0;

	if (memory_read(&first, path, 1) < 1)
		return IMAGE_PLAIN; /* EFAULT */
	if (!first && !(is_at && args[4] & 0x1000)) /* AT_EMPTY_PATH */
		return IMAGE_PLAIN; /* ENOENT */
	kind = inspect_image(is_at ? (int32_t)args[0] : INSPECT_HERE, (const char *)path, !first);
	if (kind == IMAGE_GAINS && session->flags & SESSION_GRANTS)
		return IMAGE_PLAIN;
	/* A foreign image may run; it is the launcher that sees it go. */
	if (kind == IMAGE_FOREIGN && !exec_must_be_caught(c->thread->process))
		return IMAGE_PLAIN;
	return kind;
}

/* Under the route `proxy` a program without the agent would have no descriptors at all. */
int exec_must_be_caught(const struct process_self *p)
{
	return p->channel || session->flags & SESSION_STRICT;
}
