/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log, written where the call happens: one record per call, straight into the chunk that the thread has leased
 * (chunks.c). Strings, structures and argument lists that pointers lead to are kept whole; the contents of plain
 * buffers only as far as the session asks for them. No line of memory that others use is written per call. Most calls
 * from patched sites are nothing but numbers, and are written down by fast.c.
 */
#include "bounds.h"
#include "pack.h"
#include "stream.h"

enum {
	KEEP_STRUCT = 512,   /* of a structure or an array of them */
	MORE_STRINGS = 512,  /* most strings are short, so room is made for them as they come */
	NUMBERS = 4096,      /* there are no calls beyond, but programs try */
};

/* Room for one record, of which `now` bytes are there, or 0 and it is counted as lost, and its number used up. */
static struct log_record *room(struct thread *t, uint32_t need, uint32_t now)
{
	if (t->head && ((uint8_t *)t->head + CHUNK_SIZE - t->at < need || !chunk_reach(t, now)))
		chunk_release(t);
	if (!t->head && !chunk_lease(t, now)) {
		chunk_lost();
		t->number++;
		return 0;
	}
	return (struct log_record *)t->at;
}

static struct piece *piece_at(struct log_record *r)
{
	return (struct piece *)((uint64_t *)r + r->words);
}

static void piece_close(struct log_record *r, struct piece *p, int arg, int flags, uint64_t len, uint64_t full)
{
	p->arg = (uint8_t)arg;
	p->flags = (uint8_t)(flags | (len < full ? PIECE_CUT : 0));
	p->len = (uint16_t)len;
	p->full = (uint32_t)full;
	r->words = (uint16_t)(r->words + 1 + (len + 7) / 8);
	r->counts = (uint8_t)(r->counts + 16);
}

/* How much is to be kept of what goes through a descriptor. */
static uint64_t keep_limit(const struct call *c, int out)
{
	const uint64_t *set = out ? session->keep_read : session->keep_write;
	uint64_t fd = c->row->args[0].kind == ARG_FD ? (uint32_t)c->args[0] : KEEP_FDS;

	return fd < KEEP_FDS && set[fd / 64] >> fd % 64 & 1 ? KEEP_MOST : session->keep_bytes;
}

static void keep_bytes(struct log_record *r, int arg, int flags, uint64_t from, uint64_t full, uint64_t limit)
{
	struct piece *p = piece_at(r);
	uint64_t want = full < limit ? full : limit, got = memory_read(p + 1, from, want);

	if (got == want)
		piece_close(r, p, arg, flags, got, full);
}

static void keep_vector(struct log_record *r, int arg, int flags, uint64_t iov, uint32_t count, uint64_t total,
			uint64_t limit)
{
	struct piece *p = piece_at(r);
	uint64_t done = 0, full = 0, pair[2];

	for (uint32_t i = 0; i < count && i < 64; i++) {
		uint64_t part;

		if (memory_read(pair, iov + 16ull * i, 16) < 16)
			return;
		full += pair[1];
		part = pair[1] < limit - done ? pair[1] : limit - done;
		if (total < done + part)
			part = total - done;
		done += memory_read((char *)(p + 1) + done, pair[0], part);
	}
	piece_close(r, p, arg, flags, done, total < full ? total : full);
}

/* struct flat_msg, then name, control, and of the data what is asked for. */
static void keep_message(struct log_record *r, int arg, int flags, uint64_t at, uint64_t total, uint64_t limit)
{
	struct piece *p = piece_at(r);
	struct flat_msg *f = (struct flat_msg *)(p + 1);
	uint8_t *to = (uint8_t *)(f + 1);
	uint64_t m[7], pair[2], data = 0;

	if (memory_read(m, at, sizeof m) < sizeof m)
		return;
	memset(f, 0, sizeof *f);
	f->has_name = !!m[0];
	f->name_len = (uint32_t)m[1] < 128 ? (uint32_t)m[1] : 128;
	f->has_control = !!m[4];
	f->control_len = m[5] < 256 ? (uint32_t)m[5] : 256;
	f->flags = (uint32_t)m[6];
	if (f->has_name)
		to += memory_read(to, m[0], f->name_len);
	if (f->has_control)
		to += memory_read(to, m[4], f->control_len);
	for (uint64_t i = 0; i < m[3] && i < 64 && data < limit; i++) {
		uint64_t part;

		if (memory_read(pair, m[2] + 16 * i, 16) < 16)
			break;
		part = pair[1] < limit - data ? pair[1] : limit - data;
		if (total < data + part)
			part = total - data;
		part = memory_read(to, pair[0], part);
		to += part;
		data += part;
	}
	f->data_len = (uint32_t)data;
	piece_close(r, p, arg, flags, (uint64_t)(to - (uint8_t *)f), (uint64_t)(to - (uint8_t *)f));
}

