/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a stream becomes the kernel's again: what is sent from now on goes by the socket, and what has come by the ring
 * and was not read yet is put there. Called where a descriptor goes to somebody who knows of no ring (descriptors.c,
 * inherit.c, vforked.c), where a call needs the real bytes (calls.c, move.c, epoll.c, select.c), where the other end
 * may be gone (send.c) and where it reads nothing (ready.c).
 */
#include "stream.h"

enum {
	AF_UNIX_ = 1, SOL_SOCKET_ = 1, SO_ERROR_ = 4, FIONREAD_ = 0x541b,
	THROUGH_TRIES = 10000,
	TAKE_TRIES = 1000,
	POUR_TRIES = 5,
};

/* The way's send_lock is held. */
static void go_back(struct stream *s, uint32_t by)
{
	struct stream_way *w = stream_out(s);

	if (get_relaxed(&w->is_back))
		return;
	put_release(&w->is_back, 1);
	nap_end(w);
	nap_unguard(s);
	__atomic_add_fetch(&session->streams_back, 1, __ATOMIC_RELAXED);
	tell_back(s, STREAM_SENDS, by);
}

/* A descriptor of the other end's, out of its process: only that one can put bytes where we would receive them. */
static int64_t other_socket(const struct stream_end *e)
{
	int64_t pidfd = GATE2(NR_pidfd_open, e->pid, 0), fd;

	if (pidfd < 0)
		return pidfd;
	fd = GATE3(NR_pidfd_getfd, pidfd, e->fd, 0);
	GATE1(NR_close, pidfd);
	if (fd >= 0 && stream_inode((int32_t)fd, "") != e->inode) {
		GATE1(NR_close, fd);
		return -EIO_;
	}
	return fd;
}

/*
 * What is in the ring and was not read yet goes into the socket, by a descriptor of who has sent it. Both of the way's
 * locks are held, and the socket holds nothing but bells, or what went there before. What goes there now is read next:
 * as if it had never been in the ring.
 */
static int64_t pour(struct stream_way *w, const uint8_t *bytes, int32_t fd)
{
	uint32_t n = w->tail - w->head;

	if (n > STREAM_ROOM)
		return -EIO_;
	w->poured_from = w->from;
	w->poured_head = w->head;
	put_release(&w->is_poured, 1);
	while (n) {
		uint32_t at = w->head % STREAM_ROOM, part = at + n > STREAM_ROOM ? STREAM_ROOM - at : n;
		int64_t r;

		put_release(&w->pouring, part);
		r = GATE6(NR_sendto, fd, bytes + at, part, MSG_DONTWAIT_ | MSG_NOSIGNAL_, 0, 0);
		if (r > 0) {
			w->from += (uint64_t)r;
			put_release(&w->head, w->head + (uint32_t)r);
			n -= (uint32_t)r;
		}
		put_release(&w->pouring, 0);
		if (r <= 0)
			return -EIO_;
	}
	return 0;
}

/*
 * Who was killed while he poured has not said how much of it the kernel has: what is in the socket beyond what is known
 * of. It may still be on its way. With the read_lock, by who reads.
 */
void stream_poured(struct stream *s, int32_t own)
{
	struct stream_way *w = stream_in(s);
	uint32_t known = get_acquire(&w->bells) - w->bells_taken, there = 0, more = 0, left;

	put_release(&w->head, w->poured_head + (uint32_t)(w->from - w->poured_from));
	left = get_acquire(&w->tail) - w->head;
	left = w->pouring < left ? w->pouring : left;
	known += w->came < w->from ? (uint32_t)(w->from - w->came) : 0;
	for (int same = 0; same < POUR_TRIES; same++) {
		uint32_t was = there;

		if (GATE3(NR_ioctl, own, FIONREAD_, &there))
			break;
		same = there == was ? same : 0;
		life_sleep(&w->pouring, w->pouring, 1);
	}
	if (there > known)
		more = there - known < left ? there - known : left;
	w->from += more;
	put_release(&w->head, w->head + more);
	put_release(&w->pouring, 0);
}

/* Those in the socket that the kernel was given before the way has switched, unless there are no bells among them. */
static int has_bytes_before_bells(const struct stream_way *w)
{
	return w->came < w->from && !w->is_poured && get_acquire(&w->bells) != w->bells_taken;
}

/*
 * What lies in the socket, with bells behind it, goes into the ring, before what is there: the bells are the last, and
 * can be taken. It is as if the way had switched before them. Both of the way's locks are held, and nobody sends by the
 * ring any more.
 */
