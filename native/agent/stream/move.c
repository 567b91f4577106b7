/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What receive.c and send.c share: the program's buffers, and bells. A bell stays in
 * the socket until the ring is empty, so that the kernel shows the socket to be readable as long as it is to whoever
 * sleeps there.
 */
#include "stream.h"

enum { VECTOR_MOST = 1024, ECONNRESET_ = 104 };

/* 1: there is one; 0: no more; or an error. */
int64_t parts_next(struct parts *p)
{
	while (!p->len) {
		uint64_t one[2];

		if (!p->count)
			return 0;
		if (memory_read(one, p->vector, sizeof one) < sizeof one)
			return -EFAULT_;
		p->vector += sizeof one;
		p->count--;
		p->at = one[0];
		p->len = one[1];
	}
	return 1;
}

/* As many bytes as are there, or fit. 0: none; or an error. */
int64_t parts_copy(struct parts *p, uint8_t *bytes, uint32_t from, uint32_t n, int in)
{
	int64_t done = 0, more = 0;

	while (n && (more = parts_next(p)) > 0) {
		uint32_t at = from % STREAM_ROOM, part = n;
		uint64_t moved;

		if (part > p->len)
			part = (uint32_t)p->len;
		if (part > STREAM_ROOM - at)
			part = STREAM_ROOM - at;
		moved = in ? memory_write(p->at, bytes + at, part) : memory_read(bytes + at, p->at, part);
		p->at += moved;
		p->len -= moved;
		done += (int64_t)moved;
		from += (uint32_t)moved;
		n -= (uint32_t)moved;
		if (moved < part)
			return done ? done : -EFAULT_;
	}
	return done ? done : more < 0 ? more : 0;
}

int64_t parts_gather(struct parts p, uint64_t most, uint64_t (*v)[2], uint64_t *n)
{
	uint64_t sum = 0;
	int64_t more = 0;

	for (*n = 0; *n < PARTS_AT_ONCE && sum < most && (more = parts_next(&p)) > 0; p.len = 0) {
		uint64_t len = p.len < most - sum ? p.len : most - sum;

		v[*n][0] = p.at;
		v[(*n)++][1] = len;
		sum += len;
	}
	return sum ? (int64_t)sum : more;
}

void parts_pass(struct parts *p, uint64_t n)
{
	while (n && parts_next(p) > 0) {
		uint64_t part = p->len < n ? p->len : n;

		p->at += part;
		p->len -= part;
		n -= part;
	}
}

/* What a call moves, and how. 0: it is not one that goes by the ring. */
int parts_of_call(const struct call *c, struct parts *p, uint32_t *flags)
{
	uint64_t m[7];

	memset(p, 0, sizeof *p);
	*flags = 0;
	switch (c->nr) {
	case NR_sendto:
	case NR_recvfrom:
		*flags = (uint32_t)c->args[3];
		if (c->nr == NR_sendto && c->args[4])
			return 0;
		/* fall through */
	case NR_read:
	case NR_write:
		p->at = c->args[1];
		p->len = c->args[2];
		return p->len && (int64_t)p->len > 0;
	case NR_readv:
	case NR_writev:
		p->vector = c->args[1];
		p->count = c->args[2];
		return p->count && p->count <= VECTOR_MOST;
	case NR_sendmsg:
	case NR_recvmsg:
		*flags = (uint32_t)c->args[2];
		if (memory_read(m, c->args[1], sizeof m) < sizeof m || (c->nr == NR_sendmsg && (m[0] || m[5])))
			return 0;
		p->vector = m[2];
		p->count = m[3];
		return p->count && p->count <= VECTOR_MOST;
	}
	return 0;
}

/* It is not for the ring to make such a call: out of band, into the queue of errors, with descriptors. */
int64_t stream_by_kernel(struct call *c, struct stream *s)
{
	int64_t r = stream_leave(s, (int32_t)c->args[0]);

	return r ? r : dispatch_kernel(c);
}

/* ---- bells ------------------------------------------------------------------------------------------------------- */

/* One is enough, until it is taken. */
static int may_ring(const struct stream_way *w)
{
	return !get_acquire(&w->is_back) && get_acquire(&w->bells) == get_acquire(&w->bells_taken);
}

static void ring_it(struct stream *s, int32_t fd)
{
	const uint64_t byte[1][2] = {{(uint64_t)"", 1}};
	struct stream_way *w = stream_out(s);

	add_one(&w->bells);
	if ((stream_is_pipe(s) ? pipe_write(fd, byte, 1) :
				 GATE6(NR_sendto, fd, "", 1, MSG_DONTWAIT_ | MSG_NOSIGNAL_, 0, 0)) == 1)
		ring_woke(&s->ring->ends[s->end].bell, session);
	else
		__atomic_sub_fetch(&w->bells, 1, __ATOMIC_ACQ_REL);
}

void stream_bell(struct stream *s, int32_t fd)
{
	struct stream_way *w = stream_out(s);

	if (stream_is_pipe(s) && !s->writes) /* nobody can be woken that way */
		return;
	if (!may_ring(w))
		return;
	/*
	 * With the lock: somebody may be about to send bytes by the socket, and a bell must not come behind them. Who
	 * only reads has not begun to send by the ring, and begins with the bell.
	 */
	if (stream_claim(0, s, &w->send_lock, CLAIM_TRY)) /* he who has it rings it, or is seen to */
		return;
	if (stream_begin(s) && may_ring(w))
		ring_it(s, fd);
	stream_unlock(&w->send_lock);
}

void stream_ring_bell(struct stream *s, int32_t fd)
{
	const struct stream_way *w = stream_out(s);

	nap_sent(s); /* what was put there before the sleeper is looked for */
	if (get_relaxed(&w->sleepers) && may_ring(w))
		ring_it(s, fd);
}

void stream_take_bells(struct stream *s, int32_t fd)
{
	struct stream_way *w = stream_in(s);
	uint32_t n = get_acquire(&w->bells) - w->bells_taken;
	uint8_t room[16];
	int64_t r;

	if (!n || n > 1u << 30)
		return;
	n = n < sizeof room ? n : sizeof room;
	r = stream_is_pipe(s) ? pipe_read(fd, (uint64_t)room, n) :
				GATE6(NR_recvfrom, fd, room, n, MSG_DONTWAIT_, 0, 0);
	if (r > 0)
		put_release(&w->bells_taken, w->bells_taken + (uint32_t)r);
	else if (r == -ECONNRESET_) /* which the kernel says once, and not to the program now */
		swap_if(&s->ring->ends[s->end].reset, 0, 1);
}

int64_t stream_drop_bells(struct stream *s, int32_t fd)
{
	struct stream_way *w = stream_in(s);

	/* One that was rung is on its way; a ring that is not as it should be has no claim to be waited for. */
	for (int tries = 0; get_acquire(&w->bells) != w->bells_taken; tries++) {
		if (tries == 1000)
			return -EIO_;
		stream_take_bells(s, fd);
		if (get_acquire(&w->bells) != w->bells_taken)
			stream_yield();
	}
	return 0;
}
