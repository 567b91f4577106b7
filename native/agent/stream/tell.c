/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the log says of streams: one goes by a ring from now on; it is the kernel's again, and why; it is over, and how
 * many bytes went where. The record of a call is begun in place before the call is made, so that nothing can be written
 * where this happens. It is noted with the stream, and told after the call's own record. Called by meet.c, back.c,
 * ready.c, send.c and descriptors.c, and by record.c and exec.c. Nothing is written where bytes are moved.
 */
#include "stream.h"

enum news { NEWS = 1, NEWS_BACK = 2, NEWS_OVER = 4 };
enum { ADDRESSES_ROOM = 2 * 128 + 32 };

uint32_t stream_news; /* the first one that has some: its number, and 1 more */
static uint32_t lock; /* of that list, and of what is noted */

static uint32_t number_of(const struct stream *s)
{
	return (uint32_t)(s - stream_numbered(0));
}

/* A child that has never used what it was born with has nothing to say. */
static int has_tale(const struct tale *t)
{
	return t->is_joined || t->is_told || t->sent || t->got;
}

static void note(struct stream *s, uint32_t news)
{
	s->tale.news |= news;
	if (s->tale.is_listed)
		return;
	s->tale.is_listed = 1;
	s->tale.next = get_relaxed(&stream_news);
	put_release(&stream_news, number_of(s) + 1);
}

uint32_t tell_by(void)
{
	return record_is_on() ? record_under_way(thread_self()) : (uint32_t)STREAM_BY_NOBODY;
}

static void meet_other(struct stream *s)
{
	if (!s->tale.other)
		s->tale.other = get_relaxed(&s->ring->ends[!s->end].pid);
}

void tell_joined(struct stream *s, int32_t fd)
{
	if (!record_is_on())
		return;
	stream_lock(&lock);
	meet_other(s);
	s->tale.is_joined = 1;
	s->tale.fd = fd;
	note(s, NEWS);
	stream_unlock(&lock);
}

void tell_back(struct stream *s, uint32_t ways, uint32_t by)
{
	if (!record_is_on() || !(ways & ~get_relaxed(&s->tale.ways)))
		return;
	stream_lock(&lock);
	if (has_tale(&s->tale)) {
		if (!(s->tale.news & NEWS_BACK))
			s->tale.back_by = by;
		put_relaxed(&s->tale.ways, s->tale.ways | ways);
		note(s, NEWS_BACK);
	}
	stream_unlock(&lock);
}

/* What its ring will not say any more. */
static void sum_up(struct stream *s, uint32_t by)
{
	meet_other(s);
	s->tale.kernel_sent = s->held->sent;
	s->tale.kernel_got = stream_in(s)->came;
	s->tale.over_by = by;
}

int tell_is_over(struct stream *s, uint32_t by)
{
	if (!record_is_on() || !has_tale(&s->tale))
		return 0;
	sum_up(s, by);
	return 1;
}

void tell_over(struct stream *s)
{
	stream_lock(&lock);
	note(s, NEWS_OVER);
	stream_unlock(&lock);
}

/* What its parent has done, its parent tells. */
void tell_forked(struct stream *s)
{
	lock = 0;
	if (get_relaxed(&s->state) == STREAM_OVER)
		put_release(&s->state, STREAM_FREE);
	s->tale.sent = s->tale.got = 0;
	s->tale.is_joined = s->tale.is_told = s->tale.news = s->tale.is_listed = 0;
}

/* ---- records ----------------------------------------------------------------------------------------------------- */

static void write_joined(struct thread *t, const struct stream *s)
{
	int is_pipe = stream_is_pipe(s);
	struct log_record *r = record_event_begin(t, RECORD_STREAM, 6, ADDRESSES_ROOM);

	if (!r)
		return;
	r->args[0] = s->tale.id;
	r->args[1] = (uint32_t)s->tale.fd;
	r->args[2] = is_pipe ? 0 : s->family;
	r->args[3] = s->tale.other;
	r->args[4] = s->inode >> is_pipe;
	r->args[5] = s->other >> is_pipe;
	/* Its number may be another one's by now. */
	if (!is_pipe && !sites_are_quiet() && stream_inode(s->tale.fd, "") == s->inode) {
		event_address(r, 1, NR_getsockname, s->tale.fd);
		event_address(r, 2, NR_getpeername, s->tale.fd);
	}
	record_event_end(t, r);
}

