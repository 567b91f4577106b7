/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes by a stream that has a ring. Who finds nothing waits as everywhere (ring.h): spins, gives way, and then
 * sleeps in the kernel, on the real socket, by a call that takes nothing and is the program's own as far as signals,
 * time limits, O_NONBLOCK and the end of the connection are concerned.
 */
#include "stream.h"

enum {
	FUTEX_WAKE_ = 1,
	ROOM_WAKES = STREAM_ROOM / 2, /* so much room, and who waits for some is woken */
	FIONREAD_ = 0x541b,
	ASK_BUDGETS = 10, /* session.budget, about 0.5 ms */
	AF_UNIX_ = 1,
	ECONNRESET_ = 104,
	NOT_NOW = -100000, /* somebody else is about to read, and was stopped */
};

/* ---- what comes -------------------------------------------------------------------------------------------------- */

static uint32_t pending(const struct stream_way *w)
{
	uint32_t n = get_acquire(&w->tail) - get_relaxed(&w->head);

	return n <= STREAM_ROOM ? n : 0;
}

uint64_t stream_pending(struct stream *s)
{
	return pending(stream_in(s));
}

uint32_t stream_available(struct stream *s, int32_t fd)
{
	/* A pipe says the same at both ends. */
	struct stream_way *w = stream_is_pipe(s) && s->writes ? stream_out(s) : stream_in(s);
	uint32_t n = 0, bells;

	if (stream_claim(0, s, &w->read_lock, CLAIM_NOW))
		return pending(w);
	bells = get_acquire(&w->bells) - w->bells_taken;
	if (GATE3(NR_ioctl, fd, FIONREAD_, &n))
		n = 0;
	if (get_acquire(&w->is_on)) {
		if (get_acquire(&w->is_back))
			n = n > bells ? n - bells : 0;
		else if (n > w->from - w->came)
			n = (uint32_t)(w->from - w->came);
		n += pending(w);
	}
	stream_unlock(&w->read_lock);
	return n;
}

/* What was in the ring was put into the socket, and between that and what is behind it there is no bell. */
static int is_all_socket(const struct stream_way *w)
{
	return get_acquire(&w->is_back) && get_acquire(&w->tail) == w->head &&
	       get_acquire(&w->bells) == w->bells_taken;
}

/* Nothing in a ring follows: the program's call is one of the kernel's, which of a pipe may take a packet. */
static int is_all_kernel(const struct stream_way *w)
{
	return !get_acquire(&w->is_on) || stream_source(w) == BY_KERNEL_AGAIN || is_all_socket(w);
}

/* What the kernel has, without waiting. The bells that follow may come along, into what nobody looks at. */
static int64_t by_kernel(struct call *c, struct stream *s, struct parts *p, uint32_t flags)
{
	struct stream_way *w = stream_in(s);
	int again = stream_source(w) == BY_KERNEL_AGAIN || is_all_socket(w);
	uint64_t most = ~0ull, v[PARTS_AT_ONCE][2], m[7];
	int64_t r;

	if ((again || get_acquire(&w->is_poured)) && stream_drop_bells(s, (int32_t)c->args[0]))
		return -EAGAIN_;
	if (!again && get_acquire(&w->is_on))
		most = w->from - w->came;
	if (!most) /* the other end has just switched */
		return -EAGAIN_;
	memset(m, 0, sizeof m);
	if (c->nr == NR_recvmsg && memory_read(m, c->args[1], sizeof m) < sizeof m)
		return -EFAULT_;
	r = parts_gather(*p, most, v, &m[3]);
	if (r <= 0)
		return r;
	m[2] = (uint64_t)v;
	if (stream_is_pipe(s))
		r = is_all_kernel(w) ? pipe_readv((int32_t)c->args[0], v, m[3]) :
				       pipe_read((int32_t)c->args[0], v[0][0], v[0][1]);
	else if (c->nr == NR_recvmsg || m[3] > 1)
		r = GATE3(NR_recvmsg, c->args[0], m, flags | MSG_DONTWAIT_);
	else
		r = GATE6(NR_recvfrom, c->args[0], v[0][0], v[0][1], flags | MSG_DONTWAIT_, 0, 0);
	if (r >= 0 && c->nr == NR_recvmsg) { /* the length of the name, of what came with it, and flags */
		memory_write(c->args[1] + 8, &m[1], 4);
		memory_write(c->args[1] + 40, &m[5], 8);
		memory_write(c->args[1] + 48, &m[6], 4);
		p->is_headed = 1;
		p->is_handed = m[5] != 0;
	}
	if (r <= 0)
		return r;
	if (!again && get_acquire(&w->is_on) && w->came + (uint64_t)r > w->from) {
		int64_t data = (int64_t)(w->from - w->came);

		if (!(flags & MSG_PEEK_))
			put_release(&w->bells_taken, w->bells_taken + (uint32_t)(r - data));
		r = data;
	}
	if (!(flags & MSG_PEEK_) && (!again || w->came < w->from))
		w->came += (uint64_t)r;
	parts_pass(p, (uint64_t)r);
	return r ? r : -EAGAIN_;
}

