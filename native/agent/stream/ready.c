/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a stream with a ring is ready for. The ring says whether bytes have come, and whether there is room; the kernel
 * says all else, and whether the connection has ended. That the kernel shows the socket to be readable means little:
 * mostly there is a bell. Used by poll.c, epoll.c and waits.c.
 */
#include "stream.h"

enum {
	AF_UNIX_ = 1, WRBAND_ = 0x200, QUIET_TRIES = 3, CALM = 16, PIPE_BUF_ = 4096,
	STUCK_BUDGETS = 2000, /* session.budget, about 0.1 s */
};

static uint32_t watch_lock;

int stream_is_ours(const struct stream *s, uint32_t event)
{
	const struct stream_way *out = stream_out(s);

	if (get_relaxed(&s->is_damaged))
		return 1;
	if (stream_is_pipe(s) && (event == POLLIN_) == (int)s->writes) /* its other end's */
		return 0;
	if (event == POLLIN_)
		return stream_source(stream_in(s)) == BY_RING;
	return get_acquire(&out->is_on) && !get_acquire(&out->is_back);
}

uint32_t stream_domain(const struct stream *s)
{
	return (stream_is_ours(s, POLLIN_) ? (uint32_t)IN_EVENTS : 0) |
	       (stream_is_ours(s, POLLOUT_) ? (uint32_t)OUT_EVENTS : 0);
}

static int has_no_room(const struct stream *s)
{
	const struct stream_way *out = stream_out(s);

	return STREAM_ROOM - (get_relaxed(&out->tail) - get_acquire(&out->head)) < (stream_is_pipe(s) ? PIPE_BUF_ : 1);
}

/* If the other end may be gone, whoever writes will find out. */
int stream_is_full(const struct stream *s)
{
	return has_no_room(s) && get_acquire(&s->ring->ends[!s->end].doubt) == get_relaxed(&s->doubt_then);
}

/*
 * The kernel's buffers hold more than a ring does, and there are programs that rest on it: both send all before either
 * of them reads. Whoever has read nothing for a while may be one of them, so what follows goes by the socket. From one
 * who is only slow, nobody would have had much by the ring.
 */
int stream_unstick(struct stream *s, int32_t fd)
{
	uint32_t head;

	if (!stream_is_ours(s, POLLOUT_) || !has_no_room(s))
		return 0;
	head = get_acquire(&stream_out(s)->head);
	if (!s->stuck || s->stuck_head != head) {
		s->stuck_head = head;
		s->stuck = arch_ticks();
		return 0;
	}
	if (arch_ticks() - s->stuck < STUCK_BUDGETS * session->budget)
		return 0;
	/*
	 * What is in the ring goes there, too, so that who reads can still leave (a pipe becomes larger); but a Unix
	 * socket that holds so much takes no more.
	 */
	if (s->family == AF_UNIX_)
		stream_send_on(s, STREAM_BY_FULL);
	else
		stream_send_back(s, fd, CLAIM_TRY, STREAM_BY_FULL);
	return !stream_is_ours(s, POLLOUT_);
}

uint32_t stream_says(const struct stream *s, uint32_t wanted)
{
	const struct stream_way *in = stream_in(s);
	uint32_t is = 0;

	if (get_relaxed(&s->is_damaged))
		return wanted & (IN_EVENTS | OUT_EVENTS);
	if (wanted & IN_EVENTS && get_acquire(&in->tail) != get_relaxed(&in->head) && stream_source(in) == BY_RING)
		is |= IN_EVENTS;
	if (wanted & OUT_EVENTS && stream_is_ours(s, POLLOUT_) && !stream_is_full(s))
		is |= s->family == AF_UNIX_ ? OUT_EVENTS : OUT_EVENTS & ~WRBAND_;
	return is & wanted;
}

int64_t stream_ask(int32_t fd, uint32_t events)
{
	uint64_t none[2] = {0, 0};
	struct {
		int32_t fd;
		uint16_t events, revents;
	} look = {fd, (uint16_t)events, 0};
	int64_t r = GATE6(NR_ppoll, &look, 1, none, 0, 8, 0);

	return r < 0 ? r : look.revents;
}

/*
 * No bell is left in the socket, so that it is readable for nothing but what follows; 1: there is one that must stay.
 * As long as bytes are in the ring, it has to be seen by whoever else may be asleep; `mine`: sleepers who are not.
 */
