/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log, written where the call happens: one record per call, straight into a chunk of the session's memory that the
 * thread leases. A full chunk is left to the drainer and another one taken; without a free one the thread waits for the
 * drainer, and counts the record as lost only when there is none. What pointers point to is kept as the row says:
 * strings and structures whole, the contents of buffers as far as a line of text shows them.
 */
#include "pack.h"
#include "agent.h"

enum {
	KEEP_BYTES = 32,     /* of a plain buffer */
	KEEP_STRUCT = 512,   /* of a structure or an array of them */
	KEEP_STRINGS = 2048, /* of argv and envp together */
	KEEP_ARGV = 32,
	KEEP_OTHER = 640,    /* no other piece is larger, its head included */
};

static uint8_t *chunk_bytes(uint32_t i)
{
	return (uint8_t *)session + session->chunks_at + (uint64_t)i * CHUNK_SIZE;
}

static void bell(uint32_t *word)
{
	add_one(word);
	GATE3(NR_futex, word, 1, 1);
}

void record_release(struct thread *t)
{
	uint32_t i = t->chunk;

	if (i >= CHUNK_COUNT)
		return;
	put_release(&session->chunks[i].state, CHUNK_FULL);
	t->chunk = CHUNK_COUNT;
	if (i >= CHUNKS_AT_LEISURE)
		bell(&session->log_bell);
}

/*
 * A program that brought its agent along owes nobody its progress: it waits for a drainer that does not come once, and
 * not at every record.
 */
static uint32_t given_up;

static int patience(void)
{
	if (!(session->flags & SESSION_PRELOAD))
		return 200;
	return get_relaxed(&given_up) ? 0 : 20;
}

static int lease(struct thread *t)
{
	uint32_t hint = get_relaxed(&session->chunk_hint);

	for (int tries = patience();; tries--) {
		uint32_t seen = get_acquire(&session->chunk_bell), drainer;

		for (uint32_t n = 0; n < CHUNK_COUNT; n++) {
			uint32_t i = (hint + n) % CHUNK_COUNT;
			struct chunk *k = &session->chunks[i];

			if (get_relaxed(&k->state) != CHUNK_FREE)
				continue;
			raise_to(&session->chunk_high, i + 1);
			if (!swap_if(&k->state, CHUNK_FREE, CHUNK_LEASED))
				continue;
			k->pid = t->process->pid;
			k->tid = t->tid;
			k->lease = __atomic_add_fetch(&session->leases, 1, __ATOMIC_RELAXED);
			put_relaxed(&session->chunk_hint, (i + 1) % CHUNK_COUNT);
			t->chunk = i;
			put_relaxed(&given_up, 0);
			return 1;
		}
		drainer = get_relaxed(&session->drainer);
		if (!drainer || GATE2(NR_kill, drainer, 0) == -ESRCH_)
			break;
		if (tries <= 0) {
			put_relaxed(&given_up, 1);
			break;
		}
		bell(&session->log_bell);
		{
			uint64_t timeout[2] = {0, 50000000};

			GATE4(NR_futex, &session->chunk_bell, 0, seen, timeout);
		}
	}
	return 0;
}

/* An upper bound of a record's size. */
static uint32_t bound(const struct call_row *row)
{
	uint32_t n = sizeof(struct record);

	for (int i = 0; i < row->nargs; i++) {
		uint8_t kind = row->args[i].kind;

		if (kind == ARG_STRING)
			n += PACK_STRING + 16;
		else if (kind == ARG_STRINGS)
			n += KEEP_STRINGS + 16;
		else if (kind == ARG_INOUT || kind >= ARG_FCNTL)
			n += 2 * KEEP_OTHER;
		else if (pack_is_pointer(kind))
			n += KEEP_OTHER;
	}
	return n;
}

/* Room for one record, or 0 and it is counted as lost. */
static struct record *room(struct thread *t, uint32_t need)
{
	if (t->chunk < CHUNK_COUNT && session->chunks[t->chunk].used + need > CHUNK_SIZE)
		record_release(t);
	if (t->chunk >= CHUNK_COUNT && !lease(t)) {
		__atomic_add_fetch(&session->lost, 1, __ATOMIC_RELAXED);
		return 0;
	}
	return (struct record *)(chunk_bytes(t->chunk) + session->chunks[t->chunk].used);
}

static void publish(struct thread *t, struct record *r)
{
	put_release(&session->chunks[t->chunk].used, session->chunks[t->chunk].used + r->size);
}

