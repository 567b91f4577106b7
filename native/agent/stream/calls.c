/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calls that concern streams: dispatch.c brings them here, fast.c asks first. Each goes on to the file that
 * stream.h names.
 */
#include "stream.h"

enum {
	AF_UNIX_ = 1,
	SOCK_STREAM_ = 1, SOL_SOCKET_ = 1, SO_TYPE_ = 3, SO_RCVTIMEO_ = 20, SO_DOMAIN_ = 39,
	IPPROTO_IP_ = 0, IPPROTO_TCP_ = 6, IPPROTO_IPV6_ = 41,
	F_DUPFD_ = 0, F_SETFL_ = 4, F_SETOWN_ = 8, F_SETSIG_ = 10, F_SETOWN_EX_ = 15, F_DUPFD_CLOEXEC_ = 1030,
	F_SETPIPE_SZ_ = 1031,
	FASYNC_ = 020000, O_DIRECT_ = 040000,
	FIONREAD_ = 0x541b, SIOCOUTQ_ = 0x5411, FIONBIO_ = 0x5421, FIOCLEX_ = 0x5451, FIONCLEX_ = 0x5450,
	TCGETS_ = 0x5401, TIOCGPGRP_ = 0x540f, TIOCGWINSZ_ = 0x5413,
	SCM_RIGHTS_ = 1,
	RANGE_UNSHARE_ = 2, RANGE_CLOEXEC_ = 4,
};

/* What concerns streams. */
static const struct {
	uint64_t nr;
	uint8_t concern;
} calls[] = {
	{NR_read, BYTES_COME}, {NR_readv, BYTES_COME}, {NR_recvfrom, BYTES_COME}, {NR_recvmsg, BYTES_COME},
	{NR_write, BYTES_GO}, {NR_writev, BYTES_GO}, {NR_sendto, BYTES_GO}, {NR_sendmsg, BYTES_GO},
	{NR_sendfile, BYTES_GO},
	{NR_socket, MAKES}, {NR_socketpair, MAKES}, {NR_pipe, MAKES}, {NR_pipe2, MAKES}, {NR_accept, MAKES},
	{NR_accept4, MAKES},
	{NR_fcntl, ASKS}, {NR_ioctl, ASKS}, {NR_shutdown, ASKS}, {NR_setsockopt, ASKS}, {NR_getsockopt, ASKS},
	{NR_close, RENUMBERS}, {NR_close_range, RENUMBERS}, {NR_dup, RENUMBERS}, {NR_dup2, RENUMBERS},
	{NR_dup3, RENUMBERS},
	{NR_open, OPENS}, {NR_openat, OPENS}, {NR_openat2, OPENS},
	{NR_poll, WAITS}, {NR_ppoll, WAITS}, {NR_select, WAITS}, {NR_pselect6, WAITS},
	{NR_epoll_create, MAKES_SET}, {NR_epoll_create1, MAKES_SET}, {NR_epoll_ctl, CHANGES_SET},
	{NR_epoll_wait, WAITS_SET}, {NR_epoll_pwait, WAITS_SET}, {NR_epoll_pwait2, WAITS_SET},
	{NR_recvmmsg, LEAVES}, {NR_vmsplice, LEAVES}, {NR_sendmmsg, LEAVES}, {NR_splice, LEAVES},
	{NR_tee, LEAVES}, {NR_preadv2, LEAVES}, {NR_pwritev2, LEAVES},
	{NR_io_uring_setup, ENDS_ALL}, {NR_io_submit, ENDS_ALL}, {NR_unshare, ENDS_ALL}, {NR_setns, ENDS_ALL},
};

static uint8_t concerns[CALL_LIMIT] WARM("");

void calls_setup(void)
{
	for (uint32_t i = 0; i < sizeof calls / sizeof *calls; i++)
		if (calls[i].nr < CALL_LIMIT)
			concerns[calls[i].nr] = calls[i].concern;
}

static int64_t moves(struct call *c, struct stream *s, int comes);

