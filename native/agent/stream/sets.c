/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which descriptors of this process are epoll sets, and what concerns all of them: a stream that closes or gets a ring,
 * a fork, an exec. What is in a set is epoll.c's business.
 */
#include "epoll.h"

static uint8_t at[DESCRIPTORS] COLD(3); /* number in `sets`, and 1 more */
static struct set sets[SETS] COLD(3);
static uint32_t high, top; /* sets and descriptors from here on were never used */
static uint32_t table_lock;

static struct set *known(uint32_t fd)
{
	uint32_t i = fd < DESCRIPTORS ? __atomic_load_n(&at[fd], __ATOMIC_ACQUIRE) : 0;

	return i ? &sets[i - 1] : 0;
}

int epoll_known(uint32_t fd)
{
	return top && known(fd) != 0;
}

int epoll_are_there(void)
{
	return top != 0;
}

/* The last one out. */
static void clear(struct set *e)
{
	if (!swap_if(&e->users, 0, NOBODY))
		return;
	if (get_acquire(&e->descriptors) || !get_acquire(&e->is_used)) {
		__atomic_sub_fetch(&e->users, NOBODY, __ATOMIC_ACQ_REL);
		return;
	}
	set_free_room(e);
	held_leave(e->held, held_self());
	memset((char *)e + 16, 0, sizeof *e - 16);
	__atomic_sub_fetch(&e->users, NOBODY, __ATOMIC_ACQ_REL);
	put_release(&e->is_used, 0);
}

void set_put(struct set *e)
{
	if (!__atomic_sub_fetch(&e->users, 1, __ATOMIC_ACQ_REL) && !get_acquire(&e->descriptors))
		clear(e);
}

struct set *set_get(uint32_t fd)
{
	struct set *e = known(fd);

	if (!e)
		return 0;
	add_one(&e->users);
	if (known(fd) == e)
		return e;
	set_put(e);
	return 0;
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

void epoll_made(uint32_t fd)
{
	int is_first = !epoll_are_there();

	epoll_drop(fd);
	for (uint32_t i = 0; fd < DESCRIPTORS && i < SETS; i++) {
		struct set *e = &sets[i];

		if (e->is_used || !swap_if(&e->is_used, 0, 1))
			continue;
		e->held = held_take();
		if (!e->held) {
			put_release(&e->is_used, 0);
			return;
		}
		e->pid = process_main.pid;
		e->fd = (int32_t)fd;
		raise_to(&high, i + 1);
		raise_to(&top, fd + 1);
		put_release(&e->descriptors, 1);
		__atomic_store_n(&at[fd], (uint8_t)(i + 1), __ATOMIC_RELEASE);
		if (is_first)
			handle_table_changed();
		return;
	}
}

void epoll_copied(uint32_t from, uint32_t to)
{
	struct set *e;

	if (!top || from == to || to >= DESCRIPTORS)
		return;
	e = set_get(from);
	epoll_drop(to);
	if (!e)
		return;
	stream_lock(&table_lock);
	add_one(&e->descriptors);
	raise_to(&top, to + 1);
	__atomic_store_n(&at[to], (uint8_t)(e - sets + 1), __ATOMIC_RELEASE);
	stream_unlock(&table_lock);
	set_put(e);
}

void epoll_drop(uint32_t fd)
{
	struct set *e = top ? set_get(fd) : 0;

	if (!e)
		return;
	stream_lock(&table_lock);
	if (known(fd) == e) {
		__atomic_store_n(&at[fd], 0, __ATOMIC_RELEASE);
		__atomic_sub_fetch(&e->descriptors, 1, __ATOMIC_ACQ_REL);
		for (uint32_t i = 0; e->fd == (int32_t)fd && i < top; i++)
			if (at[i] == e - sets + 1)
				e->fd = (int32_t)i;
	}
	stream_unlock(&table_lock);
	set_put(e);
}

void epoll_drop_range(uint32_t from, uint32_t to)
{
	for (uint32_t fd = from; fd <= to && fd < top; fd++)
		if (at[fd])
			epoll_drop(fd);
}

void epoll_give_up(uint32_t fd)
{
	struct set *e = set_get(fd);

	if (!e)
		return;
	set_make_plain(e);
	set_put(e);
}

/* A stream's descriptor is about to be closed. The kernel's set keeps it as long as there is another one. */
void epoll_closed(struct stream *s, int32_t fd, int is_last)
{
	for (uint32_t i = 0; i < high; i++) {
		struct set *e = &sets[i];

		if (!get_acquire(&e->is_used) || !get_relaxed(&e->streams))
			continue;
		stream_lock(&e->lock);
		set_closed(e, s, fd, is_last);
		stream_unlock(&e->lock);
	}
}

void epoll_joined(struct stream *s)
{
	for (uint32_t i = 0; i < high; i++) {
		struct set *e = &sets[i];

		if (!get_acquire(&e->is_used) || !get_relaxed(&e->streams))
			continue;
		stream_lock(&e->lock);
		set_joined(e, s);
		stream_unlock(&e->lock);
	}
}

void epoll_before_fork(int is_undone)
{
	for (uint32_t i = 0; i < high; i++) {
		if (!sets[i].is_used)
			continue;
		if (!is_undone && sets[i].streams) {
			stream_lock(&sets[i].lock);
			set_bury(&sets[i]);
			stream_unlock(&sets[i].lock);
		}
		__atomic_add_fetch(&sets[i].held->holders, is_undone ? ~0u : 1, __ATOMIC_ACQ_REL);
	}
}

/* The child. What its parent's threads wait for is not its business. */
void epoll_forked(void)
{
	table_lock = 0;
	for (uint32_t i = 0; i < high; i++) {
		struct set *e = &sets[i];

		e->lock = e->users = e->asleep = 0;
		for (uint32_t k = 0; k < e->count; k++)
			e->members[k].watches = e->members[k].wants_room = 0;
	}
}

void epoll_before_exec(void)
{
	for (uint32_t fd = 0; fd < top; fd++)
		if (at[fd] && known(fd)->pid == process_main.pid && stream_survives_exec(fd))
			epoll_give_up(fd);
}

void epoll_each_held(void (*visit)(struct stream_held *h))
{
	for (uint32_t i = 0; i < high; i++)
		if (get_acquire(&sets[i].is_used) && sets[i].held)
			visit(sets[i].held);
}