int stream_quiet(struct stream *s, int32_t fd, uint32_t mine)
{
	struct stream_way *in = stream_in(s);
	int is_left = 1;

	if (get_acquire(&in->bells) == get_relaxed(&in->bells_taken))
		return 0;
	if (stream_claim(0, s, &in->read_lock, CLAIM_TRY))
		return 1;
	for (int tries = 0; tries < QUIET_TRIES && is_left; tries++) {
		if (tries) /* one that was rung is on its way */
			stream_yield();
		if (stream_source(in) == BY_KERNEL_AGAIN || get_acquire(&in->is_poured))
			stream_drop_bells(s, fd);
		else if (stream_source(in) == BY_RING &&
			 (get_acquire(&in->tail) == in->head || get_relaxed(&in->sleepers) <= mine))
			stream_take_bells(s, fd);
		else
			tries = QUIET_TRIES;
		is_left = get_acquire(&in->bells) != in->bells_taken;
	}
	stream_unlock(&in->read_lock);
	return is_left;
}

/* What is to be shown of what the kernel has said, and the ring says now. */
uint32_t stream_merge(struct stream *s, int32_t fd, uint32_t wanted, uint32_t kernel)
{
	uint32_t domain, says;

	if (wanted & OUT_EVENTS && stream_unstick(s, fd))
		kernel |= (uint32_t)stream_ask(fd, wanted) & OUT_EVENTS;
	domain = stream_domain(s);
	says = stream_says(s, wanted);
	if (kernel & POLLIN_ && wanted & IN_EVENTS && !(kernel & ENDS_EVENTS) && !(says & POLLIN_)) {
		/* A bell, most likely; or the end of the connection; or what follows the bells of one that is back. */
		if (domain & POLLIN_ || get_acquire(&stream_in(s)->bells) != get_relaxed(&stream_in(s)->bells_taken)) {
			int64_t again;

			stream_quiet(s, fd, 0);
			again = stream_ask(fd, wanted | POLLRDHUP_);
			if (again >= 0)
				kernel = (uint32_t)again;
			domain = stream_domain(s);
			says = stream_says(s, wanted);
		}
	}
	if (kernel & ENDS_EVENTS)
		s->asked = 0;
	if (kernel & (POLLRDHUP_ | POLLHUP_) && !stream_is_pipe(s)) /* a pipe shows its end by HUP alone */
		says |= IN_EVENTS;
	if (kernel & (POLLERR_ | POLLHUP_))
		says |= s->family == AF_UNIX_ ? OUT_EVENTS : OUT_EVENTS & ~WRBAND_;
	return (kernel & ~domain & (wanted | POLLERR_ | POLLHUP_ | 0x20)) | (says & domain & wanted);
}

/* ---- who sleeps -------------------------------------------------------------------------------------------------- */

/*
 * Whoever is about to sleep in the kernel says so: to the other end, or as long as there is no ring yet, to whoever
 * makes one.
 */
void stream_watch(struct stream *s, uint32_t *how)
{
	*how = 1;
	if (stream_has_ring(s)) {
		add_one(&stream_in(s)->sleepers);
		return;
	}
	stream_lock(&watch_lock);
	if (s->is_introduced)
		add_one(&stream_in(s)->sleepers);
	else
		s->watchers++;
	*how = s->is_introduced ? 1 : 2;
	stream_unlock(&watch_lock);
}

void stream_unwatch(struct stream *s, uint32_t how)
{
	struct stream_ring *r = __atomic_load_n(&s->ring, __ATOMIC_ACQUIRE);

	if (how == 1) {
		if (r)
			__atomic_sub_fetch(&r->ways[!s->end].sleepers, 1, __ATOMIC_ACQ_REL);
		return;
	}
	stream_lock(&watch_lock);
	if (s->is_introduced)
		__atomic_sub_fetch(&stream_in(s)->sleepers, 1, __ATOMIC_ACQ_REL);
	else if (s->watchers)
		s->watchers--;
	stream_unlock(&watch_lock);
}

/* It has a ring that nobody else uses yet; or after all it has none. */
void stream_introduced(struct stream *s, int is_there)
{
	stream_lock(&watch_lock);
	if (is_there)
		__atomic_add_fetch(&stream_in(s)->sleepers, s->watchers, __ATOMIC_ACQ_REL);
	s->watchers = 0;
	s->is_introduced = (uint32_t)is_there;
	stream_unlock(&watch_lock);
	if (is_there)
		epoll_joined(s);
}

/* In nanoseconds. */
uint64_t stream_now(void)
{
	uint64_t now[2] = {0, 0};

	GATE2(NR_clock_gettime, 1, now);
	return now[0] * 1000000000 + now[1];
}

/* ---- when the kernel is to be asked ------------------------------------------------------------------------------ */

/*
 * Where rings are ready all the time, what else may be is looked for now and then: 20 us after the last time; 0.5 ms
 * where it could only be the end of a connection. But only where there was nothing of late.
 */
int calm_is_over(const struct calm *k)
{
	uint64_t budget = session->budget;

	return k->times < CALM || arch_ticks() - k->looked > (k->others ? budget * 2 / 5 : budget * 10);
}

void calm_looked(struct calm *k, int found)
{
	k->looked = arch_ticks();
	k->times = found ? 0 : k->times + (k->times < CALM);
}
