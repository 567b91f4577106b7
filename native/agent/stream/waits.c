/* SPDX-License-Identifier: Apache-2.0 */
/*
 * epoll_wait and its like for sets in which there is a stream with a ring. The rings are asked first, the kernel's set
 * now and then; whoever has found nothing waits as everywhere (ring.h), and then sleeps in the kernel, by the program's
 * own call. What wakes him there is a bell, which is an event of the kernel's set that nobody else is to see.
 */
#include "epoll.h"

enum {
	FOUND = 128, FROM_KERNEL = 64, /* events of one call at most */
	EDGE_ROOM = STREAM_ROOM / 2,
};

struct look {
	struct call *c;
	struct set *e;
	uint32_t most, n;
	uint32_t serial;
	uint64_t slice;
	uint64_t timeout, end; /* in nanoseconds; ~0: none */
	int64_t came;          /* from the kernel, while we lingered */
	struct epoll_event kernel[FROM_KERNEL];
	struct epoll_event found[FOUND];
	uint32_t put_at[FOUND]; /* when what is found in a ring was put there */
};

/* ---- what there is ----------------------------------------------------------------------------------------------- */

static void show(struct look *l, struct member *m, uint32_t events)
{
	l->found[l->n++] = (struct epoll_event){events, m->data};
	m->is_fresh = 0;
	m->serial = l->serial;
	if (m->events & EPOLL_ONESHOT)
		m->is_armed = 0;
}

/* Of a member with a ring: what has become of it since it was last shown. */
static int has_edge(const struct member *m, uint32_t says)
{
	const struct stream_way *out = stream_out(m->s);

	if (m->is_fresh)
		return 1;
	if (says & POLLIN_ &&
	    (get_acquire(&stream_in(m->s)->tail) != m->tail || get_relaxed(&m->s->missed) != m->missed))
		return 1;
	return says & POLLOUT_ && m->s->fulls != m->fulls &&
	       get_relaxed(&out->tail) - get_acquire(&out->head) <= STREAM_ROOM - EDGE_ROOM;
}

/*
 * As long as bytes come by the kernel, what is behind them in the ring has not been shown yet: more may be on their way
 * than the program can know of, and those that it takes in the end show themselves to nobody.
 */
static void take_edge(struct member *m, uint32_t says)
{
	const struct stream_way *in = stream_in(m->s);

	m->tail = get_acquire(&in->tail) - (stream_source(in) != BY_RING);
	m->missed = get_relaxed(&m->s->missed);
	if (says & POLLOUT_)
		m->fulls = m->s->fulls;
}

/* By its ring alone; 0: nothing. */
static uint32_t by_ring(const struct member *m)
{
	uint32_t says;

	if (!m->is_armed || !member_has_ring(m))
		return 0;
	says = stream_says(m->s, m->events);
	return says && (!(m->events & EPOLL_ET) || has_edge(m, says)) ? says : 0;
}

/* The kernel may have said that there is room while that was not its business, and would not say so again. */
static void follow(struct member *m)
{
	int is_ours = stream_is_ours(m->s, POLLOUT_);

	if (m->room_by_ring && !is_ours)
		m->asked = 0;
	m->room_by_ring = (uint8_t)is_ours;
}

/* As the kernel shows them: what has come first is the first. From `first` on they are of rings. */
static void put_in_order(struct look *l, uint32_t first)
{
	for (uint32_t i = first + 1; i < l->n; i++) {
		struct epoll_event event = l->found[i];
		uint32_t put_at = l->put_at[i], j = i;

		for (; j > first && (int32_t)(l->put_at[j - 1] - put_at) > 0; j--) {
			l->found[j] = l->found[j - 1];
			l->put_at[j] = l->put_at[j - 1];
		}
		l->found[j] = event;
		l->put_at[j] = put_at;
	}
}

