/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in the epoll sets of this process (sets.c), and epoll_ctl. The kernel's set is the program's, with the same
 * members and the same data, so that whoever else has it finds what he expects; a set that another process uses, too,
 * or that is in another one or polled itself, is the kernel's alone, and so are then the streams in it.
 */
#include "epoll.h"

enum { INDEX_SIZE = DESCRIPTORS * 2, HINTS_SIZE = HINTS * 2, F_GETFD_ = 1 };

static const uint64_t block_size = INDEX_SIZE + HINTS_SIZE + MEMBERS * sizeof(struct member);

/* ---- members ----------------------------------------------------------------------------------------------------- */

static struct member *of_number(struct set *e, uint32_t fd)
{
	uint16_t i = e->members && fd < DESCRIPTORS ? e->index[fd] : 0;

	return i ? &e->members[i - 1] : 0;
}

static uint16_t *hint_of(struct set *e, uint64_t data)
{
	return &e->hints[(data * 0x9e3779b97f4a7c15ull >> 40) % HINTS];
}

struct member *set_find(struct set *e, uint64_t data)
{
	uint16_t *hint = hint_of(e, data);

	if (*hint < e->count && e->members[*hint].data == data)
		return &e->members[*hint];
	for (uint32_t i = 0; i < e->count; i++)
		if (e->members[i].data == data) {
			*hint = (uint16_t)i;
			return &e->members[i];
		}
	return 0;
}

void set_ask(struct set *e, struct member *m, uint32_t events)
{
	struct epoll_event event = {events, m->data};

	if (m->asked == events)
		return;
	m->asked = events;
	m->is_asked = 1;
	GATE4(NR_epoll_ctl, e->fd, CTL_MOD, m->fd, &event);
}

static void watch(struct member *m)
{
	if (!m->watches && m->s && m->s->is_introduced)
		stream_watch(m->s, &m->watches);
}

static void unwatch(struct member *m)
{
	if (m->watches)
		stream_unwatch(m->s, m->watches);
	if (m->wants_room)
		__atomic_sub_fetch(&stream_out(m->s)->wants_room, 1, __ATOMIC_ACQ_REL);
	m->watches = m->wants_room = 0;
}

void set_watch(struct set *e)
{
	if (e->asleep++)
		return;
	for (uint32_t i = 0; i < e->count; i++)
		watch(&e->members[i]);
}

void set_unwatch(struct set *e)
{
	if (!e->asleep || --e->asleep)
		return;
	for (uint32_t i = 0; i < e->count; i++)
		unwatch(&e->members[i]);
}

/* From here on it is a descriptor like others. */
static void forget_stream(struct set *e, struct member *m)
{
	if (!m->s)
		return;
	unwatch(m);
	m->s = 0;
	e->streams--;
}

/* Where that cannot be, whoever waits in the kernel is rung for, from now on. */
static void give_back(struct stream *s, int32_t fd)
{
	uint32_t how;

	if (stream_leave(s, fd) && stream_has_ring(s))
		stream_watch(s, &how);
}

static void leave(struct set *e, struct member *m)
{
	if (m->s)
		give_back(m->s, m->fd);
	forget_stream(e, m);
	set_ask(e, m, m->events);
}

static void remove(struct set *e, struct member *m)
{
	struct member *last = &e->members[e->count - 1];

	forget_stream(e, m);
	e->index[m->fd] = 0;
	e->count--;
	if (m == last)
		return;
	*m = *last;
	e->index[m->fd] = (uint16_t)(m - e->members + 1);
}

void set_bury(struct set *e)
{
	for (uint32_t i = e->count; i-- > 0;) {
		struct member *m = &e->members[i];

		if (!m->is_gone)
			continue;
		GATE4(NR_epoll_ctl, e->fd, CTL_DEL, m->fd, 0);
		remove(e, m);
	}
}

void set_make_plain(struct set *e)
{
	stream_lock(&e->lock);
	set_bury(e);
	for (uint32_t i = 0; !e->is_plain && i < e->count; i++)
		leave(e, &e->members[i]);
	e->is_plain = 1;
	stream_unlock(&e->lock);
}

/* It is ours alone. */
int set_is_usable(struct set *e)
{
	if (e->is_plain)
		return 0;
	if (e->pid != process_main.pid)
		put_release(&e->held->is_spoilt, 1);
	if (!get_acquire(&e->held->is_spoilt))
		return 1;
	set_make_plain(e);
	return 0;
}

void set_closed(struct set *e, struct stream *s, int32_t fd, int is_last)
{
	struct member *m = of_number(e, (uint32_t)fd);

	if (!m || m->s != s)
		return;
	if (m->is_gone)
		GATE4(NR_epoll_ctl, e->fd, CTL_DEL, fd, 0);
	else if (!is_last && e->pid == process_main.pid)
		leave(e, m);
	remove(e, m);
}

void set_joined(struct set *e, struct stream *s)
{
	for (uint32_t i = 0; e->asleep && i < e->count; i++)
		if (e->members[i].s == s)
			watch(&e->members[i]);
}

void set_free_room(struct set *e)
{
	if (e->members)
		GATE2(NR_munmap, e->index, block_size);
}

/* ---- epoll_ctl --------------------------------------------------------------------------------------------------- */

