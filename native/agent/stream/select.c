/* SPDX-License-Identifier: Apache-2.0 */
/*
 * select and pselect6, as poll.c sees them: sets of numbers become a list, and what it shows becomes sets. A number
 * that is none, or more of them than glibc's sets have room for, is the kernel's business. Called by poll.c.
 */
#include "poll.h"

enum { WORDS = 1024 / 64 };

static const uint16_t asks[3] = {READ_SET, WRITE_SET, EXCEPT_SET}, tells[3] = {READ_SHOWS, WRITE_SHOWS, EXCEPT_SET};

/* Into a list. 0: that is the kernel's business. */
static int read_sets(struct call *c, struct wait *w, uint64_t (*sets)[WORDS], uint32_t most)
{
	uint64_t size = (most + 63) / 64 * 8;

	for (int k = 0; k < 3; k++) {
		memset(sets[k], 0, sizeof sets[k]);
		if (c->args[1 + k] && memory_read(sets[k], c->args[1 + k], size) < size)
			return 0;
	}
	for (uint32_t fd = 0; fd < most; fd++) {
		uint32_t events = 0;

		for (int k = 0; k < 3; k++)
			events |= sets[k][fd / 64] >> fd % 64 & 1 ? asks[k] : 0;
		if (!events)
			continue;
		if (w->set)
			w->set[w->n] = (struct entry){(int32_t)fd, (uint16_t)events, 0};
		w->n++;
	}
	return 1;
}

static int64_t write_sets(struct call *c, struct wait *w, uint64_t (*sets)[WORDS], uint32_t most)
{
	uint64_t size = (most + 63) / 64 * 8;
	int64_t bits = 0;

	memset(sets, 0, 3 * sizeof *sets);
	for (uint32_t i = 0; i < w->n; i++)
		for (int k = 0; k < 3; k++)
			if (w->set[i].events & asks[k] && w->set[i].revents & tells[k]) {
				sets[k][w->set[i].fd / 64] |= 1ull << w->set[i].fd % 64;
				bits++;
			}
	for (int k = 0; k < 3; k++)
		if (c->args[1 + k] && memory_write(c->args[1 + k], sets[k], size) < size)
			return -EFAULT_;
	return bits;
}

/* There is a number that is none, or none to the kernel's tables: what that means is not for us to say. */
static int is_wrong(const struct wait *w)
{
	for (uint32_t i = 0; i < w->n; i++)
		if (w->set[i].revents & NVAL_)
			return 1;
	return 0;
}

static void leave_wrong(const struct wait *w, int is)
{
	for (uint32_t i = 0; is && i < w->count; i++)
		stream_leave(w->members[i].s, w->set[w->members[i].at].fd);
}

/* More than glibc's sets have room for: the kernel looks at as many as it has a table for. */
static int64_t by_kernel(struct call *c)
{
	uint64_t most = (uint32_t)c->args[0] < DESCRIPTORS ? (uint32_t)c->args[0] : DESCRIPTORS;

	for (int k = 1; k <= 3; k++)
		for (uint64_t word = 0; c->args[k] && word * 64 < most; word++) {
			uint64_t bits;

			if (memory_read(&bits, c->args[k] + word * 8, 8) < 8)
				break;
			for (uint32_t bit = 0; bit < 64; bit++)
				if (bits >> bit & 1)
					stream_leave_number(word * 64 + bit);
		}
	return dispatch_kernel(c);
}

int64_t poll_select(struct call *c, struct wait *w)
{
	uint64_t unit = c->nr == NR_select ? 1000 : 1, sets[3][WORDS], six[2];
	struct entry few[2 * FEW];
	struct member members[FEW];
	uint32_t most = (uint32_t)c->args[0];
	int64_t r;

	if (!poll_read_timeout(w, c->args[4], unit))
		return dispatch_kernel(c);
	if (c->nr == NR_pselect6 && c->args[5]) {
		if (memory_read(six, c->args[5], sizeof six) < sizeof six || (six[0] && six[1] != 8))
			return dispatch_kernel(c);
		w->mask = six[0];
		w->mask_size = six[1];
	}
	if (most > 64 * WORDS)
		return by_kernel(c);
	w->is_select = 1;
	if (!read_sets(c, w, sets, most) || !w->n || !poll_make_room(w, few, members))
		return dispatch_kernel(c);
	w->n = 0;
	read_sets(c, w, sets, most);
	r = poll_find_members(w) ? poll_wait(w) : -EAGAIN_;
	if (r == -EAGAIN_ || (r > 0 && is_wrong(w))) {
		leave_wrong(w, r > 0);
		poll_done(w);
		return dispatch_kernel(c);
	}
	if (r >= 0)
		r = write_sets(c, w, sets, most);
	poll_done(w);
	if (r != -ERESTART_)
		poll_write_timeout(w, c->args[4], unit);
	return r;
}