static struct piece *piece_at(struct record *r)
{
	return (struct piece *)((uint8_t *)r + r->size);
}

static void piece_close(struct record *r, struct piece *p, int arg, int flags, uint64_t len, uint64_t full)
{
	p->arg = (uint8_t)arg;
	p->flags = (uint8_t)(flags | (len < full ? PIECE_CUT : 0));
	p->len = (uint16_t)len;
	p->full = (uint32_t)full;
	r->size += (uint32_t)(sizeof *p + ((len + 7) & ~7ull));
	r->pieces++;
}

static void keep_bytes(struct record *r, int arg, int flags, uint64_t from, uint64_t full, uint64_t limit)
{
	struct piece *p = piece_at(r);
	uint64_t want = full < limit ? full : limit, got = memory_read(p + 1, from, want);

	if (got == want)
		piece_close(r, p, arg, flags, got, full);
}

static void keep_vector(struct record *r, int arg, int flags, uint64_t iov, uint32_t count, uint64_t total)
{
	struct piece *p = piece_at(r);
	uint64_t done = 0, full = 0, pair[2];

	for (uint32_t i = 0; i < count && i < 64; i++) {
		uint64_t part;

		if (memory_read(pair, iov + 16ull * i, 16) < 16)
			return;
		full += pair[1];
		part = pair[1] < KEEP_BYTES - done ? pair[1] : KEEP_BYTES - done;
		if (total < done + part)
			part = total - done;
		done += memory_read((char *)(p + 1) + done, pair[0], part);
	}
	piece_close(r, p, arg, flags, done, total < full ? total : full);
}

/* struct flat_msg, then name, control, and the beginning of the data. */
static void keep_message(struct record *r, int arg, int flags, uint64_t at, uint64_t total)
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
	for (uint64_t i = 0; i < m[3] && i < 64 && data < KEEP_BYTES; i++) {
		uint64_t part;

		if (memory_read(pair, m[2] + 16 * i, 16) < 16)
			break;
		part = pair[1] < KEEP_BYTES - data ? pair[1] : KEEP_BYTES - data;
		if (total < data + part)
			part = total - data;
		part = memory_read(to, pair[0], part);
		to += part;
		data += part;
	}
	f->data_len = (uint32_t)data;
	piece_close(r, p, arg, flags, (uint64_t)(to - (uint8_t *)f), (uint64_t)(to - (uint8_t *)f));
}

/* The strings of argv or envp one after the other, each with its NUL. */
static void keep_strings(struct record *r, int arg, uint64_t at)
{
	struct piece *p = piece_at(r);
	char *to = (char *)(p + 1), *end = to + KEEP_STRINGS;
	uint64_t one;
	int n;

	for (n = 0; n < KEEP_ARGV && to < end; n++) {
		int64_t len;

		if (memory_read(&one, at + 8ull * (unsigned)n, 8) < 8 || !one)
			break;
		len = memory_string(to, one, (uint64_t)(end - to));
		if (len < 0)
			break;
		to += len + 1;
	}
	piece_close(r, p, arg, 0, (uint64_t)(to - (char *)(p + 1)), (uint64_t)(to - (char *)(p + 1)));
}

static void keep(struct call *c, struct record *r, int i, int out, int64_t ret)
{
	const struct call_arg *arg = &c->row->args[i];
	uint64_t at = c->args[i], len;
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
			int64_t n = memory_string((char *)(p + 1), at, PACK_STRING);

			if (n >= 0)
				piece_close(r, p, i, 0, (uint64_t)n, (uint64_t)n);
		}
		return;
	case ARG_STRINGS: /* the second one is the environment, which is nobody's business */
		if (!out && (!i || c->row->args[i - 1].kind != ARG_STRINGS))
			keep_strings(r, i, at);
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
		if (out)
			len = pack_filled(arg, len, ret);
		if (len || out == 0)
			keep_bytes(r, i, out ? PIECE_OUT : 0, at, len,
				   arg->flags & ARG_WHOLE || arg->length == LEN_CONST ? KEEP_STRUCT : KEEP_BYTES);
		return;
	case ARG_IOV_IN:
		if (!out)
			keep_vector(r, i, 0, at, (uint32_t)s.len, PACK_MAX);
		return;
	case ARG_IOV_OUT:
		if (out && ret >= 0)
			keep_vector(r, i, PIECE_OUT, at, (uint32_t)s.len, (uint64_t)ret);
		return;
	case ARG_MSG_IN:
		if (!out)
			keep_message(r, i, 0, at, PACK_MAX);
		return;
	case ARG_MSG_OUT:
		if (out && ret >= 0)
			keep_message(r, i, PIECE_OUT, at, (uint64_t)ret);
		return;
	}
}