int64_t stream_counted(struct call *c, struct stream *s)
{
	int comes = c->nr == NR_read || c->nr == NR_readv || c->nr == NR_recvfrom || c->nr == NR_recvmsg;
	uint32_t flags = c->nr == NR_recvfrom ? (uint32_t)c->args[3] : c->nr == NR_recvmsg ? (uint32_t)c->args[2] : 0;
	int64_t r;

	while (add_one(&s->busy) & NOBODY) {
		__atomic_sub_fetch(&s->busy, 1, __ATOMIC_ACQ_REL);
		stream_yield();
	}
	if (comes ? stream_has_ring(s) :
		    get_acquire(&s->state) == STREAM_JOINED && get_acquire(&stream_out(s)->is_on)) {
		/* It has become so meanwhile. */
		__atomic_sub_fetch(&s->busy, 1, __ATOMIC_ACQ_REL);
		return moves(c, s, comes);
	}
	r = dispatch_kernel(c);
	if (r > 0 && !(comes && flags & MSG_PEEK_))
		__atomic_add_fetch(comes ? &s->held->received : &s->held->sent, (uint64_t)r, __ATOMIC_RELAXED);
	__atomic_sub_fetch(&s->busy, 1, __ATOMIC_ACQ_REL);
	return r;
}

/* A pipe's end is for one way, and no socket: the kernel says so. */
static int is_misused(const struct call *c, const struct stream *s, int comes)
{
	return stream_is_pipe(s) && (comes == (int)s->writes || c->nr == NR_recvfrom || c->nr == NR_recvmsg ||
				     c->nr == NR_sendto || c->nr == NR_sendmsg);
}

static int64_t moves(struct call *c, struct stream *s, int comes)
{
	uint32_t state = get_acquire(&s->state);

	if (is_misused(c, s, comes))
		return dispatch_kernel(c);
	if (state != STREAM_PLAIN && state != STREAM_JOINED) {
		stream_meet(s, (int32_t)c->args[0]);
		state = get_acquire(&s->state);
	}
	if (state == STREAM_PLAIN)
		return dispatch_kernel(c);
	if (comes && (state == STREAM_MADE || state == STREAM_JOINED))
		return stream_receive(c, s);
	if (c->nr == NR_sendfile)
		stream_leave_number((uint32_t)c->args[1]);
	if (state == STREAM_JOINED)
		return c->nr == NR_sendfile ? stream_send_file(c, s) : stream_send(c, s);
	return stream_counted(c, s);
}

static void blocks_not(struct stream *s, uint64_t flags)
{
	if (s)
		put_release(&s->held->is_nonblocking, !!(flags & NONBLOCK_));
}

static int64_t opened(struct call *c)
{
	int64_t r = dispatch_kernel(c);
	int32_t pair[2];
	struct stream *one, *two;

	if (r < 0 || !stream_is_wanted((uint32_t)c->args[0]) || (c->args[1] & 0xf) != SOCK_STREAM_ ||
	    (c->args[2] && (int32_t)c->args[2] != IPPROTO_TCP_))
		return r;
	if (c->nr == NR_socket) {
		blocks_not(stream_born((uint32_t)r, (uint32_t)c->args[0]), c->args[1]);
		return r;
	}
	if (memory_read(pair, c->args[3], sizeof pair) < sizeof pair)
		return r;
	one = stream_born((uint32_t)pair[0], AF_UNIX_);
	two = stream_born((uint32_t)pair[1], AF_UNIX_);
	if (!one || !two)
		return r;
	blocks_not(one, c->args[1]);
	blocks_not(two, c->args[1]);
	stream_pair(one, two, pair);
	return r;
}

static int64_t piped(struct call *c)
{
	int64_t r = dispatch_kernel(c);
	int32_t pair[2];
	struct stream *one, *two;

	if (r < 0 || !stream_is_wanted(STREAM_PIPE) || memory_read(pair, c->args[0], sizeof pair) < sizeof pair ||
	    pipe_is_packets(pair[0]))
		return r;
	one = stream_born((uint32_t)pair[0], STREAM_PIPE);
	two = stream_born((uint32_t)pair[1], STREAM_PIPE);
	blocks_not(one, c->nr == NR_pipe2 ? c->args[1] : 0);
	blocks_not(two, c->nr == NR_pipe2 ? c->args[1] : 0);
	if (one && two) {
		two->writes = 1;
		stream_pair(one, two, pair);
	}
	return r;
}

