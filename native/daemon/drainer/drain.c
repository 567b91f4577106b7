/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Brings records from the area's chunks to the log's file, in blocks: a thread of the launcher, or of who comes after
 * it. The programs wrote the chunks and may have written nonsense, or cut the area short, so whatever is looked at is
 * read (never mapped) first and checked then. A chunk is free again once the block with its records is written, so
 * nobody's death loses any; and it is freed in the end whether they could be written or not: a full disk costs records
 * (counted), never a program its progress.
 */
#include "drain.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "launch.h"
#include "ring.h"

enum {
	PERIOD = 40,            /* ms between two looks at all that is leased */
	UNDERTAKER = 400,       /* the same, at who is dead */
	OLDEST = 100000000,     /* ns that a row waits for others to come into its block */
	BLOCK_ENOUGH = 8 << 20, /* bytes */
	PATIENCE_WRONG = 25,    /* passes */
};

struct segment_end drain_end(struct drain *d, int is_last)
{
	const struct session *s = d->session;
	struct segment_end end = {.lost = d->head.lost, .undrained = d->undrained,
				  .uncaught = (uint32_t)d->head.uncaught, .is_last = (uint32_t)is_last};

	if (s) {
		end.lost = __atomic_load_n(&s->lost, __ATOMIC_RELAXED);
		end.uncaught = get_relaxed(&s->uncaught);
	}
	end.mono = clock_ns(CLOCK_MONOTONIC);
	end.ticks = arch_ticks();
	return end;
}

/* For those who may come after us. */
static void note(struct drain *d)
{
	struct segment_end end = drain_end(d, 0);

	d->head.lost = end.lost;
	d->head.uncaught = end.uncaught;
	d->head.undrained = end.undrained;
	d->head.header = d->out.header;
	area_write(d->area, &d->head);
}

/* ---- blocks ------------------------------------------------------------------------------------------------------ */

static void give_back(struct drain *d, uint32_t i)
{
	struct chunk *k = &d->session->chunks[i];

	d->chunks[i].is_done = 0;
	put_relaxed(&k->pid, 0); /* of the next one nobody is to think that it is dead already */
	put_relaxed(&k->tid, 0);
	put_release(&k->state, CHUNK_FREE);
	put_relaxed(&d->session->chunk_hint, i); /* memory in use already, and warm */
	__atomic_sub_fetch(&d->session->full, 1, __ATOMIC_RELAXED);
}

void drain_settle(struct drain *d)
{
	int freed = 0;

	for (uint32_t n = 0; n < d->pending_count; n++) {
		uint32_t i = d->pending[n];
		struct drained *c = &d->chunks[i];

		c->is_pending = 0;
		if (pwrite(d->area, &c->taken, sizeof c->taken,
			   (off_t)(AREA_AT(i) + offsetof(struct chunk_head, drained))) < 0)
			continue; /* the file says the same, only not as fast */
	}
	for (uint32_t n = 0; d->session && n < d->pending_count; n++)
		if (d->chunks[d->pending[n]].is_done) {
			give_back(d, d->pending[n]);
			freed = 1;
		}
	d->pending_count = 0;
	if (freed) {
		add_one(&d->session->chunk_bell);
		futex_call(&d->session->chunk_bell);
	}
}

/* What has been taken goes to the file, and its chunks to whoever wants them. */
void drain_flush(struct drain *d)
{
	size_t rows = segment_writer_rows(d->writer), size = 0;
	const uint8_t *block = rows ? segment_writer_block(d->writer, &size) : NULL;

	if (rows && !block) /* no memory: another time, and nothing is taken meanwhile */
		return;
	if (block)
		output_block(&d->out, block, size);
	if (rows && d->out.broken)
		d->undrained += rows;
	d->oldest = 0;
	drain_settle(d);
	if (rows)
		note(d);
	if (output_is_due(&d->out)) {
		struct segment_end end = drain_end(d, 0);

		if (!output_rotate(&d->out, &end))
			segment_writer_restart(d->writer, 0);
		note(d);
	}
}