/* Up to `end`, which comes earlier where there is no memory. */
static int64_t take_string(const struct call *c, char *to, uint64_t from, char **end)
{
	struct thread *t = c->thread;

	for (;;) {
		char *there = (char *)t->end - c->rest, *stop = *end < there ? *end : there;
		int64_t n = to < stop ? memory_string(to, from, (uint64_t)(stop - to)) : -ENAMETOOLONG_;

		if (n != -ENAMETOOLONG_ || stop == *end)
			return n;
		chunk_reach(t, (uint64_t)(t->end - t->at) + MORE_STRINGS);
		if ((char *)t->end - c->rest == there)
			*end = stop;
	}
}

/* The strings of argv one after the other, each with its NUL, also the last one where there were more. */
static void keep_strings(const struct call *c, struct log_record *r, int arg, uint64_t at)
{
	struct piece *p = piece_at(r);
	char *to = (char *)(p + 1), *end = to + KEEP_STRINGS;
	uint64_t one;
	int cut = 0;

	if (memory_read(&one, at, 8) < 8)
		return;
	for (; !cut && memory_read(&one, at, 8) == 8 && one; at += 8) {
		int64_t n = take_string(c, to, one, &end);

		if (n == -ENAMETOOLONG_) {
			cut = 1;
			to = end - to < 2 ? to : end;
			if (to == end)
				to[-1] = 0;
		} else if (n < 0) {
			break;
		} else {
			to += n + 1;
		}
	}
	piece_close(r, p, arg, 0, (uint64_t)(to - (char *)(p + 1)), (uint64_t)(to - (char *)(p + 1) + cut));
}

static void keep(struct call *c, struct log_record *r, int i, int out, int64_t ret)
{
	const struct call_arg *arg = &c->row->args[i];
	uint64_t at = c->args[i], len, limit;
	uint32_t deref = 0;
	struct shape s;

	if (!at)
		return;
	if (arg->length == LEN_DEREF && memory_read(&deref, c->args[arg->len_arg], 4) < 4)
		return;
	s = pack_shape(c->row, i, c->args, deref);
	len = s.len;
	switch (s.kind) {
	case ARG_STRING:
		if (!out) {
			struct piece *p = piece_at(r);
			char *end = (char *)(p + 1) + PACK_STRING;
			int64_t n = take_string(c, (char *)(p + 1), at, &end), part = end - (char *)(p + 1);

			if (n >= 0)
				piece_close(r, p, i, 0, (uint64_t)n, (uint64_t)n);
			else if (n == -ENAMETOOLONG_ && part > 0 && part < (int64_t)PACK_STRING)
				piece_close(r, p, i, 0, (uint64_t)part, (uint64_t)part + 1);
		}
		return;
	case ARG_STRINGS:
		if (!out && !bounds_is_environment(c->row, i))
			keep_strings(c, r, i, at);
		return;
	case ARG_SIGMASK:
		if (!out)
			keep_bytes(r, i, 0, at, 8, 8);
		return;
	case ARG_IN:
	case ARG_OUT:
	case ARG_INOUT:
		if (out ? s.kind == ARG_IN : s.kind == ARG_OUT)
			return;
		limit = bounds_is_buffer(arg) ? keep_limit(c, out) : KEEP_STRUCT;
		if (out)
			len = pack_filled(arg, len, ret);
		if (limit && (len || !out))
			keep_bytes(r, i, out ? PIECE_OUT : 0, at, len, limit);
		return;
	case ARG_IOV_IN:
		limit = keep_limit(c, 0);
		if (!out && limit)
			keep_vector(r, i, 0, at, (uint32_t)s.len, PACK_MAX, limit);
		return;
	case ARG_IOV_OUT:
		limit = keep_limit(c, 1);
		if (out && ret >= 0 && limit)
			keep_vector(r, i, PIECE_OUT, at, (uint32_t)s.len, (uint64_t)ret, limit);
		return;
	case ARG_MSG_IN:
		if (!out)
			keep_message(r, i, 0, at, PACK_MAX, keep_limit(c, 0));
		return;
	case ARG_MSG_OUT:
		if (out && ret >= 0)
			keep_message(r, i, PIECE_OUT, at, (uint64_t)ret, keep_limit(c, 1));
		return;
	}
}

static void fill(struct call *c, struct log_record *r)
{
	uint32_t args = c->foreign ? CALL_ARGS : c->row->nargs;

	r->words = (uint16_t)(sizeof *r / 8 + args);
	r->nr = (uint16_t)(c->nr < NUMBERS ? c->nr : NUMBERS - 1);
	r->kind = RECORD_CALL;
	r->route = c->route;
	r->flags = (c->foreign ? RECORD_FOREIGN : 0) | (c->uc ? RECORD_TRAPPED : 0);
	r->counts = (uint8_t)args;
	for (uint32_t i = 0; i < args; i++)
		r->args[i] = c->args[i];
	if (!c->foreign)
		for (int i = 0; i < c->row->nargs; i++)
			if (pack_is_pointer(c->row->args[i].kind))
				keep(c, r, i, 0, 0);
}

/* Now others see it. */
static void publish(struct thread *t, const struct log_record *r)
{
	t->at = (uint8_t *)((const uint64_t *)r + r->words);
	t->number++;
	put_release(&t->head->used, (uint32_t)(t->at - (uint8_t *)(t->head + 1)));
}

