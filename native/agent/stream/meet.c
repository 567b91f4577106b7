/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the two ends of a connection find each other. Called by calls.c before bytes are moved: whoever is in the kernel
 * with bytes that are to be counted keeps the state from changing; and by who sends, leaves or closes.
 */
#include "stream.h"

enum {
	AF_UNIX_ = 1, AF_INET_ = 2, AF_INET6_ = 10, AF_NETLINK_ = 16,
	IPPROTO_TCP_ = 6, TCP_NODELAY_ = 1, TCP_CORK_ = 3,
	PROBES = 16,
	TRIES = 3, TRIES_MOST = 24, /* calls before it is worth a ring */
	PAYS = 8, /* calls by a ring, and it has paid for itself */
	TRIES_PIPE = 8, /* most are those of a pipeline, which carry a few KiB, and no more */
	STATX_INO_ = 0x100, AT_EMPTY_PATH_ = 0x1000, FDCWD_ = -100,
	DIAG_BY_FAMILY = 20, DIAG_PROTOCOL = 4, DIAG_SHOW_PEER = 4, DIAG_PEER = 2,
};

struct name {
	uint64_t word[8];
};

static struct meetings *meetings;
static uint32_t has_none;
static uint64_t network; /* inode of our network namespace; 0: not asked yet */

/* ---- names ------------------------------------------------------------------------------------------------------- */

/* Or 0. */
uint64_t stream_inode(int32_t fd, const char *path)
{
	uint64_t st[32];

	memset(st, 0, sizeof st);
	return GATE6(NR_statx, fd, path, *path ? 0 : AT_EMPTY_PATH_, STATX_INO_, st, 0) ? 0 : st[4];
}

/* As a mapped address of IPv6, and its port. 0: none. */
static int address_of(uint64_t nr, int32_t fd, uint64_t *to, uint16_t *port)
{
	uint8_t a[28];
	uint32_t len = sizeof a;
	uint16_t family;

	memset(a, 0, sizeof a);
	if (GATE3(nr, fd, a, &len) < 0)
		return 0;
	memcpy(&family, a, 2);
	memcpy(port, a + 2, 2);
	if (family == AF_INET6_) {
		memcpy(to, a + 8, 16);
		return 1;
	}
	to[0] = 0;
	memset(&to[1], 0xff, 4);
	to[1] = (to[1] & 0xffffffff) << 16;
	memcpy((uint8_t *)&to[1] + 4, a + 4, 4);
	return family == AF_INET_;
}

/* Who is at the other end of a Unix socket: the kernel says it to those who ask by its own protocol. */
static uint64_t other_inode(uint64_t inode)
{
	struct {
		uint32_t len;
		uint16_t type, flags;
		uint32_t seq, pid;
		uint8_t family, protocol;
		uint16_t pad;
		uint32_t states, inode, show, cookie[2];
	} ask = {40, DIAG_BY_FAMILY, 1, 1, 0, AF_UNIX_, 0, 0, ~0u, (uint32_t)inode, DIAG_SHOW_PEER, {~0u, ~0u}};
	uint8_t answer[512];
	uint64_t found = 0;
	int64_t fd = GATE3(NR_socket, AF_NETLINK_, 02000003, DIAG_PROTOCOL), n; /* SOCK_RAW, CLOEXEC */

	if (fd < 0)
		return 0;
	n = GATE6(NR_sendto, fd, &ask, sizeof ask, 0, 0, 0);
	if (n == sizeof ask)
		n = GATE6(NR_recvfrom, fd, answer, sizeof answer, MSG_DONTWAIT_, 0, 0);
	/* A head of 16 bytes, a socket's 16, then its attributes. */
	for (int64_t at = 32; at + 8 <= n && answer[4] == DIAG_BY_FAMILY;) {
		uint16_t len, type;
		uint32_t value;

		memcpy(&len, answer + at, 2);
		memcpy(&type, answer + at + 2, 2);
		memcpy(&value, answer + at + 4, 4);
		if (type == DIAG_PEER && len == 8)
			found = value;
		if (len < 4)
			break;
		at += (len + 3) & ~3;
	}
	GATE1(NR_close, fd);
	return found;
}