static int is_scarce(const struct drain *d)
{
	return d->session && get_relaxed(&d->session->full) >= get_relaxed(&d->session->full_limit) / 2;
}

static void flush_if_due(struct drain *d)
{
	if (segment_writer_rows(d->writer) >= BLOCK_ROWS || segment_writer_bytes(d->writer) >= BLOCK_ENOUGH)
		drain_flush(d);
}

/* ---- chunks ------------------------------------------------------------------------------------------------------ */

void drain_await(struct drain *d, uint32_t i)
{
	if (d->chunks[i].is_pending)
		return;
	d->chunks[i].is_pending = 1;
	d->pending[d->pending_count++] = i;
}

/* Records from `taken` on to `used`, which stand at `bytes`. What makes no sense ends this lease: sizes are not to be
 * believed after it. */
static void take(struct drain *d, uint32_t i, const struct chunk_head *h, uint32_t used, const uint8_t *bytes)
{
	struct drained *c = &d->chunks[i];
	struct segment_run r = {.lease = h->lease, .thread = h->thread, .first = h->first + c->rows, .pid = h->pid,
				.tid = h->tid, .offset = c->taken, .bytes = used - c->taken};

	if (segment_writer_add(d->writer, &r, bytes) || c->taken + r.bytes < used) {
		d->undrained++;
		c->taken = CHUNK_ROOM;
	} else {
		c->taken = used;
	}
	c->rows += r.rows;
	d->brought += r.rows;
	if (r.rows && !d->oldest)
		d->oldest = clock_ns(CLOCK_MONOTONIC);
	drain_await(d, i);
	flush_if_due(d);
}

/* Who only looks on has not freed the chunk, and must ask whether it is still the same lease. */
static int is_same(const struct drain *d, uint32_t i, uint64_t lease)
{
	struct chunk_head h;

	return d->session ||
	       (pread(d->area, &h, sizeof h, (off_t)AREA_AT(i)) == (ssize_t)sizeof h && h.lease == lease && h.used);
}

/* The head, and how far it has been written. A lease that is new is read once more: its parts were not one moment's. */
static int look(struct drain *d, uint32_t i, struct chunk_head *h)
{
	struct drained *c = &d->chunks[i];

	for (int tries = 0; tries < 3; tries++) {
		if (pread(d->area, h, sizeof *h, (off_t)AREA_AT(i)) != (ssize_t)sizeof *h)
			return -1;
		if (h->lease == c->lease)
			return 0;
		*c = (struct drained){.lease = h->lease, .is_pending = c->is_pending};
	}
	return -1;
}

int drain_take(struct drain *d, uint32_t i)
{
	struct drained *c = &d->chunks[i];
	struct chunk_head h;
	uint32_t used, size;

	if (look(d, i, &h))
		return 0;
	used = h.used;
	if (used > CHUNK_ROOM) {
		if (c->taken < CHUNK_ROOM)
			d->undrained++;
		c->taken = CHUNK_ROOM;
		drain_await(d, i);
		return 0;
	}
	if (used <= c->taken)
		return 0;
	size = used - c->taken;
	if (pread(d->area, d->copy, size, (off_t)(AREA_AT(i) + sizeof h + c->taken)) != (ssize_t)size ||
	    !is_same(d, i, h.lease))
		return 0;
	take(d, i, &h, used, d->copy);
	return 1;
}