static void close_record(struct thread *t, struct log_record *r, uint64_t took, int64_t ret)
{
	if (took >> 32 || ret != (int32_t)ret) {
		uint64_t *more = (uint64_t *)r + r->words;

		more[0] = took;
		more[1] = (uint64_t)ret;
		r->words += 2;
		r->flags |= RECORD_WIDE;
		took = 0;
		ret = 0;
	}
	r->took = (uint32_t)took;
	r->ret = (int32_t)ret;
	publish(t, r);
}

void record_wide(struct thread *t, struct log_record *r, uint64_t took, int64_t ret)
{
	if (ret == -ERESTART_)
		r->flags |= RECORD_RESTARTS;
	close_record(t, r, took, ret);
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

static struct log_record *room_for(struct call *c)
{
	uint32_t need = c->nr < CALL_LIMIT ? bounds_of(c->nr) : RECORD_SMALL;
	uint32_t strings = need > PACK_STRING ? bounds_strings(c->row) : 0;

	c->rest = need > strings ? need - strings : 0;
	return room(c->thread, need, strings ? c->rest + MORE_STRINGS : need);
}

/* The record is begun in place; nobody sees it before it is published. The agent is not re-entered in between. */
void record_begin(struct call *c, uint64_t *start)
{
	struct log_record *r;

	*start = 0;
	c->record = 0;
	record_count(c->thread, c->route);
	if (!record_is_on())
		return;
	r = room_for(c);
	if (!r)
		return;
	fill(c, r);
	c->record = r;
	*start = r->start = arch_ticks();
	/* After all of it: who dies in this call leaves a record that says so. */
	__atomic_store_n(&c->thread->head->begun, c->thread->number + 1, __ATOMIC_RELEASE);
}

void record_end(struct call *c, uint64_t start, int64_t ret)
{
	struct log_record *r = c->record;
	uint64_t took = start ? arch_ticks() - start : 0;

	if (!start || !r || !c->thread)
		return;
	r->route = c->route;
	if (ret == -ERESTART_)
		r->flags |= RECORD_RESTARTS;
	else if (!c->foreign)
		for (int i = 0; i < c->row->nargs; i++)
			if (pack_is_pointer(c->row->args[i].kind))
				keep(c, r, i, 1, ret);
	close_record(c->thread, r, took, ret);
	if (event_follows(c->nr) && !c->foreign)
		event_after(c, ret);
	if (get_relaxed(&stream_news))
		stream_tell(c->thread);
}

void record_last(struct call *c)
{
	struct log_record *r = c->record;

	if (!r)
		return;
	r->flags |= RECORD_NO_RETURN;
	close_record(c->thread, r, 0, 0);
	c->record = 0;
	c->replaces = 1;
}

/* Whatever record_last() has written: this is the thread's next record, or its number stays unused. */
void record_after(struct call *c, uint64_t start, int64_t ret)
{
	struct log_record *r;

	if (!start || !c->replaces || !(r = room_for(c)))
		return;
	fill(c, r);
	r->start = start;
	r->flags |= RECORD_REPLACES;
	c->record = r;
	record_end(c, start, ret);
}

uint64_t record_put_off(struct call *c)
{
	uint64_t start = c->record ? c->record->start : 0;

	c->record = 0;
	return start;
}

void record_go_on(struct call *c, uint64_t start)
{
	struct log_record *r;

	if (!start || !(r = room_for(c)))
		return;
	fill(c, r);
	r->start = start;
	c->record = r;
	__atomic_store_n(&c->thread->head->begun, c->thread->number + 1, __ATOMIC_RELEASE);
}

uint32_t record_under_way(const struct thread *t)
{
	if (!t || !t->head || t->head->begun != t->number + 1)
		return STREAM_BY_NOBODY;
	return ((const struct log_record *)t->at)->nr;
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

struct log_record *record_event_begin(struct thread *t, uint8_t kind, uint32_t args, uint32_t pieces)
{
	struct log_record *r;

	if (!record_is_on() || !(r = room(t, RECORD_SMALL + pieces, RECORD_SMALL + pieces)))
		return 0;
	r->words = (uint16_t)(sizeof *r / 8 + args);
	r->nr = 0;
	r->kind = kind;
	r->route = ROUTE_KERNEL;
	r->flags = 0;
	r->counts = (uint8_t)args;
	r->start = arch_ticks();
	return r;
}

/* The bytes are there already, behind record_event_place(). */
void record_event_piece(struct log_record *r, int arg, uint64_t len)
{
	piece_close(r, piece_at(r), arg, 0, len, len);
}

uint8_t *record_event_place(struct log_record *r)
{
	return (uint8_t *)(piece_at(r) + 1);
}

void record_event_end(struct thread *t, struct log_record *r)
{
	close_record(t, r, 0, 0);
}

void record_event(struct thread *t, uint8_t kind, uint32_t args, uint64_t a, uint64_t b)
{
	struct log_record *r = record_event_begin(t, kind, args, 0);

	if (!r)
		return;
	r->args[0] = a;
	r->args[1] = b;
	record_event_end(t, r);
}