static int name_of(struct stream *s, int32_t fd, struct name *own)
{
	uint16_t here, there;

	if (!network)
		network = stream_inode(FDCWD_, "/proc/self/ns/net");
	if (!s->inode)
		s->inode = stream_inode(fd, "");
	if (!network || !s->inode)
		return 0;
	memset(own, 0, sizeof *own);
	own->word[0] = network << 8 | (s->family == AF_UNIX_) | (s->family == STREAM_PIPE) << 1;
	if (s->family == AF_UNIX_ || s->family == STREAM_PIPE) {
		if (!s->other)
			s->other = other_inode(s->inode);
		own->word[1] = s->inode;
		own->word[3] = s->other;
		return s->other != 0;
	}
	if (!address_of(NR_getsockname, fd, &own->word[1], &here) ||
	    !address_of(NR_getpeername, fd, &own->word[3], &there))
		return 0;
	own->word[5] = (uint64_t)here << 16 | there;
	if (session->flags & SESSION_STREAMS_SURE)
		own->word[6] = session->launcher;
	return 1;
}

/* The launcher has made it; it is looked for when the first stream wants it. */
static int find_meetings(void)
{
	uint64_t near = ((uint64_t)session - (3ull << 30)) & ~4095ull;
	char path[48];
	int64_t fd, at = -EIO_;

	if (meetings || has_none)
		return !has_none;
	*start_decimal(start_append(path, MEETINGS_PATH), (uint32_t)GATE1(NR_geteuid, 0)) = 0;
	fd = stream_open(path, sizeof *meetings);
	if (fd >= 0) {
		at = GATE6(NR_mmap, near, sizeof *meetings, 3, 1, fd, 0);
		GATE1(NR_close, fd);
	}
	has_none = at < 0 && at > -4096;
	if (!has_none)
		meetings = (struct meetings *)at;
	if (meetings && (meetings->magic != MEETINGS_MAGIC || meetings->version != STREAM_VERSION))
		has_none = 1;
	return !has_none;
}

struct meetings *stream_meetings(void)
{
	return has_none ? 0 : meetings;
}

void stream_pair(struct stream *one, struct stream *two, const int32_t *fds)
{
	one->inode = two->other = stream_inode(fds[0], "");
	two->inode = one->other = stream_inode(fds[1], "");
	if (stream_is_pipe(one)) {
		one->inode = two->other = 2 * one->inode;
		two->inode = one->other = 2 * two->inode + 1;
	}
}

static struct name turned(const struct name *n)
{
	return (struct name){{n->word[0], n->word[3], n->word[4], n->word[1], n->word[2],
			      (n->word[5] & 0xffff) << 16 | n->word[5] >> 16, n->word[6]}};
}

/* The same for both ends. */
static uint32_t place_of(const struct name *n)
{
	uint64_t h = n->word[0] + (n->word[1] ^ n->word[2] * 31) + (n->word[3] ^ n->word[4] * 31) +
		     (n->word[5] & 0xffff) * (n->word[5] >> 16);

	return (uint32_t)(h * 0x9e3779b97f4a7c15ull >> 40);
}

static struct meeting *look_for(const struct name *n)
{
	uint32_t at = place_of(n);

	for (uint32_t i = 0; i < PROBES; i++) {
		struct meeting *m = &meetings->at[(at + i) % MEETINGS];

		if (get_acquire(&m->state) == MEETING_WAITS && !memcmp(m->name, n->word, sizeof m->name))
			return m;
	}
	return 0;
}

static struct meeting *put_down(const struct name *n)
{
	uint32_t at = place_of(n);

	for (uint32_t i = 0; i < PROBES; i++) {
		struct meeting *m = &meetings->at[(at + i) % MEETINGS];
		uint32_t state = get_acquire(&m->state);

		if (state != MEETING_FREE && (!m->pid || life_exists(m->pid)))
			continue;
		if (!swap_if(&m->state, state, MEETING_CLAIMED))
			continue;
		m->pid = process_main.pid;
		memcpy(m->name, n->word, sizeof m->name);
		put_release(&m->state, MEETING_WAITS);
		return m;
	}
	return 0;
}

/* ---- the two of them --------------------------------------------------------------------------------------------- */

static int is_tcp(const struct stream *s)
{
	return s->family == AF_INET_ || s->family == AF_INET6_;
}

/* A small segment may wait until the one before is acknowledged: a bell must not, and nothing before it. */
static void hold_nothing_back(struct stream *s, int32_t fd)
{
	const uint32_t on = 1, off = 0;
	uint32_t len = 4;

	GATE6(NR_getsockopt, fd, IPPROTO_TCP_, TCP_NODELAY_, &s->nodelay, &len, 0);
	len = 4;
	GATE6(NR_getsockopt, fd, IPPROTO_TCP_, TCP_CORK_, &s->cork, &len, 0);
	if (s->cork)
		GATE6(NR_setsockopt, fd, IPPROTO_TCP_, TCP_CORK_, &off, 4, 0);
	if (!s->nodelay)
		GATE6(NR_setsockopt, fd, IPPROTO_TCP_, TCP_NODELAY_, &on, 4, 0);
}