static void write_back(struct thread *t, const struct tale *told)
{
	struct log_record *r = record_event_begin(t, RECORD_STREAM_BACK, 5, 0);

	if (!r)
		return;
	r->args[0] = told->id;
	r->args[1] = told->back_by;
	r->args[2] = told->ways;
	r->args[3] = told->sent;
	r->args[4] = told->got;
	record_event_end(t, r);
}

static void write_over(struct thread *t, const struct tale *told)
{
	struct log_record *r = record_event_begin(t, RECORD_STREAM_END, 6, 0);

	if (!r)
		return;
	r->args[0] = told->id;
	r->args[1] = told->over_by;
	r->args[2] = told->sent;
	r->args[3] = told->got;
	r->args[4] = told->kernel_sent;
	r->args[5] = told->kernel_got;
	record_event_end(t, r);
}

/* A copy: the stream may be another one by the time that there is room in the log. */
static void write(struct thread *t, const struct stream *s, uint32_t news)
{
	const struct tale *told = &s->tale;

	if (!told->is_told)
		write_joined(t, s);
	/* To be closed is not to go back. */
	if (news & NEWS_BACK && !(news & NEWS_OVER && (told->back_by == told->over_by ||
						       told->back_by == STREAM_BY_NOBODY)))
		write_back(t, told);
	if (news & NEWS_OVER)
		write_over(t, told);
}

static struct stream *next(struct stream *copy)
{
	struct stream *s = 0;
	uint32_t first;

	stream_lock(&lock);
	first = get_relaxed(&stream_news);
	if (first) {
		s = stream_numbered(first - 1);
		put_relaxed(&stream_news, s->tale.next);
		*copy = *s;
		s->tale.is_listed = s->tale.news = 0;
		s->tale.is_told = 1;
	}
	stream_unlock(&lock);
	return s;
}

void stream_tell(struct thread *t)
{
	struct stream copy, *s;

	if (t->process != &process_main) /* a child of vfork, in whose name nothing of it was done */
		return;
	while ((s = next(&copy))) {
		write(t, &copy, copy.tale.news);
		if (copy.tale.news & NEWS_OVER)
			put_release(&s->state, STREAM_FREE);
	}
}

/* All that there are end by this call. */
static void tell_all(struct thread *t, uint32_t by)
{
	struct stream *s;

	stream_tell(t);
	for (uint32_t i = 0; (s = stream_numbered(i)); i++) {
		struct stream copy;

		if (get_acquire(&s->state) != STREAM_JOINED)
			continue;
		add_one(&s->users);
		copy.tale.news = 0;
		stream_lock(&lock);
		if (get_acquire(&s->state) == STREAM_JOINED && get_acquire(&s->descriptors) && has_tale(&s->tale)) {
			sum_up(s, by);
			copy = *s;
			copy.tale.news = NEWS_OVER;
			s->tale.is_told = 1;
		}
		stream_unlock(&lock);
		if (copy.tale.news)
			write(t, &copy, NEWS_OVER);
		stream_put(s);
	}
}

void tell_end(struct thread *t)
{
	if (record_is_on())
		tell_all(t, NR_exit_group);
}

/* If it succeeds nobody is left to tell; if not, what comes later counts. */
void stream_tell_exec(struct call *c)
{
	uint64_t start;

	if (!get_relaxed(&stream_rings) || !record_is_on() || c->thread->process != &process_main)
		return;
	start = record_put_off(c);
	tell_all(c->thread, (uint32_t)c->nr);
	record_go_on(c, start);
}