static void fill(struct call *c, struct record *r)
{
	r->size = sizeof *r;
	r->kind = RECORD_CALL;
	r->nr = (uint16_t)c->nr;
	r->route = c->route;
	r->pid = c->thread->process->pid;
	r->tid = c->thread->tid;
	r->flags = (c->foreign ? RECORD_FOREIGN : 0) | (c->uc ? RECORD_TRAPPED : 0);
	r->pieces = 0;
	r->start = r->end = 0;
	r->ret = 0;
	for (int i = 0; i < CALL_ARGS; i++)
		r->args[i] = c->args[i];
	if (!c->foreign)
		for (int i = 0; i < c->row->nargs; i++)
			if (pack_is_pointer(c->row->args[i].kind) || c->row->args[i].kind >= ARG_FCNTL)
				keep(c, r, i, 0, 0);
}

enum { QUICK = 256 };

static void add(const struct thread *t, uint8_t route, int32_t *left, int32_t *before)
{
	int32_t made = *before - (*left > 0 ? *left : 0);

	*before = *left;
	if (made > 0 && t->process->entry < PROCESSES && session)
		__atomic_add_fetch(&session->processes[t->process->entry].calls[route], (uint64_t)made,
				   __ATOMIC_RELAXED);
}

void record_counts(struct thread *t)
{
	add(t, ROUTE_KERNEL, &t->quick, &t->made_quick);
	add(t, ROUTE_LOCAL, &t->known, &t->made_known);
}

/* Between two looks entry.S may complete calls by itself, where each would only be made, or is answered already. */
void record_count(struct thread *t, uint8_t route)
{
	int32_t more = record_is_on() ? 0 : QUICK;

	record_counts(t);
	t->quick = t->made_quick = t->process->channel ? 0 : more;
	t->known = t->made_known = more;
	if (t->process->entry < PROCESSES && session)
		__atomic_add_fetch(&session->processes[t->process->entry].calls[route], 1, __ATOMIC_RELAXED);
}

/* The record is begun in place; nobody sees it before it is published. The agent is not re-entered in between. */
void record_begin(struct call *c, uint64_t *start)
{
	struct record *r;

	*start = 0;
	record_count(c->thread, c->route);
	if (!record_is_on())
		return;
	r = room(c->thread, bound(c->row));
	if (!r)
		return;
	fill(c, r);
	*start = r->start = arch_ticks();
}

void record_end(struct call *c, uint64_t start, int64_t ret)
{
	struct record *r;

	if (!start || !c->thread || c->thread->chunk >= CHUNK_COUNT)
		return;
	r = (struct record *)(chunk_bytes(c->thread->chunk) + session->chunks[c->thread->chunk].used);
	r->end = arch_ticks();
	r->ret = ret;
	r->route = c->route;
	if (ret == -ERESTART_)
		r->flags |= RECORD_RESTARTS;
	else if (!c->foreign)
		for (int i = 0; i < c->row->nargs; i++)
			if (pack_is_pointer(c->row->args[i].kind))
				keep(c, r, i, 1, ret);
	publish(c->thread, r);
}

void record_last(struct call *c)
{
	struct record *r;

	if (!record_is_on() || c->thread->chunk >= CHUNK_COUNT)
		return;
	r = (struct record *)(chunk_bytes(c->thread->chunk) + session->chunks[c->thread->chunk].used);
	r->flags |= RECORD_NO_RETURN;
	r->end = arch_ticks();
	publish(c->thread, r);
}

void record_after(struct call *c, uint64_t start, int64_t ret)
{
	struct record *r;

	if (!start || !(r = room(c->thread, bound(c->row))))
		return;
	fill(c, r);
	r->start = start;
	r->flags |= RECORD_REPLACES;
	record_end(c, start, ret);
}

void record_event(struct thread *t, uint8_t kind, uint64_t a, uint64_t b)
{
	struct record *r;

	if (!record_is_on() || !(r = room(t, sizeof *r)))
		return;
	memset(r, 0, sizeof *r);
	r->size = sizeof *r;
	r->kind = kind;
	r->pid = t->process->pid;
	r->tid = t->tid;
	r->args[0] = a;
	r->args[1] = b;
	r->start = r->end = arch_ticks();
	publish(t, r);
}