/* /dev/fd, /dev/stdin and /proc/PID/fd: somebody holds a pipe of whom nobody has told us. */
static int64_t reopens(struct call *c)
{
	uint64_t at = c->args[c->nr == NR_open ? 0 : 1];
	char begin[6];
	int64_t r = dispatch_kernel(c);

	if (r >= 0 && memory_read(begin, at, 5) == 5 && (!memcmp(begin, "/proc", 5) || !memcmp(begin, "/dev/", 5)))
		stream_reopened((int32_t)r);
	return r;
}

static int64_t accepted(struct call *c)
{
	int64_t r = dispatch_kernel(c);
	uint32_t family = 0, len = 4;

	if (r >= 0 && !GATE6(NR_getsockopt, r, SOL_SOCKET_, SO_DOMAIN_, &family, &len, 0) &&
	    stream_is_wanted(family)) {
		uint32_t type = 0;

		if (!GATE6(NR_getsockopt, r, SOL_SOCKET_, SO_TYPE_, &type, &len, 0) && type == SOCK_STREAM_)
			blocks_not(stream_born((uint32_t)r, family), c->nr == NR_accept4 ? c->args[3] : 0);
	}
	return r;
}

/* Those that change nothing of what bytes come when. */
static int is_harmless_option(uint32_t level, uint32_t name)
{
	/* NODELAY, CORK, KEEPIDLE, KEEPINTVL, KEEPCNT, QUICKACK, USER_TIMEOUT */
	const uint64_t tcp = 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 12 | 1 << 18;
	/* REUSEADDR, SNDBUF, RCVBUF, KEEPALIVE, LINGER, REUSEPORT, RCVTIMEO */
	const uint64_t socket = 1 << 2 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 13 | 1 << 15 | 1 << 20;

	if (name > 63)
		return 0;
	if (level == IPPROTO_TCP_)
		return tcp >> name & 1;
	if (level == SOL_SOCKET_)
		return socket >> name & 1;
	return level == IPPROTO_IP_ || level == IPPROTO_IPV6_;
}

static int64_t asked_of(struct call *c, struct stream *s)
{
	uint32_t n;
	struct stream_way *w;
	int64_t r;

	if ((uint32_t)c->args[1] == FIONBIO_) {
		r = dispatch_kernel(c);
		if (!r && memory_read(&n, c->args[2], 4) == 4)
			blocks_not(s, n ? NONBLOCK_ : 0);
		return r;
	}
	if (!stream_has_ring(s))
		return dispatch_kernel(c);
	switch ((uint32_t)c->args[1]) {
	case FIONREAD_:
		n = stream_available(s, (int32_t)c->args[0]);
		return memory_write(c->args[2], &n, 4) < 4 ? -EFAULT_ : 0;
	case SIOCOUTQ_:
		if (!stream_is_ours(s, POLLOUT_))
			break;
		w = stream_out(s);
		n = get_relaxed(&w->tail) - get_acquire(&w->head);
		return memory_write(c->args[2], &n, 4) < 4 ? -EFAULT_ : 0;
	case FIOCLEX_:
	case FIONCLEX_:
	case TCGETS_: /* whether it is a terminal */
	case TIOCGPGRP_:
	case TIOCGWINSZ_:
		break;
	default:
		stream_leave(s, (int32_t)c->args[0]);
	}
	return dispatch_kernel(c);
}

static void copied(uint32_t from, uint32_t to)
{
	stream_copied(from, to);
	epoll_copied(from, to);
}

static int64_t controls(struct call *c, struct stream *s)
{
	int64_t r;

	switch ((int32_t)c->args[1]) {
	case F_DUPFD_:
	case F_DUPFD_CLOEXEC_:
		r = dispatch_kernel(c);
		if (r >= 0)
			copied((uint32_t)c->args[0], (uint32_t)r);
		return r;
	case F_SETFL_:
		if (!s)
			break;
		if (c->args[2] & (FASYNC_ | O_DIRECT_)) /* that makes packets of what goes by a pipe */
			stream_leave(s, (int32_t)c->args[0]);
		r = dispatch_kernel(c);
		if (!r)
			blocks_not(s, c->args[2]);
		return r;
	case F_SETOWN_:
	case F_SETSIG_:
	case F_SETOWN_EX_:
	case F_SETPIPE_SZ_: /* what is in the ring must find room there */
		if (s)
			stream_leave(s, (int32_t)c->args[0]);
	}
	return dispatch_kernel(c);
}

