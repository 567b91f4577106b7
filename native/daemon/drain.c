/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Brings records from the session's chunks to the log file: a thread of the launcher. The programs wrote the chunks and
 * may have written nonsense, so whatever is read is copied first and checked then. A chunk is always freed in the end,
 * whether its records could be written or not: a full disk costs records (counted), never a program its progress.
 */
#include "launch.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "ring.h"

enum { PERIOD = 40, UNDERTAKER = 10 }; /* ms; every so many passes without news look for the dead */

static int write_all(int fd, const void *from, size_t n)
{
	const char *at = from;

	while (n) {
		ssize_t r = write(fd, at, n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return -1;
		at += r;
		n -= (size_t)r;
	}
	return 0;
}

/* After this nothing but the end of the file is written; what stands there stays readable. */
static void give_up(struct drain *d)
{
	char text[TEXT_SIZE];
	int n = snprintf(text, sizeof text, "lsca: %s: %s; the log ends here, the program goes on\n", d->path,
			 strerror(errno));

	if (d->errors >= 0 && n > 0)
		write_all(d->errors, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
	if (d->seekable && !ftruncate(d->fd, (off_t)d->good))
		lseek(d->fd, (off_t)d->good, SEEK_SET);
	d->broken = 1;
}

/* How many of the bytes are whole records, and how many records those are. */
static uint32_t whole_records(const uint8_t *bytes, uint32_t n, uint32_t *count)
{
	uint32_t at = 0, size;

	for (*count = 0; n - at >= sizeof(struct record); at += size, ++*count) {
		memcpy(&size, bytes + at, sizeof size);
		if (size < sizeof(struct record) || size % 8 || size > n - at)
			break;
	}
	return at;
}

static void take(struct drain *d, uint32_t index, uint32_t used)
{
	struct chunk *k = &d->session->chunks[index];
	uint32_t from = d->drained[index], count, whole;
	struct file_block *block = (struct file_block *)d->copy;
	uint8_t *bytes = d->copy + sizeof *block;

	memcpy(bytes, d->chunks + (uint64_t)index * CHUNK_SIZE + from, used - from);
	whole = whole_records(bytes, used - from, &count);
	if (whole < used - from)
		d->lost++;
	d->drained[index] = used;
	if (!whole)
		return;
	*block = (struct file_block){whole, k->pid, k->tid, from, k->lease};
	if (!d->broken && write_all(d->fd, d->copy, sizeof *block + whole))
		give_up(d);
	if (d->broken)
		d->lost += count;
	else
		d->good += sizeof *block + whole;
}

/* Its thread is gone, and it was not there to say that the chunk is full. */
static int is_abandoned(const struct chunk *k)
{
	return k->pid && k->tid && syscall(SYS_tgkill, k->pid, k->tid, 0) && errno == ESRCH;
}

static int pass(struct drain *d, int undertake)
{
	struct session *s = d->session;
	uint32_t high = get_acquire(&s->chunk_high);
	int news = 0, freed = 0;

	for (uint32_t i = 0; i < CHUNK_COUNT && i < high; i++) {
		struct chunk *k = &s->chunks[i];
		uint32_t state = get_acquire(&k->state), used = get_acquire(&k->used);

		if (state == CHUNK_FREE)
			continue;
		if (used > CHUNK_SIZE) {
			d->lost++;
			used = d->drained[i];
		}
		if (used > d->drained[i]) {
			take(d, i, used);
			news = 1;
		}
		if (state == CHUNK_LEASED && undertake && is_abandoned(k))
			swap_if(&k->state, CHUNK_LEASED, CHUNK_FULL); /* freed by the next pass */
		if (state != CHUNK_FULL)
			continue;
		d->drained[i] = 0;
		put_relaxed(&k->used, 0);
		put_release(&k->state, CHUNK_FREE); /* used = 0 comes before the next lease */
		if (!freed)
			put_relaxed(&s->chunk_hint, i); /* memory in use already, and warm */
		freed = 1;
	}
	if (freed) {
		add_one(&s->chunk_bell);
		futex_call(&s->chunk_bell);
	}
	return news;
}

static void *run(void *arg)
{
	struct drain *d = arg;
	unsigned idle = 0;

	while (!get_acquire(&d->stop)) {
		uint32_t seen;

		pthread_mutex_lock(&d->lock);
		seen = get_acquire(&d->session->log_bell);
		idle = pass(d, idle % UNDERTAKER == UNDERTAKER - 1) ? 0 : idle + 1;
		pthread_mutex_unlock(&d->lock);
		futex_sleep(&d->session->log_bell, seen, PERIOD);
	}
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

static void read_text(const char *path, char *to, size_t size)
{
	FILE *f = fopen(path, "re");

	if (f && fgets(to, (int)size, f))
		to[strcspn(to, "\n")] = 0;
	if (f)
		fclose(f);
}

static void fill_header(struct drain *d, struct file_header *h)
{
	memset(h, 0, sizeof *h);
	memcpy(h->magic, "LSCALOG\n", sizeof h->magic);
	h->version = ABI_VERSION;
	h->machine = machine_elf;
	h->mono0 = d->mono0 = clock_ns(CLOCK_MONOTONIC);
	h->ticks0 = d->ticks0 = arch_ticks();
	h->real0 = clock_ns(CLOCK_REALTIME);
	h->ns_per_tick = session_rate();
	read_text("/proc/sys/kernel/random/boot_id", h->boot_id, sizeof h->boot_id);
	gethostname(h->host, sizeof h->host - 1);
}

int drain_start(struct drain *d, struct session *s, int fd, const char *path, int errors)
{
	struct file_header h;
	sigset_t all, before;
	int e;

	d->session = s;
	d->chunks = (const uint8_t *)s + s->chunks_at;
	d->fd = fd;
	d->path = path;
	d->errors = errors;
	pthread_mutex_init(&d->lock, NULL);
	d->seekable = lseek(fd, 0, SEEK_CUR) >= 0;
	fill_header(d, &h);
	if (write_all(fd, &h, sizeof h))
		return -errno;
	d->good = sizeof h;
	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	put_release(&s->drainer, (uint32_t)getpid());
	e = pthread_create(&d->thread, NULL, run, d);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (e)
		put_release(&s->drainer, 0);
	d->runs = !e;
	return -e;
}

/* The last pass, and the block that says how complete the file is. */
void drain_finish(struct drain *d)
{
	struct file_block end = {.bytes = BLOCK_END};
	double rate;

	if (!d->runs)
		return;
	put_release(&d->stop, 1);
	add_one(&d->session->log_bell);
	futex_call(&d->session->log_bell);
	pthread_join(d->thread, NULL);
	put_release(&d->session->drainer, 0);
	pass(d, 1);
	pass(d, 0);
	end.pid = d->session->uncaught;
	end.lease = d->session->lost + d->lost;
	/* The longer the baseline, the better the rate. */
	rate = ticks_rate(d->ticks0, d->mono0);
	if (d->seekable && pwrite(d->fd, &rate, sizeof rate, offsetof(struct file_header, ns_per_tick)) < 0)
		d->broken = 1;
	if ((!d->broken || d->seekable) && write_all(d->fd, &end, sizeof end) && !d->broken)
		give_up(d);
	close(d->fd);
}
