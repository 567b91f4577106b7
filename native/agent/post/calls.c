/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that must find in its file what was posted before them, as their rows say (enum call_posts). What this process
 * has posted is written by the agent itself; others.c sees to what others have. What a call does with the descriptor's
 * position happens between two looks at it, with other threads kept out.
 */
#include "post.h"

enum {
	MAP_FD = 4, MAP_FLAGS = 3, MAP_ANONYMOUS_ = 0x20,
	F_DUPFD_ = 0, F_SETFD_ = 2, F_SETFL_ = 4, F_DUPFD_CLOEXEC_ = 1030,
	SET_SECCOMP = 22, /* PR_SET_SECCOMP */
	CONTROLS = 16,
	UNCLOSES = 0x5450, /* FIONCLEX */
	UNSHARES = 2,      /* CLOSE_RANGE_UNSHARE */
};

static uint8_t mark_of(uint64_t fd)
{
	if ((uint32_t)fd < POST_FDS)
		return __atomic_load_n(&post_marks[(uint32_t)fd], __ATOMIC_ACQUIRE);
	return get_relaxed(&post_count) ? MARK_WATCHED : MARK_NONE;
}

/* Held, or NULL: it is not there any more. */
static struct post_own *held(uint64_t fd)
{
	uint8_t mark = mark_of(fd); /* another thread may change it at any time */
	struct post_own *o;

	if (mark == MARK_NONE || mark > POST_OWN)
		return 0;
	o = &post_own[mark - 1];
	post_hold(o);
	if (o->is_there && mark_of(fd) == mark)
		return o;
	post_release(o);
	return 0;
}

static int64_t error_of(struct post_own *o)
{
	int64_t error = o->file->error;

	return error > 0 && error < 4096 ? -error : 0;
}

static void end(struct thread *t, struct post_own *o)
{
	post_bring(t, o);
	post_place(o);
	post_leave(o);
}

/* It takes the position along. */
static int64_t moves(struct call *c)
{
	struct post_own *o = held(c->args[0]);
	int64_t ret;

	if (!o)
		return dispatch_made(c);
	post_bring(c->thread, o);
	post_place(o);
	ret = dispatch_made(c);
	if (!o->file->error)
		post_settle(o);
	post_release(o);
	return ret;
}

static int64_t looks(struct call *c, int syncs)
{
	struct post_own *o = held(c->args[0]);
	int64_t error = 0, ret;

	if (o) {
		post_bring(c->thread, o);
		error = syncs ? error_of(o) : 0;
		if (error) {
			post_place(o);
			post_leave(o);
		}
		post_release(o);
	}
	ret = dispatch_made(c);
	return error && ret != -ERESTART_ ? error : ret;
}

static int64_t closes(struct call *c)
{
	struct post_own *o = held(c->args[0]);
	int64_t error, ret;

	if (!o) {
		post_drop(c->args[0]);
		return dispatch_made(c);
	}
	post_bring(c->thread, o);
	error = error_of(o);
	if (o->fds > 1 && !error) {
		post_part(o, c->args[0]);
	} else {
		if (o->fds > 1 || o->file->flags & POST_SHARED)
			post_place(o);
		post_leave(o);
	}
	ret = c->uc ? dispatch_made(c) : GATE1(c->nr, c->args[0]); /* a file's does not wait */
	post_release(o);
	return error && !ret ? error : ret;
}

static int copies(const struct call *c)
{
	return c->nr == NR_dup || c->nr == NR_dup2 || c->nr == NR_dup3 ||
	       (c->nr == NR_fcntl && (uint32_t)c->args[1] != F_SETFL_);
}

/* The argument that is a descriptor which it closes, or -1. */
static int closed_by(const struct call *c)
{
	return c->nr == NR_dup2 || c->nr == NR_dup3 ? 1 : -1;
}

