/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is different where a stream is a pipe: it goes one way, its bells are written and read like bytes, nothing can
 * be looked at without being taken, and whether a call would block is asked first. Called by calls.c, meet.c, move.c,
 * back.c, receive.c and send.c.
 */
#include "stream.h"

enum {
	FIONREAD_ = 0x541b,
	F_GETFL_ = 3, F_SETPIPE_SZ_ = 1031, F_GETPIPE_SZ_ = 1032,
	O_WRONLY_ = 1, O_NONBLOCK_ = 04000, O_DIRECT_ = 040000, O_CLOEXEC_ = 02000000,
	PIPE_BUF_ = 4096,
	PIPE_MOST = 1 << 20, /* the kernel's own limit is that for most */
	SLACK = 3 * 4096,    /* what is written in so many parts may begin as many pages */
	RWF_NOWAIT_ = 8, RWF_NOSIGNAL_ = 0x100,
	EPIPE_ = 32, EOPNOTSUPP_ = 95,
};

/* The kernel reads and writes pipes without waiting (6.4) and without a signal (6.18), or has said that it does not. */
static uint8_t no_read, no_write;

static uint32_t waiting(int32_t fd)
{
	uint32_t n = 0;

	return GATE3(NR_ioctl, fd, FIONREAD_, &n) ? 0 : n;
}

static uint32_t look(int32_t fd, uint32_t events)
{
	uint64_t none[2] = {0, 0};
	struct {
		int32_t fd;
		int16_t events, revents;
	} p = {fd, (int16_t)events, 0};

	GATE6(NR_ppoll, &p, 1, none, 0, 8, 0);
	return (uint32_t)p.revents;
}

int pipe_is_packets(int32_t fd)
{
	return GATE2(NR_fcntl, fd, F_GETFL_) & O_DIRECT_ ? 1 : 0;
}

/* The other end of it, or the same once more; nobody who waits is in the way. */
static int64_t reopen(int32_t fd, int writes)
{
	char path[32];

	*start_decimal(start_append(path, "/proc/self/fd/"), (uint32_t)fd) = 0;
	return GATE4(NR_openat, -100, path, (writes ? O_WRONLY_ : 0) | O_NONBLOCK_ | O_CLOEXEC_, 0);
}

int pipe_is_fit(int32_t fd, int writes)
{
	int64_t other = reopen(fd, !writes);

	if (other < 0)
		return 0;
	GATE1(NR_close, other);
	return GATE2(NR_fcntl, fd, F_GETPIPE_SZ_) >= STREAM_ROOM;
}

static int64_t move_all(uint64_t nr, int64_t fd, const uint8_t *bytes, uint64_t n)
{
	while (n) {
		int64_t r = GATE3(nr, fd, bytes, n);

		if (r <= 0)
			return -EIO_;
		bytes += r;
		n -= (uint64_t)r;
	}
	return 0;
}

/* `before`: what is there in front of the bells. */
static int64_t refill(struct stream_way *w, const uint8_t *bytes, int64_t from, int64_t to, uint64_t before)
{
	uint32_t n = w->tail - w->head, bells = get_acquire(&w->bells) - w->bells_taken, at = w->head % STREAM_ROOM;
	uint32_t first = at + n > STREAM_ROOM ? STREAM_ROOM - at : n;
	uint64_t all = before + bells;
	uint8_t *kept = all ? memory_pages(all) : 0;
	int64_t r;

	if (all && !kept)
		return -ENOMEM_;
	r = move_all(NR_read, from, kept, all);
	if (!r)
		r = move_all(NR_write, to, kept, before);
	if (!r)
		r = move_all(NR_write, to, bytes + at, first);
	if (!r)
		r = move_all(NR_write, to, bytes, n - first);
	if (kept)
		GATE2(NR_munmap, kept, all);
	if (r)
		return r;
	put_release(&w->bells_taken, w->bells_taken + bells);
	put_release(&w->is_poured, 1);
	w->from += n;
	put_release(&w->head, w->tail);
	return 0;
}

/*
 * First what went by the kernel and was not read yet, then bells: these are taken out, and in their place comes what is
 * in the ring. Who has the other end need not be there any more.
 */
