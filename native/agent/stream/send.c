/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes by a stream that has a ring. Whether anybody is there to read it is the kernel's to say: it is asked when
 * the other end has closed something, or has read nothing for a while.
 */
#include "stream.h"

enum {
	FUTEX_WAIT_ = 0,
	LOOK_BUDGETS = 8, /* session.budget, about 0.4 ms: an end that reads nothing for so long may be gone */
	AF_UNIX_ = 1,
	EPIPE_ = 32, ECONNRESET_ = 104,
};

/* ---- what goes --------------------------------------------------------------------------------------------------- */

/* The kernel knows whether anybody is there; it is asked where there is reason to doubt. */
static int is_gone(struct stream *s, int32_t fd)
{
	struct stream_way *w = stream_out(s);
	uint32_t head, doubt = get_acquire(&s->ring->ends[!s->end].doubt);
	uint64_t now = arch_ticks(), none[2] = {0, 0};
	struct {
		int32_t fd;
		int16_t events, revents;
	} look = {fd, POLLRDHUP_, 0};

	if (doubt == s->doubt_then) {
		if (now - s->looked < LOOK_BUDGETS * session->budget)
			return 0;
		s->looked = now;
		head = get_relaxed(&w->head);
		if (head != s->head_then || head == w->tail) {
			s->head_then = head;
			return 0;
		}
	}
	s->doubt_then = doubt;
	GATE6(NR_ppoll, &look, 1, none, 0, 8, 0);
	return look.revents & (POLLRDHUP_ | POLLHUP_ | POLLERR_);
}

int stream_is_nonblocking(const struct stream *s, uint32_t flags)
{
	return flags & MSG_DONTWAIT_ || get_acquire(&s->held->is_nonblocking);
}

/* Until there is room; a negative number: a signal was first. */
static int64_t wait_for_room(struct call *c, struct stream *s, const struct parts *p)
{
	struct stream_way *w = stream_out(s);
	struct stream_end *ends = s->ring->ends;
	uint32_t head = get_acquire(&w->head), room = STREAM_ROOM - (w->tail - head);
	uint64_t slice[2] = {0, 10000000};
	int64_t r = 0;

	if (room && !(stream_is_pipe(s) && pipe_must_wait(p, room)))
		return 0;
	if (ring_linger(&w->head, head, &ends[s->end].bell, &ends[!s->end].bell, &s->patience, session, stream_yield) ==
	    RING_READY)
		return 0;
	add_one(&w->wants_room);
	store_before_load();
	if (get_acquire(&w->head) == head) {
		struct call wait = *c;
		const uint64_t args[CALL_ARGS] = {(uint64_t)&w->head, FUTEX_WAIT_, head, (uint64_t)slice};

		wait.nr = NR_futex;
		wait.row = &call_rows[NR_futex];
		memcpy(wait.args, args, sizeof args);
		r = dispatch_kernel(&wait);
	}
	__atomic_sub_fetch(&w->wants_room, 1, __ATOMIC_ACQ_REL);
	return r == -EINTR_ || r == -ERESTART_ ? stream_interrupted(c) : 0;
}

/* What is left, by the kernel. */
static int64_t send_rest(struct call *c, struct stream *s, struct parts *p, uint32_t flags)
{
	uint64_t v[PARTS_AT_ONCE][2], m[7];
	int64_t done = 0, r = 0;

	while (parts_next(p) > 0) {
		struct call send = *c;
		uint64_t args[CALL_ARGS] = {c->args[0], (uint64_t)m, flags};

		memset(m, 0, sizeof m);
		m[2] = (uint64_t)v;
		r = parts_gather(*p, ~0ull, v, &m[3]);
		if (r < 0)
			break;
		if (stream_is_pipe(s)) {
			args[1] = m[2];
			args[2] = m[3];
		}
		send.nr = stream_is_pipe(s) ? NR_writev : NR_sendmsg;
		send.row = &call_rows[send.nr];
		memcpy(send.args, args, sizeof args);
		r = dispatch_kernel(&send);
		if (r <= 0)
			break;
		done += r;
		parts_pass(p, (uint64_t)r);
	}
	return done ? done : r;
}

/* With the way's send_lock: -EBUSY_: not yet; -EPIPE_: not by the ring any more. */
static int64_t may_put(struct call *c, struct stream *s)
{
	struct stream_way *w = stream_out(s);

	if (get_relaxed(&w->is_back))
		return -EPIPE_;
	if (!stream_begin(s))
		return -EBUSY_;
	/* For back.c: who introduced himself may be gone by then. */
	if (get_relaxed(&s->ring->ends[s->end].pid) != process_main.pid) {
		s->ring->ends[s->end].fd = (int32_t)c->args[0];
		put_release(&s->ring->ends[s->end].pid, process_main.pid);
	}
	return get_relaxed(&w->is_back) || is_gone(s, (int32_t)c->args[0]) ? -EPIPE_ : 0;
}