static void give_room(struct stream *s, int32_t fd)
{
	struct stream_way *w = stream_in(s);

	store_before_load();
	if (!get_relaxed(&w->wants_room) || get_relaxed(&w->tail) - w->head > STREAM_ROOM - ROOM_WAKES)
		return;
	GATE3(NR_futex, &w->head, FUTEX_WAKE_, ~0u >> 1);
	stream_bell(s, fd); /* for those that wait in the kernel */
}

static int64_t by_ring(struct call *c, struct stream *s, struct parts *p, uint32_t flags)
{
	struct stream_way *w = stream_in(s);
	uint32_t n = get_acquire(&w->tail) - w->head;
	int64_t r;

	if (!n)
		return -EAGAIN_;
	if (n > STREAM_ROOM)
		return -EIO_;
	r = parts_copy(p, stream_bytes(s->ring, !s->end), w->head, n, 1);
	if (r <= 0 || flags & MSG_PEEK_)
		return r;
	s->calls++;
	s->tale.got += (uint64_t)r;
	put_release(&w->head, w->head + (uint32_t)r);
	if (get_relaxed(&w->bells) != w->bells_taken && get_acquire(&w->tail) == w->head)
		stream_take_bells(s, (int32_t)c->args[0]);
	if (get_relaxed(&w->wants_room))
		give_room(s, (int32_t)c->args[0]);
	return r;
}

/* What is there, in the socket and in the ring. Bytes; 0: the end; -EAGAIN_: nothing. */
static int64_t take_all(struct call *c, struct stream *s, struct parts *p, uint32_t flags)
{
	struct stream_way *w = stream_in(s);
	int64_t done = 0, r;

	for (;;) {
		enum source from = stream_source(w);
		int is_all = is_all_kernel(w);
		uint32_t more = 1;

		/* An error is for the next call. */
		if (done && from != BY_RING && (GATE3(NR_ioctl, c->args[0], FIONREAD_, &more) || !more))
			return done;
		r = from == BY_RING ? by_ring(c, s, p, flags) : by_kernel(c, s, p, flags);
		if (r <= 0)
			return done ? done : r;
		done += r;
		if (p->is_handed || parts_next(p) <= 0)
			return done;
		if (flags & MSG_PEEK_) { /* it leaves the source as it was */
			if (from == BY_KERNEL && get_acquire(&w->is_on) && w->came + (uint64_t)r == w->from &&
			    (r = by_ring(c, s, p, flags)) > 0)
				done += r;
			return done;
		}
		/* Of a pipe one buffer is read at a time. */
		if (is_all || (stream_source(w) == from && !stream_is_pipe(s)))
			return done;
	}
}

