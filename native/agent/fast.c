/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call from a patched site: arch/entry.S has moved to the agent's own stack and laid down a struct fast; it goes back
 * by what we leave there. Signals are as the program has them; one that comes meanwhile is put off by signal_arrived(),
 * which may only be because every wait in here is made by gate_fast(). Calls that need a signal frame are sent on to
 * trap() by way of the site's own `syscall` instruction.
 */
#include "post.h"
#include "stream.h"

typedef uint64_t word __attribute__((may_alias));

static int64_t just_make(struct thread *t, struct fast *f)
{
	record_count(t, ROUTE_KERNEL);
	return gate_fast(f->nr, f->args, &t->put_off);
}

/*
 * A record of nothing but numbers, which begins with the word `head`. The arguments are written whether the call has so
 * many or not: what lies behind the record is nobody's yet.
 */
static inline struct log_record *begin_record(struct thread *t, const struct fast *f, uint64_t head)
{
	struct log_record *r = (struct log_record *)t->at;

	*(word *)r = head;
	r->start = arch_ticks();
	/* Six moves, and neither a loop nor a call of memcpy. */
	r->args[0] = f->args[0];
	r->args[1] = f->args[1];
	r->args[2] = f->args[2];
	r->args[3] = f->args[3];
	r->args[4] = f->args[4];
	r->args[5] = f->args[5];
	__atomic_store_n(&t->head->begun, t->number + 1, __ATOMIC_RELEASE); /* see record_begin() */
	return r;
}

static inline int64_t end_record(struct thread *t, struct log_record *r, uint64_t head, int64_t ret)
{
	uint64_t took = arch_ticks() - r->start;

	if (__builtin_expect(took >> 32 || ret != (int32_t)ret || ret == -ERESTART_, 0)) {
		record_wide(t, r, took, ret);
		return ret;
	}
	r->took = (uint32_t)took;
	r->ret = (int32_t)ret;
	t->at += (head & 0xffff) * 8;
	t->number++;
	put_release(&t->head->used, (uint32_t)(t->at - (uint8_t *)(t->head + 1)));
	return ret;
}

static int64_t make_and_record(struct thread *t, struct fast *f, uint64_t head)
{
	struct log_record *r = begin_record(t, f, head);

	return end_record(t, r, head, gate_fast(f->nr, f->args, &t->put_off));
}

/* A small write to a posted file: POST_NOT if it cannot be posted now. */
static int64_t post(struct thread *t, struct fast *f)
{
	uint64_t head = record_heads[NR_write];
	struct log_record *r;
	int64_t ret;

	if (!record_is_on()) {
		ret = post_write(t, f->args[0], f->args[1], f->args[2]);
	} else if (head && t->end - t->at >= RECORD_SMALL) {
		head |= (uint64_t)ROUTE_LOCAL << 40;
		r = begin_record(t, f, head);
		ret = post_write(t, f->args[0], f->args[1], f->args[2]);
		if (ret != POST_NOT)
			end_record(t, r, head, ret);
	} else {
		return POST_NOT;
	}
	if (ret != POST_NOT)
		record_count(t, ROUTE_LOCAL);
	return ret;
}

/* Nobody but the kernel has anything to do with it. */
static int is_plain(const struct fast *f)
{
	uint8_t way = dispatch_way[f->nr];

	if (handle_has_rules(f->nr))
		return 0;
	if (way == WAY_PLAIN || (way == WAY_POSTS && post_is_nothing(f->args[0])))
		return 1;
	if (call_ways[f->nr] != WAY_PLAIN || handle_is_there() || (post_head && call_rows[f->nr].posts))
		return 0;
	return stream_is_on() && !stream_concerns(f->nr, f->args);
}

static int64_t by_dispatch(struct thread *t, struct fast *f, uint8_t route)
{
	struct call c = {.nr = f->nr, .row = &call_rows[f->nr], .thread = t, .route = route};
	uint64_t start;
	int64_t ret;

	__builtin_memcpy(c.args, f->args, sizeof c.args);
	record_begin(&c, &start);
	ret = dispatch_perform(&c);
	record_end(&c, start, ret);
	if (c.nr == NR_mmap)
		sites_mapped(&c, ret);
	return ret;
}

/* Streams have something to say about every write, but never about one to a posted file. */
static int may_post(void)
{
	return dispatch_way[NR_write] == WAY_POSTS || (post_head && stream_is_on() && !handle_is_there());
}

void fast_call(struct thread *t, struct fast *f)
{
	uint8_t route;
	int64_t ret;

	if (get_relaxed(handle_epoch) != get_relaxed(&handle_seen))
		handle_refresh();
	if (f->nr == NR_write && may_post() && post_is_own(f->args[0])) {
		ret = post(t, f);
		if (ret != POST_NOT)
			goto out;
	}
	if (f->nr >= CALL_LIMIT || (dispatch_way[f->nr] == WAY_SLOW && !dispatch_unmasked(f->nr, f->args))) {
		f->resume = sites_slow((uint32_t)f->site);
		return;
	}
	route = dispatch_route(t->process, f->nr);
	if (route == ROUTE_KERNEL && record_heads[f->nr] && t->end - t->at >= RECORD_SMALL && is_plain(f)) {
		record_count(t, ROUTE_KERNEL);
		ret = make_and_record(t, f, record_heads[f->nr]);
		goto out;
	}
	if (route == ROUTE_PROXY && call_rows[f->nr].runs == RUNS_BOTH) {
		/* Done in two places: no signal may come between them and have it made again. */
		f->resume = sites_slow((uint32_t)f->site);
		return;
	}
	if (route == ROUTE_KERNEL && !record_is_on() && is_plain(f))
		ret = just_make(t, f);
	else
		ret = by_dispatch(t, f, route);
out:
	if (ret == -ERESTART_)
		f->resume -= ARCH_SYSCALL_BYTES; /* and the number is there already */
	else
		f->nr = (uint64_t)ret;
}
