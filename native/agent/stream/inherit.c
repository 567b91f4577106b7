/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a child has of its parent, and the next image of a process of this one. Whoever holds an end of a connection is
 * counted before he could use it, and until he cannot any more: a child of fork before it is born, and the next image
 * by the one before it, which leaves a list of what it passes on and of what the exec closes. Where that is not certain
 * the connection is the kernel's. Called by life.c around births, by exec.c, and by start.c and join.c for a new image.
 */
#include "births.h"
#include "stream.h"

enum {
	F_GETFD_ = 1,
	LOOKS = 64,       /* places for heirs, before dead ones' are taken */
	HEIRS_MOST = 256, /* of one process; more are the kernel's */
};

static uint32_t had_threads; /* that are not caught */

int stream_is_single(void)
{
	return !get_acquire(&process_main.others) && !had_threads;
}

/* ---- births ------------------------------------------------------------------------------------------------------ */

static void before_fork(void)
{
	struct stream *s;

	epoll_before_fork(0);
	for (uint32_t i = 0; (s = stream_numbered(i)); i++) {
		struct stream_held *h = s->held;

		if (!stream_is_used(s) || !h) /* another thread may just close it */
			continue;
		add_one(&h->holders);
		s->heirs = HEIRS_FORKED;
		if (s->ring)
			put_release(&s->ring->is_forked, 1);
		/* Nobody has both ends of the ring yet, and now there would be three. */
		if (s->state == STREAM_MADE && get_acquire(&s->ring->joined) != RING_SHARED)
			stream_withdraw(s);
	}
}

static void after_fork(int is_undone)
{
	struct stream *s;

	for (uint32_t i = 0; (s = stream_numbered(i)); i++) {
		if (s->heirs == HEIRS_FORKED && is_undone)
			held_leave(s->held, 0);
		s->heirs = HEIRS_NONE;
	}
	if (is_undone)
		epoll_before_fork(1);
}

void stream_before_birth(struct birth *b, int waits)
{
	if (!stream_is_on() || b->is_thread)
		return;
	/* A child of vfork gives birth; or one that runs beside us has our memory. Nobody could tell who holds what. */
	if (b->parent != &process_main)
		vforked_leave();
	else if (b->shares_memory && !waits)
		stream_leave_all();
	if (!b->shares_memory)
		before_fork();
	else if (b->parent == &process_main && waits && stream_is_single() && stream_are_there())
		vforked_lend();
	b->is_lent = b->parent == &process_main && vforked_is_there();
}

void stream_after_birth(const struct birth *b, int64_t ret)
{
	if (b->is_thread)
		return;
	if (b->is_lent)
		vforked_over(ret > 0 ? (uint32_t)ret : 0);
	else if (!b->shares_memory && stream_is_on())
		after_fork(ret < 0);
}

void stream_forked(void)
{
	had_threads = 0;
	vforked_forget();
	ring_forked();
	epoll_forked();
	stream_forked_table();
}

static void enter(struct stream_held *h)
{
	held_enter(h, held_self());
}

void stream_child(const struct birth *b, const struct process_self *p)
{
	struct stream *s;

	if (!stream_is_on() || (b->shares_memory && !b->is_lent))
		return;
	for (uint32_t i = 0; (s = stream_numbered(i)); i++) {
		if (!stream_is_used(s) || !s->held)
			continue;
		if (s->heirs == HEIRS_NONE) { /* a thread of our parent's has just opened it */
			add_one(&s->held->holders);
			put_release(&s->held->is_spoilt, 1);
		}
		if (!b->shares_memory)
			s->heirs = HEIRS_NONE;
		held_enter(s->held, p->elsewhere ? 0 : p->pid);
	}
	if (!b->shares_memory)
		epoll_each_held(enter);
}

static void leave(struct stream_held *h)
{
	held_leave(h, held_self());
}

/* Another thread could be in the middle of a call, whose bytes nobody would count. */
void stream_left(void)
{
	struct stream *s;

	if (!stream_is_single())
		return;
	for (uint32_t i = 0; (s = stream_numbered(i)); i++)
		if (stream_is_used(s) && s->held)
			leave(s->held);
	epoll_each_held(leave);
}

/* ---- before an exec ---------------------------------------------------------------------------------------------- */

int stream_survives_exec(uint32_t fd)
{
	int64_t flags = GATE2(NR_fcntl, fd, F_GETFD_);

	return flags >= 0 && !(flags & 1);
}

static struct stream_heir *new_heir(uint32_t pid)
{
	for (uint32_t tries = 0; tries < 2 * LOOKS; tries++) {
		struct stream_heir *h = &session->heirs[add_one(&session->heirs_next) % HEIRS];
		uint32_t was = get_acquire(&h->pid);

		if (was && (tries < LOOKS || life_exists(was)))
			continue;
		if (swap_if(&h->pid, was, pid))
			return h;
	}
	return 0;
}

/* `s`: NULL, if there is nothing but its place in memory to be given up. */
static int leave_behind(const struct process_self *p, int32_t fd, const struct stream *s,
			const struct stream_held *held)
{
	struct stream_heir *h = p->entry < PROCESSES ? new_heir(p->pid) : 0;

	if (!h)
		return 0;
	h->fd = fd;
	h->held = (uint32_t)(held - session->held);
	h->family = s ? s->family : 0;
	h->writes = s ? s->writes : 0;
	h->inode = s ? s->inode : 0;
	h->other = s ? s->other : 0;
	h->next = session->processes[p->entry].heirs;
	session->processes[p->entry].heirs = (uint32_t)(h - session->heirs) + 1;
	return 1;
}

