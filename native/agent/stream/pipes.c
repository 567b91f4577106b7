/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is different where a stream is a pipe: it goes one way, its bells are written and read like bytes, nothing can
 * be looked at without being taken, and whether a call would block is asked first. Called by move.c, receive.c and
 * send.c.
 */
#include "stream.h"

enum {
	FIONREAD_ = 0x541b,
	F_GETFL_ = 3, O_DIRECT_ = 040000,
	PIPE_BUF_ = 4096,
};

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

/* Under the read_lock nobody else takes what is there. */
int64_t pipe_read(int32_t fd, uint64_t to, uint64_t len)
{
	uint32_t n = waiting(fd);

	if (!n)
		return look(fd, POLLIN_) & POLLHUP_ && !waiting(fd) ? 0 : -EAGAIN_;
	return GATE3(NR_read, fd, to, len < n ? len : n);
}

/* Without readers it would be a signal; without room there is enough to be woken by. */
int pipe_bell(int32_t fd)
{
	return look(fd, POLLOUT_) == POLLOUT_ && GATE3(NR_write, fd, "", 1) == 1;
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
	if (r == -EINTR_) /* a read would be made again, if the signal's handler wants that */
		return -ERESTART_;
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