static int64_t take_in(struct stream *s, int32_t own)
{
	struct stream_way *w = stream_in(s);
	uint64_t n = w->from - w->came;
	uint32_t from = w->head - (uint32_t)n, waiting = 0;

	if (n > STREAM_ROOM - (w->tail - w->head) || !ring_grow(s->ring, !s->end, 0, STREAM_ROOM))
		return -EIO_;
	for (int tries = 0; tries < TAKE_TRIES; tries++) { /* they may be on their way */
		if (GATE3(NR_ioctl, own, FIONREAD_, &waiting) || waiting >= n)
			break;
		stream_yield();
	}
	if (waiting < n)
		return -EIO_;
	for (uint64_t done = 0; done < n;) {
		uint32_t at = (from + (uint32_t)done) % STREAM_ROOM;
		uint64_t part = n - done < STREAM_ROOM - at ? n - done : STREAM_ROOM - at;
		int64_t r = GATE6(NR_recvfrom, own, stream_bytes(s->ring, !s->end) + at, part, MSG_DONTWAIT_, 0, 0);

		if (r <= 0)
			return -EIO_;
		done += (uint64_t)r;
	}
	w->from -= n;
	put_release(&w->head, from);
	return 0;
}

static int64_t pour_in(struct stream *s, int32_t own)
{
	struct stream_way *w = stream_in(s);
	int was_back = get_relaxed(&w->is_back) != 0;
	uint64_t before;
	uint32_t there = 0;
	int64_t fd, r;

	put_release(&w->is_back, 1);
	nap_end(w);
	if (get_acquire(&w->pouring))
		stream_poured(s, own);
	if (stream_is_pipe(s))
		return pipe_restore(s, w, stream_bytes(s->ring, !s->end), own);
	if (has_bytes_before_bells(w)) {
		r = take_in(s, own);
		if (r)
			return r;
	}
	before = w->came < w->from ? w->from - w->came : 0;
	r = stream_drop_bells(s, own);
	if (r || w->tail == w->head)
		return r;
	/* What was sent after the ring's bytes cannot be put behind them. */
	if (was_back && (GATE3(NR_ioctl, own, FIONREAD_, &there) || there > before))
		return -EIO_;
	fd = other_socket(&s->ring->ends[!s->end]);
	if (fd < 0)
		return -EIO_;
	r = pour(w, stream_bytes(s->ring, !s->end), (int32_t)fd);
	GATE1(NR_close, fd);
	return r;
}

/* What is in the ring stays there, and is read first. */
int64_t stream_send_on(struct stream *s, uint32_t by)
{
	struct stream_way *w = stream_out(s);
	int64_t r = stream_claim(0, s, &w->send_lock, CLAIM_TRY);

	if (r)
		return r;
	if (stream_begin(s))
		go_back(s, by);
	stream_unlock(&w->send_lock);
	return 0;
}

/* The way has just gone back, and both of its locks are held. */
static void send_back_rest(struct stream *s, int32_t fd)
{
	struct stream_way *w = stream_out(s);

	if (stream_is_pipe(s)) /* what comes behind it, nobody could put it in front of */
		pipe_restore(s, w, stream_bytes(s->ring, s->end), fd);
	else if (!has_bytes_before_bells(w) && !get_acquire(&w->pouring))
		pour(w, stream_bytes(s->ring, s->end), fd);
}

int64_t stream_send_back(struct stream *s, int32_t fd, enum claim how, uint32_t by)
{
	struct stream_way *w = stream_out(s);
	int64_t r;
	int is_read;

	if (get_acquire(&w->is_back)) {
		/* Somebody may be about to put what is in the ring into the socket, before what the caller has. */
		r = how == CLAIM_TRY ? 0 : stream_claim(0, s, &w->send_lock, how);
		if (!r && how != CLAIM_TRY)
			stream_unlock(&w->send_lock);
		return r;
	}
	/* What was not read may as well stay in the ring, if whoever reads was stopped in the middle of it. */
	is_read = stream_claim(0, s, &w->read_lock, how == CLAIM_TRY ? how : CLAIM_NOW) != 0;
	r = stream_claim(0, s, &w->send_lock, how);
	if (!r) {
		if (stream_begin(s) && !get_relaxed(&w->is_back)) {
			go_back(s, by);
			if (!is_read)
				send_back_rest(s, fd);
		}
		stream_unlock(&w->send_lock);
	}
	if (!is_read)
		stream_unlock(&w->read_lock);
	return r;
}