static void look_at_rings(struct look *l)
{
	struct set *e = l->e;
	uint32_t others = e->count - e->streams, i = e->cursor, first = l->n;

	for (uint32_t left = e->count; left; left--, i++) {
		struct member *m;
		uint32_t says;

		i = i < e->count ? i : 0;
		m = &e->members[i];
		if (!m->s || m->is_gone)
			continue;
		if (l->n == l->most)
			break;
		if (!stream_has_ring(m->s)) {
			others++;
			continue;
		}
		says = m->serial == l->serial ? 0 : by_ring(m);
		if (says) {
			l->put_at[l->n] = get_relaxed(&stream_in(m->s)->put_at);
			take_edge(m, says);
			show(l, m, says);
		}
		if (!says && m->is_armed && m->events & OUT_EVENTS)
			stream_unstick(m->s, m->fd);
		follow(m);
		if (m->events & (IN_EVENTS | OUT_EVENTS) & ~stream_domain(m->s)) {
			others++;
			set_ask(e, m, m->events);
		}
	}
	/* Who was left out is the first one next time. */
	e->cursor = i;
	e->calm.others = others;
	put_in_order(l, first);
}

/* What the kernel has said of a member with a ring. */
static void by_kernel(struct look *l, struct member *m, uint32_t kernel)
{
	uint32_t wanted = m->events & 0xffff, domain, says;

	if (!m->is_armed)
		return;
	m->room_by_ring |= (uint8_t)stream_is_ours(m->s, POLLOUT_);
	if (m->events & EPOLL_ET && kernel & POLLIN_ && !(kernel & ENDS_EVENTS) && stream_is_ours(m->s, POLLIN_) &&
	    get_acquire(&stream_in(m->s)->tail) == m->tail && stream_pending(m->s)) {
		/* A bell for what was shown already, or the end behind it. */
		if (!(stream_ask(m->fd, POLLRDHUP_) & ENDS_EVENTS))
			kernel &= ~IN_EVENTS;
	}
	says = stream_merge(m->s, m->fd, wanted, kernel);
	domain = stream_domain(m->s);
	if (m->events & EPOLL_ET && says && !(says & ~domain) && !(kernel & ENDS_EVENTS) &&
	    !(kernel & POLLIN_ && stream_ask(m->fd, POLLRDHUP_) & ENDS_EVENTS) && !has_edge(m, says))
		says = 0;
	if (says && l->n < l->most) {
		take_edge(m, says);
		show(l, m, says);
		return;
	}
	/* The kernel has shown it once, and would not again. */
	if (m->events & EPOLL_ONESHOT) {
		m->asked = 0;
		set_ask(l->e, m, m->events);
	}
}

/* 1: there was something that rings do not say. */
static int take_events(struct look *l, int64_t n)
{
	int found = 0;

	for (int64_t i = 0; i < n; i++) {
		struct epoll_event *event = &l->kernel[i];
		struct member *m = set_find(l->e, event->data);

		if (m && m->s && stream_has_ring(m->s)) {
			m->is_asked = 0;
			found |= (event->events & ~(stream_domain(m->s) | POLLIN_)) != 0;
			by_kernel(l, m, event->events);
			continue;
		}
		found = 1;
		if (l->n < FOUND)
			l->found[l->n++] = *event;
		if (m && m->events & EPOLL_ONESHOT)
			m->is_armed = 0;
	}
	return found;
}

/* Without waiting. */
static int64_t look_at_kernel(struct look *l)
{
	uint32_t room = l->most - l->n;

	return GATE6(NR_epoll_pwait, l->c->args[0], l->kernel, room < FROM_KERNEL ? room : FROM_KERNEL, 0, 0, 8);
}

static void begin(struct look *l)
{
	stream_lock(&l->e->lock);
	if (!++l->e->serial)
		l->e->serial = 1;
	l->serial = l->e->serial;
	l->n = 0;
}

static void look_at_both(struct look *l)
{
	int64_t n = look_at_kernel(l);

	stream_lock(&l->e->lock);
	calm_looked(&l->e->calm, take_events(l, n));
	look_at_rings(l);
	stream_unlock(&l->e->lock);
}