static int64_t shut(struct call *c, struct stream *s)
{
	int64_t r;

	/* Where nobody reads any more, the kernel would not take what is in the ring. */
	if ((int32_t)c->args[1] != 1 || get_acquire(&s->state) != STREAM_JOINED)
		stream_leave(s, (int32_t)c->args[0]);
	else
		stream_send_back(s, (int32_t)c->args[0], CLAIM_LEAVES, tell_by());
	if (stream_has_ring(s) && (int32_t)c->args[1] != 0)
		put_release(&s->ring->ends[s->end].is_shut, 1);
	r = dispatch_kernel(c);
	s->asked = 0;
	stream_doubt(s);
	return r;
}

/* Descriptors in a message go to who knows whom. */
static int64_t given_away(uint64_t message)
{
	uint64_t m[7], head[2];
	int64_t r = 0;

	if (memory_read(m, message, sizeof m) < sizeof m || !m[4])
		return 0;
	for (int i = 0; !r && i < 16 && m[5] >= sizeof head; i++) {
		uint64_t step;

		if (memory_read(head, m[4], sizeof head) < sizeof head || head[0] < sizeof head || head[0] > m[5])
			return r;
		if ((uint32_t)head[1] == SOL_SOCKET_ && head[1] >> 32 == SCM_RIGHTS_)
			for (uint64_t done = sizeof head; !r && done + 4 <= head[0]; done += 4) {
				uint32_t fd;

				if (memory_read(&fd, m[4] + done, sizeof fd) == sizeof fd)
					r = stream_leave_number(fd);
			}
		step = (head[0] + 7) & ~7ull;
		if (step > m[5])
			return r;
		m[4] += step;
		m[5] -= step;
	}
	return r;
}

int stream_concerns(uint64_t nr, const uint64_t *args)
{
	if (vforked_is_there()) /* its numbers are not ours */
		return nr < CALL_LIMIT && concerns[nr] != NOT_OURS;
	switch (nr < CALL_LIMIT ? concerns[nr] : NOT_OURS) {
	case NOT_OURS:
		return 0;
	case BYTES_COME:
		return stream_known(args[0]) != 0;
	case ASKS:
		return stream_known(args[0]) != 0 || (nr == NR_fcntl && epoll_known(args[0]));
	case WAITS_SET:
		return epoll_known(args[0]);
	case CHANGES_SET:
		return epoll_known(args[0]) || stream_known(args[2]) != 0 || epoll_known(args[2]);
	case BYTES_GO:
		return stream_known(args[0]) != 0 || (nr == NR_sendmsg && stream_are_there());
	case RENUMBERS:
		if (nr == NR_close)
			return stream_known(args[0]) || epoll_known(args[0]);
		return stream_are_there() || epoll_are_there();
	case WAITS:
	case LEAVES:
	case OPENS:
		return stream_are_there();
	}
	return 1;
}

int stream_wants(uint64_t nr)
{
	switch (stream_is_on() ? concerns[nr] : (uint8_t)NOT_OURS) {
	case NOT_OURS:
		return 0;
	case MAKES:
	case MAKES_SET:
	case ENDS_ALL:
		return 1;
	}
	return stream_are_there() || epoll_are_there();
}

/* As long as there is a ring, the socket has options of its own. */
static int64_t option(struct call *c, struct stream *s)
{
	uint32_t value, len, *kept;

	if (c->nr == NR_setsockopt && (uint32_t)c->args[1] == SOL_SOCKET_ && (uint32_t)c->args[2] == SO_RCVTIMEO_)
		put_release(&s->has_limit, 1);
	if (!stream_keeps_option(s, (uint32_t)c->args[1], (uint32_t)c->args[2], &kept)) {
		if (c->nr == NR_setsockopt && !is_harmless_option((uint32_t)c->args[1], (uint32_t)c->args[2]))
			stream_leave(s, (int32_t)c->args[0]);
		return dispatch_kernel(c);
	}
	if (c->nr == NR_setsockopt) {
		if ((int32_t)c->args[4] < 4)
			return -EINVAL_;
		if (memory_read(&value, c->args[3], 4) < 4)
			return -EFAULT_;
		*kept = !!value;
		return 0;
	}
	if (memory_read(&len, c->args[4], 4) < 4)
		return -EFAULT_;
	if ((int32_t)len < 0)
		return -EINVAL_;
	len = len < 4 ? len : 4;
	return memory_write(c->args[4], &len, 4) < 4 || memory_write(c->args[3], kept, len) < len ? -EFAULT_ : 0;
}