/* Whatever it does with these descriptors, nothing of them is posted meanwhile. */
static int64_t passes(struct call *c)
{
	/* What a copy is of is known afterwards, too, and may be posted with it. */
	int again = c->nr == NR_fcntl || copies(c), entered = again && post_enter(c->thread, c->args[0]);
	int closed = closed_by(c), both = closed >= 0 && post_enter(c->thread, c->args[closed]);
	int64_t error = 0, ret;

	for (int i = 0; i < c->row->nargs; i++) {
		uint64_t fd = c->args[i];
		struct post_own *o;

		if (c->row->args[i].kind != ARG_FD && i != closed)
			continue;
		o = held(fd);
		if (o) {
			post_bring(c->thread, o);
			if (i != closed && !error) /* it says nothing of the one that it closes */
				error = error_of(o);
			post_place(o);
			if (again && !error_of(o))
				post_leave_again(o);
			else
				post_leave(o);
			post_release(o);
		} else if (mark_of(fd) == MARK_WATCHED && i != closed) {
			post_leave_same(c->thread, (int32_t)fd);
		}
		if (again)
			post_withdraw(fd);
		else
			post_drop(fd);
		i -= post_is_own(fd); /* another thread was faster */
	}
	ret = error ? error : dispatch_made(c);
	if (ret >= 0 && copies(c))
		post_copied((uint32_t)c->args[0], (uint64_t)ret);
	if (both)
		post_exit(c->args[closed]);
	if (entered)
		post_exit(c->args[0]);
	return ret;
}

/* One that was not posted by post_write(). */
static int64_t writes_held(struct call *c, struct post_own *o)
{
	uint32_t poster = get_acquire(&post_head->poster);
	int64_t error, ret;

	post_bring(c->thread, o);
	error = error_of(o);
	post_place(o);
	if (poster != o->poster && post_is_alive() && get_acquire(&o->file->keeper) == poster)
		o->poster = poster;
	if (error || get_acquire(&o->file->attention)) {
		post_leave(o);
		return error ? error : dispatch_made(c);
	}
	if (!post_is_alive()) {
		post_leave_again(o); /* there may come another one */
		return dispatch_made(c);
	}
	ret = dispatch_made(c);
	post_settle(o);
	return ret;
}

static int64_t try_post(struct call *c)
{
	int64_t ret = c->row->posts == POSTS_WRITES ? post_write(c->thread, c->args[0], c->args[1], c->args[2]) :
						       post_gather(c->thread, c->args[0], c->args[1], c->args[2]);

	if (ret != POST_NOT)
		c->route = ROUTE_LOCAL;
	return ret;
}

static int64_t writes(struct call *c)
{
	uint64_t fd = c->args[0];
	uint8_t mark = mark_of(fd);
	struct post_own *o;
	int64_t ret;

	if (post_is_own(fd)) {
		ret = try_post(c);
		if (ret != POST_NOT)
			return ret;
		o = held(fd);
		if (o) { /* all it may have wanted was room */
			post_bring(c->thread, o);
			post_release(o);
			ret = try_post(c);
			if (ret != POST_NOT)
				return ret;
			o = held(fd);
		}
		if (o) {
			ret = writes_held(c, o);
			post_release(o);
			return ret;
		}
	} else if (mark == MARK_WATCHED) {
		post_bring_all(c->thread);
	}
	ret = dispatch_made(c);
	if ((mark == MARK_CANDIDATE || mark == MARK_ASKED) && ret > 0 && ret <= POST_MOST)
		post_wrote(c->thread, (int32_t)fd);
	return ret;
}

static int carries(const uint64_t *message)
{
	uint64_t at = message[4], end = at + message[5], head[2];

	for (int i = 0; i < CONTROLS && at + sizeof head <= end; i++, at += (head[0] + 7) & ~7ull) {
		if (memory_read(head, at, sizeof head) < sizeof head || head[0] < sizeof head)
			return 0;
		if (head[1] == (1 | 1ull << 32)) /* SOL_SOCKET, SCM_RIGHTS */
			return 1;
	}
	return 0;
}

/* Descriptors that are sent are shared with whoever gets them; among those that come may be one that we know. */
static int64_t messages(struct call *c)
{
	int many = c->nr == NR_sendmmsg || c->nr == NR_recvmmsg, comes = c->nr == NR_recvmsg || c->nr == NR_recvmmsg;
	uint64_t count = many ? (uint32_t)c->args[2] : 1, m[7];
	int64_t ret = comes ? dispatch_made(c) : 0;

	if (comes && many)
		count = ret > 0 ? (uint64_t)ret : 0;
	for (uint64_t i = 0; i < count && ret >= 0; i++)
		if (memory_read(m, c->args[1] + 64 * i, sizeof m) == sizeof m && m[5] && carries(m)) {
			put_release(&post_head->sent, 1);
			post_leave_all(c->thread);
			post_lent_all(1);
			break;
		}
	return comes ? ret : dispatch_made(c);
}