static struct stream_heir *next_heir(const struct process_self *p)
{
	struct process *e = &session->processes[p->entry];
	uint32_t i = e->heirs;
	struct stream_heir *h = i && i <= HEIRS ? &session->heirs[i - 1] : 0;

	e->heirs = 0;
	if (!h || h->pid != p->pid)
		return 0;
	e->heirs = h->next;
	return h;
}

void stream_exec_failed(const struct process_self *p)
{
	struct stream *s;

	if (!stream_is_on() || p->entry >= PROCESSES)
		return;
	for (struct stream_heir *h; (h = next_heir(p));)
		put_release(&h->pid, 0);
	for (uint32_t i = 0; (s = stream_numbered(i)); i++)
		s->heirs = p == &process_main ? HEIRS_NONE : s->heirs ? HEIRS_LENT : HEIRS_NONE;
}

/* Without a ring, and nobody is about to make one. */
static int becomes_young(struct stream *s)
{
	if (s->state == STREAM_WAITS && stream_withdraw(s)) {
		s->calls = 0;
		put_release(&s->state, STREAM_YOUNG);
	}
	return s->state == STREAM_YOUNG && !get_acquire(&s->held->is_spoilt);
}

int64_t stream_pass_on(const struct process_self *p, int32_t fd, struct stream *s, int is_caught, uint32_t *most)
{
	int64_t r;

	if (!s->inode && !stream_is_pipe(s))
		s->inode = stream_inode(fd, "");
	if (is_caught && *most && s->inode && becomes_young(s) && leave_behind(p, fd, s, s->held)) {
		--*most;
		return 0;
	}
	add_one(&s->users);
	r = stream_leave(s, fd);
	stream_put(s);
	return r;
}

/* The numbers are the program's own, and what is closed by the exec is given up by the next image. */
static int64_t before_exec(const struct process_self *p, int is_caught)
{
	uint32_t most = HEIRS_MOST;
	struct stream *s;

	for (uint32_t fd = 0; fd < stream_top(); fd++) {
		int64_t r;

		s = stream_known(fd);
		if (!s || !stream_survives_exec(fd))
			continue;
		s->heirs = HEIRS_KEPT;
		r = stream_pass_on(p, (int32_t)fd, s, is_caught, &most);
		if (r)
			return r;
	}
	if (!is_caught)
		return 0;
	for (uint32_t i = 0; most && (s = stream_numbered(i)); i++)
		if (stream_is_used(s) && s->held && s->heirs == HEIRS_NONE) {
			becomes_young(s); /* nobody shall find its name any more */
			if (stream_has_ring(s))
				nap_unguard(s);
			leave_behind(p, -1, 0, s->held);
			most--;
		}
	return 0;
}

/* Of a child of vfork of a program with threads nothing is known but its numbers. */
static int64_t unknown_before_exec(void)
{
	for (uint32_t fd = 0; fd < stream_top(); fd++) {
		const struct stream *s = stream_known(fd);
		uint64_t inode = stream_inode((int32_t)fd, "");
		int64_t r;

		if (!s || !stream_survives_exec(fd) || (s->inode && inode != s->inode >> stream_is_pipe(s)))
			continue;
		r = stream_leave_number(fd);
		if (r)
			return r;
	}
	return 0;
}

int64_t stream_before_exec(const struct process_self *p, int is_caught)
{
	int64_t r;

	if (!stream_is_on())
		return 0;
	epoll_before_exec();
	if (p == &process_main) {
		r = before_exec(p, is_caught && stream_is_single());
	} else {
		r = vforked_is_there() ? vforked_before_exec(p, is_caught, HEIRS_MOST) : unknown_before_exec();
	}
	if (r)
		stream_exec_failed(p);
	return r;
}

/* ---- the next image ---------------------------------------------------------------------------------------------- */

static struct stream *of_held(const struct stream_held *held)
{
	struct stream *s;

	for (uint32_t i = 0; (s = stream_numbered(i)); i++)
		if (stream_is_used(s) && s->held == held)
			return s;
	return 0;
}

static int is_what_it_was(const struct stream_heir *h)
{
	uint64_t inode = stream_inode(h->fd, "");

	return inode && h->inode == (h->family == STREAM_PIPE ? 2 * inode + h->writes : inode);
}

static void adopt(const struct stream_heir *h, int is_late)
{
	struct stream_held *held = &session->held[h->held];
	struct stream *s = of_held(held);

	if (!stream_is_on() || is_late || !is_what_it_was(h)) {
		put_release(&held->is_spoilt, 1);
		return;
	}
	if (s) {
		stream_copied((uint32_t)stream_descriptor(s), (uint32_t)h->fd);
		return;
	}
	s = stream_enter((uint32_t)h->fd, h->family, held);
	if (!s) {
		put_release(&held->is_spoilt, 1);
		return;
	}
	s->writes = h->writes;
	s->inode = h->inode;
	s->other = h->other;
}

void stream_begun(const struct process_self *p, int is_late)
{
	had_threads = p->threaded;
	if (sites_are_quiet())
		stream_off();
	if (p->entry >= PROCESSES || !session->processes[p->entry].heirs)
		return;
	for (struct stream_heir *h; (h = next_heir(p));) {
		struct stream_heir own = *h;

		put_release(&h->pid, 0);
		if (own.held >= HELD)
			continue;
		if (own.fd < 0)
			held_leave(&session->held[own.held], held_self());
		else
			adopt(&own, is_late);
	}
}