/* It is the kernel's from now on. 0, or an error that the kernel does not know of, to be said if `is_first`. */
static int64_t put_no_more(struct call *c, struct stream *s, int is_first)
{
	int32_t fd = (int32_t)c->args[0];
	/* A Unix socket says it to who reads. */
	int is_reset = s->family != AF_UNIX_ && stream_is_reset(s, fd) && (!is_first || stream_says_reset(s, fd));

	int64_t r = stream_send_back(s, fd, CLAIM_LEAVES, STREAM_BY_PEER);

	return is_reset ? -ECONNRESET_ : r;
}

/* Where the other end reads is looked at when half the room is gone: it is in its CPU's cache. */
static uint32_t room_in(struct stream *s)
{
	const struct stream_way *w = stream_out(s);
	uint32_t used = w->tail - s->head_known;

	if (used > STREAM_ROOM / 2) {
		s->head_known = get_acquire(&w->head);
		used = w->tail - s->head_known;
	}
	return used <= STREAM_ROOM ? STREAM_ROOM - used : 0;
}

static void has_put(struct call *c, struct stream *s, int64_t n)
{
	struct stream_way *w = stream_out(s);

	if (n <= 0)
		return;
	s->calls++;
	s->tale.sent += (uint64_t)n;
	c->thread->streamed += (uint64_t)n;
	put_relaxed(&w->put_at, stream_ticks(arch_ticks()));
	put_release(&w->tail, w->tail + (uint32_t)n);
	stream_ring_bell(s, (int32_t)c->args[0]);
}

/* Who may not wait is told when to come again. */
static int64_t claim_to_send(struct call *c, struct stream *s, uint32_t flags)
{
	enum claim how = stream_is_nonblocking(s, flags) ? CLAIM_NOW : CLAIM_WAITS;
	int64_t r = stream_claim(c, s, &stream_out(s)->send_lock, how);

	if (r == -EAGAIN_)
		add_one(&s->fulls);
	return r;
}

/* No memory, no ring. */
static int64_t put_parts(struct stream *s, struct parts *p, uint32_t room)
{
	struct stream_way *w = stream_out(s);
	int64_t done = 0, r = 0;

	while (room && (r = parts_next(p)) > 0) {
		uint32_t n = p->len < room ? (uint32_t)p->len : room;

		if (!ring_grow(s->ring, s->end, w->tail + (uint32_t)done, n))
			return done ? done : -EPIPE_;
		r = parts_copy(p, stream_bytes(s->ring, s->end), w->tail + (uint32_t)done, n, 0);
		if (r <= 0)
			return done ? done : r;
		done += r;
		room -= (uint32_t)r;
	}
	return done ? done : r;
}

/* Bytes that went into the ring; 0: it is full; or what may_put() says. */
static int64_t put(struct call *c, struct stream *s, struct parts *p, uint32_t flags)
{
	struct stream_way *w = stream_out(s);
	int64_t r;

	r = claim_to_send(c, s, flags);
	if (r)
		return r;
	r = may_put(c, s);
	if (!r) {
		uint32_t room = room_in(s);

		if (room && (!stream_is_pipe(s) || !pipe_must_wait(p, room)))
			r = put_parts(s, p, room);
		has_put(c, s, r);
	}
	stream_unlock(&w->send_lock);
	if (r > 0) {
		/* With many connections the next one's place is in no cache, and would have to be waited for. */
		__builtin_prefetch(stream_bytes(s->ring, s->end) + get_relaxed(&w->tail) % STREAM_ROOM, 1);
	}
	return r;
}

static int64_t send(struct call *c, struct stream *s, struct parts *p, uint32_t flags)
{
	int64_t done = 0, r;

	while ((r = parts_next(p)) > 0) {
		r = put(c, s, p, flags);
		if (r == -EBUSY_) /* the first thing to be done: nothing has gone yet */
			return stream_counted(c, s);
		c->route = ROUTE_LOCAL;
		if (r == -EPIPE_) {
			c->route = ROUTE_KERNEL;
			r = put_no_more(c, s, !done);
			if (r)
				return done ? done : r;
			r = send_rest(c, s, p, flags);
			return done ? done + (r > 0 ? r : 0) : r;
		}
		if (r < 0)
			break;
		done += r;
		if (r)
			continue;
		add_one(&s->fulls);
		if (stream_unstick(s, (int32_t)c->args[0]))
			continue;
		if (stream_is_nonblocking(s, flags)) {
			r = -EAGAIN_;
			break;
		}
		r = wait_for_room(c, s, p);
		if (r < 0)
			break;
	}
	return done ? done : r;
}