static int64_t take(struct call *c, struct stream *s, struct parts *p, uint32_t flags)
{
	struct stream_way *w = stream_in(s);
	struct parts look = *p;
	int64_t r;

	if (get_acquire(&w->tail) == get_relaxed(&w->head) && stream_source(w) == BY_RING)
		return -EAGAIN_;
	r = stream_claim(c, s, &w->read_lock, stream_is_nonblocking(s, flags) ? CLAIM_NOW : CLAIM_WAITS);
	if (r == -EAGAIN_) {
		add_one(&s->missed);
		return NOT_NOW;
	}
	if (r)
		return r;
	if (get_relaxed(&w->pouring))
		stream_poured(s, (int32_t)c->args[0]);
	r = take_all(c, s, flags & MSG_PEEK_ ? &look : p, flags);
	stream_unlock(&w->read_lock);
	p->is_headed = p->is_headed || look.is_headed;
	return r;
}

/* The program's call on the real socket, changed so far that it takes nothing. 1: something is there; 0: the end. */
static int64_t sleep(struct call *c, struct stream *s, uint32_t flags)
{
	struct stream_way *w = stream_in(s);
	struct call wait = *c;
	uint8_t byte;
	int64_t r;

	if (get_relaxed(&w->has_room))
		idle_begins();
	idle_look();
	add_one(&w->sleepers);
	store_before_load();
	if (stream_source(w) == BY_RING && get_acquire(&w->tail) != get_relaxed(&w->head)) {
		r = 1;
	} else if (stream_is_pipe(s)) {
		r = pipe_sleep(c, s);
	} else {
		const uint64_t args[CALL_ARGS] = {c->args[0], (uint64_t)&byte, 1, MSG_PEEK_ | (flags & MSG_DONTWAIT_)};

		wait.nr = NR_recvfrom;
		wait.row = &call_rows[NR_recvfrom];
		memcpy(wait.args, args, sizeof args);
		r = dispatch_kernel(&wait);
	}
	s->ring->ends[s->end].bell.slept++;
	__atomic_sub_fetch(&w->sleepers, 1, __ATOMIC_ACQ_REL);
	if (r == 1 && stream_source(w) == BY_RING && get_acquire(&w->tail) == get_relaxed(&w->head)) {
		if (stream_claim(0, s, &w->read_lock, CLAIM_NOW))
			return r;
		if (get_acquire(&w->tail) == w->head)
			stream_take_bells(s, (int32_t)c->args[0]);
		stream_unlock(&w->read_lock);
	}
	return r;
}

static void linger(struct stream *s)
{
	struct stream_way *w = stream_in(s);
	struct stream_end *ends = s->ring->ends;

	if (stream_source(w) == BY_RING)
		ring_linger(&w->tail, get_relaxed(&w->head), &ends[s->end].bell, &ends[!s->end].bell, &s->patience,
			    session, stream_yield);
}

/* The socket has come to its end. */
static int64_t ended(struct call *c, struct stream *s)
{
	return stream_says_reset(s, (int32_t)c->args[0]) ? -ECONNRESET_ : 0;
}

/*
 * The kernel says so of itself: not twice. Where nothing but bells was left unread by one who was killed, it is wrong,
 * and has come to an orderly end.
 */
static int64_t reset_by_kernel(struct stream *s)
{
	const struct stream_way *out = stream_out(s);

	if (get_acquire(&out->is_on) && get_acquire(&out->tail) == get_acquire(&out->head) &&
	    get_acquire(&out->bells) != get_acquire(&out->bells_taken))
		return 0;
	put_release(&s->ring->ends[s->end].reset, 2);
	return -ECONNRESET_;
}

/*
 * An empty ring does not say that more will come. Who may not wait would ask the kernel each time; but it is asked when
 * the other end has closed something, and else twice in a millisecond, since an end may be killed.
 */
static int may_have_ended(struct stream *s)
{
	uint32_t doubt = get_acquire(&s->ring->ends[!s->end].doubt);

	if (doubt == s->doubt_asked && s->asked && arch_ticks() - s->asked < ASK_BUDGETS * session->budget)
		return 0;
	s->doubt_asked = doubt;
	return 1;
}