void drain_take_begun(struct drain *d, uint32_t i)
{
	struct drained *c = &d->chunks[i];
	struct log_record *r = (struct log_record *)d->copy;
	struct chunk_head h;
	uint32_t room;

	if (look(d, i, &h) || h.used != c->taken || h.used % 8 || h.begun != h.first + c->rows + 1)
		return;
	room = CHUNK_ROOM - h.used;
	if (room < sizeof *r ||
	    pread(d->area, d->copy, room, (off_t)(AREA_AT(i) + sizeof h + h.used)) != (ssize_t)room ||
	    r->kind != RECORD_CALL || r->words * 8u > room)
		return;
	r->flags = (uint8_t)((r->flags & ~RECORD_WIDE) | RECORD_NO_RETURN);
	r->took = 0;
	r->ret = 0;
	take(d, i, &h, h.used + r->words * 8u, d->copy);
}

/* Its thread is gone, and it was not there to say that the chunk is full. */
static int is_abandoned(const struct chunk *k)
{
	uint32_t pid = get_relaxed(&k->pid), tid = get_relaxed(&k->tid);

	return pid && tid && syscall(SYS_tgkill, pid, tid, 0) && errno == ESRCH;
}

/* ---- passes ------------------------------------------------------------------------------------------------------ */

/*
 * The count of full chunks is two words' agreement, and who is killed between the two leaves it wrong. Seen wrong for
 * long enough, while nothing is full, it is put right.
 */
static void mend(struct drain *d, uint32_t full, uint32_t before)
{
	if (full || !before || before != get_relaxed(&d->session->full)) {
		d->wrong = 0;
	} else if (++d->wrong > PATIENCE_WRONG) {
		swap_if(&d->session->full, before, 0);
		d->wrong = 0;
	}
}

int drain_pass(struct drain *d, int leased, int undertake)
{
	struct session *s = d->session;
	uint32_t high = get_acquire(&s->chunk_high), before = get_relaxed(&s->full), full = 0;
	int news = 0;

	for (uint32_t i = 0; i < CHUNK_COUNT && i < high; i++) {
		struct chunk *k = &s->chunks[i];
		uint32_t state = get_acquire(&k->state);

		if (state == CHUNK_FREE)
			continue;
		if (segment_writer_rows(d->writer) >= BLOCK_ROWS)
			break;
		if (state != CHUNK_FULL) {
			if (leased && !d->head.options.flight)
				news |= drain_take(d, i);
			if (undertake && state == CHUNK_LEASED && is_abandoned(k) &&
			    swap_if(&k->state, CHUNK_LEASED, CHUNK_FULL))
				add_one(&s->full); /* the next pass takes it */
			continue;
		}
		full++;
		if (d->chunks[i].is_done)
			continue;
		news = 1;
		if (d->head.options.flight) {
			flight_keep(d, i);
			continue;
		}
		drain_take(d, i);
		drain_take_begun(d, i);
		d->chunks[i].is_done = 1;
		drain_await(d, i);
		if (!segment_writer_rows(d->writer)) /* nothing to wait for */
			drain_settle(d);
	}
	if (d->head.options.flight && (d->fresh_count || get_relaxed(&s->starved) != d->starved))
		flight_pass(d);
	mend(d, full, before);
	if (segment_writer_rows(d->writer) &&
	    (is_scarce(d) || clock_ns(CLOCK_MONOTONIC) - d->oldest >= OLDEST))
		drain_flush(d);
	return news;
}

/* Whoever waits for this thread learns of its death from the kernel; a zombie looks alive to all else. */
static void be_known(struct drain *d)
{
	d->entry.next = &d->robust.list;
	d->robust = (struct robust_list_head){.list = {&d->entry},
					      .futex_offset = (char *)&d->session->drains - (char *)&d->entry};
	put_release(&d->session->drains, (uint32_t)syscall(SYS_gettid));
	syscall(SYS_set_robust_list, &d->robust, sizeof d->robust);
}