int64_t stream_send(struct call *c, struct stream *s)
{
	/* DONTROUTE, EOR, CONFIRM and MORE say nothing that matters to a ring. */
	const uint32_t known = MSG_DONTWAIT_ | MSG_NOSIGNAL_ | 4 | 0x80 | 0x800 | 0x8000;
	struct parts p;
	uint32_t flags;

	if (get_relaxed(&s->is_damaged))
		return stream_damaged(s, (int32_t)c->args[0]);
	if (parts_of_call(c, &p, &flags) && !(flags & ~known)) {
		int64_t r = send(c, s, &p, flags);

		return r < 0 && get_relaxed(&s->is_damaged) ? stream_damaged(s, (int32_t)c->args[0]) : r;
	}
	if (flags & ~known || c->nr == NR_sendmsg || (c->nr == NR_sendto && c->args[4]))
		return stream_by_kernel(c, s);
	return dispatch_kernel(c);
}

/* ---- sendfile ---------------------------------------------------------------------------------------------------- */

enum { S_IFMT_ = 0170000, S_IFREG_ = 0100000, SENDFILE_MOST = 0x7ffff000 };

static int is_file(uint64_t fd)
{
	uint64_t st[32];

	memset(st, 0, sizeof st); /* stx_mode is at 28 */
	return !GATE6(NR_statx, fd, "", 0x1000, 1, st, 0) && (st[3] >> 32 & S_IFMT_) == S_IFREG_;
}

/* As put(); 0 at the end of the file, too: *is_end. */
static int64_t put_file(struct call *c, struct stream *s, uint64_t n, const uint64_t *offset, int *is_end)
{
	struct stream_way *w = stream_out(s);
	int64_t r;

	r = claim_to_send(c, s, 0);
	if (r)
		return r;
	r = may_put(c, s);
	if (!r) {
		uint32_t room = room_in(s), at = w->tail % STREAM_ROOM;
		uint64_t to = (uint64_t)stream_bytes(s->ring, s->end) + at;

		room = room > STREAM_ROOM - at ? STREAM_ROOM - at : room;
		n = n < room ? n : room;
		if (n && !ring_grow(s->ring, s->end, at, (uint32_t)n))
			r = -EPIPE_;
		else if (n)
			r = offset ? GATE4(NR_pread64, c->args[1], to, n, *offset) : GATE3(NR_read, c->args[1], to, n);
		*is_end = n && !r;
		has_put(c, s, r);
	}
	stream_unlock(&w->send_lock);
	return r;
}

/* From a file straight into the ring. */
int64_t stream_send_file(struct call *c, struct stream *s)
{
	uint64_t left = c->args[3] < SENDFILE_MOST ? c->args[3] : SENDFILE_MOST, offset = 0;
	int has_offset = c->args[2] != 0, is_end = 0;
	int64_t done = 0, r = 0;

	if (get_relaxed(&s->is_damaged))
		return stream_damaged(s, (int32_t)c->args[0]);
	if (!is_file(c->args[1]) || !left)
		return stream_by_kernel(c, s);
	if (has_offset && memory_read(&offset, c->args[2], 8) < 8)
		return -EFAULT_;
	while (left && !is_end) {
		const struct parts none = {0};

		r = put_file(c, s, left, has_offset ? &offset : 0, &is_end);
		if (r == -EBUSY_ && !done)
			return stream_counted(c, s);
		if (r == -EPIPE_ && !done) {
			r = put_no_more(c, s, 1);
			return r ? r : dispatch_kernel(c);
		}
		if (!r && !is_end && stream_unstick(s, (int32_t)c->args[0]))
			continue;
		if (!r && !is_end) {
			add_one(&s->fulls);
			r = stream_is_nonblocking(s, 0) ? -EAGAIN_ : wait_for_room(c, s, &none);
		}
		if (r < 0)
			break;
		done += r;
		left -= (uint64_t)r;
		offset += (uint64_t)r;
	}
	if (done && has_offset && memory_write(c->args[2], &offset, 8) < 8)
		return -EFAULT_;
	if (!done && r < 0 && get_relaxed(&s->is_damaged))
		return stream_damaged(s, (int32_t)c->args[0]);
	c->route = ROUTE_LOCAL;
	return done ? done : is_end ? 0 : r;
}