static int make_room(struct set *e)
{
	int64_t r;

	if (e->members)
		return 1;
	r = GATE6(NR_mmap, 0, block_size, 3, 0x4022, -1, 0); /* PRIVATE, ANONYMOUS, NORESERVE */
	if (r < 0 && r > -4096)
		return 0;
	e->index = (uint16_t *)r;
	e->hints = e->index + DESCRIPTORS;
	e->members = (struct member *)(e->hints + HINTS);
	return 1;
}

/* Events are told apart by their data. A stream that shares it with another member is the kernel's. */
static void tell_apart(struct set *e, struct member *m)
{
	uint32_t fd = (uint32_t)m->fd;

	for (uint32_t i = 0; i < e->count; i++)
		if (e->members[i].is_gone && e->members[i].data == m->data) {
			set_bury(e);
			m = of_number(e, fd);
			break;
		}
	for (uint32_t i = 0; i < e->count; i++) {
		struct member *other = &e->members[i];

		if (other == m || other->data != m->data || (!other->s && !m->s))
			continue;
		if (!other->s && GATE2(NR_fcntl, other->fd, F_GETFD_) < 0)
			continue; /* closed, which nobody told us */
		leave(e, other);
		leave(e, m);
	}
}

static struct member *member_for(struct set *e, uint32_t fd)
{
	struct member *m = of_number(e, fd);

	if (m || e->count == MEMBERS || !e->members)
		return m;
	m = &e->members[e->count];
	memset(m, 0, sizeof *m);
	m->fd = (int32_t)fd;
	e->index[fd] = (uint16_t)++e->count;
	return m;
}

static void changed(struct set *e, struct stream *s, uint32_t fd, const struct epoll_event *event)
{
	struct member *m = member_for(e, fd);

	if (s && (!m || event->events & EPOLL_EXCLUSIVE || get_acquire(&s->state) == STREAM_PLAIN)) {
		give_back(s, (int32_t)fd);
		s = 0;
	}
	if (!m)
		return;
	if (m->s != s) {
		forget_stream(e, m);
		m->s = s;
		e->streams += s != 0;
	}
	m->events = m->asked = event->events;
	m->is_fresh = m->is_armed = m->is_asked = 1;
	if (m->data != event->data || !m->serial) {
		m->data = event->data;
		tell_apart(e, m);
		m = of_number(e, fd);
	}
	if (!m->s || !e->asleep)
		return;
	/* Who sleeps does not know of it. That it can be written to wakes him, and he puts right what is asked. */
	watch(m);
	if (stream_has_ring(s) && stream_says(s, m->events) & stream_domain(s))
		set_ask(e, m, m->events | POLLOUT_);
}

/*
 * A change that only the ring has to know of. The kernel hears of it before somebody sleeps; until then it may say
 * what nobody wants to know.
 */
static int is_ring_only(const struct set *e, const struct member *m, const struct stream *s,
			const struct epoll_event *to)
{
	const uint32_t both = IN_EVENTS | OUT_EVENTS;

	return m && m->s && m->s == s && !e->asleep && stream_has_ring(s) && to->data == m->data &&
	       !((to->events ^ m->asked) & ~both) && (m->is_asked || !(m->asked & (EPOLL_ET | EPOLL_ONESHOT))) &&
	       !((to->events | m->asked) & both & ~stream_domain(s));
}

static int64_t control(struct call *c, struct set *e, struct stream *s)
{
	uint64_t op = (uint32_t)c->args[1], fd = (uint32_t)c->args[2];
	struct epoll_event event;
	struct member *m;
	int64_t r;

	if (fd >= DESCRIPTORS || (op != CTL_DEL && memory_read(&event, c->args[3], sizeof event) < sizeof event))
		return dispatch_kernel(c);
	stream_lock(&e->lock);
	m = of_number(e, fd);
	if (m && m->is_gone && op != CTL_ADD) {
		stream_unlock(&e->lock);
		return -ENOENT_;
	}
	if (op == CTL_DEL && m && m->s && m->s == s && stream_has_ring(s) && !e->asleep) {
		/* Who takes it out to put it in again pays for neither. */
		m->is_gone = 1;
		m->is_armed = 0;
		stream_unlock(&e->lock);
		c->route = ROUTE_LOCAL;
		return 0;
	}
	if ((op == CTL_MOD || (m && m->is_gone)) && is_ring_only(e, m, s, &event)) {
		m->is_gone = 0;
		m->events = event.events;
		m->is_fresh = m->is_armed = 1;
		stream_unlock(&e->lock);
		c->route = ROUTE_LOCAL;
		return 0;
	}
	if (m && m->is_gone) {
		set_bury(e);
		m = 0;
	}
	if (s && !make_room(e))
		give_back(s, (int32_t)fd);
	r = dispatch_kernel(c);
	if (!r && op == CTL_DEL) {
		if (m)
			remove(e, m);
	} else if (!r && make_room(e)) {
		changed(e, s, fd, &event);
	}
	stream_unlock(&e->lock);
	return r;
}

int64_t epoll_control(struct call *c)
{
	struct set *e = set_get(c->args[0]);
	struct stream *s = stream_get(c->args[2]);
	int is_new = (uint32_t)c->args[1] == CTL_ADD;
	int64_t r;

	if (is_new && epoll_known(c->args[2])) /* a set in a set: the kernel must see what is in it */
		epoll_give_up(c->args[2]);
	if (e && set_is_usable(e)) {
		r = control(c, e, s);
	} else {
		if (s && is_new)
			stream_leave(s, (int32_t)c->args[2]);
		r = dispatch_kernel(c);
	}
	if (s)
		stream_put(s);
	if (e)
		set_put(e);
	return r;
}