/* ---- waiting ----------------------------------------------------------------------------------------------------- */

static int is_there(void *with)
{
	struct look *l = with;
	struct set *e = l->e;
	int found = 0;

	stream_lock(&e->lock);
	for (uint32_t i = 0; i < e->count && !found; i++)
		found = by_ring(&e->members[i]) != 0;
	stream_unlock(&e->lock);
	if (found || !e->calm.others || arch_ticks() - e->calm.looked < session->budget / 5)
		return found;
	l->came = look_at_kernel(l);
	e->calm.looked = arch_ticks();
	return l->came > 0;
}

/* 1: there is something now. */
static int linger(struct look *l)
{
	struct set *e = l->e;
	uint32_t here = arch_cpu(), there = here;
	struct bell me = {.cpu = here};

	l->came = 0;
	stream_lock(&e->lock);
	for (uint32_t i = 0; i < e->count; i++) {
		struct stream *s = e->members[i].s;
		struct stream_end *ends;

		if (!member_has_ring(&e->members[i]))
			continue;
		ends = s->ring->ends;
		if (get_relaxed(&ends[s->end].bell.cpu) != here)
			put_relaxed(&ends[s->end].bell.cpu, here);
		if (get_relaxed(&ends[!s->end].bell.cpu) != here)
			there = get_relaxed(&ends[!s->end].bell.cpu);
	}
	stream_unlock(&e->lock);
	return ring_linger_for(is_there, l, there, &me, &e->patience, session, stream_yield) == RING_READY;
}

/* As long as somebody sleeps, the kernel is asked for what can wake him, and for nothing that is there all the time. */
static void prepare(struct look *l)
{
	struct set *e = l->e;

	set_bury(e);
	for (uint32_t i = 0; i < e->count; i++) {
		struct member *m = &e->members[i];
		uint32_t events = m->events;
		int wants_room;

		if (!member_has_ring(m))
			continue;
		if (get_relaxed(&stream_in(m->s)->has_room))
			idle_begins();
		if (!m->is_armed)
			continue;
		follow(m);
		wants_room = events & OUT_EVENTS && stream_is_ours(m->s, POLLOUT_) &&
			     (stream_is_full(m->s) || (events & EPOLL_ET && m->s->fulls != m->fulls));
		if (wants_room && !m->wants_room)
			add_one(&stream_out(m->s)->wants_room);
		m->wants_room |= (uint8_t)wants_room;
		if (wants_room) {
			l->slice = SLICE_ROOM;
			events = (events & EPOLL_ET ? events : events & ~(uint32_t)OUT_EVENTS) | POLLIN_;
		}
		if (events & IN_EVENTS && stream_quiet(m->s, m->fd, m->watches != 0)) {
			l->slice = SLICE_BELL;
			if (!(events & EPOLL_ET))
				events &= ~(uint32_t)IN_EVENTS;
		}
		set_ask(e, m, events);
	}
}

static struct call own_call(struct look *l, uint64_t *spec)
{
	struct call wait = *l->c;
	uint64_t left = ~0ull;

	if (l->timeout != ~0ull) {
		uint64_t now = stream_now();

		if (!l->end)
			l->end = now + l->timeout;
		left = l->end > now ? l->end - now : 0;
	}
	if (l->slice && l->slice < left)
		left = l->slice;
	else
		l->slice = 0;
	spec[0] = left / 1000000000;
	spec[1] = left % 1000000000;
	wait.args[1] = (uint64_t)l->kernel;
	wait.args[2] = l->most < FROM_KERNEL ? l->most : FROM_KERNEL;
	if (wait.nr == NR_epoll_pwait2)
		wait.args[3] = left == ~0ull ? 0 : (uint64_t)spec;
	else
		wait.args[3] = left == ~0ull ? ~0ull : (left + 999999) / 1000000;
	return wait;
}

