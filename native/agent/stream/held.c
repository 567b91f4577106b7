/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all processes agree on that hold one end of a connection, or an epoll set: how many they are, what went by the
 * kernel, whether somebody holds it whom we do not know. It lies in the session's memory, where it outlives a fork and
 * an exec. Who is killed never leaves, so that nobody takes himself for the only holder; the entry may be had again
 * once all that were named there are gone. Called by descriptors.c, sets.c, inherit.c and vforked.c.
 */
#include "stream.h"

enum { QUICK = 256, ORPHANS = 64 }; /* entries that are looked at before it is said that there are no more */

/* A holder that was not named yet was born by one who was. */
static int is_orphan(const struct stream_held *h)
{
	uint32_t births = get_acquire(&session->births), named = 0;

	if (births != get_acquire(&session->births_over) || get_acquire(&h->is_crowded))
		return 0;
	for (uint32_t i = 0; i < HELD_PIDS; i++) {
		uint32_t pid = get_acquire(&h->pids[i]);

		if (pid && life_exists(pid))
			return 0;
		named += pid != 0;
	}
	return named && births == get_acquire(&session->births);
}

static int take(struct stream_held *h, int orphans)
{
	int is_free;

	if (get_acquire(&h->holders) && !(orphans && is_orphan(h)))
		return 0;
	if (!swap_if(&h->taker, 0, process_main.pid))
		return 0;
	is_free = !get_acquire(&h->holders) || (orphans && is_orphan(h)); /* another one may have had it meanwhile */
	if (is_free) {
		h->is_spoilt = h->is_nonblocking = h->is_crowded = 0;
		h->sent = h->received = 0;
		memset(h->pids, 0, sizeof h->pids);
		held_enter(h, held_self());
		put_release(&h->holders, 1);
	}
	put_release(&h->taker, 0);
	return is_free;
}

struct stream_held *held_take(void)
{
	/* Who is in another pid namespace cannot tell who is gone. */
	for (uint32_t tries = 0; tries < QUICK + (process_main.elsewhere ? 0 : ORPHANS); tries++) {
		struct stream_held *h = &session->held[add_one(&session->held_next) % HELD];

		if (take(h, tries >= QUICK))
			return h;
	}
	return 0;
}

void held_enter(struct stream_held *h, uint32_t pid)
{
	for (uint32_t i = 0; i < HELD_PIDS && pid; i++)
		if (swap_if(&h->pids[i], 0, pid))
			return;
	put_release(&h->is_crowded, 1);
}

void held_leave(struct stream_held *h, uint32_t pid)
{
	for (uint32_t i = 0; i < HELD_PIDS && pid; i++)
		if (swap_if(&h->pids[i], pid, 0))
			break;
	__atomic_sub_fetch(&h->holders, 1, __ATOMIC_ACQ_REL);
}