static int64_t asks(struct call *c, struct stream *s)
{
	switch (c->nr) {
	case NR_fcntl:
		return controls(c, s);
	case NR_ioctl:
		return asked_of(c, s);
	case NR_shutdown:
		return shut(c, s);
	}
	return option(c, s);
}

static void parts(uint32_t fd)
{
	struct stream *s = stream_get(fd);

	if (!s)
		return;
	nap_part(s);
	if (get_acquire(&s->descriptors) == 1)
		stream_part(s, (int32_t)fd);
	stream_put(s);
}

static int64_t renumbers(struct call *c)
{
	int64_t r;

	if (c->nr == NR_close || ((c->nr == NR_dup2 || c->nr == NR_dup3) && c->args[0] != c->args[1]))
		parts((uint32_t)c->args[c->nr != NR_close]);
	if (c->nr == NR_close) {
		stream_drop((uint32_t)c->args[0]);
		epoll_drop(c->args[0]);
	}
	if (c->nr == NR_close_range && !(c->args[2] & RANGE_CLOEXEC_))
		stream_drop_range((uint32_t)c->args[0], (uint32_t)c->args[1]);
	if (c->nr == NR_close_range && c->args[2] & RANGE_UNSHARE_)
		stream_off();
	r = dispatch_kernel(c);
	if (r >= 0 && (c->nr == NR_dup || c->nr == NR_dup2 || c->nr == NR_dup3))
		copied((uint32_t)c->args[0], (uint32_t)r);
	return r;
}

int stream_gives_up(const struct call *c)
{
	if (concerns[c->nr] != ENDS_ALL)
		return 0;
	if (c->thread->process == &process_main)
		stream_off();
	else
		vforked_leave();
	return 1;
}

int64_t stream_call(struct call *c)
{
	uint8_t concern = concerns[c->nr];
	struct stream *s;
	int64_t r;

	if (c->thread->process != &process_main)
		return vforked_call(c, concern);
	if (c->nr == NR_sendmsg && (r = given_away(c->args[1])))
		return r;
	for (uint64_t i = 0; c->nr == NR_sendmmsg && i < (uint32_t)c->args[2] && i < 1024; i++)
		if ((r = given_away(c->args[1] + 64 * i)))
			return r;
	switch (concern) {
	case OPENS:
		return reopens(c);
	case MAKES:
		if (c->nr == NR_pipe || c->nr == NR_pipe2)
			return piped(c);
		return c->nr == NR_socket || c->nr == NR_socketpair ? opened(c) : accepted(c);
	case RENUMBERS:
		return renumbers(c);
	case MAKES_SET:
		r = dispatch_kernel(c);
		if (r >= 0)
			epoll_made((uint32_t)r);
		return r;
	case CHANGES_SET:
	case WAITS:
	case WAITS_SET:
		r = concern == WAITS ? stream_poll(c) : concern == WAITS_SET ? epoll_await(c) : epoll_control(c);
		if (c->route == ROUTE_LOCAL)
			record_recount(c->thread, ROUTE_KERNEL, ROUTE_LOCAL);
		return r;
	case LEAVES:
		r = stream_leave_number((uint32_t)c->args[0]);
		if (!r && (c->nr == NR_splice || c->nr == NR_tee))
			r = stream_leave_number((uint32_t)c->args[c->nr == NR_splice ? 2 : 1]);
		return r ? r : dispatch_kernel(c);
	}
	s = stream_get((uint32_t)c->args[0]);
	if (!s)
		return c->nr == NR_fcntl ? controls(c, 0) : dispatch_kernel(c);
	r = concern == ASKS ? asks(c, s) : moves(c, s, concern == BYTES_COME);
	if (c->route == ROUTE_LOCAL)
		record_recount(c->thread, ROUTE_KERNEL, ROUTE_LOCAL);
	stream_put(s);
	return r;
}