/* Events; 0: the time is over; or an error. -EAGAIN_: look again. */
static int64_t sleep(struct look *l)
{
	struct set *e = l->e;
	struct call wait;
	uint64_t spec[2];
	int64_t r = 0;

	idle_look();
	begin(l);
	l->slice = 0;
	set_watch(e);
	prepare(l);
	if (!l->slice)
		l->slice = idle_slice();
	store_before_load();
	look_at_rings(l);
	if (l->n) {
		set_unwatch(e);
		stream_unlock(&e->lock);
		return l->n;
	}
	stream_unlock(&e->lock);
	wait = own_call(l, spec);
	l->c->route = ROUTE_KERNEL;
	r = dispatch_kernel(&wait);
	begin(l);
	set_unwatch(e);
	if (r > 0)
		take_events(l, r);
	if (r >= 0)
		look_at_rings(l);
	stream_unlock(&e->lock);
	if (l->n)
		return l->n;
	return r > 0 || (!r && l->slice) ? -EAGAIN_ : r;
}

static int64_t wait_for(struct look *l)
{
	struct set *e = l->e;
	int64_t r;

	for (int is_first = 1;; is_first = 0) {
		begin(l);
		if (!calm_is_over(&e->calm))
			look_at_rings(l);
		stream_unlock(&e->lock);
		if (l->n) {
			if (is_first)
				l->c->route = ROUTE_LOCAL;
			return l->n;
		}
		if (!l->timeout || calm_is_over(&e->calm)) {
			look_at_both(l);
			if (l->n || !l->timeout)
				return l->n;
		}
		if (is_first && linger(l)) {
			l->c->route = ROUTE_LOCAL;
			begin(l);
			if (l->came > 0)
				calm_looked(&e->calm, take_events(l, l->came));
			look_at_rings(l);
			ring_was_worth(&e->patience, session, l->n);
			stream_unlock(&e->lock);
			if (l->n)
				return l->n;
		}
		/* Only one signal can be kept, and it ends the wait. */
		if (!is_first && (l->c->thread->kept_signal || l->c->thread->put_off))
			return -EINTR_;
		r = sleep(l);
		if (r == -ERESTART_ && !is_first)
			return -EINTR_;
		if (r != -EAGAIN_)
			return r;
	}
}

/* ---- the call ---------------------------------------------------------------------------------------------------- */

static int read_timeout(struct look *l)
{
	uint64_t t[2];

	l->timeout = ~0ull;
	if (l->c->nr != NR_epoll_pwait2) {
		if ((int32_t)l->c->args[3] >= 0)
			l->timeout = (uint64_t)(uint32_t)l->c->args[3] * 1000000;
		return 1;
	}
	if (!l->c->args[3])
		return 1;
	if (memory_read(t, l->c->args[3], sizeof t) < sizeof t || (int64_t)t[0] < 0 || t[1] >= 1000000000)
		return 0;
	if (t[0] < 1ull << 32)
		l->timeout = t[0] * 1000000000 + t[1];
	return 1;
}

int64_t epoll_await(struct call *c)
{
	struct set *e = set_get(c->args[0]);
	struct look l;
	uint64_t size;
	int64_t r;

	if (!e)
		return dispatch_kernel(c);
	l.c = c;
	l.e = e;
	l.end = l.slice = 0;
	l.most = (uint32_t)c->args[2] < FOUND ? (uint32_t)c->args[2] : FOUND;
	if (!get_relaxed(&e->streams) || (!get_relaxed(&stream_rings) && !process_main.threaded) ||
	    !set_is_usable(e) || (int32_t)c->args[2] <= 0 || (uint32_t)c->args[2] > 1u << 27 || !read_timeout(&l)) {
		set_put(e);
		return dispatch_kernel(c);
	}
	r = wait_for(&l);
	set_put(e);
	size = r > 0 ? (uint64_t)r * sizeof(struct epoll_event) : 0;
	if (size && memory_write(c->args[1], l.found, size) < size)
		return -EFAULT_;
	return r;
}