int64_t stream_leave(struct stream *s, int32_t fd)
{
	struct stream_way *in;
	int64_t r;

	put_release(&s->held->is_spoilt, 1);
	/*
	 * A thread on its way to a ring may not have seen that: it has one, or none, when it is through. If it waits
	 * for us, it sees later that it is too late.
	 */
	store_before_load();
	for (int tries = 0; get_acquire(&s->busy) & NOBODY && tries < THROUGH_TRIES; tries++)
		stream_yield();
	if (s->state == STREAM_MADE)
		stream_meet(s, fd);
	if (s->state != STREAM_JOINED) {
		stream_withdraw(s);
		/* As long as there is a ring, it may have been shared just now. */
		if (s->state == STREAM_MADE && get_acquire(&s->ring->joined) == RING_SHARED)
			return stream_leave(s, fd);
		if (swap_if(&s->state, STREAM_YOUNG, STREAM_PLAIN) || swap_if(&s->state, STREAM_WAITS, STREAM_PLAIN))
			return 0;
		return s->state == STREAM_JOINED ? stream_leave(s, fd) : 0;
	}
	r = stream_send_back(s, fd, CLAIM_LEAVES, tell_by());
	if (r || (stream_is_pipe(s) && s->writes))
		return r;
	tell_back(s, STREAM_SENDS | STREAM_RECEIVES, tell_by());
	in = stream_in(s);
	r = stream_claim(0, s, &in->read_lock, CLAIM_LEAVES);
	if (r)
		return r;
	r = stream_claim(0, s, &in->send_lock, CLAIM_LEAVES);
	if (r) {
		stream_unlock(&in->read_lock);
		return r;
	}
	if (!get_relaxed(&in->is_on)) { /* the other end has not begun, and shall not */
		in->from = in->came;
		put_release(&in->is_on, 1);
	}
	r = pour_in(s, fd);
	stream_as_wanted(s, fd);
	stream_unlock(&in->send_lock);
	stream_unlock(&in->read_lock);
	return r;
}

/*
 * The last one of its descriptors is about to be closed. Whoever is given the other end's later may know of no ring,
 * and the kernel shall see what was not read: then it resets the connection. A bell that lies there must not have it
 * do so.
 */
void stream_part(struct stream *s, int32_t fd)
{
	const struct stream_way *in, *out;

	if (get_acquire(&s->state) != STREAM_JOINED || stream_is_pipe(s))
		return;
	in = stream_in(s);
	out = stream_out(s);
	/*
	 * Other holders go on with the ring, and the last one of them comes here, too. But who reads may want to put
	 * into the socket what we have sent, and knows of nobody else who has it.
	 */
	if (get_acquire(&s->held->holders) != 1) {
		if (get_relaxed(&s->ring->ends[s->end].pid) == process_main.pid &&
		    get_acquire(&out->tail) != get_acquire(&out->head))
			stream_send_back(s, fd, CLAIM_LEAVES, tell_by());
		return;
	}
	if (get_acquire(&in->tail) != in->head || get_acquire(&in->bells) != in->bells_taken)
		stream_leave(s, fd);
	else if (get_acquire(&out->tail) != get_acquire(&out->head))
		stream_send_back(s, fd, CLAIM_LEAVES, tell_by());
}

/* ---- an end that is gone ----------------------------------------------------------------------------------------- */

static uint32_t ask(int32_t fd, uint64_t ms)
{
	uint64_t limit[2] = {0, ms * 1000000};
	struct {
		int32_t fd;
		int16_t events, revents;
	} look = {fd, ms ? 0 : POLLRDHUP_, 0};

	GATE6(NR_ppoll, &look, 1, limit, 0, 8, 0);
	return (uint16_t)look.revents;
}

/*
 * Whoever closes before he has read all resets the connection. Of what is in the ring the kernel does not know, and a
 * TCP socket that has seen nothing but an orderly end would send once more: what it sends there now is answered with a
 * reset, to nobody's harm.
 */
int stream_is_reset(struct stream *s, int32_t fd)
{
	const struct stream_way *out = stream_out(s);
	struct stream_end *own = &s->ring->ends[s->end];
	const struct stream_end *other = &s->ring->ends[!s->end];
	uint32_t error, len = sizeof error;

	if (get_acquire(&own->reset))
		return get_acquire(&own->reset) == 1;
	if (stream_is_pipe(s) || !get_acquire(&out->is_on) || get_acquire(&out->tail) == get_acquire(&out->head))
		return 0;
	if (get_acquire(&other->is_shut))
		return 0;
	if (!(ask(fd, 0) & (s->family == AF_UNIX_ ? POLLHUP_ : POLLRDHUP_ | POLLHUP_)))
		return 0;
	if (!swap_if(&own->reset, 0, 1))
		return 1;
	if (s->family != AF_UNIX_ && GATE6(NR_sendto, fd, "", 1, MSG_DONTWAIT_ | MSG_NOSIGNAL_, 0, 0) == 1) {
		ask(fd, 50);
		GATE6(NR_getsockopt, fd, SOL_SOCKET_, SO_ERROR_, &error, &len, 0);
	}
	return 1;
}

int stream_says_reset(struct stream *s, int32_t fd)
{
	return stream_is_reset(s, fd) && swap_if(&s->ring->ends[s->end].reset, 1, 2);
}