static void *run(void *arg)
{
	struct drain *d = arg;

	pthread_mutex_lock(&d->lock); /* the session is gone for a moment when somebody looks whether it has others */
	be_known(d);
	pthread_mutex_unlock(&d->lock);
	while (!get_acquire(&d->stop)) {
		uint64_t now = clock_ns(CLOCK_MONOTONIC);
		uint32_t seen;
		int leased = now - d->looked >= PERIOD * 1000000ull;
		int undertake = now - d->undertook >= UNDERTAKER * 1000000ull;

		if (leased)
			d->looked = now;
		if (undertake)
			d->undertook = now;
		pthread_mutex_lock(&d->lock);
		seen = get_acquire(&d->session->log_bell);
		drain_pass(d, leased, undertake);
		pthread_mutex_unlock(&d->lock);
		futex_sleep(&d->session->log_bell, seen, PERIOD);
	}
	put_release(&d->session->drains, 0);
	return NULL;
}

/* Its bell may be another word of memory afterwards: it is not to sleep on the old one. */
void drain_pause(struct drain *d)
{
	if (!d->runs)
		return;
	pthread_mutex_lock(&d->lock);
	add_one(&d->session->log_bell);
	futex_call(&d->session->log_bell);
}

void drain_resume(struct drain *d)
{
	if (!d->runs)
		return;
	add_one(&d->session->log_bell);
	pthread_mutex_unlock(&d->lock);
}

/* ---- beginning and end ------------------------------------------------------------------------------------------- */

int drain_open(struct drain *d, struct session *s, int area, int fd, const char *path, int errors)
{
	uint64_t keys[2];

	if (area_read(area, &d->head))
		return -EINVAL;
	d->session = s;
	d->area = area;
	d->out.fd = fd;
	d->out.path = d->head.output[0] ? d->head.output : path;
	d->out.errors = errors;
	d->out.options = d->head.options;
	pthread_mutex_init(&d->lock, NULL);
	if (getrandom(keys, sizeof keys, 0) != (ssize_t)sizeof keys)
		keys[0] = keys[1] = arch_ticks();
	d->writer = segment_writer_new(keys[0], keys[1]);
	return d->writer ? 0 : -ENOMEM;
}

static int go(struct drain *d)
{
	sigset_t all, before;
	int e;

	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	put_release(&d->session->drainer, (uint32_t)getpid());
	e = pthread_create(&d->thread, NULL, run, d);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (e)
		put_release(&d->session->drainer, 0);
	d->runs = !e;
	return -e;
}

int drain_start(struct drain *d, struct session *s, int area, int fd, const char *path, int errors)
{
	int e = drain_open(d, s, area, fd, path, errors);

	if (e)
		return e;
	output_header(&d->out.header);
	e = output_begin(&d->out);
	if (e)
		return e;
	d->head.launcher = (uint32_t)getpid();
	note(d);
	return go(d);
}

int drain_take_over(struct drain *d, struct session *s, int area, int fd, const char *path, int errors)
{
	int e = drain_open(d, s, area, fd, path, errors);

	if (e)
		return e;
	d->out.header = d->head.header;
	d->undrained = d->head.undrained;
	d->head.launcher = (uint32_t)getpid();
	if (!d->out.header.version) { /* nobody had begun */
		output_header(&d->out.header);
		e = output_begin(&d->out);
	} else {
		/* `fd` is the first segment. */
		e = d->out.header.number ? output_open(&d->out) : 0;
		e = e ? e : drain_find(d);
	}
	if (e)
		return e;
	note(d);
	return go(d);
}

void drain_finish(struct drain *d)
{
	struct segment_end end;

	if (!d->runs)
		return;
	put_release(&d->stop, 1);
	add_one(&d->session->log_bell);
	futex_call(&d->session->log_bell);
	pthread_join(d->thread, NULL);
	put_release(&d->session->drainer, 0);
	drain_pass(d, 1, 1);
	drain_pass(d, 1, 0);
	if (d->head.options.flight)
		drain_all(d);
	drain_flush(d);
	d->undrained += segment_writer_rows(d->writer);
	end = drain_end(d, 1);
	output_end(&d->out, &end);
	area_remove(d->area);
	segment_writer_free(d->writer);
	d->writer = NULL;
	d->runs = 0;
}