void stream_as_wanted(const struct stream *s, int32_t fd)
{
	if (!is_tcp(s))
		return;
	if (!s->nodelay)
		GATE6(NR_setsockopt, fd, IPPROTO_TCP_, TCP_NODELAY_, &s->nodelay, 4, 0);
	if (s->cork)
		GATE6(NR_setsockopt, fd, IPPROTO_TCP_, TCP_CORK_, &s->cork, 4, 0);
}

int stream_keeps_option(const struct stream *s, uint32_t level, uint32_t name, uint32_t **value)
{
	if (level != IPPROTO_TCP_ || !is_tcp(s) || !stream_has_ring(s))
		return 0;
	if (get_acquire(&stream_out(s)->is_back))
		return 0;
	*value = (uint32_t *)(name == TCP_NODELAY_ ? &s->nodelay : &s->cork);
	return name == TCP_NODELAY_ || name == TCP_CORK_;
}

static void introduce(struct stream *s, int32_t fd)
{
	struct stream_end *e = &s->ring->ends[s->end];

	e->pid = process_main.pid;
	e->fd = fd;
	e->inode = s->inode;
	e->bell.cpu = arch_cpu();
	s->tale.id = s->ring->id | s->end;
	stream_in(s)->came = s->held->received;
	if (is_tcp(s))
		hold_nothing_back(s, fd);
	nap_introduced(s, fd);
	stream_introduced(s, 1);
}

/* Others may be counted in there just now, who find NOBODY and go out again. */
static void leave_alone(struct stream *s)
{
	__atomic_sub_fetch(&s->busy, NOBODY, __ATOMIC_ACQ_REL);
}

int stream_begin(struct stream *s)
{
	struct stream_way *w = stream_out(s);

	if (get_acquire(&w->is_on))
		return 1;
	if (get_acquire(&s->state) != STREAM_JOINED || !swap_if(&s->busy, 0, NOBODY))
		return 0;
	w->from = s->held->sent;
	put_release(&w->is_on, 1);
	leave_alone(s);
	return 1;
}

/*
 * What we leave unread when we go back must be put into our socket by one of the other end's (back.c). Where the kernel
 * would not let us, there is no ring: another user, one that is not to be looked into, Yama's ptrace_scope.
 */
static int may_have(uint32_t pid)
{
	int64_t pidfd, fd;

	pidfd = GATE2(NR_pidfd_open, pid, 0);
	if (pidfd < 0)
		return 0;
	fd = GATE3(NR_pidfd_getfd, pidfd, 0, 0);
	if (fd >= 0)
		GATE1(NR_close, fd);
	GATE1(NR_close, pidfd);
	return fd >= 0 || fd == -EBADF_;
}

/* ---- meeting ----------------------------------------------------------------------------------------------------- */

/* What goes by the kernel is not counted any more. */
static void plain(struct stream *s)
{
	put_release(&s->held->is_spoilt, 1);
	put_release(&s->state, STREAM_PLAIN);
}

/* The second one to come. */
static void make_for(struct stream *s, int32_t fd, struct meeting *m)
{
	if (!swap_if(&m->state, MEETING_WAITS, MEETING_TAKEN)) {
		s->calls = 0;
		return;
	}
	s->ring = may_have(m->pid) ? ring_make(m->pid) : 0;
	if (!s->ring) {
		put_release(&m->state, MEETING_FREE);
		plain(s);
		return;
	}
	s->end = 1;
	s->ring->id = arch_ticks() & ~1ull;
	introduce(s, fd);
	m->launcher = s->ring->launcher;
	m->maker = s->ring->maker;
	m->serial = s->ring->serial;
	add_one(&stream_rings);
	put_release(&s->state, STREAM_MADE);
	store_before_load();
	if (!get_relaxed(&s->held->is_spoilt)) {
		put_release(&m->state, MEETING_MADE);
		return;
	}
	stream_withdraw(s);
	put_release(&m->state, MEETING_FREE);
}

