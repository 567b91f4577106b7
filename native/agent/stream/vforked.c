/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A child of vfork has our memory, in which nobody else runs until its exec or end, and descriptors of its own. It is
 * counted as a holder of all streams that there are. What it holds at its exec is looked up by the inodes, and the rest
 * is given up when its parent goes on. If that one has threads, which run meanwhile, it is not counted, and what it
 * copies or keeps is the kernel's. Called by calls.c, inherit.c and descriptors.c.
 */
#include "stream.h"

enum {
	F_DUPFD_ = 0, F_GETFD_ = 1, F_GETFL_ = 3, F_SETFL_ = 4, F_DUPFD_CLOEXEC_ = 1030,
	FIOCLEX_ = 0x5451, FIONCLEX_ = 0x5450,
	ACCESS_ = 3,
};

static uint32_t is_there, top; /* descriptors from there on are no stream's */

int vforked_is_there(void)
{
	return get_acquire(&is_there) != 0;
}

/* It has had a child itself, by fork. */
void vforked_forget(void)
{
	is_there = 0;
}

static void has_number(int64_t fd)
{
	if (fd >= 0 && fd < DESCRIPTORS)
		raise_to(&top, (uint32_t)fd + 1);
}

static void spoil(const struct stream *s)
{
	struct stream_held *h = s->held;

	if (h) /* else another thread has just closed it */
		put_release(&h->is_spoilt, 1);
}

/* It may have put anything at a stream's number, and a stream anywhere. */
static struct stream *stream_of(int32_t fd)
{
	uint64_t inode = stream_inode(fd, "");
	int64_t access = GATE2(NR_fcntl, fd, F_GETFL_) & ACCESS_;
	struct stream *s;

	for (uint32_t i = 0; inode && (s = stream_numbered(i)); i++)
		if (stream_is_used(s) && s->inode == (stream_is_pipe(s) ? 2 * inode + (access == 1) : inode))
			return s;
	return 0;
}

void vforked_lend(void)
{
	struct stream *s;

	top = stream_top();
	for (uint32_t i = 0; (s = stream_numbered(i)); i++) {
		if (!stream_is_used(s))
			continue;
		if (!s->inode && !stream_is_pipe(s))
			s->inode = stream_inode(stream_descriptor(s), "");
		add_one(&s->held->holders);
		if (!s->inode)
			spoil(s);
		s->heirs = HEIRS_LENT;
	}
	put_release(&is_there, 1);
}

void vforked_over(uint32_t pid)
{
	struct stream *s;

	put_release(&is_there, 0);
	for (uint32_t i = 0; (s = stream_numbered(i)); i++) {
		if (s->heirs == HEIRS_LENT)
			held_leave(s->held, pid);
		s->heirs = HEIRS_NONE;
	}
}

void vforked_leave(void)
{
	struct stream *s;

	for (uint32_t fd = 0; vforked_is_there() && fd < top; fd++) {
		s = stream_of((int32_t)fd);
		if (s)
			stream_leave(s, (int32_t)fd);
	}
	for (uint32_t i = 0; (s = stream_numbered(i)); i++)
		if (stream_is_used(s))
			spoil(s);
}

int64_t vforked_before_exec(const struct process_self *p, int is_caught, uint32_t most)
{
	for (uint32_t fd = 0; fd < top; fd++) {
		struct stream *s;
		int64_t r;

		if (!stream_survives_exec(fd))
			continue;
		s = stream_of((int32_t)fd);
		if (!s)
			continue;
		r = stream_pass_on(p, (int32_t)fd, s, is_caught, &most);
		if (r)
			return r;
		if (s->heirs == HEIRS_LENT)
			s->heirs = HEIRS_KEPT;
	}
	return 0;
}

/* ---- its calls --------------------------------------------------------------------------------------------------- */

/* Of a stream that it holds: bytes that nobody would count, or what only the kernel can do. */
static int64_t leave(uint64_t fd)
{
	struct stream *s = stream_of((int32_t)fd);

	return s ? stream_leave(s, (int32_t)fd) : 0;
}

static int64_t asks(struct call *c)
{
	int is_fcntl = c->nr == NR_fcntl;
	uint32_t what = (uint32_t)c->args[1];
	const struct stream *s;
	int64_t r;

	if (is_fcntl && what >= F_GETFD_ && what <= F_GETFL_)
		return dispatch_kernel(c);
	if (c->nr == NR_ioctl && (what == FIOCLEX_ || what == FIONCLEX_))
		return dispatch_kernel(c);
	if (is_fcntl && (what == F_DUPFD_ || what == F_DUPFD_CLOEXEC_)) {
		if (epoll_known((uint32_t)c->args[0]))
			epoll_give_up((uint32_t)c->args[0]);
		r = dispatch_kernel(c);
		has_number(r);
		return r;
	}
	leave(c->args[0]);
	r = dispatch_kernel(c);
	s = !r && is_fcntl && what == F_SETFL_ ? stream_of((int32_t)c->args[0]) : 0;
	if (s)
		put_release(&s->held->is_nonblocking, !!(c->args[2] & NONBLOCK_));
	return r;
}

static int copies(uint64_t nr)
{
	return nr == NR_dup || nr == NR_dup2 || nr == NR_dup3;
}

static int64_t uncounted(struct call *c)
{
	if (copies(c->nr) || c->nr == NR_fcntl || c->nr == NR_ioctl || c->nr == NR_epoll_ctl)
		stream_leave_number((uint32_t)c->args[0]);
	return dispatch_kernel(c);
}

static int64_t moves(struct call *c)
{
	int64_t r;

	if (c->nr == NR_sendmsg || c->nr == NR_sendmmsg) /* maybe with descriptors */
		vforked_leave();
	r = leave(c->args[0]);
	if (!r && (c->nr == NR_splice || c->nr == NR_tee || c->nr == NR_sendfile))
		r = leave(c->args[c->nr == NR_splice ? 2 : 1]);
	return r ? r : dispatch_kernel(c);
}

int64_t vforked_call(struct call *c, uint8_t concern)
{
	int64_t r;

	if (!vforked_is_there())
		return uncounted(c);
	switch (concern) {
	case ASKS:
		return asks(c);
	case LEAVES:
	case BYTES_COME:
	case BYTES_GO:
		return moves(c);
	case CHANGES_SET:
		leave(c->args[2]);
		break;
	case RENUMBERS:
		if (copies(c->nr) && epoll_known((uint32_t)c->args[0]))
			epoll_give_up((uint32_t)c->args[0]);
		break;
	}
	r = dispatch_kernel(c);
	if (copies(c->nr))
		has_number(r);
	if (concern == OPENS && r >= 0)
		stream_reopened((int32_t)r);
	return r;
}