int64_t pipe_restore(const struct stream *s, struct stream_way *w, const uint8_t *bytes, int32_t own)
{
	uint32_t n = get_acquire(&w->tail) - w->head, bells = get_acquire(&w->bells) - w->bells_taken;
	uint64_t before = w->came < w->from ? w->from - w->came : 0;
	int64_t from, to, r = -EIO_;

	if (!n && !bells)
		return 0;
	if (n > STREAM_ROOM || before + bells > PIPE_MOST || waiting(own) != before + bells)
		return -EIO_;
	if (GATE2(NR_fcntl, own, F_GETPIPE_SZ_) < (int64_t)(before + n + SLACK) &&
	    GATE3(NR_fcntl, own, F_SETPIPE_SZ_, before + n + SLACK) < 0)
		return -EIO_;
	from = s->writes ? reopen(own, 0) : own;
	to = reopen(own, 1);
	if (from >= 0 && to >= 0)
		r = refill(w, bytes, from, to, before);
	if (to >= 0)
		GATE1(NR_close, to);
	if (from >= 0 && from != own)
		GATE1(NR_close, from);
	return r;
}

int64_t pipe_read(int32_t fd, uint64_t to, uint64_t len)
{
	uint64_t v[2] = {to, len};
	uint32_t n;

	if (!no_read) {
		int64_t r = GATE6(NR_preadv2, fd, v, 1, -1, -1, RWF_NOWAIT_);

		if (r != -EOPNOTSUPP_ && r != -EINVAL_)
			return r;
		no_read = 1;
	}
	n = waiting(fd);
	if (!n)
		return look(fd, POLLIN_) & POLLHUP_ && !waiting(fd) ? 0 : -EAGAIN_;
	return GATE3(NR_read, fd, to, len < n ? len : n);
}

/* Without readers it would be a signal. */
int64_t pipe_write(int32_t fd, const uint64_t (*v)[2], uint64_t n)
{
	if (!no_write) {
		int64_t r = GATE6(NR_pwritev2, fd, v, n, -1, -1, RWF_NOWAIT_ | RWF_NOSIGNAL_);

		if (r != -EOPNOTSUPP_ && r != -EINVAL_)
			return r;
		no_write = 1;
	}
	switch (look(fd, POLLOUT_)) {
	case POLLOUT_:
		return GATE3(NR_writev, fd, v, n);
	case 0:
		return -EAGAIN_;
	}
	return -EPIPE_;
}

/* As pipe_read(), of one that is the kernel's again; by one call, since there may be packets. */
int64_t pipe_readv(int32_t fd, const void *v, uint64_t n)
{
	if (!waiting(fd))
		return look(fd, POLLIN_) & POLLHUP_ && !waiting(fd) ? 0 : -EAGAIN_;
	return GATE3(NR_readv, fd, v, n);
}

/* Somebody of whom we do not know may have changed it. */
static int is_nonblocking(int32_t fd, const struct stream *s)
{
	if (!get_acquire(&s->held->is_spoilt))
		return stream_is_nonblocking(s, 0);
	return GATE2(NR_fcntl, fd, F_GETFL_) & NONBLOCK_ ? 1 : 0;
}

int64_t pipe_sleep(struct call *c, const struct stream *s)
{
	struct {
		int32_t fd;
		int16_t events, revents;
	} p = {(int32_t)c->args[0], POLLIN_, 0};
	const uint64_t args[CALL_ARGS] = {(uint64_t)&p, 1, 0, 0, 8};
	struct call wait = *c;
	int64_t r;

	if (is_nonblocking(p.fd, s)) {
		p.revents = (int16_t)look(p.fd, POLLIN_);
		r = p.revents ? 1 : -EAGAIN_;
	} else {
		wait.nr = NR_ppoll;
		wait.row = &call_rows[NR_ppoll];
		memcpy(wait.args, args, sizeof args);
		r = dispatch_kernel(&wait);
	}
	if (r == -EINTR_)
		return stream_interrupted(c);
	return r == 1 ? !!(p.revents & POLLIN_) : r;
}

/* So few bytes go at once or not at all. */
int pipe_must_wait(const struct parts *p, uint32_t room)
{
	struct parts all = *p;
	uint64_t n = 0;

	while (n <= PIPE_BUF_ && parts_next(&all) > 0) {
		n += all.len;
		all.len = 0;
	}
	return n <= PIPE_BUF_ && n > room;
}