static int64_t receive(struct call *c, struct stream *s, struct parts *p, uint32_t flags)
{
	int64_t done = 0, r, end = 0;

	for (;;) {
		r = take(c, s, p, flags);
		if (r > 0) {
			done += r;
			if (!(flags & MSG_WAITALL_) || flags & MSG_PEEK_ || p->is_handed || parts_next(p) <= 0)
				return done;
			continue;
		}
		/* Who was killed had switched just before: the kernel's end is not the ring's. */
		if (!r && stream_source(stream_in(s)) == BY_RING && stream_pending(s))
			continue;
		if (r == -ECONNRESET_)
			r = reset_by_kernel(s);
		if (r == NOT_NOW)
			return done ? done : -EAGAIN_;
		if (r != -EAGAIN_)
			return done ? done : r ? r : stream_source(stream_in(s)) == BY_RING ? 0 : ended(c, s);
		if (end)
			return done ? done : end < 0 ? end : ended(c, s);
		if (!stream_is_nonblocking(s, flags))
			linger(s);
		else if (stream_source(stream_in(s)) == BY_RING && !may_have_ended(s))
			return done ? done : -EAGAIN_;
		if (stream_source(stream_in(s)) == BY_RING && stream_pending(s))
			continue;
		if (!stream_is_nonblocking(s, flags)) {
			r = nap(c, s);
			if (stream_source(stream_in(s)) == BY_RING && stream_pending(s))
				continue;
			if (r)
				return done ? done : r;
		}
		r = sleep(c, s, flags);
		if (r == -ECONNRESET_)
			r = reset_by_kernel(s);
		s->asked = r == -EAGAIN_ ? arch_ticks() : 0;
		if (r < 0)
			return done ? done : r;
		end = !r;
	}
}

/* Of TCP there is none; a Unix socket has its other end's. `len_at`: where its length stands, and goes. */
static int fill_address(struct call *c, struct stream *s, uint64_t at, uint64_t len_at)
{
	const uint32_t none = 0;

	if (s->family == AF_UNIX_ && !GATE3(NR_getpeername, c->args[0], at, len_at)) {
		uint32_t len;

		if (memory_read(&len, len_at, 4) == 4 && len > 2)
			return 1;
	}
	return memory_write(len_at, &none, 4) == 4;
}

/* What the kernel writes into a msghdr with which nothing came but bytes. */
static void fill_message(struct call *c, struct stream *s)
{
	uint64_t m[7], none = 0;

	if (memory_read(m, c->args[1], sizeof m) < sizeof m)
		return;
	if (m[0])
		fill_address(c, s, m[0], c->args[1] + 8);
	memory_write(c->args[1] + 40, &none, 8);
	memory_write(c->args[1] + 48, &none, 4);
}

int64_t stream_receive(struct call *c, struct stream *s)
{
	const uint32_t known = MSG_PEEK_ | MSG_DONTWAIT_ | MSG_WAITALL_ | MSG_NOSIGNAL_ | 0x40000000; /* CMSG_CLOEXEC */
	struct parts p;
	uint32_t flags;
	enum source was;
	int64_t r;

	/* Without room recv waits for something to come, and read does not. */
	if (!parts_of_call(c, &p, &flags) || flags & ~known)
		return c->nr == NR_read || c->nr == NR_readv ? dispatch_kernel(c) : stream_by_kernel(c, s);
	if (get_relaxed(&s->is_damaged))
		return stream_damaged(s, (int32_t)c->args[0]);
	was = stream_source(stream_in(s));
	r = receive(c, s, &p, flags);
	if (r <= 0 && get_relaxed(&s->is_damaged))
		return stream_damaged(s, (int32_t)c->args[0]);
	if (was == BY_RING)
		c->route = ROUTE_LOCAL;
	if (r >= 0 && c->nr == NR_recvmsg && was == BY_RING && !p.is_headed)
		fill_message(c, s);
	if (r >= 0 && c->nr == NR_recvfrom && c->args[4])
		return fill_address(c, s, c->args[4], c->args[5]) ? r : -EFAULT_;
	return r;
}