static void first_step(struct stream *s, int32_t fd)
{
	struct name own, other;
	struct meeting *m;

	if (get_acquire(&s->held->holders) != 1 || get_acquire(&s->held->is_spoilt))
		return;
	if (!find_meetings() || !name_of(s, fd, &own) || (stream_is_pipe(s) && !pipe_is_fit(fd, (int)s->writes))) {
		plain(s);
		return;
	}
	other = turned(&own);
	m = look_for(&other);
	if (m) {
		make_for(s, fd, m);
		return;
	}
	m = put_down(&own);
	if (!m) {
		plain(s);
		return;
	}
	s->meeting = (uint32_t)(m - meetings->at);
	put_release(&s->state, STREAM_WAITS);
	/* It may have come at the same time: then it sees us, or we see it. Who makes the ring gives up its name. */
	store_before_load();
	m = look_for(&other);
	if (!m)
		return;
	put_release(&s->state, STREAM_YOUNG);
	if (swap_if(&meetings->at[s->meeting].state, MEETING_WAITS, MEETING_FREE))
		make_for(s, fd, m);
	else
		put_release(&s->state, STREAM_WAITS);
}

/* 1: it has a ring, and is to be left all the same: another thread would have it be the kernel's, and did not wait. */
static int second_step(struct stream *s, int32_t fd)
{
	struct meeting *m = &meetings->at[s->meeting];
	struct stream_ring *r = 0;

	if (get_acquire(&m->state) != MEETING_MADE)
		return 0;
	if (get_acquire(&s->held->holders) == 1 && !get_acquire(&s->held->is_spoilt) && may_have(m->maker))
		r = ring_fetch(m->launcher, m->maker, m->serial);
	put_release(&m->state, MEETING_FREE);
	if (!r) {
		plain(s);
		return 0;
	}
	s->ring = r;
	s->end = 0;
	introduce(s, fd);
	add_one(&stream_rings);
	stream_out(s)->from = s->held->sent;
	put_release(&stream_out(s)->is_on, 1);
	if (get_acquire(&s->held->is_spoilt) || !swap_if(&r->joined, RING_ALONE, RING_SHARED)) {
		put_release(&stream_out(s)->is_on, 0);
		__atomic_sub_fetch(&stream_rings, 1, __ATOMIC_RELAXED);
		stream_introduced(s, 0);
		s->ring = 0;
		ring_drop(r);
		plain(s);
		return 0;
	}
	__atomic_add_fetch(&session->streams_joined, 1, __ATOMIC_RELAXED);
	tell_joined(s, fd);
	if (swap_if(&s->state, STREAM_WAITS, STREAM_JOINED))
		return 0;
	put_release(&s->state, STREAM_JOINED);
	return 1;
}

static uint32_t tries(const struct stream *s)
{
	uint32_t after = get_relaxed(&session->streams_after);

	return stream_is_pipe(s) ? TRIES_PIPE : after < TRIES ? TRIES : after < TRIES_MOST ? after : TRIES_MOST;
}

/*
 * Where connections end before their rings have paid for themselves, the next ones are given theirs later. Those that
 * get none are counted all the same, and say when that has changed.
 */
void stream_learn(const struct stream *s)
{
	uint32_t after = tries(s);

	if (stream_is_pipe(s))
		return;
	if (s->calls >= TRIES + PAYS)
		put_relaxed(&session->streams_after, after / 2);
	else if (s->ring)
		put_relaxed(&session->streams_after, after * 2);
}

void stream_meet(struct stream *s, int32_t fd)
{
	uint32_t state = get_acquire(&s->state);
	int is_too_late = 0;

	s->calls++;
	if (state == STREAM_MADE && get_acquire(&s->ring->joined) == RING_SHARED &&
	    swap_if(&s->state, STREAM_MADE, STREAM_JOINED))
		tell_joined(s, fd);
	if (state == STREAM_WAITS && get_relaxed(&meetings->at[s->meeting].state) == MEETING_WAITS)
		return;
	if (state == STREAM_YOUNG && s->calls < tries(s))
		return;
	if ((state != STREAM_YOUNG && state != STREAM_WAITS) || !swap_if(&s->busy, 0, NOBODY))
		return;
	if (s->state == STREAM_YOUNG)
		first_step(s, fd);
	else if (s->state == STREAM_WAITS)
		is_too_late = second_step(s, fd);
	leave_alone(s);
	if (is_too_late)
		stream_leave(s, fd);
}

int stream_withdraw(struct stream *s)
{
	if (s->state == STREAM_WAITS)
		return swap_if(&meetings->at[s->meeting].state, MEETING_WAITS, MEETING_FREE);
	if (s->state == STREAM_MADE && swap_if(&s->ring->joined, RING_ALONE, RING_REFUSED))
		ring_forget(s->ring);
	return 0;
}