static int64_t maps(struct call *c)
{
	int32_t fd = (int32_t)c->args[MAP_FD];
	struct post_own *o;

	if (!(c->args[MAP_FLAGS] & MAP_ANONYMOUS_) && fd >= 0) {
		o = held((uint64_t)fd);
		if (o) {
			end(c->thread, o);
			post_release(o);
		} else if (mark_of((uint64_t)fd) == MARK_WATCHED) {
			post_leave_same(c->thread, fd);
		}
		post_drop((uint64_t)fd);
	}
	return dispatch_made(c);
}

static uint32_t posts_of(const struct call *c)
{
	switch (c->row->posts) {
	case POSTS_FCNTL:
		return (uint32_t)c->args[1] == F_DUPFD_ || (uint32_t)c->args[1] == F_DUPFD_CLOEXEC_ ||
		       (uint32_t)c->args[1] == F_SETFL_ ? POSTS_PASSES : POSTS_MOVES;
	case POSTS_ENDS:
		return c->nr == NR_prctl && (uint32_t)c->args[0] != SET_SECCOMP ? POSTS_NOTHING : POSTS_ENDS;
	}
	return c->row->posts;
}

/* A child of vfork has the descriptors of its parent's, and may see to it that they survive its exec. */
static void in_a_child(const struct call *c, uint32_t posts)
{
	int sets = (c->row->posts == POSTS_FCNTL && (uint32_t)c->args[1] == F_SETFD_) ||
		   (c->nr == NR_ioctl && (uint32_t)c->args[1] == UNCLOSES);

	if (posts == POSTS_MESSAGES || posts == POSTS_ENDS) {
		put_release(&post_head->sent, 1);
		post_lent_all(1);
		return;
	}
	for (int i = 0; (posts == POSTS_PASSES || sets) && i < c->row->nargs; i++)
		if (c->row->args[i].kind == ARG_FD)
			post_lent((uint32_t)c->args[i]);
}

static int64_t in_the_program(struct call *c, uint32_t posts)
{
	struct thread *t = c->thread;
	int64_t ret;
	if (posts != POSTS_CLOSES && posts <= POSTS_SYNCS && posts > POSTS_GATHERS &&
	    mark_of(c->args[0]) == MARK_WATCHED)
		post_bring_all(t);
	switch (posts) {
	case POSTS_WRITES:
	case POSTS_GATHERS:
		return writes(c);
	case POSTS_MOVES:
		return moves(c);
	case POSTS_LOOKS:
	case POSTS_SYNCS:
		return looks(c, posts == POSTS_SYNCS);
	case POSTS_CLOSES:
		return closes(c);
	case POSTS_PASSES:
		return passes(c);
	case POSTS_MAPS:
		return maps(c);
	case POSTS_ALL:
		post_bring_all(t);
		break;
	case POSTS_OPENS:
		post_bring_all(t);
		ret = dispatch_made(c);
		if (ret >= 0 && !sites_are_quiet())
			post_opened(ret);
		return ret;
	case POSTS_LIMITS:
		ret = dispatch_made(c);
		if (ret >= 0)
			post_limits();
		return ret;
	case POSTS_MESSAGES:
		return messages(c);
	case POSTS_RANGES:
		if ((uint32_t)c->args[2] & UNSHARES && t->process->threaded)
			post_off(t); /* threads have descriptors of their own from now on */
		post_begin_birth(t, BIRTH_PROCESS); /* what stays open may be posted again */
		ret = dispatch_made(c);
		post_closed((uint32_t)c->args[0], (uint32_t)c->args[1]);
		post_end_birth(BIRTH_PROCESS);
		return ret;
	case POSTS_ENDS:
		post_off(t);
		break;
	}
	return dispatch_made(c);
}

int64_t post_made(struct call *c)
{
	struct thread *t = c->thread;
	uint32_t posts = posts_of(c);
	int64_t ret;
	int entered = 0;

	if (posts == POSTS_NOTHING)
		return dispatch_made(c);
	post_abroad(t, posts, c->args, c->row);
	if (t->process != &process_main) {
		in_a_child(c, posts);
		return dispatch_made(c);
	}
	for (int i = 0; i < c->row->nargs; i++) {
		uint8_t mark = c->row->args[i].kind == ARG_FD ? mark_of(c->args[i]) : (uint8_t)MARK_NONE;

		if (mark == MARK_BEGINS)
			post_await();
		if (!i && (mark == MARK_BEGINS || mark == MARK_CANDIDATE || mark == MARK_ASKED))
			entered = post_enter(t, c->args[0]);
	}
	ret = in_the_program(c, posts);
	if (entered)
		post_exit(c->args[0]);
	return ret;
}
